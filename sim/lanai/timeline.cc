#include "sim/lanai/timeline.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>
#include <unordered_map>

#include "nic_fw/abi/counters.h"
#include "protocols/tcp/tcb.h"
#include "sim/lanai/occupancy.h"
#include "sim/wire/file_size_signal.h"

namespace qpip::lanai {

namespace {

using nlohmann::json;

struct TrackName {
  Track track;
  const char* name;
};
constexpr TrackName kTracks[] = {
    {Track::kDoorbellFsm, "doorbell FSM"},   {Track::kManagementFsm, "management FSM"},
    {Track::kTransmitFsm, "transmit FSM"},   {Track::kReceiveFsm, "receive FSM"},
    {Track::kDmaToNic, "DMA host to NIC"},   {Track::kDmaToHost, "DMA NIC to host"},
    {Track::kLinkTransmit, "link transmit"}, {Track::kLinkReceive, "link receive"},
    {Track::kConnections, "connections"},
};

constexpr const char* kOperations[] = {"read",  "write", "copy",   "fetch",
                                       "place", "send",  "receive"};

Track TrackOfStage(fw::Stage stage) {
  switch (stage) {
    case fw::Stage::kTxDoorbellProcess:
    case fw::Stage::kRxDoorbellProcess:
      return Track::kDoorbellFsm;
    case fw::Stage::kManagement:
    case fw::Stage::kTimer:
      return Track::kManagementFsm;
    default:
      return StageIsReceiveSide(stage) ? Track::kReceiveFsm : Track::kTransmitFsm;
  }
}

Track TrackOfTrace(uint32_t kind) {
  switch (kind) {
    case fw::kTraceSendPosted:
      return Track::kDoorbellFsm;
    case fw::kTraceSendFetched:
    case fw::kTraceSendSent:
      return Track::kTransmitFsm;
    case fw::kTraceSendAcked:
    case fw::kTraceSendCompleted:
    case fw::kTraceRecvCompleted:
    case fw::kTraceDrop:
      return Track::kReceiveFsm;
    default:
      return Track::kConnections;
  }
}

bool IsWorkRequestStep(uint32_t kind) {
  return kind == fw::kTraceSendFetched || kind == fw::kTraceSendSent ||
         kind == fw::kTraceSendAcked || kind == fw::kTraceSendCompleted;
}

uint64_t WorkRequestKey(const uint32_t (&values)[3]) {
  return (uint64_t{values[0]} << 32) | values[1];
}

// A work request is an asynchronous slice of the format: begin, steps, end, joined by an id. Its
// last step ends it, whichever that is: one that is not signalled has no completion, a datagram no
// acknowledgement.
json WorkRequestEvent(const char* phase, const char* step, uint32_t qp, uint32_t wqe) {
  json event = {{"ph", phase},
                {"cat", "work request"},
                {"name", "send"},
                {"id", std::to_string(qp) + ":" + std::to_string(wqe)}};
  event["args"] = {{"qp", qp}, {"wqe", wqe}, {"step", step}};
  return event;
}

json InstantEvent(const std::string& name, json args) {
  return {{"ph", "i"}, {"s", "t"}, {"name", name}, {"args", std::move(args)}};
}

json TraceEvent(uint32_t kind, const uint32_t (&values)[3], bool last_step) {
  const auto [object, from, to] = values;
  const char* step = last_step ? "e" : "n";
  switch (kind) {
    case fw::kTraceSendFetched:
      return WorkRequestEvent("b", "fetched", object, from);
    case fw::kTraceSendSent:
      return WorkRequestEvent(step, "sent", object, from);
    case fw::kTraceSendAcked:
      return WorkRequestEvent(step, "acknowledged", object, from);
    case fw::kTraceSendCompleted:
      return WorkRequestEvent(step, "completed", object, from);
    case fw::kTraceTcpState: {
      const char* from_name = tcp::StateName(static_cast<tcp::State>(from));
      const char* to_name = tcp::StateName(static_cast<tcp::State>(to));
      return InstantEvent(std::string("TCP ") + to_name,
                          {{"qp", object}, {"from", from_name}, {"to", to_name}});
    }
    case fw::kTraceQpState:
      return InstantEvent("QP state " + std::to_string(to),
                          {{"qp", object}, {"from", from}, {"to", to}});
    case fw::kTraceRecvCompleted:
      return InstantEvent("receive completed", {{"qp", object}, {"wqe", from}, {"status", to}});
    case fw::kTraceDrop:
      return InstantEvent(std::string("drop ") + abi::DropReasonName(from), {{"reason", from}});
    case fw::kTraceNeighbourState:
      return InstantEvent("neighbour state " + std::to_string(to),
                          {{"neighbour", object}, {"from", from}, {"to", to}});
    case fw::kTraceAddressState:
      return InstantEvent("address state " + std::to_string(to), {{"from", from}, {"to", to}});
    case fw::kTraceSynsWaiting:
      return InstantEvent("SYNs waiting " + std::to_string(to), {{"listener", object}});
    case fw::kTraceCongestion:
      return {{"ph", "C"},
              {"name", "QP " + std::to_string(object) + " congestion window"},
              {"args", {{"bytes", from}}}};
    case fw::kTraceSendPosted:
      return InstantEvent("send posted", {{"qp", object}, {"producer", from}});
    default:
      return InstantEvent("trace " + std::to_string(kind),
                          {{"object", object}, {"from", from}, {"to", to}});
  }
}

json MetadataEvent(const char* what, uint32_t thread, const std::string& name) {
  return {{"ph", "M"}, {"pid", 1}, {"tid", thread}, {"name", what}, {"args", {{"name", name}}}};
}

}  // namespace

Timeline::Timeline(const std::string& path, uint32_t capacity)
    : path_(path),
      file_(path, std::ios::trunc),
      mask_(std::bit_ceil(std::max(capacity, 1u)) - 1),
      ring_(mask_ + 1) {
  if (!file_) {
    throw std::system_error(errno, std::generic_category(), "cannot write timeline file " + path);
  }
}

void Timeline::AddStage(fw::Stage stage, fw::Variant variant, uint64_t begin, uint64_t end) {
  Record record;
  record.begin = begin;
  record.duration = static_cast<uint32_t>(end - begin);
  record.kind = Kind::kStage;
  record.track = TrackOfStage(stage);
  record.name = static_cast<uint8_t>(stage);
  record.variant = static_cast<uint8_t>(variant);
  Add(record);
}

void Timeline::AddOperation(Track track, EngineOperation operation, uint32_t bytes, uint64_t begin,
                            uint64_t end) {
  Record record;
  record.begin = begin;
  record.duration = static_cast<uint32_t>(end - begin);
  record.kind = Kind::kOperation;
  record.track = track;
  record.name = static_cast<uint8_t>(operation);
  record.values[0] = bytes;
  Add(record);
}

void Timeline::AddTrace(const fw::TraceRecord& trace, uint64_t at) {
  Record record;
  record.begin = at;
  record.kind = Kind::kTrace;
  record.track = TrackOfTrace(trace.kind);
  record.name = static_cast<uint8_t>(trace.kind);
  record.values[0] = trace.object;
  record.values[1] = trace.from;
  record.values[2] = trace.to;
  Add(record);
}

nlohmann::json Timeline::ToEvent(const Record& record, bool last_step, uint64_t origin,
                                 double us_per_cycle) {
  json event;
  switch (record.kind) {
    case Kind::kStage:
      event = {{"ph", "X"}, {"name", StageName(static_cast<fw::Stage>(record.name))}};
      event["args"] = {{"variant", VariantName(static_cast<fw::Variant>(record.variant))}};
      break;
    case Kind::kOperation:
      event = {{"ph", "X"}, {"name", kOperations[record.name]}};
      event["args"] = {{"bytes", record.values[0]}};
      break;
    case Kind::kTrace:
      event = TraceEvent(record.name, record.values, last_step);
      break;
  }
  if (record.kind != Kind::kTrace) event["dur"] = record.duration * us_per_cycle;
  event["pid"] = 1;
  event["tid"] = static_cast<uint32_t>(record.track);
  event["ts"] = static_cast<double>(record.begin - origin) * us_per_cycle;
  return event;
}

void Timeline::Write(const std::string& title, double nanoseconds_per_cycle) {
  const wire::NoFileSizeSignal guard;
  const uint64_t kept = std::min<uint64_t>(recorded_, mask_ + 1);
  // A stage is recorded when it ends, after the operations inside it: the earliest begin is not
  // always the first record's.
  uint64_t origin = UINT64_MAX;
  std::unordered_map<uint64_t, uint64_t> last_steps;  // of each work request, by position
  for (uint64_t i = recorded_ - kept; i < recorded_; ++i) {
    const Record& record = ring_[i & mask_];
    origin = std::min(origin, record.begin);
    if (record.kind == Kind::kTrace && IsWorkRequestStep(record.name)) {
      last_steps[WorkRequestKey(record.values)] = i;
    }
  }
  const double us_per_cycle = nanoseconds_per_cycle / 1000.0;
  file_ << "{\"displayTimeUnit\":\"ns\",\"otherData\":{\"records_lost\":" << recorded_ - kept
        << "},\"traceEvents\":[\n"
        << MetadataEvent("process_name", 0, title);
  for (const TrackName& track : kTracks) {
    file_ << ",\n" << MetadataEvent("thread_name", static_cast<uint32_t>(track.track), track.name);
  }
  for (uint64_t i = recorded_ - kept; i < recorded_; ++i) {
    const Record& record = ring_[i & mask_];
    const auto last = last_steps.find(WorkRequestKey(record.values));
    file_ << ",\n"
          << ToEvent(record, last != last_steps.end() && last->second == i, origin, us_per_cycle)
                 .dump();
    if (!file_) break;  // errno is that of the write
  }
  if (file_) file_ << "\n]}\n" << std::flush;
  if (!file_) {
    throw std::system_error(errno, std::generic_category(), "cannot write timeline file " + path_);
  }
}

}  // namespace qpip::lanai

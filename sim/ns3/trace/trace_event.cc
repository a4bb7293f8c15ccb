#include "sim/ns3/trace/trace_event.h"

#include <nlohmann/json.hpp>
#include <string>

#include "nic_fw/abi/counters.h"
#include "protocols/tcp/tcb.h"
#include "sim/ns3/model/stage_names.h"

namespace qpip::sim {
namespace {

using nlohmann::json;

enum Track : uint32_t {
  kDoorbellFsm = 1,
  kManagementFsm,
  kTransmitFsm,
  kReceiveFsm,
  kDmaRead,
  kDmaWrite,
  kLinkTransmit,
  kLinkReceive,
  kConnections,
};
constexpr const char* kTrackNames[] = {
    "",         "doorbell FSM", "management FSM", "transmit FSM", "receive FSM",
    "DMA read", "DMA write",    "link transmit",  "link receive", "connections"};

Track TrackOf(const Activity& activity) {
  switch (activity.resource) {
    case Resource::kDmaRead:
      return kDmaRead;
    case Resource::kDmaWrite:
      return kDmaWrite;
    case Resource::kLinkTransmit:
      return kLinkTransmit;
    case Resource::kLinkReceive:
      return kLinkReceive;
    default:
      break;
  }
  switch (activity.stage) {
    case fw::Stage::kTxDoorbellProcess:
    case fw::Stage::kRxDoorbellProcess:
      return kDoorbellFsm;
    case fw::Stage::kManagement:
    case fw::Stage::kTimer:
      return kManagementFsm;
    default:
      return IsReceiveStage(activity.stage) ? kReceiveFsm : kTransmitFsm;
  }
}

json Metadata(const char* what, uint32_t host, uint32_t track, const std::string& name) {
  return {
      {"ph", "M"}, {"pid", host + 1}, {"tid", track}, {"name", what}, {"args", {{"name", name}}}};
}

json Slice(const Activity& activity) {
  json out = {{"ph", "X"},
              {"pid", activity.host + 1},
              {"tid", TrackOf(activity)},
              {"name", activity.Label()},
              {"ts", PsToUs(activity.start_ps)},
              {"dur", PsToUs(activity.DurationPs())}};
  const bool core = activity.resource == Resource::kCore;
  out["args"][core ? "units" : "bytes"] = activity.amount;
  return out;
}

json Instant(const TraceMark& mark, Track track, const std::string& name, json arguments) {
  return {{"ph", "i"},
          {"s", "t"},
          {"pid", mark.host + 1},
          {"tid", track},
          {"name", name},
          {"ts", PsToUs(mark.at_ps)},
          {"args", std::move(arguments)}};
}

/// A curve beside the tracks.
json Counter(const TraceMark& mark, const std::string& name, json values) {
  return {{"ph", "C"},
          {"pid", mark.host + 1},
          {"name", name},
          {"ts", PsToUs(mark.at_ps)},
          {"args", std::move(values)}};
}

json Mark(const TraceMark& mark) {
  const auto [kind, object, from, to] = mark.record;
  const json request = {{"qp", object}, {"wqe", from}};
  switch (kind) {
    case fw::kTraceTcpState:
      return Instant(mark, kConnections,
                     std::string("TCP ") + tcp::StateName(static_cast<tcp::State>(to)),
                     {{"qp", object}, {"from", tcp::StateName(static_cast<tcp::State>(from))}});
    case fw::kTraceQpState:
      return Instant(mark, kConnections, "QP state " + std::to_string(to),
                     {{"qp", object}, {"from", from}});
    case fw::kTraceSendPosted:
      return Instant(mark, kDoorbellFsm, "send posted", {{"qp", object}, {"producer", from}});
    case fw::kTraceSendFetched:
      return Instant(mark, kTransmitFsm, "send fetched", request);
    case fw::kTraceSendSent:
      return Instant(mark, kTransmitFsm, "message sent", request);
    case fw::kTraceSendAcked:
      return Instant(mark, kReceiveFsm, "send acknowledged", request);
    case fw::kTraceSendCompleted:
      return Instant(mark, kReceiveFsm, "send completed", request);
    case fw::kTraceRecvCompleted:
      return Instant(mark, kReceiveFsm, "receive completed", request);
    case fw::kTraceDrop:
      return Instant(mark, kReceiveFsm, std::string("drop ") + abi::DropReasonName(from), {});
    case fw::kTraceCongestion:
      return Counter(mark, "QP " + std::to_string(object) + " congestion window",
                     {{"bytes", from}});
    case fw::kTraceSynsWaiting:
      return Instant(mark, kConnections, "SYNs waiting " + std::to_string(to),
                     {{"listener", object}});
    default:
      return Instant(mark, kConnections, "trace " + std::to_string(kind), {{"object", object}});
  }
}

}  // namespace

void WriteTraceEvents(const Recording& recording, std::ostream& out) {
  out << "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[";
  const char* separator = "\n";
  const auto write = [&](const json& event) {
    out << separator << event.dump();
    separator = ",\n";
  };
  for (uint32_t host = 0; host < recording.hosts; ++host) {
    write(Metadata("process_name", host, 0, "NIC " + std::to_string(host)));
    for (uint32_t track = kDoorbellFsm; track <= kConnections; ++track) {
      write(Metadata("thread_name", host, track, kTrackNames[track]));
    }
  }
  for (const Activity& activity : recording.activities) {
    if (activity.DurationPs() != 0) write(Slice(activity));
  }
  for (const TraceMark& mark : recording.traces) write(Mark(mark));
  out << "\n]}\n";
}

}  // namespace qpip::sim

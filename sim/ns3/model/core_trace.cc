#include "sim/ns3/model/core_trace.h"

#include <utility>

#include "nic_fw/abi/counters.h"
#include "protocols/tcp/tcb.h"
#include "sim/ns3/model/stage_names.h"

namespace qpip::sim {

bool CoreTraceSources::IsEmpty() const {
  return stage.IsEmpty() && tcp_state.IsEmpty() && congestion_window.IsEmpty() &&
         round_trip_time.IsEmpty() && completion.IsEmpty() && drop.IsEmpty();
}

void CoreTrace::OnStage(fw::Stage which, fw::Variant variant, uint32_t units, uint64_t start_ps,
                        uint64_t duration_ps) {
  sources_.stage(StageKey(which), VariantKey(variant), ns3::PicoSeconds(start_ps),
                 ns3::PicoSeconds(duration_ps));
  if (next != nullptr) next->OnStage(which, variant, units, start_ps, duration_ps);
}

void CoreTrace::OnEngine(Engine engine, const char* name, uint32_t bytes, uint64_t start_ps,
                         uint64_t end_ps) {
  if (next != nullptr) next->OnEngine(engine, name, bytes, start_ps, end_ps);
}

void CoreTrace::OnTrace(const fw::TraceRecord& record, uint64_t at_ps) {
  switch (record.kind) {
    case fw::kTraceTcpState:
      sources_.tcp_state(record.object, tcp::StateName(static_cast<tcp::State>(record.from)),
                         tcp::StateName(static_cast<tcp::State>(record.to)));
      if (static_cast<tcp::State>(record.to) == tcp::State::kClosed) {
        congestion_.erase(record.object);
      }
      break;
    case fw::kTraceCongestion:
      OnCongestion(record);
      break;
    case fw::kTraceSendCompleted:
    case fw::kTraceRecvCompleted:
      sources_.completion(record.object, record.kind == fw::kTraceSendCompleted, record.to);
      break;
    case fw::kTraceDrop:
      sources_.drop(abi::DropReasonName(record.from));
      break;
    default:
      break;
  }
  if (next != nullptr) next->OnTrace(record, at_ps);
}

void CoreTrace::OnCongestion(const fw::TraceRecord& record) {
  Congestion& known = congestion_[record.object];
  const Congestion before = std::exchange(known, {record.from, record.to});
  if (before.window != known.window) {
    sources_.congestion_window(record.object, before.window, known.window);
  }
  if (before.round_trip_us != known.round_trip_us) {
    sources_.round_trip_time(record.object, ns3::MicroSeconds(before.round_trip_us),
                             ns3::MicroSeconds(known.round_trip_us));
  }
}

void CoreTrace::OnFrameSent(const Frame& frame, uint64_t at_ns) {
  if (next != nullptr) next->OnFrameSent(frame, at_ns);
}

void CoreTrace::OnFrameReceived(const Frame& frame, uint64_t at_ns) {
  if (next != nullptr) next->OnFrameReceived(frame, at_ns);
}

}  // namespace qpip::sim

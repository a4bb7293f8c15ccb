#include "sim/ns3/model/core_trace.h"

#include "sim/ns3/model/stage_names.h"

namespace qpip::sim {

void CoreTrace::OnStage(fw::Stage which, fw::Variant variant, uint32_t units, uint64_t start_ps,
                        uint64_t duration_ps) {
  stage_(StageKey(which), VariantKey(variant), ns3::PicoSeconds(start_ps),
         ns3::PicoSeconds(duration_ps));
  if (next != nullptr) next->OnStage(which, variant, units, start_ps, duration_ps);
}

void CoreTrace::OnEngine(Engine engine, const char* name, uint32_t bytes, uint64_t start_ps,
                         uint64_t end_ps) {
  if (next != nullptr) next->OnEngine(engine, name, bytes, start_ps, end_ps);
}

void CoreTrace::OnTrace(const fw::TraceRecord& record, uint64_t at_ps) {
  if (next != nullptr) next->OnTrace(record, at_ps);
}

void CoreTrace::OnFrameSent(const Frame& frame, uint64_t at_ns) {
  if (next != nullptr) next->OnFrameSent(frame, at_ns);
}

void CoreTrace::OnFrameReceived(const Frame& frame, uint64_t at_ns) {
  if (next != nullptr) next->OnFrameReceived(frame, at_ns);
}

}  // namespace qpip::sim

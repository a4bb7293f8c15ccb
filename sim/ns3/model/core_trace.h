// Trace sources of a simulated NIC's core, for ns-3's tracing system.
#pragma once

#include <ns3/nstime.h>
#include <ns3/traced-callback.h>

#include "sim/ns3/model/observer.h"

namespace qpip::sim {

/// Signature of QpipNetDevice's trace source "CoreStage": the core is busy with `stage`
/// ("rx-transport-parse") of `variant` ("ack") from `start` on for `duration`. Both may lie a
/// little ahead of the present: what a handler costs is known when it begins.
using CoreStageTracedCallback = void (*)(const char* stage, const char* variant, ns3::Time start,
                                         ns3::Time duration);

/// Feeds the trace sources, and passes everything on to the NIC's observer, if it has one.
class CoreTrace : public NicObserver {
 public:
  using StageCallback =
      ns3::TracedCallback<const char*, const char*, ns3::Time, ns3::Time>;  // see above

  /// `stage` must outlive it.
  explicit CoreTrace(const StageCallback& stage) : stage_(stage) {}

  void OnStage(fw::Stage which, fw::Variant variant, uint32_t units, uint64_t start_ps,
               uint64_t duration_ps) override;
  void OnEngine(Engine engine, const char* name, uint32_t bytes, uint64_t start_ps,
                uint64_t end_ps) override;
  void OnTrace(const fw::TraceRecord& record, uint64_t at_ps) override;
  void OnFrameSent(const Frame& frame, uint64_t at_ns) override;
  void OnFrameReceived(const Frame& frame, uint64_t at_ns) override;

  NicObserver* next = nullptr;  ///< not owned

 private:
  const StageCallback& stage_;
};

}  // namespace qpip::sim

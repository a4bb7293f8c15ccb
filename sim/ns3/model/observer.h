// What can be watched in a simulated NIC: every charge, transfer, frame and state change.
#pragma once

#include <cstdint>

#include "nic_fw/platform.h"
#include "sim/ns3/model/frame.h"

namespace qpip::sim {

/// The engines beside the core.
enum class Engine : uint8_t { kDmaRead, kDmaWrite, kLinkTransmit, kLinkReceive };

/// Derive and override what is of interest. Called inside the simulation's events, with times that
/// may lie a little ahead of the present (a handler's charges are known when it begins). Must not
/// schedule or change anything in the NIC.
class NicObserver {
 public:
  virtual ~NicObserver() = default;
  /// The core is busy with a stage in [start, start + duration).
  virtual void OnStage(fw::Stage, fw::Variant, uint32_t /*units*/, uint64_t /*start_ps*/,
                       uint64_t /*duration_ps*/) {}
  /// An engine is busy with `bytes`; `name` says what for.
  virtual void OnEngine(Engine, const char* /*name*/, uint32_t /*bytes*/, uint64_t /*start_ps*/,
                        uint64_t /*end_ps*/) {}
  virtual void OnTrace(const fw::TraceRecord&, uint64_t /*at_ps*/) {}
  virtual void OnFrameSent(const Frame&, uint64_t /*at_ns*/) {}
  virtual void OnFrameReceived(const Frame&, uint64_t /*at_ns*/) {}
};

/// How often each stage was charged, and for how long: Tables 2 and 3.
struct StageTotal {
  uint64_t count = 0;
  uint64_t ps = 0;
};

}  // namespace qpip::sim

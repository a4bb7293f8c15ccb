// Trace sources of a simulated NIC's core, for ns-3's tracing system.
#pragma once

#include <ns3/nstime.h>
#include <ns3/traced-callback.h>

#include <map>

#include "sim/ns3/model/observer.h"

namespace qpip::sim {

// Signatures of QpipNetDevice's trace sources. Queue pairs are named by their number in the NIC.
// Times that are given may lie a little ahead of the present: what a handler of the core costs is
// known when it begins.

/// "CoreStage": the core is busy with `stage` ("rx-transport-parse") of `variant` ("ack") from
/// `start` on for `duration`.
using CoreStageTracedCallback = void (*)(const char* stage, const char* variant, ns3::Time start,
                                         ns3::Time duration);
/// "TcpState": a connection goes from one state to another ("SYN-SENT", "ESTABLISHED").
using TcpStateTracedCallback = void (*)(uint32_t queue_pair, const char* from, const char* to);
/// "CongestionWindow": in bytes; looked at whenever a segment has arrived or a timer has fired.
using CongestionWindowTracedCallback = void (*)(uint32_t queue_pair, uint32_t before, uint32_t now);
/// "RoundTripTime": the smoothed estimate (RFC 6298), in the same moments.
using RoundTripTimeTracedCallback = void (*)(uint32_t queue_pair, ns3::Time before, ns3::Time now);
/// "Completion": a work request to send, or to receive, has completed; `status` is ibv_wc_status.
using CompletionTracedCallback = void (*)(uint32_t queue_pair, bool send, uint32_t status);
/// "Drop": a received packet is dropped, for one of the reasons of Nic::Counters()
/// ("bad_tcp_checksum").
using DropTracedCallback = void (*)(const char* reason);

/// The sources, which belong to somebody else.
struct CoreTraceSources {
  using Stage = ns3::TracedCallback<const char*, const char*, ns3::Time, ns3::Time>;
  using TcpState = ns3::TracedCallback<uint32_t, const char*, const char*>;
  using CongestionWindow = ns3::TracedCallback<uint32_t, uint32_t, uint32_t>;
  using RoundTripTime = ns3::TracedCallback<uint32_t, ns3::Time, ns3::Time>;
  using Completion = ns3::TracedCallback<uint32_t, bool, uint32_t>;
  using Drop = ns3::TracedCallback<const char*>;

  const Stage& stage;
  const TcpState& tcp_state;
  const CongestionWindow& congestion_window;
  const RoundTripTime& round_trip_time;
  const Completion& completion;
  const Drop& drop;

  /// Whether nobody listens to any.
  bool IsEmpty() const;
};

/// Feeds the trace sources, and passes everything on to the NIC's observer, if it has one.
class CoreTrace : public NicObserver {
 public:
  /// What `sources` refers to must outlive it.
  explicit CoreTrace(const CoreTraceSources& sources) : sources_(sources) {}

  bool IsEmpty() const { return sources_.IsEmpty(); }
  void OnStage(fw::Stage which, fw::Variant variant, uint32_t units, uint64_t start_ps,
               uint64_t duration_ps) override;
  void OnEngine(Engine engine, const char* name, uint32_t bytes, uint64_t start_ps,
                uint64_t end_ps) override;
  void OnTrace(const fw::TraceRecord& record, uint64_t at_ps) override;
  void OnFrameSent(const Frame& frame, uint64_t at_ns) override;
  void OnFrameReceived(const Frame& frame, uint64_t at_ns) override;

  NicObserver* next = nullptr;  ///< not owned

 private:
  /// What was last told of a connection.
  struct Congestion {
    uint32_t window = 0;
    uint32_t round_trip_us = 0;
  };
  void OnCongestion(const fw::TraceRecord& record);

  const CoreTraceSources sources_;
  std::map<uint32_t, Congestion> congestion_;  ///< by queue pair
};

}  // namespace qpip::sim

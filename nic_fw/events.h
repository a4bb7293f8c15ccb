// What the host and the trace are told of a queue pair.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// The one place where a queue pair changes state; traced.
void SetQpState(const Nic& nic, QueuePair& q, QpState state);
/// Traces a change of the TCP state since it was `before`.
void TraceTcpState(const Nic& nic, const QueuePair& q, tcp::State before);
/// Traces the congestion window and the round trip of a connection that has not ended, where
/// anything is traced.
inline void TraceCongestion(const Nic& nic, const QueuePair& q) {
  if (!nic.hardware.traces()) [[likely]] {
    return;
  }
  if (q.tcb.state == tcp::State::kClosed) return;
  nic.Trace(kTraceCongestion, q.handle, q.tcb.cwnd, q.tcb.rtt.srtt_us >> 3);
}

/// An event about `q`, unless the host has let go of it. `status` depends on the kind.
void Report(const Nic& nic, const QueuePair& q, abi::EventKind kind, uint8_t status);
/// kEstablished, with the listener it came by.
void ReportEstablished(const Nic& nic, const QueuePair& q);
/// The command that destroys `q` is answered.
void ReportDestroyed(const Nic& nic, const QueuePair& q);

/// Something to tell the host that does not end `q`: abi::NoticeFlags. One event, until it is
/// asked.
void Notify(const Nic& nic, QueuePair& q, uint32_t notices);

}  // namespace qpip::fw

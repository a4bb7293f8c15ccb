#include "nic_fw/ending.h"

#include "nic_fw/backlog.h"
#include "nic_fw/demux.h"
#include "nic_fw/events.h"
#include "nic_fw/layout.h"
#include "nic_fw/packet.h"
#include "nic_fw/rdma_queue.h"
#include "nic_fw/receive_queue.h"
#include "nic_fw/remote_access.h"
#include "nic_fw/schedule.h"
#include "nic_fw/send_queue.h"
#include "nic_fw/text_queue.h"
#include "nic_fw/timers.h"
#include "nic_fw/transmit_context.h"
#include "protocols/tcp/machine.h"

namespace qpip::fw {
namespace {

constexpr uint64_t kNsPerMs = 1000000;
/// A receiver that has read nothing for so long is taken for stopped.
constexpr uint32_t kStoppedMs = 250;
/// Where no user timeout holds: RFC 9293 3.8.3's R2 for data, at least 100 seconds.
constexpr uint32_t kDefaultPatienceMs = 100000;

/// How long the end of a connection may wait for others at most.
uint32_t Patience(const QueuePair& q) {
  const bool limited = q.type == abi::QpType::kTcp && q.tcb.user_timeout_ms != 0;
  return limited ? q.tcb.user_timeout_ms : kDefaultPatienceMs;
}

void SetTcpClosed(const Nic& nic, QueuePair& q) {
  const tcp::State before = q.tcb.state;
  q.tcb.state = tcp::State::kClosed;
  TraceTcpState(nic, q, before);
}

/// The queue pair's connection is no more, as far as the NIC's own tables go.
void Detach(const Nic& nic, QueuePair& q) {
  CancelTimer(nic, q);
  Deactivate(nic, q);
  DropRefused(nic, q);
  RemoveDemux(nic, q);
  DropPlacements(nic, q);
  DropDelivery(nic, q);
  if (q.state == QpState::kConnecting && q.listener != kNone) {
    OnHandshakeOver(nic, q);
  }
  if (q.state == QpState::kOffered) {
    RemoveOffered(nic, nic.listener(q.listener), q.handle);
    q.listener = kNone;
  }
  SetTcpClosed(nic, q);
}

/// Whether an RDMA stream ends by a Terminate: that it is reset afterwards says nothing more.
bool IsTerminated(const Nic& nic, const QueuePair& q) {
  if (q.rdma == kNone) return false;
  const RdmaState& r = RdmaOf(nic, q);
  return r.ending != RdmaEnding::kOpen || r.terminate_received;
}

/// Whether the host is owed messages, and nothing else of the connection.
bool OwesWaiting(const Nic& nic, const QueuePair& q) {
  if (q.state != QpState::kConnected || q.rdma == kNone || q.ending.transport_done) return false;
  const RdmaState& r = RdmaOf(nic, q);
  return r.waiting.bytes != 0 && r.message_count == 0 && !IsTerminated(nic, q) &&
         q.send.completed == q.send.producer && !q.send.shutdown_wanted;
}

/// An RDMA peer's requests are done when they are acknowledged, and the program here may know of
/// them already. A reset alone would have them fail there.
void AcknowledgeRdma(const Nic& nic, QueuePair& q) {
  tcp::Header acknowledgement;
  if (q.rdma == kNone || !tcp::LastAcknowledgement(q.tcb, &acknowledgement, nic.now)) return;
  uint64_t lease = 0;
  SendTcp(nic, q.tuple, acknowledgement, PayloadSource{}, Variant::kAck, &lease);
  nic.Count(abi::NicCounter::kTcpAcksSent);
}

/// RST, if the state calls for one.
void ResetPeer(const Nic& nic, QueuePair& q) {
  if (q.type != abi::QpType::kTcp) return;
  tcp::Header reset;
  const tcp::State before = q.tcb.state;
  if (tcp::Abort(q.tcb, &reset, nic.now)) SendReset(nic, q.tuple, reset);
  TraceTcpState(nic, q, before);
}

}  // namespace

void LimitEnding(const Nic& nic, QueuePair& q) {
  q.ending.deadline = nic.now + Patience(q) * kNsPerMs;
}

void GiveUpHandshake(const Nic& nic, QueuePair& q) {
  Detach(nic, q);
  SetQpState(nic, q, QpState::kIdle);
}

void EndTimeWait(const Nic& nic, QueuePair& q) {
  if (q.state == QpState::kOrphan) {
    EndConnection(nic, q, abi::DisconnectReason::kClosed, abi::CompletionStatus::kFlushed);
    return;
  }
  SetTcpClosed(nic, q);
  CancelTimer(nic, q);
  RemoveDemux(nic, q);
}

void EndConnection(const Nic& nic, QueuePair& q, abi::DisconnectReason reason,
                   abi::CompletionStatus head) {
  if (q.state == QpState::kFree || q.state == QpState::kDraining) return;
  const bool was_connecting = q.state == QpState::kConnecting;
  Detach(nic, q);
  if (q.state != QpState::kClosed && !q.ending.orphaned) {
    const bool terminated = IsTerminated(nic, q);
    q.ending.reason =
        static_cast<uint8_t>(terminated ? abi::DisconnectReason::kTerminated : reason);
    q.ending.head_status =
        static_cast<uint8_t>(terminated ? abi::CompletionStatus::kFlushed : head);
  }
  const uint32_t listener = q.listener;
  if (was_connecting && listener != kNone && !q.ending.destroy_wanted &&
      nic.listener(listener).in_use && reason != abi::DisconnectReason::kAborted) {
    // RFC 9293 3.10.7.4, SYN-RECEIVED from a passive open: back to LISTEN.
    OfferQueuePair(nic, q, listener);
    return;
  }
  if (was_connecting) {
    Report(nic, q, abi::EventKind::kConnectFailed, static_cast<uint8_t>(reason));
  }
  LimitEnding(nic, q);
  SetQpState(nic, q, QpState::kDraining);
  AddToDrain(nic, q.handle);
  PollDraining(nic);
}

void LosePeer(const Nic& nic, QueuePair& q, abi::DisconnectReason reason,
              abi::CompletionStatus head) {
  if (!OwesWaiting(nic, q)) {
    EndConnection(nic, q, reason, head);
    return;
  }
  RdmaState& r = RdmaOf(nic, q);
  if (r.peer_lost) return;
  r.peer_lost = true;
  q.ending.reason = static_cast<uint8_t>(reason);
  q.ending.head_status = static_cast<uint8_t>(head);
  q.placement.end_of_stream = kEosPending;
  q.tcb.state = tcp::State::kClosed;
  CancelTimer(nic, q);
  Deactivate(nic, q);
  RemoveDemux(nic, q);
  if (q.ending.peer_closed_reported) return;
  q.ending.peer_closed_reported = true;
  Report(nic, q, abi::EventKind::kPeerClosed, 0);
}

void EndLost(const Nic& nic, QueuePair& q) {
  EndConnection(nic, q, static_cast<abi::DisconnectReason>(q.ending.reason),
                static_cast<abi::CompletionStatus>(q.ending.head_status));
}

void ResetConnection(const Nic& nic, QueuePair& q, abi::DisconnectReason reason,
                     abi::CompletionStatus head) {
  AcknowledgeRdma(nic, q);
  ResetPeer(nic, q);
  EndConnection(nic, q, reason, head);
}

void AbortConnection(const Nic& nic, QueuePair& q) {
  ResetConnection(nic, q, abi::DisconnectReason::kAborted, abi::CompletionStatus::kFlushed);
}

void FailSend(const Nic& nic, QueuePair& q, uint32_t index, abi::CompletionStatus status) {
  q.ending.error_index = index;
  q.ending.send_status = static_cast<uint8_t>(status);
  ResetPeer(nic, q);
  EndConnection(nic, q, abi::DisconnectReason::kLocalError, abi::CompletionStatus::kFlushed);
}

void FailReceive(const Nic& nic, QueuePair& q, abi::CompletionStatus status) {
  q.ending.recv_status = static_cast<uint8_t>(status);
  ResetPeer(nic, q);
  EndConnection(nic, q, abi::DisconnectReason::kLocalError, abi::CompletionStatus::kFlushed);
}

void OnTransportDone(const Nic& nic, QueuePair& q) {
  q.ending.transport_done = true;
  if (q.state == QpState::kOrphan) {
    if (q.tcb.state == tcp::State::kClosed) {
      EndConnection(nic, q, abi::DisconnectReason::kClosed, abi::CompletionStatus::kFlushed);
    }
    return;
  }
  FinishOrderlyClose(nic, q);
}

void FinishOrderlyClose(const Nic& nic, QueuePair& q) {
  if (!q.ending.transport_done || q.state != QpState::kConnected) return;
  const bool delivered = q.placement.contexts.empty() && q.pool.used == 0;
  if (!delivered || tcp::HasReleased(q.tcb)) return;
  if (q.host_memory.dma_outstanding != 0) return;  // asked again at its completion
  if (RepeatOnWire(nic, q.host_memory)) return;    // asked again when the wire has read it
  q.ending.reason = static_cast<uint8_t>(abi::DisconnectReason::kClosed);
  q.ending.head_status = static_cast<uint8_t>(abi::CompletionStatus::kFlushed);
  SetQpState(nic, q, QpState::kClosed);
  Deactivate(nic, q);
  FlushSends(nic, q.send, q.ending);
  FlushReceives(nic, q.recv, q.placement, q.ending);
  if (q.tcb.state == tcp::State::kClosed) {
    CancelTimer(nic, q);
    RemoveDemux(nic, q);
  } else if (tcp::AckDue(q.tcb, nic.now)) {
    Activate(nic, q.handle);  // the peer's FIN: it came with the text that has just been placed
  } else {
    UpdateTimer(nic, q);
  }
  Report(nic, q, abi::EventKind::kDisconnected, q.ending.reason);
}

namespace {

/// Whether the wire still refers to the memory of `q`. A receiver that is stopped, or keeps what it
/// was sent, does not hold up what is not its own: the memory is taken back from it.
bool IsLeased(const Nic& nic, QueuePair& q) {
  const uint64_t lease = q.host_memory.lease;
  if (lease == 0) return false;
  const uint32_t pending = nic.hardware.LeasePending(lease);
  if (pending == 0) return false;
  const uint32_t patience = Patience(q);
  const uint32_t quiet_ms = pending - 1;
  const auto reason = static_cast<abi::DisconnectReason>(q.ending.reason);
  const bool waited_long_enough = reason == abi::DisconnectReason::kTimedOut ||
                                  reason == abi::DisconnectReason::kUnreachable ||
                                  nic.now >= q.ending.deadline;
  if (!waited_long_enough && quiet_ms < (patience < kStoppedMs ? patience : kStoppedMs))
    return true;
  nic.hardware.LeaseRevoke(lease, q.handle);
  nic.Count(abi::NicCounter::kLeasesRevoked);
  q.host_memory.lease = 0;
  return false;
}

/// Whether something still refers to the memory of `q`, or a list of the NIC to `q`.
bool IsBusy(const Nic& nic, QueuePair& q) {
  return q.host_memory.dma_outstanding != 0 || q.links.refused.linked() || q.links.batch.linked() ||
         IsLeased(nic, q);
}

/// Nothing refers to the memory of `q` any more.
void FinishDraining(const Nic& nic, QueuePair& q) {
  Remove(nic.state.drain, DrainLink{nic}, q.handle);
  q.host_memory = {};
  if (!q.ending.orphaned) {
    CompleteDone(nic, q);  // what waited for the lease
    FlushSends(nic, q.send, q.ending);
    FlushReceives(nic, q.recv, q.placement, q.ending);
    q.ending.head_status = static_cast<uint8_t>(abi::CompletionStatus::kFlushed);
    if (q.ending.connected_reported) {
      Report(nic, q, abi::EventKind::kDisconnected, q.ending.reason);
    }
    if (q.type == abi::QpType::kUdp && q.ending.reason != 0) {
      Report(nic, q, abi::EventKind::kQpError, q.ending.reason);
    }
  }
  SetQpState(nic, q, QpState::kClosed);
  if (!q.ending.destroy_wanted) return;
  if (!q.ending.orphaned) ReportDestroyed(nic, q);
  FreeQueuePair(nic, q);
}

}  // namespace

bool PollDraining(const Nic& nic) {
  bool progress = false;
  for (uint32_t handle = nic.state.drain.head; handle != kNone;) {
    QueuePair& q = nic.qp(handle);
    handle = q.links.drain.next;
    if (IsBusy(nic, q)) continue;
    FinishDraining(nic, q);
    progress = true;
  }
  return progress;
}

namespace {

/// The host has shut its direction, and the FIN has not had its turn yet.
bool OwesFin(const QueuePair& q) {
  return q.send.shutdown_wanted && !q.tcb.snd.fin_sent && !IsRdma(q.send);
}

/// True when the TCP machine can finish without the host's memory: all data is acknowledged, our
/// FIN is due, on its way or acknowledged, and nothing waits to be delivered.
bool CanOrphan(const Nic& nic, const QueuePair& q) {
  if (q.type != abi::QpType::kTcp || q.host_memory.dma_outstanding != 0 || !q.refused.empty()) {
    return false;
  }
  if (q.tcb.state == tcp::State::kTimeWait) return true;
  return q.state == QpState::kConnected && (q.tcb.snd.fin_sent || OwesFin(q)) &&
         q.placement.contexts.empty() && q.send.completed == q.send.producer &&
         (q.rdma == kNone || RdmaOf(nic, q).message_count == 0);  // responses are no work requests
}

}  // namespace

void DestroyQueuePair(const Nic& nic, QueuePair& q, uint32_t command_id) {
  if (q.state == QpState::kOffered) WithdrawOffer(nic, q);
  InvalidateBound(nic, q.handle);
  const bool orphan = CanOrphan(nic, q);
  q.ending.destroy_wanted = true;
  q.ending.destroy_command = command_id;
  if (orphan) {
    q.ending.head_status = static_cast<uint8_t>(abi::CompletionStatus::kFlushed);
    FlushReceives(nic, q.recv, q.placement, q.ending);
    ReportDestroyed(nic, q);
    --nic.cq(q.send.cq).references;
    --nic.cq(q.recv.cq).references;
    SetQpState(nic, q, QpState::kOrphan);
    q.ending.orphaned = true;
    q.ending.deadline = nic.now + nic.state.config.tcp.time_wait_ms * kNsPerMs;
    if (OwesFin(q)) {
      tcp::Close(q.tcb, nic.now);
      Activate(nic, q.handle);
    }
    if (q.tcb.state == tcp::State::kClosed) {
      EndConnection(nic, q, abi::DisconnectReason::kClosed, abi::CompletionStatus::kFlushed);
    } else {
      UpdateTimer(nic, q);
    }
    return;
  }
  if (q.state == QpState::kDraining) return;  // answered when the flush is done
  if (q.state == QpState::kClosed || q.state == QpState::kIdle) {
    q.ending.head_status = static_cast<uint8_t>(abi::CompletionStatus::kFlushed);
    EndConnection(nic, q, abi::DisconnectReason::kAborted, abi::CompletionStatus::kFlushed);
    return;
  }
  AbortConnection(nic, q);
}

void FreeQueuePair(const Nic& nic, QueuePair& q) {
  QPIP_ASSERT(!q.links.active.linked() && !q.links.batch.linked() && !q.links.listener.linked() &&
              !q.links.drain.linked() && !q.links.refused.linked());
  QPIP_ASSERT(q.placement.contexts.empty() && q.refused.empty());
  CancelTimer(nic, q);
  RemoveDemux(nic, q);
  ReturnRdmaState(nic, q);
  if (!q.ending.orphaned) {
    --nic.cq(q.send.cq).references;
    --nic.cq(q.recv.cq).references;
  }
  FormatQueuePair(nic, q.handle);
}

namespace {

bool IsEvictable(const QueuePair& q) {
  return q.state == QpState::kOrphan && q.host_memory.dma_outstanding == 0 &&
         !q.links.refused.linked() && !q.links.batch.linked() && !q.links.active.linked() &&
         !q.links.drain.linked();
}

/// How much an orphan that gives its entry away costs its peer: nothing, as both ends are told; an
/// end of its own that nobody takes; the end of this side, which may not have come.
uint32_t Loss(const QueuePair& q) {
  if (q.tcb.state == tcp::State::kTimeWait) return 0;
  return q.tcb.state == tcp::State::kFinWait2 ? 1 : 2;
}

/// Of `q`, by its handle, and `other`, which may be kNone, the one to be evicted: who loses least,
/// and of those whose time is over first.
uint32_t Cheaper(const Nic& nic, const QueuePair& q, uint32_t other) {
  if (other == kNone) return q.handle;
  const QueuePair& o = nic.qp(other);
  const bool sooner = Loss(q) == Loss(o) && q.ending.deadline < o.ending.deadline;
  return Loss(q) < Loss(o) || sooner ? q.handle : other;
}

/// The peer of one that is not in TIME-WAIT is told, or it might wait for an end for ever.
void Evict(const Nic& nic, uint32_t handle) {
  QueuePair& q = nic.qp(handle);
  if (q.tcb.state != tcp::State::kTimeWait) ResetPeer(nic, q);
  FreeQueuePair(nic, q);
}

}  // namespace

bool EvictRdmaOrphan(const Nic& nic) {
  uint32_t evicted = kNone;
  for (uint32_t i = 0; i < nic.state.config.max_qps; ++i) {
    const QueuePair& q = nic.qp(i);
    if (q.rdma != kNone && IsEvictable(q)) evicted = Cheaper(nic, q, evicted);
  }
  if (evicted == kNone) return false;
  Evict(nic, evicted);
  return true;
}

uint32_t AllocateQueuePair(const Nic& nic) {
  uint32_t evicted = kNone;
  for (uint32_t i = 0; i < nic.state.config.max_qps; ++i) {
    const QueuePair& q = nic.qp(i);
    if (q.state == QpState::kFree) return i;
    if (IsEvictable(q)) evicted = Cheaper(nic, q, evicted);
  }
  if (evicted != kNone) Evict(nic, evicted);
  return evicted;
}

}  // namespace qpip::fw

#include "nic_fw/connection.h"

#include <cstring>

#include "nic_fw/completion.h"
#include "nic_fw/demux.h"
#include "nic_fw/layout.h"
#include "nic_fw/listener.h"
#include "nic_fw/packet.h"
#include "nic_fw/path_mtu.h"
#include "nic_fw/placement.h"
#include "nic_fw/timers.h"
#include "nic_fw/transmit_fsm.h"
#include "protocols/tcp/machine.h"
#include "protocols/tcp/syn_cookie.h"

namespace qpip::fw {
namespace {

constexpr uint64_t kNsPerMs = 1000000;
constexpr uint16_t kFirstEphemeralPort = 49152;  // RFC 6335 section 6
constexpr uint32_t kEphemeralPorts = 65536 - kFirstEphemeralPort;

tcp::Options TcpOptions(const Nic& nic, const QueuePair& q) {
  const tcp::Options& wish = q.tcb.options;
  tcp::Options o = TcpDefaults(nic);
  o.receive_buffer = q.pool.bytes;
  if (wish.ack_delay_us != 0) o.ack_delay_us = wish.ack_delay_us;
  if (wish.user_timeout_ms != 0) o.user_timeout_ms = wish.user_timeout_ms;
  if (wish.ack_every != 0) o.ack_every = wish.ack_every;
  if (wish.keepalive_idle_s != 0) o.keepalive_idle_s = wish.keepalive_idle_s;
  o.nagle = wish.nagle;
  return o;
}

/// The Tcb is set up: the rest of what an opening connection needs.
void FinishOpen(const Nic& nic, QueuePair& q) {
  q.tcb.ts_offset = tcp::TimestampOffset(q.tuple, nic.state.isn_key);
  q.notices.path_failed = false;
  q.notices.icmp_errors = 0;
  q.notices.last_icmp_error = 0;
  q.notices.urgent_end = 0;
  q.notices.pending = 0;
  q.notices.announced = false;
  SetQpState(nic, q, QpState::kConnecting);
  UpdateReceiveWindow(nic, q);
  UpdateTimer(nic, q);
  Activate(nic, q);
}

/// The queue pair's connection is no more, as far as the NIC's own tables go.
void Detach(const Nic& nic, QueuePair& q) {
  CancelTimer(nic, q);
  Deactivate(nic, q);
  DropBlocked(nic, q);
  RemoveDemux(nic, q);
  DropPlacements(nic, q);
  if (q.state == QpState::kConnecting && q.listener != kNone) --nic.listener(q.listener).half_open;
  q.tcb.state = tcp::State::kClosed;
}

void FillEvent(const QueuePair& q, abi::EventKind kind, uint8_t status, abi::Event* event) {
  event->kind = static_cast<uint8_t>(kind);
  event->status = status;
  event->object = q.handle;
  event->local_port = q.tuple.local_port;
  event->remote_port = q.tuple.remote_port;
  std::memcpy(event->remote_address.bytes, q.tuple.remote_address.bytes, 16);
}

void Report(const Nic& nic, const QueuePair& q, abi::EventKind kind, uint8_t status) {
  if (q.ending.destroy_wanted || q.state == QpState::kOrphan) return;  // the host has let go
  abi::Event event;
  FillEvent(q, kind, status, &event);
  WriteEvent(nic, event);
}

}  // namespace

void SetQpState(const Nic& nic, QueuePair& q, QpState state) {
  nic.Trace(kTraceQpState, q.handle, static_cast<uint32_t>(q.state), static_cast<uint32_t>(state));
  q.state = state;
}

tcp::Options TcpDefaults(const Nic& nic) {
  const NicConfig& c = nic.state.config;
  tcp::Options o;
  const uint32_t mss = c.mtu - 60;  // RFC 9293 3.7.1: fixed IPv6 and TCP headers
  o.mss = mss > 65535 ? 65535 : mss;
  o.segmentation_limit = c.segmentation_limit;
  o.rto_initial_us = c.rto_initial_us;
  o.rto_min_us = c.rto_min_us;
  o.rto_max_us = c.rto_max_us;
  o.ack_delay_us = c.ack_delay_us;
  o.user_timeout_ms = c.user_timeout_ms;
  o.connect_timeout_ms = c.connect_timeout_ms;
  o.time_wait_ms = c.time_wait_ms;
  o.ack_every = c.ack_every;
  o.ack_on_batch_end = c.ack_on_batch_end != 0;
  o.timestamps = c.tcp_timestamps != 0;
  o.window_scaling = c.tcp_window_scaling != 0;
  o.sack = c.tcp_sack != 0;
  o.reassembly = static_cast<uint16_t>(c.tcp_reassembly);
  o.congestion = static_cast<tcp::CongestionAlgorithm>(c.tcp_congestion);
  o.ecn = static_cast<tcp::EcnMode>(c.tcp_ecn);
  // RFC 8257 section 3.1: DCTCP is nothing without marks.
  if (o.congestion == tcp::CongestionAlgorithm::kDctcp) o.ecn = tcp::EcnMode::kRequest;
  o.hystart = c.tcp_hystart != 0;
  o.pacing = c.tcp_pacing != 0;
  o.undo = c.tcp_undo != 0;
  o.mtu_probing = static_cast<tcp::MtuProbing>(c.tcp_mtu_probing);
  o.user_timeout_option = c.tcp_user_timeout_option != 0;
  o.keepalive_idle_s = c.keepalive_idle_s;
  o.keepalive_interval_s = c.keepalive_interval_s;
  o.keepalive_probes = c.keepalive_probes;
  return o;
}

void Notify(const Nic& nic, QueuePair& q, uint32_t notices) {
  q.notices.pending |= notices;
  if (q.notices.announced) return;
  q.notices.announced = true;
  Report(nic, q, abi::EventKind::kNotice, 0);
}

void StartActiveOpen(const Nic& nic, QueuePair& q) {
  const tcp::SequenceNumber iss = tcp::InitialSequenceNumber(q.tuple, nic.state.isn_key, nic.now);
  tcp::OpenActive(q.tcb, TcpOptions(nic, q), iss, nic.now);
  FinishOpen(nic, q);
}

void StartPassiveOpen(const Nic& nic, QueuePair& q, uint32_t listener, const tcp::FourTuple& tuple,
                      const tcp::Header& syn) {
  q.tuple = tuple;
  q.listener = listener;
  ++nic.listener(listener).half_open;
  InsertDemux(nic, q);
  tcp::Segment segment;
  segment.header = syn;
  const tcp::SequenceNumber iss = tcp::InitialSequenceNumber(q.tuple, nic.state.isn_key, nic.now);
  tcp::OpenPassive(q.tcb, TcpOptions(nic, q), iss, segment, nic.now);
  FinishOpen(nic, q);
}

void StartFromCookie(const Nic& nic, QueuePair& q, uint32_t listener, const tcp::FourTuple& tuple,
                     const tcp::Header& ack, const tcp::Header& syn) {
  q.tuple = tuple;
  q.listener = listener;
  ++nic.listener(listener).half_open;
  InsertDemux(nic, q);
  const tcp::CookieContext context{tuple, nic.state.isn_key, TcpOptions(nic, q)};
  tcp::OpenFromCookie(q.tcb, context, ack, syn, nic.now);
  FinishOpen(nic, q);
}

void EvictHalfOpen(const Nic& nic, QueuePair& q) {
  Detach(nic, q);
  SetQpState(nic, q, QpState::kIdle);
}

void EndTimeWait(const Nic& nic, QueuePair& q) {
  if (q.state == QpState::kOrphan) {
    EndConnection(nic, q, abi::DisconnectReason::kClosed, abi::CompletionStatus::kFlushed);
    return;
  }
  q.tcb.state = tcp::State::kClosed;
  CancelTimer(nic, q);
  RemoveDemux(nic, q);
}

void OnEstablished(const Nic& nic, QueuePair& q) {
  if (q.listener != kNone) --nic.listener(q.listener).half_open;
  SetQpState(nic, q, QpState::kConnected);
  q.ending.connected_reported = true;
  q.notices.path_failed = false;
  AdoptPathMtu(nic, q);
  nic.Count(abi::NicCounter::kConnectionsEstablished);
  abi::Event event;
  FillEvent(q, abi::EventKind::kEstablished, 0, &event);
  event.listener = q.listener == kNone ? 0 : q.listener + 1;
  WriteEvent(nic, event);
  UpdateReceiveWindow(nic, q);
  Activate(nic, q);
}

void UpdateReceiveWindow(const Nic& nic, QueuePair& q) {
  if (q.type != abi::QpType::kTcp) return;
  // Posted and not yet spoken for: bytes accepted but unplaced, and those in the overflow pool,
  // will use up receives before anything new does.
  const uint32_t unplaced = q.tcb.rcv_unplaced;
  const uint32_t spoken_for = q.recv.filled + unplaced + q.pool.used;
  const uint32_t posted = q.recv.posted_bytes - q.recv.consumed_bytes;
  uint32_t window = posted > spoken_for && posted < 0x80000000u ? posted - spoken_for : 0;
  if (window != 0) {
    // A scaled window counts in units; rounded down, a small receive could never be offered. The
    // few bytes that rounding up promises too much have their place in the overflow pool
    // (docs/decisions/0004-window-rounding.md).
    const uint32_t unit_mask = tcp::WindowUnit(q.tcb) - 1;
    window = ((window + unplaced + unit_mask) & ~unit_mask) - unplaced;
  }
  // What is advertised must have a place even if short messages use up all receives: the
  // reservation bounds it.
  const uint32_t reserved = q.pool.used + unplaced;
  const uint32_t room = q.pool.bytes > reserved ? q.pool.bytes - reserved : 0;
  if (window > room) window = room;
  if (q.framing == abi::Framing::kStream) tcp::NoteReceives(q.tcb, q.recv.producer - q.recv.next);
  const uint64_t deadline = q.tcb.window_deadline;
  tcp::SetReceiveWindow(q.tcb, window, nic.now);
  if (q.tcb.window_deadline < deadline) UpdateTimer(nic, q);
}

void EndConnection(const Nic& nic, QueuePair& q, abi::DisconnectReason reason,
                   abi::CompletionStatus head) {
  if (q.state == QpState::kFree || q.state == QpState::kDraining) return;
  const bool was_connecting = q.state == QpState::kConnecting;
  Detach(nic, q);
  if (q.state != QpState::kClosed && !q.ending.orphaned) {
    q.ending.reason = static_cast<uint8_t>(reason);
    q.ending.head_status = static_cast<uint8_t>(head);
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
  SetQpState(nic, q, QpState::kDraining);
  if (!q.in_drain) {
    q.in_drain = true;
    q.next_drain = nic.state.drain_head;
    nic.state.drain_head = q.handle;
  }
  PollDraining(nic);
}

void AbortConnection(const Nic& nic, QueuePair& q) {
  tcp::Header reset;
  if (q.type == abi::QpType::kTcp && tcp::Abort(q.tcb, &reset)) SendReset(nic, q.tuple, reset);
  EndConnection(nic, q, abi::DisconnectReason::kAborted, abi::CompletionStatus::kFlushed);
}

void FailSend(const Nic& nic, QueuePair& q, uint32_t index, abi::CompletionStatus status) {
  q.ending.error_index = index;
  q.ending.send_status = static_cast<uint8_t>(status);
  tcp::Header reset;
  if (q.type == abi::QpType::kTcp && tcp::Abort(q.tcb, &reset)) SendReset(nic, q.tuple, reset);
  EndConnection(nic, q, abi::DisconnectReason::kLocalError, abi::CompletionStatus::kFlushed);
}

void FailReceive(const Nic& nic, QueuePair& q, abi::CompletionStatus status) {
  q.ending.recv_status = static_cast<uint8_t>(status);
  tcp::Header reset;
  if (q.type == abi::QpType::kTcp && tcp::Abort(q.tcb, &reset)) SendReset(nic, q.tuple, reset);
  EndConnection(nic, q, abi::DisconnectReason::kLocalError, abi::CompletionStatus::kFlushed);
}

void FlushSends(const Nic& nic, QueuePair& q) {
  uint8_t status = q.ending.head_status;
  if (status == 0) status = static_cast<uint8_t>(abi::CompletionStatus::kFlushed);
  for (; q.send.completed != q.send.producer; ++q.send.completed) {
    CompletionDetail detail;
    detail.status = static_cast<abi::CompletionStatus>(status);
    if (q.ending.send_status != 0 && q.send.completed == q.ending.error_index) {
      detail.status = static_cast<abi::CompletionStatus>(q.ending.send_status);
    }
    detail.vendor_error = q.ending.reason;
    Complete(nic, q, abi::CompletionOpcode::kSend, q.send.completed, detail);
    status = static_cast<uint8_t>(abi::CompletionStatus::kFlushed);
  }
  q.send.announced = q.send.producer;
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
  if (q.placement.head != kNone || q.pool.used != 0 || tcp::HasReleased(q.tcb))
    return;                                        // data first
  if (q.host_memory.dma_outstanding != 0) return;  // asked again at its completion
  q.ending.reason = static_cast<uint8_t>(abi::DisconnectReason::kClosed);
  q.ending.head_status = static_cast<uint8_t>(abi::CompletionStatus::kFlushed);
  SetQpState(nic, q, QpState::kClosed);
  Deactivate(nic, q);
  FlushSends(nic, q);
  FlushReceives(nic, q);
  if (q.tcb.state == tcp::State::kClosed) {
    CancelTimer(nic, q);
    RemoveDemux(nic, q);
  } else if (tcp::AckDue(q.tcb, nic.now)) {
    Activate(nic, q);  // the peer's FIN: it came with the text that has just been placed
  } else {
    UpdateTimer(nic, q);
  }
  Report(nic, q, abi::EventKind::kDisconnected, q.ending.reason);
}

bool PollDraining(const Nic& nic) {
  bool progress = false;
  uint32_t* link = &nic.state.drain_head;
  while (*link != kNone) {
    QueuePair& q = nic.qp(*link);
    const bool busy =
        q.host_memory.dma_outstanding != 0 || q.in_blocked || q.in_batch ||
        (q.host_memory.lease != 0 && nic.hardware.LeasePending(q.host_memory.lease) != 0);
    if (busy) {
      link = &q.next_drain;
      continue;
    }
    *link = q.next_drain;
    q.next_drain = kNone;
    q.in_drain = false;
    q.host_memory.lease = 0;
    progress = true;
    const bool orphan = q.ending.orphaned;
    if (!orphan) {
      FlushSends(nic, q);
      FlushReceives(nic, q);
      q.ending.head_status = static_cast<uint8_t>(abi::CompletionStatus::kFlushed);
      if (q.ending.connected_reported)
        Report(nic, q, abi::EventKind::kDisconnected, q.ending.reason);
      if (q.type == abi::QpType::kUdp && q.ending.reason != 0) {
        Report(nic, q, abi::EventKind::kQpError, q.ending.reason);
      }
    }
    SetQpState(nic, q, QpState::kClosed);
    if (!q.ending.destroy_wanted) continue;
    if (!orphan) {
      abi::Event event;
      event.kind = static_cast<uint8_t>(abi::EventKind::kCommandDone);
      event.id = q.ending.destroy_command;
      event.object = q.handle;
      WriteEvent(nic, event);
    }
    FreeQueuePair(nic, q);
  }
  return progress;
}

namespace {

/// True when the TCP machine can finish without the host's memory: all data is acknowledged, our
/// FIN is on its way or acknowledged, and nothing waits to be delivered.
bool CanOrphan(const QueuePair& q) {
  if (q.type != abi::QpType::kTcp || q.host_memory.dma_outstanding != 0 ||
      q.refused.head != kNone) {
    return false;
  }
  if (q.tcb.state == tcp::State::kTimeWait) return true;
  return q.state == QpState::kConnected && q.tcb.fin_sent && q.placement.head == kNone &&
         q.send.completed == q.send.producer;
}

}  // namespace

void DestroyQueuePair(const Nic& nic, QueuePair& q, uint32_t command_id) {
  if (q.state == QpState::kOffered) WithdrawOffer(nic, q);
  const bool orphan = CanOrphan(q);
  q.ending.destroy_wanted = true;
  q.ending.destroy_command = command_id;
  if (orphan) {
    q.ending.head_status = static_cast<uint8_t>(abi::CompletionStatus::kFlushed);
    FlushReceives(nic, q);
    abi::Event event;
    event.kind = static_cast<uint8_t>(abi::EventKind::kCommandDone);
    event.id = command_id;
    event.object = q.handle;
    WriteEvent(nic, event);
    --nic.cq(q.send.cq).references;
    --nic.cq(q.recv.cq).references;
    SetQpState(nic, q, QpState::kOrphan);
    q.ending.orphaned = true;
    q.ending.orphan_deadline = nic.now + nic.state.config.time_wait_ms * kNsPerMs;
    if (q.tcb.state == tcp::State::kClosed) {
      EndConnection(nic, q, abi::DisconnectReason::kClosed, abi::CompletionStatus::kFlushed);
    } else {
      FileOrphanTimer(nic, q);
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
  CancelTimer(nic, q);
  RemoveDemux(nic, q);
  if (!q.ending.orphaned) {
    --nic.cq(q.send.cq).references;
    --nic.cq(q.recv.cq).references;
  }
  FormatQueuePair(nic, q.handle);
}

uint32_t AllocateQueuePair(const Nic& nic) {
  uint32_t oldest = kNone;
  for (uint32_t i = 0; i < nic.state.config.max_qps; ++i) {
    const QueuePair& q = nic.qp(i);
    if (q.state == QpState::kFree) return i;
    const bool evictable = q.state == QpState::kOrphan && q.host_memory.dma_outstanding == 0 &&
                           !q.in_blocked && !q.in_batch && !q.scheduling.listed && !q.in_drain;
    if (evictable &&
        (oldest == kNone || q.ending.orphan_deadline < nic.qp(oldest).ending.orphan_deadline)) {
      oldest = i;
    }
  }
  if (oldest != kNone) FreeQueuePair(nic, nic.qp(oldest));
  return oldest;
}

uint16_t EphemeralTcpPort(const Nic& nic, tcp::FourTuple tuple) {
  const uint32_t start = static_cast<uint32_t>(nic.hardware.Random());
  for (uint32_t i = 0; i < kEphemeralPorts; ++i) {
    tuple.local_port =
        static_cast<uint16_t>(kFirstEphemeralPort + ((start + i) & (kEphemeralPorts - 1)));
    if (FindTcp(nic, tuple) == kNone) return tuple.local_port;
  }
  return 0;
}

uint16_t EphemeralUdpPort(const Nic& nic) {
  const uint32_t start = static_cast<uint32_t>(nic.hardware.Random());
  for (uint32_t i = 0; i < kEphemeralPorts; ++i) {
    const uint16_t port =
        static_cast<uint16_t>(kFirstEphemeralPort + ((start + i) & (kEphemeralPorts - 1)));
    if (FindUdp(nic, port) == kNone) return port;
  }
  return 0;
}

void OnPeerDown(const Nic& nic, const ipv6::Address& peer) {
  const bool everybody = peer == ipv6::Address{};
  for (uint32_t i = 0; i < nic.state.config.max_qps; ++i) {
    QueuePair& q = nic.qp(i);
    if (q.type != abi::QpType::kTcp) continue;
    if (!everybody && !(q.tuple.remote_address == peer)) continue;
    if (q.state == QpState::kConnecting || q.state == QpState::kOrphan ||
        (q.state == QpState::kConnected && !q.ending.transport_done)) {
      nic.Count(abi::NicCounter::kConnectionsReset);
      EndConnection(nic, q, abi::DisconnectReason::kUnreachable,
                    abi::CompletionStatus::kRemoteAborted);
    }
  }
  for (uint32_t i = 0; i < nic.state.config.max_backlog; ++i) {
    BacklogEntry& entry = nic.backlog(i);
    if (!entry.in_use || !(everybody || entry.tuple.remote_address == peer)) continue;
    entry.in_use = false;
    --nic.listener(entry.listener).backlog_count;
  }
}

void OnTimer(const Nic& nic, QueuePair& q) {
  nic.Count(abi::NicCounter::kTimersFired);
  if (q.state == QpState::kOrphan && nic.now >= q.ending.orphan_deadline) {
    AbortConnection(nic, q);
    return;
  }
  const tcp::State before = q.tcb.state;
  const tcp::TimerPlan plan = tcp::OnTimer(q.tcb, nic.now);
  NoteMtuSearch(nic, q);
  if (plan.retransmission_timeout) nic.Count(abi::NicCounter::kTcpRetransmissionTimeouts);
  if (plan.send_reset) SendReset(nic, q.tuple, plan.reset);
  if (q.tcb.state != before) {
    nic.Trace(kTraceTcpState, q.handle, static_cast<uint32_t>(before),
              static_cast<uint32_t>(q.tcb.state));
  }
  if (plan.outcome == tcp::Outcome::kTimedOut) {
    // RFC 9293 3.9.2.2: what a router has said of the path is the better reason.
    EndConnection(nic, q,
                  q.notices.path_failed ? abi::DisconnectReason::kUnreachable
                                        : abi::DisconnectReason::kTimedOut,
                  abi::CompletionStatus::kRetryExceeded);
    return;
  }
  if (plan.outcome == tcp::Outcome::kClosed) {
    if (q.state == QpState::kClosed) {  // TIME-WAIT is over, the host has been told long ago
      CancelTimer(nic, q);
      RemoveDemux(nic, q);
      return;
    }
    OnTransportDone(nic, q);
    return;
  }
  if (q.state == QpState::kOrphan) {
    FileOrphanTimer(nic, q);
  } else {
    UpdateTimer(nic, q);
  }
  Activate(nic, q);
  nic.Charge(Stage::kTimer, Variant::kControl);
}

}  // namespace qpip::fw

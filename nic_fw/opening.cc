#include "nic_fw/opening.h"

#include "nic_fw/backlog.h"
#include "nic_fw/demux.h"
#include "nic_fw/ending.h"
#include "nic_fw/events.h"
#include "nic_fw/framing.h"
#include "nic_fw/path_mtu.h"
#include "nic_fw/receive_window.h"
#include "nic_fw/schedule.h"
#include "nic_fw/timers.h"
#include "protocols/tcp/listen.h"
#include "protocols/tcp/machine.h"

namespace qpip::fw {
namespace {

tcp::Options TcpOptions(const Nic& nic, const QueuePair& q) {
  const tcp::Options& wish = q.tcb.options;
  tcp::Options o = TcpDefaults(nic);
  o.receive_buffer = q.pool.bytes;
  if (wish.ack_delay_us != 0) o.ack_delay_us = wish.ack_delay_us;
  if (wish.user_timeout_ms != 0) o.user_timeout_ms = wish.user_timeout_ms;
  if (wish.ack_every != 0) o.ack_every = wish.ack_every;
  if (wish.keepalive_idle_s != 0) o.keepalive_idle_s = wish.keepalive_idle_s;
  o.nagle = wish.nagle;
  if (FramingOf(q.recv).header_bytes != 0) {
    o.reassembly = 0;
    o.segmentation_limit = 0;
  }
  return o;
}

/// The initial number of a passive open to `tuple`. What is there in TIME-WAIT makes way.
tcp::SequenceNumber PassiveIss(const Nic& nic, const tcp::FourTuple& tuple) {
  const tcp::SequenceNumber iss = tcp::InitialSequenceNumber(tuple, nic.state.isn_key, nic.now);
  const uint32_t old = FindTcp(nic, tuple);
  if (old == kNone) return iss;
  QPIP_ASSERT(nic.qp(old).tcb.state == tcp::State::kTimeWait);
  const tcp::SequenceNumber beyond = tcp::SuccessorIss(nic.qp(old).tcb, iss);
  EndTimeWait(nic, nic.qp(old));
  return beyond;
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
  TraceTcpState(nic, q, tcp::State::kClosed);
  UpdateReceiveWindow(nic, q);
  UpdateTimer(nic, q);
  Activate(nic, q.handle);
}

}  // namespace

tcp::Options TcpDefaults(const Nic& nic) {
  const NicConfig& c = nic.state.config;
  tcp::Options o = c.tcp;
  const uint32_t mss = c.mtu - 60;  // RFC 9293 3.7.1: fixed IPv6 and TCP headers
  o.mss = mss > 65535 ? 65535 : mss;
  o.segmentation_limit = c.segmentation_limit;
  // RFC 8257 section 3.1: DCTCP is nothing without marks.
  if (o.congestion == tcp::CongestionAlgorithm::kDctcp) o.ecn = tcp::EcnMode::kRequest;
  return o;
}

void StartActiveOpen(const Nic& nic, QueuePair& q) {
  const tcp::SequenceNumber iss = tcp::InitialSequenceNumber(q.tuple, nic.state.isn_key, nic.now);
  tcp::OpenActive(q.tcb, TcpOptions(nic, q), iss, nic.now);
  FinishOpen(nic, q);
}

void StartPassiveOpen(const Nic& nic, QueuePair& q, uint32_t listener, const tcp::FourTuple& tuple,
                      const tcp::Header& syn) {
  const tcp::SequenceNumber iss = PassiveIss(nic, tuple);
  q.tuple = tuple;
  q.listener = listener;
  OnHandshakeBegun(nic, q);
  InsertDemux(nic, q);
  tcp::Segment segment;
  segment.header = syn;
  tcp::OpenPassive(q.tcb, TcpOptions(nic, q), iss, segment, nic.now);
  FinishOpen(nic, q);
}

void StartFromHandshake(const Nic& nic, QueuePair& q, uint32_t listener,
                        const tcp::FourTuple& tuple, const tcp::Handshake& handshake) {
  q.tuple = tuple;
  q.listener = listener;
  OnHandshakeBegun(nic, q);
  InsertDemux(nic, q);
  tcp::ResumeHandshake(q.tcb, TcpOptions(nic, q), handshake, nic.now);
  FinishOpen(nic, q);
}

void OnEstablished(const Nic& nic, QueuePair& q) {
  if (q.listener != kNone) OnHandshakeOver(nic, q);
  SetQpState(nic, q, QpState::kConnected);
  q.ending.connected_reported = true;
  q.notices.path_failed = false;
  AdoptPathMtu(nic, q);
  nic.Count(abi::NicCounter::kConnectionsEstablished);
  ReportEstablished(nic, q);
  UpdateReceiveWindow(nic, q);
  Activate(nic, q.handle);
}

namespace {

/// Whether somebody who has waited may still have a connection: its addresses and ports may be
/// those of one that this host has opened meanwhile.
bool MayStart(const Nic& nic, const BacklogEntry& entry) {
  const uint32_t other = FindTcp(nic, entry.tuple);
  if (other == kNone) return true;
  if (entry.waiting != Waiting::kSyn) return false;
  tcp::Segment segment;
  segment.header = entry.handshake.syn;
  return tcp::TimeWaitYields(nic.qp(other).tcb, segment);
}

/// Mates `q` with somebody who has waited.
void StartWaiting(const Nic& nic, QueuePair& q, BacklogEntry& entry) {
  const BacklogEntry peer = entry;
  ForgetWaiting(nic, entry);
  if (peer.waiting == Waiting::kSyn) {
    nic.Count(abi::NicCounter::kSynsTakenUp);
    StartPassiveOpen(nic, q, peer.listener, peer.tuple, peer.handshake.syn);
    return;
  }
  StartFromHandshake(nic, q, peer.listener, peer.tuple, peer.handshake);
  // Its ACK, as far as that still counts: how long it has been under way does not.
  tcp::Segment ack;
  ack.header.flags = tcp::kAck;
  ack.header.sequence = peer.handshake.syn.sequence + 1;
  ack.header.acknowledgement = peer.handshake.iss + 1;
  ack.header.window = peer.ack_window;
  ack.header.has_timestamps = q.tcb.timestamps_on;
  ack.header.ts_value = peer.ack_ts_value;
  const tcp::State before = q.tcb.state;
  const tcp::Arrival arrival = tcp::OnSegment(q.tcb, ack, nic.now);
  TraceTcpState(nic, q, before);
  if (arrival.outcome == tcp::Outcome::kEstablished) OnEstablished(nic, q);
  UpdateTimer(nic, q);
}

}  // namespace

bool ServiceBacklogs(const Nic& nic) {
  if (!nic.state.backlog_due) return false;
  nic.state.backlog_due = false;
  bool progress = false;
  for (uint32_t i = 0; i < nic.state.config.max_listeners; ++i) {
    ListenerState& listener = nic.listener(i);
    while (listener.in_use && !listener.offered.empty()) {
      BacklogEntry* next = NextWaiting(nic, i);
      if (next == nullptr) break;
      progress = true;
      if (MayStart(nic, *next)) {
        StartWaiting(nic, *TakeOffered(nic, listener), *next);
      } else {
        ForgetWaiting(nic, *next);
      }
    }
  }
  return progress;
}

}  // namespace qpip::fw

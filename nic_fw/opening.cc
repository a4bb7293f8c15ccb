#include "nic_fw/opening.h"

#include "nic_fw/backlog.h"
#include "nic_fw/demux.h"
#include "nic_fw/events.h"
#include "nic_fw/framing.h"
#include "nic_fw/path_mtu.h"
#include "nic_fw/receive_window.h"
#include "nic_fw/schedule.h"
#include "nic_fw/timers.h"
#include "protocols/tcp/machine.h"
#include "protocols/tcp/syn_cookie.h"

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

/// Mates `q` with a SYN that has waited.
static void StartWaiting(const Nic& nic, QueuePair& q, BacklogEntry& entry) {
  const BacklogEntry syn = entry;
  ForgetSyn(nic, entry);
  nic.Count(abi::NicCounter::kSynsTakenUp);
  StartPassiveOpen(nic, q, syn.listener, syn.tuple, syn.syn);
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

void OnEstablished(const Nic& nic, QueuePair& q) {
  if (q.listener != kNone) OnHandshakeOver(nic, nic.listener(q.listener));
  SetQpState(nic, q, QpState::kConnected);
  q.ending.connected_reported = true;
  q.notices.path_failed = false;
  AdoptPathMtu(nic, q);
  nic.Count(abi::NicCounter::kConnectionsEstablished);
  ReportEstablished(nic, q);
  UpdateReceiveWindow(nic, q);
  Activate(nic, q.handle);
}

void OfferQueuePair(const Nic& nic, QueuePair& q, uint32_t handle) {
  q.listener = handle;
  q.tuple = tcp::FourTuple{};
  SetQpState(nic, q, QpState::kOffered);
  if (BacklogEntry* syn = OldestSyn(nic, handle)) {
    StartWaiting(nic, q, *syn);
    return;
  }
  PutOffered(nic, nic.listener(handle), q.handle);
}

bool ServiceBacklogs(const Nic& nic) {
  if (!nic.state.backlog_due) return false;
  nic.state.backlog_due = false;
  bool progress = false;
  for (uint32_t i = 0; i < nic.state.config.max_listeners; ++i) {
    ListenerState& listener = nic.listener(i);
    while (listener.in_use && !UnderPressure(listener) && !listener.offered.empty()) {
      BacklogEntry* syn = OldestSyn(nic, i);
      if (syn == nullptr) break;
      StartWaiting(nic, *TakeOffered(nic, listener), *syn);
      progress = true;
    }
  }
  return progress;
}

void WithdrawOffer(const Nic& nic, QueuePair& q) {
  RemoveOffered(nic, nic.listener(q.listener), q.handle);
  q.listener = kNone;
  SetQpState(nic, q, QpState::kIdle);
}

}  // namespace qpip::fw

#include "nic_fw/listener.h"

#include "nic_fw/backlog.h"
#include "nic_fw/ending.h"
#include "nic_fw/ephemeral_port.h"
#include "nic_fw/events.h"
#include "nic_fw/opening.h"
#include "nic_fw/packet.h"
#include "protocols/tcp/syn_cookie.h"

namespace qpip::fw {
namespace {

// ---------------------------------------------------------------- SYN cookies

constexpr uint64_t kCookieLifeNs = uint64_t{2} << 36;  // two periods of syn_cookie.h

tcp::CookieContext ContextOf(const Nic& nic, const tcp::FourTuple& tuple) {
  return {tuple, nic.state.isn_key, TcpDefaults(nic)};
}

void SendCookie(const Nic& nic, ListenerState& listener, const tcp::FourTuple& tuple,
                const tcp::Header& syn) {
  listener.last_cookie_at = nic.now;
  uint64_t lease = 0;
  const tcp::Header header = tcp::CookieSynAck(ContextOf(nic, tuple), syn, nic.now);
  // Lost when the wire has no room: the peer repeats its SYN.
  SendTcp(nic, tuple, header, PayloadSource{}, Variant::kControl, &lease);
  nic.Count(abi::NicCounter::kSynCookiesSent);
}

/// A queue pair whose peer has let its SYN-ACK go unanswered for a time-out; the oldest.
QueuePair* StaleHalfOpen(const Nic& nic, uint32_t handle) {
  QueuePair* oldest = nullptr;
  for (uint32_t i = 0; i < nic.state.config.max_qps; ++i) {
    QueuePair& q = nic.qp(i);
    const bool stale =
        q.state == QpState::kConnecting && q.listener == handle && q.tcb.rtt.backoff != 0;
    if (stale && (oldest == nullptr || q.tcb.opened_at < oldest->tcb.opened_at)) oldest = &q;
  }
  return oldest;
}

/// An ACK that proves by a cookie that its sender has seen our SYN-ACK. Answers whether it does;
/// with no queue pair for it now, the peer will send again.
bool TakeCookie(const Nic& nic, uint32_t handle, const tcp::FourTuple& tuple,
                const tcp::Header& ack) {
  ListenerState& listener = nic.listener(handle);
  const bool any =
      listener.last_cookie_at != tcp::kNever && nic.now - listener.last_cookie_at < kCookieLifeNs;
  tcp::Header syn;
  if (!any || !tcp::CheckCookie(ContextOf(nic, tuple), ack, nic.now, &syn)) return false;
  QueuePair* q = TakeOffered(nic, listener);
  if (q == nullptr) {
    q = StaleHalfOpen(nic, handle);
    if (q != nullptr) EvictHalfOpen(nic, *q);
  }
  if (q == nullptr) {
    nic.Drop(abi::DropReason::kBacklogFull);
    return true;
  }
  nic.Count(abi::NicCounter::kSynCookiesAccepted);
  StartFromCookie(nic, *q, handle, tuple, ack, syn);
  return true;
}

}  // namespace

uint32_t FindListener(const Nic& nic, uint16_t port) {
  for (uint32_t i = 0; i < nic.state.config.max_listeners; ++i) {
    if (nic.listener(i).in_use && nic.listener(i).port == port) return i;
  }
  return kNone;
}

abi::CommandStatus OpenListener(const Nic& nic, uint16_t port, uint16_t backlog, uint32_t* handle) {
  if (port == 0) {
    port = EphemeralPort(nic,
                         [&](uint16_t candidate) { return FindListener(nic, candidate) == kNone; });
  }
  if (FindListener(nic, port) != kNone) return abi::CommandStatus::kAddressInUse;
  for (uint32_t i = 0; i < nic.state.config.max_listeners; ++i) {
    ListenerState& listener = nic.listener(i);
    if (listener.in_use) continue;
    listener = ListenerState{};
    listener.in_use = true;
    listener.port = port;
    listener.backlog_limit = backlog;
    *handle = i;
    return abi::CommandStatus::kOk;
  }
  return abi::CommandStatus::kNoResource;
}

void CloseListener(const Nic& nic, uint32_t handle) {
  ListenerState& listener = nic.listener(handle);
  while (QueuePair* q = TakeOffered(nic, listener)) {
    q->listener = kNone;
    SetQpState(nic, *q, QpState::kIdle);
  }
  for (uint32_t i = 0; i < nic.state.config.max_backlog; ++i) {
    if (nic.backlog(i).in_use && nic.backlog(i).listener == handle) {
      ForgetSyn(nic, nic.backlog(i));
    }
  }
  listener.in_use = false;
  for (uint32_t i = 0; i < nic.state.config.max_qps; ++i) {
    QueuePair& q = nic.qp(i);
    if (q.state == QpState::kConnecting && q.listener == handle) AbortConnection(nic, q);
  }
}

void OnListenSegment(const Nic& nic, uint32_t handle, const tcp::FourTuple& tuple,
                     const tcp::Segment& segment) {
  const tcp::Header& header = segment.header;
  // First, check for a RST: it may concern a SYN that waits here.
  if (header.Has(tcp::kRst)) {
    BacklogEntry* entry = FindSyn(nic, handle, tuple);
    if (entry != nullptr) ForgetSyn(nic, *entry);
    return;
  }
  // Second, check for an ACK: nothing was sent that could be acknowledged, but cookies.
  if (header.Has(tcp::kAck)) {
    if (TakeCookie(nic, handle, tuple, header)) return;
    tcp::Header reset;
    if (tcp::ResetFor(segment, &reset)) SendReset(nic, tuple, reset);
    return;
  }
  // Third, check for a SYN. Fourth: anything else is dropped.
  if (!header.Has(tcp::kSyn)) {
    nic.Drop(abi::DropReason::kNoTcpConnection);
    return;
  }
  const bool pressure = UnderPressure(nic.listener(handle));
  QueuePair* q = pressure ? nullptr : TakeOffered(nic, nic.listener(handle));
  if (q != nullptr) {
    StartPassiveOpen(nic, *q, handle, tuple, header);
    return;
  }
  BacklogEntry* waiting = pressure ? FindSyn(nic, handle, tuple) : nullptr;
  if (waiting != nullptr) {
    // Its peer is there, and among those that are not it would have to wait for long.
    ForgetSyn(nic, *waiting);
    SendCookie(nic, nic.listener(handle), tuple, header);
    return;
  }
  if (KeepSyn(nic, handle, tuple, header)) return;
  if (pressure) {
    SendCookie(nic, nic.listener(handle), tuple, header);
  } else {
    nic.Drop(abi::DropReason::kBacklogFull);
  }
}

}  // namespace qpip::fw

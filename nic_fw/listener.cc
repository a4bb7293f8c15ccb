#include "nic_fw/listener.h"

#include "nic_fw/connection.h"
#include "nic_fw/packet.h"
#include "protocols/tcp/syn_cookie.h"

namespace qpip::fw {
namespace {

constexpr uint64_t kNsPerMs = 1000000;
constexpr uint16_t kFirstEphemeralPort = 49152;

bool Expired(const Nic& nic, const BacklogEntry& entry) {
  const uint32_t limit = nic.state.config.connect_timeout_ms;  // 0: never, as for a SYN sent
  return limit != 0 && nic.now - entry.arrived_at > limit * kNsPerMs;
}

void ForgetSyn(const Nic& nic, BacklogEntry& entry) {
  entry.in_use = false;
  --nic.listener(entry.listener).backlog_count;
}

BacklogEntry* FindSyn(const Nic& nic, uint32_t listener, const tcp::FourTuple& tuple) {
  for (uint32_t i = 0; i < nic.state.config.max_backlog; ++i) {
    BacklogEntry& entry = nic.backlog(i);
    if (entry.in_use && entry.listener == listener && entry.tuple == tuple) return &entry;
  }
  return nullptr;
}

/// The SYN that has waited longest; expired ones are forgotten on the way.
BacklogEntry* OldestSyn(const Nic& nic, uint32_t listener) {
  BacklogEntry* oldest = nullptr;
  for (uint32_t i = 0; i < nic.state.config.max_backlog; ++i) {
    BacklogEntry& entry = nic.backlog(i);
    if (!entry.in_use || entry.listener != listener) continue;
    if (Expired(nic, entry)) {
      ForgetSyn(nic, entry);
    } else if (oldest == nullptr || entry.arrived_at < oldest->arrived_at) {
      oldest = &entry;
    }
  }
  return oldest;
}

/// Keeps a SYN until a queue pair is offered. Nothing is answered meanwhile: the peer repeats it.
/// False: there is no room.
bool KeepSyn(const Nic& nic, uint32_t handle, const tcp::FourTuple& tuple, const tcp::Header& syn) {
  ListenerState& listener = nic.listener(handle);
  BacklogEntry* entry = FindSyn(nic, handle, tuple);
  if (entry == nullptr) {
    OldestSyn(nic, handle);  // for its side effect: room from expired ones
    if (listener.backlog_count < listener.backlog_limit) {
      for (uint32_t i = 0; i < nic.state.config.max_backlog && entry == nullptr; ++i) {
        if (!nic.backlog(i).in_use) entry = &nic.backlog(i);
      }
    }
    if (entry == nullptr) return false;
    entry->in_use = true;
    entry->listener = handle;
    entry->tuple = tuple;
    entry->arrived_at = nic.now;
    ++listener.backlog_count;
  }
  entry->syn = syn;
  return true;
}

QueuePair* TakeOffered(const Nic& nic, ListenerState& listener) {
  if (listener.offered_head == kNone) return nullptr;
  QueuePair& q = nic.qp(listener.offered_head);
  listener.offered_head = q.next_offered;
  if (listener.offered_head == kNone) listener.offered_tail = kNone;
  --listener.offered_count;
  q.next_offered = kNone;
  return &q;
}

// ---------------------------------------------------------------- SYN cookies

constexpr uint64_t kCookieLifeNs = uint64_t{2} << 36;  // two periods of syn_cookie.h

/// Handshakes that nobody may ever complete hold three quarters of the listener's queue pairs, or
/// the only one: more SYNs get no more of them, but wait, and are answered by cookies when no more
/// can wait.
bool UnderPressure(const ListenerState& listener) {
  const uint32_t total = listener.half_open + listener.offered_count;
  const uint32_t limit = total - (total >> 2);
  return listener.half_open != 0 && listener.half_open >= limit;
}

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
        q.state == QpState::kConnecting && q.listener == handle && q.tcb.backoff != 0;
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
    const uint32_t start = static_cast<uint32_t>(nic.hardware.Random());
    for (uint32_t i = 0; i < 65536u - kFirstEphemeralPort && port == 0; ++i) {
      const uint16_t candidate =
          static_cast<uint16_t>(kFirstEphemeralPort + ((start + i) & 0x3fffu));
      if (FindListener(nic, candidate) == kNone) port = candidate;
    }
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

void OfferQueuePair(const Nic& nic, QueuePair& q, uint32_t handle) {
  ListenerState& listener = nic.listener(handle);
  q.listener = handle;
  q.tuple = tcp::FourTuple{};
  SetQpState(nic, q, QpState::kOffered);
  if (BacklogEntry* syn = OldestSyn(nic, handle)) {
    const tcp::FourTuple tuple = syn->tuple;
    const tcp::Header header = syn->syn;
    ForgetSyn(nic, *syn);
    StartPassiveOpen(nic, q, handle, tuple, header);
    return;
  }
  q.next_offered = kNone;
  if (listener.offered_tail == kNone) {
    listener.offered_head = q.handle;
  } else {
    nic.qp(listener.offered_tail).next_offered = q.handle;
  }
  listener.offered_tail = q.handle;
  ++listener.offered_count;
}

void WithdrawOffer(const Nic& nic, QueuePair& q) {
  ListenerState& listener = nic.listener(q.listener);
  uint32_t previous = kNone;
  uint32_t handle = listener.offered_head;
  while (handle != kNone && handle != q.handle) {
    previous = handle;
    handle = nic.qp(handle).next_offered;
  }
  if (handle == q.handle) {
    if (previous == kNone) {
      listener.offered_head = q.next_offered;
    } else {
      nic.qp(previous).next_offered = q.next_offered;
    }
    if (listener.offered_tail == q.handle) listener.offered_tail = previous;
    --listener.offered_count;
  }
  q.next_offered = kNone;
  q.listener = kNone;
  SetQpState(nic, q, QpState::kIdle);
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

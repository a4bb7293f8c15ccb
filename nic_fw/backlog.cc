#include "nic_fw/backlog.h"

#include "nic_fw/events.h"

namespace qpip::fw {
namespace {

constexpr uint64_t kNsPerMs = 1000000;
constexpr uint64_t kSecondNs = 1000000000;
/// As long as one of a queue pair lives.
constexpr uint32_t kHalfOpenLifeMs = 60000;

bool Expired(const Nic& nic, const BacklogEntry& entry) {
  uint32_t limit = nic.state.config.tcp.connect_timeout_ms;  // 0: never, as for a SYN sent
  const bool half_open = entry.waiting == Waiting::kHandshake;
  if (half_open && (limit == 0 || limit > kHalfOpenLifeMs)) limit = kHalfOpenLifeMs;
  return limit != 0 && nic.now - entry.arrived_at > limit * kNsPerMs;
}

void ForgetExpired(const Nic& nic, uint32_t handle) {
  const ListenerState& listener = nic.listener(handle);
  for (uint32_t i = 0; i < nic.state.config.max_backlog && listener.backlog_count != 0; ++i) {
    BacklogEntry& entry = nic.backlog(i);
    if (entry.in_use && entry.listener == handle && Expired(nic, entry)) ForgetWaiting(nic, entry);
  }
}

/// Who of those in the backlog has waited longest for that.
BacklogEntry* Oldest(const Nic& nic, uint32_t handle, Waiting waiting) {
  if (nic.listener(handle).backlog_count == 0) return nullptr;
  BacklogEntry* oldest = nullptr;
  for (uint32_t i = 0; i < nic.state.config.max_backlog; ++i) {
    BacklogEntry& entry = nic.backlog(i);
    if (!entry.in_use || entry.listener != handle || entry.waiting != waiting) continue;
    if (oldest == nullptr || entry.arrived_at < oldest->arrived_at) oldest = &entry;
  }
  return oldest;
}

BacklogEntry* FreeEntry(const Nic& nic, uint32_t handle) {
  if (nic.listener(handle).backlog_count >= nic.listener(handle).backlog_limit) return nullptr;
  for (uint32_t i = 0; i < nic.state.config.max_backlog; ++i) {
    if (!nic.backlog(i).in_use) return &nic.backlog(i);
  }
  return nullptr;
}

/// The handshake that has waited longest, if its peer has had the time to prove itself.
BacklogEntry* OldestUnanswered(const Nic& nic, uint32_t handle) {
  BacklogEntry* oldest = Oldest(nic, handle, Waiting::kHandshake);
  return oldest == nullptr || MayBeOnItsWay(nic, oldest->arrived_at) ? nullptr : oldest;
}

/// The entry for `tuple`, a new one if need be. nullptr: there is no room. Nobody gives way to a
/// SYN; to others do first SYNs, then the handshake that has waited longest.
BacklogEntry* Put(const Nic& nic, uint32_t handle, const tcp::FourTuple& tuple, Waiting waiting,
                  uint64_t arrived_at) {
  ListenerState& listener = nic.listener(handle);
  BacklogEntry* entry = FindWaiting(nic, handle, tuple);
  if (entry == nullptr || entry->waiting != waiting) {
    if (entry != nullptr) ForgetWaiting(nic, *entry);
    ForgetExpired(nic, handle);
    entry = FreeEntry(nic, handle);
    if (entry == nullptr && waiting != Waiting::kSyn) {
      entry = Oldest(nic, handle, Waiting::kSyn);
      if (entry == nullptr) entry = OldestUnanswered(nic, handle);
      if (entry != nullptr) ForgetWaiting(nic, *entry);
    }
    if (entry == nullptr) return nullptr;
    *entry = BacklogEntry{};
    entry->in_use = true;
    entry->waiting = waiting;
    entry->listener = handle;
    entry->tuple = tuple;
    entry->arrived_at = arrived_at;
    ++listener.backlog_count;
    if (waiting == Waiting::kProven) ++listener.proven_count;
    nic.Trace(kTraceSynsWaiting, handle, listener.backlog_count - 1u, listener.backlog_count);
  }
  return entry;
}

/// Handshakes a listener has room for: three quarters of its queue pairs.
uint32_t HalfOpenLimit(const ListenerState& listener) {
  const uint32_t total = listener.half_open.count + listener.offered.count;
  return total - (total >> 2);
}

/// `flooded` and `unanswered` as of now. A listener is flooded for a second when in the one before
/// so many cookies have not come back that handshakes would have taken all they may.
void CountSeconds(const Nic& nic, ListenerState& listener) {
  const uint64_t passed = nic.now - listener.second_began_at;
  if (passed < kSecondNs) return;
  const uint32_t limit = HalfOpenLimit(listener);
  listener.flooded = passed < 2 * kSecondNs && listener.unanswered >= (limit == 0 ? 1 : limit);
  listener.unanswered = 0;
  listener.second_began_at = nic.now;
}

}  // namespace

void ForgetWaiting(const Nic& nic, BacklogEntry& entry) {
  ListenerState& listener = nic.listener(entry.listener);
  entry.in_use = false;
  if (entry.waiting == Waiting::kProven) --listener.proven_count;
  const uint32_t waiting = --listener.backlog_count;
  nic.Trace(kTraceSynsWaiting, entry.listener, waiting + 1, waiting);
}

BacklogEntry* FindWaiting(const Nic& nic, uint32_t listener, const tcp::FourTuple& tuple) {
  uint32_t left = nic.listener(listener).backlog_count;
  for (uint32_t i = 0; i < nic.state.config.max_backlog && left != 0; ++i) {
    BacklogEntry& entry = nic.backlog(i);
    if (!entry.in_use || entry.listener != listener) continue;
    if (entry.tuple == tuple) return &entry;
    --left;
  }
  return nullptr;
}

BacklogEntry* NextWaiting(const Nic& nic, uint32_t handle) {
  ListenerState& listener = nic.listener(handle);
  if (listener.backlog_count == 0) return nullptr;
  ForgetExpired(nic, handle);
  BacklogEntry* next = Oldest(nic, handle, Waiting::kProven);
  if (next != nullptr || UnderPressure(nic, listener)) return next;
  return Oldest(nic, handle, Waiting::kSyn);
}

bool MayRepeatSynAck(const Nic& nic, ListenerState& listener, bool first) {
  // In eighths of a SYN-ACK: one for each handshake that is unanswered, one each half second, and
  // no more than eight SYN-ACKs saved.
  constexpr uint64_t kEighthNs = kSecondNs / 2;
  constexpr uint32_t kRepeat = 8;
  constexpr uint32_t kMostSaved = 8 * kRepeat;
  const uint64_t passed = (nic.now - listener.repeats_saved_at) / kEighthNs;
  listener.repeats_saved_at += passed * kEighthNs;
  const uint64_t saved = listener.repeats_saved + passed + (first ? 1 : 0);
  listener.repeats_saved = static_cast<uint32_t>(saved < kMostSaved ? saved : kMostSaved);
  if (listener.repeats_saved < kRepeat) return false;
  listener.repeats_saved -= kRepeat;
  return true;
}

bool KeepSyn(const Nic& nic, uint32_t handle, const tcp::FourTuple& tuple, const tcp::Header& syn) {
  const bool waits = FindWaiting(nic, handle, tuple) != nullptr;
  BacklogEntry* entry = Put(nic, handle, tuple, Waiting::kSyn, nic.now);
  if (entry == nullptr) return false;
  if (!waits) nic.Count(abi::NicCounter::kSynsPutOff);
  entry->handshake.syn = syn;
  return true;
}

bool MayBeOnItsWay(const Nic& nic, uint64_t answered_at) {
  const uint64_t patience = uint64_t{nic.state.config.tcp.rto_initial_us} * 500;
  return nic.now - answered_at < patience;
}

bool KeepHandshake(const Nic& nic, uint32_t handle, const tcp::FourTuple& tuple,
                   const tcp::Handshake& handshake, uint64_t answered_at) {
  BacklogEntry* entry = Put(nic, handle, tuple, Waiting::kHandshake, answered_at);
  if (entry == nullptr) return false;
  nic.Count(abi::NicCounter::kHandshakesPutAside);
  entry->handshake = handshake;
  return true;
}

bool KeepProven(const Nic& nic, uint32_t handle, const tcp::FourTuple& tuple,
                const tcp::Handshake& handshake, const tcp::Header& ack) {
  BacklogEntry* entry = Put(nic, handle, tuple, Waiting::kProven, nic.now);
  if (entry == nullptr) return false;
  nic.Count(abi::NicCounter::kPeersPutOff);
  entry->handshake = handshake;
  entry->ack_window = ack.window;
  entry->ack_ts_value = ack.ts_value;
  return true;
}

bool HasRoomForProven(const Nic& nic, uint32_t handle) {
  const ListenerState& listener = nic.listener(handle);
  return listener.proven_count < listener.backlog_limit;
}

bool UnderPressure(const Nic& nic, ListenerState& listener) {
  CountSeconds(nic, listener);
  const uint32_t half_open = listener.half_open.count;
  return listener.flooded || (half_open != 0 && half_open >= HalfOpenLimit(listener));
}

void OnCookieSent(const Nic& nic, ListenerState& listener) {
  CountSeconds(nic, listener);
  listener.last_cookie_at = nic.now;
  ++listener.unanswered;
  nic.Count(abi::NicCounter::kSynCookiesSent);
}

void OnCookieAccepted(const Nic& nic, ListenerState& listener) {
  if (listener.unanswered != 0) --listener.unanswered;
  nic.Count(abi::NicCounter::kSynCookiesAccepted);
}

void OnHandshakeBegun(const Nic& nic, QueuePair& q) {
  PushBack(nic.listener(q.listener).half_open, ListenerLink{nic}, q.handle);
}

void OnHandshakeOver(const Nic& nic, QueuePair& q) {
  ListenerState& listener = nic.listener(q.listener);
  Remove(listener.half_open, ListenerLink{nic}, q.handle);
  if (listener.backlog_count != 0) nic.state.backlog_due = true;
}

QueuePair* TakeOffered(const Nic& nic, ListenerState& listener) {
  const uint32_t handle = PopFront(listener.offered, ListenerLink{nic});
  return handle == kNone ? nullptr : &nic.qp(handle);
}

void RemoveOffered(const Nic& nic, ListenerState& listener, uint32_t queue_pair) {
  if (ListenerLink{nic}(queue_pair).linked()) {
    Remove(listener.offered, ListenerLink{nic}, queue_pair);
  }
}

void OfferQueuePair(const Nic& nic, QueuePair& q, uint32_t handle) {
  q.listener = handle;
  q.tuple = tcp::FourTuple{};
  SetQpState(nic, q, QpState::kOffered);
  ListenerState& listener = nic.listener(handle);
  PushBack(listener.offered, ListenerLink{nic}, q.handle);
  if (listener.backlog_count != 0) nic.state.backlog_due = true;
}

void WithdrawOffer(const Nic& nic, QueuePair& q) {
  RemoveOffered(nic, nic.listener(q.listener), q.handle);
  q.listener = kNone;
  SetQpState(nic, q, QpState::kIdle);
}

}  // namespace qpip::fw

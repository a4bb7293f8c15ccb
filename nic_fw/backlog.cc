#include "nic_fw/backlog.h"

namespace qpip::fw {
namespace {

constexpr uint64_t kNsPerMs = 1000000;

bool Expired(const Nic& nic, const BacklogEntry& entry) {
  const uint32_t limit = nic.state.config.tcp.connect_timeout_ms;  // 0: never, as for a SYN sent
  return limit != 0 && nic.now - entry.arrived_at > limit * kNsPerMs;
}

}  // namespace

void ForgetSyn(const Nic& nic, BacklogEntry& entry) {
  entry.in_use = false;
  const uint32_t waiting = --nic.listener(entry.listener).backlog_count;
  nic.Trace(kTraceSynsWaiting, entry.listener, waiting + 1, waiting);
}

BacklogEntry* FindSyn(const Nic& nic, uint32_t listener, const tcp::FourTuple& tuple) {
  for (uint32_t i = 0; i < nic.state.config.max_backlog; ++i) {
    BacklogEntry& entry = nic.backlog(i);
    if (entry.in_use && entry.listener == listener && entry.tuple == tuple) return &entry;
  }
  return nullptr;
}

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
    nic.Count(abi::NicCounter::kSynsPutOff);
    nic.Trace(kTraceSynsWaiting, handle, listener.backlog_count - 1u, listener.backlog_count);
  }
  entry->syn = syn;
  return true;
}

bool UnderPressure(const ListenerState& listener) {
  const uint32_t total = listener.half_open + listener.offered.count;
  const uint32_t limit = total - (total >> 2);
  return listener.half_open != 0 && listener.half_open >= limit;
}

void OnHandshakeOver(const Nic& nic, ListenerState& listener) {
  --listener.half_open;
  if (listener.backlog_count != 0) nic.state.backlog_due = true;
}

QueuePair* TakeOffered(const Nic& nic, ListenerState& listener) {
  const uint32_t handle = PopFront(listener.offered, OfferedLink{nic});
  return handle == kNone ? nullptr : &nic.qp(handle);
}

void PutOffered(const Nic& nic, ListenerState& listener, uint32_t queue_pair) {
  PushBack(listener.offered, OfferedLink{nic}, queue_pair);
}

void RemoveOffered(const Nic& nic, ListenerState& listener, uint32_t queue_pair) {
  if (OfferedLink{nic}(queue_pair).linked()) {
    Remove(listener.offered, OfferedLink{nic}, queue_pair);
  }
}

}  // namespace qpip::fw

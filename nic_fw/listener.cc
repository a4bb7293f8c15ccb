#include "nic_fw/listener.h"

#include "nic_fw/connection.h"
#include "nic_fw/packet.h"

namespace qpip::fw {
namespace {

constexpr uint64_t kNsPerMs = 1000000;
constexpr uint16_t kFirstEphemeralPort = 49152;

bool Expired(const Nic& nic, const BacklogEntry& entry) {
  return nic.now - entry.arrived_at > nic.state.config.connect_timeout_ms * kNsPerMs;
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
void KeepSyn(const Nic& nic, uint32_t handle, const tcp::FourTuple& tuple, const tcp::Header& syn) {
  ListenerState& listener = nic.listener(handle);
  BacklogEntry* entry = FindSyn(nic, handle, tuple);
  if (entry == nullptr) {
    OldestSyn(nic, handle);  // for its side effect: room from expired ones
    if (listener.backlog_count < listener.backlog_limit) {
      for (uint32_t i = 0; i < nic.state.config.max_backlog && entry == nullptr; ++i) {
        if (!nic.backlog(i).in_use) entry = &nic.backlog(i);
      }
    }
    if (entry == nullptr) {
      nic.Drop(abi::DropReason::kBacklogFull);
      return;
    }
    entry->in_use = true;
    entry->listener = handle;
    entry->tuple = tuple;
    entry->arrived_at = nic.now;
    ++listener.backlog_count;
  }
  entry->syn = syn;
}

QueuePair* TakeOffered(const Nic& nic, ListenerState& listener) {
  if (listener.offered_head == kNone) return nullptr;
  QueuePair& q = nic.qp(listener.offered_head);
  listener.offered_head = q.next_offered;
  if (listener.offered_head == kNone) listener.offered_tail = kNone;
  q.next_offered = kNone;
  return &q;
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
    const uint32_t start = static_cast<uint32_t>(nic.port.random(nic.port.context));
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
  // Second, check for an ACK: nothing was sent that could be acknowledged.
  if (header.Has(tcp::kAck)) {
    tcp::Header reset;
    if (tcp::ResetFor(segment, &reset)) SendReset(nic, tuple, reset);
    return;
  }
  // Third, check for a SYN. Fourth: anything else is dropped.
  if (!header.Has(tcp::kSyn)) {
    nic.Drop(abi::DropReason::kNoTcpConnection);
    return;
  }
  QueuePair* q = TakeOffered(nic, nic.listener(handle));
  if (q == nullptr) {
    KeepSyn(nic, handle, tuple, header);
    return;
  }
  StartPassiveOpen(nic, *q, handle, tuple, header);
}

}  // namespace qpip::fw

#include "nic_fw/listener.h"

#include "nic_fw/backlog.h"
#include "nic_fw/ending.h"
#include "nic_fw/ephemeral_port.h"
#include "nic_fw/events.h"
#include "nic_fw/opening.h"
#include "nic_fw/packet.h"
#include "nic_fw/proof.h"

namespace qpip::fw {
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
    BacklogEntry& entry = nic.backlog(i);
    if (!entry.in_use || entry.listener != handle) continue;
    if (entry.waiting == Waiting::kProven) {  // it takes itself for connected
      tcp::Header reset;
      reset.flags = tcp::kRst;
      reset.sequence = entry.handshake.iss + 1;
      SendReset(nic, entry.tuple, reset);
    }
    ForgetWaiting(nic, entry);
  }
  listener.in_use = false;
  while (!listener.half_open.empty()) AbortConnection(nic, nic.qp(listener.half_open.head));
}

namespace {

/// First check: a RST. It may concern somebody who waits here, and must then fit what he has sent.
void OnReset(const Nic& nic, uint32_t handle, const tcp::FourTuple& tuple,
             const tcp::Header& header) {
  BacklogEntry* entry = FindWaiting(nic, handle, tuple);
  if (entry == nullptr) return;
  const uint32_t ahead = entry->handshake.syn.sequence.DistanceTo(header.sequence);
  if (ahead <= 1u + tcp::kHandshakeWindow) ForgetWaiting(nic, *entry);
}

/// Third check: a SYN.
void OnSyn(const Nic& nic, uint32_t handle, const tcp::FourTuple& tuple, const tcp::Header& syn) {
  ListenerState& listener = nic.listener(handle);
  BacklogEntry* entry = FindWaiting(nic, handle, tuple);
  // Its peer may go on with the number that it was told.
  const bool answered = entry != nullptr && entry->waiting != Waiting::kSyn;
  const bool pressure = UnderPressure(nic, listener);
  if (!pressure && !answered) {
    QueuePair* q = TakeOffered(nic, listener);
    if (q != nullptr) {
      if (entry != nullptr) ForgetWaiting(nic, *entry);
      StartPassiveOpen(nic, *q, handle, tuple, syn);
      return;
    }
    if (KeepSyn(nic, handle, tuple, syn)) return;
  }
  const bool at_hand = !listener.offered.empty() || !listener.half_open.empty();
  if (!at_hand && !HasRoomForProven(nic, handle)) {
    nic.Drop(abi::DropReason::kBacklogFull);
    return;
  }
  // From now on there is one number by which it may come back.
  if (entry != nullptr && !answered) ForgetWaiting(nic, *entry);
  AnswerByCookie(nic, handle, tuple, syn);
}

}  // namespace

void OnReopeningSyn(const Nic& nic, uint32_t handle, const tcp::FourTuple& tuple,
                    const tcp::Header& syn) {
  QueuePair* q = TakeOffered(nic, nic.listener(handle));
  if (q == nullptr) {
    if (!KeepSyn(nic, handle, tuple, syn)) nic.Drop(abi::DropReason::kBacklogFull);
    return;
  }
  BacklogEntry* entry = FindWaiting(nic, handle, tuple);
  if (entry != nullptr) ForgetWaiting(nic, *entry);
  StartPassiveOpen(nic, *q, handle, tuple, syn);
}

void OnListenSegment(const Nic& nic, uint32_t handle, const tcp::FourTuple& tuple,
                     const tcp::Segment& segment) {
  const tcp::Header& header = segment.header;
  if (header.Has(tcp::kRst)) {
    OnReset(nic, handle, tuple, header);
    return;
  }
  // Second, check for an ACK: nothing may be acknowledged but what was sent without a queue pair.
  if (header.Has(tcp::kAck)) {
    if (TakeProof(nic, handle, tuple, header)) return;
    tcp::Header reset;
    if (tcp::ResetFor(segment, &reset)) SendReset(nic, tuple, reset);
    return;
  }
  // Fourth: anything else is dropped.
  if (!header.Has(tcp::kSyn)) {
    nic.Drop(abi::DropReason::kNoTcpConnection);
    return;
  }
  OnSyn(nic, handle, tuple, header);
}

}  // namespace qpip::fw

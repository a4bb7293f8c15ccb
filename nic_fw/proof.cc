#include "nic_fw/proof.h"

#include <span>

#include "nic_fw/backlog.h"
#include "nic_fw/ending.h"
#include "nic_fw/opening.h"
#include "nic_fw/packet.h"
#include "protocols/common/byte_order.h"
#include "protocols/tcp/syn_cookie.h"

namespace qpip::fw {
namespace {

constexpr uint64_t kCookieLifeNs = uint64_t{2} << 36;  // two periods of syn_cookie.h

tcp::CookieContext ContextOf(const Nic& nic, const tcp::FourTuple& tuple) {
  return {tuple, nic.state.isn_key, TcpDefaults(nic)};
}

/// Nobody repeats his SYN for want of an answer before half of the time-out is over.
bool AnsweredLately(const Nic& nic, const tcp::FourTuple& tuple, const tcp::Header& syn) {
  uint8_t bytes[sizeof(tuple) + sizeof(uint32_t)];
  std::memcpy(bytes, &tuple, sizeof(tuple));
  StoreBe32(bytes + sizeof(tuple), syn.sequence.value());
  const uint64_t hash = SipHash24(nic.state.hash_key, bytes);
  AnsweredSyn& slot = nic.state.answered_syns[hash % kAnsweredSyns];
  const uint32_t tag = static_cast<uint32_t>(hash >> 32) | 1;  // 0: nothing was answered
  if (slot.tag == tag && MayBeOnItsWay(nic, slot.at)) return true;
  slot = {tag, nic.now};
  return false;
}

tcp::Proof CheckCookie(const Nic& nic, const ListenerState& listener, const tcp::FourTuple& tuple,
                       const tcp::Header& header, tcp::Handshake* handshake) {
  const bool any =
      listener.last_cookie_at != tcp::kNever && nic.now - listener.last_cookie_at < kCookieLifeNs;
  if (!any) return tcp::Proof::kNone;
  return tcp::CheckCookie(ContextOf(nic, tuple), header, nic.now, handshake);
}

/// The queue pair of the handshake that has waited longest for its ACK, unless its peer may be on
/// its way and could not come back any more.
QueuePair* TakeHalfOpen(const Nic& nic, uint32_t handle) {
  const uint32_t oldest = nic.listener(handle).half_open.head;
  if (oldest == kNone) return nullptr;
  QueuePair& q = nic.qp(oldest);
  const uint64_t answered_at = q.tcb.opened_at;
  const bool kept = KeepHandshake(nic, handle, q.tuple, tcp::SuspendHandshake(q.tcb), answered_at);
  if (!kept && MayBeOnItsWay(nic, answered_at)) return nullptr;
  GiveUpHandshake(nic, q);
  return &q;
}

/// A peer has proven itself by `header`.
void Admit(const Nic& nic, uint32_t handle, const tcp::FourTuple& tuple,
           const tcp::Handshake& handshake, const tcp::Header& header) {
  // Its place may be wanted by the handshake that is to lose its queue pair.
  BacklogEntry* entry = FindWaiting(nic, handle, tuple);
  if (entry != nullptr) ForgetWaiting(nic, *entry);
  QueuePair* q = TakeOffered(nic, nic.listener(handle));
  if (q == nullptr) q = TakeHalfOpen(nic, handle);
  if (q == nullptr) {
    KeepProven(nic, handle, tuple, handshake, header);
    nic.Drop(abi::DropReason::kBacklogFull);
    return;
  }
  StartFromHandshake(nic, *q, handle, tuple, handshake);
}

}  // namespace

void AnswerByCookie(const Nic& nic, uint32_t listener, const tcp::FourTuple& tuple,
                    const tcp::Header& syn) {
  if (AnsweredLately(nic, tuple, syn)) {
    nic.Drop(abi::DropReason::kSynRepeated);
    return;
  }
  uint64_t lease = 0;
  const tcp::Header header = tcp::CookieSynAck(ContextOf(nic, tuple), syn, nic.now);
  // Lost when the wire has no room: the peer repeats its SYN.
  SendTcp(nic, tuple, header, PayloadSource{}, Variant::kControl, &lease);
  OnCookieSent(nic, nic.listener(listener));
}

bool TakeProof(const Nic& nic, uint32_t handle, const tcp::FourTuple& tuple,
               const tcp::Header& header) {
  ListenerState& listener = nic.listener(handle);
  const BacklogEntry* entry = FindWaiting(nic, handle, tuple);
  tcp::Handshake handshake;
  tcp::Proof proof = tcp::Proof::kNone;
  if (entry != nullptr && entry->waiting != Waiting::kSyn) {
    handshake = entry->handshake;
    proof = tcp::CheckProof(handshake, header);
    // It waits already, and so does what it says.
    if (entry->waiting == Waiting::kProven && proof == tcp::Proof::kGood)
      proof = tcp::Proof::kLater;
  }
  if (proof == tcp::Proof::kNone) {
    proof = CheckCookie(nic, listener, tuple, header, &handshake);
    if (proof == tcp::Proof::kGood) OnCookieAccepted(nic, listener);
  }
  if (proof == tcp::Proof::kGood) Admit(nic, handle, tuple, handshake, header);
  if (proof == tcp::Proof::kLater) nic.Drop(abi::DropReason::kBacklogFull);
  return proof != tcp::Proof::kNone;
}

bool ReconcileHandshake(const Nic& nic, QueuePair& q, const tcp::Header& header) {
  if (header.acknowledgement == q.tcb.snd.iss + 1) return true;
  tcp::Handshake handshake;
  const tcp::FourTuple tuple = q.tuple;
  const uint32_t listener = q.listener;
  switch (CheckCookie(nic, nic.listener(listener), tuple, header, &handshake)) {
    case tcp::Proof::kNone:
      return true;
    case tcp::Proof::kLater:
      nic.Drop(abi::DropReason::kTcpOutOfOrder);
      return false;
    default:
      break;
  }
  OnCookieAccepted(nic, nic.listener(listener));
  GiveUpHandshake(nic, q);
  StartFromHandshake(nic, q, listener, tuple, handshake);
  return true;
}

}  // namespace qpip::fw

// What a listener has at hand: idle queue pairs that the server has offered, those whose handshake
// is under way, and peers that wait without one.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// Takes the queue pair that was offered first, or nullptr.
QueuePair* TakeOffered(const Nic& nic, ListenerState& listener);
/// The queue pair (its handle) waits for a connection no longer.
void RemoveOffered(const Nic& nic, ListenerState& listener, uint32_t queue_pair);

/// Gives an idle queue pair to the listener. Somebody who waits gets it soon (ServiceBacklogs).
void OfferQueuePair(const Nic& nic, QueuePair& q, uint32_t listener);
/// Takes an offered queue pair back.
void WithdrawOffer(const Nic& nic, QueuePair& q);

/// A handshake by which `q` was taken has begun, or has ended, well or badly. In the end peers that
/// had to wait may go on (ServiceBacklogs).
void OnHandshakeBegun(const Nic& nic, QueuePair& q);
void OnHandshakeOver(const Nic& nic, QueuePair& q);

/// Handshakes that nobody may ever complete hold three quarters of the listener's queue pairs, or
/// the only one, or would soon (`flooded`): more SYNs get none, but are answered by cookies.
bool UnderPressure(const Nic& nic, ListenerState& listener);
/// A cookie was sent, or has come back.
void OnCookieSent(const Nic& nic, ListenerState& listener);
void OnCookieAccepted(const Nic& nic, ListenerState& listener);

/// A handshake's SYN-ACK has stayed unanswered for its (`first`) time-out: whether it may be sent
/// again. Who is there answers, or repeats its SYN; most of those who do neither have never sent it
/// (RFC 4987 2.2), and a stranger is sent little more than it sent.
bool MayRepeatSynAck(const Nic& nic, ListenerState& listener, bool first);

/// Whoever has this address and port and waits for `listener`, or nullptr.
BacklogEntry* FindWaiting(const Nic& nic, uint32_t listener, const tcp::FourTuple& tuple);
/// Who gets the next idle queue pair: who has waited longest of those that have proven themselves,
/// else of the SYNs, unless the listener is under pressure. nullptr: nobody.
BacklogEntry* NextWaiting(const Nic& nic, uint32_t listener);

/// Keeps a SYN until there is an idle queue pair. Nothing is answered meanwhile: the peer repeats
/// it. False: there is no room.
bool KeepSyn(const Nic& nic, uint32_t listener, const tcp::FourTuple& tuple,
             const tcp::Header& syn);
/// A peer that was answered at `answered_at` has hardly had the time to prove itself: half of an
/// initial time-out. What is known of it is given away to nobody.
bool MayBeOnItsWay(const Nic& nic, uint64_t answered_at);
/// Keeps a handshake that is to lose its queue pair, until its peer, who was answered at
/// `answered_at`, proves itself. Gives way to those that have, and to younger ones, once its peer
/// has had the time to do so. False: there is no room.
bool KeepHandshake(const Nic& nic, uint32_t listener, const tcp::FourTuple& tuple,
                   const tcp::Handshake& handshake, uint64_t answered_at);
/// Keeps a peer that has proven itself by `ack` until there is an idle queue pair. False: there is
/// no room.
bool KeepProven(const Nic& nic, uint32_t listener, const tcp::FourTuple& tuple,
                const tcp::Handshake& handshake, const tcp::Header& ack);
/// Whether KeepProven would find room once everybody who was answered has had the time to come
/// back.
bool HasRoomForProven(const Nic& nic, uint32_t listener);
void ForgetWaiting(const Nic& nic, BacklogEntry& entry);

}  // namespace qpip::fw

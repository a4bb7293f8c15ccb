// What a listener has at hand: idle queue pairs that the server has offered, and SYNs that wait for
// one.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// Takes the queue pair that was offered first, or nullptr.
QueuePair* TakeOffered(const Nic& nic, ListenerState& listener);
/// The queue pair (its handle) waits for a connection.
void PutOffered(const Nic& nic, ListenerState& listener, uint32_t queue_pair);
/// It waits no longer.
void RemoveOffered(const Nic& nic, ListenerState& listener, uint32_t queue_pair);

BacklogEntry* FindSyn(const Nic& nic, uint32_t listener, const tcp::FourTuple& tuple);
/// The SYN that has waited longest; expired ones are forgotten on the way.
BacklogEntry* OldestSyn(const Nic& nic, uint32_t listener);
/// Keeps a SYN until a queue pair is offered or handshakes under way have ended. Nothing is
/// answered meanwhile: the peer repeats it. False: there is no room.
bool KeepSyn(const Nic& nic, uint32_t listener, const tcp::FourTuple& tuple,
             const tcp::Header& syn);
/// Handshakes that nobody may ever complete hold three quarters of the listener's queue pairs, or
/// the only one: more SYNs get no more of them, but wait, and are answered by cookies when no more
/// can wait.
bool UnderPressure(const ListenerState& listener);
/// A handshake has ended, well or badly: SYNs that had to wait may go on (ServiceBacklogs).
void OnHandshakeOver(const Nic& nic, ListenerState& listener);
void ForgetSyn(const Nic& nic, BacklogEntry& entry);

}  // namespace qpip::fw

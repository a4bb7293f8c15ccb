// What a listener has at hand: idle queue pairs that the server has offered, and SYNs that wait for
// one.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// Takes the queue pair that was offered first, or nullptr.
QueuePair* TakeOffered(const Nic& nic, ListenerState& listener);
/// `q` waits for a connection.
void PutOffered(const Nic& nic, ListenerState& listener, const QueuePair& q);
/// `q` waits no longer.
void RemoveOffered(const Nic& nic, ListenerState& listener, const QueuePair& q);

BacklogEntry* FindSyn(const Nic& nic, uint32_t listener, const tcp::FourTuple& tuple);
/// The SYN that has waited longest; expired ones are forgotten on the way.
BacklogEntry* OldestSyn(const Nic& nic, uint32_t listener);
/// Keeps a SYN until a queue pair is offered. Nothing is answered meanwhile: the peer repeats it.
/// False: there is no room.
bool KeepSyn(const Nic& nic, uint32_t listener, const tcp::FourTuple& tuple,
             const tcp::Header& syn);
void ForgetSyn(const Nic& nic, BacklogEntry& entry);

}  // namespace qpip::fw

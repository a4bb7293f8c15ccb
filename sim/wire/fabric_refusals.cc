// One end of a pair of rings lacks memory or descriptors for the other. It says so to its own side,
// ends what it has begun with that peer, and tells the peer, so that nobody there waits. Nothing is
// remembered: the next attempt starts afresh.
//
//     refusing port                                  refused port
//     Lack, Refuse: report, peer_down event
//     ... until no frame of the peer is borrowed
//     TellRefusal: refusals[self], bit in refused -> HearRefusal: report, peer_down event
//                                                    ... until no frame of the other is borrowed
//     RefusalPending no more: may open its ring  <-  bit in refused cleared
//
// So a ring is opened anew only when its former reader is gone.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "sim/wire/fabric_port.h"

namespace qpip::wire {
namespace {

std::string Advice(int error) {
  switch (error) {
    case ENOSPC:
      return "make room in /dev/shm (df /dev/shm; docker run --shm-size)";
    case ENOMEM:
      return "raise the limit of address space (ulimit -v), or free memory";
    case EFBIG:
      return "raise the limit of file sizes (ulimit -f)";
    case EAGAIN:
      return "raise the limit of locked memory (ulimit -l)";
    case EMFILE:
    case ENFILE:
      return "raise the limit of descriptors (ulimit -n)";
    default:
      return "see the messages of both ends";
  }
}

}  // namespace

void FabricPort::Lack(const Peer& peer, int error, const std::string& what) {
  reporter_.Tell({.code = error,
                  .peer = peer.address,
                  .what = "fabric " + options_.name + ": no " + what + ": " + std::strerror(error) +
                          ": " + Advice(error)});
}

// Everything with the peer ends: its connections at once, the peer as soon as it can be told.
void FabricPort::Refuse(Peer* peer, int error) {
  if (peer->state != PeerState::kUp) return;
  peer->state = PeerState::kRefused;
  peer->refusal = error;
  if (last_destination_ == peer) last_destination_ = nullptr;
  unflushed_.erase(peer->slot);
  blocked_.erase(peer->slot);
  List(peer);
}

bool FabricPort::HoldsNothingOf(uint32_t slot) const {
  return peers_[slot] == nullptr &&
         std::none_of(retired_.begin(), retired_.end(),
                      [slot](const auto& retired) { return retired->slot == slot; });
}

bool FabricPort::RefusalPending(uint32_t slot) const {
  return membership_->control().ports[slot].refused.contains(membership_->slot()) ||
         own_.refused.contains(slot) || refusing_.contains(slot);
}

void FabricPort::SettleRefusals() {
  refusing_.ForEach([this](uint32_t slot) { TellRefusal(slot); });
  own_.refused.Snapshot().ForEach([this](uint32_t slot) { HearRefusal(slot); });
}

void FabricPort::TellRefusal(uint32_t slot) {
  if (!HoldsNothingOf(slot)) return;
  refusing_.erase(slot);
  PortEntry& entry = membership_->control().ports[slot];
  const PortSnapshot port = ReadPort(entry);
  const Refusing& whom = refusing_whom_[slot];
  if (port.state != kPortLive || port.generation != whom.generation) return;
  membership_->control().refusals[slot][membership_->slot()].store(
      MakeRefusal(membership_->generation(), whom.error), std::memory_order_relaxed);
  entry.refused.Insert(membership_->slot());
  if (membership_->WakeIfSleeping(slot)) ++statistics_.wakes_sent;
}

void FabricPort::HearRefusal(uint32_t slot) {
  if (HoldsNothingOf(slot) && !refusing_.contains(slot)) {
    own_.refused.Erase(slot);
    if (membership_->WakeIfSleeping(slot)) ++statistics_.wakes_sent;
    return;
  }
  Peer* peer = peers_[slot].get();
  if (peer == nullptr || peer->state != PeerState::kUp) return;  // it is on its way out
  const std::atomic<uint32_t>& why = membership_->control().refusals[membership_->slot()][slot];
  const auto current = [&] {
    const uint32_t refusal = why.load(std::memory_order_acquire);
    return MakeRefusal(peer->generation, RefusalError(refusal)) == refusal;
  };
  if (!current()) {
    // Of a predecessor that has died since. The peer's own may come at this moment.
    own_.refused.Erase(slot);
    if (!current()) return;
    own_.refused.Insert(slot);
  }
  ++statistics_.refused_by_peers;
  const int error = RefusalError(why.load(std::memory_order_relaxed));
  Lack(*peer, error, "room for this port at " + AddressText(peer->address));
  Refuse(peer, 0);
}

}  // namespace qpip::wire

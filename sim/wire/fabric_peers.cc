// Who a port's peers are: met by sending to them or by their first frame, lost when they leave,
// die, or break their ring. Each incarnation ends with exactly one peer_down event, told behind
// every frame that it had committed and before any frame of its successor.
#include <cerrno>
#include <functional>
#include <system_error>

#include "sim/wire/fabric_port.h"
#include "sim/wire/futex.h"

namespace qpip::wire {
namespace {

constexpr uint64_t kLivenessPeriodNs = 50'000'000;
constexpr uint64_t kRestingPeriodNs = 500'000'000;
constexpr uint64_t kRemovalPeriodNs = 1'000'000'000;

}  // namespace

FabricPort::Peer* FabricPort::PeerTowards(const uint8_t* address, SendResult* why_not) {
  Peer* peer = last_destination_;
  if (peer == nullptr || std::memcmp(peer->address.bytes, address, 16) != 0) {
    abi::Ip6Address destination;
    std::memcpy(destination.bytes, address, sizeof destination.bytes);
    const auto found = by_address_.find(destination);
    if (found == by_address_.end()) return nullptr;
    const uint32_t slot = found->second;
    const Route& route = routes_[slot];
    peer = peers_[slot].get();
    if (peer == nullptr && RefusalPending(slot)) {
      *why_not = SendResult::kBusy;  // until both ends have let go of the earlier attempt
      return nullptr;
    }
    if (peer == nullptr) {
      peer = AddPeer(slot, {kPortLive, route.generation, route.address});
    } else if (peer->generation != route.generation) {
      *why_not = SendResult::kBusy;  // until the end of the one before has been told
      return nullptr;
    }
  }
  if (peer->state != PeerState::kUp) return nullptr;
  if (!peer->out_open && !OpenOut(peer)) return nullptr;
  last_destination_ = peer;
  return peer;
}

bool FabricPort::OpenOut(Peer* peer) {
  const std::shared_ptr<Mapping>& ring = out_rings_[peer->slot];
  if (ring == nullptr) {
    if (const int error = ReserveRing(peer->slot); error != 0) {
      Lack(*peer, error,
           std::to_string(kRingStride >> 10) + " KiB for a ring towards " +
               AddressText(peer->address));
      // A peer that has begun waits for an answer.
      if (peer->in.is_open()) Refuse(peer, error);
      return false;
    }
    ring->Populate(0, kRingStride);
  }
  peer->out.Open(ring->base(), peer->generation);
  peer->out_open = true;
  membership_->control().ports[peer->slot].opened.Insert(membership_->slot());
  return true;
}

int FabricPort::ReserveRing(uint32_t slot) {
  const uint64_t now_ns = MonotonicNs();
  if (const int error = ring_backoff_.Assumed(now_ns); error != 0) {
    ++statistics_.attempts_put_off;
    return error;
  }
  int error = membership_->own_memory()->Reserve(RingOffset(slot), kRingStride);
  try {
    if (error == 0) out_rings_[slot] = membership_->MapOwnRing(slot);
  } catch (const std::system_error& failure) {
    error = failure.code().value();
  }
  ring_backoff_.Note(error, now_ns);
  if (error != 0) ++statistics_.ring_memory_exhausted;
  return error;
}

FabricPort::Peer* FabricPort::AddPeer(uint32_t slot, const PortSnapshot& port) {
  peers_[slot] = std::make_unique<Peer>();
  Peer* peer = peers_[slot].get();
  peer->slot = slot;
  peer->generation = port.generation;
  peer->address = port.address;
  return peer;
}

void FabricPort::List(Peer* peer) {
  if (peer->listed) return;
  peer->listed = true;
  active_.push_back(peer);
}

void FabricPort::NoticeTableChange() {
  seen_epoch_ = epoch_.load(std::memory_order_acquire);
  for (uint32_t slot = 0; slot < membership_->slots_used(); ++slot) {
    const PortSnapshot port = ReadPort(membership_->control().ports[slot]);
    SetRoute(slot, {port.state == kPortLive && port.generation != dead_generation_[slot],
                    port.generation, port.address});
    Peer* peer = peers_[slot].get();
    if (peer == nullptr || (port.state == kPortLive && port.generation == peer->generation)) {
      continue;
    }
    if (peer->state == PeerState::kReported) {
      Retire(slot);
    } else {
      MarkDown(peer, PeerState::kDown);
    }
  }
}

size_t FabricPort::AddressHash::operator()(const abi::Ip6Address& address) const {
  uint64_t words[2];
  std::memcpy(words, address.bytes, sizeof words);
  return std::hash<uint64_t>{}((words[0] ^ words[1]) * 0x9e3779b97f4a7c15);
}

void FabricPort::SetRoute(uint32_t slot, const Route& route) {
  Route& old = routes_[slot];
  if (old.live == route.live && old.generation == route.generation) return;
  const auto found = by_address_.find(old.address);
  if (found != by_address_.end() && found->second == slot) by_address_.erase(found);
  old = route;
  if (route.live) by_address_[route.address] = slot;
}

void FabricPort::AcceptSources() {
  SlotSet sources = own_.opened.Snapshot();
  sources.Add(deferred_);
  // A source that follows another incarnation of its address joined before it opened its ring, so
  // the end of the other is in the table by now.
  NoticeTableChange();
  sources.ForEach([this](uint32_t slot) { AcceptSource(slot); });
}

bool FabricPort::OldIncarnationPending(uint32_t slot, const PortSnapshot& port) const {
  for (const auto& peer : peers_) {
    if (peer == nullptr) continue;
    if (peer->slot == slot ? peer->generation != port.generation
                           : peer->address == port.address && peer->state != PeerState::kReported) {
      return true;
    }
  }
  return false;
}

void FabricPort::AcceptSource(uint32_t slot) {
  const PortEntry& entry = membership_->control().ports[slot];
  SharedSlotSet& opened = own_.opened;
  const PortSnapshot port = ReadPort(entry);
  deferred_.erase(slot);
  if (port.state != kPortFree && OldIncarnationPending(slot, port)) {
    deferred_.insert(slot);
    return;
  }
  Peer* peer = peers_[slot].get();
  const bool over = port.generation == dead_generation_[slot] && peer == nullptr;
  const bool known = peer != nullptr && (peer->in.is_open() || peer->state > PeerState::kDown);
  if (port.state == kPortFree || over || known) {
    opened.Erase(slot);
    return;
  }
  // Taken out only now: as long as it is in, nobody removes the source's memory.
  int lack = 0;
  PortView view = MapPeer(slot, port.generation, &lack);
  opened.Erase(slot);
  if (ReadPort(entry).generation != port.generation) {
    deferred_.insert(slot);  // a successor may have put in what we took out
    return;
  }
  if (view.memory == nullptr) {
    if (peer == nullptr) peer = AddPeer(slot, port);
    if (lack != 0) {
      Lack(*peer, lack, "view of the memory of " + AddressText(port.address));
      Refuse(peer, lack);
    } else {
      MarkDown(peer, PeerState::kBroken);
    }
    return;
  }
  uint8_t* ring = view.ring->base();
  if (SharedAt<RingHeader>(ring)->destination_generation.load(std::memory_order_acquire) !=
      membership_->generation()) {
    return;  // opened for a predecessor of ours
  }
  if (peer == nullptr) peer = AddPeer(slot, port);
  view.ring->Populate(0, kRingStride);
  peer->in.Open(ring, view.memory->base() + kSharedRegionOffset);
  peer->in.Watch(true);
  peer->view = std::move(view);
  List(peer);
  if (port.state == kPortLeft) MarkDown(peer, PeerState::kDown);
}

PortView FabricPort::MapPeer(uint32_t slot, uint32_t generation, int* lack) {
  const uint64_t now_ns = MonotonicNs();
  *lack = mapping_backoff_.Assumed(now_ns);
  if (*lack != 0) {
    ++statistics_.attempts_put_off;
    return {};
  }
  PortView view = membership_->MapPort(slot, generation, lack);
  mapping_backoff_.Note(*lack, now_ns);
  if (view.memory == nullptr) ++statistics_.map_failures;
  return view;
}

void FabricPort::MarkDown(Peer* peer, PeerState state) {
  if (peer->state == PeerState::kDown) {
    peer->state = state;  // may still turn out to be broken
    return;
  }
  if (peer->state != PeerState::kUp) return;
  peer->state = state;
  dead_generation_[peer->slot] = peer->generation;
  Route route = routes_[peer->slot];
  if (route.generation == peer->generation) {
    route.live = false;
    SetRoute(peer->slot, route);
  }
  if (last_destination_ == peer) last_destination_ = nullptr;
  unflushed_.erase(peer->slot);
  blocked_.erase(peer->slot);
  List(peer);
}

void FabricPort::ReportDown(Peer* peer, InFrame* frame) {
  ++statistics_.peers_down;
  *frame = InFrame{};
  frame->peer_down = true;
  frame->peer = peer->address;
  std::erase(active_, peer);
  peer->listed = false;
  if (peer->state == PeerState::kRefused) {
    if (peer->refusal != 0) {
      refusing_.insert(peer->slot);
      refusing_whom_[peer->slot] = {peer->generation, peer->refusal};
    }
    Retire(peer->slot);
    return;
  }
  const PortSnapshot port = ReadPort(membership_->control().ports[peer->slot]);
  if (peer->state == PeerState::kBroken && port.state == kPortLive &&
      port.generation == peer->generation) {
    peer->state = PeerState::kReported;
    return;
  }
  Retire(peer->slot);
}

void FabricPort::Retire(uint32_t slot) {
  std::unique_ptr<Peer> peer = std::move(peers_[slot]);
  if (peer->oldest != kNone) retired_.push_back(std::move(peer));
}

bool FabricPort::NoteProgress(uint64_t now_ns) {
  housekeeping_ns_ = now_ns;
  bool outstanding = false;
  for (const auto& peer : peers_) {
    if (peer == nullptr || peer->state != PeerState::kUp || !peer->out_open) continue;
    if (!peer->out.Outstanding() || peer->out.released() != peer->out_seen) {
      peer->quiet_since_ns = 0;
    } else if (peer->quiet_since_ns == 0) {
      peer->quiet_since_ns = now_ns;
    }
    outstanding = outstanding || peer->out.Outstanding();
    peer->out_seen = peer->out.released();
  }
  return outstanding;
}

// Once: who is on the fabric goes on, but nobody can join it any more.
void FabricPort::TellRemoval(uint64_t now_ns) {
  if (removal_told_ || now_ns < next_removal_look_ns_) return;
  next_removal_look_ns_ = now_ns + kRemovalPeriodNs;
  if (!membership_->removed()) return;
  removal_told_ = true;
  reporter_.Tell({.code = ENOENT,
                  .what = "fabric " + options_.name + ": its directory " +
                          FabricDirectory(options_.name) +
                          " has been removed: whoever comes now does not find this port: start "
                          "this program again"});
}

uint64_t FabricPort::Housekeeping(uint64_t now_ns) {
  if (now_ns < next_liveness_ns_) return next_liveness_ns_;
  AnswerWaitingProducers();
  const bool outstanding = NoteProgress(now_ns);
  // Few look often: a thousand ports that looked after each other would do nothing else. Whoever
  // lends payload looks whether it is read.
  const bool watchman = membership_->IsWatchman();
  membership_->LookForDead(watchman);
  if (epoch_.load(std::memory_order_acquire) != seen_epoch_) {
    NoticeTableChange();
  }
  TellRemoval(now_ns);
  const bool lends = outstanding || statistics_.frames_referenced != seen_referenced_;
  seen_referenced_ = statistics_.frames_referenced;
  next_liveness_ns_ = now_ns + (watchman || lends ? kLivenessPeriodNs : kRestingPeriodNs);
  return next_liveness_ns_;
}

}  // namespace qpip::wire

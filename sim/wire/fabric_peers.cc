// Who a port's peers are: met by sending to them or by their first frame, lost when they leave,
// die, or break their ring. Each incarnation ends with exactly one peer_down event, told behind
// every frame that it had committed and before any frame of its successor.
#include <bit>
#include <cerrno>

#include "sim/wire/fabric_port.h"
#include "sim/wire/futex.h"

namespace qpip::wire {
namespace {

constexpr uint64_t kLivenessPeriodNs = 50'000'000;
constexpr uint64_t kRemovalPeriodNs = 1'000'000'000;

}  // namespace

FabricPort::Peer* FabricPort::PeerTowards(const uint8_t* address, SendResult* why_not) {
  Peer* peer = last_destination_;
  if (peer == nullptr || std::memcmp(peer->address.bytes, address, 16) != 0) {
    uint32_t slot = 0;
    while (slot < kMaxPorts &&
           !(routes_[slot].live && std::memcmp(routes_[slot].address.bytes, address, 16) == 0)) {
      ++slot;
    }
    if (slot == kMaxPorts) return nullptr;
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
  const Mapping& memory = *membership_->own_memory();
  const size_t offset = RingOffset(peer->slot);
  if ((reserved_rings_ & SlotBit(peer->slot)) == 0) {
    if (const int error = ReserveRing(peer->slot); error != 0) {
      Lack(*peer, error,
           std::to_string(kRingStride >> 10) + " KiB for a ring towards " +
               AddressText(peer->address));
      // A peer that has begun waits for an answer.
      if (peer->in.is_open()) Refuse(peer, error);
      return false;
    }
    memory.Populate(offset, kRingStride);
    reserved_rings_ |= SlotBit(peer->slot);
  }
  peer->out.Open(memory.base() + offset, peer->generation);
  peer->out_open = true;
  membership_->control().ports[peer->slot].opened.fetch_or(self_bit_, std::memory_order_seq_cst);
  return true;
}

int FabricPort::ReserveRing(uint32_t slot) {
  const uint64_t now_ns = MonotonicNs();
  if (const int error = ring_backoff_.Assumed(now_ns); error != 0) {
    ++statistics_.attempts_put_off;
    return error;
  }
  const int error = membership_->own_memory()->Reserve(RingOffset(slot), kRingStride);
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
  seen_epoch_ = membership_->control().epoch.load(std::memory_order_acquire);
  for (uint32_t slot = 0; slot < kMaxPorts; ++slot) {
    const PortSnapshot port = ReadPort(membership_->control().ports[slot]);
    routes_[slot] = {port.state == kPortLive && port.generation != dead_generation_[slot],
                     port.generation, port.address};
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

void FabricPort::AcceptSources() {
  const uint64_t sources =
      membership_->own_entry().opened.load(std::memory_order_acquire) | deferred_;
  // A source that follows another incarnation of its address joined before it opened its ring, so
  // the end of the other is in the table by now.
  NoticeTableChange();
  for (uint64_t rest = sources; rest != 0; rest &= rest - 1) {
    AcceptSource(static_cast<uint32_t>(std::countr_zero(rest)));
  }
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
  std::atomic<uint64_t>& opened = membership_->own_entry().opened;
  const PortSnapshot port = ReadPort(entry);
  deferred_ &= ~SlotBit(slot);
  if (port.state != kPortFree && OldIncarnationPending(slot, port)) {
    deferred_ |= SlotBit(slot);
    return;
  }
  Peer* peer = peers_[slot].get();
  const bool over = port.generation == dead_generation_[slot] && peer == nullptr;
  const bool known = peer != nullptr && (peer->in.is_open() || peer->state > PeerState::kDown);
  if (port.state == kPortFree || over || known) {
    opened.fetch_and(~SlotBit(slot), std::memory_order_seq_cst);
    return;
  }
  // The bit is cleared only now: as long as it is set, nobody removes the source's memory.
  int lack = 0;
  std::shared_ptr<Mapping> memory = MapPeer(slot, port.generation, &lack);
  opened.fetch_and(~SlotBit(slot), std::memory_order_seq_cst);
  if (ReadPort(entry).generation != port.generation) {
    deferred_ |= SlotBit(slot);  // a successor may have set the bit that we cleared
    return;
  }
  if (memory == nullptr) {
    if (peer == nullptr) peer = AddPeer(slot, port);
    if (lack != 0) {
      Lack(*peer, lack, "view of the memory of " + AddressText(port.address));
      Refuse(peer, lack);
    } else {
      MarkDown(peer, PeerState::kBroken);
    }
    return;
  }
  uint8_t* ring = memory->base() + RingOffset(membership_->slot());
  if (SharedAt<RingHeader>(ring)->destination_generation.load(std::memory_order_acquire) !=
      membership_->generation()) {
    return;  // opened for a predecessor of ours
  }
  if (peer == nullptr) peer = AddPeer(slot, port);
  memory->Populate(RingOffset(membership_->slot()), kRingStride);
  peer->in.Open(ring, memory->base() + kSharedRegionOffset);
  peer->memory = std::move(memory);
  List(peer);
  if (port.state == kPortLeft) MarkDown(peer, PeerState::kDown);
}

std::shared_ptr<Mapping> FabricPort::MapPeer(uint32_t slot, uint32_t generation, int* lack) {
  *lack = 0;
  if (SlotBit(slot) == self_bit_) return membership_->own_memory();
  const uint64_t now_ns = MonotonicNs();
  *lack = mapping_backoff_.Assumed(now_ns);
  if (*lack != 0) {
    ++statistics_.attempts_put_off;
    return nullptr;
  }
  std::shared_ptr<Mapping> memory = membership_->MapPort(slot, generation, lack);
  mapping_backoff_.Note(*lack, now_ns);
  if (memory == nullptr) ++statistics_.map_failures;
  return memory;
}

void FabricPort::MarkDown(Peer* peer, PeerState state) {
  if (peer->state == PeerState::kDown) {
    peer->state = state;  // may still turn out to be broken
    return;
  }
  if (peer->state != PeerState::kUp) return;
  peer->state = state;
  dead_generation_[peer->slot] = peer->generation;
  if (routes_[peer->slot].generation == peer->generation) routes_[peer->slot].live = false;
  if (last_destination_ == peer) last_destination_ = nullptr;
  unflushed_ &= ~SlotBit(peer->slot);
  blocked_ &= ~SlotBit(peer->slot);
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
      refusing_ |= SlotBit(peer->slot);
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

void FabricPort::NoteProgress(uint64_t now_ns) {
  housekeeping_ns_ = now_ns;
  for (const auto& peer : peers_) {
    if (peer == nullptr || peer->state != PeerState::kUp || !peer->out_open) continue;
    if (!peer->out.Outstanding() || peer->out.released() != peer->out_seen) {
      peer->quiet_since_ns = 0;
    } else if (peer->quiet_since_ns == 0) {
      peer->quiet_since_ns = now_ns;
    }
    peer->out_seen = peer->out.released();
  }
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
  NoteProgress(now_ns);
  const uint64_t dead = membership_->DeadSlots();
  for (uint64_t rest = dead; rest != 0; rest &= rest - 1) {
    Peer* peer = peers_[static_cast<uint32_t>(std::countr_zero(rest))].get();
    if (peer != nullptr) MarkDown(peer, PeerState::kDown);
  }
  if (dead != 0) membership_->ReclaimDead();
  TellRemoval(now_ns);
  // Also while this port is alone: the first that joins may die at once.
  next_liveness_ns_ = now_ns + kLivenessPeriodNs;
  return next_liveness_ns_;
}

}  // namespace qpip::wire

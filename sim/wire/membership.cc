#include "sim/wire/membership.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdexcept>

#include "sim/wire/futex.h"

namespace qpip::wire {

std::string AddressText(const abi::Ip6Address& address) {
  char text[INET6_ADDRSTRLEN] = {};
  ::inet_ntop(AF_INET6, address.bytes, text, sizeof text);
  return text;
}

uint64_t Membership::DeadSlots() {
  uint64_t dead = 0;
  for (uint32_t slot = 0; slot < kMaxPorts; ++slot) {
    if (slot == slot_) continue;
    const uint32_t state = control_->ports[slot].state.load(std::memory_order_acquire);
    if (state == kPortFree) continue;
    if (state != kPortLive || !IsRunning(slot)) dead |= SlotBit(slot);
  }
  return dead;
}

bool Membership::WakeIfSleeping(uint32_t slot) {
  std::atomic<uint32_t>& word = control_->ports[slot].wake_word;
  // A read-modify-write rather than fence and load: it is ordered with the one in PrepareSleep,
  // so either we see the sleeper's bit or the sleeper sees what we have published.
  uint32_t value = word.fetch_add(0, std::memory_order_seq_cst);
  while ((value & 1) != 0) {
    if (word.compare_exchange_weak(value, (value & ~1u) + 2, std::memory_order_seq_cst)) {
      FutexWakeAll(&word, shared_futex());
      return true;
    }
  }
  return false;
}

void Membership::WakeEverybody() {
  for (uint32_t slot = 0; slot < kMaxPorts; ++slot) {
    if (slot != slot_ && control_->ports[slot].state.load(std::memory_order_relaxed) == kPortLive) {
      WakeIfSleeping(slot);
    }
  }
}

void Membership::ReclaimDeadLocked(bool all) {
  const uint64_t dead = DeadSlots();
  if (dead == 0) return;
  uint64_t unseen = 0;  // sources that a live port has yet to look at
  for (uint32_t slot = 0; slot < kMaxPorts; ++slot) {
    const PortEntry& entry = control_->ports[slot];
    if ((dead & SlotBit(slot)) == 0 && entry.state.load(std::memory_order_relaxed) == kPortLive) {
      unseen |= entry.opened.load(std::memory_order_acquire);
    }
  }
  const uint64_t reclaim = all ? dead : dead & ~unseen;
  for (uint32_t slot = 0; slot < kMaxPorts; ++slot) {
    if ((reclaim & SlotBit(slot)) == 0) continue;
    PortEntry& entry = control_->ports[slot];
    const uint32_t generation = entry.generation.load(std::memory_order_relaxed);
    DropMemory(slot, generation);
    entry.generation.store(generation + 1, std::memory_order_release);
    entry.state.store(kPortFree, std::memory_order_release);
  }
  if (reclaim != 0) {
    control_->epoch.fetch_add(1, std::memory_order_seq_cst);
    WakeEverybody();
  }
}

void Membership::ChooseSlotLocked(const FabricOptions& options) {
  const auto choose = [&] {
    slot_ = kMaxPorts;
    for (uint32_t slot = 0; slot < kMaxPorts; ++slot) {
      const PortSnapshot port = ReadPort(control_->ports[slot]);
      const bool same = port.address == options.address;
      if (port.state == kPortLive && same && IsRunning(slot)) {
        throw std::runtime_error("address " + AddressText(options.address) +
                                 " is in use on fabric " + options.name +
                                 " by a live port; choose another with ?address=");
      }
      // The slot the address had before is the best: receivers then see one incarnation follow
      // the other in one place.
      if (port.state == kPortFree && (slot_ == kMaxPorts || same)) {
        slot_ = slot;
        if (same) break;
      }
    }
  };
  slot_ = kMaxPorts;  // ours is not among those that DeadSlots passes over
  ReclaimDeadLocked(false);
  choose();
  if (slot_ == kMaxPorts) {
    ReclaimDeadLocked(true);
    choose();
  }
  if (slot_ == kMaxPorts) {
    throw std::runtime_error("fabric " + options.name + " is full: " + std::to_string(kMaxPorts) +
                             " ports are attached; close one or use another fabric");
  }
  generation_ = control_->ports[slot_].generation.load(std::memory_order_relaxed);
}

void Membership::AnnounceLocked(const abi::Ip6Address& address) {
  PortHeader* header = SharedAt<PortHeader>(own_memory_->base());
  header->slot.store(slot_, std::memory_order_relaxed);
  header->generation.store(generation_, std::memory_order_relaxed);
  header->magic.store(kPortMagic, std::memory_order_release);

  PortEntry& entry = own_entry();
  uint64_t words[2];
  std::memcpy(words, address.bytes, sizeof words);
  entry.address_high.store(words[0], std::memory_order_release);
  entry.address_low.store(words[1], std::memory_order_release);
  entry.opened.store(0, std::memory_order_relaxed);
  entry.refused.store(0, std::memory_order_relaxed);
  for (std::atomic<uint32_t>& refusal : entry.refusals) refusal.store(0, std::memory_order_relaxed);
  entry.wake_word.store(0, std::memory_order_relaxed);
  entry.state.store(kPortLive, std::memory_order_release);
  control_->epoch.fetch_add(1, std::memory_order_seq_cst);
}

void Membership::WithdrawLocked() {
  own_entry().state.store(kPortLeft, std::memory_order_release);
  control_->epoch.fetch_add(1, std::memory_order_seq_cst);
  WakeEverybody();
  slot_ = kMaxPorts;  // from here on we are one of the dead
  ReclaimDeadLocked(false);
}

}  // namespace qpip::wire

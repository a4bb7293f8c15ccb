#include "sim/wire/membership.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <cerrno>
#include <cstddef>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "sim/wire/futex.h"

namespace qpip::wire {
namespace {

// Two, so that the end of one is noticed as soon as anybody's.
constexpr uint32_t kWatchmen = 2;

/// A port that cannot be had, with the errno value by which callers tell whether to try another.
/// The text stands alone: std::system_error would put the system's behind it.
class NoPort : public std::system_error {
 public:
  NoPort(int code, std::string text)
      : std::system_error(code, std::generic_category()), text_(std::move(text)) {}
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  std::string text_;
};

}  // namespace

std::string AddressText(const abi::Ip6Address& address) {
  char text[INET6_ADDRSTRLEN] = {};
  ::inet_ntop(AF_INET6, address.bytes, text, sizeof text);
  return text;
}

bool Membership::IsDead(uint32_t slot) {
  if (slot == slot_) return false;
  const uint32_t state = control_->ports[slot].state.load(std::memory_order_acquire);
  return state != kPortFree && (state != kPortLive || !IsRunning(slot));
}

bool Membership::IsWatchman() const {
  uint32_t before = 0;
  for (uint32_t slot = 0; slot < slot_ && before < kWatchmen; ++slot) {
    before += control_->ports[slot].state.load(std::memory_order_acquire) == kPortLive ? 1 : 0;
  }
  return before < kWatchmen;
}

void Membership::LookForDead(bool all) {
  uint32_t watchmen = 0;
  for (uint32_t slot = 0; slot < slots_used() && (all || watchmen < kWatchmen); ++slot) {
    const uint32_t state = control_->ports[slot].state.load(std::memory_order_acquire);
    watchmen += state == kPortLive ? 1 : 0;
    if (state == kPortFree || !IsDead(slot)) continue;
    ReclaimDead();
    return;
  }
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
  for (uint32_t slot = 0; slot < slots_used(); ++slot) {
    if (slot != slot_ && control_->ports[slot].state.load(std::memory_order_relaxed) == kPortLive) {
      WakeIfSleeping(slot);
    }
  }
}

void Membership::ReclaimDeadLocked(bool all) {
  SlotSet dead;
  for (uint32_t slot = 0; slot < slots_used(); ++slot) {
    if (IsDead(slot)) dead.insert(slot);
  }
  if (dead.empty()) return;
  SlotSet unseen;  // sources that a live port has yet to look at
  for (uint32_t slot = 0; slot < slots_used() && !all; ++slot) {
    const PortEntry& entry = control_->ports[slot];
    if (!dead.contains(slot) && entry.state.load(std::memory_order_relaxed) == kPortLive) {
      unseen.Add(entry.opened.Snapshot());
    }
  }
  bool changed = false;
  dead.ForEach([&](uint32_t slot) {
    PortEntry& entry = control_->ports[slot];
    if (unseen.contains(slot)) {
      // Its frames are delivered yet; whoever sends to it is told now.
      if (entry.state.load(std::memory_order_relaxed) == kPortLeft) return;
      entry.state.store(kPortLeft, std::memory_order_release);
      changed = true;
      return;
    }
    const uint32_t generation = entry.generation.load(std::memory_order_relaxed);
    DropMemory(slot, generation);
    entry.generation.store(generation + 1, std::memory_order_release);
    entry.state.store(kPortFree, std::memory_order_release);
    changed = true;
  });
  if (changed) {
    control_->epoch.fetch_add(1, std::memory_order_seq_cst);
    WakeEverybody();
  }
}

void Membership::ChooseSlotLocked(const FabricOptions& options) {
  const auto choose = [&] {
    slot_ = kMaxPorts;
    for (uint32_t slot = 0; slot < slots_used(); ++slot) {
      const PortSnapshot port = ReadPort(control_->ports[slot]);
      const bool same = port.address == options.address;
      if (port.state == kPortLive && same && IsRunning(slot)) {
        throw NoPort(EADDRINUSE, "address " + AddressText(options.address) +
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
    if (slot_ == kMaxPorts) slot_ = slots_used();
  };
  slot_ = kMaxPorts;  // ours is not among those that IsDead passes over
  ReclaimDeadLocked(false);
  choose();
  if (slot_ == kMaxPorts) {
    ReclaimDeadLocked(true);
    choose();
  }
  if (slot_ == kMaxPorts) {
    throw NoPort(ENOSPC, "fabric " + options.name + " is full: " + std::to_string(kMaxPorts) +
                             " ports are attached; close one or use another fabric");
  }
  // Nobody touches what has no pages: where memory is short, that is a signal.
  for (const auto& [offset, bytes] :
       {std::pair{offsetof(ControlBlock, ports) + slot_ * sizeof(PortEntry), sizeof(PortEntry)},
        std::pair{offsetof(ControlBlock, refusals) + slot_ * sizeof control_->refusals[0],
                  sizeof control_->refusals[0]}}) {
    if (const int error = control_memory_->Reserve(offset, bytes); error != 0) {
      throw std::system_error(
          error, std::generic_category(),
          "no room for a port on fabric " + options.name + " (see df /dev/shm)");
    }
  }
  if (slot_ == slots_used()) {
    // Generation 0 means "not open" in a ring.
    control_->ports[slot_].generation.store(1, std::memory_order_relaxed);
    control_->slots_used.store(slot_ + 1, std::memory_order_release);
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
  entry.opened.Clear();
  entry.spoke.Clear();
  entry.refused.Clear();
  for (std::atomic<uint32_t>& refusal : control_->refusals[slot_]) {
    refusal.store(0, std::memory_order_relaxed);
  }
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

// Fabrics inside a process: a registry of names. A child that fork(2) makes starts with an empty
// one: the fabrics' memory is still its parent's.
#include <array>
#include <map>
#include <mutex>
#include <system_error>

#include "sim/wire/fork.h"
#include "sim/wire/membership.h"

namespace qpip::wire {
namespace {

/// A port's memory. Each ring is mapped once, for both of its ends: their atomics are the same
/// words in the eyes of ThreadSanitizer then.
struct MemoryPort {
  const std::shared_ptr<Mapping> memory =
      MakeAnonymousMapping("qpip-port", kPortMemoryBytes, kRingsOffset);
  std::map<uint32_t, std::shared_ptr<Mapping>> rings;

  std::shared_ptr<Mapping> RingTowards(uint32_t slot) {
    std::shared_ptr<Mapping>& ring = rings[slot];
    if (ring == nullptr) ring = memory->View(RingOffset(slot), kRingStride);
    return ring;
  }
};

struct MemoryFabric {
  std::mutex attach_lock;
  std::shared_ptr<Mapping> control =
      MakeAnonymousMapping("qpip-fabric", kControlBytes, kControlBytes);
  std::array<std::shared_ptr<MemoryPort>, kMaxPorts> ports;
};

/// The fabrics of this process, each alive as long as it has ports.
class Registry {
 public:
  static Registry& Get() {
    static Registry* const registry = new Registry;  // static destructors may yet close NICs
    return *registry;
  }
  std::shared_ptr<MemoryFabric> FindOrCreate(const std::string& name);

 private:
  using Fabrics = std::map<std::string, std::weak_ptr<MemoryFabric>>;

  std::mutex mutex_;
  Fabrics fabrics_;
  const ForkWatch fork_{{.prepare = [this] { mutex_.lock(); },
                         .parent = [this] { mutex_.unlock(); },
                         .child =
                             [this] {
                               fabrics_.clear();
                               mutex_.unlock();
                             }}};
};

std::shared_ptr<MemoryFabric> Registry::FindOrCreate(const std::string& name) {
  const std::lock_guard lock(mutex_);
  std::erase_if(fabrics_, [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<MemoryFabric>& entry = fabrics_[name];
  std::shared_ptr<MemoryFabric> fabric = entry.lock();
  if (!fabric) {
    fabric = std::make_shared<MemoryFabric>();
    entry = fabric;
  }
  return fabric;
}

class MemoryMembership final : public Membership {
 public:
  explicit MemoryMembership(const FabricOptions& options)
      : fabric_(Registry::Get().FindOrCreate(options.name)) {
    control_memory_ = fabric_->control;
    control_ = SharedAt<ControlBlock>(control_memory_->base());
    const std::lock_guard lock(fabric_->attach_lock);
    ChooseSlotLocked(options);
    fabric_->ports[slot_] = std::make_shared<MemoryPort>();
    own_memory_ = fabric_->ports[slot_]->memory;
    AnnounceLocked(options.address);
  }

  ~MemoryMembership() override {
    if (fork_.inherited()) return;
    const std::lock_guard lock(fabric_->attach_lock);
    WithdrawLocked();
  }

  std::shared_ptr<Mapping> MapOwnRing(uint32_t destination) override {
    const std::lock_guard lock(fabric_->attach_lock);
    return fabric_->ports[slot()]->RingTowards(destination);
  }
  PortView MapPort(uint32_t slot, uint32_t generation, int* lack) override {
    *lack = 0;
    const std::lock_guard lock(fabric_->attach_lock);
    const std::shared_ptr<MemoryPort>& port = fabric_->ports[slot];
    if (!port || control_->ports[slot].generation.load(std::memory_order_relaxed) != generation) {
      return {};
    }
    try {
      return {port->memory, port->RingTowards(this->slot())};
    } catch (const std::system_error& error) {
      *lack = error.code().value();
      return {};
    }
  }

  void ReclaimDead() override {
    const std::unique_lock lock(fabric_->attach_lock, std::try_to_lock);
    if (lock) ReclaimDeadLocked(false);
  }

  bool shared_futex() const override { return false; }
  bool inherited() const override { return fork_.inherited(); }

 private:
  // A port of this process leaves by its destructor or lives as long as the process does.
  bool IsRunning(uint32_t) override { return true; }
  void DropMemory(uint32_t slot, uint32_t) override { fabric_->ports[slot].reset(); }

  const std::shared_ptr<MemoryFabric> fabric_;
  const ForkWatch fork_;
};

}  // namespace

std::unique_ptr<Membership> JoinMemoryFabric(const FabricOptions& options) {
  return std::make_unique<MemoryMembership>(options);
}

}  // namespace qpip::wire

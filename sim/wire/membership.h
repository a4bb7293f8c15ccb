// A port's place on a fabric: joining, finding others, noticing that they died, leaving.
//
// The port table in the control block is changed under the fabric's attach lock only and read by
// everybody without it. What the lock, liveness and a port's memory are made of differs between
// fabrics in shared memory (files and file locks) and those inside a process (a registry).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "sim/wire/layout.h"
#include "sim/wire/mapping.h"
#include "sim/wire/wire.h"

namespace qpip::wire {

/// A slot in a set of slots.
constexpr uint64_t SlotBit(uint32_t slot) { return uint64_t{1} << slot; }

/// "fd00::1" and the like (RFC 5952).
std::string AddressText(const abi::Ip6Address& address);

/// Leaves the fabric when destroyed, unless this process is a child of the one that joined. One
/// thread at a time.
class Membership {
 public:
  virtual ~Membership() = default;

  ControlBlock& control() const { return *control_; }
  PortEntry& own_entry() const { return control_->ports[slot_]; }
  uint32_t slot() const { return slot_; }
  uint32_t generation() const { return generation_; }
  const std::shared_ptr<Mapping>& own_memory() const { return own_memory_; }

  /// Memory of another port's incarnation; nullptr when it is gone or not what it should be
  /// (`*lack` 0), or when this process lacks what it takes to map it (`*lack`: an errno value).
  virtual std::shared_ptr<Mapping> MapPort(uint32_t slot, uint32_t generation, int* lack) = 0;
  /// Bit s: slot s is taken, but its port has left or died. Enters the kernel.
  uint64_t DeadSlots();
  /// Frees slots of dead ports, unless a live port has yet to see what they sent. Best effort:
  /// does nothing while somebody else changes the table.
  virtual void ReclaimDead() = 0;
  /// Do wake words need futexes that work across processes?
  virtual bool shared_futex() const = 0;
  /// Is this process a child of the one that joined? The port is the other's then.
  virtual bool inherited() const = 0;
  /// Has the fabric been removed from where others look for it? Enters the kernel.
  virtual bool removed() const { return false; }
  /// Wakes the port in `slot` if it sleeps. Ordered behind everything the caller has published to
  /// it. Returns true when it did.
  bool WakeIfSleeping(uint32_t slot);

 protected:
  /// Is the port that holds this (not free) slot running? Asked of others than ourselves.
  virtual bool IsRunning(uint32_t slot) = 0;
  /// Removes the memory of an incarnation that nobody will map any more.
  virtual void DropMemory(uint32_t slot, uint32_t generation) = 0;

  // With the attach lock held:

  /// Frees dead slots; those with frames that a live port has yet to see only if `all`.
  void ReclaimDeadLocked(bool all);
  /// Picks a slot for a new port. Throws std::runtime_error: address in use, fabric full.
  void ChooseSlotLocked(const FabricOptions& options);
  /// Makes the port visible. `own_memory_` is ready.
  void AnnounceLocked(const abi::Ip6Address& address);
  /// Marks the slot as left, tells everybody and frees it if possible.
  void WithdrawLocked();
  void WakeEverybody();

  ControlBlock* control_ = nullptr;
  std::shared_ptr<Mapping> own_memory_;
  uint32_t slot_ = kMaxPorts;
  uint32_t generation_ = 0;
};

/// Joins a fabric inside this process. Throws like OpenMemoryWire.
std::unique_ptr<Membership> JoinMemoryFabric(const FabricOptions& options);
/// Joins a fabric in shared memory. Throws like OpenSharedMemoryWire.
std::unique_ptr<Membership> JoinSharedMemoryFabric(const FabricOptions& options);

/// Directory of a fabric of this user in shared memory.
std::string FabricDirectory(const std::string& name);
/// Name of a port's file in it.
std::string PortFileName(uint32_t slot, uint32_t generation);

}  // namespace qpip::wire

// A port's place on a fabric: joining, finding others, noticing that they died, leaving.
//
// The port table in the control block is changed under the fabric's attach lock only and read by
// everybody without it. What the lock, liveness and a port's memory are made of differs between
// fabrics in shared memory (files and file locks) and those inside a process (a registry).
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "sim/wire/layout.h"
#include "sim/wire/mapping.h"
#include "sim/wire/wire.h"

namespace qpip::wire {

/// "fd00::1" and the like (RFC 5952).
std::string AddressText(const abi::Ip6Address& address);

/// What a port has mapped of another's memory.
struct PortView {
  std::shared_ptr<Mapping> memory;  ///< header and shared region
  std::shared_ptr<Mapping> ring;    ///< kRingStride bytes: the ring towards the port
};

/// Leaves the fabric when destroyed, unless this process is a child of the one that joined. One
/// thread at a time.
class Membership {
 public:
  virtual ~Membership() = default;

  ControlBlock& control() const { return *control_; }
  PortEntry& own_entry() const { return control_->ports[slot_]; }
  uint32_t slot() const { return slot_; }
  uint32_t generation() const { return generation_; }
  /// Header and shared region.
  const std::shared_ptr<Mapping>& own_memory() const { return own_memory_; }
  /// Slots from here on have never been taken; nothing of them may be touched.
  /// Whatever others have written there, no more than there are.
  uint32_t slots_used() const {
    return std::min(control_->slots_used.load(std::memory_order_acquire), kMaxPorts);
  }

  /// This port's ring towards `destination`, whose pages have been reserved. Throws
  /// std::system_error.
  virtual std::shared_ptr<Mapping> MapOwnRing(uint32_t destination) {
    return own_memory_->View(RingOffset(destination), kRingStride);
  }
  /// Memory of a port's incarnation, this port's included; without `memory` when it is gone or not
  /// what it should be (`*lack` 0), or when this process lacks what it takes to map it (`*lack`: an
  /// errno value).
  virtual PortView MapPort(uint32_t slot, uint32_t generation, int* lack) = 0;
  /// Is the slot taken, but its port has left or died? Enters the kernel. Not of our own.
  bool IsDead(uint32_t slot);
  /// Is this port one of the two in the first slots, who look after all others?
  bool IsWatchman() const;
  /// Looks for ports that have died: at all of them, or only at the watchmen, and buries the dead
  /// as ReclaimDead does. Enters the kernel.
  void LookForDead(bool all);
  /// Tells everybody of dead ports and frees their slots, unless a live port has yet to see what
  /// they sent. Best effort: does nothing while somebody else changes the table.
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

  std::shared_ptr<Mapping> control_memory_;
  ControlBlock* control_ = nullptr;  ///< in it
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

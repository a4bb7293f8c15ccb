// What the ports of a fabric share: the control block and the layout of a port's memory.
//
//   control block (one a fabric)             port memory (one a port)
//   +--------------------------+             +-------------------------------+
//   | magic, version, epoch    |             | PortHeader                    |
//   | turns at each processor  |             |                               |
//   | PortEntry[1024]          |             | shared region (AllocateShared)|
//   |   state, generation,     |             | ring towards port 0           |
//   |   address                |             |   RingHeader, 1 MiB of entries|
//   |   wake word              |             | ...                           |
//   |   who opened a ring to me|             | ring towards port 1023        |
//   |   who spoke, who refuses |             |                               |
//   | why, for each pair       |             |                               |
//   +--------------------------+             +-------------------------------+
//
// Both are sparse: of the control block a port has the pages of its own entry and of its reasons,
// of its memory the header, the rings that it has opened and what is allocated. A port maps of
// another's memory the ring towards itself and the shared region.
//
// A ring lies in its *source's* memory. The receiver has to map that memory anyway, because frames
// refer to payload in the source's shared region; and a source that dies leaves what it had
// committed readable for as long as the receiver keeps the mapping, while a receiver that dies
// leaves nothing behind in memory that somebody else goes on using.
//
// Both memories are only ever reached through atomics (the words below) or through bytes whose
// ownership a ring's commit word and released index hand over; see ring.h.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "sim/wire/slot_set.h"
#include "sim/wire/wire.h"

namespace qpip::wire {

inline constexpr uint32_t kMaxFrameBytes = kMaxMtu;  ///< IPv6 without jumbograms
inline constexpr uint32_t kMinFrameBytes = 40;       ///< an IPv6 header
inline constexpr uint32_t kFirstPieceBytes = 256;    ///< InFrame: least length of the first piece
inline constexpr uint32_t kDestinationOffset = 24;   ///< of the address in an IPv6 header
inline constexpr uint32_t kMaxReferences = 20;       ///< payload references a frame may carry
inline constexpr uint32_t kCacheLine = 64;
inline constexpr size_t kPageBytes = 4096;

inline constexpr uint64_t kControlMagic = 0x4c52544350495051;  ///< "QPIPCTRL"
inline constexpr uint64_t kPortMagic = 0x54524f5050495051;     ///< "QPIPPORT"
inline constexpr uint32_t kLayoutVersion = 4;

/// State of a slot of the port table.
enum PortState : uint32_t {
  kPortFree = 0,  ///< may be taken
  kPortLive = 1,  ///< attached (or killed since: the lock on the slot tells)
  kPortLeft = 2,  ///< detached; memory kept until every receiver has seen what it committed
};

/// One slot of the port table. Fields on separate cache lines have different writers.
struct PortEntry {
  // Written under the fabric's attach lock only.
  alignas(kCacheLine) std::atomic<uint32_t> state;
  std::atomic<uint32_t> generation;    ///< of the incarnation; changes when the slot is freed
  std::atomic<uint64_t> address_high;  ///< the address's bytes as they lie in memory
  std::atomic<uint64_t> address_low;
  /// Futex word. Bit 0: the port sleeps or is about to; the rest counts wake-ups.
  alignas(kCacheLine) std::atomic<uint32_t> wake_word;
  /// Sources that have opened a ring towards this port. Inserted by sources, taken out by the port.
  alignas(kCacheLine) SharedSlotSet opened;
  /// Sources that have sent something while this port did not watch their rings.
  alignas(kCacheLine) SharedSlotSet spoke;
  /// Ports that cannot deal with this port now, and hold nothing of its memory any more; why:
  /// ControlBlock::refusals. Inserted by those; taken out by this port when it holds nothing of the
  /// other's either, and not before does the other open a ring to it again.
  alignas(kCacheLine) SharedSlotSet refused;
};
static_assert(sizeof(PortEntry) == 11 * kCacheLine);

/// Why port s refuses another: low bits of its generation, and an errno value.
constexpr uint32_t MakeRefusal(uint32_t generation, int error) {
  return generation << 8 | (static_cast<uint32_t>(error) & 0xff);
}
constexpr int RefusalError(uint32_t refusal) { return static_cast<int>(refusal & 0xff); }

/// Turns that threads of the fabric's ports have had at a processor (Wire::TakeTurn). Nobody relies
/// on it: it is a hint for who waits.
struct TurnCounter {
  alignas(kCacheLine) std::atomic<uint32_t> count;
};
/// Processors beyond these share them.
inline constexpr uint32_t kTurnCounters = 256;

struct ControlBlock {
  std::atomic<uint64_t> magic;
  std::atomic<uint32_t> version;
  std::atomic<uint32_t> bytes;
  /// Counts changes of the port table.
  alignas(kCacheLine) std::atomic<uint64_t> epoch;
  /// Slots from here on have never been taken and have no pages. Grows under the attach lock.
  std::atomic<uint32_t> slots_used;
  alignas(kPageBytes) TurnCounter turns[kTurnCounters];
  alignas(kPageBytes) PortEntry ports[kMaxPorts];
  /// MakeRefusal: why [a] is refused by [b].
  alignas(kPageBytes) std::atomic<uint32_t> refusals[kMaxPorts][kMaxPorts];
};

/// Start of a port's memory; lets a receiver check that it mapped the incarnation it meant.
struct PortHeader {
  std::atomic<uint64_t> magic;
  std::atomic<uint32_t> slot;
  std::atomic<uint32_t> generation;
};

/// Start of a ring.
struct RingHeader {
  /// Incarnation of the destination that the ring was opened for; 0: not open. Producer-written.
  alignas(kCacheLine) std::atomic<uint32_t> destination_generation;
  /// Bytes of the ring given back, counted from the opening. Consumer-written.
  alignas(kCacheLine) std::atomic<uint64_t> released;
  /// Set by a producer that found no room, cleared by the consumer when it has made some.
  std::atomic<uint32_t> producer_waiting;
  /// 0: the consumer does not look at this ring until its producer says that there is something
  /// (PortEntry::spoke). Consumer-written, and rarely.
  alignas(kCacheLine) std::atomic<uint32_t> watched;
};
static_assert(sizeof(RingHeader) == 3 * kCacheLine);
static_assert(std::atomic<uint64_t>::is_always_lock_free);

inline constexpr size_t kRingDataBytes = size_t{1} << 20;  ///< a power of two
inline constexpr size_t kRingDataOffset = kPageBytes;
/// The page for the header also keeps equal positions of different rings out of one cache set.
inline constexpr size_t kRingStride = kRingDataOffset + kRingDataBytes;
inline constexpr size_t kSharedRegionOffset = kPageBytes;
inline constexpr size_t kSharedRegionBytes = size_t{1} << 30;
inline constexpr size_t kRingsOffset = kSharedRegionOffset + kSharedRegionBytes;
inline constexpr size_t kPortMemoryBytes = kRingsOffset + kMaxPorts * kRingStride;
inline constexpr size_t kControlBytes = sizeof(ControlBlock);
static_assert(kControlBytes % kPageBytes == 0);

/// Offset in the source's memory of its ring towards `destination`.
constexpr size_t RingOffset(uint32_t destination) {
  return kRingsOffset + destination * kRingStride;
}

/// A shared structure at a suitably aligned place of a mapping.
template <typename T>
T* SharedAt(uint8_t* base, size_t offset = 0) {
  return static_cast<T*>(__builtin_assume_aligned(base + offset, alignof(T)));
}

/// What a slot of the port table says, read without tearing.
struct PortSnapshot {
  PortState state = kPortFree;
  uint32_t generation = 0;
  abi::Ip6Address address = {};
};

/// Reads a slot while others may change it. Each load acquires, so that a generation that is the
/// same before and after vouches for the address between.
inline PortSnapshot ReadPort(const PortEntry& entry) {
  for (;;) {
    PortSnapshot snapshot;
    snapshot.generation = entry.generation.load(std::memory_order_acquire);
    const uint32_t state = entry.state.load(std::memory_order_acquire);
    const uint64_t words[2] = {entry.address_high.load(std::memory_order_acquire),
                               entry.address_low.load(std::memory_order_acquire)};
    std::memcpy(snapshot.address.bytes, words, sizeof words);
    if (entry.generation.load(std::memory_order_acquire) != snapshot.generation ||
        entry.state.load(std::memory_order_acquire) != state) {
      continue;
    }
    snapshot.state = state == kPortLive ? kPortLive : state == kPortLeft ? kPortLeft : kPortFree;
    return snapshot;
  }
}

}  // namespace qpip::wire

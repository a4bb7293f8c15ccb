// The doorbell: how the host tells the NIC that a queue has grown.
//
// On the paper's hardware a doorbell is a write into a region of PCI space that the LANai stores
// in a FIFO in its SRAM (paper section 4.1). Here it is one 16-byte entry. A FIFO that is full
// drops the entry and sets a sticky flag; the doorbell FSM then scans the `QueueIndices` of every
// queue pair, so posting never blocks and nothing is lost.
#pragma once

#include <cstdint>
#include <type_traits>

namespace qpip::abi {

/// What a doorbell announces.
enum class DoorbellKind : uint8_t {
  kNone = 0,
  kSendPosted = 1,  ///< object: queue pair; producer: its send producer index
  kRecvPosted = 2,  ///< object: queue pair; producer: receive producer; posted_bytes: see below
  kCqArm = 3,       ///< object: completion queue; producer: consumer index the host has reached;
                    ///< posted_bytes: ArmKind
  kCommand = 4,     ///< object: unused; producer: command ring producer index
};

/// Which completions an armed queue interrupts for.
enum ArmKind : uint32_t {
  kArmAny = 0,
  kArmSolicited = 1,  ///< those with kCqeSolicited, and those that have failed
};

/// One doorbell. Written by the host, read by the doorbell FSM.
struct Doorbell {
  uint32_t kind_and_object = 0;  ///< DoorbellKind in bits 31..24, object handle in bits 23..0
  uint32_t producer = 0;         ///< free-running index; never reduced modulo the ring size
  uint32_t posted_bytes = 0;     ///< receive queues: sum, modulo 2^32, of all bytes ever posted
  uint32_t reserved = 0;         ///< zero

  /// Packs one.
  static constexpr Doorbell Make(DoorbellKind kind, uint32_t object, uint32_t producer,
                                 uint32_t posted_bytes = 0) {
    return {(static_cast<uint32_t>(kind) << 24) | (object & 0xffffffu), producer, posted_bytes, 0};
  }
  /// Bits 31..24.
  constexpr DoorbellKind kind() const { return static_cast<DoorbellKind>(kind_and_object >> 24); }
  constexpr uint32_t object() const { return kind_and_object & 0xffffffu; }  ///< bits 23..0
};
static_assert(sizeof(Doorbell) == 16 && std::is_trivially_copyable_v<Doorbell>);

/// Producer indices of one queue pair, in host memory. Each word is written by the host with
/// release order *before* it rings the doorbell, and read by the firmware only after a doorbell
/// FIFO overflow. The two words are on cache lines of their own.
struct alignas(64) QueueIndices {
  uint64_t send = 0;      ///< send producer index in bits 31..0
  uint64_t pad0[7] = {};  ///< zero
  uint64_t recv = 0;      ///< receive producer index in bits 31..0, posted bytes in bits 63..32
  uint64_t pad1[7] = {};  ///< zero
};
static_assert(sizeof(QueueIndices) == 128 && std::is_trivially_copyable_v<QueueIndices>);

}  // namespace qpip::abi

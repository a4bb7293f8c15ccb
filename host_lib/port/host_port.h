// The host's side of the bus: what a driver can do with a NIC that sits in a slot.
//
// host_lib reaches every NIC, real-time or simulated, through these two interfaces and the rings
// of nic_fw/abi, and nothing else; a backend implements them. C++ host code only: the firmware does
// not include this file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "nic_fw/abi/doorbell.h"
#include "nic_fw/abi/work_queue.h"

namespace qpip::abi {

/// Where waiting and time come from, so that the same blocking code runs in real time on threads
/// and in virtual time on fibres. Thread-safe.
class HostPlatform {
 public:
  virtual ~HostPlatform() = default;
  /// Monotonic nanoseconds.
  virtual uint64_t NowNs() = 0;
  /// Blocks the caller while `*word == expected`, until `Wake(word)` or `deadline_ns` (UINT64_MAX:
  /// none). May return early.
  virtual void Sleep(const uint32_t* word, uint32_t expected, uint64_t deadline_ns) = 0;
  /// Wakes all callers of Sleep on `word`. The caller has changed the word before.
  virtual void Wake(const uint32_t* word) = 0;
  /// Called in a loop that waits for another party without sleeping.
  virtual void Relax() = 0;
};

/// What befalls a NIC, or its dealings with one peer, rather than a queue pair: its device is gone,
/// there is no memory for a ring.
struct Trouble {
  bool fatal = false;    ///< the NIC carries nothing any more; its connections end
  int code = 0;          ///< an errno value
  Ip6Address peer = {};  ///< whom it concerns; unspecified: everybody
  std::string what;      ///< one line: what, where, what to do
};

/// Receives the NIC's interrupts. Called on whatever thread runs the core, with the core's lock
/// held: it must not block nor call back into the HostPort.
class InterruptHandler {
 public:
  virtual ~InterruptHandler() = default;
  virtual void OnCompletionInterrupt(uint32_t cq) = 0;  ///< `cq`: an armed one
  virtual void OnEventInterrupt() = 0;                  ///< the event ring has grown
  /// Comes before what the trouble does to connections. What somebody else is to be told must wait
  /// for TellTroubles.
  virtual void OnTrouble(const Trouble&) {}
  /// Called soon after OnTrouble, without the lock, on a thread of the backend's or in Stop: may
  /// take its time. One at a time.
  virtual void TellTroubles() {}
  /// This process is a child that was forked from the one that has started the port, to which the
  /// port belongs: from now on only Stop and the destructor may be called here, which let go of
  /// this process's descriptors and mappings and of nothing else. Called in the child before
  /// fork(2) returns there.
  virtual void OnForked() {}
};

/// Where the command and event rings are, given to the NIC when it starts.
struct RingSetup {
  uint64_t command_ring = 0;  ///< DMA address
  uint64_t event_ring = 0;    ///< DMA address
  uint32_t command_log2 = 0;  ///< 1 to 16
  uint32_t event_log2 = 0;    ///< 1 to 26
  /// DMA address of kReassemblySlotBytes for each of PortInfo::reassembly_slots.
  uint64_t reassembly_pool = 0;
};

/// Facts of an opened NIC.
struct PortInfo {
  Ip6Address address = {};        ///< the NIC's
  uint32_t mtu = 0;               ///< bytes of the largest IPv6 packet
  uint32_t max_qps = 0;           ///< queue pairs
  uint32_t max_cqs = 0;           ///< completion queues
  uint32_t max_regions = 0;       ///< memory regions
  uint32_t max_send_depth = 0;    ///< WQEs of a send queue
  uint32_t sram_bytes = 0;        ///< size of the arena
  uint32_t reassembly_slots = 0;  ///< fragmented packets that can be put together at a time
  bool wire_trusted = false;      ///< checksums are neither filled in nor verified
  std::string description;        ///< the URI as opened, with defaults filled in
};

/// One NIC. Methods are thread-safe unless said otherwise.
class HostPort {
 public:
  virtual ~HostPort() = default;

  virtual const PortInfo& info() const = 0;  ///< constant
  virtual HostPlatform& platform() = 0;      ///< lives as long as the port

  /// Hands over the rings and the interrupt handler and starts the core. Call once.
  /// Throws std::runtime_error when the core cannot start.
  virtual void Start(const RingSetup& rings, InterruptHandler* handler) = 0;
  /// Stops the core: no DMA, no interrupts after it returns. Connections that are open end as they
  /// would at the death of the process. Idempotent.
  virtual void Stop() = 0;

  /// Rings a doorbell. Never sleeps; on a full FIFO the entry is replaced by the sticky flag. In
  /// real time what was posted to be sent is carried out before it returns, and a receive where a
  /// thread sleeps for the port, in bounded time, or by the thread that has the core: call it
  /// without locks that an interrupt handler takes. Release order: everything the caller wrote
  /// before is visible to the firmware's DMA.
  virtual void RingDoorbell(const Doorbell& doorbell) = 0;
  /// The caller is about to sleep where the port does not see it, in a descriptor say, until an
  /// interrupt ends that: from now on the core runs by itself, however many threads have driven it
  /// until now. `first`, if not null, is rung before. As RingDoorbell otherwise. A port whose core
  /// runs by itself at all times has no more to do than to ring.
  virtual void GoOnAlone(const Doorbell* first) {
    if (first != nullptr) RingDoorbell(*first);
  }

  /// DMA address of memory of this process, or of memory from AllocateShared. Real time: the
  /// virtual address itself.
  virtual uint64_t DmaAddress(const void* address) = 0;

  /// Memory that the wire can pass to other processes by reference (one copy instead of two).
  /// Returns nullptr when the wire has no such memory or it is used up. 64-byte aligned, zeroed.
  virtual void* AllocateShared(size_t bytes) = 0;
  virtual void FreeShared(void* address, size_t bytes) = 0;  ///< gives it back

  /// Lets the calling thread run the core for a bounded while. Returns at once when another thread
  /// runs it. Stops early once a completion or event has been written (`until_notification`).
  /// Returns true when the firmware did something.
  virtual bool Drive(bool until_notification) = 0;
  /// As Drive until a notification, for a caller that is about to sleep: a port whose core runs by
  /// itself has nothing to do, where Drive would look for a while.
  virtual bool DriveBeforeSleep() { return Drive(/*until_notification=*/true); }

  /// Blocks until `*word != expected`, or the deadline. While it waits the calling thread may run
  /// the core, spinning briefly, then sleeping on the wire. The word is changed by an interrupt
  /// handler or by another thread followed by platform().Wake(word). May return early.
  virtual void DriveUntil(const uint32_t* word, uint32_t expected, uint64_t deadline_ns) = 0;

  /// Per-stage occupancy as measured so far (real time: when switched on by the URI), as JSON;
  /// and the backend's own counters. For tools.
  virtual std::string StatisticsJson() = 0;
};

/// Opens a NIC by URI (DESIGN: `shm:FABRIC`, `mem:NAME`, with query parameters); implemented by
/// sim/. Throws std::invalid_argument for a bad URI (the message says what is wrong and what is
/// accepted), std::system_error / std::runtime_error when the wire cannot be attached.
std::unique_ptr<HostPort> OpenHostPort(std::string_view uri);

/// Registers for fork what the first OpenHostPort would.
void WatchForks();

}  // namespace qpip::abi

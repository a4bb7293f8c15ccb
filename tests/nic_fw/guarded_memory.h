// Host memory in which a byte that is written to the wrong place is seen.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "fake_hardware.h"

namespace qpip::fw::test {

/// A region for a peer to use, with a page of canaries on either side, between pages that fault:
///
///     | faults | canaries | region | canaries | faults |
///
/// The hardware lets the firmware write all of it, so that the process ends at the access that
/// reaches the outer pages.
class GuardedMemory {
 public:
  static constexpr size_t kPage = 4096;

  GuardedMemory(FakeHardware& hardware, size_t bytes) : bytes_((bytes + kPage - 1) & ~(kPage - 1)) {
    void* all = mmap(nullptr, MappedBytes(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) throw std::runtime_error("no memory for a guarded region");
    start_ = static_cast<uint8_t*>(all);
    if (mprotect(start_ + kPage, bytes_ + 2 * kPage, PROT_READ | PROT_WRITE) != 0) {
      throw std::runtime_error("the guarded region's pages cannot be made writable");
    }
    std::memset(start_ + kPage, kCanary, bytes_ + 2 * kPage);
    hardware.AddHostMemory(start_, MappedBytes());
  }
  ~GuardedMemory() { munmap(start_, MappedBytes()); }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  uint8_t* data() { return start_ + 2 * kPage; }
  uint64_t address() const { return reinterpret_cast<uint64_t>(start_ + 2 * kPage); }
  uint32_t size() const { return static_cast<uint32_t>(bytes_); }
  bool CanariesHold() const {
    const uint8_t* before = start_ + kPage;
    const uint8_t* behind = start_ + 2 * kPage + bytes_;
    return before[0] == kCanary && std::memcmp(before, before + 1, kPage - 1) == 0 &&
           behind[0] == kCanary && std::memcmp(behind, behind + 1, kPage - 1) == 0;
  }

 private:
  static constexpr uint8_t kCanary = 0xa5;
  size_t MappedBytes() const { return bytes_ + 4 * kPage; }

  uint8_t* start_ = nullptr;
  size_t bytes_;
};

}  // namespace qpip::fw::test

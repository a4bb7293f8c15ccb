// Allocator over the shared region of a port's memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "sim/wire/mapping.h"

namespace qpip::wire {

/// First fit over a sparse region; bookkeeping stays in this process. Thread-safe.
class SharedAllocator {
 public:
  SharedAllocator(std::shared_ptr<Mapping> mapping, size_t offset, size_t bytes);

  /// Zeroed, 64-byte aligned memory whose pages are reserved. Returns nullptr when the region or
  /// the file system is used up.
  void* Allocate(size_t bytes);
  /// Takes back memory from Allocate; ignores anything else. The pages of large blocks (64 KiB
  /// and more) go back to the system at once.
  void Free(void* address);
  /// Pages stay from now on: somebody may still look into memory that has been taken back. It reads
  /// nothing that counts, but a page that a full file system cannot give would end its process.
  void KeepPages();

  bool Contains(const void* address, size_t bytes) const {
    const auto start = reinterpret_cast<uintptr_t>(address);
    return start >= start_ && start - start_ <= bytes_ && bytes <= bytes_ - (start - start_);
  }
  /// Offset of an address that Contains answered true for.
  uint64_t OffsetOf(const void* address) const {
    return reinterpret_cast<uintptr_t>(address) - start_;
  }

  size_t allocated_bytes() const;

 private:
  void InsertFree(size_t offset, size_t bytes);

  const std::shared_ptr<Mapping> mapping_;
  const size_t region_offset_;
  const size_t bytes_;
  const uintptr_t start_;

  mutable std::mutex mutex_;
  std::map<size_t, size_t> free_;                 ///< offset in the region -> bytes
  std::unordered_map<size_t, size_t> allocated_;  ///< offset in the region -> bytes
  size_t allocated_bytes_ = 0;
  bool keeps_pages_ = false;
};

}  // namespace qpip::wire

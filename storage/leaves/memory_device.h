// A disk in memory, of any size: only what was written takes room.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <vector>

#include "storage/core/device.h"

namespace qpip::storage {

/// Requests end inside of Submit. There is nothing to flush: what is acknowledged lives as long as
/// the process.
class MemoryDevice : public Device {
 public:
  static constexpr uint64_t kChunkBytes = 64 * 1024;
  static constexpr uint64_t kMaxBytes = uint64_t{1} << 50;
  /// Of a trim or a zero, which others' reads and writes may come between.
  static constexpr uint64_t kStepChunks = 64;

  /// `bytes`: at most kMaxBytes. `memory_limit`: bytes of chunks that may be allocated; more is
  /// ENOSPC.
  explicit MemoryDevice(uint64_t bytes, uint64_t memory_limit = UINT64_MAX);
  ~MemoryDevice() override;

  Geometry geometry() const override;
  void Submit(Request& request) override;

  uint64_t allocated_bytes() const { return chunks_.load() * kChunkBytes; }

 private:
  using Slot = std::atomic<std::byte*>;
  static constexpr uint64_t kSlots = 4096;  ///< of one table

  int Read(const Request& request) const;
  int Write(const Request& request);
  void Discard(const Request& request);
  /// At most kStepChunks, or empty tables, of it, for which all others wait. Returns where the rest
  /// begins.
  uint64_t DiscardSome(uint64_t at, uint64_t end);
  int Allocate(uint64_t offset, uint64_t length);
  void Status(const Request& request) const;
  /// nullptr: nothing was written there. Shared lock.
  std::byte* Find(uint64_t index) const;
  /// Makes it when there is none; nullptr: no memory. Shared lock.
  std::byte* FindOrMake(uint64_t index);
  void Free(uint64_t index);

  uint64_t bytes_;
  uint64_t limit_chunks_;
  std::vector<std::atomic<Slot*>> tables_;
  std::atomic<uint64_t> chunks_ = 0;
  mutable std::shared_mutex mutex_;  ///< alone: chunks are freed
};

}  // namespace qpip::storage

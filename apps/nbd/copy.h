// Copies what is on one device to another, many requests in flight.
//
//     status of the source ──> data:   read a block ──> all zeroes? zero : write
//                         └──> zeroes: zero, or nothing where the destination is zero already
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "storage/core/device.h"
#include "storage/core/thread_executor.h"

namespace qpip::nbd {

struct CopyOptions {
  size_t block_bytes = 256 * 1024;   ///< of one read and write; a power of two, at least 64 KiB
  size_t in_flight = 64;             ///< blocks at a time
  bool destination_is_zero = false;  ///< zeroes need not be written
  bool flush = true;                 ///< the destination is flushed at the end
};

/// How far a copy is. Bytes; copied + zeroed + skipped is what has been dealt with.
struct CopyCounts {
  uint64_t copied = 0;   ///< read and written
  uint64_t zeroed = 0;   ///< made zero by a request without data
  uint64_t skipped = 0;  ///< zero in both without doing anything
  uint64_t done() const { return copied + zeroed + skipped; }
};

/// One copy of all of `from` to the start of `to`. One thread, which is the executor's.
class Copy {
 public:
  /// `memory`: CopyMemoryBytes(options). References must outlive it. Throws apps::Failure: the
  /// destination is too small, read-only, or one of both takes no such lengths.
  Copy(storage::Device& from, storage::Device& to, storage::ThreadExecutor& executor,
       std::span<std::byte> memory, const CopyOptions& options);
  ~Copy();
  Copy(const Copy&) = delete;
  Copy& operator=(const Copy&) = delete;

  /// Until it is done, or `stop_fd` is readable (-1: none). Calls `progress` now and then. Returns
  /// false when it was stopped. Throws apps::Failure.
  bool Run(int stop_fd, const std::function<void(const CopyCounts&)>& progress);
  const CopyCounts& counts() const { return counts_; }

 private:
  struct Slot;
  static constexpr size_t kMostExtents = 512;

  bool over() const { return busy_ == 0 && (error_ != 0 || (at_ == bytes_ && flushed_)); }
  void Start();
  uint64_t ZeroesHere();
  void Advance(uint64_t bytes);
  void AskStatus();
  void StartZeroes(uint64_t length);
  void StartData();
  void StartFlush();
  Slot& Take(storage::Op op, uint64_t offset, uint64_t length);
  void Put(Slot& slot);
  void Submit(storage::Device& device, Slot& slot);
  void OnDone(Slot& slot);
  void OnRead(Slot& slot);
  void Zero(Slot& slot);
  void Fail(const Slot& slot);

  storage::Device& from_;
  storage::Device& to_;
  storage::ThreadExecutor& executor_;
  CopyOptions options_;
  uint64_t bytes_;
  uint64_t step_;  ///< offsets and lengths are multiples, on both sides
  CopyCounts counts_;

  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> free_;
  size_t busy_ = 0;
  uint64_t at_ = 0;  ///< everything in front of it has been started
  std::array<storage::Extent, kMostExtents> room_;
  storage::ExtentList extents_{room_};
  size_t extent_ = 0;    ///< of the list, where `at_` lies; none: all have been started
  uint64_t gone_ = 0;    ///< bytes of it before `at_`
  bool asking_ = false;  ///< the list is being filled
  bool flushing_ = false;
  bool flushed_ = false;
  int error_ = 0;
  std::string failure_;
};

/// How much memory a copy needs.
inline size_t CopyMemoryBytes(const CopyOptions& options) {
  return options.block_bytes * options.in_flight;
}

}  // namespace qpip::nbd

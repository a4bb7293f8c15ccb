// Memory for payload that does not fit a connection's own area, bounded over all connections.
#pragma once

#include <cstddef>
#include <mutex>
#include <span>
#include <vector>

namespace qpip::nbd {

/// Thread-safe.
class MemoryBudget {
 public:
  /// Of what was put back, so much stays mapped for whoever is next: pages that are zeroed anew for
  /// every request cost more than the request.
  static constexpr size_t kKeptBytes = size_t{16} << 20;

  /// `bytes`: of all that is taken and kept.
  explicit MemoryBudget(size_t bytes) : most_of_one_(bytes / 4), left_(bytes) {}
  ~MemoryBudget();
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;

  /// Memory of at least `bytes`, with anything in it; empty: there is none. Whoever is refused asks
  /// again later: all of a request's memory is taken at once, so one that has it goes on to its end
  /// and gives it back. It counts as the power of two that it takes.
  std::span<std::byte> TryTake(size_t bytes);
  void Put(std::span<std::byte> area);
  /// Whether who has `has` bytes may take `bytes` more: a quarter of all is for one, or one request
  /// however long, so that no one client has the others wait for it.
  bool IsFair(size_t has, size_t bytes) const;

 private:
  void DropKept();

  const size_t most_of_one_;
  std::mutex mutex_;
  size_t left_;  ///< neither taken nor kept
  std::vector<std::span<std::byte>> kept_;
  size_t kept_bytes_ = 0;
};

}  // namespace qpip::nbd

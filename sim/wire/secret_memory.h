// Memory for secrets: not in core dumps, not in a forked child, and where allowed never on a disk.
#pragma once

#include <memory_resource>

namespace qpip::wire {

/// Pages of its own for every allocation: for a few large ones. Thread-safe.
class SecretMemory final : public std::pmr::memory_resource {
 public:
  /// Whether all pages handed out so far are left out of core dumps.
  bool undumped() const { return undumped_; }

 private:
  /// Throws std::bad_alloc.
  void* do_allocate(size_t bytes, size_t alignment) override;
  void do_deallocate(void* pages, size_t bytes, size_t alignment) override;
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }

  bool undumped_ = true;
};

}  // namespace qpip::wire

#include "apps/nbd/memory_budget.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>

namespace qpip::nbd {

MemoryBudget::~MemoryBudget() { DropKept(); }

std::span<std::byte> MemoryBudget::TryTake(size_t bytes) {
  const size_t size = std::bit_ceil(bytes);
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(kept_.rbegin(), kept_.rend(), [size](std::span<std::byte> area) {
    return area.size() == size;
  });
  if (found != kept_.rend()) {
    const std::span<std::byte> area = *found;
    kept_.erase(std::prev(found.base()));
    kept_bytes_ -= size;
    return area;
  }
  if (size > left_) DropKept();
  if (size > left_) return {};
  void* const memory =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return {};
  left_ -= size;
  return {static_cast<std::byte*>(memory), size};
}

void MemoryBudget::Put(std::span<std::byte> area) {
  const std::lock_guard lock(mutex_);
  if (kept_bytes_ + area.size() <= kKeptBytes) {
    kept_.push_back(area);
    kept_bytes_ += area.size();
    return;
  }
  munmap(area.data(), area.size());
  left_ += area.size();
}

bool MemoryBudget::IsFair(size_t has, size_t bytes) const {
  return has == 0 || has + std::bit_ceil(bytes) <= most_of_one_;
}

void MemoryBudget::DropKept() {
  for (const std::span<std::byte> area : kept_) {
    munmap(area.data(), area.size());
    left_ += area.size();
  }
  kept_.clear();
  kept_bytes_ = 0;
}

}  // namespace qpip::nbd

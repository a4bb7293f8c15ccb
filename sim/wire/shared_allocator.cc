#include "sim/wire/shared_allocator.h"

#include <cstring>
#include <iterator>
#include <utility>

#include "sim/wire/layout.h"

namespace qpip::wire {
namespace {

constexpr size_t kLargeBytes = 64 * 1024;

constexpr size_t RoundUp(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

SharedAllocator::SharedAllocator(std::shared_ptr<Mapping> mapping, size_t offset, size_t bytes)
    : mapping_(std::move(mapping)),
      region_offset_(offset),
      bytes_(bytes),
      start_(reinterpret_cast<uintptr_t>(mapping_->base()) + offset) {
  free_.emplace(0, bytes);
}

void* SharedAllocator::Allocate(size_t bytes) {
  if (bytes == 0 || bytes > bytes_) return nullptr;
  // Large blocks have pages of their own, so that all of them can be given back.
  const size_t unit = bytes >= kLargeBytes ? kPageBytes : kCacheLine;
  const size_t size = RoundUp(bytes, unit);
  const std::lock_guard lock(mutex_);
  for (auto block = free_.begin(); block != free_.end(); ++block) {
    const size_t start = block->first;
    const size_t end = start + block->second;
    const size_t aligned = RoundUp(start, unit);
    if (aligned > end || end - aligned < size) continue;
    if (mapping_->Reserve(region_offset_ + aligned, size) != 0) return nullptr;
    free_.erase(block);
    if (aligned > start) free_.emplace(start, aligned - start);
    if (aligned + size < end) free_.emplace(aligned + size, end - aligned - size);
    allocated_.emplace(aligned, size);
    allocated_bytes_ += size;
    uint8_t* address = mapping_->base() + region_offset_ + aligned;
    std::memset(address, 0, size);  // also faults the pages in
    return address;
  }
  return nullptr;
}

void SharedAllocator::Free(void* address) {
  if (!Contains(address, 1)) return;
  const std::lock_guard lock(mutex_);
  const auto found = allocated_.find(OffsetOf(address));
  if (found == allocated_.end()) return;
  const auto [offset, size] = *found;
  allocated_.erase(found);
  allocated_bytes_ -= size;
  if (size >= kLargeBytes && !keeps_pages_) mapping_->Discard(region_offset_ + offset, size);
  InsertFree(offset, size);
}

void SharedAllocator::KeepPages() {
  const std::lock_guard lock(mutex_);
  keeps_pages_ = true;
}

void SharedAllocator::InsertFree(size_t offset, size_t bytes) {
  auto next = free_.lower_bound(offset);
  if (next != free_.end() && offset + bytes == next->first) {
    bytes += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == offset) {
      previous->second += bytes;
      return;
    }
  }
  free_.emplace_hint(next, offset, bytes);
}

size_t SharedAllocator::allocated_bytes() const {
  const std::lock_guard lock(mutex_);
  return allocated_bytes_;
}

}  // namespace qpip::wire

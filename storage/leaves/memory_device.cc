#include "storage/leaves/memory_device.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "storage/core/iovecs.h"

namespace qpip::storage {

MemoryDevice::MemoryDevice(uint64_t bytes, uint64_t memory_limit)
    : bytes_(std::min(bytes, kMaxBytes)),
      limit_chunks_(memory_limit / kChunkBytes),
      tables_((bytes_ + kChunkBytes * kSlots - 1) / (kChunkBytes * kSlots)) {}

MemoryDevice::~MemoryDevice() {
  for (const auto& table : tables_) {
    Slot* const slots = table.load();
    if (slots == nullptr) continue;
    for (uint64_t i = 0; i < kSlots; ++i) std::free(slots[i].load());
    delete[] slots;
  }
}

Geometry MemoryDevice::geometry() const {
  return {.bytes = bytes_, .trim = true, .fast_zero = true};
}

void MemoryDevice::Submit(Request& request) {
  int error = 0;
  switch (request.op) {
    case Op::kRead:
      error = Read(request);
      break;
    case Op::kWrite:
      error = Write(request);
      break;
    case Op::kTrim:
      Discard(request);
      break;
    case Op::kZero:
      Discard(request);
      if ((request.flags & kNoHole) != 0) {
        error = Allocate(request.offset, request.length);
      }
      break;
    case Op::kStatus:
      Status(request);
      break;
    case Op::kFlush:
    case Op::kCache:
      break;
  }
  Complete(request, error);
}

std::byte* MemoryDevice::Find(uint64_t index) const {
  Slot* const slots = tables_[index / kSlots].load(std::memory_order_acquire);
  return slots == nullptr ? nullptr : slots[index % kSlots].load(std::memory_order_acquire);
}

std::byte* MemoryDevice::FindOrMake(uint64_t index) {
  if (std::byte* const found = Find(index)) return found;
  std::atomic<Slot*>& table = tables_[index / kSlots];
  Slot* slots = table.load(std::memory_order_acquire);
  if (slots == nullptr) {
    auto* const fresh = new (std::nothrow) Slot[kSlots]();
    if (fresh == nullptr) return nullptr;
    if (table.compare_exchange_strong(slots, fresh)) {
      slots = fresh;
    } else {
      delete[] fresh;  // another thread was first; `slots` is its table
    }
  }
  if (chunks_.fetch_add(1) >= limit_chunks_) {
    chunks_.fetch_sub(1);
    return nullptr;
  }
  auto* const fresh = static_cast<std::byte*>(std::calloc(1, kChunkBytes));
  std::byte* found = nullptr;
  if (fresh != nullptr && slots[index % kSlots].compare_exchange_strong(found, fresh)) return fresh;
  std::free(fresh);
  chunks_.fetch_sub(1);
  return found;
}

void MemoryDevice::Free(uint64_t index) {
  Slot* const slots = tables_[index / kSlots].load(std::memory_order_acquire);
  if (slots == nullptr) return;
  if (std::byte* const chunk = slots[index % kSlots].exchange(nullptr)) {
    std::free(chunk);
    chunks_.fetch_sub(1);
  }
}

int MemoryDevice::Read(const Request& request) const {
  const std::shared_lock lock(mutex_);
  ForEachPiece(request.data, request.offset, kChunkBytes,
               [&](uint64_t offset, std::byte* at, size_t bytes) {
                 const std::byte* const chunk = Find(offset / kChunkBytes);
                 if (chunk == nullptr) {
                   std::memset(at, 0, bytes);
                 } else {
                   std::memcpy(at, chunk + offset % kChunkBytes, bytes);
                 }
               });
  return 0;
}

int MemoryDevice::Write(const Request& request) {
  const std::shared_lock lock(mutex_);
  int error = 0;
  ForEachPiece(request.data, request.offset, kChunkBytes,
               [&](uint64_t offset, const std::byte* at, size_t bytes) {
                 if (error != 0) return;
                 std::byte* const chunk = FindOrMake(offset / kChunkBytes);
                 if (chunk == nullptr) {
                   error = ENOSPC;
                 } else {
                   std::memcpy(chunk + offset % kChunkBytes, at, bytes);
                 }
               });
  return error;
}

/// Whole chunks are given back; of others the range is zeroed.
void MemoryDevice::Discard(const Request& request) {
  const uint64_t end = request.offset + request.length;
  for (uint64_t at = request.offset; at < end;) at = DiscardSome(at, end);
}

uint64_t MemoryDevice::DiscardSome(uint64_t at, uint64_t end) {
  const std::unique_lock lock(mutex_);
  for (uint64_t i = 0; i < kStepChunks && at < end; ++i) {
    const uint64_t index = at / kChunkBytes;
    if (tables_[index / kSlots].load() == nullptr) {  // nothing in all of this table
      at = std::min(end, (index / kSlots + 1) * kSlots * kChunkBytes);
      continue;
    }
    const uint64_t next = std::min(end, (index + 1) * kChunkBytes);
    const bool whole = at % kChunkBytes == 0 && (next % kChunkBytes == 0 || next == bytes_);
    if (whole) {
      Free(index);
    } else if (std::byte* const chunk = Find(index)) {
      std::memset(chunk + at % kChunkBytes, 0, next - at);
    }
    at = next;
  }
  return at;
}

int MemoryDevice::Allocate(uint64_t offset, uint64_t length) {
  for (uint64_t i = offset / kChunkBytes; i <= (offset + length - 1) / kChunkBytes; ++i) {
    const std::shared_lock lock(mutex_);
    if (FindOrMake(i) == nullptr) return ENOSPC;
  }
  return 0;
}

void MemoryDevice::Status(const Request& request) const {
  const std::shared_lock lock(mutex_);
  const uint64_t end = request.offset + request.length;
  const bool one = (request.flags & kOneExtent) != 0;
  for (uint64_t at = request.offset; at < end;) {
    const uint64_t index = at / kChunkBytes;
    const bool no_table = tables_[index / kSlots].load(std::memory_order_acquire) == nullptr;
    const uint64_t unit = no_table ? kSlots * kChunkBytes : kChunkBytes;
    const uint64_t next = std::min(end, (at / unit + 1) * unit);
    const uint32_t flags = no_table || Find(index) == nullptr ? kHole | kZeroes : 0;
    const bool another =
        !request.extents->extents().empty() && request.extents->extents().back().flags != flags;
    if (one && another) return;
    if (!request.extents->Add(next - at, flags)) return;
    at = next;
  }
}

}  // namespace qpip::storage

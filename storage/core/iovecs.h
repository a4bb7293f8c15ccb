// Lists of runs of memory.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace qpip::storage {

/// Drops the first `bytes` bytes of a list, and what is empty at its start. Returns what is left of
/// it; its first run is modified in place.
inline std::span<iovec> Advance(std::span<iovec> list, size_t bytes) {
  while (!list.empty() && bytes >= list.front().iov_len) {
    bytes -= list.front().iov_len;
    list = list.subspan(1);
  }
  if (!list.empty()) {
    list.front().iov_base = static_cast<std::byte*>(list.front().iov_base) + bytes;
    list.front().iov_len -= bytes;
  }
  return list;
}

/// Calls use(std::byte* at, size_t bytes) for each run, cut at multiples of `step` of the offsets
/// that the runs stand for, the first of which is `offset`; use(offset, at, bytes).
template <typename Use>
void ForEachPiece(std::span<const iovec> list, uint64_t offset, uint64_t step, Use&& use) {
  for (const iovec& run : list) {
    auto* at = static_cast<std::byte*>(run.iov_base);
    for (size_t left = run.iov_len; left > 0;) {
      const uint64_t to_boundary = step - offset % step;
      const size_t bytes = left < to_boundary ? left : static_cast<size_t>(to_boundary);
      use(offset, at, bytes);
      at += bytes;
      offset += bytes;
      left -= bytes;
    }
  }
}

}  // namespace qpip::storage

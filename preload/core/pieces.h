// Lists of pieces of memory, as readv(2) and writev(2) have them.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <span>

namespace qpip::preload {

/// Bytes of all pieces.
inline size_t TotalBytes(std::span<const iovec> pieces) {
  size_t total = 0;
  for (const iovec& piece : pieces) total += piece.iov_len;
  return total;
}

}  // namespace qpip::preload

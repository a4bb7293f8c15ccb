// A frame's text in pieces, taken from the front as its segments need it.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "protocols/common/checksum.h"
#include "sim/wire/layout.h"

namespace qpip::wire {

/// At most as many pieces as a frame has references, and one in front of them.
class TextPieces {
 public:
  void Add(const iovec& piece) { pieces_[count_++] = piece; }
  const iovec& front() const { return pieces_[0]; }
  /// The next `bytes` as pieces of `out`, and what they sum up to. Returns how many pieces.
  size_t Next(uint32_t bytes, std::span<iovec> out, uint16_t* sum) {
    size_t pieces = 0;
    uint32_t done = 0;
    while (done < bytes) {
      iovec& piece = pieces_[next_];
      const size_t part = std::min<size_t>(piece.iov_len, bytes - done);
      auto* start = static_cast<uint8_t*>(piece.iov_base);
      if (part != 0) {
        *sum = ChecksumCombine(*sum, ChecksumAtOffset(ChecksumAdd({start, part}), done));
        out[pieces++] = {start, part};
        done += static_cast<uint32_t>(part);
      }
      piece = {start + part, piece.iov_len - part};
      if (piece.iov_len == 0) ++next_;
    }
    return pieces;
  }

 private:
  std::array<iovec, kMaxReferences + 2> pieces_;
  size_t count_ = 0;
  size_t next_ = 0;
};

}  // namespace qpip::wire

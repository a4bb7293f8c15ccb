// Received frames that the core has borrowed, of datagrams and of trains of them.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <vector>

#include "sim/wire/datagrams_in.h"
#include "sim/wire/wire.h"

namespace qpip::wire {

class LentFrames {
 public:
  /// `count`: frames that may be lent at a time.
  explicit LentFrames(uint32_t count);

  bool full() const { return free_.empty(); }
  /// Lends the next datagram, and, if `trains`, those that are there already and continue it: of
  /// the same flow from the same socket, each at most `longest` bytes (Train). Returns how many.
  /// Neither may be lacking: a datagram, and room.
  uint32_t LendTrain(DatagramsIn* in, bool trains, uint32_t longest, InFrame* frame);
  /// Lends a frame of the wire's own, which needs no checksum verified. There is room.
  void LendOwn(std::vector<uint8_t> bytes, InFrame* frame);
  /// Takes a lent frame back; anything else is ignored.
  void TakeBack(const InFrame& frame, DatagramsIn* in);

 private:
  static constexpr uint32_t kTrainPieces = 64;
  struct Lent {
    std::array<iovec, kTrainPieces> pieces;
    uint32_t count = 0;        ///< 0: not lent
    std::vector<uint8_t> own;  ///< not empty: no datagrams
  };
  Lent& Take(InFrame* frame);

  std::vector<Lent> lent_;
  std::vector<uint32_t> free_;
};

}  // namespace qpip::wire

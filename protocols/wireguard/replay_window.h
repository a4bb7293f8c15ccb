// Which counters of a session have been received: each is taken once, in any order within a window
// (WireGuard's paper, section 5.4.6; RFC 6479).
//
//         too old     |  kWindow counters behind the greatest: a bit each  |  new
//     ────────────────+───────────────────────────────────────────────────+──────────────>
//                                                                  greatest ^
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace qpip::wireguard {

class ReplayWindow {
 public:
  enum class Verdict : uint8_t {
    kNew,
    kDuplicate,
    kTooOld,  ///< nobody knows whether it is a duplicate
  };
  static constexpr uint64_t kBits = 8192;
  /// One word less: a ring of words whose oldest is being reused as the window moves on.
  static constexpr uint64_t kWindow = kBits - 64;

  /// Of an authenticated counter below 2^64 - 1; marks it. Forged ones must not come here.
  Verdict Take(uint64_t counter) {
    if (counter < next_ && next_ - counter > kWindow) return Verdict::kTooOld;
    if (counter >= next_) MoveTo(counter);
    uint64_t& word = words_[counter / 64 % words_.size()];
    const uint64_t bit = uint64_t{1} << (counter % 64);
    if ((word & bit) != 0) return Verdict::kDuplicate;
    word |= bit;
    return Verdict::kNew;
  }

 private:
  // Clears the words that come into use.
  void MoveTo(uint64_t counter) {
    const uint64_t last = next_ == 0 ? 0 : (next_ - 1) / 64;
    const uint64_t fresh = std::min<uint64_t>(counter / 64 - last, words_.size());
    for (uint64_t i = 1; i <= fresh; ++i) words_[(last + i) % words_.size()] = 0;
    next_ = counter + 1;
  }

  uint64_t next_ = 0;  ///< greatest counter taken plus one
  std::array<uint64_t, kBits / 64> words_ = {};
};

}  // namespace qpip::wireguard

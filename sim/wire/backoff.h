// Attempts that fail for want of something that may be there again at any time.
#pragma once

#include <algorithm>
#include <cstdint>

namespace qpip::wire {

/// The first attempts are made as they come; then, while they fail, ever more rarely.
class Backoff {
 public:
  /// The error that an attempt would end with now, as the latest did; 0: it is to be made.
  int Assumed(uint64_t now_ns) const {
    return failures_ >= kAsTheyCome && now_ns < again_ns_ ? error_ : 0;
  }
  /// An attempt was made. `error`: an errno value, 0 when it went well.
  void Note(int error, uint64_t now_ns) {
    error_ = error;
    failures_ = error == 0 ? 0 : failures_ + 1;
    if (failures_ < kAsTheyCome) return;
    const uint32_t doublings = std::min(failures_ - kAsTheyCome, kMostDoublings);
    again_ns_ = now_ns + (kFirstWaitNs << doublings);
  }

 private:
  static constexpr uint32_t kAsTheyCome = 8;
  static constexpr uint64_t kFirstWaitNs = 1'000'000;
  static constexpr uint32_t kMostDoublings = 7;  // 128 ms

  int error_ = 0;
  uint32_t failures_ = 0;
  uint64_t again_ns_ = 0;
};

}  // namespace qpip::wire

// What a queue pair's turn with the transmit scheduler comes to.
#pragma once

#include <cstdint>

namespace qpip::fw {

/// Outcome of one queue pair's turn.
struct Turn {
  enum class Kind : uint8_t {
    kIdle,     // nothing to send until something happens: off the list
    kSent,     // `bytes` were spent: stay on the list
    kNoBuffer  // no context or packet buffer: stay on the list, somebody else's completion helps
  };
  Kind kind = Kind::kIdle;
  uint32_t bytes = 0;
};
inline constexpr Turn kIdleTurn{Turn::Kind::kIdle, 0};
inline constexpr Turn kNoBufferTurn{Turn::Kind::kNoBuffer, 0};
constexpr Turn SentTurn(uint32_t bytes) { return {Turn::Kind::kSent, bytes}; }

}  // namespace qpip::fw

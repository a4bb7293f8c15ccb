// Framing: how messages lie in a byte stream, or in datagrams. Behaviour as a row of functions and
// facts; whoever moves bytes asks the row and decides nothing by itself.
//
//     announce   a message's bytes          -> bytes of sequence space
//     locate     a place in a message, most -> header bytes, bytes of the message
//     next       text at hand               -> a header to be taken out, or bytes of a message
//     taken      so much of that was issued
//     room       posted receives            -> bytes of sequence space that they can take
//
// A byte of a message need not be a sequence number, text need not be a message's, and the window
// need not follow posted receives. Rows are found by id (framing_rows.cc), so a queue may change
// its own at any boundary. docs/decisions/0032-framing-is-a-row.md.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "nic_fw/queue_pair.h"

namespace qpip::fw {

/// Where a place in the sequence space lies in its message.
struct LocatedText {
  uint8_t header[FramingState::kMostHeaderBytes];
  uint32_t header_length = 0;   ///< bytes of `header` that go first
  uint32_t message_offset = 0;  ///< first byte of the message behind them
  uint32_t length = 0;          ///< bytes of the message
};

/// Text in stream order that waits to be placed.
struct TextAtHand {
  uint32_t length = 0;  ///< bytes
  bool push = false;    ///< the last one ends a segment with PSH, or a datagram
};

/// What comes next of it.
struct Piece {
  enum class Kind : uint8_t {
    kMessage = 0,  ///< bytes of a message, for a receive or the overflow pool
    kHeader = 1,   ///< the framing's own: taken out of the stream
    kBad = 2,      ///< no stream of this framing
  };
  Kind kind = Kind::kMessage;
  uint32_t length = 0;        ///< bytes
  uint32_t message_rest = 0;  ///< known to be still to come of the message, these included
  bool ends_message = false;  ///< the last one is the last of its message
};

struct Framing {
  const char* name = nullptr;
  bool keeps_boundaries = true;  ///< a receive is one message; otherwise what has arrived
  bool datagrams = false;        ///< messages may be empty; what does not fit is dropped, not fatal
  /// Most header bytes in front of a message. Then text ahead of its turn is not kept, since where
  /// its messages begin is not known, and packets are not cut by the wire.
  uint8_t header_bytes = 0;

  /// Bytes of sequence space that a message of `message_bytes` takes.
  uint32_t (*announce)(uint32_t message_bytes) = nullptr;
  /// What lies at `offset` of a message's sequence space, at most `most` bytes.
  void (*locate)(const SendRecord& record, uint32_t offset, uint32_t most,
                 LocatedText* out) = nullptr;
  /// What comes next of the text at hand (length is not 0, but for a datagram's).
  Piece (*next)(const FramingState& state, const TextAtHand& text) = nullptr;
  /// `length` bytes of `piece` are on their way; `header`: they themselves, of a kHeader. Returns
  /// false when a header makes no sense.
  bool (*taken)(FramingState& state, const Piece& piece, uint32_t length,
                const uint8_t* header) = nullptr;
  /// Bytes of sequence space that the posted receives can still take (unplaced text not deducted).
  uint32_t (*room)(const ReceiveQueue& recv, const FramingState& state) = nullptr;
};

/// Ids: abi::Framing's, and one that no host asks for.
inline constexpr uint8_t kFramingDatagram = 7;
inline constexpr uint8_t kFramingIds = 8;

/// The row of each id, nullptr where there is none: framing_rows.cc, and nothing else there.
using FramingTable = std::array<const Framing*, kFramingIds>;
extern const FramingTable kFramings;

/// The row of an id, or nullptr: ids come from the host.
inline const Framing* FindFraming(uint8_t id) { return id < kFramingIds ? kFramings[id] : nullptr; }

/// The row of a queue, whose id was checked when it was created.
inline const Framing& FramingOf(const WorkQueue& queue) {
  QPIP_ASSERT(FindFraming(queue.framing) != nullptr);
  return *kFramings[queue.framing];
}

/// Parts that rows share.
uint32_t AnnounceAsItIs(uint32_t message_bytes);
void LocateAsItIs(const SendRecord& record, uint32_t offset, uint32_t most, LocatedText* out);
Piece NextUntilPush(const FramingState& state, const TextAtHand& text);
bool TakenAsItIs(FramingState& state, const Piece& piece, uint32_t length, const uint8_t* header);
/// Bytes posted and not filled.
uint32_t RoomOfReceives(const ReceiveQueue& recv, const FramingState& state);

extern const Framing kSegmentFraming;
extern const Framing kStreamFraming;
extern const Framing kMpaFraming;
extern const Framing kDatagramFraming;

}  // namespace qpip::fw

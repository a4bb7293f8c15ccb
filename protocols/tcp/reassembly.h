// Text that arrived ahead of its turn (RFC 9293 3.10.7.4: "segments with higher beginning sequence
// numbers SHOULD be held for later processing"), as ranges of the sequence space. The bytes
// themselves are the owner's.
//
//     rcv.nxt            start   end      start      end          rcv.adv
//        |   gap           |######|   gap   |#########|              |
//     ---|-----------------|------|---------|---------|--------------|---> sequence
//
// A range that ends a message (PSH) is never merged with the one behind it, so that `segment`
// framing's boundaries survive. When the text before them arrives, ranges are *released*: they
// stay at the front, in order, until the owner takes them.
#pragma once

#include <cstdint>

#include "protocols/tcp/annex.h"
#include "protocols/tcp/header.h"
#include "protocols/tcp/sequence_number.h"

namespace qpip::tcp {

struct HeldRange {
  SequenceNumber start;
  uint32_t length = 0;
  uint32_t touched = 0;  ///< Reassembly::clock when text last came: which SACK block goes first
  bool push = false;     ///< the last byte ended a PSH segment

  constexpr SequenceNumber End() const { return start + length; }
};

struct Reassembly {
  Annex<HeldRange> ranges;  ///< `released`, then held ones; ascending, disjoint
  uint32_t clock = 0;
  uint16_t count = 0;
  uint16_t released = 0;

  constexpr bool HoldsAny() const { return count != released; }
};

/// A part of a segment's text.
struct TextPiece {
  uint32_t offset = 0;
  uint32_t length = 0;        ///< 0: none
  uint32_t known_before = 0;  ///< bytes at the start of the text that were held already
  bool to_end = false;        ///< reaches the end of the text
};

/// Notes text [start, start + length), which lies behind a gap, as far as it is news: at most one
/// piece, the first. What lies behind a range that was held already comes again. Nothing is taken
/// when `limit` ranges are held, or as many as there is room for.
TextPiece Hold(Reassembly& held, SequenceNumber start, uint32_t length, bool push, uint32_t limit);

/// In-order text reaches `edge` now: forgets what it covers, and releases what follows without a
/// gap. Returns the released bytes.
uint32_t Release(Reassembly& held, SequenceNumber edge);

/// Takes the oldest released range if it starts at `at`.
bool TakeReleased(Reassembly& held, SequenceNumber at, HeldRange* out);

/// Fills in SACK blocks: first the range that text came for last, then by how recently each was
/// news (RFC 2018 section 4). Ranges without a gap between them are one block. Returns the count.
uint32_t SackBlocks(const Reassembly& held, SackBlock* blocks, uint32_t room);

}  // namespace qpip::tcp

// The sender's side: how a message lies in the stream. It is cut into DDP segments of one size (the
// last one is shorter), each an FPDU (RFC 5041 section 5.2, RFC 5044 section 4).
//
//     start
//     | length | DDP header | bytes of the message | pad | CRC | length | DDP header | ...
//
// A layout says what lies at any place of it, so that whatever TCP wants again can be made again:
// nothing but the layout is kept of a message that is in flight.
#pragma once

#include <cstdint>
#include <span>

#include "protocols/iwarp/ddp.h"
#include "protocols/iwarp/fpdu.h"
#include "protocols/iwarp/rdmap.h"

namespace qpip::iwarp {

/// What a message is, apart from its bytes.
struct Message {
  Opcode opcode = Opcode::kSend;
  uint32_t length = 0;            ///< bytes behind the DDP headers, below 2^32
  uint32_t stag = 0;              ///< tagged
  uint64_t tagged_offset = 0;     ///< tagged: of the first byte
  uint32_t message_sequence = 0;  ///< untagged
  uint32_t invalidate_stag = 0;   ///< sends that invalidate
};

struct MessageLayout {
  uint32_t start = 0;        ///< in the stream: behind the previous message; a multiple of 4
  uint32_t length = 0;       ///< bytes of the message
  uint32_t mulpdu = 0;       ///< when it was laid out: a segment's most bytes, header included
  uint8_t header_bytes = 0;  ///< of a segment
  bool markers = false;
};

/// Lays `message` out from `start` on. `mulpdu`: kMinMulpdu to kMaxMulpdu.
MessageLayout LayOut(const Message& message, uint32_t start, uint32_t mulpdu, bool markers);

/// DDP segments that it has, at least one.
uint32_t SegmentCount(const MessageLayout& layout);
/// Bytes of the stream that it takes; the next message starts behind them. Below 2^32 for messages
/// of less than 3.9 GiB where kMinMulpdu is used, 4 GiB less 1% at 1460.
uint64_t StreamBytes(const MessageLayout& layout);

/// What lies at a place of the stream.
struct SegmentAt {
  uint32_t index = 0;           ///< of the segment
  Fpdu fpdu;                    ///< it
  uint32_t at = 0;              ///< the place, from the FPDU's start
  uint32_t message_offset = 0;  ///< of the segment's first byte behind its header
  bool last = false;
};
/// `at`: bytes from the message's start, below StreamBytes.
SegmentAt FindSegment(const MessageLayout& layout, uint64_t at);

/// The header of a segment that begins `message_offset` bytes into the message.
DdpHeader HeaderOf(const Message& message, uint32_t message_offset, bool last);

/// Writes an FPDU's length field or a marker, `part.length` bytes of it, or zeroes for the pad.
/// The ULPDU and the CRC are the caller's.
void EmitPart(const Fpdu& fpdu, const PartAt& part, uint8_t* out);

/// Writes an FPDU whole: FpduBytes of it. `out` must hold them. Without `crc` the field is zero.
void EmitFpdu(const Fpdu& fpdu, std::span<const uint8_t> ulpdu, bool crc, std::span<uint8_t> out);

}  // namespace qpip::iwarp

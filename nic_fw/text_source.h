// Where a packet's text comes from: the framing says what lies at a place of the sequence space,
// the work requests whose memory it is.
#pragma once

#include "nic_fw/framing.h"
#include "nic_fw/state.h"

namespace qpip::fw {

inline constexpr uint32_t kMaxInlineText =
    512;  // of one segment: kFrameBufferBytes has room for it

/// A packet's text: bytes in SRAM, then pieces of host memory; either or both.
struct GatheredText {
  DmaSegment pieces[kMaxDmaSegments];
  uint32_t count = 0;              ///< of pieces
  const uint8_t* bytes = nullptr;  ///< inline text
  uint8_t copy[kMaxInlineText];    ///< of inline text that lies in several places
  uint32_t inline_length = 0;
  uint32_t length = 0;        ///< of the pieces
  bool ends_message = false;  ///< the last byte is the last of its work request
  uint32_t total() const { return inline_length + length; }
};

/// Bytes that may go as one packet from `offset` of the message `record` on; `announced_end` is
/// that of all that may be sent.
uint32_t PacketRest(const SendQueue& send, const SendRecord& record, uint32_t offset,
                    tcp::SequenceNumber announced_end);

/// Collects up to `most` bytes of sequence space from `offset` of work request `index` on, which is
/// cached. Only a framing without boundaries has segments that span work requests, as far as these
/// are in the cache and of one kind. False: not even the first can be read, as the host has changed
/// the entry, or its region has gone away, since it was announced.
bool GatherText(const Nic& nic, const SendQueue& send, uint32_t protection_domain, uint32_t index,
                uint32_t offset, uint32_t most, GatheredText* out);

}  // namespace qpip::fw

#include "nic_fw/framing.h"

namespace qpip::fw {

uint32_t AnnounceAsItIs(uint32_t message_bytes) { return message_bytes; }

void LocateAsItIs(const SendRecord& record, uint32_t offset, uint32_t most, LocatedText* out) {
  const uint32_t rest = record.length - offset;
  out->message_offset = offset;
  out->length = rest < most ? rest : most;
}

Piece NextUntilPush(const FramingState&, const TextAtHand& text) {
  return {Piece::Kind::kMessage, text.length, text.length, text.push};
}

bool TakenAsItIs(FramingState&, const Piece&, uint32_t, const uint8_t*) { return true; }

uint32_t RoomOfReceives(const ReceiveQueue& recv, const FramingState&) {
  const uint32_t posted = recv.posted_bytes - recv.consumed_bytes;
  return posted > recv.filled && posted < 0x80000000u ? posted - recv.filled : 0;
}

/// QPIP to QPIP: a message ends with the last byte of a segment that carries PSH.
constexpr Framing kSegmentFraming = {
    .name = "segment",
    .announce = AnnounceAsItIs,
    .locate = LocateAsItIs,
    .next = NextUntilPush,
    .taken = TakenAsItIs,
    .room = RoomOfReceives,
};

/// Any peer: no boundaries.
constexpr Framing kStreamFraming = {
    .name = "stream",
    .keeps_boundaries = false,
    .announce = AnnounceAsItIs,
    .locate = LocateAsItIs,
    .next = NextUntilPush,
    .taken = TakenAsItIs,
    .room = RoomOfReceives,
};

/// RDMA: rdma_send.h and rdma_receive.h say where messages lie. A window that does not follow
/// receives: what comes has its place without one, or ends the stream.
constexpr Framing kMpaFraming = {
    .name = "mpa",
    .announce = AnnounceAsItIs,
    .locate = LocateAsItIs,
    .next = NextUntilPush,
    .taken = TakenAsItIs,
    .room = [](const ReceiveQueue&, const FramingState&) { return uint32_t{1} << 30; },
};

/// UDP: a datagram is a message.
constexpr Framing kDatagramFraming = {
    .name = "datagram",
    .datagrams = true,
    .announce = AnnounceAsItIs,
    .locate = LocateAsItIs,
    .next = NextUntilPush,
    .taken = TakenAsItIs,
    .room = RoomOfReceives,
};

}  // namespace qpip::fw

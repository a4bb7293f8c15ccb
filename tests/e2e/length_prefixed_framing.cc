// A framing of the tests' own: four bytes of length in front of every message, big endian. It shows
// what a row must say (nic_fw/framing.h), and that nothing else need change: the row and its
// registration are all there is. The registration takes the place of the firmware's
// (framing_rows.cc) and puts the row where `segment` stands, so that every case of
// on_backend_cases.cc runs on it.
#include "nic_fw/abi/command.h"
#include "nic_fw/framing.h"
#include "protocols/common/byte_order.h"

namespace qpip::fw {
namespace {

constexpr uint32_t kPrefix = 4;

uint32_t Announce(uint32_t message_bytes) { return kPrefix + message_bytes; }

void Locate(const SendRecord& record, uint32_t offset, uint32_t most, LocatedText* out) {
  if (offset < kPrefix) {
    uint8_t prefix[kPrefix];
    StoreBe32(prefix, record.message_bytes);
    const uint32_t rest = kPrefix - offset;
    out->header_length = rest < most ? rest : most;
    for (uint32_t i = 0; i < out->header_length; ++i) out->header[i] = prefix[offset + i];
    most -= out->header_length;
    offset = kPrefix;
  }
  out->message_offset = offset - kPrefix;
  const uint32_t rest = record.message_bytes - out->message_offset;
  out->length = rest < most ? rest : most;
}

Piece Next(const FramingState& state, const TextAtHand& text) {
  if (state.message_rest == 0) {
    const uint32_t missing = kPrefix - state.header_have;
    return {Piece::Kind::kHeader, text.length < missing ? text.length : missing, 0, false};
  }
  const uint32_t rest = state.message_rest;
  const uint32_t length = text.length < rest ? text.length : rest;
  return {Piece::Kind::kMessage, length, rest, length == rest};
}

bool Taken(FramingState& state, const Piece& piece, uint32_t length, const uint8_t* header) {
  if (piece.kind == Piece::Kind::kMessage) {
    state.message_rest -= length;
    return true;
  }
  for (uint32_t i = 0; i < length; ++i) state.header[state.header_have++] = header[i];
  if (state.header_have < kPrefix) return true;
  state.header_have = 0;
  state.message_rest = LoadBe32(state.header);
  return state.message_rest != 0;  // a message has at least one byte
}

/// Receives take their messages' prefixes as well; the present message's has come already.
uint32_t Room(const ReceiveQueue& recv, const FramingState& state) {
  const uint32_t receives = recv.producer - recv.next;
  if (receives == 0) return 0;
  const uint32_t come = state.message_rest != 0 ? kPrefix : state.header_have;
  return RoomOfReceives(recv, state) + receives * kPrefix - come;
}

constexpr Framing kLengthPrefixedFraming = {
    .name = "length-prefixed",
    .header_bytes = kPrefix,
    .announce = Announce,
    .locate = Locate,
    .next = Next,
    .taken = Taken,
    .room = Room,
};

}  // namespace

constinit const FramingTable kFramings = [] {
  FramingTable rows = {};
  rows[static_cast<uint8_t>(abi::Framing::kSegment)] = &kLengthPrefixedFraming;
  rows[static_cast<uint8_t>(abi::Framing::kStream)] = &kStreamFraming;
  rows[kFramingDatagram] = &kDatagramFraming;
  return rows;
}();

}  // namespace qpip::fw

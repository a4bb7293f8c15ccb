#include "nic_fw/icmp_answer.h"

#include <cstring>
#include <span>

#include "nic_fw/packet.h"
#include "nic_fw/packet_output.h"
#include "nic_fw/path_mtu.h"
#include "nic_fw/received_frame.h"
#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/ipv6/fragment.h"

namespace qpip::fw {
namespace {

constexpr uint32_t kIp = ipv6::kHeaderBytes;
constexpr uint32_t kIcmp = icmpv6::kHeaderBytes;

/// A payload that a port holds for the next frame.
struct Payload {
  uint32_t handle = 0;
  uint32_t length = 0;
};

/// Sends one packet: IPv6 header, Fragment header if there is one, `front`, the payload. Takes the
/// payload over. Returns false when it is lost.
bool SendPart(const Nic& nic, const ipv6::Address& destination,
              const ipv6::FragmentHeader* fragment, std::span<const uint8_t> front,
              const Payload& payload) {
  uint8_t frame[kIp + ipv6::kFragmentHeaderBytes + kIcmp + kMaxHeaderBytes];
  uint32_t at = kIp;
  if (fragment != nullptr) {
    ipv6::Emit(*fragment, std::span<uint8_t, ipv6::kFragmentHeaderBytes>(
                              frame + at, ipv6::kFragmentHeaderBytes));
    at += static_cast<uint32_t>(ipv6::kFragmentHeaderBytes);
  }
  std::memcpy(frame + at, front.data(), front.size());
  at += static_cast<uint32_t>(front.size());
  ipv6::Header ip;
  ip.next_header = fragment != nullptr ? ipv6::kFragment : ipv6::kIcmpv6;
  ip.hop_limit = nic.state.config.hop_limit;
  ip.payload_length = static_cast<uint16_t>(at - kIp + payload.length);
  ip.source = OwnAddress(nic);
  ip.destination = destination;
  ipv6::Emit(ip, std::span<uint8_t, kIp>(frame, kIp));
  FrameOut out;
  out.header = frame;
  out.header_length = at;
  out.payload = payload.handle;
  const auto length = static_cast<uint32_t>(front.size());
  uint64_t lease = 0;
  const uint32_t status = SendPacket(nic, out, length > kIcmp ? length - kIcmp : 0, &lease);
  if (status == kSendBusy && payload.handle != 0) {
    nic.hardware.PayloadRelease(payload.handle);
  }
  if (status != kSendOk) return false;
  if (fragment != nullptr) nic.Count(abi::NicCounter::kFragmentsSent);
  return true;
}

/// The message's header at `out`, with the checksum over what follows it, whose sum is given.
void EmitHeader(const Nic& nic, const ipv6::Address& destination, icmpv6::Header header,
                uint32_t body, uint16_t body_sum, uint8_t* out) {
  const std::span<uint8_t, icmpv6::kHeaderBytes> bytes(out, icmpv6::kHeaderBytes);
  header.checksum = 0;
  icmpv6::Emit(header, bytes);
  const uint16_t sum = ChecksumCombine(
      ChecksumAdd(bytes,
                  PseudoHeaderSum(OwnAddress(nic), destination, kIcmp + body, ipv6::kIcmpv6)),
      body_sum);
  StoreBe16(out + icmpv6::offset::kChecksum, static_cast<uint16_t>(~sum));
}

ipv6::FragmentHeader FragmentOf(uint32_t identification, uint32_t offset, bool more) {
  return {ipv6::kIcmpv6, offset, more, identification};
}

// ---------------------------------------------------------------- from a frame

bool CopyFromFrame(const Nic& nic, const ReceivedPacket& packet, uint32_t offset, uint32_t length,
                   Payload* payload, uint32_t* sum) {
  *payload = {};
  *sum = 0;
  if (length == 0) return true;
  payload->length = length;
  payload->handle = nic.hardware.PayloadFromFrame(packet.frame.frame, offset, length, sum);
  return payload->handle != 0;
}

bool SendWhole(const Nic& nic, const ReceivedPacket& packet, icmpv6::Header header, uint32_t offset,
               uint32_t length) {
  Payload payload;
  uint32_t sum = 0;
  if (!CopyFromFrame(nic, packet, offset, length, &payload, &sum)) return false;
  uint8_t front[kIcmp];
  EmitHeader(nic, packet.ip.source, header, length, static_cast<uint16_t>(sum), front);
  return SendPart(nic, packet.ip.source, nullptr, front, payload);
}

/// The message in fragments of `chunk` bytes.
bool SendFragments(const Nic& nic, const ReceivedPacket& packet, icmpv6::Header header,
                   uint32_t offset, uint32_t length, uint32_t chunk) {
  const uint32_t whole = nic.hardware.FrameSum(packet.frame.frame, offset, length);
  nic.Charge(Stage::kChecksum, packet.variant, length);
  uint8_t message[kIcmp];
  EmitHeader(nic, packet.ip.source, header, length, static_cast<uint16_t>(whole), message);
  const auto identification = static_cast<uint32_t>(nic.hardware.Random());
  for (uint32_t at = 0; at < kIcmp + length; at += chunk) {
    const uint32_t front = at == 0 ? kIcmp : 0;
    const uint32_t rest = kIcmp + length - at;
    const uint32_t bytes = rest < chunk ? rest : chunk;
    Payload payload;
    uint32_t sum = 0;
    if (!CopyFromFrame(nic, packet, offset + at - (kIcmp - front), bytes - front, &payload, &sum)) {
      return false;
    }
    const ipv6::FragmentHeader fragment = FragmentOf(identification, at, bytes < rest);
    if (!SendPart(nic, packet.ip.source, &fragment, {message, front}, payload)) return false;
  }
  nic.Count(abi::NicCounter::kPacketsFragmented);
  return true;
}

// ---------------------------------------------------------------- from a slot

/// Sends what `answer` has fetched, or what needs no fetching.
bool SendFetched(const Nic& nic, ReassemblySlot& slot, const DmaCompletion& completion) {
  SlotAnswer& answer = slot.answer;
  const Payload payload{answer.payload, answer.fetching};
  uint8_t front[kIcmp + kMaxHeaderBytes];
  const uint32_t at = answer.next;
  answer.next += answer.fetching;
  answer.payload = 0;
  if (answer.chunk != 0) {
    const bool first = at == answer.start;
    icmpv6::Emit(answer.header, std::span<uint8_t, icmpv6::kHeaderBytes>(front, kIcmp));
    const uint32_t offset = first ? 0 : at - answer.start + kIcmp;
    const ipv6::FragmentHeader fragment =
        FragmentOf(answer.identification, offset, answer.next != answer.end);
    return SendPart(nic, slot.source, &fragment, {front, first ? kIcmp : 0}, payload);
  }
  // Whatever is in front of a fetched part has an even length: no sum needs a swap.
  std::memcpy(front + kIcmp, slot.head, answer.quoted);
  const uint16_t sum = ChecksumAdd({slot.head, answer.quoted}, completion.sum);
  EmitHeader(nic, slot.source, answer.header, answer.quoted + payload.length, sum, front);
  return SendPart(nic, slot.source, nullptr, {front, kIcmp + answer.quoted}, payload);
}

/// The message is over, sent or lost.
void EndAnswer(const Nic& nic, uint32_t index, bool sent) {
  const ReassemblySlot& slot = SlotAt(nic, index);
  if (sent) nic.Count(abi::NicCounter::kIcmpSent);
  if (sent && slot.answer.chunk != 0) nic.Count(abi::NicCounter::kPacketsFragmented);
  FreeSlot(nic, index);
}

/// Fetches the next part of an answer.
void FetchAnswer(const Nic& nic, uint32_t index) {
  SlotAnswer& answer = SlotAt(nic, index).answer;
  uint32_t length = answer.end - answer.next;
  if (answer.chunk != 0) {
    const uint32_t most = answer.next == answer.start ? answer.chunk - kIcmp : answer.chunk;
    if (length > most) length = most;
  }
  answer.fetching = length;
  const DmaSegment from{PoolOf(nic, index) + answer.next, length, 0};
  answer.payload =
      nic.hardware.PayloadFetch(&from, 1, kDmaCopy | kDmaSum, MakeTag(Tag::kAnswer, index));
  if (answer.payload == 0) EndAnswer(nic, index, false);
}

void StartAnswer(const Nic& nic, uint32_t index, const SlotAnswer& answer) {
  ReassemblySlot& slot = SlotAt(nic, index);
  slot.state = SlotState::kAnswering;
  slot.deadline = tcp::kNever;
  slot.answer = answer;
  if (answer.next == answer.end) {
    EndAnswer(nic, index, SendFetched(nic, slot, DmaCompletion{}));
  } else {
    FetchAnswer(nic, index);
  }
}

/// [offset, offset + length) of a reassembled packet. What of it is in front of the pool's bytes is
/// quoted from the headers.
void SendFromSlot(const Nic& nic, uint32_t index, icmpv6::Header header, uint32_t offset,
                  uint32_t length, uint32_t chunk) {
  const ReassemblySlot& slot = SlotAt(nic, index);
  SlotAnswer answer;
  answer.header = header;
  uint32_t start = offset;
  if (offset == 0) {
    answer.quoted = slot.head_length < length ? slot.head_length : length;
    start = answer.quoted;
  }
  answer.start = start - slot.header_at;
  answer.next = answer.start;
  answer.end = offset + length - slot.header_at;
  if (answer.quoted == length) answer.end = answer.start;
  answer.chunk = chunk;
  if (chunk != 0) {
    answer.identification = static_cast<uint32_t>(nic.hardware.Random());
    const uint16_t sum = ChecksumSubtract(
        slot.sum, ChecksumAdd({slot.head + slot.header_at, start - slot.header_at}));
    uint8_t bytes[kIcmp];
    EmitHeader(nic, slot.source, header, length, sum, bytes);
    answer.header.checksum = LoadBe16(bytes + icmpv6::offset::kChecksum);
  }
  StartAnswer(nic, index, answer);
}

}  // namespace

void SendFromPacket(const Nic& nic, const ReceivedPacket& packet, icmpv6::Header header,
                    uint32_t offset, uint32_t length) {
  const uint32_t mtu = PathMtu(nic, packet.ip.source);
  const uint32_t chunk = kIp + kIcmp + length > mtu ? FragmentBytes(mtu) : 0;
  if (IsReassembled(packet.frame.frame)) {
    SendFromSlot(nic, SlotOf(packet.frame.frame), header, offset, length, chunk);
    return;
  }
  const bool sent = chunk != 0 ? SendFragments(nic, packet, header, offset, length, chunk)
                               : SendWhole(nic, packet, header, offset, length);
  if (sent) nic.Count(abi::NicCounter::kIcmpSent);
}

void SendFromFirstFragment(const Nic& nic, uint32_t index, icmpv6::Header header, uint32_t length) {
  const ReassemblySlot& slot = SlotAt(nic, index);
  SlotAnswer answer;
  answer.header = header;
  answer.quoted = slot.head_length < length ? slot.head_length : length;
  const uint32_t behind = slot.header_at + static_cast<uint32_t>(ipv6::kFragmentHeaderBytes);
  answer.start = answer.quoted - behind;
  answer.next = answer.start;
  answer.end = length - behind;
  StartAnswer(nic, index, answer);
}

void OnAnswerFetched(const Nic& nic, uint32_t index, const DmaCompletion& completion) {
  ReassemblySlot& slot = SlotAt(nic, index);
  if (completion.status != kDmaOk) {
    nic.hardware.PayloadRelease(slot.answer.payload);
    EndAnswer(nic, index, false);
    return;
  }
  const bool sent = SendFetched(nic, slot, completion);
  if (!sent || slot.answer.next == slot.answer.end) {
    EndAnswer(nic, index, sent);
  } else {
    FetchAnswer(nic, index);
  }
}

}  // namespace qpip::fw

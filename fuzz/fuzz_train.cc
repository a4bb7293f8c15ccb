// Packets of a few TCP flows in any order, cut, changed and made up, put into trains as they come:
// what is put together and cut again is what came, byte for byte, and what is not is untouched.
#include <array>
#include <cstring>
#include <optional>

#include "property.h"
#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/ipv6/header.h"
#include "protocols/tcp/header.h"
#include "script.h"
#include "sim/wire/segmenter.h"
#include "sim/wire/train.h"

namespace {

using Packet = std::vector<uint8_t>;
using qpip::wire::Segmenter;
using qpip::wire::Train;

constexpr size_t kTcpAt = qpip::ipv6::kHeaderBytes;
constexpr size_t kMostText = 300;

void FixChecksum(Packet* packet) {
  qpip::ipv6::Address source, destination;
  std::memcpy(source.bytes, &(*packet)[8], 16);
  std::memcpy(destination.bytes, &(*packet)[24], 16);
  const auto upper = std::span(*packet).subspan(kTcpAt);
  qpip::StoreBe16(&upper[qpip::tcp::offset::kChecksum], 0);
  const uint16_t sum = qpip::ChecksumAdd(
      upper, qpip::PseudoHeaderSum(source, destination, static_cast<uint32_t>(upper.size()),
                                   qpip::ipv6::kTcp));
  qpip::StoreBe16(&upper[qpip::tcp::offset::kChecksum], static_cast<uint16_t>(~sum));
}

/// A flow's next segments.
class Flow {
 public:
  explicit Flow(uint8_t number) : number_(number), sequence_(0xffffff00u + 0x40000000u * number) {}
  Packet Next(qpip::fuzz::Script& script) {
    const uint8_t how = script.Byte();
    if ((how & 0x40) != 0) text_ = script.Word() % kMostText;
    Packet packet(kTcpAt + 20 + text_);
    packet[0] = 0x60;
    packet[1] = (how & 0x20) != 0 ? 0x30 : 0x20;  // congestion experienced
    qpip::StoreBe16(&packet[4], static_cast<uint16_t>(20 + text_));
    packet[6] = qpip::ipv6::kTcp;
    packet[7] = 64;
    packet[23] = number_;
    packet[39] = 2;
    packet[kTcpAt + 1] = number_;
    qpip::StoreBe32(&packet[kTcpAt + qpip::tcp::offset::kSequence], sequence_);
    packet[kTcpAt + qpip::tcp::offset::kDataOffset] = 0x50;
    uint8_t& flags = packet[kTcpAt + qpip::tcp::offset::kFlags];
    flags = qpip::tcp::kAck;
    if ((how & 0x10) != 0) flags |= qpip::tcp::kPsh;
    if ((how & 0x08) != 0) flags = script.Byte();
    for (size_t i = 0; i < text_; ++i) {
      packet[kTcpAt + 20 + i] = static_cast<uint8_t>((sequence_ + i) * 13);
    }
    sequence_ += static_cast<uint32_t>(text_);
    FixChecksum(&packet);
    return packet;
  }

 private:
  const uint8_t number_;
  uint32_t sequence_;
  size_t text_ = 100;
};

std::vector<Packet> Arrivals(qpip::fuzz::Script& script) {
  std::vector<Packet> packets;
  std::array<Flow, 3> flows = {Flow(0), Flow(1), Flow(2)};
  while (!script.done() && packets.size() < 100) {
    const uint8_t what = script.Byte();
    const size_t last = packets.size() - 1;
    switch (what & 7) {
      case 4:  // twice
        if (!packets.empty()) packets.push_back(packets[script.Byte() % packets.size()]);
        break;
      case 5:  // out of order
        if (packets.size() > 1) std::swap(packets[last], packets[script.Byte() % packets.size()]);
        break;
      case 6: {  // changed, with a right checksum or without
        if (packets.empty()) break;
        Packet& packet = packets[last];
        packet[script.Word() % packet.size()] ^= static_cast<uint8_t>(script.Byte() | 1);
        if ((what & 8) != 0 && packet.size() >= kTcpAt + 20) FixChecksum(&packet);
        break;
      }
      case 7: {  // made up; a frame of a wire has an IPv6 header
        Packet made = script.Bytes(qpip::ipv6::kHeaderBytes + script.Byte());
        made.resize(std::max(made.size(), qpip::ipv6::kHeaderBytes));
        packets.push_back(made);
        break;
      }
      default:
        packets.push_back(flows[(what & 3) % flows.size()].Next(script));
    }
  }
  return packets;
}

/// The segments that a train's packet is cut into again.
void CutAgain(const Packet& packet, uint32_t segment_size, std::vector<Packet>* out) {
  const auto cut = Segmenter::Of(packet, packet.size(), segment_size);
  QPIP_FUZZ_CHECK(cut.has_value());
  size_t at = cut->header_bytes();
  for (uint32_t i = 0; i < cut->count(); ++i) {
    Packet segment(cut->header_bytes());
    const auto text = std::span(packet).subspan(at, cut->TextBytes(i));
    cut->Write(i, qpip::ChecksumAdd(text), segment.data());
    segment.insert(segment.end(), text.begin(), text.end());
    out->push_back(std::move(segment));
    at += text.size();
  }
  QPIP_FUZZ_CHECK(at == packet.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  qpip::fuzz::Script script(data, size);
  const std::vector<Packet> came = Arrivals(script);
  std::vector<Packet> packets = came;
  std::vector<Packet> again;
  for (size_t i = 0; i < packets.size();) {
    const size_t first = i++;
    Train train(packets[first]);
    while (i < packets.size() && train.Join(packets[i])) ++i;
    train.Close();
    QPIP_FUZZ_CHECK(train.count() == i - first);
    if (train.count() == 1) {
      QPIP_FUZZ_CHECK(train.length() == packets[first].size());
      again.push_back(packets[first]);
      continue;
    }
    QPIP_FUZZ_CHECK(train.vouched());
    Packet whole = packets[first];
    const auto segment_size = static_cast<uint32_t>(whole.size() - train.text_offset());
    for (size_t next = first + 1; next < i; ++next) {
      QPIP_FUZZ_CHECK(qpip::fuzz::SameBytes(packets[next], came[next]));
      whole.insert(whole.end(), packets[next].begin() + train.text_offset(), packets[next].end());
    }
    QPIP_FUZZ_CHECK(whole.size() == train.length());
    CutAgain(whole, segment_size, &again);
  }
  QPIP_FUZZ_CHECK(again == came);
  return 0;
}

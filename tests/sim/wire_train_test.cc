// Trains of TCP segments: what a packet is cut into, and what is put together again.
#include <algorithm>
#include <random>

#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/ipv6/header.h"
#include "protocols/tcp/header.h"
#include "sim/wire/segmenter.h"
#include "sim/wire/train.h"
#include "wire_test_support.h"

namespace qpip::wire::test {
namespace {

/// A segment as plain values, and its bytes.
struct Packet {
  uint16_t source_port = 7;
  uint32_t sequence = 1000;
  uint32_t acknowledgement = 5000;
  uint8_t flags = tcp::kAck;
  uint16_t window = 400;
  uint32_t timestamp = 77;
  uint8_t traffic_class = 0;
  uint8_t hop_limit = 64;
  uint8_t destination = 2;  ///< last byte of the address
  size_t text = 100;        ///< bytes

  Bytes Emit() const {
    tcp::Header header;
    header.source_port = source_port;
    header.destination_port = 9;
    header.sequence = tcp::SequenceNumber(sequence);
    header.acknowledgement = tcp::SequenceNumber(acknowledgement);
    header.flags = flags;
    header.window = window;
    header.has_timestamps = true;
    header.ts_value = timestamp;
    ipv6::Header ip;
    ip.traffic_class = traffic_class;
    ip.next_header = ipv6::kTcp;
    ip.hop_limit = hop_limit;
    const abi::Ip6Address from = Address(1);
    const abi::Ip6Address to = Address(destination);
    std::memcpy(ip.source.bytes, from.bytes, 16);
    std::memcpy(ip.destination.bytes, to.bytes, 16);
    const size_t headers = tcp::EmitSize(header);
    ip.payload_length = static_cast<uint16_t>(headers + text);
    Bytes bytes(ipv6::kHeaderBytes + headers + text);
    ipv6::Emit(ip, std::span<uint8_t, 40>(bytes.data(), 40));
    tcp::Emit(header, std::span(bytes).subspan(40));
    for (size_t i = 0; i < text; ++i) {
      bytes[40 + headers + i] = static_cast<uint8_t>((sequence + i) * 2654435761u >> 24);
    }
    uint16_t sum = PseudoHeaderSum(ip.source, ip.destination, ip.payload_length, ipv6::kTcp);
    sum = ChecksumAdd(std::span(bytes).subspan(40), sum);
    StoreBe16(&bytes[40 + tcp::offset::kChecksum], static_cast<uint16_t>(~sum));
    return bytes;
  }
};

/// The segments of a packet that holds all its text itself.
std::vector<Bytes> Cut(const Bytes& packet, uint32_t segment_size) {
  const auto cut = Segmenter::Of(packet, packet.size(), segment_size);
  if (!cut.has_value()) return {};
  std::vector<Bytes> segments;
  size_t at = cut->header_bytes();
  for (uint32_t i = 0; i < cut->count(); ++i) {
    Bytes segment(cut->header_bytes());
    const std::span<const uint8_t> text = std::span(packet).subspan(at, cut->TextBytes(i));
    cut->Write(i, ChecksumAdd(text), segment.data());
    segment.insert(segment.end(), text.begin(), text.end());
    segments.push_back(segment);
    at += text.size();
  }
  return segments;
}

/// What a receive engine makes of packets: frames, each with the text bytes of its segments.
struct Received {
  Bytes frame;
  uint32_t segment_size;
  uint32_t count;
};

std::vector<Received> PutTogether(std::vector<Bytes> packets) {
  std::vector<Received> frames;
  for (size_t i = 0; i < packets.size();) {
    Train train(packets[i]);
    const size_t first = i++;
    std::vector<size_t> joined;
    while (i < packets.size() && train.Join(packets[i])) joined.push_back(i++);
    train.Close();
    Received received{packets[first],
                      static_cast<uint32_t>(packets[first].size() - train.text_offset()),
                      train.count()};
    for (const size_t next : joined) {
      received.frame.insert(received.frame.end(), packets[next].begin() + train.text_offset(),
                            packets[next].end());
    }
    EXPECT_EQ(received.frame.size(), train.length());
    EXPECT_TRUE(train.count() == 1 || train.vouched());
    frames.push_back(received);
  }
  return frames;
}

size_t CountOf(const Packet& first, const Packet& second) {
  return PutTogether({first.Emit(), second.Emit()}).size();
}

/// `first` and what follows it directly.
Packet After(const Packet& first) {
  Packet next = first;
  next.sequence += static_cast<uint32_t>(first.text);
  return next;
}

TEST(Segmenter, GivenTextOfSeveralSegmentsWhenCutThenEachIsAWholePacket) {
  Packet whole{.flags = tcp::kAck | tcp::kPsh | tcp::kFin | tcp::kCwr | tcp::kEce, .text = 250};
  const auto segments = Cut(whole.Emit(), 100);
  ASSERT_EQ(segments.size(), 3u);
  Packet expected = whole;
  expected.text = 100;
  expected.flags = tcp::kAck | tcp::kCwr | tcp::kEce;
  EXPECT_EQ(segments[0], expected.Emit());
  expected = After(expected);
  expected.flags = tcp::kAck | tcp::kEce;
  EXPECT_EQ(segments[1], expected.Emit());
  expected = After(expected);
  expected.text = 50;
  expected.flags = tcp::kAck | tcp::kEce | tcp::kPsh | tcp::kFin;
  EXPECT_EQ(segments[2], expected.Emit());
}

TEST(Segmenter, GivenSequenceNumbersThatWrapWhenCutThenTheyDo) {
  const auto segments = Cut(Packet{.sequence = 0xffffffc0, .text = 128}.Emit(), 64);
  ASSERT_EQ(segments.size(), 2u);
  EXPECT_EQ(segments[1], (Packet{.sequence = 0, .text = 64}.Emit()));
}

TEST(Segmenter, GivenOneSegmentsTextWhenCutThenItIsAsItWas) {
  const Bytes packet = Packet{.flags = tcp::kAck | tcp::kPsh, .text = 100}.Emit();
  for (const uint32_t size : {100u, 101u, 65535u}) {
    EXPECT_EQ(Cut(packet, size), std::vector<Bytes>{packet}) << size;
  }
}

TEST(Segmenter, GivenWhatIsNoTcpPacketWhenCutThenItIsRefused) {
  const Bytes good = Packet{}.Emit();
  EXPECT_FALSE(Segmenter::Of(good, good.size(), 0).has_value());
  EXPECT_FALSE(Segmenter::Of(std::span(good).first(59), good.size(), 10).has_value());
  EXPECT_FALSE(Segmenter::Of(std::span(good).first(70), good.size(), 10).has_value())
      << "options beyond what is there";
  Bytes bad = good;
  bad[6] = ipv6::kUdp;
  EXPECT_FALSE(Segmenter::Of(bad, bad.size(), 10).has_value());
  bad = good;
  bad[0] = 0x40;
  EXPECT_FALSE(Segmenter::Of(bad, bad.size(), 10).has_value());
  bad = good;
  bad[40 + tcp::offset::kDataOffset] = 0x40;
  EXPECT_FALSE(Segmenter::Of(bad, bad.size(), 10).has_value());
}

TEST(Train, GivenConsecutiveSegmentsWhenPutTogetherThenTheyAreOnePacket) {
  Packet whole{.flags = tcp::kAck | tcp::kPsh, .text = 950};
  const auto frames = PutTogether(Cut(whole.Emit(), 100));
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].count, 10u);
  Bytes expected = whole.Emit();
  // The checksum is the first segment's: it has been verified, and means nothing any more.
  std::memcpy(&expected[40 + tcp::offset::kChecksum], &frames[0].frame[40 + tcp::offset::kChecksum],
              2);
  EXPECT_EQ(frames[0].frame, expected);
}

TEST(Train, GivenAnyDifferenceThatTheFirmwareWouldMissWhenPutTogetherThenTheyStayApart) {
  const Packet first;
  EXPECT_EQ(CountOf(first, After(first)), 1u);
  const auto apart = [&](const char* what, auto change) {
    Packet next = After(first);
    change(next);
    EXPECT_EQ(CountOf(first, next), 2u) << what;
  };
  apart("a gap", [](Packet& p) { ++p.sequence; });
  apart("a repetition", [](Packet& p) { p.sequence = 1000; });
  apart("another port", [](Packet& p) { ++p.source_port; });
  apart("another address", [](Packet& p) { ++p.destination; });
  apart("another acknowledgement", [](Packet& p) { ++p.acknowledgement; });
  apart("another window", [](Packet& p) { ++p.window; });
  apart("another timestamp", [](Packet& p) { ++p.timestamp; });
  apart("congestion experienced", [](Packet& p) { p.traffic_class = 3; });
  apart("another hop limit", [](Packet& p) { --p.hop_limit; });
  apart("ECE", [](Packet& p) { p.flags |= tcp::kEce; });
  apart("CWR", [](Packet& p) { p.flags |= tcp::kCwr; });
  apart("FIN", [](Packet& p) { p.flags |= tcp::kFin; });
  apart("RST", [](Packet& p) { p.flags |= tcp::kRst; });
  apart("SYN", [](Packet& p) { p.flags |= tcp::kSyn; });
  apart("URG", [](Packet& p) { p.flags |= tcp::kUrg; });
  apart("longer", [](Packet& p) { ++p.text; });
  apart("no text", [](Packet& p) { p.text = 0; });
}

TEST(Train, GivenPushWhenMoreFollowsThenTheBoundaryStays) {
  Packet first;
  first.flags |= tcp::kPsh;
  EXPECT_EQ(CountOf(first, After(first)), 2u);
  Packet second = After(Packet{});
  second.flags |= tcp::kPsh;
  EXPECT_EQ(PutTogether({Packet{}.Emit(), second.Emit(), After(second).Emit()}).size(), 2u);
}

TEST(Train, GivenAShortSegmentWhenMoreFollowsThenItWasTheLast) {
  Packet second = After(Packet{});
  second.text = 99;
  EXPECT_EQ(PutTogether({Packet{}.Emit(), second.Emit(), After(second).Emit()}).size(), 2u);
}

TEST(Train, GivenCwrOnTheFirstOnlyWhenPutTogetherThenTheTrainHasIt) {
  Packet first;
  first.flags |= tcp::kCwr;
  Packet second = After(Packet{});
  const auto frames = PutTogether({first.Emit(), second.Emit()});
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].frame[53], tcp::kAck | tcp::kCwr);
}

TEST(Train, GivenADamagedSegmentWhenPutTogetherThenItStaysApartForTheFirmwareToDrop) {
  for (const size_t damaged : {0, 1}) {
    std::vector<Bytes> packets = {Packet{}.Emit(), After(Packet{}).Emit()};
    packets[damaged].back() ^= 1;
    const std::vector<Bytes> before = packets;
    Train train(packets[0]);
    EXPECT_FALSE(train.Join(packets[1]));
    EXPECT_EQ(train.vouched(), damaged == 1);
    train.Close();
    EXPECT_EQ(packets, before);
  }
}

TEST(Train, GivenMoreThanAPacketHoldsWhenPutTogetherThenAnotherBegins) {
  std::vector<Bytes> packets;
  Packet next{.text = 9000};
  for (int i = 0; i < 10; ++i, next = After(next)) packets.push_back(next.Emit());
  const auto frames = PutTogether(packets);
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].count, 7u) << "65535 bytes less a TCP header of 32";
  EXPECT_EQ(frames[1].count, 3u);
}

TEST(Train, GivenBytesThatAreNoTcpPacketWhenPutTogetherThenNothingIsTouched) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 2000; ++round) {
    Bytes first = MakeFrame(Address(2), 40 + random() % 100, random());
    const Bytes second = first;
    if (random() % 2 == 0) first[6] = ipv6::kTcp;
    const Bytes before = first;
    Train train(first);
    train.Join(random() % 2 == 0 ? second : Packet{}.Emit());
    train.Close();
    EXPECT_EQ(first, before);
    EXPECT_EQ(train.length(), first.size());
  }
}

/// Several flows' packets as a network might bring them.
std::vector<Bytes> RandomArrivals(std::mt19937_64& random) {
  const auto one_in = [&](uint64_t n) { return random() % n == 0; };
  std::array<Packet, 3> flows;
  for (size_t i = 0; i < flows.size(); ++i) {
    flows[i].source_port = static_cast<uint16_t>(100 + i);
    flows[i].sequence = static_cast<uint32_t>(random());
  }
  const size_t segment_size = 1 + random() % 1400;
  std::vector<Bytes> packets;
  size_t flow = 0;
  for (int i = 0; i < 60; ++i) {
    if (one_in(8)) flow = random() % flows.size();
    Packet& next = flows[flow];
    next.text = one_in(6) ? random() % (segment_size + 2) : segment_size;
    next.flags = tcp::kAck;
    if (one_in(8)) next.flags |= tcp::kPsh;
    if (one_in(25)) next.flags |= tcp::kCwr;
    if (one_in(25)) next.flags |= tcp::kFin;
    if (one_in(15)) next.traffic_class ^= 1;
    if (one_in(15)) ++next.timestamp;
    if (one_in(15)) ++next.acknowledgement;
    packets.push_back(next.Emit());
    next = After(next);
    if (one_in(10)) packets.pop_back();                                         // lost
    if (one_in(10) && !packets.empty()) packets.push_back(packets.back());      // twice
    if (one_in(20) && !packets.empty()) packets.back()[random() % 60] ^= 0x10;  // damaged
    if (one_in(12) && packets.size() > 3) {
      std::swap(packets.back(), packets[packets.size() - 2 - random() % 2]);  // out of order
    }
  }
  return packets;
}

TEST(Train, GivenRandomArrivalsWhenPutTogetherAndCutAgainThenTheyAreWhatCame) {
  uint32_t merged = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    std::mt19937_64 random(seed);
    const std::vector<Bytes> came = RandomArrivals(random);
    std::vector<Bytes> again;
    for (const Received& received : PutTogether(came)) {
      if (received.count == 1) {
        again.push_back(received.frame);
        continue;
      }
      ++merged;
      for (Bytes& segment : Cut(received.frame, received.segment_size)) {
        again.push_back(std::move(segment));
      }
    }
    ASSERT_EQ(again, came) << "seed " << seed;
  }
  EXPECT_GT(merged, 1000u);
}

}  // namespace
}  // namespace qpip::wire::test

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <set>
#include <string>
#include <vector>

#include "protocols/common/byte_order.h"
#include "protocols/ipv6/extension.h"
#include "protocols/ipv6/header.h"
#include "real_packets.h"

namespace qpip::ipv6 {
namespace {

using test::FromHex;

Address MakeAddress(uint8_t first, uint8_t last) {
  Address address;
  address.bytes[0] = first;
  address.bytes[15] = last;
  return address;
}

Header Template() {
  Header header;
  header.traffic_class = 0xa5;
  header.flow_label = 0xfedcb;
  header.payload_length = 8;
  header.next_header = kUdp;
  header.hop_limit = 33;
  header.source = MakeAddress(0xfd, 1);
  header.destination = MakeAddress(0xfd, 2);
  return header;
}

/// The template in front of `payload`, with its length.
std::vector<uint8_t> Packet(uint8_t next_header, const std::vector<uint8_t>& payload,
                            const Address& destination = MakeAddress(0xfd, 2)) {
  Header header = Template();
  header.next_header = next_header;
  header.destination = destination;
  header.payload_length = static_cast<uint16_t>(payload.size());
  std::vector<uint8_t> packet(kHeaderBytes);
  Emit(header, std::span<uint8_t, kHeaderBytes>(packet));
  packet.insert(packet.end(), payload.begin(), payload.end());
  return packet;
}

ParseError ParseWhole(const std::vector<uint8_t>& packet, Header* header) {
  return Parse(packet, static_cast<uint32_t>(packet.size()), header);
}

ParseError Walk(const std::vector<uint8_t>& packet, UpperLayer* upper) {
  Header header;
  EXPECT_EQ(ParseWhole(packet, &header), ParseError::kNone);
  return FindUpperLayer(packet, header, upper);
}

// --- The fixed header

TEST(Ipv6HeaderTest, GivenFieldsWhenEmittedAndParsedThenTheyAreTheSame) {
  const std::vector<uint8_t> packet = Packet(kUdp, std::vector<uint8_t>(8));
  Header parsed;
  ASSERT_EQ(ParseWhole(packet, &parsed), ParseError::kNone);
  const Header sent = Template();
  EXPECT_EQ(parsed.traffic_class, sent.traffic_class);
  EXPECT_EQ(parsed.flow_label, sent.flow_label);
  EXPECT_EQ(parsed.payload_length, sent.payload_length);
  EXPECT_EQ(parsed.next_header, sent.next_header);
  EXPECT_EQ(parsed.hop_limit, sent.hop_limit);
  EXPECT_EQ(parsed.source, sent.source);
  EXPECT_EQ(parsed.destination, sent.destination);
}

TEST(Ipv6HeaderTest, GivenAFlowLabelOfMoreThan20BitsWhenEmittedThenOtherFieldsAreUnharmed) {
  Header header = Template();
  header.flow_label = 0xffffffff;
  header.traffic_class = 0;
  std::array<uint8_t, kHeaderBytes> out;
  Emit(header, out);
  EXPECT_EQ(LoadBe32(out.data()), 0x600fffffu);
}

TEST(Ipv6HeaderTest, GivenAKernelsPacketWhenParsedAndEmittedThenTheBytesAreTheSame) {
  for (const auto hex : {test::kUdpPacket, test::kTcpSynPacket, test::kEchoRequestPacket}) {
    const std::vector<uint8_t> packet = FromHex(hex);
    Header header;
    ASSERT_EQ(ParseWhole(packet, &header), ParseError::kNone);
    EXPECT_EQ(header.hop_limit, 64);
    EXPECT_EQ(header.payload_length, packet.size() - kHeaderBytes);
    std::array<uint8_t, kHeaderBytes> out;
    Emit(header, out);
    EXPECT_TRUE(std::equal(out.begin(), out.end(), packet.begin()));
  }
}

TEST(Ipv6HeaderTest, GivenFewerThan40BytesWhenParsedThenTooShort) {
  const std::vector<uint8_t> packet = Packet(kUdp, {});
  Header header;
  for (size_t size = 0; size < kHeaderBytes; ++size) {
    EXPECT_EQ(Parse(std::span(packet).first(size), 40, &header), ParseError::kTooShort);
    EXPECT_EQ(Parse(packet, static_cast<uint32_t>(size), &header), ParseError::kTooShort);
  }
  EXPECT_EQ(Parse(packet, 40, &header), ParseError::kNone);
}

TEST(Ipv6HeaderTest, GivenAnotherVersionWhenParsedThenBadVersion) {
  std::vector<uint8_t> packet = Packet(kUdp, {});
  Header header;
  for (uint8_t version = 0; version < 16; ++version) {
    packet[0] = static_cast<uint8_t>(version << 4);
    EXPECT_EQ(ParseWhole(packet, &header),
              version == 6 ? ParseError::kNone : ParseError::kBadVersion);
  }
}

TEST(Ipv6HeaderTest, GivenAPayloadLongerThanTheFrameWhenParsedThenBadPayloadLength) {
  const std::vector<uint8_t> packet = Packet(kUdp, std::vector<uint8_t>(8));
  Header header;
  EXPECT_EQ(Parse(packet, 47, &header), ParseError::kBadPayloadLength);
  EXPECT_EQ(Parse(packet, 48, &header), ParseError::kNone);
}

TEST(Ipv6HeaderTest, GivenTrailingPaddingOrAReadablePartWhenParsedThenItIsFine) {
  const std::vector<uint8_t> packet = Packet(kUdp, std::vector<uint8_t>(8));
  Header header;
  EXPECT_EQ(Parse(packet, 60, &header), ParseError::kNone);
  EXPECT_EQ(Parse(std::span(packet).first(kHeaderBytes), 48, &header), ParseError::kNone);
}

TEST(Ipv6HeaderTest, GivenAMulticastSourceWhenParsedThenBadSource) {
  std::vector<uint8_t> packet = Packet(kUdp, {});
  packet[offset::kSource] = 0xff;
  Header header;
  EXPECT_EQ(ParseWhole(packet, &header), ParseError::kBadSource);
}

TEST(Ipv6HeaderTest, GivenEveryErrorWhenNamedThenNamesAreDistinct) {
  std::set<std::string> names;
  for (int error = 0; error <= static_cast<int>(ParseError::kFragmented); ++error) {
    names.insert(ParseErrorName(static_cast<ParseError>(error)));
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(ParseError::kFragmented) + 1);
  EXPECT_EQ(names.count("unknown"), 0u);
}

// --- The walk over extension headers

TEST(Ipv6WalkTest, GivenNoExtensionWhenWalkedThenTheUpperLayerFollowsTheHeader) {
  UpperLayer upper;
  ASSERT_EQ(Walk(Packet(kTcp, std::vector<uint8_t>(20)), &upper), ParseError::kNone);
  EXPECT_EQ(upper.protocol, kTcp);
  EXPECT_EQ(upper.offset, 40u);
  EXPECT_EQ(upper.length, 20u);
}

TEST(Ipv6WalkTest, GivenAKernelsHopByHopAndDestinationOptionsWhenWalkedThenUdpIsFound) {
  UpperLayer upper;
  ASSERT_EQ(Walk(FromHex(test::kExtensionsPacket), &upper), ParseError::kNone);
  EXPECT_EQ(upper.protocol, kUdp);
  EXPECT_EQ(upper.offset, 56u);
  EXPECT_EQ(upper.length, 9u);
}

TEST(Ipv6WalkTest, GivenAKernelsFirstFragmentWhenWalkedThenFragmented) {
  std::vector<uint8_t> packet = FromHex(test::kFirstFragmentStart);
  packet.resize(packet.size() + 1440, 'z');
  UpperLayer upper;
  EXPECT_EQ(Walk(packet, &upper), ParseError::kFragmented);
  EXPECT_FALSE(upper.send_parameter_problem);
}

TEST(Ipv6WalkTest, GivenEveryKnownHeaderInARowWhenWalkedThenTheUpperLayerIsFound) {
  UpperLayer upper;
  const std::vector<uint8_t> chain = {
      kDestinationOptions,
      0,
      1,
      4,
      0,
      0,
      0,
      0,  // hop-by-hop: PadN
      kRouting,
      1,
      0,
      0,
      0,
      0,
      0,
      0,  // destination options of 16 bytes: Pad1 only
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,  //
      kFragment,
      0,
      2,
      0,
      0,
      0,
      0,
      0,  // routing, no segments left
      kDestinationOptions,
      0,
      0,
      0,
      1,
      2,
      3,
      4,  // atomic fragment
      kIcmpv6,
      0,
      1,
      4,
      0,
      0,
      0,
      0,  // destination options again: PadN
      128,
      0,
      0,
      0,
  };
  ASSERT_EQ(Walk(Packet(kHopByHop, chain), &upper), ParseError::kNone);
  EXPECT_EQ(upper.protocol, kIcmpv6);
  EXPECT_EQ(upper.offset, 40u + 48u);
  EXPECT_EQ(upper.length, 4u);
}

TEST(Ipv6WalkTest, GivenAHeaderThatEndsTheWalkWhenWalkedThenItIsTheUpperProtocol) {
  for (const uint8_t protocol : {kEsp, kAuthentication, kNoNextHeader, kIcmpv6, kUdp}) {
    UpperLayer upper;
    ASSERT_EQ(Walk(Packet(protocol, std::vector<uint8_t>(16, 0xff)), &upper), ParseError::kNone);
    EXPECT_EQ(upper.protocol, protocol);
    EXPECT_EQ(upper.offset, 40u);
  }
}

TEST(Ipv6WalkTest, GivenLinkPaddingWhenWalkedThenTheLengthIsThePacketsNotTheFrames) {
  std::vector<uint8_t> packet = Packet(kUdp, std::vector<uint8_t>(8));
  packet.resize(64);
  UpperLayer upper;
  ASSERT_EQ(Walk(packet, &upper), ParseError::kNone);
  EXPECT_EQ(upper.length, 8u);
}

TEST(Ipv6WalkTest, GivenAnExtensionInThePaddingWhenWalkedThenItIsRefused) {
  // The packet ends behind the IPv6 header; what follows in the frame is not part of it.
  std::vector<uint8_t> packet = Packet(kDestinationOptions, {});
  packet.insert(packet.end(), {kUdp, 0, 1, 4, 0, 0, 0, 0});
  UpperLayer upper;
  EXPECT_EQ(Walk(packet, &upper), ParseError::kBadExtension);
}

TEST(Ipv6WalkTest, GivenEveryCutOfAChainWhenWalkedThenOnlyTheWholeIsAccepted) {
  const std::vector<uint8_t> packet = FromHex(test::kExtensionsPacket);
  Header header;
  ASSERT_EQ(ParseWhole(packet, &header), ParseError::kNone);
  for (size_t size = kHeaderBytes; size <= packet.size(); ++size) {
    UpperLayer upper;
    EXPECT_EQ(FindUpperLayer(std::span(packet).first(size), header, &upper),
              size < 56 ? ParseError::kChainTooLong : ParseError::kNone)
        << size;
  }
}

TEST(Ipv6WalkTest, GivenAnExtensionLongerThanThePacketWhenWalkedThenBadExtension) {
  UpperLayer upper;
  EXPECT_EQ(Walk(Packet(kDestinationOptions, {kUdp, 1, 1, 4, 0, 0, 0, 0}), &upper),
            ParseError::kBadExtension);
  EXPECT_EQ(upper.pointer, 41u);
  EXPECT_TRUE(upper.send_parameter_problem);
  EXPECT_EQ(upper.icmp_code, 0);
}

TEST(Ipv6WalkTest, GivenHopByHopBehindAnotherHeaderWhenWalkedThenUnknownNextHeaderIsReported) {
  UpperLayer upper;
  EXPECT_EQ(Walk(Packet(kDestinationOptions, {kHopByHop, 0, 1, 4, 0, 0, 0, 0,  //
                                              kUdp, 0, 1, 4, 0, 0, 0, 0}),
                 &upper),
            ParseError::kBadExtension);
  EXPECT_TRUE(upper.send_parameter_problem);
  EXPECT_EQ(upper.icmp_code, 1);
  EXPECT_EQ(upper.pointer, 40u);  // the next header field that says 0
}

// RFC 8200 section 4.2: the two highest bits of an unknown option's type.
struct OptionCase {
  uint8_t type;
  bool multicast;
  ParseError error;
  bool report;
};

class Ipv6OptionTest : public ::testing::TestWithParam<OptionCase> {};

TEST_P(Ipv6OptionTest, GivenAnUnknownOptionWhenWalkedThenItsTypeDecides) {
  const OptionCase& param = GetParam();
  for (const uint8_t container : {kHopByHop, kDestinationOptions}) {
    // Behind two Pad1, so the option stands at 40 + 4.
    const std::vector<uint8_t> packet = Packet(container, {kUdp, 0, 0, 0, param.type, 1, 0xff, 0},
                                               MakeAddress(param.multicast ? 0xff : 0xfd, 2));
    UpperLayer upper;
    EXPECT_EQ(Walk(packet, &upper), param.error);
    EXPECT_EQ(upper.send_parameter_problem, param.report);
    if (param.error != ParseError::kNone) {
      EXPECT_EQ(upper.pointer, 44u);
      EXPECT_EQ(upper.icmp_code, param.report ? 2 : 0);
    } else {
      EXPECT_EQ(upper.offset, 48u);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    ActionBits, Ipv6OptionTest,
    ::testing::Values(OptionCase{0x1e, false, ParseError::kNone, false},
                      OptionCase{0x1e, true, ParseError::kNone, false},
                      OptionCase{0x5e, false, ParseError::kUnknownOption, false},
                      OptionCase{0x5e, true, ParseError::kUnknownOption, false},
                      OptionCase{0x9e, false, ParseError::kUnknownOption, true},
                      OptionCase{0x9e, true, ParseError::kUnknownOption, true},
                      OptionCase{0xde, false, ParseError::kUnknownOption, true},
                      OptionCase{0xde, true, ParseError::kUnknownOption, false}));

TEST(Ipv6WalkTest, GivenAnOptionThatRunsOverItsHeaderWhenWalkedThenBadExtension) {
  struct Case {
    std::vector<uint8_t> header;
    uint32_t pointer;
  };
  for (const auto& [options, pointer] :
       std::initializer_list<Case>{{{kUdp, 0, 1, 5, 0, 0, 0, 0}, 43},     // data too long
                                   {{kUdp, 0, 1, 3, 0, 0, 0, 0x1e}, 47},  // no length byte
                                   {{kUdp, 0, 1, 3, 0, 0, 0, 1}, 47},     // PadN without length
                                   {{kUdp, 0, 0x1e, 255, 0, 0, 0, 0}, 43}}) {
    UpperLayer upper;
    EXPECT_EQ(Walk(Packet(kHopByHop, options), &upper), ParseError::kBadExtension);
    EXPECT_TRUE(upper.send_parameter_problem);
    EXPECT_EQ(upper.icmp_code, 0);
    EXPECT_EQ(upper.pointer, pointer);
  }
}

TEST(Ipv6WalkTest, GivenRoutingWithSegmentsLeftWhenWalkedThenItsTypeIsReported) {
  for (const uint8_t type : {0, 2, 4, 200}) {
    UpperLayer upper;
    EXPECT_EQ(Walk(Packet(kRouting, {kUdp, 0, type, 1, 0, 0, 0, 0}), &upper),
              ParseError::kRoutingHeader);
    EXPECT_TRUE(upper.send_parameter_problem);
    EXPECT_EQ(upper.icmp_code, 0);
    EXPECT_EQ(upper.pointer, 42u);
  }
}

TEST(Ipv6WalkTest, GivenUnknownUpperLayerWhenWalkedThenTheByteThatNamesItIsKnown) {
  UpperLayer upper;
  ASSERT_EQ(Walk(Packet(99, {0, 0, 0, 0}), &upper), ParseError::kNone);
  EXPECT_EQ(upper.next_header_at, 6u);
  ASSERT_EQ(Walk(Packet(kRouting, {kDestinationOptions, 0, 0, 0, 0, 0, 0, 0,  //
                                   99, 0, 1, 4, 0, 0, 0, 0}),
                 &upper),
            ParseError::kNone);
  EXPECT_EQ(upper.next_header_at, 48u);
}

TEST(Ipv6WalkTest, GivenMoreHeadersThanAreLookedAtWhenWalkedThenChainTooLong) {
  for (uint32_t count = 1; count <= kMaxExtensionHeaders + 1; ++count) {
    std::vector<uint8_t> chain;
    for (uint32_t i = 1; i <= count; ++i) {
      const uint8_t next = i == count ? kUdp : kDestinationOptions;
      chain.insert(chain.end(), {next, 0, 1, 4, 0, 0, 0, 0});
    }
    UpperLayer upper;
    EXPECT_EQ(Walk(Packet(kDestinationOptions, chain), &upper),
              count <= kMaxExtensionHeaders ? ParseError::kNone : ParseError::kChainTooLong);
  }
}

TEST(Ipv6WalkTest, GivenMoreOptionsOrBytesThanAreLookedAtWhenWalkedThenChainTooLong) {
  UpperLayer upper;
  std::vector<uint8_t> padding(24);  // 22 of Pad1
  padding[0] = kUdp;
  padding[1] = 2;
  EXPECT_EQ(Walk(Packet(kHopByHop, padding), &upper), ParseError::kChainTooLong);
  for (const uint8_t units : {63, 64}) {
    std::vector<uint8_t> routing((units + size_t{1}) * 8);
    routing[0] = kUdp;
    routing[1] = units;
    EXPECT_EQ(Walk(Packet(kRouting, routing), &upper),
              units == 63 ? ParseError::kNone : ParseError::kChainTooLong);
    EXPECT_FALSE(upper.send_parameter_problem);
  }
}

TEST(Ipv6WalkTest, GivenPacketsOfIcmpWhenAskedWhetherTheyAreErrorsThenThoseThatMayBeAre) {
  const auto carries = [](uint8_t next_header, const std::vector<uint8_t>& payload) {
    const std::vector<uint8_t> packet = Packet(next_header, payload);
    Header header;
    EXPECT_EQ(ParseWhole(packet, &header), ParseError::kNone);
    return CarriesIcmpError(packet, header);
  };
  EXPECT_TRUE(carries(kIcmpv6, {1, 4, 0, 0}));
  EXPECT_TRUE(carries(kIcmpv6, {137, 0, 0, 0}));  // redirect
  EXPECT_TRUE(carries(kIcmpv6, {}));              // cannot be told
  EXPECT_FALSE(carries(kIcmpv6, {128, 0, 0, 0}));
  EXPECT_FALSE(carries(kUdp, {1, 4, 0, 0}));
  // Behind headers that would be refused.
  EXPECT_TRUE(carries(kDestinationOptions, {kIcmpv6, 0, 0x9e, 9, 0, 0, 0, 0, 1, 0, 0, 0}));
  EXPECT_FALSE(carries(kDestinationOptions, {kIcmpv6, 0, 0x9e, 9, 0, 0, 0, 0, 128, 0, 0, 0}));
  // In fragments: the first shows it, of others it is not known.
  EXPECT_FALSE(carries(kFragment, {kIcmpv6, 0, 0, 1, 0, 0, 0, 0, 128, 0, 0, 0}));
  EXPECT_TRUE(carries(kFragment, {kIcmpv6, 0, 0, 9, 0, 0, 0, 0, 128, 0, 0, 0}));
  EXPECT_FALSE(carries(kFragment, {kUdp, 0, 0, 9, 0, 0, 0, 0, 1, 0, 0, 0}));
}

TEST(Ipv6WalkTest, GivenFirstFragmentsWhenTheChainDoesNotFitThenItIsNotWhole) {
  const auto whole = [](const std::vector<uint8_t>& payload) {
    const std::vector<uint8_t> packet = Packet(kFragment, payload);
    Header header;
    EXPECT_EQ(ParseWhole(packet, &header), ParseError::kNone);
    return HasWholeHeaderChain(packet, header);
  };
  const auto fragment = [](uint8_t next, const std::vector<uint8_t>& data) {
    std::vector<uint8_t> payload = {next, 0, 0, 1, 0, 0, 0, 0};
    payload.insert(payload.end(), data.begin(), data.end());
    return payload;
  };
  EXPECT_TRUE(whole(fragment(kUdp, std::vector<uint8_t>(8))));
  EXPECT_FALSE(whole(fragment(kTcp, std::vector<uint8_t>(16))));
  EXPECT_TRUE(whole(fragment(kTcp, std::vector<uint8_t>(24))));
  EXPECT_TRUE(whole(fragment(99, {})));
  EXPECT_FALSE(whole(fragment(kDestinationOptions, {})));
  EXPECT_FALSE(whole(fragment(kDestinationOptions, {kUdp, 0, 1, 4, 0, 0, 0, 0})));
  EXPECT_TRUE(whole(fragment(kDestinationOptions, {kNoNextHeader, 0, 1, 4, 0, 0, 0, 0})));
  EXPECT_FALSE(whole(fragment(kDestinationOptions, {99, 1, 1, 4, 0, 0, 0, 0})));
}

TEST(Ipv6WalkTest, GivenAFragmentWhenWalkedThenItsHeaderIsRead) {
  UpperLayer upper;
  EXPECT_EQ(Walk(Packet(kRouting, {kFragment, 0, 0, 0, 0, 0, 0, 0,  //
                                   kUdp, 0, 0x01, 0x0f, 0xa, 0xb, 0xc, 0xd, 1, 2, 3}),
                 &upper),
            ParseError::kFragmented);
  EXPECT_EQ(upper.fragment.offset, 0x108u);  // the reserved bits are ignored
  EXPECT_TRUE(upper.fragment.more);
  EXPECT_EQ(upper.fragment.identification, 0x0a0b0c0du);
  EXPECT_EQ(upper.fragment.header_at, 48u);
  EXPECT_EQ(upper.fragment.next_header, kUdp);
  EXPECT_EQ(upper.next_header_at, 40u);
  EXPECT_EQ(upper.offset, 56u);
  EXPECT_EQ(upper.length, 3u);
}

TEST(Ipv6WalkTest, GivenFragmentHeadersWhenWalkedThenOnlyTheAtomicOneIsAccepted) {
  const auto walk = [](uint8_t high, uint8_t low) {
    UpperLayer upper;
    return Walk(Packet(kFragment, {kUdp, 0, high, low, 1, 2, 3, 4}), &upper);
  };
  EXPECT_EQ(walk(0, 0), ParseError::kNone);
  EXPECT_EQ(walk(0, 6), ParseError::kNone);  // reserved bits are ignored
  EXPECT_EQ(walk(0, 1), ParseError::kFragmented);
  EXPECT_EQ(walk(0, 8), ParseError::kFragmented);
  EXPECT_EQ(walk(0x80, 0), ParseError::kFragmented);
}

}  // namespace
}  // namespace qpip::ipv6

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "protocols/common/checksum.h"
#include "protocols/icmpv6/message.h"
#include "protocols/ipv6/header.h"
#include "real_packets.h"

namespace qpip::icmpv6 {
namespace {

TEST(Icmpv6Test, GivenFieldsWhenEmittedAndParsedThenTheyAreTheSame) {
  std::array<uint8_t, kHeaderBytes> bytes;
  Emit({.type = kPacketTooBig, .code = 0x12, .checksum = 0x3456, .body = 0x789abcde}, bytes);
  Header header;
  ASSERT_EQ(Parse(bytes, &header), ParseError::kNone);
  EXPECT_EQ(header.type, kPacketTooBig);
  EXPECT_EQ(header.code, 0x12);
  EXPECT_EQ(header.checksum, 0x3456);
  EXPECT_EQ(header.body, 0x789abcdeu);
}

TEST(Icmpv6Test, GivenAKernelsEchoRequestWhenParsedThenFieldsAndChecksumAreRight) {
  const std::vector<uint8_t> packet = test::FromHex(test::kEchoRequestPacket);
  ipv6::Header ip;
  ASSERT_EQ(ipv6::Parse(packet, static_cast<uint32_t>(packet.size()), &ip),
            ipv6::ParseError::kNone);
  const std::span<const uint8_t> message = std::span(packet).subspan(ipv6::kHeaderBytes);
  Header header;
  ASSERT_EQ(Parse(message, &header), ParseError::kNone);
  EXPECT_EQ(header.type, kEchoRequest);
  EXPECT_EQ(header.code, 0);
  EXPECT_EQ(header.body, 0x12340007u);
  EXPECT_EQ(ChecksumAdd(message, PseudoHeaderSum(ip.source, ip.destination, ip.payload_length,
                                                 ipv6::kIcmpv6)),
            0xffff);
}

TEST(Icmpv6Test, GivenFewerThan8BytesWhenParsedThenTooShort) {
  const std::array<uint8_t, kHeaderBytes> bytes = {};
  Header header;
  for (size_t size = 0; size < kHeaderBytes; ++size) {
    EXPECT_EQ(Parse(std::span(bytes).first(size), &header), ParseError::kTooShort);
  }
  EXPECT_EQ(Parse(bytes, &header), ParseError::kNone);
  EXPECT_EQ(std::string(ParseErrorName(ParseError::kTooShort)), "too_short");
  EXPECT_EQ(std::string(ParseErrorName(ParseError::kNone)), "none");
}

TEST(Icmpv6Test, GivenTypesWhenAskedThenThoseBelow128AreErrors) {
  for (const Type type :
       {kDestinationUnreachable, kPacketTooBig, kTimeExceeded, kParameterProblem}) {
    EXPECT_TRUE(Header{.type = type}.IsError());
  }
  EXPECT_FALSE(Header{.type = kEchoRequest}.IsError());
  EXPECT_FALSE(Header{.type = kEchoReply}.IsError());
}

}  // namespace
}  // namespace qpip::icmpv6

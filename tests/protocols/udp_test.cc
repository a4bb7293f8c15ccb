#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <vector>

#include "protocols/common/checksum.h"
#include "protocols/ipv6/header.h"
#include "protocols/udp/header.h"
#include "real_packets.h"

namespace qpip::udp {
namespace {

/// A datagram of 12 bytes with one field changed.
std::array<uint8_t, 12> Datagram(uint16_t destination_port, uint16_t length, uint16_t checksum) {
  std::array<uint8_t, 12> bytes = {};
  Emit({.source_port = 1,
        .destination_port = destination_port,
        .length = length,
        .checksum = checksum},
       std::span(bytes).first<kHeaderBytes>());
  return bytes;
}

ParseError ParseIt(std::span<const uint8_t> bytes, bool checksum_expected = true) {
  Header header;
  return Parse(bytes, static_cast<uint32_t>(bytes.size()), checksum_expected, &header);
}

TEST(UdpTest, GivenFieldsWhenEmittedAndParsedThenTheyAreTheSame) {
  std::array<uint8_t, 8> bytes;
  Emit({.source_port = 0x1234, .destination_port = 0xfedc, .length = 8, .checksum = 0xabcd}, bytes);
  Header header;
  ASSERT_EQ(Parse(bytes, 8, true, &header), ParseError::kNone);
  EXPECT_EQ(header.source_port, 0x1234);
  EXPECT_EQ(header.destination_port, 0xfedc);
  EXPECT_EQ(header.length, 8);
  EXPECT_EQ(header.checksum, 0xabcd);
}

TEST(UdpTest, GivenAKernelsDatagramWhenParsedThenFieldsAndChecksumAreRight) {
  const std::vector<uint8_t> packet = test::FromHex(test::kUdpPacket);
  ipv6::Header ip;
  ASSERT_EQ(ipv6::Parse(packet, static_cast<uint32_t>(packet.size()), &ip),
            ipv6::ParseError::kNone);
  std::vector<uint8_t> datagram(packet.begin() + ipv6::kHeaderBytes, packet.end());
  Header header;
  ASSERT_EQ(Parse(datagram, ip.payload_length, true, &header), ParseError::kNone);
  EXPECT_EQ(header.source_port, 40000);
  EXPECT_EQ(header.destination_port, 7);
  EXPECT_EQ(header.length, 19);

  // Over a correct packet the sum is all ones.
  const uint16_t pseudo = PseudoHeaderSum(ip.source, ip.destination, header.length, ipv6::kUdp);
  EXPECT_EQ(ChecksumAdd(datagram, pseudo), 0xffff);

  // With the field at zero, the sum makes the kernel's checksum.
  datagram[offset::kChecksum] = datagram[offset::kChecksum + 1] = 0;
  EXPECT_EQ(FinishChecksum(ChecksumAdd(datagram, pseudo)), header.checksum);
}

TEST(UdpTest, GivenFewerThan8BytesWhenParsedThenTooShort) {
  const auto bytes = Datagram(7, 8, 1);
  Header header;
  for (size_t size = 0; size < kHeaderBytes; ++size) {
    EXPECT_EQ(ParseIt(std::span(bytes).first(size)), ParseError::kTooShort);
    EXPECT_EQ(Parse(bytes, static_cast<uint32_t>(size), true, &header), ParseError::kTooShort);
  }
}

TEST(UdpTest, GivenALengthBelowTheHeaderOrBeyondThePacketWhenParsedThenBadLength) {
  for (const uint16_t length : {0, 7, 13, 65535}) {
    EXPECT_EQ(ParseIt(Datagram(7, length, 1)), ParseError::kBadLength) << length;
  }
  for (const uint16_t length : {8, 11, 12}) {
    EXPECT_EQ(ParseIt(Datagram(7, length, 1)), ParseError::kNone) << length;
  }
}

TEST(UdpTest, GivenOnlyTheHeaderIsReadableWhenParsedThenTheLengthCountsAgainstThePacket) {
  std::array<uint8_t, 8> bytes;
  Emit({.source_port = 1, .destination_port = 2, .length = 1000, .checksum = 1}, bytes);
  Header header;
  EXPECT_EQ(Parse(bytes, 1000, true, &header), ParseError::kNone);
  EXPECT_EQ(Parse(bytes, 999, true, &header), ParseError::kBadLength);
}

TEST(UdpTest, GivenAZeroChecksumWhenParsedThenOnlyATrustedWireMaySendIt) {
  EXPECT_EQ(ParseIt(Datagram(7, 12, 0), true), ParseError::kZeroChecksum);
  EXPECT_EQ(ParseIt(Datagram(7, 12, 0), false), ParseError::kNone);
}

TEST(UdpTest, GivenDestinationPortZeroWhenParsedThenZeroPort) {
  EXPECT_EQ(ParseIt(Datagram(0, 12, 1)), ParseError::kZeroPort);
}

TEST(UdpTest, GivenASumOfAllOnesWhenFinishedThenTheFieldIsNotZero) {
  EXPECT_EQ(FinishChecksum(0xffff), 0xffff);
  EXPECT_EQ(FinishChecksum(0), 0xffff);
  EXPECT_EQ(FinishChecksum(0x1234), 0xedcb);
}

TEST(UdpTest, GivenEveryErrorWhenNamedThenNamesAreDistinct) {
  std::set<std::string> names;
  for (int error = 0; error <= static_cast<int>(ParseError::kZeroPort); ++error) {
    names.insert(ParseErrorName(static_cast<ParseError>(error)));
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(ParseError::kZeroPort) + 1);
  EXPECT_EQ(names.count("unknown"), 0u);
}

}  // namespace
}  // namespace qpip::udp

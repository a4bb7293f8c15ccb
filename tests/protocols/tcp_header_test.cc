#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <vector>

#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/ipv6/header.h"
#include "protocols/tcp/header.h"
#include "real_packets.h"

namespace qpip::tcp {
namespace {

Header Template() {
  Header header;
  header.source_port = 0x1122;
  header.destination_port = 0x3344;
  header.sequence = SequenceNumber(0xfffffff0u);
  header.acknowledgement = SequenceNumber(0x01020304u);
  header.flags = kAck | kPsh;
  header.window = 0xabcd;
  return header;
}

std::vector<uint8_t> Emitted(const Header& header) {
  std::vector<uint8_t> bytes(kMaxHeaderBytes, 0xee);
  bytes.resize(Emit(header, bytes));
  return bytes;
}

/// The template with `options` as they are, padded to words with "end of options".
std::vector<uint8_t> WithOptions(std::vector<uint8_t> options) {
  options.resize((options.size() + 3) / 4 * 4);
  std::vector<uint8_t> bytes = Emitted(Template());
  bytes.insert(bytes.end(), options.begin(), options.end());
  bytes[offset::kDataOffset] = static_cast<uint8_t>(bytes.size() / 4 << 4);
  return bytes;
}

ParseError ParseIt(std::span<const uint8_t> bytes, Header* header) {
  size_t size = 0;
  return Parse(bytes, header, &size);
}

void ExpectSame(const Header& a, const Header& b) {
  EXPECT_EQ(a.source_port, b.source_port);
  EXPECT_EQ(a.destination_port, b.destination_port);
  EXPECT_EQ(a.sequence, b.sequence);
  EXPECT_EQ(a.acknowledgement, b.acknowledgement);
  EXPECT_EQ(a.flags, b.flags);
  EXPECT_EQ(a.window, b.window);
  EXPECT_EQ(a.urgent_pointer, b.urgent_pointer);
  EXPECT_EQ(a.has_mss, b.has_mss);
  EXPECT_EQ(a.mss, b.mss);
  EXPECT_EQ(a.has_window_scale, b.has_window_scale);
  EXPECT_EQ(a.window_scale, b.window_scale);
  EXPECT_EQ(a.has_timestamps, b.has_timestamps);
  EXPECT_EQ(a.ts_value, b.ts_value);
  EXPECT_EQ(a.ts_echo, b.ts_echo);
  EXPECT_EQ(a.sack_permitted, b.sack_permitted);
  ASSERT_EQ(a.sack_count, b.sack_count);
  for (size_t i = 0; i < a.sack_count; ++i) {
    EXPECT_EQ(a.sack[i].start, b.sack[i].start);
    EXPECT_EQ(a.sack[i].end, b.sack[i].end);
  }
}

/// A header with the options that the bits of `choice` name.
Header WithChoice(unsigned choice, uint8_t sack_count) {
  Header header = Template();
  if ((choice & 1) != 0) {
    header.has_mss = true;
    header.mss = 1440;
  }
  if ((choice & 2) != 0) {
    header.has_window_scale = true;
    header.window_scale = 14;
  }
  if ((choice & 4) != 0) {
    header.has_timestamps = true;
    header.ts_value = 0xdeadbeef;
    header.ts_echo = 0x12345678;
  }
  header.sack_permitted = (choice & 8) != 0;
  header.sack_count = sack_count;
  for (uint32_t i = 0; i < sack_count; ++i) {
    header.sack[i] = {SequenceNumber(1000 * i), SequenceNumber(1000 * i + 500)};
  }
  return header;
}

TEST(TcpHeaderTest, GivenEverySetOfOptionsThatFitsWhenEmittedAndParsedThenItIsTheSame) {
  for (unsigned choice = 0; choice < 16; ++choice) {
    for (uint8_t sack_count = 0; sack_count <= 4; ++sack_count) {
      const Header sent = WithChoice(choice, sack_count);
      const std::vector<uint8_t> bytes = Emitted(sent);
      ASSERT_EQ(bytes.size(), EmitSize(sent));
      ASSERT_EQ(bytes.size() % 4, 0u);
      Header parsed;
      size_t size = 0;
      ASSERT_EQ(Parse(bytes, &parsed, &size), ParseError::kNone) << choice;
      ASSERT_EQ(size, bytes.size());
      if (parsed.sack_count == sent.sack_count) {
        ExpectSame(parsed, sent);
      } else {  // no room for all: covered below
        ASSERT_GT(size + 8, kMaxHeaderBytes);
      }
    }
  }
}

TEST(TcpHeaderTest, GivenFourSackBlocksAndTimestampsWhenEmittedThenThreeFit) {
  const Header sent = WithChoice(4, 4);
  const std::vector<uint8_t> bytes = Emitted(sent);
  EXPECT_EQ(bytes.size(), kMaxHeaderBytes);
  Header parsed;
  ASSERT_EQ(ParseIt(bytes, &parsed), ParseError::kNone);
  EXPECT_EQ(parsed.sack_count, 3);
  EXPECT_EQ(parsed.sack[2].start.value(), 2000u);
}

TEST(TcpHeaderTest, GivenUserTimeoutWhenEmittedAndParsedThenSecondsOrWholeMinutesComeBack) {
  struct Row {
    uint32_t given, back;
  };
  // RFC 5482 section 3: 15 bits of seconds or of minutes.
  for (const Row& row : {Row{0, 0}, Row{1, 1}, Row{32767, 32767}, Row{32768, 547 * 60},
                         Row{60 * 60 * 24, 60 * 60 * 24}, Row{~0u, 32767 * 60}}) {
    Header header;
    header.flags = kSyn;
    header.has_user_timeout = true;
    header.user_timeout_s = row.given;
    std::array<uint8_t, kMaxHeaderBytes> bytes = {};
    const size_t length = Emit(header, bytes);
    EXPECT_EQ(length, EmitSize(header));
    Header back;
    size_t size = 0;
    ASSERT_EQ(Parse(std::span(bytes).first(length), &back, &size), ParseError::kNone);
    EXPECT_TRUE(back.has_user_timeout);
    EXPECT_EQ(back.user_timeout_s, row.back) << row.given;
  }
}

TEST(TcpHeaderTest, GivenTimestampsOnlyWhenEmittedThenTheLayoutIsAppendixAs) {
  // RFC 7323 appendix A: NOP NOP 8 10 value echo.
  const std::vector<uint8_t> bytes = Emitted(WithChoice(4, 0));
  const std::vector<uint8_t> expected = {1,    1,    8,    10,   0xde, 0xad,
                                         0xbe, 0xef, 0x12, 0x34, 0x56, 0x78};
  ASSERT_EQ(bytes.size(), kMinHeaderBytes + kTimestampBytes);
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), bytes.begin() + offset::kOptions));
}

TEST(TcpHeaderTest, GivenAChecksumInTheFieldsWhenEmittedThenTheFieldIsZero) {
  Header header = Template();
  header.checksum = 0xffff;
  const std::vector<uint8_t> bytes = Emitted(header);
  EXPECT_EQ(LoadBe16(&bytes[offset::kChecksum]), 0);
}

TEST(TcpHeaderTest, GivenAKernelsSynWhenParsedThenFieldsOptionsAndChecksumAreRight) {
  const std::vector<uint8_t> packet = test::FromHex(test::kTcpSynPacket);
  ipv6::Header ip;
  ASSERT_EQ(ipv6::Parse(packet, static_cast<uint32_t>(packet.size()), &ip),
            ipv6::ParseError::kNone);
  const std::span<const uint8_t> segment = std::span(packet).subspan(ipv6::kHeaderBytes);
  Header header;
  size_t size = 0;
  ASSERT_EQ(Parse(segment, &header, &size), ParseError::kNone);
  EXPECT_EQ(size, 40u);
  EXPECT_EQ(header.source_port, 40001);
  EXPECT_EQ(header.destination_port, 10809);
  EXPECT_EQ(header.sequence.value(), 0xfac11339u);
  EXPECT_EQ(header.flags, kSyn);
  EXPECT_EQ(header.window, 0xfd20);
  EXPECT_TRUE(header.has_mss);
  EXPECT_EQ(header.mss, 1440);
  EXPECT_TRUE(header.sack_permitted);
  EXPECT_TRUE(header.has_timestamps);
  EXPECT_EQ(header.ts_value, 0xcafcc8c2u);
  EXPECT_EQ(header.ts_echo, 0u);
  EXPECT_TRUE(header.has_window_scale);
  EXPECT_EQ(header.window_scale, 10);
  EXPECT_EQ(header.ControlLength(), 1u);
  EXPECT_EQ(ChecksumAdd(segment,
                        PseudoHeaderSum(ip.source, ip.destination, ip.payload_length, ipv6::kTcp)),
            0xffff);
}

TEST(TcpHeaderTest, GivenFewerThan20BytesWhenParsedThenTooShort) {
  const std::vector<uint8_t> bytes = Emitted(Template());
  Header header;
  for (size_t size = 0; size < kMinHeaderBytes; ++size) {
    EXPECT_EQ(ParseIt(std::span(bytes).first(size), &header), ParseError::kTooShort);
  }
}

TEST(TcpHeaderTest, GivenADataOffsetOutOfRangeWhenParsedThenBadDataOffset) {
  std::vector<uint8_t> bytes = Emitted(Template());
  bytes.resize(40);
  Header header;
  for (uint8_t words = 0; words < 16; ++words) {
    bytes[offset::kDataOffset] = static_cast<uint8_t>(words << 4);
    EXPECT_EQ(ParseIt(bytes, &header),
              words >= 5 && words <= 10 ? ParseError::kNone : ParseError::kBadDataOffset)
        << int{words};
  }
}

TEST(TcpHeaderTest, GivenReservedBitsWhenParsedThenTheyAreIgnored) {
  std::vector<uint8_t> bytes = Emitted(Template());
  bytes[offset::kDataOffset] |= 0x0f;
  Header header;
  EXPECT_EQ(ParseIt(bytes, &header), ParseError::kNone);
  ExpectSame(header, Template());
}

TEST(TcpHeaderTest, GivenOptionsOfImpossibleLengthWhenParsedThenBadOptionLength) {
  const std::vector<std::vector<uint8_t>> cases = {
      {2, 3, 0, 0},                        // MSS
      {2, 5, 0, 0, 0},                     //
      {3, 2, 0, 0},                        // window scale
      {3, 4, 0, 0},                        //
      {4, 3, 0, 0},                        // SACK-permitted
      {5, 2, 0, 0},                        // SACK without blocks
      {5, 9, 0, 0, 0, 0, 0, 0, 0},         // SACK, broken block
      {8, 9, 0, 0, 0, 0, 0, 0, 0},         // timestamps
      {8, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0},  //
      {99, 0, 0, 0},                       // unknown, below two
      {99, 1, 0, 0},                       //
      {99, 5, 0, 0},                       // unknown, over the header
      {1, 1, 1, 99},                       // no length byte
      {1, 1, 2, 4},                        // known, over the header
  };
  for (const std::vector<uint8_t>& options : cases) {
    Header header;
    EXPECT_EQ(ParseIt(WithOptions(options), &header), ParseError::kBadOptionLength)
        << int{options[0]} << " " << int{options[1]};
  }
}

TEST(TcpHeaderTest, GivenAnUnknownOptionWhenParsedThenItIsSkippedByItsLength) {
  Header header;
  ASSERT_EQ(ParseIt(WithOptions({99, 6, 2, 4, 0, 1, 2, 4, 5, 0xa0}), &header), ParseError::kNone);
  EXPECT_TRUE(header.has_mss);
  EXPECT_EQ(header.mss, 1440);
}

TEST(TcpHeaderTest, GivenEndOfOptionsWhenParsedThenWhatFollowsIsIgnored) {
  Header header;
  ASSERT_EQ(ParseIt(WithOptions({1, 0, 2, 99, 3, 0, 0, 0}), &header), ParseError::kNone);
  ExpectSame(header, Template());
}

TEST(TcpHeaderTest, GivenAWindowScaleOver14WhenParsedOrEmittedThenItIs14) {
  Header header;  // RFC 7323 section 2.3
  ASSERT_EQ(ParseIt(WithOptions({3, 3, 15}), &header), ParseError::kNone);
  EXPECT_EQ(header.window_scale, 14);
  header.window_scale = 255;
  const std::vector<uint8_t> bytes = Emitted(header);
  EXPECT_EQ(bytes[offset::kOptions + 3], 14);
}

TEST(TcpHeaderTest, GivenTextBehindTheHeaderWhenParsedThenItIsNotLookedAt) {
  std::vector<uint8_t> bytes = Emitted(WithChoice(4, 0));
  bytes.resize(bytes.size() + 100, 0xff);
  Header header;
  size_t size = 0;
  ASSERT_EQ(Parse(bytes, &header, &size), ParseError::kNone);
  EXPECT_EQ(size, 32u);
  ExpectSame(header, WithChoice(4, 0));
}

TEST(TcpHeaderTest, GivenAHeaderUsedBeforeWhenParsedIntoThenNothingOfItRemains) {
  Header header = WithChoice(15, 4);
  ASSERT_EQ(ParseIt(Emitted(Template()), &header), ParseError::kNone);
  ExpectSame(header, Template());
}

TEST(TcpHeaderTest, GivenFlagsWhenAskedThenSynAndFinUseSequenceSpace) {
  const auto control_length = [](uint8_t flags) {
    Header header;
    header.flags = flags;
    return header.ControlLength();
  };
  EXPECT_EQ(control_length(kAck | kPsh), 0u);
  EXPECT_EQ(control_length(kSyn | kAck), 1u);
  EXPECT_EQ(control_length(kFin | kAck), 1u);
  EXPECT_EQ(control_length(kSyn | kFin), 2u);
}

TEST(TcpHeaderTest, GivenEveryErrorWhenNamedThenNamesAreDistinct) {
  std::set<std::string> names;
  for (int error = 0; error <= static_cast<int>(ParseError::kBadOptionLength); ++error) {
    names.insert(ParseErrorName(static_cast<ParseError>(error)));
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(ParseError::kBadOptionLength) + 1);
  EXPECT_EQ(names.count("unknown"), 0u);
}

}  // namespace
}  // namespace qpip::tcp

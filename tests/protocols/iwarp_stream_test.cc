// Sender and receiver together: messages laid out, cut anywhere, and put together again.
#include <gtest/gtest.h>

#include <random>
#include <tuple>
#include <vector>

#include "protocols/iwarp/crc32c.h"
#include "protocols/iwarp/fpdu_receiver.h"
#include "protocols/iwarp/message_layout.h"

namespace qpip::iwarp {
namespace {

using ByteVector = std::vector<uint8_t>;
using Kind = FpduStep::Kind;

/// A message and its bytes.
struct Sent {
  Message message;
  ByteVector bytes;
};

/// The bytes that a layout says lie at [at, at + size) of a message's place in the stream, asked
/// for one part at a time, as a retransmission asks.
ByteVector Range(const Sent& sent, const MessageLayout& layout, bool crc, uint64_t at,
                 size_t size) {
  ByteVector out;
  while (out.size() < size) {
    const SegmentAt segment = FindSegment(layout, at + out.size());
    ByteVector ulpdu(segment.fpdu.ulpdu_length);
    const size_t header =
        EmitDdp(HeaderOf(sent.message, segment.message_offset, segment.last), ulpdu);
    std::copy_n(sent.bytes.begin() + segment.message_offset, ulpdu.size() - header,
                ulpdu.begin() + static_cast<std::ptrdiff_t>(header));
    ByteVector fpdu(FpduBytes(segment.fpdu));
    EmitFpdu(segment.fpdu, ulpdu, crc, fpdu);
    EXPECT_LT(segment.at, fpdu.size());
    out.insert(out.end(), fpdu.begin() + segment.at, fpdu.end());
  }
  out.resize(size);
  return out;
}

/// What a receiver makes of a stream that comes in pieces of at most `most` bytes.
struct Received {
  std::vector<ByteVector> ulpdus;
  FpduError error = FpduError::kNone;
  size_t handed_on_early = 0;  ///< bytes of text before the end of their FPDU was here

  Received(const ByteVector& stream, bool markers, bool crc, uint32_t most, std::mt19937& random) {
    FpduReceiver receiver = MakeFpduReceiver(markers, crc);
    ByteVector kept;
    ByteVector ulpdu;
    for (size_t at = 0; at < stream.size() && error == FpduError::kNone;) {
      const size_t piece = std::min<size_t>(1 + random() % most, stream.size() - at);
      kept.insert(kept.end(), stream.begin() + at, stream.begin() + at + piece);
      at += piece;
      size_t taken = 0;
      for (;;) {
        const FpduStep step = StepFpdu(receiver, std::span(kept).subspan(taken));
        taken += step.consumed;
        if (step.kind == Kind::kText) {
          EXPECT_EQ(step.offset, ulpdu.size());
          ulpdu.insert(ulpdu.end(), step.text.begin(), step.text.end());
          continue;
        }
        if (step.kind == Kind::kEnd) {
          EXPECT_EQ(step.ulpdu_length, ulpdu.size());
          ulpdus.push_back(std::move(ulpdu));
          ulpdu.clear();
          continue;
        }
        if (step.kind == Kind::kHold) {
          EXPECT_GT(step.needed, kept.size() - taken);
        }
        break;
      }
      error = receiver.error;
      kept.erase(kept.begin(), kept.begin() + static_cast<std::ptrdiff_t>(taken));
      if (crc) handed_on_early += ulpdu.size();
    }
  }
};

/// Markers, CRC, EMSS.
using Combination = std::tuple<bool, bool, uint32_t>;

struct IwarpStreamTest : ::testing::TestWithParam<Combination> {
  bool markers = std::get<0>(GetParam());
  bool crc = std::get<1>(GetParam());
  uint32_t mulpdu = Mulpdu(std::get<2>(GetParam()), std::get<0>(GetParam()));
  std::mt19937 random{std::get<2>(GetParam()) + (markers ? 1 : 0) + (crc ? 2 : 0)};

  Sent AnyMessage(uint32_t sequence) {
    Sent sent;
    sent.message.opcode = random() % 2 != 0 ? Opcode::kSend : Opcode::kWrite;
    sent.message.length = random() % 4 == 0 ? random() % 3 : random() % (2 * mulpdu + 3000);
    sent.message.stag = random();
    sent.message.tagged_offset = random();
    sent.message.message_sequence = sequence;
    sent.bytes.resize(sent.message.length);
    for (uint8_t& byte : sent.bytes) byte = static_cast<uint8_t>(random());
    return sent;
  }
};

TEST_P(IwarpStreamTest, GivenMessagesWhenCutAnywhereThenTheSameMessagesArrive) {
  for (int round = 0; round < 4; ++round) {
    std::vector<Sent> messages;
    ByteVector stream;
    for (uint32_t i = 1; i <= 8; ++i) {
      messages.push_back(AnyMessage(i));
      const MessageLayout layout =
          LayOut(messages.back().message, static_cast<uint32_t>(stream.size()), mulpdu, markers);
      const ByteVector bytes =
          Range(messages.back(), layout, crc, 0, static_cast<size_t>(StreamBytes(layout)));
      stream.insert(stream.end(), bytes.begin(), bytes.end());
    }
    const uint32_t most =
        1 + std::vector<uint32_t>{mulpdu / 1000, 7 + mulpdu / 500, 1460, 100000}[round % 4];
    const Received received(stream, markers, crc, most, random);
    ASSERT_EQ(received.error, FpduError::kNone);
    ASSERT_EQ(received.handed_on_early, 0u);
    size_t next = 0;
    for (const Sent& sent : messages) {
      ByteVector bytes;
      DdpHeader header;
      do {
        ASSERT_LT(next, received.ulpdus.size());
        const ByteVector& ulpdu = received.ulpdus[next++];
        ASSERT_LE(ulpdu.size(), mulpdu);
        ASSERT_EQ(ParseDdp(ulpdu, &header), DdpError::kNone);
        ASSERT_EQ(header, HeaderOf(sent.message, static_cast<uint32_t>(bytes.size()), header.last));
        bytes.insert(bytes.end(), ulpdu.begin() + static_cast<int>(DdpHeaderBytes(header)),
                     ulpdu.end());
      } while (!header.last);
      ASSERT_EQ(bytes, sent.bytes);
    }
    ASSERT_EQ(next, received.ulpdus.size());
  }
}

TEST_P(IwarpStreamTest, GivenAMessageWhenAnyRangeIsAskedForThenTheBytesOfTheFirstTime) {
  for (int round = 0; round < 20; ++round) {
    const Sent sent = AnyMessage(1);
    const MessageLayout layout = LayOut(sent.message, 4 * random(), mulpdu, markers);
    const auto total = static_cast<size_t>(StreamBytes(layout));
    const ByteVector all = Range(sent, layout, crc, 0, total);
    for (int i = 0; i < 10; ++i) {
      const size_t at = random() % total;
      const size_t size = 1 + random() % (total - at);
      ASSERT_EQ(Range(sent, layout, crc, at, size),
                ByteVector(all.begin() + at, all.begin() + at + size));
    }
  }
}

TEST_P(IwarpStreamTest, GivenDamageWhenCrcsAreOnThenNoFpduIsOtherThanItWasSent) {
  if (!crc) return;
  for (int round = 0; round < 100; ++round) {
    const Sent sent = AnyMessage(1);
    const MessageLayout layout = LayOut(sent.message, 0, mulpdu, markers);
    ByteVector stream = Range(sent, layout, crc, 0, static_cast<size_t>(StreamBytes(layout)));
    const std::vector<ByteVector> good = Received(stream, markers, crc, 100000, random).ulpdus;
    stream[random() % stream.size()] ^= static_cast<uint8_t>(1 + random() % 255);
    const Received received(stream, markers, crc, 1500, random);
    ASSERT_LT(received.ulpdus.size(), good.size());
    for (size_t i = 0; i < received.ulpdus.size(); ++i) ASSERT_EQ(received.ulpdus[i], good[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(All, IwarpStreamTest,
                         ::testing::Combine(::testing::Bool(), ::testing::Bool(),
                                            ::testing::Values(128u, 536u, 1220u, 1460u, 8940u,
                                                              65000u)));

// --- Layout of messages

TEST(IwarpMessageLayoutTest, GivenRfc5041sExampleWhenLaidOutThenItsTwoSegments) {
  // 5.2: 2048 bytes, MULPDU 1500.
  Message message;
  message.length = 2048;
  MessageLayout layout = LayOut(message, 0, 1500, false);
  EXPECT_EQ(SegmentCount(layout), 2u);
  EXPECT_EQ(FindSegment(layout, ContentBytes(1500)).message_offset, 1482u);
  EXPECT_EQ(HeaderOf(message, 1482, true).message_offset, 1482u);
  message.opcode = Opcode::kWrite;
  message.tagged_offset = 16384;
  layout = LayOut(message, 0, 1500, false);
  EXPECT_EQ(FindSegment(layout, ContentBytes(1500)).message_offset, 1486u);
  EXPECT_EQ(HeaderOf(message, 1486, true).tagged_offset, 17870u);
}

TEST(IwarpMessageLayoutTest, GivenAnEmptyMessageWhenLaidOutThenExactlyOneSegmentThatIsLast) {
  for (const Opcode opcode : {Opcode::kSend, Opcode::kWrite, Opcode::kReadResponse}) {
    Message message;
    message.opcode = opcode;
    const MessageLayout layout = LayOut(message, 0, 1454, false);
    EXPECT_EQ(SegmentCount(layout), 1u);
    const SegmentAt segment = FindSegment(layout, 0);
    EXPECT_TRUE(segment.last);
    EXPECT_EQ(StreamBytes(layout), FpduBytes(segment.fpdu));
  }
}

TEST(IwarpMessageLayoutTest, GivenTheLongestMessageWhenLaidOutThenItsLastByteIsFound) {
  Message message;
  message.length = 0xffffffffu;
  for (const bool markers : {false, true}) {
    const MessageLayout layout = LayOut(message, 508, kMaxMulpdu, markers);
    const uint64_t total = StreamBytes(layout);
    EXPECT_GT(total, 0xffffffffu);
    const SegmentAt last = FindSegment(layout, total - 1);
    EXPECT_TRUE(last.last);
    EXPECT_EQ(last.at, FpduBytes(last.fpdu) - 1);
    EXPECT_EQ(uint64_t{last.message_offset} + last.fpdu.ulpdu_length, 0xffffffffu + kUntaggedBytes);
  }
}

TEST(IwarpMessageLayoutTest, GivenEachMessageWhenItsHeaderIsMadeThenFieldsAreAsFigure4Has) {
  Message message;
  message.stag = 0x11223344;
  message.tagged_offset = 100;
  message.message_sequence = 9;
  message.invalidate_stag = 0x55667788;
  for (uint8_t code = 0; code < 12; ++code) {
    message.opcode = static_cast<Opcode>(code);
    const DdpHeader header = HeaderOf(message, 50, false);
    EXPECT_EQ(OpcodeOf(header.ulp_control), message.opcode);
    EXPECT_EQ(VersionOf(header.ulp_control), kRdmapVersion);
    EXPECT_EQ(header.version, kDdpVersion);
    EXPECT_EQ(header.tagged, code == 0 || code == 2);
    EXPECT_FALSE(header.last);
    if (header.tagged) {
      EXPECT_EQ(header.stag, 0x11223344u);
      EXPECT_EQ(header.tagged_offset, 150u);
      continue;
    }
    EXPECT_EQ(header.message_sequence, 9u);
    EXPECT_EQ(header.message_offset, 50u);
    EXPECT_EQ(header.queue, QueueOf(message.opcode));
    // 4.1: zero where there is nothing to invalidate.
    EXPECT_EQ(header.ulp_word, code == 4 || code == 6 ? 0x55667788u : 0u);
  }
}

}  // namespace
}  // namespace qpip::iwarp

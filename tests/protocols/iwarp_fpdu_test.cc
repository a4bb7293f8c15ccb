// FPDUs: their layout, and the receiver that finds them in a stream.
#include <gtest/gtest.h>

#include <vector>

#include "protocols/iwarp/crc32c.h"
#include "protocols/iwarp/fpdu.h"
#include "protocols/iwarp/fpdu_receiver.h"
#include "protocols/iwarp/message_layout.h"

namespace qpip::iwarp {
namespace {

using ByteVector = std::vector<uint8_t>;
using Kind = FpduStep::Kind;

ByteVector Made(const Fpdu& fpdu, const ByteVector& ulpdu, bool crc = true) {
  ByteVector out(FpduBytes(fpdu));
  EmitFpdu(fpdu, ulpdu, crc, out);
  return out;
}

ByteVector Counting(size_t size) {
  ByteVector out(size);
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<uint8_t>(i);
  return out;
}

/// The ULPDU of both figures of RFC 5044 4.4: a Send of 24 zeroes.
ByteVector FigureUlpdu(uint8_t message_sequence) {
  ByteVector ulpdu(42, 0);
  ulpdu[0] = 0x41;
  ulpdu[1] = 0x43;
  ulpdu[13] = message_sequence;
  return ulpdu;
}

// --- Layout

TEST(IwarpFpduTest, GivenAnyUlpduWhenPaddedThenAMultipleOfFour) {
  for (uint32_t length = 0; length < 70000; ++length) {
    ASSERT_LT(PadBytes(length), 4u);
    ASSERT_EQ(ContentBytes(length) % 4, 0u);
    ASSERT_EQ(ContentBytes(length), 2 + length + PadBytes(length) + 4);
  }
}

TEST(IwarpFpduTest, GivenFigure5WhenEmittedThenItsBytes) {
  const ByteVector bytes = Made({0, 42, true}, FigureUlpdu(1));
  ByteVector expected = {0x00, 0x00, 0x00, 0x00, 0x00, 0x2a};
  const ByteVector ulpdu = FigureUlpdu(1);
  expected.insert(expected.end(), ulpdu.begin(), ulpdu.end());
  expected.insert(expected.end(), {0x52, 0x23, 0x99, 0x83});
  EXPECT_EQ(bytes, expected);
}

TEST(IwarpFpduTest, GivenFigure6WhenEmittedThenItsBytes) {
  const ByteVector bytes = Made({0x1ec, 42, true}, FigureUlpdu(2));
  ASSERT_EQ(bytes.size(), 0x220u - 0x1ec);
  ByteVector expected = {0x00, 0x2a};
  const ByteVector ulpdu = FigureUlpdu(2);
  expected.insert(expected.end(), ulpdu.begin(), ulpdu.begin() + 18);
  expected.insert(expected.end(), {0x00, 0x00, 0x00, 0x14});
  expected.insert(expected.end(), ulpdu.begin() + 18, ulpdu.end());
  expected.insert(expected.end(), {0x84, 0x92, 0x58, 0x98});
  EXPECT_EQ(bytes, expected);
}

TEST(IwarpFpduTest, GivenAnUlpduWithoutMarkersWhenEmittedThenLengthPadAndCrcSurroundIt) {
  const ByteVector bytes = Made({512, 3, false}, {1, 2, 3});
  ASSERT_EQ(bytes.size(), 12u);
  EXPECT_EQ((ByteVector{bytes.begin(), bytes.begin() + 8}), (ByteVector{0, 3, 1, 2, 3, 0, 0, 0}));
  EXPECT_EQ(LoadCrc(&bytes[8]), Crc32c(std::span(bytes).first(8)));
}

TEST(IwarpFpduTest, GivenNoCrcWhenEmittedThenTheFieldIsThereAndZero) {
  EXPECT_EQ(Made({0, 2, false}, {7, 8}, false), (ByteVector{0, 2, 7, 8, 0, 0, 0, 0}));
}

TEST(IwarpFpduTest, GivenAMarkerBetweenTwoWhenCountedThenItIsTheSecondOnes) {
  // 508 bytes of content from just behind a marker reach exactly to the next one.
  EXPECT_EQ(MarkerCount({4, 502, true}), 0u);
  EXPECT_EQ(FpduBytes({4, 502, true}), 508u);
  EXPECT_EQ(MarkerCount({512, 0, true}), 1u);
  const PartAt marker = FindPart({512, 0, true}, 0);
  EXPECT_EQ(marker.part, FpduPart::kMarker);
  EXPECT_EQ(marker.pointer, 0u);
}

TEST(IwarpFpduTest, GivenAMarkerBehindThePadWhenLaidOutThenItIsBeforeTheCrcAndOfThisFpdu) {
  // Content up to the CRC ends at 512: the marker stands between pad and CRC (4.4 rule 1).
  const Fpdu fpdu{512 - 12, 9, true};
  EXPECT_EQ(FindPart(fpdu, 12).part, FpduPart::kMarker);
  EXPECT_EQ(FindPart(fpdu, 12).pointer, 12u);
  EXPECT_EQ(FindPart(fpdu, 16).part, FpduPart::kCrc);
  const ByteVector bytes = Made(fpdu, Counting(9));
  EXPECT_EQ(LoadCrc(&bytes[16]), Crc32c(std::span(bytes).first(16)));
}

TEST(IwarpFpduTest, GivenSeveralMarkersWhenLaidOutThenAllPointToTheLengthField) {
  const Fpdu fpdu{512, 1500, true};
  uint32_t markers = 0;
  for (uint32_t at = 0; at < FpduBytes(fpdu);) {
    const PartAt part = FindPart(fpdu, at);
    if (part.part == FpduPart::kMarker) {
      EXPECT_EQ((fpdu.start + at) % kMarkerInterval, 0u);
      EXPECT_EQ(part.pointer, at == 0 ? 0 : at - 4);
      ++markers;
    }
    at += part.length;
  }
  EXPECT_EQ(markers, MarkerCount(fpdu));
  EXPECT_EQ(markers, 3u);
}

TEST(IwarpFpduTest, GivenAStreamThatWrapsWhenLaidOutThenMarkersStayInStep) {
  const Fpdu fpdu{0xfffffffcu, 20, true};
  EXPECT_EQ(FindPart(fpdu, 0).part, FpduPart::kLength);
  EXPECT_EQ(FindPart(fpdu, 0).length, 2u);
  EXPECT_EQ(FindPart(fpdu, 2).length, 2u);
  EXPECT_EQ(FindPart(fpdu, 4).part, FpduPart::kMarker);
  EXPECT_EQ(FindPart(fpdu, 4).pointer, 4u);
}

TEST(IwarpFpduTest, GivenAnyLayoutWhenWalkedThenPartsFollowEachOther) {
  for (const bool markers : {false, true}) {
    for (uint32_t start = 0; start < 1024; start += 4) {
      for (const uint32_t length : {0u, 1u, 2u, 3u, 500u, 501u, 502u, 503u, 1016u, 2000u}) {
        const Fpdu fpdu{start, length, markers};
        uint32_t ulpdu = 0;
        uint32_t at = 0;
        FpduPart last = FpduPart::kMarker;
        while (at < FpduBytes(fpdu)) {
          const PartAt part = FindPart(fpdu, at);
          ASSERT_NE(part.length, 0u);
          ASSERT_EQ(part.part == FpduPart::kMarker, markers && (start + at) % kMarkerInterval == 0);
          if (part.part == FpduPart::kUlpdu) {
            ASSERT_EQ(part.offset, ulpdu);
            ulpdu += part.length;
          }
          last = part.part;
          at += part.length;
        }
        ASSERT_EQ(at, FpduBytes(fpdu));
        ASSERT_EQ(last, FpduPart::kCrc);
        ASSERT_EQ(ulpdu, length);
      }
    }
  }
}

TEST(IwarpFpduTest, GivenSegmentSizesWhenMulpduIsComputedThenAsRfc5044Has) {
  EXPECT_EQ(Mulpdu(1460, false), 1454u);
  EXPECT_EQ(Mulpdu(1460, true), 1460u - (6 + 4 * 3 + 0));
  EXPECT_EQ(Mulpdu(1463, false), 1463u - (6 + 3));
  EXPECT_EQ(Mulpdu(512, true), 512u - (6 + 4));
  EXPECT_EQ(Mulpdu(513, true), 513u - (6 + 8 + 1));
  EXPECT_EQ(Mulpdu(100, true), kMinMulpdu);
  EXPECT_EQ(Mulpdu(0, false), kMinMulpdu);
  EXPECT_EQ(Mulpdu(65535, false), kMaxMulpdu);
}

TEST(IwarpFpduTest, GivenAnUlpduOfMulpduWhenLaidOutAnywhereThenItFitsTheSegment) {
  for (const bool markers : {false, true}) {
    for (uint32_t emss = 140; emss < 9100; emss += 7) {
      for (uint32_t start = 0; start < 512; start += 4) {
        ASSERT_LE(FpduBytes({start, Mulpdu(emss, markers), markers}), emss) << emss << " " << start;
      }
    }
  }
}

// --- The receiver

struct IwarpFpduReceiverTest : ::testing::Test {
  FpduReceiver receiver = MakeFpduReceiver(false, true);

  FpduStep Step(std::span<const uint8_t> bytes) { return StepFpdu(receiver, bytes); }
};

TEST_F(IwarpFpduReceiverTest, GivenAWholeFpduWhenSteppedThenItsTextAndThenItsEnd) {
  const ByteVector bytes = Made({0, 5, false}, Counting(5));
  FpduStep step = Step(bytes);
  ASSERT_EQ(step.kind, Kind::kText);
  EXPECT_EQ((ByteVector{step.text.begin(), step.text.end()}), Counting(5));
  EXPECT_EQ(step.offset, 0u);
  EXPECT_EQ(step.ulpdu_length, 5u);
  EXPECT_EQ(step.consumed, 7u);
  step = Step(std::span(bytes).subspan(7));
  EXPECT_EQ(step.kind, Kind::kEnd);
  EXPECT_EQ(step.ulpdu_length, 5u);
  EXPECT_EQ(step.consumed, 5u);
  EXPECT_TRUE(BetweenFpdus(receiver));
}

TEST_F(IwarpFpduReceiverTest, GivenACrcWhenBytesAreMissingThenHeldAndSaidHowManyAreNeeded) {
  const ByteVector bytes = Made({0, 5, false}, Counting(5));
  for (size_t size = 1; size < bytes.size(); ++size) {
    const FpduStep step = Step(std::span(bytes).first(size));
    ASSERT_EQ(step.kind, Kind::kHold);
    EXPECT_EQ(step.consumed, 0u);
    EXPECT_EQ(step.needed, size < 2 ? 2 : bytes.size());
  }
  EXPECT_EQ(Step(bytes).kind, Kind::kText);
}

TEST_F(IwarpFpduReceiverTest, GivenNoCrcWhenBytesAreMissingThenTextIsHandedOnAsItComes) {
  receiver = MakeFpduReceiver(false, false);
  const ByteVector bytes = Made({0, 5, false}, Counting(5), false);
  EXPECT_EQ(Step(std::span(bytes).first(2)).kind, Kind::kNothing);
  FpduStep step = Step(std::span(bytes).subspan(2, 2));
  ASSERT_EQ(step.kind, Kind::kText);
  EXPECT_EQ(step.offset, 0u);
  step = Step(std::span(bytes).subspan(4, 3));
  ASSERT_EQ(step.kind, Kind::kText);
  EXPECT_EQ(step.offset, 2u);
  EXPECT_EQ(step.text.size(), 3u);
  EXPECT_EQ(Step(std::span(bytes).subspan(7, 4)).kind, Kind::kNothing);
  EXPECT_EQ(Step(std::span(bytes).subspan(11)).kind, Kind::kEnd);
}

TEST_F(IwarpFpduReceiverTest, GivenAnEmptyUlpduWhenSteppedThenOnlyAnEnd) {
  const ByteVector bytes = Made({0, 0, false}, {});
  const FpduStep step = Step(bytes);
  EXPECT_EQ(step.kind, Kind::kEnd);
  EXPECT_EQ(step.ulpdu_length, 0u);
  EXPECT_EQ(step.consumed, 8u);
}

TEST_F(IwarpFpduReceiverTest, GivenAnyDamagedBitWhenCrcsAreOnThenNothingIsHandedOn) {
  const ByteVector good = Made({0, 21, false}, Counting(21));
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    receiver = MakeFpduReceiver(false, true);
    ByteVector bytes = good;
    bytes[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    const FpduStep step = Step(bytes);
    ASSERT_TRUE(step.kind == Kind::kBad || step.kind == Kind::kHold) << bit;
    ASSERT_EQ(step.consumed, 0u);
    if (bit >= 16) {
      ASSERT_EQ(receiver.error, FpduError::kBadCrc) << bit;
    }
  }
}

TEST_F(IwarpFpduReceiverTest, GivenADamagedCrcWhenCrcsAreOffThenItIsNotLookedAt) {
  receiver = MakeFpduReceiver(false, false);
  ByteVector bytes = Made({0, 2, false}, {1, 2});
  bytes.back() ^= 1;
  EXPECT_EQ(Step(bytes).kind, Kind::kText);
  EXPECT_EQ(Step(std::span(bytes).subspan(4)).kind, Kind::kEnd);
}

TEST_F(IwarpFpduReceiverTest, GivenAnErrorWhenSteppedOnThenNothingMoreIsTaken) {
  ByteVector bytes = Made({0, 2, false}, {1, 2});
  bytes.back() ^= 1;
  ASSERT_EQ(Step(bytes).kind, Kind::kBad);
  EXPECT_EQ(Step(Made({0, 2, false}, {1, 2})).kind, Kind::kBad);
}

TEST_F(IwarpFpduReceiverTest, GivenMarkersWhenSteppedThenTheyAreTakenOut) {
  receiver = MakeFpduReceiver(true, true);
  const ByteVector bytes = Made({0, 1200, true}, Counting(1200));
  ByteVector text;
  size_t taken = 0;
  for (;;) {
    const FpduStep step = Step(std::span(bytes).subspan(taken));
    taken += step.consumed;
    ASSERT_NE(step.kind, Kind::kBad);
    if (step.kind == Kind::kEnd) break;
    ASSERT_EQ(step.kind, Kind::kText);
    ASSERT_EQ(step.offset, text.size());
    text.insert(text.end(), step.text.begin(), step.text.end());
  }
  EXPECT_EQ(text, Counting(1200));
  EXPECT_EQ(taken, bytes.size());
}

TEST_F(IwarpFpduReceiverTest, GivenAMarkerThatPointsElsewhereWhenTheCrcIsGoodThenBadMarker) {
  receiver = MakeFpduReceiver(true, true);
  ByteVector bytes = Made({0, 10, true}, Counting(10));
  bytes[3] = 8;
  StoreCrc(&bytes[bytes.size() - 4], Crc32c(std::span(bytes).first(bytes.size() - 4)));
  EXPECT_EQ(Step(bytes).kind, Kind::kBad);
  EXPECT_EQ(receiver.error, FpduError::kBadMarker);
}

TEST_F(IwarpFpduReceiverTest, GivenAMarkerThatPointsElsewhereWhenTheCrcIsBadTooThenBadCrc) {
  receiver = MakeFpduReceiver(true, true);
  ByteVector bytes = Made({0, 10, true}, Counting(10));
  bytes[3] = 8;
  EXPECT_EQ(Step(bytes).kind, Kind::kBad);
  EXPECT_EQ(receiver.error, FpduError::kBadCrc);
}

TEST_F(IwarpFpduReceiverTest, GivenAMarkersReservedAndLowestBitsWhenSetThenTheyAreIgnored) {
  receiver = MakeFpduReceiver(true, true);
  ByteVector bytes = Made({0, 10, true}, Counting(10));
  bytes[0] = 0xab;
  bytes[3] = 3;
  StoreCrc(&bytes[bytes.size() - 4], Crc32c(std::span(bytes).first(bytes.size() - 4)));
  EXPECT_EQ(Step(bytes).kind, Kind::kText);
}

TEST_F(IwarpFpduReceiverTest, GivenPadBytesWhenNotZeroThenTheyAreIgnored) {
  ByteVector bytes = Made({0, 3, false}, Counting(3));
  bytes[6] = 0x55;
  StoreCrc(&bytes[8], Crc32c(std::span(bytes).first(8)));
  EXPECT_EQ(Step(bytes).kind, Kind::kText);
  EXPECT_EQ(Step(std::span(bytes).subspan(5)).kind, Kind::kEnd);
}

TEST_F(IwarpFpduReceiverTest, GivenALengthBeyondTheMostWhenSeenThenTooLong) {
  for (const bool crc : {false, true}) {
    receiver = MakeFpduReceiver(false, crc);
    EXPECT_EQ(Step(ByteVector{0xfd, 0x01}).kind, Kind::kBad);
    EXPECT_EQ(receiver.error, FpduError::kTooLong);
    receiver = MakeFpduReceiver(false, crc);
    EXPECT_NE(Step(ByteVector{0xfd, 0x00}).kind, Kind::kBad);
  }
}

TEST_F(IwarpFpduReceiverTest, GivenAnEngineThatSumsTextWhenPartsAreTakenThenTheSameVerdict) {
  const ByteVector bytes = Made({0, 700, false}, Counting(700));
  for (const bool damaged : {false, true}) {
    receiver = MakeFpduReceiver(false, true);
    size_t taken = 0;
    while (taken < bytes.size() && receiver.error == FpduError::kNone) {
      const PartAt part = NextPart(receiver);
      const std::span<const uint8_t> piece = std::span(bytes).subspan(taken, part.length);
      if (part.part == FpduPart::kUlpdu || part.part == FpduPart::kPad) {
        TakeSummed(receiver, part.length, Crc32c(piece, receiver.crc) ^ (damaged ? 1 : 0));
      } else {
        TakePart(receiver, part, piece);
      }
      taken += part.length;
    }
    EXPECT_EQ(receiver.error, damaged ? FpduError::kBadCrc : FpduError::kNone);
  }
}

TEST(IwarpFpduNamesTest, GivenAllErrorsWhenNamedThenTheNamesDiffer) {
  EXPECT_STREQ(FpduErrorName(FpduError::kNone), "none");
  EXPECT_STREQ(FpduErrorName(FpduError::kTooLong), "too_long");
  EXPECT_STREQ(FpduErrorName(FpduError::kBadMarker), "bad_marker");
  EXPECT_STREQ(FpduErrorName(FpduError::kBadCrc), "bad_crc");
}

}  // namespace
}  // namespace qpip::iwarp

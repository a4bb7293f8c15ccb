// DDP and RDMAP headers, Terminate, MPA's startup frames: every field, every refusal.
#include <gtest/gtest.h>

#include <array>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/iwarp/ddp.h"
#include "protocols/iwarp/rdmap.h"
#include "protocols/iwarp/startup_frame.h"
#include "protocols/iwarp/terminate.h"

namespace qpip::iwarp {
namespace {

using ByteVector = std::vector<uint8_t>;

/// All names of an enumeration that begins at 0: they differ, and end with "unknown".
template <typename Enum, typename Name>
void ExpectNames(int count, Name name) {
  std::set<std::string> names;
  for (int i = 0; i < count; ++i) names.insert(name(static_cast<Enum>(i)));
  EXPECT_EQ(names.size(), static_cast<size_t>(count));
  EXPECT_EQ(names.count("unknown"), 0u);
  EXPECT_STREQ(name(static_cast<Enum>(count)), "unknown");
}

// --- DDP

TEST(IwarpDdpTest, GivenATaggedHeaderWhenEmittedThenBytesAreThoseOfFigure4) {
  DdpHeader header;
  header.tagged = true;
  header.last = true;
  header.ulp_control = 0x42;
  header.stag = 0x01020304;
  header.tagged_offset = 0x1112131415161718;
  ByteVector out(kTaggedBytes);
  EXPECT_EQ(EmitDdp(header, out), kTaggedBytes);
  EXPECT_EQ(out,
            (ByteVector{0xc1, 0x42, 1, 2, 3, 4, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18}));
  DdpHeader parsed;
  EXPECT_EQ(ParseDdp(out, &parsed), DdpError::kNone);
  EXPECT_EQ(parsed, header);
}

TEST(IwarpDdpTest, GivenAnUntaggedHeaderWhenEmittedThenBytesAreThoseOfFigure5) {
  DdpHeader header;
  header.ulp_control = 0x43;
  header.ulp_word = 0x0a0b0c0d;
  header.queue = 2;
  header.message_sequence = 0x01020304;
  header.message_offset = 0x05060708;
  ByteVector out(kUntaggedBytes);
  EXPECT_EQ(EmitDdp(header, out), kUntaggedBytes);
  EXPECT_EQ(out,
            (ByteVector{0x01, 0x43, 0x0a, 0x0b, 0x0c, 0x0d, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8}));
  DdpHeader parsed;
  EXPECT_EQ(ParseDdp(out, &parsed), DdpError::kNone);
  EXPECT_EQ(parsed, header);
}

TEST(IwarpDdpTest, GivenTooFewBytesWhenParsedThenTooShort) {
  DdpHeader header;
  for (const uint8_t control : {0x81, 0x01}) {
    ByteVector bytes(DdpHeaderBytes(control));
    bytes[0] = control;
    for (size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_EQ(ParseDdp(std::span(bytes).first(size), &header), DdpError::kTooShort);
    }
    EXPECT_EQ(ParseDdp(bytes, &header), DdpError::kNone);
  }
}

TEST(IwarpDdpTest, GivenAnotherVersionWhenParsedThenBadVersionAndTheFieldsAreThere) {
  for (const uint8_t version : {0, 2, 3}) {
    ByteVector bytes(kTaggedBytes);
    bytes[0] = static_cast<uint8_t>(0x80 | version);
    bytes[5] = 7;
    DdpHeader header;
    EXPECT_EQ(ParseDdp(bytes, &header), DdpError::kBadVersion);
    EXPECT_EQ(header.version, version);
    EXPECT_EQ(header.stag, 7u);
  }
}

TEST(IwarpDdpTest, GivenReservedBitsWhenParsedThenTheyAreNotLookedAt) {
  ByteVector bytes(kUntaggedBytes);
  bytes[0] = 0x3d;
  DdpHeader header;
  EXPECT_EQ(ParseDdp(bytes, &header), DdpError::kNone);
  ByteVector out(kUntaggedBytes);
  EmitDdp(header, out);
  EXPECT_EQ(out[0], 0x01);
}

// --- RDMAP

TEST(IwarpRdmapTest, GivenOpcodesWhenAskedThenAsRfc5040Figure4AndRfc7306Figure2Have) {
  const std::set<int> tagged = {0, 2}, invalidate = {4, 6}, solicited = {5, 6, 9};
  const std::array<uint32_t, 12> queues = {0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 1, 3};
  for (int code = 0; code < 16; ++code) {
    const Opcode opcode = OpcodeOf(static_cast<uint8_t>(0x70 | code));  // reserved bits: ignored
    EXPECT_EQ(static_cast<int>(opcode), code);
    EXPECT_EQ(IsKnown(opcode), code < 12);
    EXPECT_EQ(IsExtension(opcode), code >= 8 && code < 12);
    EXPECT_EQ(IsTagged(opcode), tagged.count(code) != 0);
    EXPECT_EQ(Invalidates(opcode), invalidate.count(code) != 0);
    EXPECT_EQ(IsSolicited(opcode), solicited.count(code) != 0);
    EXPECT_EQ(IsSend(opcode), code >= 3 && code <= 6);
    EXPECT_EQ(IsImmediate(opcode), code == 8 || code == 9);
    if (code < 12) {
      EXPECT_EQ(QueueOf(opcode), queues[static_cast<size_t>(code)]);
      EXPECT_EQ(RdmapControl(opcode), 0x40 | code);
    }
  }
  EXPECT_EQ(VersionOf(0xc3), 3);
  ExpectNames<Opcode>(12, OpcodeName);
}

TEST(IwarpRdmapTest, GivenAReadRequestWhenEmittedThenBytesAreThoseOfFigure6) {
  const ReadRequest request{0x01020304, 0x1112131415161718, 0x21222324, 0x31323334,
                            0x4142434445464748};
  std::array<uint8_t, kReadRequestBytes> out;
  EmitReadRequest(request, out);
  EXPECT_EQ(out,
            (std::array<uint8_t, 28>{1,    2,    3,    4,    0x11, 0x12, 0x13, 0x14, 0x15, 0x16,
                                     0x17, 0x18, 0x21, 0x22, 0x23, 0x24, 0x31, 0x32, 0x33, 0x34,
                                     0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48}));
  ReadRequest parsed;
  EXPECT_EQ(ParseReadRequest(out, &parsed), RdmapError::kNone);
  EXPECT_EQ(parsed, request);
  EXPECT_EQ(ParseReadRequest(std::span(out).first(27), &parsed), RdmapError::kTooShort);
}

TEST(IwarpRdmapTest, GivenImmediateDataWhenEmittedThenEightBytesBigEndian) {
  std::array<uint8_t, kImmediateBytes> out;
  EmitImmediate(0x0102030405060708, out);
  EXPECT_EQ(out, (std::array<uint8_t, 8>{1, 2, 3, 4, 5, 6, 7, 8}));
  uint64_t data = 0;
  EXPECT_EQ(ParseImmediate(out, &data), RdmapError::kNone);
  EXPECT_EQ(data, 0x0102030405060708u);
  EXPECT_EQ(ParseImmediate(std::span(out).first(7), &data), RdmapError::kTooShort);
}

TEST(IwarpRdmapTest, GivenACompareSwapWhenEmittedThenBytesAreThoseOfRfc7306Figure4) {
  const AtomicRequest request{AtomicOperation::kCompareSwap, 5, 6, 7, 8, 9, 10, 11};
  std::array<uint8_t, kAtomicRequestBytes> out;
  EmitAtomicRequest(request, out);
  const std::array<uint8_t, 52> expected = {0, 0, 0, 2, 0, 0, 0, 5,  0, 0, 0, 6, 0, 0, 0, 0, 0, 0,
                                            0, 7, 0, 0, 0, 0, 0, 0,  0, 8, 0, 0, 0, 0, 0, 0, 0, 9,
                                            0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 11};
  EXPECT_EQ(out, expected);
  AtomicRequest parsed;
  EXPECT_EQ(ParseAtomicRequest(out, &parsed), RdmapError::kNone);
  EXPECT_EQ(parsed, request);
  EXPECT_EQ(ParseAtomicRequest(std::span(out).first(51), &parsed), RdmapError::kTooShort);
}

TEST(IwarpRdmapTest, GivenAFetchAddWhenEmittedThenWhatDoesNotApplyIsAsRfc7306Has) {
  AtomicRequest request;
  request.compare = 77;
  request.compare_mask = 78;
  std::array<uint8_t, kAtomicRequestBytes> out;
  EmitAtomicRequest(request, out);
  AtomicRequest parsed;
  EXPECT_EQ(ParseAtomicRequest(out, &parsed), RdmapError::kNone);
  EXPECT_EQ(parsed.compare, 0u);
  EXPECT_EQ(parsed.compare_mask, ~uint64_t{0});
}

TEST(IwarpRdmapTest, GivenAnotherAtomicCodeWhenParsedThenUnknownAtomic) {
  std::array<uint8_t, kAtomicRequestBytes> bytes = {};
  AtomicRequest parsed;
  for (uint8_t code = 0; code < 16; ++code) {
    bytes[3] = static_cast<uint8_t>(0xf0 | code);  // reserved bits: ignored
    EXPECT_EQ(ParseAtomicRequest(bytes, &parsed),
              code == 0 || code == 2 ? RdmapError::kNone : RdmapError::kUnknownAtomic);
  }
}

TEST(IwarpRdmapTest, GivenAnAtomicResponseWhenEmittedThenBytesAreThoseOfFigure6) {
  const AtomicResponse response{0x01020304, 0x1112131415161718};
  std::array<uint8_t, kAtomicResponseBytes> out;
  EmitAtomicResponse(response, out);
  EXPECT_EQ(out,
            (std::array<uint8_t, 12>{1, 2, 3, 4, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18}));
  AtomicResponse parsed;
  EXPECT_EQ(ParseAtomicResponse(out, &parsed), RdmapError::kNone);
  EXPECT_EQ(parsed, response);
  EXPECT_EQ(ParseAtomicResponse(std::span(out).first(11), &parsed), RdmapError::kTooShort);
  ExpectNames<RdmapError>(3, RdmapErrorName);
}

/// RFC 7306 5.1.1, word for word.
uint64_t FetchAddOfTheRfc(uint64_t original, uint64_t add, uint64_t mask) {
  uint64_t result = 0;
  uint64_t carry = 0;
  for (int bit = 0; bit < 64; ++bit) {
    const uint64_t location = uint64_t{1} << bit;
    uint64_t sum = carry + ((original & location) >> bit) + ((add & location) >> bit);
    carry = (sum & 2) >> 1;
    sum &= 1;
    if (sum != 0) result |= location;
    carry = (carry != 0 && (mask & location) == 0) ? 1 : 0;
  }
  return result;
}

TEST(IwarpAtomicTest, GivenFetchAddsWhenAppliedThenAsTheRfcsProgramDoes) {
  std::mt19937_64 random(3);
  const std::array<uint64_t, 6> masks = {0,          ~uint64_t{0},       uint64_t{1} << 63,
                                         0x80008000, 0x8080808080808080, 0x0000000080000000};
  for (int round = 0; round < 3000; ++round) {
    AtomicRequest request;
    request.operand = random();
    request.mask = round % 2 != 0 ? random() : masks[static_cast<size_t>(round / 2 % 6)];
    const uint64_t original = random();
    ASSERT_EQ(ApplyAtomic(request, original),
              FetchAddOfTheRfc(original, request.operand, request.mask));
  }
}

TEST(IwarpAtomicTest, GivenNoMaskWhenAddedThenAPlainSum) {
  AtomicRequest request;
  request.operand = 3;
  EXPECT_EQ(ApplyAtomic(request, ~uint64_t{0}), 2u);
}

TEST(IwarpAtomicTest, GivenACompareSwapWhenItMatchesThenMaskedBitsChangeAndOtherwiseNone) {
  AtomicRequest request;
  request.operation = AtomicOperation::kCompareSwap;
  request.operand = 0x1111;
  request.mask = 0x00ff;
  request.compare = 0xab00;
  request.compare_mask = 0xff00;
  EXPECT_EQ(ApplyAtomic(request, 0xabcd), 0xab11u);
  EXPECT_EQ(ApplyAtomic(request, 0xaacd), 0xaacdu);
}

// --- Terminate

TEST(IwarpTerminateTest, GivenAllCausesWhenCodedThenTheyComeBackAndNoTwoAreAlike) {
  std::set<int> codes;
  for (int i = 1; i < static_cast<int>(Cause::kUnknown); ++i) {
    const auto cause = static_cast<Cause>(i);
    const CauseCode code = CodeOf(cause);
    EXPECT_EQ(CauseOf(code), cause) << CauseName(cause);
    EXPECT_TRUE(codes.insert(code.layer << 16 | code.type << 8 | code.code).second);
    EXPECT_LE(code.layer, kLayerMpa);
  }
  EXPECT_EQ(CauseOf({3, 0, 0}), Cause::kUnknown);
  EXPECT_EQ(CauseOf({0, 1, 5}), Cause::kUnknown);
  EXPECT_EQ(CauseOf({0, 0, 0x77}), Cause::kRdmapCatastrophic);  // "any value is acceptable"
}

TEST(IwarpTerminateTest, GivenTheRfcsNumbersWhenLookedUpThenTheirCauses) {
  EXPECT_EQ(CauseOf({0, 1, 0x02}), Cause::kAccessViolation);
  EXPECT_EQ(CauseOf({0, 2, 0x06}), Cause::kUnexpectedOpcode);
  EXPECT_EQ(CauseOf({1, 1, 0x00}), Cause::kTaggedInvalidStag);
  EXPECT_EQ(CauseOf({1, 2, 0x05}), Cause::kMessageTooLong);
  EXPECT_EQ(CauseOf({2, 0, 0x02}), Cause::kBadCrc);
  EXPECT_EQ(CauseOf({2, 0, 0x07}), Cause::kNoMatchingRtr);
}

TEST(IwarpTerminateTest, GivenLayerAndTypeExchangedWhenGuessedThenTheCause) {
  EXPECT_EQ(GuessCause({0, 2, 0x02}), Cause::kBadCrc);  // Linux's siw
  EXPECT_EQ(GuessCause({1, 1, 0x00}), Cause::kTaggedInvalidStag);
  EXPECT_EQ(GuessCause({0, 2, 0x05}), Cause::kInvalidRdmapVersion);  // the RFC's meaning first
  EXPECT_EQ(GuessCause({7, 7, 7}), Cause::kUnknown);
}

DdpHeader UntaggedDdp() {
  DdpHeader ddp;
  ddp.last = true;
  ddp.ulp_control = RdmapControl(Opcode::kReadRequest);
  ddp.queue = 1;
  ddp.message_sequence = 4;
  return ddp;
}

TEST(IwarpTerminateTest, GivenAProtectionErrorOfAReadWhenEmittedThenBytesAreThoseOfFigure7) {
  const DdpHeader ddp = UntaggedDdp();
  const ReadRequest request{1, 2, 3, 4, 5};
  const Terminate terminate = MakeTerminate(Cause::kInvalidStag, &ddp, 46, &request);
  ByteVector out(TerminateBytes(terminate));
  ASSERT_EQ(out.size(), kMaxTerminateBytes);
  EXPECT_EQ(EmitTerminate(terminate, out), out.size());
  EXPECT_EQ((ByteVector{out.begin(), out.begin() + 8}),
            (ByteVector{0x01, 0x00, 0xe0, 0x00, 0x00, 46, 0x41, 0x41}));
  Terminate parsed;
  EXPECT_EQ(ParseTerminate(out, &parsed), TerminateError::kNone);
  EXPECT_EQ(parsed, terminate);
}

TEST(IwarpTerminateTest, GivenACauseWhenMadeThenItQuotesWhatFigure10Has) {
  const DdpHeader ddp = UntaggedDdp();
  const ReadRequest request;
  for (int i = 1; i < static_cast<int>(Cause::kUnknown); ++i) {
    const auto cause = static_cast<Cause>(i);
    const CauseCode code = CodeOf(cause);
    const Terminate terminate = MakeTerminate(cause, &ddp, 46, &request);
    const bool quotes = code.layer != kLayerMpa && code.type != 0;
    EXPECT_EQ(terminate.has_ddp, quotes) << CauseName(cause);
    EXPECT_EQ(terminate.has_length, quotes) << CauseName(cause);
    EXPECT_EQ(terminate.has_request, code.layer == 0 && code.type == 1) << CauseName(cause);
    EXPECT_FALSE(MakeTerminate(cause, nullptr, 0, &request).has_request);
  }
}

TEST(IwarpTerminateTest, GivenAnyTerminateWhenEmittedAndParsedThenTheSame) {
  for (int flags = 0; flags < 16; ++flags) {
    Terminate terminate;
    terminate.code = {2, 0, 2};
    terminate.has_length = (flags & 1) != 0;
    terminate.has_ddp = (flags & 2) != 0;
    terminate.has_request = (flags & 4) != 0 && terminate.has_ddp && (flags & 8) == 0;
    if (terminate.has_ddp) terminate.ddp.tagged = (flags & 8) != 0;
    if (terminate.has_ddp || terminate.has_length) terminate.segment_length = 99;
    if (terminate.has_request) terminate.request.length = 5;
    ByteVector out(TerminateBytes(terminate));
    EXPECT_EQ(EmitTerminate(terminate, out), out.size());
    Terminate parsed;
    EXPECT_EQ(ParseTerminate(out, &parsed), TerminateError::kNone);
    EXPECT_EQ(parsed, terminate);
    for (size_t size = 0; size < out.size(); ++size) {
      EXPECT_EQ(ParseTerminate(std::span(out).first(size), &parsed), TerminateError::kTooShort);
    }
  }
}

TEST(IwarpTerminateTest, GivenHeadersThatCannotBeWhenParsedThenRefusedByName) {
  ByteVector bytes(kMaxTerminateBytes);
  Terminate parsed;
  bytes[2] = 0x20;
  EXPECT_EQ(ParseTerminate(bytes, &parsed), TerminateError::kHeaderWithoutDdp);
  bytes[2] = 0xe0;
  bytes[6] = 0x81;
  EXPECT_EQ(ParseTerminate(bytes, &parsed), TerminateError::kNotReadRequest);
  ExpectNames<TerminateError>(4, TerminateErrorName);
}

TEST(IwarpTerminateTest, GivenReservedBitsWhenParsedThenTheyAreIgnored) {
  const ByteVector bytes = {0x20, 0x02, 0x1f, 0xff};
  Terminate parsed;
  EXPECT_EQ(ParseTerminate(bytes, &parsed), TerminateError::kNone);
  EXPECT_EQ(CauseOf(parsed.code), Cause::kBadCrc);
}

// --- Startup frames

ByteVector Frame(std::string_view key, uint8_t flags, uint8_t revision,
                 const ByteVector& private_data = {}) {
  ByteVector out(key.begin(), key.end());
  out.push_back(flags);
  out.push_back(revision);
  out.push_back(static_cast<uint8_t>(private_data.size() >> 8));
  out.push_back(static_cast<uint8_t>(private_data.size()));
  out.insert(out.end(), private_data.begin(), private_data.end());
  return out;
}
constexpr std::string_view kRequest = "MPA ID Req Frame";
constexpr std::string_view kReply = "MPA ID Rep Frame";

struct IwarpStartupFrameTest : ::testing::Test {
  StartupFrame frame;
  size_t size = 0;
  StartupError Parse(const ByteVector& bytes, bool reply = false) {
    return ParseStartup(bytes, reply, &frame, &size);
  }
};

TEST_F(IwarpStartupFrameTest, GivenARequestWhenEmittedThenBytesAreThoseOfFigure8) {
  const ByteVector data = {1, 2, 3};
  StartupFrame request;
  request.markers = true;
  request.crc = true;
  request.private_data = data;
  ByteVector out(StartupBytes(request));
  EXPECT_EQ(EmitStartup(request, out), out.size());
  EXPECT_EQ(out, Frame(kRequest, 0xc0, 1, data));
}

TEST_F(IwarpStartupFrameTest, GivenAnEnhancedReplyWhenEmittedThenItsDataComeFirst) {
  const ByteVector data = {9};
  StartupFrame reply;
  reply.reply = true;
  reply.reject = true;
  reply.enhanced = true;
  reply.revision = kRevision2;
  reply.depths = {0x0123, 0x2456, true, kReadyBySend | kReadyByRead};
  reply.private_data = data;
  ByteVector out(StartupBytes(reply));
  EmitStartup(reply, out);
  EXPECT_EQ(out, Frame(kReply, 0x30, 2, {0xc1, 0x23, 0x64, 0x56, 9}));
}

TEST_F(IwarpStartupFrameTest, GivenFlagsWhenEmittedAndParsedThenTheSame) {
  const ByteVector data(17, 5);
  for (int flags = 0; flags < 32; ++flags) {
    StartupFrame sent;
    sent.reply = (flags & 1) != 0;
    sent.markers = (flags & 2) != 0;
    sent.crc = (flags & 4) != 0;
    sent.reject = sent.reply && (flags & 8) != 0;
    sent.enhanced = (flags & 16) != 0;
    sent.revision = sent.enhanced ? kRevision2 : kRevision1;
    if (sent.enhanced) sent.depths = {7, 8, true, static_cast<uint8_t>(flags & 7)};
    sent.private_data = data;
    ByteVector out(StartupBytes(sent));
    EmitStartup(sent, out);
    ASSERT_EQ(Parse(out, sent.reply), StartupError::kNone);
    EXPECT_EQ(size, out.size());
    EXPECT_EQ(frame.markers, sent.markers);
    EXPECT_EQ(frame.crc, sent.crc);
    EXPECT_EQ(frame.reject, sent.reject);
    EXPECT_EQ(frame.enhanced, sent.enhanced);
    EXPECT_EQ(frame.revision, sent.revision);
    EXPECT_EQ(frame.depths, sent.depths);
    EXPECT_EQ((ByteVector{frame.private_data.begin(), frame.private_data.end()}), data);
  }
}

TEST_F(IwarpStartupFrameTest, GivenAPartWhenParsedThenTooShortAndSaidHowMuchIsNeeded) {
  const ByteVector whole = Frame(kRequest, 0x40, 1, ByteVector(100));
  for (size_t have = 0; have < whole.size(); ++have) {
    ASSERT_EQ(Parse({whole.begin(), whole.begin() + static_cast<int>(have)}),
              StartupError::kTooShort);
    EXPECT_EQ(size, have < 20 ? 20u : 120u);
  }
  EXPECT_EQ(Parse(whole), StartupError::kNone);
}

TEST_F(IwarpStartupFrameTest, GivenAnotherKeyWhenItsFirstByteComesThenBadKey) {
  EXPECT_EQ(Parse({'X'}), StartupError::kBadKey);
  ByteVector bytes = Frame(kRequest, 0, 1);
  bytes[15] = 'f';
  EXPECT_EQ(Parse(bytes), StartupError::kBadKey);
}

TEST_F(IwarpStartupFrameTest, GivenTheOtherRolesKeyWhenParsedThenSameRole) {
  EXPECT_EQ(Parse(Frame(kReply, 0, 1)), StartupError::kSameRole);
  EXPECT_EQ(Parse(Frame(kRequest, 0, 1), true), StartupError::kSameRole);
}

TEST_F(IwarpStartupFrameTest, GivenRevisionsWhenParsedThenOneAndTwoAreTaken) {
  for (int revision = 0; revision < 256; ++revision) {
    EXPECT_EQ(Parse(Frame(kRequest, 0, static_cast<uint8_t>(revision))),
              revision == 1 || revision == 2 ? StartupError::kNone : StartupError::kBadRevision);
  }
}

TEST_F(IwarpStartupFrameTest, GivenPrivateDataWhenMoreThan512BytesThenTooLong) {
  EXPECT_EQ(Parse(Frame(kRequest, 0, 1, ByteVector(512))), StartupError::kNone);
  EXPECT_EQ(Parse(Frame(kRequest, 0, 1, ByteVector(513))), StartupError::kTooLong);
}

TEST_F(IwarpStartupFrameTest, GivenTheEnhancedFlagWhenDataAreTooFewThenRefused) {
  EXPECT_EQ(Parse(Frame(kRequest, 0x10, 2, ByteVector(3))), StartupError::kTooFewEnhanced);
  EXPECT_EQ(Parse(Frame(kRequest, 0x10, 2, ByteVector(4))), StartupError::kNone);
}

TEST_F(IwarpStartupFrameTest, GivenTheEnhancedFlagWhenRevisionIsOneThenItIsReserved) {
  EXPECT_EQ(Parse(Frame(kRequest, 0x1f, 1, {1, 2})), StartupError::kNone);
  EXPECT_FALSE(frame.enhanced);
  EXPECT_EQ(frame.private_data.size(), 2u);
}

TEST_F(IwarpStartupFrameTest, GivenARequestsRejectBitWhenParsedThenItIsNotLookedAt) {
  EXPECT_EQ(Parse(Frame(kRequest, 0x20, 1)), StartupError::kNone);
  EXPECT_FALSE(frame.reject);
}

TEST_F(IwarpStartupFrameTest, GivenNoPeerToPeerWhenRtrsAreOfferedThenTheyAreIgnored) {
  ASSERT_EQ(Parse(Frame(kRequest, 0x10, 2, {0x40, 1, 0xc0, 2})), StartupError::kNone);
  EXPECT_EQ(frame.depths, (EnhancedData{1, 2, false, 0}));
  StartupFrame sent;
  sent.enhanced = true;
  sent.revision = kRevision2;
  sent.depths = {1, 2, false, 7};
  ByteVector out(StartupBytes(sent));
  EmitStartup(sent, out);
  EXPECT_EQ(out, Frame(kRequest, 0x10, 2, {0, 1, 0, 2}));
}

TEST_F(IwarpStartupFrameTest, GivenAllErrorsWhenNamedThenTheNamesDiffer) {
  ExpectNames<StartupError>(10, StartupErrorName);
  ExpectNames<DdpError>(3, DdpErrorName);
}

}  // namespace
}  // namespace qpip::iwarp

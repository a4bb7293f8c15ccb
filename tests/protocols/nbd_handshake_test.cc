#include "protocols/nbd/handshake.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/common/byte_order.h"
#include "protocols/nbd/transmission.h"

namespace qpip::nbd {
namespace {

std::string_view View(Text text) { return {text.data(), text.size()}; }
Text AsText(std::string_view view) { return view; }

std::vector<uint8_t> Bytes(std::string_view view) { return {view.begin(), view.end()}; }

std::vector<uint8_t> Emitted(const InfoRequest& request) {
  std::vector<uint8_t> bytes(InfoRequestSize(request));
  EXPECT_EQ(EmitInfoRequest(request, bytes), bytes.size());
  return bytes;
}

std::vector<uint8_t> Emitted(const ServerEntry& entry) {
  std::vector<uint8_t> bytes(ServerEntrySize(entry));
  EXPECT_EQ(EmitServerEntry(entry, bytes), bytes.size());
  return bytes;
}

// --- Greeting

TEST(NbdGreetingTest, GivenTheDefaultWhenEmittedThenItIsTheSpecificationsBytes) {
  std::array<uint8_t, kGreetingBytes> bytes;
  EmitGreeting(Greeting{}, bytes);
  EXPECT_EQ(std::string(bytes.begin(), bytes.end()), std::string("NBDMAGICIHAVEOPT\x00\x03", 18));
}

TEST(NbdGreetingTest, GivenAnyFlagsWhenEmittedAndParsedThenTheyAreTheSame) {
  for (const uint16_t flags : {0, 1, 2, 3, 0x8001, 0xffff}) {
    std::array<uint8_t, kGreetingBytes> bytes;
    EmitGreeting({.handshake_flags = flags}, bytes);
    Greeting greeting;
    ASSERT_EQ(ParseGreeting(bytes, &greeting), HandshakeError::kNone);
    EXPECT_EQ(greeting.handshake_flags, flags);
  }
}

TEST(NbdGreetingTest, GivenAnythingElseWhenParsedThenTheReasonIsNamed) {
  std::array<uint8_t, kGreetingBytes> good;
  EmitGreeting(Greeting{}, good);
  Greeting greeting;
  for (size_t size = 0; size < kGreetingBytes; ++size) {
    EXPECT_EQ(ParseGreeting(std::span(good).first(size), &greeting), HandshakeError::kTooShort);
  }
  for (size_t at = 0; at < 16; ++at) {
    std::array<uint8_t, kGreetingBytes> bytes = good;
    bytes[at] ^= 0x20;
    EXPECT_EQ(ParseGreeting(bytes, &greeting), HandshakeError::kBadMagic) << at;
  }
  std::array<uint8_t, kGreetingBytes> oldstyle = good;
  StoreBe64(&oldstyle[8], kOldstyleMagic);
  EXPECT_EQ(ParseGreeting(oldstyle, &greeting), HandshakeError::kOldstyle);
}

TEST(NbdClientFlagsTest, GivenFlagsWhenEmittedAndParsedThenUnknownBitsAreRefused) {
  for (const uint32_t flags : {0u, 1u, 2u, 3u, 4u, 0x80000001u}) {
    std::array<uint8_t, kClientFlagsBytes> bytes;
    EmitClientFlags(flags, bytes);
    uint32_t parsed = 0;
    EXPECT_EQ(ParseClientFlags(bytes, &parsed),
              flags <= 3 ? HandshakeError::kNone : HandshakeError::kUnknownFlags);
    EXPECT_EQ(parsed, flags);
    EXPECT_EQ(ParseClientFlags(std::span(bytes).first(3), &parsed), HandshakeError::kTooShort);
  }
}

// --- Option requests

TEST(NbdOptionTest, GivenAHeaderWhenEmittedAndParsedThenItIsTheSame) {
  std::array<uint8_t, kOptionHeaderBytes> bytes;
  EmitOptionHeader({.option = kOptionGo, .length = 0x01020304}, bytes);
  EXPECT_EQ(std::string(bytes.begin(), bytes.begin() + 8), "IHAVEOPT");
  OptionHeader header;
  ASSERT_EQ(ParseOptionHeader(bytes, &header), HandshakeError::kNone);
  EXPECT_EQ(header.option, kOptionGo);
  EXPECT_EQ(header.length, 0x01020304u);

  EXPECT_EQ(ParseOptionHeader(std::span(bytes).first(15), &header), HandshakeError::kTooShort);
  bytes[7] = 'X';
  EXPECT_EQ(ParseOptionHeader(bytes, &header), HandshakeError::kBadMagic);
}

TEST(NbdInfoRequestTest, GivenNameAndTypesWhenEmittedAndParsedThenTheyAreTheSame) {
  for (const std::string& name : {std::string(), std::string("disk"), std::string(4096, 'n')}) {
    for (const uint32_t wanted : {0u, InfoBit(kInfoBlockSize), 0xfu, 0x80000001u, 0xffffffffu}) {
      const std::vector<uint8_t> bytes = Emitted({.name = AsText(name), .wanted = wanted});
      InfoRequest request;
      ASSERT_EQ(ParseInfoRequest(bytes, &request), HandshakeError::kNone);
      EXPECT_EQ(View(request.name), name);
      EXPECT_EQ(request.wanted, wanted);
      EXPECT_EQ(request.Wants(kInfoBlockSize), (wanted & 8) != 0);
    }
  }
}

TEST(NbdInfoRequestTest, GivenWhatAClientSendsForGoWhenParsedThenItIsUnderstood) {
  // Name "a", one information request: block size.
  const std::vector<uint8_t> bytes = {0, 0, 0, 1, 'a', 0, 1, 0, 3};
  InfoRequest request;
  ASSERT_EQ(ParseInfoRequest(bytes, &request), HandshakeError::kNone);
  EXPECT_EQ(View(request.name), "a");
  EXPECT_TRUE(request.Wants(kInfoBlockSize));
  EXPECT_FALSE(request.Wants(kInfoExport));
}

TEST(NbdInfoRequestTest, GivenTypesThatNobodyKnowsWhenParsedThenTheyAreIgnored) {
  const std::vector<uint8_t> bytes = {0, 0, 0, 0, 0, 3, 0xff, 0xff, 0, 32, 0, 1};
  InfoRequest request;
  ASSERT_EQ(ParseInfoRequest(bytes, &request), HandshakeError::kNone);
  EXPECT_EQ(request.wanted, InfoBit(kInfoName));
}

TEST(NbdInfoRequestTest, GivenLengthsThatDisagreeWhenParsedThenTheReasonIsNamed) {
  const auto parse = [](std::vector<uint8_t> bytes) {
    InfoRequest request;
    return ParseInfoRequest(bytes, &request);
  };
  EXPECT_EQ(parse({}), HandshakeError::kTooShort);
  EXPECT_EQ(parse({0, 0, 0}), HandshakeError::kTooShort);
  EXPECT_EQ(parse({0, 0, 0, 0}), HandshakeError::kTooShort);            // no count
  EXPECT_EQ(parse({0, 0, 0, 1, 'a', 0}), HandshakeError::kTooShort);    // half a count
  EXPECT_EQ(parse({0, 0, 0, 2, 'a'}), HandshakeError::kBadLength);      // name runs over
  EXPECT_EQ(parse({0, 0, 0, 0, 0, 1}), HandshakeError::kBadLength);     // a type is missing
  EXPECT_EQ(parse({0, 0, 0, 0, 0, 0, 0}), HandshakeError::kBadLength);  // one byte too many
  EXPECT_EQ(parse({0, 0, 0, 0, 0, 1, 0, 3, 0}), HandshakeError::kBadLength);
  EXPECT_EQ(parse({0xff, 0xff, 0xff, 0xff, 0}), HandshakeError::kNameTooLong);

  std::vector<uint8_t> long_name(4 + 4097 + 2);
  StoreBe32(long_name.data(), 4097);
  EXPECT_EQ(parse(long_name), HandshakeError::kNameTooLong);
}

TEST(NbdExportNameTest, GivenDataWhenParsedThenAllOfItIsTheName) {
  Text name;
  ASSERT_EQ(ParseExportName(Bytes("disk"), &name), HandshakeError::kNone);
  EXPECT_EQ(name.size(), 4u);
  ASSERT_EQ(ParseExportName({}, &name), HandshakeError::kNone);
  EXPECT_TRUE(name.empty());
  EXPECT_EQ(ParseExportName(std::vector<uint8_t>(4097), &name), HandshakeError::kNameTooLong);
  EXPECT_EQ(ParseExportName(std::vector<uint8_t>(4096), &name), HandshakeError::kNone);
}

TEST(NbdExportNameTest, GivenAReplyWhenEmittedThenZeroesFollowUnlessBothSidesWaivedThem) {
  const ExportNameReply reply = {.size_bytes = 0x0102030405060708, .transmission_flags = 0x0909};
  for (const bool no_zeroes : {false, true}) {
    std::vector<uint8_t> bytes(ExportNameReplySize(no_zeroes), 0xee);
    EXPECT_EQ(bytes.size(), no_zeroes ? 10u : 134u);
    ASSERT_EQ(EmitExportNameReply(reply, no_zeroes, bytes), bytes.size());
    for (size_t at = kExportNameReplyBytes; at < bytes.size(); ++at) {
      EXPECT_EQ(bytes[at], 0) << at;
    }
    ExportNameReply parsed;
    ASSERT_EQ(ParseExportNameReply(bytes, &parsed), HandshakeError::kNone);
    EXPECT_EQ(parsed.size_bytes, reply.size_bytes);
    EXPECT_EQ(parsed.transmission_flags, reply.transmission_flags);
    EXPECT_EQ(ParseExportNameReply(std::span(bytes).first(9), &parsed), HandshakeError::kTooShort);
  }
}

// --- Option replies

TEST(NbdOptionReplyTest, GivenAHeaderWhenEmittedAndParsedThenItIsTheSame) {
  std::array<uint8_t, kOptionReplyHeaderBytes> bytes;
  EmitOptionReplyHeader({.option = kOptionList, .reply = kReplyErrUnsup, .length = 77}, bytes);
  EXPECT_EQ(LoadBe64(bytes.data()), 0x3e889045565a9u);
  OptionReplyHeader header;
  ASSERT_EQ(ParseOptionReplyHeader(bytes, &header), HandshakeError::kNone);
  EXPECT_EQ(header.option, kOptionList);
  EXPECT_EQ(header.reply, 0x80000001u);
  EXPECT_EQ(header.length, 77u);

  EXPECT_EQ(ParseOptionReplyHeader(std::span(bytes).first(19), &header), HandshakeError::kTooShort);
  bytes[0] = 1;
  EXPECT_EQ(ParseOptionReplyHeader(bytes, &header), HandshakeError::kBadMagic);
}

TEST(NbdOptionReplyTest, GivenRepliesWhenAskedThenOnlyThoseWithTheTopBitAreErrors) {
  for (const Reply reply : {kReplyAck, kReplyServer, kReplyInfo, kReplyMetaContext}) {
    EXPECT_FALSE(IsErrorReply(reply));
  }
  for (const Reply reply : {kReplyErrUnsup, kReplyErrPolicy, kReplyErrInvalid, kReplyErrTooBig}) {
    EXPECT_TRUE(IsErrorReply(reply));
  }
}

TEST(NbdServerEntryTest, GivenNameAndDescriptionWhenEmittedAndParsedThenTheyAreTheSame) {
  for (const std::string_view description : {"", "a disk"}) {
    const std::vector<uint8_t> bytes =
        Emitted({.name = AsText("disk"), .description = AsText(description)});
    ServerEntry entry;
    ASSERT_EQ(ParseServerEntry(bytes, &entry), HandshakeError::kNone);
    EXPECT_EQ(View(entry.name), "disk");
    EXPECT_EQ(View(entry.description), description);
  }
}

TEST(NbdServerEntryTest, GivenBadLengthsWhenParsedThenTheReasonIsNamed) {
  ServerEntry entry;
  const std::vector<uint8_t> over = {0, 0, 0, 2, 'a'};
  EXPECT_EQ(ParseServerEntry({}, &entry), HandshakeError::kTooShort);
  EXPECT_EQ(ParseServerEntry(over, &entry), HandshakeError::kBadLength);
  EXPECT_EQ(ParseServerEntry(std::vector<uint8_t>(4 + 4097), &entry), HandshakeError::kNameTooLong);
  EXPECT_EQ(ParseServerEntry(std::vector<uint8_t>(4 + 4096), &entry), HandshakeError::kNone);
}

TEST(NbdInfoTest, GivenAnExportWhenEmittedAndParsedThenItIsTheSame) {
  std::array<uint8_t, kExportInfoBytes> bytes;
  EmitExportInfo({.size_bytes = 1ull << 40, .transmission_flags = kHasFlags | kSendFlush}, bytes);
  const std::array<uint8_t, kExportInfoBytes> expected = {0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 5};
  EXPECT_EQ(bytes, expected);
  ExportInfo info;
  ASSERT_EQ(ParseExportInfo(bytes, &info), HandshakeError::kNone);
  EXPECT_EQ(info.size_bytes, 1ull << 40);
  EXPECT_EQ(info.transmission_flags, kHasFlags | kSendFlush);

  EXPECT_EQ(ParseExportInfo(std::span(bytes).first(11), &info), HandshakeError::kBadLength);
  EXPECT_EQ(ParseExportInfo(std::span(bytes).first(1), &info), HandshakeError::kTooShort);
  bytes[1] = kInfoBlockSize;
  EXPECT_EQ(ParseExportInfo(bytes, &info), HandshakeError::kWrongInfo);
}

TEST(NbdInfoTest, GivenBlockSizesWhenEmittedAndParsedThenOnlySensibleOnesAreAccepted) {
  struct Case {
    BlockSizeInfo sizes;
    HandshakeError error;
  };
  const Case cases[] = {
      {{}, HandshakeError::kNone},
      {{.minimum = 1, .preferred = 512, .maximum = 0xffffffff}, HandshakeError::kNone},
      {{.minimum = 65536, .preferred = 65536, .maximum = 65536}, HandshakeError::kNone},
      {{.minimum = 512, .preferred = 4096, .maximum = 4096 + 512}, HandshakeError::kNone},
      {{.minimum = 0, .preferred = 4096, .maximum = 4096}, HandshakeError::kBadBlockSize},
      {{.minimum = 3, .preferred = 4096, .maximum = 4098}, HandshakeError::kBadBlockSize},
      {{.minimum = 131072, .preferred = 131072, .maximum = 131072}, HandshakeError::kBadBlockSize},
      {{.minimum = 1, .preferred = 256, .maximum = 4096}, HandshakeError::kBadBlockSize},
      {{.minimum = 1, .preferred = 4097, .maximum = 8192}, HandshakeError::kBadBlockSize},
      {{.minimum = 4096, .preferred = 512, .maximum = 8192}, HandshakeError::kBadBlockSize},
      {{.minimum = 512, .preferred = 4096, .maximum = 2048}, HandshakeError::kBadBlockSize},
      {{.minimum = 512, .preferred = 4096, .maximum = 5000}, HandshakeError::kBadBlockSize},
  };
  for (const Case& c : cases) {
    std::array<uint8_t, kBlockSizeInfoBytes> bytes;
    EmitBlockSizeInfo(c.sizes, bytes);
    BlockSizeInfo info;
    EXPECT_EQ(ParseBlockSizeInfo(bytes, &info), c.error)
        << c.sizes.minimum << " " << c.sizes.preferred << " " << c.sizes.maximum;
    EXPECT_EQ(info.minimum, c.sizes.minimum);
    EXPECT_EQ(info.preferred, c.sizes.preferred);
    EXPECT_EQ(info.maximum, c.sizes.maximum);
  }
}

TEST(NbdInfoTest, GivenTextWhenEmittedAndParsedThenItIsTheSame) {
  for (const InfoType type : {kInfoName, kInfoDescription}) {
    std::vector<uint8_t> bytes(TextInfoSize(AsText("hello")));
    ASSERT_EQ(EmitTextInfo(type, AsText("hello"), bytes), bytes.size());
    Text text;
    ASSERT_EQ(ParseTextInfo(bytes, type, &text), HandshakeError::kNone);
    EXPECT_EQ(View(text), "hello");
    EXPECT_EQ(ParseTextInfo(bytes, kInfoExport, &text), HandshakeError::kWrongInfo);
    EXPECT_EQ(ParseTextInfo({}, type, &text), HandshakeError::kTooShort);
    bytes.resize(2 + 4097);
    EXPECT_EQ(ParseTextInfo(bytes, type, &text), HandshakeError::kNameTooLong);
  }
}

// --- Names

TEST(NbdNamesTest, GivenKnownAndUnknownValuesWhenNamedThenNamesAreRight) {
  EXPECT_STREQ(OptionName(kOptionGo), "go");
  EXPECT_STREQ(OptionName(0), "unknown");
  EXPECT_STREQ(ReplyName(kReplyErrTooBig), "err_too_big");
  EXPECT_STREQ(ReplyName(0x8000ffff), "unknown");
  EXPECT_STREQ(InfoTypeName(kInfoBlockSize), "block_size");
  EXPECT_STREQ(InfoTypeName(9), "unknown");
  std::set<std::string> names;
  for (int error = 0; error <= static_cast<int>(HandshakeError::kBadBlockSize); ++error) {
    names.insert(HandshakeErrorName(static_cast<HandshakeError>(error)));
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(HandshakeError::kBadBlockSize) + 1);
  EXPECT_EQ(names.count("unknown"), 0u);
}

}  // namespace
}  // namespace qpip::nbd

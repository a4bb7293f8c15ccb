// VCONN's headers and hellos: every field, every refusal; cookies that match.
#include <gtest/gtest.h>

#include <array>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "protocols/vconn/message.h"
#include "protocols/vconn/pending.h"

namespace qpip::vconn {
namespace {

using ByteVector = std::vector<uint8_t>;

Header AnyHeader() {
  Header header;
  header.kind = Kind::kAnswer;
  header.flags = kMore;
  header.credits = 0x0102;
  header.request_bytes = 3;
  header.data_bytes = 5;
  header.cookie = 0x1112131415161718;
  return header;
}

ByteVector Emitted(const Header& header) {
  ByteVector out(kHeaderBytes);
  EmitHeader(header, std::span(out).first<kHeaderBytes>());
  out.resize(MessageBytes(header));
  return out;
}

Refusal Parse(const ByteVector& message, Header* header = nullptr) {
  Header parsed;
  return ParseHeader(message, message.size(), header != nullptr ? header : &parsed);
}

TEST(VconnMessage, GivenAHeaderWhenEmittedThenFieldsLieWhereTheDrawingSays) {
  ByteVector out = Emitted(AnyHeader());
  out.resize(kHeaderBytes);
  EXPECT_EQ(out, (ByteVector{5, 1, 1,    2,    0,    0,    0,    3,    0,    0,
                             0, 5, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18}));
}

TEST(VconnMessage, GivenAMessageWhenParsedThenItsHeaderComesBack) {
  Header parsed;
  EXPECT_EQ(Parse(Emitted(AnyHeader()), &parsed), Refusal::kNone);
  EXPECT_EQ(parsed, AnyHeader());
}

TEST(VconnMessage, GivenFewerBytesThanAHeaderWhenParsedThenTooShort) {
  ByteVector message = Emitted(AnyHeader());
  for (size_t bytes = 0; bytes < kHeaderBytes; ++bytes) {
    Header header;
    EXPECT_EQ(ParseHeader(std::span(message).first(bytes), message.size(), &header),
              Refusal::kTooShort);
    EXPECT_EQ(ParseHeader(message, bytes, &header), Refusal::kTooShort);
  }
}

TEST(VconnMessage, GivenAKindThatIsNoneWhenParsedThenItIsRefused) {
  for (const int code : {0, 6, 7, 255}) {
    ByteVector message = Emitted(AnyHeader());
    message[offset::kKind] = static_cast<uint8_t>(code);
    EXPECT_EQ(Parse(message), Refusal::kBadKind) << code;
  }
}

TEST(VconnMessage, GivenFlagsThatTheKindHasNotWhenParsedThenTheyAreRefused) {
  Header header = AnyHeader();
  header.flags = 2;
  EXPECT_EQ(Parse(Emitted(header)), Refusal::kBadFlags);
  header.flags = kMore;
  for (const Kind kind : {Kind::kMessage, Kind::kRequest}) {
    header.kind = kind;
    EXPECT_EQ(Parse(Emitted(header)), Refusal::kBadFlags) << KindName(kind);
  }
}

TEST(VconnMessage, GivenALengthThatIsNotTheHeadersWhenParsedThenItIsRefused) {
  ByteVector message = Emitted(AnyHeader());
  message.push_back(0);
  EXPECT_EQ(Parse(message), Refusal::kBadLength);
  message.resize(message.size() - 2);
  EXPECT_EQ(Parse(message), Refusal::kBadLength);
  // Lengths whose sum would wrap in 32 bits.
  Header header = AnyHeader();
  message = Emitted(header);
  header.request_bytes = 0xffffffff;
  header.data_bytes = 9;
  EmitHeader(header, std::span(message).first<kHeaderBytes>());
  EXPECT_EQ(Parse(message), Refusal::kBadLength);
}

TEST(VconnMessage, GivenCreditsWithAPartWhenParsedThenTheyAreRefused) {
  Header header;
  header.kind = Kind::kCredit;
  header.credits = 7;
  EXPECT_EQ(Parse(Emitted(header)), Refusal::kNone);
  header.data_bytes = 1;
  EXPECT_EQ(Parse(Emitted(header)), Refusal::kBadLength);
}

TEST(VconnMessage, GivenAHelloWhenParsedThenItsLimitsComeBack) {
  std::array<uint8_t, kHelloBytes> hello;
  EmitHello({.window = 1024, .message_bytes = 0x00fedcba}, hello);
  Limits limits;
  EXPECT_EQ(ParseHello(hello, &limits), Refusal::kNone);
  EXPECT_EQ(limits, (Limits{1024, 0x00fedcba}));
}

TEST(VconnMessage, GivenALongerHelloWhenParsedThenWhatIsBehindIsForLaterVersions) {
  std::array<uint8_t, kHelloBytes> hello;
  EmitHello({.window = 2, .message_bytes = 64}, hello);
  ByteVector longer(hello.begin(), hello.end());
  longer.resize(kHelloBytes + 4);
  longer[offset::kRequestBytes + 3] += 4;
  Limits limits;
  EXPECT_EQ(ParseHello(longer, &limits), Refusal::kNone);
  EXPECT_EQ(limits, (Limits{2, 64}));
}

TEST(VconnMessage, GivenWhatIsNoHelloWhenParsedThenItSaysSo) {
  Limits limits;
  // An NBD server's greeting, a short message, another cookie, another kind.
  const std::string greeting = "NBDMAGICIHAVEOPT\0\3";
  EXPECT_EQ(
      ParseHello({reinterpret_cast<const uint8_t*>(greeting.data()), greeting.size()}, &limits),
      Refusal::kNotHello);
  std::array<uint8_t, kHelloBytes> hello;
  EmitHello({}, hello);
  EXPECT_EQ(ParseHello(std::span(hello).first(kHelloBytes - 1), &limits), Refusal::kNotHello);
  ++hello[offset::kCookie];
  EXPECT_EQ(ParseHello(hello, &limits), Refusal::kNotHello);
  --hello[offset::kCookie];
  hello[offset::kKind] = static_cast<uint8_t>(Kind::kMessage);
  EXPECT_EQ(ParseHello(hello, &limits), Refusal::kNotHello);
}

TEST(VconnMessage, GivenAnotherVersionOrLimitsOutOfRangeWhenParsedThenTheyAreRefused) {
  std::array<uint8_t, kHelloBytes> hello;
  Limits limits;
  EmitHello({}, hello);
  ++hello[offset::kVersion + 1];
  EXPECT_EQ(ParseHello(hello, &limits), Refusal::kBadVersion);
  for (const Limits bad : {Limits{1, 4096}, Limits{1025, 4096}, Limits{0, 4096}, Limits{2, 63},
                           Limits{2, kMostMessageBytes + 1}}) {
    EmitHello(bad, hello);
    EXPECT_EQ(ParseHello(hello, &limits), Refusal::kBadLimits) << bad.window;
  }
}

TEST(VconnMessage, GivenNamesWhenListedThenTheyDiffer) {
  std::set<std::string> names;
  constexpr int kRefusals = static_cast<int>(Refusal::kUnknownCookie) + 1;
  for (int i = 0; i < kRefusals; ++i) {
    names.insert(RefusalName(static_cast<Refusal>(i)));
    names.insert(RefusalText(static_cast<Refusal>(i)));
  }
  EXPECT_EQ(names.size(), 2u * kRefusals);
  EXPECT_STREQ(RefusalName(static_cast<Refusal>(kRefusals)), "unknown");
  EXPECT_STREQ(RefusalText(static_cast<Refusal>(kRefusals)), "unknown");
  EXPECT_STREQ(KindName(Kind::kCredit), "credit");
  EXPECT_STREQ(KindName(static_cast<Kind>(0)), "unknown");
}

// --- Cookies

TEST(VconnPending, GivenRequestsInAnyOrderWhenAnsweredThenEachGetsItsOwn) {
  std::array<PendingRequest, 8> slots;
  PendingRequests pending(slots);
  std::mt19937_64 random(1);
  std::vector<std::pair<uint64_t, uint64_t>> waiting;  // cookie, context
  std::set<uint64_t> ever;
  for (uint64_t context = 0; context < 10000;) {
    if (!pending.full() && random() % 2 == 0) {
      waiting.emplace_back(pending.Add(context), context);
      EXPECT_TRUE(ever.insert(waiting.back().first).second) << "a cookie was used twice";
      ++context;
    } else if (!waiting.empty()) {
      const size_t at = random() % waiting.size();
      uint64_t got = 0;
      const bool last = random() % 3 != 0;
      ASSERT_TRUE(pending.Match(waiting[at].first, last, &got));
      EXPECT_EQ(got, waiting[at].second);
      if (last) waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(at));
    }
    EXPECT_EQ(pending.waiting(), waiting.size());
    EXPECT_EQ(pending.full(), waiting.size() == slots.size());
  }
}

TEST(VconnPending, GivenACookieThatIsOverOrWasNeverWhenAnsweredThenItMatchesNothing) {
  std::array<PendingRequest, 2> slots;
  PendingRequests pending(slots);
  uint64_t context = 0;
  EXPECT_FALSE(pending.Match(0, true, &context));
  const uint64_t cookie = pending.Add(5);
  EXPECT_FALSE(pending.Match(cookie + 1, true, &context));
  EXPECT_FALSE(pending.Match(cookie + 2, true, &context));
  EXPECT_FALSE(pending.Match(~uint64_t{0}, true, &context));
  EXPECT_TRUE(pending.Match(cookie, true, &context));
  EXPECT_FALSE(pending.Match(cookie, true, &context));
  // The slot is used again, the old cookie is not.
  EXPECT_NE(pending.Add(6), cookie);
  EXPECT_FALSE(pending.Match(cookie, true, &context));
}

}  // namespace
}  // namespace qpip::vconn

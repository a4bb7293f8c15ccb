#include "protocols/nbd/reply_chunk.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/common/byte_order.h"
#include "protocols/nbd/meta_context.h"

namespace qpip::nbd {
namespace {

using Bytes = std::vector<uint8_t>;

Text AsText(std::string_view view) { return view; }
std::string View(Text text) { return {text.data(), text.size()}; }

TEST(NbdReplyChunkTest, GivenFieldsWhenEmittedAndParsedThenTheyAreTheSameInBothHeaders) {
  const ReplyChunk chunk = {kChunkDone, kChunkErrorOffset, 0x1122334455667788, 0x8877665544332211,
                            0x12345678};
  for (const Headers headers : {Headers::kCompact, Headers::kExtended}) {
    Bytes bytes(ReplyChunkBytes(headers));
    ASSERT_EQ(EmitReplyChunk(chunk, headers, bytes), bytes.size());
    ReplyChunk parsed;
    ASSERT_EQ(ParseReplyChunk(bytes, headers, &parsed), TransmissionError::kNone);
    EXPECT_EQ(parsed.flags, chunk.flags);
    EXPECT_EQ(parsed.type, chunk.type);
    EXPECT_EQ(parsed.cookie, chunk.cookie);
    EXPECT_EQ(parsed.offset, headers == Headers::kExtended ? chunk.offset : 0);
    EXPECT_EQ(parsed.length, chunk.length);
    EXPECT_EQ(ParseReplyChunk(std::span(bytes).first(bytes.size() - 1), headers, &parsed),
              TransmissionError::kTooShort);
    bytes[1] ^= 1;
    EXPECT_EQ(ParseReplyChunk(bytes, headers, &parsed), TransmissionError::kBadMagic);
  }
}

TEST(NbdReplyChunkTest, GivenAStructuredChunkWhenEmittedThenItIsTheSpecificationsBytes) {
  Bytes bytes(kStructuredReplyBytes);
  EmitReplyChunk({kChunkDone, kChunkOffsetData, 7, 99, 12}, Headers::kCompact, bytes);
  EXPECT_EQ(bytes,
            (Bytes{0x66, 0x8e, 0x33, 0xef, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 12}));
}

TEST(NbdHoleChunkTest, GivenAHoleWhenEmittedAndParsedThenOnlyTwelveBytesAndSomeLengthPass) {
  std::array<uint8_t, kHoleChunkBytes + 1> bytes = {};
  EmitHoleChunk({1 << 20, 4096}, std::span(bytes).first<kHoleChunkBytes>());
  HoleChunk hole;
  const std::span<const uint8_t> all = bytes;
  ASSERT_EQ(ParseHoleChunk(all.first(12), &hole), TransmissionError::kNone);
  EXPECT_EQ(hole.offset, 1u << 20);
  EXPECT_EQ(hole.length, 4096u);
  EXPECT_EQ(ParseHoleChunk(all, &hole), TransmissionError::kBadLength);
  EXPECT_EQ(ParseHoleChunk(all.first(11), &hole), TransmissionError::kBadLength);
  EmitHoleChunk({0, 0}, std::span(bytes).first<kHoleChunkBytes>());
  EXPECT_EQ(ParseHoleChunk(all.first(12), &hole), TransmissionError::kBadLength);
}

TEST(NbdErrorChunkTest, GivenErrorsWithTextAndOffsetWhenEmittedAndParsedThenTheyAreTheSame) {
  for (const ChunkType type : {kChunkError, kChunkErrorOffset}) {
    const ErrorChunk error = {kErrorIo, AsText("the medium"), 4096};
    Bytes bytes(ErrorChunkSize(error, type));
    ASSERT_EQ(EmitErrorChunk(error, type, bytes), bytes.size());
    ErrorChunk parsed;
    ASSERT_EQ(ParseErrorChunk(bytes, type, &parsed), TransmissionError::kNone);
    EXPECT_EQ(parsed.error, kErrorIo);
    EXPECT_EQ(View(parsed.message), "the medium");
    EXPECT_EQ(parsed.offset, type == kChunkErrorOffset ? 4096u : 0u);
  }
}

TEST(NbdErrorChunkTest, GivenTextThatDoesNotFitOrNoErrorWhenParsedThenItIsRefused) {
  ErrorChunk parsed;
  const Bytes no_error = {0, 0, 0, 0, 0, 0};
  EXPECT_EQ(ParseErrorChunk(no_error, kChunkError, &parsed), TransmissionError::kBadLength);
  const Bytes long_text = {0, 0, 0, 5, 0, 2, 'x'};
  EXPECT_EQ(ParseErrorChunk(long_text, kChunkError, &parsed), TransmissionError::kBadLength);
  const Bytes no_offset = {0, 0, 0, 5, 0, 1, 'x'};
  EXPECT_EQ(ParseErrorChunk(no_offset, kChunkErrorOffset, &parsed), TransmissionError::kBadLength);
  EXPECT_EQ(ParseErrorChunk(no_offset, kChunkError, &parsed), TransmissionError::kNone);
}

TEST(NbdBlockStatusTest, GivenExtentsWhenEmittedAndParsedThenTheyAreTheSameInBothWidths) {
  const std::vector<StatusExtent> extents = {{4096, kStateHole | kStateZero}, {0xffffffff, 0}};
  for (const ChunkType type : {kChunkBlockStatus, kChunkBlockStatusExt}) {
    Bytes bytes(BlockStatusSize(extents.size(), type));
    ASSERT_EQ(EmitBlockStatus(42, extents, type, bytes), bytes.size());
    BlockStatusView view;
    ASSERT_EQ(ParseBlockStatus(bytes, type, &view), TransmissionError::kNone);
    EXPECT_EQ(view.context(), 42u);
    ASSERT_EQ(view.size(), 2u);
    EXPECT_EQ(view.at(0).length, 4096u);
    EXPECT_EQ(view.at(0).flags, kStateHole | kStateZero);
    EXPECT_EQ(view.at(1).length, 0xffffffffu);
    bytes.pop_back();
    EXPECT_EQ(ParseBlockStatus(bytes, type, &view), TransmissionError::kBadLength);
  }
}

TEST(NbdBlockStatusTest, GivenNoExtentAnEmptyOneOrAnotherCountWhenParsedThenItIsRefused) {
  BlockStatusView view;
  Bytes bytes(BlockStatusSize(1, kChunkBlockStatusExt));
  const std::vector<StatusExtent> one = {{1, 0}};
  EmitBlockStatus(1, one, kChunkBlockStatusExt, bytes);
  StoreBe32(&bytes[4], 0);  // the length alone tells
  EXPECT_EQ(ParseBlockStatus(bytes, kChunkBlockStatusExt, &view), TransmissionError::kNone);
  StoreBe32(&bytes[4], 2);
  EXPECT_EQ(ParseBlockStatus(bytes, kChunkBlockStatusExt, &view), TransmissionError::kBadLength);
  const std::span<const uint8_t> head = std::span(bytes).first(8);
  EXPECT_EQ(ParseBlockStatus(head, kChunkBlockStatusExt, &view), TransmissionError::kBadLength);
  Bytes empty(BlockStatusSize(1, kChunkBlockStatus));
  EXPECT_EQ(ParseBlockStatus(empty, kChunkBlockStatus, &view), TransmissionError::kBadLength);
}

TEST(NbdChunkNamesTest, GivenTypesWhenNamedThenErrorsAreThoseWithTheTopBit) {
  EXPECT_STREQ(ChunkTypeName(kChunkOffsetHole), "offset_hole");
  EXPECT_STREQ(ChunkTypeName(3), "unknown");
  EXPECT_TRUE(IsErrorChunk(kChunkErrorOffset));
  EXPECT_FALSE(IsErrorChunk(kChunkBlockStatusExt));
}

TEST(NbdMetaContextTest, GivenNameAndQueriesWhenEmittedAndParsedThenTheyAreTheSame) {
  const std::vector<Text> queries = {AsText("base:"), AsText("x-y:z"), AsText("")};
  Bytes bytes(MetaContextRequestSize(AsText("disk"), queries));
  ASSERT_EQ(EmitMetaContextRequest(AsText("disk"), queries, bytes), bytes.size());
  MetaContextRequest request;
  ASSERT_EQ(ParseMetaContextRequest(bytes, &request), HandshakeError::kNone);
  EXPECT_EQ(View(request.export_name()), "disk");
  std::vector<std::string> got;
  request.ForEachQuery([&](Text query) { got.push_back(View(query)); });
  EXPECT_EQ(got, (std::vector<std::string>{"base:", "x-y:z", ""}));
}

TEST(NbdMetaContextTest, GivenLengthsThatDisagreeWhenParsedThenItIsRefused) {
  const std::vector<Text> queries = {AsText("base:allocation")};
  Bytes good(MetaContextRequestSize(AsText("a"), queries));
  EmitMetaContextRequest(AsText("a"), queries, good);
  MetaContextRequest request;
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_NE(ParseMetaContextRequest(std::span(good).first(size), &request),
              HandshakeError::kNone);
  }
  Bytes more = good;
  more.push_back(0);
  EXPECT_EQ(ParseMetaContextRequest(more, &request), HandshakeError::kBadLength);
  StoreBe32(&good[5], 0xffffffff);
  EXPECT_EQ(ParseMetaContextRequest(good, &request), HandshakeError::kTooShort);
}

TEST(NbdMetaContextTest, GivenAContextWhenEmittedAndParsedThenItIsTheSame) {
  const MetaContext context = {7, AsText(kBaseAllocation).first(15)};
  Bytes bytes(MetaContextSize(context));
  ASSERT_EQ(EmitMetaContext(context, bytes), bytes.size());
  MetaContext parsed;
  ASSERT_EQ(ParseMetaContext(bytes, &parsed), HandshakeError::kNone);
  EXPECT_EQ(parsed.id, 7u);
  EXPECT_EQ(View(parsed.name), "base:allocation");
  EXPECT_EQ(ParseMetaContext(std::span(bytes).first(3), &parsed), HandshakeError::kTooShort);
}

TEST(NbdMetaContextTest, GivenQueriesThenTheNamespaceStandsForAllOfItOnlyWhenListing) {
  const Text name = AsText("base:allocation");
  EXPECT_TRUE(QueryMatches(AsText("base:allocation"), name, false));
  EXPECT_TRUE(QueryMatches(AsText("base:"), name, true));
  EXPECT_FALSE(QueryMatches(AsText("base:"), name, false));
  for (const char* other : {"", "base", "base:a", "qemu:", "base:allocation2", "base;allocation"}) {
    EXPECT_FALSE(QueryMatches(AsText(other), name, true)) << other;
  }
}

}  // namespace
}  // namespace qpip::nbd

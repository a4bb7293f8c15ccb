// Where a client's messages end.
#include <gtest/gtest.h>

#include <vector>

#include "protocols/nbd/client_message.h"
#include "protocols/nbd/handshake.h"
#include "protocols/nbd/transmission.h"

namespace qpip::nbd {
namespace {

using ByteVector = std::vector<uint8_t>;

/// Expects the shape for the whole header, and none for less of it.
void ExpectShape(const ByteVector& header, uint64_t payload) {
  for (size_t bytes = 0; bytes < header.size(); ++bytes) {
    EXPECT_FALSE(ShapeOfClientMessage(std::span(header).first(bytes), false)) << bytes;
  }
  const auto shape = ShapeOfClientMessage(header, false);
  ASSERT_TRUE(shape);
  EXPECT_EQ(shape->header_bytes, header.size());
  EXPECT_EQ(shape->payload_bytes, payload);
}

TEST(NbdClientMessageTest, GivenTheFirstBytesThenTheyAreTheClientsFlags) {
  ByteVector bytes(40, 0x25);
  const auto shape = ShapeOfClientMessage(bytes, true);
  ASSERT_TRUE(shape);
  EXPECT_EQ(shape->header_bytes, kClientFlagsBytes);
  EXPECT_EQ(shape->payload_bytes, 0u);
  EXPECT_FALSE(ShapeOfClientMessage(std::span(bytes).first(3), true));
}

TEST(NbdClientMessageTest, GivenAnOptionThenItsDataFollow) {
  ByteVector header(kOptionHeaderBytes);
  EmitOptionHeader({.option = 7, .length = 321}, std::span(header).first<kOptionHeaderBytes>());
  ExpectShape(header, 321);
}

TEST(NbdClientMessageTest, GivenARequestThenOnlyAWritesPayloadFollows) {
  ByteVector header(kRequestBytes);
  Request request{.command = kCommandWrite, .length = 4096};
  EmitRequest(request, std::span(header).first<kRequestBytes>());
  ExpectShape(header, 4096);
  request.command = kCommandRead;
  EmitRequest(request, std::span(header).first<kRequestBytes>());
  ExpectShape(header, 0);
}

TEST(NbdClientMessageTest, GivenAnExtendedRequestThenWhatItSaysFollows) {
  ByteVector header(kExtendedRequestBytes);
  Request request{.flags = kCommandPayloadLen, .command = kCommandWrite, .length = 1ull << 40};
  EmitExtendedRequest(request, std::span(header).first<kExtendedRequestBytes>());
  ExpectShape(header, 1ull << 40);
  request.flags = 0;  // as QEMU's client has it
  EmitExtendedRequest(request, std::span(header).first<kExtendedRequestBytes>());
  ExpectShape(header, 1ull << 40);
  request.command = kCommandTrim;
  EmitExtendedRequest(request, std::span(header).first<kExtendedRequestBytes>());
  ExpectShape(header, 0);
}

TEST(NbdClientMessageTest, GivenBytesThatBeginNoMessageThenTheyGoOnAsTheyAre) {
  const ByteVector bytes(50, 0xee);
  const auto shape = ShapeOfClientMessage(bytes, false);
  ASSERT_TRUE(shape);
  EXPECT_EQ(shape->header_bytes, 0u);
  EXPECT_EQ(shape->payload_bytes, bytes.size());
}

}  // namespace
}  // namespace qpip::nbd

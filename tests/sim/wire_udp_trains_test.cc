// The udp: wire: packets that are cut on their way out and put together on their way in, and what
// waits for company.
#include "wire_udp_support.h"

namespace qpip::wire::test {
namespace {

TEST(UdpWire, GivenTextOfManySegmentsWhenSentThenOneMessageTakesThemAndTheyArriveAsOneFrame) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  EXPECT_EQ(client->segmentation_limit(), 45u * 1380 + 100) << "45 datagrams are 65340 bytes";
  for (const bool stable : {false, true}) {
    const Bytes packet = TcpPacket(2, 1, 40000 + stable, kAckPush);
    uint64_t lease = 0;
    ASSERT_EQ(SendTrain(client.get(), packet, 1380, stable, &lease), SendResult::kSent);
    EXPECT_EQ(client->LeasePending(lease), stable);
    client->Flush();
    EXPECT_FALSE(client->LeasePending(lease));
    const Arrived arrived = TakeText(server.get(), packet.size() - 72);
    EXPECT_EQ(arrived.text, Bytes(packet.begin() + 72, packet.end()));
    EXPECT_EQ(arrived.last_flags, kAckPush);
    EXPECT_EQ(arrived.frames, 1u);
    EXPECT_EQ(arrived.vouched, 1u);
  }
  EXPECT_EQ(Counter(*client, "send_calls"), 2u);
  EXPECT_EQ(Counter(*client, "trains_sent"), 2u);
  EXPECT_EQ(Counter(*client, "frames_sent"), 58u);
  EXPECT_EQ(Counter(*server, "frames_received"), 58u);
  EXPECT_EQ(Counter(*server, "trains_received"), 2u);
}

TEST(UdpWire, GivenMoreTextThanADatagramHoldsWhenSentThenItIsSeveralMessagesOfOneCall) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  const Bytes packet = TcpPacket(2, 1, 65400, kAckPush);
  uint64_t lease = 0;
  ASSERT_EQ(SendTrain(client.get(), packet, 1380, true, &lease), SendResult::kSent);
  client->Flush();
  EXPECT_EQ(TakeText(server.get(), 65400).text, Bytes(packet.begin() + 72, packet.end()));
  EXPECT_EQ(Counter(*client, "send_calls"), 1u);
  EXPECT_EQ(Counter(*client, "trains_sent"), 2u);
}

TEST(UdpWire, GivenAPeerWithoutOffloadWhenATrainComesThenItGetsSinglePacketsWithChecksums) {
  UdpOptions plain = UdpAt(1);
  plain.offload = false;
  auto server = OpenUdpWire(plain);
  auto client = OpenClient(*server, UdpAt(2));
  EXPECT_EQ(server->segmentation_limit(), 0u);
  const Bytes packet = TcpPacket(2, 1, 20000, kAckPush);
  uint64_t lease = 0;
  ASSERT_EQ(SendTrain(client.get(), packet, 1000, true, &lease), SendResult::kSent);
  client->Flush();
  const Arrived arrived = TakeText(server.get(), 20000);
  EXPECT_EQ(arrived.text, Bytes(packet.begin() + 72, packet.end()));
  EXPECT_EQ(arrived.frames, 20u);
  EXPECT_EQ(arrived.vouched, 0u);
}

TEST(UdpWire, GivenTrainsOfTwoFlowsInTurnWhenReceivedThenNoneIsMixed) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  std::vector<Bytes> packets;
  for (uint8_t i = 0; i < 6; ++i) {
    packets.push_back(TcpPacket(2, 1, 5000, kAckPush));
    packets.back()[41] = i % 2;  // a port
    uint64_t lease = 0;
    ASSERT_EQ(SendTrain(client.get(), packets.back(), 1000, true, &lease), SendResult::kSent);
  }
  client->Flush();
  EXPECT_EQ(Counter(*client, "trains_sent"), 1u) << "of one length, to one socket";
  for (uint8_t i = 0; i < 6; ++i) {
    InFrame frame;
    ASSERT_TRUE(ReceiveWithin(server.get(), &frame));
    EXPECT_EQ(frame.length, 5072u);
    EXPECT_EQ(Content(frame)[41], i % 2);
    server->Release(frame);
  }
}

TEST(UdpWire, GivenATrainThatWaitsWhenAnotherIsSentThenTheFirstLeaves) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  uint64_t leases[3];
  for (uint64_t& lease : leases) {
    const Bytes packet = TcpPacket(2, 1, 60000, kAckPush);
    ASSERT_EQ(SendTrain(client.get(), packet, 1380, false, &lease), SendResult::kSent);
  }
  EXPECT_EQ(Counter(*client, "send_calls"), 2u);
  client->Flush();
  EXPECT_EQ(Counter(*client, "send_calls"), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(TakeText(server.get(), 60000).text.size(), 60000u);
}

TEST(UdpWire, GivenManyMessagesThatWaitWhenATrainOfSmallSegmentsIsAddedThenEveryOneLeaves) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  // Lengths in turn, so that each is a message of its own to the kernel.
  for (uint32_t i = 0; i < 250; ++i) {
    ASSERT_EQ(SendBytes(client.get(), FrameFrom(2, 1, 60 + 7 * (i % 2), i)), SendResult::kSent);
  }
  // The smallest segments that a peer may ask for: eleven messages.
  const Bytes packet = TcpPacket(2, 1, 60000, kAckPush);
  uint64_t lease = 0;
  ASSERT_EQ(SendTrain(client.get(), packet, 88, true, &lease), SendResult::kSent);
  client->Flush();
  EXPECT_FALSE(client->LeasePending(lease));
  EXPECT_EQ(Counter(*client, "frames_sent"), 250u + 682);
  EXPECT_EQ(Counter(*client, "sends_busy"), 0u);
}

TEST(UdpWire, GivenAFrameToBeCutThatCannotBeWhenSentThenItGoesNowhere) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  uint64_t lease = 0;
  EXPECT_EQ(SendTrain(client.get(), TcpPacket(2, 1, 5000, kAckPush), 1381, true, &lease),
            SendResult::kNoRoute)
      << "segments longer than the MTU";
  EXPECT_EQ(SendTrain(client.get(), FrameFrom(2, 1, 5000, 1), 1000, true, &lease),
            SendResult::kNoRoute)
      << "no TCP";
  EXPECT_EQ(SendTrain(client.get(), TcpPacket(2, 1, 60000, kAckPush), 1, true, &lease),
            SendResult::kNoRoute)
      << "more segments than a batch";
  EXPECT_EQ(lease, 0u);
  EXPECT_EQ(Counter(*client, "sends_refused"), 3u);
}

/// Receives one of the frames that the client has sent, and acknowledges it.
void TakeAndAcknowledge(Wire* server) {
  InFrame frame;
  ASSERT_TRUE(ReceiveWithin(server, &frame));
  server->Release(frame);
  Give(server, TcpPacket(1, 2, 0, 0x10));
}

TEST(UdpWire, GivenSmallFramesInHandWhenAcknowledgedThenTheAcknowledgementsLeaveTogether) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  for (uint64_t i = 0; i < 4; ++i) {
    ASSERT_EQ(SendBytes(client.get(), FrameFrom(2, 1, 100, i)), SendResult::kSent);
  }
  client->Flush();
  for (int i = 0; i < 3; ++i) TakeAndAcknowledge(server.get());
  EXPECT_EQ(Counter(*server, "send_calls"), 0u);
  TakeAndAcknowledge(server.get());
  EXPECT_EQ(Counter(*server, "send_calls"), 1u);
  EXPECT_EQ(Counter(*server, "frames_sent"), 4u);
}

TEST(UdpWire, GivenAcknowledgementsThatWaitWhenAnythingElseIsSentOrThePortSleepsThenTheyLeave) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  for (uint64_t i = 0; i < 4; ++i) {
    ASSERT_EQ(SendBytes(client.get(), FrameFrom(2, 1, 100, i)), SendResult::kSent);
  }
  client->Flush();
  TakeAndAcknowledge(server.get());
  Give(server.get(), TcpPacket(1, 2, 8, 0x10));
  EXPECT_EQ(Counter(*server, "frames_sent"), 2u);
  TakeAndAcknowledge(server.get());
  EXPECT_EQ(Counter(*server, "frames_sent"), 2u);
  server->PrepareSleep();
  EXPECT_EQ(Counter(*server, "frames_sent"), 3u);
  server->CancelSleep();
}

TEST(UdpWire, GivenLongFramesInHandWhenAcknowledgedThenTheirSenderHearsAtOnce) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  for (uint64_t i = 0; i < 4; ++i) {
    ASSERT_EQ(SendBytes(client.get(), FrameFrom(2, 1, 1400, i)), SendResult::kSent);
  }
  client->Flush();
  TakeAndAcknowledge(server.get());
  EXPECT_EQ(Counter(*server, "frames_sent"), 1u);
}

}  // namespace
}  // namespace qpip::wire::test

// Ports that come, go and come again on both fabrics; options that are refused.
#include "wire_fabric.h"

namespace qpip::wire::test {
namespace {

class FabricPorts : public FabricTest {};

INSTANTIATE_TEST_SUITE_P(Kinds, FabricPorts, kFabricKinds,
                         [](const auto& tested) { return tested.param.name; });

TEST_P(FabricPorts, GivenASenderThatLeavesWhenReceivingThenItsFramesComeBeforeOnePeerDown) {
  auto b = Open(2);
  auto a = Open(1);
  const iovec piece = {a->AllocateShared(5000), 5000};
  std::memset(piece.iov_base, 0x11, piece.iov_len);
  const Bytes header = MakeFrame(Address(2), 60, 1);
  uint64_t lease = 0;
  ASSERT_EQ(a->Send({header, {&piece, 1}, true}, &lease), SendResult::kSent);
  ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 100, 2)), SendResult::kSent);
  InFrame first;
  ASSERT_TRUE(b->Receive(&first));
  a.reset();

  InFrame second;
  ASSERT_TRUE(b->Receive(&second));
  EXPECT_FALSE(second.peer_down);
  EXPECT_EQ(Content(second), MakeFrame(Address(2), 100, 2));
  InFrame event;
  ASSERT_TRUE(b->Receive(&event));
  EXPECT_TRUE(event.peer_down);
  EXPECT_EQ(event.peer, Address(1));
  // Borrowed frames outlive the peer.
  EXPECT_EQ(Content(first).back(), 0x11);
  EXPECT_EQ(Content(first).size(), 5060u);
  b->Release(event);
  b->Release(second);
  b->Release(first);
  EXPECT_FALSE(b->Receive(&event));
}

TEST_P(FabricPorts, GivenAPortThatSentAndLeftBeforeItWasNoticedThenItsFramesStillArrive) {
  auto b = Open(2);
  {
    auto a = Open(1);
    ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 77, 5)), SendResult::kSent);
  }
  InFrame frame;
  ASSERT_TRUE(b->Receive(&frame));
  EXPECT_EQ(Content(frame), MakeFrame(Address(2), 77, 5));
  b->Release(frame);
  ASSERT_TRUE(b->Receive(&frame));
  EXPECT_TRUE(frame.peer_down);
  EXPECT_FALSE(b->Receive(&frame));
}

TEST_P(FabricPorts, GivenAQuickRestartWhenReceivingThenOldFramesPeerDownNewFrames) {
  auto b = Open(2);
  for (int incarnation = 0; incarnation < 3; ++incarnation) {
    auto a = Open(1);
    ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 50, 10 + incarnation)), SendResult::kSent);
  }
  auto last = Open(1);
  ASSERT_EQ(SendBytes(last.get(), MakeFrame(Address(2), 50, 13)), SendResult::kSent);
  InFrame frame;
  for (int incarnation = 0; incarnation < 4; ++incarnation) {
    ASSERT_TRUE(b->Receive(&frame));
    ASSERT_FALSE(frame.peer_down);
    EXPECT_EQ(Content(frame), MakeFrame(Address(2), 50, 10 + incarnation));
    b->Release(frame);
    if (incarnation == 3) break;
    ASSERT_TRUE(b->Receive(&frame));
    EXPECT_TRUE(frame.peer_down);
    EXPECT_EQ(frame.peer, Address(1));
  }
  EXPECT_FALSE(b->Receive(&frame));
}

TEST_P(FabricPorts, GivenARestartedReceiverWhenSendingThenPeerDownComesBeforeTheNewRouteWorks) {
  auto a = Open(1);
  auto b = Open(2);
  ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 50, 1)), SendResult::kSent);
  b.reset();
  b = Open(2);
  EXPECT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 50, 2)), SendResult::kBusy);
  InFrame frame;
  ASSERT_TRUE(a->Receive(&frame));
  EXPECT_TRUE(frame.peer_down);
  ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 50, 3)), SendResult::kSent);
  ASSERT_TRUE(b->Receive(&frame));
  EXPECT_EQ(Content(frame), MakeFrame(Address(2), 50, 3)) << "nothing of the predecessor's";
  b->Release(frame);
}

TEST_P(FabricPorts, GivenALiveAddressWhenAnotherPortWantsItThenAnErrorSaysSo) {
  auto a = Open(1);
  try {
    Open(1);
    FAIL() << "two ports with one address";
  } catch (const std::runtime_error& error) {
    EXPECT_EQ(std::string(error.what()), "address fd00::1 is in use on fabric " + fabric_ +
                                             " by a live port; choose another with ?address=");
  }
  a.reset();
  EXPECT_NO_THROW(Open(1));
}

TEST_P(FabricPorts, GivenSixtyFourPortsWhenOneMoreComesThenTheFabricIsFullAndAllCanTalk) {
  std::vector<std::unique_ptr<Wire>> ports;
  for (uint8_t i = 0; i < 64; ++i) ports.push_back(Open(static_cast<uint8_t>(i + 1)));
  EXPECT_THROW(Open(200), std::runtime_error);
  for (uint8_t i = 1; i < 64; ++i) {
    ASSERT_EQ(SendBytes(ports[i].get(), MakeFrame(Address(1), 60, i)), SendResult::kSent);
  }
  InFrame frame;
  int received = 0;
  while (ports[0]->Receive(&frame)) {
    ++received;
    ports[0]->Release(frame);
  }
  EXPECT_EQ(received, 63);
}

TEST_P(FabricPorts, GivenBadOptionsWhenOpeningThenAnErrorNamesThem) {
  FabricOptions options = Options("no/slashes", 1);
  EXPECT_THROW(Open(options), std::runtime_error);
  options = Options(fabric_, 1);
  options.mtu = 1279;
  EXPECT_THROW(Open(options), std::runtime_error);
  options.mtu = 65576;
  EXPECT_THROW(Open(options), std::runtime_error);
  options = Options(fabric_, 1);
  options.address = {};
  EXPECT_THROW(Open(options), std::runtime_error);
  options.address.bytes[0] = 0xff;
  EXPECT_THROW(Open(options), std::runtime_error);
}

TEST_P(FabricPorts, GivenTheChecksumOptionWhenOpenedThenTheWireIsNotTrusted) {
  FabricOptions options = Options(fabric_, 1);
  EXPECT_TRUE(Open(options)->trusted());
  options.checksum = true;
  EXPECT_FALSE(Open(options)->trusted());
}

TEST_P(FabricPorts, GivenEndsThatDisagreeOnChecksumsWhenFramesAreSentThenEachSaysForItself) {
  FabricOptions options = Options(fabric_, 1);
  auto plain = Open(options);
  options = Options(fabric_, 2);
  options.checksum = true;
  auto summing = Open(options);
  const auto send = [](Wire* from, uint8_t to, bool summed) {
    const Bytes bytes = MakeFrame(Address(to), 100, 1);
    OutFrame frame;
    frame.header = bytes;
    frame.summed = summed;
    uint64_t lease = 0;
    EXPECT_EQ(from->Send(frame, &lease), SendResult::kSent);
  };
  InFrame frame;
  send(plain.get(), 2, false);
  ASSERT_TRUE(summing->Receive(&frame));
  EXPECT_TRUE(frame.checksum_vouched) << "there is none to verify, and nothing to damage it";
  summing->Release(frame);
  send(summing.get(), 1, true);
  ASSERT_TRUE(plain->Receive(&frame));
  EXPECT_FALSE(frame.checksum_vouched) << "it may have been damaged before it was sent";
  plain->Release(frame);
}

}  // namespace
}  // namespace qpip::wire::test

// What befalls the NIC as a whole: who hears of it, and what calls say that fail because of it.
#include <poll.h>

#include "nic_test.h"

namespace qpip::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kGone[] = "tun wire: the device qpip0 has been deleted: start again";

abi::Trouble Gone() { return {.fatal = true, .code = ENETDOWN, .what = kGone}; }

/// A trouble with the peer of the tests.
abi::Trouble NoRing(const std::string& what = "no room for a ring") {
  abi::Trouble trouble{.code = ENOSPC, .what = what};
  std::memcpy(trouble.peer.bytes, &kPeer.address, sizeof trouble.peer.bytes);
  return trouble;
}

class TroublesTest : public NicTest {
 protected:
  void Listen() {
    nic->SetEventHandler([this](const NicEvent& event) { told.push_back(event.what); });
  }
  std::vector<std::string> told;
  std::array<WorkCompletion, 4> out;
};

// --- The NIC is gone

TEST_F(TroublesTest, GivenANicThatWorksThenItHasNoFailure) { EXPECT_FALSE(nic->failure()); }

TEST_F(TroublesTest, GivenTheDeviceGoneWhenAskedThenTheNicSaysWhy) {
  fake->RaiseTrouble(Gone());
  ASSERT_TRUE(nic->failure());
  EXPECT_TRUE(nic->failure()->fatal);
  EXPECT_EQ(nic->failure()->code, ENETDOWN);
  EXPECT_EQ(nic->failure()->what, kGone);
}

TEST_F(TroublesTest, GivenTheDeviceGoneWhenWaitingThenCompletionsComeFirstAndThenTheCause) {
  auto qp = Connected();
  ASSERT_EQ(qp->PostSend(1, memory->Sge(0, 1)), 0);
  fake->RaiseTrouble(Gone());
  fake->Flush(HandleOf(*qp), abi::CompletionStatus::kRemoteAborted);
  EXPECT_EQ(cq->Wait(out), 1u);
  std::string what;
  EXPECT_EQ(ErrorOf([&] { (void)cq->Wait(out); }, &what), ENETDOWN);
  EXPECT_THAT(what, HasSubstr(kGone));
}

TEST_F(TroublesTest, GivenAThreadThatWaitsWhenTheDeviceGoesThenItIsWokenWithTheCause) {
  fake->when_idle.push_back([&] { fake->RaiseTrouble(Gone()); });
  EXPECT_EQ(ErrorOf([&] { (void)cq->Wait(out); }), ENETDOWN);
}

TEST_F(TroublesTest, GivenAServerThatAcceptsWhenTheDeviceGoesThenAcceptThrowsTheCause) {
  auto listener = nic->Listen(7);
  fake->when_idle.push_back([&] { fake->RaiseTrouble(Gone()); });
  std::string what;
  EXPECT_EQ(ErrorOf([&] { listener->Accept(); }, &what), ENETDOWN);
  EXPECT_THAT(what, HasSubstr(kGone));
}

TEST_F(TroublesTest, GivenAnArmedDescriptorWhenTheDeviceGoesThenItIsReadableAndArmThrows) {
  ASSERT_TRUE(cq->Arm());
  fake->RaiseTrouble(Gone());
  pollfd descriptor = {cq->fd(), POLLIN, 0};
  EXPECT_EQ(poll(&descriptor, 1, 0), 1);
  cq->Acknowledge();
  EXPECT_EQ(ErrorOf([&] { (void)cq->Arm(); }), ENETDOWN);
}

TEST_F(TroublesTest, GivenTheDeviceGoneWhenAConnectionEndsThenTheReasonIsTheWire) {
  auto qp = Connected();
  fake->RaiseTrouble(Gone());
  fake->RaiseEvent(abi::EventKind::kDisconnected, HandleOf(*qp),
                   static_cast<uint8_t>(abi::DisconnectReason::kUnreachable));
  (void)cq->Poll(out);
  EXPECT_EQ(qp->state(), QpState::kClosed);
  EXPECT_EQ(qp->disconnect_reason(), DisconnectReason::kWireFailed);
}

// --- A peer cannot be dealt with

TEST_F(TroublesTest, GivenNoRingTowardsThePeerWhenConnectingThenTheErrorIsTheCause) {
  fake->connect_outcome = {std::nullopt, {}};
  auto qp = Idle();
  fake->when_idle.push_back([&] {
    fake->RaiseTrouble(NoRing());
    fake->RaiseEvent(abi::EventKind::kConnectFailed, HandleOf(*qp),
                     static_cast<uint8_t>(abi::DisconnectReason::kUnreachable));
  });
  std::string what;
  EXPECT_EQ(ErrorOf([&] { qp->Connect(kPeer); }, &what), ENOSPC);
  EXPECT_EQ(what, "connect to [fd00::2]:5001: no room for a ring");
  EXPECT_FALSE(nic->failure());
}

TEST_F(TroublesTest, GivenATroubleOfLongAgoWhenConnectingFailsThenItIsNotTheCause) {
  fake->RaiseTrouble(NoRing());
  fake->connect_outcome = {abi::EventKind::kConnectFailed, abi::DisconnectReason::kUnreachable};
  auto qp = Idle();
  EXPECT_EQ(ErrorOf([&] { qp->Connect(kPeer); }), EHOSTUNREACH);
}

TEST_F(TroublesTest, GivenATroubleWithAnotherPeerWhenConnectingFailsThenItIsNotTheCause) {
  fake->connect_outcome = {std::nullopt, {}};
  auto qp = Idle();
  fake->when_idle.push_back([&] {
    abi::Trouble other = NoRing();
    other.peer.bytes[15] = 99;
    fake->RaiseTrouble(other);
    fake->RaiseEvent(abi::EventKind::kConnectFailed, HandleOf(*qp),
                     static_cast<uint8_t>(abi::DisconnectReason::kUnreachable));
  });
  EXPECT_EQ(ErrorOf([&] { qp->Connect(kPeer); }), EHOSTUNREACH);
}

TEST_F(TroublesTest, GivenAPeerThatRefusesWhenThereIsATroubleTooThenRefusedIsWhatIsSaid) {
  fake->connect_outcome = {std::nullopt, {}};
  auto qp = Idle();
  fake->when_idle.push_back([&] {
    fake->RaiseTrouble(NoRing());
    fake->RaiseEvent(abi::EventKind::kConnectFailed, HandleOf(*qp),
                     static_cast<uint8_t>(abi::DisconnectReason::kRefused));
  });
  EXPECT_EQ(ErrorOf([&] { qp->Connect(kPeer); }), ECONNREFUSED);
}

// --- The handler

TEST_F(TroublesTest, GivenAHandlerWhenThingsHappenThenItIsToldInOrder) {
  Listen();
  fake->RaiseTrouble(NoRing("first"));
  fake->RaiseTrouble(Gone());
  EXPECT_THAT(told, ElementsAre("first", kGone));
}

TEST_F(TroublesTest, GivenThingsThatHappenedBeforeWhenAHandlerIsSetThenItIsTold) {
  fake->RaiseTrouble(NoRing("early"));
  Listen();
  EXPECT_THAT(told, ElementsAre("early"));
}

TEST_F(TroublesTest, GivenTheSameTroubleAgainWhenItIsSoonThenItIsToldOnce) {
  Listen();
  for (int i = 0; i < 100; ++i) fake->RaiseTrouble(NoRing());
  EXPECT_EQ(told.size(), 1u);
  fake->now_ns += 11'000'000'000;
  fake->RaiseTrouble(NoRing());
  EXPECT_EQ(told.size(), 2u);
}

TEST_F(TroublesTest, GivenThousandsOfTroublesWhenNobodyListensThenTheLatestAreKept) {
  for (int i = 0; i < 5000; ++i) fake->RaiseTrouble(NoRing(std::to_string(i)));
  Listen();
  ASSERT_EQ(told.size(), 64u);
  EXPECT_EQ(told.back(), "4999");
}

}  // namespace
}  // namespace qpip::test

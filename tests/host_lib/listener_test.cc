// Listeners: offers, mating, acceptance, and both sides' early ends.
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "nic_test.h"

namespace qpip::test {
namespace {

constexpr abi::Ip6Address kFrom = {{0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}};
constexpr uint32_t kFirstListener = 0;

class ListenerTest : public NicTest {};

TEST_F(ListenerTest, GivenPortsWhenListeningThenTheOneGivenOrAnyIsTaken) {
  EXPECT_EQ(nic->Listen(80)->port(), 80);
  EXPECT_GE(nic->Listen(0)->port(), 49152);
}

TEST_F(ListenerTest, GivenPortTakenWhenListeningThenAddressInUse) {
  fake->refuse = [](const abi::Command&) { return abi::CommandStatus::kAddressInUse; };
  std::string what;
  EXPECT_EQ(ErrorOf([&] { nic->Listen(80); }, &what), EADDRINUSE);
  EXPECT_THAT(what, testing::HasSubstr("port 80"));
  fake->refuse = nullptr;
}

TEST_F(ListenerTest, GivenOfferedQpWhenItIsMatedThenAcceptReturnsIt) {
  auto listener = nic->Listen(80);
  auto qp = Idle();
  ASSERT_EQ(qp->PostRecv(1, memory->Sge(0, 1)), 0) << "before there is any peer";
  listener->Offer(*qp);
  EXPECT_EQ(qp->state(), QpState::kConnecting);
  fake->when_idle.push_back([&] { fake->Mate(kFirstListener, kFrom, 4000); });

  EXPECT_EQ(listener->Accept(), qp.get());

  EXPECT_EQ(qp->state(), QpState::kConnected);
  EXPECT_EQ(qp->peer(), Endpoint::Parse("[fd00::9]:4000"));
  EXPECT_EQ(qp->local(), Endpoint::Parse("[fd00::1]:80"));
}

TEST_F(ListenerTest, GivenSeveralConnectionsWhenAcceptedThenTheyComeInOrder) {
  auto listener = nic->Listen(80);
  auto a = Idle(), b = Idle(), c = Idle();
  for (QueuePair* qp : {a.get(), b.get(), c.get()}) listener->Offer(*qp);
  for (uint16_t port = 1; port <= 3; ++port) fake->Mate(kFirstListener, kFrom, port);
  EXPECT_EQ(listener->Accept(), a.get());
  EXPECT_EQ(listener->Accept(), b.get());
  EXPECT_EQ(listener->Accept(), c.get());
  EXPECT_EQ(listener->Accept(std::chrono::milliseconds(1)), nullptr);
}

bool IsReadable(int fd) {
  pollfd descriptor = {fd, POLLIN, 0};
  return poll(&descriptor, 1, 0) == 1;
}

TEST_F(ListenerTest, GivenADescriptorWhenAQpIsMatedThenItIsReadableUntilAcceptHasLooked) {
  auto listener = nic->Listen(80);
  auto qp = Idle(), other = Idle();
  listener->Offer(*qp);
  listener->Offer(*other);
  const int fd = listener->fd();
  EXPECT_EQ(listener->fd(), fd);
  EXPECT_EQ(listener->Accept(std::chrono::seconds(0)), nullptr);
  EXPECT_FALSE(IsReadable(fd));
  fake->Mate(kFirstListener, kFrom, 1);
  EXPECT_TRUE(IsReadable(fd));
  EXPECT_EQ(listener->Accept(std::chrono::seconds(0)), qp.get());
  EXPECT_FALSE(IsReadable(fd));
}

TEST_F(ListenerTest, GivenTwoMatedQpsWhenOneIsAcceptedThenTheDescriptorSpeaksOfTheOther) {
  auto listener = nic->Listen(80);
  auto qp = Idle(), other = Idle();
  listener->Offer(*qp);
  listener->Offer(*other);
  const int fd = listener->fd();
  fake->Mate(kFirstListener, kFrom, 1);
  fake->Mate(kFirstListener, kFrom, 2);
  EXPECT_NE(listener->Accept(std::chrono::seconds(0)), nullptr);
  EXPECT_TRUE(IsReadable(fd));
  EXPECT_NE(listener->Accept(std::chrono::seconds(0)), nullptr);
  EXPECT_FALSE(IsReadable(fd));
}

TEST_F(ListenerTest, GivenAQpThatIsMatedAlreadyWhenTheDescriptorIsAskedForThenItIsReadable) {
  auto listener = nic->Listen(80);
  auto qp = Idle();
  listener->Offer(*qp);
  fake->Mate(kFirstListener, kFrom, 1);
  EXPECT_TRUE(IsReadable(listener->fd()));
  EXPECT_EQ(listener->Accept(std::chrono::seconds(0)), qp.get());
}

TEST_F(ListenerTest, GivenAListenerThatIsGoneThenEventsTouchNoDescriptorOfItsNumber) {
  auto gone = nic->Listen(80);
  const int number = gone->fd();
  gone.reset();
  const int taken = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  ASSERT_EQ(taken, number);
  auto listener = nic->Listen(81);  // whose answer is an event
  EXPECT_FALSE(IsReadable(taken));
  close(taken);
}

TEST_F(ListenerTest, GivenNobodyWhenTheTimeIsOverThenNull) {
  auto listener = nic->Listen(80);
  const uint64_t before = fake->now_ns;
  EXPECT_EQ(listener->Accept(std::chrono::milliseconds(7)), nullptr);
  EXPECT_EQ(fake->now_ns - before, 7'000'000u);
}

TEST_F(ListenerTest, GivenWrongQpsWhenOfferedThenRefused) {
  auto listener = nic->Listen(80);
  EXPECT_EQ(ErrorOf([&] { listener->Offer(*Connected()); }), EISCONN);
  EXPECT_EQ(ErrorOf([&] { listener->Offer(*Bound()); }), EINVAL);
  auto qp = Idle();
  listener->Offer(*qp);
  EXPECT_EQ(ErrorOf([&] { listener->Offer(*qp); }), EISCONN) << "offered already";
}

TEST_F(ListenerTest, GivenNicThatRefusesTheOfferWhenOfferedThenTheQpIsIdleAgain) {
  auto listener = nic->Listen(80);
  auto qp = Idle();
  fake->refuse = [](const abi::Command&) { return abi::CommandStatus::kNoResource; };
  EXPECT_EQ(ErrorOf([&] { listener->Offer(*qp); }), ENOMEM);
  fake->refuse = nullptr;
  EXPECT_EQ(qp->state(), QpState::kIdle);
  EXPECT_NO_THROW(listener->Offer(*qp));
}

TEST_F(ListenerTest, GivenOfferedQpWhenTheListenerGoesThenItIsIdleAndMayConnect) {
  auto listener = nic->Listen(80);
  auto qp = Idle();
  listener->Offer(*qp);
  listener.reset();
  EXPECT_EQ(qp->state(), QpState::kIdle);
  EXPECT_NO_THROW(qp->Connect(kPeer));
  qp->Abort();
  EXPECT_EQ(qp->state(), QpState::kClosed);
}

TEST_F(ListenerTest, GivenMatedQpWhenTheListenerGoesThenTheConnectionStays) {
  auto listener = nic->Listen(80);
  auto qp = Idle();
  listener->Offer(*qp);
  fake->Mate(kFirstListener, kFrom, 1);
  listener.reset();
  EXPECT_EQ(qp->state(), QpState::kConnected);
}

TEST_F(ListenerTest, GivenOfferedOrMatedQpWhenDestroyedThenAcceptDoesNotReturnIt) {
  auto listener = nic->Listen(80);
  auto mated = Idle(), offered = Idle(), last = Idle();
  listener->Offer(*mated);
  listener->Offer(*offered);
  listener->Offer(*last);
  fake->Mate(kFirstListener, kFrom, 1);
  mated.reset();
  offered.reset();
  fake->Mate(kFirstListener, kFrom, 2);
  EXPECT_EQ(listener->Accept(), last.get());
}

TEST_F(ListenerTest, GivenOfferedQpWhenAbortedThenTheOfferIsWithdrawn) {
  auto listener = nic->Listen(80);
  auto qp = Idle();
  listener->Offer(*qp);
  qp->Abort();
  EXPECT_EQ(qp->state(), QpState::kIdle);
  listener->Offer(*qp);
  fake->Mate(kFirstListener, kFrom, 1);
  EXPECT_EQ(listener->Accept(), qp.get());
}

TEST_F(ListenerTest, GivenListenerDestroyedFirstWhenQpsGoLaterThenNothingIsLeft) {
  auto qp = Idle();
  {
    auto listener = nic->Listen(80);
    listener->Offer(*qp);
    fake->Mate(kFirstListener, kFrom, 1);
    EXPECT_EQ(listener->Accept(), qp.get());
  }
  qp.reset();
  EXPECT_EQ(fake->Count(abi::CommandOpcode::kCloseListener), 1u);
}

}  // namespace
}  // namespace qpip::test

// A thread that sleeps in a descriptor leaves the core to its thread, which is there at once and is
// not disturbed by the few polls around such a sleep.
#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include "lanai_lone_nic.h"

namespace qpip::lanai::testing {
namespace {

class Descriptors : public LoneNic {
 protected:
  Descriptors() { AwaitSleeper(); }
  /// Polls until the core thread is on standby.
  void EndPark() {
    while (link_->ends[0].sleepers.load() != 0) (void)nic_->port().Drive(true);
  }
  /// A frame arrives, whose port is or is not asleep.
  void Arrive(uint32_t object, uint32_t value) {
    PutFrame(object, value);
    if ((link_->ends[0].word.load() & 1) != 0) link_->WakeEnd(0);
  }
};

TEST_F(Descriptors, GivenAThreadThatHasPolledWhenItSleepsThenTheCoreThreadIsCalled) {
  for (int i = 0; i < 20; ++i) {
    const uint64_t calls = CoreCounter("calls");
    do {  // again if the core thread has come by itself before
      EndPark();
      nic_->port().GoOnAlone(nullptr);
    } while (CoreCounter("calls") == calls);
    AwaitSleeper();
  }
}

TEST_F(Descriptors, GivenTheCoreThreadSleepsWhenAThreadArmsAndPollsThenItSleepsOn) {
  nic_->port().GoOnAlone(nullptr);
  AwaitSleeper();
  const uint32_t before = WakeUps();
  const uint64_t parks = CoreCounter("parks_core_thread");
  for (uint32_t i = 1; i <= 100; ++i) {
    (void)nic_->port().Drive(true);
    (void)nic_->port().Drive(true);
    nic_->port().GoOnAlone(nullptr);
  }
  EXPECT_EQ(WakeUps(), before);
  EXPECT_EQ(link_->ends[0].sleepers.load(), 1);
  EXPECT_EQ(CoreCounter("parks_core_thread"), parks);
}

TEST_F(Descriptors, GivenADoorbellWhenItIsRungBeforeASleepThenItIsCarriedOutAndWakesNobody) {
  const uint32_t before = WakeUps();
  for (uint32_t i = 1; i <= 100; ++i) {
    const abi::Doorbell doorbell = abi::Doorbell::Make(abi::DoorbellKind::kSendPosted, 1, i);
    nic_->port().GoOnAlone(&doorbell);
    ASSERT_EQ(wire_->sent.load(), i);
  }
  EXPECT_EQ(WakeUps(), before);
}

TEST_F(Descriptors, GivenAnEarlierDeadlineWhenItIsSetBeforeASleepThenTheCoreThreadKeepsIt) {
  for (uint32_t i = 1; i <= 20; ++i) {
    AwaitSleeper();
    const abi::Doorbell doorbell =
        abi::Doorbell::Make(abi::DoorbellKind::kCqArm, 3, /*microseconds=*/100);
    nic_->port().GoOnAlone(&doorbell);
    while (nic_->mailboxes().Read(3) != i) std::this_thread::yield();  // nobody else drives
  }
}

TEST_F(Descriptors, GivenAFrameAfterThePollWhenAThreadSleepsThenTheCoreThreadDelivers) {
  for (uint32_t i = 1; i <= 100; ++i) {
    (void)nic_->port().Drive(true);
    nic_->port().GoOnAlone(nullptr);
    (void)nic_->port().Drive(true);  // as verbs programs look once more when they have armed
    Arrive(2, i);
    while (nic_->mailboxes().Read(2) != i) std::this_thread::yield();
  }
}

TEST_F(Descriptors, GivenAFrameWhenAPollBesideTheSleeperMeetsItThenAllThatFollowsIsDone) {
  nic_->port().GoOnAlone(nullptr);
  AwaitSleeper();
  // Three receives, each with handlers to run behind its notification; the doorbells wake nobody
  // who is not asleep, and whoever comes first does all of it.
  for (uint32_t i = 1; i <= 3; ++i) nic_->Ring(abi::DoorbellKind::kRecvPosted, 4, 5);
  (void)nic_->port().Drive(true);
  while (nic_->mailboxes().Read(4) != 3) std::this_thread::yield();
}

TEST_F(Descriptors, GivenAThreadThatPollsOnAndOnWhenItHasArmedThenTheCoreThreadStandsBy) {
  nic_->port().GoOnAlone(nullptr);
  AwaitSleeper();
  EndPark();  // hangs if the core thread sleeps on for ever, and senders go on waking it
  EXPECT_GT(CoreCounter("parks_ended_by_others"), 0u);
}

TEST_F(Descriptors, GivenAThreadThatWaitsWhenAnotherSleepsInADescriptorThenNobodyIsCalled) {
  StartWaiter();
  const uint64_t calls = CoreCounter("calls");
  for (int i = 0; i < 100; ++i) nic_->port().GoOnAlone(nullptr);
  EXPECT_EQ(CoreCounter("calls"), calls);
  StopWaiter();
}

TEST_F(Descriptors, GivenANicThatIsClosedWhenAThreadSleepsThenNothingHappens) {
  nic_->port().Stop();
  const abi::Doorbell doorbell = abi::Doorbell::Make(abi::DoorbellKind::kSendPosted, 1, 1);
  nic_->port().GoOnAlone(&doorbell);  // the wire is gone: whoever touched it would be told of
  EXPECT_EQ(CoreCounter("calls"), 0u);
}

}  // namespace
}  // namespace qpip::lanai::testing

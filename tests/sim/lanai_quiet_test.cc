// A poll of a NIC with nothing to do finds that out by looking, without its firmware; and whatever
// comes then is found by the next poll.
#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include "lanai_lone_nic.h"

namespace qpip::lanai::testing {
namespace {

/// A NIC whose core thread is kept on standby by polls.
class Quiet : public LoneNic {
 protected:
  Quiet() { AwaitSleeper(); }  // the core thread sleeps until it is polled
  bool Poll() { return nic_->port().Drive(true); }
  /// Polls until so many in a row have not asked the firmware, which alone asks for frames.
  void Settle(int quiet_polls = 10) {
    for (int quiet = 0; quiet < quiet_polls;) {
      const uint32_t before = wire_->receives;
      (void)Poll();
      quiet = wire_->receives == before ? quiet + 1 : 0;
    }
  }
  void PollUntil(uint32_t object, uint32_t value) {
    while (nic_->mailboxes().Read(object) != value) (void)Poll();
  }
};

TEST_F(Quiet, GivenNothingToDoWhenPolledAgainThenTheFirmwareIsNotAsked) {
  PutFrame(2, 1);
  PollUntil(2, 1);
  Settle(/*quiet_polls=*/1000);  // for ever, if each asked
}

TEST_F(Quiet, GivenAWireThatDoesNotKnowWhenPolledThenTheFirmwareLooksEachTime) {
  wire_->knows_of_nothing = false;
  uint32_t polls = 0;
  for (const uint32_t before = wire_->receives; wire_->receives - before < 100; ++polls) {
    (void)Poll();
  }
  EXPECT_GE(polls, 100u);
}

TEST_F(Quiet, GivenNothingToDoWhenAFrameArrivesThenItIsDelivered) {
  for (uint32_t i = 1; i <= 100; ++i) {
    Settle();
    PutFrame(2, i);
    PollUntil(2, i);
  }
}

TEST_F(Quiet, GivenNothingToDoWhenADoorbellIsRungThenItIsHeard) {
  for (uint32_t i = 1; i <= 100; ++i) {
    Settle();
    nic_->Ring(abi::DoorbellKind::kRecvPosted, 3, 0);
    PollUntil(3, i);
  }
}

TEST_F(Quiet, GivenNothingToDoWhenMoreDoorbellsAreLostThanTheFifoHoldsThenTheRestIsHeard) {
  Settle();
  for (uint32_t i = 0; i < 2 * DoorbellFifo::kDefaultEntries; ++i) {
    nic_->Ring(abi::DoorbellKind::kRecvPosted, 3, 0);
  }
  while (nic_->mailboxes().Read(3) < DoorbellFifo::kDefaultEntries) (void)Poll();
}

TEST_F(Quiet, GivenATimerThatAPostHasSetWhenItIsDueThenThePollFiresIt) {
  for (uint32_t i = 1; i <= 20; ++i) {
    Settle();
    nic_->Ring(abi::DoorbellKind::kSendPosted, scripted::kTimed, /*microseconds=*/100);
    PollUntil(scripted::kTimed, i);
  }
}

}  // namespace
}  // namespace qpip::lanai::testing

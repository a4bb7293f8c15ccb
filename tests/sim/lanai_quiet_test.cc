// A poll of a NIC with nothing to do finds that out by looking, without its firmware; and whatever
// comes then is found by the next poll.
#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include "lanai_scripted.h"

namespace qpip::lanai::testing {
namespace {

/// A NIC whose core thread is kept on standby by polls, and the wire's other end, which is
/// nobody's.
class Quiet : public ::testing::Test {
 protected:
  Quiet() {
    auto wire = std::make_unique<ScriptedWire>(link_, 0);
    wire_ = wire.get();
    nic_ = std::make_unique<ScriptedNic>(std::move(wire), /*spin_us=*/0);
    // The core thread, when it has begun, sleeps until it is polled.
    while (link_->ends[0].sleepers.load() == 0) std::this_thread::yield();
  }
  bool Poll() { return nic_->port().Drive(true); }
  /// Polls until so many in a row have not asked the firmware, which alone asks for frames.
  void Settle(int quiet_polls = 10) {
    for (int quiet = 0; quiet < quiet_polls;) {
      const uint32_t before = wire_->receives;
      (void)Poll();
      quiet = wire_->receives == before ? quiet + 1 : 0;
    }
  }
  void Arrive(uint32_t object, uint32_t value) {
    std::vector<uint8_t> bytes(48);
    std::memcpy(&bytes[40], &object, 4);
    std::memcpy(&bytes[44], &value, 4);
    std::lock_guard lock(link_->mutex);
    link_->frames[0].push_back(std::move(bytes));
  }
  void PollUntil(uint32_t object, uint32_t value) {
    while (nic_->mailboxes().Read(object) != value) (void)Poll();
  }

  std::shared_ptr<ScriptedLink> link_ = std::make_shared<ScriptedLink>();
  ScriptedWire* wire_;
  std::unique_ptr<ScriptedNic> nic_;
};

TEST_F(Quiet, GivenNothingToDoWhenPolledAgainThenTheFirmwareIsNotAsked) {
  Arrive(2, 1);
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
    Arrive(2, i);
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

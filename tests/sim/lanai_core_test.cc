// Who runs the core: no lost wake-ups, hand-over, timers, stopping. A scripted firmware and a
// scripted wire; where an assertion is about liveness, failing means hanging (ctest's time-out).

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "lanai_scripted.h"

namespace qpip::lanai::testing {
namespace {

struct Pair {
  explicit Pair(uint32_t spin_us = 20) {
    auto link = std::make_shared<ScriptedLink>();
    for (int end = 0; end < 2; ++end) {
      auto wire = std::make_unique<ScriptedWire>(link, end);
      wires[end] = wire.get();
      nics[end] = std::make_unique<ScriptedNic>(std::move(wire), spin_us);
    }
  }
  ScriptedWire* wires[2];
  std::unique_ptr<ScriptedNic> nics[2];
};

// Sends `value` to the other end's mailbox `object`.
void Send(ScriptedNic& nic, uint32_t object, uint32_t value) {
  nic.Ring(abi::DoorbellKind::kSendPosted, object, value);
}

/// A handler of troubles: what it was told of, and on which thread.
class TroubleHandler : public abi::InterruptHandler {
 public:
  void OnCompletionInterrupt(uint32_t) override {}
  void OnEventInterrupt() override {}
  void OnTrouble(const abi::Trouble& trouble) override { noted.push_back(trouble.what); }
  void TellTroubles() override {
    teller = std::this_thread::get_id();
    told.fetch_add(1);
    told.notify_all();
  }
  void AwaitTold(uint32_t count) const {
    for (uint32_t now = told.load(); now < count; now = told.load()) told.wait(now);
  }

  std::vector<std::string> noted;
  std::thread::id teller;
  std::atomic<uint32_t> told{0};
};

// --- Ping-pong in every combination of ways to wait

struct Modes {
  WaitMode client, server;
};

class PingPong : public ::testing::TestWithParam<Modes> {};

TEST_P(PingPong, GivenTwoPortsWhenEachAnswersTheOtherThenNoRoundIsLost) {
  constexpr uint32_t kRounds = 2000;
  Pair pair;
  std::thread server([&] {
    for (uint32_t i = 1; i <= kRounds; ++i) {
      Await(*pair.nics[1], 0, i, GetParam().server);
      Send(*pair.nics[1], 0, i);
    }
  });
  for (uint32_t i = 1; i <= kRounds; ++i) {
    Send(*pair.nics[0], 0, i);
    Await(*pair.nics[0], 0, i, GetParam().client);
  }
  server.join();
  EXPECT_EQ(pair.nics[0]->mailboxes().Read(0), kRounds);
  EXPECT_FALSE(pair.wires[0]->crowded);
  EXPECT_FALSE(pair.wires[1]->crowded);
}

constexpr Modes kAllModes[] = {
    {WaitMode::kDrive, WaitMode::kDrive},      {WaitMode::kDrive, WaitMode::kDriveUntil},
    {WaitMode::kDrive, WaitMode::kSleep},      {WaitMode::kDriveUntil, WaitMode::kDriveUntil},
    {WaitMode::kDriveUntil, WaitMode::kSleep}, {WaitMode::kSleep, WaitMode::kSleep},
};
std::string ModesName(const ::testing::TestParamInfo<Modes>& info) {
  const char* const names[] = {"Drive", "DriveUntil", "Sleep"};
  return std::string(names[static_cast<int>(info.param.client)]) + "Against" +
         names[static_cast<int>(info.param.server)];
}
INSTANTIATE_TEST_SUITE_P(AllModes, PingPong, ::testing::ValuesIn(kAllModes), ModesName);

TEST(CoreSpin, GivenNoSpinningWhenBothSidesWaitThenNoRoundIsLost) {
  constexpr uint32_t kRounds = 1000;
  Pair pair(/*spin_us=*/0);
  std::thread server([&] {
    for (uint32_t i = 1; i <= kRounds; ++i) {
      Await(*pair.nics[1], 0, i, WaitMode::kDriveUntil);
      Send(*pair.nics[1], 0, i);
    }
  });
  for (uint32_t i = 1; i <= kRounds; ++i) {
    Send(*pair.nics[0], 0, i);
    Await(*pair.nics[0], 0, i, WaitMode::kDriveUntil);
  }
  server.join();
  const auto statistics = nlohmann::json::parse(pair.nics[0]->port().StatisticsJson());
  EXPECT_GT(statistics["core"]["parks_runner"], 0);
  EXPECT_EQ(pair.wires[0]->turns.load(), 0u) << "nor is way given";
}

// --- Giving way

TEST(CoreGivingWay, GivenMessagesFarApartWhenAThreadWaitsThenItGivesWayBeforeItSleeps) {
  Pair pair;
  std::atomic<uint32_t> received{0};
  std::thread waiter([&] {
    for (uint32_t i = 1; pair.wires[0]->turns.load() < 2; ++i) {
      Await(*pair.nics[0], 2, i, WaitMode::kDriveUntil);
      received.store(i);
    }
    received.store(UINT32_MAX);
  });
  // In the end, a message comes later than the thread has spun for.
  for (uint32_t i = 1; received.load() != UINT32_MAX; ++i) {
    Send(*pair.nics[1], 2, i);
    while (received.load() < i) std::this_thread::yield();
  }
  waiter.join();
}

TEST(CoreStress, GivenThreeThreadsAPortWhenTheyWaitAtRandomThenNoRoundIsLost) {
  constexpr uint32_t kThreads = 3;
  constexpr uint32_t kRounds = 1000;
  Pair pair;
  const auto random_mode = [](std::mt19937& random) { return static_cast<WaitMode>(random() % 3); };
  std::vector<std::thread> threads;
  for (uint32_t object = 0; object < kThreads; ++object) {
    threads.emplace_back([&, object] {
      std::mt19937 random(object);
      for (uint32_t i = 1; i <= kRounds; ++i) {
        Send(*pair.nics[0], object, i);
        Await(*pair.nics[0], object, i, random_mode(random));
      }
    });
    threads.emplace_back([&, object] {
      std::mt19937 random(100 + object);
      for (uint32_t i = 1; i <= kRounds; ++i) {
        Await(*pair.nics[1], object, i, random_mode(random));
        Send(*pair.nics[1], object, i);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (uint32_t object = 0; object < kThreads; ++object) {
    EXPECT_EQ(pair.nics[0]->mailboxes().Read(object), kRounds);
  }
  EXPECT_FALSE(pair.wires[0]->crowded);
  EXPECT_FALSE(pair.wires[1]->crowded);
}

// --- Hand-over

TEST(CoreHandOver, GivenARunnerAndAWaiterWhenTheRunnerLeavesThenTheWaiterIsStillServed) {
  Pair pair;
  ScriptedNic& nic = *pair.nics[0];
  std::thread first([&] { Await(nic, 1, 1, WaitMode::kDriveUntil); });
  std::thread second([&] { Await(nic, 2, 1, WaitMode::kDriveUntil); });
  Send(*pair.nics[1], 1, 1);
  first.join();  // it will not drive again
  Send(*pair.nics[1], 2, 1);
  second.join();
  EXPECT_EQ(nic.mailboxes().Read(2), 1u);
}

TEST(CoreHandOver, GivenAWaiterWhenAPollingThreadStopsThenTheWaiterIsStillServed) {
  Pair pair;
  ScriptedNic& nic = *pair.nics[0];
  std::thread waiter([&] { Await(nic, 2, 1, WaitMode::kDriveUntil); });
  Send(*pair.nics[1], 1, 1);
  Await(nic, 1, 1, WaitMode::kDrive);  // ends the waiter's park if it has one, then stops
  Send(*pair.nics[1], 2, 1);
  waiter.join();
  EXPECT_EQ(nic.mailboxes().Read(2), 1u);
}

TEST(CoreHandOver, GivenADriverThatLeavesWorkBehindWhenItNeverReturnsThenTheWorkIsDone) {
  Pair pair;
  ScriptedNic& nic = *pair.nics[0];
  // The driver stops at the notification; the frame posted behind it is left to the core thread.
  nic.Ring(abi::DoorbellKind::kRecvPosted, 3, 50);
  Await(nic, 3, 1, WaitMode::kDrive);
  Send(nic, 4, 9);
  Await(*pair.nics[1], 4, 9, WaitMode::kSleep);
  EXPECT_EQ(pair.nics[1]->mailboxes().Read(4), 9u);
}

TEST(CoreDrive, GivenANotificationWhenDrivingUntilOneThenTheRestIsLeftForLater) {
  Pair pair;
  ScriptedNic& nic = *pair.nics[0];
  // The core's own thread may be quicker; try until this thread has raised the interrupt.
  for (uint32_t i = 1;; ++i) {
    scripted::handlers_since_interrupt = UINT32_MAX / 2;
    nic.Ring(abi::DoorbellKind::kRecvPosted, 0, 1000);
    while (nic.mailboxes().Read(0) != i) nic.port().Drive(true);
    if (scripted::handlers_since_interrupt >= UINT32_MAX / 2) continue;
    EXPECT_LE(scripted::handlers_since_interrupt, 4u);
    break;
  }
}

// --- Time

TEST(CoreTimers, GivenNobodyDrivesWhenATimerIsDueThenItFires) {
  Pair pair;
  ScriptedNic& nic = *pair.nics[0];
  for (uint32_t i = 1; i <= 20; ++i) {
    nic.Ring(abi::DoorbellKind::kCqArm, 5, 100 * i);
    Await(nic, 5, i, WaitMode::kSleep);
  }
  EXPECT_EQ(nic.mailboxes().Read(5), 20u);
}

TEST(CoreTimers, GivenTheApplicationHasJustDrivenWhenATimerIsDueThenItFires) {
  Pair pair;
  ScriptedNic& nic = *pair.nics[0];
  for (uint32_t i = 1; i <= 20; ++i) {
    nic.Ring(abi::DoorbellKind::kCqArm, 5, 100);
    nic.port().Drive(false);  // takes the port from the core thread
    Await(nic, 5, i, WaitMode::kSleep);
  }
  EXPECT_EQ(nic.mailboxes().Read(5), 20u);
}

TEST(CoreTimers, GivenAParkedRunnerWhenATimerIsDueThenItFires) {
  Pair pair;
  ScriptedNic& nic = *pair.nics[0];
  nic.Ring(abi::DoorbellKind::kCqArm, 5, 5000);  // longer than the runner spins
  Await(nic, 5, 1, WaitMode::kDriveUntil);
  EXPECT_EQ(nic.mailboxes().Read(5), 1u);
}

TEST(CoreTimers, GivenAParkedRunnerWhenAnotherThreadStartsATimerThenItFires) {
  Pair pair;
  ScriptedNic& nic = *pair.nics[0];
  std::thread runner([&] { Await(nic, 6, 1, WaitMode::kDriveUntil); });
  for (uint32_t i = 1; i <= 20; ++i) {
    nic.Ring(abi::DoorbellKind::kCqArm, 5, 200);
    Await(nic, 5, i, i % 2 == 0 ? WaitMode::kSleep : WaitMode::kDriveUntil);
  }
  Send(*pair.nics[1], 6, 1);
  runner.join();
  EXPECT_EQ(nic.mailboxes().Read(5), 20u);
}

TEST(CoreDriveUntil, GivenNothingHappensWhenTheDeadlinePassesThenItReturns) {
  Pair pair;
  ScriptedNic& nic = *pair.nics[0];
  const uint64_t deadline_ns = nic.port().platform().NowNs() + 3000000;
  while (nic.port().platform().NowNs() < deadline_ns) {
    nic.port().DriveUntil(nic.word(0), 0, deadline_ns);
  }
  EXPECT_EQ(LoadWord(nic.word(0)), 0u);
}

TEST(CoreDriveUntil, GivenAnotherThreadChangesTheWordWhenItWakesTheWordThenTheRunnerReturns) {
  Pair pair(/*spin_us=*/0);
  ScriptedNic& nic = *pair.nics[0];
  for (uint32_t i = 0; i < 200; ++i) {
    uint32_t word = 0;
    std::thread runner([&] {
      while (LoadWord(&word) == 0) nic.port().DriveUntil(&word, 0, UINT64_MAX);
    });
    std::atomic_ref<uint32_t>(word).store(1);
    nic.port().platform().Wake(&word);
    runner.join();
    EXPECT_EQ(word, 1u);
  }
}

// --- The end

TEST(CoreStop, GivenThreadsInDriveUntilWhenThePortStopsThenTheyReturn) {
  Pair pair;
  ScriptedNic& nic = *pair.nics[0];
  std::atomic<int> entered{0};
  std::vector<std::thread> threads;
  for (uint32_t object = 0; object < 3; ++object) {
    threads.emplace_back([&, object] {
      entered.fetch_add(1);
      nic.port().DriveUntil(nic.word(object), 0, UINT64_MAX);
    });
  }
  while (entered.load() != 3) std::this_thread::yield();
  nic.port().Stop();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(LoadWord(nic.word(0)), 0u);
}

TEST(CoreStop, GivenAStoppedPortWhenItIsUsedThenNothingHappens) {
  Pair pair;
  ScriptedNic& nic = *pair.nics[0];
  nic.port().Stop();
  nic.port().Stop();
  nic.Ring(abi::DoorbellKind::kRecvPosted, 0, 0);
  EXPECT_FALSE(nic.port().Drive(true));
  nic.port().DriveUntil(nic.word(0), 0, UINT64_MAX);
  EXPECT_EQ(nic.port().AllocateShared(64), nullptr);
  EXPECT_EQ(nic.interrupts.load(), 0u);
  const auto statistics = nlohmann::json::parse(nic.port().StatisticsJson());
  EXPECT_EQ(statistics["wire"]["scripted"], true);
}

TEST(CoreStop, GivenAPeerWhenThePortStopsThenThePeerHearsOfIt) {
  Pair pair;
  pair.nics[0]->port().Stop();
  Await(*pair.nics[1], 0, scripted::kPeerDown, WaitMode::kDriveUntil);
  EXPECT_EQ(pair.nics[1]->interrupts.load(), 1u);
}

TEST(CoreStart, GivenAFirmwareThatRefusesWhenThePortIsMadeThenItSaysSo) {
  Firmware refusing = scripted::kFirmware;
  refusing.arena = [](const fw::NicConfig*, fw::ArenaBytes*) -> uint32_t { return 0; };
  NicUri uri;
  auto wire = std::make_unique<ScriptedWire>(std::make_shared<ScriptedLink>(), 0);
  EXPECT_THROW(MakeHostPort(uri, std::move(wire), refusing), std::invalid_argument);
}

TEST(CoreStart, GivenAFirmwareThatCannotFormatWhenThePortStartsThenItSaysSo) {
  Firmware refusing = scripted::kFirmware;
  refusing.init = [](void*, uint32_t, const fw::NicConfig*, const fw::Platform*,
                     uint64_t) -> uint32_t { return 0; };
  NicUri uri;
  auto wire = std::make_unique<ScriptedWire>(std::make_shared<ScriptedLink>(), 0);
  const auto port = MakeHostPort(uri, std::move(wire), refusing);
  EXPECT_THROW(port->Start({}, nullptr), std::runtime_error);
}

// --- Troubles: noted with the lock held, told by the core's own thread without it

class CoreTroubles : public ::testing::Test {
 protected:
  CoreTroubles() {
    auto wire = std::make_unique<ScriptedWire>(link_, 0);
    wire_ = wire.get();
    NicUri uri;
    uri.spin_us = 0;
    port_ = MakeHostPort(uri, std::move(wire), scripted::kFirmware);
  }
  void Start() { port_->Start({reinterpret_cast<uint64_t>(&mailboxes_), 0, 0, 0}, &handler_); }
  // The next frame that is sent fails with a trouble.
  void FailNextSend(const char* what) {
    wire_->trouble_of_next_send = abi::Trouble{.what = what};
    port_->RingDoorbell(abi::Doorbell::Make(abi::DoorbellKind::kSendPosted, 0, 1));
  }

  TroubleHandler handler_;
  Mailboxes mailboxes_;
  std::shared_ptr<ScriptedLink> link_ = std::make_shared<ScriptedLink>();
  ScriptedWire* wire_;
  std::unique_ptr<abi::HostPort> port_;
};

TEST_F(CoreTroubles, GivenNobodyDrivesWhenTheWireFailsThenTheCoreThreadTells) {
  Start();
  FailNextSend("broken");
  handler_.AwaitTold(1);
  EXPECT_EQ(handler_.noted, std::vector<std::string>{"broken"});
  EXPECT_NE(handler_.teller, std::this_thread::get_id());
}

TEST_F(CoreTroubles, GivenTheCoreThreadSleepsWhenAPostMeetsATroubleThenItWakesAndTells) {
  Start();
  for (uint32_t i = 1; i <= 20; ++i) {
    while (link_->ends[0].sleepers.load() == 0) std::this_thread::yield();
    FailNextSend("broken");
    handler_.AwaitTold(i);
    EXPECT_NE(handler_.teller, std::this_thread::get_id());
  }
}

TEST_F(CoreTroubles, GivenAThreadThatWaitsWhenTheWireFailsThenTheCoreThreadTells) {
  Start();
  uint32_t word = 0;
  std::thread waiter([&] { port_->DriveUntil(&word, 0, UINT64_MAX); });
  for (uint32_t i = 1; i <= 20; ++i) {
    FailNextSend("broken");
    handler_.AwaitTold(i);
    EXPECT_NE(handler_.teller, waiter.get_id());
  }
  std::atomic_ref<uint32_t>(word).store(1);
  port_->platform().Wake(&word);
  waiter.join();
}

TEST_F(CoreTroubles, GivenATroubleBeforeTheStartWhenThePortStartsThenItIsTold) {
  wire_->Fail({.what = "warned"});
  Start();
  handler_.AwaitTold(1);
  EXPECT_EQ(handler_.noted, std::vector<std::string>{"warned"});
}

TEST_F(CoreTroubles, GivenATimelineThatCannotBeWrittenWhenThePortStopsThenThatIsToldAndNoMore) {
  NicUri uri;
  uri.timeline = "/dev/full";
  port_ = MakeHostPort(uri, std::make_unique<ScriptedWire>(std::make_shared<ScriptedLink>(), 0),
                       scripted::kFirmware);
  Start();
  EXPECT_NO_THROW(port_->Stop());
  ASSERT_EQ(handler_.noted.size(), 1u);
  EXPECT_NE(handler_.noted[0].find("/dev/full"), std::string::npos);
  EXPECT_EQ(handler_.told.load(), 1u);
}

TEST(CoreStart, GivenATimelineThatCannotBeWrittenWhenThePortIsMadeThenItSaysSo) {
  NicUri uri;
  uri.timeline = "/nonexistent/timeline.json";
  EXPECT_THROW(
      MakeHostPort(uri, std::make_unique<ScriptedWire>(std::make_shared<ScriptedLink>(), 0),
                   scripted::kFirmware),
      std::system_error);
}

}  // namespace
}  // namespace qpip::lanai::testing

// A simulation ends: when its programs have, when it is told to, and when nothing can come any
// more.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <string>
#include <utility>

#include "sim/ns3/scenario/barrier.h"
#include "sim/ns3/scenario/scenario.h"
#include "sim/ns3/world/stop.h"
#include "sim/ns3/world/world.h"

namespace qpip::sim {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr char kProfile[] = "lanai9-hardware-checksum";

/// What World::Run says when it gives up.
std::string ErrorOf(World& world) {
  try {
    world.Run();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ETIMEDOUT);
    return error.what();
  }
  return "";
}

TEST(Watch, GivenProgramsThatPollForWhatNeverComesWhenRunThenEachIsNamed) {
  World world(Profile::Load(kProfile), {});
  auto cq = world.host(0).nic->CreateCq(16);
  world.Start("hopeful", [&] {
    WorkCompletion completion;
    while (cq->Poll({&completion, 1}) == 0) {
    }
  });
  EXPECT_THAT(ErrorOf(world), AllOf(HasSubstr("\"hopeful\" waits for"), HasSubstr("fd00::")));
}

TEST(Watch, GivenAProgramThatSleepsUntilACompletionWhenNoneComesThenItIsNamed) {
  World world(Profile::Load(kProfile), {});
  auto cq = world.host(1).nic->CreateCq(16);
  world.Start("sleeper", [&] {
    WorkCompletion completion;
    (void)cq->Wait({&completion, 1});
  });
  EXPECT_THAT(ErrorOf(world), HasSubstr("\"sleeper\" waits for"));
}

TEST(Watch, GivenABarrierThatOneNeverReachesWhenRunThenThatIsSaid) {
  World world(Profile::Load(kProfile), {});
  Barrier barrier(2);
  world.Start("punctual", [&] { barrier.Arrive(); });
  EXPECT_THAT(ErrorOf(world), HasSubstr("\"punctual\" waits for the other programs"));
}

TEST(Watch, GivenAProgramThatSleepsForAnHourWhenRunThenItMay) {
  World world(Profile::Load(kProfile), {});
  bool woke = false;
  world.Start("late", [&] {
    Context::Current().SleepNs(3'600'000'000'000);
    woke = true;
  });
  world.Run();
  EXPECT_TRUE(woke);
}

/// Looks that are left before the programs are told to stop.
uint64_t looks_left = 0;

class StopAfterLooks {
 public:
  explicit StopAfterLooks(uint64_t looks) : before_(SetStopQuery(&Query)) { looks_left = looks; }
  ~StopAfterLooks() { SetStopQuery(before_); }

 private:
  static bool Query() { return looks_left == 0 || --looks_left == 0; }
  const StopQuery before_;
};

const std::map<std::string, std::map<std::string, std::string>> kLong = {
    {"ping", {{"count", "1000000"}}},
    {"ttcp", {{"bytes", "1000000000000"}}},
    {"nbd", {{"bytes", "1000000000000"}}},
    {"incast", {{"nics", "3"}, {"messages", "1000000"}}},
    {"all-to-all", {{"nics", "3"}, {"messages", "1000000"}}},
    {"mixed", {{"nics", "4"}, {"messages", "1000000"}, {"pings", "1000000"}}},
    {"rdma-write", {{"count", "1000000"}}},
    {"rdma-read", {{"count", "1000000"}, {"completion", "wait"}}},
    {"rdma-send", {{"count", "1000000"}, {"depth", "8"}}},
    {"stages", {{"messages", "100000"}}}};

TEST(Stop, GivenALongRunOfEachScenarioWhenStoppedThenItSaysWhatItHadMeasured) {
  for (const auto& [name, arguments] : kLong) {
    SCOPED_TRACE(name);
    const StopAfterLooks stop(2000);
    const ScenarioResult result = RunScenario(
        name, Profile::Load(name == "nbd" ? std::string(kProfile) + "+linux24-storage" : kProfile),
        arguments);
    EXPECT_TRUE(result.interrupted);
    EXPECT_FALSE(result.metrics.empty());
    for (const auto& [metric, value] : result.metrics) EXPECT_EQ(value, value) << metric;
  }
}

TEST(Stop, GivenARunWhenStoppedBeforeAnythingIsMeasuredThenItFails) {
  for (const char* name : {"ping", "ttcp", "incast", "mixed"}) {
    const StopAfterLooks stop(1);
    EXPECT_THROW(RunScenario(name, Profile::Load(kProfile), {}), Error) << name;
  }
}

TEST(Words, GivenAWordThatIsNoChoiceWhenRunThenEveryScenarioRefusesIt) {
  for (const Scenario& scenario : Scenarios()) {
    for (const ScenarioParameter& parameter : scenario.parameters) {
      for (const char* word : {"", "UDP", "Poll", "nan", "inf", "-1", "1e99", "1x", " 1", "0x10"}) {
        EXPECT_THROW(RunScenario(scenario.name, Profile::Load(kProfile), {{parameter.name, word}}),
                     ScenarioError)
            << scenario.name << " " << parameter.name << "=" << word;
      }
    }
  }
}

TEST(Profiles, GivenABufferSmallerThanAPacketWhenLoadedThenBothNumbersAreNamed) {
  const std::pair<const char*, const char*> buffers[] = {{"sram.receive_bytes", "1500"},
                                                         {"switch.buffer_bytes", "9023"}};
  for (const auto& [name, bytes] : buffers) {
    Profile profile = Profile::Load(kProfile);
    profile.Set("link.mtu=9000");
    profile.Set("link.overhead_bytes=24");
    profile.Set(std::string(name) + "=" + bytes);
    EXPECT_THAT(
        [&] { RunScenario("ping", profile, {}); },
        ThrowsMessage<ProfileError>(AllOf(HasSubstr(name), HasSubstr(bytes), HasSubstr("9024"))));
  }
}

TEST(Profiles, GivenFractionsOfWhatIsCountedWhenSetThenTheyAreRefused) {
  Profile profile = Profile::Load(kProfile);
  for (const char* setting : {"doorbell.entries=4.5", "core.on_host=0.5", "link.mtu=1500.5",
                              "protocol.rto_min_us=0.5", "protocol.rto_min_us=1.5"}) {
    EXPECT_THROW(profile.Set(setting), ProfileError) << setting;
  }
}

TEST(Ping, GivenDatagramsThatAreLostWhenRunThenItEndsAndCountsThem) {
  for (const char* completion : {"poll", "wait"}) {
    const ScenarioResult result = RunScenario(
        "ping", Profile::Load(kProfile),
        {{"transport", "udp"}, {"loss", "0.1"}, {"count", "500"}, {"completion", completion}});
    EXPECT_EQ(result.Metric("sent"), 500);
    EXPECT_GT(result.Metric("lost"), 30);
    EXPECT_LT(result.Metric("lost"), 200);
    EXPECT_LT(result.Metric("rtt_max_us"), 1000);
  }
}

TEST(Ping, GivenDatagramsThatAreLostWhenRunThenARoundTakesNoMoreWorkThanWithout) {
  const auto overhead = [](const char* loss) {
    return RunScenario("ping", Profile::Load(kProfile),
                       {{"transport", "udp"}, {"loss", loss}, {"count", "500"}})
        .Metric("host_overhead_us_per_message");
  };
  EXPECT_LE(overhead("0.2"), 1.01 * overhead("0"));
}

TEST(Ping, GivenAnswersThatComeTooLateWhenRunThenNoneIsTakenForAnother) {
  Profile profile = Profile::Load(kProfile);
  profile.Set("link.delay_us=1000");
  EXPECT_THROW(
      RunScenario(
          "ping", profile,
          {{"transport", "udp"}, {"timeout_us", "1500"}, {"bytes", "8"}, {"completion", "wait"}}),
      Error);
}

}  // namespace
}  // namespace qpip::sim

// Host-based stacks: the core is the host's processor and hears of frames by interrupts.
#include <gmock/gmock.h>

#include <algorithm>
#include <string>

#include "sim/ns3/model/fibre.h"
#include "sim/ns3/scenario/scenario.h"
#include "two_sim_nics.h"

namespace qpip::sim {
namespace {

const char kGigabit[] = "host-gige-1500";
const char kMyrinet[] = "host-gm-9000";

ScenarioResult Ttcp(const Profile& profile) {
  return RunScenario("ttcp", profile, {{"completion", "wait"}, {"bytes", "4000000"}});
}
ScenarioResult Ping(const Profile& profile) {
  return RunScenario("ping", profile, {{"completion", "wait"}, {"count", "20"}});
}
ScenarioResult Nbd(const std::string& profile, double mtu = 0) {
  Profile loaded = Profile::Load(profile + "+linux24-storage");
  if (mtu != 0) loaded.Set("link.mtu", mtu, "the test");
  return RunScenario("nbd", loaded, {{"bytes", "20000000"}});
}

TEST(HostStackTest, GivenNoDriverThenAMessageCostsTheHostWhatTable1Says) {
  Profile profile = Profile::Load(kGigabit);
  profile.Set("core.receive_interrupt_us", 0, "Table 1 has no driver");
  profile.Set("stage.tx-send.data", 1.5, "less the driver's 2 us");
  profile.Set("stage.rx-media-receive.data", 2, "less the driver's 2.5 us");
  // The copy of a byte and the estimator's multiplications are what the sum does not have.
  EXPECT_NEAR(Ping(profile).Metric("host_overhead_us_per_message"), 29.9, 0.3);
}

TEST(HostStackTest, GivenTheCoreOnTheHostThenItsTimeIsTheHosts) {
  const ScenarioResult result = Ttcp(Profile::Load(kGigabit));
  EXPECT_GT(result.Metric("sender_host_utilisation"), result.Metric("sender_core_utilisation"));
  const ScenarioResult adapter =
      RunScenario("ttcp", Profile::Load("lanai9-hardware-checksum"), {{"bytes", "4000000"}});
  EXPECT_LT(adapter.Metric("sender_host_utilisation"), 0.01);
}

TEST(HostStackTest, GivenInterruptModerationThenARoundTripWaitsForItTwice) {
  Profile profile = Profile::Load(kGigabit);
  const double moderated = Ping(profile).Metric("rtt_mean_us");
  const double delay_us = profile.Get("core.receive_interrupt_delay_us");
  profile.Set("core.receive_interrupt_delay_us", 0, "the test");
  EXPECT_NEAR(moderated - Ping(profile).Metric("rtt_mean_us"), 2 * delay_us, 0.1);
}

TEST(HostStackTest, GivenBackToBackFramesThenOneInterruptAnnouncesMany) {
  test::TwoSimNics nics(kGigabit);
  nics.Open();
  QpOptions options;
  options.send_cq = options.recv_cq = nics.client.cq.get();
  auto from = nics.client.nic->CreateQp(*nics.client.pd, options);
  options.send_cq = options.recv_cq = nics.server.cq.get();
  auto to = nics.server.nic->CreateQp(*nics.server.pd, options);
  auto memory = nics.client.pd->Allocate(65536);
  auto place = nics.server.pd->Allocate(65536);
  ASSERT_EQ(to->PostRecv(1, place->Sge(0, 65536)), 0);
  nics.Connect(*from, *to);
  const CoreTotals before = nics.server.device->totals();
  ASSERT_EQ(from->PostSend(1, memory->Sge(0, 65536)), 0);
  WorkCompletion wc;
  ASSERT_EQ(nics.server.cq->Wait({&wc, 1}), 1u);
  const CoreTotals& after = nics.server.device->totals();
  const uint64_t interrupts = after.receive_interrupts - before.receive_interrupts;
  EXPECT_GE(interrupts, 1u);
  EXPECT_LT(interrupts, 46u / 2);  // frames of the message
  EXPECT_EQ(after.receive_interrupt_ps - before.receive_interrupt_ps, interrupts * 8000000);
}

/// Sends `frames` messages of a byte `gap_us` apart; the interrupts that the receiver took.
uint64_t InterruptsFor(const Profile& profile, uint32_t frames, uint64_t gap_us) {
  test::TwoSimNics nics(profile);
  nics.Open();
  QpOptions options;
  options.send_cq = options.recv_cq = nics.client.cq.get();
  auto from = nics.client.nic->CreateQp(*nics.client.pd, options);
  options.send_cq = options.recv_cq = nics.server.cq.get();
  auto to = nics.server.nic->CreateQp(*nics.server.pd, options);
  auto memory = nics.client.pd->Allocate(64);
  auto place = nics.server.pd->Allocate(64);
  for (uint32_t i = 0; i < frames; ++i) EXPECT_EQ(to->PostRecv(i, place->Sge(0, 64)), 0);
  nics.Connect(*from, *to);
  Context::Current().SleepNs(1000000);  // what the handshake has left to announce
  const uint64_t before = nics.server.device->totals().receive_interrupts;
  for (uint32_t i = 0; i < frames; ++i) {
    EXPECT_EQ(from->PostSend(i, memory->Sge(0, 1)), 0);
    Context::Current().SleepNs(gap_us * 1000);
  }
  for (uint32_t taken = 0; taken < frames;) {
    WorkCompletion room[16];
    taken += static_cast<uint32_t>(nics.server.cq->Wait(room));
  }
  return nics.server.device->totals().receive_interrupts - before;
}

TEST(HostStackTest, GivenFramesCloserThanTheDelayWhenEachStartsItAnewThenOneInterruptTakesAll) {
  Profile profile = Profile::Load(kGigabit);
  profile.Set("core.receive_interrupt_frames", 0, "the test");
  EXPECT_EQ(InterruptsFor(profile, 12, 50), 1u);
  profile.Set("core.receive_interrupt_restart", 0, "the test");
  EXPECT_GE(InterruptsFor(profile, 12, 50), 5u);
}

TEST(HostStackTest, GivenALimitOfWaitingFramesWhenItIsReachedThenTheInterruptComesAtOnce) {
  Profile profile = Profile::Load(kGigabit);
  profile.Set("core.receive_interrupt_frames", 4, "the test");
  EXPECT_EQ(InterruptsFor(profile, 12, 50), 3u);
}

TEST(HostStackTest, GivenOneProcessorThenProgramsAndStackTakeNoMoreThanAllOfIt) {
  Profile profile = Profile::Load(std::string(kGigabit) + "+linux24-storage");
  const ScenarioResult one = RunScenario("nbd", profile, {{"bytes", "20000000"}});
  profile.Set("core.runs_programs", 0, "the test");
  const ScenarioResult several = RunScenario("nbd", profile, {{"bytes", "20000000"}});
  EXPECT_LE(one.Metric("write_client_host_utilisation"), 1.001);
  EXPECT_GT(one.Metric("write_client_host_utilisation"), 0.95);
  EXPECT_GT(several.Metric("write_client_host_utilisation"), 1.2);
  EXPECT_LT(one.Metric("write_throughput_MB_per_s"),
            0.8 * several.Metric("write_throughput_MB_per_s"));
  // The same work all the same.
  EXPECT_NEAR(one.Metric("write_MB_per_cpu_s"), several.Metric("write_MB_per_cpu_s"), 1.5);
}

// The relations that the paper states of host-based stacks (sections 4.2.1 and 4.2.3).

double QpipThroughput(double mtu) {
  Profile adapter = Profile::Load("lanai9-hardware-checksum");
  if (mtu != 0) adapter.Set("link.mtu", mtu, "the paper's");
  return RunScenario("ttcp", adapter, {}).Metric("throughput_MB_per_s");
}
ScenarioResult HostTtcp(const char* profile) {
  return RunScenario("ttcp", Profile::Load(profile), {{"completion", "wait"}});
}

TEST(PaperRelations, GivenTtcpOnTheHostThenItTakesHalfToThreeQuartersOfAProcessor) {
  for (const char* profile : {kGigabit, kMyrinet}) {
    const ScenarioResult result = HostTtcp(profile);
    for (const char* end : {"sender_host_utilisation", "receiver_host_utilisation"}) {
      EXPECT_GE(result.Metric(end), 0.5) << profile << ' ' << end;
      EXPECT_LE(result.Metric(end), 0.75) << profile << ' ' << end;
    }
  }
}

TEST(PaperRelations, GivenMtu1500ThenTheAdapterIs22PercentBehindGigabitEthernet) {
  EXPECT_NEAR(QpipThroughput(1500) / HostTtcp(kGigabit).Metric("throughput_MB_per_s"), 0.78,
              0.05 * 0.78);
}

TEST(PaperRelations, GivenMtu9000OrItsOwnThenTheAdapterBeatsBothHostStacks) {
  const double myrinet = HostTtcp(kMyrinet).Metric("throughput_MB_per_s");
  EXPECT_GT(QpipThroughput(9000), myrinet);
  EXPECT_GT(QpipThroughput(0), std::max(myrinet, HostTtcp(kGigabit).Metric("throughput_MB_per_s")));
}

TEST(PaperRelations, GivenNbdThenTheAdapterGains40To137PercentAndUpTo133PerProcessorSecond) {
  const ScenarioResult adapter = Nbd("lanai9-hardware-checksum", 9000);
  for (const char* profile : {kGigabit, kMyrinet}) {
    const ScenarioResult host = Nbd(profile);
    const auto gain = [&](const std::string& metric) {
      return adapter.Metric(metric) / host.Metric(metric) - 1;
    };
    for (const std::string pass : {"write", "read"}) {
      EXPECT_GE(gain(pass + "_throughput_MB_per_s"), 0.40) << profile << ' ' << pass;
      EXPECT_LE(gain(pass + "_throughput_MB_per_s"), 1.37) << profile << ' ' << pass;
      EXPECT_GE(gain(pass + "_MB_per_cpu_s"), 0) << profile << ' ' << pass;
      EXPECT_LE(gain(pass + "_MB_per_cpu_s"), 1.33) << profile << ' ' << pass;
    }
  }
}

TEST(NbdTest, GivenTheAdapterThenTheClientWorksForItsFileSystemAlone) {
  const ScenarioResult result = Nbd("lanai9-hardware-checksum", 9000);
  for (const std::string pass : {"write", "read"}) {
    const double files = result.Metric(pass + "_filesystem_utilisation");
    EXPECT_GT(files, 0.26) << pass;
    // Interrupts and wake-ups, a few a request; nothing for TCP/IP.
    EXPECT_LT(result.Metric(pass + "_client_host_utilisation"), files + 0.04) << pass;
  }
}

TEST(NbdTest, GivenAHostStackThenAProcessorSecondMovesLess) {
  const ScenarioResult adapter = Nbd("lanai9-hardware-checksum", 9000);
  for (const char* profile : {kGigabit, kMyrinet}) {
    const ScenarioResult host = Nbd(profile);
    for (const std::string metric : {"write_MB_per_cpu_s", "read_MB_per_cpu_s"}) {
      EXPECT_LT(host.Metric(metric), adapter.Metric(metric)) << profile << " " << metric;
    }
  }
}

TEST(NbdTest, GivenADiskThenItsRateIsTheLimit) {
  Profile profile = Profile::Load("lanai9-hardware-checksum+linux24-storage");
  profile.Set("storage.disk_bytes_per_s", 10e6, "the test");
  const ScenarioResult result = RunScenario("nbd", profile, {{"bytes", "5000000"}});
  EXPECT_LT(result.Metric("write_throughput_MB_per_s"), 10);
  EXPECT_GT(result.Metric("write_throughput_MB_per_s"), 8);
  EXPECT_LT(result.Metric("read_throughput_MB_per_s"), 10);
}

TEST(NbdTest, GivenAProfileWithoutStorageThenTheErrorNamesTheDelta) {
  try {
    RunScenario("nbd", Profile::Load("lanai9-hardware-checksum"), {});
    FAIL();
  } catch (const ProfileError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("+linux24-storage"));
  }
}

}  // namespace
}  // namespace qpip::sim

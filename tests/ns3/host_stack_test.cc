// Host-based stacks: the core is the host's processor and hears of frames by interrupts.
#include <gmock/gmock.h>

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

TEST(HostStackTest, GivenOneProcessorThenProgramsAndStackTakeNoMoreThanAllOfIt) {
  const ScenarioResult one = Nbd(std::string(kGigabit) + "+one-processor");
  const ScenarioResult several = Nbd(kGigabit);
  EXPECT_LE(one.Metric("write_client_host_utilisation"), 1.001);
  EXPECT_GT(one.Metric("write_client_host_utilisation"), 0.95);
  EXPECT_GT(several.Metric("write_client_host_utilisation"), 1.2);
  EXPECT_LT(one.Metric("write_throughput_MB_per_s"),
            0.8 * several.Metric("write_throughput_MB_per_s"));
  // The same work all the same.
  EXPECT_NEAR(one.Metric("write_MB_per_cpu_s"), several.Metric("write_MB_per_cpu_s"), 1.5);
}

// The paper's relations, as far as constants that were written down beforehand bear them out.
TEST(HostStackTest, GivenGigabitEthernetThenItBeatsTheAdapterAtItsMtuAndTakesAProcessor) {
  Profile adapter = Profile::Load("lanai9-hardware-checksum");
  adapter.Set("link.mtu", 1500, "the paper's");
  const ScenarioResult host = Ttcp(Profile::Load(kGigabit));
  const ScenarioResult nic = RunScenario("ttcp", adapter, {});
  EXPECT_GT(host.Metric("throughput_MB_per_s"), nic.Metric("throughput_MB_per_s"));
  EXPECT_GT(host.Metric("receiver_host_utilisation"), 0.5);
}

TEST(HostStackTest, GivenTheNativeMtuThenTheAdapterBeatsGigabitEthernet) {
  const double adapter = RunScenario("ttcp", Profile::Load("lanai9-hardware-checksum"), {})
                             .Metric("throughput_MB_per_s");
  EXPECT_GT(adapter, Ttcp(Profile::Load(kGigabit)).Metric("throughput_MB_per_s"));
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

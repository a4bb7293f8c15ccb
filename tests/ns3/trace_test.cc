// What is recorded of simulated NICs, and what is read from it.
#include <gmock/gmock.h>

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "sim/ns3/paper/message_life.h"
#include "sim/ns3/scenario/scenario.h"
#include "sim/ns3/trace/critical_path.h"
#include "sim/ns3/trace/occupancy.h"
#include "sim/ns3/trace/trace_event.h"
#include "two_sim_nics.h"

namespace qpip::sim {
namespace {

constexpr const char* kPrototype = "lanai9-hardware-checksum";

Activity Busy(uint64_t start_ps, uint64_t end_ps, Resource resource = Resource::kDmaRead) {
  Activity activity;
  activity.start_ps = start_ps;
  activity.end_ps = end_ps;
  activity.name = "fetch";
  activity.resource = resource;
  return activity;
}

TEST(OccupancyTest, GivenActivitiesAcrossBinsWhenComputedThenEachBinHasItsPart) {
  Recording recording;
  recording.hosts = 1;
  recording.activities = {Busy(0, 15), Busy(20, 60)};
  const Occupancy occupancy = ComputeOccupancy(recording, 10, 50, 4);
  const ResourceOccupancy& engine = occupancy.at(0, Resource::kDmaRead);
  EXPECT_EQ(engine.busy_ps, 5u + 30u);
  EXPECT_DOUBLE_EQ(occupancy.Utilisation(engine.busy_ps), 35.0 / 40.0);
  EXPECT_THAT(engine.parts.at("fetch").bins_ps, testing::ElementsAre(5, 10, 10, 10));
  EXPECT_EQ(occupancy.at(0, Resource::kCore).busy_ps, 0u);
}

TEST(OccupancyTest, GivenAnEmptySpanWhenComputedThenNothingIsBusy) {
  Recording recording;
  recording.hosts = 1;
  recording.activities = {Busy(0, 15)};
  EXPECT_EQ(ComputeOccupancy(recording, 10, 10, 4).at(0, Resource::kDmaRead).busy_ps, 0u);
}

TEST(RecordingTest, GivenAScenarioRunByNameWhenRecordedThenUtilisationIsTheScenarios) {
  ScopedRecording recorder;
  const ScenarioResult result =
      RunScenario("ttcp", Profile::Load(kPrototype), {{"bytes", "1000000"}});
  const Recording& recording = recorder.recording();
  ASSERT_EQ(recording.hosts, 2u);
  EXPECT_FALSE(recording.truncated);
  EXPECT_EQ(CountReceiveCompletions(recording), 62u);  // 1 MB in 16 KiB
  // The scenario measures from the connection on; the rest of the run is short.
  const Occupancy all = ComputeOccupancy(recording, 0, recording.EndPs(), 1);
  EXPECT_NEAR(all.Utilisation(all.at(1, Resource::kDmaRead).busy_ps),
              result.Metric("sender_dma_read_utilisation"), 0.02);
  EXPECT_NEAR(all.Utilisation(all.at(0, Resource::kCore).busy_ps),
              result.Metric("receiver_core_utilisation"), 0.02);
}

TEST(RecordingTest, GivenALimitWhenItIsReachedThenTheRecordingSaysSo) {
  ScopedRecording recorder(100);
  RunScenario("ping", Profile::Load(kPrototype), {{"count", "10"}});
  EXPECT_TRUE(recorder.recording().truncated);
  EXPECT_EQ(recorder.recording().activities.size(), 100u);
}

void ExpectWithoutGaps(const std::vector<PathStep>& path, uint64_t start_ps, uint64_t end_ps) {
  ASSERT_FALSE(path.empty());
  EXPECT_EQ(path.front().start_ps, start_ps);
  EXPECT_EQ(path.back().end_ps, end_ps);
  for (size_t i = 1; i < path.size(); ++i) EXPECT_EQ(path[i].start_ps, path[i - 1].end_ps) << i;
}

uint64_t TimeIn(const std::vector<PathStep>& path, const std::string& resource) {
  uint64_t ps = 0;
  for (const PathStep& step : path) {
    if (step.resource == resource) ps += step.end_ps - step.start_ps;
  }
  return ps;
}

TEST(CriticalPathTest, GivenALoneMessageWhenWalkedBackThenItsLatencyIsAccountedFor) {
  const paper::MessageLife life = paper::RunMessageLife(Profile::Load(kPrototype), 1);
  ExpectWithoutGaps(life.to_receiver, life.posted_ps, life.received_ps);
  ExpectWithoutGaps(life.to_sender, life.posted_ps, life.completed_ps);
  EXPECT_EQ(TimeIn(life.to_receiver, "waiting"), 0u);
  // Tables 2 and 3 without what follows the send and the completion: 21.5 - 1 (send, of which the
  // frame leaves at the beginning) - 1.5, and 22 - 1.5.
  EXPECT_NEAR(static_cast<double>(TimeIn(life.to_receiver, "core")) / 1e6, 39.5, 0.1);
}

TEST(CriticalPathTest, GivenALargeMessageWhenWalkedBackThenDmaAndLinkAreMostOfIt) {
  const paper::MessageLife life = paper::RunMessageLife(Profile::Load(kPrototype), 16384);
  ExpectWithoutGaps(life.to_receiver, life.posted_ps, life.received_ps);
  EXPECT_NEAR(static_cast<double>(TimeIn(life.to_receiver, "link")) / 1e6, 16464 * 0.004, 1);
  EXPECT_NEAR(static_cast<double>(TimeIn(life.to_receiver, "DMA write")) / 1e6, 16384 / 120.5, 1);
}

TEST(CriticalPathTest, GivenABulkTransferWhenAMessageIsAskedForThenItBeginsWithItsWorkRequest) {
  ScopedRecording recorder;
  RunScenario("ttcp", Profile::Load(kPrototype), {{"bytes", "1000000"}});
  const std::vector<PathStep> path = MessagePath(recorder.recording(), 30);
  ASSERT_FALSE(path.empty());
  EXPECT_EQ(path.front().host, 1u);
  EXPECT_EQ(path.front().resource, "DMA read");
  EXPECT_EQ(path.back().host, 0u);
  EXPECT_EQ(path.back().label, "completion");
  EXPECT_THAT(MessagePath(recorder.recording(), 100000), testing::IsEmpty());
}

TEST(TraceEventTest, GivenARecordingWhenWrittenThenEveryTrackOfBothNicsHasSlices) {
  ScopedRecording recorder;
  RunScenario("ping", Profile::Load(kPrototype), {{"count", "5"}});
  std::ostringstream text;
  WriteTraceEvents(recorder.recording(), text);
  const nlohmann::json trace = nlohmann::json::parse(text.str());
  std::set<std::pair<int, int>> tracks;
  std::set<std::pair<int, std::string>> curves;
  for (const auto& event : trace["traceEvents"]) {
    if (event["ph"] == "C") {
      curves.emplace(event["pid"], event["name"]);
      EXPECT_GT(event["args"]["bytes"], 0);
    }
    if (event["ph"] == "X") {
      tracks.emplace(event["pid"], event["tid"]);
      EXPECT_GT(event["dur"].get<double>(), 0);
    }
  }
  EXPECT_EQ(tracks.size(), 2u * 8u);  // four FSMs, two engines, two directions of the link
  EXPECT_EQ(curves.size(), 2u);       // a congestion window each
}

/// Sums up what the trace source reports.
struct StageSum {
  uint64_t ps = 0;
  std::map<std::string, int> stages;
  void Add(const char* stage, const char* variant, ns3::Time, ns3::Time duration) {
    ps += static_cast<uint64_t>(duration.GetPicoSeconds());
    ++stages[std::string(stage) + "." + variant];
  }
};

TEST(CoreStageTrace, GivenASinkConnectedByNameWhenAMessageArrivesThenItsStagesAreTheCoresTime) {
  StageSum sum;  // outlives the NICs, whose end costs their cores time
  test::TwoSimNics nics;
  ASSERT_TRUE(nics.server.device->TraceConnectWithoutContext(
      "CoreStage", ns3::MakeCallback(&StageSum::Add, &sum)));
  nics.Open();
  QpOptions options;
  options.send_cq = options.recv_cq = nics.client.cq.get();
  auto from = nics.client.nic->CreateQp(*nics.client.pd, options);
  options.send_cq = options.recv_cq = nics.server.cq.get();
  auto to = nics.server.nic->CreateQp(*nics.server.pd, options);
  auto memory = nics.client.pd->Allocate(64);
  auto place = nics.server.pd->Allocate(64);
  ASSERT_EQ(to->PostRecv(1, place->Sge(0, 64)), 0);
  nics.Connect(*from, *to);
  ASSERT_EQ(from->PostSend(1, memory->Sge(0, 1)), 0);
  WorkCompletion wc;
  ASSERT_EQ(nics.server.cq->Wait({&wc, 1}), 1u);
  EXPECT_EQ(sum.ps, nics.server.device->totals().core_busy_ps);
  EXPECT_EQ(sum.stages["rx-put-data.data"], 1);
  EXPECT_EQ(sum.stages.count("tx-get-data.data"), 0u);
}

}  // namespace
}  // namespace qpip::sim

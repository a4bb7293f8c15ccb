// Clock, occupancy table and timeline.

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>

#include "lanai_scripted.h"
#include "sim/lanai/clock.h"
#include "sim/lanai/occupancy.h"
#include "sim/lanai/timeline.h"

namespace qpip::lanai::testing {
namespace {

using nlohmann::json;

/// A file of a test's own, removed at its end.
class TemporaryFile {
 public:
  TemporaryFile() {
    const int descriptor = mkstemp(path_);
    if (descriptor >= 0) close(descriptor);
  }
  ~TemporaryFile() { unlink(path_); }
  const char* path() const { return path_; }
  json Parse() const {
    std::ifstream file(path_);
    return json::parse(file);
  }

 private:
  char path_[32] = "/tmp/qpip-timeline-XXXXXX";
};

// --- Clock

TEST(CycleClock, GivenManyReadingsWhenComparedThenTheyNeverGoBackAndStayBetweenTheKernels) {
  CycleClock clock;
  uint64_t last = 0;
  const uint64_t begin = MonotonicNs();
  // Long enough to be calibrated and re-aligned several times.
  while (MonotonicNs() - begin < 10000000) {
    const uint64_t before = MonotonicNs();
    const uint64_t now = clock.NowNs();
    const uint64_t after = MonotonicNs();
    ASSERT_GE(now, last);
    // Between alignments it may be off by the error of the scale, below 0.1 us; this is generous.
    ASSERT_GE(now + 20000, before);
    ASSERT_LE(now, after + 20000);
    last = now;
  }
  EXPECT_GT(clock.NanosecondsPerCycle(), 0.01);
  EXPECT_LT(clock.NanosecondsPerCycle(), 100.0);
}

// --- Occupancy

TEST(CycleHistogram, GivenNothingWhenAskedThenAllIsZero) {
  const CycleHistogram histogram;
  EXPECT_EQ(histogram.count(), 0u);
  EXPECT_EQ(histogram.min(), 0u);
  EXPECT_EQ(histogram.Mean(), 0.0);
  EXPECT_EQ(histogram.Quantile(0.5), 0u);
}

TEST(CycleHistogram, GivenValuesWhenAskedThenExtremesAndMeanAreExact) {
  CycleHistogram histogram;
  for (const uint64_t value : {10u, 20u, 90u}) histogram.Add(value);
  EXPECT_EQ(histogram.count(), 3u);
  EXPECT_EQ(histogram.min(), 10u);
  EXPECT_EQ(histogram.max(), 90u);
  EXPECT_DOUBLE_EQ(histogram.Mean(), 40.0);
}

TEST(CycleHistogram, GivenOneValueOfAnySizeWhenAskedThenQuantilesAreThatValue) {
  for (const uint64_t value : {0ull, 1ull, 7ull, 8ull, 9ull, 1000ull, 1ull << 39, ~0ull}) {
    CycleHistogram histogram;
    histogram.Add(value);
    EXPECT_EQ(histogram.Quantile(0.5), value);
    EXPECT_EQ(histogram.Quantile(0.99), value);
  }
}

TEST(CycleHistogram, GivenAUniformSpreadWhenAskedThenQuantilesAreWithinAQuarter) {
  CycleHistogram histogram;
  for (uint64_t value = 1; value <= 10000; ++value) histogram.Add(value);
  for (const double fraction : {0.1, 0.5, 0.9, 0.99}) {
    const double truth = fraction * 10000;
    const auto estimate = static_cast<double>(histogram.Quantile(fraction));
    EXPECT_GE(estimate, truth);
    EXPECT_LE(estimate, truth * 1.25);
  }
}

TEST(Occupancy, GivenChargesWhenExportedThenOnlyWhatOccurredIsThereInBothUnits) {
  Occupancy occupancy;
  occupancy.Add(fw::Stage::kTxGetWr, fw::Variant::kData, 100);
  occupancy.Add(fw::Stage::kTxGetWr, fw::Variant::kData, 300);
  occupancy.Add(fw::Stage::kRxPutData, fw::Variant::kDataAck, 50);
  const json rows = occupancy.ToJson(0.5);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["stage"], "tx get wr");
  EXPECT_EQ(rows[0]["side"], "transmit");
  EXPECT_EQ(rows[0]["variant"], "data");
  EXPECT_EQ(rows[0]["count"], 2);
  EXPECT_EQ(rows[0]["cycles"]["mean"], 200.0);
  EXPECT_EQ(rows[0]["ns"]["mean"], 100.0);
  EXPECT_EQ(rows[0]["ns"]["max"], 150.0);
  EXPECT_EQ(rows[1]["stage"], "rx put data");
  EXPECT_EQ(rows[1]["side"], "receive");
  EXPECT_EQ(rows[1]["variant"], "data-ack");
}

TEST(Occupancy, GivenAMeasuredPortWhenTheFirmwareChargesThenTheCyclesBelongToTheStage) {
  ScriptedWire wire(std::make_shared<ScriptedLink>(), 0);
  DoorbellFifo doorbells;
  Occupancy occupancy;
  Ports ports(wire, doorbells, &occupancy, nullptr);
  const fw::Platform& port = ports.table();
  ASSERT_NE(port.charge, nullptr);
  EXPECT_EQ(port.trace, nullptr);
  const uint64_t before = ReadCycles();
  ports.MarkStepBegin();
  port.charge(port.context, fw::Stage::kTimer, fw::Variant::kControl, 0);
  port.charge(port.context, fw::Stage::kTxSend, fw::Variant::kAck, 0);
  const uint64_t elapsed = ReadCycles() - before;
  const CycleHistogram& timer = occupancy.at(fw::Stage::kTimer, fw::Variant::kControl);
  const CycleHistogram& send = occupancy.at(fw::Stage::kTxSend, fw::Variant::kAck);
  EXPECT_EQ(timer.count(), 1u);
  EXPECT_EQ(send.count(), 1u);
  EXPECT_LE(timer.total() + send.total(), elapsed);
}

// --- Timeline

TEST(Timeline, GivenRecordsOfEachKindWhenWrittenThenTheFileIsTraceEventJson) {
  TemporaryFile file;
  Timeline timeline(file.path());
  timeline.AddOperation(Track::kDmaToNic, EngineOperation::kRead, 64, 1100, 1200);
  timeline.AddStage(fw::Stage::kTxGetWr, fw::Variant::kData, 1000, 3000);
  timeline.AddTrace({fw::kTraceSendFetched, 5, 9, 0}, 2000);
  timeline.AddTrace({fw::kTraceTcpState, 5, 1, 3}, 2500);
  timeline.Write("a NIC", 0.5);
  const json trace = file.Parse();
  EXPECT_EQ(trace["otherData"]["records_lost"], 0);
  json stage, operation, request, state;
  std::vector<std::string> tracks;
  for (const json& event : trace["traceEvents"]) {
    if (event["ph"] == "M" && event["name"] == "thread_name")
      tracks.push_back(event["args"]["name"]);
    if (event["name"] == "tx get wr") stage = event;
    if (event["name"] == "read") operation = event;
    if (event["ph"] == "b") request = event;
    if (event["ph"] == "i") state = event;
  }
  EXPECT_EQ(tracks.size(), 9u);
  EXPECT_EQ(stage["ph"], "X");
  EXPECT_EQ(stage["tid"], static_cast<int>(Track::kTransmitFsm));
  EXPECT_EQ(stage["ts"], 0.0);   // the earliest begin, though not the first record
  EXPECT_EQ(stage["dur"], 1.0);  // 2000 cycles of half a nanosecond, in microseconds
  EXPECT_EQ(stage["args"]["variant"], "data");
  EXPECT_EQ(operation["args"]["bytes"], 64);
  EXPECT_NEAR(operation["ts"].get<double>(), 0.05, 1e-9);
  EXPECT_EQ(request["id"], "5:9");
  EXPECT_EQ(state["tid"], static_cast<int>(Track::kConnections));
  EXPECT_EQ(state["args"]["qp"], 5);
}

TEST(Timeline, GivenACongestionWindowWhenWrittenThenItIsACurve) {
  TemporaryFile file;
  Timeline timeline(file.path());
  timeline.AddTrace({fw::kTraceCongestion, 5, 14280, 110}, 1000);
  timeline.AddTrace({fw::kTraceCongestion, 5, 1428, 120}, 3000);
  timeline.Write("a NIC", 0.5);
  std::vector<json> curve;
  const json trace = file.Parse();
  for (const json& event : trace["traceEvents"]) {
    if (event["ph"] == "C") curve.push_back(event);
  }
  ASSERT_EQ(curve.size(), 2u);
  EXPECT_EQ(curve[0]["name"], "QP 5 congestion window");
  EXPECT_EQ(curve[0]["args"]["bytes"], 14280);
  EXPECT_EQ(curve[1]["args"]["bytes"], 1428);
  EXPECT_EQ(curve[1]["ts"], 1.0);
}

TEST(Timeline, GivenWorkRequestsWhenWrittenThenTheLastStepOfEachEndsItsSlice) {
  TemporaryFile file;
  Timeline timeline(file.path());
  // Request 1 is signalled, request 2 is not, request 3 is on its way.
  for (const uint32_t kind : {fw::kTraceSendFetched, fw::kTraceSendSent, fw::kTraceSendAcked}) {
    for (const uint32_t wqe : {1u, 2u}) timeline.AddTrace({kind, 7, wqe, 0}, 100);
  }
  timeline.AddTrace({fw::kTraceSendCompleted, 7, 1, 0}, 100);
  timeline.AddTrace({fw::kTraceSendFetched, 7, 3, 0}, 100);
  timeline.Write("a NIC", 1.0);
  std::map<std::string, std::string> phases;
  std::map<std::string, std::string> last_step;
  const json trace = file.Parse();
  for (const json& event : trace["traceEvents"]) {
    if (!event.contains("id")) continue;
    phases[event["id"]] += event["ph"].get<std::string>();
    last_step[event["id"]] = event["args"]["step"];
  }
  EXPECT_EQ(phases,
            (std::map<std::string, std::string>{{"7:1", "bnne"}, {"7:2", "bne"}, {"7:3", "b"}}));
  EXPECT_EQ(last_step["7:1"], "completed");
  EXPECT_EQ(last_step["7:2"], "acknowledged");
}

TEST(Timeline, GivenMoreRecordsThanItKeepsWhenWrittenThenTheLatestAreThere) {
  TemporaryFile file;
  Timeline timeline(file.path(), 8);
  for (uint32_t i = 0; i < 20; ++i) timeline.AddTrace({fw::kTraceSendPosted, 1, i, 0}, 100 + i);
  EXPECT_EQ(timeline.recorded(), 20u);
  timeline.Write("a NIC", 1.0);
  const json trace = file.Parse();
  EXPECT_EQ(trace["otherData"]["records_lost"], 12);
  std::vector<uint32_t> producers;
  for (const json& event : trace["traceEvents"]) {
    if (event["ph"] == "i") producers.push_back(event["args"]["producer"]);
  }
  EXPECT_EQ(producers, (std::vector<uint32_t>{12, 13, 14, 15, 16, 17, 18, 19}));
}

TEST(Timeline, GivenAPathThatCannotBeWrittenWhenOpenedThenTheErrorNamesIt) {
  try {
    Timeline timeline("/nonexistent/timeline.json");
    FAIL() << "no error";
  } catch (const std::system_error& error) {
    EXPECT_NE(std::string(error.what()).find("/nonexistent/timeline.json"), std::string::npos);
  }
}

TEST(Timeline, GivenAFullDiskWhenWrittenThenTheErrorNamesThePath) {
  Timeline timeline("/dev/full");
  timeline.AddTrace({fw::kTraceSendPosted, 1, 1, 0}, 100);
  try {
    timeline.Write("a NIC", 1.0);
    FAIL() << "no error";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code().value(), ENOSPC);
    EXPECT_NE(std::string(error.what()).find("/dev/full"), std::string::npos);
  }
}

TEST(Timeline, GivenANicWithATimelineWhenItStopsThenTheFileShowsWhatItsEnginesDid) {
  TemporaryFile file;
  auto link = std::make_shared<ScriptedLink>();
  NicUri uri;
  uri.timeline = file.path();
  uri.occupancy = true;
  Mailboxes mailboxes;
  struct Handler : abi::InterruptHandler {
    void OnCompletionInterrupt(uint32_t) override {}
    void OnEventInterrupt() override {}
  } handler;
  const auto port = MakeHostPort(uri, std::make_unique<ScriptedWire>(link, 0), scripted::kFirmware);
  port->Start({reinterpret_cast<uint64_t>(&mailboxes), 0, 0, 0}, &handler);
  port->RingDoorbell(abi::Doorbell::Make(abi::DoorbellKind::kSendPosted, 0, 1));
  while (json::parse(port->StatisticsJson())["timeline"]["records"] == 0) port->Drive(false);
  port->Stop();
  bool sent = false;
  const json trace = file.Parse();
  for (const json& event : trace["traceEvents"]) {
    sent |= event["name"] == "send" && event["tid"] == static_cast<int>(Track::kLinkTransmit);
  }
  EXPECT_TRUE(sent);
}

}  // namespace
}  // namespace qpip::lanai::testing

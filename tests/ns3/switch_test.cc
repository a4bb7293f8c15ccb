// A switch by itself: what it marks and drops.
#include <gmock/gmock.h>

#include <memory>
#include <utility>
#include <vector>

#include "sim/ns3/model/fabric.h"
#include "sim/ns3/model/virtual_time.h"

namespace qpip::sim {
namespace {

using testing::ElementsAre;

constexpr uint64_t kLatencyNs = 300;
constexpr uint64_t kDelayNs = 100;
constexpr uint8_t kEct0 = 0x20, kCongestion = 0x30;  // where they are in the second byte

struct Destination : LinkReceiver {
  std::vector<uint8_t> ecn;
  bool wants_head() const override { return false; }
  void OnFrame(FramePtr frame, uint64_t) override { ecn.push_back(frame->header()[1] & 0x30); }
};

struct Upstream : CreditSink {
  std::vector<std::pair<uint64_t, uint32_t>> credits;  ///< when and how much
  void ReturnCredit(uint32_t bytes, uint64_t at_ns) override { credits.emplace_back(at_ns, bytes); }
  uint64_t delay_ns() const override { return kDelayNs; }
  uint32_t WireBytes(uint32_t frame_bytes) const override { return frame_bytes + 8; }
};

/// Two inputs, and one output of 4 ns a byte. Frames are of 1000 bytes with their framing.
class SwitchTest : public testing::Test {
 protected:
  ~SwitchTest() override { ns3::Simulator::Destroy(); }

  void Build(SwitchOptions options) {
    options.latency_ns = kLatencyNs;
    switch_ = std::make_unique<Switch>(3, options);
    for (uint32_t port = 0; port < 2; ++port) switch_->SetUpstream(port, &upstreams_[port]);
    auto output = std::make_unique<LinkTransmitter>(LinkOptions{4000, kDelayNs, 8, 1u << 20});
    output->Connect(&destination_, 1);
    switch_->SetOutput(2, std::move(output));
  }
  /// A frame's head is there now, its tail 4 us later.
  void Arrive(uint32_t port, uint8_t ecn = kEct0) {
    std::vector<uint8_t> packet(992);
    packet[0] = 0x60;
    packet[1] = ecn;
    FramePtr frame = Frame::Create();
    frame->SetBytes(packet);
    frame->route = &route_;
    switch_->input(port)->OnFrame(std::move(frame), NowNs() + 4000);
  }

  const std::vector<uint8_t> route_ = {2};
  Destination destination_;
  Upstream upstreams_[2];
  std::unique_ptr<Switch> switch_;
};

TEST_F(SwitchTest, GivenNoLimitsWhenManyFramesComeThenAllLeaveAsTheyAre) {
  Build({});
  for (uint32_t i = 0; i < 50; ++i) Arrive(i % 2);
  ns3::Simulator::Run();
  EXPECT_EQ(destination_.ecn, std::vector<uint8_t>(50, kEct0));
  EXPECT_EQ(switch_->marked + switch_->dropped, 0u);
}

TEST_F(SwitchTest, GivenALimitWhenMoreIsBeforeTheOutputThenWhatComesIsDropped) {
  Build({.drop_bytes = 2000});
  Arrive(0);
  Arrive(1);
  Arrive(1);
  ns3::Simulator::Run();
  EXPECT_EQ(destination_.ecn.size(), 2u);
  EXPECT_EQ(switch_->dropped, 1u);
}

TEST_F(SwitchTest, GivenALimitWhenFramesHaveLeftThenThereIsRoomAgain) {
  Build({.drop_bytes = 2000});
  Arrive(0);
  Arrive(1);
  ns3::Simulator::Schedule(ns3::NanoSeconds(3999), [this] { Arrive(0); });  // a byte too early
  ns3::Simulator::Schedule(ns3::NanoSeconds(4000), [this] { Arrive(1); });
  ns3::Simulator::Run();
  EXPECT_EQ(destination_.ecn.size(), 3u);
  EXPECT_EQ(switch_->dropped, 1u);
}

TEST_F(SwitchTest, GivenAFrameThatIsDroppedThenItsRoomInTheInputComesBackBehindItsTail) {
  Build({.drop_bytes = 1000});
  Arrive(0);
  Arrive(1);
  EXPECT_THAT(upstreams_[1].credits, ElementsAre(std::pair(4000 + kDelayNs, 1000u)));
  ns3::Simulator::Run();
  EXPECT_EQ(upstreams_[0].credits.size(), 1u);
  EXPECT_EQ(upstreams_[1].credits.size(), 1u);
}

TEST_F(SwitchTest, GivenAThresholdWhenMoreIsBeforeTheOutputThenEcnCapableFramesAreMarked) {
  Build({.mark_bytes = 1000});
  Arrive(0);
  Arrive(1);     // 1000 bytes are before it: not more
  Arrive(0);     // 2000
  Arrive(1, 0);  // cannot be marked
  ns3::Simulator::Run();
  EXPECT_THAT(destination_.ecn, ElementsAre(kEct0, kEct0, kCongestion, 0));
  EXPECT_EQ(switch_->marked, 1u);
  EXPECT_EQ(switch_->dropped, 0u);
}

TEST_F(SwitchTest, GivenAFrameThatIsMarkedAlreadyWhenItIsToBeThenItCountsOnce) {
  Build({.mark_bytes = 1});
  Arrive(0);
  Arrive(1, kCongestion);
  ns3::Simulator::Run();
  EXPECT_THAT(destination_.ecn, ElementsAre(kEct0, kCongestion));
  EXPECT_EQ(switch_->marked, 0u);
}

}  // namespace
}  // namespace qpip::sim

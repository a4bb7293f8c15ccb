// One direction of a cable: times, credits, order.
#include <gmock/gmock.h>

#include <vector>

#include "sim/ns3/model/link.h"
#include "sim/ns3/model/virtual_time.h"

namespace qpip::sim {
namespace {

constexpr uint64_t kDelayNs = 100;
constexpr double kPsPerByte = 4000;  // 2 Gb/s

/// Notes when frames arrive; keeps their room until told otherwise.
struct Receiver : LinkReceiver {
  bool head = false;
  std::vector<uint64_t> arrivals_ns;
  std::vector<uint64_t> tails_ns;
  std::vector<uint32_t> lengths;

  bool wants_head() const override { return head; }
  void OnFrame(FramePtr frame, uint64_t tail_ns) override {
    arrivals_ns.push_back(NowNs());
    tails_ns.push_back(tail_ns);
    lengths.push_back(frame->length());
  }
};

class LinkTest : public ::testing::Test {
 protected:
  LinkTest() { link_.Connect(&receiver_, 1); }
  ~LinkTest() override { ns3::Simulator::Destroy(); }

  static LinkOptions Options() {
    LinkOptions options;
    options.per_byte_ps = kPsPerByte;
    options.delay_ns = kDelayNs;
    options.overhead_bytes = 8;
    options.receiver_buffer_bytes = 2000;
    return options;
  }
  static FramePtr MakeFrame(uint32_t bytes) {
    FramePtr frame = Frame::Create();
    const std::vector<uint8_t> content(bytes);
    frame->SetBytes(content);
    return frame;
  }

  LinkTransmitter link_{Options()};
  Receiver receiver_;
};

TEST_F(LinkTest, GivenAnIdleLineWhenSentThenTheTailArrivesAfterSerialisationAndDelay) {
  link_.Send(MakeFrame(992), 0, 0);
  ns3::Simulator::Run();
  // 1000 bytes with framing at 4 ns, and the cable.
  EXPECT_THAT(receiver_.arrivals_ns, ::testing::ElementsAre(4000 + kDelayNs));
}

TEST_F(LinkTest, GivenASwitchWhenSentThenTheHeadArrivesFirst) {
  receiver_.head = true;
  link_.Send(MakeFrame(992), 0, 0);
  ns3::Simulator::Run();
  EXPECT_THAT(receiver_.arrivals_ns, ::testing::ElementsAre(kDelayNs));
  EXPECT_THAT(receiver_.tails_ns, ::testing::ElementsAre(4000 + kDelayNs));
}

TEST_F(LinkTest, GivenABusyLineThenFramesFollowEachOtherInOrder) {
  link_.Send(MakeFrame(492), 0, 0);
  link_.Send(MakeFrame(242), 0, 0);
  ns3::Simulator::Run();
  EXPECT_THAT(receiver_.lengths, ::testing::ElementsAre(492, 242));
  EXPECT_THAT(receiver_.arrivals_ns, ::testing::ElementsAre(2000 + kDelayNs, 3000 + kDelayNs));
}

TEST_F(LinkTest, GivenAFrameFromASlowerLineThenItsTailIsWaitedFor) {
  link_.Send(MakeFrame(92), 1000, 9000);
  ns3::Simulator::Run();
  EXPECT_THAT(receiver_.arrivals_ns, ::testing::ElementsAre(9000 + kDelayNs));
  EXPECT_EQ(link_.busy_ns, 8000u);
}

TEST_F(LinkTest, GivenAFullReceiverWhenRoomComesBackThenTheNextFrameStarts) {
  for (int i = 0; i < 3; ++i) link_.Send(MakeFrame(992), 0, 0);
  ns3::Simulator::Run();
  ASSERT_EQ(receiver_.arrivals_ns.size(), 2u);  // 2000 bytes of room
  // Known early, but not to be used before its time.
  link_.ReturnCredit(1000, 50000);
  ns3::Simulator::Run();
  ASSERT_EQ(receiver_.arrivals_ns.size(), 3u);
  EXPECT_EQ(receiver_.arrivals_ns[2], 50000 + 4000 + kDelayNs);
  EXPECT_EQ(link_.blocked_ns, 50000u - 8000u);
}

TEST_F(LinkTest, GivenCreditsInAnyOrderThenEachCountsFromItsOwnTimeOn) {
  for (int i = 0; i < 4; ++i) link_.Send(MakeFrame(992), 0, 0);
  link_.ReturnCredit(1000, 50000);
  link_.ReturnCredit(1000, 20000);  // of a frame that left through another port
  ns3::Simulator::Run();
  EXPECT_THAT(receiver_.arrivals_ns,
              ::testing::ElementsAre(4000 + kDelayNs, 8000 + kDelayNs, 20000 + 4000 + kDelayNs,
                                     50000 + 4000 + kDelayNs));
}

TEST_F(LinkTest, GivenAnErrorModelThenWhatItTakesIsLostAndItsRoomComesBack) {
  auto errors = ns3::CreateObject<ns3::ReceiveListErrorModel>();
  errors->SetList({0, 1});
  link_.set_error_model(errors);
  for (int i = 0; i < 4; ++i) link_.Send(MakeFrame(992), 0, 0);
  ns3::Simulator::Run();
  EXPECT_EQ(receiver_.arrivals_ns.size(), 2u);
  EXPECT_EQ(link_.lost, 2u);
}

TEST(FrameTest, GivenAFlippedBitThenTheSumIsThatOfTheBytes) {
  FramePtr frame = Frame::Create();
  std::vector<uint8_t> bytes(301);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 31);
  frame->SetBytes(bytes);
  for (const uint32_t bit : {320u, 2047u, 2048u, 2400u}) {
    frame->FlipBit(bit);
    bytes[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    FramePtr same = Frame::Create();
    same->SetBytes(bytes);
    EXPECT_EQ(frame->UpperSum(), same->UpperSum()) << bit;
    std::vector<uint8_t> copy(frame->length());
    frame->CopyTo(copy.data());
    EXPECT_EQ(copy, bytes) << bit;
  }
}

}  // namespace
}  // namespace qpip::sim

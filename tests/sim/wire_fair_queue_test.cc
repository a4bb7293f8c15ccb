// Frames that wait for the core take turns by hosts, and by flows of a host.
#include "sim/wire/fair_queue.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "protocols/ipv6/header.h"

namespace qpip::wire {
namespace {

/// Frames whose flow and number can be read from them.
class FairQueueTest : public ::testing::Test {
 protected:
  InFrame Frame(uint8_t host, uint16_t port, uint32_t number, uint8_t protocol = ipv6::kUdp) {
    frames_.push_back(std::make_unique<Made>());
    Made& made = *frames_.back();
    made.bytes[0] = 0x60;
    made.bytes[ipv6::offset::kNextHeader] = protocol;
    made.bytes[ipv6::offset::kSource] = 0xfd;
    made.bytes[ipv6::offset::kSource + 15] = host;
    std::memcpy(made.bytes.data() + ipv6::kHeaderBytes, &port, sizeof port);
    std::memcpy(made.bytes.data() + 60, &number, sizeof number);
    made.piece = {made.bytes.data(), made.bytes.size()};
    InFrame frame;
    frame.pieces = {&made.piece, 1};
    frame.length = static_cast<uint32_t>(made.bytes.size());
    return frame;
  }
  static uint16_t PortOf(const InFrame& frame) {
    uint16_t port = 0;
    std::memcpy(&port, Bytes(frame) + ipv6::kHeaderBytes, sizeof port);
    return port;
  }
  static uint32_t NumberOf(const InFrame& frame) {
    uint32_t number = 0;
    std::memcpy(&number, Bytes(frame) + 60, sizeof number);
    return number;
  }
  static const uint8_t* Bytes(const InFrame& frame) {
    return static_cast<const uint8_t*>(frame.pieces[0].iov_base);
  }
  static uint8_t HostOf(const InFrame& frame) { return Bytes(frame)[ipv6::offset::kSource + 15]; }
  /// A host that shares no turn with `other`.
  uint8_t HostApartFrom(uint8_t other) {
    for (uint8_t host = 1; host < 100; ++host) {
      for (uint32_t i = 0; i < 6; ++i) queue_.Put(Frame(other, 1, i));
      queue_.Put(Frame(host, 1, 0));
      uint32_t place = 0;
      InFrame frame;
      for (uint32_t i = 0; queue_.Take(&frame); ++i) place = HostOf(frame) == host ? i : place;
      if (host != other && place == 1) return host;
    }
    ADD_FAILURE() << "all hosts share a turn";
    return 0;
  }
  /// A port whose flow shares no turn with that of `other`, of the same host.
  uint16_t PortApartFrom(uint16_t other) {
    for (uint16_t port = 1; port < 100; ++port) {
      // Six of the other, then one: it is second unless they share a turn.
      for (uint32_t i = 0; i < 6; ++i) queue_.Put(Frame(1, other, i));
      queue_.Put(Frame(1, port, 0));
      uint32_t place = 0;
      InFrame frame;
      for (uint32_t i = 0; queue_.Take(&frame); ++i) place = PortOf(frame) == port ? i : place;
      if (port != other && place == 1) return port;
    }
    ADD_FAILURE() << "all flows share a turn";
    return 0;
  }

  FairQueue queue_{16};

 private:
  struct Made {
    std::array<uint8_t, 64> bytes = {};
    iovec piece = {};
  };
  std::vector<std::unique_ptr<Made>> frames_;
};

TEST_F(FairQueueTest, GivenNothingThenNobodyHasATurn) {
  InFrame frame;
  EXPECT_TRUE(queue_.empty());
  EXPECT_FALSE(queue_.Take(&frame));
}

TEST_F(FairQueueTest, GivenOneFlowThenItsFramesKeepTheirOrder) {
  for (uint32_t i = 0; i < 16; ++i) queue_.Put(Frame(1, 7, i));
  EXPECT_TRUE(queue_.full());
  InFrame frame;
  for (uint32_t i = 0; i < 16; ++i) {
    ASSERT_TRUE(queue_.Take(&frame));
    EXPECT_EQ(NumberOf(frame), i);
  }
  EXPECT_TRUE(queue_.empty());
}

TEST_F(FairQueueTest, GivenACrowdWhenAnotherFlowsFrameComesThenItIsNext) {
  const uint16_t other = PortApartFrom(1000);
  for (uint32_t i = 0; i < 15; ++i) queue_.Put(Frame(1, 1000, i));
  InFrame frame;
  ASSERT_TRUE(queue_.Take(&frame));
  queue_.Put(Frame(1, other, 0));
  ASSERT_TRUE(queue_.Take(&frame));
  ASSERT_TRUE(queue_.Take(&frame));
  EXPECT_EQ(PortOf(frame), other);
}

TEST_F(FairQueueTest, GivenAHostOfManyFlowsThenTheOthersHaveAsManyTurns) {
  const uint8_t other = HostApartFrom(1);
  for (uint16_t i = 0; i < 12; ++i) queue_.Put(Frame(1, i, 0));
  for (uint32_t i = 0; i < 4; ++i) queue_.Put(Frame(other, 1000, i));
  for (uint32_t i = 0; i < 8; ++i) {
    InFrame frame;
    ASSERT_TRUE(queue_.Take(&frame));
    EXPECT_EQ(HostOf(frame), i % 2 == 0 ? 1 : other);
  }
}

TEST_F(FairQueueTest, GivenItIsFullOfAHostOfManyFlowsThenOneOfThoseIsDropped) {
  const uint8_t other = HostApartFrom(1);
  for (uint32_t i = 0; i < 6; ++i) queue_.Put(Frame(other, 1000, i));
  for (uint16_t i = 0; i < 10; ++i) queue_.Put(Frame(1, i, 0));
  EXPECT_EQ(HostOf(queue_.DropFromLongest()), 1);
}

TEST_F(FairQueueTest, GivenItIsFullWhenOneIsDroppedThenItIsTheLastOfTheLongest) {
  const uint16_t other = PortApartFrom(1000);
  queue_.Put(Frame(1, other, 0));
  queue_.Put(Frame(1, other, 1));
  for (uint32_t i = 0; i < 14; ++i) queue_.Put(Frame(1, 1000, i));
  const InFrame dropped = queue_.DropFromLongest();
  EXPECT_EQ(PortOf(dropped), 1000);
  EXPECT_EQ(NumberOf(dropped), 13u);
  EXPECT_FALSE(queue_.full());
}

TEST_F(FairQueueTest, GivenFragmentsThenOnesOfAHostShareATurnAndSoKeepTheirOrder) {
  constexpr uint8_t kFragment = 44;
  for (uint32_t i = 0; i < 8; ++i) {
    queue_.Put(Frame(1, static_cast<uint16_t>(i * 77), i, kFragment));
  }
  InFrame frame;
  for (uint32_t i = 0; i < 8; ++i) {
    ASSERT_TRUE(queue_.Take(&frame));
    EXPECT_EQ(NumberOf(frame), i);
  }
}

// Against a queue for each flow: nothing is lost or told twice, and flows keep their order.
TEST_F(FairQueueTest, GivenRandomComingsAndGoingsThenEveryFrameLeavesOnceInItsFlowsOrder) {
  std::mt19937 random(1);
  std::map<uint16_t, std::deque<uint32_t>> model;
  size_t held = 0;
  uint32_t number = 0;
  for (int step = 0; step < 20000; ++step) {
    if (random() % 2 == 0) {
      if (queue_.full()) {
        const InFrame dropped = queue_.DropFromLongest();
        std::deque<uint32_t>& flow = model[PortOf(dropped)];
        ASSERT_FALSE(flow.empty());
        ASSERT_EQ(flow.back(), NumberOf(dropped));
        flow.pop_back();
        --held;
      }
      const auto port = static_cast<uint16_t>(random() % 5);
      queue_.Put(Frame(2, port, ++number));
      model[port].push_back(number);
      ++held;
    } else {
      InFrame frame;
      ASSERT_EQ(queue_.Take(&frame), held != 0);
      if (held == 0) continue;
      std::deque<uint32_t>& flow = model[PortOf(frame)];
      ASSERT_FALSE(flow.empty());
      ASSERT_EQ(flow.front(), NumberOf(frame));
      flow.pop_front();
      --held;
    }
    ASSERT_EQ(queue_.empty(), held == 0);
  }
}

}  // namespace
}  // namespace qpip::wire

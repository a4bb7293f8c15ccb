// Paths that drop what is too large without a word (RFC 4821): what the NIC learns and remembers.
#include "packets.h"
#include "protocols/tcp/header.h"
#include "test_support.h"

namespace qpip::fw::test {
namespace {

constexpr uint64_t kSecond = 1000 * kMs;

/// Two NICs and, between them, a path that says nothing.
struct BlackHole : ::testing::TestWithParam<bool> {
  static NicConfig Config() {
    NicConfig config = FirmwareBench::DefaultConfig();
    config.tcp.sack = GetParam();
    return config;
  }
  ConnectedPair pair{{}, Config()};
  HostMemory source{pair.a.hardware, 65536}, sink{pair.b.hardware, 65536};
  uint32_t source_key = pair.a.Register(source, 0), sink_key = pair.b.Register(sink);
  uint32_t dropped = 0;
  size_t largest = 0;  // that got through

  void SetUp() override { FillPattern(source); }
  void Narrow(uint32_t mtu) {
    pair.cable.filter = [this, mtu](Frame& frame, bool from_a) {
      if (from_a && frame.size() > mtu) {
        ++dropped;
        return false;
      }
      if (from_a) largest = std::max(largest, frame.size());
      return true;
    };
  }
  /// 60000 bytes over a connection, in messages of `message`; checks that they arrive.
  void Transfer(TestQp& from, TestQp& to, uint32_t message = 60000) {
    std::memset(sink.data(), 0, sink.size());
    const uint32_t count = 60000 / message;
    for (uint32_t i = 0; i < count; ++i) {
      pair.b.PostRecv(to, {SgeOf(sink, sink_key, i * message, message)});
    }
    pair.cable.Run();
    for (uint32_t i = 0; i < count; ++i) {
      pair.a.PostSend(from, {SgeOf(source, source_key, i * message, message)});
    }
    pair.cable.Run();
    const auto arrived = [&] {
      return std::memcmp(sink.data(), source.data(), size_t{count} * message) == 0;
    };
    for (int ms = 0; ms < 10000 && !arrived(); ++ms) pair.cable.Advance(kMs);
    EXPECT_TRUE(arrived());
    pair.cable.Advance(300 * kMs);  // what is acknowledged late, and the gap between probes
    pair.a.Poll(*pair.cq_a);
    pair.b.Poll(*pair.cq_b);
  }
  void Transfers(int count) {
    for (int i = 0; i < count; ++i) Transfer(*pair.qp_a, *pair.qp_b);
  }
  uint64_t A(abi::NicCounter counter) { return pair.a.Counter(counter); }
};

TEST_P(BlackHole, GivenAPathThatNarrowsWhenTextIsSentThenItArrivesAndTheSearchSettles) {
  Transfers(2);
  Narrow(1400);
  Transfers(1);
  EXPECT_EQ(A(abi::NicCounter::kMtuBlackHoles), 1u);
  EXPECT_EQ(A(abi::NicCounter::kPathMtuReductions), 0u);
  Transfers(15);
  EXPECT_GT(largest, 1392u);
  EXPECT_LE(largest, 1400u);
  EXPECT_GT(A(abi::NicCounter::kMtuProbesSent), A(abi::NicCounter::kMtuProbesSucceeded));
  EXPECT_GT(A(abi::NicCounter::kMtuProbesSucceeded), 0u);
  dropped = 0;
  const uint64_t timeouts = A(abi::NicCounter::kTcpRetransmissionTimeouts);
  Transfers(3);
  EXPECT_EQ(dropped, 0u);
  EXPECT_EQ(A(abi::NicCounter::kTcpRetransmissionTimeouts), timeouts);
}

TEST_P(BlackHole, GivenAPathThatWasFoundWhenAConnectionOpensThenItStartsFromThere) {
  Narrow(1400);
  Transfers(15);
  auto second_a = pair.a.CreateQp(*pair.cq_a);
  auto second_b = pair.b.CreateQp(*pair.cq_b);
  pair.b.Offer(pair.listener, *second_b);
  pair.a.Connect(*second_a, 2, 7);
  pair.cable.Run();
  dropped = 0;
  largest = 0;
  Transfer(*second_a, *second_b);
  EXPECT_EQ(dropped, 0u);
  EXPECT_GT(largest, 1392u);
  EXPECT_EQ(A(abi::NicCounter::kMtuBlackHoles), 1u);
}

TEST_P(BlackHole,
       GivenAPathThatIsSearchedWhenAPeersMssBoundsAConnectionThenItDoesNotBoundOrFreeThePath) {
  Narrow(1400);
  Transfers(1);
  // 1320 bytes of packets: as if the peer had said so.
  auto second_a = pair.a.CreateQp(*pair.cq_a);
  auto second_b = pair.b.CreateQp(*pair.cq_b);
  pair.b.Offer(pair.listener, *second_b);
  const auto narrow = pair.cable.filter;
  pair.cable.filter = [&](Frame& frame, bool from_a) {
    if (!from_a && (frame[40 + 13] & tcp::kSyn) != 0) {
      StoreBe16(&frame[62], 1260);  // the first option
      StoreBe16(&frame[56], 0);
      StoreBe16(&frame[56], static_cast<uint16_t>(~TransportSum(frame, ipv6::kTcp)));
    }
    return narrow(frame, from_a);
  };
  pair.a.Connect(*second_a, 2, 7);
  pair.cable.Run();
  pair.cable.filter = narrow;
  largest = 0;
  for (int i = 0; i < 4; ++i) Transfer(*second_a, *second_b);
  EXPECT_LE(largest, 1320u);
  auto third_a = pair.a.CreateQp(*pair.cq_a);
  auto third_b = pair.b.CreateQp(*pair.cq_b);
  pair.b.Offer(pair.listener, *third_b);
  pair.a.Connect(*third_a, 2, 7);
  pair.cable.Run();
  const uint64_t timeouts = A(abi::NicCounter::kTcpRetransmissionTimeouts);
  for (int i = 0; i < 15; ++i) Transfer(*third_a, *third_b);
  EXPECT_GT(largest, 1392u);
  EXPECT_EQ(A(abi::NicCounter::kTcpRetransmissionTimeouts), timeouts);
  EXPECT_EQ(A(abi::NicCounter::kMtuBlackHoles), 1u);
}

TEST_P(BlackHole, GivenTenMinutesWhenThePathIsStillNarrowThenProbesFindThatOutAndNothingWaits) {
  Narrow(1400);
  Transfers(15);
  pair.a.Advance(601 * kSecond);
  pair.b.now = pair.a.now;
  const uint64_t timeouts = A(abi::NicCounter::kTcpRetransmissionTimeouts);
  const uint64_t probes = A(abi::NicCounter::kMtuProbesSent);
  Transfers(2);
  EXPECT_GT(A(abi::NicCounter::kMtuProbesSent), probes);
  EXPECT_EQ(A(abi::NicCounter::kTcpRetransmissionTimeouts), timeouts);
  EXPECT_EQ(A(abi::NicCounter::kMtuBlackHoles), 1u);
}

TEST_P(BlackHole, GivenAnOutageWhenThePathTakesAllAgainThenNothingOfItIsRemembered) {
  Transfers(1);
  pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, sink_key, 0, 20000)});
  pair.cable.Run();
  pair.cable.filter = [](Frame&, bool) { return false; };
  pair.a.PostSend(*pair.qp_a, {SgeOf(source, source_key, 0, 20000)});
  pair.cable.Advance(12 * kSecond, 10 * kMs);
  EXPECT_EQ(A(abi::NicCounter::kMtuBlackHoles), 1u);
  Narrow(1500);
  pair.cable.Advance(20 * kSecond, 10 * kMs);
  pair.b.Poll(*pair.cq_b);
  Transfers(4);
  EXPECT_EQ(largest, 1500u);
  auto second_a = pair.a.CreateQp(*pair.cq_a);
  auto second_b = pair.b.CreateQp(*pair.cq_b);
  pair.b.Offer(pair.listener, *second_b);
  pair.a.Connect(*second_a, 2, 7);
  pair.cable.Run();
  const uint64_t probes = A(abi::NicCounter::kMtuProbesSent);
  Transfer(*second_a, *second_b);
  EXPECT_EQ(A(abi::NicCounter::kMtuProbesSent), probes);
}

INSTANTIATE_TEST_SUITE_P(Sack, BlackHole, ::testing::Bool());

TEST(BlackHoleFraming, GivenMessagesOfSeveralSegmentsWhenThePathIsNarrowThenTheyArriveWhole) {
  ConnectedPair pair;
  HostMemory source{pair.a.hardware, 65536}, sink{pair.b.hardware, 65536};
  const uint32_t source_key = pair.a.Register(source, 0), sink_key = pair.b.Register(sink);
  FillPattern(source);
  pair.cable.filter = [](Frame& frame, bool) { return frame.size() <= 1350; };
  constexpr uint32_t kMessage = 3000;
  for (int round = 0; round < 10; ++round) {
    for (uint32_t i = 0; i < 20; ++i) {
      pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, sink_key, i * kMessage, kMessage)});
    }
    pair.cable.Run();
    for (uint32_t i = 0; i < 20; ++i) {
      pair.a.PostSend(*pair.qp_a, {SgeOf(source, source_key, i * kMessage, kMessage)});
    }
    std::vector<abi::Cqe> received;
    for (int ms = 0; ms < 8000 && received.size() < 20; ++ms) {
      pair.cable.Advance(kMs);
      for (const abi::Cqe& cqe : Only(pair.b.Poll(*pair.cq_b), true)) received.push_back(cqe);
    }
    ASSERT_EQ(received.size(), 20u) << round;
    for (const abi::Cqe& cqe : received) EXPECT_EQ(cqe.byte_length, kMessage);
    EXPECT_EQ(std::memcmp(sink.data(), source.data(), 20 * kMessage), 0);
    pair.a.Poll(*pair.cq_a);
    pair.cable.Advance(300 * kMs);
  }
  EXPECT_EQ(pair.a.Counter(abi::NicCounter::kMtuBlackHoles), 1u);
  EXPECT_GT(pair.a.Counter(abi::NicCounter::kMtuProbesSucceeded), 0u);
}

TEST(BlackHoleOff, GivenSwitchedOffWhenThePathIsNarrowThenSegmentsStayAsTheyAre) {
  NicConfig config = FirmwareBench::DefaultConfig();
  config.tcp.mtu_probing = tcp::MtuProbing::kOff;
  ConnectedPair pair({}, config);
  HostMemory source{pair.a.hardware, 65536};
  const uint32_t key = pair.a.Register(source, 0);
  size_t last = 0;
  pair.cable.filter = [&](Frame& frame, bool from_a) {
    if (from_a) last = frame.size();
    return frame.size() <= 1400;
  };
  HostMemory sink{pair.b.hardware, 65536};
  pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, pair.b.Register(sink), 0, 4000)});
  pair.cable.Run();
  pair.a.PostSend(*pair.qp_a, {SgeOf(source, key, 0, 4000)});
  pair.cable.Advance(20 * kSecond, 10 * kMs);
  EXPECT_EQ(pair.a.Counter(abi::NicCounter::kMtuBlackHoles), 0u);
  EXPECT_GE(pair.a.Counter(abi::NicCounter::kTcpRetransmissionTimeouts), 6u);
  EXPECT_GT(last, 1400u);
}

}  // namespace
}  // namespace qpip::fw::test

// ICMPv6 errors that arrive, and path MTU discovery (RFC 4443, 5927, 8201).
#include <random>

#include "packets.h"
#include "test_support.h"

namespace qpip::fw::test {
namespace {

constexpr uint64_t kSecond = 1000 * kMs;

// ---------------------------------------------------------------- UDP

struct UdpErrorTest : ::testing::Test {
  FirmwareBench a{1};
  std::unique_ptr<TestCq> cq = a.CreateCq();
  QpSpec spec{.type = abi::QpType::kUdp};
  std::unique_ptr<TestQp> qp = a.CreateQp(*cq, spec);
  HostMemory source{a.hardware, 65536};
  uint32_t key = a.Register(source, 0);

  void SetUp() override {
    FillPattern(source);
    ASSERT_EQ(a.Bind(*qp, 1000).status, 0);
  }
  std::vector<Frame> Send(uint32_t length, uint8_t peer = 2) {
    a.hardware.outgoing.clear();
    a.PostSend(*qp, {SgeOf(source, key, 0, length)}, true, peer, 2000);
    a.Run();
    return {a.hardware.outgoing.begin(), a.hardware.outgoing.end()};
  }
};

TEST_F(UdpErrorTest, GivenPacketTooBigWhenSendingThereAgainThenInFragmentsForTenMinutes) {
  const auto first = Send(1400);
  ASSERT_EQ(first.size(), 1u);
  Arrive(a, TooBig(first[0], 1300));
  EXPECT_EQ(a.Counter(abi::NicCounter::kPathMtuReductions), 1u);
  const auto fragments = Send(1400);
  ASSERT_EQ(fragments.size(), 2u);
  for (const Frame& fragment : fragments) EXPECT_LE(fragment.size(), 1300u);
  EXPECT_EQ(TransportSum(Reassemble(fragments), ipv6::kUdp), 0xffff);
  EXPECT_EQ(Send(1400, 3).size(), 1u);  // another destination
  a.Advance(599 * kSecond);
  EXPECT_EQ(Send(1400).size(), 2u);
  a.Advance(2 * kSecond);
  EXPECT_EQ(Send(1400).size(), 1u);
  EXPECT_EQ(qpip_fw_next_deadline(a.arena.data()), UINT64_MAX);
}

TEST_F(UdpErrorTest, GivenAFirstFragmentWhenItIsRefusedThenThePathIsLearned) {
  const auto fragments = Send(5000);
  Arrive(a, TooBig(fragments[1], 1280));  // whose it is cannot be told
  EXPECT_EQ(a.Counter(abi::NicCounter::kPathMtuReductions), 0u);
  Arrive(a, TooBig(fragments[0], 1280));
  EXPECT_EQ(a.Counter(abi::NicCounter::kPathMtuReductions), 1u);
  for (const Frame& fragment : Send(5000)) EXPECT_LE(fragment.size(), 1280u);
}

TEST_F(UdpErrorTest, GivenForgeriesWhenReceivedThenThePathStaysAsItWas) {
  const Frame packet = Send(1400)[0];
  Frame other_port = packet;
  StoreBe16(other_port.data() + 40, 1001);
  Frame other_source = packet;
  other_source[23] = 5;
  Frame cut = packet;
  cut.resize(44);
  const Frame small = Send(1000)[0];
  for (const Frame& error : {TooBig(packet, 1279), TooBig(packet, 0), TooBig(packet, 1448),
                             TooBig(packet, 1500), TooBig(small, 1280), TooBig(other_port, 1280),
                             TooBig(other_source, 1280), TooBig(cut, 1280)}) {
    Arrive(a, error);
  }
  EXPECT_EQ(a.Dropped(abi::DropReason::kIcmpIgnored), 8u);
  EXPECT_EQ(Send(1400).size(), 1u);
}

TEST_F(UdpErrorTest, GivenADatagramThatDidNotLeaveLatelyWhenItIsRefusedThenThePathStaysAsItWas) {
  const Frame packet = Send(1400)[0];
  Frame elsewhere = packet;
  elsewhere[39] = 3;
  Arrive(a, TooBig(elsewhere, 1280));
  Frame other_port = packet;
  StoreBe16(other_port.data() + 42, 2001);
  Arrive(a, TooBig(other_port, 1280));
  Send(1000, 4);
  Frame longer = packet;  // than what did leave, and no path refuses
  longer[39] = 4;
  Arrive(a, TooBig(longer, 1280));
  a.Advance(11 * kSecond);
  Arrive(a, TooBig(packet, 1280));
  EXPECT_EQ(a.Counter(abi::NicCounter::kPathMtuReductions), 0u);
  EXPECT_EQ(a.Dropped(abi::DropReason::kIcmpIgnored), 4u);
  Arrive(a, TooBig(Send(1400)[0], 1280));
  EXPECT_EQ(a.Counter(abi::NicCounter::kPathMtuReductions), 1u);
}

TEST_F(UdpErrorTest, GivenAPathThatShrinksTwiceWhenALargerValueComesThenItIsIgnored) {
  const Frame packet = Send(1400)[0];
  Arrive(a, TooBig(packet, 1350));
  Arrive(a, TooBig(packet, 1290));
  Arrive(a, TooBig(packet, 1400));
  EXPECT_EQ(a.Counter(abi::NicCounter::kPathMtuReductions), 2u);
  EXPECT_LE(Send(1400)[0].size(), 1290u);
}

TEST_F(UdpErrorTest, GivenMoreDestinationsThanEntriesWhenLearnedThenTheTableStaysSound) {
  for (int i = 0; i < 200; ++i) {
    const auto peer = static_cast<uint8_t>(10 + i);
    Arrive(a, TooBig(Send(1400, peer)[0], 1280));
    EXPECT_EQ(Send(1400, peer).size(), 2u);
  }
  a.Advance(700 * kSecond);
  EXPECT_EQ(Send(1400, 10).size(), 1u);
}

TEST_F(UdpErrorTest, GivenPortUnreachableWhenAQueuePairIsAskedThenItTellsOfIt) {
  const Frame packet = Send(100)[0];
  Arrive(a, MakeError(icmpv6::kDestinationUnreachable, icmpv6::kPort, 0, packet));
  Arrive(a, MakeError(icmpv6::kTimeExceeded, icmpv6::kHopLimit, 0, packet));
  EXPECT_EQ(EventsOf(a, abi::EventKind::kNotice).size(), 1u) << "one, until it is asked";
  const abi::Event event = a.QpCommand(abi::CommandOpcode::kTakeNotices, *qp);
  EXPECT_EQ(event.result[0], abi::kNoticeIcmpError);
  EXPECT_EQ(event.result[2], 2u);
  EXPECT_EQ(event.result[3], uint32_t{icmpv6::kTimeExceeded} << 8);
  EXPECT_EQ(a.Counter(abi::NicCounter::kIcmpErrorsReceived), 2u);
  EXPECT_EQ(Send(100).size(), 1u);  // nothing else has come of it
}

TEST_F(UdpErrorTest, GivenASmallPathWhenAnEchoIsAnsweredThenTheReplyFitsIt) {
  Arrive(a, TooBig(Send(1400)[0], 1280));
  a.hardware.outgoing.clear();
  Frame echo = MakeEcho(Pattern(1400));
  std::swap(echo[23], echo[39]);  // from fd00::2 to fd00::1: the sum stays
  Arrive(a, echo);
  ASSERT_EQ(a.hardware.outgoing.size(), 2u);
  const Frame reply = Reassemble(a.hardware.outgoing);
  EXPECT_EQ(TransportSum(reply, ipv6::kIcmpv6), 0xffff);
}

// ---------------------------------------------------------------- TCP: path MTU

/// Two NICs and a router between them whose far link is narrow.
struct NarrowPath : ::testing::TestWithParam<bool> {
  static NicConfig Config() {
    NicConfig config = FirmwareBench::DefaultConfig();
    config.tcp.sack = GetParam();
    return config;
  }
  ConnectedPair pair{{}, Config()};
  HostMemory source{pair.a.hardware, 65536}, sink{pair.b.hardware, 65536};
  uint32_t source_key = pair.a.Register(source, 0), sink_key = pair.b.Register(sink);
  uint32_t refused = 0;

  void SetUp() override { FillPattern(source); }
  void Narrow(uint32_t mtu) {
    pair.cable.filter = [this, mtu](Frame& frame, bool from_a) {
      if (!from_a || frame.size() <= mtu) return true;
      ++refused;
      pair.a.hardware.incoming.push_back(TooBig(frame, mtu));
      return false;
    };
  }
  void Transfer(uint32_t messages, uint32_t bytes) {
    for (uint32_t i = 0; i < messages; ++i) {
      pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, sink_key, i * bytes, bytes)});
    }
    pair.cable.Run();
    for (uint32_t i = 0; i < messages; ++i) {
      pair.a.PostSend(*pair.qp_a, {SgeOf(source, source_key, i * bytes, bytes)});
    }
  }
  void ExpectArrived(uint32_t messages, uint32_t bytes) {
    const auto received = Only(pair.b.Poll(*pair.cq_b), true);
    ASSERT_EQ(received.size(), messages);
    for (const abi::Cqe& cqe : received) EXPECT_EQ(cqe.byte_length, bytes);
    EXPECT_EQ(std::memcmp(sink.data(), source.data(), size_t{messages} * bytes), 0);
    EXPECT_EQ(Only(pair.a.Poll(*pair.cq_a), false).size(), messages);
    EXPECT_EQ(pair.a.Counter(abi::NicCounter::kTcpRetransmissionTimeouts), 0u);
  }
};

TEST_P(NarrowPath, GivenAConnectionWhenThePathNarrowsThenAllArrivesWithoutATimeOut) {
  Transfer(1, 4000);
  pair.cable.Run();
  pair.a.Poll(*pair.cq_a);
  pair.b.Poll(*pair.cq_b);
  Narrow(1280);
  Transfer(8, 5000);
  pair.cable.Run();  // no time passes
  ExpectArrived(8, 5000);
  EXPECT_GT(refused, 0u);
  EXPECT_EQ(pair.a.Counter(abi::NicCounter::kPathMtuReductions), 1u);
  // From now on nothing is refused.
  refused = 0;
  Transfer(4, 5000);
  pair.cable.Run();
  EXPECT_EQ(refused, 0u);
}

TEST_P(NarrowPath, GivenATunnelInATunnelWhenTheSecondRefusesWhatTheFirstTakesThenNoTimeOut) {
  pair.cable.filter = [this](Frame& frame, bool from_a) {
    if (!from_a || frame.size() <= 1300) return true;
    ++refused;
    pair.a.hardware.incoming.push_back(TooBig(frame, frame.size() > 1400 ? 1400 : 1300));
    return false;
  };
  Transfer(4, 5000);
  pair.cable.Run();  // no time passes
  ExpectArrived(4, 5000);
  EXPECT_EQ(pair.a.Counter(abi::NicCounter::kPathMtuReductions), 2u);
}

TEST_P(NarrowPath, GivenTwoConnectionsWhenOneLearnsThePathThenTheOtherAndNewOnesKnowIt) {
  auto second_a = pair.a.CreateQp(*pair.cq_a);
  auto second_b = pair.b.CreateQp(*pair.cq_b);
  Narrow(1280);
  Transfer(1, 4000);
  pair.cable.Run();
  refused = 0;
  pair.b.Offer(pair.listener, *second_b);
  pair.a.Connect(*second_a, 2, 7);
  pair.cable.Run();
  pair.b.PostRecv(*second_b, {SgeOf(sink, sink_key, 0, 8000)});
  pair.cable.Run();
  pair.a.PostSend(*second_a, {SgeOf(source, source_key, 0, 8000)});
  pair.cable.Run();
  EXPECT_EQ(refused, 0u);
  EXPECT_EQ(std::memcmp(sink.data(), source.data(), 8000), 0);
}

TEST_P(NarrowPath, GivenTenMinutesWhenThePathIsWideAgainThenSegmentsAreFullSized) {
  Narrow(1280);
  Transfer(1, 4000);
  pair.cable.Run();
  pair.cable.filter = nullptr;
  pair.a.Advance(601 * kSecond);
  pair.b.now = pair.a.now;
  size_t largest = 0;
  pair.cable.filter = [&](Frame& frame, bool from_a) {
    if (from_a) largest = std::max(largest, frame.size());
    return true;
  };
  Transfer(1, 4000);
  pair.cable.Run();
  EXPECT_EQ(largest, 1500u);
}

TEST_P(NarrowPath, GivenAForgedSequenceNumberWhenReportedThenNothingChanges) {
  Transfer(1, 1400);
  pair.a.Run();
  Frame segment = pair.a.hardware.outgoing.back();
  StoreBe32(segment.data() + 44, LoadBe32(segment.data() + 44) - 1);
  Arrive(pair.a, TooBig(segment, 1280));
  EXPECT_EQ(pair.a.Counter(abi::NicCounter::kPathMtuReductions), 0u);
  EXPECT_EQ(pair.a.Dropped(abi::DropReason::kIcmpIgnored), 1u);
}

INSTANTIATE_TEST_SUITE_P(Sack, NarrowPath, ::testing::Bool());

// ---------------------------------------------------------------- UDP and TCP on one path

struct SharedPath : ::testing::Test {
  ConnectedPair pair;
  QpSpec spec{.type = abi::QpType::kUdp};
  std::unique_ptr<TestQp> udp = pair.a.CreateQp(*pair.cq_a, spec);
  HostMemory source{pair.a.hardware, 65536}, sink{pair.b.hardware, 65536};
  uint32_t key = pair.a.Register(source, 0);
  std::vector<Frame> sent;

  void SetUp() override {
    ASSERT_EQ(pair.a.Bind(*udp, 1000).status, 0);
    pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, pair.b.Register(sink), 0, 65536)});
    pair.cable.Run();
    Record();
  }
  void Record() {
    pair.cable.filter = [this](Frame& frame, bool from_a) {
      if (from_a) sent.push_back(frame);
      return true;
    };
  }
  std::vector<Frame> SendDatagram() {
    sent.clear();
    pair.a.PostSend(*udp, {SgeOf(source, key, 0, 1400)}, true, 2, 2000);
    pair.cable.Run();
    return sent;
  }
  void SendText() {
    sent.clear();
    pair.a.PostSend(*pair.qp_a, {SgeOf(source, key, 0, 4000)});
    pair.cable.Run();
  }
};

TEST_F(SharedPath, GivenADatagramThatWasRefusedWhenAConnectionSendsThenItsSegmentsAreFullSized) {
  Arrive(pair.a, TooBig(SendDatagram()[0], 1280));
  EXPECT_EQ(SendDatagram().size(), 2u);
  SendText();
  ASSERT_FALSE(sent.empty());
  EXPECT_EQ(sent[0].size(), 1500u);
}

TEST_F(SharedPath, GivenASegmentThatWasRefusedWhenADatagramIsSentThenItFitsThePath) {
  pair.cable.filter = [this](Frame& frame, bool from_a) {
    if (!from_a || frame.size() <= 1280) return true;
    pair.a.hardware.incoming.push_back(TooBig(frame, 1280));
    return false;
  };
  SendText();
  Record();
  EXPECT_EQ(SendDatagram().size(), 2u);
}

// ---------------------------------------------------------------- TCP: errors

struct ConnectErrorTest : ::testing::Test {
  FirmwareBench a{1};
  std::unique_ptr<TestCq> cq = a.CreateCq();
  std::unique_ptr<TestQp> qp = a.CreateQp(*cq);
  Frame syn;

  void SetUp() override {
    ASSERT_EQ(a.Connect(*qp, 2, 7).status, 0);
    a.Run();
    ASSERT_EQ(a.hardware.outgoing.size(), 1u);
    syn = a.hardware.outgoing.front();
  }
  int FailureReason() {
    const auto events = EventsOf(a, abi::EventKind::kConnectFailed);
    return events.size() == 1 ? events[0].status : -1;
  }
};

TEST_F(ConnectErrorTest, GivenSynSentWhenAHardErrorComesThenTheAttemptEndsWithItsReason) {
  const struct {
    uint8_t code;
    abi::DisconnectReason reason;
  } cases[] = {{icmpv6::kPort, abi::DisconnectReason::kRefused},
               {icmpv6::kAdminProhibited, abi::DisconnectReason::kUnreachable},
               {icmpv6::kRejectRoute, abi::DisconnectReason::kUnreachable}};
  for (const auto& c : cases) {
    FirmwareBench nic{1};
    auto queue = nic.CreateCq();
    auto connecting = nic.CreateQp(*queue);
    nic.Connect(*connecting, 2, 7);
    nic.Run();
    Arrive(nic,
           MakeError(icmpv6::kDestinationUnreachable, c.code, 0, nic.hardware.outgoing.front()));
    const auto events = EventsOf(nic, abi::EventKind::kConnectFailed);
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].status, static_cast<int>(c.reason));
  }
}

TEST_F(ConnectErrorTest, GivenSynSentWhenASoftErrorComesThenItGoesOnAndTheTimeOutHasAReason) {
  Arrive(a, MakeError(icmpv6::kDestinationUnreachable, icmpv6::kNoRoute, 0, syn));
  EXPECT_EQ(FailureReason(), -1);
  a.Advance(300 * kSecond);
  EXPECT_EQ(FailureReason(), static_cast<int>(abi::DisconnectReason::kUnreachable));
}

TEST_F(ConnectErrorTest, GivenSynSentWhenTheErrorQuotesAnotherSegmentThenItIsIgnored) {
  Frame forged = syn;
  StoreBe32(forged.data() + 44, LoadBe32(forged.data() + 44) + 1);
  Arrive(a, MakeError(icmpv6::kDestinationUnreachable, icmpv6::kPort, 0, forged));
  a.Advance(300 * kSecond);
  EXPECT_EQ(FailureReason(), static_cast<int>(abi::DisconnectReason::kTimedOut));
}

/// A connection whose peer has a receive posted.
struct EstablishedErrors : ::testing::Test {
  ConnectedPair pair;
  HostMemory source{pair.a.hardware, 65536}, sink{pair.b.hardware, 65536};
  uint32_t key = pair.a.Register(source, 0);

  void SetUp() override {
    pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, pair.b.Register(sink), 0, 65536)});
    pair.cable.Run();
  }
  Frame SendOne(uint32_t bytes) {
    pair.a.PostSend(*pair.qp_a, {SgeOf(source, key, 0, bytes)});
    pair.a.Run();
    EXPECT_FALSE(pair.a.hardware.outgoing.empty());
    Frame segment = pair.a.hardware.outgoing.back();
    pair.a.hardware.outgoing.clear();
    return segment;
  }
};

TEST_F(EstablishedErrors, GivenAConnectionWhenAHardErrorComesThenItStandsUnlessItTimesOut) {
  const Frame segment = SendOne(100);
  Arrive(pair.a, MakeError(icmpv6::kDestinationUnreachable, icmpv6::kAdminProhibited, 0, segment));
  EXPECT_TRUE(EventsOf(pair.a, abi::EventKind::kDisconnected).empty());
  for (int i = 0; i < 120; ++i) {
    pair.a.Advance(kSecond);
    pair.a.hardware.outgoing.clear();
  }
  const auto events = EventsOf(pair.a, abi::EventKind::kDisconnected);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].status, static_cast<int>(abi::DisconnectReason::kUnreachable));
}

TEST_F(EstablishedErrors, GivenRandomQuotationsWhenReceivedThenEachIsUsedOrCounted) {
  const Frame segment = SendOne(60000);
  std::mt19937 random(5);
  for (int i = 0; i < 20000; ++i) {
    Frame quoted = segment;
    const int changes = static_cast<int>(random() % 4);
    for (int k = 0; k < changes; ++k) quoted[random() % 80] = static_cast<uint8_t>(random());
    quoted.resize(random() % 100);
    Arrive(pair.a, MakeError(static_cast<uint8_t>(random() % 6), static_cast<uint8_t>(random() % 8),
                             random() % 3 == 0 ? random() : 1280 + random() % 300, quoted));
    pair.a.hardware.outgoing.clear();
    ASSERT_EQ(pair.a.hardware.frames_borrowed(), 0u);
  }
  EXPECT_TRUE(EventsOf(pair.a, abi::EventKind::kDisconnected).empty());
}

}  // namespace
}  // namespace qpip::fw::test

// Listeners under attack and under re-use: SYN cookies, TIME-WAIT that yields.
#include "listen_support.h"
#include "nic_fw/state.h"

namespace qpip::fw::test {
namespace {

struct Flood : ::testing::TestWithParam<uint32_t> {
  FirmwareBench a{1}, b{2};
  Cable cable{a, b, {}};
  std::unique_ptr<TestCq> cq_a = a.CreateCq(), cq_b = b.CreateCq();
  std::vector<std::unique_ptr<TestQp>> offered;
  uint32_t listener = 0;

  void SetUp() override {
    listener = b.Listen(7, 4).result[0];
    for (uint32_t i = 0; i < GetParam(); ++i) {
      offered.push_back(b.CreateQp(*cq_b));
      ASSERT_EQ(b.Offer(listener, *offered.back()).status, 0);
    }
  }
  void Send(uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; ++i) {
      b.hardware.incoming.push_back(MakeSegment(Spoofed(i), MakeSyn(i)));
      b.Run();
      b.hardware.outgoing.clear();
      if (i % 1000 == 0) b.Advance(kMs);
    }
  }
};

TEST_P(Flood, GivenManySynsWhenAPeerConnectsThenItGetsAQueuePair) {
  const uint32_t syns = GetParam() == 8 ? 1000000 : 100000;
  Send(0, syns);
  EXPECT_GT(b.Counter(abi::NicCounter::kSynCookiesSent), syns - 1000);
  // Some of the flood's handshakes are old by now.
  b.Advance(2500 * kMs);
  a.now = b.now;
  b.hardware.outgoing.clear();
  auto client = a.CreateQp(*cq_a);
  ASSERT_EQ(a.Connect(*client, 2, 7).status, 0);
  cable.filter = [](Frame& frame, bool from_a) { return from_a || frame[39] == 1; };
  cable.Run();
  Send(syns, syns + 10000);  // it goes on
  cable.Run();
  EXPECT_EQ(EventsOf(a, abi::EventKind::kEstablished).size(), 1u);
  const auto established = EventsOf(b, abi::EventKind::kEstablished);
  ASSERT_EQ(established.size(), 1u);
  EXPECT_EQ(b.Counter(abi::NicCounter::kSynCookiesAccepted), 1u);

  // And data flows.
  HostMemory sink(b.hardware, 4096);
  const uint32_t key = b.Register(sink);
  for (auto& qp : offered) {
    if (qp->handle == established[0].object) b.PostRecv(*qp, {SgeOf(sink, key, 0, 4096)});
  }
  a.PostInline(*client, "through the flood");
  cable.Run();
  const auto received = b.Poll(*cq_b);
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(std::memcmp(sink.data(), "through the flood", 17), 0);
}
INSTANTIATE_TEST_SUITE_P(QueuePairs, Flood, ::testing::Values(1u, 2u, 8u));

TEST(SynCookies, GivenAckThatNoCookieMadeWhenUnderPressureThenReset) {
  FirmwareBench b{2};
  auto cq = b.CreateCq();
  auto qp = b.CreateQp(*cq);
  const uint32_t listener = b.Listen(7, 4).result[0];
  b.Offer(listener, *qp);
  for (uint32_t i = 0; i < 7; ++i) {  // one gets the queue pair
    b.hardware.incoming.push_back(MakeSegment(Spoofed(i), MakeSyn(i)));
  }
  b.Run();
  ASSERT_EQ(b.Counter(abi::NicCounter::kSynCookiesSent), 6u);
  b.hardware.outgoing.clear();
  tcp::Header ack = MakeSyn(50);
  ack.flags = tcp::kAck;
  ack.acknowledgement = tcp::SequenceNumber(12345);
  b.hardware.incoming.push_back(MakeSegment(Spoofed(50), ack));
  b.Run();
  ASSERT_EQ(b.hardware.outgoing.size(), 1u);
  EXPECT_NE(b.hardware.outgoing[0][40 + tcp::offset::kFlags] & tcp::kRst, 0);
  EXPECT_EQ(b.Counter(abi::NicCounter::kSynCookiesAccepted), 0u);
}

TEST(SynCookies, GivenHandshakesInOrdinaryNumbersThenNoCookieIsSent) {
  FirmwareBench a{1}, b{2};
  Cable cable{a, b, {}};
  auto cq_a = a.CreateCq();
  auto cq_b = b.CreateCq();
  const uint32_t listener = b.Listen(7, 4).result[0];
  std::vector<std::unique_ptr<TestQp>> qps;
  for (int i = 0; i < 8; ++i) {
    qps.push_back(b.CreateQp(*cq_b));
    b.Offer(listener, *qps.back());
  }
  for (int i = 0; i < 8; ++i) {
    qps.push_back(a.CreateQp(*cq_a));
    a.Connect(*qps.back(), 2, 7);
    cable.Run();
  }
  EXPECT_EQ(EventsOf(b, abi::EventKind::kEstablished).size(), 8u);
  EXPECT_EQ(b.Counter(abi::NicCounter::kSynCookiesSent), 0u);
}

// --- Many at once

/// `count` queue pairs of `b` are offered, and as many of `a` connect before any frame moves.
struct Simultaneous {
  static NicConfig Config() {
    NicConfig config = FirmwareBench::DefaultConfig();
    config.max_qps = 1024;
    config.event_log2 = 12;
    return config;
  }
  FirmwareBench a{1, Config()}, b{2, Config()};
  Cable cable{a, b, {}};
  std::unique_ptr<TestCq> cq_a = a.CreateCq(), cq_b = b.CreateCq();
  std::vector<std::unique_ptr<TestQp>> qps;
  static QpSpec Small() {
    return {.send_log2_depth = 1, .recv_log2_depth = 1, .overflow_bytes = 4096};
  }
  uint32_t listener = 0;

  void Offer(uint32_t count) {
    listener = b.Listen(7, 64).result[0];
    for (uint32_t i = 0; i < count; ++i) {
      qps.push_back(b.CreateQp(*cq_b, Small()));
      ASSERT_EQ(b.Offer(listener, *qps.back()).status, 0);
    }
  }
  void Connect(uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      qps.push_back(a.CreateQp(*cq_a, Small()));
      ASSERT_EQ(a.Connect(*qps.back(), 2, 7).status, 0);
    }
  }
};

struct SomeSimultaneous : Simultaneous, ::testing::Test {};
struct AllSimultaneous : Simultaneous, ::testing::TestWithParam<uint32_t> {};

TEST_P(AllSimultaneous, GivenAsManyConnectsAsOffersWhenFramesMoveThenAllAreUpWithoutATimeOut) {
  Offer(GetParam());
  Connect(GetParam());
  cable.Run();  // the clock stands still
  EXPECT_EQ(EventsOf(b, abi::EventKind::kEstablished).size(), GetParam());
  EXPECT_EQ(EventsOf(a, abi::EventKind::kEstablished).size(), GetParam());
  EXPECT_EQ(b.Counter(abi::NicCounter::kSynsPutOff), b.Counter(abi::NicCounter::kSynsTakenUp));
}
INSTANTIATE_TEST_SUITE_P(QueuePairs, AllSimultaneous,
                         ::testing::Values(1u, 2u, 3u, 4u, 8u, 16u, 64u, 1000u));

TEST_F(SomeSimultaneous, GivenNothingAtHandWhenAQueuePairIsOfferedThenASynThatWaitedGetsIt) {
  Offer(1);
  Connect(1);
  cable.Run();
  ASSERT_EQ(EventsOf(a, abi::EventKind::kEstablished).size(), 1u);
  Connect(1);
  cable.Run();
  EXPECT_EQ(EventsOf(a, abi::EventKind::kEstablished).size(), 0u);
  EXPECT_EQ(b.Counter(abi::NicCounter::kSynsPutOff), 1u);
  EXPECT_EQ(b.Counter(abi::NicCounter::kSynCookiesSent), 0u);
  qps.push_back(b.CreateQp(*cq_b, Small()));
  ASSERT_EQ(b.Offer(listener, *qps.back()).status, 0);
  cable.Run();
  EXPECT_EQ(EventsOf(a, abi::EventKind::kEstablished).size(), 1u);
  EXPECT_EQ(b.Counter(abi::NicCounter::kSynsTakenUp), 1u);
}

TEST_F(SomeSimultaneous, GivenSynAcksOnALongWayWhenAnotherConnectsThenItNeedsNoRepetition) {
  Offer(4);
  uint32_t syns = 0;
  std::vector<Frame> held;
  cable.filter = [&](Frame& frame, bool from_a) {
    syns += from_a && frame[40 + tcp::offset::kFlags] == tcp::kSyn;
    if (from_a || held.size() == 3) return true;
    held.push_back(frame);  // SYN-ACKs on a long way
    return false;
  };
  Connect(4);
  cable.Run();
  EXPECT_EQ(syns, 4u);
  for (const Frame& frame : held) a.hardware.incoming.push_back(frame);
  a.Run();
  cable.Run();
  EXPECT_EQ(syns, 4u);
  EXPECT_EQ(EventsOf(b, abi::EventKind::kEstablished).size(), 4u);
}

/// `b` has closed first and waits; `a` opens again from the same port.
TEST(TimeWait, GivenNewSynForTheSamePortsWhenListeningThenTheNewConnectionTakesOver) {
  FirmwareBench a{1}, b{2};
  Cable cable{a, b, {}};
  auto cq_a = a.CreateCq();
  auto cq_b = b.CreateCq();
  const uint32_t listener = b.Listen(7, 4).result[0];
  for (int round = 0; round < 3; ++round) {
    auto qp_b = b.CreateQp(*cq_b);
    auto qp_a = a.CreateQp(*cq_a);
    ASSERT_EQ(b.Offer(listener, *qp_b).status, 0);
    ASSERT_EQ(a.Connect(*qp_a, 2, 7, 5555).status, 0) << round;
    cable.Run();
    ASSERT_EQ(EventsOf(b, abi::EventKind::kEstablished).size(), 1u) << round;
    EventsOf(a, abi::EventKind::kEstablished);
    b.QpCommand(abi::CommandOpcode::kShutdown, *qp_b);
    cable.Run();
    a.QpCommand(abi::CommandOpcode::kShutdown, *qp_a);
    cable.Run();
    EXPECT_EQ(EventsOf(a, abi::EventKind::kDisconnected).size(), 1u);
    a.QpCommand(abi::CommandOpcode::kDestroyQp, *qp_a);
    if (round == 1) b.QpCommand(abi::CommandOpcode::kDestroyQp, *qp_b);  // an orphan waits
    cable.Advance(10 * kMs);  // RFC 7323: a later timestamp
    b.Events();
  }
}

/// `b` has sent more than the clock of initial numbers makes in the time, has closed first, and
/// waits; nothing has timestamps. `a` opens again from the same port.
struct Reopening : ::testing::Test {
  static NicConfig Config() {
    NicConfig config = FirmwareBench::DefaultConfig();
    config.tcp.timestamps = false;
    return config;
  }
  static constexpr uint32_t kBytes = 65536;
  FirmwareBench a{1, Config()}, b{2, Config()};
  Cable cable{a, b, {}};
  std::unique_ptr<TestCq> cq_a = a.CreateCq(), cq_b = b.CreateCq();
  HostMemory source{b.hardware, kBytes}, sink{a.hardware, kBytes};
  std::vector<std::unique_ptr<TestQp>> qps;
  uint32_t listener = 0;
  std::vector<tcp::SequenceNumber> syn_acks;  ///< of `b`
  tcp::SequenceNumber last;                   ///< behind all numbers of the first connection

  TestQp& Offer() {
    qps.push_back(b.CreateQp(*cq_b));
    EXPECT_EQ(b.Offer(listener, *qps.back()).status, 0);
    return *qps.back();
  }
  TestQp& Connect() {
    qps.push_back(a.CreateQp(*cq_a));
    EXPECT_EQ(a.Connect(*qps.back(), 2, 7, 5555).status, 0);
    return *qps.back();
  }
  /// Takes `b`'s SYN-ACKs and last numbers down.
  void Watch(const Frame& frame) {
    const tcp::Header header = HeaderOf(frame);
    if (header.Has(tcp::kSyn)) {
      syn_acks.push_back(header.sequence);
      if (syn_acks.size() == 1) last = header.sequence + 1;
      return;
    }
    if (syn_acks.size() != 1) return;
    const auto text =
        static_cast<uint32_t>(frame.size() - 40) - (frame[40 + tcp::offset::kDataOffset] >> 4) * 4u;
    last = tcp::Max(last, header.sequence + text + (header.Has(tcp::kFin) ? 1 : 0));
  }
  void SetUp() override {
    cable.filter = [this](Frame& frame, bool from_a) {
      if (from_a) return true;
      if (frame[39] == 1) Watch(frame);
      return frame[39] == 1;
    };
    listener = b.Listen(7, 4).result[0];
    TestQp& server = Offer();
    TestQp& client = Connect();
    cable.Run();
    a.PostRecv(client, {SgeOf(sink, a.Register(sink), 0, kBytes)});
    cable.Run();
    b.PostSend(server, {SgeOf(source, b.Register(source, 0), 0, kBytes)});
    cable.Advance(10 * kMs);
    ASSERT_EQ(Only(b.Poll(*cq_b), false).size(), 1u);
    b.QpCommand(abi::CommandOpcode::kShutdown, server);
    cable.Run();
    a.QpCommand(abi::CommandOpcode::kShutdown, client);
    cable.Run();
    a.QpCommand(abi::CommandOpcode::kDestroyQp, client);
    cable.Advance(10 * kMs);
    ASSERT_EQ(StateOfFirst(), tcp::State::kTimeWait);
    ASSERT_EQ(syn_acks.size(), 1u);
    ASSERT_GT(syn_acks[0].DistanceTo(last), kBytes);
    a.Events();
    b.Events();
  }
  tcp::State StateOfFirst() { return QueuePairOf(b.arena.data(), qps.front()->handle).tcb.state; }
  void ExpectReopened() {
    EXPECT_EQ(EventsOf(a, abi::EventKind::kEstablished).size(), 1u);
    EXPECT_EQ(EventsOf(b, abi::EventKind::kEstablished).size(), 1u);
    ASSERT_EQ(syn_acks.size(), 2u);
    EXPECT_TRUE(syn_acks[1].After(last));
    EXPECT_EQ(StateOfFirst(), tcp::State::kClosed);
  }
};

TEST_F(Reopening, GivenAQueuePairWhenASynComesThenItsNumbersLieBeyondTheOldOnes) {
  Offer();
  Connect();
  cable.Run();
  ExpectReopened();
}

TEST_F(Reopening, GivenNoQueuePairWhenASynComesThenTheOldConnectionWaitsUntilThereIsOne) {
  Connect();
  cable.Run();
  EXPECT_EQ(b.Counter(abi::NicCounter::kSynsPutOff), 1u);
  EXPECT_EQ(StateOfFirst(), tcp::State::kTimeWait);
  Offer();
  cable.Run();
  ExpectReopened();
}

TEST_F(Reopening, GivenHandshakesOfNobodyWhenASynComesThenItHasAQueuePairAndNoCookie) {
  for (uint32_t i = 0; i < 4; ++i) Offer();
  for (uint32_t i = 0; i < 3; ++i) Arrive(b, MakeSegment(Spoofed(i), MakeSyn(i)));
  Connect();
  cable.Run();
  EXPECT_EQ(b.Counter(abi::NicCounter::kSynCookiesSent), 0u);
  ExpectReopened();
}

TEST(Backlog, GivenASynThatWaitsWhenTheHostItselfConnectsToItsSenderThenItIsForgotten) {
  FirmwareBench b{2};
  auto cq = b.CreateCq();
  const uint32_t listener = b.Listen(7, 4).result[0];
  tcp::Header syn = MakeSyn(1);
  syn.source_port = 5555;
  Arrive(b, MakeSegment(Address(1), syn));
  ASSERT_EQ(b.Counter(abi::NicCounter::kSynsPutOff), 1u);
  auto active = b.CreateQp(*cq);
  ASSERT_EQ(b.Connect(*active, 1, 5555, 7).status, 0);
  b.Run();
  ASSERT_EQ(b.hardware.outgoing.size(), 1u);
  syn.flags = tcp::kSyn | tcp::kAck;
  syn.acknowledgement = HeaderOf(b.hardware.outgoing[0]).sequence + 1;
  Arrive(b, MakeSegment(Address(1), syn));
  ASSERT_EQ(EventsOf(b, abi::EventKind::kEstablished).size(), 1u);
  b.hardware.outgoing.clear();
  // Another connection of these addresses and ports would hide the one that stands.
  auto offered = b.CreateQp(*cq);
  ASSERT_EQ(b.Offer(listener, *offered).status, 0);
  b.Run();
  EXPECT_TRUE(b.hardware.outgoing.empty());
  EXPECT_EQ(QueuePairOf(b.arena.data(), offered->handle).state, QpState::kOffered);
}

// ---------------------------------------------------------------- ECN on packets

TEST(Ecn, GivenBothAskWhenAPacketIsMarkedThenTheSenderCutsItsWindow) {
  NicConfig config = FirmwareBench::DefaultConfig();
  config.tcp.ecn = tcp::EcnMode::kRequest;
  ConnectedPair pair({}, config);
  HostMemory source(pair.a.hardware, 1 << 20), sink(pair.b.hardware, 1 << 20);
  const uint32_t source_key = pair.a.Register(source, 0), sink_key = pair.b.Register(sink);
  uint32_t text = 0;
  uint32_t capable = 0;
  uint32_t capable_acks = 0;
  bool echoed = false;
  bool told = false;
  pair.cable.filter = [&](Frame& frame, bool from_a) {
    const uint8_t flags = frame[40 + tcp::offset::kFlags];
    const uint8_t ecn = frame[1] >> 4 & 3;
    if (!from_a) {
      capable_acks += ecn != 0 ? 1 : 0;
      echoed = echoed || (flags & tcp::kEce) != 0;
      return true;
    }
    told = told || (flags & tcp::kCwr) != 0;
    if (frame.size() <= 100) return true;
    capable += ecn == 2 ? 1 : 0;
    if (++text == 20) frame[1] |= 0x30;  // a switch's queue is long
    return true;
  };
  for (int i = 0; i < 16; ++i) {
    pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, sink_key, 65536u * i, 65536)});
    pair.a.PostSend(*pair.qp_a, {SgeOf(source, source_key, 65536u * i, 65536)});
  }
  pair.cable.Advance(1000 * kMs);
  EXPECT_EQ(Only(pair.b.Poll(*pair.cq_b), true).size(), 16u);
  EXPECT_EQ(capable, text);
  EXPECT_EQ(capable_acks, 0u);
  EXPECT_TRUE(echoed);
  EXPECT_TRUE(told);
  EXPECT_EQ(pair.a.Counter(abi::NicCounter::kTcpRetransmissions), 0u);
}

}  // namespace
}  // namespace qpip::fw::test

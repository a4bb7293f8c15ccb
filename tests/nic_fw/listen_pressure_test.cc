// A listener whose queue pairs are held by handshakes that nobody completes, or that has too few:
// who proves to be there is connected at once, and nobody who was answered is reset.
#include "listen_pressure.h"

namespace qpip::fw::test {
namespace {

// ---------------------------------------------------------------- handshakes of nobody

struct Held {
  uint32_t offered;
  uint32_t strangers;
  uint32_t silence_ms = 0;  ///< where more handshakes have to make way than the backlog holds
};
struct Unanswered : Pressure, ::testing::TestWithParam<Held> {};

TEST_P(Unanswered, GivenSynsAndThenSilenceWhenPeersConnectThenEachIsUpBeforeTheClockMoves) {
  Listen(GetParam().offered, 64);
  Strangers(GetParam().strangers);
  if (GetParam().silence_ms != 0) cable.Advance(GetParam().silence_ms * kMs, 100 * kMs);
  for (uint32_t i = 0; i < GetParam().offered; ++i) {
    TestQp& client = Connect();
    cable.Run();
    ASSERT_EQ(EstablishedAt(a), 1u) << i;
    const auto established = EventsOf(b, EventKind::kEstablished);
    ASSERT_EQ(established.size(), 1u) << i;
    ExpectDataFlows(client, ServerOf(established[0].object));
  }
  EXPECT_EQ(syns_of_a, GetParam().offered);
  EXPECT_EQ(resets, 0u);
}
INSTANTIATE_TEST_SUITE_P(Listeners, Unanswered,
                         ::testing::Values(Held{1, 1}, Held{2, 2}, Held{4, 3}, Held{64, 48},
                                           Held{64, 1000}, Held{512, 2000, 500}));

TEST_F(ListenPressure,
       GivenAnOfferedQueuePairWhoseHostRingsNonsenseWhenAPeerComesThenAnotherHasIt) {
  Listen(2);
  TestQp& broken = *servers[0];
  b.hardware.Ring(abi::Doorbell::Make(abi::DoorbellKind::kSendPosted, broken.handle, 1u << 20));
  b.Run();
  ASSERT_EQ(b.QpCommand(abi::CommandOpcode::kDestroyQp, broken).status, 0);
  Connect();
  cable.Run();
  EXPECT_EQ(EventsOf(a, abi::EventKind::kEstablished).size(), 1u);
  const auto events = EventsOf(b, abi::EventKind::kEstablished);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].object, servers[1]->handle);
}

TEST_F(ListenPressure, GivenAFloodWhenQueuePairsAreOfferedAnewThenPeersThatAnswerGetThem) {
  Listen(4, 64);
  for (int i = 0; i < 200; ++i) {
    Strangers(100);
    TestQp& client = Connect();
    cable.Run();
    ASSERT_EQ(EstablishedAt(a), 1u) << i;
    const auto established = EventsOf(b, EventKind::kEstablished);
    ASSERT_EQ(established.size(), 1u) << i;
    Strangers(100);
    // The server aborts it, and offers another.
    b.QpCommand(abi::CommandOpcode::kDestroyQp, ServerOf(established[0].object));
    cable.Run();
    a.QpCommand(abi::CommandOpcode::kDestroyQp, client);
    Offer();
    a.Events();
    b.Events();
    if (i % 10 == 0) cable.Advance(100 * kMs, 10 * kMs);
  }
  EXPECT_EQ(syns_of_a, 200u);
}

TEST_F(ListenPressure, GivenAFloodIsOverWhenASecondHasPassedThenNobodyIsAnsweredByACookie) {
  Listen(8, 64);
  for (int i = 0; i < 20; ++i) {
    Strangers(1000);
    cable.Advance(100 * kMs, 10 * kMs);
  }
  cable.Advance(2000 * kMs, 10 * kMs);
  const uint64_t cookies = b.Counter(NicCounter::kSynCookiesSent);
  for (int i = 0; i < 8; ++i) {  // the first ones take what the flood holds
    Connect();
    cable.Run();
    ASSERT_EQ(EstablishedAt(a), 1u) << i;
    Offer();
    b.Events();
  }
  const uint64_t cookies_after = b.Counter(NicCounter::kSynCookiesSent);
  EXPECT_LE(cookies_after - cookies, 8u);
  cable.Advance(60000 * kMs, 1000 * kMs);  // and what is left of it ends
  Connect();
  cable.Run();
  EXPECT_EQ(EstablishedAt(a), 1u);
  EXPECT_EQ(b.Counter(NicCounter::kSynCookiesSent), cookies_after);
}

TEST_F(ListenPressure, GivenAStrangersHandshakeWhenAMinuteHasPassedThenItsQueuePairIsOfferedAgain) {
  Listen(1);
  Arrive(b, MakeSegment(Spoofed(1), MakeSyn(1)));
  cable.Advance(61000 * kMs, 100 * kMs);
  Connect();
  cable.Run();
  EXPECT_EQ(EstablishedAt(a), 1u);
  EXPECT_EQ(b.Counter(NicCounter::kSynCookiesSent), 0u);
}

// ---------------------------------------------------------------- more peers than queue pairs

/// SYNs that nobody completes, but too few to be pressure: each gets a queue pair.
struct AFewSyns : ListenPressure {
  uint32_t answers = 0;    ///< SYN-ACKs to strangers
  uint32_t lost_of_a = 0;  ///< SYN-ACKs to `a`, which do not arrive
  uint32_t to_lose = 0;

  AFewSyns() {
    cable.filter = [this](Frame& frame, bool from_a) {
      const bool to_a = frame[39] == 1;
      const bool answer = !from_a && HeaderOf(frame).flags == (tcp::kSyn | tcp::kAck);
      answers += answer && !to_a;
      if (answer && to_a && lost_of_a < to_lose) {
        ++lost_of_a;
        return false;
      }
      return from_a || to_a;
    };
  }
  void FiftyASecond(uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      Arrive(b, MakeSegment(Spoofed(next_stranger), MakeSyn(next_stranger)));
      ++next_stranger;
      cable.Advance(20 * kMs, 20 * kMs);
    }
  }
};

TEST_F(AFewSyns, GivenFiftyASecondWhenNobodyAnswersThenLittleMoreIsSentThanCame) {
  Listen(512);
  FiftyASecond(350);
  cable.Advance(70000 * kMs, 1000 * kMs);
  EXPECT_EQ(b.Counter(NicCounter::kSynCookiesSent), 0u) << "there was no pressure";
  EXPECT_GE(answers, 350u);
  EXPECT_LE(answers, 420u);
}

TEST_F(AFewSyns, GivenRepeatsAreUsedUpWhenAPeersAnswersAreLostThenItConnectsByItsOwnRepeat) {
  Listen(512);
  FiftyASecond(200);
  to_lose = 2;
  TestQp& client = Connect();
  cable.Advance(4000 * kMs, 10 * kMs);
  EXPECT_EQ(lost_of_a, 2u);
  EXPECT_EQ(EstablishedAt(a), 1u);
  ExpectDataFlows(client, ServerOf(EventsOf(b, EventKind::kEstablished).at(0).object));
}

TEST_F(AFewSyns, GivenNobodyElseWhenThePeerIsSilentThenItIsAskedAgain) {
  Listen(4);
  Strangers(1);
  cable.Advance(16000 * kMs, 100 * kMs);
  EXPECT_EQ(answers, 4u) << "after 1, 3, 7 and 15 seconds";
}

TEST_F(ListenPressure, GivenAHandshakeGivesWayWhenItsPeerAnswersAfterAllThenItIsNotResetButWaits) {
  Listen(1);
  Frame held;
  const auto count = cable.filter;
  cable.filter = [&](Frame& frame, bool from_a) {
    if (!from_a && held.empty()) {
      held = frame;  // the SYN-ACK of the first
      return false;
    }
    return count(frame, from_a);
  };
  TestQp& first = Connect();
  cable.Run();
  Connect();
  cable.Run();
  EXPECT_EQ(EstablishedAt(a), 1u) << "by a cookie";
  EXPECT_EQ(EstablishedAt(b), 1u);
  EXPECT_EQ(b.Counter(NicCounter::kHandshakesPutAside), 1u);
  a.hardware.incoming.push_back(held);
  cable.Run();
  EXPECT_EQ(EstablishedAt(a), 1u);
  a.PostInline(first, "hello");
  cable.Run();
  EXPECT_EQ(EstablishedAt(b), 0u);
  EXPECT_EQ(resets, 0u);
  TestQp& server = Offer();
  b.PostRecv(server, {SgeOf(sink, sink_key, 0, 4096)});
  cable.Run();
  EXPECT_EQ(EstablishedAt(b), 1u) << "before it says anything more";
  cable.Advance(2000 * kMs, 10 * kMs);
  EXPECT_EQ(std::memcmp(sink.data(), "hello", 5), 0);
  EXPECT_EQ(resets, 0u);
}

/// Holds back what answers the SYNs of the first `count` clients.
struct SlowAnswers : ListenPressure {
  std::vector<Frame> held;

  void HoldBack(size_t count) {
    cable.filter = [this, count, inner = cable.filter](Frame& frame, bool from_a) {
      if (from_a || held.size() == count) return inner(frame, from_a);
      held.push_back(frame);
      return false;
    };
  }
  void Deliver() {
    for (const Frame& frame : held) a.hardware.incoming.push_back(frame);
    cable.Run();
  }
};

TEST_F(SlowAnswers, GivenAHandshakeInTheLastPlaceWhenAnotherProvesItselfThenBothConnectInTheEnd) {
  Listen(1, 1);
  HoldBack(1);
  TestQp& slow = Connect();
  cable.Run();
  Connect();  // takes the queue pair, by a cookie
  cable.Run();
  ASSERT_EQ(b.Counter(NicCounter::kHandshakesPutAside), 1u);
  TestQp& late = Connect();
  cable.Run();
  a.PostInline(late, "later");
  Deliver();
  EXPECT_EQ(EstablishedAt(a), 3u);
  EXPECT_EQ(EstablishedAt(b), 1u);
  ExpectDataFlows(slow, Offer());
  b.PostRecv(Offer(), {SgeOf(sink, sink_key, 0, 4096)});
  cable.Advance(5000 * kMs, 10 * kMs);
  EXPECT_EQ(EstablishedAt(b), 2u);
  EXPECT_EQ(std::memcmp(sink.data(), "later", 5), 0);
  EXPECT_EQ(resets, 0u);
}

TEST_F(SlowAnswers, GivenNoPlaceForAHandshakeWhenAnotherProvesItselfThenItKeepsItsQueuePair) {
  Listen(2, 1);
  HoldBack(2);
  TestQp& first = Connect();
  cable.Run();
  TestQp& second = Connect();
  cable.Run();
  Connect();  // has the first one's queue pair, and that the only place
  cable.Run();
  TestQp& late = Connect();
  cable.Run();
  a.PostInline(late, "later");
  std::swap(held[0], held[1]);  // else the first takes the second's queue pair, and it the place
  Deliver();
  EXPECT_EQ(EstablishedAt(a), 4u);
  const auto established = EventsOf(b, EventKind::kEstablished);
  ASSERT_EQ(established.size(), 2u);
  ExpectDataFlows(second, ServerOf(established[1].object));
  ExpectDataFlows(first, Offer());
  b.PostRecv(Offer(), {SgeOf(sink, sink_key, 0, 4096)});
  cable.Advance(5000 * kMs, 10 * kMs);
  EXPECT_EQ(std::memcmp(sink.data(), "later", 5), 0);
  EXPECT_EQ(resets, 0u);
}

TEST_F(SlowAnswers, GivenStrangersInEveryPlaceWhenTheirTimeIsOverThenWhoProvesItselfIsConnected) {
  Listen(2, 1);
  Strangers(2);
  Connect();
  cable.Run();
  EXPECT_EQ(EstablishedAt(b), 1u);
  cable.Advance(500 * kMs, 10 * kMs);
  Connect();
  cable.Run();
  EXPECT_EQ(EstablishedAt(b), 1u);
}

/// All queue pairs are connected, and SYNs of strangers fill the backlog.
struct NothingAtHand : ListenPressure {
  void Prepare(uint16_t backlog) {
    Listen(1, backlog);
    Connect();
    cable.Run();
    ASSERT_EQ(EstablishedAt(a), 1u);
    ASSERT_EQ(EstablishedAt(b), 1u);
    Strangers(backlog);
    ASSERT_EQ(b.Counter(NicCounter::kSynCookiesSent), 0u);
  }
};

TEST_F(NothingAtHand, GivenACookieComesBackWhenAQueuePairIsOfferedThenItsPeerGetsItAndItsData) {
  Prepare(4);
  TestQp& client = Connect();
  cable.Run();
  EXPECT_EQ(EstablishedAt(a), 1u);
  for (const char* text : {"one", "two", "six"}) a.PostInline(client, text);
  cable.Advance(300 * kMs, 10 * kMs);
  EXPECT_EQ(resets, 0u);
  EXPECT_EQ(EstablishedAt(b), 0u);
  EXPECT_EQ(b.Counter(NicCounter::kPeersPutOff), 1u);
  TestQp& server = Offer();
  for (uint32_t i = 0; i < 3; ++i) b.PostRecv(server, {SgeOf(sink, sink_key, 8 * i, 8)});
  cable.Advance(3000 * kMs, 10 * kMs);
  EXPECT_EQ(EstablishedAt(b), 1u);
  EXPECT_EQ(std::memcmp(sink.data(), "one", 3), 0);
  EXPECT_EQ(std::memcmp(sink.data() + 8, "two", 3), 0);
  EXPECT_EQ(std::memcmp(sink.data() + 16, "six", 3), 0);
  EXPECT_EQ(resets, 0u);
}

TEST_F(NothingAtHand, GivenNoRoomToWaitWhenACookieComesBackThenNothingThatFollowsIsReset) {
  Prepare(1);
  TestQp& client = Connect();
  cable.filter = [this, inner = cable.filter](Frame& frame, bool from_a) {
    // Somebody else is faster: it has taken the only place before the first ACK comes.
    if (from_a && HeaderOf(frame).flags == tcp::kAck && b.Counter(NicCounter::kPeersPutOff) == 0) {
      const tcp::Header syn = MakeSyn(90);
      Arrive(b, MakeSegment(Spoofed(90), syn));
      tcp::Header ack = syn;
      ack.flags = tcp::kAck;
      ack.has_mss = ack.has_window_scale = false;
      ack.sequence = syn.sequence + 1;
      while (!b.hardware.outgoing.empty()) {
        const tcp::Header answer = HeaderOf(b.hardware.outgoing.front());
        b.hardware.outgoing.pop_front();
        if (answer.destination_port != syn.source_port) continue;
        ack.acknowledgement = answer.sequence + 1;
        ack.ts_echo = answer.ts_value;
      }
      Arrive(b, MakeSegment(Spoofed(90), ack));
      EXPECT_EQ(b.Counter(NicCounter::kPeersPutOff), 1u);
    }
    return inner(frame, from_a);
  };
  cable.Run();
  EXPECT_EQ(EstablishedAt(a), 1u);
  for (const char* text : {"one", "two", "six"}) a.PostInline(client, text);
  cable.Advance(1000 * kMs, 10 * kMs);
  EXPECT_EQ(resets, 0u);
  EXPECT_EQ(EventsOf(a, EventKind::kDisconnected).size(), 0u);
  Offer();  // for the other one
  TestQp& server = Offer();
  for (uint32_t i = 0; i < 3; ++i) b.PostRecv(server, {SgeOf(sink, sink_key, 8 * i, 8)});
  cable.Advance(5000 * kMs, 10 * kMs);
  EXPECT_EQ(EstablishedAt(b), 2u);
  EXPECT_EQ(std::memcmp(sink.data() + 16, "six", 3), 0);
  EXPECT_EQ(resets, 0u);
}

TEST_F(NothingAtHand, GivenItsFirstSegmentIsLostWhenTheSecondComesThenItIsNotReset) {
  Listen(1);
  Strangers(1);
  uint32_t lost = 0;
  cable.filter = [&, inner = cable.filter](Frame& frame, bool from_a) {
    if (from_a && HeaderOf(frame).Has(tcp::kAck) && lost < 2) {
      ++lost;  // the ACK, and the text that follows it
      return false;
    }
    return inner(frame, from_a);
  };
  TestQp& client = Connect();
  cable.Run();
  ASSERT_EQ(EstablishedAt(a), 1u);
  a.PostInline(client, "one");
  cable.Run();
  EXPECT_EQ(lost, 2u);
  a.PostInline(client, "two");
  cable.Run();
  EXPECT_EQ(resets, 0u);
  cable.Advance(2000 * kMs, 10 * kMs);
  EXPECT_EQ(EstablishedAt(b), 1u);
  EXPECT_EQ(resets, 0u);
}

TEST_F(NothingAtHand, GivenAPeerThatWaitsWhenTheListenerClosesThenItIsReset) {
  Prepare(4);
  Connect();
  cable.Run();
  ASSERT_EQ(EstablishedAt(a), 1u);
  abi::Command close;
  close.opcode = static_cast<uint8_t>(abi::CommandOpcode::kCloseListener);
  close.close_listener.listener = listener;
  ASSERT_EQ(b.Command(close).status, 0);
  cable.Run();
  EXPECT_EQ(resets, 1u);
  EXPECT_EQ(EventsOf(a, EventKind::kDisconnected).size(), 1u);
}

TEST_F(NothingAtHand, GivenASynWaitsWhenAResetIsGuessedThenItWaitsOnAndAnExactOneEndsThat) {
  Listen(1);
  Connect();
  cable.Run();
  ASSERT_EQ(EstablishedAt(a), 1u);
  const tcp::Header syn = MakeSyn(5);
  Arrive(b, MakeSegment(Spoofed(5), syn));
  tcp::Header reset = syn;
  reset.flags = tcp::kRst;
  reset.sequence = syn.sequence - 100000;
  Arrive(b, MakeSegment(Spoofed(5), reset));
  Offer();
  b.Run();
  EXPECT_EQ(b.Counter(NicCounter::kSynsTakenUp), 1u);
  Arrive(b, MakeSegment(Spoofed(6), MakeSyn(6)));
  reset = MakeSyn(6);
  reset.flags = tcp::kRst;
  reset.sequence = MakeSyn(6).sequence + 1;
  Arrive(b, MakeSegment(Spoofed(6), reset));
  Offer();
  b.Run();
  EXPECT_EQ(b.Counter(NicCounter::kSynsTakenUp), 1u);
}

}  // namespace
}  // namespace qpip::fw::test

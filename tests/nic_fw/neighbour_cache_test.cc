// Who has which link address, and whether it still answers.
#include "nic_fw/neighbour_cache.h"

#include <map>

#include "on_link.h"

namespace qpip::fw::test {
namespace {

// ---------------------------------------------------------------- address resolution

TEST_F(OnLink, GivenAnUnknownNeighbourWhenADatagramIsSentThenItWaitsForTheAnswer) {
  Take();
  SendTo(9);
  auto frames = Take();
  ASSERT_EQ(frames.size(), 1u);
  const NeighbourMessage question = Read(frames[0]);
  EXPECT_EQ(question.type, icmpv6::kNeighbourSolicitation);
  EXPECT_EQ(question.target, Ip(9));
  EXPECT_EQ(question.source_link, kOwnLink);
  EXPECT_EQ(frames[0].to, icmpv6::MulticastLink(icmpv6::SolicitedNode(Ip(9))));
  EXPECT_EQ(StateOf(9), NeighbourState::kIncomplete);

  Advertise(9, kPeerLink);
  frames = Datagrams();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].to, kPeerLink);
  EXPECT_EQ(StateOf(9), NeighbourState::kReachable);
}

TEST_F(OnLink, GivenMoreFramesThanAreKeptWhenTheAnswerComesThenTheNewestGoOut) {
  for (int i = 0; i < 5; ++i) SendTo(9);
  Advertise(9, kPeerLink);
  EXPECT_EQ(Datagrams().size(), 3u);
  EXPECT_EQ(nic.Dropped(abi::DropReason::kNoNeighbour), 2u);
}

TEST_F(OnLink, GivenPayloadsWhenTheNeighbourIsUnknownThenTheyAreTheNicsUntilTheAnswerComes) {
  HostMemory memory(nic.hardware, 4096);
  const uint32_t key = nic.Register(memory, 0);
  FillPattern(memory);
  const Frame expected(memory.data(), memory.data() + 1000);
  nic.Bind(*udp, 1000);
  for (int i = 0; i < 3; ++i) {
    nic.PostSend(*udp, {SgeOf(memory, key, 0, 1000)}, true, 9, 2000);
  }
  Advance(100 * kMs);
  EXPECT_TRUE(Datagrams().empty());
  EXPECT_EQ(nic.Poll(*cq).size(), 3u) << "the memory is the application's again";
  FillPattern(memory, 77);
  Advertise(9, kPeerLink);
  const auto datagrams = Datagrams();
  ASSERT_EQ(datagrams.size(), 3u);
  for (const Sent& one : datagrams) {
    EXPECT_EQ(Frame(one.bytes.begin() + 48, one.bytes.end()), expected);
  }
  EXPECT_EQ(nic.hardware.payloads_held(), 0u);
}

TEST_F(OnLink, GivenADatagramInFragmentsWhenTheAddressIsFoundThenAllOfThemGoOut) {
  HostMemory memory(nic.hardware, 8192);
  const uint32_t key = nic.Register(memory, 0);
  nic.Bind(*udp, 1000);
  nic.PostSend(*udp, {SgeOf(memory, key, 0, 8000)}, true, 9, 2000);
  Take();
  Advertise(9, kPeerLink);
  EXPECT_EQ(Take().size(), 6u);
  EXPECT_EQ(nic.Dropped(abi::DropReason::kNoNeighbour), 0u);
  EXPECT_EQ(nic.hardware.payloads_held(), 0u);
}

TEST_F(OnLink, GivenALongInlineDatagramWhenTheAddressIsFoundThenItGoesOutWhole) {
  auto qp = nic.CreateQp(*cq, {.type = abi::QpType::kUdp, .send_log2_stride = 9});
  nic.Bind(*qp, 1000);
  const std::string text(400, 'q');
  nic.PostInline(*qp, text, 9, 2000);
  Take();
  Advertise(9, kPeerLink);
  const auto datagrams = Datagrams();
  ASSERT_EQ(datagrams.size(), 1u);
  EXPECT_EQ(std::string(datagrams[0].bytes.begin() + 48, datagrams[0].bytes.end()), text);
  EXPECT_EQ(nic.hardware.payloads_held(), 0u);
}

// ---------------------------------------------------------------- nobody there

/// A queue pair that echoes, one of whose datagrams is to an address that nobody has.
struct NobodyThere : OnLink {
  NobodyThere() : memory(nic.hardware, 4096), key(nic.Register(memory, 0)) {
    nic.Bind(*udp, 1000);
    Solicit(9, kPeerLink);
    Take();
  }
  /// One with a payload that has to be fetched, as an echo server's.
  void Echo(uint8_t who, uint32_t bytes = 1000) {
    nic.PostSend(*udp, {SgeOf(memory, key, 0, bytes)}, true, who, 2000);
    Collect();
  }
  HostMemory memory;
  const uint32_t key;
};

TEST_F(NobodyThere, WhenOneDatagramHasNoTakerThenTheOthersGoOnAsBefore) {
  Echo(77);
  for (int i = 0; i < 40; ++i) {
    Echo(9);
    Advance(100 * kMs);
    const auto done = nic.Poll(*cq);
    EXPECT_EQ(done.size(), i == 0 ? 2u : 1u);
  }
  EXPECT_EQ(Datagrams().size(), 40u);
  EXPECT_EQ(nic.Counter(abi::NicCounter::kUdpDatagramsSent), 41u) << "each counts once";
  EXPECT_EQ(nic.hardware.payloads_held(), 0u);
}

TEST_F(NobodyThere, WhenFragmentsOrInlineBytesHaveNoTakerThenTheOthersGoOnAsBefore) {
  Echo(77, 4000);
  nic.PostInline(*udp, std::string(60, 'x'), 78, 2000);
  for (int i = 0; i < 10; ++i) Echo(9);
  EXPECT_EQ(nic.Poll(*cq).size(), 12u);
  EXPECT_EQ(Datagrams().size(), 10u);
  Advance(7 * kSecond);
  EXPECT_EQ(nic.hardware.payloads_held(), 0u);
}

TEST_F(NobodyThere, WhenThreeQuestionsAreNotAnsweredThenNoMoreAreAskedAndTheHostIsTold) {
  Echo(77);
  Echo(77);
  Advance(3 * kSecond + kMs);
  EXPECT_EQ(Take(icmpv6::kNeighbourSolicitation).size(), 3u);
  EXPECT_EQ(StateOf(77), NeighbourState::kUnreachable);
  EXPECT_EQ(EventsOf(nic, abi::EventKind::kNotice).size(), 1u);
  const abi::Event notices = nic.QpCommand(abi::CommandOpcode::kTakeNotices, *udp);
  EXPECT_EQ(notices.result[0], abi::kNoticeIcmpError);
  EXPECT_EQ(notices.result[2], 2u) << "one for each that waited (RFC 4861 7.2.2)";
  EXPECT_EQ(notices.result[3], 0x0103u) << "destination unreachable: address";
  EXPECT_EQ(nic.Dropped(abi::DropReason::kNoNeighbour), 2u);
  Advance(60 * kSecond);
  EXPECT_TRUE(Take(icmpv6::kNeighbourSolicitation).empty()) << "nobody wants it any more";
  EXPECT_EQ(StateOf(77), NeighbourState::kFree);
}

TEST_F(NobodyThere, WhenItIsKnownToBeUnreachableThenASendFailsAtOnceAndAloneUntilItSpeaks) {
  Echo(77);
  Advance(3 * kSecond + kMs);
  nic.Poll(*cq);
  Echo(77);
  nic.PostInline(*udp, "x", 77, 2000);
  Echo(9);
  Collect();
  const auto done = nic.Poll(*cq);
  ASSERT_EQ(done.size(), 3u);
  EXPECT_EQ(Status(done[0]), Status(abi::CompletionStatus::kRetryExceeded));
  EXPECT_EQ(done[0].vendor_error, static_cast<uint32_t>(abi::DisconnectReason::kUnreachable));
  EXPECT_EQ(Status(done[1]), Status(abi::CompletionStatus::kRetryExceeded));
  EXPECT_EQ(Status(done[2]), Status(abi::CompletionStatus::kSuccess));
  EXPECT_EQ(Datagrams().size(), 1u);
  Solicit(77, kOtherLink);
  Echo(77);
  const auto datagrams = Datagrams();
  ASSERT_EQ(datagrams.size(), 1u) << "it has come";
  EXPECT_EQ(datagrams[0].to, kOtherLink);
}

TEST_F(NobodyThere, WhenSentToAllTheTimeThenItIsAskedOnceASecondAtMost) {
  Take();
  for (int i = 0; i < 3000; ++i) {
    Echo(77);
    nic.Poll(*cq);
    Advance(10 * kMs);
  }
  const size_t asked = Take(icmpv6::kNeighbourSolicitation).size();
  EXPECT_LE(asked, 18u) << "in thirty seconds";
  EXPECT_GE(asked, 12u) << "but it is asked for again and again";
}

TEST_F(NobodyThere, WhenTheQueuePairGoesAwayThenWhatWaitsIsNobodysAndIsLetGoOf) {
  Echo(77);
  nic.QpCommand(abi::CommandOpcode::kDestroyQp, *udp);
  Advance(4 * kSecond);
  EXPECT_EQ(nic.hardware.payloads_held(), 0u);
  EXPECT_TRUE(EventsOf(nic, abi::EventKind::kNotice).empty());
}

TEST_F(OnLink, GivenASynAckToNobodyWhenItIsNotDeliveredThenTheQueuePairIsOfferedAgain) {
  const abi::Event listening = nic.Listen(80);
  auto qp = nic.CreateQp(*cq);
  nic.Offer(listening.object, *qp);
  tcp::Header syn;
  syn.source_port = 4000;
  syn.destination_port = 80;
  syn.flags = tcp::kSyn;
  nic.hardware.trusted = true;
  const auto arrive_from = [&](uint8_t who) {
    Frame frame(60);
    ipv6::Header ip;
    ip.next_header = ipv6::kTcp;
    ip.payload_length = 20;
    ip.source = Ip(who);
    ip.destination = Ip(1);
    ipv6::Emit(ip, std::span<uint8_t, 40>(frame.data(), 40));
    tcp::Emit(syn, std::span<uint8_t>(frame).subspan(40));
    ArriveFrame(frame);
  };
  arrive_from(77);
  Advance(3 * kSecond + kMs);
  Take();
  Solicit(9, kPeerLink);
  Take();
  arrive_from(9);
  const auto frames = Take();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].bytes[6], ipv6::kTcp);
  EXPECT_EQ(frames[0].bytes[53], tcp::kSyn | tcp::kAck);
  EXPECT_EQ(frames[0].to, kPeerLink);
}

TEST_F(OnLink, GivenNoAnswerWhenThreeQuestionsHaveBeenAskedThenTheConnectionAttemptFails) {
  auto qp = nic.CreateQp(*cq);
  Take();
  nic.Connect(*qp, 9, 80);
  EXPECT_EQ(Take(icmpv6::kNeighbourSolicitation).size(), 1u);
  Advance(1500 * kMs);
  EXPECT_EQ(Take(icmpv6::kNeighbourSolicitation).size(), 1u);
  Advance(2 * kSecond);
  const auto events = EventsOf(nic, abi::EventKind::kConnectFailed);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].object, qp->handle);
  EXPECT_EQ(StateOf(9), NeighbourState::kUnreachable);
  EXPECT_EQ(nic.Counter(abi::NicCounter::kNeighboursUnreachable), 1u);
}

TEST_F(OnLink, GivenASynWhenTheAddressIsFoundThenItGoesOutAtOnce) {
  auto qp = nic.CreateQp(*cq);
  nic.Connect(*qp, 9, 80);
  Take();
  Advertise(9, kPeerLink);
  const auto frames = Take();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].bytes[6], ipv6::kTcp);
  EXPECT_EQ(frames[0].to, kPeerLink);
}

/// A SYN to a port where nobody listens, which is answered by a reset.
Frame StraySyn(uint8_t from, uint16_t port) {
  Frame frame(60);
  ipv6::Header ip;
  ip.next_header = ipv6::kTcp;
  ip.payload_length = 20;
  ip.source = Ip(from);
  ip.destination = Ip(1);
  ipv6::Emit(ip, std::span<uint8_t, 40>(frame.data(), 40));
  tcp::Header syn;
  syn.source_port = port;
  syn.destination_port = 81;
  syn.flags = tcp::kSyn;
  tcp::Emit(syn, std::span<uint8_t>(frame).subspan(40));
  return frame;
}

TEST_F(OnLink, GivenADatagramThatWaitsWhenStrangersProvokeResetsThenItKeepsItsPlace) {
  nic.hardware.trusted = true;
  SendTo(9);
  // Some for the same neighbour, and more for others than may wait in all.
  for (uint16_t port = 4000; port < 4004; ++port) ArriveFrame(StraySyn(9, port));
  for (uint16_t port = 4000; port < 4003; ++port) {
    for (uint8_t who = 100; who < 120; ++who) ArriveFrame(StraySyn(who, port));
  }
  Take();
  Advertise(9, kPeerLink);
  EXPECT_EQ(Datagrams().size(), 1u);
}

TEST_F(OnLink, GivenResetsThatWaitWhenTheHostSendsThenTheyGiveWay) {
  nic.hardware.trusted = true;
  for (uint16_t port = 4000; port < 4003; ++port) ArriveFrame(StraySyn(9, port));
  for (int i = 0; i < 3; ++i) SendTo(9);
  Take();
  Advertise(9, kPeerLink);
  const auto frames = Take();
  EXPECT_EQ(frames.size(), 3u);
  for (const Sent& one : frames) EXPECT_EQ(one.bytes[6], ipv6::kUdp);
}

TEST_F(OnLink, GivenResetsBehindADatagramWhenTheHostSendsMoreThenTheResetsGiveWay) {
  nic.hardware.trusted = true;
  SendTo(9);
  for (uint16_t port = 4000; port < 4002; ++port) ArriveFrame(StraySyn(9, port));
  for (int i = 0; i < 2; ++i) SendTo(9);
  Take();
  Advertise(9, kPeerLink);
  EXPECT_EQ(Datagrams().size(), 3u) << "the first has waited longest, and stays";
}

TEST_F(OnLink, GivenAFullTableWhenStrangersSolicitThenTheNeighboursInUseStay) {
  SendTo(9);
  Advertise(9, kPeerLink);
  for (uint8_t who = 10; who < 250; ++who) Solicit(who, kOtherLink);
  EXPECT_EQ(StateOf(9), NeighbourState::kReachable);
  EXPECT_EQ(StateOf(249), NeighbourState::kStale);
  EXPECT_EQ(StateOf(10), NeighbourState::kFree);
}

// ---------------------------------------------------------------- more neighbours than places

/// A table of 16 places.
struct SmallTable : OnLink {
  static NicConfig Config() {
    NicConfig config = EthernetConfig();
    config.link.max_neighbours = 16;
    return config;
  }
  SmallTable() : OnLink(Config()) {}

  /// Answers whoever is asked for, up to the neighbour `last`; counts the questions.
  void AnswerAll(uint8_t last) {
    for (const Sent& one : Take(icmpv6::kNeighbourSolicitation)) {
      const uint8_t who = Read(one).target.bytes[15];
      ++questions[who];
      if (who <= last) Advertise(who, {2, 0, 0, 0, 1, who});
    }
  }
  std::map<uint8_t, uint32_t> questions;
};

TEST_F(SmallTable, GivenMoreThatTalkThanPlacesWhenSentToAllThenNoneIsAskedMoreThanOnceASecond) {
  uint64_t datagrams = 0;
  for (int round = 0; round < 1000; ++round) {
    for (uint8_t who = 10; who < 30; ++who) {
      SendTo(who);
      for (const Sent& one : sent) datagrams += one.bytes[6] == ipv6::kUdp;
      AnswerAll(200);
      nic.Poll(*cq);
    }
    Advance(10 * kMs);
  }
  for (const auto& [who, count] : questions)
    EXPECT_LE(count, 12u) << "in ten seconds: " << int{who};
  EXPECT_GT(datagrams, 20u * 1000u * 6 / 10) << "most of them get through";
}

TEST_F(SmallTable, GivenResolutionsUnderWayWhenOthersBeginThenTheyAreFinished) {
  for (uint8_t who = 10; who < 40; ++who) SendTo(who);
  EXPECT_EQ(Take(icmpv6::kNeighbourSolicitation).size(), 8u) << "half of the places";
  for (uint8_t who = 10; who < 18; ++who) {
    EXPECT_EQ(StateOf(who), NeighbourState::kIncomplete);
    Advertise(who, kPeerLink);
  }
  EXPECT_EQ(Datagrams().size(), 8u);
  SendTo(39);
  Advertise(39, kPeerLink);
  EXPECT_EQ(Datagrams().size(), 1u) << "there is room again";
}

TEST_F(SmallTable, GivenAFloodToAddressesThatNobodyHasThenThoseThatAreKnownStayAndOthersGetIn) {
  for (uint8_t who = 10; who < 18; ++who) Solicit(who, kPeerLink);
  Take();
  for (int i = 0; i < 500; ++i) {
    SendTo(static_cast<uint8_t>(100 + i % 100));
    nic.Poll(*cq);
    Advance(20 * kMs);
    for (uint8_t who = 10; who < 18; ++who) EXPECT_EQ(StateOf(who), NeighbourState::kStale);
  }
  EXPECT_LE(Take(icmpv6::kNeighbourSolicitation).size(), 8u * 11u) << "in ten seconds";
  Advance(7 * kSecond);
  SendTo(50);
  Advertise(50, kPeerLink);
  EXPECT_EQ(StateOf(50), NeighbourState::kReachable);
}

TEST_F(SmallTable, GivenResetsToMadeUpSourcesWhenTheHostSendsThenThereIsRoomForIt) {
  nic.hardware.trusted = true;
  for (uint8_t who = 100; who < 200; ++who) ArriveFrame(StraySyn(who, 4000));
  EXPECT_EQ(Take(icmpv6::kNeighbourSolicitation).size(), 4u);
  SendTo(9);
  EXPECT_EQ(Take(icmpv6::kNeighbourSolicitation).size(), 1u);
  Advertise(9, kPeerLink);
  EXPECT_EQ(Datagrams().size(), 1u);
}

/// ... and a link of small packets.
struct SmallLink : OnLink {
  static NicConfig Config() {
    NicConfig config = SmallTable::Config();
    config.mtu = ipv6::kMinMtu;
    return config;
  }
  SmallLink() : OnLink(Config()) {}
};

TEST_F(SmallLink, GivenEchoRequestsOfMadeUpSourcesWhenTheRepliesGoInFragmentsThenAFewAreAskedFor) {
  nic.hardware.trusted = true;
  for (uint8_t who = 100; who < 200; ++who) {
    Frame frame(40 + 8 + 1300);
    ipv6::Header ip;
    ip.next_header = ipv6::kIcmpv6;
    ip.payload_length = static_cast<uint16_t>(frame.size() - 40);
    ip.source = Ip(who);
    ip.destination = Ip(1);
    ipv6::Emit(ip, std::span<uint8_t, 40>(frame.data(), 40));
    frame[40] = icmpv6::kEchoRequest;
    ArriveFrame(frame);
  }
  EXPECT_EQ(Take(icmpv6::kNeighbourSolicitation).size(), 4u) << "a quarter of the places";
}

struct LargeTable : OnLink {
  static NicConfig Config() {
    NicConfig config = EthernetConfig();
    config.link.max_neighbours = 1024;
    return config;
  }
  LargeTable() : OnLink(Config()) {}
};

TEST_F(LargeTable, GivenAThousandThatIntroduceThemselvesThenAllAreKnown) {
  NeighbourMessage message;
  message.type = icmpv6::kNeighbourSolicitation;
  message.target = Ip(1);
  message.has_source_link = true;
  message.source_link = kPeerLink;
  for (uint32_t who = 0; who < 1000; ++who) {
    ipv6::Address source = Ip(static_cast<uint8_t>(who));
    source.bytes[14] = static_cast<uint8_t>(1 + (who >> 8));
    Arrive(message, source, icmpv6::SolicitedNode(Ip(1)));
  }
  uint32_t known = 0;
  for (uint32_t i = 0; i < nic.config.link.max_neighbours; ++i) {
    known += HasLinkAddress(NeighbourAt(View(), i).state);
  }
  EXPECT_EQ(known, 1000u);
  ArenaBytes bytes;
  ASSERT_NE(qpip_fw_arena(&nic.config, &bytes), 0u);
  EXPECT_LT(bytes.neighbours, 112u * 1024u);
}

// ---------------------------------------------------------------- unreachability detection

struct Known : OnLink {
  Known() {
    SendTo(9);
    Advertise(9, kPeerLink);
    Take();
  }
};

TEST_F(Known, GivenReachableWhenItsTimePassesThenStaleAndNothingIsAsked) {
  Advance(46 * kSecond);
  EXPECT_EQ(StateOf(9), NeighbourState::kStale);
  EXPECT_TRUE(Take(icmpv6::kNeighbourSolicitation).empty());
}

TEST_F(Known, GivenStaleWhenSentToThenTheOldAddressServesUntilAProbeIsAnswered) {
  Advance(46 * kSecond);
  Take();
  SendTo(9);
  const auto frames = Datagrams();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].to, kPeerLink);
  EXPECT_EQ(StateOf(9), NeighbourState::kDelay);
  Advance(5 * kSecond + kMs);
  EXPECT_EQ(StateOf(9), NeighbourState::kProbe);
  const auto probes = Take(icmpv6::kNeighbourSolicitation);
  ASSERT_EQ(probes.size(), 1u);
  EXPECT_EQ(probes[0].to, kPeerLink) << "asked directly";
  Advertise(9, kPeerLink);
  EXPECT_EQ(StateOf(9), NeighbourState::kReachable);
}

TEST_F(Known, GivenProbeWhenThreeAreNotAnsweredThenTheEntryIsGone) {
  Advance(46 * kSecond);
  SendTo(9);
  Take();
  Advance(5 * kSecond + 4 * kSecond);
  EXPECT_EQ(Take(icmpv6::kNeighbourSolicitation).size(), 3u);
  EXPECT_EQ(StateOf(9), NeighbourState::kFree);
}

TEST_F(Known, GivenAdvertisementsWhenReceivedThenTheTableOfTheRfcIsFollowed) {
  // RFC 4861 appendix C, what is not covered above.
  Advertise(9, kOtherLink, true, false);  // another address, no override: reachable becomes stale
  EXPECT_EQ(StateOf(9), NeighbourState::kStale);
  SendTo(9);
  EXPECT_EQ(Datagrams()[0].to, kPeerLink) << "and the old one is kept";
  Advertise(9, kPeerLink, true, false);  // the same address, solicited
  EXPECT_EQ(StateOf(9), NeighbourState::kReachable);
  Advertise(9, kPeerLink, false, true);  // the same, unsolicited: nothing new
  EXPECT_EQ(StateOf(9), NeighbourState::kReachable);
  Advertise(9, kOtherLink, false, true);  // another with override, unsolicited
  EXPECT_EQ(StateOf(9), NeighbourState::kStale);
  SendTo(9);
  EXPECT_EQ(Datagrams()[0].to, kOtherLink);
  Advertise(9, kPeerLink, true, true);
  EXPECT_EQ(StateOf(9), NeighbourState::kReachable);
  Advertise(77, kOtherLink);
  EXPECT_EQ(StateOf(77), NeighbourState::kFree) << "nobody asked";
}

TEST(OnLinkTcp, GivenDelayWhenDataIsAcknowledgedThenReachableWithoutAProbe) {
  ConnectedPair pair({}, EthernetConfig());
  pair.cable.Advance(40 * kSecond, 100 * kMs);
  HostMemory source(pair.a.hardware, 1000), sink(pair.b.hardware, 1000);
  const uint32_t key = pair.a.Register(source, 0);
  pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, pair.b.Register(sink), 0, 1000)});
  pair.cable.Run();
  uint32_t solicitations = 0;
  pair.cable.filter = [&](Frame& frame, bool) {
    solicitations += frame[6] == ipv6::kIcmpv6 && frame[40] == icmpv6::kNeighbourSolicitation;
    return true;
  };
  pair.a.PostSend(*pair.qp_a, {SgeOf(source, key, 0, 1000)});
  pair.cable.Advance(4 * kSecond, 100 * kMs);
  EXPECT_EQ(pair.b.Poll(*pair.cq_b).size(), 1u);
  pair.cable.Advance(2 * kSecond, 100 * kMs);
  EXPECT_LE(solicitations, 1u) << "the sender of data needs none; the other end has no hint";
}

}  // namespace
}  // namespace qpip::fw::test

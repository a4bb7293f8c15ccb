// Who has which link address, and whether it still answers.
#include "nic_fw/neighbour_cache.h"

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

TEST_F(OnLink, GivenAPayloadWhenTheNeighbourIsUnknownThenItsQueuePairWaitsAndNothingIsLost) {
  HostMemory memory(nic.hardware, 4096);
  const uint32_t key = nic.Register(memory, 0);
  nic.Bind(*udp, 1000);
  for (int i = 0; i < 4; ++i) {
    nic.PostSend(*udp, {SgeOf(memory, key, 0, 1000)}, true, 9, 2000);
  }
  Advance(100 * kMs);
  EXPECT_TRUE(Datagrams().empty());
  Advertise(9, kPeerLink);
  EXPECT_EQ(Datagrams().size(), 4u);
  EXPECT_EQ(nic.hardware.payloads_held(), 0u);
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
  EXPECT_EQ(StateOf(9), NeighbourState::kFree);
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

TEST_F(OnLink, GivenAFullTableWhenStrangersSolicitThenTheNeighboursInUseStay) {
  SendTo(9);
  Advertise(9, kPeerLink);
  for (uint8_t who = 10; who < 250; ++who) Solicit(who, kOtherLink);
  EXPECT_EQ(StateOf(9), NeighbourState::kReachable);
  EXPECT_EQ(StateOf(249), NeighbourState::kStale);
  EXPECT_EQ(StateOf(10), NeighbourState::kFree);
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

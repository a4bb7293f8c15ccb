// Which neighbour a packet goes to: static routes, routers, prefixes.
#include "nic_fw/routes.h"

#include "listen_support.h"
#include "on_link.h"

namespace qpip::fw::test {
namespace {

constexpr ipv6::Address kFar = {{0x20, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5}};
constexpr ipv6::Address kRouter = {{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe}};

struct Routed : OnLink {
  /// Connects to an address off the link and answers which neighbour is asked for.
  ipv6::Address AskedFor(const ipv6::Address& destination) {
    auto qp = nic.CreateQp(*cq);
    Take();
    abi::Command command;
    command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kConnect);
    command.connect.qp = qp->handle;
    std::memcpy(command.connect.remote_address.bytes, destination.bytes, 16);
    command.connect.remote_port = 80;
    nic.Command(command);
    qps_.push_back(std::move(qp));
    std::vector<Sent> questions;
    for (Sent& one : Take()) {
      if (one.bytes[6] == ipv6::kTcp) last_connect_ = one;
      if (one.bytes[6] == ipv6::kIcmpv6) questions.push_back(std::move(one));
    }
    return questions.empty() ? ipv6::Address{} : Read(questions.back()).target;
  }
  /// The last SYN that left.
  const Sent& last_connect() const { return last_connect_; }
  /// kRouter says that it is still there.
  void RouterAnswers() {
    NeighbourMessage answer;
    answer.type = icmpv6::kNeighbourAdvertisement;
    answer.router = answer.solicited = answer.has_target_link = true;
    answer.target = kRouter;
    answer.target_link = {2, 0, 0, 0, 0, 0xfe};
    Arrive(answer, kRouter, Ip(1));
  }
  /// A datagram of `udp`, which is bound, to an address off the link.
  void SendFar() {
    const uint32_t slot = udp->send_producer;
    nic.PostInline(*udp, "y", 5, 2000);
    auto* wqe = reinterpret_cast<abi::SendWqe*>(udp->send_ring->data() + size_t{slot} * 128);
    wqe->peer_address.bytes[0] = 0x20;
    wqe->peer_address.bytes[1] = 0x02;
    Collect();
  }

 private:
  Sent last_connect_;
  std::vector<std::unique_ptr<TestQp>> qps_;
};

constexpr ipv6::Address kAdvertised = {{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5}};

TEST_F(Routed, GivenAStartWhenConnectingOffTheLinkThenTheFirstRoutersAnswerIsAwaited) {
  EXPECT_EQ(AskedFor(kFar), ipv6::Address{});
  Advance(3500 * kMs);  // as long as a router may take
  EXPECT_TRUE(EventsOf(nic, abi::EventKind::kConnectFailed).empty());
  Take();
  AdvertiseRouter(1800);
  Advance(kMs);
  const auto frames = Take();
  ASSERT_FALSE(frames.empty());
  EXPECT_EQ(frames.back().bytes[6], ipv6::kTcp);
  EXPECT_EQ(frames.back().to, (LinkAddress{2, 0, 0, 0, 0, 0xfe}));
}

TEST_F(Routed, GivenAStartWhenNoRouterAnswersThenWhatWaitsFails) {
  EXPECT_EQ(AskedFor(kFar), ipv6::Address{});
  Advance(4 * kSecond + kMs);
  EXPECT_EQ(EventsOf(nic, abi::EventKind::kConnectFailed).size(), 1u);
}

TEST_F(Routed, GivenNoRouterWhenConnectingOffTheLinkThenThereIsNoRoute) {
  Advance(4 * kSecond);
  EXPECT_EQ(AskedFor(kFar), ipv6::Address{});
  EXPECT_EQ(EventsOf(nic, abi::EventKind::kConnectFailed).size(), 1u);
  EXPECT_EQ(nic.Dropped(abi::DropReason::kNoRoute), 1u);
}

TEST_F(Routed, GivenARouterAdvertisementWhenReceivedThenItsRouterPrefixMtuAndHopLimitAreUsed) {
  Advance(20 * kSecond);
  EXPECT_EQ(Take(icmpv6::kRouterSolicitation).size(), 3u);
  AdvertiseRouter(1800);
  EXPECT_EQ(AskedFor(kAdvertised), kAdvertised) << "on the link";
  EXPECT_EQ(AskedFor(kFar), ipv6::Address{}) << "the router's link address came with it";
  auto qp = nic.CreateQp(*cq);
  Take();
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kConnect);
  command.connect.qp = qp->handle;
  std::memcpy(command.connect.remote_address.bytes, kFar.bytes, 16);
  command.connect.remote_port = 80;
  nic.Command(command);
  const auto frames = Take();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].to, (LinkAddress{2, 0, 0, 0, 0, 0xfe}));
  EXPECT_EQ(frames[0].bytes[7], 57) << "hop limit";
  tcp::Header syn;
  size_t header_bytes = 0;
  ASSERT_EQ(tcp::Parse(std::span(frames[0].bytes).subspan(40), &syn, &header_bytes),
            tcp::ParseError::kNone);
  EXPECT_EQ(syn.mss, 1400 - 60);
}

TEST_F(Routed, GivenAConnectionThatStandsWhenARouterTellsASmallerMtuThenItsPacketsFit) {
  Advertise(9, kPeerLink);
  auto qp = nic.CreateQp(*cq);
  Take();
  ASSERT_EQ(nic.Connect(*qp, 9, 80).status, 0);
  Collect();
  Advertise(9, kPeerLink);  // should the neighbour have been asked for
  const auto syns = Take();
  ASSERT_FALSE(syns.empty());
  const tcp::Header syn = HeaderOf(syns.back().bytes);
  ASSERT_TRUE(syn.Has(tcp::kSyn));
  tcp::Header answer;
  answer.flags = tcp::kSyn | tcp::kAck;
  answer.source_port = 80;
  answer.destination_port = syn.source_port;
  answer.sequence = tcp::SequenceNumber(5000);
  answer.acknowledgement = syn.sequence + 1;
  answer.window = 60000;
  answer.has_mss = true;
  answer.mss = 1440;
  ArriveFrame(MakeSegment(Address(9), answer, {}, 1));
  ASSERT_EQ(EventsOf(nic, abi::EventKind::kEstablished).size(), 1u);
  AdvertiseRouter(1800);
  Take();
  HostMemory source{nic.hardware, 4096};
  nic.PostSend(*qp, {SgeOf(source, nic.Register(source, 0), 0, 4096)});
  const auto segments = Take();
  ASSERT_FALSE(segments.empty());
  for (const Sent& one : segments) EXPECT_LE(one.bytes.size(), 1400u);
}

TEST_F(Routed, GivenARouterWhenItsLifetimeEndsThenItIsNoRouteAnyMore) {
  AdvertiseRouter(1800);
  AdvertiseRouter(0);
  EXPECT_EQ(AskedFor(kFar), ipv6::Address{});
  EXPECT_EQ(nic.Dropped(abi::DropReason::kNoRoute), 1u);
  AdvertiseRouter(5);
  Advance(6 * kSecond);
  AskedFor(kFar);
  EXPECT_EQ(nic.Dropped(abi::DropReason::kNoRoute), 2u);
  Advance(100 * kSecond);
  AskedFor(kAdvertised);
  EXPECT_EQ(nic.Dropped(abi::DropReason::kNoRoute), 3u) << "and its prefix went";
}

/// What a router says of itself (7.2.5), its router flag not set.
NeighbourMessage NoRouterAnyMore(const ipv6::Address& router, bool override_entry) {
  NeighbourMessage message;
  message.type = icmpv6::kNeighbourAdvertisement;
  message.target = router;
  message.override_entry = override_entry;
  return message;
}

TEST_F(Routed, GivenARouterWhenItSaysThatItIsNoneThenItIsNoRouteAnyMore) {
  AdvertiseRouter(1800);
  Arrive(NoRouterAnyMore(kRouter, false), kRouter, icmpv6::kAllNodes);
  AskedFor(kFar);
  EXPECT_EQ(nic.Dropped(abi::DropReason::kNoRoute), 1u);
}

TEST_F(Routed, GivenARouterWhenSomebodyElseAnswersForItWithoutOverrideThenItStays) {
  AdvertiseRouter(1800);
  NeighbourMessage proxy = NoRouterAnyMore(kRouter, false);
  proxy.has_target_link = true;
  proxy.target_link = {2, 0, 0, 0, 0, 0x77};
  Arrive(proxy, kRouter, icmpv6::kAllNodes);
  AskedFor(kFar);
  EXPECT_EQ(nic.Dropped(abi::DropReason::kNoRoute), 0u);
  proxy.override_entry = true;
  Arrive(proxy, kRouter, icmpv6::kAllNodes);
  AskedFor(kFar);
  EXPECT_EQ(nic.Dropped(abi::DropReason::kNoRoute), 1u);
}

// ---------------------------------------------------------------- whoever says that he is a router

TEST_F(Routed, GivenARetransTimerOfAMillisecondWhenNobodyAnswersThenItIsASecondAllTheSame) {
  AdvertiseRouter(1800, 0xfe, 1);
  Take();
  SendTo(77);
  Advance(2900 * kMs);
  EXPECT_EQ(Take(icmpv6::kNeighbourSolicitation).size(), 3u);
  EXPECT_EQ(StateOf(77), NeighbourState::kIncomplete) << "which has its three seconds to answer";
}

TEST_F(Routed, GivenARetransTimerOfAnHourWhenNobodyAnswersThenItEndsInHalfAMinute) {
  AdvertiseRouter(1800, 0xfe, 3600000);
  SendTo(77);
  Advance(30 * kSecond + kMs);
  EXPECT_EQ(StateOf(77), NeighbourState::kUnreachable);
}

TEST_F(Routed, GivenAHopLimitOfOneWhenARouterSaysSoThenPacketsGoFurtherAllTheSame) {
  AdvertiseRouter(1800, 0xfe, 0, 1);
  AskedFor(kFar);
  ASSERT_GT(last_connect().bytes.size(), 40u);
  EXPECT_EQ(last_connect().bytes[7], 32);
}

TEST_F(Routed, GivenARouterThatIsNoneWhenItSpeaksFirstThenOthersAreAskedForAllTheSame) {
  Advance(kMs);
  AdvertiseRouter(0);
  Advance(20 * kSecond);
  EXPECT_EQ(Take(icmpv6::kRouterSolicitation).size(), 3u);
}

TEST_F(Routed, GivenFourRoutersThatAreNotThereWhenOneComesThatIsThenItIsUsed) {
  for (uint8_t forged = 0xa0; forged < 0xa4; ++forged) AdvertiseRouter(65535, forged);
  Advance(kMs);
  AdvertiseRouter(1800);
  Take();
  nic.Bind(*udp, 1000);
  // Each one serves until it is found out, and the one that answers from then on.
  for (int i = 0; i < 40; ++i) {
    SendFar();
    nic.Poll(*cq);
    Advance(kSecond);
    for (const Sent& one : Take(icmpv6::kNeighbourSolicitation)) {
      if (Read(one).target == kRouter) RouterAnswers();
    }
  }
  AdvertiseRouter(65535, 0xa5);
  Take();
  SendFar();
  const auto datagrams = Datagrams();
  ASSERT_EQ(datagrams.size(), 1u);
  EXPECT_EQ(datagrams[0].to, (LinkAddress{2, 0, 0, 0, 0, 0xfe}));
}

TEST_F(Routed, GivenARouterThatHasAnsweredWhenOthersAreMadeUpThenItKeepsItsPlace) {
  AdvertiseRouter(1800);
  RouterAnswers();
  for (uint8_t forged = 0xa0; forged < 0xb0; ++forged) AdvertiseRouter(65535, forged);
  AskedFor(kFar);
  EXPECT_EQ(last_connect().to, (LinkAddress{2, 0, 0, 0, 0, 0xfe}));
}

// ---------------------------------------------------------------- waiting for a route

TEST_F(Routed, GivenADatagramWithoutARouteYetWhenOthersHaveOneThenTheyGoOn) {
  nic.Bind(*udp, 1000);
  Solicit(9, kPeerLink);
  Take();
  SendFar();
  SendTo(9);
  EXPECT_EQ(Datagrams().size(), 1u);
  AdvertiseRouter(1800);
  const auto datagrams = Datagrams();
  ASSERT_EQ(datagrams.size(), 1u);
  EXPECT_EQ(datagrams[0].to, (LinkAddress{2, 0, 0, 0, 0, 0xfe}));
}

TEST_F(Routed, GivenADatagramWithoutARouteWhenNoRouterComesThenTheHostIsToldAndLaterOnesFail) {
  nic.Bind(*udp, 1000);
  SendFar();
  Advance(4 * kSecond + kMs);
  const abi::Event notices = nic.QpCommand(abi::CommandOpcode::kTakeNotices, *udp);
  EXPECT_EQ(notices.result[3], 0x0100u) << "destination unreachable: no route";
  nic.Poll(*cq);
  SendFar();
  const auto done = nic.Poll(*cq);
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(Status(done[0]), Status(abi::CompletionStatus::kRetryExceeded));
}

TEST_F(Routed, GivenADatagramWithoutARouteWhenTheRouterThatSpeaksIsNoneThenItFailsAtOnce) {
  nic.Bind(*udp, 1000);
  SendFar();
  AdvertiseRouter(0);
  Advance(kMs);
  EXPECT_EQ(EventsOf(nic, abi::EventKind::kNotice).size(), 1u);
}

TEST(OnLinkRoutes, GivenStaticRoutesWhenRoutedThenTheLongestPrefixWins) {
  NicConfig config = EthernetConfig();
  config.link.route_count = 2;
  config.link.routes[0].gateway = Address(0xaa);
  config.link.routes[1].prefix = {{0x20, 2}};
  config.link.routes[1].length = 16;
  config.link.routes[1].gateway = Address(0xbb);
  FirmwareBench nic(1, config);
  auto cq = nic.CreateCq();
  const auto gateway_for = [&](uint8_t first, uint8_t second) {
    auto qp = nic.CreateQp(*cq);
    nic.Run();
    nic.hardware.outgoing.clear();
    abi::Command command;
    command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kConnect);
    command.connect.qp = qp->handle;
    command.connect.remote_address.bytes[0] = first;
    command.connect.remote_address.bytes[1] = second;
    command.connect.remote_address.bytes[15] = 5;
    command.connect.remote_port = 80;
    nic.Command(command);
    nic.Run();
    for (const Frame& frame : nic.hardware.outgoing) {
      if (frame[40] == icmpv6::kNeighbourSolicitation) return int{frame[63]};
    }
    return -1;
  };
  EXPECT_EQ(gateway_for(0x20, 1), 0xaa);
  EXPECT_EQ(gateway_for(0x20, 2), 0xbb);
  EXPECT_EQ(gateway_for(0xfd, 0), 5) << "the link itself";
}

}  // namespace
}  // namespace qpip::fw::test

// Neighbour discovery: the NIC on an Ethernet link, its neighbours played by the test.
#include "nic_fw/neighbour.h"

#include "protocols/common/byte_order.h"
#include "protocols/icmpv6/message.h"
#include "test_support.h"

namespace qpip::fw::test {
namespace {

using icmpv6::LinkAddress;
using icmpv6::NeighbourMessage;

constexpr uint64_t kSecond = 1000 * kMs;
constexpr LinkAddress kOwnLink = {2, 0, 0, 0, 0, 1};
constexpr LinkAddress kPeerLink = {2, 0, 0, 0, 0, 9};
constexpr LinkAddress kOtherLink = {2, 0, 0, 0, 0, 0x66};

NicConfig EthernetConfig(uint8_t dad_transmits = 0) {
  NicConfig config = FirmwareBench::DefaultConfig();
  config.link.type = kLinkEthernet;
  config.link.dad_transmits = dad_transmits;
  std::memcpy(config.link.mac, kOwnLink.data(), 6);
  return config;
}

ipv6::Address Ip(uint8_t last) {
  ipv6::Address address;
  std::memcpy(address.bytes, Address(last).bytes, 16);
  return address;
}

/// A message as it lies on the wire.
Frame MessageFrame(const NeighbourMessage& message, const ipv6::Address& source,
                   const ipv6::Address& destination, uint8_t hop_limit = 255) {
  Frame frame(40 + icmpv6::kMaxNeighbourMessage);
  frame.resize(40 + icmpv6::EmitNeighbour(message, std::span<uint8_t, 32>(frame.data() + 40, 32)));
  ipv6::Header ip;
  ip.next_header = ipv6::kIcmpv6;
  ip.hop_limit = hop_limit;
  ip.payload_length = static_cast<uint16_t>(frame.size() - 40);
  ip.source = source;
  ip.destination = destination;
  ipv6::Emit(ip, std::span<uint8_t, 40>(frame.data(), 40));
  return frame;
}

void Seal(Frame& frame) {
  ipv6::Header ip;
  ASSERT_EQ(ipv6::Parse(frame, static_cast<uint32_t>(frame.size()), &ip), ipv6::ParseError::kNone);
  frame[42] = frame[43] = 0;
  StoreBe16(&frame[42], static_cast<uint16_t>(~ChecksumAdd(
                            std::span<const uint8_t>(frame).subspan(40),
                            PseudoHeaderSum(ip.source, ip.destination, ip.payload_length, 58))));
}

struct OnLink : ::testing::Test {
  explicit OnLink(uint8_t dad_transmits = 0) : nic(1, EthernetConfig(dad_transmits)) {}

  FirmwareBench nic;
  struct Sent {
    Frame bytes;
    LinkAddress to;
  };
  std::vector<Sent> sent;

  /// Runs what is due now and takes the frames that leave.
  void Collect() {
    nic.Run();
    for (size_t i = 0; i < nic.hardware.outgoing.size(); ++i) {
      sent.push_back({nic.hardware.outgoing[i], nic.hardware.link_addresses[i]});
    }
    nic.hardware.outgoing.clear();
    nic.hardware.link_addresses.clear();
  }
  void Advance(uint64_t ns) {
    nic.Advance(ns);
    Collect();
  }
  /// Takes the frames sent so far.
  std::vector<Sent> Take() {
    Collect();
    return std::exchange(sent, {});
  }
  /// Those that are messages of `type`.
  std::vector<Sent> Take(uint8_t type) {
    std::vector<Sent> out;
    for (Sent& one : Take()) {
      if (one.bytes[6] == ipv6::kIcmpv6 && one.bytes[40] == type) out.push_back(one);
    }
    return out;
  }
  NeighbourMessage Read(const Sent& one) {
    NeighbourMessage message;
    ipv6::Header ip;
    EXPECT_EQ(ipv6::Parse(one.bytes, static_cast<uint32_t>(one.bytes.size()), &ip),
              ipv6::ParseError::kNone);
    EXPECT_EQ(icmpv6::ParseNeighbour(std::span(one.bytes).subspan(40),
                                     {ip.source, ip.destination, ip.hop_limit}, &message),
              icmpv6::NeighbourError::kNone);
    Frame copy = one.bytes;
    Seal(copy);
    EXPECT_EQ(copy, one.bytes) << "its checksum is right";
    return message;
  }
  void Arrive(const NeighbourMessage& message, const ipv6::Address& source,
              const ipv6::Address& destination, uint8_t hop_limit = 255) {
    Frame frame = MessageFrame(message, source, destination, hop_limit);
    Seal(frame);
    ArriveFrame(std::move(frame));
  }
  void ArriveFrame(Frame frame) {
    nic.hardware.incoming.push_back(std::move(frame));
    Collect();
    EXPECT_EQ(nic.hardware.frames_borrowed(), 0u);
  }
  void Advertise(uint8_t who, const LinkAddress& link, bool solicited = true,
                 bool override_entry = true) {
    NeighbourMessage message;
    message.type = icmpv6::kNeighbourAdvertisement;
    message.target = Ip(who);
    message.solicited = solicited;
    message.override_entry = override_entry;
    message.has_target_link = true;
    message.target_link = link;
    Arrive(message, Ip(who), Ip(1));
  }
  void Solicit(uint8_t who, const LinkAddress& link) {
    NeighbourMessage message;
    message.type = icmpv6::kNeighbourSolicitation;
    message.target = Ip(1);
    message.has_source_link = true;
    message.source_link = link;
    Arrive(message, Ip(who), icmpv6::SolicitedNode(Ip(1)));
  }
  /// A router's advertisement of itself, 2001:db8::/32 on the link, MTU 1400.
  void AdvertiseRouter(uint16_t lifetime, uint8_t last = 0xfe) {
    Frame frame(40);
    const uint8_t body[] = {134,
                            0,
                            0,
                            0,
                            17,
                            0,
                            static_cast<uint8_t>(lifetime >> 8),
                            static_cast<uint8_t>(lifetime),
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            1,
                            1,
                            2,
                            0,
                            0,
                            0,
                            0,
                            last,
                            5,
                            1,
                            0,
                            0,
                            0,
                            0,
                            0x05,
                            0x78,
                            3,
                            4,
                            32,
                            0x80,
                            0,
                            0,
                            0,
                            100,
                            0,
                            0,
                            0,
                            100,
                            0,
                            0,
                            0,
                            0,
                            0x20,
                            0x01,
                            0x0d,
                            0xb8,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0};
    frame.insert(frame.end(), std::begin(body), std::end(body));
    ipv6::Header ip;
    ip.next_header = ipv6::kIcmpv6;
    ip.hop_limit = 255;
    ip.payload_length = sizeof body;
    ip.source = ipv6::Address{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last}};
    ip.destination = icmpv6::kAllNodes;
    ipv6::Emit(ip, std::span<uint8_t, 40>(frame.data(), 40));
    Seal(frame);
    ArriveFrame(std::move(frame));
  }

  // A UDP queue pair that sends a datagram to an address.
  std::unique_ptr<TestCq> cq = nic.CreateCq();
  std::unique_ptr<TestQp> udp = nic.CreateQp(*cq, {.type = abi::QpType::kUdp});
  void SendTo(uint8_t who) {
    if (!bound_) nic.Bind(*udp, 1000);
    bound_ = true;
    nic.PostInline(*udp, "x", who, 2000);
    Collect();
  }
  std::vector<Sent> Datagrams() {
    std::vector<Sent> out;
    for (Sent& one : Take()) {
      if (one.bytes[6] == ipv6::kUdp) out.push_back(one);
    }
    return out;
  }
  NeighbourState StateOf(uint8_t who) {
    const Nic view = {reinterpret_cast<uint8_t*>(nic.arena.data()),
                      *reinterpret_cast<FirmwareState*>(nic.arena.data()), nic.hardware.platform(),
                      nic.now};
    for (uint32_t i = 0; i < nic.config.link.max_neighbours; ++i) {
      const Neighbour& n = NeighbourAt(view, i);
      if (n.state != NeighbourState::kFree && n.address == Ip(who)) return n.state;
    }
    return NeighbourState::kFree;
  }

 private:
  bool bound_ = false;
};

// ---------------------------------------------------------------- address resolution

TEST_F(OnLink, GivenAnUnknownNeighbour_WhenADatagramIsSent_ThenItWaitsForTheAnswer) {
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

TEST_F(OnLink, GivenMoreFramesThanAreKept_WhenTheAnswerComes_ThenTheNewestGoOut) {
  for (int i = 0; i < 5; ++i) SendTo(9);
  Advertise(9, kPeerLink);
  EXPECT_EQ(Datagrams().size(), 3u);
  EXPECT_EQ(nic.Dropped(abi::DropReason::kNoNeighbour), 2u);
}

TEST_F(OnLink, GivenAPayload_WhenTheNeighbourIsUnknown_ThenItsQueuePairWaitsAndNothingIsLost) {
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

TEST_F(OnLink, GivenNoAnswer_WhenThreeQuestionsHaveBeenAsked_ThenTheConnectionAttemptFails) {
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

TEST_F(OnLink, GivenASyn_WhenTheAddressIsFound_ThenItGoesOutAtOnce) {
  auto qp = nic.CreateQp(*cq);
  nic.Connect(*qp, 9, 80);
  Take();
  Advertise(9, kPeerLink);
  const auto frames = Take();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].bytes[6], ipv6::kTcp);
  EXPECT_EQ(frames[0].to, kPeerLink);
}

TEST_F(OnLink, GivenASolicitation_WhenItIsForUs_ThenItIsAnsweredAndItsSenderKnown) {
  Take();
  Solicit(9, kPeerLink);
  const auto frames = Take();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].to, kPeerLink);
  const NeighbourMessage answer = Read(frames[0]);
  EXPECT_EQ(answer.type, icmpv6::kNeighbourAdvertisement);
  EXPECT_TRUE(answer.solicited && answer.override_entry && !answer.router);
  EXPECT_EQ(answer.target, Ip(1));
  EXPECT_EQ(answer.target_link, kOwnLink);
  EXPECT_EQ(StateOf(9), NeighbourState::kStale);
}

TEST_F(OnLink, GivenMessagesThatBreakTheRules_WhenReceived_ThenTheyAreCountedAndDoNothing) {
  Take();
  NeighbourMessage message;
  message.type = icmpv6::kNeighbourSolicitation;
  message.target = Ip(1);
  message.has_source_link = true;
  message.source_link = kPeerLink;
  Arrive(message, Ip(9), Ip(1), 254);  // from another link
  Frame corrupt = MessageFrame(message, Ip(9), Ip(1));
  Seal(corrupt);
  corrupt.back() ^= 1;
  ArriveFrame(corrupt);
  EXPECT_TRUE(Take().empty());
  EXPECT_EQ(StateOf(9), NeighbourState::kFree);
  EXPECT_EQ(nic.Dropped(abi::DropReason::kBadNeighbourMessage), 1u);
  EXPECT_EQ(nic.Dropped(abi::DropReason::kBadIcmpChecksum), 1u);
}

TEST_F(OnLink, GivenAFullTable_WhenStrangersSolicit_ThenTheNeighboursInUseStay) {
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

TEST_F(Known, GivenReachable_WhenItsTimePasses_ThenStaleAndNothingIsAsked) {
  Advance(46 * kSecond);
  EXPECT_EQ(StateOf(9), NeighbourState::kStale);
  EXPECT_TRUE(Take(icmpv6::kNeighbourSolicitation).empty());
}

TEST_F(Known, GivenStale_WhenSentTo_ThenTheOldAddressServesUntilAProbeIsAnswered) {
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

TEST_F(Known, GivenProbe_WhenThreeAreNotAnswered_ThenTheEntryIsGone) {
  Advance(46 * kSecond);
  SendTo(9);
  Take();
  Advance(5 * kSecond + 4 * kSecond);
  EXPECT_EQ(Take(icmpv6::kNeighbourSolicitation).size(), 3u);
  EXPECT_EQ(StateOf(9), NeighbourState::kFree);
}

TEST_F(Known, GivenAdvertisements_WhenReceived_ThenTheTableOfTheRfcIsFollowed) {
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

TEST(OnLinkTcp, GivenDelay_WhenDataIsAcknowledged_ThenReachableWithoutAProbe) {
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

// ---------------------------------------------------------------- own address

struct WithDetection : OnLink {
  WithDetection() : OnLink(1) {}
};

TEST_F(WithDetection, GivenAStart_WhenNobodyObjects_ThenTheAddressIsUsedAfterASecond) {
  auto frames = Take();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_TRUE(Read(frames[0]).type == icmpv6::kNeighbourSolicitation);
  EXPECT_EQ(Read(frames[0]).target, Ip(1));
  EXPECT_FALSE(Read(frames[0]).has_source_link);
  EXPECT_EQ(frames[0].bytes[8], 0) << "from the unspecified address";
  SendTo(9);
  Solicit(9, kPeerLink);
  EXPECT_TRUE(Take().empty()) << "a tentative address neither asks nor answers";
  Advance(kSecond + kMs);
  frames = Take();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].bytes[40], icmpv6::kRouterSolicitation);
  EXPECT_EQ(Read(frames[1]).target, Ip(9)) << "what was wanted meanwhile";
  Advertise(9, kPeerLink);
  EXPECT_EQ(Datagrams().size(), 1u);
}

TEST_F(WithDetection, GivenTentative_WhenSomebodyHasTheAddress_ThenItIsNeverUsed) {
  Take();
  Advertise(1, kOtherLink, false);
  Advance(2 * kSecond);
  EXPECT_EQ(nic.Counter(abi::NicCounter::kDuplicateAddress), 1u);
  auto qp = nic.CreateQp(*cq);
  nic.Connect(*qp, 9, 80);
  Solicit(9, kPeerLink);
  EXPECT_TRUE(Take().empty());
  EXPECT_EQ(EventsOf(nic, abi::EventKind::kConnectFailed).size(), 1u) << "at once";
}

TEST_F(WithDetection, GivenTentative_WhenSomebodyElseLooksForDuplicates_ThenNobodyGetsIt) {
  Take();
  NeighbourMessage message;
  message.type = icmpv6::kNeighbourSolicitation;
  message.target = Ip(1);
  Arrive(message, ipv6::Address{}, icmpv6::SolicitedNode(Ip(1)));
  EXPECT_EQ(nic.Counter(abi::NicCounter::kDuplicateAddress), 1u);
}

TEST_F(OnLink, GivenThePreferredAddress_WhenSomebodyLooksForDuplicates_ThenAllNodesHearWhoHasIt) {
  Take();
  NeighbourMessage message;
  message.type = icmpv6::kNeighbourSolicitation;
  message.target = Ip(1);
  Arrive(message, ipv6::Address{}, icmpv6::SolicitedNode(Ip(1)));
  const auto frames = Take();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].to, icmpv6::MulticastLink(icmpv6::kAllNodes));
  EXPECT_FALSE(Read(frames[0]).solicited);
}

// ---------------------------------------------------------------- routes

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
    const auto questions = Take(icmpv6::kNeighbourSolicitation);
    return questions.empty() ? ipv6::Address{} : Read(questions.back()).target;
  }

 private:
  std::vector<std::unique_ptr<TestQp>> qps_;
};

constexpr ipv6::Address kFar = {{0x20, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5}};
constexpr ipv6::Address kRouter = {{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe}};
constexpr ipv6::Address kAdvertised = {{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5}};

TEST_F(Routed, GivenAStart_WhenConnectingOffTheLink_ThenTheFirstRoutersAnswerIsAwaited) {
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

TEST_F(Routed, GivenAStart_WhenNoRouterAnswers_ThenWhatWaitsFails) {
  EXPECT_EQ(AskedFor(kFar), ipv6::Address{});
  Advance(4 * kSecond + kMs);
  EXPECT_EQ(EventsOf(nic, abi::EventKind::kConnectFailed).size(), 1u);
}

TEST_F(Routed, GivenNoRouter_WhenConnectingOffTheLink_ThenThereIsNoRoute) {
  Advance(4 * kSecond);
  EXPECT_EQ(AskedFor(kFar), ipv6::Address{});
  EXPECT_EQ(EventsOf(nic, abi::EventKind::kConnectFailed).size(), 1u);
  EXPECT_EQ(nic.Dropped(abi::DropReason::kNoRoute), 1u);
}

TEST_F(Routed, GivenARouterAdvertisement_WhenReceived_ThenItsRouterPrefixMtuAndHopLimitAreUsed) {
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
  EXPECT_EQ(frames[0].bytes[7], 17) << "hop limit";
  tcp::Header syn;
  size_t header_bytes = 0;
  ASSERT_EQ(tcp::Parse(std::span(frames[0].bytes).subspan(40), &syn, &header_bytes),
            tcp::ParseError::kNone);
  EXPECT_EQ(syn.mss, 1400 - 60);
}

TEST_F(Routed, GivenARouter_WhenItsLifetimeEnds_ThenItIsNoRouteAnyMore) {
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

TEST_F(Routed, GivenARouter_WhenItSaysThatItIsNone_ThenItIsNoRouteAnyMore) {
  AdvertiseRouter(1800);
  Arrive(NoRouterAnyMore(kRouter, false), kRouter, icmpv6::kAllNodes);
  AskedFor(kFar);
  EXPECT_EQ(nic.Dropped(abi::DropReason::kNoRoute), 1u);
}

TEST_F(Routed, GivenARouter_WhenSomebodyElseAnswersForItWithoutOverride_ThenItStays) {
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

TEST(OnLinkRoutes, GivenStaticRoutes_WhenRouted_ThenTheLongestPrefixWins) {
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

// ---------------------------------------------------------------- the rest

TEST(PointToPoint, GivenNoEthernet_WhenComputed_ThenNoMemoryIsSpent) {
  ArenaBytes bytes;
  NicConfig config = FirmwareBench::DefaultConfig();
  ASSERT_NE(qpip_fw_arena(&config, &bytes), 0u);
  EXPECT_EQ(bytes.neighbours, 0u);
  config = EthernetConfig();
  const uint32_t before = bytes.total;
  ASSERT_NE(qpip_fw_arena(&config, &bytes), 0u);
  EXPECT_EQ(bytes.total, before + bytes.neighbours);
  EXPECT_LT(bytes.neighbours, 8192u);
}

TEST(PointToPoint, GivenALinkOutOfRange_WhenComputed_ThenRefused) {
  const auto accepted = [](auto change) {
    NicConfig config = EthernetConfig();
    change(config.link);
    ArenaBytes bytes;
    return qpip_fw_arena(&config, &bytes) != 0;
  };
  EXPECT_TRUE(accepted([](LinkConfig&) {}));
  EXPECT_FALSE(accepted([](LinkConfig& link) { link.type = 2; }));
  EXPECT_FALSE(accepted([](LinkConfig& link) { link.mac[0] = 1; }));
  EXPECT_FALSE(accepted([](LinkConfig& link) { link.prefix_length = 129; }));
  EXPECT_FALSE(accepted([](LinkConfig& link) { link.max_neighbours = 0; }));
  EXPECT_FALSE(accepted([](LinkConfig& link) { link.route_count = 5; }));
}

TEST_F(OnLink, GivenMulticastThatIsNoIcmp_WhenReceived_ThenItIsNotAnswered) {
  Frame frame(60);
  ipv6::Header ip;
  ip.next_header = ipv6::kTcp;
  ip.payload_length = 20;
  ip.source = Ip(9);
  ip.destination = icmpv6::kAllNodes;
  ipv6::Emit(ip, std::span<uint8_t, 40>(frame.data(), 40));
  nic.hardware.trusted = true;
  Take();
  ArriveFrame(frame);
  EXPECT_TRUE(Take().empty());
  EXPECT_EQ(nic.Dropped(abi::DropReason::kNotOurAddress), 1u);
}

TEST_F(OnLink, GivenDamagedMessages_WhenReceived_ThenEachIsProcessedOrCountedAndReleased) {
  std::mt19937 random(7);
  AdvertiseRouter(1800);
  Solicit(9, kPeerLink);
  std::vector<Frame> seeds;
  for (uint8_t type = icmpv6::kRouterSolicitation; type <= icmpv6::kRedirect; ++type) {
    Frame frame(40 + 64);
    ipv6::Header ip;
    ip.next_header = ipv6::kIcmpv6;
    ip.hop_limit = 255;
    ip.payload_length = 64;
    ip.source = Ip(9);
    ip.destination = Ip(1);
    ipv6::Emit(ip, std::span<uint8_t, 40>(frame.data(), 40));
    frame[40] = type;
    std::memcpy(&frame[48], Ip(1).bytes, 16);
    frame[64] = 1;
    frame[65] = 1;
    seeds.push_back(frame);
  }
  nic.hardware.trusted = true;
  for (int i = 0; i < 100000; ++i) {
    Frame frame = seeds[random() % seeds.size()];
    const int changes = static_cast<int>(random() % 6);
    for (int k = 0; k < changes; ++k) {
      frame[4 + random() % (frame.size() - 4)] = static_cast<uint8_t>(random());
    }
    nic.hardware.incoming.push_back(std::move(frame));
    nic.Run();
    nic.hardware.outgoing.clear();
    nic.hardware.link_addresses.clear();
    nic.now += kMs;
    ASSERT_EQ(nic.hardware.frames_borrowed(), 0u);
  }
  EXPECT_EQ(nic.hardware.illegal_accesses, 0u);
}

}  // namespace
}  // namespace qpip::fw::test

// Messages that break rules or are damaged, and links on which there are none.
#include "nic_fw/neighbour_discovery.h"

#include "on_link.h"

namespace qpip::fw::test {
namespace {

TEST_F(OnLink, GivenMessagesThatBreakTheRulesWhenReceivedThenTheyAreCountedAndDoNothing) {
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

TEST(PointToPoint, GivenNoEthernetWhenComputedThenNoMemoryIsSpent) {
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

TEST(PointToPoint, GivenALinkOutOfRangeWhenComputedThenRefused) {
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

TEST_F(OnLink, GivenMulticastThatIsNoIcmpWhenReceivedThenItIsNotAnswered) {
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

TEST_F(OnLink, GivenDamagedMessagesWhenReceivedThenEachIsProcessedOrCountedAndReleased) {
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

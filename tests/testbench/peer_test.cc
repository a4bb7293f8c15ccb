// The scripted peer: whose segments it takes, and what its own look like.
#include <gmock/gmock.h>

#include "qpip/testbench/testbench.h"

namespace qpip::testbench {
namespace {

const Endpoint kPeer = {ParseAddress("fd00::2"), 7};

TEST(PeerTest, GivenNoNicPortWhenTheNicConnectsThenItsPortIsThatOfTheSyn) {
  TestBench bench;
  auto connection = bench.Connect(kPeer);
  TcpPeer peer(bench, {.port = 7});
  EXPECT_EQ(peer.nic_port(), 80);
  const auto syn = peer.Take();
  ASSERT_TRUE(syn);
  EXPECT_EQ(syn->flags, kSyn);
  peer.SynAck();
  EXPECT_EQ(peer.Take()->flags, kAck);
  EXPECT_EQ(peer.nic_port(), connection->local().port);
  EXPECT_EQ(connection->State(), TcpState::kEstablished);
}

TEST(PeerTest, GivenAPortWhenTheNicConnectsFromAnotherThenTheSynStaysOnTheBench) {
  TestBench bench;
  auto first = bench.Connect(kPeer, 5000);
  auto second = bench.Connect(kPeer, 5001);
  TcpPeer late(bench, {.port = 7, .nic_port = 5001});
  EXPECT_EQ(late.Take()->source_port, 5001);
  EXPECT_FALSE(late.Take());
  TcpPeer early(bench, {.port = 7});
  EXPECT_EQ(early.Take()->source_port, 5000);
  EXPECT_FALSE(early.Take());
}

TEST(PeerTest, GivenAPeerThatHasSentASynWhenTheNicConnectsToItThenThatIsAnothersSyn) {
  TestBench bench;
  auto listener = bench.Listen(80);
  TcpPeer peer(bench, {.port = 7});
  peer.Syn();
  auto connection = bench.Connect(kPeer);
  EXPECT_EQ(peer.Take()->flags, kSyn | kAck);
  EXPECT_FALSE(peer.Take());
  EXPECT_TRUE(bench.TakePacket());
}

TEST(PeerTest, GivenASynThatAsksForEcnWhenAnsweredThenTheHandshakeIsDone) {
  TestBench bench({.parameters = "ecn=request"});
  auto connection = bench.Connect(kPeer);
  TcpPeer peer(bench, {.port = 7});
  EXPECT_EQ(peer.HandshakeAsServer().flags, kSyn | kEce | kCwr);
  EXPECT_EQ(connection->State(), TcpState::kEstablished);
}

TEST(PeerTest, GivenOffersWhenSegmentsAreMadeThenOnlySynAndSynAckHaveThem) {
  TestBench bench;
  const TcpPeer peer(bench, {.window_scale = 3, .sack_permitted = true, .timestamps = true});
  const TcpSegment syn = peer.Segment(kSyn);
  EXPECT_FALSE(syn.mss || syn.window_scale || syn.sack_permitted || syn.timestamps);
  // They are answered.
  auto listener = bench.Listen(80);
  TcpPeer client(bench, {.window_scale = 3, .sack_permitted = true, .timestamps = true});
  client.Syn();
  const auto answer = client.Take();
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->mss && answer->window_scale && answer->sack_permitted && answer->timestamps);
  auto connection = bench.Connect(kPeer);
  TcpPeer server(bench, {.port = 7, .window_scale = 3, .sack_permitted = true, .timestamps = true});
  server.HandshakeAsServer();
  EXPECT_EQ(connection->State(), TcpState::kEstablished);
  EXPECT_TRUE(connection->Info().timestamps);
  EXPECT_TRUE(connection->Info().sack);
}

TEST(PeerTest, GivenATrafficClassWhenSegmentsComeAndGoThenItIsInTheirPackets) {
  TestBench bench;
  auto listener = bench.Listen(80, {.tcp = {.dscp = 46}});
  TcpPeer peer(bench);
  TcpSegment syn = peer.Segment(kSyn | kEce | kCwr);
  peer.Inject(syn);
  peer.next_sequence = 1;
  EXPECT_EQ(peer.Take()->flags, kSyn | kAck | kEce);
  EXPECT_EQ(peer.TakenIp().traffic_class, 46 << 2) << "handshakes are not ECN-capable";
  peer.Ack();
  peer.traffic_class = 3;
  peer.Data(Pattern(10));
  EXPECT_TRUE(peer.Take()->Has(kEce)) << "congestion experienced";
  auto connection = listener->Accept();
  connection->Send(Pattern(10));
  ASSERT_TRUE(peer.Take());
  EXPECT_EQ(peer.TakenIp().traffic_class, 46 << 2 | 2);
  EXPECT_EQ(AddressToString(peer.TakenIp().destination), "fd00::2");
}

}  // namespace
}  // namespace qpip::testbench

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

TEST(PeerTest, GivenAPeerThatHasConnectedWhenTheNicConnectsToItThenThatIsAnothersSyn) {
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

}  // namespace
}  // namespace qpip::testbench

// TCP connections that are opened: by both ends, refused, given up.
#include "test_support.h"

namespace qpip::fw::test {
namespace {

TEST(TcpConnect, GivenOfferedQpWhenConnectThenBothSidesHearOfEstablished) {
  ConnectedPair pair;  // checks the events
  EXPECT_EQ(pair.a.Counter(abi::NicCounter::kConnectionsEstablished), 1u);
  EXPECT_EQ(pair.b.Counter(abi::NicCounter::kConnectionsEstablished), 1u);
  EXPECT_EQ(pair.a.AllDrops() + pair.b.AllDrops(), 0u);
}

TEST(TcpConnect, GivenNobodyListensWhenConnectThenRefused) {
  FirmwareBench a{1}, b{2};
  Cable cable{a, b, {}};
  auto cq = a.CreateCq();
  auto qp = a.CreateQp(*cq);
  ASSERT_EQ(a.Connect(*qp, 2, 9).status, 0);
  cable.Run();
  const auto failed = EventsOf(a, abi::EventKind::kConnectFailed);
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].status, static_cast<uint8_t>(abi::DisconnectReason::kRefused));
}

TEST(TcpConnect, GivenNoRouteWhenConnectThenUnreachableAtOnce) {
  FirmwareBench a{1};
  a.hardware.no_route = true;
  auto cq = a.CreateCq();
  auto qp = a.CreateQp(*cq);
  ASSERT_EQ(a.Connect(*qp, 2, 9).status, 0);
  const auto failed = EventsOf(a, abi::EventKind::kConnectFailed);
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].status, static_cast<uint8_t>(abi::DisconnectReason::kUnreachable));
}

TEST(TcpConnect, GivenSilenceWhenConnectTimeOutPassesThenTimedOut) {
  FirmwareBench a{1};
  auto cq = a.CreateCq();
  auto qp = a.CreateQp(*cq);
  ASSERT_EQ(a.Connect(*qp, 2, 9).status, 0);
  a.Advance(a.config.tcp.connect_timeout_ms * kMs / 2);
  EXPECT_TRUE(EventsOf(a, abi::EventKind::kConnectFailed).empty());
  a.Advance(a.config.tcp.connect_timeout_ms * kMs);
  const auto failed = EventsOf(a, abi::EventKind::kConnectFailed);
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].status, static_cast<uint8_t>(abi::DisconnectReason::kTimedOut));
  EXPECT_GE(a.Counter(abi::NicCounter::kTcpRetransmissionTimeouts), 2u);
}

TEST(TcpConnect, GivenAWireThatIsFullWhenRoomAppearsThenTheSynsGoAtOnce) {
  FirmwareBench a{1}, b{2};
  Cable cable{a, b, {}};
  auto cq_a = a.CreateCq();
  auto cq_b = b.CreateCq();
  auto qp_a = a.CreateQp(*cq_a);
  auto qp_b = b.CreateQp(*cq_b);
  b.Offer(b.Listen(7).result[0], *qp_b);
  a.hardware.wire_full = true;
  b.hardware.wire_full = true;
  a.Connect(*qp_a, 2, 7);
  a.Run();  // comes to rest
  a.hardware.wire_full = false;
  cable.Run();
  EXPECT_TRUE(EventsOf(a, abi::EventKind::kEstablished).empty());
  b.hardware.wire_full = false;
  cable.Run();
  EXPECT_EQ(EventsOf(a, abi::EventKind::kEstablished).size(), 1u);
  EXPECT_EQ(a.Counter(abi::NicCounter::kTcpRetransmissionTimeouts), 0u);
}

TEST(TcpListen, GivenNoIdleQpWhenSynArrivesThenItWaitsAndIsMatedByAnOffer) {
  FirmwareBench a{1}, b{2};
  Cable cable{a, b, {}};
  auto cq_a = a.CreateCq();
  auto cq_b = b.CreateCq();
  auto qp_a = a.CreateQp(*cq_a);
  auto qp_b = b.CreateQp(*cq_b);
  const uint32_t listener = b.Listen(7).result[0];
  a.Connect(*qp_a, 2, 7);
  cable.Run();
  EXPECT_TRUE(EventsOf(a, abi::EventKind::kEstablished).empty());
  b.Offer(listener, *qp_b);
  cable.Run();
  EXPECT_EQ(EventsOf(a, abi::EventKind::kEstablished).size(), 1u);
  EXPECT_EQ(EventsOf(b, abi::EventKind::kEstablished).size(), 1u);
}

TEST(TcpListen, GivenBacklogFullWhenAnotherSynThenDroppedAndCounted) {
  FirmwareBench a{1}, b{2};
  Cable cable{a, b, {}};
  auto cq = a.CreateCq();
  b.Listen(7, 2);
  std::vector<std::unique_ptr<TestQp>> qps;
  for (int i = 0; i < 3; ++i) {
    qps.push_back(a.CreateQp(*cq));
    a.Connect(*qps.back(), 2, 7);
  }
  cable.Run();
  EXPECT_EQ(b.Dropped(abi::DropReason::kBacklogFull), 1u);
}

TEST(TcpListen, GivenHandshakeUnderWayWhenListenerClosesThenConnectFailedIsReported) {
  FirmwareBench a{1}, b{2};
  Cable cable{a, b, {}};
  auto cq_a = a.CreateCq();
  auto cq_b = b.CreateCq();
  auto qp_a = a.CreateQp(*cq_a);
  auto qp_b = b.CreateQp(*cq_b);
  const uint32_t listener = b.Listen(7).result[0];
  b.Offer(listener, *qp_b);
  cable.filter = [](Frame&, bool from_a) { return from_a; };  // SYN-ACKs are lost
  a.Connect(*qp_a, 2, 7);
  cable.Run();
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kCloseListener);
  command.close_listener.listener = listener;
  ASSERT_EQ(b.Command(command).status, 0);
  const auto failed = EventsOf(b, abi::EventKind::kConnectFailed);
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].status, static_cast<uint8_t>(abi::DisconnectReason::kAborted));
}

TEST(TcpListen, GivenPortTakenWhenListenThenAddressInUse) {
  FirmwareBench b{2};
  EXPECT_EQ(b.Listen(7).status, 0);
  EXPECT_EQ(b.Listen(7).status, static_cast<uint8_t>(abi::CommandStatus::kAddressInUse));
}

// ---------------------------------------------------------------- messages

}  // namespace
}  // namespace qpip::fw::test

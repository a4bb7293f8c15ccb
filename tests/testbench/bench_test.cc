// Time, the wire, determinism and the operations of the host.
#include <gmock/gmock.h>

#include <chrono>

#include "qpip/testbench/testbench.h"

namespace qpip::testbench {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

/// A connection that a scripted peer has opened to port 80.
class BenchTest : public testing::Test {
 protected:
  explicit BenchTest(const TestBenchOptions& options = {}) : bench(options) {}
  void Open(const ListenOptions& listen = {}, const TcpPeerOptions& peer_options = {}) {
    listener = bench.Listen(80, listen);
    peer = std::make_unique<TcpPeer>(bench, peer_options);
    peer->HandshakeAsClient();
    connection = listener->Accept();
    ASSERT_NE(connection, nullptr);
  }

  TestBench bench;
  std::unique_ptr<TcpListener> listener;
  std::unique_ptr<TcpPeer> peer;
  std::unique_ptr<TcpConnection> connection;
};

TEST_F(BenchTest, GivenFreshBenchWhenLookedAtThenItIsAtRest) {
  EXPECT_EQ(bench.Now(), Time(0));
  EXPECT_EQ(bench.NextDeadline(), std::nullopt);
  EXPECT_FALSE(bench.StepToNextDeadline());
  EXPECT_EQ(bench.TakePacket(), std::nullopt);
  EXPECT_EQ(AddressToString(bench.address()), "fd00::1");
  bench.StepUntil(hours(24 * 365));
  EXPECT_EQ(bench.Now(), hours(24 * 365));
  EXPECT_THROW(bench.StepUntil(hours(1)), std::invalid_argument);
}

TEST_F(BenchTest, GivenUnansweredSynWhenTimePassesThenItIsRepeatedAtExactTimes) {
  auto attempt = bench.Connect({ParseAddress("fd00::2"), 7}, 5000);
  EXPECT_EQ(attempt->State(), TcpState::kSynSent);
  EXPECT_EQ(attempt->HostState(), qpip::QpState::kConnecting);
  std::vector<Time> times;
  while (const auto packet = bench.WaitForPacket(seconds(60))) {
    EXPECT_EQ(packet->tcp->flags, kSyn);
    times.push_back(packet->time);
  }
  EXPECT_THAT(times, ElementsAre(seconds(0), seconds(1), seconds(3), seconds(7), seconds(15),
                                 seconds(31), seconds(63), seconds(123)));
  EXPECT_EQ(attempt->State(), TcpState::kClosed);
  EXPECT_EQ(attempt->HostState(), qpip::QpState::kClosed);
  EXPECT_EQ(attempt->Reason(), DisconnectReason::kTimedOut);
}

TEST_F(BenchTest, GivenConnectionWhenDataComesThenReceiveTakesItAndTheWindowFollows) {
  Open({.tcp = {.receive_buffer = 4096, .receive_chunk = 1024}});
  peer->Data(Pattern(1000));
  EXPECT_EQ(ToString(*peer->Take()), ". 1:1(0) ack 1001 win 3096");
  EXPECT_EQ(connection->Available(), 1000u);
  EXPECT_EQ(connection->Receive(100).data, Pattern(100));
  EXPECT_EQ(connection->Receive().data, Pattern(900, 100));
  EXPECT_THAT(connection->Receive().data, IsEmpty());
  peer->Data(Pattern(1000));
  // The window moves by a full segment at least (RFC 9293 3.8.6.2.2).
  EXPECT_EQ(ToString(*peer->Take()), ". 1:1(0) ack 2001 win 2096");
  EXPECT_EQ(connection->Receive().data.size(), 1000u);
  EXPECT_EQ(ToString(*peer->Take()), ". 1:1(0) ack 2001 win 4096");
}

TEST_F(BenchTest, GivenMoreSegmentsThanReceivesWhenReadThenNothingIsMissing) {
  Open({.tcp = {.receive_buffer = 8192, .receive_chunk = 4096}});
  for (uint8_t i = 0; i < 10; ++i) {
    peer->Data(Pattern(100, static_cast<uint8_t>(100 * i % 251)));
    ASSERT_EQ(peer->Take()->window, 8192 - 100 * (i + 1));
  }
  EXPECT_EQ(connection->Available(), 1000u);
  EXPECT_EQ(connection->Receive(450).data, Pattern(450));
  EXPECT_EQ(connection->Receive().data.size(), 550u);
}

TEST_F(BenchTest, GivenPostsByHandWhenBuffersAreReadThenOnlyPostReceiveOpensTheWindow) {
  Open({.tcp = {.receive_buffer = 1000, .repost = false, .window_limit = 65536}});
  peer->Data(Pattern(1000));
  EXPECT_EQ(ToString(*peer->Take()), ". 1:1(0) ack 1001 win 0");
  EXPECT_EQ(connection->Receive().data.size(), 1000u);
  EXPECT_EQ(peer->Take(), std::nullopt);
  connection->PostReceive(3000);
  EXPECT_EQ(ToString(*peer->Take()), ". 1:1(0) ack 1001 win 3000");
}

TEST_F(BenchTest, GivenOneReceiveByHandWhenSegmentsComeOneByOneThenAvailableIsWhatReceiveFinds) {
  Open({.tcp = {.receive_buffer = 4096, .repost = false}});
  for (uint8_t i = 0; i < 4; ++i) {
    peer->Data(Pattern(1000, static_cast<uint8_t>(1000 * i % 251)));
    ASSERT_EQ(peer->Take()->acknowledgement, 1000u * i + 1001);
  }
  EXPECT_EQ(connection->Available(), 1000u);
  Bytes all = connection->Receive().data;
  EXPECT_EQ(all.size(), 1000u);
  EXPECT_EQ(connection->Available(), 0u);
  connection->PostReceive(4096);
  EXPECT_EQ(connection->Available(), 3000u);
  const Bytes rest = connection->Receive().data;
  all.insert(all.end(), rest.begin(), rest.end());
  EXPECT_EQ(all, Pattern(4000));
}

TEST_F(BenchTest, GivenMoreSegmentsThanReceivesWhenResetThenAvailableIsWhatReceiveFinds) {
  Open({.tcp = {.receive_buffer = 8192, .receive_chunk = 4096}});
  for (int i = 0; i < 4; ++i) {
    peer->Data(Pattern(100));
    peer->Take();
  }
  EXPECT_EQ(connection->Available(), 400u);
  peer->Reset();
  // Two receives have one segment's text each; what waited for others went with the connection.
  EXPECT_EQ(connection->Available(), 200u);
  EXPECT_EQ(connection->Receive().data.size(), 200u);
}

TEST_F(BenchTest, GivenTextAndShutdownWhenSentThenTheFinIsASegmentOfItsOwn) {
  Open({}, {.window = 1000});
  connection->Send(Pattern(1500));
  connection->ShutdownSend();
  EXPECT_EQ(ToString(*peer->Take()), ". 1:1001(1000) ack 1 win 65535");
  EXPECT_FALSE(peer->Take());
  peer->Ack();
  EXPECT_EQ(ToString(*peer->Take()), "P. 1001:1501(500) ack 1 win 65535");
  EXPECT_EQ(ToString(*peer->Take()), "F. 1501:1501(0) ack 1 win 65535");
}

TEST_F(BenchTest, GivenConnectionWhenSendingThenCompletionsFollowAcknowledgements) {
  Open();
  const uint64_t first = connection->Send(Pattern(10));
  const uint64_t second = connection->Send(Pattern(20));
  EXPECT_EQ(connection->SendsOutstanding(), 2u);
  EXPECT_EQ(peer->Take()->payload, Pattern(10));
  EXPECT_EQ(connection->SendStatus(first), std::nullopt);
  peer->Ack();
  EXPECT_EQ(connection->SendStatus(first), IBV_WC_SUCCESS);
  EXPECT_EQ(connection->SendStatus(second), std::nullopt);
  EXPECT_EQ(connection->BytesAcknowledged(), 10u);
  EXPECT_THROW(connection->SendStatus(99), Error);
  EXPECT_THROW(connection->Send({}), Error);
}

TEST_F(BenchTest, GivenPeerThatClosesWhenBothHaveClosedThenTheStatesAreThoseOfTheRfc) {
  Open();
  peer->Data(Pattern(5));
  peer->Fin();
  EXPECT_EQ(connection->State(), TcpState::kCloseWait);
  const Received received = connection->Receive();
  EXPECT_EQ(received.data.size(), 5u);
  EXPECT_TRUE(received.end_of_stream);
  connection->ShutdownSend();
  EXPECT_EQ(connection->State(), TcpState::kLastAck);
  while (peer->Take()) {
  }
  peer->Ack();
  EXPECT_EQ(connection->State(), TcpState::kClosed);
  EXPECT_EQ(connection->Reason(), DisconnectReason::kClosed);
}

TEST_F(BenchTest, GivenCloseWhenThePeerClosesTooThenTimeWaitEndsAtItsExactTime) {
  Open();
  connection->Close();
  EXPECT_EQ(ToString(*peer->Take()), "F. 1:1(0) ack 1 win 65535");
  EXPECT_EQ(connection->State(), TcpState::kFinWait1);
  peer->Ack();
  EXPECT_EQ(connection->State(), TcpState::kFinWait2);
  bench.Advance(seconds(5));
  peer->Data(Pattern(10));
  EXPECT_EQ(connection->Receive(4).data.size(), 4u);
  EXPECT_NO_THROW(connection->queue_pair());
  peer->Fin();
  EXPECT_EQ(connection->State(), TcpState::kTimeWait);
  EXPECT_THROW(connection->queue_pair(), Error);
  EXPECT_EQ(connection->Receive().data, Pattern(6, 4));
  EXPECT_TRUE(connection->Receive().end_of_stream);
  connection->Close();
  bench.StepUntil(seconds(65) - Time(1));
  EXPECT_EQ(connection->State(), TcpState::kTimeWait);
  bench.StepUntil(seconds(65));
  EXPECT_EQ(connection->State(), TcpState::kClosed);
}

TEST_F(BenchTest, GivenResetWhenReceivingThenTheStatusSaysSoBehindTheData) {
  Open();
  connection->Send(Pattern(1));
  peer->Data(Pattern(3));
  connection->Available();
  peer->Reset();
  Received received = connection->Receive(2);
  EXPECT_EQ(received.data.size(), 2u);
  EXPECT_EQ(received.status, IBV_WC_SUCCESS);
  received = connection->Receive();
  EXPECT_EQ(received.data.size(), 1u);
  EXPECT_EQ(received.status, IBV_WC_REM_ABORT_ERR);
  EXPECT_EQ(connection->SendStatus(1), IBV_WC_REM_ABORT_ERR);
  EXPECT_EQ(connection->Reason(), DisconnectReason::kReset);
  EXPECT_THROW(connection->Send(Pattern(1)), Error);
}

TEST_F(BenchTest, GivenOpenConnectionWhenAbortedOrDestroyedThenResetIsSent) {
  Open();
  connection->Abort();
  EXPECT_EQ(peer->Take()->flags & kRst, kRst);
  EXPECT_EQ(connection->State(), TcpState::kClosed);
  connection->Abort();
  EXPECT_EQ(peer->Take(), std::nullopt);
  TcpPeer other(bench, {.port = 40001});
  other.HandshakeAsClient();
  listener->Accept().reset();
  EXPECT_EQ(other.Take()->flags & kRst, kRst);
}

TEST_F(BenchTest, GivenListenerWhenMoreComeThanOfferedThenTheyWaitInTheBacklog) {
  listener = bench.Listen(80, {.offered = 1, .backlog = 1});
  TcpPeer first(bench, {.port = 1});
  TcpPeer second(bench, {.port = 2});
  TcpPeer third(bench, {.port = 3});
  first.Syn();
  EXPECT_TRUE(first.Take());
  EXPECT_THAT(listener->States(), ElementsAre(TcpState::kSynReceived));
  EXPECT_EQ(listener->Accept(), nullptr);
  first.Ack();
  second.Syn();
  third.Syn();
  EXPECT_FALSE(second.Take());
  EXPECT_EQ(third.Take()->flags, kSyn | kAck) << "a cookie: nothing is kept for it";
  EXPECT_EQ(bench.Counters().at("syn_cookies_sent"), 1u);
  EXPECT_NE(listener->Accept(), nullptr);
  EXPECT_TRUE(second.Take());
  listener.reset();
  EXPECT_EQ(second.Take()->flags & kRst, kRst);
}

TEST_F(BenchTest, GivenClosedListenerPortInUseWhenListeningThenErrnoSaysSo) {
  listener = bench.Listen(80);
  try {
    bench.Listen(80);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), EADDRINUSE);
  }
  EXPECT_NE(bench.Listen(0)->port(), 0);
}

TEST_F(BenchTest, GivenUdpSocketWhenDatagramsComeAndGoThenTheyAreWhole) {
  auto socket = bench.BindUdp(9, {.receives = 1});
  const Ipv6Header to_nic{.source = ParseAddress("fd00::2"), .destination = bench.address()};
  const UdpDatagram datagram{.source_port = 5, .destination_port = 9, .payload = Pattern(7)};
  bench.InjectPacket(BuildPacket(to_nic, datagram));
  const auto received = socket->Receive();
  ASSERT_TRUE(received);
  EXPECT_EQ(received->data, Pattern(7));
  EXPECT_EQ(received->from.ToString(), "[fd00::2]:5");
  EXPECT_EQ(socket->Receive(), std::nullopt);
  socket->SendTo(received->from, Pattern(3));
  const auto sent = bench.TakePacket();
  ASSERT_TRUE(sent && sent->udp);
  EXPECT_TRUE(sent->checksum_ok);
  EXPECT_EQ(sent->udp->destination_port, 5);
  EXPECT_EQ(sent->udp->payload, Pattern(3));
  EXPECT_THROW(socket->SendTo(received->from, Pattern(65528)), Error);
}

TEST_F(BenchTest, GivenAnyBytesWhenInjectedThenTheyAreCountedAsDropped) {
  const Bytes whole =
      BuildPacket({.source = ParseAddress("fd00::2"), .destination = bench.address()},
                  TcpSegment{.destination_port = 80, .flags = kSyn});
  for (size_t length = 0; length < whole.size(); ++length) {
    bench.InjectPacket(std::span(whole).first(length));
  }
  EXPECT_EQ(bench.TakeDrops().size(), whole.size());
  EXPECT_THAT(bench.TakeDrops(), IsEmpty());
  EXPECT_EQ(bench.Counters().at("frames_received"), whole.size());
}

TEST_F(BenchTest, GivenSeveralPacketsInjectedWhenTheNicRunsThenTheyAreOneBatch) {
  Open();
  peer->Data(Pattern(1000));
  peer->Data(Pattern(1000));
  EXPECT_EQ(peer->Take()->acknowledgement, 2001u);
  EXPECT_EQ(peer->Take(), std::nullopt);
}

TEST_F(BenchTest, GivenBlockingCallWhenItWouldWaitThenItIsRefused) {
  auto other = bench.nic().Listen(81);
  EXPECT_THROW(other->Accept(), std::logic_error);
  EXPECT_EQ(other->Accept(std::chrono::nanoseconds(0)), nullptr);
}

TEST_F(BenchTest, GivenConnectionWhenInspectedThenInfoHasItsNumbers) {
  Open({}, {.isn = 500, .window = 3000, .mss = 1000});
  bench.Advance(milliseconds(50));
  connection->Send(Pattern(1500));
  const TcpInfo info = connection->Info();
  EXPECT_EQ(info.state, TcpState::kEstablished);
  EXPECT_EQ(info.irs, 500u);
  EXPECT_EQ(info.iss, peer->nic_isn());
  EXPECT_EQ(info.snd_una, info.iss + 1);
  EXPECT_EQ(info.snd_nxt, info.iss + 1501);
  EXPECT_EQ(info.snd_wnd, 3000u);
  EXPECT_EQ(info.snd_mss, 1000u);
  EXPECT_EQ(info.rcv_nxt, 501u);
  EXPECT_EQ(info.rcv_wnd, 65535u);
  EXPECT_EQ(info.cwnd, 10000u);
  EXPECT_FALSE(info.timestamps);
  EXPECT_EQ(connection->local().port, 80);
  EXPECT_EQ(connection->peer(), peer->endpoint());
}

TEST(BenchLifetimeTest, GivenObjectsThatOutliveTheBenchWhenUsedThenTheyWork) {
  std::unique_ptr<TcpListener> listener;
  std::unique_ptr<UdpSocket> socket;
  {
    TestBench bench;
    listener = bench.Listen(80);
    socket = bench.BindUdp(80);
  }
  EXPECT_EQ(listener->Accept(), nullptr);
  EXPECT_EQ(socket->Receive(), std::nullopt);
}

std::string Transcript(uint64_t seed) {
  TestBench bench({.seed = seed});
  auto listener = bench.Listen(80);
  TcpPeer peer(bench, {.sack_permitted = true, .timestamps = true});
  peer.HandshakeAsClient();
  auto connection = listener->Accept();
  connection->Send(Pattern(40000));
  auto attempt = bench.Connect({ParseAddress("fd00::2"), 7});
  bench.Advance(seconds(20));
  std::string text;
  for (const Packet& packet : bench.TakePackets()) text += ToString(packet) + "\n";
  return text;
}

TEST(BenchDeterminismTest, GivenTheSameSeedWhenRunTwiceThenAllPacketsAreTheSame) {
  EXPECT_EQ(Transcript(7), Transcript(7));
  EXPECT_NE(Transcript(7), Transcript(8));
}

}  // namespace
}  // namespace qpip::testbench

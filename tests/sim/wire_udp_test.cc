// The udp: wire, between sockets on this machine's loopback.
#include <arpa/inet.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <future>
#include <stdexcept>
#include <thread>

#include "sim/wire/descriptor.h"
#include "sim/wire/udp_peers.h"
#include "wire_udp_support.h"

namespace qpip::wire::test {
namespace {

std::string Refusal(const UdpOptions& options) {
  try {
    OpenUdpWire(options);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "(opened)";
}

TEST(UdpWire, GivenALearningServerWhenAClientSendsThenFramesOfEverySizeGoBothWays) {
  auto server = OpenUdpWire(UdpAt(1, kMaxUdpMtu));
  auto client = OpenClient(*server, UdpAt(2, kMaxUdpMtu));
  EXPECT_FALSE(client->trusted());
  EXPECT_EQ(client->mtu(), kMaxUdpMtu);
  EXPECT_EQ(SendBytes(server.get(), FrameFrom(1, 2, 60, 1)), SendResult::kNoRoute)
      << "nobody has been heard yet";
  for (const size_t length :
       {size_t{40}, size_t{41}, size_t{1452}, size_t{9000}, size_t{kMaxUdpMtu}}) {
    const Bytes out = FrameFrom(2, 1, length, length);
    const Bytes back = FrameFrom(1, 2, length, length + 1);
    Give(client.get(), out);
    EXPECT_EQ(Take(server.get()), out);
    Give(server.get(), back);
    EXPECT_EQ(Take(client.get()), back);
  }
  EXPECT_EQ(Counter(*server, "peers_learned"), 1u);
}

TEST(UdpWire, GivenHeaderAndPayloadPiecesWhenSentThenTheyAreOneFrame) {
  auto server = OpenUdpWire(UdpAt(1, 9000));
  auto client = OpenClient(*server, UdpAt(2, 9000));
  const Bytes header = FrameFrom(2, 1, 72, 1);
  Bytes one(1000, 0x11), two(2000, 0x22);
  const iovec pieces[2] = {{one.data(), one.size()}, {two.data(), two.size()}};
  for (const bool stable : {false, true}) {
    uint64_t lease = 0;
    ASSERT_EQ(client->Send({header, pieces, stable}, &lease), SendResult::kSent);
    EXPECT_EQ(client->LeasePending(lease), stable) << "referred to until the kernel has it";
    client->Flush();
    EXPECT_FALSE(client->LeasePending(lease));
    Bytes whole = header;
    whole.insert(whole.end(), one.begin(), one.end());
    whole.insert(whole.end(), two.begin(), two.end());
    EXPECT_EQ(Take(server.get()), whole);
  }
}

TEST(UdpWire, GivenABatchWhenFlushedThenOneSystemCallTakesManyAndOrderIsKept) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  for (uint64_t i = 0; i < 30; ++i) {
    ASSERT_EQ(SendBytes(client.get(), FrameFrom(2, 1, 100, i)), SendResult::kSent);
  }
  client->Flush();
  EXPECT_EQ(Counter(*client, "send_calls"), 1u);
  for (uint64_t i = 0; i < 30; ++i) EXPECT_EQ(Take(server.get()), FrameFrom(2, 1, 100, i));
  EXPECT_LE(Counter(*server, "receive_calls"), 2u);
}

TEST(UdpWire, GivenManyBorrowedFramesWhenMoreArriveThenAllStayIntactUntilReleased) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  std::vector<InFrame> held(256);
  for (uint64_t i = 0; i < held.size(); ++i) {
    Give(client.get(), FrameFrom(2, 1, 500, i));
    ASSERT_TRUE(ReceiveWithin(server.get(), &held[i]));
  }
  for (uint64_t i = 0; i < held.size(); ++i) {
    EXPECT_EQ(Content(held[i]), FrameFrom(2, 1, 500, i));
    server->Release(held[i]);
    server->Release(held[i]);  // a second time does no harm
  }
  Pass(client.get(), server.get(), FrameFrom(2, 1, 60, 9));
}

TEST(UdpWire, GivenAFrameLongerThanTheMtuWhenSentOrReceivedThenItGoesNowhere) {
  auto server = OpenUdpWire(UdpAt(1, 1280));
  auto client = OpenClient(*server, UdpAt(2, 9000));
  EXPECT_EQ(SendBytes(server.get(), FrameFrom(1, 2, 1281, 1)), SendResult::kNoRoute);
  EXPECT_EQ(Counter(*server, "sends_refused"), 1u);
  Give(client.get(), FrameFrom(2, 1, 1281, 1));
  Give(client.get(), FrameFrom(2, 1, 8999, 1));
  Pass(client.get(), server.get(), FrameFrom(2, 1, 1280, 2));
  EXPECT_EQ(Counter(*server, "oversize_dropped"), 2u);
}

TEST(UdpWire, GivenAStaticPeerWhenAnotherSocketUsesItsAddressThenTheFrameIsDropped) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  UdpOptions strict = UdpAt(3);
  strict.learn = true;
  strict.peers.push_back({Address(2), "127.0.0.1", PortOf(*client)});
  auto third = OpenUdpWire(strict);
  auto liar = OpenClient(*third, UdpAt(9));
  Give(liar.get(), FrameFrom(2, 3, 60, 1));
  Give(liar.get(), FrameFrom(3, 3, 60, 1));
  Pass(liar.get(), third.get(), FrameFrom(9, 3, 60, 2));
  EXPECT_EQ(Counter(*third, "wrong_sender_dropped"), 2u);
  // And the table still leads to the right socket.
  const Bytes to_client = FrameFrom(3, 2, 60, 3);
  Give(third.get(), to_client);
  InFrame frame;
  EXPECT_FALSE(client->Receive(&frame)) << "the client hears its own default peer only";
}

TEST(UdpWire, GivenOnePeerWhenAStrangerSendsThenItIsRefusedByTheKernelOrCounted) {
  auto server = OpenUdpWire(UdpAt(1));
  UdpOptions anywhere = UdpAt(3);
  anywhere.host = "";
  for (const bool bound : {true, false}) {
    auto client = OpenClient(*server, bound ? UdpAt(2) : anywhere);
    const Descriptor stranger(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
    sockaddr_in to = {};
    to.sin_family = AF_INET;
    to.sin_port = htons(PortOf(*client));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::connect(stranger.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    const Bytes frame = FrameFrom(9, bound ? 2 : 3, 60, 1);
    ASSERT_EQ(::send(stranger.get(), frame.data(), frame.size(), 0), 60);
    InFrame received;
    EXPECT_FALSE(client->Receive(&received));
    EXPECT_EQ(Counter(*client, "unknown_sender_dropped"), bound ? 0u : 1u);
    uint8_t byte = 0;
    EXPECT_LT(::recv(stranger.get(), &byte, 1, 0), 0);
    EXPECT_EQ(errno, bound ? ECONNREFUSED : EAGAIN) << "known to the kernel where it can be";
    // The peer itself is heard, and sent to, either way.
    Pass(client.get(), server.get(), FrameFrom(bound ? 2 : 3, 1, 60, 2));
    Pass(server.get(), client.get(), FrameFrom(1, bound ? 2 : 3, 60, 3));
  }
}

TEST(UdpWire, GivenAPeerThatMovesWhenItIsHeardAgainThenAnswersFollowIt) {
  auto server = OpenUdpWire(UdpAt(1));
  auto first = OpenClient(*server, UdpAt(2));
  Pass(first.get(), server.get(), FrameFrom(2, 1, 60, 1));
  first.reset();
  auto second = OpenClient(*server, UdpAt(2));
  Pass(second.get(), server.get(), FrameFrom(2, 1, 60, 2));
  Pass(server.get(), second.get(), FrameFrom(1, 2, 60, 3));
  EXPECT_EQ(Counter(*server, "peers_learned"), 2u);
}

TEST(UdpWire, GivenDatagramsThatAreNoFramesWhenReceivedThenTheyAreCounted) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  const Descriptor socket(::socket(AF_INET, SOCK_DGRAM, 0));
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(PortOf(*server));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto send = [&](const Bytes& bytes) {
    ASSERT_EQ(::sendto(socket.get(), bytes.data(), bytes.size(), 0,
                       reinterpret_cast<sockaddr*>(&to), sizeof to),
              static_cast<ssize_t>(bytes.size()));
  };
  send({});
  send(Bytes(39, 0x60));
  send(Bytes(60, 0x45));
  Pass(client.get(), server.get(), FrameFrom(2, 1, 60, 2));
  EXPECT_EQ(Counter(*server, "malformed_dropped"), 3u);
}

TEST(UdpWire, GivenASleepingPortWhenAFrameArrivesOrItIsWokenThenItIsAwake) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  // A wake-up and a frame between preparation and sleep are not lost.
  server->PrepareSleep();
  server->Wake();
  server->Sleep(UINT64_MAX);
  server->PrepareSleep();
  Give(client.get(), FrameFrom(2, 1, 60, 1));
  server->Sleep(UINT64_MAX);
  EXPECT_EQ(Take(server.get()), FrameFrom(2, 1, 60, 1));
  // Nor those that come during it.
  for (uint64_t i = 0; i < 50; ++i) {
    auto sleeper = std::async(std::launch::async, [&] { return Take(server.get()); });
    Give(client.get(), FrameFrom(2, 1, 60, i));
    EXPECT_EQ(sleeper.get(), FrameFrom(2, 1, 60, i));
    server->PrepareSleep();
    auto woken = std::async(std::launch::async, [&] { server->Sleep(UINT64_MAX); });
    server->Wake();
    woken.get();
  }
  server->PrepareSleep();
  const uint64_t deadline = MonotonicNs() + 2'000'000;
  server->Sleep(deadline);
  EXPECT_GE(MonotonicNs(), deadline);
}

TEST(UdpWire, GivenNoHostWhenBoundThenIpv4AndIpv6PeersReachIt) {
  UdpOptions any = UdpAt(1);
  any.host = "";
  auto server = OpenUdpWire(any);
  auto over_ipv4 = OpenClient(*server, UdpAt(2));
  UdpOptions six = UdpAt(3);
  six.host = "::1";
  six.peers.push_back({{}, "::1", PortOf(*server)});
  auto over_ipv6 = OpenUdpWire(six);
  for (uint8_t i = 2; i <= 3; ++i) {
    Wire* client = i == 2 ? over_ipv4.get() : over_ipv6.get();
    Pass(client, server.get(), FrameFrom(i, 1, 60, i));
    Pass(server.get(), client, FrameFrom(1, i, 60, i + 10u));
  }
}

TEST(UdpWire, GivenOptionsThatCannotWorkWhenOpenedThenOneLineSaysWhatToDo) {
  auto server = OpenUdpWire(UdpAt(1));
  UdpOptions taken = UdpAt(2);
  taken.port = PortOf(*server);
  EXPECT_NE(Refusal(taken).find("another process has that port"), std::string::npos);
  UdpOptions elsewhere = UdpAt(2);
  elsewhere.host = "192.0.2.77";
  EXPECT_NE(Refusal(elsewhere).find("give an address of this machine"), std::string::npos);
  UdpOptions nowhere = UdpAt(2);
  nowhere.host = "300.0.0.1";
  EXPECT_NE(Refusal(nowhere).find("cannot find host \"300.0.0.1\""), std::string::npos);
  UdpOptions mixed = UdpAt(2);
  mixed.peers.push_back({{}, "::1", 9});
  EXPECT_NE(Refusal(mixed).find("of the local socket's family"), std::string::npos);
  UdpOptions large = UdpAt(2, kMaxUdpMtu + 1);
  EXPECT_NE(Refusal(large).find("bad mtu 65508"), std::string::npos);
  UdpOptions twice = UdpAt(2);
  twice.peers = {{Address(5), "127.0.0.1", 9}, {Address(5), "127.0.0.1", 10}};
  EXPECT_NE(Refusal(twice).find("given twice"), std::string::npos);
}

TEST(UdpPeers, GivenSendersThatMakeUpAddressesWhenLearnedThenTheTableIsBoundedAndStaticOnesStay) {
  UdpPeers peers(200);
  SocketAddress home, away;
  home.v4.sin_family = away.v4.sin_family = AF_INET;
  home.v4.sin_port = htons(1);
  away.v4.sin_port = htons(2);
  for (uint8_t i = 1; i <= 200; ++i) ASSERT_TRUE(peers.Fix(Address(i), home));
  EXPECT_FALSE(peers.Fix(Address(7), away));
  abi::Ip6Address made_up = Address(0);
  uint32_t known = 0;
  for (uint32_t i = 1; i <= 100000; ++i) {
    std::memcpy(&made_up.bytes[4], &i, sizeof i);
    peers.Learn(made_up, away);
    EXPECT_NE(peers.Find(made_up), nullptr) << "the newest is known";
  }
  for (uint32_t i = 1; i <= 100000; ++i) {
    std::memcpy(&made_up.bytes[4], &i, sizeof i);
    known += peers.Find(made_up) != nullptr ? 1 : 0;
  }
  EXPECT_LE(known, 16384u);
  for (uint8_t i = 1; i <= 200; ++i) {
    peers.Learn(Address(i), away);
    ASSERT_NE(peers.Find(Address(i)), nullptr);
    EXPECT_EQ(*peers.Find(Address(i)), home);
    EXPECT_EQ(peers.Judge(Address(i), away), UdpPeers::Judgement::kNotItsOwn);
  }
}

}  // namespace
}  // namespace qpip::wire::test

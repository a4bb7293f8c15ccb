// The udp: wire, between sockets on this machine's loopback.
#include <arpa/inet.h>
#include <sched.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <future>
#include <stdexcept>
#include <thread>

#include "protocols/common/byte_order.h"
#include "protocols/icmpv6/message.h"
#include "protocols/ipv6/header.h"
#include "sim/wire/descriptor.h"
#include "sim/wire/udp_failures.h"
#include "sim/wire/udp_peers.h"
#include "wire_test_support.h"

namespace qpip::wire::test {
namespace {

UdpOptions UdpAt(uint8_t last_address_byte, uint32_t mtu = 1452) {
  UdpOptions options;
  options.host = "127.0.0.1";
  options.address = Address(last_address_byte);
  options.mtu = mtu;
  return options;
}

uint16_t PortOf(const Wire& wire) { return static_cast<uint16_t>(Counter(wire, "port")); }

/// A client of `server`, reached by every address.
std::unique_ptr<Wire> OpenClient(const Wire& server, UdpOptions options) {
  options.peers.push_back({{}, "127.0.0.1", PortOf(server)});
  return OpenUdpWire(options);
}

Bytes FrameFrom(uint8_t from, uint8_t to, size_t length, uint64_t seed) {
  Bytes bytes = MakeFrame(Address(to), length, seed);
  std::memcpy(&bytes[8], Address(from).bytes, 16);
  return bytes;
}

void Give(Wire* wire, const Bytes& bytes) {
  ASSERT_EQ(SendBytes(wire, bytes), SendResult::kSent);
  wire->Flush();
}

Bytes Take(Wire* wire) {
  InFrame frame;
  if (!ReceiveWithin(wire, &frame)) return {};
  EXPECT_FALSE(frame.peer_down);
  EXPECT_FALSE(frame.checksum_vouched);
  Bytes bytes = Content(frame);
  wire->Release(frame);
  return bytes;
}

/// Sends a marked frame and takes it: whatever was on the way before has been looked at.
void Pass(Wire* from, Wire* to, const Bytes& marker) {
  Give(from, marker);
  ASSERT_EQ(Take(to), marker);
}

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
  EXPECT_EQ(Counter(*client, "unknown_sender_dropped"), 1u);
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

/// A TCP packet of `text` bytes, the transport checksum left to whoever cuts it.
Bytes TcpPacket(uint8_t from, uint8_t to, size_t text, uint8_t flags) {
  Bytes bytes = FrameFrom(from, to, 72 + text, text);
  std::fill(bytes.begin(), bytes.begin() + 8, uint8_t{0});
  bytes[0] = 0x60;
  bytes[4] = static_cast<uint8_t>((32 + text) >> 8);
  bytes[5] = static_cast<uint8_t>(32 + text);
  bytes[6] = 6;
  bytes[7] = 64;
  bytes[52] = 0x80;
  bytes[53] = flags;
  bytes[56] = bytes[57] = 0;
  return bytes;
}
constexpr uint8_t kAckPush = 0x18;

/// What arrived of a train: frames whose text, one behind the other, is the packet's.
struct Arrived {
  size_t frames = 0;
  size_t vouched = 0;
  Bytes text;
  uint8_t last_flags = 0;
};

Arrived TakeText(Wire* wire, size_t bytes) {
  Arrived arrived;
  while (arrived.text.size() < bytes) {
    InFrame frame;
    if (!ReceiveWithin(wire, &frame)) return arrived;
    const Bytes content = Content(frame);
    EXPECT_EQ(size_t{content[4]} << 8 | content[5], content.size() - 40);
    EXPECT_GE(frame.pieces[0].iov_len, std::min<size_t>(content.size(), 256));
    arrived.text.insert(arrived.text.end(), content.begin() + 72, content.end());
    arrived.last_flags = content[53];
    ++arrived.frames;
    arrived.vouched += frame.checksum_vouched ? 1 : 0;
    wire->Release(frame);
  }
  return arrived;
}

/// Sends a packet to be cut, its text in three pieces.
SendResult SendTrain(Wire* wire, const Bytes& packet, uint32_t segment_size, bool stable,
                     uint64_t* lease) {
  auto* text = const_cast<uint8_t*>(packet.data()) + 72;
  const size_t third = (packet.size() - 72) / 3;
  const iovec payload[3] = {
      {text, third}, {text + third, third}, {text + 2 * third, packet.size() - 72 - 2 * third}};
  return wire->Send({.header = std::span(packet).first(72),
                     .payload = payload,
                     .payload_stable = stable,
                     .segment_size = segment_size},
                    lease);
}

TEST(UdpWire, GivenTextOfManySegmentsWhenSentThenOneMessageTakesThemAndTheyArriveAsOneFrame) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  EXPECT_EQ(client->segmentation_limit(), 45u * 1380 + 100) << "45 datagrams are 65340 bytes";
  for (const bool stable : {false, true}) {
    const Bytes packet = TcpPacket(2, 1, 40000 + stable, kAckPush);
    uint64_t lease = 0;
    ASSERT_EQ(SendTrain(client.get(), packet, 1380, stable, &lease), SendResult::kSent);
    EXPECT_EQ(client->LeasePending(lease), stable);
    client->Flush();
    EXPECT_FALSE(client->LeasePending(lease));
    const Arrived arrived = TakeText(server.get(), packet.size() - 72);
    EXPECT_EQ(arrived.text, Bytes(packet.begin() + 72, packet.end()));
    EXPECT_EQ(arrived.last_flags, kAckPush);
    EXPECT_EQ(arrived.frames, 1u);
    EXPECT_EQ(arrived.vouched, 1u);
  }
  EXPECT_EQ(Counter(*client, "send_calls"), 2u);
  EXPECT_EQ(Counter(*client, "trains_sent"), 2u);
  EXPECT_EQ(Counter(*client, "frames_sent"), 58u);
  EXPECT_EQ(Counter(*server, "frames_received"), 58u);
  EXPECT_EQ(Counter(*server, "trains_received"), 2u);
}

TEST(UdpWire, GivenMoreTextThanADatagramHoldsWhenSentThenItIsSeveralMessagesOfOneCall) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  const Bytes packet = TcpPacket(2, 1, 65400, kAckPush);
  uint64_t lease = 0;
  ASSERT_EQ(SendTrain(client.get(), packet, 1380, true, &lease), SendResult::kSent);
  client->Flush();
  EXPECT_EQ(TakeText(server.get(), 65400).text, Bytes(packet.begin() + 72, packet.end()));
  EXPECT_EQ(Counter(*client, "send_calls"), 1u);
  EXPECT_EQ(Counter(*client, "trains_sent"), 2u);
}

TEST(UdpWire, GivenAPeerWithoutOffloadWhenATrainComesThenItGetsSinglePacketsWithChecksums) {
  UdpOptions plain = UdpAt(1);
  plain.offload = false;
  auto server = OpenUdpWire(plain);
  auto client = OpenClient(*server, UdpAt(2));
  EXPECT_EQ(server->segmentation_limit(), 0u);
  const Bytes packet = TcpPacket(2, 1, 20000, kAckPush);
  uint64_t lease = 0;
  ASSERT_EQ(SendTrain(client.get(), packet, 1000, true, &lease), SendResult::kSent);
  client->Flush();
  const Arrived arrived = TakeText(server.get(), 20000);
  EXPECT_EQ(arrived.text, Bytes(packet.begin() + 72, packet.end()));
  EXPECT_EQ(arrived.frames, 20u);
  EXPECT_EQ(arrived.vouched, 0u);
}

TEST(UdpWire, GivenTrainsOfTwoFlowsInTurnWhenReceivedThenNoneIsMixed) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  std::vector<Bytes> packets;
  for (uint8_t i = 0; i < 6; ++i) {
    packets.push_back(TcpPacket(2, 1, 5000, kAckPush));
    packets.back()[41] = i % 2;  // a port
    uint64_t lease = 0;
    ASSERT_EQ(SendTrain(client.get(), packets.back(), 1000, true, &lease), SendResult::kSent);
  }
  client->Flush();
  EXPECT_EQ(Counter(*client, "trains_sent"), 1u) << "of one length, to one socket";
  for (uint8_t i = 0; i < 6; ++i) {
    InFrame frame;
    ASSERT_TRUE(ReceiveWithin(server.get(), &frame));
    EXPECT_EQ(frame.length, 5072u);
    EXPECT_EQ(Content(frame)[41], i % 2);
    server->Release(frame);
  }
}

TEST(UdpWire, GivenATrainThatWaitsWhenAnotherIsSentThenTheFirstLeaves) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  uint64_t leases[3];
  for (uint64_t& lease : leases) {
    const Bytes packet = TcpPacket(2, 1, 60000, kAckPush);
    ASSERT_EQ(SendTrain(client.get(), packet, 1380, false, &lease), SendResult::kSent);
  }
  EXPECT_EQ(Counter(*client, "send_calls"), 2u);
  client->Flush();
  EXPECT_EQ(Counter(*client, "send_calls"), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(TakeText(server.get(), 60000).text.size(), 60000u);
}

TEST(UdpWire, GivenAFrameToBeCutThatCannotBeWhenSentThenItGoesNowhere) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  uint64_t lease = 0;
  EXPECT_EQ(SendTrain(client.get(), TcpPacket(2, 1, 5000, kAckPush), 1381, true, &lease),
            SendResult::kNoRoute)
      << "segments longer than the MTU";
  EXPECT_EQ(SendTrain(client.get(), FrameFrom(2, 1, 5000, 1), 1000, true, &lease),
            SendResult::kNoRoute)
      << "no TCP";
  EXPECT_EQ(SendTrain(client.get(), TcpPacket(2, 1, 60000, kAckPush), 1, true, &lease),
            SendResult::kNoRoute)
      << "more segments than a batch";
  EXPECT_EQ(lease, 0u);
  EXPECT_EQ(Counter(*client, "sends_refused"), 3u);
}

/// Receives one of the frames that the client has sent, and acknowledges it.
void TakeAndAcknowledge(Wire* server) {
  InFrame frame;
  ASSERT_TRUE(ReceiveWithin(server, &frame));
  server->Release(frame);
  Give(server, TcpPacket(1, 2, 0, 0x10));
}

TEST(UdpWire, GivenSmallFramesInHandWhenAcknowledgedThenTheAcknowledgementsLeaveTogether) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  for (uint64_t i = 0; i < 4; ++i) {
    ASSERT_EQ(SendBytes(client.get(), FrameFrom(2, 1, 100, i)), SendResult::kSent);
  }
  client->Flush();
  for (int i = 0; i < 3; ++i) TakeAndAcknowledge(server.get());
  EXPECT_EQ(Counter(*server, "send_calls"), 0u);
  TakeAndAcknowledge(server.get());
  EXPECT_EQ(Counter(*server, "send_calls"), 1u);
  EXPECT_EQ(Counter(*server, "frames_sent"), 4u);
}

TEST(UdpWire, GivenAcknowledgementsThatWaitWhenAnythingElseIsSentOrThePortSleepsThenTheyLeave) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  for (uint64_t i = 0; i < 4; ++i) {
    ASSERT_EQ(SendBytes(client.get(), FrameFrom(2, 1, 100, i)), SendResult::kSent);
  }
  client->Flush();
  TakeAndAcknowledge(server.get());
  Give(server.get(), TcpPacket(1, 2, 8, 0x10));
  EXPECT_EQ(Counter(*server, "frames_sent"), 2u);
  TakeAndAcknowledge(server.get());
  EXPECT_EQ(Counter(*server, "frames_sent"), 2u);
  server->PrepareSleep();
  EXPECT_EQ(Counter(*server, "frames_sent"), 3u);
  server->CancelSleep();
}

TEST(UdpWire, GivenLongFramesInHandWhenAcknowledgedThenTheirSenderHearsAtOnce) {
  auto server = OpenUdpWire(UdpAt(1));
  auto client = OpenClient(*server, UdpAt(2));
  for (uint64_t i = 0; i < 4; ++i) {
    ASSERT_EQ(SendBytes(client.get(), FrameFrom(2, 1, 1400, i)), SendResult::kSent);
  }
  client->Flush();
  TakeAndAcknowledge(server.get());
  EXPECT_EQ(Counter(*server, "frames_sent"), 1u);
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

// --- What the kernel refuses to send

TEST(UdpWire, GivenNoRouteToThePeerWhenSendingThenThatIsToldAndTheNextHasNoRoute) {
  std::thread([] {
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "run this test as root";
    UdpOptions options = UdpAt(2);
    options.host.clear();
    options.peers = {{{}, "192.0.2.1", 4791}};
    auto wire = OpenUdpWire(options);
    std::vector<abi::Trouble> troubles;
    wire->ReportTo([&](const abi::Trouble& trouble) { troubles.push_back(trouble); });
    Give(wire.get(), FrameFrom(2, 1, 60, 1));
    ASSERT_EQ(troubles.size(), 1u);
    EXPECT_EQ(troubles[0].code, ENETUNREACH);
    EXPECT_EQ(troubles[0].peer, Address(1));
    EXPECT_FALSE(troubles[0].fatal) << "a route may come";
    EXPECT_NE(troubles[0].what.find("192.0.2.1:4791"), std::string::npos) << troubles[0].what;
    EXPECT_EQ(SendBytes(wire.get(), FrameFrom(2, 1, 60, 1)), SendResult::kNoRoute);
  }).join();
}

/// The next frame, which is to be an ICMPv6 error from the peer about `packet`.
icmpv6::Header TakeIcmpError(Wire* wire, const Bytes& packet) {
  InFrame frame;
  icmpv6::Header header;
  if (!ReceiveWithin(wire, &frame)) return header;
  EXPECT_TRUE(frame.checksum_vouched);
  const Bytes bytes = Content(frame);
  wire->Release(frame);
  if (bytes.size() < 48 + 48) return header;
  EXPECT_EQ(bytes[6], ipv6::kIcmpv6);
  EXPECT_TRUE(std::equal(&bytes[8], &bytes[24], &packet[24])) << "from whom the packet was for";
  EXPECT_TRUE(std::equal(&bytes[24], &bytes[40], &packet[8])) << "to its sender";
  EXPECT_TRUE(std::equal(&bytes[48], &bytes[96], packet.begin())) << "quoted";
  icmpv6::Parse(std::span(bytes).subspan(40), &header);
  return header;
}

TEST(UdpWire, GivenAClosedPortWhenSentToThenTheFirmwareHearsOfItAndOneLineIsTold) {
  for (const char* host : {"127.0.0.1", "::1", ""}) {
    UdpOptions options = UdpAt(2);
    options.host = host;
    {
      UdpOptions gone = UdpAt(1);
      gone.host = host;
      options.peers = {{{}, host[0] == 0 ? "127.0.0.1" : host, PortOf(*OpenUdpWire(gone))}};
    }
    auto wire = OpenUdpWire(options);
    std::vector<abi::Trouble> troubles;
    wire->ReportTo([&](const abi::Trouble& trouble) { troubles.push_back(trouble); });
    for (int i = 0; i < 3; ++i) {
      const Bytes packet = FrameFrom(2, 1, 60, 1);
      Give(wire.get(), packet);
      const icmpv6::Header error = TakeIcmpError(wire.get(), packet);
      EXPECT_EQ(error.type, icmpv6::kDestinationUnreachable) << host;
      EXPECT_EQ(error.code, icmpv6::kRejectRoute);
    }
    ASSERT_EQ(troubles.size(), 1u) << host;
    EXPECT_EQ(troubles[0].code, ECONNREFUSED);
    EXPECT_EQ(troubles[0].peer, Address(1));
    EXPECT_NE(troubles[0].what.find("nobody listens at"), std::string::npos) << troubles[0].what;
    EXPECT_EQ(Counter(*wire, "send_errors"), 0u);
  }
}

TEST(UdpWire, GivenALearnedPeerThatHasGoneWhenSentToThenTheFirmwareHearsOfItAndNobodyElse) {
  auto server = OpenUdpWire(UdpAt(1));
  std::vector<abi::Trouble> troubles;
  server->ReportTo([&](const abi::Trouble& trouble) { troubles.push_back(trouble); });
  Pass(OpenClient(*server, UdpAt(2)).get(), server.get(), FrameFrom(2, 1, 60, 1));
  const Bytes packet = FrameFrom(1, 2, 60, 1);
  Give(server.get(), packet);
  EXPECT_EQ(TakeIcmpError(server.get(), packet).code, icmpv6::kRejectRoute);
  EXPECT_TRUE(troubles.empty());
}

TEST(UdpWire, GivenALinkWhenOpenedWithoutAnMtuThenPacketsAreAsLongAsItTakes) {
  std::thread([] {
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "run this test as root";
    ASSERT_EQ(std::system("ip link set lo up mtu 9000"), 0);
    UdpOptions options = UdpAt(2, 0);
    EXPECT_EQ(OpenUdpWire(options)->mtu(), 9000u - 28);
    options.host = "::1";
    EXPECT_EQ(OpenUdpWire(options)->mtu(), 9000u - 48);
    options.host.clear();
    EXPECT_EQ(OpenUdpWire(options)->mtu(), 9000u - 48) << "peers of either family";
    options.peers = {{{}, "127.0.0.1", 4791}};
    EXPECT_EQ(OpenUdpWire(options)->mtu(), 9000u - 28);
    options.peers = {{{}, "192.0.2.1", 4791}};
    EXPECT_EQ(OpenUdpWire(options)->mtu(), 9000u - 48) << "no route yet";
  }).join();
}

TEST(UdpWire, GivenAPathThatShrinksWhenSentToThenTheFirmwareHearsWhatPasses) {
  std::thread([] {
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "run this test as root";
    ASSERT_EQ(std::system("ip link set lo up mtu 9000"), 0);
    auto server = OpenUdpWire(UdpAt(1, 0));
    auto client = OpenClient(*server, UdpAt(2, 0));
    Bytes packet = TcpPacket(2, 1, 20000, kAckPush);
    uint64_t lease = 0;
    ASSERT_EQ(SendTrain(client.get(), packet, 8000, true, &lease), SendResult::kSent);
    client->Flush();
    EXPECT_EQ(TakeText(server.get(), 20000).frames, 1u);
    ASSERT_EQ(std::system("ip link set lo mtu 1500"), 0);
    ASSERT_EQ(SendTrain(client.get(), packet, 8000, true, &lease), SendResult::kSent);
    client->Flush();
    EXPECT_FALSE(client->LeasePending(lease));
    packet[53] = 0x10;  // the first segment
    packet[4] = 8032 >> 8;
    packet[5] = 8032 & 0xff;
    InFrame frame;
    ASSERT_TRUE(ReceiveWithin(client.get(), &frame));
    const Bytes error = Content(frame);
    client->Release(frame);
    EXPECT_EQ(error[40], icmpv6::kPacketTooBig);
    EXPECT_EQ(LoadBe32(&error[44]), 1500u - 28);
    EXPECT_EQ(Bytes(&error[48], &error[48 + 56]), Bytes(packet.begin(), packet.begin() + 56));
    packet = TcpPacket(2, 1, 20000, kAckPush);
    ASSERT_EQ(SendTrain(client.get(), packet, 1400, true, &lease), SendResult::kSent);
    client->Flush();
    EXPECT_EQ(TakeText(server.get(), 20000).text.size(), 20000u);
    EXPECT_EQ(Counter(*client, "trains_given_up"), 0u) << "trains were not what was wrong";
    EXPECT_EQ(Counter(*client, "train_errors"), 1u);
  }).join();
}

TEST(UdpFailures, GivenAnAnswerThatRepeatsWhenNotedThenItIsToldOnceAMoment) {
  UdpFailures failures;
  SocketAddress where;
  where.v4.sin_family = AF_INET;
  where.v4.sin_port = htons(4791);
  ASSERT_TRUE(failures.NoteAnswer(ECONNREFUSED, Address(1), where).has_value());
  EXPECT_FALSE(failures.NoteAnswer(ECONNREFUSED, Address(1), where).has_value());
  EXPECT_FALSE(failures.NoteAnswer(EMSGSIZE, Address(1), where).has_value());
  EXPECT_FALSE(failures.Refused(where, MonotonicNs())) << "anybody may say so";
}

TEST(UdpFailures, GivenARefusalOfLongAgoWhenAskedThenItIsForgotten) {
  UdpFailures failures;
  const SocketAddress where = ResolveSocketAddress("192.0.2.1", 4791, AF_INET);
  const SocketAddress other = ResolveSocketAddress("192.0.2.2", 4791, AF_INET);
  ASSERT_TRUE(failures.Note(EHOSTUNREACH, 60, Address(1), where));
  const uint64_t now_ns = MonotonicNs();
  EXPECT_TRUE(failures.Refused(where, now_ns));
  EXPECT_FALSE(failures.Refused(other, now_ns));
  EXPECT_FALSE(failures.Refused(where, now_ns + 2'000'000'000));
  EXPECT_FALSE(failures.any());
}

TEST(UdpFailures, GivenADatagramThatIsTooLargeWhenNotedThenSmallerOnesAreNotRefused) {
  UdpFailures failures;
  const SocketAddress where = ResolveSocketAddress("2001:db8::1", 4791, AF_INET6);
  const auto trouble = failures.Note(EMSGSIZE, 9000, Address(1), where);
  ASSERT_TRUE(trouble);
  EXPECT_NE(trouble->what.find("9000 bytes to [2001:db8::1]:4791"), std::string::npos);
  EXPECT_NE(trouble->what.find("mtu"), std::string::npos);
  EXPECT_FALSE(failures.Refused(where, MonotonicNs()));
}

TEST(UdpFailures, GivenMoreRefusalsThanAreKeptWhenAskedThenTheLatestIsKnown) {
  UdpFailures failures;
  for (uint16_t port = 1; port <= 100; ++port) {
    const SocketAddress where = ResolveSocketAddress("192.0.2.1", port, AF_INET);
    failures.Note(ENETUNREACH, 60, Address(1), where);
    EXPECT_TRUE(failures.Refused(where, MonotonicNs()));
  }
}

TEST(UdpFailures, GivenAFullQueueWhenNotedThenThereIsNothingToTell) {
  UdpFailures failures;
  const SocketAddress where = ResolveSocketAddress("192.0.2.1", 1, AF_INET);
  EXPECT_FALSE(failures.Note(ENOBUFS, 60, Address(1), where));
  EXPECT_FALSE(failures.any());
}

}  // namespace
}  // namespace qpip::wire::test

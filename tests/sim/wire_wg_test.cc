// The wg: wire, between sockets on this machine's loopback.
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cstring>
#include <thread>

#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "sim/wire/secret_memory.h"
#include "sim/wire/udp_peers.h"
#include "sim/wire/wg_names.h"
#include "sim/wire/wg_words.h"
#include "wire_test_support.h"
#include "wire_wg_test_support.h"

namespace qpip::wire::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

uint16_t PortOf(const Wire& wire) { return static_cast<uint16_t>(Counter(wire, "port")); }

/// An IPv6 packet of so many bytes.
Bytes PacketOf(uint8_t from, uint8_t to, size_t length, uint64_t seed) {
  Bytes bytes = MakeFrame(Address(to), length, seed);
  std::memcpy(&bytes[8], Address(from).bytes, 16);
  StoreBe16(&bytes[4], static_cast<uint16_t>(length - 40));
  bytes[6] = 59;  // nothing follows
  return bytes;
}

Bytes Take(Wire* wire) {
  InFrame frame;
  if (!ReceiveWithin(wire, &frame)) return {};
  Bytes bytes = Content(frame);
  wire->Release(frame);
  return bytes;
}

/// fd00::1, which does not know where anybody is, and fd00::2, which knows where it is.
class WireguardWire : public ::testing::Test {
 protected:
  explicit WireguardWire(const std::string& more = "") {
    server = Open(1, PeerText(2) + PeerText(3), more);
    client = Open(2, PeerText(1, EndpointLine(PortOf(*server))), more);
  }
  std::unique_ptr<Wire> Open(int self, const std::string& peers, const std::string& more = "",
                             WireguardOptions options = {}) {
    options.host = "127.0.0.1";
    options.config =
        files.Write(std::to_string(self) + ".conf", InterfaceText(self) + more + peers);
    return OpenWireguardWire(options);
  }
  /// Both work for each other, as two cores would, until one of them has a frame.
  Bytes TakeAt(Wire* here, Wire* there) {
    InFrame frame;
    const uint64_t deadline = MonotonicNs() + 20'000'000'000;
    while (MonotonicNs() < deadline) {
      if (here->Receive(&frame)) {
        Bytes bytes = Content(frame);
        here->Release(frame);
        return bytes;
      }
      InFrame other;
      if (there->Receive(&other)) ADD_FAILURE() << "a frame at the other end";
    }
    return {};
  }
  void Connect() {
    const Bytes packet = PacketOf(2, 1, 60, 1);
    ASSERT_EQ(SendBytes(client.get(), packet), SendResult::kSent);
    ASSERT_EQ(TakeAt(server.get(), client.get()), packet);
  }

  Files files;
  std::unique_ptr<Wire> server, client;
};

TEST_F(WireguardWire, GivenNoSessionWhenAFrameIsSentThenItArrivesAfterTheHandshakeAndIsAnswered) {
  EXPECT_FALSE(client->trusted());
  EXPECT_EQ(client->mtu(), kWireguardMtu);
  EXPECT_EQ(client->address(), Address(2));
  EXPECT_EQ(SendBytes(server.get(), PacketOf(1, 2, 60, 1)), SendResult::kNoRoute)
      << "nobody has been heard yet";
  Connect();
  for (const size_t length : {size_t{40}, size_t{41}, size_t{1279}, size_t{kWireguardMtu}}) {
    const Bytes back = PacketOf(1, 2, length, length);
    ASSERT_EQ(SendBytes(server.get(), back), SendResult::kSent);
    server->Flush();
    EXPECT_EQ(Take(client.get()), back);
  }
  EXPECT_EQ(Counter(*client, "initiations_sent"), 1u);
  EXPECT_EQ(Counter(*server, "responses_sent"), 1u);
}

TEST_F(WireguardWire, GivenMoreThanABatchHoldsBeforeThereIsASessionWhenItBeginsThenTheWireGoesOn) {
  constexpr uint64_t kMany = 6000;
  for (uint64_t i = 0; i <= kMany; ++i) {
    ASSERT_EQ(SendBytes(client.get(), PacketOf(2, 1, 96, i)), SendResult::kSent) << i;
  }
  // The newest have waited for it.
  const Bytes last = PacketOf(2, 1, 96, kMany);
  Bytes got;
  do {
    got = TakeAt(server.get(), client.get());
    ASSERT_FALSE(got.empty());
  } while (got != last);
  EXPECT_GT(Counter(*client, "staged_overflow_dropped"), 0u);
  EXPECT_EQ(Counter(*client, "control_dropped"), 0u);
  EXPECT_EQ(Counter(*client, "sends_busy"), 0u);
}

TEST_F(WireguardWire, GivenAPeerWithAGreaterMtuWhenNoneIsSaidHereThenItsPacketsAreTaken) {
  for (const char* offload : {"1", "0"}) {
    WireguardOptions options;
    options.offload = *offload == '1';
    server = Open(1, PeerText(2), "", options);
    client = Open(2, PeerText(1, EndpointLine(PortOf(*server))), "MTU = 1420\n", options);
    Connect();
    const Bytes longer = PacketOf(2, 1, 1420, 7);
    ASSERT_EQ(SendBytes(client.get(), longer), SendResult::kSent);
    client->Flush();
    EXPECT_EQ(Take(server.get()), longer) << "offload=" << offload;
  }
}

TEST_F(WireguardWire, GivenAnMtuThatIsSaidWhenAPeersPacketsAreLongerThenTheyAreDropped) {
  server = Open(1, PeerText(2), "MTU = 1400\n");
  client = Open(2, PeerText(1, EndpointLine(PortOf(*server))));
  Connect();
  ASSERT_EQ(SendBytes(client.get(), PacketOf(2, 1, 1401, 7)), SendResult::kSent);
  const Bytes marker = PacketOf(2, 1, 1400, 8);
  ASSERT_EQ(SendBytes(client.get(), marker), SendResult::kSent);
  client->Flush();
  EXPECT_EQ(Take(server.get()), marker);
  EXPECT_EQ(Counter(*server, "oversize_dropped"), 1u);
}

TEST_F(WireguardWire, GivenHeaderAndPayloadPiecesWhenSentThenTheyAreOneFrame) {
  Connect();
  const Bytes whole = PacketOf(2, 1, 1372, 5);
  const Bytes header(whole.begin(), whole.begin() + 72);
  Bytes one(whole.begin() + 72, whole.begin() + 372), two(whole.begin() + 372, whole.end());
  const iovec pieces[] = {{one.data(), one.size()}, {nullptr, 0}, {two.data(), two.size()}};
  uint64_t lease = 1;
  ASSERT_EQ(client->Send({header, pieces, true}, &lease), SendResult::kSent);
  EXPECT_FALSE(client->LeasePending(lease)) << "sealing is a copy";
  client->Flush();
  EXPECT_EQ(Take(server.get()), whole);
}

TEST_F(WireguardWire, GivenFramesThatMayNotGoWhenSentThenTheyDoNot) {
  Connect();
  EXPECT_EQ(SendBytes(client.get(), PacketOf(2, 9, 60, 1)), SendResult::kNoRoute);
  EXPECT_EQ(Counter(*client, "sends_no_route"), 1u);
  EXPECT_EQ(SendBytes(client.get(), PacketOf(2, 1, kWireguardMtu + 1, 1)), SendResult::kNoRoute);
  EXPECT_EQ(Counter(*client, "sends_refused"), 1u);
  // A source that the peer does not allow goes out, and is dropped there.
  ASSERT_EQ(SendBytes(client.get(), PacketOf(3, 1, 60, 1)), SendResult::kSent);
  const Bytes marker = PacketOf(2, 1, 60, 2);
  ASSERT_EQ(SendBytes(client.get(), marker), SendResult::kSent);
  client->Flush();
  EXPECT_EQ(Take(server.get()), marker);
  EXPECT_EQ(Counter(*server, "refused_source_dropped"), 1u);
}

/// A TCP packet with `text` bytes of text, checksum left out.
Bytes TcpPacket(uint8_t from, uint8_t to, size_t text) {
  Bytes bytes = PacketOf(from, to, 60 + text, text);
  StoreBe16(&bytes[4], static_cast<uint16_t>(20 + text));
  bytes[6] = 6;
  std::memset(&bytes[40], 0, 20);
  StoreBe32(&bytes[44], 1000);
  bytes[52] = 5 << 4;
  bytes[53] = 0x18;  // PSH, ACK
  return bytes;
}

TEST_F(WireguardWire, GivenAFrameOfManySegmentsWhenSentThenItIsCutSealedAndPutTogetherAgain) {
  Connect();
  constexpr size_t kSegment = kWireguardMtu - 60;
  const Bytes packet = TcpPacket(2, 1, 20 * kSegment + 100);
  const Bytes header(packet.begin(), packet.begin() + 60);
  Bytes text(packet.begin() + 60, packet.end());
  const iovec piece = {text.data(), text.size()};
  OutFrame frame{.header = header, .payload = {&piece, 1}};
  frame.segment_size = kSegment;
  uint64_t lease = 0;
  ASSERT_EQ(client->Send(frame, &lease), SendResult::kSent);
  client->Flush();
  EXPECT_EQ(Counter(*client, "datagrams_sent"), 1u + 1u + 21u) << "handshake, a packet, text";
  Bytes received;
  uint32_t frames = 0;
  while (received.size() < text.size()) {
    const Bytes one = Take(server.get());
    ASSERT_GT(one.size(), 60u);
    ++frames;
    EXPECT_EQ(LoadBe32(&one[44]), 1000 + received.size());
    received.insert(received.end(), one.begin() + 60, one.end());
  }
  EXPECT_EQ(received, text);
  EXPECT_EQ(Counter(*server, "packets_opened"), 22u);
  EXPECT_LE(frames, 21u);
}

TEST_F(WireguardWire, GivenLongFramesInHandWhenOneIsTakenThenItsSenderMayHearOfItBeforeTheNext) {
  Connect();
  constexpr size_t kSegment = kWireguardMtu - 60;
  for (int i = 0; i < 2; ++i) {
    const Bytes packet = TcpPacket(2, 1, 20 * kSegment + 100);
    const iovec piece = {const_cast<uint8_t*>(packet.data()) + 60, packet.size() - 60};
    OutFrame frame{.header = std::span(packet).first(60), .payload = {&piece, 1}};
    frame.segment_size = kSegment;
    uint64_t lease = 0;
    ASSERT_EQ(client->Send(frame, &lease), SendResult::kSent);
  }
  client->Flush();
  InFrame frame;
  ASSERT_TRUE(ReceiveWithin(server.get(), &frame));
  ASSERT_GT(frame.length, 16384u);
  const uint64_t opened = Counter(*server, "packets_opened");
  InFrame next;
  EXPECT_FALSE(server->Receive(&next)) << "the core has its turn";
  EXPECT_EQ(Counter(*server, "packets_opened"), opened) << "and nothing is opened before";
  EXPECT_TRUE(server->Receive(&next));
  server->Release(frame);
  server->Release(next);
}

TEST_F(WireguardWire, GivenManyBorrowedFramesWhenMoreArriveThenAllStayIntactUntilReleased) {
  Connect();
  std::vector<InFrame> held(256);
  for (uint64_t i = 0; i < held.size(); ++i) {
    ASSERT_EQ(SendBytes(client.get(), PacketOf(2, 1, 500, i)), SendResult::kSent);
    client->Flush();
    ASSERT_TRUE(ReceiveWithin(server.get(), &held[i]));
  }
  for (uint64_t i = 0; i < held.size(); ++i) {
    EXPECT_EQ(Content(held[i]), PacketOf(2, 1, 500, i));
    server->Release(held[i]);
    server->Release(held[i]);  // a second time does no harm
  }
  const Bytes marker = PacketOf(2, 1, 60, 2);
  ASSERT_EQ(SendBytes(client.get(), marker), SendResult::kSent);
  client->Flush();
  EXPECT_EQ(Take(server.get()), marker);
}

TEST_F(WireguardWire, GivenAClientThatMovesWhenItSendsThenAnswersFollowAndItIsSaid) {
  Connect();
  std::vector<abi::Trouble> troubles;
  server->ReportTo([&](const abi::Trouble& trouble) { troubles.push_back(trouble); });
  const uint16_t before = PortOf(*client);
  client = Open(2, PeerText(1, EndpointLine(PortOf(*server))));  // another socket
  ASSERT_NE(PortOf(*client), before);
  ::usleep(25'000);  // handshakes of one peer closer than 20 ms are dropped
  Connect();
  const Bytes back = PacketOf(1, 2, 60, 4);
  ASSERT_EQ(SendBytes(server.get(), back), SendResult::kSent);
  server->Flush();
  EXPECT_EQ(Take(client.get()), back);
  EXPECT_EQ(Counter(*server, "endpoints_moved"), 1u);
  ASSERT_EQ(troubles.size(), 1u);
  EXPECT_THAT(troubles[0].what, AllOf(HasSubstr(kKeys[2].public_key),
                                      HasSubstr("is now at 127.0.0.1:"), HasSubstr("roams")));
}

TEST_F(WireguardWire, GivenAClosedPortWhenAHandshakeIsSentThenItIsSaidAtOnce) {
  const uint16_t port = PortOf(*server);
  server.reset();
  std::vector<abi::Trouble> troubles;
  client->ReportTo([&](const abi::Trouble& trouble) { troubles.push_back(trouble); });
  ASSERT_EQ(SendBytes(client.get(), PacketOf(2, 1, 60, 1)), SendResult::kSent);
  const uint64_t deadline = MonotonicNs() + 4'000'000'000;  // less than a handshake's time
  InFrame frame;
  while (troubles.empty() && MonotonicNs() < deadline) {
    client->PrepareSleep();
    client->Sleep(deadline);
    ASSERT_FALSE(client->Receive(&frame));
  }
  ASSERT_EQ(troubles.size(), 1u);
  EXPECT_THAT(troubles[0].what, HasSubstr("127.0.0.1:" + std::to_string(port) +
                                          " answers by an error: nobody listens"));
}

TEST_F(WireguardWire, GivenAPeerThatHasEndedWhenItIsSentToThenItsClosedPortIsCountedAndNotSaid) {
  Connect();
  std::vector<abi::Trouble> troubles;
  server->ReportTo([&](const abi::Trouble& trouble) { troubles.push_back(trouble); });
  client.reset();
  ASSERT_EQ(SendBytes(server.get(), PacketOf(1, 2, 60, 1)), SendResult::kSent);
  server->Flush();
  const uint64_t deadline = MonotonicNs() + 20'000'000'000;
  InFrame frame;
  while (Counter(*server, "path_errors") == 0 && MonotonicNs() < deadline) {
    ASSERT_FALSE(server->Receive(&frame));
  }
  EXPECT_EQ(Counter(*server, "path_errors"), 1u);
  EXPECT_TRUE(troubles.empty());
}

TEST_F(WireguardWire, GivenASessionWhenStatisticsAreReadThenNoSecretIsInThem) {
  Connect();
  for (const Wire* wire : {server.get(), client.get()}) {
    EXPECT_THAT(wire->StatisticsJson(), HasSubstr(kKeys[1].public_key));
    for (const int key : {1, 2}) {
      EXPECT_THAT(wire->StatisticsJson(), Not(HasSubstr(kKeys[key].private_key)));
    }
    EXPECT_EQ(Counter(*wire, "secrets_undumped"), 1u);
  }
}

TEST_F(WireguardWire, GivenAKeyLogWhenAHandshakeIsMadeThenItIsWiresharksAndNobodyElsesToRead) {
  WireguardOptions options;
  options.key_log = files.Path("keys");
  client.reset();
  client = Open(2, PeerText(1, EndpointLine(PortOf(*server))), "", options);
  Connect();
  const std::string log = files.Read("keys");
  EXPECT_THAT(log, HasSubstr("LOCAL_STATIC_PRIVATE_KEY = " + std::string(kKeys[2].private_key)));
  EXPECT_THAT(log, HasSubstr("REMOTE_STATIC_PUBLIC_KEY = " + std::string(kKeys[1].public_key)));
  EXPECT_THAT(log, HasSubstr("\nLOCAL_EPHEMERAL_PRIVATE_KEY = "));
  struct stat about = {};
  ASSERT_EQ(::stat(files.Path("keys").c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777u, 0600u);
}

TEST_F(WireguardWire, GivenAKeyLogThatOthersMayReadWhenOpenedThenNoKeyIsWrittenToIt) {
  WireguardOptions options;
  options.key_log = files.Write("keys", "", 0644);
  const auto refusal = [&]() -> std::string {
    try {
      Open(2, PeerText(1), "", options);
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(refusal(), HasSubstr("for nobody else to read"));
  EXPECT_EQ(files.Read("keys"), "");
  ASSERT_EQ(::symlink("keys", files.Path("link").c_str()), 0);
  options.key_log = files.Path("link");
  EXPECT_THAT(refusal(), HasSubstr("cannot write"));
  EXPECT_EQ(files.Read("keys"), "");
}

TEST_F(WireguardWire, GivenAPersistentKeepaliveWhenOpenedThenTheServerKnowsTheClientUnasked) {
  client.reset();
  client = Open(2, PeerText(1, EndpointLine(PortOf(*server)) + "PersistentKeepalive = 25\n"));
  InFrame frame;
  const uint64_t deadline = MonotonicNs() + 20'000'000'000;
  while (SendBytes(server.get(), PacketOf(1, 2, 60, 1)) != SendResult::kSent) {
    ASSERT_LT(MonotonicNs(), deadline);
    ASSERT_FALSE(server->Receive(&frame));
    ASSERT_FALSE(client->Receive(&frame));
  }
  EXPECT_EQ(TakeAt(client.get(), server.get()), PacketOf(1, 2, 60, 1));
}

TEST_F(WireguardWire, GivenAPortInUseWhenOpenedThenTheRefusalSaysSo) {
  WireguardOptions options;
  options.port = PortOf(*server);
  try {
    Open(3, PeerText(1), "", options);
    FAIL() << "opened";
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("wg wire: cannot bind 127.0.0.1:"),
                                    HasSubstr("another process has that port")));
  }
}

// --- Its parts

TEST(SecretMemory, GivenAllocatedPagesWhenLookedAtThenNoCoreDumpHasThemAndAChildFindsZeroes) {
  SecretMemory memory;
  auto* bytes = static_cast<uint8_t*>(memory.allocate(10'000, 16));
  std::memset(bytes, 0x5a, 10'000);
  // VmFlags of the mapping: "dd", do not include in core dumps (proc(5)).
  std::ifstream maps("/proc/self/smaps");
  std::string line;
  bool ours = false, left_out = false;
  while (std::getline(maps, line)) {
    unsigned long from = 0, to = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2) {
      const auto at = reinterpret_cast<uintptr_t>(bytes);
      ours = at >= from && at < to;
    }
    if (ours && line.starts_with("VmFlags:")) left_out = line.find(" dd") != std::string::npos;
  }
  EXPECT_TRUE(left_out);
  EXPECT_TRUE(memory.undumped());
  const pid_t child = ::fork();
  if (child == 0) ::_exit(bytes[0] == 0 && bytes[9'999] == 0 ? 0 : 1);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(bytes[0], 0x5a);
  memory.deallocate(bytes, 10'000, 16);
}

TEST(NameLookup, GivenANameWhenAskedThenItsAddressComesOnceAndWhatIsNotFoundDoesNot) {
  NameLookup lookup;
  EXPECT_FALSE(lookup.Answer().has_value());
  lookup.Ask(3, "127.0.0.1", 77, AF_INET);
  lookup.Ask(4, "127.0.0.2", 78, AF_INET);  // one at a time
  std::optional<std::pair<uint32_t, SocketAddress>> answer;
  const uint64_t deadline = MonotonicNs() + 20'000'000'000;
  while (!(answer = lookup.Answer()).has_value() && MonotonicNs() < deadline) {
    std::this_thread::yield();
  }
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->first, 3u);
  EXPECT_EQ(answer->second.port(), 77);
  EXPECT_FALSE(lookup.Answer().has_value());
}

TEST(WireguardWords, GivenEventsWhenPutIntoWordsThenEachSaysWhatToCheckAndNotTooOften) {
  using Kind = wireguard::Event::Kind;
  WireguardWords words({"KEY0", "KEY1"});
  constexpr uint64_t kSecond = 1'000'000'000;
  const auto of = [&](Kind kind, std::optional<wireguard::PeerId> peer, uint64_t now) {
    const auto trouble = words.Of({.kind = kind, .peer = peer}, "192.0.2.1:7", now);
    return trouble.has_value() ? trouble->what : std::string("(nothing)");
  };
  EXPECT_THAT(of(Kind::kNoAnswer, 1, kSecond),
              AllOf(HasSubstr("peer KEY1 at 192.0.2.1:7 does not answer handshakes"),
                    HasSubstr("public key"), HasSubstr("clock")));
  EXPECT_EQ(of(Kind::kNoAnswer, 1, 60 * kSecond), "(nothing)");
  EXPECT_THAT(of(Kind::kNoAnswer, 0, 60 * kSecond), HasSubstr("KEY0"));
  EXPECT_THAT(of(Kind::kNoAnswer, 1, 61 * kSecond), HasSubstr("KEY1"));
  EXPECT_THAT(of(Kind::kForgedResponse, 0, 1), HasSubstr("check PresharedKey"));
  EXPECT_THAT(of(Kind::kUnknownPeer, {}, 1), HasSubstr("which no peer here has"));
  EXPECT_THAT(of(Kind::kForeignHandshake, {}, 1), HasSubstr("another public key than this host's"));
  EXPECT_THAT(of(Kind::kOldTimestamp, 0, 1), HasSubstr("its clock has been set back"));
  EXPECT_THAT(of(Kind::kOwnClockWentBack, 0, 1), HasSubstr("this host's clock has been set back"));
  EXPECT_EQ(of(Kind::kSessionBegun, 0, 1), "(nothing)");
  EXPECT_EQ(of(Kind::kGivenUp, 0, 1), "(nothing)");
}

}  // namespace
}  // namespace qpip::wire::test

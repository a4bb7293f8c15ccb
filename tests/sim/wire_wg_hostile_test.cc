// The wg: wire between two ports whose datagrams pass through somebody who means harm: replays,
// forgeries, truncations, wrong indices, handshakes of before, in between and in the same trains.
// QPIP_HOSTILE_DATAGRAMS: how many; by default as many as a test has time for.
#include <arpa/inet.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <array>
#include <cstdlib>
#include <cstring>

#include "protocols/common/byte_order.h"
#include "protocols/wireguard/message.h"
#include "sim/wire/descriptor.h"
#include "wire_test_support.h"
#include "wire_wg_test_support.h"

namespace qpip::wire::test {
namespace {

constexpr uint64_t kSomeHostile = 12'000;
constexpr size_t kRemembered = 64;      ///< datagrams of each kind and direction
constexpr size_t kLongest = 2048;       ///< bytes of any that a port sends
constexpr size_t kInATrain = 16;        ///< datagrams, one of them genuine
constexpr size_t kHeapSlack = 1 << 16;  ///< bytes; of what the C library keeps for itself

uint64_t HostileDatagrams() {
  const char* text = std::getenv("QPIP_HOSTILE_DATAGRAMS");
  return text == nullptr ? kSomeHostile : std::stoull(text);
}

Bytes PacketTo(uint8_t to, size_t length, uint64_t seed) {
  Bytes bytes = MakeFrame(Address(to), length, seed);
  std::memcpy(&bytes[8], Address(static_cast<uint8_t>(3 - to)).bytes, 16);
  StoreBe16(&bytes[4], static_cast<uint16_t>(length - 40));
  bytes[6] = 59;  // nothing follows
  return bytes;
}

/// What a port has dropped, for whatever reason.
uint64_t Dropped(const Wire& wire) {
  constexpr char kEnd[] = "_dropped\": ";
  const std::string json = wire.StatisticsJson();
  uint64_t sum = 0;
  for (size_t at = json.find(kEnd); at != std::string::npos; at = json.find(kEnd, at)) {
    at += sizeof kEnd - 1;
    sum += std::stoull(json.substr(at));
  }
  return sum;
}

/// A UDP socket on loopback.
class Socket {
 public:
  Socket() : descriptor_(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)) {
    sockaddr_in own = Loopback(0);
    EXPECT_EQ(::bind(descriptor_.get(), reinterpret_cast<sockaddr*>(&own), sizeof own), 0);
    socklen_t length = sizeof own;
    ::getsockname(descriptor_.get(), reinterpret_cast<sockaddr*>(&own), &length);
    port_ = ntohs(own.sin_port);
  }
  uint16_t port() const { return port_; }
  void Send(uint16_t to, const Bytes& bytes) const { SendTrain(to, bytes, bytes.size()); }
  /// As one message that is cut into datagrams of `each` bytes.
  void SendTrain(uint16_t to, const Bytes& bytes, size_t each) const {
    const int size = each < bytes.size() ? static_cast<int>(each) : 0;
    ASSERT_EQ(::setsockopt(descriptor_.get(), IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size), 0);
    const sockaddr_in address = Loopback(to);
    ASSERT_EQ(::sendto(descriptor_.get(), bytes.data(), bytes.size(), 0,
                       reinterpret_cast<const sockaddr*>(&address), sizeof address),
              static_cast<ssize_t>(bytes.size()));
  }
  /// False: nothing is there.
  bool Take(Bytes* bytes, uint16_t* from) const {
    bytes->resize(kLongest);
    sockaddr_in address = {};
    socklen_t length = sizeof address;
    const ssize_t got = ::recvfrom(descriptor_.get(), bytes->data(), bytes->size(), 0,
                                   reinterpret_cast<sockaddr*>(&address), &length);
    if (got < 0) return false;
    bytes->resize(static_cast<size_t>(got));
    *from = ntohs(address.sin_port);
    return true;
  }

 private:
  static sockaddr_in Loopback(uint16_t port) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
  }
  Descriptor descriptor_;
  uint16_t port_ = 0;
};

/// Of one port: what has been sent to it, and what is done to it.
struct Victim {
  Wire* wire = nullptr;
  uint16_t port = 0;
  uint8_t address = 0;
  std::vector<Bytes> data = {}, handshakes = {};  ///< that have reached it, the latest kRemembered
  uint64_t hostile = 0;                           ///< datagrams sent to it that mean harm
};

void Remember(std::vector<Bytes>* all, const Bytes& bytes, uint64_t random) {
  if (all->size() < kRemembered) {
    all->push_back(bytes);
    all->back().reserve(kLongest);  // from now on what the test keeps is of one size
  } else {
    (*all)[random % kRemembered] = bytes;
  }
}

class HostileWire : public ::testing::Test {
 protected:
  void SetUp() override {
    server_ = Open(1, PeerText(2));
    client_ = Open(2, PeerText(1, EndpointLine(middle_.port())));
    at_server_ = {.wire = server_.get(), .port = Port(*server_), .address = 1};
    at_client_ = {.wire = client_.get(), .port = Port(*client_), .address = 2};
    // A session, begun by the client, and more packets each way than are remembered.
    for (uint64_t seed = 0; seed < 4 * kRemembered; ++seed) {
      Pass(seed % 2 == 0 ? at_client_ : at_server_, seed % 2 == 0 ? at_server_ : at_client_, seed);
    }
    ASSERT_FALSE(at_server_.handshakes.empty());
    ASSERT_FALSE(at_client_.handshakes.empty());
    ASSERT_EQ(Dropped(*server_), 0u);
    ASSERT_EQ(Dropped(*client_), 0u);
  }
  static uint16_t Port(const Wire& wire) { return static_cast<uint16_t>(Counter(wire, "port")); }
  std::unique_ptr<Wire> Open(int self, const std::string& peers) {
    WireguardOptions options;
    options.host = "127.0.0.1";
    options.config = files_.Write(std::to_string(self) + ".conf", InterfaceText(self) + peers);
    return OpenWireguardWire(options);
  }

  /// The next data message that is on its way to `to`; handshakes and keepalives go on at once.
  Bytes NextData(const Victim& to) {
    const uint64_t deadline = MonotonicNs() + 20'000'000'000;
    while (MonotonicNs() < deadline) {
      Bytes bytes;
      uint16_t from = 0;
      if (!middle_.Take(&bytes, &from)) {
        InFrame frame;
        for (const Victim* victim : {&at_server_, &at_client_}) {
          EXPECT_FALSE(victim->wire->Receive(&frame))
              << "nothing that may be delivered is on its way";
        }
        continue;
      }
      Victim& aim = from == at_client_.port ? at_server_ : at_client_;
      if (from != at_client_.port && from != at_server_.port) continue;
      // A cookie: answers a handshake of ours.
      if (bytes[0] == static_cast<uint8_t>(wireguard::MessageType::kCookieReply)) continue;
      const bool is_data = bytes[0] == static_cast<uint8_t>(wireguard::MessageType::kData);
      if (is_data && &aim == &to && bytes.size() > wireguard::kDataOverheadBytes) return bytes;
      Remember(is_data ? &aim.data : &aim.handshakes, bytes, random_());
      middle_.Send(aim.port, bytes);
    }
    ADD_FAILURE() << "no data message came";
    return {};
  }
  /// Takes the one frame that is to arrive, and whatever else is there to be dropped.
  void Expect(const Victim& at, const Bytes& packet) {
    const uint64_t deadline = MonotonicNs() + 20'000'000'000;
    InFrame frame;
    size_t frames = 0;
    while ((frames == 0 || Dropped(*at.wire) < at.hostile) && MonotonicNs() < deadline) {
      if (!at.wire->Receive(&frame)) continue;
      ++frames;
      ASSERT_EQ(Content(frame), packet);
      at.wire->Release(frame);
    }
    ASSERT_EQ(frames, 1u);
    ASSERT_EQ(Dropped(*at.wire), at.hostile) << at.wire->StatisticsJson();
  }
  void Pass(const Victim& from, Victim& to, uint64_t seed) {
    const Bytes packet = PacketTo(to.address, 40 + random_() % 1368, seed);
    ASSERT_EQ(SendBytes(from.wire, packet), SendResult::kSent);
    from.wire->Flush();
    const Bytes datagram = NextData(to);
    Remember(&to.data, datagram, random_());
    middle_.Send(to.port, datagram);
    Expect(to, packet);
  }

  /// A datagram that is none of the peer's, and that nothing may come of.
  Bytes MakeHostile(const Victim& to) {
    const auto one_of = [&](const std::vector<Bytes>& all) { return all[random_() % all.size()]; };
    Bytes bytes = one_of(random_() % 8 == 0 ? to.handshakes : to.data);
    switch (random_() % 6) {
      case 0:
      case 1:  // again
        break;
      case 2:  // a bit of anything
        bytes[random_() % bytes.size()] ^= static_cast<uint8_t>(1u << random_() % 8);
        break;
      case 3:  // cut off, to nothing at the least
        bytes.resize(random_() % bytes.size());
        break;
      case 4:  // another session's, or nobody's
        StoreLe32(&bytes[4], static_cast<uint32_t>(random_()));
        break;
      default:  // more than there was
        bytes.resize(bytes.size() + 1 + random_() % 1000, 0x5a);
    }
    return bytes;
  }
  void Harm(Victim& to) {
    const Socket& from = random_() % 2 == 0 ? middle_ : stranger_;
    from.Send(to.port, MakeHostile(to));
    ++to.hostile;
  }
  /// In one train with `genuine`: the same again and changed, before it and behind it.
  void SendAmongHostile(Victim& to, const Bytes& genuine) {
    const size_t place = random_() % kInATrain;
    Bytes train;
    for (size_t i = 0; i < kInATrain; ++i) {
      Bytes one = genuine;
      if (i < place) one[8 + random_() % (one.size() - 8)] ^= 0x20;
      if (i > place && random_() % 2 == 0) StoreLe64(&one[8], random_());
      train.insert(train.end(), one.begin(), one.end());
    }
    to.hostile += kInATrain - 1;
    middle_.SendTrain(to.port, train, genuine.size());
  }
  /// A packet each way with harm done before, among and behind.
  void PassAmongHostile(const Victim& from, Victim& to, uint64_t seed) {
    const Bytes packet = PacketTo(to.address, 40 + random_() % 1368, seed);
    ASSERT_EQ(SendBytes(from.wire, packet), SendResult::kSent);
    from.wire->Flush();
    for (int i = 0; i < 24; ++i) Harm(to);
    const Bytes datagram = NextData(to);
    if (seed % 2 == 0) {
      SendAmongHostile(to, datagram);
    } else {
      middle_.Send(to.port, datagram);
    }
    Remember(&to.data, datagram, random_());
    for (int i = 0; i < 24; ++i) Harm(to);
    Expect(to, packet);
  }

  Files files_;
  std::mt19937_64 random_{20261130};
  Socket middle_, stranger_;
  std::unique_ptr<Wire> server_, client_;
  Victim at_server_, at_client_;
};

TEST_F(HostileWire, GivenDatagramsThatMeanHarmWhenTheyComeThenAllAreCountedAndNothingElseHappens) {
  const uint64_t count = HostileDatagrams();
  const auto done = [&] { return at_server_.hostile + at_client_.hostile; };
  uint64_t seed = 1000;
  const auto attack_until = [&](uint64_t hostile) {
    while (done() < hostile && !HasFatalFailure()) {
      PassAmongHostile(at_client_, at_server_, ++seed);
      if (HasFatalFailure()) return;
      PassAmongHostile(at_server_, at_client_, ++seed);
    }
  };
  attack_until(count / 10);
  ASSERT_FALSE(HasFatalFailure());
  const size_t heap = ::mallinfo2().uordblks;
  attack_until(count);
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_LE(::mallinfo2().uordblks, heap + kHeapSlack) << "memory grows by what is dropped";
  EXPECT_GE(done(), count);
  for (const Victim* victim : {&at_server_, &at_client_}) {
    const Wire& wire = *victim->wire;
    EXPECT_EQ(Counter(wire, "endpoints_moved"), 0u) << "nobody moves a peer";
    EXPECT_EQ(Counter(wire, "sessions_begun"), 1u);
    for (const char* reason :
         {"replayed_packet", "forged_packet", "unknown_session", "too_short"}) {
      EXPECT_GT(Counter(wire, std::string(reason) + "_dropped"), 0u) << reason;
    }
  }
  EXPECT_GT(
      Counter(*server_, "replayed_initiation_dropped") + Counter(*server_, "no_cookie_dropped"),
      0u);
  EXPECT_GT(Counter(*client_, "unexpected_response_dropped"), 0u);
}

}  // namespace
}  // namespace qpip::wire::test

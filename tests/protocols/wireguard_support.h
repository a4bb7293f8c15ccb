// Fixtures of the WireGuard tests: machines whose clock, randomness and datagrams are in the test's
// hands.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/wireguard/machine.h"

namespace qpip::wireguard::testing {

inline constexpr uint64_t kMs = 1'000'000;
inline constexpr uint64_t kStartNs = 1000 * kSecondNs;  ///< clocks do not start at zero
inline constexpr uint64_t kUnixNs = 1'700'000'000 * kSecondNs;

using Buffer = std::vector<uint8_t>;

inline Buffer FromHex(std::string_view hex) {
  Buffer bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoul(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

inline Secret SecretOf(uint8_t seed) {
  Secret secret;
  for (size_t i = 0; i < kKeyBytes; ++i) secret.bytes()[i] = static_cast<uint8_t>(seed + 7 * i);
  return secret;
}

/// 10.0.0.host, port.
inline Endpoint At(uint8_t host, uint16_t port = 51820) {
  Endpoint endpoint{.family = Endpoint::Family::kIpv4, .port = port};
  endpoint.address = {10, 0, 0, host};
  return endpoint;
}

/// fd00::last
inline std::array<uint8_t, 16> Inner(uint8_t last) {
  std::array<uint8_t, 16> address = {0xfd};
  address[15] = last;
  return address;
}

/// An IPv6 packet with `payload` bytes from fd00::source to fd00::destination.
inline Buffer Packet(uint8_t source, uint8_t destination, size_t payload = 100) {
  Buffer packet(40 + payload);
  packet[0] = 0x60;
  packet[4] = static_cast<uint8_t>(payload >> 8);
  packet[5] = static_cast<uint8_t>(payload);
  packet[6] = 17;
  packet[7] = 64;
  std::memcpy(&packet[8], Inner(source).data(), 16);
  std::memcpy(&packet[24], Inner(destination).data(), 16);
  for (size_t i = 40; i < packet.size(); ++i) packet[i] = static_cast<uint8_t>(i * 31);
  return packet;
}

struct Datagram {
  Endpoint from, to;
  Buffer bytes;
  MessageType type() const { return static_cast<MessageType>(bytes[0]); }
};

class World;

/// A machine at an endpoint, and what it has done.
struct Host {
  Host(World& world, MachineConfig config, Endpoint where, uint32_t seed);

  /// Seals and sends, or stages.
  bool Send(const Buffer& packet, PeerId peer = 0);

  World& world;
  Endpoint endpoint;
  std::mt19937 generator;
  std::vector<Event> events;
  std::vector<std::string> logged_ephemerals;
  std::vector<Buffer> received;  ///< packets
  std::unique_ptr<Machine> machine;

  const Counters& counters() const { return machine->counters(); }
  uint64_t Count(Event::Kind kind) const {
    uint64_t count = 0;
    for (const Event& event : events) count += event.kind == kind ? 1 : 0;
    return count;
  }
};

/// Hosts, the datagrams between them, a clock.
class World {
 public:
  Time now() const { return {.monotonic_ns = now_ns, .unix_ns = unix_ns}; }

  /// Delivers what is on its way, and what that leads to.
  void Deliver() {
    while (!wire.empty()) {
      const Datagram datagram = std::move(wire.front());
      wire.pop_front();
      Give(datagram);
    }
  }
  void Give(const Datagram& datagram) {
    for (Host* host : hosts) {
      if (!(host->endpoint == datagram.to)) continue;
      Buffer out(datagram.bytes.size() < kDataOverheadBytes
                     ? 0
                     : datagram.bytes.size() - kDataOverheadBytes);
      const Received got = host->machine->Receive(datagram.bytes, datagram.from, out, now());
      if (!got.packet.empty()) host->received.emplace_back(got.packet.begin(), got.packet.end());
    }
  }
  /// Lets time pass with timers run and datagrams delivered when they are due; `lost`: none is.
  void Pass(uint64_t ns, bool lost = false) {
    const uint64_t end_ns = now_ns + ns;
    while (true) {
      if (lost) wire.clear();
      Deliver();
      uint64_t next_ns = end_ns;
      for (Host* host : hosts) next_ns = std::min(next_ns, host->machine->next_deadline_ns());
      next_ns = std::max(next_ns, now_ns);
      unix_ns += next_ns - now_ns;
      now_ns = next_ns;
      bool due = false;
      for (Host* host : hosts) {
        if (host->machine->next_deadline_ns() > now_ns) continue;
        host->machine->OnTimers(now());
        due = true;
      }
      if (!due && now_ns == end_ns) break;
    }
    if (lost) wire.clear();
    Deliver();
  }

  uint64_t now_ns = kStartNs;
  uint64_t unix_ns = kUnixNs;
  std::deque<Datagram> wire;
  std::vector<Host*> hosts;
};

inline Host::Host(World& of, MachineConfig config, Endpoint where, uint32_t seed)
    : world(of), endpoint(where), generator(seed) {
  MachinePorts ports;
  ports.transmit = [this](const Endpoint& to, Bytes bytes) {
    world.wire.push_back({.from = endpoint, .to = to, .bytes = {bytes.begin(), bytes.end()}});
  };
  ports.random = [this](std::span<uint8_t> out) {
    for (uint8_t& byte : out) byte = static_cast<uint8_t>(generator());
  };
  ports.event = [this](const Event& event) { events.push_back(event); };
  ports.key_log = [this](const KeyLogEntry& entry) {
    const auto bytes = entry.local_ephemeral_private.bytes();
    logged_ephemerals.emplace_back(bytes.begin(), bytes.end());
  };
  machine = std::make_unique<Machine>(std::move(config), std::move(ports));
  world.hosts.push_back(this);
}

inline bool Host::Send(const Buffer& packet, PeerId peer) {
  Buffer buffer(machine->SealedBytes(packet.size()));
  std::memcpy(buffer.data() + kDataHeaderBytes, packet.data(), packet.size());
  const size_t bytes = machine->Seal(peer, buffer, packet.size(), world.now());
  if (bytes == 0) return machine->Stage(peer, packet, world.now());
  buffer.resize(bytes);
  world.wire.push_back(
      {.from = endpoint, .to = machine->EndpointOf(peer), .bytes = std::move(buffer)});
  return true;
}

inline PublicKey PublicOf(uint8_t seed) { return Primitives().PublicKeyOf(SecretOf(seed)); }

/// The peer with the key `seed` and the inner address fd00::seed.
inline PeerConfig PeerOf(uint8_t seed, Endpoint endpoint = {}) {
  PeerConfig peer;
  peer.public_key = PublicOf(seed);
  peer.endpoint = endpoint;
  peer.allowed = {{.address = Inner(seed)}};
  return peer;
}

inline MachineConfig ConfigOf(uint8_t seed, std::vector<PeerConfig> peers, Timing timing = {}) {
  MachineConfig config;
  config.private_key = SecretOf(seed);
  config.peers = std::move(peers);
  config.timing = timing;
  return config;
}

/// Two hosts, fd00::1 and fd00::2, that know each other; only the first knows where the other is.
struct Pair {
  explicit Pair(Timing timing = {}) : Pair(PeerOf(2, At(2)), PeerOf(1), timing) {}
  Pair(PeerConfig second, PeerConfig first, Timing timing = {})
      : a(world, ConfigOf(1, {std::move(second)}, timing), At(1), 1),
        b(world, ConfigOf(2, {std::move(first)}, timing), At(2), 2) {}

  /// A handshake begun by the first, and a packet each way.
  void Connect() {
    a.Send(Packet(1, 2));
    world.Deliver();
    b.Send(Packet(2, 1));
    world.Deliver();
    a.received.clear();
    b.received.clear();
  }
  /// One packet each way arrives.
  bool Works() {
    const size_t at_a = a.received.size(), at_b = b.received.size();
    a.Send(Packet(1, 2));
    world.Deliver();
    b.Send(Packet(2, 1));
    world.Deliver();
    return a.received.size() == at_a + 1 && b.received.size() == at_b + 1;
  }

  World world;
  Host a, b;
};

}  // namespace qpip::wireguard::testing

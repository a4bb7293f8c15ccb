// Two WireGuard machines and somebody in between who delivers, loses, keeps, changes and makes up
// datagrams of every type (with a right mac1, so that they get further), while time passes. Only
// packets that were sent come out, each once, and the two still find together afterwards.
#include <array>
#include <cstring>
#include <deque>
#include <set>

#include "property.h"
#include "protocols/wireguard/machine.h"
#include "script.h"

namespace {

using namespace qpip::wireguard;
using Datagram = std::vector<uint8_t>;

constexpr size_t kPacketBytes = 48;

Secret KeyOf(uint8_t seed) {
  Secret secret;
  std::memset(secret.bytes().data(), seed, kKeyBytes);
  return secret;
}

std::array<uint8_t, 16> Address(uint8_t side) {
  std::array<uint8_t, 16> address = {0xfd};
  address[15] = side;
  return address;
}

/// Sides 0 and 1.
class Scene {
 public:
  Scene() {
    for (uint8_t side = 0; side < 2; ++side) {
      MachineConfig config;
      config.private_key = KeyOf(side + 1);
      PeerConfig peer;
      peer.public_key = primitives_.PublicKeyOf(KeyOf(2 - side));
      peer.endpoint = EndpointOf(1 - side);
      peer.allowed = {{.address = Address(1 - side)}};
      config.peers = {peer};
      MachinePorts ports;
      ports.transmit = [this, side](const Endpoint&, Bytes bytes) {
        Put(side, Datagram(bytes.begin(), bytes.end()));
      };
      ports.random = [this](std::span<uint8_t> out) {
        for (uint8_t& byte : out) byte = Random();
      };
      keys_[side] = peer.public_key;
      machines_[side] = std::make_unique<Machine>(std::move(config), std::move(ports));
    }
  }

  // From here on a packet of `side` is on its way, or waits.
  void Send(uint8_t side) {
    std::array<uint8_t, 2 * kPacketBytes> buffer = {};
    uint8_t* packet = &buffer[kDataHeaderBytes];
    packet[0] = 0x60;
    packet[5] = kPacketBytes - 40;
    std::memcpy(packet + 8, Address(side).data(), 16);
    std::memcpy(packet + 40, &++sent_, sizeof sent_);
    const Bytes text(packet, kPacketBytes);
    std::vector<uint8_t> kept(text.begin(), text.end());
    const size_t bytes = machines_[side]->Seal(0, buffer, kPacketBytes, now_);
    if (bytes == 0) {
      machines_[side]->Stage(0, kept, now_);
    } else {
      Put(side, Datagram(buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(bytes)));
    }
  }

  void Give(uint8_t to, const Datagram& datagram) {
    const std::vector<uint8_t> exact = qpip::fuzz::Exact(datagram);
    std::vector<uint8_t> out(exact.size() < kDataOverheadBytes ? 0
                                                               : exact.size() - kDataOverheadBytes);
    const Received got = machines_[to]->Receive(exact, EndpointOf(1 - to), out, now_);
    if (got.packet.empty()) return;
    QPIP_FUZZ_CHECK(got.packet.size() == kPacketBytes && got.packet[0] == 0x60);
    QPIP_FUZZ_CHECK(std::memcmp(&got.packet[8], Address(1 - to).data(), 16) == 0);
    uint64_t number = 0;
    std::memcpy(&number, &got.packet[40], sizeof number);
    QPIP_FUZZ_CHECK(number >= 1 && number <= sent_ && arrived_.insert(number).second);
  }

  void Step(qpip::fuzz::Script& script) {
    const uint8_t what = script.Byte();
    const uint8_t side = what & 1;
    std::deque<Datagram>& wire = wires_[side];
    switch (what >> 1 & 7) {
      case 0:
        Send(side);
        break;
      case 1:
        Advance(uint64_t{script.Byte()} * kSecondNs / 4);
        machines_[side]->OnTimers(now_);
        break;
      case 2:  // lost
        if (!wire.empty()) wire.pop_front();
        break;
      case 3: {  // changed
        if (wire.empty()) break;
        Datagram changed = wire.front();
        changed[script.Word() % changed.size()] ^= static_cast<uint8_t>(script.Byte() | 1);
        FixMac(side, &changed, script.Byte());
        Give(1 - side, changed);
        break;
      }
      case 4: {  // made up
        Datagram made = script.Bytes(script.Byte());
        FixMac(side, &made, script.Byte());
        Give(1 - side, made);
        break;
      }
      case 5:  // kept for later
        if (!wire.empty()) kept_[side] = wire.front();
        break;
      case 6:
        Give(1 - side, kept_[side]);
        break;
      default:
        Deliver(side);
        break;
    }
  }

  // Left in peace they talk, after whatever came before. Each one's timers run when they are due:
  // that two who began at the same moment do not do so again is their jitter's doing.
  void Settle() {
    Send(0);
    Send(1);
    for (int i = 0; i < 600; ++i) {
      Pass(kSecondNs / 20);
      if (i % 100 == 0) {
        Send(0);
        Send(1);
      }
    }
    const size_t before = arrived_.size();
    Send(0);
    Send(1);
    DeliverAll();
    QPIP_FUZZ_CHECK(arrived_.size() == before + 2);
  }

 private:
  uint8_t Random() {
    random_ = random_ * 6364136223846793005 + 1442695040888963407;
    return static_cast<uint8_t>(random_ >> 56);
  }
  static Endpoint EndpointOf(int side) {
    return {.family = Endpoint::Family::kIpv4,
            .address = {10, 0, 0, static_cast<uint8_t>(side)},
            .port = 1};
  }
  void Put(uint8_t side, Datagram datagram) {
    if (wires_[side].size() < 300) wires_[side].push_back(std::move(datagram));
  }
  bool Deliver(uint8_t side) {
    if (wires_[side].empty()) return false;
    const Datagram datagram = std::move(wires_[side].front());
    wires_[side].pop_front();
    Give(1 - side, datagram);
    return true;
  }
  void DeliverAll() {
    while (Deliver(0) || Deliver(1)) {
    }
  }
  void Advance(uint64_t ns) {
    now_.monotonic_ns += ns;
    now_.unix_ns += ns;
  }
  // In peace: what the timers send arrives before anything else happens.
  void Pass(uint64_t ns) {
    Advance(ns);
    for (const auto& machine : machines_) {
      machine->OnTimers(now_);
      DeliverAll();
    }
  }
  // What anybody can do who knows the public key of the one it is for.
  void FixMac(uint8_t side, Datagram* datagram, uint8_t whether) {
    MessageType type = {};
    if (whether % 2 == 0 || ParseType(*datagram, &type) != ParseError::kNone) return;
    if (type != MessageType::kInitiation && type != MessageType::kResponse) return;
    CookieJar(primitives_, keys_[side]).AddMacs(*datagram, 0, 0);
  }

  Primitives primitives_;
  Time now_{.monotonic_ns = 1000 * kSecondNs, .unix_ns = 1'700'000'000 * kSecondNs};
  uint64_t random_ = 0;
  uint64_t sent_ = 0;
  std::set<uint64_t> arrived_;
  std::array<std::deque<Datagram>, 2> wires_;  ///< from a side
  std::array<Datagram, 2> kept_;
  std::array<PublicKey, 2> keys_;  ///< of a side's peer
  std::array<std::unique_ptr<Machine>, 2> machines_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  qpip::fuzz::Script script(data, size);
  Scene scene;
  for (int steps = 0; steps < 200 && !script.done(); ++steps) scene.Step(script);
  scene.Settle();
  return 0;
}

// An attacker's end of an Ethernet link: packets made by hand with the project's own codecs, sent
// as frames through a packet socket, whatever their source says.
#pragma once

#include <linux/if_packet.h>

#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "protocols/common/ipv6_address.h"
#include "protocols/icmpv6/message.h"
#include "protocols/icmpv6/neighbour.h"
#include "protocols/ipv6/header.h"
#include "protocols/tcp/header.h"

namespace qpip::attack {

using Bytes = std::span<const uint8_t>;
using Random = std::mt19937_64;

/// Who is attacked, and through which interface.
struct Target {
  std::string interface;
  icmpv6::LinkAddress link = {};
  ipv6::Address address;
};

/// Throws std::invalid_argument.
ipv6::Address ParseIpv6(const std::string& text);
icmpv6::LinkAddress ParseLink(const std::string& text);
[[noreturn]] void Fail(const std::string& what);  ///< throws std::system_error with errno

/// What has gone to an interface and come from it since it was made, in bytes of whole frames.
struct Traffic {
  uint64_t sent = 0;
  uint64_t received = 0;
};
Traffic TrafficOf(const std::string& interface);

class Lan {
 public:
  static constexpr size_t kEthernetBytes = 14;
  static constexpr size_t kMaxFrame = 1514;

  Lan(const Target& target, const icmpv6::LinkAddress& source);
  ~Lan();
  Lan(const Lan&) = delete;
  Lan& operator=(const Lan&) = delete;

  /// Sends a packet to the target: `ip` and what stands behind it. The payload length is filled in.
  void SendPacket(ipv6::Header ip, Bytes behind);
  /// The same from `source` to the target's address, checksum filled in.
  void SendTcp(const ipv6::Address& source, const tcp::Header& header, Bytes text = {});
  void SendUdp(const ipv6::Address& source, uint16_t from, uint16_t to, Bytes text = {});
  /// `message` with its checksum field zero. To the target unless `destination` names another.
  void SendIcmp(const ipv6::Address& source, std::vector<uint8_t> message, uint8_t hop_limit = 64,
                const ipv6::Address* destination = nullptr);
  void SendFrame(Bytes frame);

  const Target& target() const { return target_; }
  const icmpv6::LinkAddress& source() const { return source_; }
  int interface_index() const { return link_.sll_ifindex; }
  uint64_t packets() const { return packets_; }  ///< sent, those that the device refused left out

 private:
  const Target target_;
  const icmpv6::LinkAddress source_;
  int fd_;
  sockaddr_ll link_ = {};
  uint64_t packets_ = 0;
  std::vector<uint8_t> frame_;
};

/// Reads the frames on an interface that a filter lets pass.
class Ear {
 public:
  enum class Hears {
    kMine,     ///< what is sent to `address`, and neighbour solicitations
    kToTarget  ///< what `address`, another host, sends
  };
  Ear(const Lan& lan, Hears what, const icmpv6::LinkAddress& address);
  ~Ear();
  Ear(const Ear&) = delete;
  Ear& operator=(const Ear&) = delete;
  /// The next frame, valid until the next call; empty when there is none for `milliseconds`.
  Bytes Next(int milliseconds);

 private:
  int fd_;
  std::vector<uint8_t> frame_;
};

/// The parts of packets that kinds of attack are made of.
std::vector<uint8_t> TcpSegment(const ipv6::Address& source, const ipv6::Address& destination,
                                const tcp::Header& header, Bytes text);
std::vector<uint8_t> IcmpMessage(const icmpv6::Header& header, Bytes behind = {});
std::vector<uint8_t> RandomBytes(Random& random, size_t count);
/// fd66::/16 is behind the clients' host for routes, and nobody's. On the link nobody has what ends
/// in dead:xxxx.
ipv6::Address Stranger(Random& random);
ipv6::Address AbsentNeighbour(const Target& target, uint32_t number);

}  // namespace qpip::attack

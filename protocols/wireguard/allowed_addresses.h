// Which inner addresses a peer may use: towards it, the peer that a packet is for (longest prefix);
// from it, whether a packet's source is the sender's (WireGuard's paper, section 2: cryptokey
// routing).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace qpip::wireguard {

/// A peer's number: its place in MachineConfig::peers.
using PeerId = uint32_t;

/// Addresses with a common beginning.
struct Prefix {
  bool ipv6 = true;
  std::array<uint8_t, 16> address = {};  ///< network byte order; IPv4: the first four
  uint8_t length = 128;                  ///< bits; up to 32 or 128
};

/// A binary trie without nodes of one child, one for each family; bits behind a prefix's length
/// do not count.
class AllowedAddresses {
 public:
  /// A prefix that is there already moves to `peer`, as with Linux's `wg set`.
  void Allow(const Prefix& prefix, PeerId peer);
  /// `address`: 4 or 16 bytes. The peer with the longest prefix.
  std::optional<PeerId> Find(std::span<const uint8_t> address) const;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Node {
    std::array<uint8_t, 16> address = {};
    uint8_t length = 0;     ///< bits of `address` that all below have in common
    uint32_t peer = kNone;  ///< kNone: only branches
    uint32_t child[2] = {kNone, kNone};
  };
  uint32_t Make(const Prefix& prefix, uint8_t length, uint32_t peer);

  std::vector<Node> nodes_;
  uint32_t roots_[2] = {kNone, kNone};  ///< IPv4, IPv6
};

}  // namespace qpip::wireguard

#include "protocols/wireguard/allowed_addresses.h"

#include <algorithm>
#include <bit>

namespace qpip::wireguard {
namespace {

uint32_t Bit(const uint8_t* address, uint32_t index) {
  return (address[index / 8] >> (7 - index % 8)) & 1u;
}

// Leading bits that two addresses have in common, at most `most`.
uint8_t Common(const uint8_t* a, const uint8_t* b, uint8_t most) {
  uint32_t bits = 0;
  while (bits < most) {
    const auto differ = static_cast<uint8_t>(a[bits / 8] ^ b[bits / 8]);
    if (differ != 0) {
      bits += static_cast<uint32_t>(std::countl_zero(differ));
      break;
    }
    bits += 8;
  }
  return static_cast<uint8_t>(std::min<uint32_t>(bits, most));
}

}  // namespace

uint32_t AllowedAddresses::Make(const Prefix& prefix, uint8_t length, uint32_t peer) {
  nodes_.push_back({.address = prefix.address, .length = length, .peer = peer});
  return static_cast<uint32_t>(nodes_.size() - 1);
}

void AllowedAddresses::Allow(const Prefix& prefix, PeerId peer) {
  const uint8_t* address = prefix.address.data();
  // The link to the node at which to go on. By index: nodes_ grows.
  uint32_t parent = kNone, side = prefix.ipv6 ? 1 : 0;
  const auto link = [&]() -> uint32_t& {
    return parent == kNone ? roots_[side] : nodes_[parent].child[side];
  };
  while (true) {
    const uint32_t at = link();
    if (at == kNone) {
      const uint32_t made = Make(prefix, prefix.length, peer);
      link() = made;
      return;
    }
    const uint8_t length = nodes_[at].length;
    const uint8_t common =
        Common(nodes_[at].address.data(), address, std::min(length, prefix.length));
    if (common == length && length == prefix.length) {
      nodes_[at].peer = peer;
      return;
    }
    if (common == length) {  // below it
      parent = at;
      side = Bit(address, length);
      continue;
    }
    // Above it: the new prefix itself, or a node where the two part.
    const bool contains = common == prefix.length;
    const uint32_t above = Make(prefix, common, contains ? peer : kNone);
    nodes_[above].child[Bit(nodes_[at].address.data(), common)] = at;
    if (!contains) {
      const uint32_t made = Make(prefix, prefix.length, peer);
      nodes_[above].child[Bit(address, common)] = made;
    }
    link() = above;
    return;
  }
}

std::optional<PeerId> AllowedAddresses::Find(std::span<const uint8_t> address) const {
  const auto bits = static_cast<uint8_t>(address.size() * 8);
  std::optional<PeerId> found;
  for (uint32_t at = roots_[address.size() == 16 ? 1 : 0]; at != kNone;) {
    const Node& node = nodes_[at];
    if (Common(node.address.data(), address.data(), node.length) < node.length) break;
    if (node.peer != kNone) found = node.peer;
    if (node.length >= bits) break;
    at = node.child[Bit(address.data(), node.length)];
  }
  return found;
}

}  // namespace qpip::wireguard

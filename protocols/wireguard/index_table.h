// The 32-bit numbers by which a host knows the sessions and handshakes of messages it receives:
// random to everybody else, a place in a table to itself.
//
//     | random bits                        | place: peer and one of kPerPeer |
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <vector>

#include "protocols/wireguard/allowed_addresses.h"

namespace qpip::wireguard {

class IndexTable {
 public:
  /// More than a handshake, three sessions and one that replaces another need.
  static constexpr uint32_t kPerPeer = 8;

  explicit IndexTable(uint32_t peers)
      : places_(std::bit_ceil(kPerPeer * (peers == 0 ? 1 : peers))) {}

  /// A new one of `peer`'s. `random`: 32 random bits. One of its kPerPeer must be free.
  uint32_t Claim(PeerId peer, uint32_t random) {
    const auto mask = static_cast<uint32_t>(places_.size() - 1);
    uint32_t place = peer * kPerPeer;
    while (places_[place].used) ++place;
    const uint32_t index = (random & ~mask) | place;
    places_[place] = {.used = true, .index = index};
    return index;
  }
  void Release(uint32_t index) {
    if (Find(index).has_value()) places_[Place(index)].used = false;
  }
  std::optional<PeerId> Find(uint32_t index) const {
    const Entry& entry = places_[Place(index)];
    if (!entry.used || entry.index != index) return std::nullopt;
    return Place(index) / kPerPeer;
  }

 private:
  struct Entry {
    bool used = false;
    uint32_t index = 0;
  };
  uint32_t Place(uint32_t index) const { return index & static_cast<uint32_t>(places_.size() - 1); }

  std::vector<Entry> places_;
};

}  // namespace qpip::wireguard

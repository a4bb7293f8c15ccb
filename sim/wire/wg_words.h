// What a `wg:` wire says of its handshakes, in words.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "host_lib/port/host_port.h"
#include "protocols/wireguard/machine.h"

namespace qpip::wire {

/// Turns a machine's events into troubles: one line each, and each kind not more often than once a
/// minute for a peer, as some are made by whoever can send datagrams.
class WireguardWords {
 public:
  /// `peer`: a text for each peer, as its public key.
  explicit WireguardWords(std::vector<std::string> peers)
      : peers_(std::move(peers)), told_(peers_.size() + 1) {}

  /// nullopt: nothing to tell now.
  std::optional<abi::Trouble> Of(const wireguard::Event& event, const std::string& where,
                                 uint64_t now_ns);

 private:
  static constexpr size_t kKinds = 9;
  const std::vector<std::string> peers_;
  /// When each kind was told last, for each peer, and for nobody in particular; 0: never.
  std::vector<std::array<uint64_t, kKinds>> told_;
};

}  // namespace qpip::wire

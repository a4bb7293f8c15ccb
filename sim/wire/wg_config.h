// Configuration files of WireGuard: wg-quick(8)'s and `wg setconf`'s, as they are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nic_fw/abi/work_queue.h"
#include "protocols/wireguard/machine.h"

namespace qpip::wire {

/// A [Peer] section.
struct WireguardPeer {
  wireguard::PeerConfig config;  ///< but for its endpoint
  std::string host;              ///< of Endpoint: name or address; empty: none
  uint16_t port = 0;
};

struct WireguardConfig {
  wireguard::Secret private_key;           ///< zero: none in the file
  std::vector<abi::Ip6Address> addresses;  ///< of Address, in their order; IPv4 is left out
  uint16_t listen_port = 0;                ///< 0: none in the file
  uint32_t mtu = 0;                        ///< bytes; 0: none in the file
  std::vector<WireguardPeer> peers;
  std::vector<std::string> ignored;  ///< settings that mean nothing here, each once
  bool readable_by_others = false;   ///< the file, which holds a secret
};

/// Reads a file. Throws std::runtime_error with one line: what, where, what to do; never a secret.
WireguardConfig ReadWireguardConfig(const std::string& path);
/// Reads a file with a private key alone, as `wg genkey` prints it. Throws likewise.
wireguard::Secret ReadWireguardKey(const std::string& path, bool* readable_by_others);

}  // namespace qpip::wire

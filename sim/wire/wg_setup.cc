#include "sim/wire/wg_setup.h"

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <utility>

namespace qpip::wire {
namespace {

[[noreturn]] void Refuse(const std::string& why) { throw std::runtime_error("wg wire: " + why); }

std::string Named(const WireguardOptions& options) {
  return options.config.empty() ? "no key=FILE is given" : options.config + " has no PrivateKey";
}

WireguardConfig ReadFiles(const WireguardOptions& options, std::vector<abi::Trouble>* remarks) {
  const auto exposed = [&](const std::string& path) {
    remarks->push_back(
        {.code = EACCES,
         .what = "wg wire: " + path + " holds a secret and others may read it: chmod 600 " + path});
  };
  const auto ignored = [&](const std::string& path, const WireguardConfig& config) {
    if (config.ignored.empty()) return;
    std::string names;
    for (const std::string& name : config.ignored) names += (names.empty() ? "" : ", ") + name;
    remarks->push_back({.code = ENOTSUP,
                        .what = "wg wire: " + path +
                                ": ignored, as they concern a kernel's "
                                "interface or are not known: " +
                                names});
  };
  WireguardConfig config;
  if (!options.config.empty()) {
    config = ReadWireguardConfig(options.config);
    if (config.readable_by_others) exposed(options.config);
    ignored(options.config, config);
  }
  if (!options.key_file.empty()) {
    bool readable = false;
    config.private_key = ReadWireguardKey(options.key_file, &readable);
    if (readable) exposed(options.key_file);
  }
  if (!options.peers_file.empty()) {
    WireguardConfig more = ReadWireguardConfig(options.peers_file);
    ignored(options.peers_file, more);
    const bool secret =
        std::any_of(more.peers.begin(), more.peers.end(),
                    [](const WireguardPeer& peer) { return !peer.config.preshared_key.IsZero(); });
    if (secret && more.readable_by_others) exposed(options.peers_file);
    for (WireguardPeer& peer : more.peers) config.peers.push_back(std::move(peer));
  }
  return config;
}

}  // namespace

WireguardSetup SetUpWireguard(const WireguardOptions& options) {
  WireguardSetup setup;
  setup.config = ReadFiles(options, &setup.remarks);
  const WireguardConfig& config = setup.config;
  if (config.private_key.IsZero()) {
    Refuse(Named(options) + "; make one: (umask 077; wg genkey > FILE)");
  }
  if (config.peers.empty()) {
    Refuse("there are no peers: give peers=FILE with a [Peer] section for each, as wg(8) has them");
  }
  setup.address = options.address;
  if (setup.address == abi::Ip6Address{} && !config.addresses.empty()) {
    setup.address = config.addresses.front();
  }
  if (setup.address == abi::Ip6Address{} || setup.address.bytes[0] == 0xff) {
    Refuse(
        "no IPv6 address: add one to Address in the file, as fd00::2/128, or to the URI, as "
        "address=fd00::2; the peer's AllowedIPs must have it");
  }
  setup.mtu = options.mtu != 0 ? options.mtu : config.mtu != 0 ? config.mtu : kWireguardMtu;
  if (setup.mtu < kMinMtu || setup.mtu > kMaxWireguardMtu) {
    Refuse("bad mtu " + std::to_string(setup.mtu) + ": " + std::to_string(kMinMtu) + " to " +
           std::to_string(kMaxWireguardMtu) + " bytes fit a datagram");
  }
  const bool said = options.mtu != 0 || config.mtu != 0;
  setup.longest = said ? setup.mtu : kMaxWireguardMtu;
  return setup;
}

}  // namespace qpip::wire

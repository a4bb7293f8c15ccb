#include "apps/common/nic_options.h"

#include <sys/random.h>

#include <cstdio>
#include <iostream>

#include "apps/common/json_output.h"

namespace qpip::apps {

namespace po = boost::program_options;

namespace {

constexpr char kDefaultNic[] = "shm:default";

/// fd00:: and 64 random bits, so that clients need not be given one. Of the kernel's generator:
/// what is particular to a process, as its id, is the same in the next container.
std::string ClientAddress() {
  uint16_t words[4] = {};
  if (getrandom(words, sizeof words, 0) != static_cast<ssize_t>(sizeof words)) {
    throw Failure(
        "no random numbers for an address: the kernel's generator: give one with --address");
  }
  char text[48];
  std::snprintf(text, sizeof text, "fd00::%x:%x:%x:%x", words[0], words[1], words[2], words[3]);
  return text;
}

/// Probes of a keep-alive, seconds apart: with nine of them a dead peer is given up in a minute and
/// a half, not in the eleven minutes of a NIC's default.
constexpr char kProbeInterval[] = "keepalive_interval_s";
constexpr char kProbeIntervalSeconds[] = "10";

std::string WithParameter(const std::string& uri, const std::string& name,
                          const std::string& value) {
  return uri + (uri.find('?') == std::string::npos ? '?' : '&') + name + "=" + value;
}

UsageError NotAPeer(const std::string& what, const std::string& text, uint16_t default_port) {
  return UsageError(what + ": '" + text +
                    "': give fd00::1 or [fd00::1]:" + std::to_string(default_port));
}

}  // namespace

bool HasParameter(const std::string& uri, const std::string& name) {
  const size_t query = uri.find('?');
  if (query == std::string::npos) return false;
  return uri.compare(query + 1, name.size() + 1, name + "=") == 0 ||
         uri.find("&" + name + "=", query) != std::string::npos;
}

void AddNicOptions(CommandLine& command_line) {
  const std::string address_help =
      std::string("IPv6 address of this NIC, short for ?address= in --nic (default: servers ") +
      kDefaultServerAddress + ", clients a random one)";
  command_line.Options().add_options()(
      "nic", po::value<std::string>()->default_value(kDefaultNic)->value_name("URI"),
      "the NIC to open: shm:FABRIC, mem:NAME, udp:HOST:PORT, wg:FILE, tun:IFNAME or tap:IFNAME, "
      "with query parameters, e.g. "
      "shm:lab?address=fd00::1&loss=0.01 or udp::0?peer=192.0.2.1:4791 or "
      "tun:qpip0?host=fd00::2/64")("address", po::value<std::string>()->value_name("IPV6"),
                                   address_help.c_str());
}

std::string NicUri(const std::string& uri, const std::string& address, NicRole role) {
  if (HasParameter(uri, "address")) {
    if (!address.empty()) {
      throw UsageError("address given twice: --nic " + uri + " and --address " + address +
                       ": leave one out");
    }
    return uri;
  }
  // WireGuard's file has the address that the peer's file allows.
  if (address.empty() && uri.starts_with("wg:")) return uri;
  if (!address.empty()) ParseAddress(address);  // its message is better than the URI's
  const std::string fallback =
      role == NicRole::kServer ? std::string(kDefaultServerAddress) : ClientAddress();
  return WithParameter(uri, "address", address.empty() ? fallback : address);
}

std::string NicUri(const CommandLine& command_line, NicRole role) {
  std::string uri = NicUri(command_line.String("nic"),
                           command_line.Has("address") ? command_line.String("address") : "", role);
  if (HasParameter(uri, kProbeInterval)) return uri;
  return WithParameter(uri, kProbeInterval, kProbeIntervalSeconds);
}

void AddStatisticsOption(CommandLine& command_line) {
  command_line.Options().add_options()(
      "statistics",
      "report the NIC's counters and, with ?occupancy=1, the firmware's cycles, as JSON");
}

void ReportStatistics(const CommandLine& command_line, Nic& nic, nlohmann::json* result) {
  if (!command_line.Flag("statistics")) return;
  nlohmann::json statistics = nlohmann::json::parse(nic.StatisticsJson());
  if (command_line.json()) {
    (*result)["nic"] = std::move(statistics);
  } else {
    std::cout << JsonText(statistics, 2) << std::endl;
  }
}

Endpoint ParsePeer(const std::string& text, uint16_t default_port) {
  std::string address = text;
  uint16_t port = default_port;
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == std::string::npos) throw NotAPeer("no closing bracket", text, default_port);
    address = text.substr(1, close - 1);
    const std::string rest = text.substr(close + 1);
    if (!rest.empty()) {
      if (rest.front() != ':') throw NotAPeer("no port behind the bracket", text, default_port);
      port = ParsePort(rest.substr(1), "port of " + text);
    }
  }
  Endpoint peer;
  try {
    peer = {ParseAddress(address), port};
  } catch (const ParseError&) {
    throw NotAPeer("not an IPv6 address", text, default_port);
  }
  // RFC 4291 2.5.2, 2.5.3 and 2.7: none of them leads to one other host.
  if (IN6_IS_ADDR_UNSPECIFIED(&peer.address) || IN6_IS_ADDR_LOOPBACK(&peer.address) ||
      IN6_IS_ADDR_MULTICAST(&peer.address)) {
    throw NotAPeer("no other host's address", text, default_port);
  }
  return peer;
}

}  // namespace qpip::apps

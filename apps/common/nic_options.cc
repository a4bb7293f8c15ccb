#include "apps/common/nic_options.h"

#include <unistd.h>

#include <cstdio>
#include <iostream>

namespace qpip::apps {

namespace po = boost::program_options;

namespace {

constexpr char kDefaultNic[] = "shm:default";

/// fd00::c:PID, so that clients need not be given one; several processes may run at a time.
std::string ClientAddress() {
  const auto pid = static_cast<uint32_t>(getpid());
  char text[48];
  std::snprintf(text, sizeof text, "fd00::c:%x:%x", pid >> 16, pid & 0xffff);
  return text;
}

bool HasAddress(const std::string& uri) {
  const size_t query = uri.find('?');
  if (query == std::string::npos) return false;
  return uri.compare(query + 1, 8, "address=") == 0 ||
         uri.find("&address=", query) != std::string::npos;
}

}  // namespace

void AddNicOptions(CommandLine& command_line) {
  const std::string address_help =
      std::string("IPv6 address of this NIC, short for ?address= in --nic (default: servers ") +
      kDefaultServerAddress + ", clients one made from their process id)";
  command_line.Options().add_options()(
      "nic", po::value<std::string>()->default_value(kDefaultNic)->value_name("URI"),
      "the NIC to open: shm:FABRIC, mem:NAME, udp:HOST:PORT, tun:IFNAME or tap:IFNAME, with query "
      "parameters, e.g. "
      "shm:lab?address=fd00::1&loss=0.01 or udp::0?peer=192.0.2.1:4791 or "
      "tun:qpip0?host=fd00::2/64")("address", po::value<std::string>()->value_name("IPV6"),
                                   address_help.c_str());
}

std::string NicUri(const std::string& uri, const std::string& address, NicRole role) {
  if (HasAddress(uri)) {
    if (!address.empty()) {
      throw UsageError("address given twice: --nic " + uri + " and --address " + address +
                       ": leave one out");
    }
    return uri;
  }
  if (!address.empty()) ParseAddress(address);  // its message is better than the URI's
  const std::string fallback =
      role == NicRole::kServer ? std::string(kDefaultServerAddress) : ClientAddress();
  const char separator = uri.find('?') == std::string::npos ? '?' : '&';
  return uri + separator + "address=" + (address.empty() ? fallback : address);
}

std::string NicUri(const CommandLine& command_line, NicRole role) {
  return NicUri(command_line.String("nic"),
                command_line.Has("address") ? command_line.String("address") : "", role);
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
    std::cout << statistics.dump(2) << std::endl;
  }
}

Endpoint ParsePeer(const std::string& text, uint16_t default_port) {
  try {
    if (text.starts_with('[')) {
      if (text.find("]:") != std::string::npos) return Endpoint::Parse(text);
      if (text.ends_with(']')) {
        return {ParseAddress(text.substr(1, text.size() - 2)), default_port};
      }
    }
    return {ParseAddress(text), default_port};
  } catch (const std::invalid_argument&) {
    throw UsageError("not an IPv6 address: '" + text +
                     "': give fd00::1 or [fd00::1]:" + std::to_string(default_port));
  }
}

}  // namespace qpip::apps

#include "verbs/core/device.h"

#include <arpa/inet.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <sstream>

#include "qpip/qpip.h"
#include "verbs/core/session.h"

namespace qpip::verbs {

namespace {

constexpr int kAddressAttempts = 64;

std::optional<Personality> PersonalityOf(const char* text) {
  if (text == nullptr || std::strcmp(text, "roce") == 0) return Personality::kRoce;
  if (std::strcmp(text, "iwarp") == 0) return Personality::kIwarp;
  return std::nullopt;
}

Device* MakeDevice(std::string uri, Personality personality, int index) {
  auto* device = new Device;  // programs keep pointers to it for as long as they run
  device->uri = std::move(uri);
  device->personality = personality;
  device->index = index;
  ibv_device& base = device->base;
  const bool iwarp = personality == Personality::kIwarp;
  base.node_type = iwarp ? IBV_NODE_RNIC : IBV_NODE_CA;
  base.transport_type = iwarp ? IBV_TRANSPORT_IWARP : IBV_TRANSPORT_IB;
  std::snprintf(base.name, sizeof base.name, "qpip%d", index);
  std::snprintf(base.dev_name, sizeof base.dev_name, "uverbs%d", index);
  std::snprintf(base.dev_path, sizeof base.dev_path, "/sys/class/infiniband_verbs/uverbs%d", index);
  std::snprintf(base.ibdev_path, sizeof base.ibdev_path, "/sys/class/infiniband/qpip%d", index);
  return device;
}

std::vector<Device*> MakeDevices() {
  const char* personality_text = std::getenv(kPersonalityVariable);
  const std::optional<Personality> personality = PersonalityOf(personality_text);
  if (!personality) {
    std::fprintf(stderr, "libibverbs (QPIP): %s is \"%s\": must be \"roce\" or \"iwarp\"\n",
                 kPersonalityVariable, personality_text);
    return {};
  }
  const char* nics = std::getenv(kNicVariable);
  std::istringstream uris(nics != nullptr && *nics != '\0' ? nics : kDefaultNic);
  std::vector<Device*> devices;
  for (std::string uri; uris >> uri;) {
    devices.push_back(MakeDevice(uri, *personality, static_cast<int>(devices.size())));
  }
  return devices;
}

// Where the value of the query parameter `address` begins and ends; npos when there is none.
std::pair<size_t, size_t> FindAddress(std::string_view uri) {
  size_t at = uri.find('?');
  while (at != std::string_view::npos) {
    const size_t end = std::min(uri.find('&', at + 1), uri.size());
    const std::string_view parameter = uri.substr(at + 1, end - at - 1);
    if (parameter.starts_with("address=")) return {at + 1 + 8, end};
    at = end == uri.size() ? std::string_view::npos : end;
  }
  return {std::string_view::npos, std::string_view::npos};
}

std::shared_ptr<Session> OpenNic(Device& device, const in6_addr* wanted) {
  if (!HasAutomaticAddress(device.uri)) {
    return std::make_shared<Session>(Nic::Open(device.uri), device.personality);
  }
  if (wanted != nullptr) {
    return std::make_shared<Session>(Nic::Open(WithAddress(device.uri, *wanted)),
                                     device.personality);
  }
  for (int attempt = 0;; ++attempt) {
    const in6_addr address = AutomaticAddress(getpid(), attempt);
    try {
      return std::make_shared<Session>(Nic::Open(WithAddress(device.uri, address)),
                                       device.personality);
    } catch (const Error& error) {
      if (error.code() != EADDRINUSE || attempt + 1 == kAddressAttempts) throw;
    }
  }
}

}  // namespace

std::span<Device* const> Devices() {
  static const std::vector<Device*> devices = MakeDevices();
  return devices;
}

bool HasAutomaticAddress(std::string_view uri) {
  if (uri.starts_with("wg:")) return false;  // its file may have one
  const auto [begin, end] = FindAddress(uri);
  return begin == std::string_view::npos || uri.substr(begin, end - begin) == "auto";
}

std::string WithAddress(std::string_view uri, const in6_addr& address) {
  const auto [begin, end] = FindAddress(uri);
  const std::string text = AddressToString(address);
  if (begin == std::string_view::npos) {
    const char separator = uri.find('?') == std::string_view::npos ? '?' : '&';
    return std::string(uri) + separator + "address=" + text;
  }
  return std::string(uri.substr(0, begin)) + text + std::string(uri.substr(end));
}

in6_addr AutomaticAddress(int pid, int attempt) {
  // 127.64/10 has 2^22 addresses, as many as there can be processes. An odd step visits all.
  constexpr uint32_t kStep = 2654435761;
  const uint32_t host =
      (static_cast<uint32_t>(pid) + static_cast<uint32_t>(attempt) * kStep) & 0x3fffff;
  const uint32_t ipv4 = htonl(0x7f400000 | host);
  in6_addr address = {};
  address.s6_addr[10] = 0xff;
  address.s6_addr[11] = 0xff;
  std::memcpy(&address.s6_addr[12], &ipv4, sizeof ipv4);
  return address;
}

uint64_t GuidOf(const Device& device) {
  // EUI-64 of our own: locally administered, from what tells this device from others.
  std::string identity = device.uri;
  if (HasAutomaticAddress(device.uri)) identity += '#' + std::to_string(getpid());
  const uint64_t hash = std::hash<std::string>{}(identity);
  return (hash & 0x00ffffffffffffff) | 0x0200000000000000;
}

std::shared_ptr<Session> OpenSession(Device& device, const in6_addr* wanted) {
  const std::lock_guard lock(device.mutex);
  if (auto session = device.session.lock(); session && device.opened_by == getpid()) {
    return session;
  }
  auto session = OpenNic(device, wanted);
  device.session = session;
  device.opened_by = getpid();
  return session;
}

}  // namespace qpip::verbs

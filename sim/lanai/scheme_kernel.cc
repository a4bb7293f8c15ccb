// `tun:` and `tap:`: the Linux kernel's stack, and an Ethernet link with it.
#include <arpa/inet.h>

#include <algorithm>

#include "sim/lanai/scheme.h"

namespace qpip::lanai {
namespace {

wire::KernelWireOptions& Options(NicUri& uri) { return uri.Wire<wire::KernelWireOptions>(); }
const wire::KernelWireOptions& Options(const NicUri& uri) {
  return uri.Wire<wire::KernelWireOptions>();
}

void SetInterface(NicUri& uri, std::string_view name) {
  // As the kernel's dev_valid_name.
  const bool fits = !name.empty() && name.size() <= 15 && name != "." && name != "..";
  if (!fits || name.find_first_of("/: \t\n\v\f\r") != std::string_view::npos) {
    Refuse("interface name " + Quote(name) + ": 1 to 15 characters without '/', ':' or blanks");
  }
  Options(uri).interface = name;
}

// ADDRESS/LENGTH.
void SetHost(NicUri& uri, std::string_view name, std::string_view value) {
  const size_t slash = value.find('/');
  if (slash == std::string_view::npos) {
    Refuse("parameter host: " + Quote(value) + " has no prefix length; write host=fd00::2/64");
  }
  wire::HostPrefix host;
  host.address = ParseUnicast(name, value.substr(0, slash));
  host.length =
      static_cast<uint8_t>(ParseNumber("host's prefix length", value.substr(slash + 1), 1, 128));
  Options(uri).host = host;
}

std::string FormatHost(const NicUri& uri) {
  const auto& host = Options(uri).host;
  if (!host.has_value()) return "";
  return FormatAddress(host->address) + "/" + std::to_string(host->length);
}

// The one given, or one made of the IPv6 address: locally administered, the same every time.
wire::LinkAddress MacOf(const NicUri& uri) {
  if (Options(uri).mac != wire::LinkAddress{}) return Options(uri).mac;
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const uint8_t byte : uri.address.bytes) hash = (hash ^ byte) * 0x100000001b3;
  wire::LinkAddress mac = {0x02};
  for (size_t i = 1; i < mac.size(); ++i) mac[i] = static_cast<uint8_t>(hash >> (8 * i));
  return mac;
}

abi::Ip6Address ParseRoutePart(std::string_view whole, std::string_view part) {
  abi::Ip6Address address;
  if (inet_pton(AF_INET6, std::string(part).c_str(), address.bytes) != 1) {
    Refuse("parameter route: " + Quote(whole) +
           " is no PREFIX/LENGTH@GATEWAY; write route=::/0@fd00::fe");
  }
  return address;
}

// PREFIX/LENGTH@GATEWAY, several with commas between.
void AddRoutes(NicUri& uri, std::string_view, std::string_view value) {
  fw::LinkConfig& link = uri.nic.link;
  while (true) {
    const size_t comma = value.find(',');
    const std::string_view one = value.substr(0, comma);
    const size_t at = std::min(one.find('@'), one.size());
    const size_t slash = std::min(one.find('/'), at);
    if (link.route_count == fw::kMaxStaticRoutes) {
      Refuse("parameter route: at most " + std::to_string(fw::kMaxStaticRoutes) + " are kept");
    }
    fw::StaticRoute& route = link.routes[link.route_count++];
    route.prefix = ParseRoutePart(one, one.substr(0, slash));
    route.gateway = ParseRoutePart(one, one.substr(std::min(at + 1, one.size())));
    route.length = static_cast<uint8_t>(ParseNumber(
        "route's prefix length", one.substr(slash, at - slash).substr(slash < at ? 1 : 0), 0, 128));
    if (comma == std::string_view::npos) return;
    value.remove_prefix(comma + 1);
  }
}

std::string FormatRoutes(const NicUri& uri) {
  std::string text;
  for (uint32_t i = 0; i < uri.nic.link.route_count; ++i) {
    const fw::StaticRoute& route = uri.nic.link.routes[i];
    if (!text.empty()) text += ',';
    text += FormatAddress(route.prefix) + "/" + std::to_string(route.length) + "@" +
            FormatAddress(route.gateway);
  }
  return text;
}

// Without offload where checksums are to be on the wire: checksum=1, pcap, and every fault.
template <bool kEthernet>
std::any Complete(const NicUri& uri) {
  wire::KernelWireOptions options = Options(uri);
  options.address = uri.address;
  options.mtu = uri.mtu;
  options.ethernet = kEthernet;
  options.mac = MacOf(uri);
  options.offload = options.offload && !uri.checksum && uri.pcap.empty() && !uri.fault.any();
  return options;
}

constexpr Parameter kHost = {"host", SetHost, FormatHost};
constexpr Parameter kNetns = {
    "netns",
    [](NicUri& uri, std::string_view, std::string_view value) { Options(uri).netns = value; },
    [](const NicUri& uri) { return Options(uri).netns; }};
constexpr Parameter kOffload = QPIP_URI_NUMBER("offload", Options(uri).offload, 0, 1);

constexpr Parameter kTunParameters[] = {kHost, kNetns, kOffload};
constexpr Parameter kTapParameters[] = {
    kHost,
    kNetns,
    kOffload,
    {"mac",
     [](NicUri& uri, std::string_view name, std::string_view value) {
       Options(uri).mac = ParseMac(name, value);
     },
     [](const NicUri& uri) { return FormatMac(MacOf(uri)); }},
    QPIP_URI_NUMBER("prefix", uri.nic.link.prefix_length, 0, 128),
    {"route", AddRoutes, FormatRoutes, /*repeatable=*/true},
    QPIP_URI_NUMBER("dad", uri.nic.link.dad_transmits, 0, 1),
    QPIP_URI_NUMBER("max_neighbours", uri.nic.link.max_neighbours, 1, 4096),
};

template <bool kEthernet>
constexpr Scheme Row(std::string_view name, std::span<const Parameter> parameters) {
  return {
      .name = name,
      .place = "IFNAME",
      .default_mtu = 0,  // the device's
      .leads_far = true,
      .make = [] { return std::any(wire::KernelWireOptions()); },
      .set_place = SetInterface,
      .format_place = [](const NicUri& uri) { return Options(uri).interface; },
      .complete = Complete<kEthernet>,
      .open =
          [](const std::any& options) {
            return wire::OpenKernelWire(std::any_cast<const wire::KernelWireOptions&>(options));
          },
      .parameters = parameters,
  };
}

}  // namespace

extern const Scheme kTunScheme, kTapScheme;
constinit const Scheme kTunScheme = Row<false>("tun", kTunParameters);
constinit const Scheme kTapScheme = Row<true>("tap", kTapParameters);

}  // namespace qpip::lanai

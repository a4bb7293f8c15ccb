// `wg:`: any host that speaks WireGuard.
#include "sim/lanai/scheme.h"

namespace qpip::lanai {
namespace {

wire::WireguardOptions& Options(NicUri& uri) { return uri.Wire<wire::WireguardOptions>(); }
const wire::WireguardOptions& Options(const NicUri& uri) {
  return uri.Wire<wire::WireguardOptions>();
}

// A file's name has a slash in it, a host's has none.
void SetPlace(NicUri& uri, std::string_view place) {
  if (place.find('/') != std::string_view::npos) {
    Options(uri).config = place;
    return;
  }
  const HostAndPort local = ParseHostAndPort(place);
  Options(uri).host = local.host;
  Options(uri).port = local.port;
}

std::string FormatPlace(const NicUri& uri) {
  const wire::WireguardOptions& options = Options(uri);
  return options.config.empty() ? FormatHostAndPort(options.host, options.port) : options.config;
}

// The name of a file; what is in it is read when the NIC is opened.
#define QPIP_URI_FILE(NAME, FIELD)                                                        \
  Parameter {                                                                             \
    NAME,                                                                                 \
        [](NicUri& uri, std::string_view name, std::string_view value) {                  \
          if (value.empty()) Refuse("parameter " + std::string(name) + " names no file"); \
          FIELD = value;                                                                  \
        },                                                                                \
        [](const NicUri& uri) { return FIELD; }                                           \
  }

void Check(const NicUri& uri) {
  const wire::WireguardOptions& options = Options(uri);
  if (options.config.empty() && (options.key_file.empty() || options.peers_file.empty())) {
    Refuse(
        "wg: needs key=FILE and peers=FILE, or a file as wg-quick has it: "
        "wg:/etc/wireguard/lab.conf");
  }
  if (!options.config.empty() && (!options.key_file.empty() || !options.peers_file.empty())) {
    Refuse("wg: the file " + Quote(options.config) + " has key and peers: leave key=, peers= out");
  }
  if (uri.mtu > wire::kMaxWireguardMtu) {
    Refuse("parameter mtu: " + std::to_string(uri.mtu) + " is more than the " +
           std::to_string(wire::kMaxWireguardMtu) + " bytes that fit a datagram");
  }
}

std::any Complete(const NicUri& uri) {
  wire::WireguardOptions options = Options(uri);
  options.address = uri.address;
  options.mtu = uri.mtu;
  // Single packets where they are to be seen or damaged one by one, as they are on a network.
  options.offload = options.offload && !uri.checksum && uri.pcap.empty() && !uri.fault.any();
  return options;
}

constexpr Parameter kParameters[] = {
    QPIP_URI_FILE("key", Options(uri).key_file),
    QPIP_URI_FILE("peers", Options(uri).peers_file),
    QPIP_URI_FILE("keylog", Options(uri).key_log),
    QPIP_URI_NUMBER("offload", Options(uri).offload, 0, 1),
    QPIP_URI_NUMBER("rekey_after_s", Options(uri).rekey_after_s, 1, 120),
};

}  // namespace

extern const Scheme kWireguardScheme;
constinit const Scheme kWireguardScheme = {
    .name = "wg",
    .place = "FILE",
    .leads_far = true,
    .has_address = true,
    .make = [] { return std::any(wire::WireguardOptions()); },
    .set_place = SetPlace,
    .format_place = FormatPlace,
    .check = Check,
    .complete = Complete,
    .open =
        [](const std::any& options) {
          return wire::OpenWireguardWire(std::any_cast<const wire::WireguardOptions&>(options));
        },
    .parameters = kParameters,
};

}  // namespace qpip::lanai

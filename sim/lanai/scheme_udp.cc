// `udp:`: datagrams between hosts.
#include "sim/lanai/scheme.h"

namespace qpip::lanai {
namespace {

wire::UdpOptions& Options(NicUri& uri) { return uri.Wire<wire::UdpOptions>(); }
const wire::UdpOptions& Options(const NicUri& uri) { return uri.Wire<wire::UdpOptions>(); }

void SetLocal(NicUri& uri, std::string_view place) {
  const HostAndPort local = ParseHostAndPort(place);
  Options(uri).host = local.host;
  Options(uri).port = local.port;
}

std::string FormatLocal(const NicUri& uri) {
  return FormatHostAndPort(Options(uri).host, Options(uri).port);
}

// ADDRESS@HOST:PORT or HOST:PORT, several with commas between.
void AddPeers(NicUri& uri, std::string_view name, std::string_view value) {
  while (true) {
    const size_t comma = value.find(',');
    const std::string_view one = value.substr(0, comma);
    const size_t at = one.find('@');
    wire::UdpPeer peer;
    if (at != std::string_view::npos) peer.address = ParseUnicast(name, one.substr(0, at));
    const HostAndPort where =
        ParseHostAndPort(at == std::string_view::npos ? one : one.substr(at + 1));
    if (where.host.empty() || where.port == 0) {
      Refuse("parameter peer: " + Quote(one) +
             " names no host or no port; write peer=fd00::2@192.0.2.2:4791, or "
             "peer=192.0.2.2:4791 for all addresses");
    }
    peer.host = where.host;
    peer.port = where.port;
    for (const wire::UdpPeer& other : Options(uri).peers) {
      if (other.address == peer.address)
        Refuse("parameter peer: " + Quote(one) + " is there twice");
    }
    Options(uri).peers.push_back(peer);
    if (comma == std::string_view::npos) return;
    value.remove_prefix(comma + 1);
  }
}

std::string FormatPeers(const NicUri& uri) {
  std::string text;
  for (const wire::UdpPeer& peer : Options(uri).peers) {
    if (!text.empty()) text += ',';
    if (!(peer.address == abi::Ip6Address{})) text += FormatAddress(peer.address) + "@";
    text += FormatHostAndPort(peer.host, peer.port);
  }
  return text;
}

void Check(const NicUri& uri) {
  if (uri.mtu > wire::kMaxUdpMtu) {
    Refuse("parameter mtu: " + std::to_string(uri.mtu) + " is more than the " +
           std::to_string(wire::kMaxUdpMtu) + " bytes that fit a datagram");
  }
}

std::any Complete(const NicUri& uri) {
  wire::UdpOptions options = Options(uri);
  options.address = uri.address;
  options.mtu = uri.mtu;
  // Single packets where they are to be seen or damaged one by one, as they are on a network.
  options.offload = options.offload && !uri.checksum && uri.pcap.empty() && !uri.fault.any();
  return options;
}

constexpr Parameter kParameters[] = {
    QPIP_URI_NUMBER("offload", Options(uri).offload, 0, 1),
    {"peer", AddPeers, FormatPeers, /*repeatable=*/true},
    {"learn",
     [](NicUri& uri, std::string_view name, std::string_view value) {
       Options(uri).learn = ParseNumber(name, value, 0, 1) != 0;
     },
     [](const NicUri& uri) {
       const bool unless_told = Options(uri).peers.empty();
       return std::string(Options(uri).learn.value_or(unless_told) ? "1" : "0");
     }},
};

}  // namespace

extern const Scheme kUdpScheme;
constinit const Scheme kUdpScheme = {
    .name = "udp",
    .place = "HOST:PORT",
    .default_mtu = 0,  // the links'
    .leads_far = true,
    .make = [] { return std::any(wire::UdpOptions()); },
    .set_place = SetLocal,
    .format_place = FormatLocal,
    .check = Check,
    .complete = Complete,
    .open =
        [](const std::any& options) {
          return wire::OpenUdpWire(std::any_cast<const wire::UdpOptions&>(options));
        },
    .parameters = kParameters,
};

}  // namespace qpip::lanai

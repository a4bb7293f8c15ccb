#include "sim/lanai/uri.h"

#include <arpa/inet.h>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <vector>

#include "sim/lanai/uri_values.h"

namespace qpip::lanai {

namespace {

constexpr std::string_view kForm =
    "shm:FABRIC?address=IPV6, mem:NAME?address=IPV6, udp:HOST:PORT?address=IPV6, "
    "tun:IFNAME?address=IPV6 or tap:IFNAME?address=IPV6";

// --- Values of several parts

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
    for (const wire::UdpPeer& other : uri.udp.peers) {
      if (other.address == peer.address)
        Refuse("parameter peer: " + Quote(one) + " is there twice");
    }
    uri.udp.peers.push_back(peer);
    if (comma == std::string_view::npos) return;
    value.remove_prefix(comma + 1);
  }
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
  uri.kernel.host = host;
}

std::string FormatHost(const NicUri& uri) {
  if (!uri.kernel.host.has_value()) return "";
  return FormatAddress(uri.kernel.host->address) + "/" + std::to_string(uri.kernel.host->length);
}

void SetMac(NicUri& uri, std::string_view name, std::string_view value) {
  uri.kernel.mac = ParseMac(name, value);
}

// The one given, or one made of the IPv6 address: locally administered, the same every time.
wire::LinkAddress MacOf(const NicUri& uri) {
  if (uri.kernel.mac != wire::LinkAddress{}) return uri.kernel.mac;
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const uint8_t byte : uri.fabric.address.bytes) hash = (hash ^ byte) * 0x100000001b3;
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

std::string FormatPeers(const NicUri& uri) {
  std::string text;
  for (const wire::UdpPeer& peer : uri.udp.peers) {
    if (!text.empty()) text += ',';
    if (!(peer.address == abi::Ip6Address{})) text += FormatAddress(peer.address) + "@";
    text += FormatHostAndPort(peer.host, peer.port);
  }
  return text;
}

// --- Parameters

/// One query parameter: where its value goes and comes from. `get` answers "" for "not given".
struct Parameter {
  std::string_view name;
  void (*set)(NicUri& uri, std::string_view name, std::string_view value);
  std::string (*get)(const NicUri& uri);
};

// Rows of the table below. `FIELD` is an expression on `uri`.
#define QPIP_NUMBER(NAME, FIELD, LOW, HIGH)                                            \
  Parameter {                                                                          \
    NAME,                                                                              \
        [](NicUri& uri, std::string_view name, std::string_view value) {               \
          FIELD = static_cast<decltype(FIELD)>(ParseNumber(name, value, LOW, HIGH));   \
        },                                                                             \
        [](const NicUri& uri) { return std::to_string(static_cast<uint64_t>(FIELD)); } \
  }
#define QPIP_PROBABILITY(NAME, FIELD)                                    \
  Parameter {                                                            \
    NAME,                                                                \
        [](NicUri& uri, std::string_view name, std::string_view value) { \
          FIELD = ParseProbability(name, value);                         \
        },                                                               \
        [](const NicUri& uri) { return FormatProbability(FIELD); }       \
  }
#define QPIP_PATH(NAME, FIELD)                                                            \
  Parameter {                                                                             \
    NAME,                                                                                 \
        [](NicUri& uri, std::string_view name, std::string_view value) {                  \
          if (value.empty()) Refuse("parameter " + std::string(name) + ": no file name"); \
          FIELD = value;                                                                  \
        },                                                                                \
        [](const NicUri& uri) { return FIELD; }                                           \
  }

/// Words that stand for small numbers.
#define QPIP_CHOICE(NAME, FIELD, ...)                                                  \
  Parameter {                                                                          \
    NAME,                                                                              \
        [](NicUri& uri, std::string_view name, std::string_view value) {               \
          FIELD = static_cast<decltype(FIELD)>(ParseChoice(name, value, __VA_ARGS__)); \
        },                                                                             \
        [](const NicUri& uri) { return FormatChoice(FIELD, __VA_ARGS__); }             \
  }

constexpr uint64_t kMax32 = std::numeric_limits<uint32_t>::max();
constexpr uint64_t kMax64 = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kDayMs = 86400000;

constexpr Parameter kParameters[] = {
    {"address",
     [](NicUri& uri, std::string_view name, std::string_view value) {
       uri.fabric.address = ParseUnicast(name, value);
     },
     [](const NicUri& uri) { return FormatAddress(uri.fabric.address); }},
    {"mtu",
     [](NicUri& uri, std::string_view name, std::string_view value) {
       // RFC 8200 section 5; 40 + 65535
       uri.fabric.mtu = static_cast<uint32_t>(ParseNumber(name, value, 1280, 65575));
     },
     [](const NicUri& uri) {
       return uri.fabric.mtu == 0 ? std::string() : std::to_string(uri.fabric.mtu);
     }},
    QPIP_NUMBER("copy", uri.fabric.copy, 0, 1),
    QPIP_NUMBER("checksum", uri.fabric.checksum, 0, 1),
    {"peer", AddPeers, FormatPeers},
    {"learn",
     [](NicUri& uri, std::string_view name, std::string_view value) {
       uri.udp.learn = ParseNumber(name, value, 0, 1) != 0;
     },
     [](const NicUri& uri) {
       const bool unless_told = uri.udp.peers.empty();
       return std::string(uri.udp.learn.value_or(unless_told) ? "1" : "0");
     }},
    {"host", SetHost, FormatHost},
    {"netns",
     [](NicUri& uri, std::string_view, std::string_view value) { uri.kernel.netns = value; },
     [](const NicUri& uri) { return uri.kernel.netns; }},
    QPIP_NUMBER("offload", uri.kernel.offload, 0, 1),
    {"mac", SetMac, [](const NicUri& uri) { return FormatMac(MacOf(uri)); }},
    QPIP_NUMBER("prefix", uri.nic.link.prefix_length, 0, 128),
    {"route", AddRoutes, FormatRoutes},
    QPIP_NUMBER("dad", uri.nic.link.dad_transmits, 0, 1),
    QPIP_PROBABILITY("loss", uri.fault.loss),
    QPIP_PROBABILITY("duplicate", uri.fault.duplicate),
    QPIP_PROBABILITY("reorder", uri.fault.reorder),
    QPIP_PROBABILITY("corrupt", uri.fault.corrupt),
    QPIP_NUMBER("delay_us", uri.fault.delay_us, 0, 60000000),
    QPIP_NUMBER("flap_period_ms", uri.fault.flap_period_ms, 0, kDayMs),
    QPIP_NUMBER("flap_down_ms", uri.fault.flap_down_ms, 0, kDayMs),
    QPIP_NUMBER("cut_after_frames", uri.fault.cut_after_frames, 0, kMax64),
    QPIP_NUMBER("seed", uri.fault.seed, 0, kMax64),
    QPIP_PATH("pcap", uri.pcap),
    QPIP_NUMBER("occupancy", uri.occupancy, 0, 1),
    QPIP_PATH("timeline", uri.timeline),
    QPIP_NUMBER("max_qps", uri.nic.max_qps, 1, 1u << 20),
    QPIP_NUMBER("ack_every", uri.nic.ack_every, 1, 255),
    QPIP_NUMBER("ack_delay_us", uri.nic.ack_delay_us, 0, 499999),  // RFC 9293 3.8.6.3
    QPIP_NUMBER("rto_min_us", uri.nic.rto_min_us, 100, 60000000),
    QPIP_NUMBER("rto_initial_us", uri.nic.rto_initial_us, 100, 60000000),
    QPIP_NUMBER("user_timeout_ms", uri.nic.user_timeout_ms, 1, kMax32),
    QPIP_NUMBER("connect_timeout_ms", uri.nic.connect_timeout_ms, 1, kMax32),
    QPIP_NUMBER("time_wait_ms", uri.nic.time_wait_ms, 0, 240000),
    QPIP_NUMBER("timestamps", uri.nic.tcp_timestamps, 0, 1),
    QPIP_NUMBER("sack", uri.nic.tcp_sack, 0, 1),
    QPIP_NUMBER("reassembly", uri.nic.tcp_reassembly, 0, 1024),
    QPIP_NUMBER("scoreboard", uri.nic.tcp_scoreboard, 8, 1024),
    QPIP_CHOICE("congestion", uri.nic.tcp_congestion, {"reno", "cubic", "dctcp"}),
    QPIP_CHOICE("ecn", uri.nic.tcp_ecn, {"off", "accept", "request"}),
    QPIP_NUMBER("hystart", uri.nic.tcp_hystart, 0, 1),
    QPIP_NUMBER("pacing", uri.nic.tcp_pacing, 0, 1),
    QPIP_NUMBER("undo", uri.nic.tcp_undo, 0, 1),
    QPIP_CHOICE("mtu_probing", uri.nic.tcp_mtu_probing, {"off", "black_hole", "always"}),
    QPIP_NUMBER("keepalive_idle_s", uri.nic.keepalive_idle_s, 0, 1000000),
    QPIP_NUMBER("keepalive_interval_s", uri.nic.keepalive_interval_s, 1, 1000000),
    QPIP_NUMBER("keepalive_probes", uri.nic.keepalive_probes, 1, 255),
    QPIP_NUMBER("user_timeout_option", uri.nic.tcp_user_timeout_option, 0, 1),
    QPIP_NUMBER("spin_us", uri.spin_us, 0, 1000000),
};

#undef QPIP_NUMBER
#undef QPIP_PROBABILITY
#undef QPIP_CHOICE
#undef QPIP_PATH

// Parameters that only some schemes have.
constexpr uint32_t Of(Scheme scheme) { return 1u << static_cast<uint32_t>(scheme); }
constexpr struct {
  std::string_view name;
  uint32_t schemes;
} kOnlyFor[] = {
    {"copy", Of(Scheme::kSharedMemory) | Of(Scheme::kMemory)},
    {"peer", Of(Scheme::kUdp)},
    {"learn", Of(Scheme::kUdp)},
    {"host", Of(Scheme::kTun) | Of(Scheme::kTap)},
    {"netns", Of(Scheme::kTun) | Of(Scheme::kTap)},
    {"offload", Of(Scheme::kTun) | Of(Scheme::kTap)},
    {"mac", Of(Scheme::kTap)},
    {"prefix", Of(Scheme::kTap)},
    {"route", Of(Scheme::kTap)},
    {"dad", Of(Scheme::kTap)},
};

bool BelongsTo(std::string_view name, Scheme scheme) {
  for (const auto& only : kOnlyFor) {
    if (only.name == name) return (only.schemes & Of(scheme)) != 0;
  }
  return true;
}

std::string_view SchemeName(Scheme scheme) {
  switch (scheme) {
    case Scheme::kMemory:
      return "mem";
    case Scheme::kUdp:
      return "udp";
    case Scheme::kTun:
      return "tun";
    case Scheme::kTap:
      return "tap";
    default:
      return "shm";
  }
}

std::string AcceptedParameters(Scheme scheme) {
  std::string names;
  for (const Parameter& parameter : kParameters) {
    if (!BelongsTo(parameter.name, scheme)) continue;
    if (!names.empty()) names += ", ";
    names += parameter.name;
  }
  return names;
}

// --- The whole

void SetParameter(NicUri& uri, std::string_view field, std::vector<std::string_view>& seen) {
  const size_t equals = field.find('=');
  const std::string_view name = field.substr(0, equals);
  const auto* parameter =
      std::find_if(std::begin(kParameters), std::end(kParameters),
                   [&](const Parameter& candidate) { return candidate.name == name; });
  if (parameter == std::end(kParameters) || !BelongsTo(name, uri.scheme)) {
    Refuse((parameter == std::end(kParameters)
                ? "unknown parameter " + Quote(name)
                : std::string(SchemeName(uri.scheme)) + ": has no parameter " + Quote(name)) +
           "; accepted are " + AcceptedParameters(uri.scheme));
  }
  if (equals == std::string_view::npos) {
    Refuse("parameter " + std::string(name) + " has no value; write " + std::string(name) +
           "=VALUE");
  }
  const bool repeatable = name == "peer" || name == "route";
  if (!repeatable && std::find(seen.begin(), seen.end(), name) != seen.end()) {
    Refuse("parameter " + std::string(name) + " is given twice");
  }
  seen.push_back(name);
  parameter->set(uri, parameter->name, DecodePercent(field.substr(equals + 1)));
}

Scheme ParseScheme(std::string_view scheme) {
  if (scheme == "shm") return Scheme::kSharedMemory;
  if (scheme == "mem") return Scheme::kMemory;
  if (scheme == "udp") return Scheme::kUdp;
  if (scheme == "tun") return Scheme::kTun;
  if (scheme == "tap") return Scheme::kTap;
  Refuse("unknown scheme " + Quote(scheme) + "; accepted: " + std::string(kForm));
}

/// Behind the wire there may be a path of links and queues, not just a peer.
bool LeadsFar(Scheme scheme) {
  return scheme == Scheme::kUdp || scheme == Scheme::kTun || scheme == Scheme::kTap;
}

void CheckFabricName(std::string_view name) {
  const bool fits = !name.empty() && name.size() <= 64;
  const bool clean = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
  if (!fits || !clean) {
    Refuse("fabric name " + Quote(name) +
           ": 1 to 64 letters, digits, '-', '_' or '.' are accepted");
  }
}

void CheckInterfaceName(std::string_view name) {
  // As the kernel's dev_valid_name.
  const bool fits = !name.empty() && name.size() <= 15 && name != "." && name != "..";
  if (!fits || name.find_first_of("/: \t\n") != std::string_view::npos) {
    Refuse("interface name " + Quote(name) + ": 1 to 15 characters without '/', ':' or blanks");
  }
}

void SetPlace(NicUri& uri, std::string_view place) {
  switch (uri.scheme) {
    case Scheme::kUdp: {
      const HostAndPort local = ParseHostAndPort(place);
      uri.udp.host = local.host;
      uri.udp.port = local.port;
      uri.fabric.mtu = uri.udp.mtu;
      break;
    }
    case Scheme::kTun:
    case Scheme::kTap:
      CheckInterfaceName(place);
      uri.kernel.interface = place;
      uri.fabric.mtu = 0;  // the device's
      break;
    default:
      CheckFabricName(place);
      uri.fabric.name = place;
  }
}

void CheckTogether(const NicUri& uri) {
  if (uri.fabric.address == abi::Ip6Address{}) {
    Refuse("no address; add ?address=IPV6, as address=fd00::1");
  }
  const wire::FaultOptions& fault = uri.fault;
  if ((fault.flap_period_ms == 0) != (fault.flap_down_ms == 0)) {
    Refuse("flap_period_ms and flap_down_ms are given together or not at all");
  }
  if (uri.scheme == Scheme::kUdp && uri.fabric.mtu > wire::kMaxUdpMtu) {
    Refuse("parameter mtu: " + std::to_string(uri.fabric.mtu) + " is more than the " +
           std::to_string(wire::kMaxUdpMtu) + " bytes that fit a datagram");
  }
  if (fault.flap_down_ms > fault.flap_period_ms) {
    Refuse("flap_down_ms is more than flap_period_ms: the link would never be up");
  }
}

NicUri Parse(std::string_view text) {
  const size_t question = text.find('?');
  const std::string_view path = text.substr(0, question);
  const size_t colon = path.find(':');
  if (colon == std::string_view::npos) Refuse("no scheme; accepted: " + std::string(kForm));
  NicUri uri;
  uri.scheme = ParseScheme(path.substr(0, colon));
  uri.nic.tcp_pacing = LeadsFar(uri.scheme) ? 1 : 0;
  SetPlace(uri, path.substr(colon + 1));
  std::string_view rest =
      question == std::string_view::npos ? std::string_view() : text.substr(question + 1);
  std::vector<std::string_view> seen;
  while (!rest.empty()) {
    const size_t end = rest.find('&');
    SetParameter(uri, rest.substr(0, end), seen);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  CheckTogether(uri);
  return uri;
}

}  // namespace

NicUri::NicUri() {
  // The real-time profile: host memory is plentiful where SRAM was not.
  nic.max_qps = 1024;
  nic.send_depth_log2 = 10;
  nic.max_listeners = 64;
  nic.max_backlog = 256;
  nic.dma_slots = 1024;
  // As many as frames can be held (Ports::kFrameSlots): rather than drop a segment for want of one,
  // the firmware leaves it in the wire.
  nic.receive_contexts = 256;
  nic.reassembly_slots = 32;
  nic.tcp_reassembly = 256;
  nic.tcp_scoreboard = 256;
  nic.path_mtu_entries = 1024;
}

wire::UdpOptions NicUri::UdpWire() const {
  wire::UdpOptions options = udp;
  options.address = fabric.address;
  options.mtu = fabric.mtu;
  return options;
}

wire::KernelWireOptions NicUri::KernelWire() const {
  wire::KernelWireOptions options = kernel;
  options.address = fabric.address;
  options.mtu = fabric.mtu;
  options.ethernet = scheme == Scheme::kTap;
  options.mac = MacOf(*this);
  options.offload = kernel.offload && !fabric.checksum && pcap.empty() && !fault.any();
  return options;
}

NicUri ParseUri(std::string_view text) {
  try {
    return Parse(text);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument("NIC URI " + Quote(text) + ": " + error.what());
  }
}

std::string FormatUri(const NicUri& uri) {
  std::string text = std::string(SchemeName(uri.scheme)) + ":";
  switch (uri.scheme) {
    case Scheme::kUdp:
      text += FormatHostAndPort(uri.udp.host, uri.udp.port);
      break;
    case Scheme::kTun:
    case Scheme::kTap:
      text += uri.kernel.interface;
      break;
    default:
      text += uri.fabric.name;
  }
  char separator = '?';
  for (const Parameter& parameter : kParameters) {
    if (!BelongsTo(parameter.name, uri.scheme)) continue;
    const std::string value = parameter.get(uri);
    if (value.empty()) continue;
    text += separator;
    text += parameter.name;
    text += '=';
    text += EncodePercent(value);
    separator = '&';
  }
  return text;
}

}  // namespace qpip::lanai

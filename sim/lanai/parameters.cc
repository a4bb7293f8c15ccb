// Parameters of every scheme.
#include <limits>

#include "sim/lanai/scheme.h"

namespace qpip::lanai {
namespace {

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
#define QPIP_CHOICE(NAME, FIELD, ...)                                                           \
  Parameter {                                                                                   \
    NAME,                                                                                       \
        [](NicUri& uri, std::string_view name, std::string_view value) {                        \
          FIELD = static_cast<decltype(FIELD)>(ParseChoice(name, value, __VA_ARGS__));          \
        },                                                                                      \
        [](const NicUri& uri) { return FormatChoice(static_cast<size_t>(FIELD), __VA_ARGS__); } \
  }

constexpr uint64_t kMax32 = std::numeric_limits<uint32_t>::max();
constexpr uint64_t kMax64 = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kDayMs = 86400000;

constexpr Parameter kPortParameters[] = {
    {"address",
     [](NicUri& uri, std::string_view name, std::string_view value) {
       uri.address = ParseUnicast(name, value);
     },
     [](const NicUri& uri) {
       return uri.address == abi::Ip6Address{} ? std::string() : FormatAddress(uri.address);
     }},
    {"mtu",
     [](NicUri& uri, std::string_view name, std::string_view value) {
       uri.mtu = static_cast<uint32_t>(ParseNumber(name, value, wire::kMinMtu, wire::kMaxMtu));
     },
     [](const NicUri& uri) { return uri.mtu == 0 ? std::string() : std::to_string(uri.mtu); }},
    QPIP_URI_NUMBER("checksum", uri.checksum, 0, 1),
};

constexpr Parameter kNicParameters[] = {
    QPIP_PROBABILITY("loss", uri.fault.loss),
    QPIP_PROBABILITY("duplicate", uri.fault.duplicate),
    QPIP_PROBABILITY("reorder", uri.fault.reorder),
    QPIP_PROBABILITY("corrupt", uri.fault.corrupt),
    QPIP_URI_NUMBER("delay_us", uri.fault.delay_us, 0, 60000000),
    QPIP_URI_NUMBER("flap_period_ms", uri.fault.flap_period_ms, 0, kDayMs),
    QPIP_URI_NUMBER("flap_down_ms", uri.fault.flap_down_ms, 0, kDayMs),
    QPIP_URI_NUMBER("cut_after_frames", uri.fault.cut_after_frames, 0, kMax64),
    QPIP_URI_NUMBER("seed", uri.fault.seed, 0, kMax64),
    QPIP_PATH("pcap", uri.pcap),
    QPIP_URI_NUMBER("occupancy", uri.occupancy, 0, 1),
    QPIP_PATH("timeline", uri.timeline),
    QPIP_URI_NUMBER("max_qps", uri.nic.max_qps, 1, 65536),
    QPIP_URI_NUMBER("max_rdma_qps", uri.nic.max_rdma_qps, 0, 65536),
    QPIP_URI_NUMBER("ack_every", uri.nic.tcp.ack_every, 1, 255),
    QPIP_URI_NUMBER("ack_delay_us", uri.nic.tcp.ack_delay_us, 0, 499999),  // RFC 9293 3.8.6.3
    QPIP_URI_NUMBER("rto_min_us", uri.nic.tcp.rto_min_us, 100, 60000000),
    QPIP_URI_NUMBER("rto_initial_us", uri.nic.tcp.rto_initial_us, 100, 60000000),
    QPIP_URI_NUMBER("user_timeout_ms", uri.nic.tcp.user_timeout_ms, 1, kMax32),
    QPIP_URI_NUMBER("connect_timeout_ms", uri.nic.tcp.connect_timeout_ms, 1, kMax32),
    QPIP_URI_NUMBER("time_wait_ms", uri.nic.tcp.time_wait_ms, 0, 240000),
    QPIP_URI_NUMBER("timestamps", uri.nic.tcp.timestamps, 0, 1),
    QPIP_URI_NUMBER("sack", uri.nic.tcp.sack, 0, 1),
    QPIP_URI_NUMBER("reassembly", uri.nic.tcp.reassembly, 0, 1024),
    QPIP_URI_NUMBER("scoreboard", uri.nic.tcp_scoreboard, 8, 1024),
    QPIP_CHOICE("congestion", uri.nic.tcp.congestion, {"reno", "cubic", "dctcp"}),
    QPIP_CHOICE("ecn", uri.nic.tcp.ecn, {"off", "accept", "request"}),
    QPIP_URI_NUMBER("hystart", uri.nic.tcp.hystart, 0, 1),
    QPIP_URI_NUMBER("pacing", uri.nic.tcp.pacing, 0, 1),
    QPIP_URI_NUMBER("undo", uri.nic.tcp.undo, 0, 1),
    QPIP_CHOICE("mtu_probing", uri.nic.tcp.mtu_probing, {"off", "black_hole", "always"}),
    QPIP_URI_NUMBER("keepalive_idle_s", uri.nic.tcp.keepalive_idle_s, 0, 1000000),
    QPIP_URI_NUMBER("keepalive_interval_s", uri.nic.tcp.keepalive_interval_s, 1, 1000000),
    QPIP_URI_NUMBER("keepalive_probes", uri.nic.tcp.keepalive_probes, 1, 255),
    QPIP_URI_NUMBER("user_timeout_option", uri.nic.tcp.user_timeout_option, 0, 1),
    {"doorbells",
     [](NicUri& uri, std::string_view name, std::string_view value) {
       uri.doorbells = static_cast<uint32_t>(
           ParsePowerOfTwo(name, value, DoorbellFifo::kMinEntries, DoorbellFifo::kMaxEntries));
     },
     [](const NicUri& uri) { return std::to_string(uri.doorbells); }},
    QPIP_URI_NUMBER("spin_us", uri.spin_us, 0, 1000000),
};

#undef QPIP_PROBABILITY
#undef QPIP_PATH
#undef QPIP_CHOICE

}  // namespace

std::span<const Parameter> PortParameters() { return kPortParameters; }
std::span<const Parameter> NicParameters() { return kNicParameters; }

}  // namespace qpip::lanai

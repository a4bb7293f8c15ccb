// From the bench's options to the firmware's profile.
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "addresses.h"
#include "core.h"
#include "ranges.h"
#include "sim/lanai/uri.h"

namespace qpip::testbench {
namespace {

[[noreturn]] void Refuse(const std::string& what) {
  throw std::invalid_argument("TestBenchOptions: " + what);
}

template <typename T>
void Check(const char* name, T value, T low, T high) {
  const std::string wrong = OutOfRange(name, value, low, high);
  if (!wrong.empty()) Refuse(wrong);
}
void CheckNumber(const char* name, uint64_t value, uint64_t low, uint64_t high) {
  Check(name, value, low, high);
}

constexpr Time kUs = std::chrono::microseconds(1);
constexpr Time kMs = std::chrono::milliseconds(1);

void CheckTimes(const TestBenchOptions& options) {
  constexpr Time kMinute = std::chrono::minutes(1);
  constexpr Time kMostMs = kMs * int64_t{UINT32_MAX};
  Check("clock_start", options.clock_start, Time(0), Time::max());
  Check("ack_delay", options.ack_delay, Time(0), kUs * 499999);  // RFC 9293 3.8.6.3
  // A time-out of 0 would come again and again at one moment.
  Check("rto_initial", options.rto_initial, kUs * 100, kMinute);
  Check("rto_min", options.rto_min, kUs * 100, kMinute);
  Check("rto_max", options.rto_max, kUs * 100, Time(std::chrono::hours(1)));
  Check("time_wait", options.time_wait, Time(0), kMinute * 4);
  // 0 is "never", which less than the firmware counts must not become.
  if (options.user_timeout != Time(0)) Check("user_timeout", options.user_timeout, kMs, kMostMs);
  if (options.connect_timeout != Time(0)) {
    Check("connect_timeout", options.connect_timeout, kMs, kMostMs);
  }
}

/// The ranges are those of a NIC URI (sim/lanai/uri.cc), where it has such a parameter.
void CheckRanges(const TestBenchOptions& options) {
  const ipv6::Address address = ToAddress(options.address);
  if (address.IsUnspecified() || address.IsMulticast()) {
    Refuse("address is the unspecified or a multicast address");
  }
  if (address.IsLoopback()) Refuse("address is the loopback address");
  CheckNumber("mtu", options.mtu, 1280, 65575);
  CheckNumber("max_queue_pairs", options.max_queue_pairs, 1, 16384);
  CheckNumber("hop_limit", options.hop_limit, 1, 255);
  CheckNumber("reassembly", options.reassembly, 0, fw::kMaxTcpRuns);
  CheckNumber("ack_every", options.ack_every, 1, 255);
  CheckTimes(options);
}

/// What `parameters` and fields say together.
void CheckTogether(const fw::NicConfig& config) {
  const tcp::Options& tcp = config.tcp;
  const Time most = kUs * tcp.rto_max_us;
  if (tcp.rto_min_us > tcp.rto_max_us) Refuse("rto_min is above rto_max, " + ToText(most));
  if (tcp.rto_initial_us > tcp.rto_max_us) Refuse("rto_initial is above rto_max, " + ToText(most));
}

/// Sets what is not at its default, so that what `parameters` say is left alone otherwise.
void SetProtocol(const TestBenchOptions& options, fw::NicConfig* config) {
  const TestBenchOptions defaults;
  const auto set = [&](auto member, auto* field) {
    using Field = std::remove_pointer_t<decltype(field)>;
    if (options.*member != defaults.*member) *field = static_cast<Field>(options.*member);
  };
  // The firmware counts whole units.
  const auto set_time = [&](auto member, Time unit, uint32_t* field) {
    if (options.*member == defaults.*member) return;
    *field = static_cast<uint32_t>((options.*member).count() / unit.count());
  };
  set(&TestBenchOptions::hop_limit, &config->hop_limit);
  set(&TestBenchOptions::timestamps, &config->tcp.timestamps);
  set(&TestBenchOptions::window_scaling, &config->tcp.window_scaling);
  set(&TestBenchOptions::sack, &config->tcp.sack);
  set(&TestBenchOptions::reassembly, &config->tcp.reassembly);
  set(&TestBenchOptions::ack_every, &config->tcp.ack_every);
  set(&TestBenchOptions::ack_on_batch_end, &config->tcp.ack_on_batch_end);
  set_time(&TestBenchOptions::ack_delay, kUs, &config->tcp.ack_delay_us);
  set_time(&TestBenchOptions::rto_initial, kUs, &config->tcp.rto_initial_us);
  set_time(&TestBenchOptions::rto_min, kUs, &config->tcp.rto_min_us);
  set_time(&TestBenchOptions::rto_max, kUs, &config->tcp.rto_max_us);
  set_time(&TestBenchOptions::time_wait, kMs, &config->tcp.time_wait_ms);
  set_time(&TestBenchOptions::user_timeout, kMs, &config->tcp.user_timeout_ms);
  set_time(&TestBenchOptions::connect_timeout, kMs, &config->tcp.connect_timeout_ms);
}

fw::NicConfig ParseParameters(const std::string& parameters) {
  std::string uri = "mem:testbench?address=fd00::1";
  if (!parameters.empty()) uri += "&" + parameters;
  return lanai::ParseUri(uri).nic;
}

}  // namespace

fw::NicConfig MakeConfig(const TestBenchOptions& options) {
  CheckRanges(options);
  fw::NicConfig config = ParseParameters(options.parameters);
  std::memcpy(config.address.bytes, &options.address, sizeof(config.address.bytes));
  config.mtu = options.mtu;
  config.max_qps = options.max_queue_pairs;
  config.max_rdma_qps = 0;  // what is said by hand is TCP and UDP
  config.max_cqs = 2 * options.max_queue_pairs;
  // One a send that is outstanding, one a queue pair for its receives.
  config.max_regions = std::min<uint32_t>(16384 + 16 * options.max_queue_pairs, 65536);
  config.dma_slots = 4096;
  config.receive_contexts = 1024;
  SetProtocol(options, &config);
  CheckTogether(config);
  return config;
}

}  // namespace qpip::testbench

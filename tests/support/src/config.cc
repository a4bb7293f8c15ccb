// From the bench's options to the firmware's profile.
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "core.h"
#include "sim/lanai/uri.h"

namespace qpip::testbench {
namespace {

[[noreturn]] void Refuse(const std::string& what) {
  throw std::invalid_argument("TestBenchOptions: " + what);
}

/// `time` in `unit`s. The firmware counts whole ones.
uint32_t Whole(const char* name, Time time, Time unit) {
  const auto count = time.count() / unit.count();
  if (time.count() < 0 || count > int64_t{UINT32_MAX}) Refuse(std::string(name) + " out of range");
  return static_cast<uint32_t>(count);
}

/// Sets what is not at its default, so that what `parameters` say is left alone otherwise.
void SetProtocol(const TestBenchOptions& options, fw::NicConfig* config) {
  const TestBenchOptions defaults;
  const auto set = [&](auto member, auto* field) {
    using Field = std::remove_pointer_t<decltype(field)>;
    if (options.*member != defaults.*member) *field = static_cast<Field>(options.*member);
  };
  const auto set_time = [&](const char* name, Time TestBenchOptions::*member, Time unit,
                            uint32_t* field) {
    if (options.*member != defaults.*member) *field = Whole(name, options.*member, unit);
  };
  set(&TestBenchOptions::hop_limit, &config->hop_limit);
  set(&TestBenchOptions::timestamps, &config->tcp_timestamps);
  set(&TestBenchOptions::window_scaling, &config->tcp_window_scaling);
  set(&TestBenchOptions::sack, &config->tcp_sack);
  set(&TestBenchOptions::reassembly, &config->tcp_reassembly);
  set(&TestBenchOptions::ack_every, &config->ack_every);
  set(&TestBenchOptions::ack_on_batch_end, &config->ack_on_batch_end);
  const Time us = std::chrono::microseconds(1);
  const Time ms = std::chrono::milliseconds(1);
  set_time("ack_delay", &TestBenchOptions::ack_delay, us, &config->ack_delay_us);
  set_time("rto_initial", &TestBenchOptions::rto_initial, us, &config->rto_initial_us);
  set_time("rto_min", &TestBenchOptions::rto_min, us, &config->rto_min_us);
  set_time("rto_max", &TestBenchOptions::rto_max, us, &config->rto_max_us);
  set_time("time_wait", &TestBenchOptions::time_wait, ms, &config->time_wait_ms);
  set_time("user_timeout", &TestBenchOptions::user_timeout, ms, &config->user_timeout_ms);
  set_time("connect_timeout", &TestBenchOptions::connect_timeout, ms, &config->connect_timeout_ms);
}

fw::NicConfig ParseParameters(const std::string& parameters) {
  std::string uri = "mem:testbench?address=fd00::1";
  if (!parameters.empty()) uri += "&" + parameters;
  return lanai::ParseUri(uri).nic;
}

}  // namespace

fw::NicConfig MakeConfig(const TestBenchOptions& options) {
  fw::NicConfig config = ParseParameters(options.parameters);
  std::memcpy(config.address.bytes, &options.address, sizeof(config.address.bytes));
  config.mtu = options.mtu;
  if (options.max_queue_pairs == 0 || options.max_queue_pairs > 16384) {
    Refuse("max_queue_pairs: 1 to 16384");
  }
  if (options.clock_start < Time(0)) Refuse("clock_start is negative");
  config.max_qps = options.max_queue_pairs;
  config.max_cqs = 2 * options.max_queue_pairs;
  // One a send that is outstanding, one a queue pair for its receives.
  config.max_regions = 16384 + 16 * options.max_queue_pairs;
  config.dma_slots = 4096;
  config.receive_contexts = 1024;
  SetProtocol(options, &config);
  return config;
}

}  // namespace qpip::testbench

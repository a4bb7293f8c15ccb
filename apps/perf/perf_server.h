// The server of qpip-perf: gives memory, and takes part in a test as far as its operation needs it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "apps/perf/perf_side.h"

namespace qpip::apps {

struct PerfServerOptions {
  uint16_t port = 0;
  bool once = false;  ///< ends when the first client has gone
  PerfSettings settings;
};

struct PerfServerCounts {
  uint64_t clients = 0;
  uint64_t failed = 0;  ///< of those, whose test broke
};

/// What is told while it serves.
struct PerfServerEvents {
  std::function<void(const Endpoint& where)> on_listening;
  std::function<void(const Endpoint& client, const Plan& plan)> on_client;  ///< it is connected
  std::function<void(const std::string& what)> on_failure;  ///< a test broke; one line
};

/// Serves clients one after the other until told to stop. Throws Error.
PerfServerCounts ServePerf(Nic& nic, const PerfServerOptions& options, const StopToken& stop,
                           const PerfServerEvents& events);

}  // namespace qpip::apps

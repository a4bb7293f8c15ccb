// The client of qpip-perf: asks for a test, and measures it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "apps/common/statistics.h"
#include "apps/perf/perf_side.h"

namespace qpip::apps {

struct PerfOptions {
  Plan plan;  ///< rounds: all of them
  uint64_t warm_up = 0;
  Endpoint peer;
  PerfSettings settings;
  std::chrono::nanoseconds patience{0};
};

struct PerfResult {
  RdmaAgreement agreement;
  LatencyRecorder::Summary latency;  ///< of a message; of Writes and Sends one way
  std::vector<LatencyRecorder::Bucket> histogram;
  uint64_t messages = 0;  ///< measured
  uint64_t bytes = 0;
  double seconds = 0;
  double cpu_seconds = 0;  ///< of this process, user and system
  std::string failure;     ///< what ended it early; empty: nothing
};

/// Throws Failure, Error and Interrupted of what happens before the first message is measured.
PerfResult MeasurePerf(Nic& nic, const PerfOptions& options, const StopToken& stop);

}  // namespace qpip::apps

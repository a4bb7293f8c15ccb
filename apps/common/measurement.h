// What commands that measure have in common: they serve or measure, sizes one after the other, and
// report each result.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "apps/common/command_line.h"
#include "apps/common/statistics.h"
#include "apps/common/stop.h"
#include "qpip/qpip.h"

namespace qpip::apps {

/// The main of a command with --server: parses, and does the one or the other. Returns its status.
int ServeOrMeasure(const char* name, CommandLine (*make)(), int argc, char** argv,
                   int (*serve)(const CommandLine&), int (*measure)(const CommandLine&));

/// 1, 2, 4, ... up to `most`.
std::vector<uint32_t> SizesUpTo(uint32_t most);

/// One size after the other. Throws Interrupted when told to stop before the last has begun.
void MeasureSizes(const std::vector<uint32_t>& sizes, const StopToken& stop,
                  const std::function<void(uint32_t bytes)>& measure);

/// One result: `print` writes it as text, `json` is it in JSON; with --histogram, and with
/// --statistics of the NIC. `histogram`: nullptr: there is none of it.
void ReportMeasurement(const CommandLine& command_line, Nic& nic, nlohmann::json json,
                       const std::vector<LatencyRecorder::Bucket>* histogram,
                       const std::function<void()>& print);

}  // namespace qpip::apps

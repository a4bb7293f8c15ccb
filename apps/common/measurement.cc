#include "apps/common/measurement.h"

#include <string>
#include <utility>

#include "apps/common/connection.h"
#include "apps/common/json_output.h"
#include "apps/common/nic_options.h"

namespace qpip::apps {

int ServeOrMeasure(const char* name, CommandLine (*make)(), int argc, char** argv,
                   int (*serve)(const CommandLine&), int (*measure)(const CommandLine&)) {
  return RunCommand(name, [&] {
    CommandLine command_line = make();
    if (!command_line.Parse(argc, argv)) return kExitOk;
    return command_line.Flag("server") ? serve(command_line) : measure(command_line);
  });
}

std::vector<uint32_t> SizesUpTo(uint32_t most) {
  std::vector<uint32_t> sizes;
  for (uint64_t bytes = 1; bytes <= most; bytes *= 2) {
    sizes.push_back(static_cast<uint32_t>(bytes));
  }
  return sizes;
}

void MeasureSizes(const std::vector<uint32_t>& sizes, const StopToken& stop,
                  const std::function<void(uint32_t bytes)>& measure) {
  for (const uint32_t bytes : sizes) {
    if (stop.requested()) {
      throw Interrupted("interrupted: before the size of " + std::to_string(bytes) + " bytes");
    }
    measure(bytes);
  }
}

void ReportMeasurement(const CommandLine& command_line, Nic& nic, nlohmann::json json,
                       const std::vector<LatencyRecorder::Bucket>* histogram,
                       const std::function<void()>& print) {
  if (!command_line.json()) print();
  if (histogram != nullptr && command_line.Flag("histogram")) {
    json["histogram"] = *histogram;
    if (!command_line.json()) PrintHistogram(*histogram);
  }
  ReportStatistics(command_line, nic, &json);
  if (command_line.json()) PrintJsonLine(json);
}

}  // namespace qpip::apps

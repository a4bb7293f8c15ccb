// Recordings, occupancy and paths as JSON, for files and plots. Times in microseconds.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "sim/ns3/trace/critical_path.h"
#include "sim/ns3/trace/occupancy.h"
#include "sim/ns3/trace/recording.h"

namespace qpip::sim {

/// [{host, resource, label, kind, start_us, end_us}], times from `origin_ps` on. `kind` tells apart
/// "transmit data", "transmit ACK", "receive data" and "receive ACK"; engines have none.
nlohmann::json ActivitiesJson(const Recording& recording, uint64_t origin_ps);
/// [{host, resource, label, start_us, end_us}].
nlohmann::json PathJson(const std::vector<PathStep>& path, uint64_t origin_ps);
/// [{host, resource, busy_us, utilisation, parts: [{label, count, busy_us, share, bins}]}] with the
/// span and the bins' width; `bins` are shares of a bin's time.
nlohmann::json OccupancyJson(const Occupancy& occupancy);

}  // namespace qpip::sim

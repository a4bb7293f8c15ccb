// What share of the time each resource of each NIC was busy, with what, and how that changed.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "sim/ns3/trace/recording.h"

namespace qpip::sim {

/// Busy time of one resource with one thing.
struct OccupancyPart {
  uint64_t count = 0;
  uint64_t busy_ps = 0;
  std::vector<uint64_t> bins_ps;  ///< busy time in each bin
};

struct ResourceOccupancy {
  uint64_t busy_ps = 0;
  std::map<std::string, OccupancyPart> parts;  ///< by Activity::Label()
};

/// By host and resource, over [start_ps, end_ps) in bins of equal width.
struct Occupancy {
  uint64_t start_ps = 0;
  uint64_t end_ps = 0;
  uint64_t bin_ps = 0;
  std::vector<std::vector<ResourceOccupancy>> hosts;

  const ResourceOccupancy& at(size_t host, Resource resource) const {
    return hosts.at(host)[static_cast<size_t>(resource)];
  }
  /// Share of the span, 0 to 1.
  double Utilisation(uint64_t busy_ps) const;
};

/// Counts what lies in the span; activities that cross its ends count with their part inside.
/// `bins` at least 1. An empty span gives no bins.
Occupancy ComputeOccupancy(const Recording& recording, uint64_t start_ps, uint64_t end_ps,
                           uint32_t bins);

}  // namespace qpip::sim

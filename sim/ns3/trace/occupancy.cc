#include "sim/ns3/trace/occupancy.h"

#include <algorithm>

namespace qpip::sim {
namespace {

void AddToBins(const Occupancy& span, uint64_t start, uint64_t end, OccupancyPart* part) {
  for (uint64_t at = start; at < end;) {
    const uint64_t bin = (at - span.start_ps) / span.bin_ps;
    const uint64_t bin_end = std::min(end, span.start_ps + (bin + 1) * span.bin_ps);
    part->bins_ps[bin] += bin_end - at;
    at = bin_end;
  }
}

}  // namespace

double Occupancy::Utilisation(uint64_t busy_ps) const {
  if (end_ps <= start_ps) return 0;
  return static_cast<double>(busy_ps) / static_cast<double>(end_ps - start_ps);
}

Occupancy ComputeOccupancy(const Recording& recording, uint64_t start_ps, uint64_t end_ps,
                           uint32_t bins) {
  Occupancy out;
  out.start_ps = start_ps;
  out.end_ps = std::max(start_ps, end_ps);
  out.hosts.resize(recording.hosts, std::vector<ResourceOccupancy>(kResourceCount));
  if (out.end_ps == start_ps) return out;
  out.bin_ps = (out.end_ps - start_ps + bins - 1) / bins;
  for (const Activity& activity : recording.activities) {
    const uint64_t start = std::max(activity.start_ps, start_ps);
    const uint64_t end = std::min(activity.end_ps, out.end_ps);
    if (start >= end) continue;
    ResourceOccupancy& resource =
        out.hosts.at(activity.host)[static_cast<size_t>(activity.resource)];
    resource.busy_ps += end - start;
    OccupancyPart& part = resource.parts[activity.Label()];
    if (part.bins_ps.empty()) part.bins_ps.resize(bins);
    ++part.count;
    part.busy_ps += end - start;
    AddToBins(out, start, end, &part);
  }
  return out;
}

}  // namespace qpip::sim

// Fat trees: full bisection bandwidth from small switches.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/ns3/model/fabric.h"

namespace qpip::sim {

/// Joins `nics` by a three-level fat tree of k-port switches (Al-Fares et al., SIGCOMM 2008).
/// Returns k.
uint32_t BuildFatTree(QpipFabric& fabric, const std::vector<ns3::Ptr<QpipNetDevice>>& nics,
                      const NicModel& model);

}  // namespace qpip::sim

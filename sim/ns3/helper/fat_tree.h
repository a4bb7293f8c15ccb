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

/// A NIC of a fat tree that several processes share (QpipFabric::SetPartition).
struct FatTreeNic {
  ns3::Ptr<QpipNetDevice> device;  ///< nullptr: another process has it
  abi::Ip6Address address = {};    ///< of such a one
};

/// Which of `ranks` processes has a NIC: equal shares, as far as NICs of one switch stay together.
/// Whole pods where they can be dealt out evenly, so that only cables to the core are cut.
uint32_t FatTreeRank(uint32_t nic, uint32_t nics, uint32_t ranks);
/// Each process calls this with all NICs, of which it has those of its rank.
uint32_t BuildFatTree(QpipFabric& fabric, const std::vector<FatTreeNic>& nics,
                      const NicModel& model, uint32_t ranks);

}  // namespace qpip::sim

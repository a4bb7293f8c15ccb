#include "sim/ns3/helper/fat_tree.h"

#include <algorithm>
#include <stdexcept>

#include "sim/ns3/model/qpip_net_device.h"

namespace qpip::sim {
namespace {

/// The smallest even number of ports with room for so many NICs.
uint32_t PortsFor(size_t nics) {
  uint32_t k = 2;
  while (size_t{k} * k * k / 4 < nics) k += 2;
  if (k > 256) throw std::invalid_argument("too many NICs for a fat tree of 256-port switches");
  return k;
}

/// Of an edge switch. Pods and switches without NICs do not count.
uint32_t EdgeRank(uint32_t edge, uint32_t half, size_t nics, uint32_t ranks) {
  const auto used = std::max(static_cast<uint32_t>((nics + half - 1) / half), 1u);
  return std::min(edge, used - 1) * ranks / used;
}

}  // namespace

uint32_t FatTreeRank(uint32_t nic, uint32_t nics, uint32_t ranks) {
  const uint32_t half = PortsFor(nics) / 2;
  return EdgeRank(nic / half, half, nics, ranks);
}

uint32_t BuildFatTree(QpipFabric& fabric, const std::vector<FatTreeNic>& nics,
                      const NicModel& model, uint32_t ranks) {
  const uint32_t k = PortsFor(nics.size());
  const uint32_t half = k / 2;
  std::vector<uint32_t> edge, aggregation, core;
  for (uint32_t i = 0; i < k * half; ++i) {
    edge.push_back(fabric.AddSwitch(k, model, EdgeRank(i, half, nics.size(), ranks)));
  }
  for (uint32_t i = 0; i < k * half; ++i) {
    aggregation.push_back(fabric.AddSwitch(k, model, EdgeRank(i, half, nics.size(), ranks)));
  }
  for (uint32_t i = 0; i < half * half; ++i) {
    core.push_back(fabric.AddSwitch(k, model, i * ranks / (half * half)));
  }
  for (uint32_t pod = 0; pod < k; ++pod) {
    for (uint32_t a = 0; a < half; ++a) {
      // Ports [0, half) go down, [half, k) up.
      for (uint32_t e = 0; e < half; ++e) {
        fabric.Connect(aggregation[pod * half + a], e, edge[pod * half + e], half + a, model);
      }
      for (uint32_t c = 0; c < half; ++c) {
        fabric.Connect(aggregation[pod * half + a], half + c, core[a * half + c], pod, model);
      }
    }
  }
  for (uint32_t i = 0; i < nics.size(); ++i) {
    if (nics[i].device != nullptr) {
      fabric.Connect(nics[i].device, edge[i / half], i % half);
    } else {
      fabric.ConnectRemote(nics[i].address, edge[i / half], i % half);
    }
  }
  return k;
}

uint32_t BuildFatTree(QpipFabric& fabric, const std::vector<ns3::Ptr<QpipNetDevice>>& nics,
                      const NicModel& model) {
  std::vector<FatTreeNic> own;
  for (const auto& nic : nics) own.push_back({nic, {}});
  return BuildFatTree(fabric, own, model, 1);
}

}  // namespace qpip::sim

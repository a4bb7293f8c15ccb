#include "sim/ns3/helper/fat_tree.h"

#include <stdexcept>

#include "sim/ns3/model/qpip_net_device.h"

namespace qpip::sim {

uint32_t BuildFatTree(QpipFabric& fabric, const std::vector<ns3::Ptr<QpipNetDevice>>& nics,
                      const NicModel& model) {
  uint32_t k = 2;
  while (k * k * k / 4 < nics.size()) k += 2;
  if (k > 256) throw std::invalid_argument("too many NICs for a fat tree of 256-port switches");
  const uint32_t half = k / 2;
  std::vector<uint32_t> edge, aggregation, core;
  for (uint32_t i = 0; i < k * half; ++i) edge.push_back(fabric.AddSwitch(k, model));
  for (uint32_t i = 0; i < k * half; ++i) aggregation.push_back(fabric.AddSwitch(k, model));
  for (uint32_t i = 0; i < half * half; ++i) core.push_back(fabric.AddSwitch(k, model));
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
    fabric.Connect(nics[i], edge[i / half], i % half);
  }
  return k;
}

}  // namespace qpip::sim

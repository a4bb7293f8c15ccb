// Neighbours made known by hand: the firmware has no neighbour discovery.
#pragma once

#include "sim/ns3/model/qpip_net_device.h"

namespace qpip::sim {

/// Makes a NIC and everybody else on its lower device's channel known to each other: ns-3 stacks by
/// permanent entries of their NdiscCache, other QPIP NICs by AddNeighbour. Nothing to do on a
/// fabric, or on a point-to-point link, which has no addresses to find out.
void IntroduceOnLink(ns3::Ptr<QpipNetDevice> nic);

}  // namespace qpip::sim

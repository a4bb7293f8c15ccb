// Everything of QPIP that an ns-3 script needs, by ns-3's own names: ns3::QpipHelper,
// ns3::QpipNetDevice, ns3::QpipProgram, ... Include it before other headers of ns-3's.
#pragma once

// ns-3 before 3.39 has three headers that C++20 refuses (a constructor called Singleton<T>), and
// core-module.h includes them. They are left out here: nothing but ns-3's own sources needs them.
#ifdef QPIP_NS3_SINGLETONS_ARE_CXX17
#ifndef SINGLETON_H
#define SINGLETON_H
#endif
#ifndef SIMULATION_SINGLETON_H
#define SIMULATION_SINGLETON_H
#endif
#ifndef DESMETRICS_H
#define DESMETRICS_H
#endif
#endif

#include "qpip/qpip.h"
#include "qpip/stream.h"
#include "sim/ns3/helper/flow_probe.h"
#include "sim/ns3/helper/qpip_helper.h"
#include "sim/ns3/helper/qpip_program.h"
#include "sim/ns3/model/fabric.h"
#include "sim/ns3/model/qpip_net_device.h"
#include "sim/ns3/model/radix_scheduler.h"

namespace ns3 {

using qpip::sim::NicAt;
using qpip::sim::NicOf;
using qpip::sim::QpipFabric;
using qpip::sim::QpipFlowProbe;
using qpip::sim::QpipHelper;
using qpip::sim::QpipNetDevice;
using qpip::sim::QpipProgram;

}  // namespace ns3

// The numbers of a profile as ns-3 attributes of the NIC: "ProtocolAckEvery", "LinkDataRate".
#pragma once

#include <ns3/type-id.h>

#include <string>

#include "sim/ns3/model/parameter.h"

namespace qpip::sim {

/// The attribute of a parameter: "protocol.ack_delay_us" is "ProtocolAckDelay", "link.bits_per_s"
/// "LinkDataRate". Empty for stages' times, which have none.
std::string AttributeName(const ParameterSpec& spec);

/// Adds an attribute to QpipNetDevice's TypeId for every parameter that has one. What is not set is
/// the profile's. Times take ns3::Time and texts with a unit ("40ms"), link rates ns3::DataRate
/// ("10Gbps"), all others numbers of any kind, booleans, and texts with the suffixes of
/// ParseNumber; an empty text gives the parameter back to the profile. A value that is refused ends
/// the program as ns-3 does (NS_FATAL_ERROR), with the attribute's name and the reason.
ns3::TypeId AddParameterAttributes(ns3::TypeId id);

/// As ns3::MakeStringChecker, for the attribute "Profile": refuses what Profile::Load does.
ns3::Ptr<const ns3::AttributeChecker> MakeProfileChecker();

}  // namespace qpip::sim

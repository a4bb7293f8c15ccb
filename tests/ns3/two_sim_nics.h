// Two simulated NICs on one cable or switch, and programs that run on them.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <ns3/simulator.h>

#include <memory>
#include <string>

#include "sim/ns3/model/profile.h"
#include "sim/ns3/model/qpip_net_device.h"
#include "sim/ns3/model/virtual_time.h"

namespace qpip::sim::test {

struct SimSide {
  ns3::Ptr<ns3::Node> node;
  ns3::Ptr<QpipNetDevice> device;
  std::shared_ptr<Nic> nic;
  std::unique_ptr<ProtectionDomain> pd;
  std::unique_ptr<CompletionQueue> cq;

  /// Gives up the NIC, so that it may be opened again.
  void Close();
};

/// Given two NICs of a profile on a switch. Destroys the simulation at the end.
class TwoSimNics {
 public:
  explicit TwoSimNics(const std::string& profile = "lanai9-hardware-checksum");
  explicit TwoSimNics(const Profile& profile);
  ~TwoSimNics();
  void Open();
  /// Connects a client QP with a server QP; both programs run as fibres.
  void Connect(QueuePair& from, QueuePair& to);
  void CloseListener() { listener_.reset(); }

  ns3::Ptr<QpipFabric> fabric;
  SimSide server;
  SimSide client;

 private:
  std::unique_ptr<Listener> listener_;
};

}  // namespace qpip::sim::test

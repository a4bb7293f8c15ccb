// A blocking program on a simulated host, as an ns-3 application.
//
//     auto program = CreateObject<QpipProgram>("server", [](QpipNetDevice& device) {
//       auto nic = device.OpenNic();
//       ...                                     // host_lib's calls block in virtual time
//     });
//     node->AddApplication(program);
//     program->SetStartTime(Seconds(1));
#pragma once

#include <ns3/application.h>

#include <functional>
#include <string>

#include "sim/ns3/model/fibre.h"
#include "sim/ns3/model/qpip_net_device.h"

namespace qpip::sim {

/// Runs its function on a fibre from the start time on. The function ends by returning; one that is
/// still running when the simulation is destroyed is unwound. What it throws comes out of
/// Simulator::Run.
class QpipProgram : public ns3::Application {
 public:
  /// Gets the first QPIP NIC of the node, not opened.
  using Function = std::function<void(QpipNetDevice&)>;

  static ns3::TypeId GetTypeId();  ///< "ns3::QpipProgram"
  QpipProgram() = default;
  /// `name` is what errors call it. Give it to a node by Node::AddApplication.
  QpipProgram(std::string name, Function function);

  bool done() const { return done_; }  ///< the function has returned

 protected:
  void DoDispose() override;  ///< ns-3's; lets go of the function

 private:
  void StartApplication() override;

  std::string name_;
  Function function_;
  bool done_ = false;
};

}  // namespace qpip::sim

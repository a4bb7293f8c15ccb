// The packets of every simulated NIC, as pcap files.
#pragma once

#include <ns3/pcap-file-wrapper.h>
#include <ns3/ptr.h>

#include <string>
#include <utility>
#include <vector>

#include "sim/ns3/world/world.h"

namespace qpip::apps {

/// Writes what NICs send and receive, from the IPv6 header on and with times in nanoseconds, as
/// PREFIX-N.pcap of host N; another World of the same run has its number behind the prefix. One
/// at a time. Throws Failure out of a World's constructor when a file cannot be made.
class PcapFiles : private sim::WorldWatcher {
 public:
  explicit PcapFiles(std::string prefix);
  ~PcapFiles() override;
  PcapFiles(const PcapFiles&) = delete;
  PcapFiles& operator=(const PcapFiles&) = delete;

  /// Throws Failure when something could not be written.
  void RequireWritten() const;

 private:
  void OnBuilt(sim::World& world) override;
  void OnEnd(sim::World& world) override;

  const std::string prefix_;
  sim::WorldWatcher* const before_;
  int worlds_ = 0;
  std::vector<std::pair<std::string, ns3::Ptr<ns3::PcapFileWrapper>>> open_;
  std::string failed_;  ///< the first file that could not be written
};

}  // namespace qpip::apps

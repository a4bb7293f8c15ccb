// Who is compared in the paper's figures: QPIP in its variants, and the host-based stacks.
//
// Everything is named by profile and scenario. What this build has no profile or scenario for is
// left out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/sim/paper_study.h"

namespace qpip::apps {

/// One implementation: a profile and the MTU it runs with.
struct Implementation {
  std::string key;    ///< "qpip_1500"
  std::string title;  ///< "QPIP, MTU 1500"
  std::string profile;
  std::optional<double> mtu;    ///< nullopt: the profile's
  bool host_based = false;      ///< its "core" is the host's processor
  std::string figure_key = {};  ///< of sim::paper::Figures(), its throughput; empty: no number

  Simulation Run(const PaperOptions& options, const std::string& scenario,
                 const std::map<std::string, std::string>& arguments) const;
};

/// Figure 4's bars.
std::vector<Implementation> ThroughputImplementations(const PaperOptions& options);
/// Figure 3's.
std::vector<Implementation> RoundTripImplementations(const PaperOptions& options);
/// Figure 7's; empty when this build has no scenario "nbd".
std::vector<Implementation> StorageImplementations(const PaperOptions& options);

bool HasProfile(const std::string& name);
bool HasScenario(const std::string& name);

}  // namespace qpip::apps

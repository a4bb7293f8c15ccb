// How much each of the paper's six figures depends on what the paper does not say: on every fitted
// and assumed number, and on every structural switch of the model.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/sim/paper_study.h"

namespace qpip::apps {

/// One thing done differently.
struct Variation {
  std::string group;   ///< "switch" or "number"
  std::string name;    ///< the parameter, or what is switched
  std::string change;  ///< "126e6 -> 94.5e6", "overlapped, refitted"
  std::string kind;    ///< of the number: "fitted" or "assumed"; empty for a switch
  std::string source;  ///< why the value is what it is, or what the switch means
  std::function<void(Simulation*)> apply;
};

/// Every structural switch of the prototype's model (`switches`), and every fitted or assumed
/// number of the profile 25% down and up. A number that is a count goes to the next whole one; one
/// that is 0 or 1 by meaning is turned over.
std::vector<Variation> Variations(const sim::Profile& profile, bool switches);

void WantSensitivity(const PaperOptions& options, Simulations* simulations);
/// {"figures": [keys], "base": {key: value}, "rows": [{group, name, change, kind, source, values:
/// {key: value or null}, changes: {key: fraction or null}}]}. A variation in which a simulation
/// fails has null there, and "failed" says why.
nlohmann::json SensitivityJson(const PaperOptions& options, const Simulations& simulations);
/// The same for every host-based implementation that this build has: how its throughput, processor
/// time and round trip depend on the numbers of its profile. Each has "profile" and "title"
/// besides.
nlohmann::json HostSensitivityJson(const PaperOptions& options, const Simulations& simulations);

}  // namespace qpip::apps

// The paper's tables and figures: what to simulate for each, and published and simulated values
// side by side.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/sim/simulations.h"

namespace qpip::apps {

/// What is being compared with the paper.
struct PaperOptions {
  std::string profile = "lanai9-hardware-checksum";  ///< of the prototype; an expression
  std::vector<std::pair<std::string, double>> set;   ///< parameters with another value
  bool sensitivity = true;
  unsigned processes = 0;  ///< 0: one a processor
};

/// One of the six figures that are compared number by number, as a simulation.
struct PaperFigure {
  std::string key;  ///< of sim::paper::Figures()
  Simulation simulation;
  std::string metric;
};
std::vector<PaperFigure> PaperFigures(const PaperOptions& options);

/// A published value and the simulated one.
struct Comparison {
  std::string item;    ///< "Schedule", "TCP"
  std::string series;  ///< "data", "QPIP, MTU 1500"
  std::string unit;
  std::optional<double> published;  ///< nullopt: the paper gives no number
  std::optional<double> simulated;  ///< nullopt: it does not occur
  std::string note;
  std::string command;  ///< that repeats it

  /// (simulated - published) / published.
  std::optional<double> Error() const;
};
void to_json(nlohmann::json& json, const Comparison& row);

/// A table or figure of the paper.
struct Artifact {
  std::string key;    ///< "table2"; also the name of its files
  std::string title;  ///< "Table 2. Transmit side network interface processing costs"
  std::string place;  ///< where the paper has it
  std::vector<Comparison> rows;
  std::vector<std::string> notes;
};
void to_json(nlohmann::json& json, const Artifact& artifact);

/// Notes all simulations that the tables and figures need.
void WantPaper(const PaperOptions& options, Simulations* simulations);
/// Tables 1 to 3, Figures 3, 4 and 7, from simulations that ran.
std::vector<Artifact> PaperArtifacts(const PaperOptions& options, const Simulations& simulations);
/// The lives of a 1-byte and a 16 KiB message: activities and critical paths (scenario "message").
nlohmann::json MessageLives(const PaperOptions& options, const Simulations& simulations);
/// What the paper says of two results without giving both, with what the simulations say.
nlohmann::json PaperRelations(const PaperOptions& options, const Simulations& simulations);
/// The profiles of the host-based implementations that this build has, as ProfileJson.
nlohmann::json HostProfiles(const PaperOptions& options);
/// Every number of the profile, with kind and source.
nlohmann::json ProfileJson(const sim::Profile& profile);

}  // namespace qpip::apps

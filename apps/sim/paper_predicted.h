// The paper's tables and figures, predicted: the firmware's image for a core without a multiplier,
// executed instruction by instruction, with no stage's time taken from the paper.
#pragma once

#include <nlohmann/json.hpp>

#include "apps/sim/paper_study.h"

namespace qpip::apps {

/// Runs the paper's workloads on the image (sim/ns3/image) and sets every stage of Tables 2 and 3,
/// in instructions and in time, and every figure beside the published one. Throws Failure when a
/// simulation fails, std::runtime_error when there is no image.
nlohmann::json PredictPaper(const PaperOptions& options);
/// As a table on stdout.
void PrintPrediction(const nlohmann::json& prediction);
/// Writes DIR/predicted.csv and DIR/predicted.json. Throws Failure.
void WritePrediction(const nlohmann::json& prediction, const std::string& directory);

}  // namespace qpip::apps

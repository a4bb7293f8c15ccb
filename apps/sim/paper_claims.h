// What the paper says in words, scored: each statement once, and only where it could fail.
#pragma once

#include <nlohmann/json.hpp>

namespace qpip::apps {

/// A number in the paper's text holds when the simulated one is this near, as the paper prints it:
/// percent more or less.
inline constexpr double kClaimTolerance = 0.05;
/// A bound that every simulated value keeps by more than this factor is no test of the model: it is
/// shown and not counted.
inline constexpr double kFarFromBound = 2;

/// `relations` as PaperRelations gives them: a value for each subject. A range's two ends, "40% to
/// 137%", are two statements. Each: key, title, text, place, subject (whose value decides), paper,
/// simulated, error (of a number), holds, counted.
nlohmann::json PaperClaims(const nlohmann::json& relations);

}  // namespace qpip::apps

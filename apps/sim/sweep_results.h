// What a finished sweep, or a shard of it, leaves for its reader: tables and pictures.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/common/command_line.h"
#include "apps/sim/sweep.h"

namespace qpip::apps {

/// Adds --plot.
void AddPlotOption(CommandLine& command_line);

/// Points (CollectSweep) as comma-separated values: a column for every metric that some point has,
/// followed by its statistics when the seeds of some point differ in it; "error" is the last. A
/// result whose name is an axis' has "result_" before it.
std::string SweepCsv(const SweepPlan& plan, const nlohmann::json& points);
/// How many have failed.
uint64_t CountFailed(const nlohmann::json& points);
/// The points' warnings, the first of each kind with how many points it concerns; and that results
/// of several commits are among them.
void PrintSweepWarnings(const SweepPlan& plan, const nlohmann::json& points);

/// Writes sweep.json and sweep.csv into the directory that has all of the sweep's points, and the
/// pictures that --plot asks for; prints the same, as JSON with --json, and the points' warnings.
/// Throws Failure when a point is missing or has failed (after writing what there is) or a file
/// cannot be written, UsageError for a metric that no point has. `again`: how points that have
/// failed are tried once more.
void PublishSweep(const SweepPlan& plan, const std::string& directory,
                  const CommandLine& command_line, const std::string& again);

/// ... where they were run.
inline constexpr const char* kSweepAgain = "the same command tries them again";

/// Prints a shard's points, as a table or as JSON. Throws Failure as PublishSweep.
void PrintShard(const SweepPlan& plan, const Shard& shard, const std::string& directory, bool json);

}  // namespace qpip::apps

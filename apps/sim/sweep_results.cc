#include "apps/sim/sweep_results.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>

#include "apps/common/json_output.h"
#include "apps/common/version.h"
#include "apps/sim/output_files.h"
#include "apps/sim/plot.h"
#include "apps/sim/repeats.h"
#include "apps/sim/study.h"
#include "apps/sim/sweep_directory.h"
#include "sim/ns3/model/parameter.h"

namespace qpip::apps {
namespace {

namespace po = boost::program_options;

bool HasMetric(const nlohmann::json& points, const std::string& metric) {
  return std::any_of(points.begin(), points.end(), [&](const nlohmann::json& point) {
    return point.contains("metrics") && point["metrics"].contains(metric);
  });
}

/// Of whoever has run the points, which need not be this program.
std::set<std::string> CommitsOf(const nlohmann::json& points) {
  std::set<std::string> out;
  for (const nlohmann::json& point : points) {
    if (!point.contains("error")) out.insert(point["commit"].get<std::string>());
  }
  return out;
}

nlohmann::json SweepJson(const SweepPlan& plan, const nlohmann::json& points,
                         const std::vector<std::string>& metrics) {
  std::vector<std::string> axes;
  nlohmann::json units = nlohmann::json::object();
  for (const Axis& axis : plan.axes) {
    axes.push_back(axis.name);
    const auto* scenario_parameter =
        sim::FindParameter(sim::FindScenario(plan.scenario), axis.name);
    const sim::ParameterSpec* spec = sim::FindParameter(axis.name);
    if (scenario_parameter != nullptr) {
      units[axis.name] = scenario_parameter->of_bytes ? "B" : "";
    } else {
      units[axis.name] = spec != nullptr ? spec->unit : "";
    }
  }
  for (const std::string& metric : metrics) units[metric] = sim::MetricUnit(metric);
  const sim::ScenarioArguments complete(sim::FindScenario(plan.scenario).parameters,
                                        plan.arguments);
  const std::set<std::string> commits = CommitsOf(points);
  return {{"version", Version()},
          {"commit", commits.size() == 1 ? *commits.begin()
                     : commits.empty()   ? Commit()
                                         : "several"},
          {"scenario", plan.scenario},
          {"profile", plan.profile},
          {"set", plan.settings},
          {"given", plan.arguments},
          {"arguments", complete.values()},
          {"repeat", plan.repeats},
          {"axes", axes},
          {"units", units},
          {"plot", metrics},
          {"points", points}};
}

/// `again`: how they are tried once more.
[[noreturn]] void FailSweep(const nlohmann::json& points, uint64_t failed, const std::string& where,
                            const std::string& again) {
  const auto first = std::find_if(points.begin(), points.end(),
                                  [](const auto& point) { return point.contains("error"); });
  throw Failure(std::to_string(failed) + " of " + std::to_string(points.size()) +
                " points failed, the first: " + (*first)["error"].get<std::string>() + ": " +
                where + " has all; " + again);
}

}  // namespace

void AddPlotOption(CommandLine& command_line) {
  command_line.Options().add_options()("plot",
                                       po::value<std::vector<std::string>>()->value_name("METRIC"),
                                       "draws a metric as PNG and SVG; repeatable");
}

std::string SweepCsv(const SweepPlan& plan, const nlohmann::json& points) {
  std::vector<std::string> columns;
  for (const Axis& axis : plan.axes) columns.push_back(axis.name);
  std::set<std::string> words, metrics;  // a point has some, another others
  std::set<std::string> spread;          // that not all seeds agree on, somewhere
  nlohmann::json rows = nlohmann::json::array();
  const nlohmann::json none = nlohmann::json::object();
  const auto part = [&none](const nlohmann::json& point,
                            const char* name) -> const nlohmann::json& {
    return point.contains(name) ? point[name] : none;
  };
  const std::set<std::string> axes(columns.begin(), columns.end());
  const auto column = [&axes](const std::string& name) {
    return axes.count(name) == 0 ? name : "result_" + name;
  };
  for (const nlohmann::json& point : points) {
    nlohmann::json row = nlohmann::json::object();
    for (const auto& [name, value] : part(point, "metrics").items()) {
      metrics.insert(column(name));
      row[column(name)] = value;
    }
    for (const auto& [name, word] : part(point, "words").items()) {
      words.insert(column(name));
      row[column(name)] = word;
    }
    for (const auto& [name, statistics] : part(point, "statistics").items()) {
      if (statistics["min"] != statistics["max"]) spread.insert(column(name));
      const std::string prefix = column(name) + "_";
      for (const auto& [which, value] : statistics.items()) row[prefix + which] = value;
    }
    for (const auto& [name, value] : point["axes"].items()) row[name] = value;
    if (point.contains("error")) row["error"] = point["error"];
    rows.push_back(std::move(row));
  }
  columns.insert(columns.end(), words.begin(), words.end());
  for (const std::string& name : metrics) {
    columns.push_back(name);
    if (spread.count(name) == 0) continue;
    const std::string prefix = name + "_";
    for (const std::string& which : StatisticNames()) columns.push_back(prefix + which);
  }
  columns.push_back("error");
  return Csv(rows, columns);
}

uint64_t CountFailed(const nlohmann::json& points) {
  return static_cast<uint64_t>(std::count_if(
      points.begin(), points.end(), [](const auto& point) { return point.contains("error"); }));
}

void PrintSweepWarnings(const SweepPlan& plan, const nlohmann::json& points) {
  struct Seen {
    std::string where;
    std::string text;
    uint64_t points = 0;
  };
  std::map<Warning::Kind, Seen> kinds;
  const std::set<std::string> commits = CommitsOf(points);
  for (const nlohmann::json& point : points) {
    if (point.contains("error")) continue;
    for (const Warning& warning : Warnings(point, plan.repeats)) {
      Seen& seen = kinds[warning.kind];
      if (seen.points++ != 0) continue;
      seen.text = warning.text;
      for (const auto& [name, value] : point["axes"].items()) {
        seen.where += (seen.where.empty() ? "" : ", ") + name + "=" + value.get<std::string>();
      }
    }
  }
  for (const auto& [kind, seen] : kinds) {
    const std::string others =
        seen.points == 1 ? "" : " (and at " + std::to_string(seen.points - 1) + " more points)";
    PrintErrorLine("qpip-sim: note", "at " + seen.where + others + ": " + seen.text);
  }
  if (commits.size() > 1) {
    PrintErrorLine("qpip-sim: note",
                   "the points' results are of several versions of QPIP (\"commit\" in points/): "
                   "sweep again in another directory before comparing them");
  } else if (commits.size() == 1 && *commits.begin() != Commit()) {
    PrintErrorLine("qpip-sim: note", "the points' results are of QPIP " + *commits.begin() +
                                         ", and this is " + Commit() +
                                         ": sweep in another directory to have this one's");
  }
}

void PublishSweep(const SweepPlan& plan, const std::string& directory,
                  const CommandLine& command_line, const std::string& again) {
  const nlohmann::json points = CollectSweep(plan, Shard{}, directory);
  const std::vector<std::string> metrics = command_line.Strings("plot");
  const nlohmann::json all = SweepJson(plan, points, metrics);
  WriteFile(directory + "/sweep.json", JsonText(all, 1) + "\n");
  WriteFile(directory + "/sweep.csv", SweepCsv(plan, points));
  PrintSweepWarnings(plan, points);
  const uint64_t failed = CountFailed(points);
  const std::string errors = "the column error of " + directory + "/sweep.csv";
  if (failed == points.size()) FailSweep(points, failed, errors, again);
  for (const std::string& metric : metrics) {
    if (HasMetric(points, metric)) continue;
    std::string message = "--plot \"";
    message.append(metric).append("\": no point has this metric: ").append(directory);
    throw UsageError(message + "/sweep.csv has all that there are");
  }
  if (!metrics.empty()) Plot({"sweep", directory}, all);
  if (command_line.json()) {
    PrintJsonLine(all);
  } else {
    std::printf("%s", SweepCsv(plan, points).c_str());
    std::fprintf(stderr, "results: %s/sweep.csv, sweep.json%s\n", directory.c_str(),
                 metrics.empty() ? "" : ", and a picture a metric (.png, .svg)");
  }
  if (failed != 0) FailSweep(points, failed, errors, again);
}

void PrintShard(const SweepPlan& plan, const Shard& shard, const std::string& directory,
                bool json) {
  const nlohmann::json points = CollectSweep(plan, shard, directory);
  PrintSweepWarnings(plan, points);
  if (json) {
    PrintJsonLine({{"shard", shard.Text()}, {"points", points}});
  } else {
    std::printf("%s", SweepCsv(plan, points).c_str());
    std::fprintf(stderr,
                 "shard %s of the sweep is in %s: qpip-sim merge joins it with the others\n",
                 shard.Text().c_str(), directory.c_str());
  }
  if (const uint64_t failed = CountFailed(points); failed != 0) {
    FailSweep(points, failed, directory + "/points/*.failed", kSweepAgain);
  }
}

}  // namespace qpip::apps

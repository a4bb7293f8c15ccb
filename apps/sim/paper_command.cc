// qpip-sim paper: everything the paper measured, simulated and compared.
#include <cstdio>
#include <iostream>

#include "apps/common/json_output.h"
#include "apps/common/version.h"
#include "apps/sim/output_files.h"
#include "apps/sim/paper_claims.h"
#include "apps/sim/paper_files.h"
#include "apps/sim/paper_predicted.h"
#include "apps/sim/paper_sensitivity.h"
#include "apps/sim/paper_study.h"
#include "apps/sim/plot.h"
#include "apps/sim/sensitivity_failures.h"
#include "apps/sim/study.h"
#include "apps/sim/subcommands.h"
#include "sim/ns3/image/firmware_run.h"
#include "sim/ns3/paper/published.h"

namespace qpip::apps {
namespace {

namespace po = boost::program_options;

PaperOptions GetOptions(const CommandLine& command_line) {
  PaperOptions options;
  const sim::Profile profile = GetProfile(command_line);  // says what is wrong before anything runs
  options.profile = command_line.String("profile");
  for (const std::string& assignment : command_line.Strings("set")) {
    const size_t equals = assignment.find('=');
    options.set.emplace_back(assignment.substr(0, equals),
                             profile.Get(assignment.substr(0, equals)));
  }
  options.sensitivity = !command_line.Flag("no-sensitivity");
  options.processes = static_cast<unsigned>(command_line.Number("jobs", 0, 1024));
  return options;
}

/// The command that repeats the study; where its files went does not matter.
std::string CommandText(const PaperOptions& options) {
  std::string out = "qpip-sim paper --profile " + options.profile;
  for (const auto& [name, value] : options.set) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.10g", value);
    out += " --set " + name + "=" + text;
  }
  return options.sensitivity ? out : out + " --no-sensitivity";
}

nlohmann::json Study(const PaperOptions& options) {
  Simulations simulations;
  WantPaper(options, &simulations);
  if (options.sensitivity) WantSensitivity(options, &simulations);
  simulations.RunAll(options.processes);
  const nlohmann::json relations = PaperRelations(options, simulations);
  nlohmann::json study = {
      {"paper", sim::paper::kTitle},
      {"version", Version()},
      {"command", CommandText(options)},
      {"simulations", simulations.size()},
      {"artifacts", PaperArtifacts(options, simulations)},
      {"messages", MessageLives(options, simulations)},
      {"relations", relations},
      {"claims", PaperClaims(relations)},
      {"host_profiles", HostProfiles(options)},
      {"profile", ProfileJson(Simulation{"", options.profile, options.set, {}}.LoadProfile())}};
  nlohmann::json figures = nlohmann::json::array();
  for (const PaperFigure& figure : PaperFigures(options)) {
    const sim::paper::Figure& published = sim::paper::FindFigure(figure.key);
    const double value = simulations.Metric(figure.simulation, figure.metric);
    figures.push_back({{"key", figure.key},
                       {"title", published.title},
                       {"place", published.place},
                       {"unit", published.unit},
                       {"published", published.value},
                       {"simulated", value},
                       {"error", (value - published.value) / published.value},
                       {"command", figure.simulation.Command()},
                       {"metrics", simulations.Get(figure.simulation).metrics}});
  }
  study["figures"] = figures;
  if (options.sensitivity) {
    study["sensitivity"] = SensitivityJson(options, simulations);
    study["host_sensitivity"] = HostSensitivityJson(options, simulations);
  }
  return study;
}

std::string Cell(const nlohmann::json& value, const char* format) {
  if (!value.is_number()) return "-";
  char text[32];
  std::snprintf(text, sizeof(text), format, value.get<double>());
  return text;
}

void PrintSummary(const nlohmann::json& study) {
  std::printf("%-22s %-48s %10s %10s %8s\n", "", "", "published", "simulated", "error");
  for (const auto& artifact : study["artifacts"]) {
    std::printf("%s\n", artifact["title"].get<std::string>().c_str());
    for (const auto& row : artifact["rows"]) {
      nlohmann::json percent;
      if (row["error"].is_number()) percent = 100 * row["error"].get<double>();
      const std::string unit = row["unit"].get<std::string>();
      const std::string what =
          row["series"].get<std::string>() + (unit.empty() ? "" : " [" + unit + "]");
      std::printf("  %-20s %-48s %10s %10s %8s\n", row["item"].get<std::string>().c_str(),
                  what.c_str(), Cell(row["published"], "%.4g").c_str(),
                  Cell(row["simulated"], "%.4g").c_str(), Cell(percent, "%+.1f%%").c_str());
    }
  }
  std::printf("What the paper says in words\n");
  for (const auto& claim : study["claims"]) {
    const bool holds = claim["holds"].get<bool>();
    const char* verdict = !claim["counted"].get<bool>() ? "not counted" : holds ? "holds" : "NO";
    std::printf("  %-69s %10s %10s %8s\n", claim["title"].get<std::string>().c_str(),
                claim["paper"].get<std::string>().c_str(),
                claim["simulated"].get<std::string>().c_str(), verdict);
  }
}

/// --predicted: the firmware's image instead of the tables' times.
int Predict(const CommandLine& command_line, const PaperOptions& options) {
  for (const char* name : {"report", "markdown"}) {
    if (command_line.Has(name)) {
      throw UsageError(std::string("--") + name +
                       " is of the fitted study: with --predicted give "
                       "--out or --json");
    }
  }
  if (command_line.Has("firmware-image")) {
    sim::FirmwareImage::UseFile(command_line.String("firmware-image"));
  }
  if (command_line.Has("out")) MakeDirectory(command_line.String("out"));
  const nlohmann::json prediction = PredictPaper(options);
  if (command_line.json()) {
    PrintJsonLine(prediction);
  } else {
    PrintPrediction(prediction);
  }
  if (command_line.Has("out")) WritePrediction(prediction, command_line.String("out"));
  return kExitOk;
}

}  // namespace

int SimPaper(int argc, const char* const* argv) {
  CommandLine command_line(
      {.name = "qpip-sim paper",
       .summary = "simulates what the paper measured: Tables 1 to 3, Figures 3, 4 and 7",
       .usage = "  qpip-sim paper [--out DIR] [--report DIR] [options]\n",
       .notes = "DIR gets every table and figure as CSV, JSON, PNG and SVG, published value,\n"
                "simulated one and error side by side, and how much each figure depends on every\n"
                "number and switch that the paper leaves open. The report is one HTML file.\n",
       .examples = "  qpip-sim paper\n"
                   "  qpip-sim paper --out results --report results\n"
                   "  qpip-sim paper --profile lanai9-hardware-checksum+overlapped-dma\n"
                   "  qpip-sim paper --predicted\n"});
  AddProfileOptions(command_line);
  command_line.Options().add_options()("out", po::value<std::string>()->value_name("DIR"),
                                       "writes data and pictures there")(
      "report", po::value<std::string>()->value_name("DIR"), "writes DIR/index.html")(
      "markdown", po::value<std::string>()->value_name("FILE"), "writes the results as a document")(
      "no-sensitivity", "leaves out the runs with other numbers and switches")(
      "predicted",
      "stages take what the firmware's instructions take on a core without multiplier, instead of "
      "the tables' times")("firmware-image", po::value<std::string>()->value_name("FILE"),
                           "what tools/build-rv32i has made, for --predicted")(
      "jobs,j", po::value<std::string>()->default_value("0")->value_name("N"),
      "simulations at a time; 0: one a processor");
  if (!command_line.Parse(argc, argv)) return kExitOk;
  const PaperOptions options = GetOptions(command_line);
  if (command_line.Flag("predicted")) return Predict(command_line, options);
  if (command_line.Has("firmware-image")) {
    throw UsageError("--firmware-image is for --predicted");
  }
  for (const char* directory : {"out", "report"}) {
    if (command_line.Has(directory)) MakeDirectory(command_line.String(directory));
  }
  if (command_line.Has("markdown")) RequireWritable(command_line.String("markdown"));
  const nlohmann::json study = Study(options);
  if (command_line.json()) {
    PrintJsonLine(study);
  } else {
    PrintSummary(study);
  }
  if (command_line.Has("out")) {
    WritePaperFiles(study, command_line.String("out"));
    Plot({"paper", command_line.String("out")}, study);
  }
  if (command_line.Has("report")) Plot({"report", command_line.String("report")}, study);
  if (command_line.Has("markdown")) Plot({"markdown", command_line.String("markdown")}, study);
  if (const auto failures = SensitivityFailures(study)) {
    throw Failure(*failures + ": their cells are empty; --json, and paper.json of --out, have " +
                  "all under \"failed\"");
  }
  return kExitOk;
}

}  // namespace qpip::apps

#include "apps/sim/paper_predicted.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "apps/common/version.h"
#include "apps/sim/output_files.h"
#include "apps/sim/paper_implementations.h"
#include "sim/ns3/image/firmware_run.h"
#include "sim/ns3/model/stage_names.h"
#include "sim/ns3/paper/published.h"

namespace qpip::apps {
namespace {

namespace paper = sim::paper;

constexpr const char* kImage = "+rv32i-image";
/// With these an instruction is a cycle, and a stage's cycles are its instructions.
constexpr const char* kExtraCycles[] = {"image.load_cycles", "image.store_cycles",
                                        "image.narrow_store_cycles", "image.taken_branch_cycles"};

PaperOptions OnImage(PaperOptions options) {
  options.profile += kImage;
  return options;
}

Simulation StagesInTime(const PaperOptions& options) {
  return {"stages", options.profile, options.set, {}};
}

Simulation StagesInInstructions(const PaperOptions& options) {
  Simulation run = StagesInTime(options);
  run.set.emplace_back("image.cycles", 1);
  for (const char* name : kExtraCycles) run.set.emplace_back(name, 0);
  return run;
}

struct Deviation {
  std::string what;
  double value;
};

/// Rows of one table; deviations of what the paper has are added to `deviations`.
void AddTable(const char* table, std::span<const paper::StageRow> rows,
              const SimulationOutcome& time, const SimulationOutcome& instructions, double hz,
              nlohmann::json* out, std::vector<Deviation>* deviations) {
  for (const paper::StageRow& row : rows) {
    for (const auto& [column, published] :
         {std::pair("data", row.data_us), std::pair("ack", row.ack_us)}) {
      std::string metric = std::string(sim::StageKey(row.stage)) + "_" + column + "_us";
      std::replace(metric.begin(), metric.end(), '-', '_');
      const auto found = time.metrics.find(metric);
      if (found == time.metrics.end() && !published) continue;
      const double us = found == time.metrics.end() ? 0 : found->second;
      nlohmann::json line = {{"table", table},          {"stage", row.title},
                             {"column", column},        {"published_us", nullptr},
                             {"instructions", nullptr}, {"predicted_us", us},
                             {"deviation", nullptr}};
      const auto executed = instructions.metrics.find(metric);
      if (executed != instructions.metrics.end()) {
        line["instructions"] = std::round(executed->second * 1e-6 * hz);
      }
      if (published) {
        line["published_us"] = *published;
        line["deviation"] = us / *published - 1;
        deviations->push_back(
            {std::string(table) + ", " + row.title + ", " + column, us / *published - 1});
      }
      out->push_back(std::move(line));
    }
  }
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 != 0 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::string PercentText(const nlohmann::json& fraction) {
  if (!fraction.is_number()) return "";
  char text[32];
  std::snprintf(text, sizeof(text), "%+.0f%%", 100 * fraction.get<double>());
  return text;
}

std::string NumberText(const nlohmann::json& value, const char* format) {
  if (!value.is_number()) return "-";
  char text[32];
  std::snprintf(text, sizeof(text), format, value.get<double>());
  return text;
}

nlohmann::json Sums(const nlohmann::json& stages) {
  nlohmann::json sums = nlohmann::json::array();
  for (const char* table : {"Table 2", "Table 3"}) {
    for (const char* column : {"data", "ack"}) {
      double published = 0;
      double predicted = 0;
      for (const auto& row : stages) {
        if (row["table"] != table || row["column"] != column) continue;
        published += row["published_us"].is_number() ? row["published_us"].get<double>() : 0;
        predicted += row["predicted_us"].get<double>();
      }
      sums.push_back({{"table", table},
                      {"column", column},
                      {"published_us", published},
                      {"predicted_us", predicted},
                      {"deviation", predicted / published - 1}});
    }
  }
  return sums;
}

}  // namespace

nlohmann::json PredictPaper(const PaperOptions& options) {
  sim::FirmwareImage::Shared();  // says what is wrong with it before anything runs
  const PaperOptions on_image = OnImage(options);
  const Simulation in_time = StagesInTime(on_image);
  const Simulation in_instructions = StagesInInstructions(on_image);
  const std::vector<PaperFigure> figures = PaperFigures(on_image);
  Simulations simulations;
  simulations.Want(in_time);
  simulations.Want(in_instructions);
  for (const PaperFigure& figure : figures) simulations.Want(figure.simulation);
  simulations.RunAll(options.processes);

  const SimulationOutcome& time = simulations.Get(in_time);
  const SimulationOutcome& instructions = simulations.Get(in_instructions);
  const double hz = in_time.LoadProfile().Get("core.hz");
  nlohmann::json stages = nlohmann::json::array();
  std::vector<Deviation> deviations;
  AddTable("Table 2", paper::Table2(), time, instructions, hz, &stages, &deviations);
  AddTable("Table 3", paper::Table3(), time, instructions, hz, &stages, &deviations);
  const auto further = [](const Deviation& a, const Deviation& b) {
    return std::abs(a.value) < std::abs(b.value);
  };
  const Deviation& worst = *std::max_element(deviations.begin(), deviations.end(), further);
  std::vector<double> sizes;
  for (const Deviation& one : deviations) sizes.push_back(std::abs(one.value));

  nlohmann::json out = {
      {"paper", paper::kTitle},
      {"version", Version()},
      {"command", in_time.Command()},
      {"stages", stages},
      {"sums", Sums(stages)},
      {"worst", {{"what", worst.what}, {"deviation", worst.value}}},
      {"median_deviation", Median(std::move(sizes))},
      {"between_stages", 1 - time.metrics.at("stages_us") / time.metrics.at("core_busy_us")},
      {"profile", ProfileJson(in_time.LoadProfile())}};
  for (const PaperFigure& figure : figures) {
    const paper::Figure& published = paper::FindFigure(figure.key);
    const double value = simulations.Metric(figure.simulation, figure.metric);
    out["figures"].push_back({{"key", figure.key},
                              {"title", published.title},
                              {"unit", published.unit},
                              {"published", published.value},
                              {"predicted", value},
                              {"deviation", value / published.value - 1},
                              {"command", figure.simulation.Command()}});
  }
  return out;
}

void PrintPrediction(const nlohmann::json& prediction) {
  std::printf("%-8s %-18s %-5s %13s %12s %13s %10s\n", "", "", "", "published us", "instructions",
              "predicted us", "deviation");
  for (const auto& row : prediction["stages"]) {
    std::printf("%-8s %-18s %-5s %13s %12s %13s %10s\n", row["table"].get<std::string>().c_str(),
                row["stage"].get<std::string>().c_str(), row["column"].get<std::string>().c_str(),
                NumberText(row["published_us"], "%.4g").c_str(),
                NumberText(row["instructions"], "%.0f").c_str(),
                NumberText(row["predicted_us"], "%.2f").c_str(),
                PercentText(row["deviation"]).c_str());
  }
  for (const auto& row : prediction["sums"]) {
    std::printf(
        "%-8s %-18s %-5s %13s %12s %13s %10s\n", row["table"].get<std::string>().c_str(), "Sum",
        row["column"].get<std::string>().c_str(), NumberText(row["published_us"], "%.4g").c_str(),
        "", NumberText(row["predicted_us"], "%.2f").c_str(), PercentText(row["deviation"]).c_str());
  }
  std::printf("\nworst deviation %s: %s; median %s\n",
              PercentText(prediction["worst"]["deviation"]).c_str(),
              prediction["worst"]["what"].get<std::string>().c_str(),
              PercentText(prediction["median_deviation"]).c_str());
  std::printf("core time in no stage (looking for what is next): %s of all\n\n",
              NumberText(100 * prediction["between_stages"].get<double>(), "%.1f%%").c_str());
  for (const auto& row : prediction["figures"]) {
    std::printf(
        "%-46s %6s %9s %9s %10s\n", row["title"].get<std::string>().c_str(),
        row["unit"].get<std::string>().c_str(), NumberText(row["published"], "%.4g").c_str(),
        NumberText(row["predicted"], "%.4g").c_str(), PercentText(row["deviation"]).c_str());
  }
}

void WritePrediction(const nlohmann::json& prediction, const std::string& directory) {
  WriteBoth(
      directory, "predicted", prediction, prediction["stages"],
      {"table", "stage", "column", "published_us", "instructions", "predicted_us", "deviation"});
}

}  // namespace qpip::apps

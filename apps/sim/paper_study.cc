#include "apps/sim/paper_study.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "apps/common/command_line.h"
#include "apps/sim/paper_implementations.h"
#include "sim/ns3/model/parameter.h"
#include "sim/ns3/model/stage_names.h"
#include "sim/ns3/paper/published.h"

namespace qpip::apps {
namespace {

namespace paper = sim::paper;

const Implementation& Prototype(const std::vector<Implementation>& all) { return all.front(); }

std::string Text(const char* format, auto... values) {
  char text[400];
  std::snprintf(text, sizeof(text), format, values...);
  return text;
}

/// A row of what a run measured beside what the paper has for it.
Comparison Row(const std::string& item, const Implementation& one, const char* unit,
               std::optional<double> published, const Simulations& simulations,
               const Simulation& run, const std::string& metric, const char* note = "") {
  return {item, one.title, unit, published, simulations.Metric(run, metric), note, run.Command()};
}

// --- What each comparison runs

Simulation StagesRun(const PaperOptions& options) {
  return {"stages", options.profile, options.set, {}};
}

Simulation PingRun(const PaperOptions& options, const Implementation& implementation,
                   const std::string& transport) {
  return implementation.Run(options, "ping", {{"transport", transport}});
}

Simulation TtcpRun(const PaperOptions& options, const Implementation& implementation) {
  return implementation.Run(options, "ttcp", {});
}

Simulation StorageRun(const PaperOptions& options, const Implementation& implementation) {
  return implementation.Run(options, "nbd", {});
}

constexpr const char* kLives[] = {"1", "16384"};

Simulation LifeRun(const PaperOptions& options, const char* bytes) {
  return {"message", options.profile, options.set, {{"bytes", bytes}}};
}

// --- Table 1

void AddOverhead(Artifact* table, const paper::HostOverhead& published, const std::string& title,
                 double us, double hz, const std::string& note, const std::string& command) {
  table->rows.push_back({title, "time", "us", published.us, us, note, command});
  table->rows.push_back(
      {title, "cycles", "cycles", published.cycles, us * 1e-6 * hz, note, command});
}

Artifact Table1(const PaperOptions& options, const Simulations& simulations) {
  Artifact table{"table1",
                 "Table 1. Host overhead for transmit and receive, 1-byte TCP message",
                 "section 4.2.2",
                 {},
                 {}};
  for (const Implementation& one : RoundTripImplementations(options)) {
    if (one.key == "qpip_firmware") continue;  // the checksum is not the host's work
    const Simulation run = PingRun(options, one, "tcp");
    const double us = simulations.Metric(run, "host_overhead_us_per_message");
    const sim::Profile profile = run.LoadProfile();
    std::string note;
    if (one.host_based) {
      note = Text(
          "The paper's is through the loop-back, without driver and interrupt, and a lower "
          "bound, as it says; the interrupt alone is %.3g us in this profile.",
          profile.GetOr("core.receive_interrupt_us", 0));
    }
    AddOverhead(&table, one.host_based ? paper::kHostBasedIp : paper::kQpip, one.title, us,
                profile.Get("host.hz"), note, run.Command());
  }
  table.notes.push_back(
      "QPIP: processor time of PostSend, PostRecv and the Poll that finds the completion, a round "
      "trip's share of one host. Fruitless polls are not overhead: they take what is left.");
  if (HasProfile("host-gige-1500")) {
    table.notes.push_back(
        "Host-based: stack, driver and interrupts of one host a round trip. The paper measured "
        "through the loop-back interface, without driver, and calls its figure a lower bound.");
  }
  return table;
}

// --- Tables 2 and 3

std::string StageMetric(fw::Stage stage, const char* variant) {
  std::string name = sim::StageKey(stage);
  std::replace(name.begin(), name.end(), '-', '_');
  return name + "_" + variant + "_us";
}

Artifact StageTable(const PaperOptions& options, const Simulations& simulations, const char* key,
                    const char* title, std::span<const paper::StageRow> rows) {
  Artifact table{key, title, "section 4.2.2", {}, {}};
  const Simulation run = StagesRun(options);
  const SimulationOutcome& outcome = simulations.Get(run);
  double published_sum[2] = {};
  double simulated_sum[2] = {};
  const char* const columns[2] = {"data", "ack"};
  for (const paper::StageRow& row : rows) {
    const std::optional<double> published[2] = {row.data_us, row.ack_us};
    for (int i = 0; i < 2; ++i) {
      const auto found = outcome.metrics.find(StageMetric(row.stage, columns[i]));
      std::optional<double> simulated;
      if (found != outcome.metrics.end()) simulated = found->second;
      if (!published[i] && !simulated) continue;
      table.rows.push_back(
          {row.title, columns[i], "us", published[i], simulated, {}, run.Command()});
      published_sum[i] += published[i].value_or(0);
      simulated_sum[i] += simulated.value_or(0);
    }
  }
  for (int i = 0; i < 2; ++i) {
    table.rows.push_back({"Sum", columns[i], "us", published_sum[i], simulated_sum[i],
                          "not printed in the paper", run.Command()});
  }
  table.notes.push_back(
      Text("Read from the intervals in which the simulated cores were busy: %.0f data and %.0f "
           "acknowledgement segments; all stages together take %.3f us, the cores count %.3f us.",
           outcome.metrics.at("data_segments"), outcome.metrics.at("ack_segments"),
           outcome.metrics.at("stages_us"), outcome.metrics.at("core_busy_us")));
  for (const auto& line : outcome.details["deviations_from_paper"]) {
    table.notes.push_back("Differs: " + line.get<std::string>());
  }
  return table;
}

// --- Figures

Artifact Figure3(const PaperOptions& options, const Simulations& simulations) {
  Artifact figure{"figure3",
                  "Figure 3. Application-to-application round trip time, 1 byte",
                  "section 4.2.1",
                  {},
                  {}};
  for (const Implementation& one : RoundTripImplementations(options)) {
    for (const auto& [transport, item] : {std::pair("udp", "UDP"), std::pair("tcp", "TCP")}) {
      const Simulation run = PingRun(options, one, transport);
      std::optional<double> published;
      if (one.key == "qpip_firmware") {
        published = paper::FindFigure(std::string("rtt_") + transport).value;
      }
      figure.rows.push_back(Row(item, one, "us", published, simulations, run, "rtt_mean_us"));
    }
  }
  figure.notes.push_back(
      "The paper's text gives numbers for QPIP with the firmware's checksum only; the other bars "
      "of its Figure 3 are not in the text.");
  return figure;
}

Artifact Figure4(const PaperOptions& options, const Simulations& simulations) {
  Artifact figure{"figure4",
                  "Figure 4. Application-to-application throughput and CPU utilisation",
                  "section 4.2.1",
                  {},
                  {}};
  for (const Implementation& one : ThroughputImplementations(options)) {
    const Simulation run = TtcpRun(options, one);
    std::optional<double> published;
    if (!one.figure_key.empty()) published = paper::FindFigure(one.figure_key).value;
    figure.rows.push_back(
        Row("throughput", one, "MB/s", published, simulations, run, "throughput_MB_per_s"));
  }
  for (const Implementation& one : ThroughputImplementations(options)) {
    const Simulation run = TtcpRun(options, one);
    for (const char* host : {"sender", "receiver"}) {
      figure.rows.push_back(
          Row(std::string("CPU utilisation, ") + host, one, "", std::nullopt, simulations, run,
              std::string(host) + "_host_utilisation",
              one.host_based ? "published: 0.5 to 0.75" : "published: below 0.01"));
    }
  }
  figure.notes.push_back(
      "10 MB in chunks of 16 KiB; MB are 10^6 bytes. QPIP's utilisation is the work of posts and "
      "polls that find something.");
  return figure;
}

/// Metrics of scenario "nbd" that Figure 7 shows.
struct StorageMetric {
  const char* metric;
  const char* item;
  const char* unit;
};
constexpr StorageMetric kStorageMetrics[] = {
    {"read_throughput_MB_per_s", "read throughput", "MB/s"},
    {"write_throughput_MB_per_s", "write throughput", "MB/s"},
    {"read_MB_per_cpu_s", "read effectiveness", "MB/CPU-s"},
    {"write_MB_per_cpu_s", "write effectiveness", "MB/CPU-s"},
    {"read_client_host_utilisation", "client CPU utilisation, read", ""},
    {"write_client_host_utilisation", "client CPU utilisation, write", ""},
};

std::optional<Artifact> Figure7(const PaperOptions& options, const Simulations& simulations) {
  const auto implementations = StorageImplementations(options);
  if (implementations.empty()) return std::nullopt;
  Artifact figure{
      "figure7", "Figure 7. NBD client throughput and CPU effectiveness", "section 4.2.3", {}, {}};
  for (const StorageMetric& metric : kStorageMetrics) {
    for (const Implementation& one : implementations) {
      const Simulation run = StorageRun(options, one);
      figure.rows.push_back(
          Row(metric.item, one, metric.unit, std::nullopt, simulations, run, metric.metric));
    }
  }
  figure.notes.push_back(
      "The paper's text gives relations only: see them below. Effectiveness is MB (10^6 bytes) a "
      "second of the client's processor.");
  return figure;
}

// --- Relations

class RelationList {
 public:
  /// `value` nullopt: this build cannot say.
  void Add(const std::string& key, const std::string& subject, std::optional<double> value) {
    const paper::Relation& relation = paper::FindRelation(key);
    nlohmann::json row = {
        {"key", key},          {"title", relation.title}, {"subject", subject},
        {"low", relation.low}, {"text", relation.text},   {"place", relation.place}};
    row["high"] = std::isinf(relation.high) ? nlohmann::json() : nlohmann::json(relation.high);
    row["simulated"] = value ? nlohmann::json(*value) : nlohmann::json();
    rows_.push_back(std::move(row));
  }
  nlohmann::json Take() { return std::move(rows_); }

 private:
  nlohmann::json rows_ = nlohmann::json::array();
};

void AddThroughputRelations(const PaperOptions& options, const Simulations& simulations,
                            RelationList* out) {
  std::map<std::string, double> rate;
  double best_host_based = 0;
  for (const Implementation& one : ThroughputImplementations(options)) {
    const Simulation run = TtcpRun(options, one);
    rate[one.key] = simulations.Metric(run, "throughput_MB_per_s");
    if (one.host_based) best_host_based = std::max(best_host_based, rate[one.key]);
    for (const char* host : {"sender", "receiver"}) {
      out->Add(one.host_based ? "host_based_utilisation" : "qpip_host_utilisation",
               one.title + ", " + host,
               simulations.Metric(run, std::string(host) + "_host_utilisation"));
    }
  }
  const auto ratio = [&rate](const char* above, const char* below) -> std::optional<double> {
    if (rate.count(below) == 0) return std::nullopt;
    return rate.at(above) / rate.at(below);
  };
  out->Add("qpip_1500_against_gige", "throughput ratio", ratio("qpip_1500", "host-gige-1500"));
  out->Add("qpip_9000_against_gm", "throughput ratio", ratio("qpip_9000", "host-gm-9000"));
  std::optional<double> best;
  if (best_host_based > 0) best = rate.at("qpip_native") / best_host_based;
  out->Add("qpip_native_against_best", "throughput ratio", best);
}

void AddStorageRelations(const PaperOptions& options, const Simulations& simulations,
                         RelationList* out) {
  const auto implementations = StorageImplementations(options);
  if (implementations.empty()) return;
  const auto metric = [&](const Implementation& one, const std::string& name) {
    return simulations.Metric(StorageRun(options, one), name);
  };
  for (const char* direction : {"read", "write"}) {
    const std::string prefix = direction;
    for (const Implementation& one : implementations) {
      out->Add("nbd_utilisation", one.title + ", " + direction,
               metric(one, prefix + "_client_host_utilisation"));
      if (!one.host_based) continue;
      const Implementation& qpip = Prototype(implementations);
      const auto gain = [&](const std::string& name) {
        return metric(qpip, prefix + name) / metric(one, prefix + name);
      };
      out->Add("nbd_throughput_gain", "against " + one.title + ", " + direction,
               gain("_throughput_MB_per_s"));
      out->Add("nbd_effectiveness_gain", "against " + one.title + ", " + direction,
               gain("_MB_per_cpu_s"));
    }
  }
}

}  // namespace

std::optional<double> Comparison::Error() const {
  if (!published || !simulated || *published == 0) return std::nullopt;
  return (*simulated - *published) / *published;
}

void to_json(nlohmann::json& json, const Comparison& row) {
  const auto number = [](const std::optional<double>& value) {
    return value ? nlohmann::json(*value) : nlohmann::json();
  };
  json = {{"item", row.item},
          {"series", row.series},
          {"unit", row.unit},
          {"published", number(row.published)},
          {"simulated", number(row.simulated)},
          {"error", number(row.Error())},
          {"note", row.note},
          {"command", row.command}};
}

void to_json(nlohmann::json& json, const Artifact& artifact) {
  json = {{"key", artifact.key},
          {"title", artifact.title},
          {"place", artifact.place},
          {"rows", artifact.rows},
          {"notes", artifact.notes}};
}

std::vector<PaperFigure> PaperFigures(const PaperOptions& options) {
  std::vector<PaperFigure> out;
  const Implementation firmware = RoundTripImplementations(options).front();
  out.push_back({"rtt_udp", PingRun(options, firmware, "udp"), "rtt_mean_us"});
  out.push_back({"rtt_tcp", PingRun(options, firmware, "tcp"), "rtt_mean_us"});
  for (const Implementation& one : ThroughputImplementations(options)) {
    if (one.figure_key.empty()) continue;
    out.push_back({one.figure_key, TtcpRun(options, one), "throughput_MB_per_s"});
  }
  return out;
}

void WantPaper(const PaperOptions& options, Simulations* simulations) {
  simulations->Want(StagesRun(options));
  for (const char* bytes : kLives) simulations->Want(LifeRun(options, bytes));
  for (const Implementation& one : RoundTripImplementations(options)) {
    for (const char* transport : {"udp", "tcp"}) {
      simulations->Want(PingRun(options, one, transport));
    }
  }
  for (const Implementation& one : ThroughputImplementations(options)) {
    simulations->Want(TtcpRun(options, one));
  }
  for (const Implementation& one : StorageImplementations(options)) {
    simulations->Want(StorageRun(options, one));
  }
}

std::vector<Artifact> PaperArtifacts(const PaperOptions& options, const Simulations& simulations) {
  std::vector<Artifact> out = {
      Table1(options, simulations),
      StageTable(options, simulations, "table2",
                 "Table 2. Transmit side network interface processing costs", paper::Table2()),
      StageTable(options, simulations, "table3",
                 "Table 3. Receive side network interface processing costs", paper::Table3()),
      Figure3(options, simulations), Figure4(options, simulations)};
  if (auto figure = Figure7(options, simulations)) out.push_back(std::move(*figure));
  return out;
}

nlohmann::json MessageLives(const PaperOptions& options, const Simulations& simulations) {
  nlohmann::json out = nlohmann::json::array();
  for (const char* bytes : kLives) {
    const Simulation run = LifeRun(options, bytes);
    const SimulationOutcome& outcome = simulations.Get(run);
    nlohmann::json life = outcome.details;
    life["metrics"] = outcome.metrics;
    life["command"] = run.Command();
    out.push_back(std::move(life));
  }
  return out;
}

nlohmann::json PaperRelations(const PaperOptions& options, const Simulations& simulations) {
  RelationList list;
  AddThroughputRelations(options, simulations, &list);
  AddStorageRelations(options, simulations, &list);
  return list.Take();
}

nlohmann::json HostProfiles(const PaperOptions& options) {
  nlohmann::json out = nlohmann::json::array();
  const auto storage = StorageImplementations(options);
  for (const Implementation& one : storage.empty() ? ThroughputImplementations(options) : storage) {
    if (!one.host_based) continue;
    out.push_back(ProfileJson(one.Run(options, "nbd", {}).LoadProfile()));
  }
  return out;
}

nlohmann::json ProfileJson(const sim::Profile& profile) {
  nlohmann::json rows = nlohmann::json::array();
  for (const sim::ParameterSpec& spec : sim::ParameterSpecs()) {
    const auto found = profile.values().find(spec.name);
    if (found == profile.values().end()) continue;
    const sim::ProfileValue& value = found->second;
    rows.push_back({{"name", spec.name},
                    {"value", value.value},
                    {"unit", spec.unit},
                    {"meaning", spec.meaning},
                    {"kind", sim::KindName(value.kind)},
                    {"profile", value.profile},
                    {"source", value.source}});
  }
  return {{"name", profile.name()}, {"summary", profile.summary()}, {"parameters", rows}};
}

}  // namespace qpip::apps

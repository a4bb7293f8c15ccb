#include "apps/sim/paper_sensitivity.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "apps/sim/paper_implementations.h"
#include "sim/ns3/model/parameter.h"
#include "sim/ns3/model/stage_names.h"

namespace qpip::apps {
namespace {

constexpr double kStep = 0.25;
constexpr const char* kOneProcessor = "one-processor";

std::string Short(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", value);
  return text;
}

// --- Structural switches

struct SwitchSetting {
  const char* parameter;
  double value;
  const char* meaning;
};

constexpr SwitchSetting kSettings[] = {
    {"protocol.ack_every", 1, "an ACK for every segment"},
    {"protocol.ack_every", 2, "an ACK for every second segment (RFC 1122)"},
    {"protocol.ack_every", 4, "an ACK for every fourth segment"},
    {"core.get_wr_per_segment", 0, "Get WR is spent once a message"},
    {"core.get_wr_per_segment", 1, "Get WR is spent for every segment"},
    {sim::kIdleAckUpdate, 1.5, "an ACK that completes no work request: update as for data"},
    {sim::kIdleAckUpdate, 4.5, "an ACK that completes no work request: half of an ACK's update"},
    {sim::kIdleAckUpdate, 9, "an ACK that completes no work request: all of an ACK's update"},
    {"protocol.ack_on_batch_end", 0, "an ACK waits for a second segment, an answer or the timer"},
    {"protocol.ack_on_batch_end", 1, "an ACK goes as soon as the receive queue has drained"},
};

Variation Delta(const std::string& change, const std::string& delta, const std::string& source) {
  return {"switch", "DMA and link", change, "", source, [delta](Simulation* run) {
            // Before deltas that follow the prototype's: a checksum in firmware stays one.
            const size_t plus = run->profile.find('+');
            const std::string rest = plus == std::string::npos ? "" : run->profile.substr(plus);
            run->profile = run->profile.substr(0, plus) + "+" + delta + rest;
          }};
}

void AddSwitches(const sim::Profile& profile, std::vector<Variation>* out) {
  out->push_back(Delta("overlapped, rates refitted", "overlapped-dma",
                       "reading 2 of the paper: the link sends one buffer while the DMA engine "
                       "fills the next; rates fitted again"));
  out->push_back({"switch", "DMA and link", "overlapped, rates as in series", "",
                  "the same double buffering without a new fit", [](Simulation* run) {
                    run->set.emplace_back("sram.transmit_buffers", 2);
                    run->set.emplace_back("sram.transmit_buffer_until_sent", 0);
                  }});
  for (const SwitchSetting& setting : kSettings) {
    const double present = profile.GetOr(setting.parameter, NAN);
    if (present == setting.value) continue;
    out->push_back({"switch", setting.parameter, Short(present) + " -> " + Short(setting.value), "",
                    setting.meaning, [setting](Simulation* run) {
                      run->set.emplace_back(setting.parameter, setting.value);
                    }});
  }
  out->push_back({"switch", "completion", "Poll -> Wait", "",
                  "programs sleep until an interrupt instead of polling",
                  [](Simulation* run) { run->arguments["completion"] = "wait"; }});
}

// --- Numbers

bool IsSwitch(const sim::ParameterSpec& spec) {
  return spec.unit.empty() && spec.minimum == 0 && spec.maximum == 1;
}
bool IsCount(const sim::ParameterSpec& spec) { return spec.unit.empty() || spec.unit == "B"; }

/// The value a quarter down (direction -1) or up (+1), as the parameter allows.
double Shifted(const sim::ParameterSpec& spec, double value, int direction) {
  if (IsSwitch(spec)) return 1 - value;
  double shifted = value * (1 + direction * kStep);
  if (IsCount(spec)) shifted = direction < 0 ? std::floor(shifted) : std::ceil(shifted);
  return std::clamp(shifted, spec.minimum, spec.maximum);
}

void AddNumbers(const sim::Profile& profile, std::vector<Variation>* out) {
  for (const sim::ParameterSpec& spec : sim::ParameterSpecs()) {
    const auto found = profile.values().find(spec.name);
    if (found == profile.values().end()) continue;
    const sim::ProfileValue& value = found->second;
    if (value.kind != sim::ValueKind::kFitted && value.kind != sim::ValueKind::kAssumed) continue;
    double last = value.value;
    for (const int direction : {-1, 1}) {
      const double shifted = Shifted(spec, value.value, direction);
      // A switch has one other value; a quarter of zero is nothing.
      if (shifted == last || shifted == value.value) continue;
      last = shifted;
      const std::string change = Short(value.value) + " -> " + Short(shifted);
      const bool known = std::any_of(out->begin(), out->end(), [&](const Variation& one) {
        return one.name == spec.name && one.change == change;
      });
      if (known) continue;  // a structural switch already
      out->push_back(
          {IsSwitch(spec) ? "switch" : "number", spec.name, change, sim::KindName(value.kind),
           value.source,
           [name = spec.name, shifted](Simulation* run) { run->set.emplace_back(name, shifted); }});
    }
  }
}

Simulation Varied(const PaperFigure& figure, const Variation& variation) {
  Simulation run = figure.simulation;
  variation.apply(&run);
  return run;
}

nlohmann::json Row(const std::vector<PaperFigure>& figures, const Variation& variation,
                   const Simulations& simulations) {
  nlohmann::json row = {{"group", variation.group},
                        {"name", variation.name},
                        {"change", variation.change},
                        {"kind", variation.kind},
                        {"source", variation.source}};
  for (const PaperFigure& figure : figures) {
    const Simulation run = Varied(figure, variation);
    row["values"][figure.key] = nullptr;
    row["changes"][figure.key] = nullptr;
    try {
      const double base = simulations.Metric(figure.simulation, figure.metric);
      const double value = simulations.Metric(run, figure.metric);
      row["values"][figure.key] = value;
      row["changes"][figure.key] = (value - base) / base;
    } catch (const std::exception& error) {
      row["failed"][figure.key] = error.what();
    }
  }
  return row;
}

/// What is varied, and what is looked at.
struct Subject {
  std::string profile;
  std::string title;
  std::vector<PaperFigure> figures;
  std::vector<Variation> variations;
};

Subject Prototype(const PaperOptions& options) {
  const sim::Profile profile = Simulation{"", options.profile, options.set, {}}.LoadProfile();
  return {options.profile, "QPIP", PaperFigures(options), Variations(profile, true)};
}

/// How many processors a connection has is the structural switch of a host-based stack.
std::vector<Variation> HostVariations(const sim::Profile& profile) {
  std::vector<Variation> out = Variations(profile, false);
  if (HasProfile(kOneProcessor)) {
    out.insert(out.begin(),
               {"switch", kOneProcessor, "several -> one", "",
                "programs and protocol stack share one processor",
                [](Simulation* run) { run->profile += std::string("+") + kOneProcessor; }});
  }
  return out;
}

std::vector<Subject> HostBased(const PaperOptions& options) {
  std::vector<Subject> out;
  for (const Implementation& one : ThroughputImplementations(options)) {
    if (!one.host_based) continue;
    const Simulation ttcp = one.Run(options, "ttcp", {});
    const Simulation ping = one.Run(options, "ping", {{"transport", "tcp"}});
    out.push_back({one.profile,
                   one.title,
                   {{"throughput", ttcp, "throughput_MB_per_s"},
                    {"sender_cpu", ttcp, "sender_host_utilisation"},
                    {"receiver_cpu", ttcp, "receiver_host_utilisation"},
                    {"rtt_tcp", ping, "rtt_mean_us"}},
                   HostVariations(sim::Profile::Load(one.profile))});
  }
  return out;
}

/// Figure 7's, over a fortieth of the file: its rates are about the same.
std::vector<Subject> Storage(const PaperOptions& options) {
  std::vector<Subject> out;
  for (const Implementation& one : StorageImplementations(options)) {
    const Simulation nbd = one.Run(options, "nbd", {{"bytes", "10225000"}});
    out.push_back({nbd.profile,
                   "NBD, " + one.title,
                   {{"write_throughput", nbd, "write_throughput_MB_per_s"},
                    {"read_throughput", nbd, "read_throughput_MB_per_s"},
                    {"write_per_cpu_s", nbd, "write_MB_per_cpu_s"},
                    {"read_per_cpu_s", nbd, "read_MB_per_cpu_s"}},
                   Variations(nbd.LoadProfile(), false)});
  }
  return out;
}

void Want(const Subject& subject, Simulations* simulations) {
  for (const PaperFigure& figure : subject.figures) simulations->Want(figure.simulation);
  for (const Variation& variation : subject.variations) {
    for (const PaperFigure& figure : subject.figures) {
      simulations->Want(Varied(figure, variation));
    }
  }
}

nlohmann::json Json(const Subject& subject, const Simulations& simulations) {
  nlohmann::json out = {{"profile", subject.profile},
                        {"title", subject.title},
                        {"figures", nlohmann::json::array()},
                        {"base", nlohmann::json::object()},
                        {"rows", nlohmann::json::array()}};
  for (const PaperFigure& figure : subject.figures) {
    out["figures"].push_back(figure.key);
    out["base"][figure.key] = simulations.Metric(figure.simulation, figure.metric);
  }
  for (const Variation& variation : subject.variations) {
    out["rows"].push_back(Row(subject.figures, variation, simulations));
  }
  return out;
}

}  // namespace

std::vector<Variation> Variations(const sim::Profile& profile, bool switches) {
  std::vector<Variation> out;
  if (switches) AddSwitches(profile, &out);
  AddNumbers(profile, &out);
  return out;
}

void WantSensitivity(const PaperOptions& options, Simulations* simulations) {
  Want(Prototype(options), simulations);
  for (const Subject& subject : HostBased(options)) Want(subject, simulations);
  for (const Subject& subject : Storage(options)) Want(subject, simulations);
}

nlohmann::json SensitivityJson(const PaperOptions& options, const Simulations& simulations) {
  return Json(Prototype(options), simulations);
}

nlohmann::json HostSensitivityJson(const PaperOptions& options, const Simulations& simulations) {
  nlohmann::json out = nlohmann::json::array();
  for (const Subject& subject : HostBased(options)) out.push_back(Json(subject, simulations));
  for (const Subject& subject : Storage(options)) out.push_back(Json(subject, simulations));
  return out;
}

}  // namespace qpip::apps

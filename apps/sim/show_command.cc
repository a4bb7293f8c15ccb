#include <cstdio>
#include <iostream>

#include "apps/common/json_output.h"
#include "apps/sim/study.h"
#include "apps/sim/subcommands.h"
#include "sim/ns3/model/parameter.h"

namespace qpip::apps {

namespace {

bool IsKind(const std::string& word) {
  for (uint8_t kind = 0; kind <= static_cast<uint8_t>(sim::ValueKind::kChosen); ++kind) {
    if (word == sim::KindName(static_cast<sim::ValueKind>(kind))) return true;
  }
  return false;
}

}  // namespace

int SimShow(int argc, const char* const* argv) {
  CommandLine command_line(
      {.name = "qpip-sim show",
       .summary = "shows every number of a profile: value, kind, where it was set, source",
       .usage = "  qpip-sim show [options]\n",
       .notes = "",
       .examples = "  qpip-sim show --profile lanai9-hardware-checksum\n"
                   "  qpip-sim show --kind fitted\n"});
  AddProfileOptions(command_line);
  command_line.Options().add_options()(
      "kind", boost::program_options::value<std::string>()->value_name("KIND"),
      "only published, derived, fitted, assumed or chosen ones");
  if (!command_line.Parse(argc, argv)) return kExitOk;
  const sim::Profile profile = GetProfile(command_line);
  const std::string kind = command_line.Has("kind") ? command_line.String("kind") : "";
  if (!kind.empty() && !IsKind(kind)) {
    throw UsageError("--kind \"" + kind +
                     "\" is none of published, derived, fitted, assumed, chosen");
  }
  nlohmann::json rows = nlohmann::json::array();
  for (const sim::ParameterSpec& spec : sim::ParameterSpecs()) {
    const auto found = profile.values().find(spec.name);
    if (found == profile.values().end()) continue;
    const sim::ProfileValue& value = found->second;
    if (!kind.empty() && kind != sim::KindName(value.kind)) continue;
    rows.push_back({{"name", spec.name},
                    {"value", value.value},
                    {"unit", spec.unit},
                    {"kind", sim::KindName(value.kind)},
                    {"profile", value.profile},
                    {"source", value.source}});
  }
  if (command_line.json()) {
    PrintJsonLine(rows);
    return kExitOk;
  }
  std::printf("%s: %s\n", profile.name().c_str(), profile.summary().c_str());
  for (const auto& row : rows) {
    std::printf("  %-40s %12g %-9s %-9s %s\n", row["name"].get<std::string>().c_str(),
                row["value"].get<double>(), row["unit"].get<std::string>().c_str(),
                row["kind"].get<std::string>().c_str(), row["source"].get<std::string>().c_str());
  }
  return kExitOk;
}

}  // namespace qpip::apps

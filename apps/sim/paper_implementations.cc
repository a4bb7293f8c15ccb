#include "apps/sim/paper_implementations.h"

#include <algorithm>

#include "sim/ns3/scenario/scenario.h"

namespace qpip::apps {
namespace {

/// The delta by which the core sums received data itself.
constexpr const char* kFirmwareChecksum = "lanai9-firmware-checksum";

/// What file system and block layer cost the hosts of the block device.
constexpr const char* kStorage = "linux24-storage";

/// The host-based stacks of the paper that this build has a profile for.
std::vector<Implementation> HostBased() {
  std::vector<Implementation> out;
  for (const auto& [profile, title] :
       {std::pair("host-gige-1500", "host-based, Gigabit Ethernet, MTU 1500"),
        std::pair("host-gm-9000", "host-based, IP over Myrinet, MTU 9000")}) {
    if (!HasProfile(profile)) continue;
    out.push_back({profile, title, profile, std::nullopt, true});
  }
  return out;
}

void Append(std::vector<Implementation>* to, const std::vector<Implementation>& more) {
  to->insert(to->end(), more.begin(), more.end());
}

}  // namespace

bool HasProfile(const std::string& name) {
  const auto& all = sim::BuiltInProfiles();
  return std::any_of(all.begin(), all.end(), [&](const auto& one) { return one.name == name; });
}

bool HasScenario(const std::string& name) {
  const auto& all = sim::Scenarios();
  return std::any_of(all.begin(), all.end(), [&](const auto& one) { return one.name == name; });
}

Simulation Implementation::Run(const PaperOptions& options, const std::string& scenario,
                               const std::map<std::string, std::string>& arguments) const {
  Simulation run{scenario, profile, {}, arguments};
  if (!host_based) run.set = options.set;
  // A socket's program sleeps in read() and write().
  if (host_based && scenario != "nbd") run.arguments["completion"] = "wait";
  // What the hosts' file system costs is the same for all.
  if (scenario == "nbd" && HasProfile(kStorage)) run.profile.append("+").append(kStorage);
  if (mtu) run.set.emplace_back("link.mtu", *mtu);
  return run;
}

std::vector<Implementation> ThroughputImplementations(const PaperOptions& options) {
  const std::string firmware = options.profile + "+" + kFirmwareChecksum;
  std::vector<Implementation> out = {
      {"qpip_native", "QPIP, MTU for 16 KiB", options.profile, std::nullopt, false, "ttcp_native"},
      {"qpip_9000", "QPIP, MTU 9000", options.profile, 9000, false, "ttcp_9000"},
      {"qpip_1500", "QPIP, MTU 1500", options.profile, 1500, false, "ttcp_1500"},
      {"qpip_firmware", "QPIP, MTU for 16 KiB, firmware checksum", firmware, std::nullopt, false,
       "ttcp_firmware_checksum"}};
  Append(&out, HostBased());
  return out;
}

std::vector<Implementation> RoundTripImplementations(const PaperOptions& options) {
  std::vector<Implementation> out = {
      {"qpip_firmware", "QPIP, firmware checksum", options.profile + "+" + kFirmwareChecksum,
       std::nullopt},
      {"qpip_native", "QPIP, hardware checksum", options.profile, std::nullopt}};
  Append(&out, HostBased());
  return out;
}

std::vector<Implementation> StorageImplementations(const PaperOptions& options) {
  if (!HasScenario("nbd")) return {};
  std::vector<Implementation> out = {{"qpip_9000", "QPIP, MTU 9000", options.profile, 9000}};
  Append(&out, HostBased());
  return out;
}

}  // namespace qpip::apps

// The arena's layout does not depend on the core: what the rv32i image reports of itself, run on
// the instruction-set simulator, is what this machine computes.
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "nic_fw/firmware.h"
#include "nic_fw/image/lanai_profile.h"

namespace qpip::fw {
namespace {

constexpr uint32_t kSramBytes = 2u << 20;

/// Builds and runs the image; its report. Null when that failed (the tool has said why on stderr).
nlohmann::json ReportOfTheImage() {
  const std::string command = std::string(QPIP_BUILD_RV32I) + " --json --out " + QPIP_RV32I_OUT;
  const auto close = [](FILE* pipe) { pclose(pipe); };
  const std::unique_ptr<FILE, decltype(close)> output(popen(command.c_str(), "r"), close);
  std::string text;
  char buffer[4096];
  while (output && fgets(buffer, sizeof(buffer), output.get()) != nullptr) text += buffer;
  return nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
}

TEST(ArenaLayout, GivenTheLanaiProfileWhenComputedOn32And64BitCoresThenTablesAreTheSame) {
  const nlohmann::json result = ReportOfTheImage();
  ASSERT_TRUE(result.is_object()) << "the image could not be built and run";
  const nlohmann::json& image = result.at("report");

  const NicConfig config = LanaiProfile();
  ArenaBytes host;
  ASSERT_NE(qpip_fw_arena(&config, &host), 0u);

  for (const ArenaPart& part : kArenaParts) {
    EXPECT_EQ(image.at(part.name), host.*part.bytes) << part.name;
  }
  EXPECT_LE(result.at("sram_total").get<uint32_t>(), kSramBytes);
  EXPECT_GE(host.total, host.header + host.qp_table + host.send_records + host.page_entries);
}

TEST(ArenaLayout, GivenOneMoreQueuePairWhenComputedThenTheArenaGrowsByWhatOneCosts) {
  NicConfig config = LanaiProfile();
  ArenaBytes before;
  ASSERT_NE(qpip_fw_arena(&config, &before), 0u);
  config.max_qps *= 2;
  ArenaBytes after;
  ASSERT_NE(qpip_fw_arena(&config, &after), 0u);
  // Hash buckets come in powers of two, tables are rounded up: an eighth either way is allowed.
  const double grown = static_cast<double>(after.total - before.total) / 64;
  EXPECT_NEAR(grown, before.per_qp, before.per_qp / 8.0);
}

}  // namespace
}  // namespace qpip::fw

#include "sim/ns3/paper/stage_table.h"

#include <cmath>
#include <cstdio>
#include <optional>

#include "sim/ns3/paper/one_way.h"
#include "sim/ns3/paper/published.h"
#include "sim/ns3/world/stop.h"
#include "sim/ns3/world/world.h"

namespace qpip::sim::paper {
namespace {

constexpr uint32_t kBurst = 4;          // a multiple of every "ACK every n" up to 4
constexpr uint32_t kWarmUpBursts = 8;   // until the window and the estimator have settled
constexpr double kToleranceUs = 0.001;  // far below the tables' half microsecond

void Say(std::vector<std::string>* lines, const char* format, auto... values) {
  char text[200];
  std::snprintf(text, sizeof(text), format, values...);
  lines->push_back(text);
}

void Compare(const StageTable& table, const char* name, std::span<const StageRow> rows,
             std::vector<std::string>* out) {
  for (const StageRow& row : rows) {
    for (const auto& [variant, published] :
         {std::pair(fw::Variant::kData, row.data_us), std::pair(fw::Variant::kAck, row.ack_us)}) {
      const StageTable::Cell& cell = table.cell(row.stage, variant);
      if (std::abs(cell.us - published.value_or(0)) <= kToleranceUs) continue;
      Say(out, "%s, %s (%s): %.3f us a segment, published %.3f", name, row.title,
          VariantKey(variant), cell.us, published.value_or(0));
    }
  }
}

}  // namespace

StageRun RunStages(const Profile& profile, const StageRunOptions& options) {
  WorldOptions world_options;
  world_options.topology = ParseTopology(options.topology);
  world_options.seed = options.seed;
  World world(profile, world_options);
  OneWay stream(world.host(0), world.host(1), options.bytes);
  StageRun run;
  std::optional<Recorder> recorder;
  world.Start("stages", [&] {
    for (uint32_t i = 0; i < kWarmUpBursts; ++i) {
      stream.Burst(kBurst);
      Context::Current().SleepNs(kQuietNs);
    }
    recorder.emplace(world);
    const auto busy = [&world](size_t host) {
      return world.host(host).device->totals().core_busy_ps;
    };
    const std::array<uint64_t, 2> before = {busy(0), busy(1)};
    for (; run.messages < options.messages && !StopRequested(); run.messages += kBurst) {
      stream.Burst(kBurst);
      Context::Current().SleepNs(kQuietNs);
    }
    for (size_t i = 0; i < before.size(); ++i) run.core_busy_ps[i] = busy(i) - before[i];
    run.recording = recorder->Take();
    recorder.reset();
  });
  world.Run();
  return run;
}

StageTable Tabulate(const StageRun& run) {
  StageTable table;
  std::array<uint64_t, 2> last_end = {};
  for (const Activity& activity : run.recording.activities) {
    if (activity.resource != Resource::kCore) continue;
    StageTable::Cell& cell =
        table.cells[static_cast<uint32_t>(activity.stage)][static_cast<uint32_t>(activity.variant)];
    ++cell.count;
    cell.ps += activity.DurationPs();
    table.stages_ps += activity.DurationPs();
    uint64_t& last = last_end.at(activity.host);
    if (activity.start_ps < last) ++table.overlapping;
    last = activity.end_ps;
  }
  for (const FrameMark& frame : run.recording.frames) {
    if (frame.sent) ++(frame.has_payload ? table.data_segments : table.ack_segments);
  }
  for (const uint64_t ps : run.core_busy_ps) table.core_busy_ps += ps;
  for (auto& variants : table.cells) {
    for (uint32_t v = 0; v < kVariantCount; ++v) {
      const bool ack = static_cast<fw::Variant>(v) == fw::Variant::kAck;
      const uint64_t segments = ack ? table.ack_segments : table.data_segments;
      if (segments != 0) {
        variants[v].us = static_cast<double>(variants[v].ps) / 1e6 / static_cast<double>(segments);
      }
    }
  }
  return table;
}

std::vector<std::string> Deviations(const StageTable& table) {
  std::vector<std::string> out;
  if (table.data_segments == 0 || table.ack_segments == 0) {
    out.push_back("no pure data or no pure acknowledgement passed");
  }
  Compare(table, "Table 2", Table2(), &out);
  Compare(table, "Table 3", Table3(), &out);
  if (table.stages_ps != table.core_busy_ps) {
    Say(&out, "the stages take %.6f us, the cores were busy for %.6f",
        static_cast<double>(table.stages_ps) / 1e6, static_cast<double>(table.core_busy_ps) / 1e6);
  }
  if (table.overlapping != 0) {
    Say(&out, "%llu stages begin before the one before has ended",
        static_cast<unsigned long long>(table.overlapping));
  }
  return out;
}

}  // namespace qpip::sim::paper

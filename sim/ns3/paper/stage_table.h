// Tables 2 and 3 as the simulated core spends them: from the intervals in which it was busy, never
// from the profile.
//
// One host sends small messages to another that never answers, so that every segment is either pure
// data or a pure acknowledgement. Both cores are watched from one quiet moment to another: what a
// stage took, divided by the segments of its kind that passed, is the table's cell; all that was
// watched must add up to the time the cores were busy.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sim/ns3/model/profile.h"
#include "sim/ns3/model/stage_names.h"
#include "sim/ns3/trace/recording.h"

namespace qpip::sim::paper {

struct StageRunOptions {
  uint32_t bytes = 1;  ///< a message
  uint32_t messages =
      64;  ///< watched; a multiple of 4 lets every acknowledgement policy end evenly
  std::string topology = "switch";
  uint64_t seed = 1;
};

/// What was watched, between two quiet moments.
struct StageRun {
  Recording recording;  ///< host 0 receives, host 1 sends
  std::array<uint64_t, 2> core_busy_ps = {};
  uint64_t messages = 0;
};
/// Runs it. Throws ProfileError and qpip::Error.
StageRun RunStages(const Profile& profile, const StageRunOptions& options);

/// Time a segment, by stage and variant, and what it was computed from.
struct StageTable {
  struct Cell {
    uint64_t ps = 0;     ///< in all
    uint64_t count = 0;  ///< charges
    double us = 0;       ///< a segment
  };
  std::array<std::array<Cell, kVariantCount>, fw::kStageCount> cells = {};
  uint64_t data_segments = 0;
  uint64_t ack_segments = 0;
  uint64_t stages_ps = 0;     ///< sum over everything watched
  uint64_t core_busy_ps = 0;  ///< as the cores counted it
  uint64_t overlapping = 0;   ///< intervals of one core that begin before the last has ended

  const Cell& cell(fw::Stage stage, fw::Variant variant) const {
    return cells[static_cast<uint32_t>(stage)][static_cast<uint32_t>(variant)];
  }
};
StageTable Tabulate(const StageRun& run);

/// What differs from Tables 2 and 3, a line each; empty when every cell is the paper's and the
/// stages add up to the cores' busy time.
std::vector<std::string> Deviations(const StageTable& table);

}  // namespace qpip::sim::paper

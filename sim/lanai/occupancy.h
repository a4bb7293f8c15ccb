// Where the core's cycles go: the rows of the paper's Tables 2 and 3, measured on this machine.
//
// The firmware calls `charge` at the end of every stage. On hardware-to-be the charge is a cost; on
// a host thread it is an observation: the cycles since the previous mark belong to the stage. The
// first stage of a handler therefore also carries the polling that led to it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "nic_fw/platform.h"

namespace qpip::lanai {

/// Durations in cycles, kept as count, extremes and a histogram of four buckets an octave. A
/// quantile is the upper bound of its bucket: at most a quarter above the truth.
class CycleHistogram {
 public:
  void Add(uint64_t cycles);

  uint64_t count() const { return count_; }
  uint64_t min() const { return count_ == 0 ? 0 : min_; }
  uint64_t max() const { return max_; }
  uint64_t total() const { return total_; }
  double Mean() const;
  /// Smallest bucket bound that at least `fraction` (0 to 1) of the values do not exceed, no more
  /// than the maximum. 0 when empty.
  uint64_t Quantile(double fraction) const;

 private:
  // Values below 8 have a bucket each; then four an octave up to 2^40.
  static constexpr uint32_t kBuckets = 8 + 4 * 37;
  static uint32_t BucketOf(uint64_t cycles);
  static uint64_t UpperBound(uint32_t bucket);

  uint64_t count_ = 0;
  uint64_t total_ = 0;
  uint64_t min_ = UINT64_MAX;
  uint64_t max_ = 0;
  std::array<uint32_t, kBuckets> buckets_ = {};
};

/// The table. Written and read by whoever holds the core.
class Occupancy {
 public:
  void Add(fw::Stage stage, fw::Variant variant, uint64_t cycles) {
    table_[static_cast<uint32_t>(stage)][static_cast<uint32_t>(variant)].Add(cycles);
  }
  const CycleHistogram& at(fw::Stage stage, fw::Variant variant) const {
    return table_[static_cast<uint32_t>(stage)][static_cast<uint32_t>(variant)];
  }

  /// One object a stage and variant that occurred: stage, variant, count, and in cycles and
  /// nanoseconds min, mean, p50, p99, max.
  nlohmann::json ToJson(double nanoseconds_per_cycle) const;

 private:
  CycleHistogram table_[fw::kStageCount][static_cast<uint32_t>(fw::Variant::kCount)];
};

/// Names as in the paper's tables ("tx get wr") and of the variants ("data", "ack", ...).
const char* StageName(fw::Stage stage);
bool StageIsReceiveSide(fw::Stage stage);
const char* VariantName(fw::Variant variant);

}  // namespace qpip::lanai

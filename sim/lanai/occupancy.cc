#include "sim/lanai/occupancy.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <nlohmann/json.hpp>

#include "nic_fw/stage_names.h"

namespace qpip::lanai {

namespace {

nlohmann::json Row(const CycleHistogram& histogram, double unit) {
  const auto scaled = [unit](uint64_t cycles) { return static_cast<double>(cycles) * unit; };
  return {{"min", scaled(histogram.min())},
          {"mean", histogram.Mean() * unit},
          {"p50", scaled(histogram.Quantile(0.5))},
          {"p99", scaled(histogram.Quantile(0.99))},
          {"max", scaled(histogram.max())}};
}

}  // namespace

const char* StageName(fw::Stage stage) {
  const auto index = static_cast<uint32_t>(stage);
  return index < fw::kStageCount ? fw::kStageFacts[index].title : "?";
}

bool StageIsReceiveSide(fw::Stage stage) {
  const auto index = static_cast<uint32_t>(stage);
  return index < fw::kStageCount && fw::kStageFacts[index].receive_side;
}

const char* VariantName(fw::Variant variant) {
  const auto index = static_cast<uint32_t>(variant);
  return index < std::size(fw::kVariantNames) ? fw::kVariantNames[index] : "?";
}

uint32_t CycleHistogram::BucketOf(uint64_t cycles) {
  if (cycles < 8) return static_cast<uint32_t>(cycles);
  const auto octave = static_cast<uint32_t>(std::bit_width(cycles)) - 1;  // at least 3
  const auto quarter = static_cast<uint32_t>(cycles >> (octave - 2)) & 3u;
  return std::min(8 + (octave - 3) * 4 + quarter, kBuckets - 1);
}

uint64_t CycleHistogram::UpperBound(uint32_t bucket) {
  if (bucket < 8) return bucket;
  const uint32_t octave = 3 + (bucket - 8) / 4;
  const uint64_t quarter = (bucket - 8) % 4;
  return ((4 + quarter + 1) << (octave - 2)) - 1;
}

void CycleHistogram::Add(uint64_t cycles) {
  ++count_;
  total_ += cycles;
  min_ = std::min(min_, cycles);
  max_ = std::max(max_, cycles);
  ++buckets_[BucketOf(cycles)];
}

double CycleHistogram::Mean() const {
  return count_ == 0 ? 0.0 : static_cast<double>(total_) / static_cast<double>(count_);
}

uint64_t CycleHistogram::Quantile(double fraction) const {
  const double wanted = fraction * static_cast<double>(count_);
  double seen = 0;
  for (uint32_t bucket = 0; bucket < kBuckets; ++bucket) {
    seen += buckets_[bucket];
    // The last bucket has no bound.
    if (buckets_[bucket] != 0 && seen >= wanted && bucket + 1 < kBuckets) {
      return std::min(UpperBound(bucket), max_);
    }
  }
  return max_;
}

nlohmann::json Occupancy::ToJson(double nanoseconds_per_cycle) const {
  nlohmann::json rows = nlohmann::json::array();
  for (uint32_t s = 0; s < fw::kStageCount; ++s) {
    for (uint32_t v = 0; v < static_cast<uint32_t>(fw::Variant::kCount); ++v) {
      const CycleHistogram& histogram = table_[s][v];
      if (histogram.count() == 0) continue;
      rows.push_back({{"stage", fw::kStageFacts[s].title},
                      {"side", fw::kStageFacts[s].receive_side ? "receive" : "transmit"},
                      {"variant", fw::kVariantNames[v]},
                      {"count", histogram.count()},
                      {"cycles", Row(histogram, 1.0)},
                      {"ns", Row(histogram, nanoseconds_per_cycle)}});
    }
  }
  return rows;
}

}  // namespace qpip::lanai

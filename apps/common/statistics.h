// Numbers that commands report: latencies, CPU time, rates; and progress on a terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace qpip::apps {

/// Latencies of single operations. One thread.
class LatencyRecorder {
 public:
  struct Summary {
    uint64_t count = 0;
    double min_us = 0;
    double median_us = 0;
    double mean_us = 0;
    double p90_us = 0;
    double p99_us = 0;
    double p99_9_us = 0;
    double p99_99_us = 0;
    double max_us = 0;
  };
  /// So many samples were above the one bound (0: none below) and not above the other.
  struct Bucket {
    double above_us = 0;
    double to_us = 0;
    uint64_t count = 0;
  };

  void Reserve(size_t samples) { samples_ns_.reserve(samples); }
  void Add(std::chrono::nanoseconds latency) {
    samples_ns_.push_back(static_cast<uint64_t>(latency.count()));
  }
  /// Percentiles by nearest rank: the smallest sample that is not exceeded by that share. All
  /// zero without samples.
  Summary Summarise() const;
  /// Four buckets an octave, from the first that has a sample to the last, empty ones among them.
  std::vector<Bucket> Histogram() const;

 private:
  std::vector<uint64_t> samples_ns_;
};

void to_json(nlohmann::json& json, const LatencyRecorder::Summary& summary);
void to_json(nlohmann::json& json, const LatencyRecorder::Bucket& bucket);

/// On stdout, one line a bucket, with a bar.
void PrintHistogram(const std::vector<LatencyRecorder::Bucket>& histogram);

/// CPU time of this process, all its threads, user and system, in seconds.
double ProcessCpuSeconds();

/// A line on stderr that says how far a long operation has come and how long it will take: only on
/// a terminal, only after two seconds, at most twice a second. One thread.
class Progress {
 public:
  /// `unit` follows the numbers: "round trips".
  /// `already`: so many are done before it begins.
  Progress(std::string unit, uint64_t total, uint64_t already = 0);
  ~Progress();  ///< clears the line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `total` 0 in the constructor: the end is not known.
  void Update(uint64_t done);

 private:
  std::string unit_;
  uint64_t total_;
  uint64_t already_;
  bool terminal_;
  bool shown_ = false;
  uint32_t calls_ = 0;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point next_;
};

}  // namespace qpip::apps

#include "apps/common/statistics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iomanip>
#include <iostream>
#include <numeric>
#include <string>

namespace qpip::apps {

namespace {

constexpr double kNanosecondsPerMicrosecond = 1e3;
constexpr auto kQuietFor = std::chrono::seconds(2);
constexpr auto kUpdateEvery = std::chrono::milliseconds(500);
/// Update is called for each operation; where there are many the clock is read for one in so many.
constexpr uint32_t kCallsPerClockRead = 64;
constexpr uint64_t kFewOperations = 10000;
constexpr double kBucketsPerOctave = 4;

/// Number of the bucket of a sample: those above 2^((n-1)/4) ns, up to 2^(n/4).
int BucketOf(uint64_t ns) {
  const double octaves = std::log2(static_cast<double>(std::max<uint64_t>(ns, 1)));
  return static_cast<int>(std::ceil(octaves * kBucketsPerOctave - 1e-9));
}
double BucketEndUs(int bucket) {
  return std::exp2(bucket / kBucketsPerOctave) / kNanosecondsPerMicrosecond;
}

}  // namespace

LatencyRecorder::Summary LatencyRecorder::Summarise() const {
  Summary summary;
  if (samples_ns_.empty()) return summary;
  std::vector<uint64_t> sorted = samples_ns_;
  std::sort(sorted.begin(), sorted.end());
  const auto rank = [&sorted](uint64_t of_ten_thousand) {
    const size_t n = (sorted.size() * of_ten_thousand + 9999) / 10000;
    return static_cast<double>(sorted[n == 0 ? 0 : n - 1]) / kNanosecondsPerMicrosecond;
  };
  const double sum = std::accumulate(sorted.begin(), sorted.end(), 0.0);
  summary.count = sorted.size();
  summary.min_us = rank(0);
  summary.median_us = rank(5000);
  summary.mean_us = sum / static_cast<double>(sorted.size()) / kNanosecondsPerMicrosecond;
  summary.p90_us = rank(9000);
  summary.p99_us = rank(9900);
  summary.p99_9_us = rank(9990);
  summary.p99_99_us = rank(9999);
  summary.max_us = rank(10000);
  return summary;
}

std::vector<LatencyRecorder::Bucket> LatencyRecorder::Histogram() const {
  if (samples_ns_.empty()) return {};
  const auto [least, most] = std::minmax_element(samples_ns_.begin(), samples_ns_.end());
  const int first = BucketOf(*least);
  std::vector<Bucket> out(static_cast<size_t>(BucketOf(*most) - first + 1));
  for (size_t i = 0; i < out.size(); ++i) {
    const int bucket = first + static_cast<int>(i);
    out[i].above_us = BucketEndUs(bucket - 1);
    out[i].to_us = BucketEndUs(bucket);
  }
  for (const uint64_t ns : samples_ns_) ++out[static_cast<size_t>(BucketOf(ns) - first)].count;
  return out;
}

void to_json(nlohmann::json& json, const LatencyRecorder::Summary& summary) {
  json = {{"count", summary.count},         {"min_us", summary.min_us},
          {"median_us", summary.median_us}, {"mean_us", summary.mean_us},
          {"p90_us", summary.p90_us},       {"p99_us", summary.p99_us},
          {"p99_9_us", summary.p99_9_us},   {"p99_99_us", summary.p99_99_us},
          {"max_us", summary.max_us}};
}

void to_json(nlohmann::json& json, const LatencyRecorder::Bucket& bucket) {
  json = {{"above_us", bucket.above_us}, {"to_us", bucket.to_us}, {"count", bucket.count}};
}

void PrintHistogram(const std::vector<LatencyRecorder::Bucket>& histogram) {
  constexpr double kWidth = 50;  // of the longest bar
  uint64_t most = 1;
  for (const auto& bucket : histogram) most = std::max(most, bucket.count);
  for (const auto& bucket : histogram) {
    const auto share = static_cast<double>(bucket.count) / static_cast<double>(most);
    std::cout << std::fixed << std::setprecision(2) << std::setw(12) << bucket.above_us << " to "
              << std::setw(12) << bucket.to_us << " us " << std::setw(10) << bucket.count << " "
              << std::string(static_cast<size_t>(std::ceil(share * kWidth)), '*') << "\n";
  }
  std::cout << std::flush;
}

double ProcessCpuSeconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

Progress::Progress(std::string unit, uint64_t total, uint64_t already)
    : unit_(std::move(unit)),
      total_(total),
      already_(already),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(std::chrono::steady_clock::now()),
      next_(start_ + kQuietFor) {}

Progress::~Progress() {
  if (shown_) std::fputs("\r\033[K", stderr);
}

void Progress::Update(uint64_t done) {
  const bool few = total_ != 0 && total_ <= kFewOperations;
  if (!terminal_ || (++calls_ % kCallsPerClockRead != 0 && !few)) return;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + kUpdateEvery;
  shown_ = true;
  if (total_ > 0) {
    const double share = static_cast<double>(done) / static_cast<double>(total_);
    std::fprintf(stderr, "\r\033[K%llu of %llu %s (%.0f%%", static_cast<unsigned long long>(done),
                 static_cast<unsigned long long>(total_), unit_.c_str(), 100.0 * share);
    // As long again for each that is left as for those that are done.
    const double passed = std::chrono::duration<double>(now - start_).count();
    if (done > already_) {
      const double each = passed / static_cast<double>(done - already_);
      std::fprintf(stderr, ", %.0f s left", each * static_cast<double>(total_ - done));
    }
    std::fputs(")", stderr);
  } else {
    std::fprintf(stderr, "\r\033[K%llu %s", static_cast<unsigned long long>(done), unit_.c_str());
  }
  std::fflush(stderr);
}

}  // namespace qpip::apps

#include "apps/common/statistics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <numeric>

namespace qpip::apps {

namespace {

constexpr double kNanosecondsPerMicrosecond = 1e3;
constexpr auto kQuietFor = std::chrono::seconds(2);
constexpr auto kUpdateEvery = std::chrono::milliseconds(500);
/// Update is called for each operation; the clock is read for one call in so many.
constexpr uint32_t kCallsPerClockRead = 64;

}  // namespace

LatencyRecorder::Summary LatencyRecorder::Summarise() const {
  Summary summary;
  if (samples_ns_.empty()) return summary;
  std::vector<uint64_t> sorted = samples_ns_;
  std::sort(sorted.begin(), sorted.end());
  const auto rank = [&sorted](uint64_t percent) {
    const size_t n = (sorted.size() * percent + 99) / 100;
    return static_cast<double>(sorted[n == 0 ? 0 : n - 1]) / kNanosecondsPerMicrosecond;
  };
  const double sum = std::accumulate(sorted.begin(), sorted.end(), 0.0);
  summary.count = sorted.size();
  summary.min_us = rank(0);
  summary.median_us = rank(50);
  summary.mean_us = sum / static_cast<double>(sorted.size()) / kNanosecondsPerMicrosecond;
  summary.p99_us = rank(99);
  summary.max_us = rank(100);
  return summary;
}

void to_json(nlohmann::json& json, const LatencyRecorder::Summary& summary) {
  json = {{"count", summary.count},         {"min_us", summary.min_us},
          {"median_us", summary.median_us}, {"mean_us", summary.mean_us},
          {"p99_us", summary.p99_us},       {"max_us", summary.max_us}};
}

double ProcessCpuSeconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

Progress::Progress(std::string unit, uint64_t total)
    : unit_(std::move(unit)),
      total_(total),
      terminal_(isatty(STDERR_FILENO) == 1),
      next_(std::chrono::steady_clock::now() + kQuietFor) {}

Progress::~Progress() {
  if (shown_) std::fputs("\r\033[K", stderr);
}

void Progress::Update(uint64_t done) {
  if (!terminal_ || ++calls_ % kCallsPerClockRead != 0) return;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + kUpdateEvery;
  shown_ = true;
  if (total_ > 0) {
    std::fprintf(stderr, "\r\033[K%llu of %llu %s (%.0f%%)", static_cast<unsigned long long>(done),
                 static_cast<unsigned long long>(total_), unit_.c_str(),
                 100.0 * static_cast<double>(done) / static_cast<double>(total_));
  } else {
    std::fprintf(stderr, "\r\033[K%llu %s", static_cast<unsigned long long>(done), unit_.c_str());
  }
  std::fflush(stderr);
}

}  // namespace qpip::apps

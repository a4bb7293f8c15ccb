// Reports now and then of a transfer that goes on. Time is an argument.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

namespace qpip::apps {

/// What was transferred in a part of the time.
struct Interval {
  double start_seconds = 0;  ///< since the beginning
  double end_seconds = 0;
  uint64_t bytes = 0;
};

/// Cuts a transfer into parts of at least `length` each, the last one excepted; each begins where
/// the one before ends. For one thread.
class IntervalReports {
 public:
  using Clock = std::chrono::steady_clock;
  using Report = std::function<void(const Interval&)>;

  /// `length` 0: no reports.
  IntervalReports(std::chrono::nanoseconds length, Report report)
      : length_(length), report_(std::move(report)) {}

  void Start(Clock::time_point now);
  /// To be called often, with all bytes since the start. Reports when a part is over.
  void Look(Clock::time_point now, uint64_t bytes);
  /// Reports what the last part has.
  void Finish(Clock::time_point now, uint64_t bytes);
  bool wanted() const { return length_.count() != 0; }

 private:
  void End(Clock::time_point now, uint64_t bytes);
  double Seconds(Clock::time_point at) const;

  const std::chrono::nanoseconds length_;
  const Report report_;
  Clock::time_point start_;
  Clock::time_point part_;
  uint64_t part_bytes_ = 0;  ///< until then
};

}  // namespace qpip::apps

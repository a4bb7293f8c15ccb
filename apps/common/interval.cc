#include "apps/common/interval.h"

namespace qpip::apps {

void IntervalReports::Start(Clock::time_point now) {
  start_ = part_ = now;
  part_bytes_ = 0;
}

void IntervalReports::Look(Clock::time_point now, uint64_t bytes) {
  if (wanted() && now - part_ >= length_) End(now, bytes);
}

void IntervalReports::Finish(Clock::time_point now, uint64_t bytes) {
  if (wanted()) End(now, bytes);
}

void IntervalReports::End(Clock::time_point now, uint64_t bytes) {
  report_({Seconds(part_), Seconds(now), bytes - part_bytes_});
  part_ = now;
  part_bytes_ = bytes;
}

double IntervalReports::Seconds(Clock::time_point at) const {
  return std::chrono::duration<double>(at - start_).count();
}

}  // namespace qpip::apps

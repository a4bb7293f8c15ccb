// How long a connection goes on: its deadline, and what is left of it after a stop request.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "apps/common/stop.h"

namespace qpip::nbd {

/// One connection's. One thread.
class Stopping {
 public:
  using Clock = std::chrono::steady_clock;

  /// `stop` must outlive it.
  explicit Stopping(const apps::StopToken& stop) : stop_(stop) {}

  const apps::StopToken& token() const { return stop_; }
  bool requested() const { return stop_.requested(); }
  void SetDeadline(std::optional<Clock::time_point> deadline, std::string why) {
    deadline_ = deadline;
    why_ = std::move(why);
  }
  std::optional<Clock::time_point> deadline() const { return deadline_; }
  /// How long a wait may last that is to end after `most`, with the deadline and when it is to look
  /// whether the server stops.
  std::chrono::milliseconds Limit(std::chrono::milliseconds most) const;
  /// Why the connection is to end now; nullptr: it is not.
  const std::string* Overdue() const;
  /// Whether what has arrived is no longer served. The period begins when it is first asked for,
  /// after a stop request.
  bool GraceIsOver();
  /// `moved`: something has completed since the last call. Throws ConnectionLost when the server
  /// stops and the peer does not go on.
  void ThrowIfStuck(bool moved);

 private:
  const apps::StopToken& stop_;
  std::optional<Clock::time_point> deadline_;
  std::string why_;
  std::optional<Clock::time_point> grace_ends_;  ///< nothing is served or waited for any longer
  std::optional<Clock::time_point> stuck_at_;    ///< nor, until then, what does not move
};

}  // namespace qpip::nbd

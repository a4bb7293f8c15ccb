#include "apps/nbd/stopping.h"

#include <algorithm>

#include "apps/nbd/transport.h"

namespace qpip::nbd {

namespace {

/// After a stop request: how long requests that have arrived are served, the rest of a message and
/// room for replies waited for. A client that never pauses always has another request on its way.
constexpr auto kStopGrace = std::chrono::milliseconds(400);
/// The same while nothing moves at all.
constexpr auto kStuckGrace = std::chrono::milliseconds(300);

}  // namespace

std::chrono::milliseconds Stopping::Limit(std::chrono::milliseconds most) const {
  using std::chrono::milliseconds;
  if (requested()) most = std::chrono::duration_cast<milliseconds>(apps::kStopCheck);
  if (!deadline_) return most;
  const auto left = std::chrono::ceil<milliseconds>(*deadline_ - Clock::now());
  return std::clamp(left, milliseconds(0), std::max(most, milliseconds(0)));
}

const std::string* Stopping::Overdue() const {
  return deadline_ && Clock::now() >= *deadline_ ? &why_ : nullptr;
}

bool Stopping::GraceIsOver() {
  const auto now = Clock::now();
  if (!grace_ends_) grace_ends_ = now + kStopGrace;
  return now > *grace_ends_;
}

void Stopping::ThrowIfStuck(bool moved) {
  const auto now = Clock::now();
  if (!stuck_at_ || moved) stuck_at_ = now + kStuckGrace;
  if (GraceIsOver() || now > *stuck_at_) {
    throw ConnectionLost("the server stops and the peer does not go on");
  }
}

}  // namespace qpip::nbd

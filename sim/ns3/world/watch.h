// Notices that virtual time passes and nothing is done in it: without this, a simulation in which
// everybody waits for what will never come runs for ever, as polling programs and timers go on.
#pragma once

#include <ns3/event-id.h>

#include <cstdint>
#include <functional>
#include <string>

namespace qpip::sim {

/// While it lives, ends a simulation in which nothing has been done for a while: the thread that
/// runs the simulator gets Error ETIMEDOUT.
class Watch {
 public:
  /// Longer than TCP takes to give up (RFC 9293 3.8.3: 100 s), so that what fails by itself does.
  static constexpr uint64_t kPatienceNs = 600'000'000'000;

  /// `work` is another number whenever something has been done; `what_waits` is for the message.
  Watch(std::function<uint64_t()> work, std::function<std::string()> what_waits);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

 private:
  void Look();

  const std::function<uint64_t()> work_;
  const std::function<std::string()> what_waits_;
  uint64_t seen_ = 0;
  uint64_t since_ns_ = 0;  ///< when `seen_` was new
  ns3::EventId next_;
};

}  // namespace qpip::sim

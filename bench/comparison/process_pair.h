// Two pinned child processes that measure something together.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>

#include "bench/comparison/contender.h"

namespace qpip::bench {

/// Binds the calling process (and what it starts) to one core. Throws std::system_error.
void PinToCore(int core);

/// Moves the calling thread into a network namespace, given by its name (as ip-netns(8) has it) or
/// path; an empty one is where it is. Needs CAP_SYS_ADMIN. Throws std::system_error.
void EnterNetworkNamespace(const std::string& name);

/// User and system time of this process so far, all threads, in seconds.
double ProcessCpuSeconds();

/// One side's view of the pair while it runs.
class Side {
 public:
  explicit Side(int channel) : channel_(channel) {}
  /// A number to the other side, outside of what is measured (a port, "ready"). Throws when the
  /// other side is gone.
  void Tell(uint32_t value);
  /// Waits for the other side's Tell.
  uint32_t Hear();

  /// Bracket the measured part. CPU time counts between them.
  void Start();
  void Stop();

  double seconds() const { return seconds_; }
  double cpu_seconds() const { return cpu_seconds_; }

 private:
  int channel_;
  std::chrono::steady_clock::time_point started_;
  double cpu_at_start_ = 0;
  double seconds_ = 0;
  double cpu_seconds_ = 0;
};

/// Runs `run(messages)` of a case's warm-up, then of its measured part, between Start and Stop.
template <typename Run>
void WarmUpAndMeasure(Side& side, const Case& which, Run run) {
  run(which.warm_up);
  side.Start();
  run(which.messages);
  side.Stop();
}

/// Forks a server and a client, pins each and puts it into its network namespace, runs `server` and
/// `client` in them, and gathers the client's time and both sides' CPU time. Throws
/// std::runtime_error with what the sides say when one fails, or when `timeout` is over; both
/// children have ended when it returns or throws.
Sample RunPair(const Pinning& pinning, std::chrono::seconds timeout,
               const std::function<void(Side&)>& server, const std::function<void(Side&)>& client);

}  // namespace qpip::bench

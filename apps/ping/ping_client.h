// Round trips over a queue pair, one at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "apps/common/completions.h"
#include "apps/common/statistics.h"
#include "apps/common/stop.h"
#include "qpip/qpip.h"

namespace qpip::apps {

struct PingOptions {
  QpType type = QpType::kTcp;
  Endpoint peer;
  uint64_t count = 1000;  ///< round trips that are measured
  uint64_t warm_up = 0;   ///< round trips before those
  uint32_t bytes = 1;     ///< of a message
  WaitMode mode = WaitMode::kWait;
  std::chrono::nanoseconds timeout = std::chrono::seconds(1);  ///< of one round trip
  std::chrono::nanoseconds patience{0};  ///< how long a server that is not there is tried again
};

struct PingResult {
  uint64_t sent = 0;
  uint64_t received = 0;
  double seconds = 0;
  double cpu_seconds = 0;  ///< this process
  LatencyRecorder::Summary latency;
  std::vector<LatencyRecorder::Bucket> histogram;
  /// Why it ended before its time; empty when it did not. What came before counts.
  std::string failure;
};

/// Connects or binds in the constructor. One thread.
class PingClient {
 public:
  /// `stop` must outlive the client. Throws qpip::Error, Interrupted, Failure (a datagram of that
  /// size does not fit the MTU).
  PingClient(Nic& nic, const PingOptions& options, const StopToken& stop);

  /// Ends early, with the reason in the result, when a TCP connection breaks, does not answer in
  /// time or damages a message, and when the network says that datagrams cannot arrive; without
  /// one when told to stop. A UDP datagram that is not answered in time is lost, and counted; while
  /// a server is waited for it is sent again, and counts once.
  PingResult Run();

 private:
  /// Returns the round trip's latency; nullopt when the datagram or its echo was lost, or the
  /// client is to stop. Throws Failure.
  std::optional<std::chrono::nanoseconds> RoundTrip(uint64_t sequence);
  /// The same of the first message, which a server that is about to start may miss.
  std::optional<std::chrono::nanoseconds> FirstRoundTrip();
  QueuePair& FreshQp();
  void ThrowIfUnreachable();
  void RunRoundTrips(PingResult* result, LatencyRecorder* latencies);
  /// What is measured begins now.
  void Begin();
  void Send(uint64_t sequence);
  /// Looks at a completion. Returns true when it is the echo of this message.
  bool IsEcho(const WorkCompletion& completion);
  void PostReceive(uint64_t slot);
  uint8_t* Slot(uint64_t slot) const;

  Nic& nic_;
  PingOptions options_;
  const StopToken& stop_;
  std::unique_ptr<ProtectionDomain> pd_;
  std::unique_ptr<MemoryRegion> memory_;  ///< the message, then the receive slots
  size_t slot_bytes_;
  std::unique_ptr<CompletionQueue> cq_;
  std::unique_ptr<QueuePair> qp_;
  std::chrono::steady_clock::time_point start_;
  double cpu_before_ = 0;
};

}  // namespace qpip::apps

// One end of a test of qpip-perf: an RDMA queue pair, its memory, and what has completed.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include "apps/common/completions.h"
#include "apps/common/stop.h"
#include "apps/perf/plan.h"
#include "qpip/qpip.h"
#include "qpip/rdma.h"

namespace qpip::apps {

/// How both ends wait and connect.
struct PerfSettings {
  WaitMode mode = WaitMode::kWait;
  std::optional<bool> crc;  ///< nullopt: the wire's default
  /// A test that stands still for so long is given up; 0: never.
  std::chrono::nanoseconds timeout{0};
  std::chrono::seconds keepalive{0};  ///< of QpOptions; 0: the NIC's
};

/// The peer has closed the connection in order.
class PeerClosed : public std::runtime_error {
 public:
  PeerClosed() : std::runtime_error("closed by the peer") {}
};

/// Not thread-safe. Waits throw Interrupted when told to stop, Failure when the connection breaks
/// or stands still, PeerClosed.
class PerfSide {
 public:
  /// Receives are posted: the plan's buffers when the peer's `messages` are Sends, else small ones
  /// for words. `settings`, `stop` and `nic` must outlive it.
  PerfSide(Nic& nic, const Plan& plan, bool messages, const PerfSettings& settings,
           const StopToken& stop);

  QueuePair& qp() { return *qp_; }
  const Plan& plan() const { return plan_; }
  RdmaParameters Parameters(ConstBytes private_data) const;
  /// The buffers that the peer writes to and reads from.
  Window window() const;
  void SetPeer(const Window& window) { peer_ = window; }

  std::span<uint8_t> Out(uint64_t message) const { return Buffer(*out_, message); }
  std::span<uint8_t> In(uint64_t message) const { return Buffer(*in_, message); }

  /// Posts the plan's operation for that message, whose number is counted from 0. `signal`: its
  /// completion is wanted; those without it are done with the next one that is.
  void Post(uint64_t message, bool signal);
  /// An empty Send, which tells something by its coming.
  void PostWord();
  /// Gives back what AwaitReceive has given.
  void PostReceive(uint64_t slot);

  /// Takes completions; waits for the first.
  void Gather();
  /// Takes what has completed without waiting.
  void Poll();
  /// Own messages that are done, of those that Post has taken.
  uint64_t done() const { return done_; }
  /// Waits until that many are done.
  void AwaitDone(uint64_t messages);
  /// Waits for a Send of the peer's; its receive's slot.
  uint64_t AwaitReceive();
  /// Words that have come since the last call.
  uint64_t TakeWords();
  /// Waits until the last byte of the message's buffer is `tag`: polls memory.
  void AwaitTag(uint64_t message, uint8_t tag);

  /// Throws Failure: which byte of which message is not the pattern's.
  void CheckPattern(uint64_t message, std::span<const uint8_t> bytes) const;

 private:
  std::span<uint8_t> Buffer(const MemoryRegion& region, uint64_t message) const;
  void Take(std::span<const WorkCompletion> completions);
  [[noreturn]] void ThrowBroken(const WorkCompletion& completion) const;
  void ThrowIfStopped() const;

  const Plan plan_;
  const PerfSettings& settings_;
  const StopToken& stop_;
  std::unique_ptr<ProtectionDomain> pd_;
  std::unique_ptr<MemoryRegion> out_;
  std::unique_ptr<MemoryRegion> in_;
  std::unique_ptr<MemoryRegion> words_;
  std::unique_ptr<CompletionQueue> cq_;
  std::unique_ptr<QueuePair> qp_;
  Window peer_;
  uint64_t done_ = 0;
  uint64_t words_received_ = 0;
  std::deque<uint64_t> received_;  ///< slots
};

/// What a message of that number carries at its end, when its coming is seen in memory: never 0,
/// and another than the one before.
inline uint8_t TagOf(uint64_t message) { return static_cast<uint8_t>(1 + message % 255); }
/// Where in the pattern a message begins.
inline uint64_t PatternAt(uint64_t message, const Plan& plan) { return message * plan.bytes; }

}  // namespace qpip::apps

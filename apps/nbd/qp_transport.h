// An NBD connection over a TCP queue pair: what does not depend on how its bytes travel.
#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "apps/nbd/stopping.h"
#include "apps/nbd/transport.h"
#include "qpip/qpip.h"

namespace qpip::nbd {

/// Owns the queue pair, its completion queue and the memory that payload is sent from. One thread.
class QpTransport : public Transport {
 public:
  QueuePair& qp() { return *qp_; }

  Readable Look(std::span<iovec> out, WaitFor what) override;
  void Await(storage::ThreadExecutor* executor, WaitFor what, bool reading,
             std::chrono::milliseconds most) override;
  std::span<std::byte> payload_area() override;
  void SetDeadline(std::optional<std::chrono::steady_clock::time_point> deadline,
                   std::string why) override;
  /// Waits for no more than that everything sent has arrived when the server is to stop.
  void Close() override;

 protected:
  /// `stop` must outlive the transport. `completions`: for both queues. Throws qpip::Error.
  QpTransport(Nic& nic, ProtectionDomain& pd, const apps::StopToken& stop, uint32_t completions);
  /// The queue pair, of cq(), which the derived class makes.
  void Own(std::unique_ptr<QueuePair> qp) { qp_ = std::move(qp); }
  /// Destroys the queue pair: before anything that its work refers to.
  void EndQp() { qp_.reset(); }
  CompletionQueue& cq() { return *cq_; }
  /// Where payload lies that SendPayload is given.
  ibv_sge PayloadElement(std::span<const std::byte> payload) const;

  /// Waits for completions and hands them out. In the middle of a message a stop request leaves
  /// the peer a grace period, and then throws ConnectionLost.
  void Pump(WaitFor what);

  virtual void OnCompletion(const WorkCompletion& completion) = 0;
  /// The runs of received bytes, as Look's. Returns how many.
  virtual size_t Runs(std::span<iovec> out) const = 0;
  /// Nothing will follow what has been received. Throws ConnectionLost when that is so because the
  /// connection is broken.
  virtual bool ended() const = 0;
  virtual bool any_readable() const = 0;
  virtual bool all_sent() const = 0;

 private:
  using Clock = std::chrono::steady_clock;

  /// Pump, until `executor` has something to run, asleep on descriptors.
  void PumpBeside(storage::ThreadExecutor& executor, WaitFor what, std::chrono::milliseconds most);
  void HandOut(size_t count);
  void ThrowIfTimeIsUp();

  Stopping stopping_;
  std::unique_ptr<CompletionQueue> cq_;
  std::unique_ptr<QueuePair> qp_;
  std::unique_ptr<MemoryRegion> payload_;
  std::array<WorkCompletion, 32> completions_;
};

}  // namespace qpip::nbd

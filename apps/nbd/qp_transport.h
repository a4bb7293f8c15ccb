// An NBD connection over a TCP queue pair of stream framing.
#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "apps/nbd/stopping.h"
#include "apps/nbd/transport.h"
#include "qpip/qpip.h"
#include "qpip/stream.h"

namespace qpip::nbd {

/// Owns the queue pair, its completion queue and all its memory. Receives are posted from the
/// start, so the queue pair can be offered to a listener. One thread.
class QpTransport : public Transport {
 public:
  /// `stop` must outlive the transport. `keepalive`: of QpOptions. Throws qpip::Error: everything
  /// that a connection needs is had from the start.
  QpTransport(Nic& nic, ProtectionDomain& pd, const apps::StopToken& stop,
              std::chrono::seconds keepalive = std::chrono::seconds(0));
  ~QpTransport() override;

  QueuePair& qp() { return *qp_; }

  Readable Look(std::span<iovec> out, WaitFor what) override;
  void Consume(size_t bytes) override;
  void Await(storage::ThreadExecutor* executor, WaitFor what, bool reading,
             std::chrono::milliseconds most) override;
  void Send(std::span<const uint8_t> bytes) override;
  std::span<std::byte> payload_area() override;
  uint64_t SendPayload(std::span<const uint8_t> header,
                       std::span<const std::byte> payload) override;
  bool Sent(uint64_t ticket) const override { return writer_->Done(ticket); }
  void SetDeadline(std::optional<std::chrono::steady_clock::time_point> deadline,
                   std::string why) override;
  /// Waits for no more than that everything sent has arrived when the server is to stop.
  void Close() override;

 private:
  using Clock = std::chrono::steady_clock;

  /// Waits for completions and hands them out. In the middle of a message a stop request leaves
  /// the peer a grace period, and then throws ConnectionLost.
  void Pump(WaitFor what);
  /// The same until `executor` has something to run, asleep on descriptors.
  void PumpBeside(storage::ThreadExecutor& executor, WaitFor what, std::chrono::milliseconds most);
  void HandOut(size_t count);
  void ThrowIfTimeIsUp();
  void ThrowIfSendFailed() const;

  Stopping stopping_;
  std::unique_ptr<CompletionQueue> cq_;
  std::unique_ptr<QueuePair> qp_;
  std::unique_ptr<StreamReader> reader_;
  std::unique_ptr<StreamWriter> writer_;
  std::unique_ptr<MemoryRegion> payload_;
  std::array<WorkCompletion, 32> completions_;
};

}  // namespace qpip::nbd

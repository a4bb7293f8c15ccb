// An NBD connection over a TCP queue pair of stream framing.
#pragma once

#include <array>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "apps/common/stop.h"
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
  /// Waits that last until `deadline` end the connection and throw ConnectionLost with `why`;
  /// nullopt: none do.
  void SetDeadline(std::optional<std::chrono::steady_clock::time_point> deadline,
                   std::string why = {});
  /// Half-closes behind everything sent and waits a bounded while for the peer's close, or until
  /// everything sent has arrived when the server is to stop.
  void Close();

  size_t WaitReadable(std::span<iovec> out, WaitFor what) override;
  void Consume(size_t bytes) override;
  void Send(std::span<const uint8_t> bytes) override;
  size_t payload_bytes() const override;
  size_t payload_buffers() const override;
  std::span<uint8_t> TakePayload() override;
  void SendPayload(std::span<const uint8_t> header, size_t bytes) override;
  void PutBackPayload() override;

 private:
  using Clock = std::chrono::steady_clock;

  /// Waits for completions and hands them out. In the middle of a message a stop request leaves
  /// the peer a grace period, and then throws ConnectionLost.
  void Pump(WaitFor what);
  void HandOut(size_t count);
  void ThrowIfTimeIsUp();
  /// The period begins when it is first asked for, after a stop request.
  bool StopGraceIsOver();
  /// `moved`: something has completed since the last call.
  void ThrowIfStoppedAndStuck(bool moved);
  void ThrowIfSendFailed() const;

  const apps::StopToken& stop_;
  std::optional<Clock::time_point> deadline_;
  std::string deadline_why_;
  std::optional<Clock::time_point> stop_deadline_;   ///< nothing is served or waited for any longer
  std::optional<Clock::time_point> stuck_deadline_;  ///< nor, until then, what does not move
  std::unique_ptr<CompletionQueue> cq_;
  std::unique_ptr<QueuePair> qp_;
  std::unique_ptr<StreamReader> reader_;
  std::unique_ptr<StreamWriter> writer_;

  // Payload buffers are used in turn: [sent_, taken_) are held by the caller.
  std::unique_ptr<MemoryRegion> payload_;
  std::vector<StreamWriter::Ticket> tickets_;  ///< of the last send of each buffer
  uint64_t taken_ = 0;
  uint64_t sent_ = 0;

  std::array<WorkCompletion, 32> completions_;
};

}  // namespace qpip::nbd

// An NBD connection over a TCP queue pair of stream framing: its other end may be any socket.
#pragma once

#include <chrono>
#include <memory>

#include "apps/nbd/qp_transport.h"
#include "qpip/stream.h"

namespace qpip::nbd {

/// Receives are posted from the start, so the queue pair can be offered to a listener. One thread.
class StreamTransport : public QpTransport {
 public:
  /// `stop` must outlive the transport. `keepalive`: of QpOptions. Throws qpip::Error: everything
  /// that a connection needs is had from the start.
  StreamTransport(Nic& nic, ProtectionDomain& pd, const apps::StopToken& stop,
                  std::chrono::seconds keepalive = std::chrono::seconds(0));
  ~StreamTransport() override;

  void Consume(size_t bytes) override;
  void Send(std::span<const uint8_t> bytes) override;
  uint64_t SendPayload(std::span<const uint8_t> header,
                       std::span<const std::byte> payload) override;
  bool Sent(uint64_t ticket) const override { return writer_->Done(ticket); }

 private:
  void OnCompletion(const WorkCompletion& completion) override;
  size_t Runs(std::span<iovec> out) const override;
  bool ended() const override;
  bool any_readable() const override { return reader_->available() > 0; }
  bool all_sent() const override { return writer_->idle(); }
  void ThrowIfSendFailed() const;

  std::unique_ptr<StreamReader> reader_;
  std::unique_ptr<StreamWriter> writer_;
};

}  // namespace qpip::nbd

// An NBD connection over VCONN: each of NBD's messages is one of VCONN's, NBD's header its request
// part and payload its data part; what is longer than a message goes on in others. An empty message
// is the end of a client's: credits still go both ways then.
#pragma once

#include <chrono>
#include <deque>
#include <memory>

#include "apps/nbd/qp_transport.h"
#include "qpip/vconn.h"

namespace qpip::nbd {

/// What both sides' Vconn are made with: 64 KiB of payload in one message.
inline constexpr VconnOptions kVconnOptions = {};

/// Receives are posted from the start, so the queue pair can be offered to a listener. One thread.
class VconnTransport : public QpTransport {
 public:
  /// `stop` must outlive the transport. `keepalive`: of QpOptions. Throws qpip::Error: everything
  /// that a connection needs is had from the start.
  VconnTransport(Nic& nic, ProtectionDomain& pd, const apps::StopToken& stop,
                 std::chrono::seconds keepalive = std::chrono::seconds(0));
  ~VconnTransport() override;

  void Consume(size_t bytes) override;
  void Send(std::span<const uint8_t> bytes) override;
  uint64_t SendPayload(std::span<const uint8_t> header,
                       std::span<const std::byte> payload) override;
  bool Sent(uint64_t ticket) const override { return vconn_->Done(ticket); }

 private:
  void OnCompletion(const WorkCompletion& completion) override;
  size_t Runs(std::span<iovec> out) const override;
  bool ended() const override;
  bool any_readable() const override { return !received_.empty(); }
  bool all_sent() const override { return vconn_->idle(); }
  /// Says hello when it has not, and waits for the peer's word.
  void EnsureOpen();
  uint64_t SendOne(const VconnParts& parts);
  void ThrowIfBroken() const;

  std::unique_ptr<Vconn> vconn_;
  std::deque<VconnMessage> received_;
  size_t consumed_ = 0;  ///< of the first of them
  bool said_hello_ = false;
  bool peer_is_done_ = false;  ///< it has sent an empty message
};

}  // namespace qpip::nbd

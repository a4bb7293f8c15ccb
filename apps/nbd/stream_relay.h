// A relay of bytes, over a queue pair of stream framing.
#pragma once

#include <array>
#include <memory>

#include "apps/nbd/relay.h"
#include "qpip/stream.h"

namespace qpip::nbd {

class StreamRelay : public Relay {
 public:
  /// Takes over the socket. `nic` and `pd` must outlive the relay. `keepalive`: of QpOptions.
  /// Throws qpip::Error.
  StreamRelay(Nic& nic, ProtectionDomain& pd, FileDescriptor local,
              std::chrono::seconds keepalive = std::chrono::seconds(0));
  ~StreamRelay() override;

 private:
  std::unique_ptr<QueuePair> MakeQp() override;
  void RunUpstream() override;
  void RunDownstream() override;
  std::optional<std::string> WhyBroken() const override;

  /// Waits for one of the send buffers. Returns false when sending has failed.
  bool AwaitSendBuffer(size_t index);
  bool Send(size_t index, size_t bytes);
  void PumpSends();
  /// Moves received bytes to the socket. Returns false when the local tool is gone.
  bool WriteReceived();

  std::unique_ptr<StreamReader> reader_;
  std::unique_ptr<StreamWriter> writer_;
  std::array<StreamWriter::Ticket, kSends> tickets_ = {};  ///< of the last send of each buffer
};

}  // namespace qpip::nbd

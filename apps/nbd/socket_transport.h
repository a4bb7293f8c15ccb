// An NBD connection over a kernel's stream socket, TCP or Unix.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <vector>

#include "apps/nbd/local_socket.h"
#include "apps/nbd/stopping.h"
#include "apps/nbd/tls.h"
#include "apps/nbd/transport.h"

namespace qpip::nbd {

/// What is sent waits in a list of runs, so that the replies to many requests leave by one system
/// call.
class SocketTransport : public Transport {
 public:
  /// `stop` must outlive the transport. `keepalive`: how long a client may be silent before it is
  /// asked whether it is there; 0: for ever. Throws std::bad_alloc.
  SocketTransport(FileDescriptor socket, const apps::StopToken& stop,
                  std::chrono::seconds keepalive = std::chrono::seconds(0));

  Readable Look(std::span<iovec> out, WaitFor what) override;
  void Consume(size_t bytes) override { begin_ += bytes; }
  size_t ReadSome(std::span<std::byte> out) override;
  void Await(storage::ThreadExecutor* executor, WaitFor what, bool reading,
             std::chrono::milliseconds most) override;
  void Send(std::span<const uint8_t> bytes) override;
  std::span<std::byte> payload_area() override;
  uint64_t SendPayload(std::span<const uint8_t> header,
                       std::span<const std::byte> payload) override;
  bool Sent(uint64_t ticket) const override { return ticket <= flushed_; }
  void Flush() override;
  void StartTls(const TlsContext& context) override;
  void SetDeadline(std::optional<std::chrono::steady_clock::time_point> deadline,
                   std::string why) override;
  void Close() override;

 private:
  /// Receives without waiting. 0: nothing there.
  size_t Receive(std::span<std::byte> out);
  void Fill();
  /// Waits for `events` on the socket for a while, looking at stop requests and the deadline.
  void AwaitSocket(short events);
  void ThrowIfTimeIsUp();
  /// Hands the kernel, or TLS, what it takes of `runs`. Returns how many bytes; 0: no room.
  size_t SendSome(std::span<iovec> runs);
  void ForgetOutput();

  FileDescriptor socket_;
  Stopping stopping_;
  std::unique_ptr<std::byte[]> input_;
  size_t begin_ = 0;  ///< of what is in `input_` and not consumed
  size_t end_ = 0;
  bool peer_closed_ = false;
  std::unique_ptr<TlsSession> tls_;  ///< goes before the socket
  std::unique_ptr<std::byte[]> payload_;
  // What waits to be sent: copies in `output_`, and payload where it lies.
  std::unique_ptr<uint8_t[]> output_;
  size_t output_used_ = 0;
  std::vector<iovec> runs_;
  size_t payload_waiting_ = 0;  ///< bytes of payload among the runs
  uint64_t ticket_ = 1;         ///< of what waits
  uint64_t flushed_ = 0;        ///< all up to it has been handed to the kernel
};

}  // namespace qpip::nbd

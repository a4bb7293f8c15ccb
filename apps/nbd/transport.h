// What the NBD server's logic needs of a connection. Over a queue pair: qp_transport.h; over a
// kernel socket: socket_transport.h; in memory: the tests.
#pragma once

#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>

#include "storage/core/thread_executor.h"

namespace qpip::nbd {

class TlsContext;

/// The connection broke, or the peer broke the protocol: end it. The message says why.
class ConnectionLost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Which bytes the server waits for: at a message boundary a stop request ends the stream, behind
/// what has arrived or after a grace period.
enum class WaitFor { kNextMessage, kRestOfMessage };

/// What there is to read.
struct Readable {
  size_t runs = 0;     ///< of the caller's list that were filled
  bool ended = false;  ///< nothing will follow: the stream's end or, at a boundary, a stop request
};

/// A byte stream in both directions, with memory that payload is sent from without copying. One
/// thread. Calls throw ConnectionLost when the connection is broken.
class Transport {
 public:
  virtual ~Transport() = default;

  /// The runs of received bytes, in order, at most out.size() (at least 1). Never waits. Valid
  /// until Consume, or another call.
  virtual Readable Look(std::span<iovec> out, WaitFor what) = 0;
  /// Gives back the first `bytes` of what Look showed.
  virtual void Consume(size_t bytes) = 0;
  /// Copies and consumes what is there, at most out.size(); 0: nothing yet. Throws ConnectionLost
  /// at the end of the stream.
  virtual size_t ReadSome(std::span<std::byte> out);
  /// Flushes, then waits until something has happened: more bytes (only with `reading`), room for
  /// sends, something to run for `executor` (nullptr: for none), or `most` is over.
  virtual void Await(storage::ThreadExecutor* executor, WaitFor what, bool reading,
                     std::chrono::milliseconds most) = 0;

  /// Sends a copy of `bytes`, waiting for room. Its order with other sends is kept.
  virtual void Send(std::span<const uint8_t> bytes) = 0;
  /// Memory for payload, a multiple of 64 bytes.
  virtual std::span<std::byte> payload_area() = 0;
  /// Sends `header` (copied) and `payload`, which lies in the area and is not copied: it must stay
  /// unchanged until Sent() of the ticket.
  virtual uint64_t SendPayload(std::span<const uint8_t> header,
                               std::span<const std::byte> payload) = 0;
  virtual bool Sent(uint64_t ticket) const = 0;
  /// What was sent leaves now. Await does it too.
  virtual void Flush() {}

  /// Everything from here on goes by TLS, of which the client has been told that it may begin.
  /// Waits for the handshake. Only where there is a kernel's socket.
  virtual void StartTls(const TlsContext& /*context*/) {
    throw ConnectionLost("there is no TLS on this transport");
  }
  /// Waits that last until `deadline` end the connection and throw ConnectionLost with `why`;
  /// nullopt: none do.
  virtual void SetDeadline(std::optional<std::chrono::steady_clock::time_point> deadline,
                           std::string why) = 0;
  /// Half-closes behind everything sent and waits a bounded while for the peer's close.
  virtual void Close() = 0;
};

/// Longest wait where nothing but events ends it.
inline constexpr std::chrono::milliseconds kUntilEvent{3600 * 1000};

/// Copies exactly out.size() bytes. Returns false when the stream ended (or the server is to stop,
/// see WaitFor) before the first of them. Throws ConnectionLost when it ended in the middle.
bool ReadExact(Transport& transport, std::span<uint8_t> out, WaitFor first_byte);
/// Reads and forgets `bytes` bytes.
void Drain(Transport& transport, uint64_t bytes);

}  // namespace qpip::nbd

// What the NBD server's logic needs of a connection. Over a queue pair: qp_transport.h; in memory:
// the tests.
#pragma once

#include <sys/uio.h>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>

namespace qpip::nbd {

/// The connection broke, or the peer broke the protocol: end it. The message says why.
class ConnectionLost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Which bytes the server waits for: at a message boundary a stop request ends the stream, behind
/// what has arrived or after a grace period.
enum class WaitFor { kNextMessage, kRestOfMessage };

/// A byte stream in both directions, with memory that payload is sent from without copying.
/// Blocking; one thread. Calls throw ConnectionLost when the connection is broken.
class Transport {
 public:
  virtual ~Transport() = default;

  /// Waits for at least one byte. Fills at most out.size() (at least 1) runs of received bytes, in
  /// order, and returns how many; 0 at the end of the stream or, at a message boundary, when the
  /// server is to stop. Valid until Consume.
  virtual size_t WaitReadable(std::span<iovec> out, WaitFor what) = 0;
  /// Gives back the first `bytes` of what WaitReadable showed.
  virtual void Consume(size_t bytes) = 0;

  /// Sends a copy of `bytes`, waiting for room. Its order with other sends is kept.
  virtual void Send(std::span<const uint8_t> bytes) = 0;

  /// Size of one payload buffer, bytes.
  virtual size_t payload_bytes() const = 0;
  /// How many payload buffers may be held, taken but not sent, at a time.
  virtual size_t payload_buffers() const = 0;
  /// Takes a payload buffer that no send refers to, waiting for one. Buffers are sent, or put back,
  /// in the order they were taken.
  virtual std::span<uint8_t> TakePayload() = 0;
  /// Sends `header` (copied, may be empty) and the first `bytes` of the oldest payload buffer
  /// taken, without copying these.
  virtual void SendPayload(std::span<const uint8_t> header, size_t bytes) = 0;
  /// Puts back all payload buffers that were taken and not sent.
  virtual void PutBackPayload() = 0;
};

/// Copies exactly out.size() bytes. Returns false when the stream ended (or the server is to stop,
/// see WaitFor) before the first of them. Throws ConnectionLost when it ended in the middle.
bool ReadExact(Transport& transport, std::span<uint8_t> out, WaitFor first_byte);
/// Reads and forgets `bytes` bytes.
void Drain(Transport& transport, uint64_t bytes);

}  // namespace qpip::nbd

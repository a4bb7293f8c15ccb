// A client's connections: byte streams, and what waits for all of them.
#pragma once

#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "qpip/qpip.h"

namespace qpip::nbd::internal {

using Clock = std::chrono::steady_clock;

/// A connection is over, or the server has broken the protocol. The code says why.
class Lost : public Error {
 public:
  using Error::Error;
};

/// One connection. Nothing waits. Calls throw Lost.
class Channel {
 public:
  virtual ~Channel() = default;  ///< Ends it, at once.

  /// Whether it has been established; nothing else may be called before. Throws Error: why it
  /// cannot be.
  virtual bool Connected() = 0;
  /// Sends as much as there is room for, in order. What is registered memory must stay until the
  /// server has it. Returns how many bytes were taken.
  virtual size_t Send(std::span<const iovec> list) = 0;
  /// Fills the list from its start with what has come, and consumes that. Returns how many bytes;
  /// 0: nothing has.
  virtual size_t Receive(std::span<const iovec> into) = 0;
  /// Half-closes behind what was sent.
  virtual void Shutdown() = 0;
};

/// Makes connections to one server, and waits for all of them.
class Wire {
 public:
  virtual ~Wire() = default;
  /// Begins to connect. Throws Error.
  virtual std::unique_ptr<Channel> Connect() = 0;
  /// How long it may be waited while a channel is connecting: not everywhere is one told.
  virtual Timeout connecting_step() const { return std::nullopt; }
  /// Until something may have moved on a channel. Returns false when the time is over.
  virtual bool Wait(Timeout timeout) = 0;
  /// The same without waiting. Returns whether anything has moved.
  virtual bool Poll() = 0;
  virtual int fd() = 0;
  /// Asks for fd() to become readable. Returns false when something may have moved already.
  virtual bool Arm() = 0;
  virtual std::span<std::byte> Allocate(size_t bytes) = 0;
  virtual void Use(const MemoryRegion& region) = 0;
};

/// `keepalive`: of ClientOptions.
std::unique_ptr<Wire> MakeQpWire(Nic& nic, ProtectionDomain& pd, const Endpoint& server,
                                 std::chrono::seconds keepalive);
/// Resolves the name. Throws ParseError, Error ENOENT: not a socket's name.
std::unique_ptr<Wire> MakeSocketWire(const std::string& where, std::chrono::seconds keepalive);

}  // namespace qpip::nbd::internal

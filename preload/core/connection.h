// A TCP connection on a queue pair, with the semantics of a socket's byte stream: what recv, send
// and shutdown say, what an end or an error makes of them, and what poll is to tell.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "preload/core/readiness.h"
#include "qpip/qpip.h"
#include "qpip/stream.h"

namespace qpip::preload {

class Socket;
class Stack;

/// All calls with the stack's lock. Results are bytes or a negative errno value; -EAGAIN: not now.
class Connection {
 public:
  /// Idle, with its receives posted. Throws Error.
  explicit Connection(Stack& stack);
  ~Connection();  ///< RST if it is open.
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  QueuePair& qp() { return *qp_; }
  const QueuePair& qp() const { return *qp_; }
  /// Whose state follows this one's; nullptr: nobody's.
  Socket* owner() const { return owner_; }
  void set_owner(Socket* owner) { owner_ = owner; }

  /// Throws Error.
  void StartConnect(const Endpoint& peer, uint16_t local_port);
  void OnCompletion(const WorkCompletion& completion);
  /// Looks at the queue pair's state: established, failed, ended.
  void Refresh();

  bool connecting() const { return phase_ == Phase::kConnecting; }
  bool established() const { return phase_ == Phase::kEstablished; }
  bool failed() const { return phase_ == Phase::kFailed; }

  /// Copies what is there, and consumes it unless `peek`. 0: the end of the stream.
  long Receive(std::span<const iovec> to, bool peek);
  /// Takes what there is room for.
  long Send(std::span<const iovec> from);
  /// SHUT_RD, SHUT_WR, SHUT_RDWR.
  int Shutdown(int how);
  /// The pending error, an errno value, which is none any more then; 0.
  int TakeError();
  /// Bytes to be received.
  size_t available() const { return held_.size() - held_from_ + reader_->available(); }
  size_t unsent() const;  ///< bytes sent that the peer has not acknowledged, at most

  Readiness::Level level() const;
  /// Bytes have come, an end or an error, since this was last asked.
  bool TakeArrived() { return std::exchange(arrived_, false); }
  /// There is room again after a send that was not taken whole, since this was last asked.
  bool TakeUnblocked() { return std::exchange(unblocked_, false); }

  /// The program has closed it: FIN behind all that was sent, or RST where something was not read.
  /// Returns whether the connection is to be kept until done(). Does not throw.
  bool Close();
  /// After Close: the peer has acknowledged everything, or cannot. The NIC looks after the FIN.
  bool done() const;
  /// Both directions are over.
  bool ended() const { return failed() || qp_->state() == QpState::kClosed; }

 private:
  enum class Phase { kIdle, kConnecting, kEstablished, kFailed };
  void Fail(DisconnectReason reason);
  void HoldSmallOnes();
  long Peek(std::span<const iovec> to) const;
  size_t TakeHeld(std::span<std::byte> to);

  Stack& stack_;
  std::unique_ptr<QueuePair> qp_;
  std::unique_ptr<StreamReader> reader_;
  std::unique_ptr<StreamWriter> writer_;
  Socket* owner_ = nullptr;
  Phase phase_ = Phase::kIdle;
  bool read_shut_ = false;
  bool write_shut_ = false;
  bool closed_ = false;   ///< the queue pair is, and what it had received has been taken
  bool blocked_ = false;  ///< a send was not taken whole; not writable
  bool unblocked_ = false;
  bool arrived_ = false;
  int error_ = 0;
  /// Bytes that were taken out of the reader so that it has receives for more; in front of its own.
  std::vector<std::byte> held_;
  size_t held_from_ = 0;    ///< those before it are the program's already
  size_t completions_ = 0;  ///< receives since the reader was last empty
};

}  // namespace qpip::preload

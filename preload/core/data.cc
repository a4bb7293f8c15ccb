// Sockets: the calls that move bytes.
#include <errno.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <vector>

#include "preload/core/pieces.h"
#include "preload/core/sockets.h"
#include "preload/core/wait_for.h"

namespace qpip::preload {

namespace {

/// With one call that asks for MSG_TRUNC.
constexpr size_t kMostThrownAway = 256 * 1024;

// What is left of a list whose first bytes are done.
class Rest {
 public:
  explicit Rest(std::span<const iovec> pieces) : left_(pieces) {}

  std::span<const iovec> list() {
    if (offset_ == 0) return left_;
    // Only the first piece is another.
    copy_.assign(left_.begin(), left_.end());
    copy_[0].iov_base = static_cast<char*>(copy_[0].iov_base) + offset_;
    copy_[0].iov_len -= offset_;
    return copy_;
  }
  void Skip(size_t bytes) {
    offset_ += bytes;
    while (!left_.empty() && offset_ >= left_[0].iov_len) {
      offset_ -= left_[0].iov_len;
      left_ = left_.subspan(1);
    }
  }

 private:
  std::span<const iovec> left_;
  size_t offset_ = 0;
  std::vector<iovec> copy_;
};

}  // namespace

long Sockets::Receive(int fd, std::span<const iovec> to, int flags) {
  Guard guard(lock_);
  const std::shared_ptr<Socket> socket = Find(fd);
  if (socket == nullptr || socket->kind == Socket::Kind::kKernel) return kKernel;
  if (socket->kind == Socket::Kind::kInherited) return Refuse(fd);
  if ((flags & MSG_OOB) != 0) return -EINVAL;
  if ((flags & MSG_ERRQUEUE) != 0) return -EAGAIN;
  if (socket->connection == nullptr) return -ENOTCONN;
  size_t asked = TotalBytes(to);
  if (asked == 0) return 0;
  // tcp(7): the bytes are counted and thrown away. There may be no room behind the addresses.
  std::vector<std::byte> thrown_away;
  iovec nowhere;
  if ((flags & MSG_TRUNC) != 0) {
    asked = std::min(asked, kMostThrownAway);
    thrown_away.resize(asked);
    nowhere = {.iov_base = thrown_away.data(), .iov_len = asked};
    to = {&nowhere, 1};
  }
  const bool peek = (flags & MSG_PEEK) != 0;
  // Peeking looks at what is there, once.
  const bool all = (flags & MSG_WAITALL) != 0 && !peek;
  const bool wait = !socket->nonblocking && (flags & MSG_DONTWAIT) == 0;
  const std::optional<std::chrono::nanoseconds> timeout = socket->options.receive_timeout();
  Rest rest(to);
  size_t done = 0;
  for (;;) {
    // Another thread may close it meanwhile.
    Connection* connection = socket->connection.get();
    if (connection == nullptr) return done != 0 ? static_cast<long>(done) : -EBADF;
    if (connection->available() < asked - done) stack_->Progress();
    const long received = connection->Receive(rest.list(), peek);
    if (received > 0) {
      done += static_cast<size_t>(received);
      rest.Skip(static_cast<size_t>(received));
      stack_->MarkChanged(*socket);
      if (!all || done == asked) return static_cast<long>(done);
    } else if (received != -EAGAIN || !wait) {
      if (received != -EAGAIN) stack_->MarkChanged(*socket);
      return done != 0 ? static_cast<long>(done) : received;
    } else {
      guard.unlock();
      const long waited = WaitFor(fd, POLLIN, timeout, [&] {
        return socket->connection == nullptr || socket->connection->level().in;
      });
      if (waited != 0) return done != 0 ? static_cast<long>(done) : waited;
      guard.lock();
    }
  }
}

long Sockets::Send(int fd, std::span<const iovec> from, int flags) {
  Guard guard(lock_);
  const std::shared_ptr<Socket> socket = Find(fd);
  if (socket == nullptr || socket->kind == Socket::Kind::kKernel) return kKernel;
  if (socket->kind == Socket::Kind::kInherited) return Refuse(fd);
  if ((flags & (MSG_OOB | MSG_FASTOPEN)) != 0) return -EOPNOTSUPP;
  const size_t asked = TotalBytes(from);
  const bool wait = !socket->nonblocking && (flags & MSG_DONTWAIT) == 0;
  const std::optional<std::chrono::nanoseconds> timeout = socket->options.send_timeout();
  Rest rest(from);
  size_t done = 0;
  long result = 0;
  while (result == 0) {
    Connection* connection = socket->connection.get();
    if (connection == nullptr) {
      result = -EPIPE;
      break;
    }
    long sent = connection->Send(rest.list());
    if (sent == -EAGAIN) {
      stack_->Progress();
      sent = connection->Send(rest.list());
    }
    if (sent >= 0) {
      done += static_cast<size_t>(sent);
      rest.Skip(static_cast<size_t>(sent));
      if (done == asked) break;
      if (sent != 0 && wait) continue;
      if (sent != 0) break;
    }
    stack_->MarkChanged(*socket);
    if (sent != -EAGAIN || !wait) {
      result = sent;
      break;
    }
    guard.unlock();
    result = WaitFor(fd, POLLOUT, timeout, [&] {
      return socket->connection == nullptr || socket->connection->level().out;
    });
    guard.lock();
  }
  if (done != 0 || asked == 0) {
    if (done < asked) stack_->MarkChanged(*socket);
    if (done != 0 || result == 0) return static_cast<long>(done);
  }
  if (result == -EPIPE && (flags & MSG_NOSIGNAL) == 0) {
    guard.unlock();
    raise(SIGPIPE);  // this thread's, as send(2)'s
  }
  return result;
}

long Sockets::Count(int fd, size_t (Connection::*bytes)() const) {
  const Guard guard(lock_);
  const std::shared_ptr<Socket> socket = Find(fd);
  if (socket == nullptr || socket->kind == Socket::Kind::kKernel) return kKernel;
  if (socket->kind == Socket::Kind::kInherited) return Refuse(fd);
  if (socket->acceptor != nullptr) return -EINVAL;
  if (socket->connection == nullptr) return 0;
  stack_->Progress();
  return static_cast<long>(std::min<size_t>(((*socket->connection).*bytes)(), INT_MAX));
}

long Sockets::Available(int fd) { return Count(fd, &Connection::available); }
long Sockets::Unsent(int fd) { return Count(fd, &Connection::unsent); }

}  // namespace qpip::preload

// Sockets: the calls that make connections, and names and options.
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "preload/core/sockets.h"
#include "preload/core/wait_for.h"

namespace qpip::preload {

namespace {

// As getsockopt(2) hands out an int.
long GiveInt(int number, void* value, socklen_t* length) {
  if (value == nullptr || length == nullptr) return -EFAULT;
  const socklen_t bytes = std::min<socklen_t>(*length, sizeof number);
  std::memcpy(value, &number, bytes);
  *length = bytes;
  return 0;
}

}  // namespace

long Sockets::Bind(int fd, const sockaddr* address, socklen_t length) {
  const Guard guard(lock_);
  const std::shared_ptr<Socket> socket = Find(fd);
  if (socket == nullptr) return kKernel;
  if (socket->kind == Socket::Kind::kInherited) return Refuse(fd);
  if (socket->kind == Socket::Kind::kQueuePair) return -EINVAL;  // bound already
  const std::optional<Endpoint> local = ToEndpoint(address, length);
  if (!local || (socket->family == AF_INET && address->sa_family != AF_INET) ||
      !rule_.Binds(local->address, socket->family)) {
    return kKernel;
  }
  try {
    // The port is asked for, and chosen, but peers are refused until listen(2).
    const std::unique_ptr<Listener> asked = Open().nic().Listen(local->port, 1);
    Become(*socket);
    socket->bound = {.address = local->address, .port = asked->port()};
  } catch (const Error& error) {
    return Fail(error, "bind");
  }
  return 0;
}

long Sockets::Listen(int fd, int backlog) {
  const Guard guard(lock_);
  const std::shared_ptr<Socket> socket = Find(fd);
  if (socket == nullptr || socket->kind == Socket::Kind::kKernel) return kKernel;
  if (socket->kind == Socket::Kind::kInherited) return Refuse(fd);
  if (socket->connection != nullptr || !socket->bound) return -EINVAL;
  if (socket->acceptor != nullptr) {
    socket->acceptor->set_backlog(backlog);
    return 0;
  }
  try {
    socket->acceptor = std::make_unique<Acceptor>(Open(), socket->bound->port, backlog);
  } catch (const Error& error) {
    return Fail(error, "listen");
  }
  socket->acceptor->set_owner(socket.get());
  socket->listening_shut = false;
  stack_->MarkChanged(*socket);
  return 0;
}

int Sockets::TakeAccepted(Socket& listener, sockaddr* address, socklen_t* length, int flags) {
  if (!listener.acceptor->waiting()) return -EAGAIN;
  auto socket = std::make_shared<Socket>(listener.family);
  try {
    socket->readiness = std::make_unique<Readiness>();
  } catch (const Error& error) {
    return -error.code();
  }
  const int fd = socket->readiness->TakeEnd();
  if (fd >= kMaxFd) {
    close(fd);
    return -EMFILE;
  }
  if ((flags & SOCK_CLOEXEC) == 0) fcntl(fd, F_SETFD, 0);
  if ((flags & SOCK_NONBLOCK) != 0) fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
  socket->nonblocking = (flags & SOCK_NONBLOCK) != 0;
  socket->kind = Socket::Kind::kQueuePair;
  socket->fds.push_back(fd);
  socket->options = listener.options;
  socket->connection = listener.acceptor->Take();
  socket->connection->set_owner(socket.get());
  if (address != nullptr) {
    FromEndpoint(socket->connection->qp().peer(), listener.family, address, length);
  }
  stack_->MarkChanged(*socket);
  stack_->MarkChanged(listener);
  sockets_[fd] = std::move(socket);
  has_[static_cast<size_t>(fd)].store(true, std::memory_order_release);
  return fd;
}

long Sockets::Accept(int fd, sockaddr* address, socklen_t* length, int flags) {
  Guard guard(lock_);
  const std::shared_ptr<Socket> socket = Find(fd);
  if (socket == nullptr || socket->kind == Socket::Kind::kKernel) return kKernel;
  if (socket->kind == Socket::Kind::kInherited) return Refuse(fd);
  if (address != nullptr && length == nullptr) return -EFAULT;
  const std::optional<std::chrono::nanoseconds> timeout = socket->options.receive_timeout();
  for (;;) {
    if (socket->acceptor == nullptr) return -EINVAL;
    stack_->Progress();
    const int taken = TakeAccepted(*socket, address, length, flags);
    if (taken != -EAGAIN || socket->nonblocking) return taken;
    guard.unlock();
    const long waited = WaitFor(fd, POLLIN, timeout, [&] {
      return socket->acceptor == nullptr || socket->acceptor->waiting();
    });
    if (waited != 0) return waited;
    guard.lock();
  }
}

long Sockets::StartConnect(Socket& socket, const Endpoint& peer) {
  try {
    Stack& stack = Open();
    auto connection = std::make_unique<Connection>(stack);
    // Another attempt needs another descriptor, as what is told of an error stays told.
    if (socket.kind == Socket::Kind::kKernel || socket.connection != nullptr) Become(socket);
    connection->StartConnect(peer, socket.bound ? socket.bound->port : 0);
    connection->set_owner(&socket);
    socket.connection = std::move(connection);
    stack.Progress();
    stack.MarkChanged(socket);
  } catch (const Error& error) {
    return Fail(error, "connect");
  }
  return 0;
}

long Sockets::Connect(int fd, const sockaddr* address, socklen_t length) {
  Guard guard(lock_);
  const std::shared_ptr<Socket> socket = Find(fd);
  if (socket == nullptr) return kKernel;
  if (socket->kind == Socket::Kind::kInherited) return Refuse(fd);
  const std::optional<Endpoint> peer = ToEndpoint(address, length);
  const bool reached = peer && (socket->family == AF_INET6 || address->sa_family == AF_INET) &&
                       rule_.Reaches(peer->address, socket->family);
  if (socket->kind == Socket::Kind::kKernel && !reached) return kKernel;
  if (socket->acceptor != nullptr) return -EISCONN;
  if (Connection* connection = socket->connection.get()) {
    stack_->Progress();
    connection->Refresh();
    if (connection->established()) return -EISCONN;
    if (connection->connecting()) {
      return socket->nonblocking ? -EALREADY : WaitConnected(guard, fd, socket);
    }
    if (const int error = connection->TakeError(); error != 0) return -error;
  }
  if (!reached) {
    if (!socket->bound || !IsUnspecified(socket->bound->address)) return -ENETUNREACH;
    try {
      BackToKernel(*socket);
    } catch (const Error& error) {
      return Fail(error, "connect");
    }
    return kKernel;
  }
  if (peer->port == 0) return -ECONNREFUSED;
  if (const long result = StartConnect(*socket, *peer); result != 0) return result;
  return socket->nonblocking ? -EINPROGRESS : WaitConnected(guard, fd, socket);
}

long Sockets::WaitConnected(Guard& guard, int fd, const std::shared_ptr<Socket>& socket) {
  const std::optional<std::chrono::nanoseconds> timeout = socket->options.send_timeout();
  guard.unlock();
  const long waited = WaitFor(fd, POLLOUT, timeout, [&] {
    if (socket->connection == nullptr) return true;  // another thread has closed it
    socket->connection->Refresh();
    return !socket->connection->connecting();
  });
  guard.lock();
  if (socket->connection == nullptr) return -EBADF;
  if (waited == -EAGAIN) return -EINPROGRESS;
  if (waited != 0) return waited;
  return -socket->connection->TakeError();
}

long Sockets::GetName(int fd, bool peer, sockaddr* address, socklen_t* length) {
  const Guard guard(lock_);
  const std::shared_ptr<Socket> socket = Find(fd);
  if (socket == nullptr || socket->kind == Socket::Kind::kKernel) return kKernel;
  if (address == nullptr || length == nullptr) return -EFAULT;
  std::optional<Endpoint> name = peer ? socket->peer : socket->local;
  if (socket->kind == Socket::Kind::kQueuePair) {
    const Connection* connection = socket->connection.get();
    const bool connected = connection != nullptr && connection->established();
    name = peer ? std::nullopt : socket->bound;
    if (connected) name = peer ? connection->qp().peer() : connection->qp().local();
  }
  if (!name) {
    if (peer) return -ENOTCONN;
    name = Endpoint{.address = rule_.address()};
  }
  FromEndpoint(*name, socket->family, address, length);
  return 0;
}

long Sockets::Shutdown(int fd, int how) {
  const Guard guard(lock_);
  const std::shared_ptr<Socket> socket = Find(fd);
  if (socket == nullptr || socket->kind == Socket::Kind::kKernel) return kKernel;
  if (socket->kind == Socket::Kind::kInherited) return Refuse(fd);
  stack_->MarkChanged(*socket);
  if (socket->acceptor != nullptr) {
    if (how == SHUT_WR) return 0;
    socket->acceptor.reset();
    socket->listening_shut = true;
    stack_->Progress();
    return 0;
  }
  if (socket->connection == nullptr) return -ENOTCONN;
  stack_->Progress();
  socket->connection->Refresh();
  const long result = socket->connection->Shutdown(how);
  stack_->MarkChanged(*socket);  // threads that are blocked in it are to know
  stack_->TellSleepers();
  return result;
}

long Sockets::SetOption(int fd, int level, int name, const void* value, socklen_t length) {
  const Guard guard(lock_);
  const std::shared_ptr<Socket> socket = Find(fd);
  if (socket == nullptr) return kKernel;
  if (socket->kind == Socket::Kind::kKernel) {
    if (setsockopt(fd, level, name, value, length) != 0) return -errno;
    socket->options.Note(level, name, value, length);
    return 0;
  }
  // Its completions would not come.
  if (level == SOL_SOCKET && name == SO_ZEROCOPY) return -EOPNOTSUPP;
  return socket->options.Set(level, name, value, length);
}

long Sockets::GetOption(int fd, int level, int name, void* value, socklen_t* length) {
  const Guard guard(lock_);
  const std::shared_ptr<Socket> socket = Find(fd);
  if (socket == nullptr || socket->kind == Socket::Kind::kKernel) return kKernel;
  Connection* connection = socket->connection.get();
  if (level == SOL_SOCKET && name == SO_ERROR) {
    if (connection == nullptr) return GiveInt(0, value, length);
    stack_->Progress();
    connection->Refresh();
    // The kernel's descriptor tells of it no more, either.
    int told = 0;
    socklen_t size = sizeof told;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &told, &size);
    return GiveInt(connection->TakeError(), value, length);
  }
  if (level == SOL_SOCKET && name == SO_ACCEPTCONN) {
    return GiveInt(socket->acceptor != nullptr ? 1 : 0, value, length);
  }
  const int result = socket->options.Get(level, name, value, length);
  // All else in it is what Linux says of a socket that has sent nothing.
  if (result == 0 && level == IPPROTO_TCP && name == TCP_INFO && *length > 0) {
    const bool established = connection != nullptr && connection->established();
    *static_cast<uint8_t*>(value) = established                   ? TCP_ESTABLISHED
                                    : socket->acceptor != nullptr ? TCP_LISTEN
                                                                  : TCP_CLOSE;
  }
  return result;
}

}  // namespace qpip::preload

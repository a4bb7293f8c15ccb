// Sockets: descriptors, from the kernel to a queue pair and back, the end of a process.
#include "preload/core/sockets.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "preload/core/wait_for.h"

namespace qpip::preload {

namespace {

constexpr std::chrono::milliseconds kLingerSlice(20);

}  // namespace

Sockets::~Sockets() {
  std::unordered_map<int, std::shared_ptr<Socket>> all;
  std::unique_ptr<Stack> stack;
  {
    const Guard guard(lock_);
    all.swap(sockets_);
    open_.store(false);
    for (auto& [fd, socket] : all) {
      if (stack_ != nullptr) stack_->Forget(*socket);
      socket->connection.reset();
      socket->acceptor.reset();
    }
    stack = std::move(stack_);
  }
}

std::shared_ptr<Socket> Sockets::Find(int fd) const {
  const auto found = sockets_.find(fd);
  return found == sockets_.end() ? nullptr : found->second;
}

long Sockets::Fail(const Error& error, const char* doing) {
  // What a kernel socket would say needs no line of its own.
  if (error.code() != EADDRINUSE || stack_ == nullptr) {
    say_(std::string(doing) + ": " + error.what());
  }
  return -(error.code() != 0 ? error.code() : EIO);
}

Stack& Sockets::Open() {
  if (stack_ == nullptr) {
    stack_ = std::make_unique<Stack>(rule_.uri(), lock_);
    open_.store(true, std::memory_order_release);
  }
  return *stack_;
}

long Sockets::Refuse(int fd) {
  if (!refused_) {
    refused_ = true;
    say_("descriptor " + std::to_string(fd) + " is a socket of process " + std::to_string(owner_) +
         ", which made this one by fork: a queue pair belongs to the process that opened its NIC. "
         "Run the server as one process (threads, or no workers)");
  }
  return -EPERM;
}

void Sockets::OnSocket(int fd, int family, int type) {
  if (fd < 0 || fd >= kMaxFd) return;
  auto socket = std::make_shared<Socket>(family);
  socket->nonblocking = (type & SOCK_NONBLOCK) != 0;
  socket->fds.push_back(fd);
  const Guard guard(lock_);
  sockets_[fd] = std::move(socket);
  has_[static_cast<size_t>(fd)].store(true, std::memory_order_release);
}

void Sockets::OnDuplicate(int fd, int copy) {
  const Guard guard(lock_);
  const std::shared_ptr<Socket> socket = Find(fd);
  if (socket == nullptr || copy < 0 || copy >= kMaxFd || copy == fd) return;
  socket->fds.push_back(copy);
  sockets_[copy] = socket;
  has_[static_cast<size_t>(copy)].store(true, std::memory_order_release);
}

void Sockets::Forget(int fd) {
  has_[static_cast<size_t>(fd)].store(false, std::memory_order_release);
  sockets_.erase(fd);
}

void Sockets::OnClose(int fd) {
  Guard guard(lock_);
  const std::shared_ptr<Socket> socket = Find(fd);
  if (socket == nullptr) return;
  Forget(fd);
  std::erase(socket->fds, fd);
  sets_.Remove(*socket, fd);
  if (!socket->fds.empty() || socket->kind != Socket::Kind::kQueuePair) return;
  const std::optional<int> linger = socket->options.linger_s();
  if (linger && *linger > 0 && !socket->nonblocking && socket->connection != nullptr &&
      socket->connection->established()) {
    socket->connection->Shutdown(SHUT_WR);
    guard.unlock();
    const auto done = [&] { return socket->connection->done(); };
    Until until(done);
    // A little at a time: there is no descriptor of its own to be waked by. A signal ends it, as
    // time does; the NIC goes on with what is left.
    const Clock::time_point end = Clock::now() + std::chrono::seconds(*linger);
    while (stack_->Wait({}, std::min(end, Clock::now() + kLingerSlice), nullptr, until) == 0 &&
           Clock::now() < end) {
    }
    guard.lock();
  }
  if (linger == 0) socket->connection.reset();
  Drop(socket);
}

// The last descriptor is gone.
void Sockets::Drop(std::shared_ptr<Socket> socket) {
  if (stack_ != nullptr) stack_->Forget(*socket);
  socket->acceptor.reset();
  if (socket->connection != nullptr && socket->connection->Close()) {
    stack_->Linger(std::move(socket->connection));
  }
  socket->connection.reset();
  socket->readiness.reset();
}

void Sockets::OnNonblocking(int fd, bool nonblocking) {
  const Guard guard(lock_);
  if (const auto socket = Find(fd)) socket->nonblocking = nonblocking;
}

void Sockets::OnEpoll(int epoll, int fd, const epoll_event* event) {
  const Guard guard(lock_);
  const auto socket = Find(fd);
  if (socket == nullptr) return;
  if (event == nullptr) return sets_.Remove(epoll, fd);
  if (epoll >= 0 && epoll < kMaxFd) {
    watches_[static_cast<size_t>(epoll)].store(true, std::memory_order_release);
  }
  sets_.Put(*socket, epoll, fd, *event);
  socket->NoteEvents(event->events);
  if (stack_ != nullptr && socket->kind == Socket::Kind::kQueuePair) {
    stack_->MarkChanged(*socket);
    stack_->TellSleepers();
  }
}

void Sockets::OnCloseEpoll(int epoll) {
  const Guard guard(lock_);
  watches_[static_cast<size_t>(epoll)].store(false, std::memory_order_release);
  sets_.Close(epoll);
}

// Puts `fresh` where all of the socket's descriptors are, with their flags and places in epoll
// sets.
void Sockets::PutInPlace(Socket& socket, int fresh) {
  const int status = fcntl(socket.fds[0], F_GETFL);
  for (const int fd : socket.fds) {
    const int flags = fcntl(fd, F_GETFD);
    dup3(fresh, fd, (flags & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0);
  }
  fcntl(fresh, F_SETFL, status);
  close(fresh);
  for (EpollSets::Registration* each : socket.registrations) {
    epoll_ctl(each->epoll, EPOLL_CTL_ADD, each->fd, &each->event);
  }
}

void Sockets::Become(Socket& socket) {
  socket.readiness = std::make_unique<Readiness>();
  PutInPlace(socket, socket.readiness->TakeEnd());
  socket.kind = Socket::Kind::kQueuePair;
}

void Sockets::BackToKernel(Socket& socket) {
  const int fresh = ::socket(socket.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fresh < 0) throw Error(errno, "no kernel socket to go back to");
  socket.options.ApplyTo(fresh);
  sockaddr_storage address = {};
  socklen_t length = sizeof address;
  FromEndpoint(*socket.bound, socket.family, reinterpret_cast<sockaddr*>(&address), &length);
  if (bind(fresh, reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    const int error = errno;
    close(fresh);
    throw Error(error, "cannot bind the kernel socket to go back to");
  }
  PutInPlace(socket, fresh);
  socket.readiness.reset();
  socket.kind = Socket::Kind::kKernel;
}

void Sockets::Finish(Clock::duration patience) {
  if (!open()) return;
  {
    const Guard guard(lock_);
    stack_->BeginFinish();
    stack_->Progress();
    while (!sockets_.empty()) {
      const int fd = sockets_.begin()->first;
      const std::shared_ptr<Socket> socket = sockets_.begin()->second;
      Forget(fd);
      sets_.Remove(*socket, fd);
      std::erase(socket->fds, fd);
      if (socket->fds.empty() && socket->kind == Socket::Kind::kQueuePair) Drop(socket);
    }
  }
  stack_->Finish(patience);
}

void Sockets::BeforeFork() {
  lock_.lock();
  // A child cannot ask the NIC.
  for (auto& [fd, socket] : sockets_) {
    if (socket->kind != Socket::Kind::kQueuePair) continue;
    socket->local = socket->bound;
    const Connection* connection = socket->connection.get();
    if (connection == nullptr || !connection->established()) continue;
    socket->local = connection->qp().local();
    socket->peer = connection->qp().peer();
  }
}

void Sockets::AfterForkInChild() {
  owner_ = getppid();
  refused_ = false;
  // The parent's, threads and all: not even destroyed here.
  [[maybe_unused]] const Stack* left = stack_.release();
  open_.store(false);
  for (auto& [fd, socket] : sockets_) {
    if (socket->kind != Socket::Kind::kQueuePair) continue;
    socket->kind = Socket::Kind::kInherited;
    [[maybe_unused]] const Connection* connection = socket->connection.release();
    [[maybe_unused]] const Acceptor* acceptor = socket->acceptor.release();
    socket->readiness.reset();  // closes this process's copy
  }
  lock_.unlock();
}

}  // namespace qpip::preload

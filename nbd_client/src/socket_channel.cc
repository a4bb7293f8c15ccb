#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <list>
#include <string>
#include <utility>
#include <vector>

#include "channel.h"

namespace qpip::nbd::internal {

namespace {

constexpr size_t kInputBytes = 64 * 1024;
constexpr size_t kMaxRuns = 256;
/// Within the time that is allowed once a server has been silent.
constexpr int kProbes = 4;
/// What the kernel takes for TCP_KEEPIDLE and TCP_KEEPINTVL, seconds.
constexpr int64_t kMostKeepalive = 32767;

class SocketChannel : public Channel {
 public:
  /// Takes over both descriptors' use, and the first itself.
  SocketChannel(int fd, int epoll) : fd_(fd), epoll_(epoll), input_(kInputBytes) {
    Watch(EPOLL_CTL_ADD, EPOLLOUT);  // connected, or refused
  }
  ~SocketChannel() override { close(fd_); }

  bool Connected() override;
  size_t Send(std::span<const iovec> list) override;
  size_t Receive(std::span<const iovec> into) override;
  void Shutdown() override { shutdown(fd_, SHUT_WR); }

 private:
  void Watch(int how, uint32_t events) {
    epoll_event event = {};
    event.events = events;
    epoll_ctl(epoll_, how, fd_, &event);
  }
  /// Of recvmsg. 0: nothing there.
  size_t ReceiveSome(std::span<iovec> list);

  int fd_;
  int epoll_;
  bool connected_ = false;
  bool wants_room_ = false;
  std::vector<std::byte> input_;
  size_t begin_ = 0;  ///< of what was received and not consumed
  size_t end_ = 0;
};

struct Address {
  sockaddr_storage bytes = {};
  socklen_t size = 0;
};

class SocketWire : public Wire {
 public:
  SocketWire(std::string where, const Address& address, std::chrono::seconds keepalive)
      : where_(std::move(where)),
        address_(address),
        keepalive_(keepalive),
        epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    if (epoll_ < 0) throw Error(errno, std::string("no descriptor: ") + std::strerror(errno));
  }
  ~SocketWire() override { close(epoll_); }

  std::unique_ptr<Channel> Connect() override;
  bool Wait(Timeout timeout) override;
  bool Poll() override { return false; }  // who looks at a channel asks the kernel
  int fd() override { return epoll_; }
  bool Arm() override { return true; }
  std::span<std::byte> Allocate(size_t bytes) override {
    memory_.emplace_back(bytes);
    return memory_.back();
  }
  void Use(const MemoryRegion& /*region*/) override {}

 private:
  std::string where_;
  Address address_;
  std::chrono::seconds keepalive_;
  int epoll_;
  std::list<std::vector<std::byte>> memory_;
};

bool SocketChannel::Connected() {
  if (connected_) return true;
  pollfd descriptor = {fd_, POLLOUT, 0};
  if (poll(&descriptor, 1, 0) == 0) return false;
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) throw Error(error, std::string("cannot connect: ") + std::strerror(error));
  Watch(EPOLL_CTL_MOD, EPOLLIN);
  connected_ = true;
  return true;
}

size_t SocketChannel::Send(std::span<const iovec> list) {
  if (list.empty()) return 0;
  msghdr message = {};
  message.msg_iov = const_cast<iovec*>(list.data());
  message.msg_iovlen = std::min(list.size(), kMaxRuns);
  ssize_t sent;
  do {
    sent = sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0 && errno != EAGAIN) {
    throw Lost(errno, std::string("connection broken: ") + std::strerror(errno));
  }
  size_t given = 0;
  for (const iovec& run : list.first(message.msg_iovlen)) given += run.iov_len;
  const size_t taken = sent < 0 ? 0 : static_cast<size_t>(sent);
  const bool full = taken < given;
  if (full != wants_room_) {
    wants_room_ = full;
    Watch(EPOLL_CTL_MOD, full ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }
  return taken;
}

size_t SocketChannel::ReceiveSome(std::span<iovec> list) {
  msghdr message = {};
  message.msg_iov = list.data();
  message.msg_iovlen = list.size();
  for (;;) {
    const ssize_t bytes = recvmsg(fd_, &message, MSG_DONTWAIT);
    if (bytes > 0) return static_cast<size_t>(bytes);
    if (bytes == 0) throw Lost(ECONNRESET, "connection closed by the server");
    if (errno == EAGAIN) return 0;
    if (errno != EINTR) {
      throw Lost(errno, std::string("connection broken: ") + std::strerror(errno));
    }
  }
}

size_t SocketChannel::Receive(std::span<const iovec> into) {
  if (begin_ < end_) {
    size_t total = 0;
    for (const iovec& run : into) {
      const size_t bytes = std::min(run.iov_len, end_ - begin_);
      std::memcpy(run.iov_base, input_.data() + begin_, bytes);
      begin_ += bytes;
      total += bytes;
      if (begin_ == end_) break;
    }
    return total;
  }
  // Where it is to go, and what comes behind it into the buffer.
  std::array<iovec, 64> list;
  const size_t count = std::min(into.size(), list.size() - 1);
  size_t wanted = 0;
  for (size_t i = 0; i < count; ++i) {
    list[i] = into[i];
    wanted += into[i].iov_len;
  }
  size_t runs = count;
  if (count == into.size()) list[runs++] = {input_.data(), input_.size()};
  const size_t bytes = ReceiveSome(std::span(list).first(runs));
  begin_ = 0;
  end_ = bytes > wanted ? bytes - wanted : 0;
  return std::min(bytes, wanted);
}

// --- Connecting

Address UnixAddress(const std::string& path) {
  Address address;
  auto& name = reinterpret_cast<sockaddr_un&>(address.bytes);
  name.sun_family = AF_UNIX;
  if (path.size() >= sizeof name.sun_path) {
    throw ParseError("socket path too long: " + path + ": at most " +
                     std::to_string(sizeof name.sun_path - 1) + " bytes");
  }
  std::memcpy(name.sun_path, path.data(), path.size());
  address.size = sizeof name;
  return address;
}

Address Resolve(const std::string& where) {
  if (where.find('/') != std::string::npos) return UnixAddress(where);
  const size_t colon = where.rfind(':');
  std::string host = where.substr(0, colon);
  if (colon == std::string::npos || host.empty()) {
    throw ParseError("bad server: '" + where + "': give PATH, NAME:PORT or [ADDRESS]:PORT");
  }
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), where.c_str() + colon + 1, &hints, &found);
  if (error != 0) throw Error(ENOENT, "no such server: " + where + ": " + gai_strerror(error));
  Address address;
  address.size = found->ai_addrlen;
  std::memcpy(&address.bytes, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  return address;
}

/// A server whose machine is gone sends nothing, not even a reset. A Unix socket has no such
/// options, and needs none.
void WatchForItsEnd(int fd, std::chrono::seconds keepalive) {
  if (keepalive.count() <= 0) return;
  const int idle = static_cast<int>(std::min<int64_t>(keepalive.count(), kMostKeepalive));
  const int interval = std::max(1, idle / kProbes);
  const int on = 1;
  const auto unacknowledged_ms = static_cast<unsigned>(idle + interval * kProbes) * 1000;
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &kProbes, sizeof kProbes);
  // Nothing is probed as long as something that was sent is not acknowledged.
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms, sizeof unacknowledged_ms);
}

std::unique_ptr<Channel> SocketWire::Connect() {
  const int fd = socket(address_.bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  int error = fd < 0 ? errno : 0;
  const auto* const name = reinterpret_cast<const sockaddr*>(&address_.bytes);
  if (fd >= 0 && connect(fd, name, address_.size) != 0 && errno != EINPROGRESS) {
    error = errno == EAGAIN ? ECONNREFUSED : errno;  // EAGAIN: a Unix socket whose queue is full
  }
  if (error != 0) {
    if (fd >= 0) close(fd);
    throw Error(error, "cannot connect: " + where_ + ": " + std::strerror(error));
  }
  const int on = 1;  // a Unix socket has no such option, and needs none
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  WatchForItsEnd(fd, keepalive_);
  return std::make_unique<SocketChannel>(fd, epoll_);
}

bool SocketWire::Wait(Timeout timeout) {
  int limit = -1;
  if (timeout) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*timeout).count();
    limit = static_cast<int>(std::min<int64_t>(left, 3'600'000));
  }
  std::array<epoll_event, 16> events;
  return epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), limit) > 0;
}

}  // namespace

std::unique_ptr<Wire> MakeSocketWire(const std::string& where, std::chrono::seconds keepalive) {
  return std::make_unique<SocketWire>(where, Resolve(where), keepalive);
}

}  // namespace qpip::nbd::internal

// The kernel's own TCP and UDP on ::1, as a careful application uses them: TCP_NODELAY, cubic (the
// default here may be BBR, slow on loopback), buffers as the kernel sizes them.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "bench/comparison/contender.h"
#include "bench/comparison/process_pair.h"
#include "bench/loopback.h"

namespace qpip::bench {
namespace {

[[noreturn]] void ThrowErrno(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

/// A socket that moves whole messages, busy-polling (non-blocking calls in a loop) or blocking.
class MessageSocket {
 public:
  MessageSocket(int descriptor, bool poll)
      : descriptor_(descriptor), flags_(poll ? MSG_DONTWAIT : 0) {
    if (descriptor_ < 0) ThrowErrno("socket");
  }
  MessageSocket(MessageSocket&& other) noexcept
      : descriptor_(other.descriptor_), flags_(other.flags_) {
    other.descriptor_ = -1;
  }
  MessageSocket& operator=(MessageSocket&&) = delete;
  ~MessageSocket() {
    if (descriptor_ >= 0) close(descriptor_);
  }

  void Send(const uint8_t* from, size_t bytes) const {
    for (size_t done = 0; done < bytes;) {
      const ssize_t n = send(descriptor_, from + done, bytes - done, flags_ | MSG_NOSIGNAL);
      if (n >= 0) {
        done += static_cast<size_t>(n);
      } else if (errno != EAGAIN && errno != EINTR) {
        ThrowErrno("send");
      }
    }
  }
  void Receive(uint8_t* to, size_t bytes) const {
    for (size_t done = 0; done < bytes;) {
      const ssize_t n = recv(descriptor_, to + done, bytes - done, flags_);
      if (n > 0) {
        done += static_cast<size_t>(n);
      } else if (n == 0) {
        throw std::runtime_error("the peer closed the connection early");
      } else if (errno != EAGAIN && errno != EINTR) {
        ThrowErrno("recv");
      }
    }
  }

 private:
  int descriptor_;
  int flags_;
};

void BindAnyPort(int descriptor) {
  const sockaddr_in6 address = Loopback(0);
  if (bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    ThrowErrno("bind ::1");
  }
}

uint32_t LocalPort(int descriptor) {
  sockaddr_in6 address = {};
  socklen_t length = sizeof(address);
  if (getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    ThrowErrno("getsockname");
  }
  return ntohs(address.sin6_port);
}

void ConnectTo(int descriptor, uint32_t port) {
  const sockaddr_in6 address = Loopback(port);
  if (connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    ThrowErrno("connect ::1");
  }
}

void SetTcpOptions(int descriptor) {
  const int on = 1;
  if (setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0) {
    ThrowErrno("TCP_NODELAY");
  }
  static constexpr char kCubic[] = "cubic";
  if (setsockopt(descriptor, IPPROTO_TCP, TCP_CONGESTION, kCubic, sizeof(kCubic) - 1) != 0) {
    ThrowErrno("TCP_CONGESTION=cubic");
  }
}

MessageSocket OpenServer(Side& side, Transport transport, bool poll) {
  const int type = transport == Transport::kTcp ? SOCK_STREAM : SOCK_DGRAM;
  const int first = socket(AF_INET6, type, 0);
  MessageSocket bound(first, poll);
  BindAnyPort(first);
  if (transport == Transport::kUdp) {
    side.Tell(LocalPort(first));
    ConnectTo(first, side.Hear());
    side.Tell(0);  // connected: nothing sent from now on is refused
    return bound;
  }
  if (listen(first, 1) != 0) ThrowErrno("listen");
  side.Tell(LocalPort(first));
  const int connection = accept(first, nullptr, nullptr);
  MessageSocket accepted(connection, poll);
  SetTcpOptions(connection);
  return accepted;
}

MessageSocket OpenClient(Side& side, Transport transport, bool poll) {
  const int descriptor =
      socket(AF_INET6, transport == Transport::kTcp ? SOCK_STREAM : SOCK_DGRAM, 0);
  MessageSocket connection(descriptor, poll);
  const uint32_t port = side.Hear();
  if (transport == Transport::kUdp) {
    BindAnyPort(descriptor);
    ConnectTo(descriptor, port);
    side.Tell(LocalPort(descriptor));
    side.Hear();
  } else {
    SetTcpOptions(descriptor);
    ConnectTo(descriptor, port);
  }
  return connection;
}

/// As many different buffers as QPIP has messages outstanding, so that caches see the same.
class Buffers {
 public:
  explicit Buffers(const Case& which)
      : bytes_(which.bytes),
        window_(which.window),
        memory_(size_t{which.bytes} * which.window, 1) {}
  uint8_t* At(uint64_t message) { return memory_.data() + (message % window_) * bytes_; }

 private:
  size_t bytes_;
  uint64_t window_;
  std::vector<uint8_t> memory_;
};

void ServeRoundTrips(const MessageSocket& socket, const Case& which, uint64_t count) {
  std::vector<uint8_t> buffer(which.bytes);
  for (uint64_t i = 0; i < count; ++i) {
    socket.Receive(buffer.data(), buffer.size());
    socket.Send(buffer.data(), buffer.size());
  }
}
void MakeRoundTrips(const MessageSocket& socket, const Case& which, uint64_t count) {
  std::vector<uint8_t> buffer(which.bytes, 1);
  for (uint64_t i = 0; i < count; ++i) {
    socket.Send(buffer.data(), buffer.size());
    socket.Receive(buffer.data(), buffer.size());
  }
}
void ReceiveAll(const MessageSocket& socket, const Case& which, Buffers& buffers, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) socket.Receive(buffers.At(i), which.bytes);
  const uint8_t done = 1;
  socket.Send(&done, 1);
}
void SendAll(const MessageSocket& socket, const Case& which, Buffers& buffers, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) socket.Send(buffers.At(i), which.bytes);
  uint8_t done = 0;
  socket.Receive(&done, 1);
}

class KernelContender : public Contender {
 public:
  explicit KernelContender(Completion completion) : completion_(completion) {}

  std::string name() const override {
    return completion_ == Completion::kPoll ? "kernel-poll" : "kernel-block";
  }
  std::string description() const override {
    return std::string("kernel sockets on ::1, TCP_NODELAY, cubic, no checksums on loopback, ") +
           (completion_ == Completion::kPoll ? "non-blocking calls in a loop" : "blocking calls");
  }
  Completion completion() const override { return completion_; }
  bool Supports(const Case& which) const override {
    return which.pattern == Pattern::kRoundTrip || which.transport == Transport::kTcp;
  }

  Sample Measure(const Case& which, const Pinning& pinning, std::chrono::seconds timeout) override {
    const bool poll = completion_ == Completion::kPoll;
    const bool round_trip = which.pattern == Pattern::kRoundTrip;
    return RunPair(
        pinning, timeout,
        [&](Side& side) {
          const MessageSocket socket = OpenServer(side, which.transport, poll);
          Buffers buffers(which);
          const auto run = [&](uint64_t count) {
            round_trip ? ServeRoundTrips(socket, which, count)
                       : ReceiveAll(socket, which, buffers, count);
          };
          WarmUpAndMeasure(side, which, run);
        },
        [&](Side& side) {
          const MessageSocket socket = OpenClient(side, which.transport, poll);
          Buffers buffers(which);
          const auto run = [&](uint64_t count) {
            round_trip ? MakeRoundTrips(socket, which, count)
                       : SendAll(socket, which, buffers, count);
          };
          WarmUpAndMeasure(side, which, run);
        });
  }

 private:
  Completion completion_;
};

}  // namespace

std::vector<std::unique_ptr<Contender>> KernelContenders() {
  std::vector<std::unique_ptr<Contender>> contenders;
  contenders.push_back(std::make_unique<KernelContender>(Completion::kPoll));
  contenders.push_back(std::make_unique<KernelContender>(Completion::kWait));
  return contenders;
}

}  // namespace qpip::bench

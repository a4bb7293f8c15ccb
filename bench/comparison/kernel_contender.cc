// The kernel's own TCP and UDP, as a careful application uses them: TCP_NODELAY, cubic (the
// default here may be BBR, slow on loopback), buffers as the kernel sizes them.
#include <arpa/inet.h>
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

sockaddr_in6 SocketAddress(const std::string& host, uint32_t port) {
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET6, host.c_str(), &address.sin6_addr) != 1) {
    throw std::runtime_error(host + " is no IPv6 address");
  }
  return address;
}

void BindAnyPort(int descriptor, const std::string& host) {
  const sockaddr_in6 address = SocketAddress(host, 0);
  if (bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    ThrowErrno("bind");
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

void ConnectTo(int descriptor, const std::string& host, uint32_t port) {
  const sockaddr_in6 address = SocketAddress(host, port);
  if (connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    ThrowErrno("connect");
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

MessageSocket OpenServer(Side& side, const Addresses& addresses, Transport transport, bool poll) {
  const int type = transport == Transport::kTcp ? SOCK_STREAM : SOCK_DGRAM;
  const int first = socket(AF_INET6, type, 0);
  MessageSocket bound(first, poll);
  BindAnyPort(first, addresses.server);
  if (transport == Transport::kUdp) {
    side.Tell(LocalPort(first));
    ConnectTo(first, addresses.client, side.Hear());
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

MessageSocket OpenClient(Side& side, const Addresses& addresses, Transport transport, bool poll) {
  const int descriptor =
      socket(AF_INET6, transport == Transport::kTcp ? SOCK_STREAM : SOCK_DGRAM, 0);
  MessageSocket connection(descriptor, poll);
  const uint32_t port = side.Hear();
  if (transport == Transport::kUdp) {
    BindAnyPort(descriptor, addresses.client);
    ConnectTo(descriptor, addresses.server, port);
    side.Tell(LocalPort(descriptor));
    side.Hear();
  } else {
    SetTcpOptions(descriptor);
    ConnectTo(descriptor, addresses.server, port);
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
  KernelContender(Completion completion, const Addresses& addresses, bool tunnel)
      : completion_(completion), addresses_(addresses), tunnel_(tunnel) {}

  std::string name() const override {
    return std::string(tunnel_ ? "tunnel" : "kernel") +
           (completion_ == Completion::kPoll ? "-poll" : "-block");
  }
  std::string description() const override {
    const bool loopback = addresses_.server == "::1";
    return std::string("kernel sockets ") +
           (tunnel_ ? "through wireguard-go on both sides, its CPU time not counted, " : "") +
           "on " + addresses_.server + ", TCP_NODELAY, cubic, " +
           (loopback ? "no checksums on loopback, " : "") +
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
          const MessageSocket socket = OpenServer(side, addresses_, which.transport, poll);
          Buffers buffers(which);
          const auto run = [&](uint64_t count) {
            round_trip ? ServeRoundTrips(socket, which, count)
                       : ReceiveAll(socket, which, buffers, count);
          };
          WarmUpAndMeasure(side, which, run);
        },
        [&](Side& side) {
          const MessageSocket socket = OpenClient(side, addresses_, which.transport, poll);
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
  Addresses addresses_;
  bool tunnel_;
};

std::vector<std::unique_ptr<Contender>> SocketContenders(const Addresses& addresses, bool tunnel) {
  std::vector<std::unique_ptr<Contender>> contenders;
  for (const Completion completion : {Completion::kPoll, Completion::kWait}) {
    contenders.push_back(std::make_unique<KernelContender>(completion, addresses, tunnel));
  }
  return contenders;
}

}  // namespace

std::vector<std::unique_ptr<Contender>> KernelContenders(const Addresses& addresses) {
  return SocketContenders(addresses, false);
}

std::vector<std::unique_ptr<Contender>> TunnelContenders(const Addresses& addresses) {
  return SocketContenders(addresses, true);
}

}  // namespace qpip::bench

// The kernel's TCP on ::1: one epoll server, clients that block.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "bench/clients/crowd.h"
#include "bench/loopback.h"

namespace qpip::bench {
namespace {

class Socket {
 public:
  explicit Socket(int descriptor) : descriptor_(descriptor) {
    if (descriptor < 0) throw std::system_error(errno, std::generic_category(), "socket");
  }
  Socket(Socket&& other) noexcept : descriptor_(other.descriptor_) { other.descriptor_ = -1; }
  Socket& operator=(Socket&&) = delete;
  ~Socket() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

void Check(bool fine, const char* what) {
  if (!fine) throw std::system_error(errno, std::generic_category(), what);
}

void SendAtOnce(int descriptor) {
  const int on = 1;
  Check(::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0, "TCP_NODELAY");
}

/// What has come on `connection` goes back. False when the client has left. A message of this size
/// is never split here.
bool Echo(int connection, std::vector<uint8_t>& buffer) {
  const ssize_t got = ::recv(connection, buffer.data(), buffer.size(), 0);
  if (got <= 0) return false;
  Check(::send(connection, buffer.data(), static_cast<size_t>(got), MSG_NOSIGNAL) == got, "send");
  return true;
}

class Kernel final : public Crowd {
 public:
  std::string name() const override { return "kernel"; }

  void Serve(uint32_t clients, uint32_t bytes, Board& board) override {
    Socket listener(::socket(AF_INET6, SOCK_STREAM, 0));
    sockaddr_in6 address = Loopback(0);
    socklen_t length = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    Check(::bind(listener.get(), generic, length) == 0, "bind ::1");
    Check(::listen(listener.get(), static_cast<int>(clients)) == 0, "listen");
    Check(::getsockname(listener.get(), generic, &length) == 0, "getsockname");
    board.server_port.store(ntohs(address.sin6_port));

    const Socket events(::epoll_create1(0));
    std::vector<Socket> connections;
    for (uint32_t i = 0; i < clients; ++i) {
      connections.emplace_back(::accept(listener.get(), nullptr, nullptr));
      const int connection = connections.back().get();
      SendAtOnce(connection);
      epoll_event event = {};
      event.events = EPOLLIN;
      event.data.fd = connection;
      Check(::epoll_ctl(events.get(), EPOLL_CTL_ADD, connection, &event) == 0, "epoll_ctl");
    }
    std::vector<uint8_t> buffer(bytes);
    std::array<epoll_event, 64> ready;
    while (board.left.load() < clients) {
      const int count = ::epoll_wait(events.get(), ready.data(), ready.size(), 100);
      for (int i = 0; i < count; ++i) {
        const int connection = ready[static_cast<size_t>(i)].data.fd;
        if (!Echo(connection, buffer)) {
          ::epoll_ctl(events.get(), EPOLL_CTL_DEL, connection, nullptr);
        }
      }
    }
  }

  void Talk(uint32_t number, uint32_t bytes, Board& board) override {
    const Socket connection(::socket(AF_INET6, SOCK_STREAM, 0));
    SendAtOnce(connection.get());
    const sockaddr_in6 address = Loopback(board.server_port.load());
    Check(::connect(connection.get(), reinterpret_cast<const sockaddr*>(&address),
                    sizeof address) == 0,
          "connect ::1");
    std::vector<uint8_t> buffer(bytes);
    Tally& tally = board.clients[number];
    for (uint64_t echoes = 0; !board.over.load(std::memory_order_relaxed);) {
      Check(::send(connection.get(), buffer.data(), bytes, MSG_NOSIGNAL) ==
                static_cast<ssize_t>(bytes),
            "send");
      Check(::recv(connection.get(), buffer.data(), bytes, MSG_WAITALL) ==
                static_cast<ssize_t>(bytes),
            "recv");
      tally.echoes.store(++echoes, std::memory_order_relaxed);
      if (echoes == 1) AwaitTheOthers(board);
    }
  }
};

}  // namespace

std::unique_ptr<Crowd> KernelCrowd() { return std::make_unique<Kernel>(); }

}  // namespace qpip::bench

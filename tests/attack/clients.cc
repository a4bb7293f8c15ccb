#include "clients.h"

#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "lan.h"

namespace qpip::attack {
namespace {

using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kPatience(5000);
constexpr milliseconds kDatagramPatience(200);
constexpr milliseconds kPause(2);  // between two visits of a thread

class Socket {
 public:
  explicit Socket(int type) : fd_(socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    if (fd_ < 0) Fail("socket");
  }
  ~Socket() { close(fd_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

double Seconds() {
  return std::chrono::duration<double>(steady_clock::now().time_since_epoch()).count();
}

double Milliseconds(steady_clock::duration d) {
  return static_cast<double>(duration_cast<microseconds>(d).count()) / 1000;
}

bool Ready(int fd, short events, steady_clock::time_point until) {
  pollfd one = {fd, events, 0};
  const auto left = duration_cast<milliseconds>(until - steady_clock::now()).count();
  return left > 0 && poll(&one, 1, static_cast<int>(left)) > 0;
}

void CountError(int error, Served& served) {
  (error == ECONNRESET || error == EPIPE ? served.resets
   : error == ECONNREFUSED               ? served.refused
                                         : served.timeouts) += 1;
}

/// Connects; false when it has not, which is counted.
bool Connect(int fd, const in6_addr& target, Served& served, steady_clock::time_point until) {
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(kEchoPort);
  address.sin6_addr = target;
  int error = 0;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 &&
      errno != EINPROGRESS) {
    error = errno;
  } else if (!Ready(fd, POLLOUT, until)) {
    error = ETIMEDOUT;
  } else {
    socklen_t length = sizeof(error);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
  }
  if (error != 0) CountError(error, served);
  return error == 0;
}

/// Waits for the whole message; false when it does not come, which is counted.
bool Receive(int fd, Served& served, steady_clock::time_point until) {
  char bytes[kMessage];
  for (uint32_t have = 0; have < kMessage;) {
    if (!Ready(fd, POLLIN, until)) {
      ++served.timeouts;
      return false;
    }
    const ssize_t got = recv(fd, bytes, sizeof(bytes), 0);
    if (got <= 0) {
      CountError(got == 0 ? ECONNRESET : errno, served);
      return false;
    }
    have += static_cast<uint32_t>(got);
  }
  return true;
}

double Percentile(std::vector<double>& values, double p) {
  if (values.empty()) return -1;
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(p * static_cast<double>(values.size() - 1))];
}

}  // namespace

void Served::Add(const Served& other) {
  echoes += other.echoes;
  datagrams += other.datagrams;
  lost += other.lost;
  resets += other.resets;
  refused += other.refused;
  timeouts += other.timeouts;
  connect_ms.insert(connect_ms.end(), other.connect_ms.begin(), other.connect_ms.end());
  visit_ms.insert(visit_ms.end(), other.visit_ms.begin(), other.visit_ms.end());
}

void Served::Print(std::ostream& out) {
  out << "{\"echoes_per_second\": " << static_cast<double>(echoes) / seconds
      << ", \"datagrams_per_second\": " << static_cast<double>(datagrams) / seconds
      << ", \"datagrams_lost\": " << lost << ", \"connects\": " << connect_ms.size()
      << ", \"visits\": " << visit_ms.size() << ", \"resets\": " << resets
      << ", \"refused\": " << refused << ", \"timeouts\": " << timeouts;
  for (const auto& [name, values] :
       {std::pair("connect", &connect_ms), std::pair("visit", &visit_ms)}) {
    out << ", \"" << name << "_p50_ms\": " << Percentile(*values, 0.5) << ", \"" << name
        << "_p99_ms\": " << Percentile(*values, 0.99) << ", \"" << name
        << "_max_ms\": " << Percentile(*values, 1);
  }
  out << "}";
}

Clients::Clients(const in6_addr& target)
    : target_(target), entered_(Seconds()), workers_(kSteady + kVisitors + 1) {
  for (size_t i = 0; i < workers_.size(); ++i) {
    Worker& worker = workers_[i];
    worker.thread = std::thread([this, i, &worker] {
      while (!stop_) {
        if (i < kSteady) {
          Stay(worker);
        } else if (i < kSteady + kVisitors) {
          Visit(worker);
        } else {
          Ask(worker);
        }
        std::this_thread::sleep_for(kPause);
      }
    });
  }
}

Clients::~Clients() { (void)Stop(); }

void Clients::Enter(Phase phase) {
  const double now = Seconds();
  seconds_[phase_] += now - entered_;
  entered_ = now;
  phase_ = static_cast<size_t>(phase);
}

std::vector<LiveConnection> Clients::live() const {
  std::vector<LiveConnection> live;
  for (const Worker& worker : workers_) {
    const uint16_t port = worker.port.load(std::memory_order_acquire);
    if (port != 0) live.push_back({worker.address, port});
  }
  return live;
}

std::array<Served, static_cast<size_t>(Phase::kCount)> Clients::Stop() {
  Enter(Phase::kWarm);
  stop_ = true;
  for (Worker& worker : workers_) {
    if (worker.thread.joinable()) worker.thread.join();
  }
  std::array<Served, static_cast<size_t>(Phase::kCount)> all;
  for (size_t i = 0; i < all.size(); ++i) {
    for (const Worker& worker : workers_) all[i].Add(worker.served[i]);
    all[i].seconds = seconds_[i];
  }
  return all;
}

void Clients::Visit(Worker& worker) {
  Served& served = Now(worker);
  const Socket socket(SOCK_STREAM);
  const auto begin = steady_clock::now();
  if (!Connect(socket.fd(), target_, served, begin + kPatience)) return;
  served.connect_ms.push_back(Milliseconds(steady_clock::now() - begin));
  // In two segments, of which either may be dropped.
  const char bytes[kMessage] = "echo me";
  if (send(socket.fd(), bytes, 4, MSG_NOSIGNAL) != 4 ||
      send(socket.fd(), bytes + 4, kMessage - 4, MSG_NOSIGNAL) != kMessage - 4) {
    CountError(errno, served);
    return;
  }
  if (!Receive(socket.fd(), served, begin + kPatience)) return;
  served.visit_ms.push_back(Milliseconds(steady_clock::now() - begin));
}

void Clients::Stay(Worker& worker) {
  const Socket socket(SOCK_STREAM);
  if (!Connect(socket.fd(), target_, Now(worker), steady_clock::now() + kPatience)) return;
  sockaddr_in6 own = {};
  socklen_t length = sizeof(own);
  if (getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&own), &length) == 0) {
    std::memcpy(worker.address.bytes, own.sin6_addr.s6_addr, sizeof(worker.address.bytes));
    worker.port.store(ntohs(own.sin6_port), std::memory_order_release);
  }
  const char bytes[kMessage] = "echo me";
  while (!stop_) {
    Served& served = Now(worker);
    if (send(socket.fd(), bytes, kMessage, MSG_NOSIGNAL) != kMessage) {
      CountError(errno, served);
      return;
    }
    if (!Receive(socket.fd(), served, steady_clock::now() + kPatience)) return;
    ++served.echoes;
  }
}

void Clients::Ask(Worker& worker) {
  const Socket socket(SOCK_DGRAM);
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(kEchoPort);
  address.sin6_addr = target_;
  if (connect(socket.fd(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    Fail("connect of a datagram socket");
  }
  for (uint32_t number = 0; !stop_; ++number) {
    Served& served = Now(worker);
    (void)send(socket.fd(), &number, sizeof(number), 0);
    const auto until = steady_clock::now() + kDatagramPatience;
    for (uint32_t echoed = ~number; echoed != number;) {  // one that was late is passed over
      if (!Ready(socket.fd(), POLLIN, until)) {
        ++served.lost;
        break;
      }
      if (recv(socket.fd(), &echoed, sizeof(echoed), 0) < 0) echoed = ~number;
      if (echoed == number) ++served.datagrams;
    }
  }
}

}  // namespace qpip::attack

// A flood of SYNs from addresses that nobody has, against a listener, and clients beside it that
// mean it: what they are served, and how fast. The same for a queue pair listener on `tap:` and for
// the kernel's, behind a pair of veth devices. syn_flood_test.sh puts the pieces together:
//
//     serve-qpip URI OFFERED    an echo server that always offers OFFERED queue pairs
//     serve-kernel BACKLOG      the same with the kernel's sockets
//     attack INTERFACE MAC TARGET RATE SECONDS   the flood and the clients; prints a line of JSON
//
// Clients connect, send a few bytes, wait for them to come back and close, one after the other in
// each of a few threads. Servers end on SIGTERM.
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <exception>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/ipv6/header.h"
#include "protocols/tcp/header.h"
#include "qpip/qpip.h"

namespace qpip::attack {
namespace {

using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

constexpr uint16_t kPort = 7;
constexpr uint32_t kMessage = 8;  // bytes
constexpr int kClients = 4;       // threads
constexpr milliseconds kPatience(5000);
constexpr milliseconds kPause(2);  // between two connections of a thread

volatile std::sig_atomic_t stop_requested = 0;
void RequestStop(int) { stop_requested = 1; }

[[noreturn]] void Fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

class Socket {
 public:
  Socket(int domain, int type, int protocol) : fd_(socket(domain, type | SOCK_CLOEXEC, protocol)) {
    if (fd_ < 0) Fail("socket");
  }
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() { close(fd_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

// ---------------------------------------------------------------- servers

/// One queue pair that is offered, echoes one message, and goes with its connection.
struct Session {
  std::unique_ptr<MemoryRegion> memory;
  std::unique_ptr<QueuePair> qp;
  bool ending = false;
};

class Server {
 public:
  Server(const std::string& uri, uint32_t offered)
      : nic_(Nic::Open(uri)), pd_(nic_->AllocatePd()), cq_(nic_->CreateCq(8 * offered)) {
    listener_ = nic_->Listen(kPort, 64);
    for (uint32_t i = 0; i < offered; ++i) Offer();
  }
  void Run() {
    std::vector<WorkCompletion> done(64);
    std::cout << "ready" << std::endl;
    while (stop_requested == 0) {
      const size_t count = cq_->Wait(done, milliseconds(1));
      for (size_t i = 0; i < count; ++i) OnCompletion(done[i]);
      while (listener_->Accept(nanoseconds(0)) != nullptr) {
      }
      Replace();
    }
    std::cout << nic_->StatisticsJson() << std::endl;
  }

 private:
  void Offer() {
    const uint64_t id = next_id_++;
    Session session;
    session.memory = pd_->Allocate(kMessage);
    session.qp = nic_->CreateQp(*pd_, {.framing = Framing::kStream,
                                       .send_cq = cq_.get(),
                                       .recv_cq = cq_.get(),
                                       .send_depth = 4,
                                       .recv_depth = 2,
                                       .receive_reservation = 8192});
    (void)session.qp->PostRecv(id, session.memory->Sge(0, kMessage));
    listener_->Offer(*session.qp);
    sessions_.emplace(id, std::move(session));
  }
  void OnCompletion(const WorkCompletion& wc) {
    const auto found = sessions_.find(wc.wr_id);
    if (found == sessions_.end()) return;
    Session& session = found->second;
    if (wc.status != IBV_WC_SUCCESS) {
      if (!session.ending) ended_.push_back(wc.wr_id);
      session.ending = true;
    } else if (wc.end_of_stream) {
      if (!session.ending) ended_.push_back(wc.wr_id);
      session.ending = true;
      session.qp->Shutdown();
    } else if (wc.opcode == IBV_WC_RECV) {
      (void)session.qp->PostSend(wc.wr_id, session.memory->Sge(0, wc.byte_len),
                                 IBV_SEND_SIGNALED | IBV_SEND_INLINE);
      (void)session.qp->PostRecv(wc.wr_id, session.memory->Sge(0, kMessage));
    }
  }
  void Replace() {
    std::erase_if(ended_, [this](uint64_t id) {
      if (sessions_.at(id).qp->state() != QpState::kClosed) return false;
      sessions_.erase(id);
      Offer();
      return true;
    });
  }

  std::shared_ptr<Nic> nic_;
  std::unique_ptr<ProtectionDomain> pd_;
  std::unique_ptr<CompletionQueue> cq_;
  std::unique_ptr<Listener> listener_;
  std::map<uint64_t, Session> sessions_;
  std::vector<uint64_t> ended_;
  uint64_t next_id_ = 1;
};

void ServeKernel(int backlog) {
  const Socket listener(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(kPort);
  if (bind(listener.fd(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(listener.fd(), backlog) != 0) {
    Fail("listen");
  }
  std::vector<pollfd> polled{{listener.fd(), POLLIN, 0}};
  std::cout << "ready" << std::endl;
  while (stop_requested == 0) {
    if (poll(polled.data(), polled.size(), 100) <= 0) continue;
    for (size_t i = polled.size(); i-- > 1;) {
      if (polled[i].revents == 0) continue;
      char bytes[kMessage];
      const ssize_t got = recv(polled[i].fd, bytes, sizeof(bytes), 0);
      if (got > 0) {
        (void)send(polled[i].fd, bytes, static_cast<size_t>(got), MSG_NOSIGNAL);
        continue;
      }
      close(polled[i].fd);
      polled.erase(polled.begin() + static_cast<std::ptrdiff_t>(i));
    }
    for (int fd = 0; (fd = accept4(listener.fd(), nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
      polled.push_back({fd, POLLIN, 0});
    }
  }
}

// ---------------------------------------------------------------- the flood

class Flood {
 public:
  Flood(const std::string& interface, const std::string& mac, const in6_addr& target)
      : socket_(AF_PACKET, SOCK_RAW, 0) {
    link_.sll_family = AF_PACKET;
    link_.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    if (link_.sll_ifindex == 0) Fail(interface);
    unsigned byte[6] = {};
    if (std::sscanf(mac.c_str(), "%x:%x:%x:%x:%x:%x", &byte[0], &byte[1], &byte[2], &byte[3],
                    &byte[4], &byte[5]) != 6) {
      throw std::invalid_argument("no MAC address: " + mac);
    }
    for (int i = 0; i < 6; ++i) frame_[i] = static_cast<uint8_t>(byte[i]);
    frame_[6] = 2;
    frame_[11] = 0x66;
    frame_[12] = 0x86;
    frame_[13] = 0xdd;
    std::memcpy(ip_.destination.bytes, target.s6_addr, 16);
    ip_.next_header = ipv6::kTcp;
    ip_.source.bytes[0] = 0xfd;  // fd66::/16, which is not on the link
    ip_.source.bytes[1] = 0x66;
    syn_.destination_port = kPort;
    syn_.flags = tcp::kSyn;
    syn_.window = 64240;
    syn_.has_mss = true;
    syn_.mss = 1440;
    syn_.has_timestamps = true;
    syn_.sack_permitted = true;
    syn_.has_window_scale = true;
    syn_.window_scale = 7;
  }

  /// `rate` SYNs a second until `until`.
  void Run(uint64_t rate, steady_clock::time_point until) {
    const auto begin = steady_clock::now();
    uint64_t sent = 0;
    for (auto now = begin; now < until; now = steady_clock::now()) {
      const uint64_t due = static_cast<uint64_t>(
          static_cast<double>(rate) * std::chrono::duration<double>(now - begin).count());
      for (; sent < due; ++sent) {
        const size_t length = Make();
        if (sendto(socket_.fd(), frame_, length, 0, reinterpret_cast<const sockaddr*>(&link_),
                   sizeof(link_)) < 0) {
          continue;  // the device's queue is full
        }
        ++syns_;
      }
      std::this_thread::sleep_for(microseconds(500));
    }
  }

  uint64_t syns() const { return syns_; }

 private:
  static constexpr size_t kEthernet = 14;

  size_t Make() {
    const uint64_t bits = random_();
    StoreBe32(ip_.source.bytes + 8, static_cast<uint32_t>(bits));
    syn_.source_port = static_cast<uint16_t>(1024 + (bits >> 32) % 60000);
    syn_.sequence = tcp::SequenceNumber(static_cast<uint32_t>(random_()));
    syn_.ts_value = static_cast<uint32_t>(bits >> 16);
    const std::span<uint8_t> transport(frame_ + kEthernet + 40, tcp::EmitSize(syn_));
    ip_.payload_length = static_cast<uint16_t>(transport.size());
    ipv6::Emit(ip_, std::span<uint8_t, 40>(frame_ + kEthernet, 40));
    tcp::Emit(syn_, transport);
    const uint16_t sum = ChecksumAdd(
        transport, PseudoHeaderSum(ip_.source, ip_.destination, ip_.payload_length, ipv6::kTcp));
    StoreBe16(transport.data() + tcp::offset::kChecksum, static_cast<uint16_t>(~sum));
    return kEthernet + 40 + transport.size();
  }

  uint64_t syns_ = 0;
  Socket socket_;
  sockaddr_ll link_ = {};
  ipv6::Header ip_;
  tcp::Header syn_;
  uint8_t frame_[128] = {};
  std::mt19937_64 random_{std::random_device{}()};
};

// ---------------------------------------------------------------- clients

struct Outcomes {
  std::vector<double> connect_ms;
  std::vector<double> echo_ms;  ///< from connect to the echo
  uint64_t resets = 0;
  uint64_t refused = 0;
  uint64_t timeouts = 0;
};

double Milliseconds(steady_clock::duration d) {
  return static_cast<double>(duration_cast<microseconds>(d).count()) / 1000;
}

/// One connection, from the SYN to the FIN.
void Visit(const in6_addr& target, Outcomes& outcomes) {
  const Socket client(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const int one = 1;
  setsockopt(client.fd(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(kPort);
  address.sin6_addr = target;
  const auto begin = steady_clock::now();
  const auto ready = [&](short events) {
    pollfd one_fd = {client.fd(), events, 0};
    const auto left = duration_cast<milliseconds>(begin + kPatience - steady_clock::now()).count();
    return left > 0 && poll(&one_fd, 1, static_cast<int>(left)) > 0;
  };
  const auto count_error = [&](int error) {
    (error == ECONNRESET || error == EPIPE ? outcomes.resets
     : error == ECONNREFUSED               ? outcomes.refused
                                           : outcomes.timeouts) += 1;
  };
  if (connect(client.fd(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 &&
      errno != EINPROGRESS) {
    count_error(errno);
    return;
  }
  if (!ready(POLLOUT)) {
    ++outcomes.timeouts;
    return;
  }
  int error = 0;
  socklen_t length = sizeof(error);
  getsockopt(client.fd(), SOL_SOCKET, SO_ERROR, &error, &length);
  if (error != 0) {
    count_error(error);
    return;
  }
  outcomes.connect_ms.push_back(Milliseconds(steady_clock::now() - begin));
  // In two segments, of which either may be dropped.
  char bytes[kMessage] = "echo me";
  if (send(client.fd(), bytes, 4, MSG_NOSIGNAL) != 4 ||
      send(client.fd(), bytes + 4, kMessage - 4, MSG_NOSIGNAL) != kMessage - 4) {
    count_error(errno);
    return;
  }
  for (uint32_t have = 0; have < kMessage;) {
    if (!ready(POLLIN)) {
      ++outcomes.timeouts;
      return;
    }
    const ssize_t got = recv(client.fd(), bytes, sizeof(bytes), 0);
    if (got <= 0) {
      count_error(got == 0 ? ECONNRESET : errno);
      return;
    }
    have += static_cast<uint32_t>(got);
  }
  outcomes.echo_ms.push_back(Milliseconds(steady_clock::now() - begin));
}

double Percentile(std::vector<double>& values, double p) {
  if (values.empty()) return -1;
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(p * static_cast<double>(values.size() - 1))];
}

/// What has gone to the interface (`tx`) or come from it (`rx`), bytes with Ethernet headers.
uint64_t BytesOf(const std::string& interface, const char* direction) {
  // Not from /sys, which shows the namespace that it was mounted in.
  std::ifstream file("/proc/self/net/dev");
  std::string line;
  while (std::getline(file, line)) {
    std::replace(line.begin(), line.end(), ':', ' ');
    std::istringstream fields(line);
    std::string name;
    std::array<uint64_t, 9> numbers = {};
    fields >> name;
    if (name != interface) continue;
    for (uint64_t& number : numbers) fields >> number;
    return direction[0] == 'r' ? numbers[0] : numbers[8];
  }
  return 0;
}

void Attack(const std::string& interface, const std::string& mac, const std::string& target,
            uint64_t rate, int seconds) {
  in6_addr address;
  if (inet_pton(AF_INET6, target.c_str(), &address) != 1) {
    throw std::invalid_argument("no IPv6 address: " + target);
  }
  const uint64_t received = BytesOf(interface, "rx");
  const uint64_t sent = BytesOf(interface, "tx");
  const auto until = steady_clock::now() + std::chrono::seconds(seconds);
  std::vector<std::thread> threads;
  Flood flood(interface, mac, address);
  if (rate != 0) threads.emplace_back([&] { flood.Run(rate, until); });
  // The flood is there before the first client.
  std::this_thread::sleep_for(milliseconds(200));
  std::vector<Outcomes> each(kClients);
  for (Outcomes& outcomes : each) {
    threads.emplace_back([&] {
      while (steady_clock::now() < until) {
        Visit(address, outcomes);
        std::this_thread::sleep_for(kPause);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Outcomes all;
  for (const Outcomes& one : each) {
    all.connect_ms.insert(all.connect_ms.end(), one.connect_ms.begin(), one.connect_ms.end());
    all.echo_ms.insert(all.echo_ms.end(), one.echo_ms.begin(), one.echo_ms.end());
    all.resets += one.resets;
    all.refused += one.refused;
    all.timeouts += one.timeouts;
  }
  std::cout << "{\"rate\": " << rate << ", \"syns\": " << flood.syns() << ", \"out_for_in\": "
            << static_cast<double>(BytesOf(interface, "rx") - received) /
                   static_cast<double>(BytesOf(interface, "tx") - sent)
            << ", \"connects\": " << all.connect_ms.size() << ", \"echoes\": " << all.echo_ms.size()
            << ", \"resets\": " << all.resets << ", \"refused\": " << all.refused
            << ", \"timeouts\": " << all.timeouts
            << ", \"connect_p50_ms\": " << Percentile(all.connect_ms, 0.5)
            << ", \"connect_p99_ms\": " << Percentile(all.connect_ms, 0.99)
            << ", \"connect_max_ms\": " << Percentile(all.connect_ms, 1)
            << ", \"echo_p50_ms\": " << Percentile(all.echo_ms, 0.5)
            << ", \"echo_p99_ms\": " << Percentile(all.echo_ms, 0.99)
            << ", \"echo_max_ms\": " << Percentile(all.echo_ms, 1) << "}" << std::endl;
}

int Main(const std::vector<std::string>& arguments) {
  std::signal(SIGTERM, RequestStop);
  std::signal(SIGINT, RequestStop);
  if (arguments.size() == 3 && arguments[0] == "serve-qpip") {
    Server(arguments[1], static_cast<uint32_t>(std::stoul(arguments[2]))).Run();
  } else if (arguments.size() == 2 && arguments[0] == "serve-kernel") {
    ServeKernel(std::stoi(arguments[1]));
  } else if (arguments.size() == 6 && arguments[0] == "attack") {
    Attack(arguments[1], arguments[2], arguments[3], std::stoul(arguments[4]),
           std::stoi(arguments[5]));
  } else {
    std::cerr << "usage: serve-qpip URI OFFERED | serve-kernel BACKLOG |\n"
                 "       attack INTERFACE MAC TARGET RATE SECONDS\n";
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace qpip::attack

int main(int argc, char** argv) {
  try {
    return qpip::attack::Main(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& error) {
    std::cerr << "qpip-attack-syn-flood: " << error.what() << "\n";
    return 1;
  }
}

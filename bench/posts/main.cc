// posts: how long after it was posted a message is received, when the thread that posts it then
// computes and does not poll. QPIP beside the kernel's sockets in one run.
//
// Two pinned processes. The client posts a message that carries the time, computes for the
// interval, and posts the next; it looks at nothing in between but every 16th time, to take its
// completions. The server polls, and compares the clock with what the message says.
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/program_options.hpp>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "bench/comparison/process_pair.h"
#include "bench/loopback.h"
#include "qpip/qpip.h"

namespace qpip::bench {
namespace {

namespace po = boost::program_options;
using nlohmann::json;
using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr uint32_t kDepth = 64;
constexpr uint32_t kLookEvery = 16;
constexpr uint16_t kPort = 5001;
constexpr seconds kTimeout{120};

[[noreturn]] void Fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}
void Check(int error, const char* what) {
  if (error != 0) throw std::system_error(error, std::generic_category(), what);
}
void Check(const WorkCompletion& done) {
  if (done.status != IBV_WC_SUCCESS) throw std::runtime_error(Describe(done));
}

int64_t NowNs() {
  return std::chrono::duration_cast<nanoseconds>(Clock::now().time_since_epoch()).count();
}

void ComputeUntil(Clock::time_point until) {
  while (Clock::now() < until) {
  }
}

/// What the server finds, for the process that started both.
class Latencies {
 public:
  explicit Latencies(size_t count) : bytes_(count * sizeof(int64_t)) {
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) Fail("memory for the results");
    all_ = {static_cast<int64_t*>(memory), count};
  }
  ~Latencies() { munmap(all_.data(), bytes_); }
  Latencies(const Latencies&) = delete;
  Latencies& operator=(const Latencies&) = delete;
  std::span<int64_t> all() { return all_; }

 private:
  size_t bytes_;
  std::span<int64_t> all_;
};

/// A NIC with one queue pair.
struct Node {
  explicit Node(const std::string& fabric, const char* address)
      : nic(Nic::Open("shm:" + fabric + "?address=" + address)),
        pd(nic->AllocatePd()),
        memory(pd->Allocate((1 + kDepth) * sizeof(int64_t))),
        cq(nic->CreateCq(2 * kDepth)),
        qp(nic->CreateQp(*pd, {.send_cq = cq.get(),
                               .recv_cq = cq.get(),
                               .send_depth = kDepth,
                               .recv_depth = kDepth})) {}
  std::shared_ptr<Nic> nic;
  std::unique_ptr<ProtectionDomain> pd;
  std::unique_ptr<MemoryRegion> memory;
  std::unique_ptr<CompletionQueue> cq;
  std::unique_ptr<QueuePair> qp;
};

void ServeQpip(Side& side, const std::string& fabric, std::span<int64_t> latencies) {
  Node node(fabric, "fd00::1");
  const auto post = [&](uint64_t slot) {
    Check(node.qp->PostRecv(slot, node.memory->Sge((1 + slot) * sizeof(int64_t), sizeof(int64_t))),
          "PostRecv");
  };
  for (uint64_t slot = 0; slot < kDepth; ++slot) post(slot);
  const auto listener = node.nic->Listen(kPort);
  listener->Offer(*node.qp);
  side.Tell(0);
  if (listener->Accept(seconds(20)) == nullptr) throw std::runtime_error("nobody connected");
  std::array<WorkCompletion, 1> done;
  for (int64_t& latency : latencies) {
    while (node.cq->Poll(done) == 0) {
    }
    const int64_t now = NowNs();
    Check(done[0]);
    int64_t posted = 0;
    std::memcpy(
        &posted,
        static_cast<const char*>(node.memory->data()) + (1 + done[0].wr_id) * sizeof(posted),
        sizeof(posted));
    latency = now - posted;
    post(done[0].wr_id);
  }
  side.Tell(0);
}

void ClientQpip(Side& side, const std::string& fabric, size_t count, microseconds interval) {
  Node node(fabric, "fd00::2");
  side.Hear();
  node.qp->Connect({ParseAddress("fd00::1"), kPort}, seconds(20));
  std::array<WorkCompletion, kDepth> done;
  auto due = Clock::now() + interval;
  for (size_t i = 1; i <= count; ++i, due += interval) {
    ComputeUntil(due);
    const int64_t now = NowNs();
    std::memcpy(node.memory->data(), &now, sizeof(now));
    const bool look = i % kLookEvery == 0;
    Check(node.qp->PostSend(i, node.memory->Sge(0, sizeof(now)),
                            IBV_SEND_INLINE | (look ? IBV_SEND_SIGNALED : 0)),
          "PostSend");
    if (!look) continue;
    size_t completed = 0;
    while ((completed = node.cq->Poll(done)) == 0) {
    }
    for (size_t k = 0; k < completed; ++k) Check(done[k]);
    due = Clock::now();
  }
  side.Hear();  // everything has arrived: a queue pair that is destroyed resets its connection
}

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {
    if (fd < 0) Fail("socket");
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  }
  ~Socket() { close(fd_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

void ServeKernel(Side& side, std::span<int64_t> latencies) {
  const Socket listener(socket(AF_INET6, SOCK_STREAM, 0));
  sockaddr_in6 address = Loopback(0);
  socklen_t length = sizeof(address);
  if (bind(listener.fd(), reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      listen(listener.fd(), 1) != 0 ||
      getsockname(listener.fd(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    Fail("listen");
  }
  side.Tell(ntohs(address.sin6_port));
  const Socket peer(accept4(listener.fd(), nullptr, nullptr, SOCK_NONBLOCK));
  for (int64_t& latency : latencies) {
    int64_t posted = 0;
    for (size_t have = 0; have < sizeof(posted);) {
      const ssize_t got =
          recv(peer.fd(), reinterpret_cast<char*>(&posted) + have, sizeof(posted) - have, 0);
      if (got == 0 || (got < 0 && errno != EAGAIN)) Fail("recv");
      if (got > 0) have += static_cast<size_t>(got);
    }
    latency = NowNs() - posted;
  }
  side.Tell(0);
}

void ClientKernel(Side& side, size_t count, microseconds interval) {
  const Socket client(socket(AF_INET6, SOCK_STREAM, 0));
  const sockaddr_in6 address = Loopback(side.Hear());
  if (connect(client.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    Fail("connect");
  }
  auto due = Clock::now() + interval;
  for (size_t i = 0; i < count; ++i, due += interval) {
    ComputeUntil(due);
    const int64_t now = NowNs();
    if (send(client.fd(), &now, sizeof(now), 0) != sizeof(now)) Fail("send");
  }
  side.Hear();
}

double Percentile(std::span<const int64_t> sorted, double part) {
  return static_cast<double>(
             sorted[static_cast<size_t>(part * static_cast<double>(sorted.size() - 1))]) /
         1000;
}

json Measure(const char* contender, microseconds interval, size_t count) {
  Latencies latencies(count);
  const std::string fabric = "posts-" + std::to_string(getpid());
  const bool kernel = std::strcmp(contender, "kernel") == 0;
  (void)RunPair(
      {}, kTimeout,
      [&](Side& side) {
        kernel ? ServeKernel(side, latencies.all()) : ServeQpip(side, fabric, latencies.all());
      },
      [&](Side& side) {
        kernel ? ClientKernel(side, count, interval) : ClientQpip(side, fabric, count, interval);
      });
  std::sort(latencies.all().begin(), latencies.all().end());
  return {{"contender", contender},
          {"interval_us", interval.count()},
          {"messages", count},
          {"p50_us", Percentile(latencies.all(), 0.5)},
          {"p90_us", Percentile(latencies.all(), 0.9)},
          {"p99_us", Percentile(latencies.all(), 0.99)},
          {"max_us", Percentile(latencies.all(), 1)}};
}

int Main(int argc, char** argv) {
  size_t messages = 0;
  std::vector<uint32_t> intervals;
  po::options_description options("Options");
  options.add_options()("help,h", "this text")(
      "messages", po::value(&messages)->default_value(1000), "messages of each row")(
      "interval-us", po::value(&intervals)->multitoken(),
      "microseconds of computing between two posts (100 1000 5000)")("json", "print JSON");
  po::variables_map values;
  try {
    po::store(po::parse_command_line(argc, argv, options), values);
    po::notify(values);
    if (messages == 0) throw po::error("--messages: at least 1");
  } catch (const po::error& error) {
    std::cerr << "qpip-posts: " << error.what() << "\n";
    return 2;
  }
  if (values.count("help") != 0) {
    std::cout
        << "Usage: qpip-posts [options]\n\nHow long after its post a message is received when "
           "its sender then computes\nand does not poll: QPIP over shm:, and the kernel's "
           "sockets on ::1. The receiver polls.\n\n"
        << options;
    return 0;
  }
  if (intervals.empty()) intervals = {100, 1000, 5000};
  json rows = json::array();
  for (const uint32_t interval : intervals) {
    for (const char* contender : {"qpip", "kernel"}) {
      const json row = Measure(contender, microseconds(interval), messages);
      rows.push_back(row);
      if (values.count("json") != 0) continue;
      printf("%-6s  every %5u us: p50 %8.1f us  p90 %8.1f us  p99 %8.1f us  max %8.1f us\n",
             contender, interval, row["p50_us"].get<double>(), row["p90_us"].get<double>(),
             row["p99_us"].get<double>(), row["max_us"].get<double>());
      fflush(stdout);
    }
  }
  if (values.count("json") != 0) std::cout << rows.dump(2) << "\n";
  return 0;
}

}  // namespace
}  // namespace qpip::bench

int main(int argc, char** argv) {
  try {
    return qpip::bench::Main(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "qpip-posts: " << error.what() << "\n";
    return 1;
  }
}

// Three ways to learn that something has completed, and what each costs a round trip:
//
//   Poll   never sleeps: the lowest latency, for one busy CPU
//   Wait   sleeps when nothing comes soon: the usual choice
//   epoll  sleeps on a descriptor, together with sockets, timers and whatever else an event loop
//          has: CompletionQueue::Arm asks for one notification
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <string>
#include <thread>

#include "qpip/qpip.h"

namespace {

/// Posts answer 0 or an errno value.
void Check(int error) {
  if (error != 0) throw qpip::Error(error, std::string("post: ") + std::strerror(error));
}

constexpr uint16_t kPort = 5002;
constexpr int kRoundTrips = 2000;
constexpr uint32_t kReceives = 4;
constexpr uint64_t kSend = 1000;  // wr_id of sends; receives carry the number of their buffer

using Completions = std::array<qpip::WorkCompletion, 8>;
/// Returns at least one completion.
using Waiter = std::function<size_t(qpip::CompletionQueue&, Completions&)>;

size_t ByPoll(qpip::CompletionQueue& cq, Completions& out) {
  for (;;) {
    if (const size_t n = cq.Poll(out)) return n;
    // Two pollers and the NICs' cores share few CPUs here; alone on its CPU a poller need not.
    std::this_thread::yield();
  }
}

size_t ByWait(qpip::CompletionQueue& cq, Completions& out) { return cq.Wait(out); }

size_t ByEpoll(int epoll_fd, qpip::CompletionQueue& cq, Completions& out) {
  for (;;) {
    if (const size_t n = cq.Poll(out)) return n;
    // Arm refuses when something has arrived since the Poll: no notification is ever missed.
    if (!cq.Arm()) continue;
    epoll_event event = {};
    epoll_wait(epoll_fd, &event, 1, -1);
    cq.Acknowledge();
  }
}

/// A queue pair with its completion queue and its buffers.
struct Side {
  explicit Side(qpip::Nic& nic)
      : pd(nic.AllocatePd()),
        memory(pd->Allocate(kReceives)),
        cq(nic.CreateCq()),
        qp(nic.CreateQp(*pd, {.send_cq = cq.get(), .recv_cq = cq.get()})) {
    for (uint64_t i = 0; i < kReceives; ++i) Check(qp->PostRecv(i, memory->Sge(i, 1)));
  }

  /// Sends one byte, copied at the post. Every 16th send is signalled, so that the send queue is
  /// given back.
  void Send() {
    int flags = IBV_SEND_INLINE;
    if (++sends % 16 == 0) flags |= IBV_SEND_SIGNALED;
    Check(qp->PostSend(kSend, memory->Sge(0, 1), flags));
  }
  /// Returns false at the end of the stream.
  bool Receive(const Waiter& wait) {
    for (;;) {
      Completions completions;
      const size_t count = wait(*cq, completions);
      bool received = false;
      for (size_t i = 0; i < count; ++i) {
        const qpip::WorkCompletion& wc = completions[i];
        if (wc.status != IBV_WC_SUCCESS) throw std::runtime_error(qpip::Describe(wc));
        if (wc.end_of_stream) return false;
        if (wc.wr_id == kSend) continue;
        Check(qp->PostRecv(wc.wr_id, memory->Sge(wc.wr_id, 1)));
        received = true;
      }
      if (received) return true;
    }
  }

  std::unique_ptr<qpip::ProtectionDomain> pd;
  std::unique_ptr<qpip::MemoryRegion> memory;
  std::unique_ptr<qpip::CompletionQueue> cq;
  std::unique_ptr<qpip::QueuePair> qp;
  uint64_t sends = 0;
};

double CpuSeconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

void Measure(const char* name, qpip::Nic& server_nic, qpip::Nic& client_nic, const Waiter& wait) {
  Side server(server_nic);
  auto listener = server_nic.Listen(kPort);
  listener->Offer(*server.qp);
  std::exception_ptr failure;
  std::thread echo([&] {
    try {
      while (server.Receive(ByWait)) server.Send();
      server.qp->Disconnect();
    } catch (...) {
      failure = std::current_exception();
    }
  });
  Side client(client_nic);
  client.qp->Connect({server_nic.address(), kPort});

  const double cpu_before = CpuSeconds();
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kRoundTrips; ++i) {
    client.Send();
    client.Receive(wait);
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  const double cpu = CpuSeconds() - cpu_before;
  client.qp->Disconnect();
  echo.join();
  if (failure) std::rethrow_exception(failure);
  std::printf("%-6s %8.2f us a round trip, %6.2f us CPU (both sides)\n", name,
              elapsed.count() * 1e6 / kRoundTrips, cpu * 1e6 / kRoundTrips);
}

}  // namespace

int main() try {
  auto server_nic = qpip::Nic::Open("mem:wait-versus-poll?address=fd00::1");
  auto client_nic = qpip::Nic::Open("mem:wait-versus-poll?address=fd00::2");
  Measure("Poll", *server_nic, *client_nic, ByPoll);
  Measure("Wait", *server_nic, *client_nic, ByWait);

  const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  int watched = -1;
  Measure("epoll", *server_nic, *client_nic, [&](qpip::CompletionQueue& cq, Completions& out) {
    if (watched != cq.fd()) {
      watched = cq.fd();
      epoll_event event = {};
      event.events = EPOLLIN;
      epoll_ctl(epoll_fd, EPOLL_CTL_ADD, watched, &event);
    }
    return ByEpoll(epoll_fd, cq, out);
  });
  close(epoll_fd);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "wait_versus_poll: %s\n", error.what());
  return 1;
}

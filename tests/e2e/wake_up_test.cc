// How many threads are waked for a message, whoever polls, waits, sleeps in a descriptor or in
// Accept: at most one where its receiver sleeps, none where he polls.
//
// A wake-up is a futex call or a write to an event descriptor; both are counted on their way to the
// C library. Its own executable, therefore.
#include <dlfcn.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdarg>
#include <ostream>
#include <thread>

#include "two_nics.h"

namespace {

std::atomic<uint64_t> futex_wake_ups{0};
std::atomic<uint64_t> descriptor_wake_ups{0};
std::atomic<int> client_fd{-1};
std::atomic<int> server_fd{-1};

}  // namespace

extern "C" long syscall(long number, ...) noexcept {
  va_list list;
  va_start(list, number);
  long a[6];
  for (long& argument : a) argument = va_arg(list, long);
  va_end(list);
  if (number == SYS_futex && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAKE) ++futex_wake_ups;
  static const auto next = reinterpret_cast<long (*)(long, ...)>(dlsym(RTLD_NEXT, "syscall"));
  return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

extern "C" ssize_t write(int fd, const void* data, size_t bytes) {
  if (fd >= 0 && (fd == client_fd.load() || fd == server_fd.load())) ++descriptor_wake_ups;
  static const auto next =
      reinterpret_cast<ssize_t (*)(int, const void*, size_t)>(dlsym(RTLD_NEXT, "write"));
  return next(fd, data, bytes);
}

namespace qpip::test {
namespace {

constexpr int kRoundTrips = 2000;
/// Before anything is counted: a park that ends, a descriptor that is made.
constexpr int kWarmUp = 200;
/// A message's, for the core thread: it is told to look after other threads that wait when one of
/// them goes back to its application, unless it is about to. And for the machine's other work: a
/// thread that is kept off its processor for long is taken for one that has gone, and found again.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define QPIP_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define QPIP_TEST_SANITIZED 1
#endif
#endif
#if defined(QPIP_TEST_SANITIZED)
// The application's part takes several times as long: it is less often about to come back.
constexpr double kSlack = 0.3;
#else
constexpr double kSlack = 0.1;
#endif
constexpr int kAttempts = 10;

enum class Style { kPolls, kWaits, kDescriptor };

std::ostream& operator<<(std::ostream& out, Style style) {
  return out << (style == Style::kPolls   ? "Polls"
                 : style == Style::kWaits ? "Waits"
                                          : "Descriptor");
}

struct Combination {
  Style client;
  Style server;
  int acceptors;   ///< threads that sleep in Accept of the server's NIC
  int bystanders;  ///< threads that sleep in Wait for what never comes, on the server's NIC
};

std::string NameOf(const Combination& combination) {
  std::ostringstream name;
  name << "Client" << combination.client << "Server" << combination.server;
  if (combination.acceptors != 0) name << "Acceptor";
  if (combination.bystanders != 0) name << "Bystander";
  return name.str();
}

/// The next completion of a side, in its style.
WorkCompletion Take(Side& side, Style style) {
  WorkCompletion wc{};
  switch (style) {
    case Style::kPolls:
      while (side.cq->Poll({&wc, 1}) == 0) sched_yield();
      break;
    case Style::kWaits:
      EXPECT_EQ(side.cq->Wait({&wc, 1}, kPatience), 1u);
      break;
    case Style::kDescriptor:
      while (side.cq->Poll({&wc, 1}) == 0) {
        if (!side.cq->Arm()) continue;
        pollfd ready = {.fd = side.cq->fd(), .events = POLLIN, .revents = 0};
        EXPECT_EQ(poll(&ready, 1, 60'000), 1);
        side.cq->Acknowledge();
      }
      break;
  }
  EXPECT_EQ(wc.status, IBV_WC_SUCCESS);
  return wc;
}

/// One end of the round trips.
struct End {
  Side& side;
  QueuePair& qp;
  Style style;
  std::unique_ptr<MemoryRegion> memory = side.pd->Allocate(128);
  int sent = 0;

  void PostRecv() { EXPECT_EQ(qp.PostRecv(0, memory->Sge(64, 64)), 0); }
  /// Some are signalled, so that the queue's places come back.
  void Send() {
    const int signalled = ++sent % 8 == 0 ? IBV_SEND_SIGNALED : 0;
    EXPECT_EQ(qp.PostSend(0, memory->Sge(0, 1), IBV_SEND_INLINE | signalled), 0);
  }
  /// Returns when a message has arrived; false when none comes.
  bool Receive() {
    WorkCompletion wc = Take(side, style);
    while (wc.status == IBV_WC_SUCCESS && wc.opcode == IBV_WC_SEND) wc = Take(side, style);
    return wc.status == IBV_WC_SUCCESS && wc.opcode == IBV_WC_RECV;
  }
};

/// For a message to an end, at the most. The core thread of a peer that sleeps in a descriptor
/// acknowledges before the answer is there to do it: that frame wakes who sleeps, too.
int WakeUpsFor(Style receiver, Style peer) {
  if (receiver == Style::kPolls) return 0;
  return (receiver == Style::kWaits ? 1 : 2) + (peer == Style::kDescriptor ? 1 : 0);
}

class WakeUps : public testing::TestWithParam<std::tuple<const char*, Combination>> {};

/// Of kRoundTrips round trips; negative when one failed.
double CountWakeUps(const char* wire, const Combination& combination) {
  // A thread that waits sleeps at once: one that spins is waked by nobody.
  TwoNics nics(wire, "spin_us=0");
  const auto client = nics.client.Qp(), server = nics.server.Qp();
  nics.Connect(*client, *server);
  if (combination.client == Style::kDescriptor) client_fd = nics.client.cq->fd();
  if (combination.server == Style::kDescriptor) server_fd = nics.server.cq->fd();
  End near{nics.client, *client, combination.client};
  End far{nics.server, *server, combination.server};

  std::vector<std::thread> sleepers;
  const auto idle_cq = nics.server.nic->CreateCq(16);
  std::vector<std::unique_ptr<Listener>> listeners;
  std::atomic<bool> over{false};
  for (int i = 0; i < combination.acceptors; ++i) {
    listeners.push_back(nics.server.nic->Listen(static_cast<uint16_t>(8000 + i)));
    sleepers.emplace_back([&over, listener = listeners.back().get()] {
      while (!over) (void)listener->Accept(300ms);
    });
  }
  for (int i = 0; i < combination.bystanders; ++i) {
    sleepers.emplace_back([&over, &idle_cq] {
      WorkCompletion wc{};
      while (!over) (void)idle_cq->Wait({&wc, 1}, 300ms);
    });
  }

  far.PostRecv();
  std::thread echo([&] {
    for (int i = 0; i < kWarmUp + kRoundTrips && far.Receive(); ++i) {
      far.PostRecv();
      far.Send();
    }
  });
  uint64_t before = 0;
  int round_trips = 0;
  for (bool goes_on = true; goes_on && round_trips < kWarmUp + kRoundTrips; ++round_trips) {
    if (round_trips == kWarmUp) before = futex_wake_ups + descriptor_wake_ups;
    near.PostRecv();
    near.Send();
    goes_on = near.Receive();
  }
  const double wake_ups = static_cast<double>(futex_wake_ups + descriptor_wake_ups - before);
  echo.join();
  over = true;
  for (std::thread& sleeper : sleepers) sleeper.join();
  client_fd = server_fd = -1;

  return round_trips == kWarmUp + kRoundTrips ? wake_ups : -1;
}

TEST_P(WakeUps, GivenRoundTripsWhenCountedThenNobodyIsWakedWithoutNeed) {
  const auto& [wire, combination] = GetParam();
  const double bound =
      kRoundTrips * (WakeUpsFor(combination.client, combination.server) +
                     WakeUpsFor(combination.server, combination.client) + 2 * kSlack);
  // The least of some: on a busy machine threads are away from their processors now and then.
  double least = HUGE_VAL;
  for (int attempt = 0; attempt < kAttempts && least > bound; ++attempt) {
    const double wake_ups = CountWakeUps(wire, combination);
    ASSERT_GE(wake_ups, 0);
    least = std::min(least, wake_ups);
  }
  std::cout << NameOf(combination) << " " << wire << ": " << least / (2 * kRoundTrips)
            << " wake-ups a message\n";
  EXPECT_LE(least, bound);
}

std::vector<Combination> Combinations() {
  std::vector<Combination> all;
  for (const Style client : {Style::kPolls, Style::kWaits, Style::kDescriptor}) {
    for (const Style server : {Style::kPolls, Style::kWaits, Style::kDescriptor}) {
      all.push_back({client, server, 0, 0});
      all.push_back({client, server, 1, 0});
      all.push_back({client, server, 0, 1});
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Wires, WakeUps,
                         testing::Combine(testing::Values("mem", "shm"),
                                          testing::ValuesIn(Combinations())),
                         [](const auto& each) {
                           return std::string(std::get<0>(each.param)) +
                                  NameOf(std::get<1>(each.param));
                         });

}  // namespace
}  // namespace qpip::test

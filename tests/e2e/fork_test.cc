// fork(2) while NICs are open, with traffic: however the child ends, the process that opened them
// never notices, and in the child nothing of them can be used.
//
// QPIP_FORKS: how many children a wire (default: two of every kind).
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <thread>

#include "qpip/stream.h"
#include "two_nics.h"

namespace qpip::test {
namespace {

/// ThreadSanitizer ends a child that does.
#if defined(__SANITIZE_THREAD__)
constexpr bool kMayStartThreads = false;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
constexpr bool kMayStartThreads = false;
#else
constexpr bool kMayStartThreads = true;
#endif
#else
constexpr bool kMayStartThreads = true;
#endif

/// Longer than anything a child does unless it hangs.
constexpr unsigned kChildSeconds = 30;
constexpr uint16_t kPort = 7000;
constexpr uint32_t kBytes = 2000;

/// Two NICs of this process, and a connection between them that echoes.
struct Echoes {
  explicit Echoes(const std::string& wire) : fabric(UniqueFabric()) {
    if (wire == "udp") {
      server = Side("udp:127.0.0.1:0?address=fd00::1");
      client = Side("udp:127.0.0.1:0?address=fd00::2&peer=127.0.0.1:" + ServerPort());
    } else {
      server = Side(PortUri(wire, fabric, 1, ""));
      client = Side(PortUri(wire, fabric, 2, ""));
    }
    memory = server.pd->Allocate(kBytes);
    listener = server.nic->Listen(kPort);
    Accept();
  }

  /// The port that a udp: NIC was given.
  std::string ServerPort() const {
    const std::string statistics = server.nic->StatisticsJson();
    const std::string name = "\"port\":";
    // The NIC's port is an object, in which the wire's stands.
    return std::to_string(std::stoul(statistics.substr(statistics.rfind(name) + name.size())));
  }

  /// A connection of its own, which takes the place of the one before.
  void Accept() {
    passive.reset();
    active.reset();
    std::array<WorkCompletion, 16> flushed;
    while (server.cq->Poll(flushed) + client.cq->Poll(flushed) != 0) {
    }
    passive = server.Qp();
    ASSERT_EQ(passive->PostRecv(1, memory->Sge(0, kBytes)), 0);
    listener->Offer(*passive);
    active = client.Qp();
    active->Connect({server.nic->address(), kPort}, kPatience);
    ASSERT_EQ(listener->Accept(kPatience), passive.get());
    sent = client.pd->Allocate(2 * kBytes);
  }

  /// A message there and back again. Allocates no memory: a thread of AddressSanitizer's that does
  /// so at a fork leaves the child with a lock that nobody gives back (LLVM 14).
  bool RoundTrip() {
    FillPattern(sent->data(), kBytes, ++round);
    if (active->PostRecv(1, sent->Sge(kBytes, kBytes)) != 0) return false;
    if (active->PostSend(2, sent->Sge(0, kBytes)) != 0) return false;
    if (server.One().status != IBV_WC_SUCCESS) return false;
    if (passive->PostSend(2, memory->Sge(0, kBytes)) != 0) return false;
    for (int completions = 0; completions < 2; ++completions) {
      if (client.One().status != IBV_WC_SUCCESS) return false;
    }
    if (server.One().status != IBV_WC_SUCCESS) return false;
    if (passive->PostRecv(1, memory->Sge(0, kBytes)) != 0) return false;
    const auto* got = static_cast<const uint8_t*>(sent->data()) + kBytes;
    return CheckPattern(got, kBytes, round) == kBytes;
  }

  const std::string fabric;
  Side server, client;
  std::unique_ptr<MemoryRegion> memory, sent;
  std::unique_ptr<Listener> listener;
  std::unique_ptr<QueuePair> passive, active;
  uint64_t round = 0;
};

/// Where a child that exits tells that its static destructors have come to an end: of what was
/// constructed before these tests' statics, this is destroyed after them.
struct AtTheEnd {
  int fd = -1;
  ~AtTheEnd() {
    if (fd >= 0 && ::write(fd, "x", 1) != 1) ::_exit(97);
  }
};
AtTheEnd at_the_end;
/// Destroyed by exit(3), in a child as well.
std::unique_ptr<Echoes> echoes;

template <typename Call>
bool Refuses(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code() == EPERM &&
           std::strstr(error.what(), "open one here, after fork() or daemon()") != nullptr;
  }
  return false;
}

/// In a child: nothing of the NIC can be used.
bool EverythingRefuses(Echoes& of) {
  WorkCompletion wc;
  ibv_sge sge = of.sent->Sge(0, 1);
  const auto poll = [&] { (void)of.client.cq->Poll(std::span(&wc, 1)); };
  const auto wait = [&] { (void)of.client.cq->Wait(std::span(&wc, 1)); };
  return Refuses(poll) && Refuses(wait) && of.active->PostSend(9, sge) == EPERM &&
         of.passive->PostRecv(9, sge) == EPERM && Refuses([&] { of.active->Shutdown(); }) &&
         Refuses([&] { of.active->Abort(); }) && Refuses([&] { (void)of.listener->Accept(); }) &&
         Refuses([&] { (void)of.client.nic->CreateCq(1); }) &&
         Refuses([&] { (void)of.client.pd->Allocate(1); }) &&
         Refuses([&] { (void)of.client.nic->Counters(); });
}

struct Ending {
  const char* name;
  void (*end)();
  bool exits;  ///< by exit(3)
  /// As waitpid tells; -1: of no interest.
  int status;
};

[[noreturn]] void Crash() {
  const rlimit no_core = {0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::signal(SIGSEGV, SIG_DFL);
  ::raise(SIGSEGV);
  ::_exit(98);
}

[[noreturn]] void Exec() {
  ::execl("/bin/true", "true", nullptr);
  ::_exit(98);
}

[[noreturn]] void Daemonise() {
  if (::daemon(1, 1) != 0) ::_exit(98);
  ::alarm(kChildSeconds);  // a child does not inherit it
  std::exit(EverythingRefuses(*echoes) ? 0 : 98);
}

[[noreturn]] void ForkAgain() {
  const pid_t grandchild = ::fork();
  if (grandchild == 0) {
    ::alarm(kChildSeconds);
    const bool refuses = EverythingRefuses(*echoes);
    echoes.reset();
    ::_exit(refuses ? 0 : 98);
  }
  int status = 0;
  ::waitpid(grandchild, &status, 0);
  std::exit(status == 0 ? 0 : 98);
}

const Ending kEndings[] = {
    {"returns",
     [] {
       echoes.reset();
       std::exit(0);
     },
     true, 0},
    {"exits", [] { std::exit(0); }, true, 0},
    {"_exits", [] { ::_exit(0); }, false, 0},
    {"execs", [] { Exec(); }, false, 0},
    {"crashes", [] { Crash(); }, false, SIGSEGV},
    {"daemonises", [] { Daemonise(); }, true, 0},
    {"forks again", [] { ForkAgain(); }, true, 0},
};

/// What a child has written until it and its children were gone, and how it ended.
struct Outcome {
  std::string told;
  int status = -1;
};

template <typename Body>
Outcome InChild(Body body) {
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0) return {};
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(kChildSeconds);
    at_the_end.fd = pipe[1];
    body(pipe[1]);
    ::_exit(96);
  }
  ::close(pipe[1]);
  Outcome outcome;
  char byte;
  while (::read(pipe[0], &byte, 1) == 1) outcome.told += byte;
  ::close(pipe[0]);
  ::waitpid(child, &outcome.status, 0);
  return outcome;
}

bool Told(int fd, bool what) { return ::write(fd, what ? "r" : "-", 1) == 1; }

class Forks : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { echoes = std::make_unique<Echoes>(GetParam()); }
  void TearDown() override { echoes.reset(); }

  static size_t Count() {
    const char* text = std::getenv("QPIP_FORKS");
    return text != nullptr ? std::strtoull(text, nullptr, 10) : 2 * std::size(kEndings);
  }
  static void ExpectUnharmed() {
    ASSERT_TRUE(echoes->RoundTrip());
    if (std::string(GetParam()) != "shm") return;
    const std::string place = "/dev/shm/qpip." + std::to_string(::geteuid()) + "." + echoes->fabric;
    ASSERT_TRUE(std::filesystem::exists(place + "/control"));
  }
};

TEST_P(Forks, GivenAChildWhenItEndsInAnyWayThenTheOwnerNeverNotices) {
  const size_t count = Count();
  for (size_t i = 0; i < count; ++i) {
    const Ending& ending = kEndings[i % std::size(kEndings)];
    ASSERT_TRUE(echoes->RoundTrip());
    const Outcome outcome = InChild([&](int fd) {
      if (Told(fd, EverythingRefuses(*echoes))) ending.end();
    });
    ASSERT_EQ(outcome.status, ending.status) << ending.name << " " << outcome.told;
    ASSERT_EQ(outcome.told, ending.exits ? "rx" : "r") << ending.name;
    ExpectUnharmed();
    if (HasFatalFailure()) return;
    // ... and new connections find it.
    if (i % std::size(kEndings) == 0) echoes->Accept();
  }
  std::cout << count << " forks over " << GetParam() << "\n";
}

TEST_P(Forks, GivenTrafficAllTheWhileWhenForkedThenChildrenExitAndNothingIsLost) {
  std::atomic<bool> stop{false};
  std::atomic<bool> over{false};
  std::atomic<uint64_t> trips{0};
  std::thread traffic([&] {
    while (!stop.load() && echoes->RoundTrip()) ++trips;
    over = true;
  });
  while (trips.load() == 0 && !over.load()) std::this_thread::yield();  // its start allocates
  const size_t count = std::max<size_t>(Count(), 20);
  for (size_t i = 0; i < count; ++i) {
    const Outcome outcome = InChild([&](int fd) {
      if (!Told(fd, EverythingRefuses(*echoes))) return;
      if (i % 2 == 0) echoes.reset();
      std::exit(0);
    });
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.told, "rx");
    if (HasFailure()) break;
  }
  stop = true;
  traffic.join();
  EXPECT_GT(trips.load(), 0u);
  ExpectUnharmed();
}

TEST_P(Forks, GivenAStreamWhenForkedThenItRefusesInTheChildAndGoesOnInTheParent) {
  ByteStream server(*echoes->server.nic, *echoes->server.pd);
  ByteStream client(*echoes->client.nic, *echoes->client.pd);
  echoes->listener->Offer(server.qp());
  client.Connect({echoes->server.nic->address(), kPort});
  ASSERT_NE(echoes->listener->Accept(kPatience), nullptr);
  client.Write(std::string("before"));
  const Outcome outcome = InChild([&](int fd) {
    std::array<char, 6> bytes;
    const bool refuses = Refuses([&] { client.Write(std::string("never")); }) &&
                         Refuses([&] { (void)server.ReadExact(bytes); }) &&
                         Refuses([&] { client.CloseWrite(); });
    if (Told(fd, refuses)) std::exit(0);
  });
  EXPECT_EQ(outcome.told, "rx");
  client.Write(std::string("after"));
  std::array<char, 11> bytes;
  ASSERT_TRUE(server.ReadExact(bytes));
  EXPECT_EQ(std::string(bytes.data(), bytes.size()), "beforeafter");
}

/// A child opens NICs of its own, beside those it has inherited or after these have gone.
TEST_P(Forks, GivenAChildWhenItOpensNicsOfItsOwnThenTheyWorkAndTheOwnersTooAfterwards) {
  if (!kMayStartThreads) return;
  const std::string wire = GetParam();
  for (const bool first_let_go : {false, true}) {
    const Outcome outcome = InChild([&](int fd) {
      if (first_let_go) echoes.reset();
      // A mem: fabric of the same name is another one here, and its addresses are free.
      Echoes own(wire);
      const bool works = own.RoundTrip();
      if (wire == "mem" && echoes) Side(PortUri(wire, echoes->fabric, 1, ""));
      if (Told(fd, works)) std::exit(0);
    });
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.told, "rx") << first_let_go;
    ExpectUnharmed();
  }
}

INSTANTIATE_TEST_SUITE_P(Wires, Forks, testing::Values("shm", "udp", "mem"),
                         [](const auto& wire) { return std::string(wire.param); });

/// Servers that become daemons: what was opened before is refused, what is opened after works.
TEST(Daemons, GivenANicOpenedBeforeDaemonWhenUsedThenTheErrorSaysWhatToDo) {
  if (!kMayStartThreads) return;
  const Outcome outcome = InChild([&](int fd) {
    Side server("mem:daemon?address=fd00::1");
    auto listener = server.nic->Listen(kPort);
    if (::daemon(1, 1) != 0) ::_exit(98);
    ::alarm(kChildSeconds);
    if (Told(fd, Refuses([&] { (void)listener->Accept(); }))) std::exit(0);
  });
  EXPECT_EQ(outcome.told, "rx");
}

TEST(Daemons, GivenANicOpenedAfterDaemonWhenClientsConnectThenItServes) {
  if (!kMayStartThreads) return;
  const std::string fabric = UniqueFabric();
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  const Outcome outcome = InChild([&](int fd) {
    at_the_end.fd = -1;
    if (::daemon(1, 1) != 0) ::_exit(98);
    ::alarm(kChildSeconds);
    Side server(PortUri("shm", fabric, 1, ""));
    auto memory = server.pd->Allocate(64);
    auto listener = server.nic->Listen(kPort);
    auto qp = server.Qp();
    if (qp->PostRecv(1, memory->Sge(0, 64)) != 0) ::_exit(1);
    listener->Offer(*qp);
    if (::write(ready[1], "r", 1) != 1) ::_exit(1);
    ::close(fd);  // nothing is told that way
    if (server.One().byte_len != 5) ::_exit(1);
    if (qp->PostSend(2, memory->Sge(0, 5)) != 0) ::_exit(1);
    (void)server.One();
    (void)qp->Disconnect(kPatience);
    ::_exit(0);
  });
  EXPECT_EQ(outcome.status, 0) << "the process that called daemon";
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  Side client(PortUri("shm", fabric, 2, ""));
  auto memory = client.pd->Allocate(64);
  auto qp = client.Qp();
  qp->Connect({Endpoint::Parse("[fd00::1]:1").address, kPort}, kPatience);
  ASSERT_EQ(qp->PostRecv(1, memory->Sge(0, 64)), 0);
  ASSERT_EQ(qp->PostSend(2, memory->Sge(0, 5), 0), 0);
  EXPECT_EQ(client.One().byte_len, 5u);
  EXPECT_TRUE(qp->Disconnect(kPatience));
  ::close(ready[0]);
  ::close(ready[1]);
}

}  // namespace
}  // namespace qpip::test

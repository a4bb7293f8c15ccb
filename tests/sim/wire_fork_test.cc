// fork(2) while wires are open: a child that closes them, exits or lives on takes nothing from its
// parent.
#include <pcap/pcap.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <system_error>

#include "sim/wire/fork.h"
#include "sim/wire/membership.h"
#include "wire_test_support.h"

namespace qpip::wire::test {
namespace {

/// Runs `body` in a child, which may take seconds and not for ever. Returns its exit status.
int InChild(const std::function<void()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    body();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/// A child that has let go of what is its parent's, and lives until this goes.
class Survivor {
 public:
  Survivor() {
    int alive[2];
    if (::pipe(alive) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
    pid_ = ::fork();
    char byte = 0;
    if (pid_ == 0) {
      // fork has returned here: its handlers have run.
      if (::write(alive[1], &byte, 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    const bool said = ::read(alive[0], &byte, 1) == 1;
    ::close(alive[0]);
    ::close(alive[1]);
    if (!said) throw std::runtime_error("the child says nothing");
  }
  ~Survivor() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_ = -1;
};

std::unique_ptr<Wire> OpenUdp(uint16_t port) {
  UdpOptions options;
  options.host = "127.0.0.1";
  options.port = port;
  options.address = Address(1);
  return OpenUdpWire(options);
}

// --- The watch

TEST(ForkWatch, GivenAWatchWhenForkedThenTheChildKnowsAndTheParentIsWhatItWas) {
  const ForkWatch watch;
  EXPECT_FALSE(watch.inherited());
  EXPECT_EQ(InChild([&] {
              const ForkWatch later;
              ::_exit(watch.inherited() && !later.inherited() ? 0 : 1);
            }),
            0);
  EXPECT_FALSE(watch.inherited());
}

TEST(ForkWatch, GivenHooksWhenForkedThenTheLatestPreparesFirstAndTheEarliestGoesOnFirst) {
  std::string calls;
  const ForkWatch first({.prepare = [&] { calls += "p1 "; },
                         .parent = [&] { calls += "P1 "; },
                         .child = [&] { calls += "C1 "; }});
  const ForkWatch second({.prepare = [&] { calls += "p2 "; },
                          .parent = [&] { calls += "P2 "; },
                          .child = [&] { calls += "C2 "; }});
  EXPECT_EQ(InChild([&] { ::_exit(calls == "p2 p1 C1 C2 " ? 0 : 1); }), 0);
  EXPECT_EQ(calls, "p2 p1 P1 P2 ");
}

TEST(ForkWatch, GivenAChildOfAChildWhenItAsksThenItIsNeitherOnesThatOpened) {
  const ForkWatch watch;
  EXPECT_EQ(InChild([&] {
              const ForkWatch childs;
              const int status =
                  InChild([&] { ::_exit(watch.inherited() && childs.inherited() ? 0 : 1); });
              ::_exit(childs.inherited() ? 2 : status);
            }),
            0);
}

// --- Wires

TEST(ForkedWire, GivenASharedMemoryFabricWhenAChildClosesItsCopyThenThePortStaysAsItIs) {
  const std::string fabric = UniqueName();
  auto a = OpenSharedMemoryWire(Options(fabric, 1));
  auto b = OpenSharedMemoryWire(Options(fabric, 2));
  void* memory = a->AllocateShared(1 << 20);
  std::memset(memory, 7, 1 << 20);
  ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 100, 1)), SendResult::kSent);
  EXPECT_EQ(InChild([&] {
              a.reset();
              b.reset();
            }),
            0);
  EXPECT_TRUE(std::filesystem::exists(FabricDirectory(fabric) + "/control"));
  EXPECT_EQ(static_cast<uint8_t*>(memory)[(1 << 20) - 1], 7);
  InFrame frame;
  ASSERT_TRUE(b->Receive(&frame));
  EXPECT_FALSE(frame.peer_down);
  EXPECT_EQ(Content(frame), MakeFrame(Address(2), 100, 1));
  b->Release(frame);
  auto c = OpenSharedMemoryWire(Options(fabric, 3));
  EXPECT_EQ(SendBytes(c.get(), MakeFrame(Address(1), 100, 2)), SendResult::kSent);
  EXPECT_TRUE(a->Receive(&frame));
}

TEST(ForkedWire, GivenAFabricOfThisProcessWhenAChildClosesItsCopyThenThePortStaysAsItIs) {
  const std::string fabric = UniqueName();
  auto a = OpenMemoryWire(Options(fabric, 1));
  auto b = OpenMemoryWire(Options(fabric, 2));
  EXPECT_EQ(InChild([&] {
              a.reset();
              b.reset();
            }),
            0);
  ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 100, 1)), SendResult::kSent);
  InFrame frame;
  ASSERT_TRUE(b->Receive(&frame));
  EXPECT_FALSE(frame.peer_down);
}

TEST(ForkedWire, GivenAFabricOfThisProcessWhenAChildOpensOneOfThatNameThenItIsAnother) {
  const std::string fabric = UniqueName();
  auto a = OpenMemoryWire(Options(fabric, 1));
  auto b = OpenMemoryWire(Options(fabric, 2));
  EXPECT_EQ(InChild([&] {
              auto mine = OpenMemoryWire(Options(fabric, 1));
              auto third = OpenMemoryWire(Options(fabric, 3));
              if (SendBytes(mine.get(), MakeFrame(Address(3), 100, 1)) != SendResult::kSent) {
                ::_exit(1);
              }
              if (SendBytes(mine.get(), MakeFrame(Address(2), 100, 1)) != SendResult::kNoRoute) {
                ::_exit(2);
              }
            }),
            0);
  EXPECT_EQ(SendBytes(a.get(), MakeFrame(Address(3), 100, 1)), SendResult::kNoRoute);
  ASSERT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 100, 1)), SendResult::kSent);
}

TEST(ForkedWire, GivenDatagramsThatWaitWhenAChildClosesItsCopyThenTheyAreSentOnce) {
  auto server = OpenUdp(0);
  UdpOptions options;
  options.host = "127.0.0.1";
  options.address = Address(2);
  options.peers.push_back({{}, "127.0.0.1", static_cast<uint16_t>(Counter(*server, "port"))});
  auto client = OpenUdpWire(options);
  const Bytes sent = MakeFrame(Address(1), 100, 1);
  ASSERT_EQ(SendBytes(client.get(), sent), SendResult::kSent);  // not flushed
  EXPECT_EQ(InChild([&] { client.reset(); }), 0);
  client->Flush();
  InFrame frame;
  ASSERT_TRUE(ReceiveWithin(server.get(), &frame));
  server->Release(frame);
  EXPECT_FALSE(server->Receive(&frame)) << "loopback is in order, and at once";
}

TEST(ForkedWire, GivenAChildThatLivesOnWhenItsParentClosesThenAddressAndSocketAreFree) {
  const std::string fabric = UniqueName();
  auto shared = OpenSharedMemoryWire(Options(fabric, 1));
  auto udp = OpenUdp(0);
  const auto port = static_cast<uint16_t>(Counter(*udp, "port"));
  const Survivor survivor;
  shared.reset();
  udp.reset();
  EXPECT_NO_THROW(OpenSharedMemoryWire(Options(fabric, 1)));
  EXPECT_NO_THROW(OpenUdp(port));
}

TEST(ForkedWire, GivenAChildThatLivesOnWhenItsParentIsKilledThenThePortIsKnownToBeDead) {
  const std::string fabric = UniqueName();
  auto wire = OpenSharedMemoryWire(Options(fabric, 1));
  int grandchilds[2];
  ASSERT_EQ(::pipe(grandchilds), 0);
  const int status = InChild([&] {
    auto mine = OpenSharedMemoryWire(Options(fabric, 2));
    if (SendBytes(mine.get(), MakeFrame(Address(1), 100, 1)) != SendResult::kSent) ::_exit(1);
    const pid_t grandchild = ::fork();
    if (grandchild == 0) {
      ::alarm(60);
      for (;;) ::pause();
    }
    if (::write(grandchilds[1], &grandchild, sizeof grandchild) != sizeof grandchild) ::_exit(2);
    ::raise(SIGKILL);
  });
  EXPECT_EQ(status, -SIGKILL);
  pid_t grandchild = 0;
  ASSERT_EQ(::read(grandchilds[0], &grandchild, sizeof grandchild), ssize_t{sizeof grandchild});
  InFrame frame;
  ASSERT_TRUE(ReceiveWithin(wire.get(), &frame));
  EXPECT_FALSE(frame.peer_down);
  wire->Release(frame);
  EXPECT_TRUE(ReceiveWithin(wire.get(), &frame) && frame.peer_down);
  ::kill(grandchild, SIGKILL);
  ::close(grandchilds[0]);
  ::close(grandchilds[1]);
}

TEST(ForkedWire, GivenARecordingWhenAChildExitsThenEachPacketIsThereOnce) {
  const std::string path = testing::TempDir() + "/" + UniqueName() + ".pcap";
  {
    auto wire = DecoratePcap(OpenMemoryWire(Options(UniqueName(), 1)), path);
    ASSERT_EQ(SendBytes(wire.get(), MakeFrame(Address(1), 1000, 1)), SendResult::kSent);
    EXPECT_EQ(InChild([&] { std::exit(0); }), 0) << "which flushes stdio's buffers";
    EXPECT_EQ(InChild([&] { wire.reset(); }), 0);
    ASSERT_EQ(SendBytes(wire.get(), MakeFrame(Address(1), 1000, 2)), SendResult::kSent);
  }
  char error[PCAP_ERRBUF_SIZE];
  pcap_t* file = ::pcap_open_offline(path.c_str(), error);
  ASSERT_NE(file, nullptr) << error;
  pcap_pkthdr* header = nullptr;
  const u_char* bytes = nullptr;
  int packets = 0;
  while (::pcap_next_ex(file, &header, &bytes) == 1) ++packets;
  EXPECT_EQ(packets, 2);
  ::pcap_close(file);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace qpip::wire::test

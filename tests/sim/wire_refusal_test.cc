// One end of a pair of rings lacks memory or descriptors for the other: both ends are told at once,
// others go on, and so do these two when the lack is over.
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <functional>

#include "sim/wire/layout.h"
#include "sim/wire/membership.h"
#include "wire_test_support.h"

namespace qpip::wire::test {
namespace {

/// A port that notes its troubles.
struct Port {
  explicit Port(const std::string& fabric, uint8_t last)
      : wire(OpenSharedMemoryWire(Options(fabric, last))) {
    wire->ReportTo([this](const abi::Trouble& trouble) { troubles.push_back(trouble); });
  }
  /// The next link event, released frames aside; nullopt: none is there.
  std::optional<abi::Ip6Address> NextDown() {
    InFrame frame;
    while (wire->Receive(&frame)) {
      if (frame.peer_down) return frame.peer;
      wire->Release(frame);
    }
    return std::nullopt;
  }
  SendResult Send(uint8_t to, uint64_t seed) {
    return SendBytes(wire.get(), MakeFrame(Address(to), 100, seed));
  }
  bool Gets(uint8_t own, uint64_t seed) {
    InFrame frame;
    if (!wire->Receive(&frame)) return false;
    const bool same = !frame.peer_down && Content(frame) == MakeFrame(Address(own), 100, seed);
    if (!frame.peer_down) wire->Release(frame);
    return same;
  }

  std::vector<abi::Trouble> troubles;
  std::unique_ptr<Wire> wire;
};

/// A limit of this process while it exists.
class Limit {
 public:
  Limit(__rlimit_resource what, rlim_t soft) : what_(what) {
    ::getrlimit(what, &before_);
    const rlimit now = {soft, before_.rlim_max};
    ::setrlimit(what, &now);
  }
  ~Limit() { ::setrlimit(what_, &before_); }
  Limit(const Limit&) = delete;
  Limit& operator=(const Limit&) = delete;

 private:
  const __rlimit_resource what_;
  rlimit before_ = {};
};

rlim_t FirstFreeDescriptor() {
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::close(fd);
  return static_cast<rlim_t>(fd);
}

rlim_t AddressSpaceInUse() {
  std::ifstream file("/proc/self/statm");
  rlim_t pages = 0;
  file >> pages;
  return pages * kPageBytes;
}

class RefusalTest : public testing::Test {
 protected:
  /// `b` cannot take `a` on while `limit` exists.
  void ExpectRefusal(int error, const std::function<Limit()>& limit) {
    {
      const Limit now = limit();
      ASSERT_EQ(a.Send(2, 1), SendResult::kSent);
      EXPECT_EQ(b.NextDown(), Address(1)) << "its own connections with the other end";
      EXPECT_EQ(b.NextDown(), std::nullopt) << "which tells the other";
    }
    ASSERT_EQ(b.troubles.size(), 1u);
    EXPECT_EQ(b.troubles[0].code, error);
    EXPECT_EQ(b.troubles[0].peer, Address(1));
    EXPECT_FALSE(b.troubles[0].fatal);
    EXPECT_EQ(a.NextDown(), Address(2)) << "nobody waits for an answer";
    ASSERT_EQ(a.troubles.size(), 1u);
    EXPECT_EQ(a.troubles[0].code, error);
    EXPECT_EQ(a.troubles[0].peer, Address(2));
  }
  void ExpectTraffic(Port& one, uint8_t one_address, Port& other, uint8_t other_address) {
    one.NextDown();  // lets go of what went before
    for (uint64_t i = 0; i < 3; ++i) {
      ASSERT_EQ(one.Send(other_address, i), SendResult::kSent);
      ASSERT_TRUE(other.Gets(other_address, i));
      ASSERT_EQ(other.Send(one_address, i), SendResult::kSent);
      ASSERT_TRUE(one.Gets(one_address, i));
    }
  }

  const std::string fabric_ = UniqueName();
  Port a{fabric_, 1};
  Port b{fabric_, 2};
};

TEST_F(RefusalTest, GivenNoDescriptorWhenAPeerSendsThenBothAreToldAndLaterItWorks) {
  ExpectRefusal(EMFILE, [] { return Limit(RLIMIT_NOFILE, FirstFreeDescriptor()); });
  ExpectTraffic(a, 1, b, 2);
}

TEST_F(RefusalTest, GivenNoAddressSpaceWhenAPeerSendsThenBothAreToldAndLaterItWorks) {
  ExpectRefusal(ENOMEM, [] { return Limit(RLIMIT_AS, AddressSpaceInUse() + (16 << 20)); });
  ExpectTraffic(a, 1, b, 2);
}

TEST_F(RefusalTest, GivenNoDescriptorForOneWhenThereIsAnotherThenThatOneGoesOn) {
  Port c{fabric_, 3};
  ExpectTraffic(c, 3, b, 2);
  ExpectRefusal(EMFILE, [] { return Limit(RLIMIT_NOFILE, FirstFreeDescriptor()); });
  ExpectTraffic(c, 3, b, 2);
  EXPECT_TRUE(c.troubles.empty());
}

TEST_F(RefusalTest, GivenALackThatLastsWhenAPeerTriesAgainAndAgainThenEachAttemptIsAnswered) {
  const Limit limit(RLIMIT_NOFILE, FirstFreeDescriptor());
  for (size_t i = 1; i <= 50; ++i) {
    ASSERT_EQ(a.Send(2, i), SendResult::kSent) << i;
    ASSERT_EQ(b.NextDown(), Address(1)) << i;
    ASSERT_EQ(b.NextDown(), std::nullopt) << i;
    ASSERT_EQ(a.NextDown(), Address(2)) << i;
    ASSERT_EQ(a.NextDown(), std::nullopt) << i;
    ASSERT_EQ(a.troubles.size(), i);
  }
}

TEST_F(RefusalTest, GivenALackThatLastsWhenAPeerTriesAllTheWhileThenTheSystemIsAskedRarely) {
  {
    const Limit limit(RLIMIT_NOFILE, FirstFreeDescriptor());
    for (size_t i = 1; i <= 1000; ++i) {
      ASSERT_EQ(a.Send(2, i), SendResult::kSent) << i;
      ASSERT_EQ(b.NextDown(), Address(1)) << "told at once, whether tried or not";
      ASSERT_EQ(b.NextDown(), std::nullopt) << i;
      ASSERT_EQ(a.NextDown(), Address(2)) << i;
      ASSERT_EQ(a.NextDown(), std::nullopt) << i;
    }
  }
  EXPECT_GT(Counter(*b.wire, "attempts_put_off"), 500u);
  EXPECT_EQ(Counter(*b.wire, "map_failures") + Counter(*b.wire, "attempts_put_off"), 1000u);
  // When it has passed the peer is served.
  bool served = false;
  for (const uint64_t start = MonotonicNs(); !served && MonotonicNs() - start < 20'000'000'000;) {
    if (a.Send(2, 7) == SendResult::kSent) served = b.Gets(2, 7);
    b.NextDown();
    a.NextDown();
  }
  EXPECT_TRUE(served);
}

TEST_F(RefusalTest, GivenARefusalNotHeardYetWhenTheRefusedSendsThenItWaitsUntilBothHaveLetGo) {
  {
    const Limit limit(RLIMIT_NOFILE, FirstFreeDescriptor());
    ASSERT_EQ(a.Send(2, 1), SendResult::kSent);
    ASSERT_EQ(b.NextDown(), Address(1));
    ASSERT_EQ(b.NextDown(), std::nullopt);
  }
  EXPECT_EQ(b.Send(1, 5), SendResult::kBusy) << "the ring's old writer has not heard of it";
  ASSERT_EQ(a.NextDown(), Address(2));
  ASSERT_EQ(a.NextDown(), std::nullopt);
  EXPECT_EQ(b.Send(1, 6), SendResult::kSent);
  EXPECT_TRUE(a.Gets(1, 6));
}

/// Mounts under /dev/shm are this process's alone. In a chroot the root is no mount point.
bool MountsAreOurs() {
  if (::unshare(CLONE_NEWNS) != 0) return false;
  for (const char* place : {"/", "/dev/shm", "/dev"}) {
    if (::mount("none", place, nullptr, MS_REC | MS_PRIVATE, nullptr) == 0) return true;
  }
  return false;
}

/// Runs `body` in a child of its own, where /dev/shm is a tmpfs of so many bytes.
int WithSharedMemory(size_t bytes, const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string size = "size=" + std::to_string(bytes);
    if (!MountsAreOurs() || ::mount("tmpfs", "/dev/shm", "tmpfs", 0, size.c_str()) != 0) {
      ::_exit(100);
    }
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST(SmallSharedMemory, GivenRoomForOneRingWhenTheOtherIsWantedThenBothAreTold) {
  const std::string fabric = UniqueName();
  EXPECT_EQ(WithSharedMemory(2 << 20,
                             [&] {
                               Port a(fabric, 1), b(fabric, 2);
                               InFrame frame;
                               if (a.Send(2, 1) != SendResult::kSent) return 1;
                               if (!b.wire->Receive(&frame)) return 2;
                               // The answer to a frame that is still held.
                               if (b.Send(1, 2) != SendResult::kNoRoute) return 3;
                               if (b.troubles.size() != 1 || b.troubles[0].code != ENOSPC) return 4;
                               if (b.troubles[0].what.find("/dev/shm") == std::string::npos) {
                                 return 5;
                               }
                               if (b.NextDown() != Address(1)) return 6;
                               if (b.NextDown() || a.NextDown()) return 7;  // not before it is back
                               b.wire->Release(frame);
                               if (b.NextDown()) return 8;
                               if (a.NextDown() != Address(2)) return 9;
                               return a.troubles.size() == 1 && a.troubles[0].code == ENOSPC ? 0
                                                                                             : 10;
                             }),
            0)
      << "100: run this test as root";
}

TEST(SmallSharedMemory, GivenNoRoomForARingWhenSendingThenThereIsNoRouteAndTheReasonIsTold) {
  const std::string fabric = UniqueName();
  EXPECT_EQ(WithSharedMemory(512 << 10,
                             [&] {
                               Port a(fabric, 1), b(fabric, 2);
                               if (a.Send(2, 1) != SendResult::kNoRoute) return 1;
                               if (a.troubles.size() != 1 || a.troubles[0].code != ENOSPC) return 2;
                               if (a.troubles[0].peer != Address(2)) return 3;
                               return a.NextDown() || b.NextDown() || !b.troubles.empty() ? 4 : 0;
                             }),
            0)
      << "100: run this test as root";
}

TEST(SmallSharedMemory, GivenNoRoomForALongTimeWhenSendingAllTheWhileThenTheSystemIsAskedRarely) {
  const std::string fabric = UniqueName();
  EXPECT_EQ(
      WithSharedMemory(512 << 10,
                       [&] {
                         Port a(fabric, 1), b(fabric, 2), c(fabric, 3);
                         for (uint64_t i = 0; i < 1000; ++i) {
                           if (a.Send(2 + i % 2, i) != SendResult::kNoRoute) return 1;
                         }
                         const uint64_t asked = Counter(*a.wire, "ring_memory_exhausted");
                         if (asked < 8 || asked > 500) return 2;
                         if (asked + Counter(*a.wire, "attempts_put_off") != 1000) return 3;
                         if (::mount("tmpfs", "/dev/shm", "tmpfs", MS_REMOUNT, "size=8m") != 0) {
                           return 4;
                         }
                         if (!SendWithin(a.wire.get(), MakeFrame(Address(2), 100, 1))) {
                           return 5;
                         }
                         return a.Send(3, 1) == SendResult::kSent ? 0 : 6;
                       }),
      0)
      << "100: run this test as root";
}

TEST(SmallSharedMemory, GivenNoRoomAtAllWhenAThreadHasATurnThenItGoesOn) {
  const std::string fabric = UniqueName();
  EXPECT_EQ(WithSharedMemory(512 << 10,
                             [&] {
                               Port a(fabric, 1);
                               const int filler =
                                   ::open("/dev/shm/filler", O_CREAT | O_WRONLY, 0600);
                               const std::array<char, 4096> page = {};
                               while (::write(filler, page.data(), page.size()) > 0) {
                               }
                               return errno == ENOSPC && a.wire->TakeTurn() ? 0 : 1;
                             }),
            0)
      << "100: run this test as root";
}

// A program that locks all its memory, as real-time ones do, may not have that much more.
TEST(LockedMemory, GivenNoneLeftWhenAPeerSendsThenBothAreToldAndLaterItWorks) {
  const std::string fabric = UniqueName();
  const auto body = [&] {
    Port a(fabric, 1), b(fabric, 2);
    if (a.Send(2, 1) != SendResult::kSent) return 1;  // has its ring; b has yet to map it
    const Limit limit(RLIMIT_MEMLOCK, 1 << 20);
    if (::mlockall(MCL_FUTURE) != 0) return 2;
    void* probe = ::mmap(nullptr, 2 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (probe != MAP_FAILED) return 100;
    if (b.NextDown() != Address(1)) return 3;
    if (b.NextDown() || b.troubles.size() != 1 || b.troubles[0].code != EAGAIN) return 4;
    if (b.troubles[0].what.find("ulimit -l") == std::string::npos) return 5;
    if (a.NextDown() != Address(2) || a.troubles.size() != 1) return 6;
    ::munlockall();
    a.NextDown();
    return a.Send(2, 2) == SendResult::kSent && b.Gets(2, 2) ? 0 : 7;
  };
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::setresuid(64321, 64321, 64321) != 0) ::_exit(1);  // root may lock all
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 100) return;  // under a sanitizer nothing is locked
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// --- Limits of file sizes: an error, not a signal

template <typename Open>
int ErrorUnderAFileLimit(Open open) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_DFL);
    const Limit limit(RLIMIT_FSIZE, 4096);
    try {
      open();
    } catch (const std::system_error& error) {
      const std::string what = error.what();
      ::_exit(what.find("ulimit -f") == std::string::npos ? 98 : error.code().value());
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST(FileSizeLimit, GivenASmallOneWhenAFabricIsOpenedThenAnErrorSaysSoAndNothingIsLeft) {
  const std::string fabric = UniqueName();
  EXPECT_EQ(ErrorUnderAFileLimit([&] { OpenSharedMemoryWire(Options(fabric, 1)); }), EFBIG);
  EXPECT_NE(::access(FabricDirectory(fabric).c_str(), F_OK), 0);
}

TEST(FileSizeLimit, GivenASmallOneWhenAFabricOfThisProcessIsOpenedThenAnErrorSaysSo) {
  EXPECT_EQ(ErrorUnderAFileLimit([&] { OpenMemoryWire(Options(UniqueName(), 1)); }), EFBIG);
}

TEST(FileSizeLimit, GivenAnotherPortOnTheFabricWhenOneIsRefusedThenItsFileGoes) {
  const std::string fabric = UniqueName();
  Port stays(fabric, 1);
  EXPECT_EQ(ErrorUnderAFileLimit([&] { OpenSharedMemoryWire(Options(fabric, 2)); }), EFBIG);
  int files = 0;
  DIR* listing = ::opendir(FabricDirectory(fabric).c_str());
  ASSERT_NE(listing, nullptr);
  while (const dirent* entry = ::readdir(listing)) files += entry->d_name[0] != '.';
  ::closedir(listing);
  EXPECT_EQ(files, 2) << "the control block and one port";
}

}  // namespace
}  // namespace qpip::wire::test

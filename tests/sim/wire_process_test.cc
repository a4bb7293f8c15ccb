// Fabrics in shared memory across processes: sleeping, killing, restarting, cleaning up.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <functional>

#include "sim/wire/membership.h"
#include "sim/wire/ring.h"
#include "wire_test_support.h"

namespace qpip::wire::test {
namespace {

/// A forked child. Ends by itself or is killed; never outlives the test.
class Child {
 public:
  /// `body` runs in the child; its result is the exit status. Whatever the child says with Report
  /// is read by WaitForReport.
  explicit Child(const std::function<int(Child&)>& body) {
    if (::pipe(pipe_) != 0) std::abort();
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::_exit(body(*this));
  }
  ~Child() {
    if (pid_ > 0) Kill();
    ::close(pipe_[0]);
    ::close(pipe_[1]);
  }
  void Report() {
    const char byte = 1;
    if (::write(pipe_[1], &byte, 1) != 1) ::_exit(99);
  }
  void WaitForReport() {
    char byte = 0;
    ASSERT_EQ(::read(pipe_[0], &byte, 1), 1);
  }
  int Join() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  void Kill() {
    ::kill(pid_, SIGKILL);
    Join();
  }

 private:
  int pipe_[2] = {-1, -1};
  pid_t pid_ = -1;
};

/// In a child that a test will kill: until then.
[[noreturn]] void WaitToBeKilled() {
  for (;;) ::pause();
}

class ProcessTest : public testing::Test {
 protected:
  std::unique_ptr<Wire> Open(uint8_t last_address_byte) const {
    return OpenSharedMemoryWire(Options(fabric_, last_address_byte));
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    DIR* listing = ::opendir(FabricDirectory(fabric_).c_str());
    if (listing == nullptr) return names;
    while (const dirent* entry = ::readdir(listing)) {
      if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
    }
    ::closedir(listing);
    return names;
  }
  /// Lets a wire look for dead peers, whatever the time is.
  static void CheckLiveness(Wire* wire) {
    static uint64_t now = 0;
    wire->Housekeeping(now += 10'000'000'000);
  }

  const std::string fabric_ = UniqueName();
};

TEST_F(ProcessTest, GivenTwoProcessesWhenTheySleepBetweenFramesThenEachWakesTheOther) {
  constexpr uint64_t kRounds = 500;
  Child child([&](Child& self) {
    auto wire = Open(2);
    self.Report();
    for (uint64_t i = 0; i < kRounds; ++i) {
      InFrame frame;
      if (!ReceiveWithin(wire.get(), &frame)) return 1;
      if (Content(frame) != MakeFrame(Address(2), 41 + i, i)) return 2;
      wire->Release(frame);
      if (!SendWithin(wire.get(), MakeFrame(Address(1), 41 + i, i + 1))) return 3;
    }
    return 0;
  });
  child.WaitForReport();
  auto wire = Open(1);
  for (uint64_t i = 0; i < kRounds; ++i) {
    ASSERT_TRUE(SendWithin(wire.get(), MakeFrame(Address(2), 41 + i, i)));
    InFrame frame;
    ASSERT_TRUE(ReceiveWithin(wire.get(), &frame));
    ASSERT_EQ(Content(frame), MakeFrame(Address(1), 41 + i, i + 1));
    wire->Release(frame);
  }
  EXPECT_EQ(child.Join(), 0);
  InFrame frame;
  ASSERT_TRUE(ReceiveWithin(wire.get(), &frame));
  EXPECT_TRUE(frame.peer_down);
}

TEST_F(ProcessTest, GivenTwoProcessesWhenPayloadIsReferredToThenTheReceiverReadsIt) {
  constexpr size_t kBytes = 30000;
  Child child([&](Child& self) {
    auto wire = Open(2);
    self.Report();
    for (int i = 0; i < 200; ++i) {
      InFrame frame;
      if (!ReceiveWithin(wire.get(), &frame)) return 1;
      Bytes expected = MakeFrame(Address(2), 60, 1);
      expected.resize(60 + kBytes, static_cast<uint8_t>(i));
      if (Content(frame) != expected) return 2;
      wire->Release(frame);
    }
    return 0;
  });
  child.WaitForReport();
  auto wire = Open(1);
  // Three buffers, each filled anew when its lease has ended.
  const Bytes header = MakeFrame(Address(2), 60, 1);
  void* buffers[3];
  uint64_t leases[3] = {};
  for (void*& buffer : buffers) buffer = wire->AllocateShared(kBytes);
  for (int i = 0; i < 200; ++i) {
    while (wire->LeasePending(leases[i % 3])) ::usleep(0);
    std::memset(buffers[i % 3], i, kBytes);
    const iovec piece = {buffers[i % 3], kBytes};
    ASSERT_EQ(wire->Send({header, {&piece, 1}, true}, &leases[i % 3]), SendResult::kSent);
    ASSERT_NE(leases[i % 3], 0u);
    wire->Flush();
  }
  EXPECT_EQ(child.Join(), 0);
}

TEST_F(ProcessTest, GivenAPeerKilledInTheMiddleWhenLookedForThenItsFramesComeAndOnePeerDown) {
  auto wire = Open(1);
  Child child([&](Child& self) {
    auto mine = Open(2);
    for (uint64_t i = 0; i < 10; ++i) SendBytes(mine.get(), MakeFrame(Address(1), 1000, i));
    self.Report();
    WaitToBeKilled();
    return 0;
  });
  child.WaitForReport();
  const Bytes header = MakeFrame(Address(2), 60, 1);
  const iovec piece = {wire->AllocateShared(8192), 8192};
  uint64_t lease = 0;
  ASSERT_EQ(wire->Send({header, {&piece, 1}, true}, &lease), SendResult::kSent);
  CheckLiveness(wire.get());
  EXPECT_TRUE(wire->LeasePending(lease)) << "alive, and has not released it";
  child.Kill();
  CheckLiveness(wire.get());
  EXPECT_FALSE(wire->LeasePending(lease)) << "nobody reads any more";
  EXPECT_EQ(wire->Send({header, {&piece, 1}, true}, &lease), SendResult::kNoRoute);

  InFrame frame;
  for (uint64_t i = 0; i < 10; ++i) {
    ASSERT_TRUE(wire->Receive(&frame));
    EXPECT_EQ(Content(frame), MakeFrame(Address(1), 1000, i));
    wire->Release(frame);
  }
  ASSERT_TRUE(wire->Receive(&frame));
  EXPECT_TRUE(frame.peer_down);
  EXPECT_EQ(frame.peer, Address(2));
  for (int i = 0; i < 3; ++i) {
    CheckLiveness(wire.get());
    EXPECT_FALSE(wire->Receive(&frame)) << "told once";
  }
  EXPECT_EQ(Files().size(), 2u) << "control and our own port; the dead one's file is gone";
}

TEST_F(ProcessTest, GivenManyPortsWhenOneIsKilledThenTheFirstOfThemTellsAllOthers) {
  auto first = Open(1);
  auto second = Open(2);
  auto third = Open(3);
  Child child([&](Child& self) {
    auto mine = Open(4);
    SendBytes(mine.get(), MakeFrame(Address(3), 60, 1));
    self.Report();
    WaitToBeKilled();
    return 0;
  });
  child.WaitForReport();
  InFrame frame;
  ASSERT_TRUE(third->Receive(&frame));
  third->Release(frame);
  child.Kill();
  // Only those in the first two slots look at all others; the third waits to be told.
  CheckLiveness(third.get());
  EXPECT_FALSE(third->Receive(&frame));
  CheckLiveness(second.get());
  ASSERT_TRUE(third->Receive(&frame));
  EXPECT_TRUE(frame.peer_down);
  EXPECT_EQ(frame.peer, Address(4));
}

TEST_F(ProcessTest, GivenAKilledPortWhoseFramesNobodyHasSeenWhenFoundThenSendersAreToldAtOnce) {
  auto first = Open(1);
  auto second = Open(2);
  Child child([&](Child& self) {
    auto mine = Open(3);
    SendBytes(mine.get(), MakeFrame(Address(2), 60, 1));
    self.Report();
    WaitToBeKilled();
    return 0;
  });
  child.WaitForReport();
  ASSERT_EQ(SendBytes(first.get(), MakeFrame(Address(3), 60, 1)), SendResult::kSent);
  child.Kill();
  CheckLiveness(first.get());
  EXPECT_EQ(SendBytes(first.get(), MakeFrame(Address(3), 60, 1)), SendResult::kNoRoute);
  InFrame frame;
  ASSERT_TRUE(second->Receive(&frame));
  EXPECT_EQ(Content(frame), MakeFrame(Address(2), 60, 1)) << "what it had sent is not lost";
  second->Release(frame);
  ASSERT_TRUE(second->Receive(&frame));
  EXPECT_TRUE(frame.peer_down);
}

TEST_F(ProcessTest, GivenBothWatchmenKilledWhenTheOthersLookThenTheyAreFound) {
  const auto watchman = [this](uint8_t address) {
    return std::make_unique<Child>([this, address](Child& self) {
      auto mine = Open(address);
      self.Report();
      WaitToBeKilled();
      return 0;
    });
  };
  auto first = watchman(1);
  first->WaitForReport();
  auto second = watchman(2);
  second->WaitForReport();
  auto third = Open(3);
  auto fourth = Open(4);
  ASSERT_EQ(SendBytes(fourth.get(), MakeFrame(Address(2), 60, 1)), SendResult::kSent);
  first->Kill();
  second->Kill();
  CheckLiveness(fourth.get());
  InFrame frame;
  ASSERT_TRUE(fourth->Receive(&frame));
  EXPECT_TRUE(frame.peer_down);
  EXPECT_EQ(frame.peer, Address(2));
  EXPECT_EQ(Files().size(), 3u) << "control and the two that live";
}

TEST_F(ProcessTest, GivenAKilledPeerWhenItRestartsAtOnceThenOldFramesPeerDownNewFrames) {
  auto wire = Open(1);
  for (uint64_t round = 0; round < 3; ++round) {
    Child child([&](Child& self) {
      auto mine = Open(2);
      SendBytes(mine.get(), MakeFrame(Address(1), 1000, round));
      self.Report();
      WaitToBeKilled();
      return 0;
    });
    child.WaitForReport();
    InFrame frame;
    if (round == 0) {
      ASSERT_TRUE(wire->Receive(&frame));
    } else {
      // Nobody looked for the dead in between: the newcomer's attachment tells of it.
      ASSERT_TRUE(wire->Receive(&frame));
      ASSERT_TRUE(frame.peer_down);
      EXPECT_EQ(frame.peer, Address(2));
      ASSERT_TRUE(wire->Receive(&frame));
    }
    ASSERT_FALSE(frame.peer_down);
    EXPECT_EQ(Content(frame), MakeFrame(Address(1), 1000, round));
    wire->Release(frame);
    child.Kill();
  }
}

TEST_F(ProcessTest, GivenAKilledPeerWhenThePortSleepsUntilHousekeepingThenItLearnsOfTheDeath) {
  auto wire = Open(1);
  Child child([&](Child& self) {
    auto mine = Open(2);
    SendBytes(mine.get(), MakeFrame(Address(1), 40, 1));
    self.Report();
    WaitToBeKilled();
    return 0;
  });
  child.WaitForReport();
  InFrame frame;
  ASSERT_TRUE(ReceiveWithin(wire.get(), &frame));
  wire->Release(frame);
  child.Kill();
  ASSERT_TRUE(ReceiveWithin(wire.get(), &frame)) << "by the real clock";
  EXPECT_TRUE(frame.peer_down);
}

TEST_F(ProcessTest, GivenAnAddressOfAnotherLiveProcessWhenOpeningThenAnErrorUntilItIsKilled) {
  Child child([&](Child& self) {
    auto mine = Open(2);
    self.Report();
    WaitToBeKilled();
    return 0;
  });
  child.WaitForReport();
  EXPECT_THROW(Open(2), std::runtime_error);
  child.Kill();
  EXPECT_NO_THROW(Open(2));
}

TEST_F(ProcessTest, GivenAFabricOfTheDeadWhenOpeningThenItIsRecreatedAndRemovedAtTheEnd) {
  Child child([&](Child& self) {
    auto one = Open(1);
    auto two = Open(2);
    SendBytes(one.get(), MakeFrame(Address(2), 100, 1));
    self.Report();
    WaitToBeKilled();
    return 0;
  });
  child.WaitForReport();
  EXPECT_EQ(Files().size(), 3u);
  child.Kill();
  {
    auto wire = Open(2);
    EXPECT_EQ(Files().size(), 2u);
    InFrame frame;
    EXPECT_FALSE(wire->Receive(&frame)) << "a new port, nothing was sent to it";
    EXPECT_EQ(SendBytes(wire.get(), MakeFrame(Address(1), 100, 1)), SendResult::kNoRoute);
  }
  struct stat status;
  EXPECT_NE(::stat(FabricDirectory(fabric_).c_str(), &status), 0);
}

TEST_F(ProcessTest, GivenADamagedControlFileWhenNobodyLivesThenItIsRecreated) {
  for (const std::string& content : {std::string("short"), std::string(kControlBytes, 'x')}) {
    ASSERT_EQ(::mkdir(FabricDirectory(fabric_).c_str(), 0700), 0);
    std::ofstream(FabricDirectory(fabric_) + "/control") << content;
    std::ofstream(FabricDirectory(fabric_) + "/port.07.99") << "left over";
    auto a = Open(1);
    auto b = Open(2);
    EXPECT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 40, 1)), SendResult::kSent);
    EXPECT_EQ(Files().size(), 3u);
  }
}

TEST_F(ProcessTest, GivenAForeignControlFileWhenItsPortsLiveThenAnErrorSaysWhatToDo) {
  auto wire = Open(1);
  const int fd = ::open((FabricDirectory(fabric_) + "/control").c_str(), O_RDWR);
  const uint32_t version = kLayoutVersion + 1;
  ASSERT_EQ(::pwrite(fd, &version, 4, 8), 4);
  try {
    Open(2);
    ADD_FAILURE() << "attached to an unknown layout";
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find("layout version is " + std::to_string(version)),
              std::string::npos);
    EXPECT_NE(std::string(error.what()).find("close the programs"), std::string::npos);
  }
  ::close(fd);
}

TEST_F(ProcessTest, GivenADirectoryThatOthersMayEnterWhenOpeningThenItIsRefused) {
  ASSERT_EQ(::mkdir(FabricDirectory(fabric_).c_str(), 0700), 0);
  ASSERT_EQ(::chmod(FabricDirectory(fabric_).c_str(), 0777), 0);
  EXPECT_THROW(Open(1), std::runtime_error);
  ::rmdir(FabricDirectory(fabric_).c_str());
}

TEST_F(ProcessTest, GivenProcessesThatComeAndGoWhenSomeAreKilledThenNobodyFailsAndNothingStays) {
  // Each child attaches and leaves over and over; every third is killed while others do.
  std::vector<std::unique_ptr<Child>> children;
  for (uint8_t i = 0; i < 6; ++i) {
    children.push_back(std::make_unique<Child>([&, i](Child& self) {
      const bool to_be_killed = i % 3 == 2;
      for (int round = 0; round < 20 || to_be_killed; ++round) {
        if (to_be_killed && round == 5) self.Report();
        try {
          auto mine = Open(static_cast<uint8_t>(i + 1));
          for (uint8_t other = 1; other <= 6; ++other) {
            SendBytes(mine.get(), MakeFrame(Address(other), 200, i));
          }
          mine->Flush();
          InFrame frame;
          while (mine->Receive(&frame)) {
            if (!frame.peer_down && frame.length != 200) return 1;
            mine->Release(frame);
          }
        } catch (const std::exception& error) {
          std::fprintf(stderr, "port %d, round %d: %s\n", i + 1, round, error.what());
          return 2;
        }
      }
      return 0;
    }));
  }
  for (const size_t victim : {2u, 5u}) {
    children[victim]->WaitForReport();
    children[victim]->Kill();
  }
  for (const size_t other : {0u, 1u, 3u, 4u}) EXPECT_EQ(children[other]->Join(), 0);
  // Whoever attaches to whatever fabric clears away what the dead left of this one.
  OpenSharedMemoryWire(Options(UniqueName(), 1)).reset();
  struct stat status;
  EXPECT_NE(::stat(FabricDirectory(fabric_).c_str(), &status), 0);
}

// --- Nonsense in shared memory

/// The memory of a live port, as another process could scribble on it.
class Scribbler {
 public:
  Scribbler(const std::string& fabric, const std::string& file) {
    const int fd = ::open((FabricDirectory(fabric) + "/" + file).c_str(), O_RDWR);
    address_ = ::mmap(nullptr, kPortMemoryBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    if (address_ == MAP_FAILED) std::abort();
  }
  ~Scribbler() { ::munmap(address_, kPortMemoryBytes); }
  uint8_t* ring(uint32_t destination) {
    return static_cast<uint8_t*>(address_) + RingOffset(destination);
  }

 private:
  void* address_;
};

TEST_F(ProcessTest, GivenACorruptRingWhenReadThenOnePeerDownAndNothingMoreFromIt) {
  auto wire = Open(1);  // slot 0
  auto peer = Open(2);  // slot 1
  Scribbler scribbler(fabric_, PortFileName(1, 1));
  ASSERT_EQ(SendBytes(peer.get(), MakeFrame(Address(1), 100, 1)), SendResult::kSent);
  InFrame frame;
  ASSERT_TRUE(wire->Receive(&frame));
  const uint64_t nonsense = 0x1234567812345678;
  std::memcpy(scribbler.ring(0) + kRingDataOffset + 128, &nonsense, 8);
  InFrame event;
  ASSERT_TRUE(wire->Receive(&event));
  EXPECT_TRUE(event.peer_down);
  EXPECT_EQ(event.peer, Address(2));
  EXPECT_EQ(Content(frame), MakeFrame(Address(1), 100, 1));
  wire->Release(frame);
  EXPECT_FALSE(wire->Receive(&event));
  EXPECT_EQ(SendBytes(wire.get(), MakeFrame(Address(2), 100, 1)), SendResult::kNoRoute);
  EXPECT_EQ(Counter(*wire, "rings_broken"), 1u);
  // Its end is no second event, and its successor is as good as any.
  peer.reset();
  EXPECT_FALSE(wire->Receive(&event));
  peer = Open(2);
  ASSERT_EQ(SendBytes(peer.get(), MakeFrame(Address(1), 100, 2)), SendResult::kSent);
  ASSERT_TRUE(wire->Receive(&frame));
  EXPECT_EQ(Content(frame), MakeFrame(Address(1), 100, 2));
  wire->Release(frame);
}

TEST_F(ProcessTest, GivenACorruptReleasedIndexWhenTheRingFillsThenThePeerIsDown) {
  auto wire = Open(1);
  auto peer = Open(2);
  Scribbler scribbler(fabric_, PortFileName(0, 1));
  ASSERT_EQ(SendBytes(wire.get(), MakeFrame(Address(2), 60000, 1)), SendResult::kSent);
  SharedAt<RingHeader>(scribbler.ring(1))->released.store(uint64_t{1} << 60);
  SendResult result = SendResult::kSent;
  for (int i = 0; i < 100 && result == SendResult::kSent; ++i) {
    result = SendBytes(wire.get(), MakeFrame(Address(2), 60000, 1));
  }
  EXPECT_EQ(result, SendResult::kNoRoute);
  InFrame frame;
  ASSERT_TRUE(wire->Receive(&frame));
  EXPECT_TRUE(frame.peer_down);
}

TEST_F(ProcessTest, GivenRandomScribblesWhenReadThenNoReaderEverLeavesItsBounds) {
  std::mt19937_64 random(99);
  uint64_t broken = 0;
  uint64_t sum = 0;  // of every byte: each has to be readable
  for (int round = 0; round < 60; ++round) {
    auto wire = Open(1);
    auto peer = Open(2);
    Scribbler scribbler(fabric_, PortFileName(1, 1));
    const iovec piece = {peer->AllocateShared(6000), 6000};
    for (uint64_t i = 0; i < 30; ++i) {
      const Bytes header = MakeFrame(Address(1), 60 + i * 13, i);
      uint64_t lease = 0;
      ASSERT_EQ(peer->Send({header, {&piece, 1}, i % 2 == 0}, &lease), SendResult::kSent);
    }
    uint8_t* data = scribbler.ring(0) + kRingDataOffset;
    for (int i = 0; i < 40; ++i) {
      const size_t at = random() % (100 * 1024);
      if (random() % 2 == 0) {
        data[at] = static_cast<uint8_t>(random());
      } else {
        // What looks like an entry, where entries start, with lengths and counts at random.
        const uint64_t commit = uint64_t{0x5150} << 48 | (1 + random() % 2) << 40 |
                                random() % 40 << 32 | random() % 100000;
        std::memcpy(data + at / 64 * 64, &commit, 8);
      }
    }
    InFrame frame;
    while (wire->Receive(&frame) && !frame.peer_down) {
      size_t length = 0;
      for (const uint8_t byte : Content(frame)) sum += byte;
      for (const iovec& each : frame.pieces) length += each.iov_len;
      ASSERT_EQ(length, frame.length);
      ASSERT_LE(frame.length, kMaxFrameBytes);
      ASSERT_GE(frame.pieces[0].iov_len, std::min<size_t>(frame.length, 256));
      wire->Release(frame);
    }
    broken += Counter(*wire, "rings_broken");
  }
  EXPECT_NE(sum, 0u);
  EXPECT_GT(broken, 20u) << "the scribbles did hit";
}

TEST_F(ProcessTest, GivenAStrayNumberOfPortsWhenTheTableChangesThenNobodyLeavesItsArrays) {
  auto wire = Open(1);
  auto peer = Open(2);
  const int fd = ::open((FabricDirectory(fabric_) + "/control").c_str(), O_RDWR);
  ASSERT_GE(fd, 0);
  void* mapped = ::mmap(nullptr, sizeof(ControlBlock), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  ASSERT_NE(mapped, MAP_FAILED);
  auto* control = static_cast<ControlBlock*>(mapped);
  control->slots_used.store(5000);
  control->epoch.fetch_add(1);
  const Bytes frame = MakeFrame(Address(2), 60, 1);
  ASSERT_EQ(SendBytes(wire.get(), frame), SendResult::kSent);
  wire->Flush();
  InFrame got;
  ASSERT_TRUE(ReceiveWithin(peer.get(), &got));
  EXPECT_EQ(Content(got), frame);
  peer->Release(got);
  ::munmap(mapped, sizeof(ControlBlock));
}

TEST_F(ProcessTest, GivenAProcessThatKeepsThePortTableLockedWhenAPortLeavesThenItDoesNotWaitForIt) {
  auto stays = Open(1);
  auto leaves = Open(2);
  Child keeper([&](Child& self) {
    const int fd = ::open((FabricDirectory(fabric_) + "/control").c_str(), O_RDWR);
    struct flock table = {};
    table.l_type = F_WRLCK;
    table.l_start = off_t{1} << 20;
    table.l_len = 1;
    if (::fcntl(fd, F_OFD_SETLKW, &table) != 0) return 1;
    self.Report();
    ::pause();
    return 0;
  });
  keeper.WaitForReport();
  leaves.reset();
  keeper.Kill();
  auto again = Open(2);
  const Bytes frame = MakeFrame(Address(2), 60, 1);
  ASSERT_EQ(SendBytes(stays.get(), frame), SendResult::kSent);
  stays->Flush();
  InFrame got;
  ASSERT_TRUE(ReceiveWithin(again.get(), &got));
  EXPECT_EQ(Content(got), frame);
  again->Release(got);
}

TEST_F(ProcessTest, GivenATruncatedPortFileWhenItsRingIsAcceptedThenThePeerIsDown) {
  auto wire = Open(1);
  auto peer = Open(2);
  const std::string path = FabricDirectory(fabric_) + "/" + PortFileName(1, 1);
  ASSERT_EQ(SendBytes(peer.get(), MakeFrame(Address(1), 60, 1)), SendResult::kSent);
  ASSERT_EQ(::truncate(path.c_str(), static_cast<off_t>(kPortMemoryBytes - 4096)), 0);
  InFrame frame;
  ASSERT_TRUE(wire->Receive(&frame));
  EXPECT_TRUE(frame.peer_down);
  EXPECT_FALSE(wire->Receive(&frame));
  EXPECT_EQ(Counter(*wire, "map_failures"), 1u);
}

}  // namespace
}  // namespace qpip::wire::test

// What a crash, an administrator or a mistake has left of a fabric, or taken away, and a port whose
// only peer dies.
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <filesystem>

#include "sim/wire/membership.h"
#include "wire_test_support.h"

namespace qpip::wire::test {
namespace {

namespace fs = std::filesystem;

class RemainsTest : public testing::Test {
 protected:
  std::unique_ptr<Wire> Open(uint8_t last) {
    auto wire = OpenSharedMemoryWire(Options(fabric_, last));
    wire->ReportTo([this](const abi::Trouble& trouble) { troubles_.push_back(trouble); });
    return wire;
  }
  void TearDown() override { fs::remove_all(FabricDirectory(fabric_)); }

  const std::string fabric_ = UniqueName();
  std::vector<abi::Trouble> troubles_;
};

TEST_F(RemainsTest, GivenADirectoryWithoutAControlFileWhenAnyFabricIsOpenedThenItGoes) {
  const std::string left = FabricDirectory(UniqueName());
  ASSERT_EQ(::mkdir(left.c_str(), 0700), 0);
  auto wire = Open(1);
  EXPECT_FALSE(fs::exists(left));
}

TEST_F(RemainsTest, GivenADirectoryWithoutAControlFileWhenItsFabricIsOpenedThenItIsUsed) {
  ASSERT_EQ(::mkdir(FabricDirectory(fabric_).c_str(), 0700), 0);
  auto a = Open(1), b = Open(2);
  EXPECT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 100, 1)), SendResult::kSent);
}

TEST_F(RemainsTest, GivenProcessesThatMakeAndClearAwayFabricsWhenTheyMeetThenNobodyFails) {
  // What one is about to make a control file in, another takes for left over.
  std::vector<pid_t> children;
  for (uint8_t i = 0; i < 4; ++i) {
    children.push_back(::fork());
    if (children.back() != 0) continue;
    try {
      for (int round = 0; round < 50; ++round) {
        OpenSharedMemoryWire(Options(fabric_ + (round % 2 == 0 ? "" : "x"), i + 1));
      }
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      ::_exit(1);
    }
    ::_exit(0);
  }
  for (const pid_t child : children) {
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
}

TEST_F(RemainsTest,
       GivenAFabricWhoseDirectoryIsRemovedWhenPortsAreOnItThenEachSaysSoOnceAndGoesOn) {
  for (const bool only_the_control_file : {false, true}) {
    auto a = Open(1), b = Open(2);
    uint64_t now_ns = 1;
    a->Housekeeping(now_ns);
    EXPECT_TRUE(troubles_.empty());
    fs::remove_all(FabricDirectory(fabric_) + (only_the_control_file ? "/control" : ""));
    for (int i = 0; i < 10; ++i) a->Housekeeping(now_ns += 1'000'000'000);
    ASSERT_EQ(troubles_.size(), 1u);
    EXPECT_FALSE(troubles_[0].fatal);
    EXPECT_NE(troubles_[0].what.find(FabricDirectory(fabric_) + " has been removed"),
              std::string::npos);
    EXPECT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 100, 1)), SendResult::kSent);
    InFrame frame;
    ASSERT_TRUE(b->Receive(&frame));
    b->Release(frame);
    // Another fabric of that name is none of theirs.
    auto c = OpenSharedMemoryWire(Options(fabric_, 1));
    EXPECT_EQ(SendBytes(c.get(), MakeFrame(Address(2), 100, 1)), SendResult::kNoRoute);
    EXPECT_EQ(SendBytes(a.get(), MakeFrame(Address(2), 100, 2)), SendResult::kSent);
    troubles_.clear();
  }
}

TEST_F(RemainsTest, GivenALonePortWhenAPeerJoinsAndDiesThenItIsToldWithinOnePeriod) {
  auto wire = Open(1);
  const uint64_t now_ns = 1'000'000'000;
  const uint64_t next_ns = wire->Housekeeping(now_ns);
  EXPECT_LE(next_ns - now_ns, 50'000'000u) << "alone";
  const pid_t child = ::fork();
  if (child == 0) {
    auto mine = OpenSharedMemoryWire(Options(fabric_, 2));
    SendBytes(mine.get(), MakeFrame(Address(1), 100, 1));
    ::raise(SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
  InFrame frame;
  ASSERT_TRUE(wire->Receive(&frame));
  wire->Release(frame);
  wire->Housekeeping(next_ns);
  ASSERT_TRUE(wire->Receive(&frame));
  EXPECT_TRUE(frame.peer_down);
}

}  // namespace
}  // namespace qpip::wire::test

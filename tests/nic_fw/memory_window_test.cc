// Memory windows: bound by a work request, used by one peer, taken back by either end.
#include "nic_fw/memory_window.h"

#include "rdma_bench.h"

namespace qpip::fw::test {
namespace {

using abi::SendOpcode;
using iwarp::Cause;
using iwarp::Opcode;
using enum abi::CompletionStatus;

constexpr uint32_t kReadWrite = abi::kAccessRemoteRead | abi::kAccessRemoteWrite;

struct WindowTest : ::testing::Test {
  std::unique_ptr<ScriptedPeer> script = std::make_unique<ScriptedPeer>();
  uint32_t region = 0;
  uint32_t window = 0;
  uint64_t start = 0;

  void SetUp() override { Fresh(); }
  void Fresh() {
    script = std::make_unique<ScriptedPeer>();
    start = script->memory.address();
    region = Register(abi::kAccessLocalWrite | abi::kAccessBindWindow);
    window = Allocate();
  }
  uint32_t Register(uint32_t access, uint32_t domain = 1,
                    uint32_t queue_pair = abi::kAnyQueuePair) {
    abi::Command command;
    command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kRegisterMemory);
    command.register_memory = {start, 8192, start, 0, 0, access, domain, queue_pair, 0};
    return script->nic.Command(command).result[0];
  }
  uint32_t Allocate(uint32_t domain = 1) {
    abi::Command command;
    command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kAllocateWindow);
    command.allocate_window.protection_domain = domain;
    const abi::Event event = script->nic.Command(command);
    EXPECT_EQ(event.status, 0);
    return event.result[0];
  }
  int Deregister(uint32_t key) {
    abi::Command command;
    command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kDeregisterMemory);
    command.deregister_memory.key = key;
    return script->nic.Command(command).status;
  }
  RdmaWork Binding(uint32_t key, uint64_t offset = 1000, uint64_t length = 500,
                   uint32_t access = kReadWrite) {
    return {.opcode = SendOpcode::kBindWindow,
            .remote_address = start + offset,
            .remote_key = key,
            .immediate = window,
            .operand = length,
            .compare = uint64_t{access} << 32 | region};
  }
  /// Status of the work request's completion, or -1.
  int Do(const RdmaWork& work) {
    Post(script->nic, *script->qp, work);
    script->cable.Run();
    const auto done = script->nic.Poll(*script->cq);
    return done.size() == 1 ? Status(done[0]) : -1;
  }
  uint32_t Next(uint8_t low) const { return (window & ~abi::kWindowKeyBits) | low; }
  Cause Why() {
    const auto why = WhyTerminated(script->nic, *script->qp);
    return why.has_value() ? why->cause : Cause::kNone;
  }
};

TEST_F(WindowTest, GivenABoundWindowWhenThePeerUsesItThenItsPartOfTheRegionAndNoMore) {
  const uint32_t key = Next(7);
  ASSERT_EQ(Do(Binding(key)), Status(kSuccess));
  script->Say(script->Write(key, start + 1000, Bytes(500, 5)));
  EXPECT_EQ(Why(), Cause::kNone);
  EXPECT_EQ(script->memory.data()[999], 0);
  EXPECT_EQ(script->memory.data()[1000], 5);
  EXPECT_EQ(script->memory.data()[1499], 5);
  script->Say(script->Read(
      {.sink_stag = 1, .length = 3, .source_stag = key, .source_offset = start + 1497}));
  EXPECT_EQ(script->Hear().size(), 1u);
  script->Say(script->Write(key, start + 1499, Bytes(2, 6)));
  EXPECT_EQ(Why(), Cause::kTaggedBounds);
  EXPECT_EQ(script->memory.data()[1499], 5);
}

TEST_F(WindowTest, GivenAZeroBasedWindowWhenUsedThenOffsetsBeginAtItsStart) {
  const uint32_t key = Next(7);
  ASSERT_EQ(Do(Binding(key, 1000, 500, kReadWrite | abi::kAccessZeroBased)), Status(kSuccess));
  script->Say(script->Write(key, 0, Bytes(1, 5)));
  EXPECT_EQ(script->memory.data()[1000], 5);
}

TEST_F(WindowTest, GivenAWindowWithoutARightWhenUsedForItThenRefused) {
  const uint32_t key = Next(7);
  ASSERT_EQ(Do(Binding(key, 1000, 500, abi::kAccessRemoteRead)), Status(kSuccess));
  script->Say(script->Write(key, start + 1000, Bytes(1, 5)));
  EXPECT_EQ(Why(), Cause::kTaggedInvalidStag);
}

TEST_F(WindowTest, GivenAWindowThatIsNotBoundWhenUsedThenRefused) {
  script->Say(script->Write(window, start + 1000, Bytes(1, 5)));
  EXPECT_EQ(Why(), Cause::kTaggedInvalidStag);
}

TEST_F(WindowTest, GivenABindingWhenItIsPostedInFrontOfASendThenThePeerMayUseItAtOnce) {
  const uint32_t key = Next(9);
  Post(script->nic, *script->qp, Binding(key), false);
  Post(script->nic, *script->qp, {.flags = abi::kSendInline, .bytes = "use it"});
  script->cable.Run();
  ASSERT_EQ(script->Hear().size(), 1u);
  script->Say(script->Write(key, start + 1000, Bytes(1, 5)));
  EXPECT_EQ(script->memory.data()[1000], 5);
}

TEST_F(WindowTest, GivenAWindowWhenThePeerInvalidatesItThenDeadUntilBoundAnew) {
  const uint32_t key = Next(7);
  ASSERT_EQ(Do(Binding(key)), Status(kSuccess));
  script->nic.PostRecv(*script->qp, {SgeOf(script->memory, script->key, 0, 64)});
  script->cable.Run();
  script->Say(script->Send(Bytes(4), Opcode::kSendInvalidate, key));
  const auto received = script->nic.Poll(*script->cq);
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(received[0].key, key);
  const uint32_t again = Next(8);
  ASSERT_EQ(Do(Binding(again, 0, 100)), Status(kSuccess));
  script->Say(script->Write(again, start + 99, Bytes(1, 5)));
  EXPECT_EQ(script->memory.data()[99], 5);
  script->Say(script->Write(key, start + 1000, Bytes(1, 5)));
  EXPECT_EQ(Why(), Cause::kTaggedInvalidStag) << "the old one is none";
}

TEST_F(WindowTest, GivenAWindowWhenInvalidatedHereThenDeadAndNotInvalidTwice) {
  const uint32_t key = Next(7);
  ASSERT_EQ(Do(Binding(key)), Status(kSuccess));
  ASSERT_EQ(Do({.opcode = SendOpcode::kLocalInvalidate, .remote_key = key}), Status(kSuccess));
  script->Say(script->Write(key, start + 1000, Bytes(1, 5)));
  EXPECT_EQ(Why(), Cause::kTaggedInvalidStag);
  Fresh();
  EXPECT_EQ(Do({.opcode = SendOpcode::kLocalInvalidate, .remote_key = window}), Status(kBadKey));
}

TEST_F(WindowTest, GivenWhatGoesWhenAWindowIsBoundToItThenThePeerIsRefused) {
  uint32_t key = Next(7);
  ASSERT_EQ(Do(Binding(key)), Status(kSuccess));
  EXPECT_EQ(Deregister(region), 0);
  script->Say(script->Write(key, start + 1000, Bytes(1, 5)));
  EXPECT_EQ(Why(), Cause::kTaggedInvalidStag);
  EXPECT_EQ(script->memory.data()[1000], 0);
  EXPECT_EQ(Deregister(window), 0) << "by the key that it was allocated with";
  EXPECT_NE(Deregister(window), 0);
  Fresh();
  ASSERT_EQ(Do(Binding(key = Next(7))), Status(kSuccess));
  EXPECT_EQ(Deregister(window), 0);
  script->Say(script->Write(key, start + 1000, Bytes(1, 5)));
  EXPECT_EQ(Why(), Cause::kTaggedInvalidStag);
  EXPECT_EQ(Deregister(region), 0);
}

TEST_F(WindowTest, GivenAWindowWhenItsRegionIsInvalidatedThenItIsDeadToo) {
  const uint32_t key = Next(7);
  ASSERT_EQ(Do(Binding(key)), Status(kSuccess));
  ASSERT_EQ(Do({.opcode = SendOpcode::kLocalInvalidate, .remote_key = region}), Status(kSuccess));
  script->Say(script->Write(key, start + 1000, Bytes(1, 5)));
  EXPECT_EQ(Why(), Cause::kTaggedInvalidStag);
  EXPECT_EQ(script->memory.data()[1000], 0);
}

TEST_F(WindowTest, GivenAWindowOfOneQueuePairWhenAnotherIsItsPeersThenNotAssociated) {
  const uint32_t key = Next(7);
  ASSERT_EQ(Do(Binding(key)), Status(kSuccess));
  const Nic nic(script->nic.arena.data(), script->nic.hardware.platform(), script->nic.now);
  const StreamOf own = {script->qp->handle, 1};
  const StreamOf other = {script->qp->handle + 1, 1};
  const RemoteAccess access = {key, start + 1000, 1, abi::kAccessRemoteRead};
  EXPECT_EQ(CheckRemote(nic, own, access), iwarp::AccessVerdict::kGranted);
  EXPECT_EQ(CheckRemote(nic, other, access), iwarp::AccessVerdict::kNotAssociated);
  // Nor is it for lists of this end.
  EXPECT_EQ(Do({.list = {{start + 1000, 1, key}}}), Status(kLocalProtectionError));
}

TEST_F(WindowTest, GivenBindingsThatMayNotBeWhenPostedThenEachFails) {
  struct Case {
    const char* name;
    std::function<RdmaWork(WindowTest&)> make;
  };
  const Case cases[] = {
      {"beyond the end", [](WindowTest& t) { return t.Binding(t.Next(1), 8000, 193); }},
      {"before the start", [](WindowTest& t) { return t.Binding(t.Next(1), ~uint64_t{0}, 1); }},
      {"nothing", [](WindowTest& t) { return t.Binding(t.Next(1), 0, 0); }},
      {"wraps", [](WindowTest& t) { return t.Binding(t.Next(1), 16, ~uint64_t{0} - 7); }},
      {"another window's key", [](WindowTest& t) { return t.Binding(t.Next(1) ^ 0x100); }},
      {"another domain's window",
       [](WindowTest& t) {
         t.window = t.Allocate(2);
         return t.Binding(t.Next(1));
       }},
      {"another domain's region",
       [](WindowTest& t) {
         t.region = t.Register(abi::kAccessLocalWrite | abi::kAccessBindWindow, 2);
         return t.Binding(t.Next(1));
       }},
      {"a region that does not allow it",
       [](WindowTest& t) {
         t.region = t.Register(abi::kAccessLocalWrite);
         return t.Binding(t.Next(1));
       }},
      {"writing what may only be read",
       [](WindowTest& t) {
         t.region = t.Register(abi::kAccessBindWindow);
         return t.Binding(t.Next(1));
       }},
      {"rights that are none",
       [](WindowTest& t) { return t.Binding(t.Next(1), 0, 1, abi::kAccessLocalWrite); }},
      {"a region that is none",
       [](WindowTest& t) {
         t.region ^= 1;
         return t.Binding(t.Next(1));
       }},
      {"a window of a window",
       [](WindowTest& t) {
         EXPECT_EQ(t.Do(t.Binding(t.Next(1))), Status(kSuccess));
         t.region = t.Next(1);
         t.window = t.Allocate();
         return t.Binding(t.Next(1), 0, 1);
       }},
      {"one that is bound",
       [](WindowTest& t) {
         EXPECT_EQ(t.Do(t.Binding(t.Next(1))), Status(kSuccess));
         return t.Binding(t.Next(2));
       }},
      {"a region's key as a window",
       [](WindowTest& t) {
         t.window = t.region;
         return t.Binding(t.Next(1));
       }},
  };
  for (const Case& c : cases) {
    Fresh();
    EXPECT_EQ(Do(c.make(*this)), Status(kBadKey)) << c.name;
  }
}

TEST_F(WindowTest, GivenAPagedRegionWhenAWindowBeginsInALaterPageThenItsBytesAreThere) {
  HostMemory pages(script->nic.hardware, 6 * 4096);
  const uint64_t first = (pages.address() + 4095) & ~uint64_t{4095};
  HostMemory list(script->nic.hardware, 64);
  const uint64_t order[] = {first + 3 * 4096, first, first + 2 * 4096, first + 4096};
  std::memcpy(list.data(), order, sizeof(order));
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kRegisterMemory);
  command.register_memory = {0x10000100,
                             4 * 4096 - 0x100,
                             list.address(),
                             4,
                             12,
                             abi::kAccessLocalWrite | abi::kAccessBindWindow,
                             1};
  region = script->nic.Command(command).result[0];
  start = 0x10000100;
  const uint32_t key = Next(3);
  ASSERT_EQ(Do(Binding(key, 4096, 8000)), Status(kSuccess));
  script->Say(script->Write(key, start + 4096, Bytes(1, 5)));
  script->Say(script->Write(key, start + 4096 + 7999, Bytes(1, 6)));
  EXPECT_EQ(Why(), Cause::kNone);
  EXPECT_EQ(*reinterpret_cast<uint8_t*>(first + 0x100), 5) << "the second page of the list";
  EXPECT_EQ(*reinterpret_cast<uint8_t*>(first + 4096 + 63), 6) << "the last one";
  EXPECT_EQ(script->nic.hardware.illegal_accesses, 0u);
}

TEST_F(WindowTest, GivenATableThatIsFullWhenAWindowIsAllocatedThenNoResource) {
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kAllocateWindow);
  uint32_t allocated = 0;
  while (script->nic.Command(command).status == 0) ++allocated;
  EXPECT_GT(allocated, 100u);
  EXPECT_EQ(Deregister(window), 0);
  EXPECT_EQ(script->nic.Command(command).status, 0);
}

}  // namespace
}  // namespace qpip::fw::test

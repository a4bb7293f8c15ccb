// Who may reach which memory: rights, domain, bounds, queue pair, keys that are dead; of peers and
// of this end's own lists. Each refused with the right Terminate, and on the right work request.
#include <tuple>

#include "rdma_bench.h"

namespace qpip::fw::test {
namespace {

using abi::SendOpcode;
using iwarp::Cause;
using enum abi::CompletionStatus;

constexpr uint32_t kBytes = 4096;

enum class Fault {
  kNone,
  kNoRight,
  kOtherDomain,
  kOtherQueuePair,
  kBefore,
  kBehind,
  kAcrossTheEnd,
  kWraps,
  kInvalidated,
  kDeregistered,
  kUnknownKey,
  kMisaligned,
};

const char* Name(Fault fault) {
  constexpr const char* kNames[] = {"none",        "no_right",     "other_domain", "other_qp",
                                    "before",      "behind",       "across_end",   "wraps",
                                    "invalidated", "deregistered", "unknown_key",  "misaligned"};
  return kNames[static_cast<int>(fault)];
}

/// What the RFCs have for it, of a tagged message and of a request.
Cause Expected(Fault fault, SendOpcode opcode) {
  const bool tagged = opcode == SendOpcode::kRdmaWrite;
  switch (fault) {
    case Fault::kNone:
      return Cause::kNone;
    case Fault::kNoRight:
      return tagged ? Cause::kTaggedInvalidStag : Cause::kAccessViolation;
    case Fault::kOtherDomain:
    case Fault::kOtherQueuePair:
      return tagged ? Cause::kTaggedNotAssociated : Cause::kStagNotAssociated;
    case Fault::kBefore:
    case Fault::kBehind:
    case Fault::kAcrossTheEnd:
      return tagged ? Cause::kTaggedBounds : Cause::kBoundsViolation;
    case Fault::kWraps:
      return tagged ? Cause::kTaggedWrap : Cause::kOffsetWrap;
    case Fault::kMisaligned:
      return Cause::kStreamCatastrophic;
    default:
      return tagged ? Cause::kTaggedInvalidStag : Cause::kInvalidStag;
  }
}

uint32_t RightOf(SendOpcode opcode) {
  if (opcode == SendOpcode::kRdmaWrite) return abi::kAccessRemoteWrite;
  return opcode == SendOpcode::kRdmaRead ? abi::kAccessRemoteRead : abi::kAccessRemoteAtomic;
}

void Deregister(FirmwareBench& bench, uint32_t key) {
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kDeregisterMemory);
  command.deregister_memory.key = key;
  ASSERT_EQ(bench.Command(command).status, 0);
}

struct RegionSpec {
  uint32_t access = kEveryRight;
  uint32_t domain = 1;
  uint32_t queue_pair = abi::kAnyQueuePair;
};
uint32_t RegisterAs(FirmwareBench& bench, const HostMemory& memory, const RegionSpec& spec) {
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kRegisterMemory);
  abi::RegisterMemory& request = command.register_memory;
  request.iova = request.page_list = memory.address();
  request.length = memory.size();
  request.access = spec.access;
  request.protection_domain = spec.domain;
  request.queue_pair = spec.queue_pair;
  const abi::Event event = bench.Command(command);
  EXPECT_EQ(event.status, 0);
  return event.result[0];
}

// --- Of peers

struct RemoteMatrix : ::testing::TestWithParam<std::tuple<SendOpcode, Fault>> {
  RdmaPair pair;
  HostMemory target{pair.b.hardware, kBytes};
  uint32_t key = 0;
  uint64_t address = target.address() + 64;

  /// The region, and what is wrong with it or with the address.
  void Spoil(SendOpcode opcode, Fault fault) {
    RegionSpec spec;
    if (fault == Fault::kNoRight) spec.access &= ~RightOf(opcode);
    QpSpec other_spec = RdmaQp();
    if (fault == Fault::kOtherDomain) spec.domain = 2;
    std::unique_ptr<TestQp> other;
    if (fault == Fault::kOtherQueuePair) {
      other_ = pair.b.CreateQp(*pair.cq_b, other_spec);
      spec.queue_pair = other_->handle;
    }
    if (fault == Fault::kInvalidated) spec.queue_pair = pair.qp_b->handle;
    key = RegisterAs(pair.b, target, spec);
    switch (fault) {
      case Fault::kBefore:
        address = target.address() - 8;
        break;
      case Fault::kBehind:
        address = target.address() + kBytes;
        break;
      case Fault::kAcrossTheEnd:
        address = target.address() + kBytes - 4;
        if (opcode == SendOpcode::kAtomicFetchAdd) address = target.address() + kBytes - 4;
        break;
      case Fault::kWraps:
        address = ~uint64_t{0} - 3;
        break;
      case Fault::kMisaligned:
        address += 4;
        break;
      case Fault::kDeregistered:
        Deregister(pair.b, key);
        break;
      case Fault::kUnknownKey:
        key ^= 0x5a5a;
        break;
      case Fault::kInvalidated:
        Post(pair.b, *pair.qp_b, {.opcode = SendOpcode::kLocalInvalidate, .remote_key = key});
        pair.cable.Run();
        ASSERT_EQ(pair.b.Poll(*pair.cq_b).size(), 1u);
        break;
      default:
        break;
    }
  }
  std::unique_ptr<TestQp> other_;
};

TEST_P(RemoteMatrix, GivenAccessWhenNotGrantedThenTerminatedAndTheRequestSaysSo) {
  const auto [opcode, fault] = GetParam();
  Spoil(opcode, fault);
  const uint32_t good = RegisterAs(pair.b, pair.memory_b, {});
  const abi::Sge own = SgeOf(pair.memory_a, pair.key_a, 0, 8);
  const RdmaWork fine = {.opcode = SendOpcode::kRdmaWrite,
                         .list = {own},
                         .remote_address = pair.memory_b.address(),
                         .remote_key = good};
  std::memset(target.data(), 0x77, kBytes);
  Post(pair.a, *pair.qp_a, fine);
  pair.cable.Run();
  Post(pair.a, *pair.qp_a,
       {.opcode = opcode, .list = {own}, .remote_address = address, .remote_key = key});
  Post(pair.a, *pair.qp_a, fine);
  pair.cable.Advance(200 * kMs);
  const auto done = pair.a.Poll(*pair.cq_a);
  ASSERT_EQ(done.size(), 3u);
  EXPECT_EQ(Status(done[0]), Status(kSuccess));
  const auto there = WhyTerminated(pair.b, *pair.qp_b);
  const auto here = WhyTerminated(pair.a, *pair.qp_a);
  if (fault == Fault::kNone) {
    EXPECT_EQ(Status(done[1]), Status(kSuccess));
    EXPECT_EQ(Status(done[2]), Status(kSuccess));
    EXPECT_FALSE(there.has_value());
    return;
  }
  const bool operation = fault == Fault::kMisaligned;
  EXPECT_EQ(Status(done[1]), Status(operation ? kRemoteOperationError : kRemoteAccessError));
  EXPECT_EQ(Status(done[2]), Status(kFlushed));
  ASSERT_TRUE(there.has_value() && here.has_value());
  EXPECT_STREQ(iwarp::CauseName(there->cause), iwarp::CauseName(Expected(fault, opcode)));
  EXPECT_EQ(here->cause, there->cause);
  EXPECT_TRUE(here->by_peer);
  EXPECT_FALSE(there->by_peer);
  for (uint32_t i = 0; i < kBytes; ++i) ASSERT_EQ(target.data()[i], 0x77) << "a stray byte";
  EXPECT_EQ(pair.b.hardware.illegal_accesses, 0u);
  EXPECT_EQ(pair.a.hardware.illegal_accesses, 0u);
}

std::string RemoteName(const ::testing::TestParamInfo<RemoteMatrix::ParamType>& test) {
  const SendOpcode opcode = std::get<0>(test.param);
  const char* what = opcode == SendOpcode::kRdmaWrite  ? "write_"
                     : opcode == SendOpcode::kRdmaRead ? "read_"
                                                       : "atomic_";
  return what + std::string(Name(std::get<1>(test.param)));
}

INSTANTIATE_TEST_SUITE_P(
    All, RemoteMatrix,
    ::testing::Combine(::testing::Values(SendOpcode::kRdmaWrite, SendOpcode::kRdmaRead,
                                         SendOpcode::kAtomicFetchAdd),
                       ::testing::Values(Fault::kNone, Fault::kNoRight, Fault::kOtherDomain,
                                         Fault::kOtherQueuePair, Fault::kBefore, Fault::kBehind,
                                         Fault::kAcrossTheEnd, Fault::kWraps, Fault::kInvalidated,
                                         Fault::kDeregistered, Fault::kUnknownKey)),
    RemoteName);
INSTANTIATE_TEST_SUITE_P(Aligned, RemoteMatrix,
                         ::testing::Values(std::make_tuple(SendOpcode::kAtomicFetchAdd,
                                                           Fault::kMisaligned)),
                         RemoteName);

// --- Of this end's own lists

enum class Use { kSend, kWrite, kReadSink, kAtomicSink, kReceive };

struct LocalMatrix : ::testing::TestWithParam<std::tuple<Use, Fault>> {
  RdmaPair pair;
  HostMemory own{pair.a.hardware, kBytes};
};

TEST_P(LocalMatrix, GivenAListWhenItMayNotBeUsedThenTheRequestFailsAndNothingIsTouched) {
  const auto [use, fault] = GetParam();
  const bool written = use == Use::kReadSink || use == Use::kAtomicSink || use == Use::kReceive;
  RegionSpec spec;
  if (fault == Fault::kNoRight) spec.access = abi::kAccessRemoteRead;
  if (fault == Fault::kOtherDomain) spec.domain = 2;
  uint32_t key = RegisterAs(pair.a, own, spec);
  abi::Sge sge = {own.address(), 8, key};
  if (fault == Fault::kBefore) sge.address -= 8;
  if (fault == Fault::kBehind) sge.address += kBytes;
  if (fault == Fault::kAcrossTheEnd) sge.address += kBytes - 4;
  if (fault == Fault::kWraps) sge.address = ~uint64_t{0} - 3;
  if (fault == Fault::kUnknownKey) sge.key ^= 0x5a5a;
  if (fault == Fault::kDeregistered) Deregister(pair.a, key);
  if (fault == Fault::kInvalidated) {
    Post(pair.a, *pair.qp_a, {.opcode = SendOpcode::kLocalInvalidate, .remote_key = key});
    pair.cable.Run();
    ASSERT_EQ(pair.a.Poll(*pair.cq_a).size(), 1u);
  }
  std::memset(own.data(), 0x77, kBytes);
  const bool may = fault == Fault::kNone || (fault == Fault::kNoRight && !written);
  const abi::Sge remote = SgeOf(pair.memory_b, pair.key_b, 64, 8);
  pair.b.PostRecv(*pair.qp_b, {remote});
  pair.cable.Run();
  RdmaWork work = {.list = {sge}, .remote_address = remote.address, .remote_key = remote.key};
  switch (use) {
    case Use::kSend:
      break;
    case Use::kWrite:
      work.opcode = SendOpcode::kRdmaWrite;
      break;
    case Use::kReadSink:
      work.opcode = SendOpcode::kRdmaRead;
      break;
    case Use::kAtomicSink:
      work.opcode = SendOpcode::kAtomicFetchAdd;
      break;
    case Use::kReceive:
      pair.a.PostRecv(*pair.qp_a, {sge});
      pair.cable.Run();
      Post(pair.b, *pair.qp_b, {.list = {remote}});
      break;
  }
  if (use != Use::kReceive) Post(pair.a, *pair.qp_a, work);
  pair.cable.Advance(200 * kMs);
  const auto done = pair.a.Poll(*pair.cq_a);
  ASSERT_EQ(done.size(), 1u);
  if (may) {
    EXPECT_EQ(Status(done[0]), Status(kSuccess));
  } else if (use == Use::kReceive) {
    // The peer's Send is refused; whose fault it is stays here.
    EXPECT_NE(Status(done[0]), Status(kSuccess));
  } else {
    EXPECT_EQ(Status(done[0]), Status(kLocalProtectionError));
  }
  if (!may) {
    for (uint32_t i = 0; i < kBytes; ++i) ASSERT_EQ(own.data()[i], 0x77) << "a stray byte";
  }
  EXPECT_EQ(pair.a.hardware.illegal_accesses, 0u);
  EXPECT_EQ(pair.b.hardware.illegal_accesses, 0u);
}

std::string LocalName(const ::testing::TestParamInfo<LocalMatrix::ParamType>& test) {
  constexpr const char* kUses[] = {"send_", "write_", "read_sink_", "atomic_sink_", "receive_"};
  return kUses[static_cast<int>(std::get<0>(test.param))] +
         std::string(Name(std::get<1>(test.param)));
}

INSTANTIATE_TEST_SUITE_P(
    All, LocalMatrix,
    ::testing::Combine(
        ::testing::Values(Use::kSend, Use::kWrite, Use::kReadSink, Use::kAtomicSink, Use::kReceive),
        ::testing::Values(Fault::kNone, Fault::kNoRight, Fault::kOtherDomain, Fault::kBefore,
                          Fault::kBehind, Fault::kAcrossTheEnd, Fault::kWraps, Fault::kInvalidated,
                          Fault::kDeregistered, Fault::kUnknownKey)),
    LocalName);

}  // namespace
}  // namespace qpip::fw::test

// Keys of registered memory, and what peers may do by them.
#include "nic_fw/remote_access.h"

#include <map>
#include <set>

#include "nic_fw/memory.h"
#include "nic_fw/memory_key.h"
#include "test_support.h"

namespace qpip::fw::test {
namespace {

using iwarp::AccessVerdict;
using enum iwarp::AccessVerdict;

constexpr uint32_t kAllRights = abi::kAccessLocalWrite | abi::kAccessRemoteWrite |
                                abi::kAccessRemoteRead | abi::kAccessRemoteAtomic;

NicConfig FewRegions() {
  NicConfig config = FirmwareBench::DefaultConfig();
  config.max_regions = 8;
  return config;
}

struct RemoteAccessTest : ::testing::Test {
  FirmwareBench bench{1, FewRegions()};
  std::unique_ptr<TestCq> cq = bench.CreateCq();
  std::unique_ptr<TestQp> qp = bench.CreateQp(*cq);
  std::unique_ptr<TestQp> other_qp = bench.CreateQp(*cq);
  HostMemory memory{bench.hardware, 4096};
  const uint64_t start = memory.address();

  Nic View() { return {bench.arena.data(), bench.hardware.platform(), bench.now}; }
  abi::RegisterMemory Request(uint32_t access) const {
    abi::RegisterMemory request;
    request.iova = start;
    request.length = 4096;
    request.page_list = start;
    request.access = access;
    request.protection_domain = 1;
    return request;
  }
  abi::Event Register(const abi::RegisterMemory& request) {
    abi::Command command;
    command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kRegisterMemory);
    command.register_memory = request;
    return bench.Command(command);
  }
  uint32_t KeyFor(uint32_t access) { return Register(Request(access)).result[0]; }
  uint32_t BoundKey(uint32_t access, const TestQp& to) {
    abi::RegisterMemory request = Request(access);
    request.queue_pair = to.handle;
    return Register(request).result[0];
  }
  int Deregister(uint32_t key) {
    abi::Command command;
    command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kDeregisterMemory);
    command.deregister_memory.key = key;
    return bench.Command(command).status;
  }
  StreamOf Stream() const { return {qp->handle, 1}; }
  AccessVerdict Check(uint32_t key, uint64_t offset, uint32_t length,
                      uint32_t rights = abi::kAccessRemoteRead) {
    return CheckRemote(View(), Stream(), {key, offset, length, rights});
  }
};

constexpr int kOk = static_cast<int>(abi::CommandStatus::kOk);
constexpr int kBadCommand = static_cast<int>(abi::CommandStatus::kBadCommand);
constexpr int kBadHandle = static_cast<int>(abi::CommandStatus::kBadHandle);
constexpr int kNoResource = static_cast<int>(abi::CommandStatus::kNoResource);

// --- Keys

TEST_F(RemoteAccessTest, GivenASlotWhenRegisteredForEverThenNoKeyComesRoundInThousands) {
  std::map<uint32_t, std::set<uint32_t>> tags;
  for (int i = 0; i < 8 * 3000; ++i) {
    const uint32_t key = KeyFor(0);
    ASSERT_TRUE(tags[key >> 16].insert(key & 0xffff).second) << i;
    ASSERT_EQ(Deregister(key), kOk);
  }
  EXPECT_EQ(tags.size(), 8u);
}

TEST_F(RemoteAccessTest, GivenAllRegistrationsOfASlotWhenKeysAreMadeThenEachTagOnce) {
  const Nic nic = View();
  std::set<uint32_t> tags, zeroth;
  for (uint32_t i = 0; i < 65536 * 8; ++i) {
    const uint32_t index = TakeRegion(nic);
    if (index == 3) tags.insert(KeyOf(nic, index) & 0xffff);
    if (index == 0) zeroth.insert(KeyOf(nic, index) & 0xffff);
    FreeRegion(nic, index);
  }
  EXPECT_EQ(tags.size(), 65536u);
  EXPECT_EQ(zeroth.size(), 65535u);
  EXPECT_FALSE(zeroth.contains(0)) << "no key is zero";
}

TEST_F(RemoteAccessTest, GivenKeysOfOneSlotWhenSeenThenTheNextDoesNotFollowFromThem) {
  // A counter would have one difference, a generation that is added to a secret as well.
  std::set<uint32_t> differences;
  uint32_t last = 0;
  for (int i = 0; i < 8 * 200; ++i) {
    const uint32_t key = KeyFor(0);
    if (key >> 16 == 3) {
      differences.insert((key - last) & 0xffff);
      last = key;
    }
    Deregister(key);
  }
  EXPECT_GT(differences.size(), 150u);
}

TEST_F(RemoteAccessTest, GivenAnotherSecretWhenTheSameIsRegisteredThenOtherKeys) {
  const Nic nic = View();
  std::set<uint32_t> keys;
  for (int i = 0; i < 8; ++i) keys.insert(KeyFor(0));
  ASSERT_EQ(keys.size(), 8u);
  for (const uint32_t key : keys) Deregister(key);
  nic.state.isn_key.k0 ^= 1;
  for (uint32_t i = 0; i < 8; ++i) nic.region(i).uses = 0;
  int same = 0;
  for (int i = 0; i < 8; ++i) same += static_cast<int>(keys.count(KeyFor(0)));
  EXPECT_LE(same, 1);
}

TEST_F(RemoteAccessTest, GivenAFreedSlotWhenOthersAreFreeThenItIsTakenLast) {
  const uint32_t first = KeyFor(0);
  ASSERT_EQ(Deregister(first), kOk);
  for (int i = 0; i < 7; ++i) EXPECT_NE(KeyFor(0) >> 16, first >> 16);
  EXPECT_EQ(KeyFor(0) >> 16, first >> 16);
  EXPECT_EQ(Register(Request(0)).status, kNoResource);
}

TEST_F(RemoteAccessTest, GivenAnyKeyButTheRightOneWhenTriedThenInvalid) {
  const uint32_t key = KeyFor(kAllRights);
  EXPECT_EQ(Check(key, start, 1), kGranted);
  int good = 0;
  for (uint32_t tag = 0; tag < 65536; ++tag) {
    good += Check((key & 0xffff0000) | tag, start, 1) == kGranted ? 1 : 0;
  }
  EXPECT_EQ(good, 1);
  EXPECT_EQ(Check(key + (8u << 16), start, 1), kInvalidStag);
  EXPECT_EQ(Check(0, start, 1), kInvalidStag);
}

TEST_F(RemoteAccessTest, GivenADeregisteredKeyWhenTriedThenInvalidForEver) {
  const uint32_t key = KeyFor(kAllRights);
  ASSERT_EQ(Deregister(key), kOk);
  EXPECT_EQ(Check(key, start, 1), kInvalidStag);
  for (int i = 0; i < 100; ++i) {
    const uint32_t next = KeyFor(kAllRights);
    ASSERT_EQ(Check(key, start, 1), kInvalidStag);
    Deregister(next);
  }
  EXPECT_EQ(Deregister(key), kBadHandle);
}

TEST_F(RemoteAccessTest, GivenTooManyRegionsWhenFormattedThenRefused) {
  NicConfig config = FirmwareBench::DefaultConfig();
  ArenaBytes bytes;
  config.max_regions = kMostRegions;
  EXPECT_NE(qpip_fw_arena(&config, &bytes), 0u);
  config.max_regions = kMostRegions + 1;
  EXPECT_EQ(qpip_fw_arena(&config, &bytes), 0u);
}

// --- Rights

TEST_F(RemoteAccessTest, GivenEveryCombinationOfRightsWhenAskedThenGrantedExactlyWhenRegistered) {
  const uint32_t kinds[] = {abi::kAccessRemoteRead, abi::kAccessRemoteWrite,
                            abi::kAccessRemoteAtomic};
  for (uint32_t access = 0; access < 16; ++access) {
    const abi::Event answer = Register(Request(access));
    const bool writes = (access & (abi::kAccessRemoteWrite | abi::kAccessRemoteAtomic)) != 0;
    if (writes && (access & abi::kAccessLocalWrite) == 0) {
      EXPECT_EQ(answer.status, kBadCommand);
      continue;
    }
    ASSERT_EQ(answer.status, kOk);
    for (const uint32_t kind : kinds) {
      EXPECT_EQ(Check(answer.result[0], start, 8, kind),
                (access & kind) != 0 ? kGranted : kNoRight);
    }
    Deregister(answer.result[0]);
  }
}

TEST_F(RemoteAccessTest, GivenRightsForTheHostAloneWhenAPeerAsksThenNone) {
  EXPECT_EQ(Check(KeyFor(abi::kAccessLocalWrite), start, 1), kNoRight);
}

// --- Bounds

TEST_F(RemoteAccessTest, GivenRangesWhenAskedByAddressThenOnlyThoseOfTheRegion) {
  const uint32_t key = KeyFor(kAllRights);
  EXPECT_EQ(Check(key, start, 4096), kGranted);
  EXPECT_EQ(Check(key, start + 4095, 1), kGranted);
  EXPECT_EQ(Check(key, start + 4095, 2), kBounds);
  EXPECT_EQ(Check(key, start + 4096, 1), kBounds);
  EXPECT_EQ(Check(key, start - 1, 1), kBounds);
  EXPECT_EQ(Check(key, start - 1, 4096), kBounds);
  EXPECT_EQ(Check(key, 0, 1), kBounds);
  EXPECT_EQ(Check(key, start, 0xffffffff), kBounds);
  EXPECT_EQ(Check(key, ~uint64_t{0} - 4, 10), kWrap);
  EXPECT_EQ(Check(key, ~uint64_t{0} - 4, 4), kBounds);
}

TEST_F(RemoteAccessTest, GivenAZeroBasedRegionWhenAskedThenOffsetsBeginAtZero) {
  const uint32_t key = KeyFor(kAllRights | abi::kAccessZeroBased);
  EXPECT_EQ(Check(key, 0, 4096), kGranted);
  EXPECT_EQ(Check(key, 4095, 1), kGranted);
  EXPECT_EQ(Check(key, 4095, 2), kBounds);
  EXPECT_EQ(Check(key, start, 1), kBounds);
  EXPECT_EQ(Check(key, ~uint64_t{0}, 1), kWrap);
}

TEST_F(RemoteAccessTest, GivenAnAtomicOperationWhenItsAddressIsNoMultipleOfEightThenMisaligned) {
  const uint32_t key = KeyFor(kAllRights);
  for (uint32_t i = 0; i < 16; ++i) {
    EXPECT_EQ(Check(key, start + i, 8, abi::kAccessRemoteAtomic),
              i % 8 == 0 ? kGranted : kMisaligned);
    EXPECT_EQ(Check(key, start + i, 8), kGranted);
  }
  // Of a zero-based region it is the address that counts, not the offset.
  abi::RegisterMemory request = Request(kAllRights | abi::kAccessZeroBased);
  request.iova = request.page_list = start + 4;
  request.length = 64;
  const uint32_t zero_based = Register(request).result[0];
  EXPECT_EQ(Check(zero_based, 0, 8, abi::kAccessRemoteAtomic), kMisaligned);
  EXPECT_EQ(Check(zero_based, 4, 8, abi::kAccessRemoteAtomic), kGranted);
}

// --- Whose

TEST_F(RemoteAccessTest, GivenAnotherDomainWhenAskedThenNotAssociated) {
  abi::RegisterMemory request = Request(kAllRights);
  request.protection_domain = 2;
  EXPECT_EQ(Check(Register(request).result[0], start, 1), kNotAssociated);
}

TEST_F(RemoteAccessTest, GivenAKeyBoundToAQueuePairWhenAnotherAsksThenNotAssociated) {
  const uint32_t key = BoundKey(kAllRights, *qp);
  EXPECT_EQ(Check(key, start, 1), kGranted);
  EXPECT_EQ(CheckRemote(View(), {other_qp->handle, 1}, {key, start, 1, 0}), kNotAssociated);
}

TEST_F(RemoteAccessTest, GivenAQueuePairThatIsNoneOfTheDomainsWhenBoundToThenRefused) {
  abi::RegisterMemory request = Request(kAllRights);
  request.queue_pair = 999999;
  EXPECT_EQ(Register(request).status, kBadHandle);
  request.queue_pair = qp->handle;
  request.protection_domain = 2;
  EXPECT_EQ(Register(request).status, kBadHandle);
}

TEST_F(RemoteAccessTest, GivenABoundKeyWhenItsQueuePairIsDestroyedThenItIsDeadAndCanBeGivenBack) {
  const uint32_t key = BoundKey(kAllRights, *qp);
  const uint32_t free_key = KeyFor(kAllRights);
  ASSERT_EQ(bench.QpCommand(abi::CommandOpcode::kDestroyQp, *qp).status, kOk);
  const std::unique_ptr<TestQp> successor = bench.CreateQp(*cq);
  ASSERT_EQ(successor->handle, qp->handle);  // the handle is used again
  EXPECT_EQ(Check(key, start, 1), kInvalidStag);
  EXPECT_EQ(Check(free_key, start, 1), kGranted);
  EXPECT_EQ(Deregister(key), kOk);
  EXPECT_EQ(View().state.bound_regions, 0u);
}

TEST_F(RemoteAccessTest, GivenAnIovaThatHidesWhereTheMemoryLiesWhenUsedAtomicallyThenMisaligned) {
  abi::RegisterMemory request = Request(kAllRights);
  request.page_list = start + 4;
  request.length = 4088;
  const uint32_t key = Register(request).result[0];
  EXPECT_EQ(Check(key, start, 8, abi::kAccessRemoteAtomic), kMisaligned);
  EXPECT_EQ(Check(key, start + 4, 8, abi::kAccessRemoteAtomic), kMisaligned);
  EXPECT_EQ(Check(key, start, 8, abi::kAccessRemoteRead), kGranted);
}

// --- Invalidating

TEST_F(RemoteAccessTest, GivenASharedKeyWhenAPeerInvalidatesThenRefusedAndItStaysGood) {
  const uint32_t key = KeyFor(kAllRights);
  EXPECT_EQ(Invalidate(View(), Stream(), key, true), kNoRight);
  EXPECT_EQ(Check(key, start, 1), kGranted);
}

TEST_F(RemoteAccessTest, GivenABoundKeyWhenItsPeerInvalidatesThenDeadOnceAndForEver) {
  const uint32_t key = BoundKey(kAllRights, *qp);
  EXPECT_EQ(Invalidate(View(), {other_qp->handle, 1}, key, true), kNotAssociated);
  EXPECT_EQ(Invalidate(View(), Stream(), key, true), kGranted);
  EXPECT_EQ(Check(key, start, 1), kInvalidStag);
  EXPECT_EQ(Invalidate(View(), Stream(), key, true), kInvalidStag);
  EXPECT_EQ(Deregister(key), kOk);
}

TEST_F(RemoteAccessTest, GivenAnyKeyOfTheDomainWhenTheHostInvalidatesThenDead) {
  const uint32_t key = KeyFor(kAllRights);
  EXPECT_EQ(Invalidate(View(), {qp->handle, 2}, key, false), kNotAssociated);
  EXPECT_EQ(Invalidate(View(), Stream(), key, false), kGranted);
  EXPECT_EQ(Check(key, start, 1), kInvalidStag);
  // ... for the host's own work requests too.
  const abi::Sge element = {start, 1, key};
  EXPECT_FALSE(CheckList(View(), 1, 0, {&element, 1}));
}

// --- Where the bytes lie

TEST_F(RemoteAccessTest, GivenAContiguousRegionWhenTranslatedThenOnePiece) {
  const uint32_t key = KeyFor(kAllRights);
  DmaSegment pieces[kMaxDmaSegments];
  uint32_t count = 0;
  uint32_t covered = 0;
  EXPECT_EQ(TranslateRemote(View(), Stream(), {key, start + 10, 100, abi::kAccessRemoteWrite},
                            pieces, &count, &covered),
            kGranted);
  ASSERT_EQ(count, 1u);
  EXPECT_EQ(covered, 100u);
  EXPECT_EQ(pieces[0].address, start + 10);
  EXPECT_EQ(pieces[0].length, 100u);
}

TEST_F(RemoteAccessTest, GivenAPagedRegionWhenTranslatedThenItsPagesAsManyAsThereIsRoomFor) {
  constexpr uint32_t kPages = 30;
  HostMemory pages(bench.hardware, (kPages + 1) * 4096);
  HostMemory list(bench.hardware, kPages * 8);
  // In descending order, so that no two are neighbours.
  for (uint32_t i = 0; i < kPages; ++i) {
    const uint64_t address = (pages.address() + 4095) / 4096 * 4096 + (kPages - 1 - i) * 4096;
    std::memcpy(list.data() + 8 * i, &address, 8);
  }
  abi::RegisterMemory request = Request(kAllRights | abi::kAccessZeroBased);
  request.iova = 100;  // into the first page
  request.length = kPages * 4096 - 100;
  request.page_list = list.address();
  request.page_count = kPages;
  request.page_shift = 12;
  const uint32_t key = Register(request).result[0];
  DmaSegment pieces[kMaxDmaSegments];
  uint32_t count = 0;
  uint32_t covered = 0;
  ASSERT_EQ(TranslateRemote(View(), Stream(), {key, 0, kPages * 4096 - 100, abi::kAccessRemoteRead},
                            pieces, &count, &covered),
            kGranted);
  EXPECT_EQ(count, kMaxDmaSegments);
  EXPECT_EQ(covered, kMaxDmaSegments * 4096 - 100);
  EXPECT_EQ(pieces[0].length, 4096u - 100);
  EXPECT_EQ(pieces[0].address % 4096, 100u);
  EXPECT_EQ(pieces[1].address + 4096, pieces[0].address - 100);
}

TEST_F(RemoteAccessTest, GivenARefusalWhenTranslatedThenNoPiece) {
  DmaSegment pieces[kMaxDmaSegments];
  uint32_t count = 7;
  uint32_t covered = 7;
  EXPECT_EQ(TranslateRemote(View(), Stream(), {KeyFor(0), start, 1, abi::kAccessRemoteRead}, pieces,
                            &count, &covered),
            kNoRight);
  EXPECT_EQ(count, 0u);
  EXPECT_EQ(covered, 0u);
}

}  // namespace
}  // namespace qpip::fw::test

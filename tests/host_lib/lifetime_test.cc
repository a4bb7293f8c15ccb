// What is created, what is kept alive, and what is left when objects go in any order.
#include "nic_fw/abi/counters.h"
#include "nic_test.h"

#include <algorithm>
#include <limits>

namespace qpip::test {
namespace {

using abi::CommandOpcode;
using abi::CommandStatus;

class LifetimeTest : public NicTest {
 protected:
  std::array<WorkCompletion, 16> out;
};

// --- Queue pairs that go while completions are still there

TEST_F(LifetimeTest, GivenCompletionsNotPolledWhenTheQpIsDestroyedThenTheyAreStillDelivered) {
  auto qp = Connected();
  const uint32_t number = qp->qp_num();
  for (uint64_t i = 0; i < 3; ++i) ASSERT_EQ(qp->PostSend(i, memory->Sge(0, 1)), 0);
  ASSERT_EQ(qp->PostRecv(9, memory->Sge(0, 1)), 0);
  fake->CompleteSend(HandleOf(*qp), 0);

  qp.reset();

  ASSERT_EQ(cq->Poll(out), 4u);
  EXPECT_EQ(out[0].status, IBV_WC_SUCCESS);
  EXPECT_EQ(out[1].status, IBV_WC_WR_FLUSH_ERR);
  EXPECT_EQ(out[1].wr_id, 1u);
  EXPECT_EQ(out[3].wr_id, 9u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(out[i].qp_num, number);
}

TEST_F(LifetimeTest, GivenHandleUsedAgainWhenPolledThenOldAndNewCompletionsAreNotMixedUp) {
  auto old_qp = Connected();
  const uint32_t handle = HandleOf(*old_qp);
  ASSERT_EQ(old_qp->PostSend(1, memory->Sge(0, 1)), 0);
  old_qp.reset();
  auto new_qp = Connected();
  ASSERT_EQ(HandleOf(*new_qp), handle);
  ASSERT_EQ(new_qp->PostSend(2, memory->Sge(0, 1)), 0);
  fake->CompleteSend(handle, 0);

  ASSERT_EQ(cq->Poll(out), 2u);
  EXPECT_EQ(out[0].wr_id, 1u);
  EXPECT_EQ(out[0].status, IBV_WC_WR_FLUSH_ERR);
  EXPECT_EQ(out[1].wr_id, 2u);
  EXPECT_EQ(out[1].status, IBV_WC_SUCCESS);
}

TEST_F(LifetimeTest, GivenBacklogWhenPolledInSmallBatchesThenItComesBeforeTheRing) {
  auto gone = Connected(), stays = Connected();
  for (uint64_t i = 0; i < 3; ++i) ASSERT_EQ(gone->PostSend(i, memory->Sge(0, 1)), 0);
  gone.reset();
  ASSERT_EQ(stays->PostSend(3, memory->Sge(0, 1)), 0);
  fake->CompleteSend(HandleOf(*stays), 0);
  for (uint64_t i = 0; i < 4; ++i) {
    ASSERT_EQ(cq->Poll(std::span(out).first(1)), 1u);
    EXPECT_EQ(out[0].wr_id, i);
  }
  EXPECT_EQ(cq->Poll(out), 0u);
}

TEST_F(LifetimeTest, GivenBacklogWhenArmedThenThereIsSomethingAlready) {
  auto qp = Connected();
  ASSERT_EQ(qp->PostSend(0, memory->Sge(0, 1)), 0);
  qp.reset();
  EXPECT_FALSE(cq->Arm());
  EXPECT_EQ(cq->Wait(out), 1u);
  EXPECT_TRUE(cq->Arm());
}

TEST_F(LifetimeTest, GivenSendAndReceiveQueuesApartWhenTheQpIsDestroyedThenBothAreDrained) {
  auto recv_cq = nic->CreateCq(8);
  QpOptions options = Options();
  options.recv_cq = recv_cq.get();
  auto qp = Connected(options);
  ASSERT_EQ(qp->PostSend(1, memory->Sge(0, 1)), 0);
  ASSERT_EQ(qp->PostRecv(2, memory->Sge(0, 1)), 0);
  qp.reset();
  ASSERT_EQ(cq->Poll(out), 1u);
  EXPECT_EQ(out[0].wr_id, 1u);
  ASSERT_EQ(recv_cq->Poll(out), 1u);
  EXPECT_EQ(out[0].wr_id, 2u);
}

TEST_F(LifetimeTest, GivenEventOfAQpThatIsGoneWhenDispatchedThenNothingHappens) {
  Connected().reset();
  fake->RaiseEvent(abi::EventKind::kDisconnected, 0);
  EXPECT_TRUE(PollAll().empty());
}

// --- Order of destruction

TEST_F(LifetimeTest, GivenObjectsWhenTheNicHandleGoesFirstThenTheyWorkOnAndStopItLast) {
  auto qp = Connected();
  nic.reset();
  ASSERT_EQ(qp->PostSend(1, memory->Sge(0, 1)), 0);
  fake->CompleteSend(HandleOf(*qp), 0);
  EXPECT_EQ(PollAll().size(), 1u);
  EXPECT_FALSE(fake->stopped);
}

TEST_F(LifetimeTest, GivenQpWhenItsCqAndPdHandlesGoFirstThenTheNicsObjectsLast) {
  auto qp = Connected();
  cq.reset();
  pd.reset();
  EXPECT_EQ(fake->Count(CommandOpcode::kDestroyCq), 0u);
  qp.reset();
  EXPECT_EQ(fake->Count(CommandOpcode::kDestroyCq), 1u);
  EXPECT_EQ(static_cast<CommandOpcode>(fake->commands.back().opcode), CommandOpcode::kDestroyCq);
}

// --- Creation

TEST_F(LifetimeTest, GivenOptionsWhenAQpIsCreatedThenTheCommandSaysThem) {
  QpOptions options = Options(8);
  options.framing = Framing::kStream;
  options.max_recv_sge = 16;
  options.max_inline = 200;
  options.receive_reservation = 100'000;
  options.ack_every = 3;
  options.ack_delay = std::chrono::milliseconds(20);
  options.user_timeout = std::chrono::seconds(2);
  options.nagle = true;
  options.dscp = 46;
  options.keepalive = std::chrono::hours(2);
  int context = 0;
  options.context = &context;
  auto qp = nic->CreateQp(*pd, options);

  const abi::CreateQp& setup = fake->Setup(HandleOf(*qp));
  EXPECT_EQ(setup.type, static_cast<uint8_t>(abi::QpType::kTcp));
  EXPECT_EQ(setup.framing, static_cast<uint8_t>(abi::Framing::kStream));
  EXPECT_EQ(setup.send_log2_depth, 3);
  EXPECT_EQ(setup.send_log2_stride, 9);
  EXPECT_EQ(setup.recv_log2_stride, 9);
  EXPECT_EQ(setup.overflow_bytes, 100'000u);
  EXPECT_EQ(setup.ack_every, 3);
  EXPECT_EQ(setup.ack_delay_us, 20'000u);
  EXPECT_EQ(setup.user_timeout_ms, 2'000u);
  EXPECT_EQ(setup.flags, abi::kQpNagle);
  EXPECT_EQ(setup.traffic_class, 46 << 2);
  EXPECT_EQ(setup.keepalive_idle_s, 7'200u);
  EXPECT_EQ((setup.send_ring | setup.recv_ring | setup.indices) & 63, 0u);
  EXPECT_EQ((setup.overflow_pool | setup.overflow_records) & 4095, 0u);
  EXPECT_GE(setup.overflow_records - setup.overflow_pool, 100'000u);
  EXPECT_EQ(qp->context(), &context);
}

TEST_F(LifetimeTest, GivenOptionsOutOfRangeWhenAQpIsCreatedThenTheTextNamesTheOption) {
  const struct {
    const char* name;
    void (*spoil)(QpOptions&);
  } cases[] = {
      {"send_depth", [](QpOptions& o) { o.send_depth = 0; }},
      {"send_depth", [](QpOptions& o) { o.send_depth = 1025; }},
      {"recv_depth", [](QpOptions& o) { o.recv_depth = 0; }},
      {"recv_depth", [](QpOptions& o) { o.recv_depth = 32769; }},
      {"max_send_sge", [](QpOptions& o) { o.max_send_sge = 17; }},
      {"max_recv_sge", [](QpOptions& o) { o.max_recv_sge = 0; }},
      {"max_inline", [](QpOptions& o) { o.max_inline = 449; }},
      {"receive_reservation", [](QpOptions& o) { o.receive_reservation = 4095; }},
      {"receive_reservation", [](QpOptions& o) { o.receive_reservation = (1u << 30) + 1; }},
      {"ack_delay", [](QpOptions& o) { o.ack_delay = std::chrono::milliseconds(500); }},
      {"ack_delay", [](QpOptions& o) { o.ack_delay = std::chrono::microseconds(-1); }},
      {"user_timeout", [](QpOptions& o) { o.user_timeout = std::chrono::hours(2000); }},
      {"dscp", [](QpOptions& o) { o.dscp = 64; }},
      {"keepalive", [](QpOptions& o) { o.keepalive = std::chrono::seconds(-1); }},
      {"nagle", [](QpOptions& o) { o.nagle = true; }},  // the framing is `segment`
      {"send_cq", [](QpOptions& o) { o.send_cq = nullptr; }},
      {"recv_cq", [](QpOptions& o) { o.recv_cq = nullptr; }},
  };
  for (const auto& bad : cases) {
    QpOptions options = Options();
    bad.spoil(options);
    std::string what;
    EXPECT_EQ(ErrorOf([&] { nic->CreateQp(*pd, options); }, &what), EINVAL) << bad.name;
    EXPECT_THAT(what, testing::HasSubstr(bad.name));
  }
  EXPECT_EQ(fake->Count(CommandOpcode::kCreateQp), 0u);
}

TEST_F(LifetimeTest, GivenDefaultDepthsWhenQpsAreCreatedThenADefaultCompletionQueueHoldsEight) {
  auto roomy = nic->CreateCq();
  std::vector<std::unique_ptr<QueuePair>> qps;
  for (int i = 0; i < 8; ++i) {
    qps.push_back(nic->CreateQp(*pd, {.send_cq = roomy.get(), .recv_cq = roomy.get()}));
  }
  std::string what;
  EXPECT_EQ(
      ErrorOf([&] { nic->CreateQp(*pd, {.send_cq = roomy.get(), .recv_cq = roomy.get()}); }, &what),
      ENOMEM);
  EXPECT_THAT(what, testing::HasSubstr("larger capacity"));
}

TEST_F(LifetimeTest, GivenFullTablesWhenObjectsAreCreatedThenNoMemory) {
  fake->refuse = [](const abi::Command&) { return CommandStatus::kNoResource; };
  EXPECT_EQ(ErrorOf([&] { nic->CreateCq(8); }), ENOMEM);
  EXPECT_EQ(ErrorOf([&] { Idle(); }), ENOMEM);
  EXPECT_EQ(ErrorOf([&] { pd->Allocate(100); }), ENOMEM);
  EXPECT_EQ(ErrorOf([&] { nic->Counters(); }), ENOMEM);
  fake->refuse = nullptr;
  EXPECT_NO_THROW(Idle());
}

TEST_F(LifetimeTest, GivenObjectsOfAnotherNicWhenAQpIsCreatedThenInvalid) {
  auto other = internal::NicImpl::Start(std::make_unique<FakeNic>());
  auto other_pd = other->AllocatePd();
  auto other_cq = other->CreateCq(64);
  EXPECT_EQ(ErrorOf([&] { nic->CreateQp(*other_pd, Options()); }), EINVAL);
  QpOptions options = Options();
  options.recv_cq = other_cq.get();
  EXPECT_EQ(ErrorOf([&] { nic->CreateQp(*pd, options); }), EINVAL);
}

// --- Memory

TEST_F(LifetimeTest, GivenCallersMemoryWhenRegisteredThenTheCommandNamesIt) {
  std::vector<std::byte> bytes(1000);
  auto region = pd->Register(bytes.data(), bytes.size(), IBV_ACCESS_LOCAL_WRITE);
  const abi::RegisterMemory& command = fake->commands.back().register_memory;
  EXPECT_EQ(command.iova, reinterpret_cast<uintptr_t>(bytes.data()));
  EXPECT_EQ(command.page_list, fake->DmaAddress(bytes.data()));
  EXPECT_EQ(command.length, 1000u);
  EXPECT_EQ(command.page_count, 0u);
  EXPECT_EQ(command.access, static_cast<uint32_t>(IBV_ACCESS_LOCAL_WRITE));
  EXPECT_EQ(region->data(), bytes.data());
  EXPECT_EQ(region->size(), 1000u);
  EXPECT_EQ(region->Sge(10, 20).addr, command.iova + 10);
  EXPECT_EQ(region->Sge(10, 20).lkey, region->lkey());
}

TEST_F(LifetimeTest, GivenEmptyRangesWhenRegisteredThenInvalid) {
  char byte;
  EXPECT_EQ(ErrorOf([&] { pd->Register(nullptr, 5, 0); }), EINVAL);
  EXPECT_EQ(ErrorOf([&] { pd->Register(&byte, 0, 0); }), EINVAL);
  EXPECT_EQ(ErrorOf([&] { pd->Allocate(0); }), EINVAL);
}

TEST_F(LifetimeTest, GivenTwoDomainsWhenMemoryIsRegisteredThenTheirNumbersDiffer) {
  auto other = nic->AllocatePd();
  auto a = pd->Allocate(64);
  const uint32_t first = fake->commands.back().register_memory.protection_domain;
  auto b = other->Allocate(64);
  EXPECT_NE(fake->commands.back().register_memory.protection_domain, first);
}

TEST_F(LifetimeTest, GivenAllocatedMemoryWhenUsedThenItIsZeroedAndAligned) {
  auto region = pd->Allocate(10'000);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(region->data()) % 64, 0u);
  const auto* bytes = static_cast<const char*>(region->data());
  EXPECT_TRUE(std::all_of(bytes, bytes + 10'000, [](char c) { return c == 0; }));
}

TEST_F(LifetimeTest, GivenWireWithSharedMemoryWhenAllocatedThenItIsUsedAndGivenBack) {
  fake->shared_memory = true;
  auto region = pd->Allocate(5000);
  EXPECT_EQ(fake->shared_bytes, 5000u);
  region.reset();
  EXPECT_EQ(fake->shared_bytes, 0u);
  fake->refuse = [](const abi::Command&) { return CommandStatus::kNoResource; };
  EXPECT_EQ(ErrorOf([&] { pd->Allocate(5000); }), ENOMEM);
  EXPECT_EQ(fake->shared_bytes, 0u) << "not registered, so given back";
  fake->refuse = nullptr;
}

TEST_F(LifetimeTest, GivenMoreThanThereIsWhenAllocatedThenNoMemory) {
  EXPECT_EQ(ErrorOf([&] { pd->Allocate(std::numeric_limits<size_t>::max() / 2); }), ENOMEM);
}

TEST_F(LifetimeTest, GivenRegionWhenDestroyedThenItIsDeregisteredBeforeItsMemoryGoes) {
  fake->shared_memory = true;
  auto region = pd->Allocate(4096);
  fake->refuse = [&](const abi::Command&) -> std::optional<CommandStatus> {
    EXPECT_EQ(fake->shared_bytes, 4096u);
    return std::nullopt;
  };
  region.reset();
  EXPECT_EQ(fake->Count(CommandOpcode::kDeregisterMemory), 1u);
  EXPECT_EQ(fake->shared_bytes, 0u);
  fake->refuse = nullptr;
}

// --- The NIC itself

TEST_F(LifetimeTest, GivenNicWhenAskedThenItsFactsAreThere) {
  EXPECT_EQ(AddressToString(nic->address()), "fd00::1");
  EXPECT_EQ(nic->mtu(), 1500u);
  EXPECT_EQ(nic->uri(), "fake:nic?address=fd00::1");
}

TEST_F(LifetimeTest, GivenCountersWhenQueriedThenEachHasItsName) {
  const auto counters = nic->Counters();
  EXPECT_EQ(counters.at("frames_received"), 1000u);
  EXPECT_EQ(counters.at("frames_sent"), 1001u);
  EXPECT_EQ(counters.count("drop.none"), 0u);
  EXPECT_EQ(counters.at("drop.frame_too_short"), 1000u + abi::kNicCounterCount + 1);
  EXPECT_EQ(counters.size(), abi::kCounterWords - 1);
}

TEST_F(LifetimeTest, GivenStatisticsWhenExportedThenUriCountersAndPortAreThere) {
  const std::string json = nic->StatisticsJson();
  EXPECT_THAT(json, testing::HasSubstr("\"uri\":\"fake:nic?address=fd00::1\""));
  EXPECT_THAT(json, testing::HasSubstr("\"frames_sent\":1001"));
  EXPECT_THAT(json, testing::EndsWith("\"port\":{\"fake\":true}}"));
}

}  // namespace
}  // namespace qpip::test

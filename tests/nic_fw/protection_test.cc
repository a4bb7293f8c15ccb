// The host is not trusted: keys, bounds, domains, malformed entries, hostile doorbells.
#include "test_support.h"

namespace qpip::fw::test {
namespace {

struct Protection : ::testing::Test {
  ConnectedPair pair;
  HostMemory source{pair.a.hardware, 65536}, sink{pair.b.hardware, 65536};
  uint32_t source_key = pair.a.Register(source, 0), sink_key = pair.b.Register(sink);

  void SetUp() override {
    pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, sink_key, 0, 65536)});
    pair.cable.Run();
  }
  /// The status of a send of `sge`, after which the connection must be gone and the peer reset.
  int SendStatus(const abi::Sge& sge) {
    pair.a.PostSend(*pair.qp_a, {sge});
    pair.cable.Run();
    const auto sent = pair.a.Poll(*pair.cq_a);
    EXPECT_EQ(sent.size(), 1u);
    EXPECT_EQ(EventsOf(pair.b, abi::EventKind::kDisconnected).size(), 1u);
    EXPECT_EQ(pair.a.hardware.illegal_accesses, 0u);
    return sent.empty() ? -1 : Status(sent[0]);
  }
};

constexpr int kProtection = static_cast<int>(abi::CompletionStatus::kLocalProtectionError);

TEST_F(Protection, GivenUnknownKeyWhenSentThenProtectionError) {
  EXPECT_EQ(SendStatus({source.address(), 10, 0xdead00}), kProtection);
}

TEST_F(Protection, GivenDeregisteredKeyWhenSentThenProtectionError) {
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kDeregisterMemory);
  command.deregister_memory.key = source_key;
  ASSERT_EQ(pair.a.Command(command).status, 0);
  EXPECT_EQ(SendStatus(SgeOf(source, source_key, 0, 10)), kProtection);
}

TEST_F(Protection, GivenStaleKeyOfReusedRegionWhenSentThenProtectionError) {
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kDeregisterMemory);
  command.deregister_memory.key = source_key;
  ASSERT_EQ(pair.a.Command(command).status, 0);
  EXPECT_NE(pair.a.Register(source, 0), source_key);
  EXPECT_EQ(SendStatus(SgeOf(source, source_key, 0, 10)), kProtection);
}

TEST_F(Protection, GivenRangeBeyondRegionWhenSentThenProtectionError) {
  EXPECT_EQ(SendStatus(SgeOf(source, source_key, 65530, 10)), kProtection);
}

TEST_F(Protection, GivenRangeBeforeRegionWhenSentThenProtectionError) {
  EXPECT_EQ(SendStatus({source.address() - 1, 10, source_key}), kProtection);
}

TEST_F(Protection, GivenAddressThatWrapsWhenSentThenProtectionError) {
  EXPECT_EQ(SendStatus({~uint64_t{0} - 4, 10, source_key}), kProtection);
}

TEST_F(Protection, GivenRegionOfOtherDomainWhenSentThenProtectionError) {
  const uint32_t foreign = pair.a.Register(source, 0, 2);
  EXPECT_EQ(SendStatus(SgeOf(source, foreign, 0, 10)), kProtection);
}

TEST_F(Protection, GivenReadOnlyRegionWhenReceivedIntoThenProtectionErrorAndMemoryUntouched) {
  // Given a second connection whose receive names memory without local write
  const uint32_t read_only = pair.b.Register(sink, 0);
  FillPattern(sink, 9);
  const std::vector<uint8_t> before(sink.data(), sink.data() + 64);
  auto qp_a = pair.a.CreateQp(*pair.cq_a);
  auto qp_b = pair.b.CreateQp(*pair.cq_b);
  pair.b.PostRecv(*qp_b, {SgeOf(sink, read_only, 0, 64)});
  pair.b.Offer(pair.listener, *qp_b);
  pair.a.Connect(*qp_a, 2, 7);
  pair.cable.Run();
  pair.a.PostInline(*qp_a, "overwrite");
  pair.cable.Run();
  const auto received = pair.b.Poll(*pair.cq_b);
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(Status(received[0]), kProtection);
  EXPECT_EQ(std::memcmp(sink.data(), before.data(), 64), 0);
  // The other queue pair is unharmed.
  pair.a.PostInline(*pair.qp_a, "fine");
  pair.cable.Run();
  const auto other = pair.b.Poll(*pair.cq_b);
  ASSERT_EQ(other.size(), 1u);
  EXPECT_EQ(other[0].status, 0);
}

TEST_F(Protection, GivenPagedRegionWhenTransferredThenPagesAreGathered) {
  // Given a region of three pages of host memory in reverse order, starting within a page
  HostMemory pages(pair.a.hardware, 4 * 4096);
  uint64_t base = (pages.address() + 4095) & ~uint64_t{4095};
  HostMemory list(pair.a.hardware, 64);
  const uint64_t addresses[3] = {base + 8192, base + 4096, base};
  std::memcpy(list.data(), addresses, sizeof(addresses));
  for (uint64_t i = 0; i < 3 * 4096; ++i) {
    reinterpret_cast<uint8_t*>(base)[i] = static_cast<uint8_t>(i >> 6);
  }
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kRegisterMemory);
  command.register_memory = {0x10000 + 100, 3 * 4096 - 200, list.address(), 3, 12, 0, 1};
  const abi::Event event = pair.a.Command(command);
  ASSERT_EQ(event.status, 0);
  pair.a.PostSend(*pair.qp_a, {{0x10000 + 100, 3 * 4096 - 200, event.result[0]}});
  pair.cable.Run();
  const auto received = pair.b.Poll(*pair.cq_b);
  ASSERT_EQ(received.size(), 1u);
  ASSERT_EQ(received[0].byte_length, 3u * 4096 - 200);
  for (uint32_t i = 0; i < 3 * 4096 - 200; ++i) {
    const uint64_t virtual_offset = i + 100;
    const uint64_t physical = (2 - virtual_offset / 4096) * 4096 + virtual_offset % 4096;
    ASSERT_EQ(sink.data()[i], static_cast<uint8_t>(physical >> 6)) << i;
  }
}

TEST_F(Protection, GivenMalformedWqeWhenSentThenOperationError) {
  pair.a.PostSend(*pair.qp_a, {SgeOf(source, source_key, 0, 10)}, false);
  auto* wqe = reinterpret_cast<abi::SendWqe*>(pair.qp_a->send_ring->data());
  wqe->sge_count = 200;
  pair.a.RingSend(*pair.qp_a);
  pair.cable.Run();
  const auto sent = pair.a.Poll(*pair.cq_a);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(Status(sent[0]), Status(abi::CompletionStatus::kLocalQpOperationError));
}

TEST_F(Protection, GivenZeroLengthOnTcpWhenSentThenOperationError) {
  EXPECT_EQ(SendStatus(SgeOf(source, source_key, 0, 0)),
            Status(abi::CompletionStatus::kLocalQpOperationError));
}

TEST_F(Protection, GivenEachFramingIdWhenAQueuePairIsCreatedThenOnlyWhatAHostMayAskForIsGranted) {
  const auto qp = pair.a.CreateQp(*pair.cq_a);
  for (const abi::QpType type : {abi::QpType::kTcp, abi::QpType::kUdp}) {
    for (uint32_t id = 0; id < 256; ++id) {
      abi::Command command;
      command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kCreateQp);
      command.create_qp = qp->create;
      command.create_qp.type = static_cast<uint8_t>(type);
      command.create_qp.framing = static_cast<uint8_t>(id);
      const bool granted = pair.a.Command(command).status == 0;
      EXPECT_EQ(granted, id == static_cast<uint8_t>(abi::Framing::kSegment) ||
                             id == static_cast<uint8_t>(abi::Framing::kStream))
          << id;
    }
  }
}

TEST_F(Protection, GivenProducerBeyondRingWhenRungThenQueuePairFailsAlone) {
  pair.a.hardware.Ring(
      abi::Doorbell::Make(abi::DoorbellKind::kSendPosted, pair.qp_a->handle, 1000));
  pair.cable.Run();
  EXPECT_EQ(EventsOf(pair.a, abi::EventKind::kDisconnected).size(), 1u);
  EXPECT_EQ(pair.a.hardware.illegal_accesses, 0u);
}

TEST_F(Protection, GivenDoorbellsLostWhenFifoOverflowsThenIndicesAreScanned) {
  pair.a.hardware.doorbell_capacity = 0;
  pair.a.PostInline(*pair.qp_a, "found anyway");
  pair.cable.Run();
  EXPECT_EQ(pair.b.Poll(*pair.cq_b).size(), 1u);
  pair.a.hardware.doorbell_capacity = 64;
  EXPECT_GE(pair.a.Counter(abi::NicCounter::kDoorbellOverflows), 1u);
}

// --- Doorbells that are older than what a scan has read

/// The doorbells of these posts find the FIFO full.
void LoseDoorbells(FirmwareBench& nic, const std::function<void()>& posts) {
  nic.hardware.doorbell_capacity = 0;
  posts();
  nic.hardware.doorbell_capacity = 64;
}

TEST_F(Protection, GivenScanHasReadNewerIndexWhenOlderSendDoorbellsPopThenNothingIsLost) {
  for (int i = 0; i < 4; ++i) pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, sink_key, 0, 4096)});
  LoseDoorbells(pair.a, [&] {
    for (int i = 0; i < 3; ++i) pair.a.PostInline(*pair.qp_a, "lost");
  });
  pair.cable.Run();
  EXPECT_EQ(pair.b.Poll(*pair.cq_b).size(), 3u);
  for (uint32_t producer = 1; producer <= 3; ++producer) {
    pair.a.hardware.Ring(
        abi::Doorbell::Make(abi::DoorbellKind::kSendPosted, pair.qp_a->handle, producer));
    pair.cable.Run();
  }
  pair.a.PostInline(*pair.qp_a, "goes on");
  pair.cable.Run();
  EXPECT_EQ(EventsOf(pair.a, abi::EventKind::kDisconnected).size(), 0u);
  EXPECT_EQ(pair.b.Poll(*pair.cq_b).size(), 1u);
}

TEST_F(Protection, GivenRingHasGoneRoundWhenDoorbellOfLapsAgoPopsThenItIsStale) {
  for (uint32_t i = 0; i < 3 * 64; ++i) {
    pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, sink_key, 0, 4096)});
    pair.a.PostInline(*pair.qp_a, "x");
    pair.cable.Run();
  }
  pair.a.hardware.Ring(abi::Doorbell::Make(abi::DoorbellKind::kSendPosted, pair.qp_a->handle, 1));
  pair.b.hardware.Ring(
      abi::Doorbell::Make(abi::DoorbellKind::kRecvPosted, pair.qp_b->handle, 1, 4096));
  pair.cable.Run();
  EXPECT_EQ(EventsOf(pair.a, abi::EventKind::kDisconnected).size(), 0u);
  EXPECT_EQ(EventsOf(pair.b, abi::EventKind::kDisconnected).size(), 0u);
}

TEST_F(Protection, GivenScanHasReadNewerIndexWhenOlderReceiveDoorbellPopsThenWindowStays) {
  const abi::Doorbell older =
      abi::Doorbell::Make(abi::DoorbellKind::kRecvPosted, pair.qp_b->handle,
                          pair.qp_b->recv_producer + 1, pair.qp_b->posted_bytes + 4096);
  LoseDoorbells(pair.b, [&] {
    for (int i = 0; i < 2; ++i) pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, sink_key, 0, 4096)});
  });
  pair.cable.Run();
  pair.b.hardware.Ring(older);
  pair.cable.Run();
  EXPECT_EQ(EventsOf(pair.b, abi::EventKind::kDisconnected).size(), 0u);
  for (uint32_t i = 0; i < pair.qp_b->recv_producer; ++i) {
    pair.a.PostSend(*pair.qp_a, {SgeOf(source, source_key, 0, 4096)});
    pair.cable.Run();
  }
  EXPECT_EQ(pair.b.Poll(*pair.cq_b).size(), pair.qp_b->recv_producer);
}

TEST_F(Protection, GivenFifoThatNeverRunsEmptyWhenItOverflowsThenWhatWasLostIsFoundAllTheSame) {
  LoseDoorbells(pair.a, [&] { pair.a.PostInline(*pair.qp_a, "found anyway"); });
  for (int turn = 0; turn < 400; ++turn) {
    while (pair.a.hardware.doorbells.size() < 32) {
      pair.a.hardware.Ring(abi::Doorbell::Make(abi::DoorbellKind::kCqArm, 1000, 0));
    }
    qpip_fw_step(pair.a.arena.data(), &pair.a.hardware.platform(), pair.a.now, 1);
  }
  EXPECT_EQ(pair.a.hardware.outgoing.size(), 1u);
}

TEST_F(Protection, GivenHostileRingsWhenRandomBytesAndDoorbellsThenNeighbourIsUnharmed) {
  // Given a second connected pair of queue pairs on the same NICs
  auto victim_a = pair.a.CreateQp(*pair.cq_a);
  auto victim_b = pair.b.CreateQp(*pair.cq_b);
  pair.b.Offer(pair.listener, *victim_b);
  pair.a.Connect(*victim_a, 2, 7);
  pair.cable.Run();
  auto hostile_cq = pair.a.CreateCq(6);
  std::mt19937 random(5);
  for (int round = 0; round < 300; ++round) {
    QpSpec spec;
    spec.send_log2_depth = spec.recv_log2_depth = 3;
    auto hostile = pair.a.CreateQp(*hostile_cq, spec);
    auto peer = pair.b.CreateQp(*pair.cq_b);
    pair.b.PostRecv(*peer, {SgeOf(sink, sink_key, 0, 4096)});
    pair.b.Offer(pair.listener, *peer);
    pair.a.Connect(*hostile, 2, 7);
    pair.cable.Run();
    for (HostMemory* ring : {hostile->send_ring.get(), hostile->recv_ring.get()}) {
      for (size_t i = 0; i < ring->size(); ++i) ring->data()[i] = static_cast<uint8_t>(random());
      // Half the time plausible up to the element list, so that deeper checks are reached.
      if (random() % 2 != 0) {
        auto* wqe = reinterpret_cast<abi::SendWqe*>(ring->data());
        wqe->opcode = 1;
        wqe->flags = 1;
        wqe->sge_count = 1;
        auto* sge = reinterpret_cast<abi::Sge*>(wqe + 1);
        sge->key = random() % 2 != 0 ? source_key : static_cast<uint32_t>(random());
        sge->address = source.address() + random() % 70000;
        sge->length = static_cast<uint32_t>(random() % 70000);
        wqe->length = sge->length;
      }
    }
    for (int i = 0; i < 8; ++i) {
      abi::Doorbell doorbell = abi::Doorbell::Make(
          static_cast<abi::DoorbellKind>(random() % 6), hostile->handle,
          static_cast<uint32_t>(random() % 12), static_cast<uint32_t>(random()));
      if (random() % 8 == 0) doorbell.producer = static_cast<uint32_t>(random());
      if (doorbell.kind() == abi::DoorbellKind::kCommand) continue;
      pair.a.hardware.Ring(doorbell);
    }
    pair.cable.Run();
    // When the neighbour exchanges a message, then it arrives
    pair.b.Poll(*pair.cq_b);
    pair.b.PostRecv(*victim_b, {SgeOf(sink, sink_key, 8192, 64)});
    pair.a.PostInline(*victim_a, "still here");
    pair.cable.Run();
    const auto received = pair.b.Poll(*pair.cq_b);
    ASSERT_EQ(received.size(), 1u) << "round " << round;
    ASSERT_EQ(received[0].status, 0);
    ASSERT_EQ(received[0].qp, victim_b->handle);
    pair.a.QpCommand(abi::CommandOpcode::kDestroyQp, *hostile);
    pair.b.QpCommand(abi::CommandOpcode::kDestroyQp, *peer);
    pair.cable.Run();
    pair.a.Poll(*hostile_cq);
    pair.a.Poll(*pair.cq_a);
    pair.b.Poll(*pair.cq_b);
    pair.a.Events();
    pair.b.Events();
    ASSERT_EQ(pair.a.hardware.illegal_accesses, 0u);
  }
}

TEST(Completions, GivenCqOverrunWhenRingIsFullThenErrorEventAndNoOverwrite) {
  FirmwareBench a{1};
  auto cq = a.CreateCq(1);  // two entries
  QpSpec spec{.type = abi::QpType::kUdp};
  auto qp = a.CreateQp(*cq, spec);
  a.Bind(*qp, 1);
  for (int i = 0; i < 4; ++i) a.PostInline(*qp, "x", 2, 2);
  a.Run();
  EXPECT_EQ(EventsOf(a, abi::EventKind::kCqError).size(), 1u);
  EXPECT_EQ(a.Poll(*cq).size(), 2u);
  EXPECT_EQ(a.Counter(abi::NicCounter::kCompletionOverruns), 2u);
}

TEST(Completions, GivenArmedCqWhenCompletionComesThenOneInterrupt) {
  FirmwareBench a{1};
  auto cq = a.CreateCq(6);
  QpSpec spec{.type = abi::QpType::kUdp};
  auto qp = a.CreateQp(*cq, spec);
  a.Bind(*qp, 1);
  const auto interrupts = [&] {
    size_t count = 0;
    for (const auto& [kind, object] : a.hardware.interrupts) {
      count += kind == static_cast<uint32_t>(InterruptKind::kCompletion) && object == cq->handle;
    }
    return count;
  };
  a.PostInline(*qp, "x", 2, 2);
  a.Run();
  EXPECT_EQ(interrupts(), 0u);  // not armed
  // Armed with an index that is behind: at once.
  a.hardware.Ring(abi::Doorbell::Make(abi::DoorbellKind::kCqArm, cq->handle, 0));
  a.Run();
  EXPECT_EQ(interrupts(), 1u);
  // Armed with the present index: at the next completion, once.
  a.hardware.Ring(abi::Doorbell::Make(abi::DoorbellKind::kCqArm, cq->handle, 1));
  a.Run();
  EXPECT_EQ(interrupts(), 1u);
  a.PostInline(*qp, "x", 2, 2);
  a.PostInline(*qp, "x", 2, 2);
  a.Run();
  EXPECT_EQ(interrupts(), 2u);
}

TEST(Sram, GivenLanaiProfileWhenSizedThenFitsTwoMebibytes) {
  NicConfig config;
  config.max_qps = 64;
  config.mtu = 9000;
  ArenaBytes bytes;
  ASSERT_NE(qpip_fw_arena(&config, &bytes), 0u);
  const uint32_t buffers = 64 * config.mtu;
  EXPECT_LT(bytes.total + buffers, 2u << 20);
  EXPECT_GT(bytes.per_qp, 0u);
  // More queue pairs cost what per_qp says (table sizes are powers of two here).
  NicConfig twice = config;
  twice.max_qps = 128;
  ArenaBytes more;
  ASSERT_NE(qpip_fw_arena(&twice, &more), 0u);
  EXPECT_EQ(more.total - bytes.total, 64 * bytes.per_qp);
}

TEST(Sram, GivenConfigOutOfRangeWhenSizedThenRefused) {
  ArenaBytes bytes;
  for (const auto& spoil : std::vector<std::function<void(NicConfig&)>>{
           [](NicConfig& c) { c.mtu = 1279; }, [](NicConfig& c) { c.mtu = 70000; },
           [](NicConfig& c) { c.max_qps = 0; }, [](NicConfig& c) { c.wqe_cache_bytes = 100; },
           [](NicConfig& c) { c.send_depth_log2 = 20; }, [](NicConfig& c) { c.dma_slots = 1; }}) {
    NicConfig config;
    spoil(config);
    EXPECT_EQ(qpip_fw_arena(&config, &bytes), 0u);
  }
}

}  // namespace
}  // namespace qpip::fw::test

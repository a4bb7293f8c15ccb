// RDMA: a connection that is taken over, and what leaves for each operation.
#include "rdma_bench.h"

namespace qpip::fw::test {
namespace {

using abi::SendOpcode;
using iwarp::Opcode;

constexpr int kOk = static_cast<int>(abi::CommandStatus::kOk);
constexpr int kBadCommand = static_cast<int>(abi::CommandStatus::kBadCommand);
constexpr int kBadState = static_cast<int>(abi::CommandStatus::kBadState);
constexpr int kBusy = static_cast<int>(abi::CommandStatus::kBusy);
constexpr int kBadHandle = static_cast<int>(abi::CommandStatus::kBadHandle);

// --- Set-up

struct AdoptTest : ::testing::Test {
  FirmwareBench a{1}, b{2, RdmaNic()};
  Cable cable{a, b, {}};
  std::unique_ptr<TestCq> cq_a = a.CreateCq(), cq_b = b.CreateCq();
  std::unique_ptr<TestQp> stream = a.CreateQp(*cq_a, StreamQp());
  std::unique_ptr<TestQp> carrier = b.CreateQp(*cq_b, StreamQp());
  std::unique_ptr<TestQp> rdma = b.CreateQp(*cq_b, RdmaQp());
  HostMemory memory{a.hardware, 4096};
  uint32_t key = a.Register(memory);

  void Connect() {
    const uint32_t listener = b.Listen(7).result[0];
    ASSERT_EQ(b.Offer(listener, *carrier).status, kOk);
    ASSERT_EQ(a.Connect(*stream, 2, 7).status, kOk);
    cable.Run();
  }
  int Take(const TestQp& qp, const TestQp& from, const RdmaSetup& setup = {}) {
    return Adopt(b, qp, from, setup).status;
  }
};

TEST_F(AdoptTest, GivenAQuietStreamWhenAdoptedThenTheQueuePairIsConnectedAndTheCarrierClosed) {
  Connect();
  b.Events();
  EXPECT_EQ(Take(*rdma, *carrier), kOk);
  const auto events = b.Events();
  ASSERT_EQ(events.size(), 1u) << "of the carrier there is nothing to tell";
  EXPECT_EQ(events[0].kind, static_cast<uint8_t>(abi::EventKind::kEstablished));
  EXPECT_EQ(events[0].object, rdma->handle);
  EXPECT_EQ(Take(*rdma, *carrier), kBadState) << "once";
}

TEST_F(AdoptTest, GivenNoConnectionOrNoSuchQueuePairsWhenAdoptedThenRefusedByName) {
  EXPECT_EQ(Take(*rdma, *carrier), kBadState) << "not connected";
  Connect();
  auto other = b.CreateQp(*cq_b, StreamQp());
  EXPECT_EQ(Take(*other, *carrier), kBadCommand) << "no RDMA queue pair";
  EXPECT_EQ(Take(*rdma, *rdma), kBadHandle) << "of itself";
  RdmaSetup deep;
  deep.ird = abi::kMaxRdmaDepth + 1;
  EXPECT_EQ(Take(*rdma, *carrier, deep), kBadCommand);
  QpSpec small = RdmaQp();
  small.overflow_bytes = abi::kMinRdmaPool;
  auto narrow = b.CreateQp(*cq_b, small);
  EXPECT_EQ(Take(*narrow, *carrier), kBadCommand) << "more was advertised than it has a place for";
  EXPECT_EQ(Take(*rdma, *carrier), kOk) << "none of that has harmed it";
}

TEST_F(AdoptTest, GivenTextThatNobodyHasTakenWhenAdoptedThenBadStateAndNothingIsLost) {
  Connect();
  HostMemory sink(b.hardware, 64);
  const uint32_t sink_key = b.Register(sink);
  b.PostRecv(*carrier, {SgeOf(sink, sink_key, 0, 4)});
  cable.Run();
  a.PostInline(*stream, "12345678");
  cable.Run();
  EXPECT_NE(Take(*rdma, *carrier), kOk) << "four bytes lie in the pool";
  b.PostRecv(*carrier, {SgeOf(sink, sink_key, 4, 60)});
  cable.Run();
  EXPECT_EQ(std::memcmp(sink.data(), "12345678", 8), 0);
  EXPECT_EQ(Take(*rdma, *carrier), kOk);
}

TEST_F(AdoptTest, GivenASendThatIsNotAcknowledgedWhenAdoptedThenBusy) {
  Connect();
  cable.filter = [](const Frame&, bool from_a) { return !from_a; };
  b.PostInline(*carrier, "reply");
  cable.Run();
  EXPECT_EQ(Take(*rdma, *carrier), kBusy);
}

TEST_F(AdoptTest, GivenAnRdmaQueuePairWhenConnectedOrOfferedLikeOthersThenRefused) {
  const uint32_t listener = b.Listen(9).result[0];
  EXPECT_EQ(b.Offer(listener, *rdma).status, kBadState);
  EXPECT_EQ(b.Connect(*rdma, 1, 9).status, kBadState);
}

TEST_F(AdoptTest, GivenASegmentCarrierWhenAdoptedThenRefused) {
  auto segments = b.CreateQp(*cq_b);
  EXPECT_EQ(Take(*rdma, *segments), kBadCommand);
}

TEST(RdmaSetUp, GivenAResponderWhenNothingHasComeThenOnlyTheReplyGoes) {
  RdmaSetup setup;
  setup.responder = true;
  ScriptedPeer script(setup);
  std::memcpy(script.memory.data(), "REPLY", 5);
  Post(script.nic, *script.qp,
       {.opcode = SendOpcode::kStartup, .list = {SgeOf(script.memory, script.key, 0, 5)}});
  Post(script.nic, *script.qp,
       {.flags = abi::kSendSignaled | abi::kSendInline, .bytes = "behind it"});
  script.cable.Run();
  ASSERT_EQ(script.nic_segments.size(), 1u);
  const Frame& reply = script.nic_segments[0];
  EXPECT_EQ(std::string(reply.end() - 5, reply.end()), "REPLY");
  // RFC 5044 7.1.2: the initiator's first FPDU lets it go.
  script.Say(script.Write(script.key, script.memory.address() + 100, {}));
  EXPECT_EQ(script.nic_segments.size(), 2u);
}

// --- Frames

struct RdmaFrames : ::testing::TestWithParam<bool> {
  ScriptedPeer script{RdmaSetup{.crc = GetParam()}};
  abi::Sge Sge(uint64_t offset, uint32_t length) {
    return SgeOf(script.memory, script.key, offset, length);
  }
  void Post(const RdmaWork& work) { test::Post(script.nic, *script.qp, work); }
  /// The only FPDU that has come.
  ReceivedFpdu One() {
    const auto all = script.Hear();
    EXPECT_EQ(all.size(), 1u);
    if (all.empty()) return {};
    EXPECT_EQ(all[0].crc_good, script.crc);
    return all[0];
  }
  std::vector<abi::Cqe> Sent() {
    script.cable.Advance(100 * kMs);
    return script.nic.Poll(*script.cq);
  }
};

TEST_P(RdmaFrames, GivenSendsWhenPostedThenEachIsAnUntaggedMessageInOrder) {
  FillPattern(script.memory);
  const struct {
    SendOpcode opcode;
    uint8_t flags;
    Opcode expected;
  } cases[] = {
      {SendOpcode::kSend, 0, Opcode::kSend},
      {SendOpcode::kSend, abi::kSendSolicited, Opcode::kSendSolicited},
      {SendOpcode::kSendWithInvalidate, 0, Opcode::kSendInvalidate},
      {SendOpcode::kSendWithInvalidate, abi::kSendSolicited, Opcode::kSendSolicitedInvalidate},
  };
  uint32_t sequence = 1;
  for (const auto& c : cases) {
    Post({.opcode = c.opcode,
          .list = {Sge(8, 10), Sge(100, 13)},
          .flags = static_cast<uint8_t>(c.flags | abi::kSendSignaled),
          .immediate = 0x1234abcd});
    const ReceivedFpdu fpdu = One();
    EXPECT_EQ(fpdu.opcode, c.expected);
    EXPECT_FALSE(fpdu.ddp.tagged);
    EXPECT_TRUE(fpdu.ddp.last);
    EXPECT_EQ(fpdu.ddp.queue, iwarp::kSendQueue);
    EXPECT_EQ(fpdu.ddp.message_sequence, sequence++);
    EXPECT_EQ(fpdu.ddp.message_offset, 0u);
    if (iwarp::Invalidates(c.expected)) {
      EXPECT_EQ(fpdu.ddp.ulp_word, 0x1234abcdu);
    }
    Bytes expected(script.memory.data() + 8, script.memory.data() + 18);
    expected.insert(expected.end(), script.memory.data() + 100, script.memory.data() + 113);
    EXPECT_EQ(fpdu.payload, expected);
  }
  EXPECT_EQ(Sent().size(), 4u);
}

TEST_P(RdmaFrames, GivenALongMessageWhenSentThenEverySegmentIsOneFpdu) {
  FillPattern(script.memory);
  Post({.list = {Sge(0, 10000)}});
  const auto fpdus = script.Hear();
  ASSERT_GT(fpdus.size(), 6u);
  EXPECT_EQ(script.nic_segments.size(), fpdus.size());
  uint32_t offset = 0;
  Bytes all;
  for (const ReceivedFpdu& fpdu : fpdus) {
    EXPECT_EQ(fpdu.ddp.message_offset, offset);
    EXPECT_EQ(fpdu.ddp.last, &fpdu == &fpdus.back());
    EXPECT_EQ(fpdu.crc_good, script.crc);
    offset += static_cast<uint32_t>(fpdu.payload.size());
    all.insert(all.end(), fpdu.payload.begin(), fpdu.payload.end());
  }
  EXPECT_EQ(all, Bytes(script.memory.data(), script.memory.data() + 10000));
}

TEST_P(RdmaFrames, GivenAWriteWhenPostedThenTagged) {
  Post({.opcode = SendOpcode::kRdmaWrite,
        .remote_address = 0x123456789a,
        .remote_key = 77,
        .flags = abi::kSendSignaled | abi::kSendInline,
        .bytes = "written"});
  const ReceivedFpdu fpdu = One();
  EXPECT_EQ(fpdu.opcode, Opcode::kWrite);
  EXPECT_TRUE(fpdu.ddp.tagged);
  EXPECT_EQ(fpdu.ddp.stag, 77u);
  EXPECT_EQ(fpdu.ddp.tagged_offset, 0x123456789au);
  EXPECT_EQ(std::string(fpdu.payload.begin(), fpdu.payload.end()), "written");
  EXPECT_EQ(Sent().size(), 1u) << "done when it is acknowledged";
}

TEST_P(RdmaFrames, GivenAWriteWithImmediateWhenPostedThenTwoMessagesAndOneCompletion) {
  Post({.opcode = SendOpcode::kRdmaWriteWithImmediate,
        .list = {Sge(0, 4)},
        .remote_key = 77,
        .immediate = 0x44332211});
  const auto fpdus = script.Hear();
  ASSERT_EQ(fpdus.size(), 2u);
  EXPECT_EQ(fpdus[0].opcode, Opcode::kWrite);
  EXPECT_EQ(fpdus[1].opcode, Opcode::kImmediate);
  EXPECT_EQ(fpdus[1].payload, (Bytes{0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0}));
  EXPECT_EQ(Sent().size(), 1u);
}

TEST_P(RdmaFrames, GivenAReadWhenAnsweredThenItsBytesAreInTheListAndItIsDone) {
  Post({.opcode = SendOpcode::kRdmaRead,
        .list = {Sge(10, 3), Sge(20, 5)},
        .remote_address = 0x1000,
        .remote_key = 99});
  const ReceivedFpdu fpdu = One();
  EXPECT_EQ(fpdu.opcode, Opcode::kReadRequest);
  EXPECT_EQ(fpdu.ddp.queue, iwarp::kRequestQueue);
  iwarp::ReadRequest request;
  ASSERT_EQ(iwarp::ParseReadRequest(fpdu.payload, &request), iwarp::RdmapError::kNone);
  EXPECT_EQ(request.length, 8u);
  EXPECT_EQ(request.source_stag, 99u);
  EXPECT_EQ(request.source_offset, 0x1000u);
  EXPECT_TRUE(Sent().empty()) << "acknowledged is not answered";
  script.Say(script.ReadResponse(request.sink_stag, {'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'}));
  const auto done = script.nic.Poll(*script.cq);
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(Status(done[0]), Status(abi::CompletionStatus::kSuccess));
  EXPECT_EQ(std::memcmp(script.memory.data() + 10, "abc", 3), 0);
  EXPECT_EQ(std::memcmp(script.memory.data() + 20, "defgh", 5), 0);
}

TEST_P(RdmaFrames, GivenMoreReadsThanOrdWhenPostedThenTheRestWaitForAnswers) {
  for (int i = 0; i < 6; ++i) {
    Post({.opcode = SendOpcode::kRdmaRead, .list = {Sge(0, 1)}, .remote_key = 99});
  }
  EXPECT_EQ(script.Hear().size(), 4u);
  script.Say(script.ReadResponse(0, {1}));
  EXPECT_EQ(script.Hear().size(), 1u);
  script.Say(script.ReadResponse(1, {1}));
  EXPECT_EQ(script.Hear().size(), 1u);
  EXPECT_EQ(Sent().size(), 2u);
}

TEST_P(RdmaFrames, GivenAtomicsWhenPostedThenAsRfc7306HasThem) {
  Post({.opcode = SendOpcode::kAtomicFetchAdd,
        .list = {Sge(0, 8)},
        .remote_address = 64,
        .remote_key = 99,
        .operand = 5});
  const ReceivedFpdu fpdu = One();
  iwarp::AtomicRequest request;
  ASSERT_EQ(iwarp::ParseAtomicRequest(fpdu.payload, &request), iwarp::RdmapError::kNone);
  EXPECT_EQ(request.operation, iwarp::AtomicOperation::kFetchAdd);
  EXPECT_EQ(request.operand, 5u);
  EXPECT_EQ(request.offset, 64u);
  EXPECT_EQ(request.stag, 99u);
}

TEST_P(RdmaFrames, GivenAPeersReadWhenGrantedThenItsBytesComeBackUnderItsOwnName) {
  FillPattern(script.memory);
  script.Say(script.Read({.sink_stag = 0xabcd,
                          .sink_offset = 0x77,
                          .length = 3000,
                          .source_stag = script.key,
                          .source_offset = script.memory.address() + 5}));
  const auto fpdus = script.Hear();
  ASSERT_EQ(fpdus.size(), 3u);
  Bytes all;
  for (const ReceivedFpdu& fpdu : fpdus) {
    EXPECT_EQ(fpdu.opcode, Opcode::kReadResponse);
    EXPECT_EQ(fpdu.ddp.stag, 0xabcdu);
    EXPECT_EQ(fpdu.ddp.tagged_offset, 0x77 + all.size());
    EXPECT_EQ(fpdu.crc_good, script.crc);
    all.insert(all.end(), fpdu.payload.begin(), fpdu.payload.end());
  }
  EXPECT_EQ(all, Bytes(script.memory.data() + 5, script.memory.data() + 3005));
  EXPECT_TRUE(script.nic.Poll(*script.cq).empty()) << "its host has nothing to do with it";
}

TEST_P(RdmaFrames, GivenAPeersAtomicWhenGrantedThenCarriedOutAndAnswered) {
  const uint64_t before = 40;
  std::memcpy(script.memory.data() + 64, &before, 8);
  script.Say(script.Atomic({.operation = iwarp::AtomicOperation::kFetchAdd,
                            .identifier = 9,
                            .stag = script.key,
                            .offset = script.memory.address() + 64,
                            .operand = 2}));
  const ReceivedFpdu fpdu = One();
  iwarp::AtomicResponse response;
  ASSERT_EQ(iwarp::ParseAtomicResponse(fpdu.payload, &response), iwarp::RdmapError::kNone);
  EXPECT_EQ(response.identifier, 9u);
  EXPECT_EQ(response.original, 40u);
  uint64_t after = 0;
  std::memcpy(&after, script.memory.data() + 64, 8);
  EXPECT_EQ(after, 42u);
}

INSTANTIATE_TEST_SUITE_P(Crc, RdmaFrames, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "on" : "off"; });

// --- What is sent again

TEST(RdmaRepair, GivenARequestThatWaitsWhenOneBeforeItIsLostThenItIsSentAgain) {
  RdmaSetup setup;
  setup.qp.send_log2_stride = 9;  // the cache holds one entry
  ScriptedPeer script(setup);
  script.nic.hardware.DmaTakesTime();
  const abi::Sge sge = SgeOf(script.memory, script.key, 0, 8);
  const auto post = [&](SendOpcode opcode, uint8_t flags) {
    Post(script.nic, *script.qp,
         {.opcode = opcode, .list = {sge}, .remote_key = 99, .flags = flags});
  };
  post(SendOpcode::kRdmaRead, abi::kSendSignaled);
  script.cable.Run();
  int lost = 0;
  script.cable.filter = [&](const Frame& frame, bool from_a) {
    const bool text = frame[6] == ipv6::kTcp && frame.size() > 40 + (frame[52] >> 4) * size_t{4};
    return from_a || !text || lost++ != 0;
  };
  post(SendOpcode::kRdmaWrite, abi::kSendSignaled);
  post(SendOpcode::kRdmaWrite, abi::kSendSignaled);
  post(SendOpcode::kSend, abi::kSendSignaled | abi::kSendFence);  // behind the read
  script.cable.Advance(3000 * kMs, 10 * kMs);
  ASSERT_GE(lost, 3) << "both Writes have gone, and the first once more";
  const auto fpdus = script.Hear();
  ASSERT_EQ(fpdus.size(), 3u);
  EXPECT_EQ(fpdus[0].opcode, Opcode::kReadRequest);
  EXPECT_EQ(fpdus[1].opcode, Opcode::kWrite);
  EXPECT_EQ(fpdus[2].opcode, Opcode::kWrite);
  script.Say(script.ReadResponse(0, Bytes(8)));
  const auto fenced = script.Hear();
  ASSERT_EQ(fenced.size(), 1u);
  EXPECT_EQ(fenced[0].opcode, Opcode::kSend);
}

// --- Memory that is taken back

struct RdmaRefusedAnswer : ::testing::Test {
  ScriptedPeer script;
  /// A peer's read is answered, and the wire refuses the answer.
  void Refuse(uint32_t key) {
    script.nic.hardware.wire_full = true;
    script.Say(
        script.Read({.length = 8, .source_stag = key, .source_offset = script.memory.address()}));
    ASSERT_EQ(script.nic.hardware.payloads_held(), 1u);
    ASSERT_EQ(script.nic.hardware.payloads_kept, 0u);
  }
  /// It goes as it was.
  void Let() {
    script.nic.hardware.wire_full = false;
    script.cable.Advance(100 * kMs);
    const auto fpdus = script.Hear();
    ASSERT_EQ(fpdus.size(), 1u);
    EXPECT_EQ(fpdus[0].opcode, Opcode::kReadResponse);
    EXPECT_TRUE(fpdus[0].crc_good);
  }
};

TEST_F(RdmaRefusedAnswer, GivenOneWhenItsMemoryIsDeregisteredThenItIsTheNicsOwn) {
  Refuse(script.key);
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kDeregisterMemory);
  command.deregister_memory.key = script.key;
  ASSERT_EQ(script.nic.Command(command).status, kOk);
  EXPECT_EQ(script.nic.hardware.payloads_kept, 1u);
  Let();
}

TEST_F(RdmaRefusedAnswer, GivenASendOfTheHostsWhenMemoryIsDeregisteredThenItStaysWhereItIs) {
  script.nic.hardware.wire_full = true;
  Post(script.nic, *script.qp, {.list = {SgeOf(script.memory, script.key, 0, 8)}});
  script.cable.Run();
  ASSERT_EQ(script.nic.hardware.payloads_held(), 1u);
  HostMemory other(script.nic.hardware, 64);
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kDeregisterMemory);
  command.deregister_memory.key = script.nic.Register(other);
  ASSERT_EQ(script.nic.Command(command).status, kOk);
  EXPECT_EQ(script.nic.hardware.payloads_kept, 0u) << "it completes first";
}

// --- A host that means harm

TEST(RdmaHost, GivenInlineDataThatIsLengthenedAfterItWasAnnouncedWhenSentAgainThenNoByteOfItGoes) {
  ScriptedPeer script;
  bool lost = true;
  script.cable.filter = [&](const Frame&, bool from_a) { return from_a || !lost; };
  Post(script.nic, *script.qp,
       {.flags = abi::kSendSignaled | abi::kSendInline, .bytes = std::string(60, 'x')});
  script.cable.Run();
  // Others take its place in the cache, so that it has to be read again.
  for (int i = 0; i < 40; ++i) {
    Post(script.nic, *script.qp, {.flags = abi::kSendInline, .bytes = "y"});
  }
  script.cable.Run();
  auto* wqe = reinterpret_cast<abi::SendWqe*>(script.qp->send_ring->data());
  wqe->inline_length = 20000;
  wqe->length = 20000;
  lost = false;
  script.cable.Advance(3000 * kMs, 10 * kMs);
  for (const ReceivedFpdu& fpdu : script.Hear()) EXPECT_LE(fpdu.payload.size(), 60u);
  wqe->inline_length = 10;  // shorter than announced: it cannot be made again
  EXPECT_EQ(script.nic.hardware.illegal_accesses, 0u);
}

TEST(RdmaHost,
     GivenInlineDataThatIsShortenedAfterItWasAnnouncedWhenSentAgainThenTheQueuePairFails) {
  ScriptedPeer script;
  bool lost = true;
  script.cable.filter = [&](const Frame&, bool from_a) { return from_a || !lost; };
  Post(script.nic, *script.qp,
       {.flags = abi::kSendSignaled | abi::kSendInline, .bytes = std::string(60, 'x')});
  for (int i = 0; i < 40; ++i) {
    Post(script.nic, *script.qp, {.flags = abi::kSendInline, .bytes = "y"});
  }
  script.cable.Run();
  reinterpret_cast<abi::SendWqe*>(script.qp->send_ring->data())->inline_length = 10;
  lost = false;
  script.cable.Advance(5000 * kMs, 10 * kMs);
  const auto done = script.nic.Poll(*script.cq);
  ASSERT_FALSE(done.empty());
  EXPECT_EQ(Status(done[0]), Status(abi::CompletionStatus::kLocalProtectionError));
}

TEST(RdmaHost, GivenAListThatNoLongerFitsItsEntryWhenSentAgainThenTheQueuePairFails) {
  const std::function<void(abi::SendWqe&)> spoils[] = {
      [](abi::SendWqe& wqe) { wqe.sge_count = 200; },
      [](abi::SendWqe& wqe) { wqe.flags |= abi::kSendInline; },
  };
  for (const auto& spoil : spoils) {
    ScriptedPeer script;
    bool lost = true;
    script.cable.filter = [&](const Frame&, bool from_a) { return from_a || !lost; };
    Post(script.nic, *script.qp, {.list = {SgeOf(script.memory, script.key, 0, 60)}});
    for (int i = 0; i < 40; ++i) {
      Post(script.nic, *script.qp, {.flags = abi::kSendInline, .bytes = "y"});
    }
    script.cable.Run();
    spoil(*reinterpret_cast<abi::SendWqe*>(script.qp->send_ring->data()));
    lost = false;
    script.cable.Advance(5000 * kMs, 10 * kMs);
    const auto done = script.nic.Poll(*script.cq);
    ASSERT_FALSE(done.empty());
    EXPECT_EQ(Status(done[0]), Status(abi::CompletionStatus::kLocalProtectionError));
    EXPECT_EQ(script.nic.hardware.illegal_accesses, 0u);
  }
}

TEST(RdmaHost, GivenATimeWaitThatHasTheLastPlaceWhenOneIsCreatedThenItHasThatPlace) {
  RdmaPair pair;
  pair.a.QpCommand(abi::CommandOpcode::kShutdown, *pair.qp_a);
  pair.cable.Run();
  pair.b.QpCommand(abi::CommandOpcode::kShutdown, *pair.qp_b);
  pair.cable.Run();
  ASSERT_EQ(pair.a.QpCommand(abi::CommandOpcode::kDestroyQp, *pair.qp_a).status, 0);
  const uint32_t places = RdmaNic().max_rdma_qps;
  std::vector<std::unique_ptr<TestQp>> qps;
  for (uint32_t i = 0; i < places; ++i) qps.push_back(pair.a.CreateQp(*pair.cq_a, RdmaQp()));
  for (const auto& qp : qps) {
    EXPECT_EQ(pair.a.QpCommand(abi::CommandOpcode::kDestroyQp, *qp).status, 0);
  }
}

TEST(RdmaHost, GivenMalformedRequestsWhenPostedThenEachFailsByName) {
  struct Case {
    const char* name;
    std::function<void(abi::SendWqe&)> spoil;
    abi::CompletionStatus status;
  };
  using enum abi::CompletionStatus;
  const Case cases[] = {
      {"opcode", [](abi::SendWqe& w) { w.opcode = 99; }, kLocalQpOperationError},
      {"length", [](abi::SendWqe& w) { w.length += 1; }, kLocalQpOperationError},
      {"more than a gibibyte",
       [](abi::SendWqe& w) {
         w.length = (1u << 30) + 1;
         reinterpret_cast<abi::Sge*>(&w + 1)->length = w.length;
       },
       kLocalLengthError},
      {"elements", [](abi::SendWqe& w) { w.sge_count = 200; }, kLocalQpOperationError},
      {"atomic of 4 bytes",
       [](abi::SendWqe& w) { w.opcode = static_cast<uint8_t>(SendOpcode::kAtomicFetchAdd); },
       kLocalQpOperationError},
      {"an invalidate with bytes",
       [](abi::SendWqe& w) { w.opcode = static_cast<uint8_t>(SendOpcode::kLocalInvalidate); },
       kLocalQpOperationError},
      {"an inline read",
       [](abi::SendWqe& w) {
         w.opcode = static_cast<uint8_t>(SendOpcode::kRdmaRead);
         w.flags |= abi::kSendInline;
         w.inline_length = static_cast<uint16_t>(w.length);
       },
       kLocalQpOperationError},
  };
  for (const Case& c : cases) {
    ScriptedPeer script;
    Post(script.nic, *script.qp, {.list = {SgeOf(script.memory, script.key, 0, 4)}}, false);
    c.spoil(*reinterpret_cast<abi::SendWqe*>(script.qp->send_ring->data()));
    script.nic.RingSend(*script.qp);
    script.cable.Run();
    const auto done = script.nic.Poll(*script.cq);
    ASSERT_EQ(done.size(), 1u) << c.name;
    EXPECT_EQ(Status(done[0]), Status(c.status)) << c.name;
    EXPECT_TRUE(script.nic_segments.empty() || script.Hear().empty()) << c.name;
  }
}

}  // namespace
}  // namespace qpip::fw::test

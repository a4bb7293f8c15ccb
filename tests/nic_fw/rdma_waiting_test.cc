// RDMA: a queue pair whose messages wait for receives.
#include "nic_fw/state.h"
#include "rdma_bench.h"

namespace qpip::fw::test {
namespace {

using iwarp::Cause;
using iwarp::Opcode;

RdmaSetup Waiting(uint32_t window = 1 << 20, bool crc = true) {
  RdmaSetup setup;
  setup.crc = crc;
  setup.qp.flags = abi::kQpWaitForReceive;
  setup.qp.overflow_bytes = window + abi::kRdmaWaitingBytes;
  return setup;
}

struct RdmaWaiting : ::testing::Test {
  std::unique_ptr<ScriptedPeer> script = std::make_unique<ScriptedPeer>(Waiting());
  abi::Sge Sge(uint64_t offset, uint32_t length) {
    return SgeOf(script->memory, script->key, offset, length);
  }
  uint8_t* Memory() { return script->memory.data(); }
  std::vector<abi::Cqe> Poll() { return script->nic.Poll(*script->cq); }
  void PostRecv(uint64_t offset, uint32_t length) {
    script->nic.PostRecv(*script->qp, {Sge(offset, length)});
    script->cable.Run();
  }
  void LosePeer() {
    const abi::Ip6Address peer = Address(1);
    script->nic.hardware.incoming.emplace_back(std::begin(peer.bytes), std::end(peer.bytes));
    script->cable.Run();
  }
  bool Terminated() { return WhyTerminated(script->nic, *script->qp).has_value(); }
};

TEST_F(RdmaWaiting, GivenASendWithoutAReceiveWhenOneIsPostedThenItHasIt) {
  script->Say(script->Send(Pattern(100)));
  EXPECT_FALSE(Terminated());
  EXPECT_TRUE(Poll().empty());
  EXPECT_EQ(script->nic.hardware.frames_borrowed(), 0u) << "nor does it hold a frame";
  PostRecv(8, 200);
  const auto done = Poll();
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(Status(done[0]), Status(abi::CompletionStatus::kSuccess));
  EXPECT_EQ(done[0].byte_length, 100u);
  EXPECT_EQ(Bytes(Memory() + 8, Memory() + 108), Pattern(100));
}

TEST_F(RdmaWaiting, GivenImmediateDataThatWaitWhenReceivedThenTheLengthIsThatOfTheWriteInFront) {
  const Bytes data = {1, 2, 3, 4, 9, 9, 9, 9};
  const auto cut = [&](const Bytes& fpdu) {  // gathered first
    script->Say(Bytes(fpdu.begin(), fpdu.begin() + 9));
    script->Say(Bytes(fpdu.begin() + 9, fpdu.end()));
  };
  script->Say(script->Write(script->key, script->memory.address() + 1000, Pattern(3000)));
  script->Say(script->Send(data, Opcode::kImmediate));
  script->Say(script->Write(script->key, script->memory.address() + 1000, Bytes(10)));
  cut(script->Send(data, Opcode::kImmediate));
  script->Say(script->Send(data, Opcode::kImmediate));
  for (const uint32_t length : {3000u, 10u, 0u}) {
    PostRecv(0, 64);
    const auto done = Poll();
    ASSERT_EQ(done.size(), 1u);
    EXPECT_EQ(done[0].flags, uint32_t{abi::kCqeImmediate});
    EXPECT_EQ(done[0].immediate, 0x04030201u);
    EXPECT_EQ(done[0].byte_length, length);
  }
}

TEST_F(RdmaWaiting, GivenMessagesOfManyKindsWhenReceivesComeOneByOneThenInOrderEachWithItsOwn) {
  Bytes bound(64);
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kRegisterMemory);
  command.register_memory = {
      script->memory.address(), 4096, script->memory.address(), 0, 0, kEveryRight, 1,
      script->qp->handle,       0};
  const uint32_t key = script->nic.Command(command).result[0];
  script->Say(script->Send(Pattern(3000, 1)));  // three segments
  script->Say(script->Send({}));
  script->Say(script->Send(Pattern(20, 2), Opcode::kSendSolicitedInvalidate, key));
  script->Say(script->Send({1, 2, 3, 4, 0, 0, 0, 0}, Opcode::kImmediate));
  script->Say(script->Send(Pattern(1400, 3)));
  EXPECT_TRUE(Poll().empty());
  const auto next = [&] {
    PostRecv(0, 4000);
    const auto done = Poll();
    EXPECT_EQ(done.size(), 1u);
    EXPECT_EQ(Status(done[0]), Status(abi::CompletionStatus::kSuccess));
    return done[0];
  };
  EXPECT_EQ(next().byte_length, 3000u);
  EXPECT_EQ(Bytes(Memory(), Memory() + 3000), Pattern(3000, 1));
  EXPECT_EQ(next().byte_length, 0u);
  const abi::Cqe invalidated = next();
  EXPECT_EQ(invalidated.byte_length, 20u);
  EXPECT_EQ(invalidated.flags, uint32_t{abi::kCqeSolicited | abi::kCqeInvalidated});
  EXPECT_EQ(invalidated.key, key);
  const abi::Cqe immediate = next();
  EXPECT_EQ(immediate.flags, uint32_t{abi::kCqeImmediate});
  EXPECT_EQ(immediate.immediate, 0x04030201u);
  EXPECT_EQ(next().byte_length, 1400u);
  EXPECT_EQ(Bytes(Memory(), Memory() + 1400), Pattern(1400, 3));
  // And nothing waits any more: straight into a receive.
  PostRecv(0, 100);
  script->Say(script->Send(Pattern(50, 4)));
  EXPECT_EQ(Poll().size(), 1u);
  EXPECT_FALSE(Terminated());
}

TEST_F(RdmaWaiting, GivenSendsThatWaitWhenAReadIsAnsweredBehindThemThenItIsDone) {
  for (int i = 0; i < 10; ++i) script->Say(script->Send(Pattern(1000)));
  Post(script->nic, *script->qp,
       {.opcode = abi::SendOpcode::kRdmaRead, .list = {Sge(0, 8)}, .remote_key = 99});
  script->cable.Run();
  script->Say(script->Send(Pattern(1000)));
  script->Say(script->ReadResponse(0, Pattern(8, 5)));
  const auto done = Poll();
  ASSERT_EQ(done.size(), 1u) << "it does not wait for a receive";
  EXPECT_FALSE(IsRecv(done[0]));
  EXPECT_EQ(Status(done[0]), Status(abi::CompletionStatus::kSuccess));
  EXPECT_EQ(Bytes(Memory(), Memory() + 8), Pattern(8, 5));
}

TEST(RdmaWaitingPair, GivenBothEndsSendWithoutReceivesWhenBothReadThenNoDeadlock) {
  RdmaPair pair(Waiting());
  const auto flood = [](FirmwareBench& bench, TestQp& qp, const abi::Sge& from) {
    for (int i = 0; i < 20; ++i) Post(bench, qp, {.list = {from}});
  };
  flood(pair.a, *pair.qp_a, SgeOf(pair.memory_a, pair.key_a, 0, 20000));
  flood(pair.b, *pair.qp_b, SgeOf(pair.memory_b, pair.key_b, 0, 20000));
  std::memset(pair.memory_a.data() + 100000, 1, 30000);
  std::memset(pair.memory_b.data() + 100000, 2, 30000);
  const auto read = [](FirmwareBench& bench, TestQp& qp, const abi::Sge& to, const abi::Sge& from) {
    Post(bench, qp,
         {.opcode = abi::SendOpcode::kRdmaRead,
          .list = {to},
          .remote_address = from.address,
          .remote_key = from.key});
  };
  const abi::Sge in_a = SgeOf(pair.memory_a, pair.key_a, 200000, 30000);
  const abi::Sge in_b = SgeOf(pair.memory_b, pair.key_b, 200000, 30000);
  read(pair.a, *pair.qp_a, in_a, SgeOf(pair.memory_b, pair.key_b, 100000, 30000));
  read(pair.b, *pair.qp_b, in_b, SgeOf(pair.memory_a, pair.key_a, 100000, 30000));
  pair.cable.Advance(2000 * kMs, 5 * kMs);
  const auto done_a = pair.a.Poll(*pair.cq_a);
  const auto done_b = pair.b.Poll(*pair.cq_b);
  ASSERT_EQ(done_a.size(), 21u);
  ASSERT_EQ(done_b.size(), 21u);
  for (const abi::Cqe& cqe : done_a)
    EXPECT_EQ(Status(cqe), Status(abi::CompletionStatus::kSuccess));
  EXPECT_EQ(pair.memory_a.data()[229999], 2);
  EXPECT_EQ(pair.memory_b.data()[229999], 1);
}

TEST_F(RdmaWaiting, GivenAPoolThatIsFullWhenReceivesArePostedThenAllOfItGoesOnThroughTheRing) {
  // A window of 100 kB; the peer has ten times as much.
  constexpr uint32_t kWindow = 100 << 10;
  for (const bool crc : {true, false}) {
    RdmaPair pair(Waiting(kWindow, crc));
    std::mt19937 random(1);
    std::vector<uint32_t> sizes;
    uint32_t sum = 0;
    for (int i = 0; i < 60; ++i) {
      sizes.push_back(random() % 30000);
      sum += sizes.back();
      FillPattern(pair.memory_a);
      Post(pair.a, *pair.qp_a, {.list = {SgeOf(pair.memory_a, pair.key_a, 0, sizes.back())}});
    }
    ASSERT_GT(sum, 5 * kWindow);
    pair.cable.Advance(1000 * kMs, 5 * kMs);
    EXPECT_TRUE(Only(pair.b.Poll(*pair.cq_b), true).empty());
    EXPECT_LT(pair.a.Poll(*pair.cq_a).size(), 60u) << "the window is closed";
    for (const uint32_t size : sizes) {
      std::memset(pair.memory_b.data(), 0, 30001);
      pair.b.PostRecv(*pair.qp_b, {SgeOf(pair.memory_b, pair.key_b, 0, 30001)});
      pair.cable.Advance(1000 * kMs, 50 * kMs);
      const auto done = pair.b.Poll(*pair.cq_b);
      ASSERT_EQ(done.size(), 1u);
      ASSERT_EQ(Status(done[0]), Status(abi::CompletionStatus::kSuccess));
      ASSERT_EQ(done[0].byte_length, size);
      ASSERT_EQ(std::memcmp(pair.memory_b.data(), pair.memory_a.data(), size), 0);
      ASSERT_EQ(pair.memory_b.data()[size], 0);
    }
    EXPECT_EQ(pair.b.hardware.illegal_accesses, 0u);
    EXPECT_EQ(pair.b.hardware.frames_borrowed(), 0u);
  }
}

TEST_F(RdmaWaiting, GivenLongFpdusInManySegmentsWhenThePoolIsFullThenTheWindowHoldsTheRestBack) {
  constexpr uint32_t kBytes = 40000;
  script = std::make_unique<ScriptedPeer>(Waiting(100 << 10));
  Bytes all;
  for (uint32_t i = 0; i < 5; ++i) {
    iwarp::Message message;
    message.length = kBytes;
    message.message_sequence = i + 1;
    const Bytes one = script->Fpdus(message, Pattern(kBytes, i), iwarp::kMaxMulpdu);
    all.insert(all.end(), one.begin(), one.end());
  }
  script->Say(all);
  script->cable.Advance(1000 * kMs, 20 * kMs);
  EXPECT_FALSE(Terminated());
  for (uint32_t i = 0; i < 5; ++i) {
    PostRecv(0, kBytes);
    script->cable.Advance(1000 * kMs, 20 * kMs);
    const auto done = Poll();
    ASSERT_EQ(done.size(), 1u) << i;
    ASSERT_EQ(Status(done[0]), Status(abi::CompletionStatus::kSuccess));
    ASSERT_EQ(Bytes(Memory(), Memory() + kBytes), Pattern(kBytes, i));
  }
}

TEST_F(RdmaWaiting, GivenAMessageThatWaitsWhenItsReceiveIsTooShortThenRefused) {
  script->Say(script->Send(Pattern(100)));
  PostRecv(0, 99);
  EXPECT_EQ(iwarp::CauseOf(script->HearTerminate().code), Cause::kMessageTooLong);
  script->cable.Advance(100 * kMs);
  const auto done = Poll();
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(Status(done[0]), Status(abi::CompletionStatus::kLocalLengthError));
  EXPECT_EQ(Memory()[0], 0);
}

TEST_F(RdmaWaiting, GivenAPeerThatClosesWhenItsSendsWaitThenTheyCanStillBeReceived) {
  script->Say(script->Send(Pattern(100)));
  script->Say(script->Send(Pattern(10, 1)));
  script->Shutdown();
  EXPECT_EQ(EventsOf(script->nic, abi::EventKind::kPeerClosed).size(), 1u);
  PostRecv(0, 100);
  PostRecv(0, 100);
  PostRecv(0, 100);
  script->cable.Advance(100 * kMs);
  const auto done = Poll();
  ASSERT_EQ(done.size(), 3u);
  EXPECT_EQ(done[0].byte_length, 100u);
  EXPECT_EQ(done[1].byte_length, 10u);
  EXPECT_EQ(Status(done[2]), Status(abi::CompletionStatus::kFlushed));
  EXPECT_EQ(EventsOf(script->nic, abi::EventKind::kDisconnected).size(), 1u);
}

TEST_F(RdmaWaiting, GivenAHostThatHasShutDownWhenThePeerClosesThenWhatWaitsIsDropped) {
  script->Say(script->Send(Pattern(100)));
  EXPECT_EQ(script->nic.QpCommand(abi::CommandOpcode::kShutdown, *script->qp).status, 0);
  script->cable.Run();
  script->Shutdown();
  script->cable.Advance(100 * kMs);
  const auto ended = EventsOf(script->nic, abi::EventKind::kDisconnected);
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].status, static_cast<uint8_t>(abi::DisconnectReason::kClosed));
}

TEST_F(RdmaWaiting, GivenAPeerThatIsLostWhenItsSendsWaitThenTheyCanStillBeReceived) {
  script->Say(script->Send(Pattern(3000)));  // three segments
  script->Say(script->Send(Pattern(10, 1)));
  for (int i = 0; i < 2; ++i) LosePeer();  // however often it is said
  EXPECT_EQ(EventsOf(script->nic, abi::EventKind::kPeerClosed).size(), 1u);
  PostRecv(0, 3000);
  EXPECT_EQ(EventsOf(script->nic, abi::EventKind::kDisconnected).size(), 0u);
  PostRecv(0, 100);
  const auto done = Poll();
  ASSERT_EQ(done.size(), 2u);
  EXPECT_EQ(done[0].byte_length, 3000u);
  EXPECT_EQ(done[1].byte_length, 10u);
  const auto ended = EventsOf(script->nic, abi::EventKind::kDisconnected);
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].status, static_cast<uint8_t>(abi::DisconnectReason::kUnreachable));
  PostRecv(0, 100);
  EXPECT_EQ(Status(Poll().at(0)), Status(abi::CompletionStatus::kFlushed));
}

TEST(RdmaWaitingPair, GivenAPeerThatResetsWhenItsSendsWaitThenReceivedUnlessTheHostSends) {
  for (const bool sends : {false, true}) {
    RdmaPair pair(Waiting());
    for (int i = 0; i < 2; ++i) {
      Post(pair.a, *pair.qp_a, {.list = {SgeOf(pair.memory_a, pair.key_a, 0, 100)}});
    }
    pair.cable.Run();
    ASSERT_EQ(pair.a.Poll(*pair.cq_a).size(), 2u);
    EXPECT_EQ(pair.a.QpCommand(abi::CommandOpcode::kAbort, *pair.qp_a).status, 0);
    pair.cable.Run();
    if (sends) Post(pair.b, *pair.qp_b, {.list = {SgeOf(pair.memory_b, pair.key_b, 0, 100)}});
    pair.cable.Run();
    for (int i = 0; i < 2; ++i) {
      pair.b.PostRecv(*pair.qp_b, {SgeOf(pair.memory_b, pair.key_b, 0, 100)});
      pair.cable.Run();
    }
    const auto ended = EventsOf(pair.b, abi::EventKind::kDisconnected);
    ASSERT_EQ(ended.size(), 1u);
    EXPECT_EQ(ended[0].status, static_cast<uint8_t>(abi::DisconnectReason::kReset));
    size_t received = 0;
    for (const abi::Cqe& cqe : pair.b.Poll(*pair.cq_b)) {
      received += IsRecv(cqe) && Status(cqe) == Status(abi::CompletionStatus::kSuccess) ? 1 : 0;
    }
    EXPECT_EQ(received, sends ? 0u : 2u);
  }
}

TEST_F(RdmaWaiting, GivenAPeerThatIsLostWhenTheHostShutsDownThenWhatWaitsIsDropped) {
  script->Say(script->Send(Pattern(100)));
  LosePeer();
  EXPECT_EQ(script->nic.QpCommand(abi::CommandOpcode::kShutdown, *script->qp).status, 0);
  script->cable.Run();
  EXPECT_EQ(EventsOf(script->nic, abi::EventKind::kDisconnected).size(), 1u);
}

TEST_F(RdmaWaiting, GivenAHostThatChangesWhatWaitsWhenItGoesOnThenItsQueuePairFailsAndNoOther) {
  const Bytes message = Pattern(40);
  for (uint32_t at = 0; at < 20; ++at) {
    script = std::make_unique<ScriptedPeer>(Waiting());
    script->Say(script->Send(message));
    uint8_t* stored = script->qp->pool->data() + abi::kMinRdmaPool;
    for (uint32_t i = 0; i < 20; ++i) stored[(at + i) % 20] ^= 0xff;
    PostRecv(0, 100);
    script->cable.Advance(100 * kMs);
    const auto done = Poll();
    ASSERT_EQ(done.size(), 1u);
    EXPECT_NE(Status(done[0]), Status(abi::CompletionStatus::kSuccess));
    EXPECT_EQ(script->nic.hardware.illegal_accesses, 0u);
  }
}

TEST_F(RdmaWaiting, GivenAMessageOnItsWayOutWhenTheConnectionEndsThenItsReceiveComesBackOnce) {
  script->nic.hardware.DmaTakesTime();
  script->Say(script->Send(Pattern(100)));
  PostRecv(0, 100);  // the head is read, then the bytes are copied: at rest, all of it is done
  EXPECT_EQ(Poll().size(), 1u);
  script->Say(script->Send(Pattern(100)));
  script->nic.PostRecv(*script->qp, {Sge(0, 100)});
  for (int steps = 0; steps < 12; ++steps) {
    qpip_fw_step(script->nic.arena.data(), &script->nic.hardware.platform(), script->nic.now, 1);
  }
  script->nic.hardware.hold_dma = true;
  script->nic.QpCommand(abi::CommandOpcode::kAbort, *script->qp);
  script->nic.hardware.hold_dma = false;
  script->cable.Run();
  EXPECT_EQ(Poll().size(), 1u);
}

TEST_F(RdmaWaiting, GivenTheOptionWhereItMeansNothingWhenCreatedThenRefused) {
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kCreateQp);
  command.create_qp = script->qp->create;
  command.create_qp.overflow_bytes = abi::kRdmaWaitingBytes;  // nothing is left to advertise
  EXPECT_EQ(script->nic.Command(command).status,
            static_cast<uint8_t>(abi::CommandStatus::kBadCommand));
  command.create_qp = script->qp->create;
  command.create_qp.framing = static_cast<uint8_t>(abi::Framing::kStream);
  EXPECT_EQ(script->nic.Command(command).status,
            static_cast<uint8_t>(abi::CommandStatus::kBadCommand));
}

}  // namespace
}  // namespace qpip::fw::test

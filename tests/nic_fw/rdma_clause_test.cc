// RDMA: requirements of RFC 5040, 5041, 5044 and 6581 that no other case shows. The clause is named
// with each (docs/rdma-conformance.md has them all).
#include <algorithm>

#include "nic_fw/rdma_state.h"
#include "rdma_bench.h"

namespace qpip::fw::test {
namespace {

using iwarp::Cause;
using iwarp::Opcode;

constexpr uint8_t kFinOrRst = 0x05;
constexpr size_t kFlagsAt = 53;

struct RdmaClause : ::testing::Test {
  ScriptedPeer script;
  uint8_t* Memory() { return script.memory.data(); }
  uint64_t Address() const { return script.memory.address(); }
  std::vector<abi::Cqe> Poll() { return script.nic.Poll(*script.cq); }
  void PostRecv(uint64_t offset, uint32_t length) {
    script.nic.PostRecv(*script.qp, {SgeOf(script.memory, script.key, offset, length)});
    script.cable.Run();
  }
  bool Terminated() { return WhyTerminated(script.nic, *script.qp).has_value(); }
  static Bytes Joined(std::initializer_list<Bytes> parts) {
    Bytes out;
    for (const Bytes& part : parts) out.insert(out.end(), part.begin(), part.end());
    return out;
  }
  /// Sends what the peer says nothing about.
  void PostSend() {
    Post(script.nic, *script.qp,
         {.flags = abi::kSendSignaled | abi::kSendInline, .bytes = "hello"});
    script.cable.Run();
  }
};

bool HasText(const Frame& frame) {
  return frame[6] == ipv6::kTcp && frame.size() > 40 + (frame[52] >> 4) * size_t{4};
}

bool Has(const std::vector<abi::Event>& events, abi::EventKind kind, uint8_t status) {
  return std::any_of(events.begin(), events.end(), [&](const abi::Event& event) {
    return event.kind == static_cast<uint8_t>(kind) && event.status == status;
  });
}

// --- RFC 5040

TEST_F(RdmaClause,
       GivenReservedBitsAndAnInvalidateStagWhenNothingIsInvalidatedThenIgnored) {  // 4.1
  PostRecv(0, 64);
  iwarp::DdpHeader ddp;
  ddp.last = true;
  ddp.ulp_control = iwarp::RdmapControl(Opcode::kSend) | 0x30;
  ddp.ulp_word = script.key;
  ddp.message_sequence = 1;
  Bytes ulpdu(iwarp::DdpHeaderBytes(ddp));
  iwarp::EmitDdp(ddp, ulpdu);
  ulpdu.resize(ulpdu.size() + 8, 7);
  script.Say(script.Raw(ulpdu));
  const auto done = Poll();
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(Status(done[0]), Status(abi::CompletionStatus::kSuccess));
  EXPECT_EQ(done[0].flags & abi::kCqeInvalidated, 0);
  script.Say(script.Write(script.key, Address() + 100, Bytes(4, 9)));
  EXPECT_EQ(Memory()[100], 9) << "the key is as good as before";
}

TEST_F(RdmaClause, GivenAWriteAndAReadOfThePeersWhenDoneThenTheHostHearsNothing) {  // 5.1, 5.2.1
  PostRecv(0, 64);
  script.nic.Events();
  script.Say(script.Write(script.key, Address() + 100, Bytes(4, 9)));
  script.Say(script.Read({.length = 4, .source_stag = script.key, .source_offset = Address()}));
  EXPECT_EQ(script.Hear().size(), 1u);
  EXPECT_EQ(Memory()[100], 9);
  EXPECT_TRUE(Poll().empty());
  EXPECT_TRUE(script.nic.Events().empty());
}

TEST_F(RdmaClause, GivenAnEmptyReadWhenItsSourceIsNobodysThenAnEmptyResponse) {  // 5.2.1
  script.Say(script.Read({.sink_stag = 5, .sink_offset = 6, .source_stag = script.key ^ 1}));
  const auto heard = script.Hear();
  ASSERT_EQ(heard.size(), 1u);
  EXPECT_EQ(heard[0].opcode, Opcode::kReadResponse);
  EXPECT_EQ(heard[0].ddp.stag, 5u);
  EXPECT_EQ(heard[0].ddp.tagged_offset, 6u);
  EXPECT_TRUE(heard[0].ddp.last);
  EXPECT_TRUE(heard[0].payload.empty());
  EXPECT_FALSE(Terminated());
}

TEST_F(RdmaClause, GivenAReadBehindAWriteWhenAnsweredThenItHasTheWrittenBytes) {  // 5.5
  script.nic.hardware.DmaTakesTime();
  const Bytes bytes = Pattern(500, 3);
  script.Say(Joined(
      {script.Write(script.key, Address(), bytes),
       script.Read({.length = 500, .source_stag = script.key, .source_offset = Address()})}));
  const auto heard = script.Hear();
  ASSERT_EQ(heard.size(), 1u);
  EXPECT_EQ(heard[0].payload, bytes);
}

TEST_F(RdmaClause, GivenAPeersTerminateWhenReceivedThenItIsAcknowledgedFirst) {  // 6.2.1
  Bytes payload(iwarp::kMaxTerminateBytes);
  payload.resize(
      iwarp::EmitTerminate(iwarp::MakeTerminate(Cause::kBadCrc, nullptr, 0, nullptr), payload));
  iwarp::DdpHeader ddp;
  ddp.last = true;
  ddp.queue = iwarp::kTerminateQueue;
  ddp.ulp_control = iwarp::RdmapControl(Opcode::kTerminate);
  ddp.message_sequence = 1;
  Bytes ulpdu(iwarp::DdpHeaderBytes(ddp));
  iwarp::EmitDdp(ddp, ulpdu);
  ulpdu.insert(ulpdu.end(), payload.begin(), payload.end());
  std::vector<uint8_t> flags;
  uint32_t end = 0;
  std::vector<uint32_t> acknowledged;
  script.cable.filter = [&](const Frame& frame, bool from_a) {
    if (from_a && HasText(frame)) {
      const size_t headers = 40 + (frame[52] >> 4) * size_t{4};
      end = LoadBe32(&frame[44]) + static_cast<uint32_t>(frame.size() - headers);
    } else if (!from_a && frame[6] == ipv6::kTcp) {
      flags.push_back(frame[kFlagsAt]);
      acknowledged.push_back(LoadBe32(&frame[48]));
    }
    return true;
  };
  script.Say(script.Raw(ulpdu));
  ASSERT_FALSE(flags.empty());
  EXPECT_EQ(flags[0] & kFinOrRst, 0);
  EXPECT_EQ(acknowledged[0], end) << "the Terminate has arrived, and the peer knows";
  EXPECT_TRUE(Terminated());
}

TEST_F(RdmaClause, GivenACompletionQueueThatOverflowsWhenOthersAreUsedThenTheyGoOn) {  // 8.1.1
  auto small = script.nic.CreateCq(1);
  auto udp = script.nic.CreateQp(*small, {.type = abi::QpType::kUdp});
  script.nic.Bind(*udp, 1000);
  for (int i = 0; i < 8; ++i) {
    script.nic.PostInline(*udp, "x", 1, 2000);
    script.cable.Run();
  }
  EXPECT_TRUE(Has(script.nic.Events(), abi::EventKind::kCqError, 0));
  PostRecv(0, 64);
  script.Say(script.Send(Bytes(8, 7)));
  const auto done = Poll();
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(Status(done[0]), Status(abi::CompletionStatus::kSuccess));
}

// --- RFC 5041

TEST_F(RdmaClause, GivenASegmentComesTwiceWhenReceivedThenDeliveredOnce) {  // 3, 5.3
  PostRecv(0, 64);
  PostRecv(64, 64);
  script.cable.filter = [&](const Frame& frame, bool from_a) {
    if (from_a && HasText(frame)) script.nic.hardware.incoming.push_back(frame);
    return true;
  };
  script.Say(script.Send(Bytes(8, 7)));
  EXPECT_EQ(Poll().size(), 1u);
  script.Say(script.Send(Bytes(8, 9)));
  EXPECT_EQ(Poll().size(), 1u);
  EXPECT_EQ(Memory()[0], 7);
  EXPECT_EQ(Memory()[64], 9);
}

TEST_F(RdmaClause, GivenAnEmptyWriteWhenItsStagIsNobodysThenItIsTaken) {  // 5.2
  script.Say(script.Write(script.key ^ 1, ~uint64_t{0}, {}));
  EXPECT_FALSE(Terminated());
  script.Say(script.Write(script.key, Address(), Bytes(4, 9)));
  EXPECT_EQ(Memory()[0], 9);
}

TEST_F(RdmaClause,
       GivenAPeerHasClosedWhenSeenThenTheHostIsToldAndTheConnectionEndsInOrder) {  // 6.2.1
  PostRecv(0, 64);
  script.nic.Events();
  script.Shutdown();
  script.cable.Advance(100 * kMs);
  const auto events = script.nic.Events();
  EXPECT_TRUE(Has(events, abi::EventKind::kPeerClosed, 0));
  EXPECT_TRUE(Has(events, abi::EventKind::kDisconnected,
                  static_cast<uint8_t>(abi::DisconnectReason::kClosed)));
  const auto flushed = Poll();
  ASSERT_EQ(flushed.size(), 1u);
  EXPECT_EQ(Status(flushed[0]), Status(abi::CompletionStatus::kFlushed));
}

TEST_F(RdmaClause, GivenTheHostShutsDownWhenDataAreOnTheirWayThenTheyArriveBothWays) {  // 6.2.1
  PostRecv(0, 64);
  PostSend();
  EXPECT_EQ(script.nic.QpCommand(abi::CommandOpcode::kShutdown, *script.qp).status, 0);
  script.cable.Run();
  const auto heard = script.Hear();
  ASSERT_EQ(heard.size(), 1u);
  EXPECT_EQ(heard[0].opcode, Opcode::kSend);
  script.Say(script.Send(Bytes(8, 7)));
  const auto received = Only(Poll(), /*recv=*/true);
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(Status(received[0]), Status(abi::CompletionStatus::kSuccess));
  EXPECT_EQ(Memory()[0], 7);
}

TEST_F(RdmaClause, GivenARequestBehindTheFinWhenItComesThenNoAnswerIsBegun) {  // 6.2.1
  EXPECT_EQ(script.nic.QpCommand(abi::CommandOpcode::kShutdown, *script.qp).status, 0);
  script.cable.Run();
  script.Say(script.Read({.length = 8, .source_stag = script.key, .source_offset = Address()}));
  EXPECT_TRUE(script.Hear().empty());
  const Nic nic(script.nic.arena.data(), script.nic.hardware.platform(), script.nic.now);
  const QueuePair& q = nic.qp(script.qp->handle);
  ASSERT_EQ(q.state, QpState::kConnected);
  EXPECT_EQ(RdmaOf(nic, q).message_count, 0u) << "what is not in the sequence space is not kept";
}

TEST_F(RdmaClause,
       GivenTheConnectionIsLostWhenTimePassesThenRequestsFailAndTheHostIsTold) {  // 6.2.2
  PostRecv(0, 64);
  script.nic.Events();
  script.cable.filter = [](const Frame&, bool) { return false; };
  PostSend();
  script.cable.Advance(2000 * 1000 * kMs, 500 * kMs);
  EXPECT_TRUE(Has(script.nic.Events(), abi::EventKind::kDisconnected,
                  static_cast<uint8_t>(abi::DisconnectReason::kTimedOut)));
  const auto done = Poll();
  ASSERT_EQ(done.size(), 2u);
  for (const abi::Cqe& cqe : done) {
    EXPECT_NE(Status(cqe), Status(abi::CompletionStatus::kSuccess));
  }
}

TEST_F(RdmaClause, GivenAllThatIsBehindARefusalWhenItComesThenOnlyTheTerminateOfTheFirst) {  // 7.1
  const Bytes before(Memory(), Memory() + script.memory.size());
  const Bytes refused = script.Write(script.key ^ 1, Address(), Bytes(8, 1));
  const Bytes good = script.Write(script.key, Address(), Bytes(8, 2));
  const Bytes other = script.Write(script.key, Address() + script.memory.size(), Bytes(8, 3));
  script.cable.filter = [](const Frame&, bool from_a) { return from_a; };
  script.Say(Joined({refused, good, other}));
  PostSend();
  script.Say(good);
  const auto why = WhyTerminated(script.nic, *script.qp);
  ASSERT_TRUE(why.has_value());
  EXPECT_EQ(why->cause, Cause::kTaggedInvalidStag);
  script.cable.filter = nullptr;
  script.cable.Advance(3000 * kMs);
  const auto heard = script.Hear();
  ASSERT_EQ(heard.size(), 1u) << "the Terminate, and nothing else";
  EXPECT_EQ(heard[0].opcode, Opcode::kTerminate);
  EXPECT_EQ(Bytes(Memory(), Memory() + script.memory.size()), before);
}

TEST_F(RdmaClause, GivenManyWritesWhenSaidAtOnceThenSeveralSegmentsAreUnderWay) {  // Appendix A
  int under_way = 0;
  int most = 0;
  script.cable.filter = [&](const Frame& frame, bool from_a) {
    under_way = from_a ? under_way + (HasText(frame) ? 1 : 0) : 0;
    most = std::max(most, under_way);
    return true;
  };
  Bytes bytes;
  for (uint32_t i = 0; i < 40; ++i) {
    const Bytes one = script.Write(script.key, Address() + i * 1300, Pattern(1300, i));
    bytes.insert(bytes.end(), one.begin(), one.end());
  }
  script.Say(bytes);
  EXPECT_GE(most, 8);
  for (uint32_t i = 0; i < 40; ++i) {
    EXPECT_EQ(Bytes(Memory() + i * 1300, Memory() + (i + 1) * 1300), Pattern(1300, i));
  }
}

// --- RFC 5044

TEST(RdmaClauseSetUp, GivenTheReplyIsLostWhenTimePassesThenTcpSendsItAgain) {  // 7.1.5
  RdmaSetup setup;
  setup.responder = true;
  ScriptedPeer script(setup);
  std::memcpy(script.memory.data(), "REPLY", 5);
  int sent = 0;
  script.cable.filter = [&](const Frame& frame, bool from_a) {
    if (from_a || !HasText(frame)) return true;
    EXPECT_EQ(std::string(frame.end() - 5, frame.end()), "REPLY");
    return ++sent != 1;
  };
  Post(script.nic, *script.qp,
       {.opcode = abi::SendOpcode::kStartup, .list = {SgeOf(script.memory, script.key, 0, 5)}});
  script.cable.Advance(3000 * kMs, 10 * kMs);
  EXPECT_GE(sent, 2);
  // And what the peer then says is taken.
  script.Say(script.Write(script.key, script.memory.address() + 100, Bytes(4, 9)));
  EXPECT_EQ(script.memory.data()[100], 9);
}

TEST_F(RdmaClause, GivenABadCrcWhenRefusedThenTcpStaysOpenUntilTheTerminateHasArrived) {  // 8
  Bytes bytes = script.Send(Bytes(20));
  bytes[30] ^= 1;
  bool deaf = false;
  int closing = 0;
  int terminates = 0;
  script.cable.filter = [&](const Frame& frame, bool from_a) {
    if (!from_a && HasText(frame)) {
      ++terminates;
      deaf = true;  // from now on the peer's acknowledgements are lost
    }
    if (!from_a && frame[6] == ipv6::kTcp && (frame[kFlagsAt] & kFinOrRst) != 0) ++closing;
    return !(from_a && deaf);
  };
  script.Say(bytes);
  script.cable.Advance(2000 * kMs, 10 * kMs);
  EXPECT_GE(terminates, 2) << "it is sent again";
  EXPECT_EQ(closing, 0);
  deaf = false;
  script.cable.filter = nullptr;
  script.cable.Advance(5000 * kMs, 10 * kMs);
  EXPECT_TRUE(Has(script.nic.Events(), abi::EventKind::kDisconnected,
                  static_cast<uint8_t>(abi::DisconnectReason::kTerminated)));
}

}  // namespace
}  // namespace qpip::fw::test

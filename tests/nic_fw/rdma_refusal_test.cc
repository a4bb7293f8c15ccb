// RDMA: what may not be is refused by its name, not acknowledged, and nothing behind it takes
// effect.
#include <algorithm>
#include <utility>

#include "nic_fw/state.h"
#include "rdma_receive.h"

namespace qpip::fw::test {
namespace {

using iwarp::Cause;
using iwarp::Opcode;

// --- Refusals

struct Refusal {
  const char* name;
  Cause cause;
  std::function<Bytes(ScriptedPeer&)> bytes;
  bool quotes_header = true;
};

std::ostream& operator<<(std::ostream& out, const Refusal& refusal) { return out << refusal.name; }

struct RdmaRefusals : ::testing::TestWithParam<Refusal> {};

TEST_P(RdmaRefusals, GivenWhatMayNotBeWhenReceivedThenTerminatedByItsNameAndNothingPlaced) {
  ScriptedPeer script;
  script.nic.PostRecv(*script.qp, {SgeOf(script.memory, script.key, 0, 64)});
  script.cable.Run();
  const Bytes before(script.memory.data(), script.memory.data() + script.memory.size());
  script.Say(GetParam().bytes(script));
  const iwarp::Terminate terminate = script.HearTerminate();
  EXPECT_EQ(iwarp::CauseName(iwarp::CauseOf(terminate.code)),
            std::string(iwarp::CauseName(GetParam().cause)));
  EXPECT_EQ(terminate.has_ddp, GetParam().quotes_header);
  const auto why = WhyTerminated(script.nic, *script.qp);
  ASSERT_TRUE(why.has_value());
  EXPECT_EQ(why->cause, GetParam().cause);
  EXPECT_FALSE(why->by_peer);
  script.cable.Advance(100 * kMs);
  const auto ended = EventsOf(script.nic, abi::EventKind::kDisconnected);
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].status, static_cast<uint8_t>(abi::DisconnectReason::kTerminated));
  const auto flushed = script.nic.Poll(*script.cq);
  ASSERT_EQ(flushed.size(), 1u) << "the receive comes back, once";
  EXPECT_NE(Status(flushed[0]), Status(abi::CompletionStatus::kSuccess));
  EXPECT_EQ(Bytes(script.memory.data(), script.memory.data() + script.memory.size()), before);
  EXPECT_EQ(script.nic.hardware.frames_borrowed(), 0u);
  EXPECT_EQ(script.nic.hardware.illegal_accesses, 0u);
}

const Refusal kRefusals[] = {
    {"bad_crc", Cause::kBadCrc,
     [](ScriptedPeer& s) {
       Bytes bytes = s.Send(Bytes(20));
       bytes[30] ^= 1;
       return bytes;
     },
     false},
    {"too_long_an_ulpdu", Cause::kMpaCatastrophic,
     [](ScriptedPeer&) { return Bytes{0xff, 0xff, 0, 0, 0, 0, 0, 0}; }, false},
    {"no_header_at_all", Cause::kDdpCatastrophic, [](ScriptedPeer& s) { return s.Raw({0x41}); },
     false},
    {"ddp_version_tagged", Cause::kTaggedVersion,
     [](ScriptedPeer& s) {
       iwarp::DdpHeader ddp = Tagged(Opcode::kWrite, s.key, s.memory.address());
       ddp.version = 2;
       return s.Raw(Ulpdu(ddp, Bytes(8, 1)));
     }},
    {"ddp_version_untagged", Cause::kUntaggedVersion,
     [](ScriptedPeer& s) {
       iwarp::DdpHeader ddp = SendHeader();
       ddp.version = 0;
       return s.Raw(Ulpdu(ddp, Bytes(8, 1)));
     }},
    {"rdmap_version", Cause::kInvalidRdmapVersion,
     [](ScriptedPeer& s) {
       iwarp::DdpHeader ddp = SendHeader();
       ddp.ulp_control = iwarp::RdmapControl(Opcode::kSend, 2);
       return s.Raw(Ulpdu(ddp, Bytes(8, 1)));
     }},
    {"unknown_opcode", Cause::kUnexpectedOpcode,
     [](ScriptedPeer& s) {
       iwarp::DdpHeader ddp = SendHeader();
       ddp.ulp_control = iwarp::RdmapControl(static_cast<Opcode>(13));
       return s.Raw(Ulpdu(ddp, Bytes(8, 1)));
     }},
    {"a_tagged_send", Cause::kUnexpectedOpcode,
     [](ScriptedPeer& s) {
       return s.Raw(Ulpdu(Tagged(Opcode::kSend, s.key, s.memory.address()), Bytes(8, 1)));
     }},
    {"a_response_that_nobody_asked_for", Cause::kUnexpectedOpcode,
     [](ScriptedPeer& s) {
       return s.Raw(Ulpdu(Tagged(Opcode::kReadResponse, s.key, s.memory.address()), Bytes(8, 1)));
     }},
    {"invalid_queue", Cause::kInvalidQueue,
     [](ScriptedPeer& s) {
       iwarp::DdpHeader ddp = SendHeader();
       ddp.queue = 9;
       return s.Raw(Ulpdu(ddp, Bytes(8, 1)));
     }},
    {"message_sequence", Cause::kInvalidMessageSequence,
     [](ScriptedPeer& s) { return s.Raw(Ulpdu(SendHeader(2), Bytes(8, 1))); }},
    {"message_offset", Cause::kInvalidMessageOffset,
     [](ScriptedPeer& s) {
       iwarp::DdpHeader ddp = SendHeader();
       ddp.message_offset = 4;
       return s.Raw(Ulpdu(ddp, Bytes(8, 1)));
     }},
    {"longer_than_its_receive", Cause::kMessageTooLong,
     [](ScriptedPeer& s) { return s.Send(Bytes(65, 1)); }},
    {"second_segment_of_another_opcode", Cause::kUnexpectedOpcode,
     [](ScriptedPeer& s) {
       iwarp::DdpHeader first = SendHeader();
       first.last = false;
       Bytes bytes = s.Raw(Ulpdu(first));
       iwarp::DdpHeader second = SendHeader();
       second.ulp_control = iwarp::RdmapControl(Opcode::kSendSolicited);
       const Bytes more = s.Raw(Ulpdu(second, Bytes(8, 1)));
       bytes.insert(bytes.end(), more.begin(), more.end());
       return bytes;
     }},
    {"a_read_request_of_another_length", Cause::kOperationUnspecified,
     [](ScriptedPeer& s) {
       iwarp::DdpHeader ddp = SendHeader();
       ddp.ulp_control = iwarp::RdmapControl(Opcode::kReadRequest);
       ddp.queue = iwarp::kRequestQueue;
       return s.Raw(Ulpdu(ddp, Bytes(12, 1)));
     }},
    {"a_read_of_more_than_a_gibibyte", Cause::kBoundsViolation,
     [](ScriptedPeer& s) {
       return s.Read(
           {.length = 1u << 31, .source_stag = s.key, .source_offset = s.memory.address()});
     }},
    {"an_unknown_key", Cause::kTaggedInvalidStag,
     [](ScriptedPeer& s) { return s.Write(s.key ^ 1, s.memory.address(), Bytes(8, 1)); }},
    {"an_atomic_response_that_nobody_asked_for", Cause::kNoBuffer,
     [](ScriptedPeer& s) {
       iwarp::DdpHeader ddp = SendHeader();
       ddp.queue = iwarp::kAtomicResponseQueue;
       ddp.ulp_control = iwarp::RdmapControl(Opcode::kAtomicResponse);
       return s.Raw(Ulpdu(ddp, Bytes(12)));
     }},
};

INSTANTIATE_TEST_SUITE_P(All, RdmaRefusals, ::testing::ValuesIn(kRefusals),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_F(RdmaReceive, GivenNoReceiveWhenSentToThenNoBuffer) {
  script->Say(script->Send(Octets("nobody waits")));
  EXPECT_EQ(iwarp::CauseOf(script->HearTerminate().code), Cause::kNoBuffer);
}

TEST_F(RdmaReceive, GivenMoreRequestsThanIrdWhenReceivedThenNoBuffer) {
  script->cable.filter = [](const Frame&, bool from_a) { return from_a; };  // no answer is heard
  for (int i = 0; i < 5; ++i) {
    script->Say(script->Read(
        {.length = 8, .source_stag = script->key, .source_offset = script->memory.address()}));
  }
  const auto why = WhyTerminated(script->nic, *script->qp);
  ASSERT_TRUE(why.has_value());
  EXPECT_EQ(why->cause, Cause::kNoBuffer);
}

TEST_F(RdmaReceive, GivenAReadRequestThatIsRefusedWhenTerminatedThenItIsQuoted) {
  const iwarp::ReadRequest request = {.sink_stag = 5,
                                      .sink_offset = 6,
                                      .length = 7,
                                      .source_stag = script->key ^ 1,
                                      .source_offset = 8};
  script->Say(script->Read(request));
  const iwarp::Terminate terminate = script->HearTerminate();
  EXPECT_EQ(iwarp::CauseOf(terminate.code), Cause::kInvalidStag);
  EXPECT_TRUE(terminate.has_request);
  EXPECT_EQ(terminate.request, request);
  EXPECT_EQ(terminate.segment_length, iwarp::kUntaggedBytes + iwarp::kReadRequestBytes);
}

TEST_F(RdmaReceive, GivenAReceiveTooShortWhenTerminatedThenItSaysSoItself) {
  PostRecv(0, 4);
  script->Say(script->Send(Octets("12345")));
  script->cable.Advance(100 * kMs);
  const auto done = Poll();
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(Status(done[0]), Status(abi::CompletionStatus::kLocalLengthError));
}

TEST_F(RdmaReceive, GivenAPeersTerminateWhenReceivedThenTheOldestRequestHasItsStatus) {
  const struct {
    Cause cause;
    abi::CompletionStatus status;
  } cases[] = {
      {Cause::kTaggedBounds, abi::CompletionStatus::kRemoteAccessError},
      {Cause::kInvalidStag, abi::CompletionStatus::kRemoteAccessError},
      {Cause::kNoBuffer, abi::CompletionStatus::kRemoteInvalidRequest},
      {Cause::kMessageTooLong, abi::CompletionStatus::kRemoteInvalidRequest},
      {Cause::kBadCrc, abi::CompletionStatus::kRemoteOperationError},
  };
  for (const auto& c : cases) {
    script = std::make_unique<ScriptedPeer>();
    for (int i = 0; i < 2; ++i) {  // not acknowledged: reads are not before they are answered
      Post(script->nic, *script->qp,
           {.opcode = abi::SendOpcode::kRdmaRead, .list = {Sge(0, 8)}, .remote_key = 1});
    }
    script->cable.Run();
    PeerTerminates(c.cause);
    const auto done = Poll();
    ASSERT_EQ(done.size(), 2u);
    EXPECT_EQ(Status(done[0]), Status(c.status)) << iwarp::CauseName(c.cause);
    EXPECT_EQ(Status(done[1]), Status(abi::CompletionStatus::kFlushed));
    const auto why = WhyTerminated(script->nic, *script->qp);
    ASSERT_TRUE(why.has_value());
    EXPECT_TRUE(why->by_peer);
    EXPECT_EQ(why->cause, c.cause);
  }
}

TEST_F(RdmaReceive, GivenAReadThatIsAcknowledgedWhenThePeerTerminatesThenTheOneBehindItIsBlamed) {
  const auto post = [&](abi::SendOpcode opcode) {
    Post(script->nic, *script->qp, {.opcode = opcode, .list = {Sge(0, 8)}, .remote_key = 1});
    script->cable.Advance(500 * kMs);
  };
  post(abi::SendOpcode::kRdmaRead);
  script->cable.filter = [](const Frame&, bool from_a) { return from_a; };
  post(abi::SendOpcode::kRdmaWrite);
  PeerTerminates(Cause::kTaggedInvalidStag);
  const auto done = Poll();
  ASSERT_EQ(done.size(), 2u);
  EXPECT_EQ(Status(done[0]), Status(abi::CompletionStatus::kFlushed));
  EXPECT_EQ(Status(done[1]), Status(abi::CompletionStatus::kRemoteAccessError));
}

TEST_F(RdmaReceive, GivenAnAtomicWhoseListHasGoneWhenAnsweredThenItDoesNotCompleteWithSuccess) {
  for (const bool gone : {false, true}) {
    script = std::make_unique<ScriptedPeer>();
    HostMemory own(script->nic.hardware, 64);
    std::memset(own.data(), 0x77, own.size());
    const uint32_t key = script->nic.Register(own);
    Post(script->nic, *script->qp,
         {.opcode = abi::SendOpcode::kAtomicFetchAdd, .list = {SgeOf(own, key, 8, 8)}});
    script->cable.Run();
    if (gone) {
      abi::Command command;
      command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kDeregisterMemory);
      command.deregister_memory.key = key;
      ASSERT_EQ(script->nic.Command(command).status, 0);
    }
    iwarp::DdpHeader ddp = SendHeader();
    ddp.queue = iwarp::kAtomicResponseQueue;
    ddp.ulp_control = iwarp::RdmapControl(Opcode::kAtomicResponse);
    script->Say(script->Raw(Ulpdu(ddp, Bytes(12))));  // the first request's: it found 0
    const auto why = WhyTerminated(script->nic, *script->qp);
    EXPECT_EQ(why.has_value(), gone);
    if (gone && why.has_value()) {
      EXPECT_EQ(why->cause, Cause::kStreamCatastrophic);
    }
    EXPECT_EQ(own.data()[8], gone ? 0x77 : 0);
    const auto done = Poll();
    ASSERT_EQ(done.size(), 1u);
    EXPECT_EQ(Status(done[0]) == Status(abi::CompletionStatus::kSuccess), !gone);
  }
}

// --- What shows only when a message takes effect

struct RdmaEffect : RdmaReceive {
  /// Memory of its own, for this queue pair's peer alone.
  HostMemory bound{script->nic.hardware, 4096};
  uint32_t bound_key = 0;
  void SetUp() override {
    abi::Command command;
    command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kRegisterMemory);
    command.register_memory = {bound.address(),
                               bound.size(),
                               bound.address(),
                               0,
                               0,
                               kEveryRight,
                               1,
                               script->qp->handle,
                               0};
    bound_key = script->nic.Command(command).result[0];
    script->nic.hardware.DmaTakesTime();
  }
};

TEST_F(RdmaEffect, GivenAWriteBehindASendThatInvalidatesItsKeyWhenDmaTakesTimeThenRefused) {
  PostRecv(0, 64);
  script->nic.hardware.hold_dma = true;
  script->Say(script->Send(Bytes(8, 7), Opcode::kSendInvalidate, bound_key));
  script->Say(script->Write(bound_key, bound.address(), Bytes(8, 9)));
  script->nic.hardware.hold_dma = false;
  script->cable.Run();
  const auto why = WhyTerminated(script->nic, *script->qp);
  ASSERT_TRUE(why.has_value());
  EXPECT_EQ(why->cause, Cause::kTaggedInvalidStag);
  EXPECT_EQ(bound.data()[0], 0);
  const auto done = Poll();
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(Status(done[0]), Status(abi::CompletionStatus::kSuccess));
  EXPECT_EQ(done[0].key, bound_key);
}

TEST_F(RdmaEffect, GivenASendBehindARequestWhoseKeyDiesOnTheWayWhenPlacedThenItIsNotDelivered) {
  for (uint64_t i = 0; i < 3; ++i) script->nic.PostRecv(*script->qp, {Sge(i * 64, 64)});
  script->Say(script->Send(Bytes(8, 5)));  // the receives have been fetched
  ASSERT_EQ(Poll().size(), 1u);
  script->nic.hardware.hold_dma = true;
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kDeregisterMemory);
  command.deregister_memory.key = bound_key;
  script->nic.PostCommand(command);
  script->nic.Run();
  script->Say(script->Atomic({.operation = iwarp::AtomicOperation::kFetchAdd,
                              .stag = bound_key,
                              .offset = bound.address(),
                              .operand = 1}));
  script->Say(script->Send(Bytes(8, 7)));
  script->nic.hardware.hold_dma = false;
  script->cable.Advance(100 * kMs);
  const auto why = WhyTerminated(script->nic, *script->qp);
  ASSERT_TRUE(why.has_value());
  EXPECT_EQ(why->cause, Cause::kInvalidStag);
  const auto done = Poll();
  ASSERT_EQ(done.size(), 2u) << "each receive comes back, once";
  for (uint32_t i = 0; i < done.size(); ++i) {
    EXPECT_EQ(done[i].wqe_index, i + 1);
    EXPECT_NE(Status(done[i]), Status(abi::CompletionStatus::kSuccess));
  }
  EXPECT_EQ(script->nic.hardware.frames_borrowed(), 0u);
}

TEST_F(RdmaEffect, GivenAFaultBehindASendThatIsOnItsWayWhenFoundThenTheSendIsDelivered) {
  for (uint64_t i = 0; i < 2; ++i) script->nic.PostRecv(*script->qp, {Sge(i * 64, 64)});
  script->Say(script->Send(Bytes(8, 5)));
  ASSERT_EQ(Poll().size(), 1u);
  // No answer is heard: the Terminate's acknowledgement would end the connection.
  script->cable.filter = [](const Frame&, bool from_a) { return from_a; };
  script->nic.hardware.hold_dma = true;
  script->Say(script->Send(Bytes(8, 7)));
  script->Say(script->Write(bound_key ^ 1, bound.address(), Bytes(8, 9)));
  script->nic.hardware.hold_dma = false;
  script->cable.Run();
  EXPECT_TRUE(WhyTerminated(script->nic, *script->qp).has_value());
  const auto done = Poll();
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(Status(done[0]), Status(abi::CompletionStatus::kSuccess));
}

TEST(RdmaInvalidation, GivenAKeyThatThePeerMayNotInvalidateWhenASendDoesThenItHasTheError) {
  RdmaPair pair;
  pair.b.PostRecv(*pair.qp_b, {SgeOf(pair.memory_b, pair.key_b, 0, 64)});
  pair.cable.Run();
  Post(pair.a, *pair.qp_a,
       {.opcode = abi::SendOpcode::kSendWithInvalidate,
        .list = {SgeOf(pair.memory_a, pair.key_a, 0, 8)},
        .immediate = pair.key_b});
  pair.cable.Advance(100 * kMs);
  const auto why = WhyTerminated(pair.b, *pair.qp_b);
  ASSERT_TRUE(why.has_value());
  EXPECT_EQ(why->cause, Cause::kCannotInvalidate);
  const auto sent = pair.a.Poll(*pair.cq_a);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(Status(sent[0]), Status(abi::CompletionStatus::kRemoteAccessError));
  const auto received = pair.b.Poll(*pair.cq_b);
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(Status(received[0]), Status(abi::CompletionStatus::kFlushed));
}

}  // namespace
}  // namespace qpip::fw::test

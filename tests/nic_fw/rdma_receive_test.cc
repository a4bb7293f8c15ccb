// RDMA: what becomes of FPDUs that come, whole, cut, damaged, or of a peer that means harm.
#include <algorithm>
#include <utility>

#include "nic_fw/state.h"
#include "rdma_bench.h"

namespace qpip::fw::test {
namespace {

using iwarp::Cause;
using iwarp::Opcode;

Bytes Octets(std::string_view text) { return {text.begin(), text.end()}; }

struct RdmaReceive : ::testing::Test {
  std::unique_ptr<ScriptedPeer> script = std::make_unique<ScriptedPeer>();
  abi::Sge Sge(uint64_t offset, uint32_t length) {
    return SgeOf(script->memory, script->key, offset, length);
  }
  uint8_t* Memory() { return script->memory.data(); }
  std::vector<abi::Cqe> Poll() { return script->nic.Poll(*script->cq); }
  void PostRecv(uint64_t offset, uint32_t length) {
    script->nic.PostRecv(*script->qp, {Sge(offset, length)});
    script->cable.Run();
  }
};

// --- Refusals

/// An ULPDU with a header of these fields.
Bytes Ulpdu(const iwarp::DdpHeader& ddp, const Bytes& payload = {}) {
  Bytes out(iwarp::DdpHeaderBytes(ddp));
  iwarp::EmitDdp(ddp, out);
  out.insert(out.end(), payload.begin(), payload.end());
  return out;
}
iwarp::DdpHeader SendHeader(uint32_t sequence = 1) {
  iwarp::DdpHeader ddp;
  ddp.last = true;
  ddp.ulp_control = iwarp::RdmapControl(Opcode::kSend);
  ddp.message_sequence = sequence;
  return ddp;
}
iwarp::DdpHeader Tagged(Opcode opcode, uint32_t stag, uint64_t offset) {
  iwarp::DdpHeader ddp;
  ddp.tagged = ddp.last = true;
  ddp.ulp_control = iwarp::RdmapControl(opcode);
  ddp.stag = stag;
  ddp.tagged_offset = offset;
  return ddp;
}

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
    Bytes payload(iwarp::kMaxTerminateBytes);
    payload.resize(
        iwarp::EmitTerminate(iwarp::MakeTerminate(c.cause, nullptr, 0, nullptr), payload));
    iwarp::DdpHeader ddp = SendHeader();
    ddp.queue = iwarp::kTerminateQueue;
    ddp.ulp_control = iwarp::RdmapControl(Opcode::kTerminate);
    script->Say(script->Raw(Ulpdu(ddp, payload)));
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
  Bytes payload(iwarp::kMaxTerminateBytes);
  payload.resize(iwarp::EmitTerminate(
      iwarp::MakeTerminate(Cause::kTaggedInvalidStag, nullptr, 0, nullptr), payload));
  iwarp::DdpHeader ddp = SendHeader();
  ddp.queue = iwarp::kTerminateQueue;
  ddp.ulp_control = iwarp::RdmapControl(Opcode::kTerminate);
  script->Say(script->Raw(Ulpdu(ddp, payload)));
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

// --- Several segments, several FPDUs

TEST_F(RdmaReceive, GivenAnFpduThatIsCutAnywhereWhenReceivedThenPlacedOnce) {
  for (const bool crc : {true, false}) {
    script = std::make_unique<ScriptedPeer>(RdmaSetup{.crc = crc});
    const size_t total = script->Write(script->key, 0, Bytes(40)).size();
    script = std::make_unique<ScriptedPeer>(RdmaSetup{.crc = crc});
    for (size_t cut = 1; cut < total; ++cut) {
      const Bytes payload = Pattern(40, static_cast<uint32_t>(cut));
      const Bytes fpdu = script->Write(script->key, script->memory.address() + 64, payload);
      script->Say(Bytes(fpdu.begin(), fpdu.begin() + static_cast<int64_t>(cut)));
      script->Say(Bytes(fpdu.begin() + static_cast<int64_t>(cut), fpdu.end()));
      ASSERT_EQ(Bytes(Memory() + 64, Memory() + 104), payload) << cut;
    }
    EXPECT_FALSE(WhyTerminated(script->nic, *script->qp).has_value());
    EXPECT_EQ(script->nic.hardware.frames_borrowed(), 0u);
  }
}

TEST_F(RdmaReceive, GivenASegmentOfManyFpdusAndAPartWhenReceivedThenAllOfThemAreDelivered) {
  for (uint32_t i = 0; i < 4; ++i) PostRecv(i * 100, 100);
  Bytes bytes;
  for (uint32_t i = 0; i < 4; ++i) {
    const Bytes one = script->Send(Pattern(33 + i, i));
    bytes.insert(bytes.end(), one.begin(), one.end());
  }
  const size_t most = bytes.size() - 20;
  script->Say(Bytes(bytes.begin(), bytes.begin() + static_cast<int64_t>(most)));
  EXPECT_EQ(Poll().size(), 3u);
  script->Say(Bytes(bytes.begin() + static_cast<int64_t>(most), bytes.end()));
  EXPECT_EQ(Poll().size(), 1u);
  for (uint32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(Bytes(Memory() + i * 100, Memory() + i * 100 + 33 + i), Pattern(33 + i, i));
  }
}

TEST_F(RdmaReceive, GivenAGatheredFpduWithABadCrcWhenItIsWholeThenRefused) {
  Bytes fpdu = script->Write(script->key, script->memory.address(), Bytes(40, 7));
  fpdu[20] ^= 1;
  script->Say(Bytes(fpdu.begin(), fpdu.begin() + 30));
  EXPECT_FALSE(WhyTerminated(script->nic, *script->qp).has_value());
  script->Say(Bytes(fpdu.begin() + 30, fpdu.end()));
  const auto why = WhyTerminated(script->nic, *script->qp);
  ASSERT_TRUE(why.has_value());
  EXPECT_EQ(why->cause, Cause::kBadCrc);
  EXPECT_EQ(Memory()[0], 0) << "nothing is placed";
}

/// A frame of TCP becomes two: the first is answered, and `frame` is the rest from `text` bytes on.
Frame CutInTwo(Frame* frame, size_t text) {
  const size_t headers = 40 + ((*frame)[52] >> 4) * size_t{4};
  const auto at = static_cast<int64_t>(headers + text);
  Frame first(frame->begin(), frame->begin() + at);
  frame->erase(frame->begin() + static_cast<int64_t>(headers), frame->begin() + at);
  StoreBe32(&(*frame)[44], LoadBe32(&(*frame)[44]) + static_cast<uint32_t>(text));
  for (Frame* one : {&first, frame}) {
    StoreBe16(&(*one)[4], static_cast<uint16_t>(one->size() - 40));
    StoreBe16(&(*one)[56], 0);
    StoreBe16(&(*one)[56], static_cast<uint16_t>(~TransportSum(*one, ipv6::kTcp)));
  }
  return first;
}

TEST_F(RdmaReceive, GivenAnFpduThatIsCutWhenItIsRefusedThenItsEndIsNotAcknowledged) {
  for (const bool bad_crc : {false, true}) {
    script = std::make_unique<ScriptedPeer>();
    uint32_t end = 0;
    std::vector<uint32_t> acknowledged;
    script->cable.filter = [&](const Frame& frame, bool from_a) {
      if (frame[6] != ipv6::kTcp) return true;
      const size_t headers = 40 + (frame[52] >> 4) * size_t{4};
      if (from_a && frame.size() > headers) {
        end = LoadBe32(&frame[44]) + static_cast<uint32_t>(frame.size() - headers);
      } else if (!from_a && (frame[53] & 0x04) == 0) {
        acknowledged.push_back(LoadBe32(&frame[48]));
      }
      return true;
    };
    Bytes fpdu =
        script->Write(script->key ^ (bad_crc ? 0u : 1u), script->memory.address(), Bytes(40, 7));
    if (bad_crc) fpdu[20] ^= 1;
    script->Say(Bytes(fpdu.begin(), fpdu.begin() + 30));
    script->Say(Bytes(fpdu.begin() + 30, fpdu.end()));
    script->cable.Advance(100 * kMs);
    const auto why = WhyTerminated(script->nic, *script->qp);
    ASSERT_TRUE(why.has_value());
    EXPECT_EQ(why->cause, bad_crc ? Cause::kBadCrc : Cause::kTaggedInvalidStag);
    ASSERT_FALSE(acknowledged.empty()) << "the Terminate, at least";
    for (const uint32_t sequence : acknowledged) {
      EXPECT_LT(static_cast<int32_t>(sequence - end), 0);
    }
  }
}

TEST(RdmaCut, GivenAWriteThatIsCutOnItsWayWhenItIsRefusedThenItDoesNotCompleteWithSuccess) {
  for (const bool bad_crc : {false, true}) {
    RdmaPair pair;
    pair.cable.filter = [&](Frame& frame, bool from_a) {
      const bool tcp = frame[6] == ipv6::kTcp;
      if (!from_a || !tcp || frame.size() < 40 + (frame[52] >> 4) * size_t{4} + 32) return true;
      if (bad_crc) frame.back() ^= 1;
      pair.b.hardware.incoming.push_back(CutInTwo(&frame, 30));
      return true;
    };
    Post(pair.a, *pair.qp_a,
         {.opcode = abi::SendOpcode::kRdmaWrite,
          .list = {SgeOf(pair.memory_a, pair.key_a, 0, 40)},
          .remote_address = pair.memory_b.address(),
          .remote_key = pair.key_b ^ (bad_crc ? 0u : 1u)});
    pair.cable.Advance(100 * kMs);
    const auto done = pair.a.Poll(*pair.cq_a);
    ASSERT_EQ(done.size(), 1u);
    EXPECT_EQ(Status(done[0]), Status(bad_crc ? abi::CompletionStatus::kRemoteOperationError
                                              : abi::CompletionStatus::kRemoteAccessError));
  }
}

TEST_F(RdmaReceive, GivenAnFpduThatIsCutWhenItIsPlacedThenAllOfItIsAcknowledged) {
  PostRecv(0, 64);
  uint32_t end = 0;
  uint32_t acknowledged = 0;
  script->cable.filter = [&](const Frame& frame, bool from_a) {
    if (frame[6] != ipv6::kTcp) return true;
    const size_t headers = 40 + (frame[52] >> 4) * size_t{4};
    if (from_a && frame.size() > headers) {
      end = LoadBe32(&frame[44]) + static_cast<uint32_t>(frame.size() - headers);
    } else if (!from_a) {
      acknowledged = LoadBe32(&frame[48]);
    }
    return true;
  };
  const Bytes fpdus[] = {script->Write(script->key, script->memory.address() + 100, Bytes(40, 7)),
                         script->Send({})};  // whose last part is all there is to place
  for (const Bytes& fpdu : fpdus) {
    script->Say(Bytes(fpdu.begin(), fpdu.begin() + 17));
    script->Say(Bytes(fpdu.begin() + 17, fpdu.end()));
    script->cable.Advance(500 * kMs);
    EXPECT_EQ(acknowledged, end);
  }
  EXPECT_EQ(Poll().size(), 1u);
}

TEST_F(RdmaReceive, GivenAPartOfAnFpduWhenThePeerClosesThenItIsAResetAtBothEnds) {
  PostRecv(0, 64);
  const Bytes fpdu = script->Send(Bytes(40));
  script->Say(Bytes(fpdu.begin(), fpdu.begin() + 30));
  script->Shutdown();
  script->cable.Advance(100 * kMs);
  const auto ended = EventsOf(script->nic, abi::EventKind::kDisconnected);
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].status, static_cast<uint8_t>(abi::DisconnectReason::kReset));
  EXPECT_EQ(Poll().size(), 1u);
  const auto told = EventsOf(script->peer, abi::EventKind::kDisconnected);
  ASSERT_EQ(told.size(), 1u) << "nor does the peer wait for a FIN";
  EXPECT_EQ(told[0].status, static_cast<uint8_t>(abi::DisconnectReason::kReset));
}

TEST_F(RdmaReceive, GivenAMessageOnItsWayOutOfThePoolWhenTheConnectionEndsThenItsReceiveComesBack) {
  script->nic.hardware.DmaTakesTime();
  PostRecv(0, 64);
  const Bytes fpdu = script->Send(Bytes(40, 9));
  script->Say(Bytes(fpdu.begin(), fpdu.begin() + 30));
  // The second half comes; then its copy is held up.
  script->nic.hardware.hold_dma = true;
  script->Say(Bytes(fpdu.begin() + 30, fpdu.end()));
  script->nic.QpCommand(abi::CommandOpcode::kAbort, *script->qp);
  script->nic.hardware.hold_dma = false;
  script->cable.Run();
  const auto done = Poll();
  ASSERT_EQ(done.size(), 1u) << "not lost, and not twice";
  EXPECT_EQ(done[0].wqe_index, 0u);
  EXPECT_NE(Status(done[0]), Status(abi::CompletionStatus::kSuccess));
  EXPECT_EQ(script->nic.hardware.frames_borrowed(), 0u);
}

TEST_F(RdmaReceive, GivenAMessageOnItsWayIntoAReceiveWhenTheConnectionEndsThenItComesBackOnce) {
  script->nic.hardware.DmaTakesTime();
  PostRecv(0, 64);
  PostRecv(64, 64);
  script->nic.hardware.hold_dma = true;
  script->Say(script->Send(Bytes(40, 9)));
  script->nic.QpCommand(abi::CommandOpcode::kAbort, *script->qp);
  script->nic.hardware.hold_dma = false;
  script->cable.Run();
  const auto done = Poll();
  ASSERT_EQ(done.size(), 2u);
  EXPECT_EQ(done[0].wqe_index, 0u);
  EXPECT_EQ(done[1].wqe_index, 1u);
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

// --- Order of the host's and the peer's doing

TEST_F(RdmaReceive, GivenAReceiveWhoseDoorbellIsStillUnderWayWhenSentToThenItIsFound) {
  // Posted: the index is there. Told: not yet.
  script->nic.PostRecv(*script->qp, {Sge(0, 64)}, /*ring=*/false);
  reinterpret_cast<abi::QueueIndices*>(script->qp->indices->data())->recv =
      script->qp->recv_producer | uint64_t{script->qp->posted_bytes} << 32;
  script->Say(script->Send(Octets("in time")));
  ASSERT_EQ(Poll().size(), 1u);
  script->nic.RingRecv(*script->qp);  // and now it comes
  PostRecv(64, 64);
  script->Say(script->Send(Octets("again")));
  EXPECT_EQ(Poll().size(), 1u);
  EXPECT_EQ(std::memcmp(Memory() + 64, "again", 5), 0);
}

TEST_F(RdmaReceive, GivenReceivesThatHaveToBeFetchedWhenSentToThenEachFpduIsSummedOnce) {
  script->nic.hardware.DmaTakesTime();
  constexpr uint32_t kSends = 3;
  Bytes sends;
  for (uint32_t i = 0; i < kSends; ++i) {
    script->nic.PostRecv(*script->qp, {Sge(i * 64, 64)});
    const Bytes one = script->Send(Bytes(40, static_cast<uint8_t>(i)));
    sends.insert(sends.end(), one.begin(), one.end());
  }
  script->nic.hardware.charges.clear();
  script->Say(sends);
  EXPECT_EQ(Poll().size(), kSends);
  const auto& charges = script->nic.hardware.charges;
  EXPECT_EQ(std::count(charges.begin(), charges.end(), std::pair{Stage::kChecksum, Variant::kData}),
            kSends);
}

TEST_F(RdmaReceive, GivenAnIndexThatCannotBeWhenLookedAtThenItIsNotBelieved) {
  reinterpret_cast<abi::QueueIndices*>(script->qp->indices->data())->recv = 0x7fffffff;
  script->Say(script->Send(Octets("x")));
  EXPECT_EQ(iwarp::CauseOf(script->HearTerminate().code), Cause::kNoBuffer);
}

// --- Immediate data

TEST_F(RdmaReceive, GivenImmediateDataWhenReceivedThenTheLengthIsThatOfTheWriteInFront) {
  for (uint64_t i = 0; i < 4; ++i) PostRecv(i * 64, 64);
  const Bytes data = {1, 2, 3, 4, 9, 9, 9, 9};
  script->Say(script->Write(script->key, script->memory.address() + 1000, Bytes(10)));
  script->Say(script->Write(script->key, script->memory.address() + 1000, Pattern(3000)));
  script->Say(script->Send(data, Opcode::kImmediate));
  script->Say(script->Send(data, Opcode::kImmediate));  // with nothing in front
  script->Say(script->Write(script->key, script->memory.address() + 1000, Bytes(10)));
  script->Say(script->Send(Bytes(7)));
  script->Say(script->Send(data, Opcode::kImmediate));
  const auto done = Poll();
  ASSERT_EQ(done.size(), 4u);
  const uint32_t lengths[] = {3000, 0, 7, 0};
  for (size_t i = 0; i < done.size(); ++i) {
    EXPECT_EQ(Status(done[i]), Status(abi::CompletionStatus::kSuccess));
    EXPECT_EQ(done[i].byte_length, lengths[i]) << i;
  }
  EXPECT_EQ(done[0].immediate, 0x04030201u);
}

// --- Peers that mean harm

TEST_F(RdmaReceive, GivenTextBehindARefusalWhenThePeerNeverHearsOfItThenNoFrameIsKept) {
  script->cable.filter = [](const Frame&, bool from_a) { return from_a; };
  script->Say(script->Write(script->key ^ 1, 0, Bytes(8)));
  for (int i = 0; i < 8; ++i) {
    script->Say(script->Write(script->key, script->memory.address(), Bytes(1000, 1)));
  }
  script->cable.Advance(50 * kMs);
  EXPECT_EQ(script->nic.hardware.frames_borrowed(), 0u);
  EXPECT_EQ(Memory()[0], 0) << "nor placed";
}

TEST_F(RdmaReceive, GivenAPeerThatNeverAcknowledgesTheTerminateWhenTimePassesThenItEnds) {
  script->cable.filter = [](const Frame&, bool from_a) { return from_a; };
  script->Say(script->Write(script->key ^ 1, 0, Bytes(8)));
  script->nic.Advance(200000 * kMs);
  const auto ended = EventsOf(script->nic, abi::EventKind::kDisconnected);
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].status, static_cast<uint8_t>(abi::DisconnectReason::kTerminated));
}

TEST_F(RdmaReceive, GivenAListThatGoesWrongBehindTwentyPiecesWhenFilledThenRefusedNotForEver) {
  HostMemory pages(script->nic.hardware, 18 * 4096);
  const uint64_t start = (pages.address() + 4095) & ~uint64_t{4095};
  HostMemory list(script->nic.hardware, 17 * 8);
  for (uint64_t i = 0; i < 17; ++i) {
    const uint64_t page = start + i * 4096;
    std::memcpy(list.data() + i * 8, &page, 8);
  }
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kRegisterMemory);
  command.register_memory = {start, 17 * 4096, list.address(), 17, 12, kEveryRight, 1};
  const uint32_t paged = script->nic.Command(command).result[0];
  HostMemory gone(script->nic.hardware, 64);
  const uint32_t dead = script->nic.Register(gone);
  command = {};
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kDeregisterMemory);
  command.deregister_memory.key = dead;
  ASSERT_EQ(script->nic.Command(command).status, 0);
  // Sixteen pieces of the first, four of one byte each, and the last is nobody's.
  constexpr uint32_t kFirst = 16 * 4096 - 1200;
  std::vector<abi::Sge> sges = {{start + 1100, kFirst, paged}};
  for (int i = 0; i < 4; ++i) sges.push_back(Sge(static_cast<uint64_t>(i), 1));
  sges.push_back({gone.address(), 1, dead});
  script->nic.PostRecv(*script->qp, sges);
  script->cable.Run();
  iwarp::Message message;
  message.length = kFirst + 5;
  message.message_sequence = 1;
  script->Say(script->Fpdus(message, Bytes(message.length, 3), iwarp::kMaxMulpdu));
  const auto why = WhyTerminated(script->nic, *script->qp);
  ASSERT_TRUE(why.has_value());
  EXPECT_EQ(why->cause, Cause::kStreamCatastrophic);
  EXPECT_EQ(script->nic.hardware.illegal_accesses, 0u);
}

TEST_F(RdmaReceive, GivenADamagedHeaderBitByBitWhenReceivedThenNothingIllegalIsTouched) {
  for (uint32_t bit = 0; bit < 8 * 24; ++bit) {
    script = std::make_unique<ScriptedPeer>(RdmaSetup{.crc = false});
    PostRecv(0, 64);
    Bytes bytes = script->Write(script->key, script->memory.address() + 100, Bytes(20, 1));
    bytes[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    script->Say(bytes);
    script->cable.Advance(10 * kMs);
    ASSERT_EQ(script->nic.hardware.illegal_accesses, 0u) << bit;
  }
}

}  // namespace
}  // namespace qpip::fw::test

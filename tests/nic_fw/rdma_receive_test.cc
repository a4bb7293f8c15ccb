// RDMA: what becomes of FPDUs that come, whole, cut, damaged, or of a peer that means harm.
#include <algorithm>
#include <utility>

#include "nic_fw/state.h"
#include "rdma_receive.h"

namespace qpip::fw::test {
namespace {

using iwarp::Cause;
using iwarp::Opcode;

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

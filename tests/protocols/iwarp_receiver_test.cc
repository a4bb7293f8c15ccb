// The receiver of DDP segments: what is in order, and the Terminate of everything that is not.
#include <gtest/gtest.h>

#include <vector>

#include "protocols/iwarp/message_layout.h"
#include "protocols/iwarp/rdma_receiver.h"

namespace qpip::iwarp {
namespace {

using ByteVector = std::vector<uint8_t>;
using enum Cause;

/// A segment to be changed at will before it arrives.
struct Segment {
  DdpHeader ddp;
  ByteVector payload;
};

Segment Of(Opcode opcode, ByteVector payload, uint32_t message_sequence = 1) {
  Message message;
  message.opcode = opcode;
  message.message_sequence = message_sequence;
  return {HeaderOf(message, 0, true), std::move(payload)};
}

ByteVector Bytes(const ReadRequest& request) {
  ByteVector out(kReadRequestBytes);
  EmitReadRequest(request, std::span(out).first<kReadRequestBytes>());
  return out;
}
ByteVector Bytes(const AtomicRequest& request) {
  ByteVector out(kAtomicRequestBytes);
  EmitAtomicRequest(request, std::span(out).first<kAtomicRequestBytes>());
  return out;
}
ByteVector Bytes(const AtomicResponse& response) {
  ByteVector out(kAtomicResponseBytes);
  EmitAtomicResponse(response, std::span(out).first<kAtomicResponseBytes>());
  return out;
}

struct IwarpReceiverTest : ::testing::Test {
  RdmaReceiver receiver;
  ReceiveRoom room{true, 1000};

  IwarpReceiverTest() { receiver.most_requests = 2; }

  SegmentPlan Plan(const Segment& segment) const {
    ByteVector ulpdu(DdpHeaderBytes(segment.ddp));
    EmitDdp(segment.ddp, ulpdu);
    ulpdu.insert(ulpdu.end(), segment.payload.begin(), segment.payload.end());
    const auto length = static_cast<uint32_t>(ulpdu.size());
    // Exactly as many bytes as are asked for.
    const ByteVector head(ulpdu.begin(),
                          ulpdu.begin() + static_cast<int>(HeadBytes(ulpdu, length)));
    return PlanSegment(receiver, head, length, room);
  }
  /// Arrives; returns why it was refused.
  Cause Arrive(const Segment& segment) {
    const SegmentPlan plan = Plan(segment);
    CommitSegment(receiver, plan);
    return plan.refusal;
  }
  Cause Refusal(const Segment& segment) const { return Plan(segment).refusal; }
};

// --- Messages that are in order

TEST_F(IwarpReceiverTest, GivenASendWhenPlannedThenItsPlaceIsSaid) {
  const SegmentPlan plan = Plan(Of(Opcode::kSend, ByteVector(10)));
  EXPECT_EQ(plan.refusal, kNone);
  EXPECT_EQ(plan.opcode, Opcode::kSend);
  EXPECT_EQ(plan.header_bytes, kUntaggedBytes);
  EXPECT_EQ(plan.payload_bytes, 10u);
  EXPECT_EQ(plan.message_length, 10u);
  EXPECT_TRUE(plan.message_ends);
}

TEST_F(IwarpReceiverTest, GivenASendOfThreeSegmentsWhenTheyArriveThenOffsetsFollow) {
  Segment segment = Of(Opcode::kSendSolicited, ByteVector(10));
  segment.ddp.last = false;
  ASSERT_EQ(Arrive(segment), kNone);
  segment.ddp.message_offset = 10;
  ASSERT_EQ(Arrive(segment), kNone);
  segment.ddp.message_offset = 20;
  segment.ddp.last = true;
  const SegmentPlan plan = Plan(segment);
  EXPECT_EQ(plan.message_length, 30u);
  ASSERT_EQ(Arrive(segment), kNone);
  EXPECT_EQ(Arrive(Of(Opcode::kSend, {}, 2)), kNone);
}

TEST_F(IwarpReceiverTest, GivenAnyKindOfSendWhenItArrivesThenItIsTaken) {
  uint32_t sequence = 1;
  for (const Opcode opcode : {Opcode::kSend, Opcode::kSendInvalidate, Opcode::kSendSolicited,
                              Opcode::kSendSolicitedInvalidate}) {
    EXPECT_EQ(Arrive(Of(opcode, ByteVector(3), sequence++)), kNone);
  }
}

TEST_F(IwarpReceiverTest, GivenASendThatInvalidatesWhenPlannedThenItsStagIsThere) {
  Segment segment = Of(Opcode::kSendInvalidate, {});
  segment.ddp.ulp_word = 77;
  EXPECT_EQ(Plan(segment).ddp.ulp_word, 77u);
}

TEST_F(IwarpReceiverTest, GivenMessageSequencesWhenTheyWrapThenZeroFollows) {
  receiver.queues[kSendQueue].message_sequence = 0xffffffffu;
  EXPECT_EQ(Arrive(Of(Opcode::kSend, {}, 0xffffffffu)), kNone);
  EXPECT_EQ(Arrive(Of(Opcode::kSend, {}, 0)), kNone);
}

TEST_F(IwarpReceiverTest, GivenAWriteWhenPlannedThenStagOffsetAndLengthAreSaid) {
  Segment segment = Of(Opcode::kWrite, ByteVector(100));
  segment.ddp.stag = 5;
  segment.ddp.tagged_offset = 6;
  const SegmentPlan plan = Plan(segment);
  EXPECT_EQ(plan.refusal, kNone);
  EXPECT_EQ(plan.ddp.stag, 5u);
  EXPECT_EQ(plan.ddp.tagged_offset, 6u);
  EXPECT_EQ(plan.header_bytes, kTaggedBytes);
  EXPECT_EQ(plan.payload_bytes, 100u);
}

TEST_F(IwarpReceiverTest, GivenAReadRequestWhenPlannedThenAllItSaysIsThere) {
  const ReadRequest request{1, 2, 3, 4, 5};
  const SegmentPlan plan = Plan(Of(Opcode::kReadRequest, Bytes(request)));
  EXPECT_EQ(plan.refusal, kNone);
  EXPECT_EQ(plan.read, request);
  EXPECT_EQ(plan.payload_bytes, 0u);
}

TEST_F(IwarpReceiverTest, GivenAtomicsWhenTheyArriveThenTheyShareTheQueueOfReads) {
  ASSERT_EQ(Arrive(Of(Opcode::kReadRequest, Bytes(ReadRequest{}), 1)), kNone);
  AtomicRequest request;
  request.identifier = 8;
  const SegmentPlan plan = Plan(Of(Opcode::kAtomicRequest, Bytes(request), 2));
  EXPECT_EQ(plan.refusal, kNone);
  EXPECT_EQ(plan.atomic, request);
}

TEST_F(IwarpReceiverTest, GivenImmediateDataWhenItArrivesThenItTakesAReceiveWhateverItsSize) {
  ByteVector data(kImmediateBytes);
  EmitImmediate(42, std::span(data).first<kImmediateBytes>());
  room.bytes = 0;
  const SegmentPlan plan = Plan(Of(Opcode::kImmediate, data));
  EXPECT_EQ(plan.refusal, kNone);
  EXPECT_EQ(plan.immediate, 42u);
  EXPECT_EQ(Arrive(Of(Opcode::kImmediateSolicited, data, 1)), kNone);
  room.posted = false;
  EXPECT_EQ(Refusal(Of(Opcode::kImmediate, data, 2)), kNoBuffer);
}

TEST_F(IwarpReceiverTest, GivenATerminateWhenItArrivesThenTheStreamIsOver) {
  const Terminate terminate = MakeTerminate(kBadCrc, nullptr, 0, nullptr);
  ByteVector bytes(TerminateBytes(terminate));
  EmitTerminate(terminate, bytes);
  const SegmentPlan plan = Plan(Of(Opcode::kTerminate, bytes));
  EXPECT_EQ(plan.refusal, kNone);
  EXPECT_EQ(CauseOf(plan.terminate.code), kBadCrc);
  CommitSegment(receiver, plan);
  EXPECT_TRUE(receiver.over);
  EXPECT_EQ(Arrive(Of(Opcode::kSend, {})), kUnexpectedOpcode);
}

TEST_F(IwarpReceiverTest, GivenMessagesOfSeveralQueuesWhenTheyMixThenEachKeepsItsPlace) {
  Segment send = Of(Opcode::kSend, ByteVector(10));
  send.ddp.last = false;
  ASSERT_EQ(Arrive(send), kNone);
  EXPECT_EQ(Arrive(Of(Opcode::kReadRequest, Bytes(ReadRequest{}))), kNone);
  EXPECT_EQ(Arrive(Of(Opcode::kWrite, ByteVector(5))), kNone);
  send.ddp.message_offset = 10;
  send.ddp.last = true;
  EXPECT_EQ(Arrive(send), kNone);
}

// --- Responses

TEST_F(IwarpReceiverTest, GivenAnAwaitedReadWhenItsSegmentsArriveThenTheyFillTheSink) {
  AwaitRead(receiver, {7, 1000, 30, 0, 0});
  Segment segment = Of(Opcode::kReadResponse, ByteVector(20));
  segment.ddp.stag = 7;
  segment.ddp.tagged_offset = 1000;
  segment.ddp.last = false;
  ASSERT_EQ(Arrive(segment), kNone);
  segment = Of(Opcode::kReadResponse, ByteVector(10));
  segment.ddp.stag = 7;
  segment.ddp.tagged_offset = 1020;
  ASSERT_EQ(Arrive(segment), kNone);
  EXPECT_EQ(receiver.awaited.kind, AwaitedResponse::Kind::kNone);
  EXPECT_EQ(Arrive(segment), kUnexpectedOpcode);
}

TEST_F(IwarpReceiverTest, GivenAnEmptyReadWhenAnsweredThenStagAndOffsetAreNotLookedAt) {
  AwaitRead(receiver, {7, 1000, 0, 0, 0});
  Segment segment = Of(Opcode::kReadResponse, {});
  segment.ddp.stag = 99;
  EXPECT_EQ(Arrive(segment), kNone);
}

TEST_F(IwarpReceiverTest, GivenAReadResponseWhenItIsNotTheAwaitedOneThenRefused) {
  AwaitRead(receiver, {7, 1000, 30, 0, 0});
  Segment good = Of(Opcode::kReadResponse, ByteVector(30));
  good.ddp.stag = 7;
  good.ddp.tagged_offset = 1000;
  EXPECT_EQ(Refusal(good), kNone);
  Segment segment = good;
  segment.ddp.stag = 8;
  EXPECT_EQ(Refusal(segment), kTaggedInvalidStag);
  segment = good;
  segment.ddp.tagged_offset = 1001;
  EXPECT_EQ(Refusal(segment), kTaggedBounds);
  segment = good;
  segment.payload.push_back(0);
  EXPECT_EQ(Refusal(segment), kTaggedBounds);
  segment = good;
  segment.payload.pop_back();  // the last one, and bytes are missing
  EXPECT_EQ(Refusal(segment), kTaggedBounds);
  segment.ddp.last = false;
  EXPECT_EQ(Refusal(segment), kNone);
  receiver.awaited = {};
  AwaitAtomic(receiver, 1);
  EXPECT_EQ(Refusal(good), kUnexpectedOpcode);
}

TEST_F(IwarpReceiverTest, GivenAnAtomicResponseWhenAwaitedThenTakenAndOtherwiseRefused) {
  const Segment segment = Of(Opcode::kAtomicResponse, Bytes(AtomicResponse{3, 44}));
  EXPECT_EQ(Refusal(segment), kNoBuffer);
  AwaitAtomic(receiver, 4);
  EXPECT_EQ(Refusal(segment), kOperationUnspecified);
  receiver.awaited = {};
  AwaitAtomic(receiver, 3);
  EXPECT_EQ(Plan(segment).atomic_response.original, 44u);
  EXPECT_EQ(Arrive(segment), kNone);
  EXPECT_EQ(receiver.awaited.kind, AwaitedResponse::Kind::kNone);
}

// --- DDP's refusals (RFC 5041 7.1, 7.2)

TEST_F(IwarpReceiverTest, GivenAnUlpduShorterThanAHeaderWhenPlannedThenCatastrophicWithoutQuote) {
  for (uint32_t length = 0; length < kUntaggedBytes; ++length) {
    const ByteVector head(HeadBytes(ByteVector(length), length));
    const SegmentPlan plan = PlanSegment(receiver, head, length, room);
    EXPECT_EQ(plan.refusal, kDdpCatastrophic);
    EXPECT_FALSE(TerminateFor(plan, plan.refusal, length).has_ddp);
  }
}

TEST_F(IwarpReceiverTest, GivenAnotherDdpVersionWhenPlannedThenRefusedByItsModel) {
  Segment segment = Of(Opcode::kWrite, ByteVector(1));
  segment.ddp.version = 0;
  EXPECT_EQ(Refusal(segment), kTaggedVersion);
  segment = Of(Opcode::kSend, ByteVector(1));
  segment.ddp.version = 2;
  EXPECT_EQ(Refusal(segment), kUntaggedVersion);
}

TEST_F(IwarpReceiverTest, GivenAQueueThatThereIsNotWhenPlannedThenInvalidQueue) {
  Segment segment = Of(Opcode::kSend, {});
  segment.ddp.queue = 4;
  EXPECT_EQ(Refusal(segment), kInvalidQueue);
  segment.ddp.queue = kAtomicResponseQueue;
  receiver.extensions = false;
  EXPECT_EQ(Refusal(segment), kInvalidQueue);
}

TEST_F(IwarpReceiverTest, GivenAnotherMessageSequenceWhenPlannedThenRefused) {
  for (const uint32_t sequence : {0u, 2u, 0xffffffffu}) {
    EXPECT_EQ(Refusal(Of(Opcode::kSend, {}, sequence)), kInvalidMessageSequence);
    EXPECT_EQ(Refusal(Of(Opcode::kReadRequest, Bytes(ReadRequest{}), sequence)),
              kInvalidMessageSequence);
  }
}

TEST_F(IwarpReceiverTest, GivenNoReceiveWhenASendComesThenNoBufferEvenForAnEmptyOne) {
  room.posted = false;
  EXPECT_EQ(Refusal(Of(Opcode::kSend, ByteVector(1))), kNoBuffer);
  EXPECT_EQ(Refusal(Of(Opcode::kSend, {})), kNoBuffer);
}

TEST_F(IwarpReceiverTest, GivenMoreRequestsThanAgreedWhenTheyComeThenNoBufferUntilOneIsAnswered) {
  ASSERT_EQ(Arrive(Of(Opcode::kReadRequest, Bytes(ReadRequest{}), 1)), kNone);
  ASSERT_EQ(Arrive(Of(Opcode::kReadRequest, Bytes(ReadRequest{}), 2)), kNone);
  EXPECT_EQ(Refusal(Of(Opcode::kReadRequest, Bytes(ReadRequest{}), 3)), kNoBuffer);
  EXPECT_EQ(Refusal(Of(Opcode::kAtomicRequest, Bytes(AtomicRequest{}), 3)), kNoBuffer);
  OnRequestAnswered(receiver);
  EXPECT_EQ(Refusal(Of(Opcode::kReadRequest, Bytes(ReadRequest{}), 3)), kNone);
}

TEST_F(IwarpReceiverTest, GivenAnOffsetThatDoesNotFollowWhenPlannedThenInvalidOffset) {
  Segment segment = Of(Opcode::kSend, ByteVector(10));
  segment.ddp.message_offset = 1;
  EXPECT_EQ(Refusal(segment), kInvalidMessageOffset);
  segment.ddp.message_offset = 0;
  segment.ddp.last = false;
  ASSERT_EQ(Arrive(segment), kNone);
  for (const uint32_t offset : {0u, 9u, 11u}) {
    segment.ddp.message_offset = offset;
    EXPECT_EQ(Refusal(segment), kInvalidMessageOffset);
  }
}

TEST_F(IwarpReceiverTest, GivenAMessageLongerThanItsReceiveWhenPlannedThenTooLong) {
  room.bytes = 10;
  EXPECT_EQ(Refusal(Of(Opcode::kSend, ByteVector(10))), kNone);
  EXPECT_EQ(Refusal(Of(Opcode::kSend, ByteVector(11))), kMessageTooLong);
  receiver.queues[kSendQueue].message_offset = 0xfffffff0u;
  room.bytes = 0xffffffffu;
  Segment segment = Of(Opcode::kSend, ByteVector(100));
  segment.ddp.message_offset = 0xfffffff0u;
  EXPECT_EQ(Refusal(segment), kMessageTooLong);  // and not wrapped
}

TEST_F(IwarpReceiverTest, GivenControlMessagesLongerThanTheirBuffersWhenPlannedThenTooLong) {
  EXPECT_EQ(Refusal(Of(Opcode::kReadRequest, ByteVector(53))), kMessageTooLong);
  EXPECT_EQ(Refusal(Of(Opcode::kTerminate, ByteVector(53))), kMessageTooLong);
  receiver.extensions = false;
  EXPECT_EQ(Refusal(Of(Opcode::kReadRequest, ByteVector(29))), kMessageTooLong);
  receiver.extensions = true;
  AwaitAtomic(receiver, 0);
  EXPECT_EQ(Refusal(Of(Opcode::kAtomicResponse, ByteVector(13))), kMessageTooLong);
}

// --- RDMAP's refusals (RFC 5040 7.2)

TEST_F(IwarpReceiverTest, GivenAnotherRdmapVersionWhenPlannedThenRefused) {
  for (const uint8_t version : {0, 2, 3}) {
    Segment segment = Of(Opcode::kSend, {});
    segment.ddp.ulp_control = RdmapControl(Opcode::kSend, version);
    EXPECT_EQ(Refusal(segment), kInvalidRdmapVersion);
  }
}

TEST_F(IwarpReceiverTest, GivenEveryOpcodeOnEveryQueueWhenPlannedThenOnlyItsOwnIsTaken) {
  receiver.most_requests = 1;
  for (uint8_t code = 0; code < 16; ++code) {
    const auto opcode = static_cast<Opcode>(code);
    for (uint32_t queue = 0; queue < kQueues; ++queue) {
      receiver.awaited = {};
      if (queue == kAtomicResponseQueue) AwaitAtomic(receiver, 0);
      Segment segment = Of(Opcode::kSend, ByteVector(8));
      segment.ddp.queue = queue;
      segment.ddp.ulp_control = RdmapControl(opcode);
      const bool own = IsKnown(opcode) && !IsTagged(opcode) && QueueOf(opcode) == queue;
      EXPECT_EQ(Refusal(segment) == kUnexpectedOpcode, !own) << int{code} << " " << queue;
    }
    Segment segment = Of(Opcode::kWrite, ByteVector(8));
    segment.ddp.ulp_control = RdmapControl(opcode);
    receiver.awaited = {};
    EXPECT_EQ(Refusal(segment) == kUnexpectedOpcode, opcode != Opcode::kWrite) << int{code};
  }
}

TEST_F(IwarpReceiverTest, GivenNoExtensionsWhenTheirOpcodesComeThenUnexpected) {
  receiver.extensions = false;
  EXPECT_EQ(Refusal(Of(Opcode::kImmediate, ByteVector(8))), kUnexpectedOpcode);
  Segment segment = Of(Opcode::kReadRequest, ByteVector(28));
  segment.ddp.ulp_control = RdmapControl(Opcode::kAtomicRequest);
  EXPECT_EQ(Refusal(segment), kUnexpectedOpcode);
}

TEST_F(IwarpReceiverTest, GivenAnotherOpcodeWithinAMessageWhenItComesThenUnexpected) {
  Segment segment = Of(Opcode::kSend, ByteVector(10));
  segment.ddp.last = false;
  ASSERT_EQ(Arrive(segment), kNone);
  segment.ddp.message_offset = 10;
  segment.ddp.ulp_control = RdmapControl(Opcode::kSendSolicited);
  EXPECT_EQ(Refusal(segment), kUnexpectedOpcode);
}

TEST_F(IwarpReceiverTest, GivenControlMessagesOfAnotherLengthWhenPlannedThenUnspecified) {
  EXPECT_EQ(Refusal(Of(Opcode::kReadRequest, ByteVector(27))), kOperationUnspecified);
  EXPECT_EQ(Refusal(Of(Opcode::kReadRequest, {})), kOperationUnspecified);
  EXPECT_EQ(Refusal(Of(Opcode::kImmediate, ByteVector(7))), kOperationUnspecified);
  EXPECT_EQ(Refusal(Of(Opcode::kImmediate, ByteVector(9))), kOperationUnspecified);
  EXPECT_EQ(Refusal(Of(Opcode::kAtomicRequest, ByteVector(51))), kOperationUnspecified);
  EXPECT_EQ(Refusal(Of(Opcode::kTerminate, ByteVector(3))), kOperationUnspecified);
  AwaitAtomic(receiver, 0);
  EXPECT_EQ(Refusal(Of(Opcode::kAtomicResponse, ByteVector(11))), kOperationUnspecified);
}

TEST_F(IwarpReceiverTest, GivenAControlMessageInSegmentsWhenPlannedThenUnspecified) {
  Segment segment = Of(Opcode::kReadRequest, Bytes(ReadRequest{}));
  segment.ddp.last = false;
  EXPECT_EQ(Refusal(segment), kOperationUnspecified);
}

TEST_F(IwarpReceiverTest, GivenAnAtomicOperationThatThereIsNotWhenPlannedThenUnexpected) {
  ByteVector bytes = Bytes(AtomicRequest{});
  bytes[3] = 1;
  EXPECT_EQ(Refusal(Of(Opcode::kAtomicRequest, bytes)), kUnexpectedOpcode);
}

TEST_F(IwarpReceiverTest, GivenARefusalWhenCommittedThenNothingMoreIsTaken) {
  ASSERT_EQ(Arrive(Of(Opcode::kSend, {}, 9)), kInvalidMessageSequence);
  EXPECT_EQ(Arrive(Of(Opcode::kSend, {}, 1)), kUnexpectedOpcode);
}

// --- What memory says

TEST_F(IwarpReceiverTest, GivenVerdictsWhenTheyRefuseThenTheLayersOwnCodes) {
  using enum AccessVerdict;
  struct Row {
    AccessVerdict verdict;
    Cause tagged, request;
  };
  for (const Row& row : std::vector<Row>{{kGranted, kNone, kNone},
                                         {kInvalidStag, kTaggedInvalidStag, Cause::kInvalidStag},
                                         {kNotAssociated, kTaggedNotAssociated, kStagNotAssociated},
                                         {kBounds, kTaggedBounds, kBoundsViolation},
                                         {kWrap, kTaggedWrap, kOffsetWrap},
                                         {kNoRight, kTaggedInvalidStag, kAccessViolation},
                                         {kMisaligned, kStreamCatastrophic, kStreamCatastrophic}}) {
    EXPECT_EQ(CauseOfAccess(row.verdict, Opcode::kWrite), row.tagged);
    EXPECT_EQ(CauseOfAccess(row.verdict, Opcode::kReadResponse), row.tagged);
    EXPECT_EQ(CauseOfAccess(row.verdict, Opcode::kReadRequest), row.request);
    EXPECT_EQ(CauseOfAccess(row.verdict, Opcode::kAtomicRequest), row.request);
    EXPECT_EQ(CauseOfAccess(row.verdict, Opcode::kSendInvalidate),
              row.verdict == kGranted ? kNone : kCannotInvalidate);
  }
}

TEST_F(IwarpReceiverTest, GivenARefusedReadRequestWhenToldThenItQuotesTheRequest) {
  const ReadRequest request{1, 2, 3, 4, 5};
  const SegmentPlan plan = Plan(Of(Opcode::kReadRequest, Bytes(request)));
  const Terminate terminate = TerminateFor(plan, kBoundsViolation, 46);
  EXPECT_TRUE(terminate.has_ddp);
  EXPECT_TRUE(terminate.has_request);
  EXPECT_EQ(terminate.request, request);
  EXPECT_EQ(terminate.segment_length, 46);
}

TEST_F(IwarpReceiverTest, GivenARefusedAtomicOrWriteWhenToldThenOnlyItsDdpHeader) {
  // RFC 7306 8.1: no RDMAP header of an atomic request.
  SegmentPlan plan = Plan(Of(Opcode::kAtomicRequest, Bytes(AtomicRequest{})));
  EXPECT_FALSE(TerminateFor(plan, Cause::kInvalidStag, 70).has_request);
  plan = Plan(Of(Opcode::kWrite, ByteVector(9)));
  const Terminate terminate = TerminateFor(plan, kTaggedBounds, 23);
  EXPECT_TRUE(terminate.has_ddp);
  EXPECT_TRUE(terminate.ddp.tagged);
  EXPECT_FALSE(terminate.has_request);
}

}  // namespace
}  // namespace qpip::iwarp

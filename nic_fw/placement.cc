#include "nic_fw/placement.h"

#include "nic_fw/ending.h"
#include "nic_fw/events.h"
#include "nic_fw/framing.h"
#include "nic_fw/memory.h"
#include "nic_fw/overflow_pool.h"
#include "nic_fw/rdma_receive.h"
#include "nic_fw/rdma_waiting.h"
#include "nic_fw/receive_queue.h"
#include "nic_fw/receive_window.h"
#include "nic_fw/received_frame.h"
#include "nic_fw/schedule.h"
#include "nic_fw/text_queue.h"
#include "nic_fw/timers.h"
#include "nic_fw/work_queue.h"

namespace qpip::fw {
namespace {

void IssueAll(const Nic& nic, QueuePair& q);

/// Issues whatever can be; most often there is nothing.
inline void PumpReceive(const Nic& nic, QueuePair& q) {
  if (IsRdma(q.recv)) {
    IssueRdma(nic, q);
  } else if (!q.placement.contexts.empty() || PoolInUse(q.pool)) {
    IssueAll(nic, q);
  }
}

/// The bytes of an operation were not moved, or not those that were sent.
void FailPlacement(const Nic& nic, QueuePair& q, uint32_t status) {
  if (status != kDmaRevoked) {
    FailReceive(nic, q, abi::CompletionStatus::kLocalProtectionError);
    return;
  }
  // The sender took its memory back when it gave the connection up; its reset is under way or lost.
  nic.Count(abi::NicCounter::kConnectionsReset);
  EndConnection(nic, q, abi::DisconnectReason::kReset, abi::CompletionStatus::kRemoteAborted);
}

/// What is at hand for the next step of a context.
Piece NextOf(const Framing& framing, const FramingState& state, const ReceiveContext& context) {
  return framing.next(state, {context.remaining, context.push});
}

/// Starts moving the next bytes of a context to `pieces`: the first `length` of `piece`.
void Issue(const Nic& nic, QueuePair& q, uint32_t index, const Piece& piece, uint32_t length,
           const DmaSegment* pieces, uint32_t count) {
  ReceiveContext& context = nic.receive(index);
  QPIP_ASSERT(!context.issued && length <= context.remaining);
  PlaceFrame(nic, context.frame, context.offset, pieces, count, MakeTag(Tag::kPlace, index));
  ++q.host_memory.dma_outstanding;
  context.issued = true;
  context.in_flight = length;
  context.ends_message = piece.ends_message && length == piece.length;
  context.offset += length;
  context.sequence += length;
  context.remaining -= length;
}

/// Moves `piece` of a context, all of it, to its place in the overflow pool.
void IssueToPool(const Nic& nic, QueuePair& q, uint32_t index, const Piece& piece) {
  DmaSegment pieces[2];
  const ReceiveContext& context = nic.receive(index);
  // Headers that were taken out of the stream have no place in the pool.
  const uint32_t ahead =
      tcp::AckableSequence(q.tcb).DistanceTo(context.sequence) - q.placement.stripped;
  const uint32_t count = PoolPlace(q.pool, ahead, piece.length, pieces);
  if (count == 0) {  // more than was ever advertised: cannot come from the TCP machine
    FailReceive(nic, q, abi::CompletionStatus::kLocalQpOperationError);
    return;
  }
  Issue(nic, q, index, piece, piece.length, pieces, count);
  nic.Count(abi::NicCounter::kOverflowPoolBytes, piece.length);
}

/// True when a context has to go to the pool: no receive is posted, or older bytes are there.
bool GoesToPool(const QueuePair& q, const ReceiveContext& context) {
  if (q.type != abi::QpType::kTcp) return false;
  if (PoolInUse(q.pool) || q.recv.next == q.recv.producer) return true;
  return tcp::HasReleased(q.tcb) && q.tcb.rcv.held.ranges[0].start.Before(context.sequence);
}

/// The receive being filled; nullptr when there is none now, or the queue pair has failed over it.
const abi::RecvWqe* ReceiveAtHand(const Nic& nic, QueuePair& q) {
  const CurrentReceive current = FindCurrentReceive(nic, q.recv, q.host_memory);
  if (current.malformed) FailReceive(nic, q, abi::CompletionStatus::kLocalQpOperationError);
  return current.wqe;
}

/// Where the next bytes of a receive lie.
struct Target {
  DmaSegment pieces[kMaxDmaSegments];
  uint32_t count = 0;
  uint32_t length = 0;  ///< bytes, perhaps fewer than were asked for
};
/// Answers false when the queue pair has failed over it.
bool FindTarget(const Nic& nic, QueuePair& q, const abi::RecvWqe& wqe, uint32_t length,
                Target* target) {
  target->length = length;
  if (length == 0) return true;
  target->count = Translate(nic, q.protection_domain, abi::kAccessLocalWrite, ReceiveList(wqe),
                            q.recv.filled, length, target->pieces, &target->length);
  if (target->count != 0) return true;
  nic.Count(abi::NicCounter::kProtectionErrors);
  FailReceive(nic, q, abi::CompletionStatus::kLocalProtectionError);
  return false;
}

/// Whether the message that `piece` is of fits what is left of its receive.
bool Fits(const Framing& framing, const Piece& piece, uint32_t space) {
  return !framing.keeps_boundaries || piece.message_rest <= space;
}

/// The one place that says when a receive is complete: it is filled up to `filled`, and the last
/// bytes do or do not end a message.
bool Completes(const Framing& framing, const abi::RecvWqe& wqe, uint32_t filled,
               bool message_ends) {
  return framing.keeps_boundaries ? message_ends : filled == wqe.length;
}
/// ... or, where boundaries mean nothing, when nothing more is at hand.
bool CompletesWhenIdle(const Framing& framing, const Placement& placement,
                       const OverflowPool& pool) {
  return !framing.keeps_boundaries && placement.contexts.empty() && !PoolInUse(pool);
}

/// What became of an attempt to issue a context's next operation.
enum class Issued : uint8_t {
  kYes,
  kMustWait,  // for a WQE fetch, or for ever: the queue pair has failed
  kDropped,   // a datagram that does not fit: the context is gone
};

Issued DropDatagram(const Nic& nic, Placement& placement, uint32_t index) {
  nic.Drop(abi::DropReason::kDatagramTooLong);
  --placement.datagrams;
  Remove(placement.contexts, ReceiveLink{nic}, index);
  ReturnReceiveContext(nic, index);
  return Issued::kDropped;
}

/// Into the posted receive.
Issued IssueToReceive(const Nic& nic, QueuePair& q, uint32_t index, const Piece& piece) {
  const abi::RecvWqe* wqe = ReceiveAtHand(nic, q);
  if (wqe == nullptr) return Issued::kMustWait;
  ReceiveContext& context = nic.receive(index);
  const uint32_t space = wqe->length - q.recv.filled;
  const Framing& framing = FramingOf(q.recv);
  if (!Fits(framing, piece, space)) {
    if (framing.datagrams) return DropDatagram(nic, q.placement, index);
    FailReceive(nic, q, abi::CompletionStatus::kLocalLengthError);
    return Issued::kMustWait;
  }
  Target target;
  if (!FindTarget(nic, q, *wqe, piece.length < space ? piece.length : space, &target)) {
    return Issued::kMustWait;
  }
  context.to_pool = false;
  context.wqe_index = q.recv.next;
  q.recv.filled += target.length;
  context.filled_after = q.recv.filled;
  Issue(nic, q, index, piece, target.length, target.pieces, target.count);
  framing.taken(q.placement.framing, piece, target.length, nullptr);
  context.fills_wqe = Completes(framing, *wqe, q.recv.filled, context.ends_message);
  if (framing.datagrams) --q.placement.datagrams;
  if (context.fills_wqe) ConsumeReceive(q.recv, wqe->length);
  return Issued::kYes;
}

/// Takes a header out of the stream. Its bytes count as placed with the operation that follows
/// them, or with one without bytes, so that no acknowledgement overtakes what was issued before.
/// Answers kMustWait when the queue pair has failed over it.
Issued TakeHeader(const Nic& nic, QueuePair& q, uint32_t index, const Piece& piece) {
  ReceiveContext& context = nic.receive(index);
  uint8_t header[FramingState::kMostHeaderBytes];
  const uint32_t status = piece.kind == Piece::Kind::kHeader
                              ? ReadFrame(nic, context.frame, context.offset, piece.length, header)
                              : uint32_t{kDmaFault};
  if (status == kDmaRevoked) {
    FailPlacement(nic, q, status);
    return Issued::kMustWait;
  }
  if (status != kDmaOk ||
      !FramingOf(q.recv).taken(q.placement.framing, piece, piece.length, header)) {
    FailReceive(nic, q, abi::CompletionStatus::kLocalQpOperationError);
    return Issued::kMustWait;
  }
  context.offset += piece.length;
  context.sequence += piece.length;
  context.remaining -= piece.length;
  context.stripped += piece.length;
  q.placement.stripped += piece.length;
  return Issued::kYes;
}

/// The next operation of a context that has none under way.
Issued IssueNext(const Nic& nic, QueuePair& q, uint32_t index) {
  const Framing& framing = FramingOf(q.recv);
  ReceiveContext& context = nic.receive(index);
  Piece piece = NextOf(framing, q.placement.framing, context);
  while (piece.kind != Piece::Kind::kMessage) {
    if (TakeHeader(nic, q, index, piece) != Issued::kYes) return Issued::kMustWait;
    if (context.remaining == 0) {
      context.to_pool = false;
      Issue(nic, q, index, Piece{}, 0, nullptr, 0);
      return Issued::kYes;
    }
    piece = NextOf(framing, q.placement.framing, context);
  }
  if (!GoesToPool(q, context)) return IssueToReceive(nic, q, index, piece);
  context.to_pool = true;
  q.pool.pending += piece.length;
  IssueToPool(nic, q, index, piece);
  framing.taken(q.placement.framing, piece, piece.length, nullptr);
  return Issued::kYes;
}

/// Copies the oldest bytes of the pool into posted receives, as far as there are any.
void PumpDrain(const Nic& nic, QueuePair& q) {
  if (q.pool.drain.issued != 0 || q.recv.next == q.recv.producer) return;
  switch (LoadRecord(nic, q.pool, q.host_memory, q.handle)) {
    case RecordAnswer::kFetching:
      return;
    case RecordAnswer::kBad:
      FailReceive(nic, q, abi::CompletionStatus::kLocalQpOperationError);
      return;
    case RecordAnswer::kReady:
      break;
  }
  const abi::RecvWqe* wqe = ReceiveAtHand(nic, q);
  if (wqe == nullptr) return;
  const Framing& framing = FramingOf(q.recv);
  const uint32_t rest = q.pool.drain.rest;
  const uint32_t space = wqe->length - q.recv.filled;
  if (!Fits(framing, Piece{Piece::Kind::kMessage, rest, rest, q.pool.drain.push}, space)) {
    FailReceive(nic, q, abi::CompletionStatus::kLocalLengthError);
    return;
  }
  Target target;
  if (!FindTarget(nic, q, *wqe, rest < space ? rest : space, &target)) return;
  CopyFromPool(nic, q.pool, q.host_memory, q.handle, target.length, target.pieces, target.count);
}

void IssueAll(const Nic& nic, QueuePair& q) {
  if (q.state != QpState::kConnected) return;
  if (q.type == abi::QpType::kTcp) PumpDrain(nic, q);
  uint32_t index = q.placement.contexts.head;
  while (index != kNone && q.state == QpState::kConnected) {
    ReceiveContext& context = nic.receive(index);
    const uint32_t next = context.link.next;
    const Issued result = context.issued ? Issued::kYes : IssueNext(nic, q, index);
    if (result == Issued::kMustWait) return;
    // A context that has bytes left goes on at its completion; those behind it wait.
    if (result == Issued::kYes && context.remaining != 0) return;
    index = next;
  }
}

/// Held text that follows what has just been placed lies in the pool, in order from now on.
void CommitReleased(const Nic& nic, QueuePair& q) {
  tcp::HeldRange range;
  while (tcp::NextReleased(q.tcb, &range)) {
    CommitPool(nic, q.pool, range.length, range.push);
    tcp::OnPlaced(q.tcb, range.length, nic.now);
  }
}

void CompleteContext(const Nic& nic, const ReceiveQueue& recv, const ReceiveContext& context) {
  CompletionDetail detail;
  detail.byte_length = context.filled_after;
  detail.peer_port = context.peer_port;
  detail.peer_address = context.peer_address;
  CompleteReceive(nic, recv, context.wqe_index, detail);
}

/// A receive completes with what has arrived, once nothing more is at hand. `context` was the last
/// text at hand, and is placed.
void CompletePartial(const Nic& nic, QueuePair& q, const ReceiveContext& context) {
  if (context.fills_wqe || context.to_pool || context.remaining != 0) return;
  if (q.type != abi::QpType::kTcp || q.recv.next != context.wqe_index) return;
  if (!CompletesWhenIdle(FramingOf(q.recv), q.placement, q.pool))
    return;  // or what was held follows, and the copy completes it
  const abi::RecvWqe* wqe = ReceiveAtHand(nic, q);
  if (wqe == nullptr) return;
  ConsumeReceive(q.recv, wqe->length);
  CompleteContext(nic, q.recv, context);
}

/// An operation outside the list is over: held text, or what a connection has left behind.
void OnHeldPlaced(const Nic& nic, QueuePair& q, uint32_t index, uint32_t status) {
  const bool counts = nic.receive(index).held && q.state == QpState::kConnected;
  if (counts) nic.Charge(Stage::kRxPutData, Variant::kData, nic.receive(index).in_flight);
  ReturnReceiveContext(nic, index);
  if (!counts) return;
  if (status != kDmaOk) FailPlacement(nic, q, status);
  nic.Charge(Stage::kRxUpdate, Variant::kData);
}

/// The bytes of a finished operation count: in the pool or past it, and for the TCP machine.
void CountPlaced(const Nic& nic, QueuePair& q, const ReceiveContext& context) {
  const uint32_t length = context.in_flight;
  if (q.type != abi::QpType::kTcp) return;
  if (context.to_pool) {
    q.pool.pending -= length;
    CommitPool(nic, q.pool, length, context.ends_message);
  } else {
    SkipPool(q.pool, length);
  }
  q.placement.stripped -= context.stripped;
  tcp::OnPlaced(q.tcb, length + context.stripped, nic.now, context.remaining == 0);
  CommitReleased(nic, q);
}

}  // namespace

bool CanQueueDatagram(const Nic& nic, QueuePair& q) {
  const auto has_receive = [&q] { return q.recv.producer - q.recv.next > q.placement.datagrams; };
  return has_receive() || (LookForReceives(nic, q) && has_receive());
}

void QueueText(const Nic& nic, QueuePair& q, uint32_t frame, uint32_t text_offset,
               const tcp::Arrival& arrival) {
  const uint32_t index = TakeReceiveContext(nic);
  ReceiveContext& context = nic.receive(index);
  context.qp = q.handle;
  context.frame = frame;
  context.offset = text_offset + arrival.text_offset;
  context.remaining = arrival.text_length;
  context.sequence = arrival.text_sequence;
  context.push = arrival.push;
  context.held = arrival.held;
  if (context.held) {
    nic.Count(abi::NicCounter::kTcpSegmentsHeld);
    const uint32_t all = context.remaining;
    IssueToPool(nic, q, index, Piece{Piece::Kind::kMessage, all, all, context.push});
    return;
  }
  PushBack(q.placement.contexts, ReceiveLink{nic}, index);
  PumpReceive(nic, q);
}

void QueueDatagram(const Nic& nic, QueuePair& q, uint32_t frame, uint32_t offset, uint32_t length,
                   const ipv6::Address& peer, uint16_t peer_port) {
  const uint32_t index = TakeReceiveContext(nic);
  ReceiveContext& context = nic.receive(index);
  context.qp = q.handle;
  context.frame = frame;
  context.offset = offset;
  context.remaining = length;
  context.push = true;
  context.peer_address = peer;
  context.peer_port = peer_port;
  ++q.placement.datagrams;
  PushBack(q.placement.contexts, ReceiveLink{nic}, index);
  PumpReceive(nic, q);
}

void AfterProgress(const Nic& nic, QueuePair& q) {
  UpdateReceiveWindow(nic, q);
  PumpReceive(nic, q);
  DeliverEndOfStream(nic, q);
  if (q.state != QpState::kConnected || q.type != abi::QpType::kTcp) return;
  if (tcp::AckDue(q.tcb, nic.now)) {
    Activate(nic, q.handle);
  } else {
    UpdateTimer(nic, q);  // the acknowledgement waits for the next segment, or its timer
  }
}

/// All operations of an RDMA queue pair's context are done.
static void FinishRdma(const Nic& nic, QueuePair& q, uint32_t index) {
  ReceiveContext& context = nic.receive(index);
  OnRdmaPlaced(nic, q, index);
  if (q.state != QpState::kConnected) return;
  context.in_flight = 0;
  if (context.remaining == 0) {
    Remove(q.placement.contexts, ReceiveLink{nic}, index);
    ReturnReceiveContext(nic, index);
  }
  AddToBatch(nic, q.handle);
  AfterProgress(nic, q);
  nic.Charge(Stage::kRxUpdate, Variant::kData);
}

void OnPlaced(const Nic& nic, uint32_t index, uint32_t status) {
  ReceiveContext& context = nic.receive(index);
  QueuePair& q = nic.qp(context.qp);
  QPIP_ASSERT(context.issued && q.host_memory.dma_outstanding != 0);
  --q.host_memory.dma_outstanding;
  if (IsRdma(q.recv) && !OnRdmaPart(nic, index, status)) return;
  context.issued = false;
  if (context.detached || context.held) {
    OnHeldPlaced(nic, q, index, status);
    return;
  }
  nic.Charge(Stage::kRxPutData, PayloadVariant(q.type), context.in_flight);
  if (IsRdma(q.recv)) {
    FinishRdma(nic, q, index);
    return;
  }
  if (status != kDmaOk) {
    TakeBackReceive(q.recv, context);
    context.fills_wqe = false;  // nothing is under way any more
    FailPlacement(nic, q, status);
    return;
  }
  CountPlaced(nic, q, context);
  const bool fills_wqe = context.fills_wqe;
  // Off the list when it is done, so that the list says what is still at hand.
  const bool done = context.remaining == 0;
  if (done) Remove(q.placement.contexts, ReceiveLink{nic}, index);
  if (fills_wqe) {
    CompleteContext(nic, q.recv, context);
  } else {
    CompletePartial(nic, q, context);
  }
  context.fills_wqe = false;
  context.in_flight = 0;
  context.stripped = 0;
  if (done) ReturnReceiveContext(nic, index);
  AddToBatch(nic, q.handle);
  AfterProgress(nic, q);
  nic.Charge(Stage::kRxUpdate, PayloadVariant(q.type));
}

void OnRecvWqesFetched(const Nic& nic, QueuePair& q, uint32_t status) {
  OnEntriesFetched(q.recv, q.host_memory);
  if (q.state != QpState::kConnected) return;
  nic.Charge(Stage::kRxGetWr, PayloadVariant(q.type), q.recv.window.count);
  if (status != kDmaOk) {
    FailReceive(nic, q, abi::CompletionStatus::kLocalProtectionError);
    return;
  }
  PumpReceive(nic, q);
  DeliverEndOfStream(nic, q);
}

void OnDrainRecordsFetched(const Nic& nic, QueuePair& q, uint32_t status) {
  --q.host_memory.dma_outstanding;
  q.pool.drain.reading = false;
  if (q.state != QpState::kConnected) return;
  if (status != kDmaOk) {
    FailReceive(nic, q, abi::CompletionStatus::kLocalProtectionError);
    return;
  }
  if (IsRdma(q.recv)) {
    OnWaitingHead(RdmaOf(nic, q));
    AfterProgress(nic, q);
    return;
  }
  PumpReceive(nic, q);
}

void OnDrainCopied(const Nic& nic, QueuePair& q, uint32_t status) {
  --q.host_memory.dma_outstanding;
  if (IsRdma(q.recv)) {
    OnRdmaCopied(nic, q, status);
    if (q.state == QpState::kConnected) AfterProgress(nic, q);
    return;
  }
  const uint32_t length = q.pool.drain.issued;
  q.pool.drain.issued = 0;
  if (q.state != QpState::kConnected) return;
  const abi::RecvWqe* wqe = ReceiveAtHand(nic, q);
  if (status != kDmaOk || wqe == nullptr) {
    if (q.state == QpState::kConnected) {
      FailReceive(nic, q, abi::CompletionStatus::kLocalProtectionError);
    }
    return;
  }
  const bool message_ends = TakeFromPool(q.pool, length) && q.pool.drain.push;
  q.recv.filled += length;
  const Framing& framing = FramingOf(q.recv);
  if (Completes(framing, *wqe, q.recv.filled, message_ends) ||
      (!framing.keeps_boundaries && !PoolInUse(q.pool))) {
    CompletionDetail detail;
    detail.byte_length = q.recv.filled;
    const uint32_t index = q.recv.next;
    ConsumeReceive(q.recv, wqe->length);
    CompleteReceive(nic, q.recv, index, detail);
  }
  AfterProgress(nic, q);
}

void DeliverEndOfStream(const Nic& nic, QueuePair& q) {
  if (q.placement.end_of_stream != kEosPending || !q.placement.contexts.empty() ||
      tcp::HasReleased(q.tcb)) {
    return;
  }
  if (q.state != QpState::kConnected) return;
  if (IsRdma(q.recv)) {
    OnRdmaEndOfStream(nic, q);
    return;
  }
  if (!q.ending.peer_closed_reported) {
    q.ending.peer_closed_reported = true;
    Report(nic, q, abi::EventKind::kPeerClosed, 0);
  }
  if (!PoolInUse(q.pool) && q.recv.next != q.recv.producer) {
    CompleteEndOfStream(nic, q.recv, q.placement);
    FlushReceives(nic, q.recv, q.placement, q.ending);  // nothing can fill what is left
  }
  FinishOrderlyClose(nic, q);
}

bool EndBatch(const Nic& nic) {
  if (nic.state.batch.empty()) return false;
  for (;;) {
    const uint32_t handle = PopFront(nic.state.batch, BatchLink{nic});
    if (handle == kNone) return true;
    QueuePair& q = nic.qp(handle);
    if (q.type != abi::QpType::kTcp || q.tcb.state == tcp::State::kClosed) continue;
    tcp::OnBatchEnd(q.tcb);
    if (tcp::AckDue(q.tcb, nic.now)) Activate(nic, q.handle);
  }
}

}  // namespace qpip::fw

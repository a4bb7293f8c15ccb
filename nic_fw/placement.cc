#include "nic_fw/placement.h"

#include <span>

#include "nic_fw/completion.h"
#include "nic_fw/connection.h"
#include "nic_fw/memory.h"
#include "nic_fw/overflow_pool.h"
#include "nic_fw/reassembly.h"
#include "nic_fw/receive_queue.h"
#include "nic_fw/timers.h"
#include "nic_fw/transmit_fsm.h"
#include "protocols/tcp/machine.h"

namespace qpip::fw {
namespace {

void Append(const Nic& nic, QueuePair& q, uint32_t index) {
  if (q.placement.tail == kNone) {
    q.placement.head = index;
  } else {
    nic.receive(q.placement.tail).next = index;
  }
  q.placement.tail = index;
}

void Remove(const Nic& nic, QueuePair& q, uint32_t index) {
  uint32_t previous = kNone;
  for (uint32_t i = q.placement.head; i != index; i = nic.receive(i).next) previous = i;
  const uint32_t next = nic.receive(index).next;
  if (previous == kNone) {
    q.placement.head = next;
  } else {
    nic.receive(previous).next = next;
  }
  if (q.placement.tail == index) q.placement.tail = previous;
}

void AddToBatch(const Nic& nic, QueuePair& q) {
  if (q.in_batch) return;
  q.in_batch = true;
  q.next_batch = nic.state.batch_head;
  nic.state.batch_head = q.handle;
}

/// Starts moving the next bytes of a context to `pieces`.
void Issue(const Nic& nic, QueuePair& q, uint32_t index, uint32_t length, const DmaSegment* pieces,
           uint32_t count) {
  ReceiveContext& context = nic.receive(index);
  PlaceFrame(nic, context.frame, context.offset, pieces, count, MakeTag(Tag::kPlace, index));
  ++q.host_memory.dma_outstanding;
  context.in_flight = length;
  context.offset += length;
  context.sequence += length;
  context.remaining -= length;
}

/// Moves all of a context to its place in the overflow pool.
void IssueToPool(const Nic& nic, QueuePair& q, uint32_t index) {
  DmaSegment pieces[2];
  const ReceiveContext& context = nic.receive(index);
  const uint32_t length = context.remaining;
  const uint32_t count = PoolPlace(q, context.sequence, length, pieces);
  if (count == 0) {  // more than was ever advertised: cannot come from the TCP machine
    FailReceive(nic, q, abi::CompletionStatus::kLocalQpOperationError);
    return;
  }
  Issue(nic, q, index, length, pieces, count);
  nic.Count(abi::NicCounter::kOverflowPoolBytes, length);
}

/// True when a context has to go to the pool: no receive is posted, or older bytes are there.
bool GoesToPool(const QueuePair& q, const ReceiveContext& context) {
  if (q.type != abi::QpType::kTcp) return false;
  if (PoolInUse(q) || q.recv.next == q.recv.producer) return true;
  return tcp::HasReleased(q.tcb) && q.tcb.held.ranges[0].start.Before(context.sequence);
}

/// Held text that follows what has just been placed lies in the pool, in order from now on.
void CommitReleased(const Nic& nic, QueuePair& q) {
  tcp::HeldRange range;
  while (tcp::NextReleased(q.tcb, &range)) {
    CommitPool(nic, q, range.length, range.push);
    tcp::OnPlaced(q.tcb, range.length, nic.now);
  }
}

/// What became of an attempt to issue a context's next operation.
enum class Issued : uint8_t {
  kYes,
  kMustWait,  // for a WQE fetch, or for ever: the queue pair has failed
  kDropped,   // a datagram that does not fit: the context is gone
};

/// Into the posted receive.
Issued IssueToReceive(const Nic& nic, QueuePair& q, uint32_t index) {
  const abi::RecvWqe* wqe = CurrentReceive(nic, q);
  if (wqe == nullptr) return Issued::kMustWait;
  ReceiveContext& context = nic.receive(index);
  const uint32_t space = wqe->length - q.recv.filled;
  const bool whole = q.type == abi::QpType::kUdp || q.framing == abi::Framing::kSegment;
  if (whole && context.remaining > space) {
    if (q.type == abi::QpType::kTcp) {
      FailReceive(nic, q, abi::CompletionStatus::kLocalLengthError);
      return Issued::kMustWait;
    }
    nic.Drop(abi::DropReason::kDatagramTooLong);
    --q.placement.datagrams;
    Remove(nic, q, index);
    ReturnReceiveContext(nic, index);
    return Issued::kDropped;
  }
  uint32_t length = context.remaining < space ? context.remaining : space;
  DmaSegment pieces[kMaxDmaSegments];
  uint32_t count = 0;
  if (length != 0) {
    count = Translate(nic, q.protection_domain, abi::kAccessLocalWrite, ReceiveList(*wqe),
                      q.recv.filled, length, pieces, &length);
    if (count == 0) {
      nic.Count(abi::NicCounter::kProtectionErrors);
      FailReceive(nic, q, abi::CompletionStatus::kLocalProtectionError);
      return Issued::kMustWait;
    }
  }
  context.to_pool = false;
  context.wqe_index = q.recv.next;
  q.recv.filled += length;
  context.filled_after = q.recv.filled;
  Issue(nic, q, index, length, pieces, count);
  const bool message_ends = whole && context.push && context.remaining == 0;
  const bool full = q.framing == abi::Framing::kStream && q.recv.filled == wqe->length;
  context.fills_wqe = message_ends || full;
  if (q.type == abi::QpType::kUdp) --q.placement.datagrams;
  if (context.fills_wqe) ConsumeReceive(q, wqe->length);
  return Issued::kYes;
}

void CompleteReceive(const Nic& nic, QueuePair& q, const ReceiveContext& context) {
  CompletionDetail detail;
  detail.byte_length = context.filled_after;
  detail.peer_port = context.peer_port;
  detail.peer_address = context.peer_address;
  Complete(nic, q, abi::CompletionOpcode::kRecv, context.wqe_index, detail);
}

/// A receive that is used up, but will not be completed, is flushed with those behind it.
void TakeBackReceive(QueuePair& q, const ReceiveContext& context) {
  if (!context.fills_wqe || q.recv.next - context.wqe_index >= 0x80000000u) return;
  q.recv.next = context.wqe_index;
}

/// Stream framing: a receive completes with what has arrived, once nothing more is at hand.
void CompletePartial(const Nic& nic, QueuePair& q, ReceiveContext& context) {
  if (q.framing != abi::Framing::kStream || q.type != abi::QpType::kTcp) return;
  if (context.fills_wqe || context.to_pool || context.remaining != 0) return;
  if (q.placement.tail != q.placement.head || q.recv.next != context.wqe_index) return;
  if (PoolInUse(q)) return;  // what was held follows, and the copy completes the receive
  const abi::RecvWqe* wqe = CurrentReceive(nic, q);
  if (wqe == nullptr) return;
  ConsumeReceive(q, wqe->length);
  CompleteReceive(nic, q, context);
}

}  // namespace

bool CanQueueText(const Nic& nic) { return nic.state.free_receive != kNone; }

uint32_t TakeReceiveContext(const Nic& nic) {
  const uint32_t index = nic.state.free_receive;
  nic.state.free_receive = nic.receive(index).next;
  nic.receive(index) = ReceiveContext{};
  return index;
}

void ReturnReceiveContext(const Nic& nic, uint32_t index) {
  ReceiveContext& context = nic.receive(index);
  ReleaseFrame(nic, context.frame);
  context.next = nic.state.free_receive;
  nic.state.free_receive = index;
}

bool CanQueueDatagram(const QueuePair& q) {
  return q.recv.producer - q.recv.next > q.placement.datagrams;
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
    IssueToPool(nic, q, index);
    return;
  }
  Append(nic, q, index);
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
  Append(nic, q, index);
  PumpReceive(nic, q);
}

void PumpReceive(const Nic& nic, QueuePair& q) {
  if (q.state != QpState::kConnected) return;
  if (q.type == abi::QpType::kTcp) PumpDrain(nic, q);
  uint32_t index = q.placement.head;
  while (index != kNone && q.state == QpState::kConnected) {
    ReceiveContext& context = nic.receive(index);
    const uint32_t next = context.next;
    // An empty datagram has no bytes in flight, but uses up its receive.
    const bool issued = context.in_flight != 0 || context.fills_wqe;
    Issued result = Issued::kYes;
    if (!issued) {
      if (GoesToPool(q, context)) {
        context.to_pool = true;
        q.pool.pending += context.remaining;
        IssueToPool(nic, q, index);
      } else {
        result = IssueToReceive(nic, q, index);
      }
    }
    if (result == Issued::kMustWait) return;
    // A context that has bytes left goes on at its completion; those behind it wait.
    if (result == Issued::kYes && context.remaining != 0) return;
    index = next;
  }
}

namespace {

/// An operation outside the list is over: held text, or what a connection has left behind.
void OnHeldPlaced(const Nic& nic, QueuePair& q, uint32_t index, uint32_t status) {
  const bool counts = nic.receive(index).held && q.state == QpState::kConnected;
  if (counts) nic.Charge(Stage::kRxPutData, Variant::kData, nic.receive(index).in_flight);
  ReturnReceiveContext(nic, index);
  if (!counts) return;
  if (status != kDmaOk) FailReceive(nic, q, abi::CompletionStatus::kLocalProtectionError);
  nic.Charge(Stage::kRxUpdate, Variant::kData);
}

}  // namespace

void OnPlaced(const Nic& nic, uint32_t index, uint32_t status) {
  ReceiveContext& context = nic.receive(index);
  QueuePair& q = nic.qp(context.qp);
  --q.host_memory.dma_outstanding;
  if (context.detached || context.held) {
    OnHeldPlaced(nic, q, index, status);
    return;
  }
  const uint32_t length = context.in_flight;
  const bool fills_wqe = context.fills_wqe;
  context.in_flight = 0;
  nic.Charge(Stage::kRxPutData, PayloadVariant(q), length);
  if (status != kDmaOk) {
    TakeBackReceive(q, context);
    context.fills_wqe = false;  // nothing is under way any more
    FailReceive(nic, q, abi::CompletionStatus::kLocalProtectionError);
    return;
  }
  if (context.to_pool) {
    q.pool.pending -= length;
    CommitPool(nic, q, length, context.push && context.remaining == 0);
  } else {
    SkipPool(q, length);
  }
  if (q.type == abi::QpType::kTcp) {
    tcp::OnPlaced(q.tcb, length, nic.now, context.remaining == 0);
    CommitReleased(nic, q);
  }
  if (fills_wqe) {
    CompleteReceive(nic, q, context);
  } else {
    CompletePartial(nic, q, context);
  }
  context.fills_wqe = false;
  if (context.remaining == 0) {
    Remove(nic, q, index);
    ReturnReceiveContext(nic, index);
  }
  UpdateReceiveWindow(nic, q);
  AddToBatch(nic, q);
  PumpReceive(nic, q);
  DeliverEndOfStream(nic, q);
  if (q.state == QpState::kConnected && q.type == abi::QpType::kTcp) {
    if (tcp::AckDue(q.tcb, nic.now)) {
      Activate(nic, q);
    } else {
      UpdateTimer(nic, q);  // the acknowledgement waits for the next segment, or its timer
    }
  }
  nic.Charge(Stage::kRxUpdate, PayloadVariant(q));
}

void OnRecvWqesFetched(const Nic& nic, QueuePair& q, uint32_t status) {
  --q.host_memory.dma_outstanding;
  q.recv.window.count = q.recv.window.fetching;
  q.recv.window.fetching = 0;
  if (q.state != QpState::kConnected) return;
  nic.Charge(Stage::kRxGetWr, PayloadVariant(q), q.recv.window.count);
  if (status != kDmaOk) {
    FailReceive(nic, q, abi::CompletionStatus::kLocalProtectionError);
    return;
  }
  PumpReceive(nic, q);
  DeliverEndOfStream(nic, q);
}

void DeliverEndOfStream(const Nic& nic, QueuePair& q) {
  if (q.placement.end_of_stream != kEosPending || q.placement.head != kNone ||
      tcp::HasReleased(q.tcb))
    return;
  if (q.state != QpState::kConnected) return;
  if (!q.ending.peer_closed_reported) {
    q.ending.peer_closed_reported = true;
    ReportPeerClosed(nic, q);
  }
  if (!PoolInUse(q) && q.recv.next != q.recv.producer) {
    CompleteEndOfStream(nic, q);
    FlushReceives(nic, q);  // nothing can fill what is left
  }
  FinishOrderlyClose(nic, q);
}

void DropPlacements(const Nic& nic, QueuePair& q) {
  for (uint32_t index = q.placement.head; index != kNone;) {
    const uint32_t next = nic.receive(index).next;
    TakeBackReceive(q, nic.receive(index));
    // An operation without bytes (an empty datagram) is under way too.
    if (nic.receive(index).in_flight != 0 || nic.receive(index).fills_wqe) {
      nic.receive(index).detached = true;
    } else {
      ReturnReceiveContext(nic, index);
    }
    index = next;
  }
  q.placement.head = kNone;
  q.placement.tail = kNone;
  q.pool.pending = 0;
  q.placement.datagrams = 0;
}

bool EndBatch(const Nic& nic) {
  if (nic.state.batch_head == kNone) return false;
  while (nic.state.batch_head != kNone) {
    QueuePair& q = nic.qp(nic.state.batch_head);
    nic.state.batch_head = q.next_batch;
    q.next_batch = kNone;
    q.in_batch = false;
    if (q.type != abi::QpType::kTcp || q.tcb.state == tcp::State::kClosed) continue;
    tcp::OnBatchEnd(q.tcb);
    if (tcp::AckDue(q.tcb, nic.now)) Activate(nic, q);
  }
  return true;
}

}  // namespace qpip::fw

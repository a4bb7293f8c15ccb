#include "nic_fw/transmit_fsm.h"

#include "nic_fw/ending.h"
#include "nic_fw/invariants.h"
#include "nic_fw/rdma_send.h"
#include "nic_fw/rdma_state.h"
#include "nic_fw/schedule.h"
#include "nic_fw/timers.h"
#include "nic_fw/transmit_context.h"
#include "nic_fw/transmit_tcp.h"
#include "nic_fw/transmit_udp.h"
#include "nic_fw/work_queue.h"

namespace qpip::fw {
namespace {

constexpr uint32_t kRetriesAtATime = 16;

/// Whether a segment's text was acknowledged, and a send that it is of completed, since its fetch
/// began: the memory is the application's again and must not be read, even if a part of the segment
/// is of sends that go on.
bool Outlived(const QueuePair& q, const TransmitContext& context) {
  return !context.is_request_less && static_cast<int32_t>(context.wqe_index - q.send.completed) < 0;
}

/// Sends a context's frame if the wire takes it; answers false when it is still refused.
bool TrySend(const Nic& nic, QueuePair& q, uint32_t index) {
  TransmitContext& context = nic.transmit(index);
  if (q.type == abi::QpType::kTcp && Outlived(q, context)) {
    nic.hardware.PayloadRelease(context.payload);
    UpdateTimer(nic, q);  // of what else it held, the peer is told by a retransmission
    return true;
  }
  if (q.type == abi::QpType::kTcp) return SendFetchedSegment(nic, q, context, SourceOf(context));
  if (!SendReadyDatagram(nic, q, context, SourceOf(context))) return false;
  if (q.send.announced != q.send.producer) Activate(nic, q.handle);  // one may wait for this
  return true;
}

/// Whether the wire has read nothing of text that was sent again for as long as its connection may
/// take. What was sent first is acknowledged, so that TCP's own timers see nothing amiss.
bool RepeatHeldTooLong(const Nic& nic, const QueuePair& q) {
  const uint64_t lease = q.host_memory.repeat_lease;
  if (lease == 0 || q.state != QpState::kConnected || q.tcb.user_timeout_ms == 0) return false;
  const uint32_t pending = nic.hardware.LeasePending(lease);
  return pending != 0 && pending - 1 >= q.tcb.user_timeout_ms;
}

Turn ServiceStream(const Nic& nic, QueuePair& q) {
  return IsRdma(q.send) ? ServiceRdma(nic, q) : ServiceTcp(nic, q);
}

/// States in which there may be something to send after all refused frames have left.
bool MaySend(QpState state) {
  return state == QpState::kConnected || state == QpState::kConnecting ||
         state == QpState::kOrphan || state == QpState::kClosed;
}

}  // namespace

bool ServiceTransmit(const Nic& nic) {
  FirmwareState& s = nic.state;
  if (s.active.empty() && s.fresh.empty()) return false;
  QueuePair& q = TakeTurn(nic);
  const Handler handler(nic, q);
  // Deficit round robin (Shreedhar and Varghese, 1995): a turn's credit is `quantum` bytes.
  if (q.deficit <= 0) q.deficit += static_cast<int32_t>(s.quantum);
  if (q.deficit <= 0) {  // a packet larger than the quantum has taken several turns' credit
    ActivateBehind(nic, q);
    return true;
  }
  const Turn turn = q.type == abi::QpType::kTcp ? ServiceStream(nic, q) : ServiceUdp(nic, q);
  const bool idle = turn.kind == Turn::Kind::kIdle;
  const bool last = turn.kind == Turn::Kind::kSent && q.type == abi::QpType::kTcp &&
                    !q.links.active.linked() && !MayHaveToSend(nic, q);
  if (idle || last) {
    q.deficit = 0;
    return true;
  }
  if (turn.kind == Turn::Kind::kNoBuffer) {
    if (!q.links.active.linked()) ActivateBehind(nic, q);
    return false;
  }
  q.deficit -= static_cast<int32_t>(turn.bytes);
  if (q.links.active.linked()) return true;
  if (q.deficit > 0) {  // credit left: stays at the head
    PushFront(TurnsOf(nic, q), ActiveLink{nic}, q.handle);
  } else {
    ActivateBehind(nic, q);
  }
  return true;
}

namespace {

/// The queue pair that has waited longest for the wire. False: it still does, behind the others.
bool RetryFirstRefused(const Nic& nic) {
  FirmwareState& s = nic.state;
  QueuePair& q = nic.qp(PopFront(s.refused, RefusedLink{nic}));
  // A peer that does not read must not hold the contexts that others need: when they run short,
  // its frames are lost, as in a switch with a full queue.
  if (s.free_transmit.count < s.config.transmit_contexts / 4) DropRefused(nic, q);
  if (q.type == abi::QpType::kTcp) {
    if (RepeatHeldTooLong(nic, q)) {
      EndConnection(nic, q, abi::DisconnectReason::kTimedOut,
                    abi::CompletionStatus::kRetryExceeded);
      return true;
    }
    CompleteSends(nic, q);
    if (q.ending.transport_done) FinishOrderlyClose(nic, q);
  }
  if (q.refused.empty()) {
    // It was a segment without text, or an inline datagram: made anew.
    if (q.type == abi::QpType::kTcp) {
      ServiceStream(nic, q);
    } else {
      ServiceUdp(nic, q);
    }
    if (q.links.refused.linked()) return false;
  }
  bool progress = q.refused.empty();
  while (!q.refused.empty() && TrySend(nic, q, q.refused.head)) {
    ReturnTransmitContext(nic, PopFront(q.refused, TransmitLink{nic}));
    progress = true;
  }
  if (!q.refused.empty()) AwaitWire(nic, q.handle);
  if (q.links.refused.linked()) return progress;
  if (MaySend(q.state)) Activate(nic, q.handle);
  return progress;
}

}  // namespace

bool RetryRefused(const Nic& nic) {
  const FirmwareState& s = nic.state;
  if (s.refused.empty()) return false;
  const uint32_t first = s.refused.head;
  // Those that wait for a peer that does not read must not hold up who waits for another.
  uint32_t tries = kRetriesAtATime;
  do {
    if (RetryFirstRefused(nic)) return true;
  } while (--tries != 0 && !s.refused.empty() && s.refused.head != first);
  return false;
}

void OnSendWqesFetched(const Nic& nic, QueuePair& q, uint32_t status) {
  OnEntriesFetched(q.send, q.host_memory);
  if (IsRdma(q.send)) {
    OnRdmaSendsFetched(nic, q, status);
  } else {
    OnSendsFetched(nic, q, status);
  }
  if (q.state == QpState::kConnected) Activate(nic, q.handle);
}

void OnPayloadFetched(const Nic& nic, uint32_t index, const DmaCompletion& completion) {
  TransmitContext& context = nic.transmit(index);
  QueuePair& q = nic.qp(context.qp);
  --q.host_memory.dma_outstanding;
  if (q.type == abi::QpType::kTcp && --q.send.text_fetching == 0 && q.send.waits_for_text) {
    q.send.waits_for_text = false;
    if (q.state == QpState::kConnected) Activate(nic, q.handle);
  }
  context.sum = completion.sum;
  nic.Charge(Stage::kTxGetData, PayloadVariant(q.type), context.length);
  if (q.state != QpState::kConnected || completion.status != kDmaOk) {
    nic.hardware.PayloadRelease(context.payload);
    const uint32_t wqe_index = context.wqe_index;
    ReturnTransmitContext(nic, index);
    if (q.state == QpState::kConnected) {
      FailSend(nic, q, wqe_index, abi::CompletionStatus::kLocalProtectionError);
    }
    return;
  }
  if (q.type == abi::QpType::kUdp && context.part == DatagramPart::kSummed) {
    OnPartSummed(nic, q.send, index, completion.sum);
    return;
  }
  SealFetched(nic, context);
  // Frames of one queue pair stay in order: behind refused ones, this one waits too.
  if (!q.refused.empty() || !TrySend(nic, q, index)) {
    PushBack(q.refused, TransmitLink{nic}, index);
    AwaitWire(nic, q.handle);
    return;
  }
  ReturnTransmitContext(nic, index);
}

}  // namespace qpip::fw

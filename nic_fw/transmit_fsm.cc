#include "nic_fw/transmit_fsm.h"

#include "nic_fw/completion.h"
#include "nic_fw/connection.h"
#include "nic_fw/packet.h"
#include "nic_fw/timers.h"
#include "nic_fw/transmit_internal.h"
#include "protocols/tcp/machine.h"

namespace qpip::fw {
namespace {

void PopActive(const Nic& nic) {
  FirmwareState& s = nic.state;
  QueuePair& q = nic.qp(s.active_head);
  s.active_head = q.next_active;
  if (s.active_head == kNone) s.active_tail = kNone;
  q.next_active = kNone;
  q.is_active = false;
}

void AppendBlocked(const Nic& nic, QueuePair& q, uint32_t index) {
  nic.transmit(index).next = kNone;
  if (q.blocked_tail == kNone) {
    q.blocked_head = index;
  } else {
    nic.transmit(q.blocked_tail).next = index;
  }
  q.blocked_tail = index;
  Block(nic, q);
}

/// Sends a context's frame if the wire takes it; answers false when it is still refused.
bool TrySend(const Nic& nic, QueuePair& q, uint32_t index) {
  TransmitContext& context = nic.transmit(index);
  PayloadSource source;
  source.handle = context.payload;
  source.length = context.length;
  source.sum = context.sum;
  if (q.type == abi::QpType::kTcp) return SendReadySegment(nic, q, context, source);
  if (!SendReadyDatagram(nic, q, context, source)) return false;
  if (q.send_announced != q.send_producer) Activate(nic, q);  // one may wait for this
  return true;
}

}  // namespace

void Activate(const Nic& nic, QueuePair& q) {
  if (q.is_active) return;
  FirmwareState& s = nic.state;
  q.is_active = true;
  q.next_active = kNone;
  if (s.active_tail == kNone) {
    s.active_head = q.handle;
  } else {
    nic.qp(s.active_tail).next_active = q.handle;
  }
  s.active_tail = q.handle;
}

void Deactivate(const Nic& nic, QueuePair& q) {
  if (!q.is_active) return;
  FirmwareState& s = nic.state;
  uint32_t previous = kNone;
  for (uint32_t h = s.active_head; h != q.handle; h = nic.qp(h).next_active) previous = h;
  if (previous == kNone) {
    s.active_head = q.next_active;
  } else {
    nic.qp(previous).next_active = q.next_active;
  }
  if (s.active_tail == q.handle) s.active_tail = previous;
  q.next_active = kNone;
  q.is_active = false;
  q.deficit = 0;
}

bool ServiceTransmit(const Nic& nic) {
  FirmwareState& s = nic.state;
  if (s.active_head == kNone) return false;
  QueuePair& q = nic.qp(s.active_head);
  // Deficit round robin (Shreedhar and Varghese, 1995): a turn's credit is `quantum` bytes.
  if (q.deficit <= 0) q.deficit += static_cast<int32_t>(s.quantum);
  PopActive(nic);
  if (q.deficit <= 0) {  // a packet larger than the quantum has taken several turns' credit
    Activate(nic, q);
    return true;
  }
  const Turn turn = q.type == abi::QpType::kTcp ? ServiceTcp(nic, q) : ServiceUdp(nic, q);
  if (turn.kind == Turn::Kind::kIdle) {
    q.deficit = 0;
    return true;
  }
  if (turn.kind == Turn::Kind::kNoBuffer) {
    Activate(nic, q);
    return false;
  }
  q.deficit -= static_cast<int32_t>(turn.bytes);
  if (q.is_active) return true;
  if (q.deficit > 0) {  // credit left: stays at the head
    q.is_active = true;
    q.next_active = s.active_head;
    s.active_head = q.handle;
    if (s.active_tail == kNone) s.active_tail = q.handle;
  } else {
    Activate(nic, q);
  }
  return true;
}

void DropBlocked(const Nic& nic, QueuePair& q) {
  while (q.blocked_head != kNone) {
    const uint32_t index = q.blocked_head;
    q.blocked_head = nic.transmit(index).next;
    nic.port.payload_release(nic.port.context, nic.transmit(index).payload);
    nic.Drop(abi::DropReason::kWireFull);
    if (q.type == abi::QpType::kUdp && q.state == QpState::kConnected) {
      OnDatagramLost(nic, q, nic.transmit(index));
    }
    ReturnTransmitContext(nic, index);
  }
  q.blocked_tail = kNone;
}

bool RetryBlocked(const Nic& nic) {
  FirmwareState& s = nic.state;
  if (s.blocked_head == kNone) return false;
  QueuePair& q = nic.qp(s.blocked_head);
  s.blocked_head = q.next_blocked;
  if (s.blocked_head == kNone) s.blocked_tail = kNone;
  q.next_blocked = kNone;
  q.in_blocked = false;
  // A peer that does not read must not hold the contexts that others need: when they run short,
  // its frames are lost, as in a switch with a full queue.
  if (s.free_transmit_count < s.config.transmit_contexts / 4) DropBlocked(nic, q);
  if (q.blocked_head == kNone && q.type == abi::QpType::kTcp) {
    // It was a segment without text, which the connection makes anew.
    ServiceTcp(nic, q);
    if (q.in_blocked) return false;
  }
  bool progress = q.blocked_head == kNone;
  while (q.blocked_head != kNone && TrySend(nic, q, q.blocked_head)) {
    const uint32_t index = q.blocked_head;
    q.blocked_head = nic.transmit(index).next;
    ReturnTransmitContext(nic, index);
    progress = true;
  }
  if (q.blocked_head != kNone) {
    Block(nic, q);
    return progress;
  }
  q.blocked_tail = kNone;
  if (q.state == QpState::kConnected || q.state == QpState::kConnecting ||
      q.state == QpState::kOrphan || q.state == QpState::kClosed) {
    Activate(nic, q);
  }
  return progress;
}

void OnSendWqesFetched(const Nic& nic, QueuePair& q, uint32_t status) {
  --q.dma_outstanding;
  q.send_window.count = q.send_window.fetching;
  q.send_window.fetching = 0;
  if (q.state != QpState::kConnected) return;
  if (status != kDmaOk) {
    FailSend(nic, q, q.send_window.first, abi::CompletionStatus::kLocalProtectionError);
    return;
  }
  if (q.type == abi::QpType::kTcp) {
    AnnounceSends(nic, q);
    // New data behind a shut window starts the persist timer, and nothing else may come to file it.
    if (q.state == QpState::kConnected) UpdateTimer(nic, q);
  }
  nic.Charge(Stage::kTxGetWr, PayloadVariant(q), q.send_window.count);
  if (q.state == QpState::kConnected) Activate(nic, q);
}

void OnPayloadFetched(const Nic& nic, uint32_t index, const DmaCompletion& completion) {
  TransmitContext& context = nic.transmit(index);
  QueuePair& q = nic.qp(context.qp);
  --q.dma_outstanding;
  if (q.type == abi::QpType::kTcp && --q.text_fetching == 0 && q.waits_for_text) {
    q.waits_for_text = false;
    if (q.state == QpState::kConnected) Activate(nic, q);
  }
  context.sum = completion.sum;
  nic.Charge(Stage::kTxGetData, PayloadVariant(q), context.length);
  if (q.state != QpState::kConnected || completion.status != kDmaOk) {
    nic.port.payload_release(nic.port.context, context.payload);
    const uint32_t wqe_index = context.wqe_index;
    ReturnTransmitContext(nic, index);
    if (q.state == QpState::kConnected) {
      FailSend(nic, q, wqe_index, abi::CompletionStatus::kLocalProtectionError);
    }
    return;
  }
  if (q.type == abi::QpType::kUdp && context.part == DatagramPart::kSummed) {
    OnPartSummed(nic, q, index, completion.sum);
    return;
  }
  // Frames of one queue pair stay in order: behind refused ones, this one waits too.
  if (q.blocked_head != kNone || !TrySend(nic, q, index)) {
    AppendBlocked(nic, q, index);
    return;
  }
  ReturnTransmitContext(nic, index);
}

void CompleteAcknowledged(const Nic& nic, QueuePair& q) {
  while (q.send_completed != q.send_announced) {
    const uint32_t index = q.send_completed;
    const SendRecord& record = nic.record(q, index);
    const tcp::SequenceNumber end = record.start + record.length;
    if (end.After(q.tcb.snd_una)) break;
    nic.Trace(kTraceSendAcked, q.handle, index, record.length);
    ++q.send_completed;
    if ((record.flags & abi::kSendSignaled) != 0) {
      CompletionDetail detail;
      detail.byte_length = record.length;
      Complete(nic, q, abi::CompletionOpcode::kSend, index, detail);
    }
  }
}

}  // namespace qpip::fw

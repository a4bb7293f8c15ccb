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
  s.active_head = q.scheduling.next;
  if (s.active_head == kNone) s.active_tail = kNone;
  q.scheduling.next = kNone;
  q.scheduling.listed = false;
}

void AppendBlocked(const Nic& nic, QueuePair& q, uint32_t index) {
  nic.transmit(index).next = kNone;
  if (q.refused.tail == kNone) {
    q.refused.head = index;
  } else {
    nic.transmit(q.refused.tail).next = index;
  }
  q.refused.tail = index;
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
  if (q.send.announced != q.send.producer) Activate(nic, q);  // one may wait for this
  return true;
}

}  // namespace

void Activate(const Nic& nic, QueuePair& q) {
  if (q.scheduling.listed) return;
  FirmwareState& s = nic.state;
  q.scheduling.listed = true;
  q.scheduling.next = kNone;
  if (s.active_tail == kNone) {
    s.active_head = q.handle;
  } else {
    nic.qp(s.active_tail).scheduling.next = q.handle;
  }
  s.active_tail = q.handle;
}

void Deactivate(const Nic& nic, QueuePair& q) {
  if (!q.scheduling.listed) return;
  FirmwareState& s = nic.state;
  uint32_t previous = kNone;
  for (uint32_t h = s.active_head; h != q.handle; h = nic.qp(h).scheduling.next) previous = h;
  if (previous == kNone) {
    s.active_head = q.scheduling.next;
  } else {
    nic.qp(previous).scheduling.next = q.scheduling.next;
  }
  if (s.active_tail == q.handle) s.active_tail = previous;
  q.scheduling.next = kNone;
  q.scheduling.listed = false;
  q.scheduling.deficit = 0;
}

bool ServiceTransmit(const Nic& nic) {
  FirmwareState& s = nic.state;
  if (s.active_head == kNone) return false;
  QueuePair& q = nic.qp(s.active_head);
  // Deficit round robin (Shreedhar and Varghese, 1995): a turn's credit is `quantum` bytes.
  if (q.scheduling.deficit <= 0) q.scheduling.deficit += static_cast<int32_t>(s.quantum);
  PopActive(nic);
  if (q.scheduling.deficit <=
      0) {  // a packet larger than the quantum has taken several turns' credit
    Activate(nic, q);
    return true;
  }
  const Turn turn = q.type == abi::QpType::kTcp ? ServiceTcp(nic, q) : ServiceUdp(nic, q);
  if (turn.kind == Turn::Kind::kIdle) {
    q.scheduling.deficit = 0;
    return true;
  }
  if (turn.kind == Turn::Kind::kNoBuffer) {
    Activate(nic, q);
    return false;
  }
  q.scheduling.deficit -= static_cast<int32_t>(turn.bytes);
  if (q.scheduling.listed) return true;
  if (q.scheduling.deficit > 0) {  // credit left: stays at the head
    q.scheduling.listed = true;
    q.scheduling.next = s.active_head;
    s.active_head = q.handle;
    if (s.active_tail == kNone) s.active_tail = q.handle;
  } else {
    Activate(nic, q);
  }
  return true;
}

void DropBlocked(const Nic& nic, QueuePair& q) {
  while (q.refused.head != kNone) {
    const uint32_t index = q.refused.head;
    q.refused.head = nic.transmit(index).next;
    nic.hardware.PayloadRelease(nic.transmit(index).payload);
    nic.Drop(abi::DropReason::kWireFull);
    if (q.type == abi::QpType::kUdp && q.state == QpState::kConnected) {
      OnDatagramLost(nic, q, nic.transmit(index));
    }
    ReturnTransmitContext(nic, index);
  }
  q.refused.tail = kNone;
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
  if (q.refused.head == kNone && q.type == abi::QpType::kTcp) {
    // It was a segment without text, which the connection makes anew.
    ServiceTcp(nic, q);
    if (q.in_blocked) return false;
  }
  bool progress = q.refused.head == kNone;
  while (q.refused.head != kNone && TrySend(nic, q, q.refused.head)) {
    const uint32_t index = q.refused.head;
    q.refused.head = nic.transmit(index).next;
    ReturnTransmitContext(nic, index);
    progress = true;
  }
  if (q.refused.head != kNone) {
    Block(nic, q);
    return progress;
  }
  q.refused.tail = kNone;
  if (q.state == QpState::kConnected || q.state == QpState::kConnecting ||
      q.state == QpState::kOrphan || q.state == QpState::kClosed) {
    Activate(nic, q);
  }
  return progress;
}

void OnSendWqesFetched(const Nic& nic, QueuePair& q, uint32_t status) {
  --q.host_memory.dma_outstanding;
  q.send.window.count = q.send.window.fetching;
  q.send.window.fetching = 0;
  if (q.state != QpState::kConnected) return;
  if (status != kDmaOk) {
    FailSend(nic, q, q.send.window.first, abi::CompletionStatus::kLocalProtectionError);
    return;
  }
  if (q.type == abi::QpType::kTcp) {
    AnnounceSends(nic, q);
    // New data behind a shut window starts the persist timer, and nothing else may come to file it.
    if (q.state == QpState::kConnected) UpdateTimer(nic, q);
  }
  nic.Charge(Stage::kTxGetWr, PayloadVariant(q), q.send.window.count);
  if (q.state == QpState::kConnected) Activate(nic, q);
}

void OnPayloadFetched(const Nic& nic, uint32_t index, const DmaCompletion& completion) {
  TransmitContext& context = nic.transmit(index);
  QueuePair& q = nic.qp(context.qp);
  --q.host_memory.dma_outstanding;
  if (q.type == abi::QpType::kTcp && --q.send.text_fetching == 0 && q.send.waits_for_text) {
    q.send.waits_for_text = false;
    if (q.state == QpState::kConnected) Activate(nic, q);
  }
  context.sum = completion.sum;
  nic.Charge(Stage::kTxGetData, PayloadVariant(q), context.length);
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
    OnPartSummed(nic, q, index, completion.sum);
    return;
  }
  // Frames of one queue pair stay in order: behind refused ones, this one waits too.
  if (q.refused.head != kNone || !TrySend(nic, q, index)) {
    AppendBlocked(nic, q, index);
    return;
  }
  ReturnTransmitContext(nic, index);
}

void CompleteAcknowledged(const Nic& nic, QueuePair& q) {
  while (q.send.completed != q.send.announced) {
    const uint32_t index = q.send.completed;
    const SendRecord& record = nic.record(q, index);
    const tcp::SequenceNumber end = record.start + record.length;
    if (end.After(q.tcb.snd_una)) break;
    nic.Trace(kTraceSendAcked, q.handle, index, record.length);
    ++q.send.completed;
    if ((record.flags & abi::kSendSignaled) != 0) {
      CompletionDetail detail;
      detail.byte_length = record.length;
      Complete(nic, q, abi::CompletionOpcode::kSend, index, detail);
    }
  }
}

}  // namespace qpip::fw

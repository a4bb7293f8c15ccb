#include "nic_fw/rdma_queue.h"

#include <cstring>

#include "nic_fw/received_frame.h"
#include "nic_fw/schedule.h"
#include "nic_fw/send_queue.h"
#include "protocols/tcp/machine.h"

namespace qpip::fw {

bool TakeRdmaState(const Nic& nic, QueuePair& q) {
  FirmwareState& s = nic.state;
  uint32_t index = s.rdma_free;
  if (index != kNone) {
    s.rdma_free = nic.Table(s.tables.rdma)[index].next_free;
  } else if (s.rdma_touched < s.config.max_rdma_qps) {
    index = s.rdma_touched++;
  } else {
    return false;
  }
  nic.Table(s.tables.rdma)[index] = RdmaState{};
  q.rdma = index;
  return true;
}

void ReturnRdmaState(const Nic& nic, QueuePair& q) {
  if (q.rdma == kNone) return;
  nic.Table(nic.state.tables.rdma)[q.rdma].next_free = nic.state.rdma_free;
  nic.state.rdma_free = q.rdma;
  q.rdma = kNone;
}

namespace {

RdmaMessage& Push(QueuePair& q, RdmaState& r, uint32_t bytes) {
  QPIP_ASSERT(HasMessageRoom(r));
  RdmaMessage& message = r.message(r.message_first + r.message_count++);
  message.start = q.tcb.snd.end;
  message.bytes = bytes;
  tcp::ExtendSend(q.tcb, bytes);
  return message;
}

}  // namespace

RdmaMessage& PushMessage(QueuePair& q, RdmaState& r, const iwarp::StartedMessage& started,
                         MessageSource source) {
  // RFC 5044 4.5: an FPDU fills a segment, as far as the path is known to let it.
  const uint32_t mulpdu = iwarp::Mulpdu(q.tcb.snd.mss, false);
  const iwarp::MessageLayout layout = iwarp::LayOut(started.message, 0, mulpdu, false);
  RdmaMessage& message = Push(q, r, static_cast<uint32_t>(iwarp::StreamBytes(layout)));
  message.message = started.message;
  message.mulpdu = mulpdu;
  message.source = started.control_bytes != 0 ? MessageSource::kControl : source;
  std::memcpy(message.control, started.control, sizeof(message.control));
  return message;
}

RdmaMessage& PushStartup(QueuePair& q, RdmaState& r, uint32_t bytes) {
  RdmaMessage& message = Push(q, r, bytes);
  message.source = MessageSource::kStartup;
  return message;
}

RdmaMessage* FindMessage(RdmaState& r, tcp::SequenceNumber sequence) {
  uint32_t low = 0;
  uint32_t high = r.message_count;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    RdmaMessage& message = r.message(r.message_first + middle);
    if (sequence.InWindow(message.start, message.bytes)) return &message;
    if (sequence.Before(message.start)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return nullptr;
}

namespace {

bool IsResponse(const RdmaMessage& message) {
  return message.source != MessageSource::kStartup &&
         (message.message.opcode == iwarp::Opcode::kReadResponse ||
          message.message.opcode == iwarp::Opcode::kAtomicResponse);
}

bool IsDone(const QueuePair& q, const RdmaState& r, const SendRecord& record) {
  if ((record.flags & kRecordIsRequest) != 0) {
    return static_cast<int32_t>(r.requests_answered - record.length) >= 0;
  }
  return !(record.start + record.length).After(q.tcb.snd.una);
}

}  // namespace

void ForgetAcknowledged(const Nic& nic, QueuePair& q) {
  RdmaState& r = RdmaOf(nic, q);
  const bool waited = !HasMessageRoom(r, 2);
  while (r.message_count != 0) {
    const RdmaMessage& message = r.message(r.message_first);
    if ((message.start + message.bytes).After(q.tcb.snd.una)) break;
    if (IsResponse(message)) iwarp::OnRequestAnswered(r.receiver);
    ++r.message_first;
    --r.message_count;
  }
  // What waits for room in the ring, or for the Terminate to be acknowledged, goes on.
  const bool goes_on = waited || r.ending == RdmaEnding::kTerminating;
  if (goes_on && q.state == QpState::kConnected) Activate(nic, q.handle);
}

void CompleteRdma(const Nic& nic, QueuePair& q) {
  const RdmaState& r = RdmaOf(nic, q);
  SendQueue& send = q.send;
  ForgetAcknowledged(nic, q);
  while (send.completed != send.announced) {
    if (!IsDone(q, r, nic.record(send, send.completed))) break;
    CompleteOldest(nic, send);
  }
  if (send.announced != send.producer && q.state == QpState::kConnected) Activate(nic, q.handle);
}

void DropRefusedText(const Nic& nic, QueuePair& q) {
  for (uint32_t index = q.placement.contexts.head; index != kNone;) {
    const uint32_t next = nic.receive(index).link.next;
    if (!nic.receive(index).issued) {
      Remove(q.placement.contexts, ReceiveLink{nic}, index);
      ReturnReceiveContext(nic, index);
    }
    index = next;
  }
}

void DropDelivery(const Nic& nic, QueuePair& q) {
  if (q.rdma == kNone) return;
  const RdmaState& r = RdmaOf(nic, q);
  if (!r.delivering || r.gathered.kind != RdmaDelivery::Kind::kReceive) return;
  const uint32_t index = r.gathered.wqe_index;
  if (q.recv.next - index < 0x80000000u) q.recv.next = index;
}

}  // namespace qpip::fw

#include "nic_fw/transmit_context.h"

#include "nic_fw/rdma_queue.h"
#include "nic_fw/schedule.h"
#include "nic_fw/send_queue.h"

namespace qpip::fw {

PayloadSource SourceOf(const TransmitContext& context) {
  PayloadSource source;
  if (context.framing_bytes != 0) {
    source.inline_bytes = context.framing_header;
    source.inline_length = context.framing_bytes;
  }
  source.handle = context.payload;
  source.owner = context.qp;
  source.length = context.length;
  source.sum = context.sum;
  return source;
}

void CompleteSends(const Nic& nic, QueuePair& q) {
  if (IsRdma(q.send)) ForgetAcknowledged(nic, q);  // which does not wait for the wire
  if (RepeatOnWire(nic, q.host_memory)) {
    AwaitWire(nic, q.handle);
  } else {
    CompleteDone(nic, q);
  }
}

void CompleteDone(const Nic& nic, QueuePair& q) {
  if (IsRdma(q.send)) {
    CompleteRdma(nic, q);
  } else {
    CompleteAcknowledged(nic, q.send, q.tcb.snd.una);
  }
}

void DropRefused(const Nic& nic, QueuePair& q) {
  for (;;) {
    const uint32_t index = PopFront(q.refused, TransmitLink{nic});
    if (index == kNone) return;
    nic.hardware.PayloadRelease(nic.transmit(index).payload);
    nic.Drop(abi::DropReason::kWireFull);
    if (q.type == abi::QpType::kUdp && q.state == QpState::kConnected) {
      OnDatagramLost(nic, q.send, nic.transmit(index));
    }
    ReturnTransmitContext(nic, index);
  }
}

void KeepRefusedAnswers(const Nic& nic) {
  uint32_t handle = nic.state.refused.head;
  for (; handle != kNone; handle = RefusedLink{nic}(handle).next) {
    uint32_t index = nic.qp(handle).refused.head;
    for (; index != kNone; index = TransmitLink{nic}(index).next) {
      const TransmitContext& context = nic.transmit(index);
      // Where a fetch is a copy there is nothing to do, and 0 is answered.
      if (context.is_request_less) nic.hardware.PayloadKeep(context.payload, nullptr, 0);
    }
  }
}

void OnDatagramLost(const Nic& nic, SendQueue& send, const TransmitContext& context) {
  const bool fragment = context.part == DatagramPart::kFragment;
  if (fragment && !context.last_of_message) return;
  CompleteDatagram(nic, send, context.wqe_index, context.wqe_flags,
                   fragment ? context.fragment.datagram_length : context.length);
}

}  // namespace qpip::fw

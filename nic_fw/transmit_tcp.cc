#include "nic_fw/transmit_tcp.h"

#include <cstring>

#include "nic_fw/ending.h"
#include "nic_fw/events.h"
#include "nic_fw/framing.h"
#include "nic_fw/schedule.h"
#include "nic_fw/send_queue.h"
#include "nic_fw/text_source.h"
#include "nic_fw/timers.h"
#include "nic_fw/transmit_context.h"
#include "nic_fw/work_queue.h"
#include "protocols/tcp/machine.h"

namespace qpip::fw {
namespace {

Variant DataVariant(const QueuePair& q) {
  return q.tcb.owed.segments_unacked > 0 || q.tcb.owed.ack_now ? Variant::kDataAck : Variant::kData;
}

}  // namespace

Turn SendControl(const Nic& nic, QueuePair& q, const tcp::SendIntent& intent) {
  const bool first = !intent.retransmission;
  const tcp::Owed owed = q.tcb.owed;
  const uint32_t repeated = q.tcb.undo.repeated;
  const tcp::State before = q.tcb.state;
  const tcp::Header header = tcp::CommitSend(q.tcb, intent, 0, false, nic.now);
  const bool pure_ack = !header.Has(tcp::kSyn | tcp::kFin | tcp::kRst);
  if (!pure_ack) TraceTcpState(nic, q, before);
  const Variant variant = pure_ack ? Variant::kAck : Variant::kControl;
  nic.Charge(Stage::kTxDoorbellProcess, variant);
  nic.Charge(Stage::kTxSchedule, variant);
  uint64_t lease = 0;
  PayloadSource nothing;
  nothing.traffic_class = q.traffic_class;
  const uint32_t status = SendTcp(nic, q.tuple, header, nothing, variant, &lease);
  if (status == kSendBusy) {
    // Nothing repeats an acknowledgement: it is due as it was. SYN and FIN have timers, but long
    // ones.
    if (pure_ack) {
      q.tcb.owed = owed;
    } else if (header.Has(tcp::kSyn)) {
      tcp::TakeBackSyn(q.tcb, first);
    } else {
      if (header.Has(tcp::kFin)) {
        tcp::TakeBackSent(q.tcb, header.sequence, header.sequence + 1, repeated);
      }
      q.tcb.owed.ack_now = true;
    }
    UpdateTimer(nic, q);
    nic.Charge(Stage::kTxUpdate, variant);
    AwaitWire(nic, q.handle);
    return kIdleTurn;
  }
  if (pure_ack) nic.Count(abi::NicCounter::kTcpAcksSent);
  UpdateTimer(nic, q);
  nic.Charge(Stage::kTxUpdate, variant);
  if (status == kSendNoRoute && q.tcb.state == tcp::State::kSynSent) {
    EndConnection(nic, q, abi::DisconnectReason::kUnreachable,
                  abi::CompletionStatus::kRetryExceeded);
    return kIdleTurn;
  }
  return SentTurn(60);
}

namespace {

void AfterSegmentSent(const Nic& nic, QueuePair& q, const TransmitContext& context, uint32_t length,
                      Variant variant) {
  if (context.retransmission) {
    nic.Count(abi::NicCounter::kTcpRetransmissions);
  } else if (context.last_of_message) {
    nic.Trace(kTraceSendSent, q.handle, context.wqe_index, length);
  }
  UpdateTimer(nic, q);
  nic.Charge(Stage::kTxUpdate, variant);
}

/// Sends a packet whose text is ready and whose header is as of now. Returns false when the wire
/// has no room.
bool SendReadySegment(const Nic& nic, QueuePair& q, TransmitContext& context, PayloadSource text) {
  const Variant variant = DataVariant(q);
  const auto ecn =
      context.ecn_capable ? tcp::EcnCodepoint::kCapable0 : tcp::EcnCodepoint::kNotCapable;
  text.traffic_class = static_cast<uint8_t>(q.traffic_class | static_cast<uint8_t>(ecn));
  text.segment_size = context.segment_size;
  uint64_t lease = 0;
  const uint32_t status = SendTcp(nic, q.tuple, context.header, text, variant, &lease);
  if (status == kSendBusy) return false;
  NoteLease(q.host_memory, lease, context.retransmission);
  // Where nothing takes time, the answer to a message has acknowledged it before the batch is over.
  const bool all_acknowledged = tcp::AckableSequence(q.tcb) == q.tcb.owed.last_ack_sent &&
                                q.tcb.rcv.unplaced == 0 && !tcp::AckDue(q.tcb, nic.now);
  if (nic.hardware.DmaAtOnce() && all_acknowledged) RemoveFromBatch(nic, q);
  AfterSegmentSent(nic, q, context, text.total(), variant);
  return true;
}

/// Starts fetching a packet's payload. Returns false when no packet buffer is free.
bool FetchText(const Nic& nic, QueuePair& q, const GatheredText& text, uint32_t context_index) {
  TransmitContext& context = nic.transmit(context_index);
  // Whoever cuts a packet computes the segments' checksums.
  const bool summed = nic.state.config.wire_trusted == 0 && context.segment_size == 0;
  const uint32_t flags = summed ? uint32_t{kDmaSum} : 0;
  context.payload = nic.hardware.PayloadFetch(text.pieces, text.count, flags,
                                              MakeTag(Tag::kTransmit, context_index));
  if (context.payload == 0) return false;
  ++q.host_memory.dma_outstanding;
  ++q.send.text_fetching;
  QPIP_ASSERT(text.inline_length <= sizeof(context.framing_header));
  context.framing_bytes = static_cast<uint8_t>(text.inline_length);
  if (text.inline_length != 0) {
    std::memcpy(context.framing_header, text.bytes, text.inline_length);
  }
  return true;
}

}  // namespace

Turn StartSegment(const Nic& nic, QueuePair& q, const tcp::SendIntent& intent,
                  const GatheredText& text, const SegmentPlan& plan) {
  const uint32_t context_index = TakeTransmitContext(nic);
  TransmitContext& context = nic.transmit(context_index);
  context.segment_size = plan.segment_size;
  const bool fetched = text.count != 0;
  if (fetched && !FetchText(nic, q, text, context_index)) {
    ReturnTransmitContext(nic, context_index);
    return kNoBufferTurn;
  }
  context.qp = q.handle;
  context.length = text.length;
  context.wqe_index = plan.wqe_index;
  context.last_of_message = plan.ends_message;
  context.is_request_less = plan.is_request_less;
  if (plan.seal) {
    context.seal = true;
    context.seal_crc = plan.seal_crc;
    context.head_crc = plan.head_crc;
  }
  context.retransmission = intent.retransmission;
  context.ecn_capable = intent.ecn_capable;
  context.started_at = nic.now;
  const uint32_t repeated = q.tcb.undo.repeated;
  context.header = tcp::CommitSend(q.tcb, intent, plan.length, plan.ends_message, nic.now);
  context.header_is_new = nic.hardware.DmaAtOnce();
  if (intent.window_probe) nic.Count(abi::NicCounter::kTcpZeroWindowProbes);
  if (!fetched) {
    nic.Charge(Stage::kTxGetData, DataVariant(q), text.total());
    PayloadSource source;
    source.inline_bytes = text.bytes;
    source.inline_length = text.inline_length;
    const bool sent = SendReadySegment(nic, q, context, source);
    if (!sent) {
      // No payload to keep it in: it is made anew when there is room.
      q.tcb.owed.ack_now = true;  // what it acknowledged is not
      q.tcb.ecn.window_cut = q.tcb.ecn.window_cut || context.header.Has(tcp::kCwr);
      if (!intent.window_probe) {
        tcp::TakeBackSent(q.tcb, intent.sequence, intent.sequence + plan.length, repeated);
      }
      UpdateTimer(nic, q);
      AwaitWire(nic, q.handle);
    }
    ReturnTransmitContext(nic, context_index);
    if (!sent) return kIdleTurn;
  }
  return SentTurn(plan.length + 60);
}

bool WaitsForText(SendQueue& send) {
  send.waits_for_text = send.text_fetching != 0;
  return send.waits_for_text;
}

namespace {

/// Starts fetching WQEs from `index` on. Where they are at hand at once the turn goes on with them;
/// answers false when the queue pair has failed over them.
bool FetchSends(const Nic& nic, QueuePair& q, uint32_t index) {
  FetchEntries(nic, q.send, q.host_memory, index, Tag::kSendWqe);
  uint32_t status = kDmaOk;
  if (!FetchedAtOnce(nic, q.send, q.host_memory, &status)) return true;
  OnSendsFetched(nic, q, status);
  return q.state == QpState::kConnected;
}

/// Sends or starts one packet of text: a segment, or several that the wire cuts.
Turn SendData(const Nic& nic, QueuePair& q, tcp::SendIntent intent) {
  const uint32_t index = FindRecord(nic, q.send, intent.sequence);
  if (index == kNone) return kIdleTurn;
  const SendRecord record = nic.record(q.send, index);
  const uint32_t offset = record.start.DistanceTo(intent.sequence);
  const uint32_t length =
      tcp::AllowedLength(q.tcb, intent, PacketRest(q.send, record, offset, q.tcb.snd.end));
  if (length == 0) return kIdleTurn;
  if (!q.send.window.Holds(index)) {
    // Its completion puts the queue pair back on the list.
    if (!FetchSends(nic, q, index) || !q.send.window.Holds(index)) return kIdleTurn;
  }
  const bool is_inline = (CachedSend(nic, q.send, index).flags & abi::kSendInline) != 0;
  if (is_inline && WaitsForText(q.send)) return kIdleTurn;
  if (!CanFetchPayload(nic)) return kNoBufferTurn;
  nic.Charge(Stage::kTxDoorbellProcess, DataVariant(q));
  GatheredText text;
  if (!GatherText(nic, q.send, q.protection_domain, index, offset, length, &text)) {
    nic.Count(abi::NicCounter::kProtectionErrors);
    FailSend(nic, q, index, abi::CompletionStatus::kLocalProtectionError);
    return kIdleTurn;
  }
  nic.Charge(Stage::kTxSchedule, DataVariant(q));

  SegmentPlan plan;
  plan.wqe_index = index;
  plan.length = text.total();
  plan.ends_message = text.ends_message;
  plan.segment_size = plan.length > intent.segment_size ? intent.segment_size : 0;
  return StartSegment(nic, q, intent, text, plan);
}

/// Where to fetch work requests from, to announce more; kNone: not now.
uint32_t FetchFrom(const Nic& nic, QueuePair& q) {
  if (q.send.announced == q.send.producer) return kNone;
  // Only when all that is announced has gone out: one fetch then serves several messages, and the
  // cached window is never thrown away half used.
  if (q.tcb.snd.nxt == q.tcb.snd.end) return q.send.announced;
  // Less than a segment of a stream is to go together with what follows it, as far as one fetch
  // reaches.
  const uint32_t pending = q.tcb.snd.nxt.DistanceTo(q.tcb.snd.end);
  if (FramingOf(q.send).keeps_boundaries || pending >= q.tcb.snd.mss) return kNone;
  const uint32_t index = FindRecord(nic, q.send, q.tcb.snd.nxt);
  if (index == kNone) return kNone;
  return FetchableEntries(nic, q.send, index) > q.send.announced - index ? index : kNone;
}

/// Puts freshly fetched WQEs into the retransmission store.
void AnnounceSends(const Nic& nic, QueuePair& q) {
  while (q.send.announced != q.send.producer && q.send.window.Holds(q.send.announced)) {
    const uint32_t index = q.send.announced;
    const abi::SendWqe& wqe = CachedSend(nic, q.send, index);
    const abi::CompletionStatus status = CheckSend(nic, q.send, q.protection_domain, wqe);
    if (status != abi::CompletionStatus::kSuccess) {
      FailSend(nic, q, index, status);
      return;
    }
    const uint32_t bytes = FramingOf(q.send).announce(wqe.length);
    nic.record(q.send, index) = {q.tcb.snd.end, bytes, wqe.flags, wqe.length};
    tcp::ExtendSend(q.tcb, bytes);
    if ((wqe.flags & abi::kSendUrgent) != 0) tcp::MarkUrgent(q.tcb);
    ++q.send.announced;
    nic.Trace(kTraceSendFetched, q.handle, index, wqe.length);
  }
}

}  // namespace

void OnSendsFetched(const Nic& nic, QueuePair& q, uint32_t status) {
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
  nic.Charge(Stage::kTxGetWr, PayloadVariant(q.type), q.send.window.count);
}

bool SendFetchedSegment(const Nic& nic, QueuePair& q, TransmitContext& context,
                        const PayloadSource& text) {
  // The path's MTU may have fallen since it was set.
  if (context.segment_size > q.tcb.snd.mss) context.segment_size = q.tcb.snd.mss;
  if (!context.header_is_new) tcp::RefreshHeader(q.tcb, &context.header, text.total(), nic.now);
  context.header_is_new = false;
  if (context.segment_size != 0) {
    // The host has asked for urgent mode since. Whoever cuts the packet would copy the pointer,
    // which counts from each segment's own number; what follows this packet has it.
    context.header.flags = static_cast<uint8_t>(context.header.flags & ~tcp::kUrg);
    context.header.urgent_pointer = 0;
  }
  return SendReadySegment(nic, q, context, text);
}

Turn ServiceTcp(const Nic& nic, QueuePair& q) {
  if (q.links.refused.linked() || q.state == QpState::kFree) return kIdleTurn;
  const bool host_memory = q.state == QpState::kConnected;
  const uint32_t fetch = host_memory ? FetchFrom(nic, q) : kNone;
  if (fetch != kNone) {
    if (!FetchSends(nic, q, fetch)) return kIdleTurn;
  } else if (host_memory && q.send.shutdown_wanted && !q.tcb.snd.fin_queued &&
             q.send.announced == q.send.producer) {
    tcp::Close(q.tcb, nic.now);
  }
  const tcp::SendIntent intent = tcp::NextSend(q.tcb, nic.now);
  switch (intent.kind) {
    case tcp::SendIntent::Kind::kControl:
      // A fetch under way may bring data that the acknowledgement can ride on.
      if (q.send.window.fetching != 0 && host_memory && tcp::AckDue(q.tcb, nic.now)) {
        return kIdleTurn;
      }
      if (q.tcb.snd.fin_queued && !q.tcb.snd.fin_sent && intent.sequence == q.tcb.snd.end &&
          WaitsForText(q.send)) {
        return kIdleTurn;
      }
      return SendControl(nic, q, intent);
    case tcp::SendIntent::Kind::kData:
      return host_memory ? SendData(nic, q, intent) : kIdleTurn;
    case tcp::SendIntent::Kind::kNone:
      break;
  }
  return kIdleTurn;
}

}  // namespace qpip::fw

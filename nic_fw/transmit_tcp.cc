#include <cstring>
#include <span>

#include "nic_fw/completion.h"
#include "nic_fw/connection.h"
#include "nic_fw/memory.h"
#include "nic_fw/packet.h"
#include "nic_fw/timers.h"
#include "nic_fw/transmit_internal.h"
#include "protocols/tcp/machine.h"

namespace qpip::fw {
namespace {

constexpr uint32_t kMaxInlineText = 512;  // of one segment: kFrameBufferBytes has room for it

bool RecordContains(const SendRecord& record, tcp::SequenceNumber sequence) {
  return sequence.InWindow(record.start, record.length);
}

/// The announced message that holds `sequence`; kNone when there is none. New data is found at the
/// cursor or right behind it, retransmissions by binary search.
uint32_t FindRecord(const Nic& nic, QueuePair& q, tcp::SequenceNumber sequence) {
  const uint32_t announced = q.send.announced - q.send.completed;
  for (uint32_t guess = q.send.cursor; guess - q.send.cursor < 2; ++guess) {
    if (guess - q.send.completed < announced && RecordContains(nic.record(q, guess), sequence)) {
      q.send.cursor = guess;
      return guess;
    }
  }
  uint32_t low = 0;
  uint32_t high = announced;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    const SendRecord& record = nic.record(q, q.send.completed + middle);
    if (RecordContains(record, sequence)) {
      q.send.cursor = q.send.completed + middle;
      return q.send.cursor;
    }
    if (sequence.Before(record.start)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return kNone;
}

Variant DataVariant(const QueuePair& q) {
  return q.tcb.segments_unacked > 0 || q.tcb.ack_now ? Variant::kDataAck : Variant::kData;
}

/// Sends what needs no payload: SYN, FIN, RST, acknowledgements.
Turn SendControl(const Nic& nic, QueuePair& q, const tcp::SendIntent& intent) {
  const bool first = !intent.retransmission;
  const tcp::OwedAcknowledgements owed = tcp::Owed(q.tcb);
  const tcp::Header header = tcp::CommitSend(q.tcb, intent, 0, false, nic.now);
  const bool pure_ack = !header.Has(tcp::kSyn | tcp::kFin | tcp::kRst);
  const Variant variant = pure_ack ? Variant::kAck : Variant::kControl;
  nic.Charge(Stage::kTxDoorbellProcess, variant);
  nic.Charge(Stage::kTxSchedule, variant);
  uint64_t lease = 0;
  PayloadSource nothing;
  nothing.traffic_class = q.traffic_class;
  const uint32_t status = SendTcp(nic, q.tuple, header, nothing, variant, &lease);
  if (status == kSendBusy) {
    // Nothing repeats an acknowledgement: it is due as it was. FIN has its timer; so has SYN, but a
    // long one.
    if (pure_ack) {
      tcp::OweAgain(q.tcb, owed);
    } else if (header.Has(tcp::kSyn)) {
      tcp::TakeBackSyn(q.tcb, first);
    } else {
      q.tcb.ack_now = true;
    }
    UpdateTimer(nic, q);
    nic.Charge(Stage::kTxUpdate, variant);
    Block(nic, q);
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

void AfterSegmentSent(const Nic& nic, QueuePair& q, const TransmitContext& context,
                      Variant variant) {
  if (context.retransmission) {
    nic.Count(abi::NicCounter::kTcpRetransmissions);
  } else if (context.last_of_message) {
    nic.Trace(kTraceSendSent, q.handle, context.wqe_index, context.length);
  }
  UpdateTimer(nic, q);
  nic.Charge(Stage::kTxUpdate, variant);
}

/// Where a packet's text comes from: one or, with stream framing, several work requests.
struct Gathered {
  DmaSegment pieces[kMaxDmaSegments];
  uint32_t count = 0;              ///< of pieces; 0: the text is inline
  const uint8_t* bytes = nullptr;  ///< inline text
  uint8_t copy[kMaxInlineText];    ///< of inline text that lies in several entries
  uint32_t length = 0;
  bool is_inline = false;
  bool ends_message = false;  ///< the last byte is the last of its work request
};

/// Adds `want` inline bytes of one entry. Returns false when there is no room for them, or the host
/// has changed the entry since it was announced.
bool GatherInline(const abi::SendWqe& wqe, uint32_t offset, uint32_t want, Gathered* out) {
  if (wqe.inline_length < offset + want || out->length + want > kMaxInlineText) return false;
  const uint8_t* from = reinterpret_cast<const uint8_t*>(&wqe + 1) + offset;
  if (out->length == 0) {
    out->bytes = from;
  } else {
    if (out->bytes != out->copy) std::memcpy(out->copy, out->bytes, out->length);
    std::memcpy(out->copy + out->length, from, want);
    out->bytes = out->copy;
  }
  out->length += want;
  return true;
}

/// Adds up to `want` bytes of one entry's list.
bool GatherList(const Nic& nic, const QueuePair& q, const abi::SendWqe& wqe, uint32_t offset,
                uint32_t want, Gathered* out) {
  DmaSegment more[kMaxDmaSegments];
  const bool first = out->count == 0;
  uint32_t covered = 0;
  const uint32_t count = Translate(nic, q.protection_domain, 0, SgeList(wqe), offset, want,
                                   first ? out->pieces : more, &covered);
  if (count == 0 || out->count + count > kMaxDmaSegments) return false;
  for (uint32_t i = 0; !first && i < count; ++i) out->pieces[out->count + i] = more[i];
  out->count += count;
  out->length += covered;
  return true;
}

/// Collects up to `length` bytes from `offset` of work request `index` on. Only a stream has
/// segments that span work requests, as far as these are in the cache and of one kind. False: not
/// even the first can be read.
bool Gather(const Nic& nic, const QueuePair& q, uint32_t index, uint32_t offset, uint32_t length,
            Gathered* out) {
  out->is_inline = (CachedWqe(nic, q, index)->flags & abi::kSendInline) != 0;
  for (uint32_t i = index; out->length < length; ++i, offset = 0) {
    if (i != index &&
        (q.framing != abi::Framing::kStream || i == q.send.announced || !q.send.window.Holds(i))) {
      break;
    }
    const abi::SendWqe& wqe = *CachedWqe(nic, q, i);
    const uint32_t before = out->length;
    const uint32_t rest = nic.record(q, i).length - offset;
    const uint32_t want = rest < length - before ? rest : length - before;
    const bool same_kind = ((wqe.flags & abi::kSendInline) != 0) == out->is_inline;
    const bool added = same_kind && (out->is_inline ? GatherInline(wqe, offset, want, out)
                                                    : GatherList(nic, q, wqe, offset, want, out));
    if (!added) break;
    out->ends_message = out->length - before == rest;
    if (!out->ends_message) break;
  }
  return out->length != 0;
}

/// Bytes that may go as one packet from `offset` of a work request on.
uint32_t SegmentRest(const QueuePair& q, const tcp::SendIntent& intent, const SendRecord& record,
                     uint32_t offset) {
  // RFC 9293 3.8.6.2.1: a stream's segments are as large as can be.
  if (q.framing == abi::Framing::kStream) return intent.sequence.DistanceTo(q.tcb.snd_end);
  return record.length - offset;
}

/// What needs no fetch stays behind text whose fetch is under way, or the peer takes it for loss.
bool WaitsForText(QueuePair& q) {
  q.send.waits_for_text = q.send.text_fetching != 0;
  return q.send.waits_for_text;
}

/// Sends or starts one packet of text: a segment, or several that the wire cuts.
Turn SendData(const Nic& nic, QueuePair& q, tcp::SendIntent intent) {
  const uint32_t index = FindRecord(nic, q, intent.sequence);
  if (index == kNone) return kIdleTurn;
  const SendRecord record = nic.record(q, index);
  const uint32_t offset = record.start.DistanceTo(intent.sequence);
  const uint32_t length = tcp::AllowedLength(q.tcb, intent, SegmentRest(q, intent, record, offset));
  if (length == 0) return kIdleTurn;
  if (!q.send.window.Holds(index)) {
    FetchSendWqes(nic, q, index);  // its completion puts the queue pair back on the list
    return kIdleTurn;
  }
  const bool is_inline = (CachedWqe(nic, q, index)->flags & abi::kSendInline) != 0;
  if (is_inline && WaitsForText(q)) return kIdleTurn;
  if (!CanFetchPayload(nic)) return kNoBufferTurn;
  nic.Charge(Stage::kTxDoorbellProcess, DataVariant(q));
  Gathered text;
  if (!Gather(nic, q, index, offset, length, &text)) {
    // The host changed the entry, or its region went away, after it was announced.
    nic.Count(abi::NicCounter::kProtectionErrors);
    FailSend(nic, q, index, abi::CompletionStatus::kLocalProtectionError);
    return kIdleTurn;
  }
  nic.Charge(Stage::kTxSchedule, DataVariant(q));

  uint32_t payload = 0;
  const uint32_t context_index = TakeTransmitContext(nic);
  if (!text.is_inline) {
    const uint32_t flags = nic.state.config.wire_trusted == 0 ? uint32_t{kDmaSum} : 0;
    payload = nic.hardware.PayloadFetch(text.pieces, text.count, flags,
                                        MakeTag(Tag::kTransmit, context_index));
    if (payload == 0) {
      ReturnTransmitContext(nic, context_index);
      return kNoBufferTurn;
    }
    ++q.host_memory.dma_outstanding;
    ++q.send.text_fetching;
  }
  TransmitContext& context = nic.transmit(context_index);
  context.qp = q.handle;
  context.payload = payload;
  context.length = text.length;
  context.segment_size = text.length > intent.segment_size ? intent.segment_size : 0;
  context.wqe_index = index;
  context.last_of_message = text.ends_message;
  context.retransmission = intent.retransmission;
  context.ecn_capable = intent.ecn_capable;
  context.started_at = nic.now;
  context.header = tcp::CommitSend(q.tcb, intent, text.length, text.ends_message, nic.now);
  if (intent.window_probe) nic.Count(abi::NicCounter::kTcpZeroWindowProbes);
  if (text.is_inline) {
    nic.Charge(Stage::kTxGetData, DataVariant(q), text.length);
    PayloadSource source;
    source.inline_bytes = text.bytes;
    source.length = text.length;
    // Inline bytes are lost when the wire has no room; the retransmission timer repeats them.
    if (!SendReadySegment(nic, q, context, source)) UpdateTimer(nic, q);
    ReturnTransmitContext(nic, context_index);
  }
  return SentTurn(text.length + 60);
}

/// Where to fetch work requests from, to announce more; kNone: not now.
uint32_t FetchFrom(const Nic& nic, QueuePair& q) {
  if (q.send.announced == q.send.producer) return kNone;
  // Only when all that is announced has gone out: one fetch then serves several messages, and the
  // cached window is never thrown away half used.
  if (q.tcb.snd_nxt == q.tcb.snd_end) return q.send.announced;
  // Less than a segment of a stream is to go together with what follows it, as far as one fetch
  // reaches.
  const uint32_t pending = q.tcb.snd_nxt.DistanceTo(q.tcb.snd_end);
  if (q.framing != abi::Framing::kStream || pending >= q.tcb.snd_mss) return kNone;
  const uint32_t index = FindRecord(nic, q, q.tcb.snd_nxt);
  if (index == kNone) return kNone;
  return FetchableWqes(nic, q, index) > q.send.announced - index ? index : kNone;
}

}  // namespace

void AnnounceSends(const Nic& nic, QueuePair& q) {
  while (q.send.announced != q.send.producer && q.send.window.Holds(q.send.announced)) {
    const uint32_t index = q.send.announced;
    const abi::SendWqe& wqe = *CachedWqe(nic, q, index);
    const abi::CompletionStatus status = CheckWqe(nic, q, wqe);
    if (status != abi::CompletionStatus::kSuccess) {
      FailSend(nic, q, index, status);
      return;
    }
    nic.record(q, index) = {q.tcb.snd_end, wqe.length, wqe.flags};
    tcp::ExtendSend(q.tcb, wqe.length);
    if ((wqe.flags & abi::kSendUrgent) != 0) tcp::MarkUrgent(q.tcb);
    ++q.send.announced;
    nic.Trace(kTraceSendFetched, q.handle, index, wqe.length);
  }
}

bool SendReadySegment(const Nic& nic, QueuePair& q, TransmitContext& context,
                      PayloadSource payload) {
  const Variant variant = DataVariant(q);
  const auto ecn =
      context.ecn_capable ? tcp::EcnCodepoint::kCapable0 : tcp::EcnCodepoint::kNotCapable;
  payload.traffic_class = static_cast<uint8_t>(q.traffic_class | static_cast<uint8_t>(ecn));
  // The path's MTU may have fallen since it was set.
  const bool shrunk = context.segment_size > q.tcb.snd_mss;
  payload.segment_size = shrunk ? q.tcb.snd_mss : context.segment_size;
  tcp::RefreshHeader(q.tcb, &context.header, context.length, nic.now);
  if (payload.segment_size != 0) {
    // The host has asked for urgent mode since. Whoever cuts the packet would copy the pointer,
    // which counts from each segment's own number; what follows this packet has it.
    context.header.flags = static_cast<uint8_t>(context.header.flags & ~tcp::kUrg);
    context.header.urgent_pointer = 0;
  }
  uint64_t lease = 0;
  const uint32_t status = SendTcp(nic, q.tuple, context.header, payload, variant, &lease);
  if (status == kSendBusy) return false;
  NoteLease(q, lease);
  AfterSegmentSent(nic, q, context, variant);
  return true;
}

Turn ServiceTcp(const Nic& nic, QueuePair& q) {
  if (q.in_blocked || q.state == QpState::kFree) return kIdleTurn;
  const bool host_memory = q.state == QpState::kConnected;
  const uint32_t fetch = host_memory ? FetchFrom(nic, q) : kNone;
  if (fetch != kNone) {
    FetchSendWqes(nic, q, fetch);
  } else if (host_memory && q.send.shutdown_wanted && !q.tcb.fin_queued &&
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
      if (q.tcb.fin_queued && !q.tcb.fin_sent && intent.sequence == q.tcb.snd_end &&
          WaitsForText(q)) {
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

#include "nic_fw/rdma_send.h"

#include <cstring>
#include <span>

#include "nic_fw/ending.h"
#include "nic_fw/memory.h"
#include "nic_fw/memory_window.h"
#include "nic_fw/rdma_queue.h"
#include "nic_fw/remote_access.h"
#include "nic_fw/send_queue.h"
#include "nic_fw/text_source.h"
#include "nic_fw/timers.h"
#include "nic_fw/transmit_context.h"
#include "nic_fw/transmit_tcp.h"
#include "nic_fw/work_queue.h"
#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/iwarp/crc32c.h"
#include "protocols/tcp/machine.h"

namespace qpip::fw {
namespace {

using abi::CompletionStatus;
using abi::SendOpcode;

/// Sequence numbers that may be under way: half of what still can be told apart, and another
/// message.
constexpr uint32_t kMostUnderWay = 1u << 29;
constexpr uint32_t kMaxMessageBytes = 1u << 30;

std::span<iwarp::PendingRequest> Asked(RdmaState& r) { return {r.asked, r.ord}; }
std::span<iwarp::PendingRequest> Owed(RdmaState& r) { return {r.owed, r.ird}; }

bool IsRequest(SendOpcode opcode) {
  return opcode == SendOpcode::kRdmaRead || opcode == SendOpcode::kAtomicFetchAdd ||
         opcode == SendOpcode::kAtomicCompareSwap;
}
bool IsAtomic(SendOpcode opcode) { return IsRequest(opcode) && opcode != SendOpcode::kRdmaRead; }

/// Those that are carried out here, and send nothing.
bool IsLocal(SendOpcode opcode) {
  return opcode == SendOpcode::kLocalInvalidate || opcode == SendOpcode::kBindWindow;
}

/// Whether the firmware can carry out a WQE; the host is not trusted.
CompletionStatus CheckWqe(const Nic& nic, const QueuePair& q, const abi::SendWqe& wqe) {
  const auto opcode = static_cast<SendOpcode>(wqe.opcode);
  const uint32_t room = (1u << q.send.log2_stride) - static_cast<uint32_t>(sizeof(abi::SendWqe));
  const bool is_inline = (wqe.flags & abi::kSendInline) != 0;
  if (opcode < SendOpcode::kSend || opcode > SendOpcode::kBindWindow) {
    return CompletionStatus::kLocalQpOperationError;
  }
  uint64_t length = wqe.inline_length;
  if (is_inline) {
    if (length > room || IsRequest(opcode)) return CompletionStatus::kLocalQpOperationError;
  } else {
    const uint32_t most = IsRequest(opcode) ? abi::kMaxReadSge : abi::kMaxSge;
    if (wqe.sge_count > most || wqe.sge_count * sizeof(abi::Sge) > room) {
      return CompletionStatus::kLocalQpOperationError;
    }
    length = 0;
    for (const abi::Sge& sge : SgeList(wqe)) length += sge.length;
  }
  const bool atomic = IsAtomic(opcode);
  if (length != wqe.length || (atomic && (wqe.sge_count != 1 || length != sizeof(uint64_t)))) {
    return CompletionStatus::kLocalQpOperationError;
  }
  if (IsLocal(opcode) && length != 0) {
    return CompletionStatus::kLocalQpOperationError;
  }
  if (length > kMaxMessageBytes) return CompletionStatus::kLocalLengthError;
  const uint32_t access = IsRequest(opcode) ? uint32_t{abi::kAccessLocalWrite} : 0;
  if (!is_inline && !CheckList(nic, q.protection_domain, access, SgeList(wqe))) {
    nic.Count(abi::NicCounter::kProtectionErrors);
    return CompletionStatus::kLocalProtectionError;
  }
  return CompletionStatus::kSuccess;
}

/// The RDMAP operation of a WQE that is one.
iwarp::Operation OperationOf(const RdmaState& r, const abi::SendWqe& wqe) {
  iwarp::Operation operation;
  operation.length = wqe.length;
  operation.fence = (wqe.flags & abi::kSendFence) != 0;
  const bool solicited = (wqe.flags & abi::kSendSolicited) != 0;
  switch (static_cast<SendOpcode>(wqe.opcode)) {
    case SendOpcode::kSendWithInvalidate:
      operation.opcode =
          solicited ? iwarp::Opcode::kSendSolicitedInvalidate : iwarp::Opcode::kSendInvalidate;
      operation.invalidate_stag = wqe.immediate;
      break;
    case SendOpcode::kRdmaWrite:
    case SendOpcode::kRdmaWriteWithImmediate:
      operation.opcode = iwarp::Opcode::kWrite;
      operation.stag = wqe.remote_key;
      operation.tagged_offset = wqe.remote_address;
      break;
    case SendOpcode::kRdmaRead:
      operation.opcode = iwarp::Opcode::kReadRequest;
      // The sink is this end's own matter: a name for the request, which no region has.
      operation.read = {r.requests_started, 0, wqe.length, wqe.remote_key, wqe.remote_address};
      break;
    case SendOpcode::kAtomicFetchAdd:
    case SendOpcode::kAtomicCompareSwap:
      operation.opcode = iwarp::Opcode::kAtomicRequest;
      operation.atomic.operation = wqe.opcode == static_cast<uint8_t>(SendOpcode::kAtomicFetchAdd)
                                       ? iwarp::AtomicOperation::kFetchAdd
                                       : iwarp::AtomicOperation::kCompareSwap;
      operation.atomic.identifier = r.requests_started;
      operation.atomic.stag = wqe.remote_key;
      operation.atomic.offset = wqe.remote_address;
      operation.atomic.operand = wqe.operand;
      operation.atomic.compare = wqe.compare;
      // RFC 7306 5.1: the masks of a plain 64-bit operation.
      operation.atomic.mask =
          wqe.opcode == static_cast<uint8_t>(SendOpcode::kAtomicFetchAdd) ? 0 : ~uint64_t{0};
      break;
    default:
      operation.opcode = solicited ? iwarp::Opcode::kSendSolicited : iwarp::Opcode::kSend;
      break;
  }
  return operation;
}

enum class Announced : uint8_t { kYes, kWait, kFailed };

/// A local invalidate goes when all before it is done: nothing of it is to be sent again. A binding
/// goes in its turn: what is posted behind it may tell the peer of the key.
Announced CarryOutLocal(const Nic& nic, QueuePair& q, const RdmaState& r, const abi::SendWqe& wqe) {
  const bool binds = wqe.opcode == static_cast<uint8_t>(SendOpcode::kBindWindow);
  const bool fenced =
      (wqe.flags & abi::kSendFence) != 0 && r.requests_answered != r.requests_started;
  if (fenced || (!binds && q.send.completed != q.send.announced)) return Announced::kWait;
  const StreamOf stream = {q.handle, q.protection_domain};
  const bool granted =
      binds ? BindWindow(nic, stream, wqe)
            : Invalidate(nic, stream, wqe.remote_key, false) == iwarp::AccessVerdict::kGranted;
  if (granted) return Announced::kYes;
  FailSend(nic, q, q.send.announced, CompletionStatus::kBadKey);
  return Announced::kFailed;
}

/// Where the answer to a request goes is kept, so that nobody has to fetch its entry again.
void KeepSink(RdmaState& r, const abi::SendWqe& wqe) {
  uint32_t at = uint32_t{r.sender.asked.first} + r.sender.asked.count;
  if (at >= r.ord) at -= r.ord;
  ResponseSink& sink = r.sinks[at];
  sink.count = wqe.sge_count;
  const std::span<const abi::Sge> list = SgeList(wqe);
  for (uint32_t i = 0; i < list.size(); ++i) sink.list[i] = list[i];
}

/// An operation's message, or two of them, behind all others.
Announced StartWqe(const Nic& nic, QueuePair& q, RdmaState& r, const abi::SendWqe& wqe,
                   uint32_t index) {
  const iwarp::Operation operation = OperationOf(r, wqe);
  const auto opcode = static_cast<SendOpcode>(wqe.opcode);
  if (iwarp::HoldOf(r.sender, operation) != iwarp::Hold::kGo) return Announced::kWait;
  // Answered, and not only on the way: before its ACK has what the answer takes, the peer has no
  // room for the next one.
  if (IsRequest(opcode) && r.requests_started - r.requests_answered >= r.ord) {
    return Announced::kWait;
  }
  if (operation.fence && r.requests_answered != r.requests_started) return Announced::kWait;
  if (IsRequest(opcode)) {
    KeepSink(r, wqe);
    ++r.requests_started;
  }
  PushMessage(q, r, iwarp::StartOperation(r.sender, Asked(r), operation, index),
              MessageSource::kWorkRequest)
      .wqe_index = index;
  if (IsRequest(opcode)) iwarp::KeepAwaited(r.sender, Asked(r), r.receiver);
  if (opcode == SendOpcode::kRdmaWriteWithImmediate) {
    iwarp::Operation immediate;
    immediate.opcode = (wqe.flags & abi::kSendSolicited) != 0 ? iwarp::Opcode::kImmediateSolicited
                                                              : iwarp::Opcode::kImmediate;
    uint8_t bytes[4];
    std::memcpy(bytes, &wqe.immediate, sizeof(bytes));
    immediate.immediate = uint64_t{LoadBe32(bytes)} << 32;
    PushMessage(q, r, iwarp::StartOperation(r.sender, Asked(r), immediate, index),
                MessageSource::kControl);
  }
  nic.Trace(kTraceSendFetched, q.handle, index, wqe.length);
  return Announced::kYes;
}

Announced AnnounceWqe(const Nic& nic, QueuePair& q, RdmaState& r) {
  const uint32_t index = q.send.announced;
  const abi::SendWqe& wqe = CachedSend(nic, q.send, index);
  const CompletionStatus status = CheckWqe(nic, q, wqe);
  if (status != CompletionStatus::kSuccess) {
    FailSend(nic, q, index, status);
    return Announced::kFailed;
  }
  const auto opcode = static_cast<SendOpcode>(wqe.opcode);
  const tcp::SequenceNumber start = q.tcb.snd.end;
  if (opcode == SendOpcode::kStartup) {
    PushStartup(q, r, wqe.length).wqe_index = index;
  } else {
    if (r.await_first) return Announced::kWait;
    const Announced result =
        IsLocal(opcode) ? CarryOutLocal(nic, q, r, wqe) : StartWqe(nic, q, r, wqe, index);
    if (result != Announced::kYes) return result;
  }
  SendRecord& record = nic.record(q.send, index);
  record = {start, start.DistanceTo(q.tcb.snd.end), wqe.flags, wqe.length};
  if (IsRequest(opcode)) {
    record.flags |= kRecordIsRequest;
    record.length = r.requests_started;
  }
  ++q.send.announced;
  if (IsLocal(opcode)) CompleteSends(nic, q);
  return Announced::kYes;
}

void AnnounceTerminate(QueuePair& q, RdmaState& r) {
  PushMessage(q, r, iwarp::StartTerminate(r.sender, r.terminate), MessageSource::kControl);
  r.ending = RdmaEnding::kTerminating;
}

/// The peer's requests first: whoever has asked waits.
void AnnounceResponses(QueuePair& q, RdmaState& r) {
  while (HasMessageRoom(r) && iwarp::OwesResponse(r.sender) &&
         q.tcb.snd.una.DistanceTo(q.tcb.snd.end) < kMostUnderWay) {
    iwarp::PendingRequest request;
    const iwarp::StartedMessage started = iwarp::StartResponse(r.sender, Owed(r), &request);
    RdmaMessage& message = PushMessage(q, r, started, MessageSource::kMemory);
    message.source_stag = request.read.source_stag;
    message.source_offset = request.read.source_offset;
  }
}

/// Nothing goes into the sequence space any more.
bool IsOver(const QueuePair& q) {
  return q.tcb.snd.fin_queued || q.placement.end_of_stream == kEosDelivered;
}

/// Puts into the sequence space what may go. False: the queue pair has failed.
bool Announce(const Nic& nic, QueuePair& q, RdmaState& r) {
  if (r.ending == RdmaEnding::kRefused && q.tcb.snd.fin_queued) {  // behind it nothing can be said
    AbortConnection(nic, q);
    return false;
  }
  if (r.ending == RdmaEnding::kRefused && HasMessageRoom(r)) AnnounceTerminate(q, r);
  if (r.ending != RdmaEnding::kOpen) return true;
  if (!r.await_first && !q.tcb.snd.fin_queued) AnnounceResponses(q, r);
  if (IsOver(q)) return true;
  while (q.send.announced != q.send.producer && q.send.window.Holds(q.send.announced) &&
         HasMessageRoom(r, 2) && q.tcb.snd.una.DistanceTo(q.tcb.snd.end) < kMostUnderWay) {
    const Announced result = AnnounceWqe(nic, q, r);
    if (result == Announced::kFailed) return false;
    if (result == Announced::kWait) break;
  }
  if (q.state == QpState::kConnected) UpdateTimer(nic, q);
  return true;
}

bool FetchRdmaSends(const Nic& nic, QueuePair& q, uint32_t index) {
  FetchEntries(nic, q.send, q.host_memory, index, Tag::kSendWqe);
  uint32_t status = kDmaOk;
  if (!FetchedAtOnce(nic, q.send, q.host_memory, &status)) return true;
  OnRdmaSendsFetched(nic, q, status);
  return q.state == QpState::kConnected;
}

// ---------------------------------------------------------------- FPDUs

/// An FPDU, or the part of it that is to go.
struct FpduText {
  iwarp::SegmentAt segment;
  uint32_t head_bytes = 0;  ///< length field and DDP header
  uint32_t payload = 0;     ///< bytes of the message in it
  uint32_t pad = 0;
  uint32_t total() const { return iwarp::FpduBytes(segment.fpdu); }
  uint32_t payload_end() const { return head_bytes + payload; }
};

FpduText TextAt(const RdmaMessage& message, uint32_t offset) {
  FpduText text;
  const iwarp::MessageLayout layout = message.layout();
  text.segment = iwarp::FindSegment(layout, offset);
  text.head_bytes = iwarp::kLengthBytes + layout.header_bytes;
  text.payload = text.segment.fpdu.ulpdu_length - layout.header_bytes;
  text.pad = iwarp::PadBytes(text.segment.fpdu.ulpdu_length);
  return text;
}

void EmitHead(const RdmaMessage& message, const FpduText& text, uint8_t* out) {
  StoreBe16(out, static_cast<uint16_t>(text.segment.fpdu.ulpdu_length));
  const iwarp::DdpHeader ddp =
      iwarp::HeaderOf(message.message, text.segment.message_offset, text.segment.last);
  iwarp::EmitDdp(ddp, std::span<uint8_t>(out + iwarp::kLengthBytes, iwarp::kUntaggedBytes));
}

/// Where bytes of a message lie; 0 pieces: they may not be read.
uint32_t LocateMemory(const Nic& nic, const QueuePair& q, const RdmaMessage& message,
                      uint32_t offset, uint32_t length, DmaSegment* pieces, uint32_t* covered) {
  if (message.source == MessageSource::kMemory) {
    uint32_t count = 0;
    TranslateRemote(
        nic, {q.handle, q.protection_domain},
        {message.source_stag, message.source_offset + offset, length, abi::kAccessRemoteRead},
        pieces, &count, covered);
    return count;
  }
  // The host may have changed it since it was announced.
  const abi::SendWqe& wqe = CachedSend(nic, q.send, message.wqe_index);
  const uint32_t room = (1u << q.send.log2_stride) - uint32_t{sizeof(abi::SendWqe)};
  const bool is_inline = (wqe.flags & abi::kSendInline) != 0;
  if (is_inline || wqe.sge_count * sizeof(abi::Sge) > room) return 0;
  return Translate(nic, q.protection_domain, 0, SgeList(wqe), offset, length, pieces, covered);
}

/// The CRC of an FPDU's payload behind `crc`, from host memory. False: it may not be read.
bool CrcOfMemory(const Nic& nic, const QueuePair& q, const RdmaMessage& message,
                 const FpduText& text, uint32_t* crc) {
  for (uint32_t done = 0; done < text.payload;) {
    DmaSegment pieces[kMaxDmaSegments];
    uint32_t covered = 0;
    const uint32_t count = LocateMemory(nic, q, message, text.segment.message_offset + done,
                                        text.payload - done, pieces, &covered);
    if (count == 0) return false;
    *crc = nic.hardware.MemoryCrc(pieces, count, *crc);
    done += covered;
  }
  nic.Charge(Stage::kChecksum, Variant::kData, text.payload);
  return true;
}

/// Bytes that the core has itself: of a control message, or of an entry's inline data.
const uint8_t* CoreBytes(const Nic& nic, const QueuePair& q, const RdmaMessage& message) {
  if (message.source == MessageSource::kControl) return message.control;
  if (message.source == MessageSource::kMemory) return nullptr;
  const abi::SendWqe& wqe = CachedSend(nic, q.send, message.wqe_index);
  if ((wqe.flags & abi::kSendInline) == 0) return nullptr;
  // The host may have changed it since it was announced.
  const uint32_t room = (1u << q.send.log2_stride) - uint32_t{sizeof(abi::SendWqe)};
  const bool there = message.message.length <= room && wqe.inline_length >= message.message.length;
  return there ? reinterpret_cast<const uint8_t*>(&wqe + 1) : nullptr;
}

/// [at, at + length) of an FPDU all of which the core puts together, or of what is behind the
/// payload.
bool ComposeInCore(const Nic& nic, const QueuePair& q, const RdmaState& r,
                   const RdmaMessage& message, const FpduText& text, uint32_t at, uint32_t length,
                   GatheredText* out) {
  uint8_t* bytes = out->copy;
  EmitHead(message, text, bytes);
  uint32_t end = text.head_bytes;
  uint32_t crc = r.crc ? iwarp::Crc32c({bytes, end}) : 0;
  const bool behind = at >= text.payload_end();
  if (behind && CoreBytes(nic, q, message) == nullptr) {
    if (r.crc && !CrcOfMemory(nic, q, message, text, &crc)) return false;
    at -= text.payload;
  } else {
    const uint8_t* from = CoreBytes(nic, q, message);
    if (text.payload != 0 && from == nullptr) return false;
    if (text.payload != 0) {
      std::memcpy(bytes + end, from + text.segment.message_offset, text.payload);
      if (r.crc) crc = iwarp::Crc32c({bytes + end, text.payload}, crc);
      end += text.payload;
    }
  }
  std::memset(bytes + end, 0, text.pad);
  if (r.crc) crc = iwarp::Crc32c({bytes + end, text.pad}, crc);
  iwarp::StoreCrc(bytes + end + text.pad, crc);
  out->bytes = bytes + at;
  out->inline_length = length;
  return true;
}

/// At most `length` bytes of `message` from `offset` on. False: they may not be read.
bool Compose(const Nic& nic, const QueuePair& q, const RdmaState& r, const RdmaMessage& message,
             uint32_t offset, uint32_t length, GatheredText* out, SegmentPlan* plan) {
  const FpduText text = TextAt(message, offset);
  const uint32_t at = text.segment.at;
  const bool in_core =
      text.payload == 0 || at >= text.payload_end() || CoreBytes(nic, q, message) != nullptr;
  plan->length = length;
  if (in_core) {
    plan->ends_message = offset + length == message.bytes;
    return ComposeInCore(nic, q, r, message, text, at, length, out);
  }
  bool whole = at == 0 && length == text.total();
  const uint32_t from = at > text.head_bytes ? at - text.head_bytes : 0;
  if (at < text.head_bytes) {
    EmitHead(message, text, out->copy);
    out->bytes = out->copy + at;
    out->inline_length = text.head_bytes - at < length ? text.head_bytes - at : length;
    plan->head_crc = whole && r.crc ? iwarp::Crc32c({out->copy, text.head_bytes}) : 0;
  }
  uint32_t wanted = length - out->inline_length;
  if (wanted > text.payload - from) wanted = text.payload - from;
  if (wanted != 0) {
    uint32_t covered = 0;
    out->count = LocateMemory(nic, q, message, text.segment.message_offset + from, wanted,
                              out->pieces, &covered);
    if (out->count == 0) return false;
    out->length = covered;
    whole = whole && covered == text.payload;
  }
  plan->seal = whole;
  if (!whole) plan->length = out->inline_length + out->length;
  plan->ends_message = offset + plan->length == message.bytes;
  return true;
}

/// ... of MPA's Request or Reply, as they are.
bool ComposeStartup(const Nic& nic, const QueuePair& q, const RdmaMessage& message, uint32_t offset,
                    uint32_t length, GatheredText* out, SegmentPlan* plan) {
  uint32_t covered = 0;
  out->count = LocateMemory(nic, q, message, offset, length, out->pieces, &covered);
  out->length = covered;
  plan->length = covered;
  plan->ends_message = offset + covered == message.bytes;
  return out->count != 0;
}

/// Nothing that has been announced can be read any more.
Turn FailText(const Nic& nic, QueuePair& q, const RdmaMessage& message) {
  nic.Count(abi::NicCounter::kProtectionErrors);
  const bool mine = message.source == MessageSource::kWorkRequest;
  FailSend(nic, q, mine ? message.wqe_index : q.send.completed,
           mine ? CompletionStatus::kLocalProtectionError : CompletionStatus::kFlushed);
  return kIdleTurn;
}

Turn SendText(const Nic& nic, QueuePair& q, RdmaState& r, const tcp::SendIntent& intent) {
  RdmaMessage* message = FindMessage(r, intent.sequence);
  if (message == nullptr) return kIdleTurn;
  const bool startup = message->source == MessageSource::kStartup;
  const uint32_t offset = message->start.DistanceTo(intent.sequence);
  uint32_t rest = message->bytes - offset;
  if (!startup) {
    const FpduText text = TextAt(*message, offset);
    rest = text.total() - text.segment.at;
  }
  const uint32_t length = tcp::AllowedLength(q.tcb, intent, rest);
  if (length == 0) return kIdleTurn;
  const bool needs_wqe = startup || message->source == MessageSource::kWorkRequest;
  if (needs_wqe && !q.send.window.Holds(message->wqe_index)) {
    if (!FetchRdmaSends(nic, q, message->wqe_index)) return kIdleTurn;
    if (!q.send.window.Holds(message->wqe_index)) return kIdleTurn;
  }
  if (!CanFetchPayload(nic)) return kNoBufferTurn;
  nic.Charge(Stage::kTxDoorbellProcess, Variant::kData);
  GatheredText text;
  SegmentPlan plan;
  const bool readable = startup ? ComposeStartup(nic, q, *message, offset, length, &text, &plan)
                                : Compose(nic, q, r, *message, offset, length, &text, &plan);
  if (!readable) return FailText(nic, q, *message);
  if (text.count == 0 && WaitsForText(q.send)) return kIdleTurn;
  nic.Charge(Stage::kTxSchedule, Variant::kData);
  plan.wqe_index = message->wqe_index;
  plan.is_request_less =
      message->source == MessageSource::kControl || message->source == MessageSource::kMemory;
  plan.seal_crc = r.crc;
  return StartSegment(nic, q, intent, text, plan);
}

/// The Terminate has arrived, and what may still come is of no use.
bool EndsNow(const QueuePair& q, const RdmaState& r) {
  return r.ending == RdmaEnding::kTerminating && q.tcb.snd.una == q.tcb.snd.end;
}

}  // namespace

void OnRdmaSendsFetched(const Nic& nic, QueuePair& q, uint32_t status) {
  if (q.state != QpState::kConnected) return;
  if (status != kDmaOk) {
    FailSend(nic, q, q.send.window.first, CompletionStatus::kLocalProtectionError);
    return;
  }
  nic.Charge(Stage::kTxGetWr, Variant::kData, q.send.window.count);
  Announce(nic, q, RdmaOf(nic, q));
}

void SealFetched(const Nic& nic, TransmitContext& context) {
  if (!context.seal) return;
  context.seal = false;
  const uint32_t pad =
      iwarp::PadBytes(context.framing_bytes - iwarp::kLengthBytes + context.length);
  const uint32_t crc =
      nic.hardware.PayloadSeal(context.payload, pad, context.seal_crc, context.head_crc);
  if (context.seal_crc) nic.Charge(Stage::kChecksum, Variant::kData, context.length);
  uint8_t end[8] = {};
  iwarp::StoreCrc(end + pad, crc);
  const uint32_t bytes = pad + static_cast<uint32_t>(iwarp::kCrcBytes);
  context.sum = ChecksumCombine(
      static_cast<uint16_t>(context.sum),
      ChecksumAtOffset(ChecksumAdd(std::span<const uint8_t>(end, bytes)), context.length));
  context.length += bytes;
}

Turn ServiceRdma(const Nic& nic, QueuePair& q) {
  if (q.links.refused.linked() || q.state == QpState::kFree) return kIdleTurn;
  if (q.state != QpState::kConnected) return ServiceTcp(nic, q);
  RdmaState& r = RdmaOf(nic, q);
  if (r.peer_lost) {  // nothing is received behind what cannot be sent
    const bool wanted = q.send.completed != q.send.producer || q.send.shutdown_wanted;
    if (wanted || r.ending != RdmaEnding::kOpen) EndLost(nic, q);
    return kIdleTurn;
  }
  if (EndsNow(q, r)) {
    AbortConnection(nic, q);
    return kIdleTurn;
  }
  if (r.ending != RdmaEnding::kOpen) DropRefusedText(nic, q);
  if (!Announce(nic, q, r)) return kIdleTurn;
  const bool all_sent = q.tcb.snd.nxt == q.tcb.snd.end;
  const bool more =
      q.send.announced != q.send.producer && r.ending == RdmaEnding::kOpen && !IsOver(q);
  tcp::SendIntent intent = tcp::NextSend(q.tcb, nic.now);
  // What is sent again has the cache first: both would fetch in turns for ever, and send nothing.
  const bool repairs = all_sent && intent.kind == tcp::SendIntent::Kind::kData;
  if (more && all_sent && !repairs && !q.send.window.Holds(q.send.announced)) {
    if (!FetchRdmaSends(nic, q, q.send.announced)) return kIdleTurn;
    intent = tcp::NextSend(q.tcb, nic.now);
  } else if (q.send.shutdown_wanted && !q.tcb.snd.fin_queued && !more &&
             !iwarp::OwesResponse(r.sender) && r.ending == RdmaEnding::kOpen) {
    tcp::Close(q.tcb, nic.now);
    intent = tcp::NextSend(q.tcb, nic.now);
  }
  switch (intent.kind) {
    case tcp::SendIntent::Kind::kControl:
      if (q.send.window.fetching != 0 && tcp::AckDue(q.tcb, nic.now)) return kIdleTurn;
      if (q.tcb.snd.fin_queued && !q.tcb.snd.fin_sent && intent.sequence == q.tcb.snd.end &&
          WaitsForText(q.send)) {
        return kIdleTurn;
      }
      return SendControl(nic, q, intent);
    case tcp::SendIntent::Kind::kData:
      return SendText(nic, q, r, intent);
    case tcp::SendIntent::Kind::kNone:
      break;
  }
  return kIdleTurn;
}

}  // namespace qpip::fw

#include "nic_fw/transmit_udp.h"

#include <cstring>

#include "nic_fw/ending.h"
#include "nic_fw/link_state.h"
#include "nic_fw/memory.h"
#include "nic_fw/path_mtu.h"
#include "nic_fw/schedule.h"
#include "nic_fw/send_queue.h"
#include "nic_fw/transmit_context.h"
#include "nic_fw/work_queue.h"
#include "protocols/common/checksum.h"
#include "protocols/ipv6/fragment.h"
#include "protocols/ipv6/header.h"
#include "protocols/udp/header.h"

namespace qpip::fw {
namespace {

constexpr uint32_t kUdp = udp::kHeaderBytes;
constexpr uint32_t kWholeHeaders = ipv6::kHeaderBytes + udp::kHeaderBytes;

/// A context for `wqe`, or a part of it. There is one (CanFetchPayload).
uint32_t FillContext(const Nic& nic, const SendQueue& send, const abi::SendWqe& wqe,
                     uint32_t length) {
  const uint32_t index = TakeTransmitContext(nic);
  TransmitContext& context = nic.transmit(index);
  context.qp = send.owner;
  context.length = length;
  context.wqe_index = send.announced;
  context.wqe_flags = wqe.flags;
  std::memcpy(context.peer_address.bytes, wqe.peer_address.bytes, 16);
  context.peer_port = wqe.peer_port;
  context.part = DatagramPart::kWhole;
  return index;
}

/// Starts fetching [offset, offset + context.length) of the datagram. kIdle: its memory is not what
/// it should be, and the queue pair has failed.
Turn::Kind Fetch(const Nic& nic, QueuePair& q, uint32_t context_index, const abi::SendWqe& wqe,
                 uint32_t offset, uint32_t flags) {
  TransmitContext& context = nic.transmit(context_index);
  DmaSegment pieces[kMaxDmaSegments];
  uint32_t covered = 0;
  const uint32_t count = Translate(nic, q.protection_domain, 0, SgeList(wqe), offset,
                                   context.length, pieces, &covered);
  if (count == 0 || covered != context.length) {
    ReturnTransmitContext(nic, context_index);
    FailSend(nic, q, q.send.announced, abi::CompletionStatus::kLocalProtectionError);
    return Turn::Kind::kIdle;
  }
  nic.Charge(Stage::kTxSchedule, Variant::kDatagram);
  context.payload =
      nic.hardware.PayloadFetch(pieces, count, flags, MakeTag(Tag::kTransmit, context_index));
  if (context.payload == 0) {
    ReturnTransmitContext(nic, context_index);
    return Turn::Kind::kNoBuffer;
  }
  ++q.host_memory.dma_outstanding;
  return Turn::Kind::kSent;
}

/// A datagram that fits the path.
Turn StartWhole(const Nic& nic, QueuePair& q, const abi::SendWqe& wqe) {
  const bool needs_no_fetch = (wqe.flags & abi::kSendInline) != 0 || wqe.length == 0;
  // It could leave at once, but sends complete in order: it waits for those before it.
  if (needs_no_fetch && q.send.completed != q.send.announced) return kIdleTurn;
  const uint32_t index = FillContext(nic, q.send, wqe, wqe.length);
  if (needs_no_fetch) {
    nic.Charge(Stage::kTxSchedule, Variant::kDatagram);
    PayloadSource source;
    source.inline_bytes = reinterpret_cast<const uint8_t*>(&wqe + 1);
    source.inline_length = wqe.length;
    const bool sent = SendReadyDatagram(nic, q, nic.transmit(index), source);
    ReturnTransmitContext(nic, index);
    if (!sent) {
      AwaitWire(nic, q.handle);  // not announced yet: served again from the start
      return kIdleTurn;
    }
  } else {
    const uint32_t sum = nic.state.config.wire_trusted == 0 ? uint32_t{kDmaSum} : 0;
    const Turn::Kind kind = Fetch(nic, q, index, wqe, 0, kDmaCopy | sum);
    if (kind != Turn::Kind::kSent) return {kind, 0};
  }
  nic.Trace(kTraceSendFetched, q.handle, q.send.announced, wqe.length);
  ++q.send.announced;
  return SentTurn(wqe.length + 48);
}

/// Begins a datagram in fragments of `chunk` bytes.
void StartFragments(const Nic& nic, FragmentedSend& fragments, uint32_t chunk) {
  fragments = FragmentedSend{};
  fragments.chunk = chunk;
  fragments.summing = true;
  // RFC 7739 section 5.3: not to be guessed.
  fragments.identification = static_cast<uint32_t>(nic.hardware.Random());
}

/// The next part of a datagram that goes in fragments, to be summed or to be sent.
Turn StartPart(const Nic& nic, QueuePair& q, const abi::SendWqe& wqe) {
  FragmentedSend& f = q.send.fragments;
  const uint32_t total = kUdp + wqe.length;
  if (f.next == total) return kIdleTurn;  // all parts are being summed: OnPartSummed goes on
  const uint32_t rest = total - f.next;
  const uint32_t bytes = rest < f.chunk ? rest : f.chunk;
  const uint32_t header = f.next == 0 ? kUdp : 0;
  const uint32_t index = FillContext(nic, q.send, wqe, bytes - header);
  TransmitContext& context = nic.transmit(index);
  context.part = f.summing ? DatagramPart::kSummed : DatagramPart::kFragment;
  context.fragment.identification = f.identification;
  context.fragment.offset = f.next;
  context.fragment.datagram_length = wqe.length;
  context.fragment.sum = f.sum;
  context.last_of_message = bytes == rest;
  const Turn::Kind kind = Fetch(nic, q, index, wqe, f.next + header - kUdp,
                                f.summing ? uint32_t{kDmaSum} : uint32_t{kDmaCopy});
  if (kind != Turn::Kind::kSent) return {kind, 0};
  f.next += bytes;
  if (f.summing) {
    ++f.being_summed;
  } else if (f.next == total) {
    nic.Trace(kTraceSendFetched, q.handle, q.send.announced, wqe.length);
    f.chunk = 0;
    ++q.send.announced;
  }
  return SentTurn(bytes + 48);
}

}  // namespace

Turn ServiceUdp(const Nic& nic, QueuePair& q) {
  if (q.links.refused.linked() || q.state != QpState::kConnected ||
      q.send.announced == q.send.producer) {
    return kIdleTurn;
  }
  const uint32_t index = q.send.announced;
  if (!q.send.window.Holds(index)) {
    FetchEntries(nic, q.send, q.host_memory, index, Tag::kSendWqe);
    return kIdleTurn;
  }
  if (!CanFetchPayload(nic)) return kNoBufferTurn;
  const abi::SendWqe& wqe = CachedSend(nic, q.send, index);
  nic.Charge(Stage::kTxDoorbellProcess, Variant::kDatagram);
  if (q.send.fragments.chunk != 0) return StartPart(nic, q, wqe);
  const abi::CompletionStatus status = CheckSend(nic, q.send, q.protection_domain, wqe);
  if (status != abi::CompletionStatus::kSuccess) {
    FailSend(nic, q, index, status);
    return kIdleTurn;
  }
  ipv6::Address peer;
  std::memcpy(peer.bytes, wqe.peer_address.bytes, 16);
  const uint32_t mtu = PathMtu(nic, peer);
  // Inline bytes fit every path.
  if (wqe.length + 48 <= mtu) return StartWhole(nic, q, wqe);
  StartFragments(nic, q.send.fragments, FragmentBytes(mtu));
  return StartPart(nic, q, wqe);
}

bool SendReadyDatagram(const Nic& nic, QueuePair& q, const TransmitContext& context,
                       PayloadSource payload) {
  payload.traffic_class = q.traffic_class;
  uint64_t lease = 0;
  const bool fragment = context.part == DatagramPart::kFragment;
  const uint32_t status = fragment
                              ? SendUdpFragment(nic, q.tuple.local_port, context, payload, &lease)
                              : SendUdp(nic, q.tuple.local_port, context.peer_address,
                                        context.peer_port, payload, &lease);
  if (status == kSendBusy) return false;
  NoteLease(q.host_memory, lease, false);
  if (status == kSendNoRoute && OnEthernet(nic)) {
    if (!fragment || context.last_of_message) FailDatagram(nic, q.send, context.wqe_index);
  } else if (!fragment || context.last_of_message) {
    const uint32_t length = fragment ? context.fragment.datagram_length : context.length;
    nic.Trace(kTraceSendSent, q.handle, context.wqe_index, length);
    CompleteDatagram(nic, q.send, context.wqe_index, context.wqe_flags, length);
  }
  if (!fragment || context.fragment.offset == 0) {  // the others do not have the ports
    const uint32_t headers = kWholeHeaders + (fragment ? uint32_t{ipv6::kFragmentHeaderBytes} : 0);
    NoteDatagramSent(nic, {context.peer_address, q.tuple.local_port, context.peer_port},
                     context.length + headers);
  }
  nic.Charge(Stage::kTxUpdate, Variant::kDatagram);
  return true;
}

void OnPartSummed(const Nic& nic, SendQueue& send, uint32_t index, uint32_t sum) {
  FragmentedSend& f = send.fragments;
  const TransmitContext& context = nic.transmit(index);
  // Parts begin at even offsets of the payload: no sum needs a swap.
  f.sum = ChecksumCombine(f.sum, static_cast<uint16_t>(sum));
  const bool all = f.next == kUdp + context.fragment.datagram_length;
  nic.hardware.PayloadRelease(context.payload);
  ReturnTransmitContext(nic, index);
  if (--f.being_summed == 0 && all) {
    f.summing = false;
    f.next = 0;
  }
  Activate(nic, send.owner);
}

}  // namespace qpip::fw

#include "nic_fw/text_source.h"

#include <cstring>

#include "nic_fw/memory.h"
#include "nic_fw/send_queue.h"

namespace qpip::fw {
namespace {

/// Adds bytes that lie in SRAM. Returns false when there is no room for them.
bool AddInline(const uint8_t* from, uint32_t length, GatheredText* out) {
  if (out->inline_length + length > kMaxInlineText) return false;
  if (out->inline_length == 0) {
    out->bytes = from;
  } else {
    if (out->bytes != out->copy) std::memcpy(out->copy, out->bytes, out->inline_length);
    std::memcpy(out->copy + out->inline_length, from, length);
    out->bytes = out->copy;
  }
  out->inline_length += length;
  return true;
}

/// Adds up to `want` bytes of one entry's list.
bool AddList(const Nic& nic, uint32_t protection_domain, const abi::SendWqe& wqe, uint32_t offset,
             uint32_t want, GatheredText* out) {
  uint32_t covered = 0;
  const auto translate = [&](DmaSegment* to) {
    return Translate(nic, protection_domain, 0, SgeList(wqe), offset, want, to, &covered);
  };
  if (out->count == 0) {
    out->count = translate(out->pieces);
    if (out->count == 0) return false;
  } else {
    DmaSegment more[kMaxDmaSegments];
    const uint32_t count = translate(more);
    if (count == 0 || out->count + count > kMaxDmaSegments) return false;
    for (uint32_t i = 0; i < count; ++i) out->pieces[out->count + i] = more[i];
    out->count += count;
  }
  out->length += covered;
  return true;
}

/// Adds up to `want` bytes of one entry, from `offset` of its message on.
bool AddEntry(const Nic& nic, uint32_t protection_domain, const abi::SendWqe& wqe, uint32_t offset,
              uint32_t want, GatheredText* out) {
  if ((wqe.flags & abi::kSendInline) == 0)
    return AddList(nic, protection_domain, wqe, offset, want, out);
  const bool there = wqe.inline_length >= offset + want;  // the host may have changed it
  return there && AddInline(reinterpret_cast<const uint8_t*>(&wqe + 1) + offset, want, out);
}

}  // namespace

uint32_t PacketRest(const SendQueue& send, const SendRecord& record, uint32_t offset,
                    tcp::SequenceNumber announced_end) {
  // RFC 9293 3.8.6.2.1: where boundaries mean nothing, segments are as large as can be.
  if (FramingOf(send).keeps_boundaries) return record.length - offset;
  return (record.start + offset).DistanceTo(announced_end);
}

bool GatherText(const Nic& nic, const SendQueue& send, uint32_t protection_domain, uint32_t index,
                uint32_t offset, uint32_t most, GatheredText* out) {
  const Framing& framing = FramingOf(send);
  const bool is_inline = (CachedSend(nic, send, index).flags & abi::kSendInline) != 0;
  for (uint32_t i = index; out->total() < most; ++i, offset = 0) {
    if (i != index && (framing.keeps_boundaries || i == send.announced || !send.window.Holds(i))) {
      break;
    }
    const abi::SendWqe& wqe = CachedSend(nic, send, i);
    if (((wqe.flags & abi::kSendInline) != 0) != is_inline) break;
    const SendRecord& record = nic.record(send, i);
    LocatedText at;
    framing.locate(record, offset, most - out->total(), &at);
    if (at.header_length != 0) {
      // Room was left for it: a header is small, and there is one a packet.
      std::memcpy(out->copy, at.header, at.header_length);
      AddInline(out->copy, at.header_length, out);
    }
    const uint32_t before = out->total();
    const bool added =
        at.length == 0 || AddEntry(nic, protection_domain, wqe, at.message_offset, at.length, out);
    if (!added) {
      if (i == index) return false;
      break;
    }
    out->ends_message = offset + at.header_length + (out->total() - before) == record.length;
    if (!out->ends_message) break;
  }
  return out->total() != 0;
}

}  // namespace qpip::fw

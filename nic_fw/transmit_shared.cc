#include "nic_fw/memory.h"
#include "nic_fw/transmit_internal.h"
#include "protocols/ipv6/header.h"
#include "protocols/udp/header.h"

namespace qpip::fw {
namespace {

constexpr uint32_t kMaxMessageBytes = 1u << 30;
/// What one packet carries without a jumbo payload option; larger than the path, in fragments.
constexpr uint32_t kMaxDatagramBytes = ipv6::kMaxPayload - static_cast<uint32_t>(udp::kHeaderBytes);

}  // namespace

uint32_t FetchableWqes(const Nic& nic, const QueuePair& q, uint32_t index) {
  const uint32_t mask = (1u << q.send.log2_depth) - 1;
  uint32_t count = q.send.producer - index;
  const uint32_t fits = nic.state.config.wqe_cache_bytes >> q.send.log2_stride;
  const uint32_t to_end = mask + 1 - (index & mask);
  if (count > nic.state.config.wqe_prefetch) count = nic.state.config.wqe_prefetch;
  if (count > fits) count = fits;
  return count < to_end ? count : to_end;
}

void FetchSendWqes(const Nic& nic, QueuePair& q, uint32_t index) {
  if (q.send.window.fetching != 0) return;
  const uint32_t mask = (1u << q.send.log2_depth) - 1;
  const uint32_t count = FetchableWqes(nic, q, index);
  q.send.window = {index, 0, count};
  ++q.host_memory.dma_outstanding;
  nic.hardware.DmaRead(q.send.ring + (uint64_t{index & mask} << q.send.log2_stride),
                       nic.SendCache(q), count << q.send.log2_stride,
                       MakeTag(Tag::kSendWqe, q.handle));
}

abi::CompletionStatus CheckWqe(const Nic& nic, const QueuePair& q, const abi::SendWqe& wqe) {
  const uint32_t room = (1u << q.send.log2_stride) - static_cast<uint32_t>(sizeof(abi::SendWqe));
  if (wqe.opcode != static_cast<uint8_t>(abi::SendOpcode::kSend)) {
    return abi::CompletionStatus::kLocalQpOperationError;
  }
  uint64_t length = 0;
  if ((wqe.flags & abi::kSendInline) != 0) {
    if (wqe.inline_length > room) return abi::CompletionStatus::kLocalQpOperationError;
    length = wqe.inline_length;
  } else {
    if (wqe.sge_count * sizeof(abi::Sge) > room) {
      return abi::CompletionStatus::kLocalQpOperationError;
    }
    for (const abi::Sge& sge : SgeList(wqe)) length += sge.length;
  }
  if (length != wqe.length) return abi::CompletionStatus::kLocalQpOperationError;
  const bool tcp = q.type == abi::QpType::kTcp;
  // A zero-length message is a datagram's privilege: a byte stream cannot carry it.
  if (tcp && length == 0) return abi::CompletionStatus::kLocalQpOperationError;
  const uint32_t limit = tcp ? kMaxMessageBytes : kMaxDatagramBytes;
  if (length > limit) return abi::CompletionStatus::kLocalLengthError;
  if ((wqe.flags & abi::kSendInline) == 0 &&
      !CheckList(nic, q.protection_domain, 0, SgeList(wqe))) {
    nic.Count(abi::NicCounter::kProtectionErrors);
    return abi::CompletionStatus::kLocalProtectionError;
  }
  return abi::CompletionStatus::kSuccess;
}

void Block(const Nic& nic, QueuePair& q) {
  if (q.in_blocked) return;
  FirmwareState& s = nic.state;
  q.in_blocked = true;
  q.next_blocked = kNone;
  if (s.blocked_tail == kNone) {
    s.blocked_head = q.handle;
  } else {
    nic.qp(s.blocked_tail).next_blocked = q.handle;
  }
  s.blocked_tail = q.handle;
}

}  // namespace qpip::fw

#include "nic_fw/send_queue.h"

#include "nic_fw/completion.h"
#include "nic_fw/framing.h"
#include "nic_fw/memory.h"
#include "nic_fw/work_queue.h"
#include "protocols/ipv6/header.h"
#include "protocols/udp/header.h"

namespace qpip::fw {
namespace {

constexpr uint32_t kMaxMessageBytes = 1u << 30;
/// What one packet carries without a jumbo payload option; larger than the path, in fragments.
constexpr uint32_t kMaxDatagramBytes = ipv6::kMaxPayload - static_cast<uint32_t>(udp::kHeaderBytes);

bool Contains(const SendRecord& record, tcp::SequenceNumber sequence) {
  return sequence.InWindow(record.start, record.length);
}

void CheckOrder(const SendQueue& send) {
  QPIP_ASSERT(send.announced - send.completed <= send.producer - send.completed);
  QPIP_ASSERT(send.producer - send.completed <= 1u << send.log2_depth);
}

}  // namespace

const abi::SendWqe& CachedSend(const Nic& nic, const SendQueue& send, uint32_t index) {
  return *static_cast<const abi::SendWqe*>(CachedEntry(nic, send, index));
}

std::span<const abi::Sge> SgeList(const abi::SendWqe& wqe) {
  return {reinterpret_cast<const abi::Sge*>(&wqe + 1), wqe.sge_count};
}

abi::CompletionStatus CheckSend(const Nic& nic, const SendQueue& send, uint32_t protection_domain,
                                const abi::SendWqe& wqe) {
  const uint32_t room = (1u << send.log2_stride) - static_cast<uint32_t>(sizeof(abi::SendWqe));
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
  const bool datagram = FramingOf(send).datagrams;
  // A zero-length message is a datagram's privilege: a byte stream cannot carry it.
  if (!datagram && length == 0) return abi::CompletionStatus::kLocalQpOperationError;
  const uint32_t limit = datagram ? kMaxDatagramBytes : kMaxMessageBytes;
  if (length > limit) return abi::CompletionStatus::kLocalLengthError;
  if ((wqe.flags & abi::kSendInline) == 0 && !CheckList(nic, protection_domain, 0, SgeList(wqe))) {
    nic.Count(abi::NicCounter::kProtectionErrors);
    return abi::CompletionStatus::kLocalProtectionError;
  }
  return abi::CompletionStatus::kSuccess;
}

// New data is found at the cursor or right behind it, retransmissions by binary search.
uint32_t FindRecord(const Nic& nic, SendQueue& send, tcp::SequenceNumber sequence) {
  const uint32_t announced = send.announced - send.completed;
  for (uint32_t guess = send.cursor; guess - send.cursor < 2; ++guess) {
    if (guess - send.completed < announced && Contains(nic.record(send, guess), sequence)) {
      send.cursor = guess;
      return guess;
    }
  }
  uint32_t low = 0;
  uint32_t high = announced;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    const SendRecord& record = nic.record(send, send.completed + middle);
    if (Contains(record, sequence)) {
      send.cursor = send.completed + middle;
      return send.cursor;
    }
    if (sequence.Before(record.start)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return kNone;
}

void CompleteOldest(const Nic& nic, SendQueue& send) {
  const uint32_t index = send.completed++;
  const SendRecord& record = nic.record(send, index);
  nic.Trace(kTraceSendAcked, send.owner, index, record.message_bytes);
  if ((record.flags & abi::kSendSignaled) == 0) return;
  CompletionDetail detail;
  detail.byte_length = record.message_bytes;
  Complete(nic, send, abi::CompletionOpcode::kSend, index, detail);
}

void CompleteAcknowledged(const Nic& nic, SendQueue& send, tcp::SequenceNumber acknowledged) {
  CheckOrder(send);
  while (send.completed != send.announced) {
    const SendRecord& record = nic.record(send, send.completed);
    const tcp::SequenceNumber end = record.start + record.length;
    if (end.After(acknowledged)) break;
    CompleteOldest(nic, send);
  }
}

void CompleteDatagram(const Nic& nic, SendQueue& send, uint32_t index, uint32_t flags,
                      uint32_t length) {
  send.completed = index + 1;
  if ((flags & abi::kSendSignaled) == 0) return;
  CompletionDetail detail;
  detail.byte_length = length;
  Complete(nic, send, abi::CompletionOpcode::kSend, index, detail);
}

void FailDatagram(const Nic& nic, SendQueue& send, uint32_t index) {
  send.completed = index + 1;
  CompletionDetail detail;
  detail.status = abi::CompletionStatus::kRetryExceeded;
  detail.vendor_error = static_cast<uint32_t>(abi::DisconnectReason::kUnreachable);
  Complete(nic, send, abi::CompletionOpcode::kSend, index, detail);
}

void FlushSends(const Nic& nic, SendQueue& send, const Ending& ending) {
  CheckOrder(send);
  uint8_t status = ending.head_status;
  if (status == 0) status = static_cast<uint8_t>(abi::CompletionStatus::kFlushed);
  for (; send.completed != send.producer; ++send.completed) {
    CompletionDetail detail;
    detail.status = static_cast<abi::CompletionStatus>(status);
    if (ending.send_status != 0 && send.completed == ending.error_index) {
      detail.status = static_cast<abi::CompletionStatus>(ending.send_status);
    }
    detail.vendor_error = ending.reason;
    Complete(nic, send, abi::CompletionOpcode::kSend, send.completed, detail);
    status = static_cast<uint8_t>(abi::CompletionStatus::kFlushed);
  }
  send.announced = send.producer;
}

}  // namespace qpip::fw

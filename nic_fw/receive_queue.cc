#include "nic_fw/receive_queue.h"

#include <cstddef>

#include "nic_fw/framing.h"
#include "nic_fw/rdma_state.h"
#include "nic_fw/work_queue.h"

namespace qpip::fw {
namespace {

/// Whether a WQE's list lies in its entry and adds up; the host is not trusted.
bool WellFormed(const ReceiveQueue& recv, const abi::RecvWqe& wqe) {
  const uint32_t room = (1u << recv.log2_stride) - static_cast<uint32_t>(sizeof(abi::RecvWqe));
  if (wqe.sge_count * sizeof(abi::Sge) > room) return false;
  uint64_t length = 0;
  for (const abi::Sge& sge : ReceiveList(wqe)) length += sge.length;
  if (length != wqe.length) return false;
  return length != 0 || FramingOf(recv).datagrams || IsRdma(recv);
}

}  // namespace

std::span<const abi::Sge> ReceiveList(const abi::RecvWqe& wqe) {
  return {reinterpret_cast<const abi::Sge*>(&wqe + 1), wqe.sge_count};
}

CurrentReceive FindCurrentReceive(const Nic& nic, ReceiveQueue& recv, HostMemoryUse& use) {
  QPIP_ASSERT(recv.producer - recv.next <= 1u << recv.log2_depth);
  if (recv.next == recv.producer) return {};
  if (!recv.window.Holds(recv.next)) {
    FetchEntries(nic, recv, use, recv.next, Tag::kRecvWqe);
    return {};
  }
  const auto* wqe = static_cast<const abi::RecvWqe*>(CachedEntry(nic, recv, recv.next));
  if (!WellFormed(recv, *wqe)) return {nullptr, true};
  return {wqe, false};
}

bool LookForReceives(const Nic& nic, QueuePair& q) {
  ReceiveQueue& recv = q.recv;
  const uint64_t word = nic.hardware.HostLoad(q.indices + offsetof(abi::QueueIndices, recv));
  const uint32_t posted = static_cast<uint32_t>(word) - recv.next;
  if (posted <= recv.producer - recv.next || posted > 1u << recv.log2_depth) return false;
  recv.producer = recv.next + posted;
  recv.posted_bytes = static_cast<uint32_t>(word >> 32);
  return true;
}

void ConsumeReceive(ReceiveQueue& recv, uint32_t length) {
  QPIP_ASSERT(recv.next != recv.producer);
  ++recv.next;
  recv.filled = 0;
  recv.consumed_bytes += length;
}

void CompleteReceive(const Nic& nic, const ReceiveQueue& recv, uint32_t index,
                     const CompletionDetail& detail) {
  Complete(nic, recv, abi::CompletionOpcode::kRecv, index, detail);
}

void CompleteEndOfStream(const Nic& nic, ReceiveQueue& recv, Placement& placement) {
  if (recv.filled != 0) {  // a message without its end: all there will ever be
    CompletionDetail detail;
    detail.byte_length = recv.filled;
    CompleteReceive(nic, recv, recv.next, detail);
    ++recv.next;
    recv.filled = 0;
    if (recv.next == recv.producer) return;
  }
  CompletionDetail detail;
  detail.flags = abi::kCqeEndOfStream;
  CompleteReceive(nic, recv, recv.next, detail);
  ++recv.next;
  placement.end_of_stream = kEosDelivered;
}

void FlushReceives(const Nic& nic, ReceiveQueue& recv, Placement& placement, Ending& ending) {
  const bool orderly = ending.reason == static_cast<uint8_t>(abi::DisconnectReason::kClosed);
  if (orderly && placement.end_of_stream == kEosPending && recv.next != recv.producer) {
    CompleteEndOfStream(nic, recv, placement);
  }
  uint8_t status = ending.recv_status != 0 ? ending.recv_status : ending.head_status;
  // Behind the end of the stream nothing can fill a receive, whether the connection ends before or
  // after it was posted.
  const bool behind_end = placement.end_of_stream == kEosDelivered && ending.recv_status == 0;
  if (status == 0 || behind_end) status = static_cast<uint8_t>(abi::CompletionStatus::kFlushed);
  for (; recv.next != recv.producer; ++recv.next) {
    CompletionDetail detail;
    detail.status = static_cast<abi::CompletionStatus>(status);
    detail.vendor_error = ending.reason;
    CompleteReceive(nic, recv, recv.next, detail);
    status = static_cast<uint8_t>(abi::CompletionStatus::kFlushed);
  }
  recv.filled = 0;
  ending.recv_status = 0;
}

}  // namespace qpip::fw

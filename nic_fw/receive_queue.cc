#include "nic_fw/receive_queue.h"

#include <cstring>

#include "nic_fw/completion.h"
#include "nic_fw/connection.h"
#include "nic_fw/placement.h"

namespace qpip::fw {
namespace {

/// Starts fetching receive WQEs from recv_next on: as many as are posted, fit and do not wrap.
void FetchReceives(const Nic& nic, QueuePair& q) {
  if (q.recv.window.fetching != 0) return;
  const uint32_t mask = (1u << q.recv.log2_depth) - 1;
  const uint32_t fits = nic.state.config.wqe_cache_bytes >> q.recv.log2_stride;
  const uint32_t to_end = mask + 1 - (q.recv.next & mask);
  uint32_t count = q.recv.producer - q.recv.next;
  if (count > nic.state.config.wqe_prefetch) count = nic.state.config.wqe_prefetch;
  if (count > fits) count = fits;
  if (count > to_end) count = to_end;
  q.recv.window = {q.recv.next, 0, count};
  ++q.host_memory.dma_outstanding;
  nic.hardware.DmaRead(q.recv.ring + (uint64_t{q.recv.next & mask} << q.recv.log2_stride),
                       nic.RecvCache(q), count << q.recv.log2_stride,
                       MakeTag(Tag::kRecvWqe, q.handle));
}

/// Whether a WQE's list lies in its entry and adds up; the host is not trusted.
bool WellFormed(const QueuePair& q, const abi::RecvWqe& wqe) {
  const uint32_t room = (1u << q.recv.log2_stride) - static_cast<uint32_t>(sizeof(abi::RecvWqe));
  if (wqe.sge_count * sizeof(abi::Sge) > room) return false;
  uint64_t length = 0;
  for (const abi::Sge& sge : ReceiveList(wqe)) length += sge.length;
  if (length != wqe.length) return false;
  return length != 0 || q.type == abi::QpType::kUdp;
}

}  // namespace

std::span<const abi::Sge> ReceiveList(const abi::RecvWqe& wqe) {
  return {reinterpret_cast<const abi::Sge*>(&wqe + 1), wqe.sge_count};
}

const abi::RecvWqe* CurrentReceive(const Nic& nic, QueuePair& q) {
  if (q.recv.next == q.recv.producer) return nullptr;
  if (!q.recv.window.Holds(q.recv.next)) {
    FetchReceives(nic, q);
    return nullptr;
  }
  const auto* wqe = reinterpret_cast<const abi::RecvWqe*>(
      nic.RecvCache(q) + ((q.recv.next - q.recv.window.first) << q.recv.log2_stride));
  if (!WellFormed(q, *wqe)) {
    FailReceive(nic, q, abi::CompletionStatus::kLocalQpOperationError);
    return nullptr;
  }
  return wqe;
}

void ConsumeReceive(QueuePair& q, uint32_t length) {
  ++q.recv.next;
  q.recv.filled = 0;
  q.recv.consumed_bytes += length;
}

void CompleteEndOfStream(const Nic& nic, QueuePair& q) {
  if (q.recv.filled != 0) {  // a message without its end: all there will ever be
    CompletionDetail detail;
    detail.byte_length = q.recv.filled;
    Complete(nic, q, abi::CompletionOpcode::kRecv, q.recv.next, detail);
    ++q.recv.next;
    q.recv.filled = 0;
    if (q.recv.next == q.recv.producer) return;
  }
  CompletionDetail detail;
  detail.flags = abi::kCqeEndOfStream;
  Complete(nic, q, abi::CompletionOpcode::kRecv, q.recv.next, detail);
  ++q.recv.next;
  q.placement.end_of_stream = kEosDelivered;
}

void FlushReceives(const Nic& nic, QueuePair& q) {
  const bool orderly = q.ending.reason == static_cast<uint8_t>(abi::DisconnectReason::kClosed);
  if (orderly && q.placement.end_of_stream == kEosPending && q.recv.next != q.recv.producer) {
    CompleteEndOfStream(nic, q);
  }
  uint8_t status = q.ending.recv_status != 0 ? q.ending.recv_status : q.ending.head_status;
  if (status == 0) status = static_cast<uint8_t>(abi::CompletionStatus::kFlushed);
  for (; q.recv.next != q.recv.producer; ++q.recv.next) {
    CompletionDetail detail;
    detail.status = static_cast<abi::CompletionStatus>(status);
    detail.vendor_error = q.ending.reason;
    Complete(nic, q, abi::CompletionOpcode::kRecv, q.recv.next, detail);
    status = static_cast<uint8_t>(abi::CompletionStatus::kFlushed);
  }
  q.recv.filled = 0;
  q.ending.recv_status = 0;
}

void ReportPeerClosed(const Nic& nic, const QueuePair& q) {
  if (q.ending.destroy_wanted) return;
  abi::Event event;
  event.kind = static_cast<uint8_t>(abi::EventKind::kPeerClosed);
  event.object = q.handle;
  WriteEvent(nic, event);
}

}  // namespace qpip::fw

#include "nic_fw/invariants.h"

#include "nic_fw/rdma_state.h"
#include "nic_fw/schedule.h"

#if QPIP_ASSERTIONS
namespace qpip::fw {
namespace {

bool HasConnection(const QueuePair& q) {
  return q.state == QpState::kConnecting || q.state == QpState::kConnected;
}

/// Only what waits for receives is left of the connection (LosePeer).
bool IsLost(const Nic& nic, const QueuePair& q) {
  return q.rdma != kNone && RdmaOf(nic, q).peer_lost;
}

void CheckSendQueue(const Nic& nic, const QueuePair& q) {
  const SendQueue& send = q.send;
  QPIP_ASSERT(send.producer - send.completed <= 1u << send.log2_depth);
  QPIP_ASSERT(send.announced - send.completed <= send.producer - send.completed);
  QPIP_ASSERT(send.window.fetching == 0 || q.host_memory.dma_outstanding != 0);
  // Messages lie in the sequence space without a gap, and the last one ends what may be sent.
  if (q.type != abi::QpType::kTcp || q.state != QpState::kConnected) return;
  if (send.announced == send.completed || IsRdma(send)) return;
  const SendRecord& last = nic.record(send, send.announced - 1);
  QPIP_ASSERT(last.start + last.length == q.tcb.snd.end);
}

void CheckReceiveQueue(const QueuePair& q) {
  const ReceiveQueue& recv = q.recv;
  QPIP_ASSERT(recv.producer - recv.next <= 1u << recv.log2_depth);
  QPIP_ASSERT(recv.window.fetching == 0 || q.host_memory.dma_outstanding != 0);
}

void CheckPlacement(const Nic& nic, const QueuePair& q) {
  const Placement& placement = q.placement;
  QPIP_ASSERT(q.state == QpState::kConnected || placement.contexts.empty());
  QPIP_ASSERT(placement.datagrams <= placement.contexts.count);
  uint32_t contexts = 0;
  uint32_t stripped = 0;
  uint32_t to_pool = 0;
  for (uint32_t i = placement.contexts.head; i != kNone; i = nic.receive(i).link.next) {
    const ReceiveContext& context = nic.receive(i);
    QPIP_ASSERT(context.qp == q.handle && !context.detached && !context.held);
    QPIP_ASSERT(context.issued || context.in_flight == 0);
    CheckLinked(placement.contexts, ReceiveLink{nic}, i);
    stripped += context.stripped;
    if (context.issued && context.to_pool) to_pool += context.in_flight;
    ++contexts;
  }
  QPIP_ASSERT(contexts == placement.contexts.count);
  QPIP_ASSERT(stripped == placement.stripped);
  QPIP_ASSERT(to_pool == q.pool.pending);
}

void CheckPool(const OverflowPool& pool) {
  QPIP_ASSERT(pool.used <= pool.bytes);
  QPIP_ASSERT(pool.bytes == 0 || (pool.read < pool.bytes && pool.place < pool.bytes));
  QPIP_ASSERT(pool.drain.rest <= pool.used);
  QPIP_ASSERT(pool.drain.issued <= pool.drain.rest || pool.used == 0);
}

void CheckLists(const Nic& nic, const QueuePair& q) {
  const FirmwareState& s = nic.state;
  const QueuePairLinks& links = q.links;
  if (links.active.linked()) CheckLinked(TurnsOf(nic, q), ActiveLink{nic}, q.handle);
  if (links.batch.linked()) CheckLinked(s.batch, BatchLink{nic}, q.handle);
  if (links.drain.linked()) CheckLinked(s.drain, DrainLink{nic}, q.handle);
  if (links.refused.linked()) CheckLinked(s.refused, RefusedLink{nic}, q.handle);
  const bool half_open = q.state == QpState::kConnecting && q.listener != kNone;
  if (links.listener.linked()) {
    const ListenerState& listener = nic.listener(q.listener);
    CheckLinked(half_open ? listener.half_open : listener.offered, ListenerLink{nic}, q.handle);
  }
  QPIP_ASSERT(links.listener.linked() == (q.state == QpState::kOffered || half_open));
  QPIP_ASSERT(links.drain.linked() == (q.state == QpState::kDraining));
  // Frames that the wire refused are tried again.
  QPIP_ASSERT(q.refused.empty() || links.refused.linked());
  QPIP_ASSERT(!HasConnection(q) || links.in_demux != IsLost(nic, q));
}

}  // namespace

void CheckQueuePair(const Nic& nic, const QueuePair& q) {
  if (q.state == QpState::kFree) return;
  CheckLists(nic, q);
  CheckSendQueue(nic, q);
  CheckReceiveQueue(q);
  CheckPlacement(nic, q);
  CheckPool(q.pool);
}

}  // namespace qpip::fw
#endif

#include "nic_fw/text_queue.h"

namespace qpip::fw {

void TakeBackReceive(ReceiveQueue& recv, const ReceiveContext& context) {
  if (!context.fills_wqe || recv.next - context.wqe_index >= 0x80000000u) return;
  recv.next = context.wqe_index;
}

void DropPlacements(const Nic& nic, QueuePair& q) {
  for (;;) {
    const uint32_t index = PopFront(q.placement.contexts, ReceiveLink{nic});
    if (index == kNone) break;
    ReceiveContext& context = nic.receive(index);
    TakeBackReceive(q.recv, context);
    if (context.issued) {
      context.detached = true;
    } else {
      ReturnReceiveContext(nic, index);
    }
  }
  q.pool.pending = 0;
  q.placement.datagrams = 0;
  q.placement.stripped = 0;
}

}  // namespace qpip::fw

#include "nic_fw/rdma_buffers.h"

#include <cstddef>

#include "nic_fw/rdma_delivery.h"
#include "nic_fw/receive_queue.h"
#include "nic_fw/remote_access.h"

namespace qpip::fw {

using iwarp::Cause;

Cause Place(const Nic& nic, const QueuePair& q, const iwarp::SegmentPlan& plan,
            const Target& target, uint32_t done, Places* places) {
  const uint32_t length = plan.payload_bytes - done;
  if (plan.opcode == iwarp::Opcode::kWrite) {
    const iwarp::AccessVerdict verdict = TranslateRemote(
        nic, StreamOfQueue(q),
        {plan.ddp.stag, plan.ddp.tagged_offset + done, length, abi::kAccessRemoteWrite},
        places->pieces, &places->count, &places->covered);
    return iwarp::CauseOfAccess(verdict, plan.opcode);
  }
  places->count = Translate(nic, q.protection_domain, abi::kAccessLocalWrite, target.list,
                            target.offset + done, length, places->pieces, &places->covered);
  return places->count != 0 ? Cause::kNone : Cause::kStreamCatastrophic;
}

Cause CheckPlaces(const Nic& nic, const QueuePair& q, const iwarp::SegmentPlan& plan,
                  const Target& target) {
  Cause cause = Cause::kNone;
  for (uint32_t done = 0; cause == Cause::kNone && done < plan.payload_bytes;) {
    Places places;
    cause = Place(nic, q, plan, target, done, &places);
    done += places.covered;
  }
  return cause;
}

bool HasReceive(const Nic& nic, QueuePair& q) {
  return q.recv.next != q.recv.producer || LookForReceives(nic, q);
}

void TakeReceive(QueuePair& q, const abi::RecvWqe& wqe, RdmaDelivery* delivery) {
  const iwarp::SegmentPlan& plan = delivery->plan;
  delivery->wqe_index = q.recv.next;
  // Of immediate data: what has been written in front of them (NoteWritten, KeepWritten).
  delivery->byte_length =
      iwarp::IsImmediate(plan.opcode) ? static_cast<uint32_t>(plan.immediate) : plan.message_length;
  ConsumeReceive(q.recv, wqe.length);
}

void StartCopy(const Nic& nic, QueuePair& q, RdmaState& r, const DmaSegment& from,
               const DmaSegment* to, uint32_t to_count) {
  nic.hardware.DmaCopy(&from, 1, to, to_count, MakeTag(Tag::kDrainCopy, q.handle));
  ++q.host_memory.dma_outstanding;
  ++r.gathered.operations;
}

void CopyPayload(const Nic& nic, QueuePair& q, RdmaState& r, uint64_t fpdu, const Target& target) {
  const iwarp::SegmentPlan& plan = r.gathered.plan;
  const uint64_t start = fpdu + iwarp::kLengthBytes + plan.header_bytes;
  for (uint32_t done = 0; done < plan.payload_bytes;) {
    Places places;
    Place(nic, q, plan, target, done, &places);
    QPIP_ASSERT(places.count != 0);  // CheckPlaces has asked
    StartCopy(nic, q, r, {start + done, places.covered, 0}, places.pieces, places.count);
    done += places.covered;
  }
}

}  // namespace qpip::fw

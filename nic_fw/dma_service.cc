#include "nic_fw/dma_service.h"

#include "nic_fw/ending.h"
#include "nic_fw/icmp_answer.h"
#include "nic_fw/invariants.h"
#include "nic_fw/management_fsm.h"
#include "nic_fw/placement.h"
#include "nic_fw/receive_fsm.h"
#include "nic_fw/transmit_fsm.h"

namespace qpip::fw {
namespace {

/// The queue pair that a DMA operation belongs to; kNone when none does.
uint32_t OwnerOf(const Nic& nic, Tag kind, uint32_t index) {
  switch (kind) {
    case Tag::kSendWqe:
    case Tag::kRecvWqe:
    case Tag::kDrainRecords:
    case Tag::kDrainCopy:
      return index;
    case Tag::kTransmit:
      return nic.transmit(index).qp;
    case Tag::kPlace:
      return nic.receive(index).qp;
    default:
      return kNone;
  }
}

/// An operation of a queue pair is complete.
void OnQueuePairDma(const Nic& nic, QueuePair& q, Tag kind, uint32_t index,
                    const DmaCompletion& done) {
  const Handler handler(nic, q);
  switch (kind) {
    case Tag::kSendWqe:
      OnSendWqesFetched(nic, q, done.status);
      break;
    case Tag::kRecvWqe:
      OnRecvWqesFetched(nic, q, done.status);
      break;
    case Tag::kTransmit:
      OnPayloadFetched(nic, index, done);
      break;
    case Tag::kPlace:
      OnPlaced(nic, index, done.status);
      break;
    case Tag::kDrainRecords:
      OnDrainRecordsFetched(nic, q, done.status);
      break;
    default:
      OnDrainCopied(nic, q, done.status);
      break;
  }
  if (q.ending.transport_done && q.host_memory.dma_outstanding == 0) FinishOrderlyClose(nic, q);
}

}  // namespace

bool ServiceDma(const Nic& nic) {
  DmaCompletion done;
  if (nic.hardware.DmaPoll(&done) == 0) return false;
  const uint32_t index = (done.tag & 0xffffffu) - 1;
  const Tag kind = static_cast<Tag>(done.tag >> 24);
  const uint32_t owner = OwnerOf(nic, kind, index);
  if (owner != kNone) {
    OnQueuePairDma(nic, nic.qp(owner), kind, index, done);
  } else if (kind == Tag::kCommand) {
    OnCommandDma(nic, done.status);
  } else if (kind == Tag::kFragment) {
    OnFragmentDma(nic, index, done.status);
  } else if (kind == Tag::kAnswer) {
    OnAnswerFetched(nic, index, done);
  }
  return true;
}

}  // namespace qpip::fw

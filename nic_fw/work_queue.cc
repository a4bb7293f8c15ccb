#include "nic_fw/work_queue.h"

namespace qpip::fw {

uint32_t FetchableEntries(const Nic& nic, const WorkQueue& queue, uint32_t from) {
  const uint32_t mask = (1u << queue.log2_depth) - 1;
  uint32_t count = queue.producer - from;
  const uint32_t fits = nic.state.config.wqe_cache_bytes >> queue.log2_stride;
  const uint32_t to_end = mask + 1 - (from & mask);
  if (count > nic.state.config.wqe_prefetch) count = nic.state.config.wqe_prefetch;
  if (count > fits) count = fits;
  return count < to_end ? count : to_end;
}

void FetchEntries(const Nic& nic, WorkQueue& queue, HostMemoryUse& use, uint32_t from, Tag kind) {
  if (queue.window.fetching != 0) return;
  const uint32_t mask = (1u << queue.log2_depth) - 1;
  const uint32_t count = FetchableEntries(nic, queue, from);
  queue.window = {from, 0, count};
  ++use.dma_outstanding;
  nic.hardware.DmaRead(queue.ring + (uint64_t{from & mask} << queue.log2_stride),
                       nic.base + queue.cache, count << queue.log2_stride,
                       MakeTag(kind, queue.owner));
}

void OnEntriesFetched(WorkQueue& queue, HostMemoryUse& use) {
  QPIP_ASSERT(use.dma_outstanding != 0 && queue.window.fetching != 0);
  --use.dma_outstanding;
  queue.window.count = queue.window.fetching;
  queue.window.fetching = 0;
}

bool FetchedAtOnce(const Nic& nic, WorkQueue& queue, HostMemoryUse& use, uint32_t* status) {
  DmaCompletion done;
  if (!nic.hardware.DmaAtOnce() || nic.hardware.DmaPoll(&done) == 0) return false;
  // Handlers leave nothing behind that they have started (FinishDma): this is what was started now.
  QPIP_ASSERT((done.tag & 0xffffff) == queue.owner + 1);
  OnEntriesFetched(queue, use);
  *status = done.status;
  return true;
}

}  // namespace qpip::fw

// Work queues: fetching entries from the ring in host memory into the cache in SRAM.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// Entries from index `from` on that one transfer can fetch: posted, as many as fit the cache, not
/// wrapping.
uint32_t FetchableEntries(const Nic& nic, const WorkQueue& queue, uint32_t from);

/// Starts fetching them, unless a fetch is under way. Its completion bears `kind` and the owner.
void FetchEntries(const Nic& nic, WorkQueue& queue, HostMemoryUse& use, uint32_t from, Tag kind);

/// That fetch is complete.
void OnEntriesFetched(WorkQueue& queue, HostMemoryUse& use);

/// Whether that fetch was over when it had been started, and how it ended. It is complete then.
bool FetchedAtOnce(const Nic& nic, WorkQueue& queue, HostMemoryUse& use, uint32_t* status);

/// The entry `index`, which the cached window holds.
inline const void* CachedEntry(const Nic& nic, const WorkQueue& queue, uint32_t index) {
  return nic.base + queue.cache + ((index - queue.window.first) << queue.log2_stride);
}

}  // namespace qpip::fw

// Memory windows, verbs' type 2: a key that a work request gives to a part of a region, with rights
// of its own, for the peer of that work request's queue pair; that the peer's Send or another work
// request takes back, and that may be given again.
//
//     kAllocateWindow ──> dead ── kBindWindow ──> bound ── invalidated by either end ──> dead
//
// A window is a slot of the table of regions, so whoever checks access need not know of it. Its key
// is no key for lists of this end.
#pragma once

#include "nic_fw/abi/work_queue.h"
#include "nic_fw/remote_access.h"

namespace qpip::fw {

/// kAllocateWindow. False: the table is full.
bool AllocateWindow(const Nic& nic, uint32_t protection_domain, uint32_t* index);
/// The window that has, or has had, `key`; nullptr: there is none.
Region* FindWindow(const Nic& nic, uint32_t key);
/// Carries out a kBindWindow of `stream`'s. False: it may not be: the window is bound or another
/// domain's, the region is another's or does not allow it, the range is not the region's.
bool BindWindow(const Nic& nic, const StreamOf& stream, const abi::SendWqe& wqe);
/// The region in `slot` goes: so do the windows that are bound to it.
void UnbindWindowsOf(const Nic& nic, uint32_t slot);

}  // namespace qpip::fw

// Small frames that wait for a neighbour's link address, so that no SYN is lost.
#pragma once

#include "nic_fw/link_state.h"

namespace qpip::fw {

/// Keeps a copy of a frame until the address of the neighbour at `index` is known; of too many for
/// one neighbour the oldest is lost (RFC 4861 7.2.2). False when it is too long, when it has no
/// bytes, or when there is no place.
bool KeepWaiting(const Nic& nic, uint32_t index, const uint8_t* bytes, uint32_t length);

/// Sends those that wait for the neighbour at `index`, the oldest first.
void SendWaiting(const Nic& nic, uint32_t index);

/// Drops them, counted.
void DropWaiting(const Nic& nic, uint32_t index);

}  // namespace qpip::fw

// The table of neighbours: a hash of addresses, and whose place a new one may take.
//
// A neighbour that is being asked keeps its place until it has answered or has not; one that was
// asked lately keeps it for RetransTimer, or it could be asked again too soon (RFC 4861 7.2.2). Of
// the others the least recently used one goes: one that does not answer before one that nobody here
// talks to, and that before one in use.
// At most half of the table is for addresses that have not answered yet, and half of that for those
// that only strangers want: so nobody who makes addresses up drives out those that are known (RFC
// 6583 section 6.1).
#pragma once

#include "nic_fw/link_state.h"

namespace qpip::fw {

/// Makes all entries free. Once, when the arena has been formatted.
void FormatNeighbours(const Nic& nic);

/// The entry of `address`, or kNone.
uint32_t FindNeighbour(const Nic& nic, const ipv6::Address& address);

/// Who wants a new entry.
enum class NeighbourWish : uint8_t {
  kKnown,     ///< it has told its link address, unasked: takes the place of none that is in use
  kAsked,     ///< this NIC's host sends to it
  kProvoked,  ///< this NIC's own answer goes to it: a stranger chose the address
};

/// A new entry for `address`, which has none; its state is still kFree, and SetNeighbourState is
/// called next. kNone: there is no place now.
uint32_t NewNeighbour(const Nic& nic, const ipv6::Address& address, NeighbourWish wish);

/// The one place where a neighbour changes state; traced. Files the state's deadline. kFree:
/// nothing may wait for it.
void SetNeighbourState(const Nic& nic, uint32_t index, NeighbourState state, uint64_t deadline);

/// It is being asked now.
void NoteSolicitation(const Nic& nic, Neighbour& n);

/// It has been sent to.
void TouchNeighbour(const Nic& nic, uint32_t index);

}  // namespace qpip::fw

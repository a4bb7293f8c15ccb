// Neighbour discovery on an Ethernet link (RFC 4861), and the use of the NIC's address on it
// (RFC 4862 section 5.4). On a point-to-point link there is none of this, and no table for it.
//
//     frame for fd00::9 --> NextHop --> Neighbour --> link address        -> frame_send
//                           routes,     INCOMPLETE --> pending, or blocked
//                           prefixes,   STALE      --> DELAY --> PROBE --> REACHABLE, or gone
//                           routers
//
// A small frame waits here for its neighbour's address (a SYN is not lost); one with a payload is
// answered as by a full wire, and its queue pair tries again.
#pragma once

#include "nic_fw/received_packet.h"
#include "nic_fw/state.h"
#include "protocols/icmpv6/neighbour.h"

namespace qpip::fw {

/// RFC 4861 section 7.3.2.
enum class NeighbourState : uint8_t {
  kFree = 0,        ///< no entry
  kIncomplete = 1,  ///< its address is being asked for
  kReachable = 2,   ///< heard from lately
  kStale = 3,       ///< nothing known of late; nothing sent either
  kDelay = 4,       ///< sent to; an upper layer may confirm it meanwhile
  kProbe = 5,       ///< being asked directly
};

struct Neighbour {
  ipv6::Address address;
  uint64_t deadline = 0;  ///< when its state wants attention; tcp::kNever: not
  uint64_t used_at = 0;
  icmpv6::LinkAddress link = {};
  NeighbourState state = NeighbourState::kFree;
  uint8_t probes = 0;  ///< solicitations sent in this state
};

/// A frame that waits for its neighbour's link address.
struct PendingFrame {
  static constexpr uint32_t kBytes = 128;  ///< SYN with all options
  uint32_t neighbour = kNone;              ///< kNone: free
  uint32_t order = 0;
  uint32_t length = 0;
  uint8_t bytes[kBytes] = {};
};

struct DefaultRouter {
  ipv6::Address address;  ///< unspecified: free
  uint64_t expires_at = 0;
  bool failed = false;  ///< did not answer; others are preferred
};

struct OnLinkPrefix {
  ipv6::Address prefix;
  uint64_t expires_at = 0;  ///< 0: free
  uint8_t length = 0;
};

/// Life of the NIC's own address on the link.
enum class AddressState : uint8_t {
  kTentative = 0,  ///< duplicates are being looked for: not used
  kPreferred = 1,
  kDuplicate = 2,  ///< somebody else has it: never used
};

inline constexpr uint32_t kMaxPending = 16;
inline constexpr uint32_t kMaxRouters = 4;
inline constexpr uint32_t kMaxOnLinkPrefixes = 8;

/// At FirmwareState::neighbour_offset; the table of neighbours follows it.
struct LinkState {
  uint64_t next_deadline = 0;  ///< earliest of all below
  uint64_t address_deadline = 0;
  uint64_t router_deadline = 0;  ///< next router solicitation
  /// Until then a packet without a route may wait for the first router's answer.
  uint64_t routers_awaited_until = 0;
  uint32_t reachable_ms = 30000;
  uint32_t retransmit_ms = 1000;
  uint32_t configured_mtu = 0;
  uint32_t incomplete = 0;  ///< neighbours in this state
  uint32_t probing = 0;     ///< neighbours in kDelay or kProbe
  uint32_t pending_order = 0;
  AddressState address_state = AddressState::kTentative;
  uint8_t address_probes = 0;
  uint8_t router_solicitations = 0;  ///< still to be sent
  DefaultRouter routers[kMaxRouters];
  OnLinkPrefix prefixes[kMaxOnLinkPrefixes];
  PendingFrame pending[kMaxPending];
};

inline bool OnEthernet(const Nic& nic) { return nic.state.config.link.type == kLinkEthernet; }
inline LinkState& LinkOf(const Nic& nic) {
  return *nic.Table<LinkState>(nic.state.neighbour_offset);
}
inline Neighbour& NeighbourAt(const Nic& nic, uint32_t index) {
  return nic.Table<Neighbour>(nic.state.neighbour_offset +
                              static_cast<uint32_t>(sizeof(LinkState)))[index];
}

/// What is to become of an outgoing frame.
enum class LinkAnswer : uint8_t {
  kReady,        ///< `link` is filled in
  kQueued,       ///< copied; goes out when the address is known
  kWait,         ///< try again later
  kUnreachable,  ///< no route, or the NIC's own address may not be used
};

/// Finds the link address for a frame. `small_length`: its bytes when it has no payload behind
/// them, so that it can be kept; 0 otherwise. Only on Ethernet.
LinkAnswer ResolveLink(const Nic& nic, const uint8_t* frame, uint32_t small_length, uint8_t* link);

/// Whom a packet is handed to on this link (RFC 4861 5.2): the longest match of static routes, own
/// prefix and advertised prefixes, else a default router. Returns false when there is none.
bool NextHop(const Nic& nic, const ipv6::Address& destination, ipv6::Address* next);

/// Whether a packet to this address is for this NIC, and whether the address may be used for
/// anything but neighbour discovery. Only on Ethernet.
bool IsForUs(const Nic& nic, const ipv6::Address& destination);
bool AddressUsable(const Nic& nic);

/// Takes a neighbour discovery message whose checksum is right; the frame stays the caller's.
void OnNeighbourDiscovery(const Nic& nic, const ReceivedPacket& packet);

/// New data was acknowledged from there: the way to it works (RFC 4861 7.3.1).
void ConfirmNeighbour(const Nic& nic, const ipv6::Address& source);

/// Starts to use the link. Once, when the arena has been formatted.
void StartLink(const Nic& nic);
/// Does what is due. Returns false when nothing was. `*lost`: a neighbour that did not answer and
/// is forgotten, or the unspecified address.
bool ServiceNeighbours(const Nic& nic, ipv6::Address* lost);
/// When something will be due; tcp::kNever on a point-to-point link.
uint64_t NeighbourDeadline(const Nic& nic);

}  // namespace qpip::fw

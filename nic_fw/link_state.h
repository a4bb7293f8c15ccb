// What the firmware keeps of an Ethernet link: its own address there, the neighbours, the routers
// and prefixes that were advertised, and the frames that wait. On a point-to-point link there is
// none of this.
#pragma once

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
  uint64_t deadline = tcp::kNever;  ///< when its state wants attention; tcp::kNever: not
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

/// One, at Tables::link.
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
inline LinkState& LinkOf(const Nic& nic) { return *nic.Table(nic.state.tables.link); }
inline Neighbour& NeighbourAt(const Nic& nic, uint32_t index) {
  return nic.Table(nic.state.tables.neighbours)[index];
}

inline constexpr uint64_t kLinkMs = 1000000;  ///< in nanoseconds
inline constexpr uint64_t kLinkSecond = 1000 * kLinkMs;

inline uint64_t Earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

/// Something is due at `deadline` now: the summary must not be later.
inline void Hasten(LinkState& link, uint64_t deadline) {
  link.next_deadline = Earlier(link.next_deadline, deadline);
}

/// RetransTimer (RFC 4861 section 10), nanoseconds.
inline uint64_t RetransmitNs(const LinkState& link) { return link.retransmit_ms * kLinkMs; }

}  // namespace qpip::fw

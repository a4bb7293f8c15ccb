// What the firmware keeps of an Ethernet link: its own address there, the neighbours, the routers
// and prefixes that were advertised, and the packets that wait. On a point-to-point link there is
// none of this.
#pragma once

#include <bit>

#include "nic_fw/state.h"
#include "protocols/icmpv6/neighbour.h"

namespace qpip::fw {

/// RFC 4861 section 7.3.2.
enum class NeighbourState : uint8_t {
  kFree = 0,         ///< no entry
  kIncomplete = 1,   ///< its address is being asked for
  kReachable = 2,    ///< heard from lately
  kStale = 3,        ///< nothing known of late; nothing sent either
  kDelay = 4,        ///< sent to; an upper layer may confirm it meanwhile
  kProbe = 5,        ///< being asked directly
  kUnreachable = 6,  ///< has not answered: nobody is asked for it again until `deadline`
};

/// Whether the link address of a neighbour in this state is known.
constexpr bool HasLinkAddress(NeighbourState state) {
  return state != NeighbourState::kFree && state != NeighbourState::kIncomplete &&
         state != NeighbourState::kUnreachable;
}

/// An entry of the neighbour table (neighbour_table.h).
struct Neighbour {
  ipv6::Address address;
  uint64_t deadline = tcp::kNever;  ///< when its state wants attention; tcp::kNever: not
  Link order;                       ///< free, or among those whose place another may take
  List waiting;                     ///< packets, while it is kIncomplete
  uint32_t next = kNone;            ///< of its hash bucket
  uint32_t solicited_ms = 0;        ///< when, modulo 2^32; with `solicited`
  icmpv6::LinkAddress link = {};
  NeighbourState state = NeighbourState::kFree;
  uint8_t probes = 0;  ///< solicitations sent in this state
  bool solicited = false;
};
static_assert(sizeof(Neighbour) == 64, "docs/architecture.md says so");

/// A packet that waits for its neighbour's link address, or for a route.
struct WaitingPacket {
  static constexpr uint32_t kBytes = 128;  ///< SYN with all options
  Link link;                     ///< free, its neighbour's, without a route, undeliverable
  Link age;                      ///< all that wait, the oldest first
  uint32_t neighbour = kNone;    ///< kNone: no route is known
  uint32_t payload = 0;          ///< behind the header, the NIC's own; 0: none
  uint32_t segment_size = 0;     ///< as FrameOut's
  uint8_t unreachable_code = 0;  ///< undeliverable: ICMPv6 code
  uint8_t header_length = 0;
  bool provoked = false;  ///< answers a stranger: gives way to what the host has sent
  uint8_t header[kBytes] = {};
};

struct DefaultRouter {
  ipv6::Address address;  ///< unspecified: free
  uint64_t expires_at = 0;
  uint64_t heard_at = 0;  ///< its last advertisement
  bool failed = false;    ///< did not answer; others are preferred
  bool proven = false;    ///< has answered, or forwarded what was acknowledged
};

struct OnLinkPrefix {
  ipv6::Address prefix;
  uint64_t expires_at = 0;  ///< 0: free
  uint64_t heard_at = 0;    ///< its last advertisement
  uint8_t length = 0;
};

/// Life of the NIC's own address on the link.
enum class AddressState : uint8_t {
  kTentative = 0,  ///< duplicates are being looked for: not used
  kPreferred = 1,
  kDuplicate = 2,  ///< somebody else has it: never used
};

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
  uint32_t found = 0;       ///< the neighbour that was looked for last
  AddressState address_state = AddressState::kTentative;
  uint8_t address_probes = 0;
  uint8_t router_solicitations = 0;  ///< still to be sent
  DefaultRouter routers[kMaxRouters];
  OnLinkPrefix prefixes[kMaxOnLinkPrefixes];

  // Neighbours, the least recently used first. One that is being asked (kIncomplete, kProbe) is on
  // no list: nobody takes its place.
  List free_neighbours;
  List silent_neighbours;  ///< kUnreachable
  List idle_neighbours;    ///< kStale
  List used_neighbours;    ///< kReachable, kDelay

  // Packets.
  List free_packets;
  List waiting;        ///< by age
  List without_route;  ///< until `routers_awaited_until`
  List undeliverable;  ///< their senders are to be told
};

inline bool OnEthernet(const Nic& nic) { return nic.state.config.link.type == kLinkEthernet; }
inline LinkState& LinkOf(const Nic& nic) { return *nic.Table(nic.state.tables.link); }
inline Neighbour& NeighbourAt(const Nic& nic, uint32_t index) {
  return nic.Table(nic.state.tables.neighbours)[index];
}
inline WaitingPacket& WaitingAt(const Nic& nic, uint32_t index) {
  return nic.Table(nic.state.tables.waiting_packets)[index];
}
constexpr uint32_t NeighbourBuckets(const LinkConfig& link) {
  return std::bit_ceil(uint32_t{link.max_neighbours});
}
/// Packets that may wait, all neighbours together.
constexpr uint32_t WaitingPackets(const LinkConfig& link) {
  const uint32_t wish = link.max_neighbours / 4u;
  return wish < 16 ? 16 : wish > 256 ? 256 : wish;
}

// How to reach the links of neighbours and packets (list.h).
struct NeighbourLink {
  const Nic& nic;
  Link& operator()(uint32_t index) const { return NeighbourAt(nic, index).order; }
};
struct WaitingLink {
  const Nic& nic;
  Link& operator()(uint32_t index) const { return WaitingAt(nic, index).link; }
};
struct WaitingAgeLink {
  const Nic& nic;
  Link& operator()(uint32_t index) const { return WaitingAt(nic, index).age; }
};

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

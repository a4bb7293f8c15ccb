#include "nic_fw/neighbour_cache.h"

#include <cstring>

#include "nic_fw/neighbour_messages.h"
#include "nic_fw/neighbour_table.h"
#include "nic_fw/routes.h"
#include "nic_fw/waiting_packets.h"
#include "protocols/icmpv6/message.h"
#include "protocols/ipv6/header.h"
#include "protocols/tcp/header.h"

namespace qpip::fw {
namespace {

using icmpv6::LinkAddress;
using icmpv6::NeighbourMessage;

// RFC 4861 section 10.
constexpr uint8_t kMaxMulticastSolicit = 3;
constexpr uint8_t kMaxUnicastSolicit = 3;
constexpr uint64_t kDelayFirstProbe = 5 * kLinkSecond;
/// How long an address that nobody has is left alone. The RFC has no number; as long as the
/// questions took.
constexpr uint64_t kUnreachableNs = 3 * kLinkSecond;

bool IsProbing(NeighbourState state) {
  return state == NeighbourState::kDelay || state == NeighbourState::kProbe;
}

// ---------------------------------------------------------------- reachability

/// ReachableTime: half to one and a half times the base (RFC 4861 6.3.2).
uint64_t ReachableNs(const Nic& nic, const LinkState& link) {
  const uint64_t random = nic.hardware.Random() & 1023;
  return link.reachable_ms * (512 + random) / 1024 * kLinkMs;
}

void SetReachable(const Nic& nic, uint32_t index) {
  LinkState& link = LinkOf(nic);
  SetNeighbourState(nic, index, NeighbourState::kReachable, nic.now + ReachableNs(nic, link));
  DefaultRouter* router = FindRouter(link, NeighbourAt(nic, index).address);
  if (router == nullptr) return;
  router->failed = false;
  router->proven = true;
}

/// Its address is known from now on.
void Learn(const Nic& nic, uint32_t index, const LinkAddress& address, bool confirmed) {
  NeighbourAt(nic, index).link = address;
  if (confirmed) {
    SetReachable(nic, index);
  } else {
    SetNeighbourState(nic, index, NeighbourState::kStale, tcp::kNever);
  }
  SendWaiting(nic, index);
}

/// It did not answer (7.2.2, 7.3.3). Returns its address.
ipv6::Address GiveUp(const Nic& nic, uint32_t index) {
  Neighbour& n = NeighbourAt(nic, index);
  const ipv6::Address address = n.address;
  nic.Count(abi::NicCounter::kNeighboursUnreachable);
  n.solicited = false;  // RetransTimer has passed since
  if (n.state == NeighbourState::kIncomplete) {
    FailWaiting(nic, index, icmpv6::kAddress);
    SetNeighbourState(nic, index, NeighbourState::kUnreachable, nic.now + kUnreachableNs);
  } else {
    SetNeighbourState(nic, index, NeighbourState::kFree, tcp::kNever);
  }
  DefaultRouter* router = FindRouter(LinkOf(nic), address);
  if (router != nullptr) {
    router->failed = true;
    router->proven = false;
  }
  return address;
}

/// Whether a packet answers something that a stranger has sent, by this NIC's own doing: who the
/// answer goes to is the stranger's choice.
bool IsProvoked(const uint8_t* header, uint32_t length) {
  constexpr uint32_t kFlags = ipv6::kHeaderBytes + tcp::offset::kFlags;
  uint8_t protocol = header[ipv6::offset::kNextHeader];
  if (protocol == ipv6::kFragment && length > ipv6::kHeaderBytes) {
    protocol = header[ipv6::kHeaderBytes];  // of a datagram, or of an echo reply
  }
  if (protocol != ipv6::kTcp || length <= kFlags) return protocol == ipv6::kIcmpv6;
  const uint8_t flags = header[kFlags];
  return (flags & tcp::kRst) != 0 || (flags & (tcp::kSyn | tcp::kAck)) == (tcp::kSyn | tcp::kAck);
}

/// The entry that a packet to `next` needs; a new one is asked for at once.
uint32_t EntryFor(const Nic& nic, const ipv6::Address& next, NeighbourWish wish) {
  uint32_t index = FindNeighbour(nic, next);
  if (index != kNone) return index;
  index = NewNeighbour(nic, next, wish);
  if (index != kNone) SetNeighbourState(nic, index, NeighbourState::kIncomplete, nic.now);
  return index;
}

}  // namespace

LinkResolution ResolveLink(const Nic& nic, const uint8_t* header, uint32_t header_length) {
  const LinkState& link = LinkOf(nic);
  ipv6::Address destination;
  std::memcpy(destination.bytes, header + ipv6::offset::kDestination, sizeof destination.bytes);
  ipv6::Address next;
  if (link.address_state == AddressState::kDuplicate || destination == OwnAddress(nic)) {
    return {.answer = LinkAnswer::kNoRoute};
  }
  if (link.address_state == AddressState::kTentative) return {.answer = LinkAnswer::kWait};
  const bool provoked = IsProvoked(header, header_length);
  if (!NextHop(nic, destination, &next)) {
    const bool awaited = nic.now < link.routers_awaited_until;
    return {.answer = awaited ? LinkAnswer::kNoRouteYet : LinkAnswer::kNoRoute,
            .provoked = provoked};
  }
  const uint32_t index =
      EntryFor(nic, next, provoked ? NeighbourWish::kProvoked : NeighbourWish::kAsked);
  if (index == kNone) return {.answer = LinkAnswer::kNoPlace};
  const Neighbour& n = NeighbourAt(nic, index);
  if (n.state == NeighbourState::kIncomplete) return {LinkAnswer::kResolving, index, {}, provoked};
  if (n.state == NeighbourState::kUnreachable) return {.answer = LinkAnswer::kUnreachable};
  if (n.state == NeighbourState::kStale) {
    SetNeighbourState(nic, index, NeighbourState::kDelay, nic.now + kDelayFirstProbe);
  } else {
    TouchNeighbour(nic, index);
  }
  return {LinkAnswer::kReady, index, n.link};
}

void LearnFromSource(const Nic& nic, const ipv6::Address& source, const LinkAddress& address) {
  uint32_t index = FindNeighbour(nic, source);
  if (index == kNone) {
    index = NewNeighbour(nic, source, NeighbourWish::kKnown);
    if (index == kNone) return;
  } else {
    const Neighbour& n = NeighbourAt(nic, index);
    if (HasLinkAddress(n.state) && n.link == address) return;
  }
  Learn(nic, index, address, false);
}

// RFC 4861 7.2.5.
void OnNeighbourAdvertisement(const Nic& nic, const NeighbourMessage& message) {
  LinkState& link = LinkOf(nic);
  const uint32_t index = FindNeighbour(nic, message.target);
  if (index == kNone) return;
  const Neighbour& n = NeighbourAt(nic, index);
  const bool incomplete = !HasLinkAddress(n.state);
  if (incomplete && !message.has_target_link) return;
  const bool other = message.has_target_link && !(message.target_link == n.link);
  if (other && !incomplete && !message.override_entry) {
    if (n.state == NeighbourState::kReachable) {
      SetNeighbourState(nic, index, NeighbourState::kStale, tcp::kNever);
    }
    return;
  }
  // What is ignored, as that was, says nothing of its being a router either.
  if (!message.router) {
    DefaultRouter* router = FindRouter(link, message.target);
    if (router != nullptr) *router = DefaultRouter{};  // a router no more
  }
  if (incomplete) {
    Learn(nic, index, message.target_link, message.solicited);
    return;
  }
  if (message.solicited) {
    Learn(nic, index, other ? message.target_link : n.link, true);
  } else if (other) {
    Learn(nic, index, message.target_link, false);
  }
}

void ConfirmNeighbour(const Nic& nic, const ipv6::Address& source) {
  if (!OnEthernet(nic) || LinkOf(nic).probing == 0) return;
  ipv6::Address next;
  if (!NextHop(nic, source, &next)) return;
  const uint32_t index = FindNeighbour(nic, next);
  if (index == kNone) return;
  const NeighbourState state = NeighbourAt(nic, index).state;
  if (IsProbing(state)) SetReachable(nic, index);
}

void RouteWaiting(const Nic& nic) {
  LinkState& link = LinkOf(nic);
  for (uint32_t left = link.without_route.count; left > 0; --left) {
    const uint32_t packet = link.without_route.head;
    ipv6::Address destination, next;
    std::memcpy(destination.bytes, WaitingAt(nic, packet).header + ipv6::offset::kDestination, 16);
    const bool routed = NextHop(nic, destination, &next);
    const bool provoked = WaitingAt(nic, packet).provoked;
    const NeighbourWish wish = provoked ? NeighbourWish::kProvoked : NeighbourWish::kAsked;
    const uint32_t index = routed ? EntryFor(nic, next, wish) : kNone;
    MoveToNeighbour(nic, index);  // kNone: still without a route, behind the others
    if (index == kNone) continue;
    const NeighbourState state = NeighbourAt(nic, index).state;
    if (HasLinkAddress(state)) {
      SendWaiting(nic, index);
    } else if (state == NeighbourState::kUnreachable) {
      FailWaiting(nic, index, icmpv6::kAddress);
    }
  }
}

ipv6::Address ServiceNeighbour(const Nic& nic, uint32_t index) {
  LinkState& link = LinkOf(nic);
  Neighbour& n = NeighbourAt(nic, index);
  switch (n.state) {
    case NeighbourState::kReachable:
      SetNeighbourState(nic, index, NeighbourState::kStale, tcp::kNever);
      return {};
    case NeighbourState::kUnreachable:
      SetNeighbourState(nic, index, NeighbourState::kFree, tcp::kNever);
      return {};
    case NeighbourState::kDelay:
      SetNeighbourState(nic, index, NeighbourState::kProbe, nic.now);
      break;
    case NeighbourState::kIncomplete:
    case NeighbourState::kProbe:
      break;
    default:
      n.deadline = tcp::kNever;
      return {};
  }
  const uint8_t most =
      n.state == NeighbourState::kProbe ? kMaxUnicastSolicit : kMaxMulticastSolicit;
  if (n.probes >= most) return GiveUp(nic, index);
  ++n.probes;
  n.deadline = nic.now + RetransmitNs(link);
  NoteSolicitation(nic, n);
  SolicitNeighbour(nic, n);
  return {};
}

}  // namespace qpip::fw

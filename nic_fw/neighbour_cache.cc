#include "nic_fw/neighbour_cache.h"

#include <cstring>

#include "nic_fw/neighbour_messages.h"
#include "nic_fw/routes.h"
#include "nic_fw/waiting_frames.h"
#include "protocols/ipv6/header.h"

namespace qpip::fw {
namespace {

using icmpv6::LinkAddress;
using icmpv6::NeighbourMessage;

// RFC 4861 section 10.
constexpr uint8_t kMaxMulticastSolicit = 3;
constexpr uint8_t kMaxUnicastSolicit = 3;
constexpr uint64_t kDelayFirstProbe = 5 * kLinkSecond;

// ---------------------------------------------------------------- the table

bool Counts(NeighbourState state, NeighbourState a, NeighbourState b) {
  return state == a || state == b;
}

/// The one place where a neighbour changes state; traced. Files the state's deadline.
void SetNeighbourState(const Nic& nic, uint32_t index, NeighbourState state, uint64_t deadline) {
  LinkState& link = LinkOf(nic);
  Neighbour& n = NeighbourAt(nic, index);
  if (n.state == NeighbourState::kIncomplete) --link.incomplete;
  if (Counts(n.state, NeighbourState::kDelay, NeighbourState::kProbe)) --link.probing;
  if (n.state != state) {
    nic.Trace(kTraceNeighbourState, index, static_cast<uint32_t>(n.state),
              static_cast<uint32_t>(state));
  }
  n.state = state;
  n.probes = 0;
  n.deadline = deadline;
  if (state == NeighbourState::kIncomplete) ++link.incomplete;
  if (Counts(state, NeighbourState::kDelay, NeighbourState::kProbe)) ++link.probing;
  Hasten(link, deadline);
}

/// How much an entry is missed when it is given up.
uint32_t Worth(const Neighbour& n) {
  switch (n.state) {
    case NeighbourState::kFree:
      return 0;
    case NeighbourState::kStale:
      return 1;
    case NeighbourState::kIncomplete:
      return 2;
    default:
      return 3;
  }
}

/// A new entry for `address`, in place of the one least missed. What only others want (`unasked`)
/// drives out none that is in use: so nobody can empty the table. kNone: no place.
uint32_t NewNeighbour(const Nic& nic, const ipv6::Address& address, bool unasked) {
  uint32_t place = kNone;
  for (uint32_t i = 0; i < nic.state.config.link.max_neighbours; ++i) {
    const Neighbour& n = NeighbourAt(nic, i);
    if (place != kNone) {
      const Neighbour& best = NeighbourAt(nic, place);
      if (Worth(n) > Worth(best) || (Worth(n) == Worth(best) && n.used_at >= best.used_at)) {
        continue;
      }
    }
    place = i;
  }
  if (unasked && Worth(NeighbourAt(nic, place)) > 1) return kNone;
  DropWaiting(nic, place);
  SetNeighbourState(nic, place, NeighbourState::kFree, tcp::kNever);
  NeighbourAt(nic, place).address = address;
  NeighbourAt(nic, place).used_at = nic.now;
  return place;
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
  if (router != nullptr) router->failed = false;
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

/// It did not answer: forgets it (7.3.3). Returns its address.
ipv6::Address GiveUp(const Nic& nic, uint32_t index) {
  const ipv6::Address address = NeighbourAt(nic, index).address;
  nic.Count(abi::NicCounter::kNeighboursUnreachable);
  DropWaiting(nic, index);
  SetNeighbourState(nic, index, NeighbourState::kFree, tcp::kNever);
  DefaultRouter* router = FindRouter(LinkOf(nic), address);
  if (router != nullptr) router->failed = true;
  return address;
}

}  // namespace

uint32_t FindNeighbour(const Nic& nic, const ipv6::Address& address) {
  for (uint32_t i = 0; i < nic.state.config.link.max_neighbours; ++i) {
    const Neighbour& n = NeighbourAt(nic, i);
    if (n.state != NeighbourState::kFree && n.address == address) return i;
  }
  return kNone;
}

LinkAnswer ResolveLink(const Nic& nic, const uint8_t* frame, uint32_t small_length,
                       uint8_t* link_address) {
  LinkState& link = LinkOf(nic);
  ipv6::Address destination;
  std::memcpy(destination.bytes, frame + ipv6::offset::kDestination, sizeof destination.bytes);
  ipv6::Address next;
  if (link.address_state == AddressState::kDuplicate || destination == OwnAddress(nic)) {
    return LinkAnswer::kUnreachable;
  }
  if (!NextHop(nic, destination, &next)) {
    return nic.now < link.routers_awaited_until ? LinkAnswer::kWait : LinkAnswer::kUnreachable;
  }
  uint32_t index = FindNeighbour(nic, next);
  if (index == kNone) {
    index = NewNeighbour(nic, next, false);
    SetNeighbourState(nic, index, NeighbourState::kIncomplete, nic.now);
  }
  Neighbour& n = NeighbourAt(nic, index);
  n.used_at = nic.now;
  if (n.state == NeighbourState::kIncomplete || link.address_state != AddressState::kPreferred) {
    return KeepWaiting(nic, index, frame, small_length) ? LinkAnswer::kQueued : LinkAnswer::kWait;
  }
  if (n.state == NeighbourState::kStale) {
    SetNeighbourState(nic, index, NeighbourState::kDelay, nic.now + kDelayFirstProbe);
  }
  std::memcpy(link_address, n.link.data(), n.link.size());
  return LinkAnswer::kReady;
}

void LearnFromSource(const Nic& nic, const ipv6::Address& source, const LinkAddress& address) {
  uint32_t index = FindNeighbour(nic, source);
  if (index == kNone) {
    index = NewNeighbour(nic, source, true);
    if (index == kNone) return;
  } else {
    const Neighbour& n = NeighbourAt(nic, index);
    if (n.state != NeighbourState::kIncomplete && n.link == address) return;
  }
  Learn(nic, index, address, false);
}

// RFC 4861 7.2.5.
void OnNeighbourAdvertisement(const Nic& nic, const NeighbourMessage& message) {
  LinkState& link = LinkOf(nic);
  const uint32_t index = FindNeighbour(nic, message.target);
  if (index == kNone) return;
  const Neighbour& n = NeighbourAt(nic, index);
  const bool incomplete = n.state == NeighbourState::kIncomplete;
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
  if (Counts(state, NeighbourState::kDelay, NeighbourState::kProbe)) SetReachable(nic, index);
}

void WakeNeighbours(const Nic& nic) {
  for (uint32_t i = 0; i < nic.state.config.link.max_neighbours; ++i) {
    Neighbour& n = NeighbourAt(nic, i);
    if (n.state == NeighbourState::kIncomplete) {
      n.deadline = nic.now;
    } else if (n.state != NeighbourState::kFree) {
      SendWaiting(nic, i);
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
  SolicitNeighbour(nic, n);
  return {};
}

}  // namespace qpip::fw

#include "nic_fw/neighbour.h"

#include <cstring>
#include <span>

#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/icmpv6/message.h"
#include "protocols/ipv6/header.h"

namespace qpip::fw {
namespace {

using icmpv6::LinkAddress;
using icmpv6::NeighbourMessage;

constexpr uint64_t kMs = 1000000;
constexpr uint64_t kSecond = 1000 * kMs;

// RFC 4861 section 10.
constexpr uint8_t kMaxMulticastSolicit = 3;
constexpr uint8_t kMaxUnicastSolicit = 3;
constexpr uint64_t kDelayFirstProbe = 5 * kSecond;
constexpr uint8_t kMaxRouterSolicitations = 3;
constexpr uint64_t kRouterSolicitationInterval = 4 * kSecond;
constexpr uint32_t kMostReachableMs = 3600000;  // 6.2.1
/// A router answers a solicitation within half a second, but says nothing for three seconds after
/// its last advertisement (6.2.6); some time on the way.
constexpr uint64_t kAwaitRouters = 4 * kSecond;
/// Frames that wait for one neighbour.
constexpr uint32_t kPendingPerNeighbour = 3;

LinkAddress OwnLink(const Nic& nic) {
  LinkAddress link;
  std::memcpy(link.data(), nic.state.config.link.mac, link.size());
  return link;
}

uint64_t Earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

/// Something is due at `deadline` now: the summary must not be later.
void Hasten(LinkState& link, uint64_t deadline) {
  link.next_deadline = Earlier(link.next_deadline, deadline);
}

uint64_t RetransmitNs(const LinkState& link) { return link.retransmit_ms * kMs; }

/// ReachableTime: half to one and a half times the base (RFC 4861 6.3.2).
uint64_t ReachableNs(const Nic& nic, const LinkState& link) {
  const uint64_t random = nic.hardware.Random() & 1023;
  return link.reachable_ms * (512 + random) / 1024 * kMs;
}

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

uint32_t FindNeighbour(const Nic& nic, const ipv6::Address& address) {
  for (uint32_t i = 0; i < nic.state.config.link.max_neighbours; ++i) {
    const Neighbour& n = NeighbourAt(nic, i);
    if (n.state != NeighbourState::kFree && n.address == address) return i;
  }
  return kNone;
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

void DropPending(const Nic& nic, uint32_t index) {
  for (PendingFrame& frame : LinkOf(nic).pending) {
    if (frame.neighbour != index) continue;
    frame.neighbour = kNone;
    nic.Drop(abi::DropReason::kNoNeighbour);
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
  DropPending(nic, place);
  SetNeighbourState(nic, place, NeighbourState::kFree, tcp::kNever);
  NeighbourAt(nic, place).address = address;
  NeighbourAt(nic, place).used_at = nic.now;
  return place;
}

// ---------------------------------------------------------------- sending

bool SendFrame(const Nic& nic, const uint8_t* bytes, uint32_t length, const LinkAddress& to) {
  FrameOut out;
  out.header = bytes;
  out.header_length = length;
  std::memcpy(out.link_address, to.data(), to.size());
  uint64_t lease = 0;
  if (nic.hardware.FrameSend(&out, &lease) != kSendOk) return false;
  nic.Count(abi::NicCounter::kFramesSent);
  nic.Count(abi::NicCounter::kBytesSent, length);
  return true;
}

/// Sends a message. One that the wire has no room for is lost; a timer or the peer repeats it.
void SendMessage(const Nic& nic, const NeighbourMessage& message, const ipv6::Address& source,
                 const ipv6::Address& destination, const LinkAddress& to) {
  uint8_t frame[ipv6::kHeaderBytes + icmpv6::kMaxNeighbourMessage];
  const std::span<uint8_t, icmpv6::kMaxNeighbourMessage> body(frame + ipv6::kHeaderBytes,
                                                              icmpv6::kMaxNeighbourMessage);
  const auto length = static_cast<uint32_t>(icmpv6::EmitNeighbour(message, body));
  ipv6::Header ip;
  ip.next_header = ipv6::kIcmpv6;
  ip.hop_limit = icmpv6::kNeighbourHopLimit;
  ip.payload_length = static_cast<uint16_t>(length);
  ip.source = source;
  ip.destination = destination;
  ipv6::Emit(ip, std::span<uint8_t, ipv6::kHeaderBytes>(frame, ipv6::kHeaderBytes));
  const uint16_t sum = ChecksumAdd(std::span<const uint8_t>(body).first(length),
                                   PseudoHeaderSum(source, destination, length, ipv6::kIcmpv6));
  StoreBe16(frame + ipv6::kHeaderBytes + icmpv6::offset::kChecksum, static_cast<uint16_t>(~sum));
  if (SendFrame(nic, frame, static_cast<uint32_t>(ipv6::kHeaderBytes) + length, to)) {
    nic.Count(abi::NicCounter::kNeighbourMessagesSent);
  }
}

/// Asks for `n`'s address, or whether it still has it.
void Solicit(const Nic& nic, const Neighbour& n) {
  NeighbourMessage message;
  message.type = icmpv6::kNeighbourSolicitation;
  message.target = n.address;
  message.has_source_link = true;
  message.source_link = OwnLink(nic);
  if (n.state == NeighbourState::kProbe) {
    SendMessage(nic, message, OwnAddress(nic), n.address, n.link);
  } else {
    const ipv6::Address group = icmpv6::SolicitedNode(n.address);
    SendMessage(nic, message, OwnAddress(nic), group, icmpv6::MulticastLink(group));
  }
}

/// Duplicate address detection's question (RFC 4862 5.4.2).
void SolicitOwnAddress(const Nic& nic) {
  NeighbourMessage message;
  message.type = icmpv6::kNeighbourSolicitation;
  message.target = OwnAddress(nic);
  const ipv6::Address group = icmpv6::SolicitedNode(message.target);
  SendMessage(nic, message, ipv6::Address{}, group, icmpv6::MulticastLink(group));
}

void SolicitRouters(const Nic& nic) {
  NeighbourMessage message;
  message.type = icmpv6::kRouterSolicitation;
  message.has_source_link = true;
  message.source_link = OwnLink(nic);
  SendMessage(nic, message, OwnAddress(nic), icmpv6::kAllRouters,
              icmpv6::MulticastLink(icmpv6::kAllRouters));
}

/// Keeps a frame until `index`'s address is known; of too many the oldest is lost (7.2.2).
bool KeepPending(const Nic& nic, uint32_t index, const uint8_t* bytes, uint32_t length) {
  if (length == 0 || length > PendingFrame::kBytes) return false;
  LinkState& link = LinkOf(nic);
  PendingFrame* place = nullptr;
  PendingFrame* oldest = nullptr;
  uint32_t count = 0;
  for (PendingFrame& frame : link.pending) {
    if (frame.neighbour == kNone) {
      if (place == nullptr) place = &frame;
    } else if (frame.neighbour == index) {
      ++count;
      if (oldest == nullptr || static_cast<int32_t>(frame.order - oldest->order) < 0) {
        oldest = &frame;
      }
    }
  }
  if (count >= kPendingPerNeighbour) {
    nic.Drop(abi::DropReason::kNoNeighbour);
    place = oldest;
  }
  if (place == nullptr) return false;
  place->neighbour = index;
  place->order = link.pending_order++;
  place->length = length;
  std::memcpy(place->bytes, bytes, length);
  return true;
}

void SendPending(const Nic& nic, uint32_t index) {
  LinkState& link = LinkOf(nic);
  for (;;) {
    PendingFrame* oldest = nullptr;
    for (PendingFrame& frame : link.pending) {
      if (frame.neighbour != index) continue;
      if (oldest == nullptr || static_cast<int32_t>(frame.order - oldest->order) < 0) {
        oldest = &frame;
      }
    }
    if (oldest == nullptr) return;
    oldest->neighbour = kNone;
    SendFrame(nic, oldest->bytes, oldest->length, NeighbourAt(nic, index).link);
  }
}

// ---------------------------------------------------------------- routes

bool LongerMatch(const ipv6::Address& destination, const ipv6::Address& prefix, uint32_t length,
                 int32_t* longest) {
  if (static_cast<int32_t>(length) <= *longest ||
      !icmpv6::PrefixMatches(destination, prefix, length)) {
    return false;
  }
  *longest = static_cast<int32_t>(length);
  return true;
}

ipv6::Address ToProtocol(const abi::Ip6Address& address) {
  ipv6::Address out;
  std::memcpy(out.bytes, address.bytes, sizeof out.bytes);
  return out;
}

}  // namespace

bool NextHop(const Nic& nic, const ipv6::Address& destination, ipv6::Address* next) {
  const LinkConfig& config = nic.state.config.link;
  const LinkState& link = LinkOf(nic);
  if (icmpv6::IsLinkLocal(destination)) {
    *next = destination;
    return true;
  }
  int32_t longest = -1;
  if (LongerMatch(destination, OwnAddress(nic), config.prefix_length, &longest)) {
    *next = destination;
  }
  for (const OnLinkPrefix& prefix : link.prefixes) {
    if (prefix.expires_at != 0 &&
        LongerMatch(destination, prefix.prefix, prefix.length, &longest)) {
      *next = destination;
    }
  }
  for (uint32_t i = 0; i < config.route_count; ++i) {
    const StaticRoute& route = config.routes[i];
    if (LongerMatch(destination, ToProtocol(route.prefix), route.length, &longest)) {
      *next = ToProtocol(route.gateway);
    }
  }
  if (longest >= 0) return true;
  const DefaultRouter* chosen = nullptr;
  for (const DefaultRouter& router : link.routers) {
    if (router.address.IsUnspecified()) continue;
    if (chosen == nullptr || (chosen->failed && !router.failed)) chosen = &router;
  }
  if (chosen == nullptr) return false;
  *next = chosen->address;
  return true;
}

namespace {

DefaultRouter* FindRouter(LinkState& link, const ipv6::Address& address) {
  for (DefaultRouter& router : link.routers) {
    if (router.address == address) return &router;
  }
  return nullptr;
}

// ---------------------------------------------------------------- reachability

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
  SendPending(nic, index);
}

/// A message carried its sender's address (7.2.3, 6.3.4): news make the entry stale.
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

/// It did not answer: forgets it (7.3.3). Returns its address.
ipv6::Address GiveUp(const Nic& nic, uint32_t index) {
  const ipv6::Address address = NeighbourAt(nic, index).address;
  nic.Count(abi::NicCounter::kNeighboursUnreachable);
  DropPending(nic, index);
  SetNeighbourState(nic, index, NeighbourState::kFree, tcp::kNever);
  DefaultRouter* router = FindRouter(LinkOf(nic), address);
  if (router != nullptr) router->failed = true;
  return address;
}

/// Returns the neighbour's address if it is given up, the unspecified one otherwise.
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
  Solicit(nic, n);
  return {};
}

// ---------------------------------------------------------------- own address, routers

void SetAddressState(const Nic& nic, AddressState state) {
  LinkState& link = LinkOf(nic);
  nic.Trace(kTraceAddressState, 0, static_cast<uint32_t>(link.address_state),
            static_cast<uint32_t>(state));
  link.address_state = state;
  link.address_deadline = tcp::kNever;
  if (state == AddressState::kDuplicate) {
    nic.Count(abi::NicCounter::kDuplicateAddress);
    return;
  }
  link.router_solicitations = kMaxRouterSolicitations;
  link.router_deadline = nic.now;
  link.routers_awaited_until = nic.now + kAwaitRouters;
  // What was wanted meanwhile goes out, or is asked for now.
  for (uint32_t i = 0; i < nic.state.config.link.max_neighbours; ++i) {
    Neighbour& n = NeighbourAt(nic, i);
    if (n.state == NeighbourState::kIncomplete) {
      n.deadline = nic.now;
    } else if (n.state != NeighbourState::kFree) {
      SendPending(nic, i);
    }
  }
  link.next_deadline = nic.now;
}

void ServiceAddress(const Nic& nic) {
  LinkState& link = LinkOf(nic);
  if (link.address_probes >= nic.state.config.link.dad_transmits) {
    SetAddressState(nic, AddressState::kPreferred);
    return;
  }
  ++link.address_probes;
  link.address_deadline = nic.now + RetransmitNs(link);
  SolicitOwnAddress(nic);
}

void ServiceRouterSolicitation(const Nic& nic) {
  LinkState& link = LinkOf(nic);
  if (link.router_solicitations == 0) {
    link.router_deadline = tcp::kNever;
    return;
  }
  --link.router_solicitations;
  link.router_deadline = nic.now + kRouterSolicitationInterval;
  SolicitRouters(nic);
}

uint64_t Expiry(const Nic& nic, uint32_t seconds) {
  return seconds == icmpv6::kInfinite ? tcp::kNever : nic.now + seconds * kSecond;
}

void LearnRouter(const Nic& nic, const ipv6::Address& address, uint16_t lifetime) {
  LinkState& link = LinkOf(nic);
  DefaultRouter* router = FindRouter(link, address);
  if (lifetime == 0) {
    if (router != nullptr) *router = DefaultRouter{};
    return;
  }
  if (router == nullptr) router = FindRouter(link, ipv6::Address{});
  if (router == nullptr) return;  // as many as we keep
  router->address = address;
  router->expires_at = Expiry(nic, lifetime);
  router->failed = false;
  Hasten(link, router->expires_at);
}

void LearnPrefix(const Nic& nic, const icmpv6::PrefixInformation& information) {
  if (!information.on_link || icmpv6::IsLinkLocal(information.prefix)) return;
  LinkState& link = LinkOf(nic);
  OnLinkPrefix* place = nullptr;
  for (OnLinkPrefix& prefix : link.prefixes) {
    if (prefix.expires_at == 0) {
      if (place == nullptr) place = &prefix;
    } else if (prefix.length == information.length &&
               icmpv6::PrefixMatches(prefix.prefix, information.prefix, prefix.length)) {
      place = &prefix;
      break;
    }
  }
  if (place == nullptr) return;
  if (information.valid_lifetime == 0) {
    if (place->expires_at != 0) *place = OnLinkPrefix{};
    return;
  }
  place->prefix = information.prefix;
  place->length = information.length;
  place->expires_at = Expiry(nic, information.valid_lifetime);
  Hasten(link, place->expires_at);
}

// ---------------------------------------------------------------- messages

// RFC 4861 7.2.3, 7.2.4; RFC 4862 5.4.3.
void OnSolicitation(const Nic& nic, const ipv6::Address& source, const NeighbourMessage& message) {
  LinkState& link = LinkOf(nic);
  if (!(message.target == OwnAddress(nic))) return;
  const bool looks_for_duplicates = source.IsUnspecified();
  if (link.address_state == AddressState::kTentative) {
    // Somebody else is about to take the same address: nobody may.
    if (looks_for_duplicates) SetAddressState(nic, AddressState::kDuplicate);
    return;
  }
  if (link.address_state == AddressState::kDuplicate) return;
  if (!looks_for_duplicates && message.has_source_link) {
    LearnFromSource(nic, source, message.source_link);
  }
  NeighbourMessage answer;
  answer.type = icmpv6::kNeighbourAdvertisement;
  answer.target = message.target;
  answer.solicited = !looks_for_duplicates;
  answer.override_entry = true;
  answer.has_target_link = true;
  answer.target_link = OwnLink(nic);
  if (looks_for_duplicates) {
    SendMessage(nic, answer, OwnAddress(nic), icmpv6::kAllNodes,
                icmpv6::MulticastLink(icmpv6::kAllNodes));
    return;
  }
  const uint32_t index = FindNeighbour(nic, source);
  if (index != kNone && NeighbourAt(nic, index).state != NeighbourState::kIncomplete) {
    SendMessage(nic, answer, OwnAddress(nic), source, NeighbourAt(nic, index).link);
  } else if (message.has_source_link) {
    SendMessage(nic, answer, OwnAddress(nic), source, message.source_link);  // the table is full
  }
}

// RFC 4861 7.2.5; RFC 4862 5.4.4.
void OnAdvertisement(const Nic& nic, const NeighbourMessage& message) {
  LinkState& link = LinkOf(nic);
  if (message.target == OwnAddress(nic)) {
    if (link.address_state == AddressState::kTentative) {
      SetAddressState(nic, AddressState::kDuplicate);
    }
    return;
  }
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

// RFC 4861 6.3.4.
void OnRouterAdvertisement(const Nic& nic, const ipv6::Address& source,
                           const NeighbourMessage& message) {
  LinkState& link = LinkOf(nic);
  NicConfig& config = nic.state.config;
  link.router_solicitations = 0;
  link.routers_awaited_until = 0;
  if (message.hop_limit != 0) config.hop_limit = message.hop_limit;
  if (message.reachable_ms != 0 && message.reachable_ms <= kMostReachableMs) {
    link.reachable_ms = message.reachable_ms;
  }
  if (message.retransmit_ms != 0 && message.retransmit_ms <= kMostReachableMs) {
    link.retransmit_ms = message.retransmit_ms;
  }
  if (message.has_mtu && message.mtu >= ipv6::kMinMtu) {
    config.mtu = message.mtu < link.configured_mtu ? message.mtu : link.configured_mtu;
  }
  LearnRouter(nic, source, message.router_lifetime);
  for (uint32_t i = 0; i < message.prefix_count; ++i) LearnPrefix(nic, message.prefixes[i]);
  if (message.has_source_link) LearnFromSource(nic, source, message.source_link);
}

/// The earliest deadline of all; what has expired is forgotten.
uint64_t ExpireAndSummarise(const Nic& nic) {
  LinkState& link = LinkOf(nic);
  uint64_t next = Earlier(link.address_deadline, link.router_deadline);
  for (DefaultRouter& router : link.routers) {
    if (router.address.IsUnspecified()) continue;
    if (router.expires_at <= nic.now) {
      router = DefaultRouter{};
    } else {
      next = Earlier(next, router.expires_at);
    }
  }
  for (OnLinkPrefix& prefix : link.prefixes) {
    if (prefix.expires_at == 0) continue;
    if (prefix.expires_at <= nic.now) {
      prefix = OnLinkPrefix{};
    } else {
      next = Earlier(next, prefix.expires_at);
    }
  }
  // Nobody is asked while the NIC has no address to ask from.
  if (link.address_state != AddressState::kPreferred) return next;
  for (uint32_t i = 0; i < nic.state.config.link.max_neighbours; ++i) {
    const Neighbour& n = NeighbourAt(nic, i);
    if (n.state != NeighbourState::kFree) next = Earlier(next, n.deadline);
  }
  return next;
}

}  // namespace

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
    return KeepPending(nic, index, frame, small_length) ? LinkAnswer::kQueued : LinkAnswer::kWait;
  }
  if (n.state == NeighbourState::kStale) {
    SetNeighbourState(nic, index, NeighbourState::kDelay, nic.now + kDelayFirstProbe);
  }
  std::memcpy(link_address, n.link.data(), n.link.size());
  return LinkAnswer::kReady;
}

bool IsForUs(const Nic& nic, const ipv6::Address& destination) {
  const ipv6::Address own = OwnAddress(nic);
  return destination == own || destination == icmpv6::kAllNodes ||
         destination == icmpv6::SolicitedNode(own);
}

bool AddressUsable(const Nic& nic) { return LinkOf(nic).address_state == AddressState::kPreferred; }

void OnNeighbourDiscovery(const Nic& nic, const ReceivedPacket& packet) {
  const std::span<const uint8_t> bytes = packet.UpperReadable();
  NeighbourMessage message;
  const icmpv6::NeighbourEnvelope envelope = {packet.ip.source, packet.ip.destination,
                                              packet.ip.hop_limit};
  // A message longer than what the core can read is more than this firmware knows what to do with.
  if (bytes.size() < packet.upper.length ||
      icmpv6::ParseNeighbour(bytes, envelope, &message) != icmpv6::NeighbourError::kNone) {
    nic.Drop(abi::DropReason::kBadNeighbourMessage);
    return;
  }
  nic.Count(abi::NicCounter::kNeighbourMessagesReceived);
  switch (message.type) {
    case icmpv6::kNeighbourSolicitation:
      OnSolicitation(nic, packet.ip.source, message);
      break;
    case icmpv6::kNeighbourAdvertisement:
      OnAdvertisement(nic, message);
      break;
    case icmpv6::kRouterAdvertisement:
      OnRouterAdvertisement(nic, packet.ip.source, message);
      break;
    default:
      break;  // a router solicitation: for routers
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

void StartLink(const Nic& nic) {
  if (!OnEthernet(nic)) return;
  LinkState& link = LinkOf(nic);
  link = LinkState{};
  link.configured_mtu = nic.state.config.mtu;
  link.address_deadline = link.next_deadline = nic.now;
  link.router_deadline = tcp::kNever;
  link.routers_awaited_until = tcp::kNever;
  for (uint32_t i = 0; i < nic.state.config.link.max_neighbours; ++i) {
    NeighbourAt(nic, i) = Neighbour{};
    NeighbourAt(nic, i).deadline = tcp::kNever;
  }
}

bool ServiceNeighbours(const Nic& nic, ipv6::Address* lost) {
  *lost = {};
  if (!OnEthernet(nic) || LinkOf(nic).next_deadline > nic.now) return false;
  LinkState& link = LinkOf(nic);
  if (link.address_deadline <= nic.now) ServiceAddress(nic);
  if (link.router_deadline <= nic.now) ServiceRouterSolicitation(nic);
  if (link.address_state == AddressState::kPreferred) {
    for (uint32_t i = 0; i < nic.state.config.link.max_neighbours; ++i) {
      const Neighbour& n = NeighbourAt(nic, i);
      if (n.state == NeighbourState::kFree || n.deadline > nic.now) continue;
      *lost = ServiceNeighbour(nic, i);
      if (lost->IsUnspecified()) continue;
      link.next_deadline = nic.now;  // the others' turn is the next
      return true;
    }
  }
  link.next_deadline = ExpireAndSummarise(nic);
  return true;
}

uint64_t NeighbourDeadline(const Nic& nic) {
  return OnEthernet(nic) ? LinkOf(nic).next_deadline : tcp::kNever;
}

}  // namespace qpip::fw

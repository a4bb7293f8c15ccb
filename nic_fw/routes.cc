#include "nic_fw/routes.h"

#include <cstring>

#include "nic_fw/neighbour_messages.h"
#include "nic_fw/path_mtu.h"
#include "protocols/ipv6/header.h"

namespace qpip::fw {
namespace {

using icmpv6::NeighbourMessage;

// RFC 4861 section 10.
constexpr uint8_t kMaxRouterSolicitations = 3;
constexpr uint64_t kRouterSolicitationInterval = 4 * kLinkSecond;
constexpr uint32_t kMostReachableMs = 3600000;  // 6.2.1
// What a router may say otherwise: anybody can say that he is one. Less than the RFC's own
// RetransTimer would make neighbours fail that are slow, and be asked in floods; hours would let
// nothing fail. With a few hops packets would reach nobody behind a router, for as long as routers
// do not say otherwise, which they need not; hardly any path is of more than 32.
constexpr uint8_t kLeastHopLimit = 32;
constexpr uint32_t kLeastReachableMs = 1000;
constexpr uint32_t kLeastRetransmitMs = 1000;
constexpr uint32_t kMostRetransmitMs = 10000;
/// A router answers a solicitation within half a second, but says nothing for three seconds after
/// its last advertisement (6.2.6); some time on the way.
constexpr uint64_t kAwaitRouters = 4 * kLinkSecond;

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

uint64_t Expiry(const Nic& nic, uint32_t seconds) {
  return seconds == icmpv6::kInfinite ? tcp::kNever : nic.now + seconds * kLinkSecond;
}

uint32_t Clamp(uint32_t value, uint32_t least, uint32_t most) {
  return value < least ? least : value > most ? most : value;
}

/// How much a router is worth: one that has answered is preferred, and one that has not answered is
/// better than none (RFC 4861 6.3.6).
uint32_t Worth(const DefaultRouter& router) { return router.failed ? 0 : router.proven ? 2 : 1; }

/// A place for one more router. When all are taken, one goes that has not shown that it is there,
/// the one that was heard of least recently: whoever makes routers up does not keep one out that
/// is. nullptr: all of them are.
DefaultRouter* PlaceForRouter(LinkState& link) {
  DefaultRouter* place = FindRouter(link, ipv6::Address{});
  if (place != nullptr) return place;
  for (DefaultRouter& router : link.routers) {
    if (Worth(router) == 2) continue;
    const bool better = place == nullptr || Worth(router) < Worth(*place) ||
                        (Worth(router) == Worth(*place) && router.heard_at < place->heard_at);
    if (better) place = &router;
  }
  return place;
}

void LearnRouter(const Nic& nic, const ipv6::Address& address, uint16_t lifetime) {
  LinkState& link = LinkOf(nic);
  DefaultRouter* router = FindRouter(link, address);
  if (lifetime == 0) {
    if (router != nullptr) *router = DefaultRouter{};
    return;
  }
  if (router == nullptr) {
    router = PlaceForRouter(link);
    if (router == nullptr) return;
    *router = DefaultRouter{};
  }
  router->address = address;
  router->expires_at = Expiry(nic, lifetime);
  router->heard_at = nic.now;
  router->failed = false;
  Hasten(link, router->expires_at);
}

void LearnPrefix(const Nic& nic, const icmpv6::PrefixInformation& information) {
  if (!information.on_link || icmpv6::IsLinkLocal(information.prefix)) return;
  LinkState& link = LinkOf(nic);
  OnLinkPrefix* known = nullptr;
  OnLinkPrefix* place = &link.prefixes[0];  // a free one, or the one heard of least recently
  for (OnLinkPrefix& prefix : link.prefixes) {
    if (prefix.heard_at < place->heard_at) place = &prefix;
    if (prefix.expires_at != 0 && prefix.length == information.length &&
        icmpv6::PrefixMatches(prefix.prefix, information.prefix, prefix.length)) {
      known = &prefix;
    }
  }
  if (known != nullptr) place = known;
  if (information.valid_lifetime == 0) {
    if (known != nullptr) *known = OnLinkPrefix{};
    return;
  }
  place->heard_at = nic.now;
  place->prefix = information.prefix;
  place->length = information.length;
  place->expires_at = Expiry(nic, information.valid_lifetime);
  Hasten(link, place->expires_at);
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
    if (chosen == nullptr || Worth(router) > Worth(*chosen)) chosen = &router;
  }
  if (chosen == nullptr) return false;
  *next = chosen->address;
  return true;
}

DefaultRouter* FindRouter(LinkState& link, const ipv6::Address& address) {
  for (DefaultRouter& router : link.routers) {
    if (router.address == address) return &router;
  }
  return nullptr;
}

void StartRouterSolicitation(const Nic& nic) {
  LinkState& link = LinkOf(nic);
  link.router_solicitations = kMaxRouterSolicitations;
  link.router_deadline = nic.now;
  link.routers_awaited_until = nic.now + kAwaitRouters;
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

void OnRouterAdvertisement(const Nic& nic, const ipv6::Address& source,
                           const NeighbourMessage& message) {
  LinkState& link = LinkOf(nic);
  NicConfig& config = nic.state.config;
  if (message.router_lifetime != 0) link.router_solicitations = 0;  // RFC 4861 6.3.7
  link.routers_awaited_until = 0;
  if (message.hop_limit != 0) {
    config.hop_limit = message.hop_limit < kLeastHopLimit ? kLeastHopLimit : message.hop_limit;
  }
  if (message.reachable_ms != 0) {
    link.reachable_ms = Clamp(message.reachable_ms, kLeastReachableMs, kMostReachableMs);
  }
  if (message.retransmit_ms != 0) {
    link.retransmit_ms = Clamp(message.retransmit_ms, kLeastRetransmitMs, kMostRetransmitMs);
  }
  if (message.has_mtu && message.mtu >= ipv6::kMinMtu) {
    const uint32_t mtu = message.mtu < link.configured_mtu ? message.mtu : link.configured_mtu;
    const bool changed = mtu != config.mtu;
    config.mtu = mtu;
    if (changed) OnLinkMtu(nic);
  }
  LearnRouter(nic, source, message.router_lifetime);
  for (uint32_t i = 0; i < message.prefix_count; ++i) LearnPrefix(nic, message.prefixes[i]);
}

uint64_t ExpireRoutes(const Nic& nic) {
  LinkState& link = LinkOf(nic);
  uint64_t next = tcp::kNever;
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
  return next;
}

}  // namespace qpip::fw

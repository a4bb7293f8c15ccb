#include "nic_fw/routes.h"

#include <cstring>

#include "nic_fw/neighbour_messages.h"
#include "protocols/ipv6/header.h"

namespace qpip::fw {
namespace {

using icmpv6::NeighbourMessage;

// RFC 4861 section 10.
constexpr uint8_t kMaxRouterSolicitations = 3;
constexpr uint64_t kRouterSolicitationInterval = 4 * kLinkSecond;
constexpr uint32_t kMostReachableMs = 3600000;  // 6.2.1
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

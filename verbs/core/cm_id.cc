// Identifiers: from creation to an address, and their end.
#include <arpa/inet.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

#include "verbs/core/cm.h"

namespace qpip::verbs {

namespace {

bool IsAny(const in6_addr& address) {
  const in6_addr any = in6addr_any;
  const in6_addr any_ipv4 = {.__in6_u = {.__u6_addr32 = {0, 0, htonl(0xffff), 0}}};
  return std::memcmp(&address, &any, sizeof any) == 0 ||
         std::memcmp(&address, &any_ipv4, sizeof any) == 0;
}

/// librdmacm's own contexts, one a device, for as long as the process runs. A child of fork makes
/// its own.
class Contexts {
 public:
  /// nullptr where the device is not open.
  Context* Find(Device& device) {
    const auto found = contexts_.find(&device);
    return found == contexts_.end() || found->second->opened_by != getpid() ? nullptr
                                                                            : found->second;
  }
  Context* Open(Device& device, const in6_addr* wanted) {
    Context* context = Find(device);
    if (context == nullptr) {
      context = OpenContext(device, wanted);
      contexts_[&device] = context;
    }
    return context;
  }
  std::mutex mutex;

 private:
  std::map<Device*, Context*> contexts_;
};

Contexts& AllContexts() {
  static auto* contexts =
      new Contexts;  // destructors at exit would race with the program's threads
  return *contexts;
}

// "localhost": the NIC of this process, whatever its address. libfabric's verbs asks what there is
// so.
bool IsLoopback(const in6_addr& address) {
  const in6_addr ipv4 = {.__in6_u = {.__u6_addr32 = {0, 0, htonl(0xffff), htonl(INADDR_LOOPBACK)}}};
  return IN6_IS_ADDR_LOOPBACK(&address) || std::memcmp(&address, &ipv4, sizeof ipv4) == 0;
}

bool Has(Context& context, const in6_addr& address) {
  const in6_addr own = context.session->nic().address();
  return std::memcmp(&own, &address, sizeof own) == 0;
}

// The device that has `address`, or can have it; any: the first, and that of a loopback address
// that none has. Throws Error.
Context* ContextFor(const in6_addr& address) {
  Contexts& contexts = AllContexts();
  const std::lock_guard lock(contexts.mutex);
  const bool any = IsAny(address);
  for (Device* device : Devices()) {
    Context* context = contexts.Find(*device);
    if (context == nullptr) {
      const bool automatic = HasAutomaticAddress(device->uri);
      context = contexts.Open(*device, any || !automatic ? nullptr : &address);
    }
    if (any || Has(*context, address)) return context;
  }
  if (IsLoopback(address) && !Devices().empty()) return contexts.Find(*Devices().front());
  throw Error(Devices().empty() ? ENODEV : EADDRNOTAVAIL,
              "bind to " + AddressToString(address) + ": no NIC of " + kNicVariable + " has it");
}

ibv_pd* DefaultPd(Context& context) {
  static std::mutex mutex;
  static auto* pds = new std::map<Context*, Pd*>;
  const std::lock_guard lock(mutex);
  Pd*& pd = (*pds)[&context];
  if (pd == nullptr) pd = AllocatePd(context);
  return &pd->base;
}

void SetContext(CmId& id, Context* context) {
  id.context = context;
  id.base.verbs = context->base();
  id.base.port_num = 1;
  id.base.pd = DefaultPd(*context);
}

}  // namespace

std::optional<Endpoint> EndpointOf(const sockaddr* address) {
  if (address == nullptr) return std::nullopt;
  Endpoint endpoint;
  if (address->sa_family == AF_INET6) {
    sockaddr_in6 ipv6;
    std::memcpy(&ipv6, address, sizeof ipv6);
    endpoint.address = ipv6.sin6_addr;
    endpoint.port = ntohs(ipv6.sin6_port);
    return endpoint;
  }
  if (address->sa_family != AF_INET) return std::nullopt;
  sockaddr_in ipv4;
  std::memcpy(&ipv4, address, sizeof ipv4);
  endpoint.address.s6_addr[10] = 0xff;
  endpoint.address.s6_addr[11] = 0xff;
  std::memcpy(&endpoint.address.s6_addr[12], &ipv4.sin_addr, 4);
  endpoint.port = ntohs(ipv4.sin_port);
  return endpoint;
}

void SetAddress(sockaddr_storage* to, const Endpoint& endpoint) {
  *to = {};
  if (IN6_IS_ADDR_V4MAPPED(&endpoint.address)) {
    sockaddr_in ipv4 = {};
    ipv4.sin_family = AF_INET;
    ipv4.sin_port = htons(endpoint.port);
    std::memcpy(&ipv4.sin_addr, &endpoint.address.s6_addr[12], 4);
    std::memcpy(to, &ipv4, sizeof ipv4);
    return;
  }
  sockaddr_in6 ipv6 = {};
  ipv6.sin6_family = AF_INET6;
  ipv6.sin6_port = htons(endpoint.port);
  ipv6.sin6_addr = endpoint.address;
  std::memcpy(to, &ipv6, sizeof ipv6);
}

std::vector<Context*> CmContexts() {
  Contexts& contexts = AllContexts();
  const std::lock_guard lock(contexts.mutex);
  std::vector<Context*> now;
  for (Device* device : Devices()) now.push_back(contexts.Open(*device, nullptr));
  return now;
}

CmId* CmCreateId(CmChannel* channel, void* context, rdma_port_space space) {
  if (space != RDMA_PS_TCP && space != RDMA_PS_UDP) {
    throw Error(EPROTONOSUPPORT, "create identifier: only RDMA_PS_TCP and RDMA_PS_UDP are there");
  }
  auto id = std::make_shared<CmId>();
  id->self = id;
  if (channel == nullptr) {
    channel = CmCreateChannel();
    id->tail.sync = 1;
  }
  id->base.channel = &channel->base;
  id->base.context = context;
  id->base.ps = space;
  id->base.qp_type = space == RDMA_PS_UDP ? IBV_QPT_UD : IBV_QPT_RC;
  return id.get();
}

void CmDestroyId(CmId& id) {
  // Events that were got and not acknowledged keep the memory.
  const std::shared_ptr<CmId> self = id.self;
  if (id.context == nullptr) {
    id.self.reset();
  } else {
    Session& session = *id.context->session;
    const std::lock_guard lock(session.control());
    if (id.task != nullptr) session.engine().Remove(id.task.get());
    id.task.reset();
    id.self.reset();  // not before the engine is done with it, which makes events of it
    if (id.qp != nullptr) id.qp->on_destroy = nullptr;
    id.listener.reset();
    id.connector.reset();
    id.request.reset();
  }
  CmDropStandIn(id);
  if (id.base.event != nullptr) {
    CmAckEvent(id.base.event);
    id.base.event = nullptr;
  }
  CmForgetEvents(id);
  if (id.sync()) CmDestroyChannel(&Of(id.base.channel));
}

int CmBind(CmId& id, const sockaddr* address) {
  const std::optional<Endpoint> endpoint = EndpointOf(address);
  if (!endpoint) return EAFNOSUPPORT;
  if (id.state != CmState::kIdle) return EINVAL;
  SetContext(id, ContextFor(endpoint->address));
  const bool other = IsLoopback(endpoint->address) && !Has(*id.context, endpoint->address);
  if (other) {  // peers are to be told where this is
    SetAddress(&id.base.route.addr.src_storage,
               {id.context->session->nic().address(), endpoint->port});
  } else {
    const socklen_t length =
        address->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    std::memcpy(&id.base.route.addr.src_storage, address, length);
  }
  if (endpoint->port == 0) {
    // Programs tell it to their peers before they listen. Behind the family in both sorts.
    id.chosen_port = true;
    id.base.route.addr.src_sin.sin_port = htons(id.context->session->ChoosePort());
  }
  id.state = CmState::kBound;
  return 0;
}

int CmResolve(CmId& id, const sockaddr* source, const sockaddr* destination) {
  const std::optional<Endpoint> peer = EndpointOf(destination);
  if (!peer) return EAFNOSUPPORT;
  if (id.state != CmState::kIdle && id.state != CmState::kBound) return EINVAL;
  if (id.state == CmState::kIdle) {
    const std::optional<Endpoint> own = EndpointOf(source);
    SetContext(id, ContextFor(own ? own->address : in6addr_any));
    const uint16_t port = own ? own->port : 0;
    SetAddress(&id.base.route.addr.src_storage, {id.context->session->nic().address(), port});
    id.state = CmState::kBound;
  }
  const socklen_t length =
      destination->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  std::memcpy(&id.base.route.addr.dst_storage, destination, length);
  CmRaise(id, RDMA_CM_EVENT_ADDR_RESOLVED, 0);
  return 0;
}

int CmResolveRoute(CmId& id) {
  const bool resolved = EndpointOf(&id.base.route.addr.dst_addr).has_value();
  if (id.state != CmState::kBound || !resolved) return EINVAL;
  CmRaise(id, RDMA_CM_EVENT_ROUTE_RESOLVED, 0);
  return 0;
}

}  // namespace qpip::verbs

// The functions of librdmacm, as programs call them.
#include <rdma/rdma_cma.h>
#include <rdma/rdma_verbs.h>

#include <cerrno>
#include <cstring>
#include <new>

#include "verbs/core/cm.h"
#include "verbs/core/guard.h"
#include "verbs/librdmacm/result.h"

using namespace qpip::verbs;  // NOLINT(google-build-using-namespace): this file is their C face

namespace {

// What a call that waits on an identifier without a channel of the program's answers: rdma-core's
// functions keep the event, for the program to look at.
int AwaitEvent(rdma_cm_id* base) {
  CmId& id = Of(base);
  if (!id.sync()) return 0;
  if (base->event != nullptr) {
    CmAckEvent(base->event);
    base->event = nullptr;
  }
  if (CmGetEvent(Of(base->channel), &base->event) != 0) return -1;
  const int status = base->event->status;
  if (status == 0) return 0;
  errno = base->event->event == RDMA_CM_EVENT_REJECTED ? ECONNREFUSED : -status;
  return -1;
}

// Calls, and waits for the event where the identifier is to.
template <typename Call>
int CallAndAwait(rdma_cm_id* id, Call call) {
  const int result = Result(call);
  return result != 0 ? result : AwaitEvent(id);
}

qpip::ConstBytes Bytes(const void* data, size_t length) {
  return std::span(static_cast<const std::byte*>(data), data == nullptr ? 0 : length);
}

}  // namespace

extern "C" {

// --- Channels and events.

rdma_event_channel* rdma_create_event_channel() {
  return Pointer(nullptr, [] { return &CmCreateChannel()->base; });
}
void rdma_destroy_event_channel(rdma_event_channel* channel) { CmDestroyChannel(&Of(channel)); }

int rdma_get_cm_event(rdma_event_channel* channel, rdma_cm_event** event) {
  if (event == nullptr) {
    errno = EINVAL;
    return -1;
  }
  return CmGetEvent(Of(channel), event);
}

int rdma_ack_cm_event(rdma_cm_event* event) {
  if (event == nullptr) {
    errno = EINVAL;
    return -1;
  }
  CmAckEvent(event);
  return 0;
}

// --- Identifiers.

int rdma_create_id(rdma_event_channel* channel, rdma_cm_id** id, void* context,
                   rdma_port_space space) {
  return Result([&] {
    *id = &CmCreateId(channel == nullptr ? nullptr : &Of(channel), context, space)->base;
    return 0;
  });
}

int rdma_destroy_id(rdma_cm_id* id) {
  CmDestroyId(Of(id));
  return 0;
}

int rdma_bind_addr(rdma_cm_id* id, sockaddr* address) {
  return Result([&] { return CmBind(Of(id), address); });
}

int rdma_resolve_addr(rdma_cm_id* id, sockaddr* source, sockaddr* destination, int) {
  return CallAndAwait(id, [&] { return CmResolve(Of(id), source, destination); });
}

// There is one route to everywhere.
int rdma_resolve_route(rdma_cm_id* id, int) {
  return CallAndAwait(id, [&] { return CmResolveRoute(Of(id)); });
}

int rdma_migrate_id(rdma_cm_id* id, rdma_event_channel* channel) {
  return Result([&] {
    CmMigrate(Of(id), channel == nullptr ? nullptr : &Of(channel));
    return 0;
  });
}

// Type of service, reuse of addresses and time-outs are the NIC's.
int rdma_set_option(rdma_cm_id* id, int level, int name, void* value, size_t length) {
  if (level != RDMA_OPTION_ID) {
    errno = ENOSYS;
    return -1;
  }
  if (name == RDMA_OPTION_ID_AFONLY && length == sizeof(int)) {
    Of(id).afonly = *static_cast<int*>(value) != 0;
  }
  return 0;
}

__be16 rdma_get_src_port(rdma_cm_id* id) { return id->route.addr.src_sin.sin_port; }
__be16 rdma_get_dst_port(rdma_cm_id* id) { return id->route.addr.dst_sin.sin_port; }

ibv_context** rdma_get_devices(int* count) {
  return Pointer("librdmacm", [&] {
    const auto contexts = CmContexts();
    auto** list = new ibv_context*[contexts.size() + 1];
    for (size_t i = 0; i < contexts.size(); ++i) list[i] = contexts[i]->base();
    list[contexts.size()] = nullptr;
    if (count != nullptr) *count = static_cast<int>(contexts.size());
    return list;
  });
}
void rdma_free_devices(ibv_context** list) { delete[] list; }

// --- Queue pairs.

int rdma_create_qp(rdma_cm_id* id, ibv_pd* pd, ibv_qp_init_attr* attributes) {
  return Result([&] { return CmCreateQp(Of(id), pd, attributes); });
}

int rdma_create_qp_ex(rdma_cm_id* id, ibv_qp_init_attr_ex* attributes) {
  return Result([&] {
    if ((attributes->comp_mask & ~uint32_t{IBV_QP_INIT_ATTR_PD}) != 0) return EOPNOTSUPP;
    ibv_pd* pd = (attributes->comp_mask & IBV_QP_INIT_ATTR_PD) != 0 ? attributes->pd : nullptr;
    // The longer struct begins as the shorter one.
    return CmCreateQp(Of(id), pd, reinterpret_cast<ibv_qp_init_attr*>(attributes));
  });
}

int rdma_create_srq(rdma_cm_id* id, ibv_pd* pd, ibv_srq_init_attr* attributes) {
  return Result([&] { return CmCreateSrq(Of(id), pd, attributes); });
}
void rdma_destroy_srq(rdma_cm_id* id) { CmDestroySrq(Of(id)); }

void rdma_destroy_qp(rdma_cm_id* id) { CmDestroyQp(Of(id)); }

int rdma_init_qp_attr(rdma_cm_id* id, ibv_qp_attr* attributes, int* mask) {
  return Result([&] { return CmInitQpAttributes(Of(id), attributes, mask); });
}

// --- Connections.

int rdma_listen(rdma_cm_id* id, int backlog) {
  return Result([&] { return CmListen(Of(id), backlog); });
}
int rdma_connect(rdma_cm_id* id, rdma_conn_param* parameters) {
  return CallAndAwait(id, [&] { return CmConnect(Of(id), parameters); });
}
int rdma_accept(rdma_cm_id* id, rdma_conn_param* parameters) {
  // A service's answer is all there is: no event follows.
  if (Of(id).datagrams()) return Result([&] { return CmAccept(Of(id), parameters); });
  return CallAndAwait(id, [&] { return CmAccept(Of(id), parameters); });
}
int rdma_reject(rdma_cm_id* id, const void* data, uint8_t length) {
  return Result([&] { return CmReject(Of(id), Bytes(data, length)); });
}
int rdma_disconnect(rdma_cm_id* id) {
  return CallAndAwait(id, [&] { return CmDisconnect(Of(id)); });
}

// The queue pair has had its connection since the peer's answer.
int rdma_establish(rdma_cm_id* id) {
  return Result([&] { return id->qp == nullptr && Of(id).qp != nullptr ? 0 : EINVAL; });
}
int rdma_notify(rdma_cm_id*, ibv_event_type) { return 0; }

int rdma_get_request(rdma_cm_id* listen, rdma_cm_id** out) {
  CmId& listener = Of(listen);
  if (!listener.sync()) {
    errno = EINVAL;
    return -1;
  }
  if (AwaitEvent(listen) != 0) return -1;
  if (listen->event->event != RDMA_CM_EVENT_CONNECT_REQUEST) {
    errno = EINVAL;
    return -1;
  }
  rdma_cm_event* event = listen->event;
  listen->event = nullptr;
  rdma_cm_id* id = event->id;
  const int result = Result([&] {
    if (listener.endpoint_qp.has_value()) {
      ibv_qp_init_attr attributes = *listener.endpoint_qp;
      if (const int error = CmCreateQp(Of(id), listener.endpoint_pd, &attributes); error != 0) {
        return error;
      }
    }
    CmMigrate(Of(id), nullptr);
    return 0;
  });
  if (result != 0) {
    const int error = errno;
    CmAckEvent(event);
    rdma_reject(id, nullptr, 0);
    rdma_destroy_ep(id);
    errno = error;
    return result;
  }
  id->event = event;
  *out = id;
  return 0;
}

// --- Endpoints: identifiers that wait.

int rdma_create_ep(rdma_cm_id** out, rdma_addrinfo* info, ibv_pd* pd,
                   ibv_qp_init_attr* attributes) {
  rdma_cm_id* id;
  if (rdma_create_id(nullptr, &id, nullptr, static_cast<rdma_port_space>(info->ai_port_space)) !=
      0) {
    return -1;
  }
  const bool passive = (info->ai_flags & RAI_PASSIVE) != 0;
  int result = passive ? rdma_bind_addr(id, info->ai_src_addr)
                       : rdma_resolve_addr(id, info->ai_src_addr, info->ai_dst_addr, 2000);
  if (result == 0 && !passive) result = rdma_resolve_route(id, 2000);
  if (result == 0 && attributes != nullptr) {
    attributes->qp_type = static_cast<ibv_qp_type>(info->ai_qp_type);
    if (passive) {
      Of(id).endpoint_qp = *attributes;
      Of(id).endpoint_pd = pd;
    } else {
      result = rdma_create_qp(id, pd, attributes);
    }
  }
  if (result != 0) {
    const int error = errno;
    rdma_destroy_ep(id);
    errno = error;
    return -1;
  }
  *out = id;
  return 0;
}

void rdma_destroy_ep(rdma_cm_id* id) { CmDestroyEndpoint(Of(id)); }

// --- Absent.

int rdma_join_multicast(rdma_cm_id*, sockaddr*, void*) { return Absent(); }
int rdma_join_multicast_ex(rdma_cm_id*, rdma_cm_join_mc_attr_ex*, void*) { return Absent(); }
int rdma_leave_multicast(rdma_cm_id*, sockaddr*) { return Absent(); }
int rdma_create_srq_ex(rdma_cm_id*, ibv_srq_init_attr_ex*) { return Absent(); }
int rdma_reject_ece(rdma_cm_id* id, const void* data, uint8_t length) {
  return rdma_reject(id, data, length);
}
int rdma_set_local_ece(rdma_cm_id*, ibv_ece*) { return Absent(); }
int rdma_get_remote_ece(rdma_cm_id*, ibv_ece*) { return Absent(); }

const char* rdma_event_str(rdma_cm_event_type event) {
  static constexpr const char* kNames[] = {
      "RDMA_CM_EVENT_ADDR_RESOLVED",   "RDMA_CM_EVENT_ADDR_ERROR",
      "RDMA_CM_EVENT_ROUTE_RESOLVED",  "RDMA_CM_EVENT_ROUTE_ERROR",
      "RDMA_CM_EVENT_CONNECT_REQUEST", "RDMA_CM_EVENT_CONNECT_RESPONSE",
      "RDMA_CM_EVENT_CONNECT_ERROR",   "RDMA_CM_EVENT_UNREACHABLE",
      "RDMA_CM_EVENT_REJECTED",        "RDMA_CM_EVENT_ESTABLISHED",
      "RDMA_CM_EVENT_DISCONNECTED",    "RDMA_CM_EVENT_DEVICE_REMOVAL",
      "RDMA_CM_EVENT_MULTICAST_JOIN",  "RDMA_CM_EVENT_MULTICAST_ERROR",
      "RDMA_CM_EVENT_ADDR_CHANGE",     "RDMA_CM_EVENT_TIMEWAIT_EXIT"};
  return static_cast<size_t>(event) < std::size(kNames) ? kNames[event] : "UNKNOWN EVENT";
}

}  // extern "C"

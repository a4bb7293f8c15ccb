// The functions of libibverbs, as programs call them: each finds the object, and turns exceptions
// into errno.
#include <infiniband/verbs.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <new>

#include "verbs/core/completion.h"
#include "verbs/core/context.h"
#include "verbs/core/guard.h"
#include "verbs/core/memory.h"
#include "verbs/core/queue_pair.h"

// Inline forms of the header's that have the names of functions.
#undef ibv_query_port
#undef ibv_reg_mr
#undef ibv_reg_mr_iova

using namespace qpip::verbs;  // NOLINT(google-build-using-namespace): this file is their C face

extern "C" {

// --- Devices.

ibv_device** ibv_get_device_list(int* count) {
  const auto devices = Devices();
  if (count != nullptr) *count = static_cast<int>(devices.size());
  auto** list = new (std::nothrow) ibv_device*[devices.size() + 1];
  if (list == nullptr) {
    errno = ENOMEM;
    return nullptr;
  }
  for (size_t i = 0; i < devices.size(); ++i) list[i] = &devices[i]->base;
  list[devices.size()] = nullptr;
  return list;
}

void ibv_free_device_list(ibv_device** list) { delete[] list; }
const char* ibv_get_device_name(ibv_device* device) { return device->name; }
int ibv_get_device_index(ibv_device* device) { return Of(device).index; }
__be64 ibv_get_device_guid(ibv_device* device) { return htobe64(GuidOf(Of(device))); }

ibv_context* ibv_open_device(ibv_device* device) {
  return Pointer("libibverbs", [&] { return OpenContext(Of(device))->base(); });
}

int ibv_close_device(ibv_context* context) {
  CloseContext(&Of(context));
  return 0;
}

int ibv_query_device(ibv_context* context, ibv_device_attr* attributes) {
  return Number([&] { return QueryDevice(Of(context), attributes); });
}

// The struct of the first interface: without what came behind phys_state.
int ibv_query_port(ibv_context* context, uint8_t port, _compat_ibv_port_attr* attributes) {
  ibv_port_attr all;
  const int error = Number([&] { return QueryPort(Of(context), port, &all); });
  if (error == 0) std::memcpy(attributes, &all, offsetof(ibv_port_attr, link_layer));
  return error;
}

int ibv_query_gid(ibv_context* context, uint8_t port, int index, union ibv_gid* gid) {
  const int error = QueryGid(Of(context), port, index, gid);
  if (error == 0) return 0;
  errno = error;
  return -1;
}

int _ibv_query_gid_ex(ibv_context* context, uint32_t port, uint32_t index, ibv_gid_entry* entry,
                      uint32_t flags, size_t size) {
  return flags != 0 ? EOPNOTSUPP : QueryGidEntry(Of(context), port, index, entry, size);
}

ssize_t _ibv_query_gid_table(ibv_context* context, ibv_gid_entry* entries, size_t count,
                             uint32_t flags, size_t size) {
  if (flags != 0) return -EOPNOTSUPP;
  if (count == 0) return -EINVAL;
  const int error = QueryGidEntry(Of(context), 1, 0, entries, size);
  return error == 0 ? 1 : -error;
}

// As sysfs has it: 0 InfiniBand or RoCE version 1, 1 RoCE version 2.
int ibv_query_gid_type(ibv_context* context, uint8_t port, unsigned index, int* type) {
  ibv_gid_entry entry;
  if (const int error = QueryGidEntry(Of(context), port, index, &entry, sizeof entry); error != 0) {
    errno = error;
    return -1;
  }
  *type = entry.gid_type == IBV_GID_TYPE_ROCE_V2 ? 1 : 0;
  return 0;
}

int ibv_query_pkey(ibv_context*, uint8_t port, int index, __be16* pkey) {
  if (port != 1 || index != 0) {
    errno = EINVAL;
    return -1;
  }
  *pkey = 0xffff;
  return 0;
}

int ibv_get_pkey_index(ibv_context*, uint8_t port, __be16 pkey) {
  if (port == 1 && pkey == 0xffff) return 0;
  errno = EINVAL;
  return -1;
}

int ibv_get_async_event(ibv_context* context, ibv_async_event* event) {
  return Of(context).async_events.Get(event);
}

void ibv_ack_async_event(ibv_async_event* event) {
  if (event->event_type == IBV_EVENT_SRQ_LIMIT_REACHED) {
    ibv_srq* srq = event->element.srq;
    pthread_mutex_lock(&srq->mutex);
    ++srq->events_completed;
    pthread_cond_signal(&srq->cond);
    pthread_mutex_unlock(&srq->mutex);
    return;
  }
  if (event->event_type != IBV_EVENT_QP_FATAL && event->event_type != IBV_EVENT_QP_ACCESS_ERR &&
      event->event_type != IBV_EVENT_QP_REQ_ERR && event->event_type != IBV_EVENT_COMM_EST &&
      event->event_type != IBV_EVENT_QP_LAST_WQE_REACHED) {
    return;
  }
  ibv_qp* qp = event->element.qp;
  pthread_mutex_lock(&qp->mutex);
  ++qp->events_completed;
  pthread_cond_signal(&qp->cond);
  pthread_mutex_unlock(&qp->mutex);
}

// --- Memory.

ibv_pd* ibv_alloc_pd(ibv_context* context) {
  return Pointer(nullptr, [&] { return &AllocatePd(Of(context))->base; });
}

int ibv_dealloc_pd(ibv_pd* pd) {
  if (Of(pd).users.load() != 0) return EBUSY;
  delete &Of(pd);
  return 0;
}

ibv_mr* ibv_reg_mr_iova2(ibv_pd* pd, void* address, size_t length, uint64_t iova, unsigned access) {
  return Pointer(nullptr, [&] {
    return &RegisterMr(Of(pd), address, length, iova, static_cast<int>(access))->base;
  });
}

ibv_mr* ibv_reg_mr(ibv_pd* pd, void* address, size_t length, int access) {
  return ibv_reg_mr_iova2(pd, address, length, reinterpret_cast<uintptr_t>(address),
                          static_cast<unsigned>(access));
}

ibv_mr* ibv_reg_mr_iova(ibv_pd* pd, void* address, size_t length, uint64_t iova, int access) {
  return ibv_reg_mr_iova2(pd, address, length, iova, static_cast<unsigned>(access));
}

int ibv_rereg_mr(ibv_mr* mr, int flags, ibv_pd* pd, void* address, size_t length, int access) {
  return ReregisterMr(Of(mr), flags, pd == nullptr ? nullptr : &Of(pd), address, length, access);
}

int ibv_dereg_mr(ibv_mr* mr) {
  DeregisterMr(&Of(mr));
  return 0;
}

ibv_ah* ibv_create_ah(ibv_pd* pd, ibv_ah_attr* attributes) {
  return Pointer(nullptr, [&] { return &CreateAh(Of(pd), *attributes)->base; });
}

int ibv_init_ah_from_wc(ibv_context*, uint8_t port, ibv_wc* wc, ibv_grh* grh,
                        ibv_ah_attr* attributes) {
  const int error = port != 1 ? EINVAL : AttributesFrom(*wc, *grh, attributes);
  if (error == 0) return 0;
  errno = error;
  return -1;
}

ibv_ah* ibv_create_ah_from_wc(ibv_pd* pd, ibv_wc* wc, ibv_grh* grh, uint8_t port) {
  ibv_ah_attr attributes;
  if (ibv_init_ah_from_wc(pd->context, port, wc, grh, &attributes) != 0) return nullptr;
  return ibv_create_ah(pd, &attributes);
}

int ibv_destroy_ah(ibv_ah* ah) {
  DestroyAh(reinterpret_cast<Ah*>(ah));
  return 0;
}

// --- Completions.

ibv_comp_channel* ibv_create_comp_channel(ibv_context* context) {
  return Pointer(nullptr, [&] { return &CreateChannel(Of(context))->base; });
}

int ibv_destroy_comp_channel(ibv_comp_channel* channel) { return DestroyChannel(&Of(channel)); }

ibv_cq* ibv_create_cq(ibv_context* context, int entries, void* cq_context,
                      ibv_comp_channel* channel, int vector) {
  return Pointer(nullptr, [&] {
    if (vector < 0 || vector >= context->num_comp_vectors) {
      throw qpip::Error(EINVAL, "create completion queue: no such vector");
    }
    return CreateCq(Of(context), entries, cq_context, channel)->base();
  });
}

int ibv_destroy_cq(ibv_cq* cq) { return DestroyCq(&Of(cq)); }

int ibv_get_cq_event(ibv_comp_channel* channel, ibv_cq** cq, void** cq_context) {
  return GetCqEvent(Of(channel), cq, cq_context);
}

void ibv_ack_cq_events(ibv_cq* cq, unsigned count) { AckCqEvents(Of(cq), count); }

// --- Queue pairs.

ibv_qp* ibv_create_qp(ibv_pd* pd, ibv_qp_init_attr* attributes) {
  return Pointer(nullptr, [&] { return CreateQp(Of(pd), attributes)->base(); });
}

int ibv_destroy_qp(ibv_qp* qp) {
  DestroyQp(&Of(qp));
  return 0;
}

int ibv_modify_qp(ibv_qp* qp, ibv_qp_attr* attributes, int mask) {
  return Number([&] { return ModifyQp(Of(qp), *attributes, mask); });
}

int ibv_query_qp(ibv_qp* qp, ibv_qp_attr* attributes, int, ibv_qp_init_attr* init) {
  return QueryQp(Of(qp), attributes, init);
}

ibv_srq* ibv_create_srq(ibv_pd* pd, ibv_srq_init_attr* attributes) {
  return Pointer(nullptr, [&] { return &CreateSrq(Of(pd), attributes)->base; });
}
int ibv_modify_srq(ibv_srq* srq, ibv_srq_attr* attributes, int mask) {
  return ModifySrq(Of(srq), *attributes, mask);
}
int ibv_query_srq(ibv_srq* srq, ibv_srq_attr* attributes) { return QuerySrq(Of(srq), attributes); }
int ibv_destroy_srq(ibv_srq* srq) { return DestroySrq(&Of(srq)); }

// Only what was created as one is one.
ibv_qp_ex* ibv_qp_to_qp_ex(ibv_qp* qp) { return Of(qp).ex.comp_mask == 0 ? nullptr : &Of(qp).ex; }

// Bytes of a message are placed by engines that may copy a part before another.
int ibv_query_qp_data_in_order(ibv_qp*, ibv_wr_opcode, uint32_t) { return 0; }

// --- Processes. Nothing is pinned, so fork copies what it always copies.

int ibv_fork_init() { return 0; }
ibv_fork_status ibv_is_fork_initialized() { return IBV_FORK_UNNEEDED; }
int ibv_dontfork_range(void*, size_t) { return 0; }
int ibv_dofork_range(void*, size_t) { return 0; }

}  // extern "C"

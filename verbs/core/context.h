// What ibv_open_device returns, and what programs may ask of a device.
#pragma once

#include <infiniband/verbs.h>

#include <memory>
#include <mutex>

#include "verbs/core/async_events.h"
#include "verbs/core/device.h"
#include "verbs/core/session.h"

namespace qpip::verbs {

struct Cq;

/// An open device. `vctx` is first: the ibv_context that programs have is the last of its members.
struct Context {
  verbs_context vctx = {};
  const void* slack[16] = {};  ///< stock provider libraries look behind a context

  Device* device = nullptr;
  std::shared_ptr<Session> session;
  AsyncEvents async_events;
  int opened_by = 0;  ///< process
  std::mutex stand_in_mutex;
  Cq* stand_in_cq = nullptr;  ///< stand_in_mutex: of all queue pairs that stand in for none

  ibv_context* base() { return &vctx.context; }
  Personality personality() const { return device->personality; }
};

/// The context behind `context`.
inline Context& Of(ibv_context* context) {
  return *reinterpret_cast<Context*>(verbs_get_ctx(context));
}

/// Limits of one device, told by ibv_query_device and held at creation.
inline constexpr int kMaxSge = 16;
inline constexpr int kMaxReadSge = 4;  ///< of an RDMA read
inline constexpr uint32_t kMaxInline = 448;
inline constexpr int kMaxQueueDepth = 1024;  ///< of either queue
/// Receive queues may be deeper than what is told: UCX takes 4,096 for datagrams without asking.
inline constexpr int kMaxReceiveDepth = 8192;
inline constexpr int kMaxSrqs = 65536;
inline constexpr uint32_t kMaxMessage = 1u << 30;  ///< bytes
inline constexpr int kMaxCqe = 1 << 20;

/// Opens. Throws Error.
Context* OpenContext(Device& device, const in6_addr* wanted = nullptr);
void CloseContext(Context* context);

// As verbs' functions of these names. Return 0 or an errno value.
int QueryDevice(Context& context, ibv_device_attr* attributes);
int QueryDeviceEx(Context& context, ibv_device_attr_ex* attributes, size_t size);
int QueryPort(Context& context, uint8_t port, ibv_port_attr* attributes);
int QueryGid(Context& context, uint32_t port, int index, union ibv_gid* gid);
/// `size`: of the caller's struct ibv_gid_entry.
int QueryGidEntry(Context& context, uint32_t port, uint32_t index, ibv_gid_entry* entry,
                  size_t size);

}  // namespace qpip::verbs

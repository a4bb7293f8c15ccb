#include "verbs/core/context.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "qpip/rdma.h"
#include "verbs/core/completion.h"
#include "verbs/core/queue_pair.h"

namespace qpip::verbs {

namespace {

// An OUI that is nobody's: locally administered, with "QP" in it.
constexpr uint32_t kVendorId = 0x025150;

int QueryPortOp(ibv_context* context, uint8_t port, ibv_port_attr* attributes, size_t size) {
  ibv_port_attr all = {};
  if (const int error = QueryPort(Of(context), port, &all); error != 0) return error;
  std::memset(attributes, 0, size);
  std::memcpy(attributes, &all, std::min(size, sizeof all));
  return 0;
}

int QueryDeviceExOp(ibv_context* context, const ibv_query_device_ex_input* input,
                    ibv_device_attr_ex* attributes, size_t size) {
  if (input != nullptr && input->comp_mask != 0) return EINVAL;
  return QueryDeviceEx(Of(context), attributes, size);
}

ibv_mw* AllocMw(ibv_pd*, ibv_mw_type) {
  errno = EOPNOTSUPP;
  return nullptr;
}
int BindMw(ibv_qp*, ibv_mw*, ibv_mw_bind*) { return EOPNOTSUPP; }
int DeallocMw(ibv_mw*) { return EOPNOTSUPP; }

// What is null here answers EOPNOTSUPP by the inline functions of verbs.h.
void FillOperations(verbs_context& vctx) {
  vctx.sz = sizeof(verbs_context);
  vctx.query_port = QueryPortOp;
  vctx.query_device_ex = QueryDeviceExOp;
  vctx.create_cq_ex = CreateCqExOp;
  vctx.create_qp_ex = CreateQpExOp;
  ibv_context_ops& ops = vctx.context.ops;
  ops.alloc_mw = AllocMw;
  ops.bind_mw = BindMw;
  ops.dealloc_mw = DeallocMw;
  ops.post_srq_recv = PostSrqRecvOp;
  ops.poll_cq = PollCqOp;
  ops.req_notify_cq = RequestNotifyOp;
  ops.post_send = PostSendOp;
  ops.post_recv = PostRecvOp;
  vctx.context.abi_compat = __VERBS_ABI_IS_EXTENDED;
}

ibv_mtu MtuFor(uint32_t packet) {
  // What is left of a packet for payload; verbs names no more than 4096.
  constexpr uint32_t kHeaders = 40 + 20 + 12 + 20;
  const uint32_t payload = packet - kHeaders;
  if (payload >= 4096) return IBV_MTU_4096;
  if (payload >= 2048) return IBV_MTU_2048;
  return IBV_MTU_1024;  // an IPv6 path has 1280 bytes at least
}

}  // namespace

Context* OpenContext(Device& device, const in6_addr* wanted) {
  auto context = std::make_unique<Context>();
  context->device = &device;
  context->session = OpenSession(device, wanted);
  context->opened_by = getpid();
  if (context->async_events.fd() < 0) throw Error(EMFILE, "open device: no descriptors left");
  FillOperations(context->vctx);
  ibv_context& base = *context->base();
  base.device = &device.base;
  base.async_fd = context->async_events.fd();
  base.cmd_fd = base.async_fd;  // there is no kernel's; what programs do with it is duplicate it
  base.num_comp_vectors = 1;
  pthread_mutex_init(&base.mutex, nullptr);
  return context.release();
}

void CloseContext(Context* context) {
  if (context->stand_in_cq != nullptr) DestroyCq(context->stand_in_cq);
  pthread_mutex_destroy(&context->base()->mutex);
  delete context;
}

int QueryDevice(Context& context, ibv_device_attr* attributes) {
  Session& session = *context.session;
  const auto max_qps = static_cast<int>(session.UriNumber("max_qps", 1024));
  const auto max_rdma_qps = static_cast<int>(session.UriNumber("max_rdma_qps", 256));
  *attributes = {};
  std::strcpy(attributes->fw_ver, "0.1.0");
  attributes->node_guid = htobe64(GuidOf(*context.device));
  attributes->sys_image_guid = attributes->node_guid;
  attributes->max_mr_size = UINT64_MAX;
  attributes->page_size_cap = ~uint64_t{4095};
  attributes->vendor_id = kVendorId;
  attributes->vendor_part_id = 1;
  attributes->hw_ver = 1;
  attributes->max_qp = std::min({max_qps, max_rdma_qps, static_cast<int>(kQpNumbers)});
  attributes->max_qp_wr = kMaxQueueDepth;
  attributes->device_cap_flags =
      IBV_DEVICE_RC_RNR_NAK_GEN | IBV_DEVICE_SYS_IMAGE_GUID | IBV_DEVICE_CURR_QP_STATE_MOD;
  attributes->max_sge = kMaxSge;
  attributes->max_sge_rd = kMaxReadSge;
  attributes->max_cq = 2 * max_qps;
  attributes->max_cqe = kMaxCqe;
  attributes->max_mr = std::min(2 * max_qps, 65536);
  attributes->max_pd = 65536;
  attributes->max_qp_rd_atom = kMaxRdmaDepth;
  attributes->max_res_rd_atom = kMaxRdmaDepth * max_qps;
  attributes->max_qp_init_rd_atom = kMaxRdmaDepth;
  attributes->atomic_cap = IBV_ATOMIC_HCA;
  attributes->max_ah = 65536;
  attributes->max_srq = kMaxSrqs;
  attributes->max_srq_wr = kMaxSharedReceives;
  attributes->max_srq_sge = kMaxSge;
  attributes->max_pkeys = 1;
  attributes->local_ca_ack_delay = 15;
  attributes->phys_port_cnt = 1;
  return 0;
}

int QueryDeviceEx(Context& context, ibv_device_attr_ex* attributes, size_t size) {
  if (size < sizeof attributes->orig_attr) return EINVAL;
  ibv_device_attr_ex all = {};
  QueryDevice(context, &all.orig_attr);
  all.phys_port_cnt_ex = 1;
  std::memset(attributes, 0, size);
  std::memcpy(attributes, &all, std::min(size, sizeof all));
  return 0;
}

int QueryPort(Context& context, uint8_t port, ibv_port_attr* attributes) {
  if (port != 1) return EINVAL;
  *attributes = {};
  attributes->state = context.session->nic().failure() ? IBV_PORT_DOWN : IBV_PORT_ACTIVE;
  attributes->max_mtu = IBV_MTU_4096;
  attributes->active_mtu = MtuFor(context.session->nic().mtu());
  attributes->gid_tbl_len = 1;
  attributes->port_cap_flags = IBV_PORT_CM_SUP | IBV_PORT_IP_BASED_GIDS;
  attributes->max_msg_sz = kMaxMessage;
  attributes->pkey_tbl_len = 1;
  attributes->max_vl_num = 1;
  attributes->active_width = 2;   // 4x
  attributes->active_speed = 32;  // 25 Gbit/s a lane: the nearest to what memory does
  attributes->phys_state = 5;     // link up
  attributes->link_layer = IBV_LINK_LAYER_ETHERNET;
  return 0;
}

int QueryGid(Context& context, uint32_t port, int index, union ibv_gid* gid) {
  if (port != 1 || index != 0) return EINVAL;
  const in6_addr address = context.session->nic().address();
  std::memcpy(gid->raw, &address, sizeof gid->raw);
  return 0;
}

int QueryGidEntry(Context& context, uint32_t port, uint32_t index, ibv_gid_entry* entry,
                  size_t size) {
  if (port != 1) return EINVAL;
  if (index != 0) return ENODATA;
  ibv_gid_entry all = {};
  QueryGid(context, port, 0, &all.gid);
  all.port_num = 1;
  all.gid_type =
      context.personality() == Personality::kIwarp ? IBV_GID_TYPE_IB : IBV_GID_TYPE_ROCE_V2;
  std::memset(entry, 0, size);
  std::memcpy(entry, &all, std::min(size, sizeof all));
  return 0;
}

}  // namespace qpip::verbs

// Identifiers: their queue pairs.
#include <cerrno>
#include <mutex>
#include <utility>

#include "verbs/core/cm.h"

namespace qpip::verbs {

namespace {

// Queues of the identifier's own, where the program brings none.
void CreateCqs(CmId& id, ibv_qp_init_attr* attributes) {
  Context& context = *id.context;
  const auto make = [&](uint32_t depth, ibv_comp_channel** channel, ibv_cq** cq) {
    *channel = &CreateChannel(context)->base;
    *cq = CreateCq(context, static_cast<int>(std::max(depth, 1u)), &id.base, *channel)->base();
  };
  if (attributes->recv_cq == nullptr) {
    make(attributes->cap.max_recv_wr, &id.base.recv_cq_channel, &id.base.recv_cq);
    attributes->recv_cq = id.base.recv_cq;
  }
  if (attributes->send_cq == nullptr) {
    make(attributes->cap.max_send_wr, &id.base.send_cq_channel, &id.base.send_cq);
    attributes->send_cq = id.base.send_cq;
  }
}

// Also those that a program has put there; one may be both.
void DestroyCqs(CmId& id) {
  rdma_cm_id& base = id.base;
  if (base.send_cq != nullptr && base.send_cq != base.recv_cq) DestroyCq(&Of(base.send_cq));
  if (base.recv_cq != nullptr) DestroyCq(&Of(base.recv_cq));
  if (base.send_cq_channel != nullptr && base.send_cq_channel != base.recv_cq_channel) {
    DestroyChannel(&Of(base.send_cq_channel));
  }
  if (base.recv_cq_channel != nullptr) DestroyChannel(&Of(base.recv_cq_channel));
  base.send_cq = nullptr;
  base.recv_cq = nullptr;
  base.send_cq_channel = nullptr;
  base.recv_cq_channel = nullptr;
}

// INIT; one for datagrams can be used at once, with librdmacm's own key.
void ToFirstState(Qp& qp, std::unique_lock<std::mutex>& control) {
  ibv_qp_attr attributes = {};
  attributes.port_num = 1;
  attributes.qkey = RDMA_UDP_QKEY;
  attributes.qp_state = IBV_QPS_INIT;
  int error = ModifyQpLocked(qp, attributes, IBV_QP_STATE | IBV_QP_PORT | IBV_QP_QKEY, control);
  if (qp.datagrams == nullptr) return;
  for (const ibv_qp_state state : {IBV_QPS_RTR, IBV_QPS_RTS}) {
    attributes.qp_state = state;
    if (error == 0) error = ModifyQpLocked(qp, attributes, IBV_QP_STATE, control);
  }
  if (error != 0) throw Error(error, "create queue pair: its number is taken");
}

}  // namespace

int CmCreateQp(CmId& id, ibv_pd* pd, ibv_qp_init_attr* attributes) {
  if (id.context == nullptr || id.base.qp != nullptr) return EINVAL;
  if (pd == nullptr) pd = id.base.pd;
  if (pd->context != id.base.verbs) return EINVAL;
  const ibv_qp_init_attr asked = *attributes;
  Qp* qp = nullptr;
  try {
    if (attributes->srq == nullptr) attributes->srq = id.base.srq;
    CreateCqs(id, attributes);
    qp = CreateQp(Of(pd), attributes);
    std::unique_lock control(id.context->session->control());
    qp->managed = true;
    ToFirstState(*qp, control);
    id.base.qp = qp->base();
    id.base.pd = pd;
  } catch (...) {
    if (qp != nullptr) DestroyQp(qp);
    DestroyCqs(id);
    *attributes = asked;  // queues that are not there any more are not the program's
    throw;
  }
  return 0;
}

void CmDestroyQp(CmId& id) {
  if (id.base.qp != nullptr) DestroyQp(&Of(id.base.qp));
  id.base.qp = nullptr;
  DestroyCqs(id);
}

int CmCreateSrq(CmId& id, ibv_pd* pd, ibv_srq_init_attr* attributes) {
  if (pd == nullptr) pd = id.base.pd;
  if (pd == nullptr || id.base.srq != nullptr) return EINVAL;
  id.base.srq = &CreateSrq(Of(pd), attributes)->base;
  return 0;
}

void CmDestroySrq(CmId& id) {
  if (id.base.srq != nullptr && DestroySrq(&Of(id.base.srq)) == 0) id.base.srq = nullptr;
}

void CmDestroyEndpoint(CmId& id) {
  if (id.base.qp != nullptr) CmDestroyQp(id);
  CmDestroySrq(id);
  CmDestroyId(id);
}

void CmMakeStandIn(CmId& id) {
  if (id.stand_in != nullptr) return;
  Cq* cq = nullptr;
  {
    const std::lock_guard lock(id.context->stand_in_mutex);
    Cq*& made = id.context->stand_in_cq;
    if (made == nullptr) made = CreateCq(*id.context, 1, nullptr, nullptr);
    cq = made;
  }
  ibv_qp_init_attr attributes = {};
  attributes.send_cq = cq->base();
  attributes.recv_cq = cq->base();
  attributes.cap = {.max_send_wr = 1,
                    .max_recv_wr = 1,
                    .max_send_sge = 1,
                    .max_recv_sge = 1,
                    .max_inline_data = 0};
  attributes.qp_type = IBV_QPT_RC;
  id.stand_in = CreateQp(Of(id.base.pd), &attributes);
}

void CmDropStandIn(CmId& id) {
  if (id.stand_in != nullptr) DestroyQp(std::exchange(id.stand_in, nullptr));
}

int CmInitQpAttributes(CmId& id, ibv_qp_attr* attributes, int* mask) {
  if (id.context == nullptr) return EINVAL;
  const ibv_qp_state state = attributes->qp_state;
  *attributes = {};
  attributes->qp_state = state;
  attributes->port_num = 1;
  attributes->path_mtu = IBV_MTU_4096;
  attributes->max_rd_atomic = kMaxRdmaDepth;
  attributes->max_dest_rd_atomic = kMaxRdmaDepth;
  attributes->qp_access_flags =
      IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
  *mask = IBV_QP_STATE;
  const bool roce = id.context->personality() == Personality::kRoce;
  switch (state) {
    case IBV_QPS_INIT:
      *mask |= IBV_QP_ACCESS_FLAGS;
      if (roce) *mask |= IBV_QP_PKEY_INDEX | IBV_QP_PORT;
      return 0;
    case IBV_QPS_RTR:
      // No destination's number: the identifier connects it, not ibv_modify_qp.
      if (roce) {
        attributes->ah_attr.is_global = 1;
        attributes->ah_attr.port_num = 1;
        *mask |= IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                 IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
      }
      return 0;
    case IBV_QPS_RTS:
      if (roce) {
        *mask |= IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
                 IBV_QP_MAX_QP_RD_ATOMIC;
      }
      return 0;
    default:
      return EINVAL;
  }
}

}  // namespace qpip::verbs

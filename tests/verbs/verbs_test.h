// Two devices of verbs/ in one process, on a fabric of their own.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "verbs/core/completion.h"
#include "verbs/core/context.h"
#include "verbs/core/memory.h"
#include "verbs/core/queue_pair.h"

namespace qpip::verbs::test {

/// The code of the Error that `function` throws; 0: none.
template <typename Function>
int CodeOf(Function function) {
  try {
    function();
  } catch (const Error& error) {
    return error.code();
  }
  return 0;
}

/// A device of its own, opened.
struct Host {
  Host(const std::string& fabric, const std::string& address, Personality personality,
       int max_rdma_qps = 2048) {
    device.uri = "mem:" + fabric + "?max_qps=4096&max_rdma_qps=" + std::to_string(max_rdma_qps) +
                 "&address=" + address;
    device.personality = personality;
    context = OpenContext(device);
    pd = AllocatePd(*context);
    mr = RegisterMr(*pd, memory.data(), memory.size(), reinterpret_cast<uintptr_t>(memory.data()),
                    IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ);
    channel = CreateChannel(*context);
    cq = CreateCq(*context, 64, nullptr, &channel->base);
  }
  ~Host() {
    DestroyCq(cq);
    DestroyChannel(channel);
    DeregisterMr(mr);
    delete pd;
    CloseContext(context);
  }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  ibv_sge Sge(size_t offset, uint32_t length) {
    return {.addr = reinterpret_cast<uintptr_t>(memory.data()) + offset,
            .length = length,
            .lkey = mr->base.lkey};
  }
  ibv_qp_init_attr QpAttributes() const {
    ibv_qp_init_attr attributes = {};
    attributes.send_cq = cq->base();
    attributes.recv_cq = cq->base();
    attributes.cap = {.max_send_wr = 8,
                      .max_recv_wr = 8,
                      .max_send_sge = 2,
                      .max_recv_sge = 2,
                      .max_inline_data = 64};
    attributes.qp_type = IBV_QPT_RC;
    attributes.sq_sig_all = 1;
    return attributes;
  }

  Device device;
  std::array<char, 4096> memory = {};
  Context* context = nullptr;
  Pd* pd = nullptr;
  Mr* mr = nullptr;
  Channel* channel = nullptr;
  Cq* cq = nullptr;
};

class VerbsTest : public testing::Test {
 protected:
  explicit VerbsTest(Personality personality = Personality::kRoce) {
    // A fabric a test: others of the process may be under way.
    const std::string fabric =
        "verbs-" + std::to_string(reinterpret_cast<uintptr_t>(this) & 0xffffff);
    a = std::make_unique<Host>(fabric, "fd00::1", personality);
    b = std::make_unique<Host>(fabric, "fd00::2", personality);
  }

  Qp* Make(Host& host) {
    ibv_qp_init_attr attributes = host.QpAttributes();
    return CreateQp(*host.pd, &attributes);
  }
  static int ToInit(Qp* qp) {
    ibv_qp_attr attributes = {};
    attributes.qp_state = IBV_QPS_INIT;
    attributes.port_num = 1;
    return ModifyQp(*qp, attributes, IBV_QP_STATE | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
  }
  static int ToRtr(Qp* qp, Host& peer, uint32_t number) {
    ibv_qp_attr attributes = {};
    attributes.qp_state = IBV_QPS_RTR;
    attributes.dest_qp_num = number;
    attributes.ah_attr.is_global = 1;
    QueryGid(*peer.context, 1, 0, &attributes.ah_attr.grh.dgid);
    return ModifyQp(*qp, attributes, IBV_QP_STATE | IBV_QP_AV | IBV_QP_DEST_QPN);
  }
  static int To(Qp* qp, ibv_qp_state state) {
    ibv_qp_attr attributes = {};
    attributes.qp_state = state;
    return ModifyQp(*qp, attributes, IBV_QP_STATE);
  }
  /// All the way, without waiting for the other side.
  static void ToRts(Qp* qp, Host& peer, uint32_t number) {
    ASSERT_EQ(ToInit(qp), 0);
    ASSERT_EQ(ToRtr(qp, peer, number), 0);
    ASSERT_EQ(To(qp, IBV_QPS_RTS), 0);
  }

  static int PostReceive(Qp* qp, uint64_t wr_id, ibv_sge sge) {
    ibv_recv_wr wr = {.wr_id = wr_id, .next = nullptr, .sg_list = &sge, .num_sge = 1};
    ibv_recv_wr* bad = nullptr;
    return PostRecvOp(qp->base(), &wr, &bad);
  }
  static int PostSend(Qp* qp, uint64_t wr_id, ibv_sge sge) {
    ibv_send_wr wr = {};
    wr.wr_id = wr_id;
    wr.sg_list = &sge;
    wr.num_sge = 1;
    wr.opcode = IBV_WR_SEND;
    ibv_send_wr* bad = nullptr;
    return PostSendOp(qp->base(), &wr, &bad);
  }
  /// The next completion, however long that takes.
  static ibv_wc Next(Host& host) {
    ibv_wc wc;
    while (PollCqOp(host.cq->base(), 1, &wc) == 0) {
    }
    return wc;
  }
  static int Count(Host& host) {
    std::array<ibv_wc, 16> all;
    return PollCqOp(host.cq->base(), static_cast<int>(all.size()), all.data());
  }

  std::unique_ptr<Host> a;
  std::unique_ptr<Host> b;
};

}  // namespace qpip::verbs::test

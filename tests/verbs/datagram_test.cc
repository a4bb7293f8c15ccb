// UD queue pairs: datagrams with InfiniBand's words.
#include <cstring>

#include "verbs_test.h"

namespace qpip::verbs::test {
namespace {

constexpr uint32_t kKey = 0x1111;

class VerbsDatagramTest : public VerbsTest {
 protected:
  VerbsDatagramTest() : at_a(MakeReady(*a)), at_b(MakeReady(*b)) {
    ibv_ah_attr attributes = {};
    attributes.is_global = 1;
    attributes.port_num = 1;
    QueryGid(*b->context, 1, 0, &attributes.grh.dgid);
    to_b = CreateAh(*a->pd, attributes);
  }
  ~VerbsDatagramTest() override {
    DestroyAh(to_b);
    DestroyQp(at_a);
    DestroyQp(at_b);
  }

  Qp* MakeReady(Host& host) {
    ibv_qp_init_attr init = host.QpAttributes();
    init.qp_type = IBV_QPT_UD;
    Qp* qp = CreateQp(*host.pd, &init);
    ibv_qp_attr attributes = {};
    attributes.qp_state = IBV_QPS_INIT;
    attributes.port_num = 1;
    attributes.qkey = kKey;
    EXPECT_EQ(ModifyQp(*qp, attributes, IBV_QP_STATE | IBV_QP_PORT | IBV_QP_QKEY), 0);
    EXPECT_EQ(To(qp, IBV_QPS_RTR), 0);
    EXPECT_EQ(To(qp, IBV_QPS_RTS), 0);
    return qp;
  }

  int SendToB(uint64_t wr_id, uint32_t key, ibv_wr_opcode opcode = IBV_WR_SEND,
              unsigned flags = 0) {
    ibv_sge sge = a->Sge(0, 5);
    ibv_send_wr wr = {};
    wr.wr_id = wr_id;
    wr.sg_list = &sge;
    wr.num_sge = 1;
    wr.opcode = opcode;
    wr.send_flags = flags;
    wr.imm_data = 77;
    wr.wr.ud = {.ah = &to_b->base, .remote_qpn = at_b->number(), .remote_qkey = key};
    ibv_send_wr* bad = nullptr;
    return PostSendOp(at_a->base(), &wr, &bad);
  }

  Qp* at_a;
  Qp* at_b;
  Ah* to_b;
};

TEST_F(VerbsDatagramTest, GivenAMessageWhenReceivedThenItsSenderIsInFront) {
  std::memcpy(a->memory.data(), "hello", 5);
  ASSERT_EQ(PostReceive(at_b, 1, b->Sge(100, 200)), 0);
  ASSERT_EQ(SendToB(2, kKey), 0);
  const ibv_wc received = Next(*b);
  EXPECT_EQ(received.status, IBV_WC_SUCCESS);
  EXPECT_EQ(received.wr_id, 1u);
  EXPECT_EQ(received.byte_len, 45u);
  EXPECT_EQ(received.src_qp, at_a->number());
  EXPECT_EQ(received.qp_num, at_b->number());
  EXPECT_EQ(received.wc_flags, static_cast<unsigned>(IBV_WC_GRH));
  EXPECT_EQ(std::memcmp(&b->memory[140], "hello", 5), 0);
  ibv_grh grh;
  std::memcpy(&grh, &b->memory[100], sizeof grh);
  ibv_ah_attr back;
  ASSERT_EQ(AttributesFrom(received, grh, &back), 0);
  union ibv_gid of_a;
  QueryGid(*a->context, 1, 0, &of_a);
  EXPECT_EQ(std::memcmp(&back.grh.dgid, &of_a, sizeof of_a), 0);
  const ibv_wc sent = Next(*a);
  EXPECT_EQ(sent.wr_id, 2u);
  EXPECT_EQ(sent.opcode, IBV_WC_SEND);
}

TEST_F(VerbsDatagramTest, GivenImmediateDataAndInlineBytesWhenSentThenBothCome) {
  std::memcpy(a->memory.data(), "hello", 5);
  ASSERT_EQ(PostReceive(at_b, 1, b->Sge(100, 200)), 0);
  ASSERT_EQ(SendToB(2, kKey, IBV_WR_SEND_WITH_IMM, IBV_SEND_INLINE), 0);
  const ibv_wc received = Next(*b);
  EXPECT_EQ(received.wc_flags, static_cast<unsigned>(IBV_WC_GRH | IBV_WC_WITH_IMM));
  EXPECT_EQ(received.imm_data, 77u);
  EXPECT_EQ(std::memcmp(&b->memory[140], "hello", 5), 0);
}

TEST_F(VerbsDatagramTest, GivenAnotherKeyWhenSentThenNobodyReceivesItAndTheReceiveStays) {
  ASSERT_EQ(PostReceive(at_b, 1, b->Sge(100, 200)), 0);
  a->memory[0] = 'w';
  ASSERT_EQ(SendToB(2, kKey + 1), 0);
  EXPECT_EQ(Next(*a).wr_id, 2u);
  // What comes before the receive is posted again, which is when somebody polls, is lost.
  a->memory[0] = 'r';
  ibv_wc received;
  while (PollCqOp(b->cq->base(), 1, &received) == 0) {
    ASSERT_EQ(SendToB(3, kKey), 0);
    Next(*a);
  }
  EXPECT_EQ(received.wr_id, 1u);
  EXPECT_EQ(received.status, IBV_WC_SUCCESS);
  EXPECT_EQ(b->memory[140], 'r');
}

TEST_F(VerbsDatagramTest, GivenMoreThanTheQueueHoldsWhenPostedThenNoMemory) {
  EXPECT_EQ(PostReceive(at_b, 0, b->Sge(100, 39)), EINVAL) << "no room for what is in front";
  for (uint64_t i = 0; i < 8; ++i) ASSERT_EQ(PostReceive(at_b, i, b->Sge(100, 200)), 0);
  EXPECT_EQ(PostReceive(at_b, 8, b->Sge(100, 200)), ENOMEM);
}

TEST_F(VerbsDatagramTest, GivenPostedReceivesWhenModifiedToErrorThenFlushedAndResetMakesItNew) {
  ASSERT_EQ(PostReceive(at_b, 1, b->Sge(100, 200)), 0);
  ASSERT_EQ(PostReceive(at_b, 2, b->Sge(100, 200)), 0);
  ASSERT_EQ(To(at_b, IBV_QPS_ERR), 0);
  for (const uint64_t wr_id : {1u, 2u}) {
    const ibv_wc flushed = Next(*b);
    EXPECT_EQ(flushed.wr_id, wr_id);
    EXPECT_EQ(flushed.status, IBV_WC_WR_FLUSH_ERR);
  }
  ASSERT_EQ(To(at_b, IBV_QPS_RESET), 0);
  ibv_qp_attr attributes = {};
  attributes.qp_state = IBV_QPS_INIT;
  attributes.port_num = 1;
  attributes.qkey = kKey;
  ASSERT_EQ(ModifyQp(*at_b, attributes, IBV_QP_STATE | IBV_QP_PORT | IBV_QP_QKEY), 0);
  ASSERT_EQ(PostReceive(at_b, 3, b->Sge(100, 200)), 0);
  ASSERT_EQ(SendToB(4, kKey), 0);
  EXPECT_EQ(Next(*b).wr_id, 3u);
}

}  // namespace
}  // namespace qpip::verbs::test

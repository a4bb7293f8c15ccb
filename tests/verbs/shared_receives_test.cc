// Shared receive queues.
#include <poll.h>

#include <set>

#include "verbs/core/shared_receives.h"
#include "verbs_test.h"

namespace qpip::verbs::test {
namespace {

constexpr uint32_t kReceives = 40;

class SharedReceivesTest : public VerbsTest {
 protected:
  SharedReceivesTest() {
    ibv_srq_init_attr attributes = {};
    attributes.attr = {.max_wr = kReceives, .max_sge = 1, .srq_limit = 0};
    srq = CreateSrq(*b->pd, &attributes);
    for (Qp*& qp : at_b) {
      ibv_qp_init_attr init = b->QpAttributes();
      init.srq = &srq->base;
      qp = CreateQp(*b->pd, &init);
    }
    for (size_t i = 0; i < 2; ++i) {
      at_a[i] = Make(*a);
      ToRts(at_a[i], *b, at_b[i]->number());
      ToRts(at_b[i], *a, at_a[i]->number());
    }
  }
  ~SharedReceivesTest() override {
    for (Qp* qp : at_a) DestroyQp(qp);
    for (Qp* qp : at_b) DestroyQp(qp);
    EXPECT_EQ(DestroySrq(srq), 0);
  }

  int Post(uint64_t wr_id) {
    ibv_sge sge = b->Sge(64 * wr_id, 64);
    ibv_recv_wr wr = {.wr_id = wr_id, .next = nullptr, .sg_list = &sge, .num_sge = 1};
    ibv_recv_wr* bad = nullptr;
    return PostSrqRecvOp(&srq->base, &wr, &bad);
  }
  void SendAndAwait(Qp* qp) {
    ASSERT_EQ(PostSend(qp, 1, a->Sge(0, 1)), 0);
    EXPECT_EQ(Next(*a).status, IBV_WC_SUCCESS);
  }

  Srq* srq = nullptr;
  std::array<Qp*, 2> at_a = {};
  std::array<Qp*, 2> at_b = {};
};

TEST_F(SharedReceivesTest, GivenOneSenderWhenItSendsAllThenItHasAllReceivesButAShareOfTheOther) {
  for (uint64_t i = 0; i < kReceives; ++i) ASSERT_EQ(Post(i), 0);
  EXPECT_EQ(Post(kReceives), ENOMEM);
  std::set<uint64_t> seen;
  for (uint32_t i = 0; i < kReceives - kReceives / 8; ++i) {
    SendAndAwait(at_a[0]);
    const ibv_wc received = Next(*b);
    EXPECT_EQ(received.status, IBV_WC_SUCCESS);
    EXPECT_EQ(received.qp_num, at_b[0]->number());
    EXPECT_TRUE(seen.insert(received.wr_id).second);
  }
}

TEST_F(SharedReceivesTest, GivenNoReceiveWhenSentToThenItWaitsForOne) {
  SendAndAwait(at_a[1]);
  EXPECT_EQ(Count(*b), 0);
  ASSERT_EQ(Post(7), 0);
  ASSERT_EQ(Post(8), 0);
  const ibv_wc received = Next(*b);
  EXPECT_EQ(received.qp_num, at_b[1]->number());
  EXPECT_EQ(received.status, IBV_WC_SUCCESS);
}

TEST_F(SharedReceivesTest, GivenReceivesWithAQueuePairThatFailsWhenItIsResetThenOthersHaveThem) {
  for (uint64_t i = 0; i < 2; ++i) ASSERT_EQ(Post(i), 0);
  ASSERT_EQ(To(at_b[0], IBV_QPS_ERR), 0);
  ASSERT_EQ(To(at_b[0], IBV_QPS_RESET), 0);
  EXPECT_EQ(Count(*b), 0) << "nothing of a shared queue is flushed";
  for (int i = 0; i < 2; ++i) {
    SendAndAwait(at_a[1]);
    EXPECT_EQ(Next(*b).status, IBV_WC_SUCCESS);
  }
}

TEST_F(SharedReceivesTest, GivenALimitWhenFewerAreLeftThenToldOnce) {
  for (uint64_t i = 0; i < 8; ++i) ASSERT_EQ(Post(i), 0);
  ibv_srq_attr attributes = {};
  attributes.srq_limit = 8;
  ASSERT_EQ(ModifySrq(*srq, attributes, IBV_SRQ_LIMIT), 0);
  for (int i = 0; i < 3; ++i) {
    SendAndAwait(at_a[0]);
    Next(*b);
  }
  ibv_async_event event;
  ASSERT_EQ(b->context->async_events.Get(&event), 0);
  EXPECT_EQ(event.event_type, IBV_EVENT_SRQ_LIMIT_REACHED);
  EXPECT_EQ(event.element.srq, &srq->base);
  EXPECT_EQ(b->context->async_events.Forget(&srq->base), 1u);
  ASSERT_EQ(QuerySrq(*srq, &attributes), 0);
  EXPECT_EQ(attributes.srq_limit, 0u);
}

TEST_F(SharedReceivesTest, GivenAQueuePairThatFailsWhenItTakesNoMoreThenToldOnce) {
  for (uint64_t i = 0; i < 8; ++i) ASSERT_EQ(Post(i), 0);
  SendAndAwait(at_a[0]);
  ASSERT_EQ(To(at_b[0], IBV_QPS_ERR), 0);
  ibv_async_event event;
  ASSERT_EQ(b->context->async_events.Get(&event), 0);
  EXPECT_EQ(event.event_type, IBV_EVENT_QP_LAST_WQE_REACHED);
  EXPECT_EQ(event.element.qp, at_b[0]->base());
  EXPECT_EQ(Next(*b).status, IBV_WC_SUCCESS) << "what it took has been told";
  ASSERT_EQ(To(at_b[0], IBV_QPS_ERR), 0);
  pollfd ready = {.fd = b->context->async_events.fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&ready, 1, 0), 0);
  EXPECT_EQ(b->context->async_events.Forget(at_b[0]->base()), 1u);
}

TEST_F(SharedReceivesTest, GivenQueuePairsThatUseItWhenDestroyedThenBusy) {
  EXPECT_EQ(DestroySrq(srq), EBUSY);
}

}  // namespace
}  // namespace qpip::verbs::test

// Queue pairs: states, pairing, what is posted when, and how it ends.
#include <atomic>
#include <thread>

#include "qpip/rdma.h"
#include "verbs_test.h"

namespace qpip::verbs::test {
namespace {

class VerbsQpTest : public VerbsTest {
 protected:
  VerbsQpTest() : at_a(Make(*a)), at_b(Make(*b)) {}
  ~VerbsQpTest() override {
    if (at_a != nullptr) DestroyQp(at_a);
    if (at_b != nullptr) DestroyQp(at_b);
  }
  /// Both to RTS, and one message through.
  void Connect() {
    ToRts(at_a, *b, at_b->number());
    ToRts(at_b, *a, at_a->number());
    ASSERT_EQ(PostReceive(at_b, 90, b->Sge(0, 64)), 0);
    ASSERT_EQ(PostSend(at_a, 91, a->Sge(0, 1)), 0);
    EXPECT_EQ(Next(*b).status, IBV_WC_SUCCESS);
    EXPECT_EQ(Next(*a).status, IBV_WC_SUCCESS);
  }
  /// Their NICs' queue pairs have a connection, of which they have not been told.
  void Adopt() {
    Nic& nic_a = a->context->session->nic();
    Nic& nic_b = b->context->session->nic();
    RdmaListener listener(nic_b, 5000);
    RdmaConnector connector(nic_a, {nic_b.address(), 5000});
    std::unique_ptr<RdmaRequest> request;
    while (request == nullptr) {
      connector.Poll();
      request = listener.Next(std::chrono::nanoseconds(0));
    }
    request->Accept(*at_b->real, {});
    while (connector.Poll() != RdmaConnector::State::kAccepted) {
    }
    connector.Establish(*at_a->real);
  }
  Qp* at_a;
  Qp* at_b;
};

TEST_F(VerbsQpTest, GivenAPairWhenBothAreInRtsThenMessagesPassBothWays) {
  ToRts(at_a, *b, at_b->number());
  ToRts(at_b, *a, at_a->number());
  a->memory[0] = 'm';
  ASSERT_EQ(PostReceive(at_b, 1, b->Sge(100, 64)), 0);
  ASSERT_EQ(PostSend(at_a, 2, a->Sge(0, 1)), 0);
  const ibv_wc received = Next(*b);
  EXPECT_EQ(received.status, IBV_WC_SUCCESS);
  EXPECT_EQ(received.wr_id, 1u);
  EXPECT_EQ(received.byte_len, 1u);
  EXPECT_EQ(received.qp_num, at_b->number());
  EXPECT_EQ(b->memory[100], 'm');
  const ibv_wc sent = Next(*a);
  EXPECT_EQ(sent.wr_id, 2u);
  EXPECT_EQ(sent.qp_num, at_a->number());
  ASSERT_EQ(PostReceive(at_a, 3, a->Sge(200, 64)), 0);
  ASSERT_EQ(PostSend(at_b, 4, b->Sge(100, 1)), 0);
  EXPECT_EQ(Next(*a).wr_id, 3u);
  EXPECT_EQ(a->memory[200], 'm');
}

TEST_F(VerbsQpTest, GivenAPeerThatIsNotReadyWhenMessagesArePostedThenTheyWait) {
  ToRts(at_b, *a, at_a->number());
  for (uint64_t i = 0; i < 8; ++i) ASSERT_EQ(PostSend(at_b, i, b->Sge(0, 1)), 0);
  EXPECT_EQ(PostSend(at_b, 8, b->Sge(0, 1)), ENOMEM) << "the queue has eight";
  EXPECT_EQ(Count(*b), 0);
  ASSERT_EQ(ToInit(at_a), 0);
  for (uint64_t i = 0; i < 8; ++i) ASSERT_EQ(PostReceive(at_a, i, a->Sge(0, 64)), 0);
  ASSERT_EQ(ToRtr(at_a, *b, at_b->number()), 0);
  for (uint64_t i = 0; i < 8; ++i) EXPECT_EQ(Next(*a).wr_id, i);
  for (uint64_t i = 0; i < 8; ++i) EXPECT_EQ(Next(*b).wr_id, i);
}

TEST_F(VerbsQpTest, GivenAPairOnOneNicWhenBothAreInRtsThenMessagesPass) {
  Qp* other = Make(*a);
  ToRts(at_a, *a, other->number());
  ToRts(other, *a, at_a->number());
  ASSERT_EQ(PostReceive(other, 1, a->Sge(100, 64)), 0);
  ASSERT_EQ(PostSend(at_a, 2, a->Sge(0, 5)), 0);
  EXPECT_EQ(Next(*a).status, IBV_WC_SUCCESS);
  EXPECT_EQ(Next(*a).status, IBV_WC_SUCCESS);
  DestroyQp(other);
}

TEST_F(VerbsQpTest, GivenAStateWhenTheNextIsNotItsSuccessorThenInvalid) {
  EXPECT_EQ(To(at_a, IBV_QPS_RTS), EINVAL);
  EXPECT_EQ(ToRtr(at_a, *b, at_b->number()), EINVAL);
  ASSERT_EQ(ToInit(at_a), 0);
  EXPECT_EQ(To(at_a, IBV_QPS_RTS), EINVAL);
  EXPECT_EQ(To(at_a, IBV_QPS_RTR), EINVAL) << "without an address";
  ibv_qp_attr now;
  ibv_qp_init_attr init;
  ASSERT_EQ(QueryQp(*at_a, &now, &init), 0);
  EXPECT_EQ(now.qp_state, IBV_QPS_INIT);
}

TEST_F(VerbsQpTest, GivenAnAddressWithoutAGidWhenModifiedToRtrThenInvalid) {
  ASSERT_EQ(ToInit(at_a), 0);
  ibv_qp_attr attributes = {};
  attributes.qp_state = IBV_QPS_RTR;
  attributes.dest_qp_num = at_b->number();
  attributes.ah_attr.dlid = 1;
  EXPECT_EQ(ModifyQp(*at_a, attributes, IBV_QP_STATE | IBV_QP_AV | IBV_QP_DEST_QPN), EINVAL);
}

TEST_F(VerbsQpTest, GivenStatesBeforeRtsWhenSendsArePostedThenInvalid) {
  EXPECT_EQ(PostReceive(at_a, 1, a->Sge(0, 64)), EINVAL) << "in RESET";
  EXPECT_EQ(PostSend(at_a, 1, a->Sge(0, 1)), EINVAL);
  ASSERT_EQ(ToInit(at_a), 0);
  EXPECT_EQ(PostReceive(at_a, 1, a->Sge(0, 64)), 0);
  EXPECT_EQ(PostSend(at_a, 1, a->Sge(0, 1)), EINVAL);
}

TEST_F(VerbsQpTest, GivenPostedWorkWithoutAPeerWhenModifiedToErrorThenAllIsFlushed) {
  ToRts(at_a, *b, at_b->number());
  ASSERT_EQ(PostReceive(at_a, 1, a->Sge(0, 64)), 0);
  ASSERT_EQ(PostSend(at_a, 2, a->Sge(0, 1)), 0);
  ASSERT_EQ(To(at_a, IBV_QPS_ERR), 0);
  ASSERT_EQ(PostSend(at_a, 3, a->Sge(0, 1)), 0) << "and what is posted afterwards";
  ASSERT_EQ(PostReceive(at_a, 4, a->Sge(0, 64)), 0);
  std::vector<uint64_t> flushed;
  for (int i = 0; i < 4; ++i) {
    const ibv_wc wc = Next(*a);
    EXPECT_EQ(wc.status, IBV_WC_WR_FLUSH_ERR);
    EXPECT_EQ(wc.qp_num, at_a->number());
    flushed.push_back(wc.wr_id);
  }
  EXPECT_THAT(flushed, testing::UnorderedElementsAre(1, 2, 3, 4));
  EXPECT_EQ(Count(*a), 0);
}

TEST_F(VerbsQpTest, GivenAConnectionWhenModifiedToErrorThenItsReceivesAreFlushed) {
  Connect();
  ASSERT_EQ(PostReceive(at_a, 1, a->Sge(0, 64)), 0);
  ASSERT_EQ(To(at_a, IBV_QPS_ERR), 0);
  const ibv_wc wc = Next(*a);
  EXPECT_EQ(wc.wr_id, 1u);
  EXPECT_EQ(wc.status, IBV_WC_WR_FLUSH_ERR);
}

TEST_F(VerbsQpTest, GivenSendsUnderWayWhenModifiedToErrorThenTheyAreToldBeforeWhatIsPostedLater) {
  Connect();
  for (uint64_t i = 0; i < 4; ++i) ASSERT_EQ(PostSend(at_a, i, a->Sge(0, 512)), 0);
  ASSERT_EQ(To(at_a, IBV_QPS_ERR), 0);
  ASSERT_EQ(PostSend(at_a, 4, a->Sge(0, 1)), 0);
  for (uint64_t i = 0; i <= 4; ++i) {
    const ibv_wc wc = Next(*a);
    EXPECT_EQ(wc.wr_id, i);
    EXPECT_TRUE(i < 4 || wc.status == IBV_WC_WR_FLUSH_ERR);
  }
}

TEST_F(VerbsQpTest, GivenAConnectionOnItsWayWhenModifiedToErrorThenEachReceiveIsFlushedOnce) {
  ASSERT_EQ(ToInit(at_a), 0);
  ASSERT_EQ(ToInit(at_b), 0);
  for (Qp* qp : {at_a, at_b}) {
    ASSERT_EQ(PostReceive(qp, 1, (qp == at_a ? a : b)->Sge(0, 64)), 0);
  }
  Adopt();
  for (Qp* qp : {at_a, at_b}) {
    ASSERT_EQ(To(qp, IBV_QPS_ERR), 0);
    while (qp->real->state() != QpState::kClosed) {
    }
  }
  for (Host* host : {a.get(), b.get()}) {
    EXPECT_EQ(Next(*host).status, IBV_WC_WR_FLUSH_ERR);
    EXPECT_EQ(Count(*host), 0);
  }
}

TEST_F(VerbsQpTest, GivenAFailedQueuePairWhenItsConnectionIsThereAfterAllThenNothingIsToldTwice) {
  ASSERT_EQ(ToInit(at_a), 0);
  ASSERT_EQ(PostReceive(at_a, 1, a->Sge(0, 64)), 0);
  ASSERT_EQ(To(at_a, IBV_QPS_ERR), 0);
  EXPECT_EQ(Next(*a).wr_id, 1u);
  Adopt();
  at_a->Open();
  while (at_a->real->state() != QpState::kClosed) {
  }
  EXPECT_EQ(Count(*a), 0);
}

TEST_F(VerbsQpTest, GivenAPeerThatHasGoneWhenNothingIsSentThenNothingIsTold) {
  Connect();
  ASSERT_EQ(PostReceive(at_a, 1, a->Sge(0, 64)), 0);
  DestroyQp(std::exchange(at_b, nullptr));
  while (at_a->real->state() != QpState::kClosed) EXPECT_EQ(Count(*a), 0);
  EXPECT_EQ(Count(*a), 0);
  EXPECT_EQ(PostReceive(at_a, 2, a->Sge(0, 64)), 0);
  EXPECT_EQ(Count(*a), 0);
  // When something is sent, that is what fails, and the rest is flushed.
  ASSERT_EQ(PostSend(at_a, 3, a->Sge(0, 1)), 0);
  const ibv_wc failed = Next(*a);
  EXPECT_EQ(failed.wr_id, 3u);
  EXPECT_EQ(failed.status, IBV_WC_RETRY_EXC_ERR);
  EXPECT_EQ(Next(*a).status, IBV_WC_WR_FLUSH_ERR);
  EXPECT_EQ(Next(*a).status, IBV_WC_WR_FLUSH_ERR);
  EXPECT_EQ(at_a->base()->state, IBV_QPS_ERR);
}

TEST_F(VerbsQpTest, GivenAnErrorWhenResetThenTheSameNumberConnectsAgain) {
  const uint32_t number = at_a->number();
  ASSERT_EQ(ToInit(at_a), 0);
  ASSERT_EQ(To(at_a, IBV_QPS_ERR), 0);
  ASSERT_EQ(To(at_a, IBV_QPS_RESET), 0);
  EXPECT_EQ(at_a->number(), number);
  Connect();
}

TEST_F(VerbsQpTest, GivenAConnectionWhenBothAreResetThenTheyConnectAgain) {
  for (int i = 0; i < 5; ++i) {
    Connect();
    ASSERT_EQ(To(at_b, IBV_QPS_ERR), 0);
    for (Qp* qp : {at_a, at_b}) ASSERT_EQ(To(qp, IBV_QPS_RESET), 0);
  }
}

TEST_F(VerbsQpTest, GivenNoConnectionYetWhenWhatTheNicWouldRefuseIsPostedThenRefusedAtOnce) {
  ToRts(at_b, *a, at_a->number());
  ibv_sge sge = b->Sge(0, 4);
  ibv_send_wr good = {};
  good.wr_id = 1;
  good.sg_list = &sge;
  good.num_sge = 1;
  good.opcode = IBV_WR_SEND;
  ibv_send_wr wr = good;
  good.next = &wr;
  const auto post = [&](ibv_wr_opcode opcode, unsigned flags) {
    wr.opcode = opcode;
    wr.send_flags = flags;
    ibv_send_wr* bad = nullptr;
    const int error = PostSendOp(at_b->base(), &wr, &bad);
    EXPECT_EQ(bad, &wr);
    return error;
  };
  EXPECT_EQ(post(IBV_WR_SEND_WITH_IMM, 0), EOPNOTSUPP);
  EXPECT_EQ(post(IBV_WR_RDMA_READ, IBV_SEND_INLINE), EINVAL);
  EXPECT_EQ(post(IBV_WR_ATOMIC_FETCH_AND_ADD, 0), EINVAL) << "of eight bytes";
  wr.opcode = IBV_WR_LOCAL_INV;
  ibv_send_wr* bad = nullptr;
  EXPECT_EQ(PostSendOp(at_b->base(), &good, &bad), EINVAL);
  EXPECT_EQ(bad, &wr) << "the one in front is posted";
  ToRts(at_a, *b, at_b->number());
  ASSERT_EQ(PostReceive(at_a, 2, a->Sge(0, 64)), 0);
  EXPECT_EQ(Next(*a).wr_id, 2u);
  const ibv_wc sent = Next(*b);
  EXPECT_EQ(sent.wr_id, 1u);
  EXPECT_EQ(sent.status, IBV_WC_SUCCESS);
}

TEST_F(VerbsQpTest, GivenALongTimeoutWhenModifiedToRtsThenThePeerIsWaitedForAsLong) {
  ASSERT_EQ(ToInit(at_a), 0);
  ASSERT_EQ(ToRtr(at_a, *b, at_b->number()), 0);  // it listens
  const auto deadline = [&] {
    const std::lock_guard lock(a->context->session->control());
    return at_a->task->OnTurn();
  };
  const Clock::time_point before = deadline();
  ibv_qp_attr attributes = {};
  attributes.qp_state = IBV_QPS_RTS;
  attributes.timeout = 22;  // 17 s an attempt
  attributes.retry_cnt = 7;
  ASSERT_EQ(ModifyQp(*at_a, attributes, IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT), 0);
  EXPECT_GT(deadline(), before + std::chrono::seconds(100));
}

TEST_F(VerbsQpTest, GivenAQueuePairThatFailsMeanwhileWhenItHasItsNextStateThenItStaysInError) {
  ASSERT_EQ(ToInit(at_a), 0);
  {
    const std::lock_guard lock(a->context->session->control());
    at_a->Fail();
    at_a->SetState(IBV_QPS_RTS);
  }
  EXPECT_EQ(at_a->base()->state, IBV_QPS_ERR);
  EXPECT_EQ(To(at_a, IBV_QPS_RTS), EINVAL);
}

TEST_F(VerbsQpTest, GivenWriteAndReadWhenPostedByQpExThenMemoryOfThePeerIsUsed) {
  Connect();
  a->memory[0] = 'w';
  b->memory[300] = 'r';
  at_a->ex.wr_start(&at_a->ex);
  at_a->ex.wr_id = 5;
  at_a->ex.wr_flags = IBV_SEND_SIGNALED;
  at_a->ex.wr_rdma_write(&at_a->ex, b->mr->base.rkey, b->Sge(200, 1).addr);
  at_a->ex.wr_set_inline_data(&at_a->ex, a->memory.data(), 1);
  a->memory[0] = 'x';  // inline data was copied
  at_a->ex.wr_id = 6;
  at_a->ex.wr_rdma_read(&at_a->ex, b->mr->base.rkey, b->Sge(300, 1).addr);
  at_a->ex.wr_set_sge(&at_a->ex, a->mr->base.lkey, a->Sge(400, 1).addr, 1);
  ASSERT_EQ(at_a->ex.wr_complete(&at_a->ex), 0);
  const ibv_wc write = Next(*a);
  EXPECT_EQ(write.wr_id, 5u);
  EXPECT_EQ(write.opcode, IBV_WC_RDMA_WRITE);
  const ibv_wc read = Next(*a);
  EXPECT_EQ(read.wr_id, 6u);
  EXPECT_EQ(read.opcode, IBV_WC_RDMA_READ);
  EXPECT_EQ(b->memory[200], 'w');
  EXPECT_EQ(a->memory[400], 'r');
}

TEST_F(VerbsQpTest, GivenSendsThatAreRefusedWhenPostedByQpExThenNothingIsPosted) {
  ibv_qp_ex& ex = at_a->ex;
  const auto complete = [&](int sends, bool with_bad_read) {
    ex.wr_start(&ex);
    ex.wr_flags = IBV_SEND_SIGNALED;
    for (int i = 0; i < sends; ++i) {
      ex.wr_id = 10;
      ex.wr_send(&ex);
      ex.wr_set_sge(&ex, a->mr->base.lkey, a->Sge(0, 1).addr, 1);
    }
    if (with_bad_read) {
      ex.wr_rdma_read(&ex, b->mr->base.rkey, b->Sge(0, 1).addr);
      ex.wr_set_inline_data(&ex, a->memory.data(), 1);
    }
    return ex.wr_complete(&ex);
  };
  ToRts(at_a, *b, at_b->number());
  EXPECT_EQ(complete(9, false), ENOMEM) << "the queue has eight";
  EXPECT_EQ(complete(1, true), EINVAL);
  EXPECT_TRUE(at_a->kept_sends.empty());
  ToRts(at_b, *a, at_a->number());
  ASSERT_EQ(PostReceive(at_b, 90, b->Sge(0, 64)), 0);
  ASSERT_EQ(PostSend(at_a, 91, a->Sge(0, 1)), 0);
  EXPECT_EQ(Next(*b).wr_id, 90u);
  EXPECT_EQ(Next(*a).wr_id, 91u);
  // The same with the NIC.
  while (at_a->path.load() != Path::kOpen) std::this_thread::yield();
  EXPECT_EQ(complete(17, false), ENOMEM) << "the NIC's has sixteen";
  EXPECT_EQ(complete(1, true), EINVAL);
  ASSERT_EQ(PostReceive(at_b, 92, b->Sge(0, 64)), 0);
  ASSERT_EQ(PostSend(at_a, 93, a->Sge(0, 1)), 0);
  EXPECT_EQ(Next(*b).wr_id, 92u);
  EXPECT_EQ(Next(*a).wr_id, 93u);
}

TEST_F(VerbsQpTest, GivenAKeyThatIsNoneWhenWrittenToThenTheRequestSaysSo) {
  Connect();
  ibv_sge sge = a->Sge(0, 1);
  ibv_send_wr wr = {};
  wr.wr_id = 7;
  wr.sg_list = &sge;
  wr.num_sge = 1;
  wr.opcode = IBV_WR_RDMA_WRITE;
  wr.wr.rdma = {.remote_addr = b->Sge(0, 1).addr, .rkey = b->mr->base.rkey ^ 1};
  ibv_send_wr* bad = nullptr;
  ASSERT_EQ(PostSendOp(at_a->base(), &wr, &bad), 0);
  EXPECT_EQ(Next(*a).status, IBV_WC_REM_ACCESS_ERR);
}

TEST_F(VerbsQpTest, GivenAQueuePairThatUsesItWhenACompletionQueueIsDestroyedThenBusy) {
  EXPECT_EQ(DestroyCq(a->cq), EBUSY);
  EXPECT_EQ(DestroyCq(b->cq), EBUSY);
}

TEST_F(VerbsQpTest, GivenMoreThanTheDeviceHasWhenCreatedThenRefused) {
  ibv_qp_init_attr attributes = a->QpAttributes();
  attributes.cap.max_send_wr = kMaxQueueDepth + 1;
  EXPECT_EQ(CodeOf([&] { CreateQp(*a->pd, &attributes); }), EINVAL);
  attributes = a->QpAttributes();
  attributes.recv_cq = nullptr;
  EXPECT_EQ(CodeOf([&] { CreateQp(*a->pd, &attributes); }), EINVAL);
  attributes = a->QpAttributes();
  attributes.qp_type = IBV_QPT_RAW_PACKET;
  EXPECT_EQ(CodeOf([&] { CreateQp(*a->pd, &attributes); }), EOPNOTSUPP);
  attributes = a->QpAttributes();
  attributes.cap.max_recv_wr = kMaxReceiveDepth + 1;
  EXPECT_EQ(CodeOf([&] { CreateQp(*a->pd, &attributes); }), EINVAL);
  attributes.cap.max_send_wr = kMaxQueueDepth;
  attributes.cap.max_recv_wr = kMaxReceiveDepth;
  DestroyQp(CreateQp(*a->pd, &attributes));
}

TEST_F(VerbsTest, GivenReceivesThatWereFlushedWhenResetThenTheyAreNotTheNextConnections) {
  Qp* at_a = Make(*a);
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(ToInit(at_a), 0) << round;
    ASSERT_EQ(PostReceive(at_a, 1, a->Sge(0, 64)), 0);
    ASSERT_EQ(To(at_a, IBV_QPS_ERR), 0);
    ASSERT_EQ(To(at_a, IBV_QPS_RESET), 0);
    ibv_wc wc;
    EXPECT_EQ(PollCqOp(a->cq->base(), 1, &wc), 0) << "its completions go with it";
    EXPECT_EQ(at_a->base()->state, IBV_QPS_RESET);
  }
  Qp* at_b = Make(*b);
  ToRts(at_a, *b, at_b->number());
  ToRts(at_b, *a, at_a->number());
  ASSERT_EQ(PostReceive(at_a, 2, a->Sge(0, 64)), 0);
  ASSERT_EQ(PostSend(at_b, 3, b->Sge(0, 1)), 0);
  EXPECT_EQ(Next(*a).wr_id, 2u);
  DestroyQp(at_a);
  DestroyQp(at_b);
}

TEST_F(VerbsTest, GivenAThreadInsideAPostWhenResetThenTheResetWaitsForIt) {
  Qp* at_a = Make(*a);
  Qp* at_b = Make(*b);
  ToRts(at_a, *b, at_b->number());
  ToRts(at_b, *a, at_a->number());
  while (at_a->path.load() != Path::kOpen) std::this_thread::yield();
  std::atomic<bool> over{false};
  std::thread resetter;
  {
    const PosterGuard inside(*at_a);
    ASSERT_TRUE(inside.open());
    resetter = std::thread([&] {
      EXPECT_EQ(To(at_a, IBV_QPS_RESET), 0);
      over.store(true);
    });
    while (at_a->path.load() != Path::kShut) std::this_thread::yield();
    for (int i = 0; i < 20'000 && !over.load(); ++i) std::this_thread::yield();
    EXPECT_FALSE(over.load());
  }
  resetter.join();
  DestroyQp(at_a);
  DestroyQp(at_b);
}

TEST_F(VerbsTest, GivenAThreadThatPostsWhenResetThenItIsRefusedAndNothingIsLeft) {
  for (int i = 0; i < 10; ++i) {
    Qp* at_a = Make(*a);
    Qp* at_b = Make(*b);
    ToRts(at_a, *b, at_b->number());
    ToRts(at_b, *a, at_a->number());
    while (at_a->path.load() != Path::kOpen) std::this_thread::yield();
    std::atomic<bool> stop{false};
    std::atomic<uint32_t> taken{0};
    std::thread poster([&] {
      while (!stop.load()) {
        if (PostSend(at_a, 1, a->Sge(0, 1)) == 0) taken.fetch_add(1);
        if (PostReceive(at_a, 2, a->Sge(64, 8)) == 0) taken.fetch_add(1);
      }
    });
    while (taken.load() < 20) Count(*a);  // the queues have room again when they are polled
    EXPECT_EQ(To(at_a, IBV_QPS_RESET), 0);
    EXPECT_EQ(Count(*a), 0) << "its completions go with it";
    EXPECT_EQ(at_a->base()->state, IBV_QPS_RESET);
    const uint32_t before = taken.load();
    EXPECT_EQ(PostSend(at_a, 3, a->Sge(0, 1)), EINVAL);
    stop.store(true);
    poster.join();
    // One that was taken in front of the reset may have been counted behind it.
    EXPECT_LE(taken.load(), before + 1);
    DestroyQp(at_a);
    DestroyQp(at_b);
  }
}

class FullNicTest : public VerbsTest {
 protected:
  FullNicTest() {
    a = std::make_unique<Host>(fabric, "fd00::1", Personality::kRoce, /*max_rdma_qps=*/8);
    b = std::make_unique<Host>(fabric, "fd00::2", Personality::kRoce);
    at_a = Make(*a);
  }
  ~FullNicTest() override {
    others.clear();
    DestroyQp(at_a);
  }
  /// Others have all places of the NIC's that are left.
  void Fill() {
    QpOptions options;
    options.framing = Framing::kMpa;
    options.send_cq = a->cq->real.get();
    options.recv_cq = a->cq->real.get();
    options.send_depth = 1;
    options.recv_depth = 1;
    int code = 0;
    while (code == 0) {
      code = CodeOf(
          [&] { others.push_back(a->context->session->nic().CreateQp(*a->pd->real, options)); });
    }
    ASSERT_EQ(code, ENOMEM);
  }

  const std::string fabric =
      "verbs-full-" + std::to_string(reinterpret_cast<uintptr_t>(this) & 0xffffff);
  std::vector<std::unique_ptr<QueuePair>> others;
  Qp* at_a = nullptr;
};

TEST_F(FullNicTest, GivenAConnectionThatIsEndingWhenResetThenItsPlaceIsWaitedFor) {
  Qp* at_b = Make(*b);
  ToRts(at_a, *b, at_b->number());
  ToRts(at_b, *a, at_a->number());
  // Nobody receives it, which keeps the peer's end from coming.
  ASSERT_EQ(PostSend(at_a, 1, a->Sge(0, 1)), 0);
  ASSERT_EQ(Next(*a).status, IBV_WC_SUCCESS);
  Fill();
  EXPECT_EQ(To(at_a, IBV_QPS_RESET), 0);
  EXPECT_NE(at_a->real, nullptr);
  DestroyQp(at_b);
}

TEST_F(FullNicTest, GivenAQueuePairWithoutAPlaceWhenModifiedThenItIsResetAndHasOneLater) {
  a->context->session->qps().SetReal(at_a->real->qp_num(), nullptr);
  at_a->real.reset();
  Fill();
  EXPECT_EQ(ToInit(at_a), ENOMEM);
  EXPECT_EQ(PostSend(at_a, 1, a->Sge(0, 1)), EINVAL);
  EXPECT_EQ(PostReceive(at_a, 2, a->Sge(0, 8)), EINVAL);
  ASSERT_EQ(To(at_a, IBV_QPS_ERR), 0) << "needs none";
  ASSERT_EQ(PostSend(at_a, 3, a->Sge(0, 1)), 0);
  EXPECT_EQ(Next(*a).status, IBV_WC_WR_FLUSH_ERR);
  EXPECT_EQ(To(at_a, IBV_QPS_RESET), ENOMEM);
  EXPECT_EQ(at_a->base()->state, IBV_QPS_RESET);
  others.clear();
  Qp* at_b = Make(*b);
  ToRts(at_a, *b, at_b->number());
  ToRts(at_b, *a, at_a->number());
  ASSERT_EQ(PostReceive(at_b, 4, b->Sge(0, 64)), 0);
  ASSERT_EQ(PostSend(at_a, 5, a->Sge(0, 1)), 0);
  EXPECT_EQ(Next(*b).wr_id, 4u);
  DestroyQp(at_b);
}

TEST_F(VerbsTest, GivenAQueueReadAFieldAtATimeWhenItsQueuePairIsModifiedInBetweenThenNobodyWaits) {
  Qp* at_a = Make(*a);
  ASSERT_EQ(ToInit(at_a), 0);
  for (uint64_t i = 1; i < 3; ++i) ASSERT_EQ(PostReceive(at_a, i, a->Sge(0, 64)), 0);
  ASSERT_EQ(To(at_a, IBV_QPS_ERR), 0);
  ibv_cq_ex& ex = a->cq->ex;
  ibv_poll_cq_attr attributes = {};
  ASSERT_EQ(ex.start_poll(&ex, &attributes), 0);
  EXPECT_EQ(ex.wr_id, 1u);
  EXPECT_EQ(RequestNotifyOp(a->cq->base(), 0), 0);
  EXPECT_EQ(To(at_a, IBV_QPS_RESET), 0);
  EXPECT_EQ(ex.next_poll(&ex), ENOENT);
  ex.end_poll(&ex);
  DestroyQp(at_a);
}

}  // namespace
}  // namespace qpip::verbs::test

// Queue pairs over a NIC that does nothing before it is told to: what is under way stays so.
#include <unistd.h>

#include <cstring>

#include "fake_nic.h"
#include "verbs_test.h"

namespace qpip::verbs::test {
namespace {

constexpr uint32_t kKey = 0x1111;

class HeldNicTest : public testing::Test {
 protected:
  HeldNicTest() {
    auto port = std::make_unique<qpip::test::FakeNic>();
    fake = port.get();
    fake->threaded = true;  // the engine has a thread
    const auto session =
        std::make_shared<Session>(Nic::Attach(std::move(port)), Personality::kRoce);
    device.uri = "fake:nic?address=fd00::1";
    device.session = session;
    device.opened_by = getpid();
    context = OpenContext(device);
    pd = AllocatePd(*context);
    mr = RegisterMr(*pd, memory.data(), memory.size(), reinterpret_cast<uintptr_t>(memory.data()),
                    IBV_ACCESS_LOCAL_WRITE);
    cq = CreateCq(*context, 64, nullptr, nullptr);
  }
  ~HeldNicTest() override {
    EXPECT_EQ(DestroyCq(cq), 0);
    DeregisterMr(mr);
    delete pd;
    EXPECT_THAT(fake->broken_promises, testing::IsEmpty());
    CloseContext(context);
  }

  Qp* Make(ibv_qp_type type) {
    ibv_qp_init_attr attributes = {};
    attributes.send_cq = cq->base();
    attributes.recv_cq = cq->base();
    attributes.cap = {.max_send_wr = 8,
                      .max_recv_wr = 8,
                      .max_send_sge = 1,
                      .max_recv_sge = 1,
                      .max_inline_data = 0};
    attributes.qp_type = type;
    attributes.sq_sig_all = 1;
    return CreateQp(*pd, &attributes);
  }
  /// It has a connection. The NIC has no RDMA, so one without takes the place of its queue pair.
  void Connect(Qp* qp) {
    QpOptions options;
    options.send_cq = cq->real.get();
    options.recv_cq = cq->real.get();
    options.send_depth = 8;
    options.recv_depth = 8;
    options.signal_all = true;
    QpTable& table = context->session->qps();
    table.SetReal(qp->real->qp_num(), nullptr);
    qp->real = context->session->nic().CreateQp(*pd->real, options);
    qp->real->Connect(Endpoint::Parse("[fd00::2]:5001"));
    table.SetReal(qp->real->qp_num(), qp);
    qp->SetState(IBV_QPS_RTS);
    qp->path = Path::kOpen;
  }
  static int To(Qp* qp, ibv_qp_state state) {
    ibv_qp_attr attributes = {};
    attributes.qp_state = state;
    attributes.port_num = 1;
    attributes.qkey = kKey;
    return ModifyQp(*qp, attributes, IBV_QP_STATE | IBV_QP_PORT | IBV_QP_QKEY);
  }
  ibv_sge Sge(size_t offset, uint32_t length) {
    return {.addr = reinterpret_cast<uintptr_t>(memory.data()) + offset,
            .length = length,
            .lkey = mr->base.lkey};
  }
  int PostSend(Qp* qp, uint64_t wr_id, Ah* to = nullptr) {
    ibv_sge sge = Sge(0, 16);
    ibv_send_wr wr = {};
    wr.wr_id = wr_id;
    wr.sg_list = &sge;
    wr.num_sge = 1;
    wr.opcode = IBV_WR_SEND;
    if (to != nullptr) wr.wr.ud = {.ah = &to->base, .remote_qpn = 9, .remote_qkey = kKey};
    ibv_send_wr* bad = nullptr;
    return PostSendOp(qp->base(), &wr, &bad);
  }
  int PostReceive(Qp* qp, uint64_t wr_id) {
    ibv_sge sge = Sge(1024, 200);
    ibv_recv_wr wr = {.wr_id = wr_id, .next = nullptr, .sg_list = &sge, .num_sge = 1};
    ibv_recv_wr* bad = nullptr;
    return PostRecvOp(qp->base(), &wr, &bad);
  }
  std::vector<ibv_wc> PollAll() {
    std::vector<ibv_wc> all(32);
    all.resize(static_cast<size_t>(PollCqOp(cq->base(), 32, all.data())));
    return all;
  }

  Device device;
  qpip::test::FakeNic* fake = nullptr;
  std::array<char, 2048> memory = {};
  Context* context = nullptr;
  Pd* pd = nullptr;
  Mr* mr = nullptr;
  Cq* cq = nullptr;
};

TEST_F(HeldNicTest, GivenSendsUnderWayWhenModifiedToErrorThenTheyAreToldBeforeWhatIsPostedLater) {
  Qp* qp = Make(IBV_QPT_RC);
  Connect(qp);
  for (uint64_t i = 0; i < 4; ++i) ASSERT_EQ(PostSend(qp, i), 0);
  const uint32_t handle = qp->real->qp_num();
  fake->aborts_later = true;
  bool ended = false;
  fake->when_waiting = [&] {  // the NIC is done with them when somebody waits for that
    if (ended || qp->real->state() != QpState::kClosed) return;
    ended = true;
    fake->Flush(handle);
    fake->RaiseEvent(abi::EventKind::kDisconnected, handle,
                     static_cast<uint8_t>(abi::DisconnectReason::kAborted));
  };
  ASSERT_EQ(To(qp, IBV_QPS_ERR), 0);
  EXPECT_TRUE(ended);
  ASSERT_EQ(PostSend(qp, 4), 0);
  const std::vector<ibv_wc> told = PollAll();
  ASSERT_EQ(told.size(), 5u);
  for (uint64_t i = 0; i <= 4; ++i) {
    EXPECT_EQ(told[i].wr_id, i);
    EXPECT_EQ(told[i].status, IBV_WC_WR_FLUSH_ERR);
  }
  fake->when_waiting = nullptr;
  DestroyQp(qp);
}

TEST_F(HeldNicTest, GivenDatagramsUnderWayWhenModifiedToErrorThenEachIsToldOnce) {
  Qp* qp = Make(IBV_QPT_UD);
  for (const ibv_qp_state state : {IBV_QPS_INIT, IBV_QPS_RTR, IBV_QPS_RTS}) {
    ASSERT_EQ(To(qp, state), 0);
  }
  ibv_ah_attr attributes = {};
  attributes.is_global = 1;
  attributes.port_num = 1;
  QueryGid(*context, 1, 0, &attributes.grh.dgid);
  Ah* to = CreateAh(*pd, attributes);
  for (uint64_t i = 0; i < 3; ++i) ASSERT_EQ(PostSend(qp, i, to), 0);
  for (uint64_t i = 3; i < 5; ++i) ASSERT_EQ(PostReceive(qp, i), 0);
  ASSERT_EQ(To(qp, IBV_QPS_ERR), 0);
  ASSERT_EQ(PostSend(qp, 5, to), 0);
  std::vector<uint64_t> told;
  for (const ibv_wc& wc : PollAll()) {
    EXPECT_EQ(wc.status, IBV_WC_WR_FLUSH_ERR);
    EXPECT_EQ(wc.qp_num, qp->number());
    told.push_back(wc.wr_id);
  }
  EXPECT_THAT(told, testing::UnorderedElementsAre(0, 1, 2, 3, 4, 5));
  DestroyAh(to);
  DestroyQp(qp);
}

}  // namespace
}  // namespace qpip::verbs::test

// librdmacm's identifiers and their events.
#include <poll.h>

#include "cm_test.h"

namespace qpip::verbs::test {
namespace {

class VerbsIdentifierTest : public VerbsCmTest {
 protected:
  VerbsIdentifierTest() { EXPECT_EQ(CmListen(listener, 4), 0); }
  ~VerbsIdentifierTest() override { CmDestroyId(listener); }

  CmId& listener = MakeId(channel_b, *b, kPort);
};

TEST_F(VerbsIdentifierTest, GivenAConnectionWhenItsQueuePairIsResetThenItsEndIsTold) {
  Qp* at_a = Make(*a);
  Qp* at_b = Make(*b);
  ASSERT_EQ(ToInit(at_a), 0);
  ASSERT_EQ(ToInit(at_b), 0);
  CmId& asking = MakeId(channel_a, *a, 0);
  CmId& asked = Connect(listener, asking, at_a, at_b);
  ASSERT_EQ(To(at_a, IBV_QPS_RESET), 0);
  EXPECT_EQ(NextEvent(channel_a).type, RDMA_CM_EVENT_DISCONNECTED);
  EXPECT_EQ(asking.qp, nullptr);
  EXPECT_EQ(CmDisconnect(asking), 0);
  EXPECT_EQ(NextEvent(channel_b).type, RDMA_CM_EVENT_DISCONNECTED);
  // The queue pair is as good as new.
  ASSERT_EQ(ToInit(at_a), 0);
  CmDestroyId(asked);
  CmDestroyId(asking);
  DestroyQp(at_a);
  DestroyQp(at_b);
}

TEST_F(VerbsIdentifierTest, GivenAStateInWhichNothingIsToBeResolvedWhenAskedThenInvalid) {
  CmId& id = MakeId(channel_a, *a, 0);
  EXPECT_EQ(CmResolveRoute(id), EINVAL) << "to where?";
  sockaddr_storage destination;
  SetAddress(&destination, {b->context->session->nic().address(), kPort});
  const auto* address = reinterpret_cast<const sockaddr*>(&destination);
  EXPECT_EQ(CmResolve(listener, nullptr, address), EINVAL);
  EXPECT_EQ(CmResolveRoute(listener), EINVAL);
  ASSERT_EQ(CmResolve(id, nullptr, address), 0);
  EXPECT_EQ(NextEvent(channel_a).type, RDMA_CM_EVENT_ADDR_RESOLVED);
  ASSERT_EQ(CmResolveRoute(id), 0);
  EXPECT_EQ(NextEvent(channel_a).type, RDMA_CM_EVENT_ROUTE_RESOLVED);
  CmDestroyId(id);
}

TEST_F(VerbsIdentifierTest, GivenAnEventThatIsNotAcknowledgedWhenDestroyedThenItsMemoryStays) {
  CmId& id = MakeId(channel_a, *a, 0);
  const std::weak_ptr<CmId> memory = id.self;
  for (int i = 0; i < 2; ++i) CmRaise(id, RDMA_CM_EVENT_ROUTE_RESOLVED, 0);
  rdma_cm_event* event = nullptr;
  ASSERT_EQ(CmGetEvent(*channel_a, &event), 0);
  CmDestroyId(id);
  EXPECT_FALSE(memory.expired());
  EXPECT_EQ(event->id, &id.base);
  pollfd other = {.fd = channel_a->base.fd, .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&other, 1, 0), 0) << "what nobody has got goes with it";
  CmAckEvent(event);
  EXPECT_TRUE(memory.expired());
}

TEST_F(VerbsIdentifierTest, GivenAListenerWhenNothingHappensThenItIsAskedAgainAllTheSame) {
  const std::lock_guard lock(b->context->session->control());
  // Peers that connect and say nothing are let go of when it is asked.
  const Clock::time_point next = listener.task->OnTurn();
  EXPECT_LE(next, Clock::now() + std::chrono::minutes(1));
}

TEST_F(VerbsIdentifierTest, GivenARequestThatWaitsWhenItsListenerMigratesThenItDoesToo) {
  CmId& asking = MakeId(channel_a, *a, 0);
  SetAddress(&asking.base.route.addr.dst_storage,
             {b->context->session->nic().address(), listener.listener->port()});
  rdma_conn_param parameters = {};
  ASSERT_EQ(CmConnect(asking, &parameters), 0);
  pollfd request = {.fd = channel_b->base.fd, .events = POLLIN, .revents = 0};
  ASSERT_EQ(poll(&request, 1, -1), 1);
  CmChannel* other = CmCreateChannel();
  CmMigrate(listener, other);
  const Told told = NextEvent(other);
  EXPECT_EQ(told.type, RDMA_CM_EVENT_CONNECT_REQUEST);
  EXPECT_EQ(told.id->base.channel, &other->base);
  EXPECT_EQ(poll(&request, 1, 0), 0) << "nothing is left of it there";
  CmDestroyId(*told.id);
  CmDestroyId(asking);
  CmMigrate(listener, channel_b);
  CmDestroyChannel(other);
}

TEST_F(VerbsIdentifierTest, GivenAnEndpointWithSharedReceivesWhenDestroyedThenNothingIsLeft) {
  const uint32_t users = a->pd->users.load();
  CmId& id = MakeId(channel_a, *a, 0);
  ibv_srq_init_attr shared = {};
  shared.attr = {.max_wr = 8, .max_sge = 1, .srq_limit = 0};
  ASSERT_EQ(CmCreateSrq(id, nullptr, &shared), 0);
  EXPECT_EQ(CmCreateSrq(id, nullptr, &shared), EINVAL) << "one is enough";
  ibv_qp_init_attr attributes = a->QpAttributes();
  ASSERT_EQ(CmCreateQp(id, nullptr, &attributes), 0);
  EXPECT_EQ(attributes.srq, id.base.srq);
  CmDestroySrq(id);
  EXPECT_NE(id.base.srq, nullptr) << "its queue pair uses it";
  CmDestroyEndpoint(id);
  EXPECT_EQ(a->pd->users.load(), users);
}

TEST_F(VerbsIdentifierTest, GivenAQueuePairThatCannotBeWhenCreatedThenNothingIsLeftOfIt) {
  CmId& id = MakeId(channel_a, *a, 0);
  ibv_qp_init_attr attributes = a->QpAttributes();
  attributes.send_cq = nullptr;  // the identifier's own, both
  attributes.recv_cq = nullptr;
  attributes.cap.max_send_sge = kMaxSge + 1;
  EXPECT_EQ(CodeOf([&] { CmCreateQp(id, nullptr, &attributes); }), EINVAL);
  EXPECT_EQ(attributes.send_cq, nullptr);
  EXPECT_EQ(attributes.recv_cq, nullptr);
  EXPECT_EQ(id.base.send_cq, nullptr);
  EXPECT_EQ(id.base.send_cq_channel, nullptr);
  attributes.cap.max_send_sge = 1;
  EXPECT_EQ(CmCreateQp(id, nullptr, &attributes), 0);
  CmDestroyEndpoint(id);
}

TEST_F(VerbsIdentifierTest, GivenItsPortWithSomebodyElseWhenAUdQueuePairIsCreatedThenItIsGone) {
  const uint32_t users = a->pd->users.load();
  // The number that the next queue pair will have, which is its port.
  Qp* last = Make(*a);
  const auto port = static_cast<uint16_t>(last->number() + 1);
  QpOptions options;
  options.type = QpType::kUdp;
  options.send_cq = a->cq->real.get();
  options.recv_cq = a->cq->real.get();
  const auto somebody = a->context->session->nic().CreateQp(*a->pd->real, options);
  somebody->Bind(port);
  CmId& id = *CmCreateId(channel_a, nullptr, RDMA_PS_UDP);
  id.context = a->context;
  id.base.verbs = a->context->base();
  id.base.pd = &a->pd->base;
  ibv_qp_init_attr attributes = a->QpAttributes();
  attributes.qp_type = IBV_QPT_UD;
  attributes.recv_cq = nullptr;
  EXPECT_NE(CodeOf([&] { CmCreateQp(id, nullptr, &attributes); }), 0);
  EXPECT_EQ(id.base.qp, nullptr);
  EXPECT_EQ(Find(*a, port), nullptr);
  EXPECT_EQ(id.base.recv_cq, nullptr);
  DestroyQp(last);
  CmDestroyEndpoint(id);
  EXPECT_EQ(a->pd->users.load(), users);
}

}  // namespace
}  // namespace qpip::verbs::test

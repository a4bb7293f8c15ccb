// librdmacm's connections of programs that have no queue pair: one of ours stands in.
#include "cm_test.h"

namespace qpip::verbs::test {
namespace {

class VerbsStandInTest : public VerbsCmTest {};

TEST_F(VerbsStandInTest, GivenAnIdentifierWhenOneStandsInThenItHasANumberUntilItIsDropped) {
  CmId& id = MakeId(channel_a, *a, 0);
  CmMakeStandIn(id);
  ASSERT_NE(id.stand_in, nullptr);
  const uint32_t number = id.stand_in->number();
  EXPECT_EQ(Find(*a, number), id.stand_in);
  EXPECT_EQ(id.base.qp, nullptr) << "the program has none";
  EXPECT_NE(id.stand_in->send_cq, a->cq) << "no completion of it is to be the program's";
  CmMakeStandIn(id);
  EXPECT_EQ(id.stand_in->number(), number) << "one is enough";
  CmDropStandIn(id);
  EXPECT_EQ(id.stand_in, nullptr);
  EXPECT_EQ(Find(*a, number), nullptr);
  CmDropStandIn(id);
  CmDestroyId(id);
}

TEST_F(VerbsStandInTest, GivenSeveralThatStandInWhenDestroyedThenTheirQueueGoesWithTheDevice) {
  for (int i = 0; i < 3; ++i) {
    CmId& first = MakeId(channel_a, *a, 0);
    CmId& second = MakeId(channel_a, *a, 0);
    CmMakeStandIn(first);
    CmMakeStandIn(second);
    EXPECT_EQ(first.stand_in->send_cq, second.stand_in->send_cq);
    CmDestroyId(first);
    CmDestroyId(second);
  }
  EXPECT_EQ(a->context->stand_in_cq->users.load(), 0u);
}

TEST_F(VerbsStandInTest, GivenNoQueuePairsWhenConnectedThenBothAreToldAndTheEndToo) {
  CmId& listener = MakeId(channel_b, *b, kPort);
  ASSERT_EQ(CmListen(listener, 1), 0);
  CmId& asking = MakeId(channel_a, *a, 0);
  SetAddress(&asking.base.route.addr.dst_storage,
             {b->context->session->nic().address(), listener.listener->port()});
  rdma_conn_param parameters = {};
  parameters.qp_num = 1;  // nobody's here: a connection manager's own
  ASSERT_EQ(CmConnect(asking, &parameters), 0);
  ASSERT_NE(asking.stand_in, nullptr);
  const Told request = NextEvent(channel_b);
  ASSERT_EQ(request.type, RDMA_CM_EVENT_CONNECT_REQUEST);
  request.id->base.pd = &b->pd->base;
  ASSERT_EQ(CmAccept(*request.id, &parameters), 0);
  // A program without a queue pair of the identifier's is to say itself that it is established.
  EXPECT_EQ(NextEvent(channel_a).type, RDMA_CM_EVENT_CONNECT_RESPONSE);
  EXPECT_EQ(NextEvent(channel_b).type, RDMA_CM_EVENT_ESTABLISHED);
  EXPECT_EQ(Count(*a) + Count(*b), 0) << "nobody posts to what stands in";
  ASSERT_EQ(CmDisconnect(asking), 0);
  EXPECT_EQ(NextEvent(channel_b).type, RDMA_CM_EVENT_DISCONNECTED);
  EXPECT_EQ(NextEvent(channel_a).type, RDMA_CM_EVENT_DISCONNECTED);
  CmDestroyId(*request.id);
  CmDestroyId(asking);
  CmDestroyId(listener);
}

TEST_F(VerbsStandInTest, GivenNothingSaidOfAQueuePairWhenConnectedThenRefused) {
  CmId& asking = MakeId(channel_a, *a, 0);
  SetAddress(&asking.base.route.addr.dst_storage, {b->context->session->nic().address(), kPort});
  EXPECT_EQ(CmConnect(asking, nullptr), EINVAL);
  EXPECT_EQ(asking.stand_in, nullptr);
  CmDestroyId(asking);
}

}  // namespace
}  // namespace qpip::verbs::test

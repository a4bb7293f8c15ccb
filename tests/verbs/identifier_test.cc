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

}  // namespace
}  // namespace qpip::verbs::test

// Identifiers of librdmacm on two devices in one process.
#pragma once

#include <rdma/rdma_cma.h>

#include <mutex>

#include "verbs/core/cm.h"
#include "verbs_test.h"

namespace qpip::verbs::test {

inline constexpr uint16_t kPort = 7;

class VerbsCmTest : public VerbsTest {
 protected:
  /// An identifier that is bound to `host`, without going through a device's name.
  static CmId& MakeId(CmChannel* channel, Host& host, uint16_t port) {
    CmId& id = *CmCreateId(channel, nullptr, RDMA_PS_TCP);
    id.context = host.context;
    id.base.verbs = host.context->base();
    id.base.pd = &host.pd->base;
    SetAddress(&id.base.route.addr.src_storage, {host.context->session->nic().address(), port});
    id.state = CmState::kBound;
    return id;
  }
  /// The next event's type, status and identifier.
  struct Told {
    rdma_cm_event_type type;
    int status;
    CmId* id;
  };
  static Told NextEvent(CmChannel* channel) {
    rdma_cm_event* event = nullptr;
    EXPECT_EQ(CmGetEvent(*channel, &event), 0);
    const Told told = {event->event, event->status, &Of(event->id)};
    CmAckEvent(event);
    return told;
  }
  static Qp* Find(Host& host, uint32_t number) {
    const std::lock_guard lock(host.context->session->control());
    return host.context->session->qps().Find(number);
  }

  /// `asking` asks `listener`, each with a queue pair of the program's own. Returns who was asked.
  CmId& Connect(CmId& listener, CmId& asking, Qp* at_a, Qp* at_b) {
    SetAddress(&asking.base.route.addr.dst_storage,
               {b->context->session->nic().address(), listener.listener->port()});
    rdma_conn_param parameters = {};
    parameters.qp_num = at_a->number();
    EXPECT_EQ(CmConnect(asking, &parameters), 0);
    const Told request = NextEvent(channel_b);
    EXPECT_EQ(request.type, RDMA_CM_EVENT_CONNECT_REQUEST);
    parameters.qp_num = at_b->number();
    EXPECT_EQ(CmAccept(*request.id, &parameters), 0);
    EXPECT_EQ(NextEvent(channel_a).type, RDMA_CM_EVENT_CONNECT_RESPONSE);
    EXPECT_EQ(NextEvent(channel_b).type, RDMA_CM_EVENT_ESTABLISHED);
    return *request.id;
  }

  CmChannel* channel_a = CmCreateChannel();
  CmChannel* channel_b = CmCreateChannel();
  ~VerbsCmTest() override {
    CmDestroyChannel(channel_a);
    CmDestroyChannel(channel_b);
  }
};

}  // namespace qpip::verbs::test

// Channels and events of librdmacm.
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "verbs/core/cm.h"
#include "verbs/core/semaphore_fd.h"

namespace qpip::verbs {

namespace {

void Push(CmChannel& channel, std::unique_ptr<CmEvent> event) {
  const std::lock_guard lock(channel.mutex);
  channel.waiting.push_back(std::move(event));
  PostTo(channel.base.fd);
}

// Of `id`, itself or as the one that is asked for.
std::deque<std::unique_ptr<CmEvent>> TakeOut(CmChannel& channel, const CmId& id) {
  std::deque<std::unique_ptr<CmEvent>> taken;
  std::deque<std::unique_ptr<CmEvent>> left;
  const std::lock_guard lock(channel.mutex);
  for (auto& event : channel.waiting) {
    const bool of_id = event->id.get() == &id || event->listen_id.get() == &id;
    if (of_id) TryTakeFrom(channel.base.fd);
    (of_id ? taken : left).push_back(std::move(event));
  }
  channel.waiting = std::move(left);
  return taken;
}

std::unique_ptr<CmEvent> MakeEvent(CmId& id, rdma_cm_event_type type,
                                   std::span<const std::byte> private_data, CmId* listen_id) {
  auto event = std::make_unique<CmEvent>();
  event->id = id.self;
  event->private_data.assign(private_data.begin(), private_data.end());
  event->base.id = &id.base;
  event->base.event = type;
  if (listen_id != nullptr) {
    event->listen_id = listen_id->self;
    event->base.listen_id = &listen_id->base;
  }
  return event;
}

template <typename Parameters>
void SetPrivateData(CmEvent& event, Parameters* parameters) {
  if (event.private_data.empty()) return;
  parameters->private_data = event.private_data.data();
  parameters->private_data_len =
      static_cast<uint8_t>(std::min<size_t>(event.private_data.size(), UINT8_MAX));
}

void Tell(CmId& told, std::unique_ptr<CmEvent> event) {
  Push(Of(told.base.channel), std::move(event));
}

}  // namespace

CmChannel* CmCreateChannel() {
  auto channel = std::make_unique<CmChannel>();
  channel->base.fd = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);
  if (channel->base.fd < 0) throw Error(errno, "create event channel: no descriptor");
  return channel.release();
}

// Programs have threads that wait for events, and destroy the channel under them when they are
// done (rping does). A kernel's descriptor lets such a thread wait on. So the last ones that were
// destroyed stay for a while.
void CmDestroyChannel(CmChannel* channel) {
  constexpr size_t kStay = 16;
  static std::mutex mutex;
  static auto* destroyed = new std::deque<CmChannel*>;
  const std::lock_guard lock(mutex);
  destroyed->push_back(channel);
  if (destroyed->size() <= kStay) return;
  close(destroyed->front()->base.fd);
  delete destroyed->front();
  destroyed->pop_front();
}

int CmGetEvent(CmChannel& channel, rdma_cm_event** out) {
  for (;;) {
    {
      const std::lock_guard lock(channel.mutex);
      if (!channel.waiting.empty()) {
        if (TakeFrom(channel.base.fd) != 0) return -1;
        *out = &channel.waiting.front().release()->base;
        channel.waiting.pop_front();
        return 0;
      }
    }
    if (AwaitOne(channel.base.fd) != 0) return -1;
  }
}

void CmAckEvent(rdma_cm_event* event) { delete reinterpret_cast<CmEvent*>(event); }

void CmRaise(CmId& id, rdma_cm_event_type type, int status, const rdma_conn_param& parameters,
             std::span<const std::byte> private_data, CmId* listen_id) {
  auto event = MakeEvent(id, type, private_data, listen_id);
  event->base.status = status;
  event->base.param.conn = parameters;
  SetPrivateData(*event, &event->base.param.conn);
  Tell(listen_id != nullptr ? *listen_id : id, std::move(event));
}

void CmRaiseDatagram(CmId& id, rdma_cm_event_type type, const rdma_ud_param& parameters,
                     std::span<const std::byte> private_data, CmId* listen_id) {
  auto event = MakeEvent(id, type, private_data, listen_id);
  event->base.param.ud = parameters;
  SetPrivateData(*event, &event->base.param.ud);
  Tell(listen_id != nullptr ? *listen_id : id, std::move(event));
}

void CmForgetEvents(CmId& id) {
  // A request that nobody will hear of goes with its listener.
  for (auto& event : TakeOut(Of(id.base.channel), id)) {
    if (event->listen_id.get() == &id) CmDestroyId(*event->id);
  }
}

void CmMigrate(CmId& id, CmChannel* channel) {
  // The engine reads which channel is told.
  std::unique_lock<std::mutex> control;
  if (id.context != nullptr) control = std::unique_lock(id.context->session->control());
  CmChannel& from = Of(id.base.channel);
  const bool owned = id.sync();
  CmChannel* to = channel != nullptr ? channel : CmCreateChannel();
  id.tail.sync = channel == nullptr ? 1 : 0;
  auto moved = TakeOut(from, id);
  id.base.channel = &to->base;
  for (auto& event : moved) {
    // Who asks, and has not been heard of, comes from where its listener is.
    if (event->listen_id.get() == &id) event->id->base.channel = &to->base;
    Push(*to, std::move(event));
  }
  if (owned) CmDestroyChannel(&from);
}

}  // namespace qpip::verbs

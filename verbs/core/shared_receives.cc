#include "verbs/core/shared_receives.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "verbs/core/queue_pair.h"

namespace qpip::verbs {

namespace {

// A quarter of the store may lie with queue pairs that nobody sends to.
uint32_t ShareOf(const Srq& srq) {
  const auto users = static_cast<uint32_t>(std::max<size_t>(srq.users.size(), 1));
  return std::clamp<uint32_t>(srq.attributes.max_wr / 4 / users, 1, kShareOfOne);
}

// Whether the NIC has taken it.
bool PostOne(Qp& qp, KeptReceive& receive) {
  ibv_recv_wr wr = {.wr_id = receive.wr_id,
                    .next = nullptr,
                    .sg_list = receive.list.data(),
                    .num_sge = static_cast<int>(receive.list.size())};
  const std::lock_guard lock(qp.post_mutex);
  return qp.real != nullptr && qp.path.load() != Path::kDead && qp.real->PostRecv(&wr) == 0;
}

// The one of those that lack receives that has the fewest; nullptr: none lacks any.
Qp* Neediest(const Srq& srq, std::span<Qp* const> refused) {
  Qp* neediest = nullptr;
  for (Qp* qp : srq.users) {
    if (qp->shared.size() >= ShareOf(srq)) continue;
    if (std::find(refused.begin(), refused.end(), qp) != refused.end()) continue;
    if (neediest == nullptr || qp->shared.size() < neediest->shared.size()) neediest = qp;
  }
  return neediest;
}

}  // namespace

void Srq::DistributeLocked() {
  std::vector<Qp*> refused;
  while (!waiting.empty()) {
    Qp* qp = Neediest(*this, refused);
    if (qp == nullptr) return;
    if (!PostOne(*qp, waiting.front())) {
      refused.push_back(qp);
      continue;
    }
    qp->shared.push_back(std::move(waiting.front()));
    waiting.pop_front();
    ++given;
  }
}

void Srq::CheckLimitLocked() {
  if (attributes.srq_limit == 0 || waiting.size() + given >= attributes.srq_limit) return;
  attributes.srq_limit = 0;  // once
  ibv_async_event event = {};
  event.element.srq = &base;
  event.event_type = IBV_EVENT_SRQ_LIMIT_REACHED;
  context->async_events.Raise(event);
}

Srq* CreateSrq(Pd& pd, ibv_srq_init_attr* attributes) {
  const ibv_srq_attr& asked = attributes->attr;
  if (asked.max_wr == 0 || asked.max_wr > kMaxSharedReceives || asked.max_sge > kMaxSge) {
    throw Error(EINVAL, "create shared receive queue: more than ibv_query_device allows");
  }
  auto srq = std::make_unique<Srq>();
  srq->context = &Of(pd.base.context);
  srq->pd = &pd;
  srq->max_sge = std::max(asked.max_sge, 1u);
  srq->attributes = asked;
  srq->attributes.srq_limit = 0;
  srq->base.context = pd.base.context;
  srq->base.srq_context = attributes->srq_context;
  srq->base.pd = &pd.base;
  pthread_mutex_init(&srq->base.mutex, nullptr);
  pthread_cond_init(&srq->base.cond, nullptr);
  ++pd.users;
  return srq.release();
}

int DestroySrq(Srq* srq) {
  {
    const std::lock_guard lock(srq->mutex);
    if (!srq->users.empty()) return EBUSY;
  }
  ibv_srq& base = srq->base;
  const uint32_t got = srq->context->async_events.Forget(&base);
  pthread_mutex_lock(&base.mutex);
  while (base.events_completed != got) pthread_cond_wait(&base.cond, &base.mutex);
  pthread_mutex_unlock(&base.mutex);
  pthread_mutex_destroy(&base.mutex);
  pthread_cond_destroy(&base.cond);
  --srq->pd->users;
  delete srq;
  return 0;
}

int ModifySrq(Srq& srq, const ibv_srq_attr& attributes, int mask) {
  if ((mask & IBV_SRQ_MAX_WR) != 0) return EOPNOTSUPP;
  const std::lock_guard lock(srq.mutex);
  if ((mask & IBV_SRQ_LIMIT) == 0) return 0;
  if (attributes.srq_limit > srq.attributes.max_wr) return EINVAL;
  srq.attributes.srq_limit = attributes.srq_limit;
  srq.CheckLimitLocked();
  return 0;
}

int QuerySrq(Srq& srq, ibv_srq_attr* attributes) {
  const std::lock_guard lock(srq.mutex);
  *attributes = srq.attributes;
  return 0;
}

int PostSrqRecvOp(ibv_srq* base, ibv_recv_wr* wr, ibv_recv_wr** bad) {
  Srq& srq = Of(base);
  const std::lock_guard lock(srq.mutex);
  int error = 0;
  for (; wr != nullptr; wr = wr->next) {
    const bool fits = wr->num_sge >= 0 && static_cast<uint32_t>(wr->num_sge) <= srq.max_sge;
    const bool room = srq.waiting.size() + srq.given < srq.attributes.max_wr;
    if (!fits || !room) {
      *bad = wr;
      error = fits ? ENOMEM : EINVAL;
      break;
    }
    srq.waiting.push_back({.wr_id = wr->wr_id, .list = {wr->sg_list, wr->sg_list + wr->num_sge}});
  }
  srq.DistributeLocked();
  return error;
}

void JoinShared(Qp& qp) {
  Srq& srq = *qp.srq;
  const std::lock_guard lock(srq.mutex);
  if (std::find(srq.users.begin(), srq.users.end(), &qp) == srq.users.end()) {
    srq.users.push_back(&qp);
  }
  srq.DistributeLocked();
}

void LeaveShared(Qp& qp) {
  Srq& srq = *qp.srq;
  const std::lock_guard lock(srq.mutex);
  std::erase(srq.users, &qp);
}

void GiveBackShared(Qp& qp) {
  Srq& srq = *qp.srq;
  const std::lock_guard lock(srq.mutex);
  srq.given -= static_cast<uint32_t>(qp.shared.size());
  srq.waiting.insert(srq.waiting.begin(), std::make_move_iterator(qp.shared.begin()),
                     std::make_move_iterator(qp.shared.end()));
  qp.shared.clear();
  srq.DistributeLocked();
}

void OnSharedReceiveDone(Qp& qp, bool used) {
  Srq& srq = *qp.srq;
  const std::lock_guard lock(srq.mutex);
  if (qp.shared.empty()) return;  // it has left
  if (!used) srq.waiting.push_front(std::move(qp.shared.front()));
  qp.shared.pop_front();
  --srq.given;
  srq.DistributeLocked();
  if (used) srq.CheckLimitLocked();
}

}  // namespace qpip::verbs

// Queue pairs: creation and the states.
#include "verbs/core/queue_pair.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace qpip::verbs {

namespace {

// QPIP puts a request of its own in front, which sets the connection up. The deepest queues have it
// among their own: it is done before a program can have filled one.
constexpr uint32_t kOwnSends = 1;

QpOptions OptionsFor(const Qp& qp) {
  const ibv_qp_cap& cap = qp.init.cap;
  if (qp.init.qp_type == IBV_QPT_UD) {
    return {.type = QpType::kUdp,
            .send_cq = qp.send_cq->real.get(),
            .recv_cq = qp.recv_cq->real.get(),
            .send_depth = std::max(cap.max_send_wr, 1u),
            .recv_depth = std::max(cap.max_recv_wr, 1u),
            .max_send_sge = cap.max_send_sge + 1,
            .max_recv_sge = cap.max_recv_sge + 1,
            .max_inline = cap.max_inline_data + static_cast<uint32_t>(sizeof(DatagramHeader)),
            .signal_all = qp.init.sq_sig_all != 0};
  }
  return {
      .type = QpType::kTcp,
      .framing = Framing::kMpa,
      .send_cq = qp.send_cq->real.get(),
      .recv_cq = qp.recv_cq->real.get(),
      .send_depth = std::min<uint32_t>(std::max(cap.max_send_wr, 1u) + kOwnSends, kMaxQueueDepth),
      .recv_depth = qp.srq != nullptr ? kShareOfOne : std::max(cap.max_recv_wr, 1u),
      .max_send_sge = std::max(cap.max_send_sge, 1u),
      .max_recv_sge = qp.srq != nullptr ? qp.srq->max_sge : std::max(cap.max_recv_sge, 1u),
      .max_inline = cap.max_inline_data,
      .signal_all = qp.init.sq_sig_all != 0,
      .wait_for_receive = true};
}

// With both queues' poll mutexes nobody is looking for the queue pair.
template <typename Action>
void WithPollMutexes(Qp& qp, Action action) {
  if (qp.send_cq == qp.recv_cq) {
    const std::lock_guard lock(qp.send_cq->poll_mutex);
    action();
  } else {
    const std::scoped_lock lock(qp.send_cq->poll_mutex, qp.recv_cq->poll_mutex);
    action();
  }
}

template <typename Action>
void ForEachQueue(Qp& qp, Action action) {
  action(*qp.send_cq);
  if (qp.send_cq != qp.recv_cq) action(*qp.recv_cq);
}

// The NIC's `number` is `qp`'s from now on. What a queue pair that had it before has left in the
// queues is nobody's.
void SetReal(Qp& qp, uint32_t number) {
  WithPollMutexes(qp, [&] {
    ForEachQueue(qp, HoldLocked);
    qp.context->session->qps().SetReal(number, &qp);
  });
}

void MakeReal(Qp& qp) {
  qp.real = qp.context->session->nic().CreateQp(*qp.pd->real, OptionsFor(qp));
  // A UDP queue pair's number is its port.
  if (qp.datagrams == nullptr) SetReal(qp, qp.real->qp_num());
}

// The same. Where the NIC has no place, and connections of queue pairs that are destroyed are about
// to end, one of theirs.
void MakeRealInTime(Qp& qp, std::unique_lock<std::mutex>& control) {
  for (;;) {
    try {
      MakeReal(qp);
      return;
    } catch (const Error& error) {
      const bool full = error.code() == ENOMEM;
      if (!full || !qp.context->session->engine().AwaitLingering(control)) throw;
    }
  }
}

// A UD queue pair takes part from INIT on.
void BindReal(Qp& qp) {
  qp.real->Bind(static_cast<uint16_t>(qp.number()));
  SetReal(qp, qp.number());
}

// The NIC takes the memory back from a peer that has stopped after a quarter of that.
constexpr std::chrono::seconds kDrainPatience(1);

// Of a UD queue pair nothing comes any more. What has come already is kept, and sends that are
// under way are told: they are done, or the NIC has flushed them, when its queue pair has gone.
void EndDatagrams(Qp& qp) {
  WithPollMutexes(qp, [&] {
    ForEachQueue(qp, HoldLocked);
    qp.Fail();  // before anybody else finds receives that were flushed already
  });
  if (qp.real == nullptr) return;
  qp.real.reset();
  WithPollMutexes(qp, [&] {
    ForEachQueue(qp, HoldLocked);
    qp.context->session->qps().SetReal(qp.number(), nullptr);
  });
}

/// A connection whose program is done with it: the end of the stream goes behind what was sent,
/// with the acknowledgement of what has come, which a reset would not take along. The NIC has the
/// program's memory only as long as that is registered.
class Lingering : public Task {
 public:
  Lingering(Engine& engine, std::unique_ptr<QueuePair> real)
      : engine_(engine), real_(std::move(real)) {}

  Clock::time_point OnTurn() override {
    if (real_->state() != QpState::kClosed && Clock::now() < deadline_) return deadline_;
    engine_.Remove(this);
    engine_.Wake();  // who waits for the last of them
    return Clock::time_point::max();
  }
  // Or the peer would not know of its last sends that they are done, if a packet was lost.
  bool Lingers() const override { return true; }

 private:
  Engine& engine_;
  std::unique_ptr<QueuePair> real_;
  const Clock::time_point deadline_ = Clock::now() + std::chrono::seconds(1);
};

// Its completions go with it.
void DropReal(Qp& qp) {
  WithPollMutexes(qp, [&] {
    ForEachQueue(qp, [&](Cq& cq) { ForgetLocked(cq, qp.number()); });
    if (qp.real == nullptr) return;
    const uint32_t number = qp.datagrams != nullptr ? qp.number() : qp.real->qp_num();
    qp.context->session->qps().SetReal(number, nullptr);
  });
  if (qp.real == nullptr) return;
  // What a shared queue has lent is to be free when this returns.
  if (qp.srq != nullptr) LeaveShared(qp);
  const bool at_once = qp.datagrams != nullptr || qp.srq != nullptr;
  const QpState state = at_once ? QpState::kClosed : qp.real->state();
  if (state == QpState::kConnected || state == QpState::kPeerClosed ||
      state == QpState::kShutdown) {
    try {
      qp.real->Shutdown();
      Engine& engine = qp.context->session->engine();
      engine.Add(std::make_shared<Lingering>(engine, std::move(qp.real)));
    } catch (const Error&) {
      // It has ended meanwhile.
    }
  }
  qp.real.reset();
  if (qp.srq != nullptr) GiveBackShared(qp);
}

void StopTask(Qp& qp) {
  if (qp.task == nullptr) return;
  qp.context->session->engine().Remove(qp.task.get());
  qp.task.reset();
}

void CheckCaps(const ibv_qp_init_attr& attributes) {
  const ibv_qp_cap& cap = attributes.cap;
  const bool own = attributes.srq == nullptr;
  if (cap.max_send_wr > kMaxQueueDepth || (own && cap.max_recv_wr > kMaxReceiveDepth) ||
      cap.max_send_sge > kMaxSge || (own && cap.max_recv_sge > kMaxSge) ||
      cap.max_inline_data > kMaxInline) {
    throw Error(EINVAL, "create queue pair: more than ibv_query_device allows");
  }
  // Its header takes an element and some bytes.
  if (attributes.qp_type == IBV_QPT_UD &&
      (cap.max_send_sge >= kMaxSge || cap.max_recv_sge >= kMaxSge ||
       cap.max_inline_data > kMaxInline - sizeof(DatagramHeader))) {
    throw Error(EINVAL, "create queue pair: more than a UD queue pair has");
  }
  if (attributes.srq != nullptr && attributes.qp_type == IBV_QPT_UD) {
    throw Error(EOPNOTSUPP, "create queue pair: no shared receives of datagrams");
  }
}

// The queue pair is reset, too, where it has no place of the NIC's afterwards. Throws Error then.
void Reset(Qp& qp, std::unique_lock<std::mutex>& control) {
  StopTask(qp);
  const auto shut = [&] {
    qp.ex.qp_base.state = IBV_QPS_RESET;
    qp.path.store(Path::kShut, std::memory_order_seq_cst);
  };
  {
    const std::lock_guard lock(qp.post_mutex);
    shut();  // nobody goes to the NIC's from now on
  }
  qp.AwaitPosters();
  // One that has no connection yet can still have one.
  const bool connected = qp.real != nullptr && qp.real->state() != QpState::kIdle;
  if (connected && qp.on_destroy) std::exchange(qp.on_destroy, nullptr)();
  DropReal(qp);
  {
    // Again: until then a poll may have found that it had ended.
    const std::lock_guard lock(qp.post_mutex);
    shut();
    if (qp.datagrams != nullptr) qp.datagrams->TakePosted();
    qp.kept_sends.clear();
    qp.kept_receives.clear();
    qp.told_receives = 0;
    qp.parked.clear();
    qp.failed = false;
    qp.last_told = false;
  }
  // ... and a post that it was flushed.
  WithPollMutexes(qp, [&] { ForEachQueue(qp, [&](Cq& cq) { ForgetLocked(cq, qp.number()); }); });
  // Its own place may be that of a connection which is ending.
  MakeRealInTime(qp, control);
}

bool MayGo(ibv_qp_state from, ibv_qp_state to) {
  if (to == IBV_QPS_RESET || to == IBV_QPS_ERR) return true;
  switch (from) {
    case IBV_QPS_RESET:
      return to == IBV_QPS_INIT;
    case IBV_QPS_INIT:
      return to == IBV_QPS_INIT || to == IBV_QPS_RTR;
    case IBV_QPS_RTR:
      return to == IBV_QPS_RTS;
    case IBV_QPS_RTS:
      return to == IBV_QPS_RTS;
    default:
      return false;
  }
}

// What InfiniBand requires for a change of state (its specification 11.2.4.2), as far as it has a
// meaning here.
int RequiredMask(const Qp& qp, ibv_qp_state from, ibv_qp_state to) {
  if (!qp.roce() || qp.managed) return 0;
  if (qp.datagrams != nullptr) {
    const bool first = from == IBV_QPS_RESET && to == IBV_QPS_INIT;
    return first ? IBV_QP_PORT | IBV_QP_QKEY : 0;
  }
  if (from == IBV_QPS_RESET && to == IBV_QPS_INIT) return IBV_QP_PORT | IBV_QP_ACCESS_FLAGS;
  if (to == IBV_QPS_RTR) return IBV_QP_AV | IBV_QP_DEST_QPN;
  return 0;
}

void CopyAttributes(ibv_qp_attr* to, const ibv_qp_attr& from, int mask) {
  const auto copy = [&](int bit, auto member) {
    if ((mask & bit) != 0) to->*member = from.*member;
  };
  copy(IBV_QP_ACCESS_FLAGS, &ibv_qp_attr::qp_access_flags);
  copy(IBV_QP_PKEY_INDEX, &ibv_qp_attr::pkey_index);
  copy(IBV_QP_PORT, &ibv_qp_attr::port_num);
  copy(IBV_QP_QKEY, &ibv_qp_attr::qkey);
  copy(IBV_QP_AV, &ibv_qp_attr::ah_attr);
  copy(IBV_QP_PATH_MTU, &ibv_qp_attr::path_mtu);
  copy(IBV_QP_TIMEOUT, &ibv_qp_attr::timeout);
  copy(IBV_QP_RETRY_CNT, &ibv_qp_attr::retry_cnt);
  copy(IBV_QP_RNR_RETRY, &ibv_qp_attr::rnr_retry);
  copy(IBV_QP_RQ_PSN, &ibv_qp_attr::rq_psn);
  copy(IBV_QP_MAX_QP_RD_ATOMIC, &ibv_qp_attr::max_rd_atomic);
  copy(IBV_QP_ALT_PATH, &ibv_qp_attr::alt_ah_attr);
  copy(IBV_QP_MIN_RNR_TIMER, &ibv_qp_attr::min_rnr_timer);
  copy(IBV_QP_SQ_PSN, &ibv_qp_attr::sq_psn);
  copy(IBV_QP_MAX_DEST_RD_ATOMIC, &ibv_qp_attr::max_dest_rd_atomic);
  copy(IBV_QP_PATH_MIG_STATE, &ibv_qp_attr::path_mig_state);
  copy(IBV_QP_DEST_QPN, &ibv_qp_attr::dest_qp_num);
}

}  // namespace

Qp* CreateQp(Pd& pd, ibv_qp_init_attr* attributes) {
  CheckCaps(*attributes);
  if (attributes->send_cq == nullptr || attributes->recv_cq == nullptr) {
    throw Error(EINVAL, "create queue pair: a completion queue is missing");
  }
  auto qp = std::make_unique<Qp>();
  qp->context = &Of(pd.base.context);
  const bool roce = qp->roce();
  const ibv_qp_type type = attributes->qp_type;
  if (type != IBV_QPT_RC && !(roce && (type == IBV_QPT_UC || type == IBV_QPT_UD))) {
    throw Error(EOPNOTSUPP, "create queue pair: only RC, and with roce UC and UD");
  }
  qp->pd = &pd;
  qp->send_cq = &Of(attributes->send_cq);
  qp->recv_cq = &Of(attributes->recv_cq);
  qp->srq = attributes->srq != nullptr ? &Of(attributes->srq) : nullptr;
  qp->init = *attributes;
  Session& session = *qp->context->session;
  std::unique_lock lock(session.control());
  ibv_qp& base = *qp->base();
  base.qp_num = session.qps().Reserve(qp.get());
  if (base.qp_num == 0) throw Error(ENOMEM, "create queue pair: all numbers are taken");
  try {
    if (type == IBV_QPT_UD) {
      qp->datagrams = std::make_unique<Datagrams>(pd, std::max(qp->init.cap.max_send_wr, 1u),
                                                  std::max(qp->init.cap.max_recv_wr, 1u));
      qp->send_cq->has_datagrams = true;
      qp->recv_cq->has_datagrams = true;
    }
    MakeRealInTime(*qp, lock);
  } catch (...) {
    session.qps().Release(base.qp_num);
    throw;
  }
  base.context = qp->context->base();
  base.qp_context = attributes->qp_context;
  base.pd = &pd.base;
  base.send_cq = attributes->send_cq;
  base.recv_cq = attributes->recv_cq;
  base.srq = attributes->srq;
  base.handle = base.qp_num;
  base.state = IBV_QPS_RESET;
  base.qp_type = attributes->qp_type;
  pthread_mutex_init(&base.mutex, nullptr);
  pthread_cond_init(&base.cond, nullptr);
  qp->attributes.cap = attributes->cap;
  ++pd.users;
  ++qp->send_cq->users;
  ++qp->recv_cq->users;
  FillSendOperations(*qp);
  return qp.release();
}

void DestroyQp(Qp* qp) {
  Session& session = *qp->context->session;
  {
    const std::lock_guard lock(session.control());
    if (qp->on_destroy) qp->on_destroy();
    StopTask(*qp);
    DropReal(*qp);
    session.qps().Release(qp->number());
  }
  ibv_qp& base = *qp->base();
  const uint32_t given = qp->context->async_events.Forget(&base);
  pthread_mutex_lock(&base.mutex);
  while (base.events_completed != given) pthread_cond_wait(&base.cond, &base.mutex);
  pthread_mutex_unlock(&base.mutex);
  pthread_mutex_destroy(&base.mutex);
  pthread_cond_destroy(&base.cond);
  --qp->pd->users;
  --qp->send_cq->users;
  --qp->recv_cq->users;
  delete qp;
}

int ModifyQp(Qp& qp, const ibv_qp_attr& attributes, int mask) {
  const std::lock_guard modifying(qp.modifying);
  std::unique_lock control(qp.context->session->control());
  return ModifyQpLocked(qp, attributes, mask, control);
}

namespace {

// What a change of state does. Returns 0 or an errno value; throws Error.
int Go(Qp& qp, ibv_qp_state from, ibv_qp_state to, std::unique_lock<std::mutex>& control) {
  if (to == IBV_QPS_RESET && from != IBV_QPS_RESET) Reset(qp, control);
  if (to == IBV_QPS_ERR && qp.datagrams == nullptr) {
    StopTask(qp);  // or it would go on to connect
    qp.Fail();
    // Programs post one more and take what they had for done when that is told.
    if (qp.real != nullptr) qp.real->WaitDrained(kDrainPatience);
    qp.TellLast();
  }
  if (to == IBV_QPS_ERR && qp.datagrams != nullptr) EndDatagrams(qp);
  if (to == IBV_QPS_ERR) return 0;
  // There was no place for it.
  if (from == IBV_QPS_RESET && qp.real == nullptr) MakeRealInTime(qp, control);
  if (from == IBV_QPS_RESET && to == IBV_QPS_INIT && qp.datagrams != nullptr) BindReal(qp);
  if (from == IBV_QPS_RESET && to == IBV_QPS_INIT && qp.srq != nullptr) JoinShared(qp);
  // 0 is nobody's number: librdmacm connects those.
  if (to == IBV_QPS_RTR && qp.roce() && !qp.managed && qp.datagrams == nullptr &&
      qp.attributes.dest_qp_num != 0) {
    if (qp.attributes.ah_attr.is_global == 0) return EINVAL;  // Ethernet: a GID, no LID
    StartPairing(qp);
  }
  return 0;
}

}  // namespace

int ModifyQpLocked(Qp& qp, const ibv_qp_attr& attributes, int mask,
                   std::unique_lock<std::mutex>& control) {
  const ibv_qp_state from = qp.base()->state;
  const ibv_qp_state to = (mask & IBV_QP_STATE) != 0 ? attributes.qp_state : from;
  if ((mask & IBV_QP_CUR_STATE) != 0 && attributes.cur_qp_state != from) return EINVAL;
  if (to == IBV_QPS_SQD) return EOPNOTSUPP;  // sends under way cannot be held up
  if (!MayGo(from, to)) return EINVAL;
  const int required = RequiredMask(qp, from, to);
  if ((mask & required) != required) return EINVAL;
  if ((mask & IBV_QP_PORT) != 0 && attributes.port_num != 1) return EINVAL;
  const ibv_qp_attr before = qp.attributes;
  CopyAttributes(&qp.attributes, attributes, mask);
  int error;
  try {
    error = Go(qp, from, to, control);
  } catch (const Error& failure) {
    error = failure.code();
  }
  if (error != 0) {
    qp.attributes = before;
    return error;
  }
  qp.SetState(to);
  return 0;
}

int QueryQp(Qp& qp, ibv_qp_attr* attributes, ibv_qp_init_attr* init) {
  const std::lock_guard lock(qp.context->session->control());
  *attributes = qp.attributes;
  attributes->qp_state = qp.base()->state;
  attributes->cur_qp_state = qp.base()->state;
  *init = qp.init;
  init->qp_context = qp.base()->qp_context;
  return 0;
}

ibv_qp* CreateQpExOp(ibv_context* context, ibv_qp_init_attr_ex* attributes) {
  constexpr uint32_t kKnown =
      IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS | IBV_QP_INIT_ATTR_CREATE_FLAGS;
  constexpr uint64_t kOperations =
      IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM | IBV_QP_EX_WITH_SEND |
      IBV_QP_EX_WITH_RDMA_READ | IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP |
      IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD | IBV_QP_EX_WITH_LOCAL_INV | IBV_QP_EX_WITH_SEND_WITH_INV;
  const uint32_t mask = attributes->comp_mask;
  const uint64_t known = attributes->qp_type == IBV_QPT_UD
                             ? uint64_t{IBV_QP_EX_WITH_SEND} | IBV_QP_EX_WITH_SEND_WITH_IMM
                             : kOperations;
  const uint64_t operations =
      (mask & IBV_QP_INIT_ATTR_SEND_OPS_FLAGS) != 0 ? attributes->send_ops_flags : 0;
  if ((mask & ~kKnown) != 0 || (operations & ~known) != 0 ||
      ((mask & IBV_QP_INIT_ATTR_CREATE_FLAGS) != 0 && attributes->create_flags != 0)) {
    errno = EOPNOTSUPP;
    return nullptr;
  }
  if ((mask & IBV_QP_INIT_ATTR_PD) == 0 || attributes->pd->context != context) {
    errno = EINVAL;
    return nullptr;
  }
  try {
    // The longer struct begins as the shorter one.
    Qp* qp = CreateQp(Of(attributes->pd), reinterpret_cast<ibv_qp_init_attr*>(attributes));
    qp->ex.comp_mask = mask;
    return qp->base();
  } catch (const Error& error) {
    errno = error.code();
    return nullptr;
  }
}

}  // namespace qpip::verbs

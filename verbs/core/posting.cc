// Queue pairs: what is posted, and what becomes of it where the NIC has no connection for it.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "verbs/core/queue_pair.h"

namespace qpip::verbs {

namespace {

ibv_wc_opcode OpcodeOf(ibv_wr_opcode opcode) {
  switch (opcode) {
    case IBV_WR_RDMA_WRITE:
    case IBV_WR_RDMA_WRITE_WITH_IMM:
      return IBV_WC_RDMA_WRITE;
    case IBV_WR_RDMA_READ:
      return IBV_WC_RDMA_READ;
    case IBV_WR_ATOMIC_CMP_AND_SWP:
      return IBV_WC_COMP_SWAP;
    case IBV_WR_ATOMIC_FETCH_AND_ADD:
      return IBV_WC_FETCH_ADD;
    case IBV_WR_LOCAL_INV:
      return IBV_WC_LOCAL_INV;
    default:
      return IBV_WC_SEND;
  }
}

// Whether the peer has gone, by itself or by the network's doing, rather than this side.
bool PeerHasGone(DisconnectReason reason) {
  switch (reason) {
    case DisconnectReason::kClosed:
    case DisconnectReason::kReset:
    case DisconnectReason::kTimedOut:
    case DisconnectReason::kUnreachable:
      return true;
    default:
      return false;
  }
}

int PostReal(Qp& qp, ibv_send_wr* wr, ibv_send_wr** bad, Posting posting) {
  if (posting == Posting::kUpToBad) [[likely]]
    return qp.real->PostSend(wr, bad);
  *bad = wr;
  return qp.real->PostSendAll(wr);
}

// Whether the NIC will take it when there is a connection: 0, or the errno value that it answers.
// One that is refused then would take the connection along.
int CheckEarly(const ibv_send_wr& wr, const ibv_qp_cap& cap) {
  const auto most = std::max(cap.max_send_sge, 1u);
  if (wr.num_sge < 0 || static_cast<uint32_t>(wr.num_sge) > most) return EINVAL;
  uint64_t bytes = 0;
  for (int i = 0; i < wr.num_sge; ++i) bytes += wr.sg_list[i].length;
  const bool is_inline = (wr.send_flags & IBV_SEND_INLINE) != 0;
  if (is_inline && bytes > cap.max_inline_data) return EINVAL;
  switch (wr.opcode) {
    case IBV_WR_SEND:
    case IBV_WR_SEND_WITH_INV:
    case IBV_WR_RDMA_WRITE:
    case IBV_WR_RDMA_WRITE_WITH_IMM:
      break;
    case IBV_WR_RDMA_READ:
      if (is_inline || wr.num_sge > kMaxReadSge) return EINVAL;
      break;
    case IBV_WR_ATOMIC_CMP_AND_SWP:
    case IBV_WR_ATOMIC_FETCH_AND_ADD:
      if (is_inline || wr.num_sge != 1 || bytes != sizeof(uint64_t)) return EINVAL;
      break;
    case IBV_WR_LOCAL_INV:
      if (wr.num_sge != 0) return EINVAL;
      break;
    default:
      return EOPNOTSUPP;
  }
  return bytes > kMaxMessage ? EMSGSIZE : 0;
}

}  // namespace

KeptSend Keep(const ibv_send_wr& wr) {
  KeptSend kept;
  kept.wr = wr;
  kept.wr.next = nullptr;
  kept.list.assign(wr.sg_list, wr.sg_list + wr.num_sge);
  if ((wr.send_flags & IBV_SEND_INLINE) == 0) return kept;
  for (const ibv_sge& sge : kept.list) {
    const auto* from = reinterpret_cast<const std::byte*>(static_cast<uintptr_t>(sge.addr));
    kept.inline_data.insert(kept.inline_data.end(), from, from + sge.length);
  }
  return kept;
}

void PointToKept(KeptSend* kept, ibv_sge* inline_sge) {
  const bool is_inline = (kept->wr.send_flags & IBV_SEND_INLINE) != 0;
  *inline_sge = {.addr = reinterpret_cast<uintptr_t>(kept->inline_data.data()),
                 .length = static_cast<uint32_t>(kept->inline_data.size()),
                 .lkey = 0};
  kept->wr.sg_list = is_inline ? inline_sge : kept->list.data();
  kept->wr.num_sge = is_inline ? 1 : static_cast<int>(kept->list.size());
}

ibv_wc Qp::Flushed(uint64_t wr_id, ibv_wc_opcode opcode, ibv_wc_status status) const {
  ibv_wc wc = {};
  wc.wr_id = wr_id;
  wc.status = status;
  wc.opcode = opcode;
  wc.qp_num = number();
  return wc;
}

bool Qp::Admit(WorkCompletion* completion) {
  completion->qp_num = number();
  const bool receive = (completion->opcode & IBV_WC_RECV) != 0;
  if (datagrams != nullptr) {
    const std::lock_guard lock(post_mutex);
    return datagrams->Admit(*this, completion);
  }
  if (srq != nullptr && receive) {
    // What a queue pair that has failed gives back is no completion of its own.
    const bool used = completion->status != IBV_WC_WR_FLUSH_ERR && !completion->end_of_stream &&
                      completion->status != IBV_WC_RETRY_EXC_ERR &&
                      completion->status != IBV_WC_REM_ABORT_ERR;
    OnSharedReceiveDone(*this, used);
    if (!used) return false;
  }
  if (completion->status == IBV_WC_SUCCESS && !completion->end_of_stream) [[likely]]
    return true;
  // At the peer's FIN, with which the connection is not over yet, receives are flushed already.
  if (receive && completion->reason == DisconnectReason::kNone) {
    completion->reason = DisconnectReason::kClosed;
  }
  if (completion->end_of_stream) completion->status = IBV_WC_WR_FLUSH_ERR;
  const std::lock_guard lock(post_mutex);
  if (receive && told_receives != 0) {
    --told_receives;
    return false;
  }
  const bool gone = PeerHasGone(completion->reason);
  if (receive && gone) completion->status = IBV_WC_WR_FLUSH_ERR;
  // A queue pair that the program has connected by itself does not notice that its peer is gone
  // before it sends: that is InfiniBand's way, and programs end as they please.
  if (receive && gone && roce() && !managed && path.load() != Path::kDead) {
    parked.push_back(completion->wr_id);
    return false;
  }
  if (!receive && gone && roce() && !failed) {
    failed = true;
    if (completion->status == IBV_WC_REM_ABORT_ERR) completion->status = IBV_WC_RETRY_EXC_ERR;
  }
  DieLocked();
  TellLastLocked();
  return true;
}

// Of what was posted nothing is done any more.
void Qp::DieLocked() {
  path.store(Path::kDead, std::memory_order_release);
  ex.qp_base.state = IBV_QPS_ERR;
  if (datagrams != nullptr) parked = datagrams->TakePosted();
  std::vector<ibv_wc> receives;
  for (const uint64_t wr_id : parked) {
    receives.push_back(Flushed(wr_id, IBV_WC_RECV, IBV_WC_WR_FLUSH_ERR));
  }
  parked.clear();
  recv_cq->Inject(receives);
}

// Programs wait for it before they destroy a queue pair that shares its receives (InfiniBand's
// specification 10.3.1).
void Qp::TellLastLocked() {
  if (srq == nullptr || std::exchange(last_told, true)) return;
  ibv_async_event event = {};
  event.element.qp = base();
  event.event_type = IBV_EVENT_QP_LAST_WQE_REACHED;
  context->async_events.Raise(event);
}

void Qp::TellLast() {
  const std::lock_guard lock(post_mutex);
  TellLastLocked();
}

void Qp::Open() {
  const std::lock_guard lock(post_mutex);
  if (path.load() == Path::kDead) {  // failed meanwhile: it stays so
    FlushKeptLocked(IBV_WC_WR_FLUSH_ERR);
    real->Abort();
    return;
  }
  kept_receives.clear();
  for (KeptSend& kept : kept_sends) {
    ibv_sge inline_sge;
    PointToKept(&kept, &inline_sge);
    if (real->PostSend(&kept.wr) != 0) FlushLocked(&kept.wr);
  }
  kept_sends.clear();
  // Last: what is posted from now on, which looks without the lock, goes behind what was kept.
  if (path.load() != Path::kDead) path.store(Path::kOpen, std::memory_order_release);
}

void Qp::Fail(ibv_wc_status first) {
  const std::lock_guard lock(post_mutex);
  DieLocked();
  FlushKeptLocked(first);
  const bool has_connection =
      datagrams == nullptr && real != nullptr && real->state() != QpState::kIdle;
  if (has_connection) {  // the NIC flushes all that it has
    kept_receives.clear();
    const QpState before = real->state();
    real->Abort();
    // Otherwise messages may have come meanwhile: whoever waits for the end tells it.
    if (before == QpState::kClosed || before == QpState::kConnecting) TellLastLocked();
    return;
  }
  TellLastLocked();
  std::vector<ibv_wc> receives;
  for (const uint64_t wr_id : kept_receives) {
    receives.push_back(Flushed(wr_id, IBV_WC_RECV, IBV_WC_WR_FLUSH_ERR));
  }
  told_receives += kept_receives.size();
  kept_receives.clear();
  recv_cq->Inject(receives);
}

void Qp::FlushKeptLocked(ibv_wc_status first) {
  std::vector<ibv_wc> sends;
  for (const KeptSend& kept : kept_sends) {
    sends.push_back(Flushed(kept.wr.wr_id, OpcodeOf(kept.wr.opcode),
                            sends.empty() && !failed ? first : IBV_WC_WR_FLUSH_ERR));
  }
  failed = failed || !sends.empty();
  kept_sends.clear();
  send_cq->Inject(sends);
}

void Qp::FlushLocked(const ibv_send_wr* wr) {
  std::vector<ibv_wc> completions;
  for (; wr != nullptr; wr = wr->next) {
    const bool tell = roce() && !failed && path.load() != Path::kDead;
    completions.push_back(Flushed(wr->wr_id, OpcodeOf(wr->opcode),
                                  tell ? IBV_WC_RETRY_EXC_ERR : IBV_WC_WR_FLUSH_ERR));
    failed = true;
  }
  send_cq->Inject(completions);
  DieLocked();
  TellLastLocked();
}

void Qp::SetState(ibv_qp_state state) {
  const std::lock_guard lock(post_mutex);
  ex.qp_base.state = path.load() == Path::kDead ? IBV_QPS_ERR : state;
}

void Qp::AwaitPosters() const {
  // They are about to leave: posting never blocks.
  while (posters.load(std::memory_order_seq_cst) != 0) std::this_thread::yield();
}

int Qp::PostSlowly(ibv_send_wr* wr, ibv_send_wr** bad, Posting posting) {
  const std::lock_guard lock(post_mutex);
  *bad = wr;
  switch (ex.qp_base.state) {
    case IBV_QPS_RESET:
    case IBV_QPS_INIT:
    case IBV_QPS_RTR:
      // iWARP has no such states: what a program posts early waits for its connection.
      if (!managed || ex.qp_base.state == IBV_QPS_RESET) return EINVAL;
      break;
    default:
      break;
  }
  if (path.load() == Path::kOpen) {
    const int error = PostReal(*this, wr, bad, posting);
    if (error != ENOTCONN) return error;
    FlushLocked(*bad);
    return 0;
  }
  if (path.load() == Path::kDead) {
    FlushLocked(wr);
    return 0;
  }
  if (datagrams != nullptr) {
    const int refused = posting == Posting::kAll ? Datagrams::Check(*this, wr) : 0;
    return refused != 0 ? refused : datagrams->Send(*this, wr, bad);
  }
  const size_t before = kept_sends.size();
  const int error = KeepLocked(wr, bad);
  if (error != 0 && posting == Posting::kAll) kept_sends.resize(before);
  return error;
}

int Qp::KeepLocked(ibv_send_wr* wr, ibv_send_wr** bad) {
  for (; wr != nullptr; wr = wr->next) {
    *bad = wr;
    // Besides, the NIC's deepest queue has one of its own at first.
    const uint32_t room = std::clamp<uint32_t>(init.cap.max_send_wr, 1, kMaxQueueDepth - 1);
    if (kept_sends.size() >= room) return ENOMEM;
    if (const int error = CheckEarly(*wr, init.cap); error != 0) return error;
    kept_sends.push_back(Keep(*wr));
  }
  return 0;
}

int Qp::PostReceive(ibv_recv_wr* wr, ibv_recv_wr** bad) {
  *bad = wr;
  if (srq != nullptr) return EINVAL;
  if (const PosterGuard guard(*this); guard.open()) [[likely]] {
    const int error = real->PostRecv(wr, bad);
    if (error != ENOTCONN) return error;
    wr = *bad;
  }
  const std::lock_guard lock(post_mutex);
  if (ex.qp_base.state == IBV_QPS_RESET) return EINVAL;
  if (path.load() == Path::kShut && datagrams != nullptr) {
    return datagrams->Receive(*this, wr, bad);
  }
  if (path.load() != Path::kDead) {  // shut, or opened since it was looked at
    ibv_recv_wr* const first = wr;
    const int error = real->PostRecv(first, bad);
    if (path.load() == Path::kShut) {
      for (wr = first; wr != nullptr && (error == 0 || wr != *bad); wr = wr->next) {
        kept_receives.push_back(wr->wr_id);
      }
    }
    if (error != ENOTCONN) return error;
    wr = *bad;
  }
  // Over. A peer that has gone is not noticed before the next send.
  const bool quiet = path.load() == Path::kOpen && roce() && !managed;
  std::vector<ibv_wc> receives;
  for (; wr != nullptr; wr = wr->next) {
    if (quiet) {
      parked.push_back(wr->wr_id);
    } else {
      receives.push_back(Flushed(wr->wr_id, IBV_WC_RECV, IBV_WC_WR_FLUSH_ERR));
    }
  }
  recv_cq->Inject(receives);
  return 0;
}

namespace {

// To the NIC, where it has a connection. ENOTCONN: from `*bad` on to be posted slowly.
int PostQuickly(Qp& qp, ibv_send_wr* wr, ibv_send_wr** bad, Posting posting) {
  const PosterGuard guard(qp);
  if (guard.open()) [[likely]]
    return PostReal(qp, wr, bad, posting);
  *bad = wr;
  return ENOTCONN;
}

}  // namespace

int PostSends(Qp& qp, ibv_send_wr* wr, ibv_send_wr** bad, Posting posting) {
  int error = PostQuickly(qp, wr, bad, posting);
  if (error == ENOMEM && qp.init.cap.max_send_wr == kMaxQueueDepth) [[unlikely]] {
    // The one that has set the connection up is done, and nobody has looked. Not as a poster: who
    // resets the queue pair waits for those.
    {
      const std::lock_guard lock(qp.send_cq->poll_mutex);
      HoldLocked(*qp.send_cq);
    }
    error = PostQuickly(qp, *bad, bad, posting);
  }
  if (error != ENOTCONN) [[likely]]
    return error;
  return qp.PostSlowly(*bad, bad, posting);
}

int PostSendOp(ibv_qp* base, ibv_send_wr* wr, ibv_send_wr** bad) {
  return PostSends(Of(base), wr, bad, Posting::kUpToBad);
}

int PostRecvOp(ibv_qp* base, ibv_recv_wr* wr, ibv_recv_wr** bad) {
  return Of(base).PostReceive(wr, bad);
}

}  // namespace qpip::verbs

// Queue pairs as verbs has them: states that the program walks through, over a queue pair of QPIP's
// that gets its connection when both ends are ready.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "qpip/qpip.h"
#include "verbs/core/completion.h"
#include "verbs/core/context.h"
#include "verbs/core/datagram.h"
#include "verbs/core/memory.h"
#include "verbs/core/shared_receives.h"

namespace qpip::verbs {

/// A work request kept until there is a connection, with all that it points to.
struct KeptSend {
  ibv_send_wr wr = {};
  std::vector<ibv_sge> list;
  std::vector<std::byte> inline_data;
};

/// A copy of `wr`. What it points to is copied too, with the data of one that is inline.
KeptSend Keep(const ibv_send_wr& wr);
/// Lets kept.wr point to what was copied; `inline_sge` is used for data. Both must stay.
void PointToKept(KeptSend* kept, ibv_sge* inline_sge);

/// What an error leaves of a list of sends.
enum class Posting {
  kUpToBad,  ///< ibv_post_send: those in front of the one that is refused
  kAll,      ///< ibv_wr_complete: nothing
};

/// Where sends go.
enum class Path {
  kShut,  ///< no connection yet: sends are kept if the state allows them
  kOpen,  ///< to the NIC
  kDead,  ///< over: what is posted is flushed
};

/// `ex` is first: the ibv_qp that programs have is its first member.
struct Qp {
  ibv_qp_ex ex = {};
  const void* slack[8] = {};

  Context* context = nullptr;
  Pd* pd = nullptr;
  Cq* send_cq = nullptr;
  Cq* recv_cq = nullptr;
  Srq* srq = nullptr;
  std::deque<KeptReceive> shared;  ///< of srq, which the NIC has; Srq::mutex
  ibv_qp_init_attr init = {};
  ibv_qp_attr attributes = {};
  std::unique_ptr<Datagrams> datagrams;  ///< UD: post_mutex
  std::unique_ptr<QueuePair> real;  ///< nullptr: in RESET or ERR, and there was no place for it
  std::atomic<Path> path{Path::kShut};
  /// Threads that look at `path` and post to `real` without post_mutex. See PosterGuard.
  std::atomic<uint32_t> posters{0};

  std::mutex modifying;  ///< ibv_modify_qp, which may let go of the control lock; taken before it

  // With the session's control lock.
  bool managed = false;        ///< librdmacm connects it, not ibv_modify_qp
  std::shared_ptr<Task> task;  ///< what connects it
  /// Its connection goes with it, as it is destroyed or reset: librdmacm's identifier lets go of
  /// it.
  std::function<void()> on_destroy;

  std::deque<KeptSend> building;  ///< between wr_start and wr_complete, of one thread
  std::mutex building_mutex;      ///< held there

  std::mutex post_mutex;                ///< guards what follows
  std::deque<KeptSend> kept_sends;      ///< Path::kShut
  std::vector<uint64_t> kept_receives;  ///< posted without a connection: the NIC has them too
  std::vector<uint64_t> parked;  ///< flushed by a peer that has gone, of which the program is
                                 ///< not to know yet
  size_t told_receives = 0;      ///< the NIC's oldest, whose end the program knows already
  bool failed = false;           ///< the first send that found the peer gone has been told
  bool last_told = false;        ///< IBV_EVENT_QP_LAST_WQE_REACHED has been raised

  ibv_qp* base() { return &ex.qp_base; }
  uint32_t number() const { return ex.qp_base.qp_num; }
  bool roce() const { return context->personality() == Personality::kRoce; }

  /// A completion of this queue pair's is about to be handed out. Makes it verbs'. Returns false
  /// when the program is not to see it (yet). Called with the queue's poll_mutex.
  bool Admit(WorkCompletion* completion);
  /// There is a connection: what was kept is posted. With the control lock.
  void Open();
  /// It is over, or never was: everything is flushed from here on. `first`: what the first send is
  /// told, IBV_WC_WR_FLUSH_ERR for no reason of its own. With the control lock.
  void Fail(ibv_wc_status first = IBV_WC_WR_FLUSH_ERR);
  /// Takes a list that the NIC did not, from `wr` on. Returns 0 or an errno value.
  int PostSlowly(ibv_send_wr* wr, ibv_send_wr** bad, Posting posting);
  int PostReceive(ibv_recv_wr* wr, ibv_recv_wr** bad);
  /// Has failed, and of a shared queue takes no receive any more: what it took has been told.
  void TellLast();
  /// The program's next state; one that has failed meanwhile stays in ERR. With the control lock.
  void SetState(ibv_qp_state state);
  /// Nobody posts to `real` any more: it may go. `path` has been shut, and no state lets a post
  /// through that takes post_mutex.
  void AwaitPosters() const;

 private:
  void DieLocked();
  void TellLastLocked();
  /// Until there is a connection. 0, or an errno value and `*bad`.
  int KeepLocked(ibv_send_wr* wr, ibv_send_wr** bad);
  void FlushLocked(const ibv_send_wr* wr);
  /// ... what was kept; `first`: the status of the first.
  void FlushKeptLocked(ibv_wc_status first);
  ibv_wc Flushed(uint64_t wr_id, ibv_wc_opcode opcode, ibv_wc_status status) const;
};

/// As long as it lives, a Path::kOpen that is seen through it means that `real` stays. The count
/// and the path are written and read in one order that all threads agree on: either the poster sees
/// that the path is shut, or who has shut it sees the poster.
class PosterGuard {
 public:
  explicit PosterGuard(Qp& qp) : qp_(qp) { qp.posters.fetch_add(1, std::memory_order_seq_cst); }
  ~PosterGuard() { qp_.posters.fetch_sub(1, std::memory_order_release); }
  PosterGuard(const PosterGuard&) = delete;
  PosterGuard& operator=(const PosterGuard&) = delete;

  bool open() const { return qp_.path.load(std::memory_order_seq_cst) == Path::kOpen; }

 private:
  Qp& qp_;
};

inline Qp& Of(ibv_qp* qp) { return *reinterpret_cast<Qp*>(qp); }

// Throw Error. `attributes` gets what there really is.
Qp* CreateQp(Pd& pd, ibv_qp_init_attr* attributes);
/// Takes the control lock.
void DestroyQp(Qp* qp);
/// As ibv_modify_qp. Takes the control lock.
int ModifyQp(Qp& qp, const ibv_qp_attr& attributes, int mask);
/// The same with the control lock, `control`, which is free while it waits for a place of the
/// NIC's.
int ModifyQpLocked(Qp& qp, const ibv_qp_attr& attributes, int mask,
                   std::unique_lock<std::mutex>& control);
int QueryQp(Qp& qp, ibv_qp_attr* attributes, ibv_qp_init_attr* init);

/// Posts a list. 0, or an errno value and `*bad`, the first that was not posted.
int PostSends(Qp& qp, ibv_send_wr* wr, ibv_send_wr** bad, Posting posting);

// The members of ibv_context_ops and verbs_context.
int PostSendOp(ibv_qp* qp, ibv_send_wr* wr, ibv_send_wr** bad);
int PostRecvOp(ibv_qp* qp, ibv_recv_wr* wr, ibv_recv_wr** bad);
ibv_qp* CreateQpExOp(ibv_context* context, ibv_qp_init_attr_ex* attributes);

/// The members of an ibv_qp_ex, which build work requests a call at a time.
void FillSendOperations(Qp& qp);

/// Connects `qp` with the one that its attributes name; in the background. With the control lock.
/// Throws Error.
void StartPairing(Qp& qp);

}  // namespace qpip::verbs

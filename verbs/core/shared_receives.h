// Shared receive queues: a store of receives, out of which each queue pair that uses it has a few.
//
// A queue pair of QPIP's takes what comes into receives of its own. What finds none waits
// (QpOptions::wait_for_receive), so that a few are enough: each that completes is replaced.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <deque>
#include <mutex>
#include <span>
#include <vector>

#include "verbs/core/context.h"
#include "verbs/core/memory.h"

namespace qpip::verbs {

struct Qp;

/// A posted receive.
struct KeptReceive {
  uint64_t wr_id = 0;
  std::vector<ibv_sge> list;
};

/// `base` is first. Lock order: a completion queue's poll_mutex, this one, a queue pair's
/// post_mutex.
struct Srq {
  ibv_srq base = {};
  const void* slack[8] = {};

  Context* context = nullptr;
  Pd* pd = nullptr;
  uint32_t max_sge = 0;

  std::mutex mutex;  ///< guards what follows, and Qp::shared
  ibv_srq_attr attributes = {};
  std::deque<KeptReceive> waiting;  ///< that no queue pair has
  std::vector<Qp*> users;
  uint32_t given = 0;  ///< that queue pairs have

  /// Gives queue pairs what they lack. With the mutex.
  void DistributeLocked();
  /// With the mutex, when something was taken: tells when there are fewer than the limit.
  void CheckLimitLocked();
};

inline Srq& Of(ibv_srq* srq) { return *reinterpret_cast<Srq*>(srq); }

/// Receives that one queue pair may have of a shared queue at a time.
inline constexpr uint32_t kShareOfOne = 32;
inline constexpr uint32_t kMaxSharedReceives = 1u << 16;

/// Throws Error. `attributes` gets what there really is.
Srq* CreateSrq(Pd& pd, ibv_srq_init_attr* attributes);
/// EBUSY while queue pairs use it; else waits until its events are acknowledged. Returns 0.
int DestroySrq(Srq* srq);
int ModifySrq(Srq& srq, const ibv_srq_attr& attributes, int mask);
int QuerySrq(Srq& srq, ibv_srq_attr* attributes);
/// The member of ibv_context_ops.
int PostSrqRecvOp(ibv_srq* srq, ibv_recv_wr* wr, ibv_recv_wr** bad);

/// The queue pair uses its shared queue from now on, or gets nothing more of it.
void JoinShared(Qp& qp);
void LeaveShared(Qp& qp);
/// What a queue pair has had that has left, and is no more in the NIC's hands, goes back.
void GiveBackShared(Qp& qp);
/// The oldest of the queue pair's receives is done. `used`: a message is in it; otherwise it goes
/// back.
void OnSharedReceiveDone(Qp& qp, bool used);

}  // namespace qpip::verbs

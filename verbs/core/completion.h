// Completion queues and the channels that tell of them.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <span>

#include "qpip/qpip.h"
#include "verbs/core/context.h"

namespace qpip::verbs {

/// An ibv_comp_channel. Its descriptor is an epoll set of the queues' own descriptors: blocking,
/// O_NONBLOCK, poll and epoll work on it as on a kernel's.
struct Channel {
  ibv_comp_channel base = {};
  const void* slack[8] = {};
  /// Who takes an event has it while he looks at the queue that it is of; who creates or destroys
  /// one, while he puts it in or takes it out. Guards base.refcnt.
  std::mutex mutex;
};

/// `ex` is first: the ibv_cq and the ibv_cq_ex that programs have are the same.
struct Cq {
  ibv_cq_ex ex = {};
  const void* slack[8] = {};

  Context* context = nullptr;
  std::unique_ptr<CompletionQueue> real;
  int fd = -1;  ///< real's, where there is a channel
  std::atomic<uint32_t> events_given{0};
  std::atomic<uint32_t> users{0};  ///< queue pairs' queues

  std::mutex poll_mutex;  ///< pollers; whoever takes a queue pair out of the table holds it too
  std::deque<WorkCompletion> held;  ///< poll_mutex: taken from the NIC when the queue was armed
  std::mutex injected_mutex;
  std::deque<ibv_wc> injected;  ///< completions that the NIC does not know of
  std::atomic<bool> any_injected{false};
  bool armed = false;                    ///< injected_mutex
  bool solicited_only = false;           ///< poll_mutex: of the last arming
  std::atomic<uint32_t> empty_polls{0};  ///< since there was a completion, or way was given
  /// A UD queue pair uses it: their senders cannot say what is solicited.
  std::atomic<bool> has_datagrams{false};

  /// From start_poll to end_poll. Programs modify queue pairs in between: before any other.
  std::mutex reader_mutex;
  WorkCompletion now;  ///< reader_mutex: of start_poll and next_poll

  ibv_cq* base() { return reinterpret_cast<ibv_cq*>(&ex); }
  /// Adds completions of its own, behind those of the NIC. Raises the event that was asked for.
  void Inject(std::span<const ibv_wc> completions);
};

inline Cq& Of(ibv_cq* cq) { return *reinterpret_cast<Cq*>(cq); }
inline Channel& Of(ibv_comp_channel* channel) { return *reinterpret_cast<Channel*>(channel); }

// Throw Error.
Channel* CreateChannel(Context& context);
Cq* CreateCq(Context& context, int entries, void* cq_context, ibv_comp_channel* channel);

/// EBUSY while queue pairs use it. Otherwise waits until the program has acknowledged all events it
/// got, destroys, and returns 0.
int DestroyCq(Cq* cq);
/// Errno EBUSY while queues use it.
int DestroyChannel(Channel* channel);
/// As ibv_get_cq_event: 0, or -1 and errno. A cancellation point.
int GetCqEvent(Channel& channel, ibv_cq** cq, void** cq_context);
void AckCqEvents(Cq& cq, unsigned count);

// The members of ibv_context_ops and verbs_context.
int PollCqOp(ibv_cq* cq, int count, ibv_wc* out);
int RequestNotifyOp(ibv_cq* cq, int solicited_only);
ibv_cq_ex* CreateCqExOp(ibv_context* context, ibv_cq_init_attr_ex* attributes);

/// start_poll, next_poll, end_poll and the readers of an ibv_cq_ex.
void FillPollOperations(Cq& cq);
/// Puts aside what the NIC has told, for PollLocked. With poll_mutex.
void HoldLocked(Cq& cq);
/// Of what waits to be polled nothing of queue pair `number` (the program's) is left. With
/// poll_mutex.
void ForgetLocked(Cq& cq, uint32_t number);
/// A poll is over: one of many that find nothing gives way to others. Without poll_mutex.
void GiveWayWhenIdle(Cq& cq, bool found);
/// Takes up to out.size() completions as the program is to see them. With poll_mutex.
size_t PollLocked(Cq& cq, std::span<WorkCompletion> out);

}  // namespace qpip::verbs

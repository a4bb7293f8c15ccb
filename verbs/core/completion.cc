#include "verbs/core/completion.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>

#include "verbs/core/queue_pair.h"
#include "verbs/core/semaphore_fd.h"

namespace qpip::verbs {

namespace {

// QPIP wants room for every work request of the queue pairs that share a queue, rounded up; verbs
// wants as many as were asked for, whatever the queue pairs could post. So there is more.
constexpr uint32_t kLeastCapacity = 1u << 14;

// Completions taken at a time.
constexpr size_t kBatch = 16;

// How long a thread that waits for an event is the NIC's core before it sleeps in the kernel.
constexpr std::chrono::milliseconds kDriveFirst(2);

uint32_t CapacityFor(int entries) {
  const auto asked = std::bit_ceil(static_cast<uint32_t>(entries));
  return std::clamp<uint32_t>(4 * asked, kLeastCapacity, kMaxCqe);
}

// After so many polls in a row that found nothing, others have the processor for once: programs
// poll and never sleep, and where there are more of them than processors, what one waits for is
// what another is to do. About 10 us; hardware answers sooner, and so does a peer that runs.
constexpr uint32_t kPollsBeforeYield = 128;

// Up to out.size() of the NIC's completions, translated. Not all that come are the program's to
// see.
size_t TakeReal(Cq& cq, std::span<WorkCompletion> out) {
  QpTable& qps = cq.context->session->qps();
  size_t kept = 0;
  while (kept < out.size()) {
    const std::span<WorkCompletion> room = out.subspan(kept);
    const size_t taken = cq.real->Poll(room);
    const size_t end = kept + taken;
    for (size_t i = kept; i < end; ++i) {
      Qp* qp = qps.FindReal(out[i].qp_num);
      // Completions of a queue pair go with it.
      if (qp == nullptr || !qp->Admit(&out[i])) continue;
      if (&out[kept] != &out[i]) out[kept] = out[i];
      ++kept;
    }
    if (taken < room.size()) break;
  }
  return kept;
}

void ArmLocked(Cq& cq) {
  {
    const std::lock_guard injected_lock(cq.injected_mutex);
    cq.armed = true;
  }
  while (!cq.real->Arm(cq.solicited_only && !cq.has_datagrams.load())) HoldLocked(cq);
}

// Whether there is a completion behind an event. The NIC tells of some that the program is not to
// see; then the event is still to come. Programs take it that there is one (ib_send_lat does).
bool HasCompletion(Cq& cq) try {
  const std::lock_guard lock(cq.poll_mutex);
  HoldLocked(cq);
  if (!cq.held.empty() || cq.any_injected.load(std::memory_order_acquire)) return true;
  ArmLocked(cq);
  return !cq.held.empty() || cq.any_injected.load(std::memory_order_acquire);
} catch (const Error&) {
  return true;  // a forked child: polling says what is wrong
}

// One that is there. Null: none is. errno is epoll_wait's, where it fails.
Cq* TakeEvent(Channel& channel, bool* failed) {
  const std::lock_guard lock(channel.mutex);
  for (;;) {
    epoll_event event;
    const int ready = epoll_wait(channel.base.fd, &event, 1, 0);
    *failed = ready < 0;
    if (ready <= 0) return nullptr;
    auto* cq = static_cast<Cq*>(event.data.ptr);
    if (TakeFrom(cq->fd) != 0 || !HasCompletion(*cq)) continue;
    cq->events_given.fetch_add(1);
    return cq;
  }
}

}  // namespace

void Cq::Inject(std::span<const ibv_wc> completions) {
  if (completions.empty()) return;
  const std::lock_guard lock(injected_mutex);
  injected.insert(injected.end(), completions.begin(), completions.end());
  any_injected.store(true, std::memory_order_release);
  if (armed) {
    armed = false;
    if (fd >= 0) PostTo(fd);
  }
}

void HoldLocked(Cq& cq) {
  std::array<WorkCompletion, kBatch> batch;
  size_t count;
  do {
    count = TakeReal(cq, batch);
    cq.held.insert(cq.held.end(), batch.begin(), batch.begin() + count);
  } while (count == kBatch);
}

void GiveWayWhenIdle(Cq& cq, bool found) {
  if (found) {
    cq.empty_polls.store(0, std::memory_order_relaxed);
    return;
  }
  const uint32_t polls = cq.empty_polls.load(std::memory_order_relaxed) + 1;
  cq.empty_polls.store(polls % kPollsBeforeYield, std::memory_order_relaxed);
  if (polls == kPollsBeforeYield) sched_yield();
}

void ForgetLocked(Cq& cq, uint32_t number) {
  const auto is_of_it = [number](const ibv_wc& each) { return each.qp_num == number; };
  std::erase_if(cq.held, is_of_it);
  const std::lock_guard lock(cq.injected_mutex);
  std::erase_if(cq.injected, is_of_it);
  cq.any_injected.store(!cq.injected.empty(), std::memory_order_release);
}

size_t PollLocked(Cq& cq, std::span<WorkCompletion> out) {
  size_t count = 0;
  while (count < out.size() && !cq.held.empty()) {
    out[count++] = cq.held.front();
    cq.held.pop_front();
  }
  if (count < out.size()) count += TakeReal(cq, out.subspan(count));
  if (count < out.size() && cq.any_injected.load(std::memory_order_acquire)) [[unlikely]] {
    const std::lock_guard lock(cq.injected_mutex);
    while (count < out.size() && !cq.injected.empty()) {
      out[count] = WorkCompletion{};
      static_cast<ibv_wc&>(out[count++]) = cq.injected.front();
      cq.injected.pop_front();
    }
    cq.any_injected.store(!cq.injected.empty(), std::memory_order_release);
  }
  return count;
}

int PollCqOp(ibv_cq* base, int count, ibv_wc* out) {
  Cq& cq = Of(base);
  std::array<WorkCompletion, kBatch> batch;
  int done = 0;
  try {
    const std::lock_guard lock(cq.poll_mutex);
    while (done < count) {
      const size_t want = std::min<size_t>(kBatch, static_cast<size_t>(count - done));
      const size_t got = PollLocked(cq, std::span(batch).first(want));
      for (size_t i = 0; i < got; ++i) out[done++] = batch[i];
      if (got < want) break;
    }
  } catch (const Error&) {
    return -1;  // a forked child
  }
  GiveWayWhenIdle(cq, done != 0);
  return done;
}

// The event is for the next completion that comes (InfiniBand's specification 11.4.2.2): none for
// those that wait already, which programs poll for behind this call. They are put aside, as QPIP
// arms an empty queue only.
int RequestNotifyOp(ibv_cq* base, int solicited_only) {
  Cq& cq = Of(base);
  try {
    const std::lock_guard lock(cq.poll_mutex);
    cq.solicited_only = solicited_only != 0;
    ArmLocked(cq);
    return 0;
  } catch (const Error& error) {
    return error.code();
  }
}

Channel* CreateChannel(Context& context) {
  auto channel = std::make_unique<Channel>();
  channel->base.context = context.base();
  channel->base.fd = epoll_create1(EPOLL_CLOEXEC);
  if (channel->base.fd < 0) throw Error(errno, "create completion channel: no epoll descriptor");
  return channel.release();
}

int DestroyChannel(Channel* channel) {
  {
    const std::lock_guard lock(channel->mutex);
    if (channel->base.refcnt != 0) return EBUSY;
  }
  close(channel->base.fd);
  delete channel;
  return 0;
}

Cq* CreateCq(Context& context, int entries, void* cq_context, ibv_comp_channel* channel) {
  if (entries < 1 || entries > kMaxCqe) {
    throw Error(EINVAL, "create completion queue: entries out of range");
  }
  auto cq = std::make_unique<Cq>();
  cq->context = &context;
  cq->real = context.session->nic().CreateCq(CapacityFor(entries));
  ibv_cq& base = *cq->base();
  base.context = context.base();
  base.channel = channel;
  base.cq_context = cq_context;
  base.cqe = entries;
  pthread_mutex_init(&base.mutex, nullptr);
  pthread_cond_init(&base.cond, nullptr);
  FillPollOperations(*cq);
  if (channel != nullptr) {
    const std::lock_guard lock(Of(channel).mutex);  // others may be created and destroyed
    cq->fd = cq->real->fd();
    epoll_event event = {.events = EPOLLIN, .data = {.ptr = cq.get()}};
    if (epoll_ctl(channel->fd, EPOLL_CTL_ADD, cq->fd, &event) != 0) {
      throw Error(errno, "create completion queue: cannot watch it");
    }
    ++channel->refcnt;
  }
  return cq.release();
}

int DestroyCq(Cq* cq) {
  // Programs try it too early, and never again (fio does).
  if (cq->users.load() != 0) return EBUSY;
  ibv_cq& base = *cq->base();
  if (base.channel != nullptr) {
    const std::lock_guard lock(Of(base.channel).mutex);
    epoll_ctl(base.channel->fd, EPOLL_CTL_DEL, cq->fd, nullptr);
    --base.channel->refcnt;
  }
  pthread_mutex_lock(&base.mutex);
  while (base.comp_events_completed != cq->events_given.load()) {
    pthread_cond_wait(&base.cond, &base.mutex);
  }
  pthread_mutex_unlock(&base.mutex);
  pthread_mutex_destroy(&base.mutex);
  pthread_cond_destroy(&base.cond);
  delete cq;
  return 0;
}

int GetCqEvent(Channel& channel, ibv_cq** out, void** cq_context) {
  const int flags = fcntl(channel.base.fd, F_GETFL);
  const bool block = flags < 0 || (flags & O_NONBLOCK) == 0;
  bool driven = false;
  for (;;) {
    // First with this thread as the NIC's core, so that what comes soon costs no wake-up; then in
    // the kernel, where the thread can be cancelled.
    Nic& nic = Of(channel.base.context).session->nic();
    const uint32_t seen = nic.notifications();
    bool failed = false;
    if (Cq* cq = TakeEvent(channel, &failed)) {
      *out = cq->base();
      *cq_context = cq->base()->cq_context;
      return 0;
    }
    if (failed) return -1;
    if (!block) {
      errno = EAGAIN;
      return -1;
    }
    if (driven) {
      if (AwaitReadable(channel.base.fd) != 0) return -1;
    } else {
      nic.AwaitNotification(seen, kDriveFirst);
      driven = nic.notifications() == seen;
    }
  }
}

void AckCqEvents(Cq& cq, unsigned count) {
  ibv_cq& base = *cq.base();
  pthread_mutex_lock(&base.mutex);
  base.comp_events_completed += count;
  pthread_cond_signal(&base.cond);
  pthread_mutex_unlock(&base.mutex);
}

}  // namespace qpip::verbs

#include "preload/core/stack.h"

#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "preload/core/acceptor.h"
#include "preload/core/socket.h"

namespace qpip::preload {

namespace {

// A thread that waits looks for so long before it sleeps: about what a wake-up costs.
constexpr auto kSpin = std::chrono::microseconds(30);
// The thread looks so often whether anybody else looks after the NIC, and less often the longer
// somebody does.
constexpr int kFirstTickMs = 2;
constexpr int kLastTickMs = 64;
// How long a process that ends waits for its peers' acknowledgements of the ends of its streams.
constexpr auto kForEnds = std::chrono::milliseconds(200);
// How often a thread that looks asks the kernel for descriptors that are not QPIP's.
constexpr auto kAskEvery = std::chrono::microseconds(5);
constexpr uint32_t kCqCapacity = 1u << 18;

int MakeEventFd() {
  const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) throw Error(errno, "sockets: cannot create an eventfd");
  return fd;
}

// Of somebody who waits for a time only.
class Nothing final : public Stack::Look {
 public:
  int Own() override { return 0; }
};

// Gives way to others every now and then while it looks: at once, where lately that has let another
// thread run, which may be the one that is waited for, on the same processor. Where it has let
// somebody use up his time, sleeping is better: who is waked comes before him.
class Pacer {
 public:
  explicit Pacer(Clock::time_point now) : yielded_(now) {}

  /// False: the thread had better sleep.
  bool Pause(Clock::time_point now) {
    if (at_once_ == 0 && now - yielded_ < kYieldEvery) {
#if defined(__x86_64__)
      _mm_pause();
#endif
      return true;
    }
    if (crowded_ > 0) {
      --crowded_;
      return false;
    }
    sched_yield();
    yielded_ = Clock::now();
    const auto took = yielded_ - now;
    if (took > kSlice) {
      at_once_ = 0;
      crowded_ = kCrowdRemembered;
      return false;
    }
    if (took > kSwitch) {
      at_once_ = kRemembered;
    } else if (at_once_ > 0) {
      --at_once_;
    }
    return true;
  }

 private:
  static constexpr auto kYieldEvery = std::chrono::microseconds(2);
  // A yield that took so long has let another thread run; one that took longer, somebody with work
  // of his own.
  static constexpr auto kSwitch = std::chrono::nanoseconds(1200);
  static constexpr auto kSlice = std::chrono::microseconds(200);
  static constexpr uint32_t kRemembered = 16;
  static constexpr uint32_t kCrowdRemembered = 64;
  static inline thread_local uint32_t at_once_ = 0;
  static inline thread_local uint32_t crowded_ = 0;

  Clock::time_point yielded_;
};

void Clear(int fd) {
  uint64_t count;
  while (read(fd, &count, sizeof count) < 0 && errno == EINTR) {
  }
}

void Signal(int fd) {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(fd, &one, sizeof one);
}

}  // namespace

Stack::Stack(const std::string& uri, std::mutex& lock) : lock_(lock) {
  // The program's signals are for its own threads.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    nic_ = Nic::Open(uri);
    pd_ = nic_->AllocatePd();
    cq_ = nic_->CreateCq(kCqCapacity);
    events_ = MakeEventFd();
    wake_ = MakeEventFd();
    cq_->fd();
    nic_->WatchEvents(events_);
    thread_ = std::thread([this] { Run(); });
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Stack::~Stack() {
  stopping_.store(true);
  Signal(wake_);
  thread_.join();
  lingering_.clear();
  nic_->UnwatchEvents(events_);
  close(events_);
  close(wake_);
}

void Stack::Add(Connection& connection) { connections_[connection.qp().qp_num()] = &connection; }
void Stack::Remove(Connection& connection) {
  connections_.erase(connection.qp().qp_num());
  std::erase(to_refresh_, &connection);
}
void Stack::Add(Acceptor& acceptor) { acceptors_.insert(&acceptor); }
void Stack::Remove(Acceptor& acceptor) { acceptors_.erase(&acceptor); }

void Stack::Linger(std::unique_ptr<Connection> connection) {
  if (!finishing_ && connection->done()) return;
  lingering_.push_back(std::move(connection));
  Signal(wake_);
}

bool Stack::TakeCompletions() {
  std::array<WorkCompletion, 32> completions;
  bool any = false;
  for (;;) {
    const size_t count = cq_->Poll(completions);
    for (const WorkCompletion& completion : std::span(completions).first(count)) {
      const auto found = connections_.find(completion.qp_num);
      if (found == connections_.end()) continue;
      found->second->OnCompletion(completion);
      if (Socket* owner = found->second->owner()) MarkChanged(*owner);
    }
    if (count != 0) any = true;
    if (count < completions.size()) break;
  }
  for (Connection* connection : std::exchange(to_refresh_, {})) connection->Refresh();
  return any;
}

void Stack::TellSleepers() {
  if (sleepers_ > 0) Sync();
}

void Stack::BeginFinish() { finishing_ = true; }

void Stack::Progress() {
  ++progress_;
  bool any = TakeCompletions();
  if (const uint32_t now = nic_->notifications(); now != seen_) {
    seen_ = now;
    RefreshAll();
    any = true;
  }
  if (any && !lingering_.empty()) Reap();
  TellSleepers();
}

void Stack::RefreshAll() {
  nic_->DispatchEvents();
  // A listener makes connections.
  for (Acceptor* acceptor : acceptors_) {
    acceptor->Refresh();
    if (acceptor->owner() != nullptr) MarkChanged(*acceptor->owner());
  }
  for (const auto& [number, connection] : connections_) {
    connection->Refresh();
    if (connection->owner() != nullptr) MarkChanged(*connection->owner());
  }
}

void Stack::Reap() {
  lingering_.remove_if([this](const std::unique_ptr<Connection>& connection) {
    connection->Refresh();
    return finishing_ ? connection->ended() : connection->done();
  });
}

void Stack::MarkChanged(Socket& socket) {
  if (std::exchange(socket.changed, true)) return;
  changed_.push_back(&socket);
}

void Stack::Forget(Socket& socket) {
  if (socket.changed) std::erase(changed_, &socket);
  if (socket.unsynced) std::erase(unsynced_, &socket);
  socket.changed = socket.unsynced = false;
}

void Stack::Note() {
  for (Socket* socket : changed_) {
    socket->changed = false;
    socket->Note();
    if (!std::exchange(socket->unsynced, true)) unsynced_.push_back(socket);
  }
  changed_.clear();
}

void Stack::Sync() {
  Note();
  for (Socket* socket : unsynced_) {
    socket->unsynced = false;
    socket->Sync();
  }
  unsynced_.clear();
}

bool Stack::Arm() {
  try {
    return cq_->Arm();
  } catch (const Error&) {
    return true;  // the NIC has ended: there is nothing more to wait for
  }
}

// A thread in Sleep, which may be cancelled there.
class Stack::Sleeper {
 public:
  explicit Sleeper(Stack& stack) : stack_(stack) {
    const std::lock_guard guard(stack_.lock_);
    ++stack_.sleepers_;
  }
  ~Sleeper() {
    const std::lock_guard guard(stack_.lock_);
    --stack_.sleepers_;
  }
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;

 private:
  Stack& stack_;
};

int Stack::Sleep(std::vector<pollfd>& fds, std::span<const pollfd> sleep_on,
                 Clock::time_point deadline, const sigset_t* mask, Look& look) {
  fds.assign(sleep_on.begin(), sleep_on.end());
  const Sleeper sleeper(*this);
  {
    const std::lock_guard guard(lock_);
    if (const int result = LookOnce(look); result != 0) {
      return result == Look::kAskKernel ? 0 : result;
    }
    Sync();
    if (!Arm()) return 0;
  }
  fds.push_back({.fd = cq_->fd(), .events = POLLIN, .revents = 0});
  fds.push_back({.fd = events_, .events = POLLIN, .revents = 0});
  timespec left = {};
  if (deadline != kForEver) {
    const auto ns = std::max<int64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(deadline - Clock::now()).count(), 0);
    left = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
  }
  const int result = ppoll(fds.data(), fds.size(), deadline == kForEver ? nullptr : &left, mask);
  const int error = errno;
  if (result < 0) return -error;
  const std::lock_guard guard(lock_);
  TakeWakeUp(fds[sleep_on.size()].revents != 0, fds[sleep_on.size() + 1].revents != 0,
             sleepers_ - 1);
  return 0;
}

// Whoever clears a descriptor that others sleep in does for them what it was to wake them for, and
// leaves the queue armed. The thread is waked to look for itself: it may not have seen the
// descriptor before that was cleared.
void Stack::TakeWakeUp(bool completions, bool events, int others) {
  if (!completions && !events) return;
  if (completions) cq_->Acknowledge();
  if (events) {
    Clear(events_);
    RefreshAll();
  }
  if (others == 0) {
    if (std::exchange(parked_, false)) Signal(wake_);
    return;
  }
  do {
    Progress();
    Sync();
  } while (!Arm());
}

int Stack::LookOnce(Look& look) {
  Progress();
  Note();
  return look.Own();
}

int Stack::AskKernel(Look& look) {
  if (look.kernel_has_sockets()) {
    const std::lock_guard guard(lock_);
    Sync();
  }
  return look.Kernel();
}

int Stack::Wait(std::span<const pollfd> sleep_on, Clock::time_point deadline, const sigset_t* mask,
                Look& look) {
  std::vector<pollfd> fds;
  Clock::time_point now = Clock::now();
  const Clock::time_point spin_until = std::min(now + kSpin, deadline);
  Clock::time_point ask_at = now;
  Pacer pacer(now);
  for (;;) {
    int result;
    {
      const std::lock_guard guard(lock_);
      result = LookOnce(look);
    }
    if (result != 0 && result != Look::kAskKernel) return result;
    now = Clock::now();
    if (result == Look::kAskKernel || now >= ask_at || now >= deadline) {
      if (const int asked = AskKernel(look); asked != 0) return asked;
      ask_at = now + kAskEvery;
    }
    if (now >= deadline) return 0;
    if (now < spin_until && pacer.Pause(now)) continue;
    if (const int slept = Sleep(fds, sleep_on, deadline, mask, look); slept != 0) return slept;
    ask_at = now;
  }
}

void Stack::Run() {
  pthread_setname_np(pthread_self(), "qpip-sockets");
  uint64_t seen_progress = 0;
  int tick_ms = kFirstTickMs;
  while (!stopping_.load()) {
    bool others;
    {
      const std::lock_guard guard(lock_);
      others = sleepers_ > 0 || progress_ != seen_progress;
      if (!others) {
        Progress();
        Reap();
        Sync();
        if (!Arm()) continue;
      }
      parked_ = !others;
      seen_progress = progress_;
    }
    std::array<pollfd, 3> fds = {{{.fd = wake_, .events = POLLIN, .revents = 0},
                                  {.fd = cq_->fd(), .events = POLLIN, .revents = 0},
                                  {.fd = events_, .events = POLLIN, .revents = 0}}};
    tick_ms = others ? std::min(tick_ms * 2, kLastTickMs) : kFirstTickMs;
    poll(fds.data(), others ? 1 : 3, others ? tick_ms : -1);
    if (fds[0].revents != 0) Clear(wake_);
    if (others) continue;
    const std::lock_guard guard(lock_);
    parked_ = false;
    TakeWakeUp(fds[1].revents != 0, fds[2].revents != 0, sleepers_);
  }
}

void Stack::Finish(Clock::duration patience) {
  Clock::time_point idle_since = kForEver;
  Clock::time_point moved_at = Clock::now();
  size_t left = SIZE_MAX;
  for (;;) {
    bool all_delivered;
    size_t left_now = 0;
    {
      const std::lock_guard guard(lock_);
      Progress();
      nic_->DispatchEvents();
      Reap();
      if (lingering_.empty()) return;
      all_delivered = std::all_of(lingering_.begin(), lingering_.end(),
                                  [](const auto& connection) { return connection->done(); });
      for (const auto& connection : lingering_) left_now += connection->unsent();
    }
    const Clock::time_point now = Clock::now();
    // A peer may keep its window shut for ever, and answer: no time-out of TCP's ends that.
    if (std::exchange(left, left_now) != left_now) moved_at = now;
    if (!all_delivered && now - moved_at > patience) return;
    idle_since = all_delivered ? std::min(idle_since, now) : kForEver;
    if (all_delivered && now - idle_since > kForEnds) return;
    std::vector<pollfd> fds;
    Nothing nothing;
    Sleep(fds, {}, now + std::chrono::milliseconds(20), nullptr, nothing);
  }
}

}  // namespace qpip::preload

#include "apps/common/stop.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace qpip::apps {

namespace {

std::atomic<StopToken*> signalled_token = nullptr;

/// A stop signal this long after the first ends the process. Not at once: coreutils' timeout and
/// terminals deliver one request twice, to the process and to its group.
constexpr int64_t kImpatientAfterNs = 1'000'000'000;
std::atomic<int64_t> first_signal_ns = 0;

int64_t MonotonicNs() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);  // async-signal-safe
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void OnStopSignal(int number) {
  const int saved_errno = errno;
  const int64_t now_ns = MonotonicNs();
  int64_t first_ns = 0;
  if (!first_signal_ns.compare_exchange_strong(first_ns, now_ns) &&
      now_ns - first_ns > kImpatientAfterNs) {
    signal(number, SIG_DFL);
    raise(number);
  }
  if (StopToken* token = signalled_token.load(std::memory_order_acquire)) token->Request();
  errno = saved_errno;
}

}  // namespace

StopToken::StopToken() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
}

StopToken::~StopToken() {
  StopToken* self = this;
  signalled_token.compare_exchange_strong(self, nullptr);
  close(fd_);
}

void StopToken::Request() noexcept {
  requested_.store(true, std::memory_order_release);
  const uint64_t one = 1;
  // Fails only when the counter is full, and then the descriptor is readable anyway.
  [[maybe_unused]] const ssize_t written = write(fd_, &one, sizeof one);
}

void StopOnSignals(StopToken& token) {
  signalled_token.store(&token, std::memory_order_release);
  struct sigaction action = {};
  action.sa_handler = OnStopSignal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

void IgnoreErrorSignals() {
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  for (const int number : {SIGPIPE, SIGXFSZ}) sigaction(number, &ignore, nullptr);
}

}  // namespace qpip::apps

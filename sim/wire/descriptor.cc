#include "sim/wire/descriptor.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <ctime>
#include <system_error>

#include "sim/wire/futex.h"

namespace qpip::wire {

DescriptorSleep::DescriptorSleep() : event_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (!event_.valid()) {
    throw std::system_error(errno, std::generic_category(), "cannot make an eventfd");
  }
}

void DescriptorSleep::Prepare() {
  if (!rung_.exchange(false, std::memory_order_relaxed)) return;
  uint64_t count = 0;
  // Nothing to read is fine: nobody has called Wake.
  if (::read(event_.get(), &count, sizeof count) < 0) return;
}

int DescriptorSleep::Sleep(int fd, int events, uint64_t deadline_ns) {
  pollfd both[2] = {{event_.get(), POLLIN, 0}, {fd, static_cast<short>(events), 0}};
  timespec rest = {};
  if (deadline_ns != UINT64_MAX) {
    const uint64_t now_ns = MonotonicNs();
    const uint64_t rest_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    rest.tv_sec = static_cast<time_t>(rest_ns / 1'000'000'000);
    rest.tv_nsec = static_cast<long>(rest_ns % 1'000'000'000);
  }
  sleeps_.fetch_add(1, std::memory_order_relaxed);
  const int ready = ::ppoll(both, 2, deadline_ns == UINT64_MAX ? nullptr : &rest, nullptr);
  if (ready <= 0) return 0;
  if (both[0].revents != 0) rung_.store(true, std::memory_order_relaxed);
  return both[1].revents;
}

void DescriptorSleep::Wake() {
  rung_.store(true, std::memory_order_relaxed);
  const uint64_t one = 1;
  // A full counter is as good: it is readable.
  if (::write(event_.get(), &one, sizeof one) < 0) return;
}

}  // namespace qpip::wire

#include "troubles.h"

#include <algorithm>
#include <string>
#include <utility>

#include "status.h"

namespace qpip::internal {

namespace {

constexpr uint64_t kQuietNs = 10'000'000'000;

bool SameAddress(const in6_addr& a, const in6_addr& b) { return IN6_ARE_ADDR_EQUAL(&a, &b); }

}  // namespace

void Troubles::Add(const abi::Trouble& trouble, uint64_t now_ns) {
  const NicEvent event{.fatal = trouble.fatal,
                       .code = trouble.code,
                       .peer = ToIn6(trouble.peer),
                       .what = trouble.what};
  const std::lock_guard lock(mutex_);
  const uint64_t number = added_.load(std::memory_order_relaxed) + 1;
  if (event.fatal && failure_owner_ == nullptr) {
    failure_owner_ = std::make_unique<const NicEvent>(event);
    failure_.store(failure_owner_.get(), std::memory_order_release);
  }
  const auto same = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.event.what == event.what && SameAddress(entry.event.peer, event.peer);
  });
  Entry entry{.event = event, .number = number, .told_ns = now_ns};
  bool tell = true;
  if (same != entries_.end()) {
    tell = now_ns - same->told_ns >= kQuietNs;
    if (!tell) entry.told_ns = same->told_ns;
    entries_.erase(same);
  }
  entries_.push_back(std::move(entry));
  if (entries_.size() > kKept) entries_.pop_front();
  if (tell) untold_.push_back(event);
  if (untold_.size() > kKept) untold_.pop_front();
  added_.store(number, std::memory_order_release);
}

void Troubles::Tell() {
  const std::lock_guard telling(telling_mutex_);
  if (!handler_) return;
  for (;;) {
    NicEvent event;
    {
      const std::lock_guard lock(mutex_);
      if (untold_.empty()) return;
      event = std::move(untold_.front());
      untold_.pop_front();
    }
    handler_(event);
  }
}

void Troubles::SetHandler(Handler handler) {
  {
    const std::lock_guard telling(telling_mutex_);
    handler_ = std::move(handler);
  }
  Tell();
}

void Troubles::ThrowIfFailed(const char* what) const {
  const NicEvent* event = failure();
  if (event != nullptr) throw Error(event->code, std::string(what) + ": " + event->what);
}

std::optional<NicEvent> Troubles::About(const in6_addr& peer, uint64_t moment) const {
  if (const NicEvent* event = failure()) return *event;
  const std::lock_guard lock(mutex_);
  const auto about = [&](const Entry& entry) {
    return entry.number > moment && SameAddress(entry.event.peer, peer);
  };
  const auto found = std::find_if(entries_.rbegin(), entries_.rend(), about);
  if (found == entries_.rend()) return std::nullopt;
  return found->event;
}

}  // namespace qpip::internal

#include "verbs/core/session.h"

#include <charconv>
#include <utility>

namespace qpip::verbs {

QpTable::~QpTable() {
  for (auto& page : pages_) delete page.load(std::memory_order_relaxed);
}

uint32_t QpTable::Reserve(Qp* qp) {
  for (uint32_t tried = 0; tried < kQpNumbers; ++tried) {
    const uint32_t number = kFirstQpNumber + next_;
    next_ = (next_ + 1) % kQpNumbers;
    if (numbers_.try_emplace(number, qp).second) return number;
  }
  return 0;
}

void QpTable::Release(uint32_t number) { numbers_.erase(number); }

Qp* QpTable::Find(uint32_t number) const {
  const auto found = numbers_.find(number);
  return found == numbers_.end() ? nullptr : found->second;
}

void QpTable::SetReal(uint32_t number, Qp* qp) {
  std::atomic<Page*>& slot = pages_[number >> kPageBits & kPageMask];
  Page* page = slot.load(std::memory_order_acquire);
  if (page == nullptr) {
    const std::lock_guard lock(pages_mutex_);
    page = slot.load(std::memory_order_acquire);
    if (page == nullptr) {
      page = new Page;
      slot.store(page, std::memory_order_release);
    }
  }
  page->entries[number & kPageMask].store(qp, std::memory_order_release);
}

Session::Session(std::shared_ptr<Nic> nic, Personality personality)
    : nic_(std::move(nic)), personality_(personality), engine_(*nic_) {}

uint64_t Session::UriNumber(std::string_view parameter, uint64_t otherwise) const {
  const std::string& uri = nic_->uri();
  const std::string key = std::string(parameter) + '=';
  for (const char separator : {'?', '&'}) {
    const size_t at = uri.find(separator + key);
    if (at == std::string::npos) continue;
    uint64_t value = otherwise;
    std::from_chars(uri.data() + at + 1 + key.size(), uri.data() + uri.size(), value);
    return value;
  }
  return otherwise;
}

}  // namespace qpip::verbs

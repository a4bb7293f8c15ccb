#include "protocols/vconn/pending.h"

#include "protocols/common/assert.h"

namespace qpip::vconn {

PendingRequests::PendingRequests(std::span<PendingRequest> slots) : slots_(slots) {
  for (size_t i = 0; i < slots_.size(); ++i) slots_[i].next = static_cast<uint32_t>(i + 1);
}

uint64_t PendingRequests::Add(uint64_t context) {
  QPIP_ASSERT(!full());
  const size_t index = free_;
  PendingRequest& slot = slots_[index];
  free_ = slot.next;
  slot.context = context;
  slot.waiting = true;
  ++waiting_;
  return uint64_t{slot.generation} << 32 | index;
}

bool PendingRequests::Match(uint64_t cookie, bool last, uint64_t* context) {
  const auto index = static_cast<uint32_t>(cookie);
  if (index >= slots_.size()) return false;
  PendingRequest& slot = slots_[index];
  if (!slot.waiting || slot.generation != cookie >> 32) return false;
  *context = slot.context;
  if (!last) return true;
  slot.waiting = false;
  ++slot.generation;
  slot.next = static_cast<uint32_t>(free_);
  free_ = index;
  --waiting_;
  return true;
}

}  // namespace qpip::vconn

// What the wire and the recordings cannot do: noted with the lock held, told without it by the
// core's own thread.

#include "sim/lanai/core.h"

namespace qpip::lanai {

// Lock held, or nobody else is left to run the core.
void Core::OnTrouble(const abi::Trouble& trouble) {
  if (handler_ == nullptr) {
    early_troubles_.push_back(trouble);
    return;
  }
  handler_->OnTrouble(trouble);
  // In this order, and the opposite in SleepTick: the core thread sees the one or the other.
  untold_.store(true, std::memory_order_seq_cst);
  std::atomic_ref<uint32_t>(tick_word_).fetch_add(1, std::memory_order_seq_cst);
  FutexWakeAll(&tick_word_);
}

// Without the lock, on the core thread, or in Stop when that has ended.
void Core::TellTroubles() {
  if (untold_.load(std::memory_order_seq_cst) &&
      untold_.exchange(false, std::memory_order_seq_cst)) {
    handler_->TellTroubles();
  }
}

}  // namespace qpip::lanai

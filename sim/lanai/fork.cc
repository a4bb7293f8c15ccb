// fork(2) while a NIC is open. The core is brought to rest for that moment, so that what the child
// destroys is whole; see sim/wire/fork.h.

#include <memory>

#include "sim/lanai/core.h"

namespace qpip::lanai {

wire::ForkHooks Core::MakeForkHooks() {
  const auto release = [this] {
    waiting_words_mutex_.unlock();
    shared_mutex_.unlock();
    Unlock();
  };
  return {.prepare =
              [this] {
                Lock();
                shared_mutex_.lock();
                waiting_words_mutex_.lock();
              },
          .parent = release,
          .child =
              [this, release] {
                release();
                if (handler_ != nullptr) handler_->OnForked();
              }};
}

// The core thread is the parent's. To detach what has the same number here could hit a thread that
// the child has started since.
void Core::AbandonThread() { std::construct_at(&thread_); }

}  // namespace qpip::lanai

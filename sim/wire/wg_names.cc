#include "sim/wire/wg_names.h"

#include <atomic>
#include <system_error>
#include <thread>

namespace qpip::wire {

struct NameLookup::Question {
  uint32_t peer = 0;
  std::optional<SocketAddress> answer;
  std::atomic<bool> done{false};  ///< released by the thread when `answer` is as it stays
};

void NameLookup::Ask(uint32_t peer, const std::string& host, uint16_t port, int family) {
  if (question_ != nullptr) return;
  question_ = std::make_shared<Question>();
  question_->peer = peer;
  try {
    // Detached: a resolver that waits for its servers must not hold up the end of the wire.
    std::thread([question = question_, host, port, family] {
      try {
        question->answer = ResolveSocketAddress(host, port, family);
      } catch (const std::exception&) {
        question->answer.reset();  // it is asked for again when the peer still does not answer
      }
      question->done.store(true, std::memory_order_release);
    }).detach();
  } catch (const std::system_error&) {
    question_.reset();  // no thread to be had: as if it had not been found
  }
}

std::optional<std::pair<uint32_t, SocketAddress>> NameLookup::Answer() {
  if (question_ == nullptr || !question_->done.load(std::memory_order_acquire)) {
    return std::nullopt;
  }
  const std::shared_ptr<Question> question = std::move(question_);
  question_.reset();
  const std::optional<SocketAddress> answer = question->answer;
  if (!answer.has_value()) return std::nullopt;
  return std::pair(question->peer, *answer);
}

}  // namespace qpip::wire

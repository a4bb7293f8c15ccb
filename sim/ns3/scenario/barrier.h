// Programs that wait for each other.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "sim/ns3/model/fibre.h"

namespace qpip::sim {

/// Lets nobody pass until all have come; then is as new. Must outlive those who wait.
class Barrier {
 public:
  explicit Barrier(size_t parties) : parties_(parties) {}

  /// Blocks the current context until `parties` have called.
  void Arrive() {
    if (waiting_.size() + 1 < parties_) {
      waiting_.push_back(&Context::Current());
      Context::Current().waits_for = &kOthers;
      Context::Current().Suspend();
      return;
    }
    for (Context* context : waiting_) {
      context->waits_for = nullptr;
      context->Resume();
    }
    waiting_.clear();
  }

 private:
  static inline const std::string kOthers = "the other programs to come as far";
  const size_t parties_;
  std::vector<Context*> waiting_;
};

}  // namespace qpip::sim

// Wire::ReportTo for a wire: keeps what is told before anybody listens.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sim/wire/wire.h"

namespace qpip::wire {

class Reporter {
 public:
  void To(Report report) {
    report_ = std::move(report);
    for (const abi::Trouble& trouble : std::exchange(early_, {})) Tell(trouble);
  }
  void Tell(abi::Trouble trouble) {
    if (report_) {
      report_(trouble);
    } else if (early_.size() < kMostEarly) {
      early_.push_back(std::move(trouble));
    }
  }

 private:
  static constexpr size_t kMostEarly = 16;
  Report report_;
  std::vector<abi::Trouble> early_;
};

}  // namespace qpip::wire

#include "sim/ns3/world/watch.h"

#include <ns3/simulator.h>

#include <cerrno>
#include <exception>
#include <utility>

#include "qpip/types.h"
#include "sim/ns3/model/fibre.h"
#include "sim/ns3/model/virtual_time.h"

namespace qpip::sim {
namespace {

constexpr uint64_t kEveryNs = Watch::kPatienceNs / 6;

}  // namespace

Watch::Watch(std::function<uint64_t()> work, std::function<std::string()> what_waits)
    : work_(std::move(work)), what_waits_(std::move(what_waits)), since_ns_(NowNs()) {
  next_ = ScheduleAt(NowNs() + kEveryNs, [this] { Look(); });
}

Watch::~Watch() { ns3::Simulator::Cancel(next_); }

void Watch::Look() {
  next_ = ScheduleAt(NowNs() + kEveryNs, [this] { Look(); });
  const uint64_t work = work_();
  if (work != seen_) {
    seen_ = work;
    since_ns_ = NowNs();
    return;
  }
  if (NowNs() - since_ns_ < kPatienceNs) return;
  since_ns_ = NowNs();
  Context::Fail(std::make_exception_ptr(
      Error(ETIMEDOUT, "nothing has been done for " + std::to_string(kPatienceNs / 1'000'000'000) +
                           " s of virtual time: " + what_waits_())));
}

}  // namespace qpip::sim

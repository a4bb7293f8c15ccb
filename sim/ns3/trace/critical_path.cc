#include "sim/ns3/trace/critical_path.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <optional>

#include "nic_fw/abi/completion.h"

namespace qpip::sim {
namespace {

/// Events are rounded up to ns-3's nanoseconds: what ends this shortly before is what was awaited.
constexpr uint64_t kRoundingPs = 1000;

/// The activities of each host in order of their ends.
class Index {
 public:
  explicit Index(const Recording& recording) : by_host_(recording.hosts) {
    for (const Activity& activity : recording.activities) {
      if (activity.DurationPs() != 0) by_host_.at(activity.host).push_back(&activity);
    }
    for (auto& activities : by_host_) {
      std::stable_sort(activities.begin(), activities.end(),
                       [](const Activity* a, const Activity* b) { return a->end_ps < b->end_ps; });
    }
  }

  /// The one of a host that ended last, by `at_ps` and before `before`; nullptr: none.
  const Activity* LastEnded(uint32_t host, uint64_t at_ps, const Activity* before) const {
    const auto& all = by_host_.at(host);
    auto next = std::upper_bound(
        all.begin(), all.end(), at_ps,
        [](uint64_t at, const Activity* activity) { return at < activity->end_ps; });
    while (next != all.begin()) {
      const Activity* candidate = *--next;
      if (candidate != before && candidate->start_ps < at_ps) return candidate;
    }
    return nullptr;
  }

  /// The sending of a frame that was received until `end_ps`; nullptr: not recorded.
  const Activity* Sending(const Activity& receiving) const {
    const Activity* best = nullptr;
    for (uint32_t host = 0; host < by_host_.size(); ++host) {
      if (host == receiving.host) continue;
      const auto& all = by_host_[host];
      auto next = std::upper_bound(
          all.begin(), all.end(), receiving.end_ps,
          [](uint64_t at, const Activity* activity) { return at < activity->end_ps; });
      while (next != all.begin()) {
        const Activity* candidate = *--next;
        if (candidate->resource != Resource::kLinkTransmit ||
            candidate->amount != receiving.amount) {
          continue;
        }
        if (best == nullptr || candidate->end_ps > best->end_ps) best = candidate;
        break;
      }
    }
    return best;
  }

 private:
  std::vector<std::vector<const Activity*>> by_host_;
};

class Walk {
 public:
  Walk(const Index& index, uint32_t host, uint64_t end_ps)
      : index_(index), host_(host), at_ps_(end_ps) {}

  std::vector<PathStep> Run(uint64_t start_ps, bool to_work_request) {
    while (at_ps_ > start_ps && !finished_) {
      const Activity* activity = index_.LastEnded(host_, at_ps_, last_);
      if (activity == nullptr || activity->end_ps <= start_ps) break;
      if (at_ps_ - activity->end_ps > kRoundingPs) {
        steps_.push_back({activity->end_ps, at_ps_, host_, "waiting", {}});
        at_ps_ = activity->end_ps;
      }
      Take(*activity);
      if (to_work_request) StopAtWorkRequest(*activity);
    }
    if (at_ps_ > start_ps && !to_work_request) {
      steps_.push_back({start_ps, at_ps_, host_, "waiting", {}});
    }
    std::reverse(steps_.begin(), steps_.end());
    return std::move(steps_);
  }

 private:
  void Take(const Activity& activity) {
    last_ = &activity;
    if (activity.resource == Resource::kLinkReceive) {
      if (const Activity* sending = index_.Sending(activity); sending != nullptr) {
        steps_.push_back({sending->start_ps, at_ps_, sending->host, "link", "cable and switches"});
        host_ = sending->host;
        at_ps_ = sending->start_ps;
        return;
      }
    }
    steps_.push_back(
        {activity.start_ps, at_ps_, host_, ResourceName(activity.resource), activity.Label()});
    at_ps_ = activity.start_ps;
  }

  /// Get WR follows the DMA that read the entry: with that the message's way begins.
  void StopAtWorkRequest(const Activity& activity) {
    if (fetched_ && activity.resource == Resource::kDmaRead) finished_ = true;
    if (activity.resource == Resource::kCore && activity.stage == fw::Stage::kTxGetWr) {
      fetched_ = true;
    }
  }

  const Index& index_;
  uint32_t host_;
  uint64_t at_ps_;
  const Activity* last_ = nullptr;
  bool fetched_ = false;
  bool finished_ = false;
  std::vector<PathStep> steps_;
};

/// A message in a posted receive; at the end those without one are flushed.
bool IsReceived(const TraceMark& mark) {
  return mark.record.kind == fw::kTraceRecvCompleted &&
         mark.record.to == static_cast<uint32_t>(abi::CompletionStatus::kSuccess);
}

/// When the completion that a trace record announced was in host memory.
std::optional<uint64_t> CompletionWritten(const Recording& recording, const TraceMark& mark) {
  const Activity* best = nullptr;
  const auto distance = [&mark](const Activity& activity) {
    return activity.start_ps > mark.at_ps ? activity.start_ps - mark.at_ps
                                          : mark.at_ps - activity.start_ps;
  };
  for (const Activity& activity : recording.activities) {
    if (activity.host != mark.host || activity.resource != Resource::kDmaWrite) continue;
    if (std::strcmp(activity.name, "completion") != 0) continue;
    if (best == nullptr || distance(activity) < distance(*best)) best = &activity;
  }
  if (best == nullptr) return std::nullopt;
  return best->end_ps;
}

}  // namespace

std::vector<PathStep> CriticalPath(const Recording& recording, uint32_t host, uint64_t end_ps,
                                   uint64_t start_ps, bool to_work_request) {
  const Index index(recording);
  return Walk(index, host, end_ps).Run(start_ps, to_work_request);
}

size_t CountReceiveCompletions(const Recording& recording) {
  return static_cast<size_t>(
      std::count_if(recording.traces.begin(), recording.traces.end(), IsReceived));
}

std::vector<PathStep> MessagePath(const Recording& recording, size_t completion) {
  for (const TraceMark& mark : recording.traces) {
    if (!IsReceived(mark) || completion-- != 0) continue;
    const auto end_ps = CompletionWritten(recording, mark);
    if (!end_ps) return {};
    return CriticalPath(recording, mark.host, *end_ps, 0, true);
  }
  return {};
}

}  // namespace qpip::sim

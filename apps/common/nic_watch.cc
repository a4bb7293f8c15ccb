#include "apps/common/nic_watch.h"

#include <mutex>

#include "apps/common/command_line.h"

namespace qpip::apps {

namespace {

bool ConcernsEverybody(const NicEvent& event) { return IN6_IS_ADDR_UNSPECIFIED(&event.peer) != 0; }

/// Called on a thread of the NIC's.
class Watch {
 public:
  Watch(const std::string& name, NicRole role, StopToken& stop)
      : name_(name), role_(role), stop_(stop) {}

  void OnEvent(const NicEvent& event) {
    if (event.fatal) return stop_.Request();  // WithNic tells
    if (role_ == NicRole::kServer || ConcernsEverybody(event)) {
      return PrintErrorLine(name_, event.what);
    }
    const std::lock_guard lock(mutex_);
    held_ = event.what;
  }

  /// What was held back, unless `failure` says it.
  void TellBeside(const std::string& failure) {
    const std::lock_guard lock(mutex_);
    if (!held_.empty() && failure.find(held_) == std::string::npos) PrintErrorLine(name_, held_);
  }

 private:
  const std::string name_;
  const NicRole role_;
  StopToken& stop_;
  std::mutex mutex_;
  std::string held_;
};

void ThrowIfEnded(const Nic& nic) {
  if (const std::optional<NicEvent> event = nic.failure()) throw Failure(event->what);
}

}  // namespace

int WithNic(const std::string& name, const std::string& uri, NicRole role, StopToken& stop,
            const std::function<int(Nic&)>& body) {
  Watch watch(name, role, stop);
  const std::shared_ptr<Nic> nic = Nic::Open(uri);
  nic->SetEventHandler([&watch](const NicEvent& event) { watch.OnEvent(event); });
  try {
    const int status = body(*nic);
    ThrowIfEnded(*nic);
    return status;
  } catch (const std::exception& error) {
    ThrowIfEnded(*nic);
    watch.TellBeside(error.what());
    throw;
  }
}

}  // namespace qpip::apps

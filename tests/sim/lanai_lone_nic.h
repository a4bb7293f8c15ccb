// A NIC on a scripted wire, and what its core is seen to do.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>
#include <vector>

#include "lanai_scripted.h"

namespace qpip::lanai::testing {

/// A NIC and the wire's other end, which is nobody's.
class LoneNic : public ::testing::Test {
 protected:
  LoneNic() {
    auto wire = std::make_unique<ScriptedWire>(link_, 0);
    wire_ = wire.get();
    nic_ = std::make_unique<ScriptedNic>(std::move(wire), /*spin_us=*/0);
  }
  uint64_t CoreCounter(const char* name) {
    return nlohmann::json::parse(nic_->port().StatisticsJson())["core"][name].get<uint64_t>();
  }
  /// Until somebody sleeps in the wire, for nothing but what others bring.
  void AwaitSleeper() {
    while (link_->ends[0].sleepers.load() == 0) std::this_thread::yield();
  }
  uint32_t WakeUps() const { return link_->ends[0].word.load() >> 1; }

  /// A frame that carries both to the NIC's mailboxes. Nobody is waked.
  void PutFrame(uint32_t object, uint32_t value) {
    std::vector<uint8_t> bytes(48);
    std::memcpy(&bytes[40], &object, 4);
    std::memcpy(&bytes[44], &value, 4);
    const std::lock_guard lock(link_->mutex);
    link_->frames[0].push_back(std::move(bytes));
  }

  /// Starts a thread that waits, for which the core's own makes room in the wire. StopWaiter ends
  /// it.
  void StartWaiter() {
    RunWaiter();
    // One that finds the core's lock taken, as the look at the counters takes it, sleeps on its
    // word instead of in the wire: then the next is tried.
    while (CoreCounter("parks_runner") == 0) {
      StopWaiter();
      RunWaiter();
      for (int i = 0; i < 1000; ++i) std::this_thread::yield();
    }
    AwaitSleeper();
  }
  void StopWaiter() {
    std::atomic_ref<uint32_t>(word_).fetch_add(1);
    nic_->port().platform().Wake(&word_);
    waiter_.join();
  }

  std::shared_ptr<ScriptedLink> link_ = std::make_shared<ScriptedLink>();
  ScriptedWire* wire_;
  std::unique_ptr<ScriptedNic> nic_;

 private:
  void RunWaiter() {
    waiter_ =
        std::thread([this, seen = word_] { nic_->port().DriveUntil(&word_, seen, UINT64_MAX); });
  }

  uint32_t word_ = 0;
  std::thread waiter_;
};

}  // namespace qpip::lanai::testing

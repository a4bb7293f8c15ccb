// The NIC's hardware on the bench: fw::Platform over this process's memory, with queues of packets
// for a link, a seeded generator for randomness, and a clock that is set.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <random>
#include <vector>

#include "host_lib/port/host_port.h"
#include "nic_fw/firmware.h"
#include "nic_fw/platform.h"
#include "nic_fw/state.h"
#include "qpip/testbench/bench.h"

namespace qpip::testbench {

class Hardware {
 public:
  Hardware(const fw::NicConfig& config, uint64_t seed, uint64_t clock_start_ns);
  Hardware(const Hardware&) = delete;
  Hardware& operator=(const Hardware&) = delete;

  /// Formats the arena. Throws std::runtime_error when the firmware refuses.
  void Start(const abi::RingSetup& rings, abi::InterruptHandler* handler);
  void Stop() { running_ = false; }
  /// Runs the firmware until it has nothing to do. Returns whether it did something.
  bool Run();

  uint64_t clock_ns() const { return clock_ns_; }
  void set_clock_ns(uint64_t clock_ns) { clock_ns_ = clock_ns; }
  Time Now() const { return Time(static_cast<int64_t>(clock_ns_ - clock_start_ns_)); }
  uint64_t NextDeadlineNs() const;
  uint64_t clock_start_ns() const { return clock_start_ns_; }

  const fw::NicConfig& config() const { return config_; }
  uint32_t arena_bytes() const { return static_cast<uint32_t>(arena_.size() * 8); }
  /// The firmware's own record of a queue pair.
  const fw::QueuePair& queue_pair(uint32_t handle) const;

  std::deque<abi::Doorbell> doorbells;
  std::deque<Bytes> incoming;
  std::deque<Packet> outgoing;
  std::vector<Drop> drops;

 private:
  static Hardware& Self(void* context) { return *static_cast<Hardware*>(context); }
  void FillHostPorts();
  void FillDmaPorts();
  void FillPayloadPorts();
  void FillLinkPorts();
  void Finish(uint32_t tag, uint32_t sum = 0) { completions_.push_back({tag, fw::kDmaOk, sum}); }
  void Send(const fw::FrameOut& frame);
  bool PollFrame(fw::FrameIn* out);

  fw::NicConfig config_;
  fw::Platform platform_;
  std::vector<uint64_t> arena_;
  abi::InterruptHandler* handler_ = nullptr;
  bool running_ = false;
  uint64_t clock_start_ns_;
  uint64_t clock_ns_;
  std::deque<fw::DmaCompletion> completions_;
  std::map<uint32_t, Bytes> borrowed_;  ///< received frames the firmware holds
  std::map<uint32_t, Bytes> payloads_;  ///< fetched, not yet sent
  uint32_t next_handle_ = 1;
  std::mt19937_64 random_;
};

}  // namespace qpip::testbench

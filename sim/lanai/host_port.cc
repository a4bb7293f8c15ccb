#include "sim/lanai/host_port.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "sim/backend/host_config.h"
#include "sim/lanai/futex.h"

namespace qpip::lanai {

namespace {

/// Real time: the monotonic clock and futexes.
class RealTimePlatform : public abi::HostPlatform {
 public:
  explicit RealTimePlatform(Core& core) : core_(core) {}

  uint64_t NowNs() override { return MonotonicNs(); }
  void Sleep(const uint32_t* word, uint32_t expected, uint64_t deadline_ns) override {
    core_.SleepOnWord(word, expected, deadline_ns);
  }
  void Wake(const uint32_t* word) override { core_.WakeWord(word); }
  void Relax() override {
    thread_local Spinner spinner;
    spinner.Pause();
  }

 private:
  Core& core_;
};

fw::NicConfig MakeConfig(const NicUri& uri, const wire::Wire& wire) {
  fw::NicConfig config = uri.nic;
  config.address = wire.address();
  config.mtu = wire.mtu();
  config.wire_trusted = wire.trusted() ? 1 : 0;
  config.segmentation_limit = wire.segmentation_limit();
  if (const std::optional<wire::LinkAddress> mac = wire.link_address()) {
    config.link.type = fw::kLinkEthernet;
    std::copy(mac->begin(), mac->end(), config.link.mac);
  }
  // A queue pair may have a completion queue for each direction, and a region for each.
  config.max_cqs = std::max(config.max_cqs, 2 * config.max_qps);
  config.max_regions = std::clamp(2 * config.max_qps, config.max_regions, 65536u);
  config.max_rdma_qps = std::min(config.max_rdma_qps, config.max_qps);
  config.dma_slots = std::min(config.dma_slots, Ports::kMaxDmaSlots);
  return config;
}

CoreOptions MakeOptions(const NicUri& uri, const std::string& description) {
  CoreOptions options;
  options.spin_ns = uint64_t{uri.spin_us} * 1000;
  options.doorbell_entries = uri.doorbells;
  options.occupancy = uri.occupancy;
  options.timeline = uri.timeline;
  options.title = description;
  return options;
}

class RealTimeHostPort : public abi::HostPort {
 public:
  RealTimeHostPort(const NicUri& uri, std::unique_ptr<wire::Wire> wire, const Firmware& firmware)
      : config_(MakeConfig(uri, *wire)),
        platform_(core_),
        core_(std::move(wire), firmware, MakeOptions(uri, FormatUri(uri))) {
    fw::ArenaBytes bytes;
    if (firmware.arena(&config_, &bytes) == 0) {
      throw std::invalid_argument("NIC URI \"" + FormatUri(uri) +
                                  "\": the firmware refuses this profile; lower max_qps or mtu");
    }
    info_ = sim_backend::PortInfoOf(config_, bytes.total, FormatUri(uri));
  }

  const abi::PortInfo& info() const override { return info_; }
  abi::HostPlatform& platform() override { return platform_; }

  void Start(const abi::RingSetup& rings, abi::InterruptHandler* handler) override {
    sim_backend::SetRings(rings, &config_);
    core_.Start(config_, handler);
  }
  void Stop() override { core_.Stop(); }

  void RingDoorbell(const abi::Doorbell& doorbell) override { core_.RingDoorbell(doorbell); }
  void GoOnAlone(const abi::Doorbell* first) override { core_.GoOnAlone(first); }
  uint64_t DmaAddress(const void* address) override { return reinterpret_cast<uint64_t>(address); }
  void* AllocateShared(size_t bytes) override { return core_.AllocateShared(bytes); }
  void FreeShared(void* address, size_t bytes) override { core_.FreeShared(address, bytes); }
  bool Drive(bool until_notification) override { return core_.Drive(until_notification); }
  bool DriveBeforeSleep() override { return core_.DriveBeforeSleep(); }
  void DriveUntil(const uint32_t* word, uint32_t expected, uint64_t deadline_ns) override {
    core_.DriveUntil(word, expected, deadline_ns);
  }
  std::string StatisticsJson() override {
    // File names need not be UTF-8; JSON has to be.
    return core_.Statistics().dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }

 private:
  fw::NicConfig config_;
  abi::PortInfo info_;
  // Before the core, which runs until it is destroyed and whose interrupts use the platform.
  RealTimePlatform platform_;
  Core core_;
};

}  // namespace

std::unique_ptr<abi::HostPort> MakeHostPort(const NicUri& uri, std::unique_ptr<wire::Wire> wire,
                                            const Firmware& firmware) {
  return std::make_unique<RealTimeHostPort>(uri, std::move(wire), firmware);
}

}  // namespace qpip::lanai

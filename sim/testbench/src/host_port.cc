// The host's side of the bench's NIC. Nobody ever waits: whatever the NIC can do it does when it is
// asked to run, and a call that would have to let time pass is a mistake of the test's.
#include <stdexcept>
#include <utility>

#include "core.h"
#include "sim/backend/host_config.h"

namespace qpip::testbench {
namespace {

class BenchHostPort : public abi::HostPort, private abi::HostPlatform {
 public:
  BenchHostPort(Hardware& hardware, std::string description)
      : hardware_(hardware),
        info_(sim_backend::PortInfoOf(hardware.config(), hardware.arena_bytes(),
                                      std::move(description))) {}

  const abi::PortInfo& info() const override { return info_; }
  abi::HostPlatform& platform() override { return *this; }
  void Start(const abi::RingSetup& rings, abi::InterruptHandler* handler) override {
    hardware_.Start(rings, handler);
  }
  void Stop() override { hardware_.Stop(); }
  void RingDoorbell(const abi::Doorbell& doorbell) override {
    hardware_.doorbells.push_back(doorbell);
  }
  uint64_t DmaAddress(const void* address) override { return reinterpret_cast<uint64_t>(address); }
  void* AllocateShared(size_t) override { return nullptr; }
  void FreeShared(void*, size_t) override {}
  bool Drive(bool) override { return hardware_.Run(); }
  void DriveUntil(const uint32_t* word, uint32_t expected, uint64_t deadline_ns) override {
    Sleep(word, expected, deadline_ns);
  }
  std::string StatisticsJson() override { return "{}"; }

 private:
  uint64_t NowNs() override { return hardware_.clock_ns(); }
  void Sleep(const uint32_t* word, uint32_t expected, uint64_t) override {
    if (hardware_.Run() || *word != expected) return;
    throw std::logic_error(
        "test bench: this call would have to wait, and only the test moves the clock");
  }
  void Wake(const uint32_t*) override {}
  void Relax() override {}

  Hardware& hardware_;
  abi::PortInfo info_;
};

}  // namespace

std::unique_ptr<abi::HostPort> MakeHostPort(Hardware& hardware, std::string description) {
  return std::make_unique<BenchHostPort>(hardware, std::move(description));
}

}  // namespace qpip::testbench

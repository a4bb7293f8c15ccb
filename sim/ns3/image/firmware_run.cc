#include "sim/ns3/image/firmware_run.h"

#include <vector>

namespace qpip::sim {
namespace {

class NativeRun : public FirmwareRun {
 public:
  bool Init(const fw::NicConfig& config, const fw::Platform& platform, uint64_t now_ns) override {
    fw::ArenaBytes bytes;
    if (fw::qpip_fw_arena(&config, &bytes) == 0) return false;
    platform_ = &platform;
    arena_.assign((bytes.total + 7) / 8, 0);
    return fw::qpip_fw_init(arena_.data(), bytes.total, &config, platform_, now_ns) != 0;
  }
  bool Step(uint64_t now_ns) override {
    return fw::qpip_fw_step(arena_.data(), platform_, now_ns, 1) != 0;
  }
  bool Ready() override { return fw::qpip_fw_ready(arena_.data()) != 0; }
  uint64_t NextDeadline() override { return fw::qpip_fw_next_deadline(arena_.data()); }
  const uint64_t* counters() const override {
    return arena_.empty() ? nullptr : fw::qpip_fw_counters(arena_.data());
  }
  uint32_t arena_bytes() const override { return static_cast<uint32_t>(arena_.size() * 8); }

 private:
  const fw::Platform* platform_ = nullptr;
  std::vector<uint64_t> arena_;
};

}  // namespace

std::unique_ptr<FirmwareRun> RunNatively() { return std::make_unique<NativeRun>(); }

}  // namespace qpip::sim

// A profile, resolved into what the simulation computes with. Times in picoseconds, so that a
// cycle of any core is told apart; events are rounded up to ns-3's nanoseconds.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <memory>

#include "nic_fw/firmware.h"
#include "sim/ns3/image/firmware_run.h"
#include "sim/ns3/model/profile.h"
#include "sim/ns3/model/stage_names.h"

namespace qpip::sim {

/// What a charge of one stage and variant costs.
struct StageCost {
  uint64_t fixed_ps = 0;
  uint64_t if_zero_units_ps = 0;  ///< instead of fixed_ps, for a charge of no units
  double per_unit_ps = 0;
};

/// A resource that moves bytes: time = setup + bytes * per byte.
struct TransferCost {
  uint64_t setup_ps = 0;
  double per_byte_ps = 0;
  uint64_t Ps(uint64_t bytes) const {
    return setup_ps + static_cast<uint64_t>(std::llround(per_byte_ps * static_cast<double>(bytes)));
  }
};

/// Plain data; made once and shared by all NICs of a profile.
struct NicModel {
  explicit NicModel(const Profile& profile);

  /// Cost of a charge. `units` as platform.h defines them.
  uint64_t ChargePs(fw::Stage stage, fw::Variant variant, uint32_t units) const {
    const StageCost& cost = stages[static_cast<uint32_t>(stage)][static_cast<uint32_t>(variant)];
    const uint64_t fixed = units == 0 ? cost.if_zero_units_ps : cost.fixed_ps;
    return fixed + static_cast<uint64_t>(std::llround(cost.per_unit_ps * units));
  }

  std::array<std::array<StageCost, kVariantCount>, fw::kStageCount> stages;
  double core_hz = 0;
  double core_cycle_ps = 0;
  std::shared_ptr<const FirmwareImage> image;  ///< what the core runs; null: stages, as charged
  Rv32iCycles image_cycles;
  bool checksum_in_firmware = false;
  bool get_wr_per_segment = false;
  bool core_on_host = false;
  bool core_runs_programs = false;
  uint64_t receive_interrupt_ps = 0;
  uint64_t receive_interrupt_delay_ps = 0;
  bool receive_interrupt_restart = false;
  uint32_t receive_interrupt_frames = 0;  ///< 0: the delay alone decides
  /// Whether the core hears of received frames by interrupts rather than by looking.
  bool interrupts_core() const { return receive_interrupt_ps + receive_interrupt_delay_ps != 0; }

  TransferCost dma;
  uint32_t transmit_buffers = 0;
  bool transmit_buffer_until_sent = false;
  uint32_t receive_bytes = 0;
  uint32_t doorbell_entries = 0;
  uint64_t doorbell_write_ps = 0;

  double link_per_byte_ps = 0;
  uint64_t link_delay_ps = 0;
  uint32_t link_overhead_bytes = 0;
  uint32_t mtu = 0;
  uint64_t switch_latency_ps = 0;
  uint32_t switch_buffer_bytes = 0;
  uint64_t switch_mark_bytes = UINT64_MAX;  ///< of SwitchOptions; UINT64_MAX: never
  uint64_t switch_drop_bytes = UINT64_MAX;

  uint64_t post_send_ps = 0;
  uint64_t post_recv_ps = 0;
  uint64_t poll_ps = 0;
  uint64_t poll_empty_ps = 0;
  uint64_t interrupt_ps = 0;
  uint64_t wakeup_ps = 0;
  uint32_t socket_buffer_bytes = 0;  ///< bound of a connection's receive window

  /// The protocol profile and the resources that the profile fixes; table sizes are the default's.
  fw::NicConfig firmware;

 private:
  void ReadStages(const Profile& profile);
  void ReadFirmware(const Profile& profile);
  void ReadImage(const Profile& profile);
  void RequireRoomForPackets() const;
};

}  // namespace qpip::sim

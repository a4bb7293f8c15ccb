#include "sim/ns3/model/nic_model.h"

#include <cmath>
#include <string>
#include <utility>

namespace qpip::sim {
namespace {

constexpr double kPsPerSecond = 1e12;
constexpr double kPsPerUs = 1e6;
constexpr double kMaxReservation = 1 << 30;  // QpOptions::receive_reservation

uint64_t Round(double ps) { return static_cast<uint64_t>(std::llround(ps)); }

/// The time of a stage in microseconds on the reference core: a variant without an entry of its
/// own costs what the nearest one costs.
double StageUs(const Profile& profile, fw::Stage stage, fw::Variant variant) {
  const std::string own = StageParameter(stage, variant);
  if (profile.Has(own)) return profile.Get(own);
  switch (variant) {
    case fw::Variant::kDataAck:
      // A surcharge: nothing unless the profile says so, where the stage is charged on top of the
      // data's own.
      if (stage == fw::Stage::kRxUpdate) return 0;
      return StageUs(profile, stage, fw::Variant::kData);
    case fw::Variant::kDatagram:
      return StageUs(profile, stage, fw::Variant::kData);
    case fw::Variant::kControl:
      return StageUs(profile, stage, fw::Variant::kAck);
    case fw::Variant::kAck:
      return profile.GetOr(StageParameter(stage, fw::Variant::kData), 0);
    default:
      return 0;
  }
}

bool CountsBytes(fw::Stage stage) {
  return stage == fw::Stage::kTxGetData || stage == fw::Stage::kTxSend ||
         stage == fw::Stage::kRxMediaReceive || stage == fw::Stage::kRxPutData;
}

}  // namespace

NicModel::NicModel(const Profile& profile) {
  profile.RequireComplete();
  const auto get = [&profile](const char* name) { return profile.Get(name); };
  const auto count = [&profile](const char* name) {
    return static_cast<uint32_t>(profile.Get(name));
  };
  const auto microseconds = [&profile](const char* name) {
    return Round(profile.Get(name) * kPsPerUs);
  };

  core_hz = get("core.hz");
  core_cycle_ps = kPsPerSecond / core_hz;
  if (profile.GetOr("core.runs_image", 0) != 0) ReadImage(profile);
  ReadStages(profile);
  checksum_in_firmware = get("core.checksum_in_firmware") != 0;
  get_wr_per_segment = get("core.get_wr_per_segment") != 0;
  core_on_host = profile.GetOr("core.on_host", 0) != 0;
  core_runs_programs = core_on_host && profile.GetOr("core.runs_programs", 0) != 0;
  receive_interrupt_ps = Round(profile.GetOr("core.receive_interrupt_us", 0) * kPsPerUs);
  receive_interrupt_delay_ps =
      Round(profile.GetOr("core.receive_interrupt_delay_us", 0) * kPsPerUs);
  receive_interrupt_restart = profile.GetOr("core.receive_interrupt_restart", 0) != 0;
  receive_interrupt_frames =
      static_cast<uint32_t>(profile.GetOr("core.receive_interrupt_frames", 0));

  dma = {microseconds("dma.setup_us"), kPsPerSecond / get("dma.bytes_per_s")};
  transmit_buffers = count("sram.transmit_buffers");
  transmit_buffer_until_sent = get("sram.transmit_buffer_until_sent") != 0;
  receive_bytes = count("sram.receive_bytes");
  doorbell_entries = count("doorbell.entries");
  doorbell_write_ps = microseconds("doorbell.write_us");

  link_per_byte_ps = 8 * kPsPerSecond / get("link.bits_per_s");
  link_delay_ps = microseconds("link.delay_us");
  link_overhead_bytes = count("link.overhead_bytes");
  mtu = count("link.mtu");
  switch_latency_ps = microseconds("switch.latency_us");
  switch_buffer_bytes = count("switch.buffer_bytes");
  if (profile.Has("switch.mark_bytes")) switch_mark_bytes = count("switch.mark_bytes");
  if (profile.Has("switch.drop_bytes")) switch_drop_bytes = count("switch.drop_bytes");

  const double host_cycle_ps = kPsPerSecond / get("host.hz");
  post_send_ps = Round(get("host.post_send_cycles") * host_cycle_ps);
  post_recv_ps = Round(get("host.post_recv_cycles") * host_cycle_ps);
  poll_ps = Round(get("host.poll_cycles") * host_cycle_ps);
  poll_empty_ps = Round(get("host.poll_empty_cycles") * host_cycle_ps);
  interrupt_ps = microseconds("host.interrupt_us");
  wakeup_ps = microseconds("host.wakeup_us");
  socket_buffer_bytes =
      static_cast<uint32_t>(profile.GetOr("host.socket_buffer_bytes", kMaxReservation));

  ReadFirmware(profile);
  RequireRoomForPackets();
}

/// A buffer that is smaller than the largest packet would hold it back for ever.
void NicModel::RequireRoomForPackets() const {
  const uint64_t packet = uint64_t{mtu} + link_overhead_bytes;
  using Room = std::pair<const char*, uint64_t>;
  for (const auto& [name, bytes] :
       {Room("sram.receive_bytes", receive_bytes), Room("switch.buffer_bytes", switch_buffer_bytes),
        Room("switch.drop_bytes", switch_drop_bytes)}) {
    if (bytes >= packet) continue;
    throw ProfileError(std::string(name) + " is " + std::to_string(bytes) +
                       ", but a packet takes up to " + std::to_string(packet) + " (link.mtu " +
                       std::to_string(mtu) + " and link.overhead_bytes " +
                       std::to_string(link_overhead_bytes) +
                       ") and would never fit: give it more, or a smaller link.mtu");
  }
}

/// Costs of the stages on this core.
void NicModel::ReadStages(const Profile& profile) {
  const auto get = [&profile](const char* name) { return profile.Get(name); };
  const double cycle_ps = kPsPerSecond / core_hz;
  const double reference_hz = get("core.reference_hz");
  const auto scaled_ps = [&](double us) { return Round(us * 1e-6 * reference_hz * cycle_ps); };
  for (uint32_t s = 0; s < fw::kStageCount; ++s) {
    const auto stage = static_cast<fw::Stage>(s);
    for (uint32_t v = 0; v < kVariantCount; ++v) {
      StageCost& cost = stages[s][v];
      if (stage == fw::Stage::kChecksum) {
        cost.per_unit_ps = get("core.checksum_cycles_per_byte") * cycle_ps;
        continue;
      }
      const auto variant = static_cast<fw::Variant>(v);
      cost.fixed_ps = scaled_ps(StageUs(profile, stage, variant));
      cost.if_zero_units_ps = cost.fixed_ps;
      if (CountsBytes(stage)) {
        cost.per_unit_ps = profile.GetOr(StageParameter(stage) + ".cycles_per_byte", 0) * cycle_ps;
      }
      if (stage == fw::Stage::kRxTransportParse) {
        cost.per_unit_ps = get("core.multiply_cycles") * cycle_ps;
      }
    }
  }
  if (profile.Has(kIdleAckUpdate)) {
    auto& update = stages[static_cast<uint32_t>(fw::Stage::kRxUpdate)];
    update[static_cast<uint32_t>(fw::Variant::kAck)].if_zero_units_ps =
        scaled_ps(profile.Get(kIdleAckUpdate));
  }
}

/// What the instructions of the firmware's image take on this core.
void NicModel::ReadImage(const Profile& profile) {
  image = FirmwareImage::Shared();
  image_cycles = {profile.Get("image.cycles"), profile.Get("image.load_cycles"),
                  profile.Get("image.store_cycles"), profile.Get("image.narrow_store_cycles"),
                  profile.Get("image.taken_branch_cycles")};
}

/// How the firmware is configured.
void NicModel::ReadFirmware(const Profile& profile) {
  const auto count = [&profile](const char* name) {
    return static_cast<uint32_t>(profile.Get(name));
  };
  firmware.mtu = mtu;
  firmware.tcp.ack_every = static_cast<uint8_t>(count("protocol.ack_every"));
  firmware.tcp.ack_on_batch_end = count("protocol.ack_on_batch_end") != 0;
  firmware.tcp.ack_delay_us = count("protocol.ack_delay_us");
  firmware.tcp.timestamps = count("protocol.timestamps") != 0;
  firmware.tcp.window_scaling = count("protocol.window_scaling") != 0;
  firmware.tcp.sack = count("protocol.sack") != 0;
  firmware.tcp.reassembly = static_cast<uint16_t>(count("protocol.reassembly"));
  firmware.tcp_scoreboard = count("protocol.scoreboard");
  firmware.tcp.congestion = static_cast<tcp::CongestionAlgorithm>(count("protocol.congestion"));
  firmware.tcp.ecn = static_cast<tcp::EcnMode>(count("protocol.ecn"));
  firmware.tcp.hystart = count("protocol.hystart") != 0;
  firmware.tcp.pacing = count("protocol.pacing") != 0;
  firmware.tcp.undo = count("protocol.undo") != 0;
  firmware.tcp.mtu_probing = static_cast<tcp::MtuProbing>(count("protocol.mtu_probing"));
  firmware.tcp.rto_min_us = count("protocol.rto_min_us");
  firmware.tcp.rto_initial_us = count("protocol.rto_initial_us");
  firmware.wqe_prefetch = static_cast<uint8_t>(count("protocol.wqe_prefetch"));
  firmware.transmit_contexts = count("protocol.transmit_contexts");
  firmware.receive_contexts = count("protocol.receive_contexts");
  // Each context may have one operation under way, each work queue one, and a few beside them.
  firmware.dma_slots = firmware.transmit_contexts + firmware.receive_contexts + 4096;
}

}  // namespace qpip::sim

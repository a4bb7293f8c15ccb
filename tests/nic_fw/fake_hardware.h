// Scripted hardware for firmware tests: host memory, DMA, doorbells and a link under the test's
// control, and a clock that only the test moves.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "nic_fw/platform.h"
#include "protocols/common/checksum.h"

namespace qpip::fw::test {

using Frame = std::vector<uint8_t>;

/// Implements fw::Platform. Host memory is this process's memory, but only ranges that the test has
/// declared may be touched: anything else is counted and refused.
class FakeHardware {
 public:
  FakeHardware();

  const Platform& platform() {
    if (hold_dma) DmaTakesTime();
    return platform_;
  }

  /// For tests of what happens meanwhile, in whatever mode all run (see the constructor).
  void DmaTakesTime() { platform_.dma_at_once = 0; }
  void DmaTakesNoTime() { platform_.dma_at_once = 1; }

  /// Declares [address, address + bytes) as host memory.
  void AddHostMemory(const void* address, size_t bytes);

  std::deque<abi::Doorbell> doorbells;
  size_t doorbell_capacity = 64;
  bool doorbell_overflow = false;
  void Ring(const abi::Doorbell& doorbell);

  std::deque<Frame> incoming;                          ///< frames for frame_poll
  std::deque<Frame> outgoing;                          ///< frames that were sent
  std::vector<std::array<uint8_t, 6>> link_addresses;  ///< ... and whom they went to
  bool trusted = false;                                ///< incoming frames carry kFrameTrusted
  bool engine_sums = true;                             ///< incoming frames carry their checksum
  bool wire_full = false;                              ///< frame_send answers kSendBusy
  bool no_route = false;                               ///< frame_send answers kSendNoRoute
  std::map<uint8_t, SendStatus> refused;               ///< ... or this, by the destination's last
                                                       ///< byte
  bool hold_dma = false;                               ///< dma_poll finds nothing
  bool give_leases = false;                            ///< frames by reference get a lease...
  uint64_t leases_ended = 0;                           ///< ...pending while greater than this
  uint32_t receiver_quiet_ms = 0;                      ///< ...what their receiver reads nothing for
  std::vector<std::pair<uint64_t, uint32_t>> revoked;  ///< leases and their owners
  bool frames_taken_back = false;                      ///< by whoever sent what is received
  uint32_t payload_buffers = 64;                       ///< packet buffers
  uint64_t payloads_kept = 0;                          ///< payload_keep of what was fetched
  uint64_t packets_cut = 0;                            ///< frames sent that became segments...
  size_t largest_cut = 0;                              ///< ...the largest, bytes
  std::vector<std::pair<uint32_t, uint32_t>> interrupts;
  std::vector<TraceRecord> traces;
  std::vector<std::pair<Stage, Variant>> charges;

  uint64_t illegal_accesses = 0;  ///< DMA outside declared host memory
  size_t frames_borrowed() const { return borrowed_.size(); }
  size_t payloads_held() const { return payloads_.size(); }
  size_t dma_pending() const { return completions_.size(); }
  /// For a bench whose firmware is put back to an earlier moment: what the engines hold for it, and
  /// all records of what it has done, are gone.
  void Forget();

 private:
  static FakeHardware& Self(void* context) { return *static_cast<FakeHardware*>(context); }
  void FillHostPorts();
  void FillDmaPorts();
  void FillPayloadPorts();
  void FillLinkPorts();
  bool Legal(uint64_t address, uint64_t bytes);
  void Finish(uint32_t tag, bool ok, uint32_t sum = 0);
  bool Gather(const DmaSegment* from, uint32_t count, Frame* bytes);
  bool Scatter(const Frame& bytes, const DmaSegment* to, uint32_t count);
  /// What a link engine makes of a frame (FrameOut::segment_size).
  std::deque<Frame> Cut(Frame frame, uint32_t segment_size);

  Platform platform_;
  std::map<uint64_t, uint64_t> host_memory_;
  std::deque<DmaCompletion> completions_;
  std::map<uint32_t, Frame> borrowed_;
  std::map<uint32_t, Frame> payloads_;
  uint32_t next_handle_ = 1;
  uint64_t next_lease_ = 1;
  std::mt19937_64 random_{42};
};

}  // namespace qpip::fw::test

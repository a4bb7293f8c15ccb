// The firmware's ports on a host thread: fw::Platform over a wire and this process's memory.
//
// A DMA address is a virtual address of this process, so a DMA engine is a memory copy. It is done
// at once; its completion goes through a FIFO that only `dma_poll` drains, as on hardware, but the
// firmware knows that it is there already (`dma_at_once`). Payload on its way out is not copied
// here at all; a payload handle is a list of pieces of host memory, which the wire copies or refers
// to.
//
// Everything here is called by the thread that holds the core (core.h), one at a time.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "host_lib/port/host_port.h"
#include "nic_fw/platform.h"
#include "sim/lanai/clock.h"
#include "sim/lanai/doorbell_fifo.h"
#include "sim/lanai/occupancy.h"
#include "sim/lanai/timeline.h"
#include "sim/wire/wire.h"

namespace qpip::lanai {

class Ports {
 public:
  /// Tagged DMA operations that may be outstanding: the bound of NicConfig::dma_slots.
  static constexpr uint32_t kMaxDmaSlots = 2048;
  /// Payloads that may be held between payload_fetch and frame_send.
  static constexpr uint32_t kPayloadSlots = 512;
  /// Received frames the firmware may hold at a time.
  static constexpr uint32_t kFrameSlots = 256;

  /// `occupancy` and `timeline` may be null; then `charge` and `trace` are null in the table and
  /// nothing is measured. All references must outlive the ports.
  Ports(wire::Wire& wire, DoorbellFifo& doorbells, Occupancy* occupancy, Timeline* timeline);
  ~Ports();
  Ports(const Ports&) = delete;
  Ports& operator=(const Ports&) = delete;

  /// Whom interrupts go to; set before the firmware first runs.
  void set_interrupt_handler(abi::InterruptHandler* handler) { handler_ = handler; }

  const fw::Platform& table() const { return table_; }

  /// To be called before a step: cycles before it belong to no stage.
  void MarkStepBegin() {
    if (measured_) mark_ = ReadCycles();
  }

  /// True when frames were sent since the last call: the wire wants a Flush.
  bool TakeSent() {
    const bool sent = sent_;
    sent_ = false;
    return sent;
  }
  /// True when `dma_poll` has something to return.
  bool completions_waiting() const { return completion_head_ != completion_tail_; }
  /// Received frames the firmware holds.
  uint32_t frames_held() const { return kFrameSlots - static_cast<uint32_t>(free_frames_.size()); }

  /// Gives back to the wire all frames the firmware holds; it will not run again.
  void ReleaseFrames();

 private:
  struct PayloadSlot {
    uint32_t count = 0;   ///< pieces
    bool stable = false;  ///< the host leaves the memory alone until the lease ends
    std::array<iovec, fw::kMaxDmaSegments + 1> pieces;  ///< and the end of an FPDU
    std::vector<uint8_t> copy;  ///< payload_from_frame, payload_keep, payload_seal: the
                                ///< bytes themselves
  };
  struct FrameSlot {
    wire::InFrame frame;
    bool held = false;
  };

  template <bool kTimed>
  class Measure;
  template <bool kTimed>
  void FillTable();
  template <bool kTimed>
  void FillDmaPorts();
  template <bool kTimed>
  void FillLinkPorts();

  void Complete(uint32_t tag, uint32_t status, uint32_t sum = 0);
  uint32_t PollCompletion(fw::DmaCompletion* out);
  uint32_t FetchPayload(const fw::DmaSegment* from, uint32_t count, uint32_t flags, uint32_t tag);
  uint32_t CopyPayloadFromFrame(uint32_t frame, uint32_t offset, uint32_t length, uint32_t* sum);
  uint32_t KeepPayload(uint32_t payload, std::span<const uint8_t> head);
  uint32_t SealPayload(uint32_t payload, uint32_t pad, bool with_crc, uint32_t crc);
  uint8_t* Zeroes();
  uint32_t SendFrame(const fw::FrameOut& out, uint64_t* lease);
  uint32_t PollFrame(fw::FrameIn* out);
  void PlacePayload(uint32_t frame, uint32_t offset, const fw::DmaSegment* to, uint32_t count,
                    uint32_t tag);
  uint32_t CrcFrame(uint32_t frame, uint32_t offset, uint32_t length, uint32_t crc) const;
  uint32_t SumFrame(uint32_t frame, uint32_t offset, uint32_t length) const;
  uint32_t ReadFrame(uint32_t frame, uint32_t offset, uint32_t length, uint8_t* to);
  /// DmaStatus of bytes that have just been copied out of a frame.
  uint32_t StatusOfCopy(const wire::InFrame& frame) {
    return !frame.revocable || wire_.Intact(frame) ? fw::kDmaOk : fw::kDmaRevoked;
  }
  void ReleaseFrame(uint32_t frame);
  uint64_t Random();
  void Charge(fw::Stage stage, fw::Variant variant);

  wire::Wire& wire_;
  DoorbellFifo& doorbells_;
  abi::InterruptHandler* handler_ = nullptr;
  Occupancy* const occupancy_;
  Timeline* const timeline_;
  const bool summed_;  ///< the firmware computes the checksums of what it sends
  const bool measured_;
  bool sent_ = false;
  uint64_t mark_ = 0;
  fw::Platform table_;

  // Both indices return to 0 when the FIFO is empty, so that it stays within a few cache lines.
  uint32_t completion_head_ = 0;
  uint32_t completion_tail_ = 0;
  std::array<fw::DmaCompletion, kMaxDmaSlots> completions_;

  // Handles are index + 1. The lists are stacks: what was just in use is still in the cache.
  std::vector<uint32_t> free_payloads_;
  std::vector<uint32_t> free_frames_;
  std::vector<PayloadSlot> payloads_;
  std::vector<FrameSlot> frames_;

  uint8_t* zeroes_ = nullptr;  ///< the end of an FPDU without CRC; the wire's memory if it has such

  std::array<uint64_t, 64> random_;
  uint32_t random_used_ = 64;
};

}  // namespace qpip::lanai

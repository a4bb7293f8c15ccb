// The core of a simulated NIC: runs the firmware in event time and is its platform (nic_fw/
// platform.h).
//
// One handler of the firmware is one event. What it charges accrues; port calls inside it happen at
// its beginning plus what has accrued; the core is busy until all of it is spent, and only then
// looks for the next handler. An idle core sleeps until something arrives: doorbell, frame, end of
// a transfer, a timer. Transfers need no events of their own: their ends are looked up when the
// core polls.
//
//     doorbells -> FIFO --+                    +-- read engine  (host memory to SRAM)
//                         v                    |
//     frames ----> [ core: qpip_fw_step ] -----+-- write engine (SRAM to host memory, completions)
//                         |                    |
//                    interrupts                +-- link
#pragma once

#include <array>
#include <boost/smart_ptr/local_shared_ptr.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "nic_fw/abi/counters.h"
#include "nic_fw/firmware.h"
#include "sim/ns3/image/firmware_run.h"
#include "sim/ns3/model/fifo.h"
#include "sim/ns3/model/frame.h"
#include "sim/ns3/model/nic_model.h"
#include "sim/ns3/model/observer.h"

namespace qpip::sim {

/// What the core sends frames through.
class FramePort {
 public:
  virtual ~FramePort() = default;
  /// Whether a frame would be taken now.
  virtual bool CanSend() const = 0;
  /// Whether anybody has this address (16 bytes).
  virtual bool HasRoute(const uint8_t* destination) const = 0;
  /// Sends, not before `earliest_ns`. The port reports the line's times through OnFrameOnLine.
  virtual void Send(FramePtr frame, uint64_t earliest_ns) = 0;
  /// A received frame has left the NIC's packet memory at `at_ns`.
  virtual void OnReceiveBufferFree(uint32_t frame_bytes, uint64_t at_ns) = 0;
};

/// What the core does to the host.
class HostBus {
 public:
  virtual ~HostBus() = default;
  /// A completion, event or record was written to host memory at `address`.
  virtual void OnHostWrite(uint64_t address, uint32_t bytes) = 0;
  virtual void OnInterrupt(fw::InterruptKind kind, uint32_t object) = 0;
};

/// Utilisation of the resources since the start, in picoseconds of busy time.
struct CoreTotals {
  std::array<std::array<StageTotal, kVariantCount>, fw::kStageCount> stages = {};
  uint64_t core_busy_ps = 0;
  uint64_t handlers = 0;
  uint64_t dma_read_ps = 0;
  uint64_t dma_write_ps = 0;
  uint64_t dma_read_bytes = 0;
  uint64_t dma_write_bytes = 0;
  uint64_t link_receive_ps = 0;  ///< the line towards this NIC, framing included
  uint64_t doorbells = 0;
  uint64_t doorbell_overflows = 0;
  uint64_t receive_interrupts = 0;  ///< of the core, see NicModel::interrupts_core
  uint64_t receive_interrupt_ps = 0;
};

class NicCore : private LeaseHolder, private CycleSink {
 public:
  /// `model` must outlive the core. `config` comes from the model, with address, tables and rings.
  NicCore(const NicModel& model, FramePort* link, uint64_t random_seed);
  ~NicCore() override;

  /// Formats the arena and lets the core run. Throws std::runtime_error when the firmware refuses
  /// the configuration. `host` must outlive the run.
  void Start(const fw::NicConfig& config, HostBus* host);
  /// No step, transfer or interrupt after this. Frames under way carry copies from now on: the
  /// host may free its memory. May be started again.
  void Stop();
  bool running() const { return running_; }

  /// The device has left the simulation, while a program may still hold the NIC. From now on
  /// nothing takes virtual time: transfers end at once, and frames go nowhere. Not undone.
  void Detach();
  bool detached() const { return detached_; }
  /// Whatever payload still lies in host memory, though the NIC has read it, is copied: the host is
  /// about to free some.
  void CopyReferences();
  /// Lets a detached core do what there is to do, mostly commands that destroy objects.
  void RunDetached();

  /// A doorbell that reaches the FIFO now.
  void PushDoorbell(const abi::Doorbell& doorbell);
  /// A frame whose last byte is in the NIC's packet memory now.
  void PushFrame(FramePtr frame);
  /// Lets a program of the host have the core for so long, in slices and behind the core's own work
  /// (NicModel::core_runs_programs). Blocks the current context.
  void RunProgram(uint64_t duration_ns);
  /// The link sends a frame in [start, end); frames are reported in order.
  void OnFrameOnLine(const Frame& frame, uint64_t start_ns, uint64_t end_ns);
  /// The link has room again.
  void OnLinkReady() { Kick(0); }

  void set_observer(NicObserver* observer) { observer_ = observer; }
  /// Frames carry a copy of the payload, because somebody may look at them late.
  void set_copy_payload(bool copy) { copy_payload_ = copy; }
  const CoreTotals& totals() const { return totals_; }
  /// Most doorbells that have waited in the FIFO since MarkDoorbellDepth.
  size_t deepest_doorbells() const { return deepest_doorbells_; }
  void MarkDoorbellDepth() { deepest_doorbells_ = doorbells_.size(); }
  /// Time that transmit buffers have been taken, all added up, until now; in picoseconds. What is
  /// known to end later counts until then.
  uint64_t TransmitBuffersPs() const;
  uint32_t arena_bytes() const { return firmware_ ? firmware_->arena_bytes() : 0; }
  /// Bytes of this process that the core takes, beside the arena.
  size_t MemoryBytes() const;
  uint64_t counter(abi::NicCounter counter) const;
  uint64_t drops(abi::DropReason reason) const;

 private:
  /// How long a program keeps the core from a frame or timer that has just come: interrupts are
  /// taken between instructions, so it is only as long as keeps the simulation quick.
  static constexpr uint64_t kProgramSliceNs = 5000;
  /// Frames the link may hold back before the firmware is told to wait.
  static constexpr uint32_t kMaxFramesWaiting = 64;

  /// A DMA engine: one transfer at a time, in order.
  struct DmaEngine {
    uint64_t free_ps = 0;
    Fifo<std::pair<uint64_t, fw::DmaCompletion>> done;  ///< (ns, what)
  };
  struct Payload {
    boost::container::small_vector<Piece, 2> pieces;
    std::vector<uint8_t> owned;
    uint32_t length = 0;
    uint16_t sum = 0;
    bool copy = false;
    uint32_t next_free = 0;
  };
  /// A write to the host, or an interrupt behind it, at its time.
  struct Posted {
    uint64_t to = 0;
    uint8_t bytes[64] = {};
    uint32_t length = 0;  ///< 0: an interrupt
    uint32_t kind = 0;
    uint32_t object = 0;
  };

  static NicCore& Self(void* context) { return *static_cast<NicCore*>(context); }
  void FillTable();
  void FillDmaPorts();
  void FillLinkPorts();

  // Starting and stopping.
  void Reset();
  void EndLeases(uint64_t last);

  // The event loop.
  void Kick(uint64_t at_ns);
  void OnKick(uint64_t at_ns);
  void Step();
  void Run();
  uint64_t TransferTime();
  void SetTimer(uint64_t deadline_ns);
  void OnTimer(uint64_t at_ns);
  void Moderate(uint64_t now_ns);
  void AwaitInterrupt();
  void AnnounceFrames(uint64_t at_ns);
  uint64_t StampPs() const { return step_ns_ * 1000 + accrued_ps_; }
  uint64_t StampNs() const { return CeilStamp(StampPs()); }
  static uint64_t CeilStamp(uint64_t ps) { return (ps + 999) / 1000; }

  // Ports.
  void Charge(fw::Stage stage, fw::Variant variant, uint32_t units);
  void ChargeOne(fw::Stage stage, fw::Variant variant, uint32_t units);
  void ChargeExecuted(fw::Stage stage, fw::Variant variant, uint32_t units);
  void ChargeRest();
  void AddToStage(fw::Stage stage, fw::Variant variant, uint32_t units, uint64_t start_ps,
                  uint64_t ps);
  void OnCycles(double cycles) override;
  uint64_t Transfer(DmaEngine& engine, Engine which, const char* name, uint32_t bytes);
  void Finish(DmaEngine& engine, uint64_t done_ps, uint32_t tag, uint32_t status, uint32_t sum);
  uint32_t PollDma(fw::DmaCompletion* out);
  void PostWrite(uint64_t to, const void* from, uint32_t length);
  void PostInterrupt(uint32_t kind, uint32_t object);
  void Deliver(const Posted& posted, uint64_t at_ps);
  void DeliverPosted();
  void ReadPosted(uint64_t from, void* to, uint32_t length);
  uint32_t FetchPayload(const fw::DmaSegment* from, uint32_t count, uint32_t flags, uint32_t tag);
  uint32_t PayloadFromFrame(uint32_t frame, uint32_t offset, uint32_t length, uint32_t* sum);
  void PlacePayload(uint32_t frame, uint32_t offset, const fw::DmaSegment* to, uint32_t count,
                    uint32_t tag);
  uint32_t TakePayload();
  void TakeBuffer();
  void FreeBufferAt(uint64_t ps);
  void ReleasePayload(uint32_t handle);
  bool PayloadRoom();
  void CopyHostMemory(const fw::DmaSegment* from, uint32_t from_count, const fw::DmaSegment* to,
                      uint32_t to_count, uint32_t tag);
  uint32_t SealPayload(uint32_t handle, uint32_t pad, bool with_crc, uint32_t crc);
  uint32_t CrcHostMemory(const fw::DmaSegment* from, uint32_t count, uint32_t crc);
  uint32_t CrcFrame(uint32_t handle, uint32_t offset, uint32_t length, uint32_t crc) const;
  uint32_t SumFrame(uint32_t handle, uint32_t offset, uint32_t length) const;
  void ReadFrame(uint32_t handle, uint32_t offset, uint32_t length, uint8_t* to) const;
  uint32_t SendFrame(const fw::FrameOut& out, uint64_t* lease);
  bool FrameAnnounced();
  uint32_t PollFrame(fw::FrameIn* out);
  void ReleaseFrame(uint32_t handle);
  uint64_t Random();

  void OnLeaseEnded(uint64_t lease) override;

  const NicModel& model_;
  FramePort* link_;
  HostBus* host_ = nullptr;
  NicObserver* observer_ = nullptr;
  fw::Platform table_;
  std::unique_ptr<FirmwareRun> firmware_;
  bool running_ = false;
  bool detached_ = false;
  bool copy_payload_ = false;
  uint64_t run_ = 0;  ///< counts Stop and Detach; events of an earlier run do nothing

  // The core's time.
  uint64_t step_ns_ = 0;     ///< when the present handler began
  uint64_t accrued_ps_ = 0;  ///< charged by it so far
  uint64_t busy_until_ns_ = 0;
  // Of a core that runs the image: what has been executed since the last mark, and whose it was.
  uint64_t unmarked_ps_ = 0;
  bool marked_ = false;  ///< in this handler
  fw::Stage last_stage_ = fw::Stage::kManagement;
  fw::Variant last_variant_ = fw::Variant::kControl;
  bool stepping_ = false;  ///< inside Step
  /// Earliest event that will call Step. Events are never cancelled (ns-3 keeps cancelled ones in
  /// its queue until their time, and time-outs lie far ahead): a later one finds that it is not
  /// the one that is waited for.
  uint64_t next_step_ns_ = UINT64_MAX;
  uint64_t timer_ns_ = UINT64_MAX;          ///< of the event under way for the firmware's time-outs
  boost::local_shared_ptr<NicCore*> self_;  ///< what events hold on to; emptied by the destructor

  Fifo<abi::Doorbell> doorbells_;
  bool doorbell_overflow_ = false;
  size_t deepest_doorbells_ = 0;

  DmaEngine read_;
  DmaEngine write_;
  Fifo<Posted> posted_;

  std::vector<Payload> payloads_;  ///< by handle - 1
  uint32_t free_payload_ = 0;      ///< handle; 0: none
  uint32_t buffers_used_ = 0;
  uint32_t buffers_held_ = 0;          ///< of those used: whose end is not known yet
  uint64_t buffers_ps_ = 0;            ///< ends that are known less beginnings, modulo 2^64
  Fifo<uint64_t> buffers_free_at_ns_;  ///< of frames on the line; ascending
  uint32_t frames_waiting_ = 0;        ///< handed to the link, not yet on the line
  uint32_t stale_frames_ = 0;          ///< as above, of earlier runs; ahead of the others
  bool starved_ = false;               ///< the firmware was told that there is no buffer

  /// How an interrupted core learns of frames; one that looks by itself is always serving.
  enum class ReceiveState : uint8_t {
    kIdle,         ///< no frame
    kModerated,    ///< frames wait for the interrupt
    kInterrupted,  ///< the interrupt is there, its time not yet spent
    kServing,      ///< frames are taken until none is left
  };
  ReceiveState receive_state_ = ReceiveState::kIdle;
  uint64_t interrupt_ns_ = 0;       ///< when the frames of kModerated are announced
  bool interrupt_awaited_ = false;  ///< an event is under way for a time no later than that
  Fifo<FramePtr> received_;
  std::vector<FramePtr> held_;  ///< by handle - 1
  std::vector<uint32_t> free_held_;

  uint64_t next_lease_ = 1;
  uint64_t oldest_lease_ = 1;
  Fifo<Frame*> leased_;  ///< from oldest_lease_ on; nullptr: ended

  uint64_t random_state_;
  CoreTotals totals_;
};

}  // namespace qpip::sim

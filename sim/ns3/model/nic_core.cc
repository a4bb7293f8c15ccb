#include "sim/ns3/model/nic_core.h"

#include <algorithm>
#include <boost/smart_ptr/make_local_shared.hpp>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "sim/ns3/model/fibre.h"
#include "sim/ns3/model/virtual_time.h"

namespace qpip::sim {

NicCore::NicCore(const NicModel& model, FramePort* link, uint64_t random_seed)
    : model_(model),
      link_(link),
      self_(boost::make_local_shared<NicCore*>(this)),
      random_state_(random_seed) {
  FillTable();
}

NicCore::~NicCore() {
  Stop();
  *self_ = nullptr;
}

void NicCore::Start(const fw::NicConfig& config, HostBus* host) {
  fw::ArenaBytes bytes;
  if (fw::qpip_fw_arena(&config, &bytes) == 0) {
    throw std::runtime_error(
        "the firmware refuses the NIC's configuration: MTU, tables or rings "
        "are out of range");
  }
  host_ = host;
  firmware_ = model_.image ? RunImage(model_.image, model_.image_cycles, this) : RunNatively();
  step_ns_ = NowNs();
  accrued_ps_ = 0;
  if (!firmware_->Init(config, table_, step_ns_)) {
    throw std::runtime_error("the firmware refuses to start");
  }
  running_ = true;
  Kick(0);
}

void NicCore::Stop() {
  EndLeases(UINT64_MAX);
  if (!running_) return;
  running_ = false;
  ++run_;
  Reset();
}

/// Frames that are on the line now will be reported late, and must not count for the next run.
void NicCore::Reset() {
  const uint64_t now = detached_ ? step_ns_ : NowNs();
  for (size_t i = 0; i < received_.size(); ++i) {
    link_->OnReceiveBufferFree(received_[i]->length(), now);
  }
  for (const FramePtr& frame : held_) {
    if (frame != nullptr) link_->OnReceiveBufferFree(frame->length(), now);
  }
  received_.clear();
  held_.clear();
  free_held_.clear();
  doorbells_.clear();
  doorbell_overflow_ = false;
  read_ = {};
  write_ = {};
  posted_.clear();
  payloads_.clear();
  free_payload_ = 0;
  while (buffers_held_ != 0) FreeBufferAt(now * 1000);
  buffers_used_ = 0;
  buffers_free_at_ns_.clear();
  starved_ = false;
  stale_frames_ += std::exchange(frames_waiting_, 0);
  receive_state_ = ReceiveState::kIdle;
  next_step_ns_ = UINT64_MAX;
  timer_ns_ = UINT64_MAX;
  busy_until_ns_ = 0;
}

/// Of all frames up to the one behind `last`: they refer to the host's memory no more.
void NicCore::EndLeases(uint64_t last) {
  for (; !leased_.empty() && oldest_lease_ <= last; ++oldest_lease_) {
    if (Frame* const frame = leased_.front(); frame != nullptr) {
      frame->Own();
      frame->lease_holder = nullptr;
    }
    leased_.pop_front();
  }
}

void NicCore::Detach() {
  if (detached_) return;
  detached_ = true;
  ++run_;
  EndLeases(UINT64_MAX);
  if (!running_) return;
  while (!posted_.empty()) DeliverPosted();
  doorbell_overflow_ = true;  // those on their way are lost
}

void NicCore::RunDetached() {
  if (!running_) return;
  while (firmware_->Step(step_ns_)) {
  }
}

size_t NicCore::MemoryBytes() const {
  return sizeof(*this) + payloads_.capacity() * sizeof(Payload) +
         held_.capacity() * sizeof(FramePtr);
}

uint64_t NicCore::counter(abi::NicCounter counter) const {
  if (!firmware_) return 0;
  return firmware_->counters()[static_cast<uint32_t>(counter)];
}

uint64_t NicCore::drops(abi::DropReason reason) const {
  if (!firmware_) return 0;
  return firmware_->counters()[abi::kNicCounterCount + static_cast<uint32_t>(reason)];
}

// --- The event loop

void NicCore::Kick(uint64_t at_ns) {
  if (!running_ || detached_) return;
  const uint64_t now = NowNs();
  const uint64_t at = std::max({at_ns, busy_until_ns_, now});
  if (at >= next_step_ns_) return;
  if (at == now && !stepping_) {  // an idle core: no event of its own
    Step();
    return;
  }
  next_step_ns_ = at;
  ScheduleAt(at, [self = self_, at] {
    if (*self != nullptr) (*self)->OnKick(at);
  });
}

void NicCore::OnKick(uint64_t at_ns) {
  // An earlier one has come in between and may have set the next step to another time.
  if (!running_ || at_ns != next_step_ns_) return;
  next_step_ns_ = UINT64_MAX;
  if (at_ns < busy_until_ns_) {
    Kick(0);  // a program has taken the core meanwhile
  } else {
    Step();
  }
}

void NicCore::RunProgram(uint64_t duration_ns) {
  Context& program = Context::Current();
  while (duration_ns != 0) {
    // A nanosecond behind the core, which goes first when both want to.
    while (busy_until_ns_ >= NowNs()) program.SleepNs(busy_until_ns_ - NowNs() + 1);
    const uint64_t slice = std::min(duration_ns, kProgramSliceNs);
    busy_until_ns_ = NowNs() + slice;
    program.SleepNs(slice);
    duration_ns -= slice;
  }
}

void NicCore::Step() {
  next_step_ns_ = UINT64_MAX;
  step_ns_ = NowNs();
  stepping_ = true;
  Run();
  stepping_ = false;
}

void NicCore::Run() {
  for (;;) {
    accrued_ps_ = 0;
    unmarked_ps_ = 0;
    marked_ = false;
    if (!firmware_->Step(step_ns_)) break;  // a look that finds nothing takes no time
    ++totals_.handlers;
    if (!running_) return;
    if (unmarked_ps_ != 0) ChargeRest();
    if (accrued_ps_ == 0) continue;  // a handler that costs nothing
    totals_.core_busy_ps += accrued_ps_;
    busy_until_ns_ = CeilStamp(StampPs());
    if (firmware_->Ready() || !doorbells_.empty() || !received_.empty() || doorbell_overflow_) {
      Kick(busy_until_ns_);
      return;
    }
    break;  // nothing waits: the core is idle from then on, until something arrives
  }
  const uint64_t wake = TransferTime();
  if (wake != UINT64_MAX) Kick(wake);
  SetTimer(firmware_->NextDeadline());
}

/// Time-outs mostly move ahead before they are due: one event is under way, and when it comes early
/// the next one is set from what the deadline is by then.
void NicCore::SetTimer(uint64_t deadline_ns) {
  if (deadline_ns >= timer_ns_) return;
  timer_ns_ = std::max(deadline_ns, NowNs());
  ScheduleAt(timer_ns_, [self = self_, at = timer_ns_] {
    if (*self != nullptr) (*self)->OnTimer(at);
  });
}

void NicCore::OnTimer(uint64_t at_ns) {
  if (at_ns != timer_ns_) return;  // an earlier one was set meanwhile
  timer_ns_ = UINT64_MAX;
  Kick(0);
}

/// When the first transfer ends that an idle core waits for.
uint64_t NicCore::TransferTime() {
  uint64_t wake = UINT64_MAX;
  if (!read_.done.empty()) wake = std::min(wake, read_.done.front().first);
  if (!write_.done.empty()) wake = std::min(wake, write_.done.front().first);
  if (starved_ && !buffers_free_at_ns_.empty()) {
    const uint64_t free_at = buffers_free_at_ns_.front();
    if (free_at > step_ns_) {
      wake = std::min(wake, free_at);
    } else {
      starved_ = false;  // there is room now, but nobody who waited for it asks any more
    }
  }
  return wake;
}

void NicCore::PushDoorbell(const abi::Doorbell& doorbell) {
  if (!running_) return;
  ++totals_.doorbells;
  if (doorbells_.size() >= model_.doorbell_entries) {
    ++totals_.doorbell_overflows;
    doorbell_overflow_ = true;
  } else {
    doorbells_.push_back(doorbell);
    deepest_doorbells_ = std::max(deepest_doorbells_, doorbells_.size());
  }
  Kick(0);
}

void NicCore::PushFrame(FramePtr frame) {
  const uint64_t now = NowNs();
  if (!running_ || detached_) {
    link_->OnReceiveBufferFree(frame->length(), now);
    return;
  }
  frame->arrived_ns = now;
  totals_.link_receive_ps += static_cast<uint64_t>(model_.link_per_byte_ps *
                                                   (frame->length() + model_.link_overhead_bytes));
  if (observer_ != nullptr) {
    observer_->OnFrameReceived(*frame, now);
    const auto serial_ps = static_cast<uint64_t>(model_.link_per_byte_ps * frame->length());
    const uint64_t end_ps = now * 1000;
    observer_->OnEngine(Engine::kLinkReceive, "receive", frame->length(),
                        end_ps - std::min(end_ps, serial_ps), end_ps);
  }
  received_.push_back(std::move(frame));
  if (receive_state_ == ReceiveState::kServing && received_.size() == 1 && now >= busy_until_ns_) {
    receive_state_ = ReceiveState::kIdle;  // the core has gone to sleep behind the last frame
  }
  if (!model_.interrupts_core() || receive_state_ == ReceiveState::kServing) {
    Kick(0);
  } else {
    Moderate(now);
  }
}

/// A frame has come that no interrupt has announced.
void NicCore::Moderate(uint64_t now_ns) {
  const bool first = receive_state_ == ReceiveState::kIdle;
  if (!first && receive_state_ != ReceiveState::kModerated) return;
  receive_state_ = ReceiveState::kModerated;
  if (model_.receive_interrupt_frames != 0 && received_.size() >= model_.receive_interrupt_frames) {
    interrupt_ns_ = now_ns;
    AnnounceFrames(now_ns);
  } else if (first || model_.receive_interrupt_restart) {
    interrupt_ns_ = now_ns + CeilStamp(model_.receive_interrupt_delay_ps);
    if (!interrupt_awaited_) AwaitInterrupt();
  }
}

/// One event is under way; when the time has been put off meanwhile, the next one follows.
void NicCore::AwaitInterrupt() {
  interrupt_awaited_ = true;
  ScheduleAt(interrupt_ns_, [self = self_, at = interrupt_ns_] {
    if (*self == nullptr) return;
    (*self)->interrupt_awaited_ = false;
    (*self)->AnnounceFrames(at);
  });
}

void NicCore::AnnounceFrames(uint64_t at_ns) {
  if (receive_state_ != ReceiveState::kModerated) return;  // taken or stopped meanwhile
  if (at_ns < interrupt_ns_) {
    AwaitInterrupt();
    return;
  }
  receive_state_ = ReceiveState::kInterrupted;
  Kick(0);
}

// --- The table

void NicCore::FillTable() {
  table_.context = this;
  table_.doorbell_pop = [](void* context, abi::Doorbell* out) -> uint32_t {
    auto& doorbells = Self(context).doorbells_;
    if (doorbells.empty()) return 0;
    *out = doorbells.front();
    doorbells.pop_front();
    return 1;
  };
  table_.doorbell_overflowed = [](void* context) -> uint32_t {
    return std::exchange(Self(context).doorbell_overflow_, false) ? 1 : 0;
  };
  table_.host_load = [](void*, uint64_t address) -> uint64_t {
    uint64_t word;
    std::memcpy(&word, reinterpret_cast<const void*>(address), sizeof(word));
    return word;
  };
  table_.interrupt = [](void* context, uint32_t kind, uint32_t object) {
    Self(context).PostInterrupt(kind, object);
  };
  table_.random = [](void* context) { return Self(context).Random(); };
  table_.charge = [](void* context, fw::Stage stage, fw::Variant variant, uint32_t units) {
    Self(context).Charge(stage, variant, units);
  };
  table_.trace = [](void* context, const fw::TraceRecord* record) {
    NicCore& self = Self(context);
    if (self.observer_ != nullptr) self.observer_->OnTrace(*record, self.StampPs());
  };
  FillDmaPorts();
  FillLinkPorts();
}

void NicCore::FillDmaPorts() {
  table_.dma_read = [](void* context, uint64_t from, void* to, uint32_t length, uint32_t tag) {
    NicCore& self = Self(context);
    // The host wrote before it rang; whether the bytes move now or when the transfer ends makes no
    // difference to a host that keeps its side of the contract.
    std::memcpy(to, reinterpret_cast<const void*>(from), length);
    self.ReadPosted(from, to, length);
    const uint64_t done = self.Transfer(self.read_, Engine::kDmaRead, "read", length);
    self.Finish(self.read_, done, tag, fw::kDmaOk, 0);
  };
  table_.dma_write = [](void* context, uint64_t to, const void* from, uint32_t length, uint32_t tag,
                        uint32_t) {
    NicCore& self = Self(context);
    if (tag == 0) {
      self.PostWrite(to, from, length);
      return;
    }
    std::memcpy(reinterpret_cast<void*>(to), from, length);
    const uint64_t done = self.Transfer(self.write_, Engine::kDmaWrite, "write", length);
    self.Finish(self.write_, done, tag, fw::kDmaOk, 0);
  };
  table_.dma_copy = [](void* context, const fw::DmaSegment* from, uint32_t from_count,
                       const fw::DmaSegment* to, uint32_t to_count, uint32_t tag) {
    Self(context).CopyHostMemory(from, from_count, to, to_count, tag);
  };
  table_.dma_poll = [](void* context, fw::DmaCompletion* out) -> uint32_t {
    return Self(context).PollDma(out);
  };
  table_.payload_room = [](void* context) -> uint32_t { return Self(context).PayloadRoom(); };
  table_.payload_fetch = [](void* context, const fw::DmaSegment* from, uint32_t count,
                            uint32_t flags, uint32_t tag) -> uint32_t {
    return Self(context).FetchPayload(from, count, flags, tag);
  };
  table_.payload_from_frame = [](void* context, uint32_t frame, uint32_t offset, uint32_t length,
                                 uint32_t* sum) -> uint32_t {
    return Self(context).PayloadFromFrame(frame, offset, length, sum);
  };
  // Its links are point-to-point: no packet waits for a neighbour.
  table_.payload_keep = [](void*, uint32_t, const void*, uint32_t) -> uint32_t { return 0; };
  table_.payload_seal = [](void* context, uint32_t payload, uint32_t pad, uint32_t with_crc,
                           uint32_t crc) -> uint32_t {
    return Self(context).SealPayload(payload, pad, with_crc != 0, crc);
  };
  table_.memory_crc = [](void* context, const fw::DmaSegment* from, uint32_t count,
                         uint32_t crc) -> uint32_t {
    return Self(context).CrcHostMemory(from, count, crc);
  };
  table_.host_swap = [](void*, uint64_t address, uint64_t expected, uint64_t desired) {
    // Virtual time: nobody else runs meanwhile.
    uint64_t held;
    std::memcpy(&held, reinterpret_cast<const void*>(address), sizeof(held));
    if (held == expected) std::memcpy(reinterpret_cast<void*>(address), &desired, sizeof(desired));
    return held;
  };
  table_.payload_release = [](void* context, uint32_t payload) {
    NicCore& self = Self(context);
    self.ReleasePayload(payload);
    self.FreeBufferAt(self.StampPs());
    --self.buffers_used_;
  };
  table_.payload_place = [](void* context, uint32_t frame, uint32_t offset,
                            const fw::DmaSegment* to, uint32_t count, uint32_t tag) {
    Self(context).PlacePayload(frame, offset, to, count, tag);
  };
}

void NicCore::FillLinkPorts() {
  table_.frame_send = [](void* context, const fw::FrameOut* frame, uint64_t* lease) -> uint32_t {
    return Self(context).SendFrame(*frame, lease);
  };
  table_.lease_pending = [](void* context, uint64_t lease) -> uint32_t {
    // That frames refer to the host's memory spares this simulation a copy. The NIC that is
    // simulated has read it into its own: where they are by now holds up nothing.
    Self(context).EndLeases(lease);
    return 0;
  };
  table_.frame_poll = [](void* context, fw::FrameIn* out) -> uint32_t {
    return Self(context).PollFrame(out);
  };
  table_.frame_sum = [](void* context, uint32_t frame, uint32_t offset, uint32_t length) {
    return Self(context).SumFrame(frame, offset, length);
  };
  // What a frame carries was copied into the NIC's memory: nobody takes it back.
  table_.lease_revoke = [](void*, uint64_t, uint32_t) {};
  table_.frame_crc = [](void* context, uint32_t frame, uint32_t offset, uint32_t length,
                        uint32_t crc) {
    return Self(context).CrcFrame(frame, offset, length, crc);
  };
  table_.frame_read = [](void* context, uint32_t frame, uint32_t offset, uint32_t length,
                         void* to) -> uint32_t {
    Self(context).ReadFrame(frame, offset, length, static_cast<uint8_t*>(to));
    return fw::kDmaOk;
  };
  table_.frame_release = [](void* context, uint32_t frame) { Self(context).ReleaseFrame(frame); };
}

// --- Accounting

void NicCore::Charge(fw::Stage stage, fw::Variant variant, uint32_t units) {
  if (model_.image) {
    ChargeExecuted(stage, variant, units);
    return;
  }
  if (model_.get_wr_per_segment) {
    // The other reading of the tables: every segment pays for its work request.
    if (stage == fw::Stage::kTxGetWr || stage == fw::Stage::kRxGetWr) return;
    if (stage == fw::Stage::kTxGetData) ChargeOne(fw::Stage::kTxGetWr, variant, 1);
    if (stage == fw::Stage::kRxPutData) ChargeOne(fw::Stage::kRxGetWr, variant, 1);
  }
  ChargeOne(stage, variant, units);
}

void NicCore::ChargeOne(fw::Stage stage, fw::Variant variant, uint32_t units) {
  if (detached_) return;
  const uint64_t ps = model_.ChargePs(stage, variant, units);
  AddToStage(stage, variant, units, StampPs(), ps);
  accrued_ps_ += ps;
}

void NicCore::AddToStage(fw::Stage stage, fw::Variant variant, uint32_t units, uint64_t start_ps,
                         uint64_t ps) {
  StageTotal& total = totals_.stages[static_cast<uint32_t>(stage)][static_cast<uint32_t>(variant)];
  ++total.count;
  total.ps += ps;
  if (observer_ != nullptr) observer_->OnStage(stage, variant, units, start_ps, ps);
}

/// The image has executed so much since it last called.
void NicCore::OnCycles(double cycles) {
  const auto ps = static_cast<uint64_t>(std::llround(cycles * model_.core_cycle_ps));
  accrued_ps_ += ps;
  unmarked_ps_ += ps;
}

/// A mark of the image's: what it has executed since the last one was this stage. Sums over payload
/// are the exception: a port makes them here, so that they cost what the profile says.
void NicCore::ChargeExecuted(fw::Stage stage, fw::Variant variant, uint32_t units) {
  if (detached_) return;
  if (stage == fw::Stage::kChecksum) {
    const uint64_t ps = model_.ChargePs(stage, variant, units);
    accrued_ps_ += ps;
    unmarked_ps_ += ps;
  }
  const uint64_t ps = std::exchange(unmarked_ps_, 0);
  AddToStage(stage, variant, units, StampPs() - ps, ps);
  marked_ = true;
  last_stage_ = stage;
  last_variant_ = variant;
}

/// What a handler executes behind its last mark belongs to that stage. One that marks nothing, such
/// as taking a transfer's end for a stage that goes on elsewhere, keeps the core busy with none.
void NicCore::ChargeRest() {
  const uint64_t ps = std::exchange(unmarked_ps_, 0);
  if (!marked_) return;
  AddToStage(last_stage_, last_variant_, 0, StampPs() - ps, ps);
}

uint64_t NicCore::Random() {
  // SplitMix64 (Steele, Lea and Flood, 2014): reproducible, one word of state a NIC.
  uint64_t z = (random_state_ += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

}  // namespace qpip::sim

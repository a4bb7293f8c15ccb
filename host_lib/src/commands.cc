#include "commands.h"

#include <bit>
#include <utility>

#include "nic_fw/abi/completion.h"

namespace qpip::internal {

namespace {

constexpr uint32_t kCommandLog2 = 6;
constexpr uint32_t kCommandMask = (1u << kCommandLog2) - 1;

uint32_t EventRingLog2(uint32_t max_qps) {
  const uint64_t events = uint64_t{abi::kEventsPerQp} * max_qps + (1u << kCommandLog2);
  return static_cast<uint32_t>(std::bit_width(std::bit_ceil(events)) - 1);
}

}  // namespace

uint64_t DeadlineNs(abi::HostPlatform& platform, Timeout timeout) {
  if (!timeout) return UINT64_MAX;
  const uint64_t now = platform.NowNs();
  if (timeout->count() <= 0) return now;
  const uint64_t wait = static_cast<uint64_t>(timeout->count());
  return wait < UINT64_MAX - now ? now + wait : UINT64_MAX;
}

CommandChannel::CommandChannel(abi::HostPort& port, uint32_t max_qps, EventHandler on_event)
    : port_(port),
      on_event_(std::move(on_event)),
      event_log2_(EventRingLog2(max_qps)),
      command_ring_(sizeof(abi::Command) << kCommandLog2, "the command ring"),
      event_ring_(sizeof(abi::Event) << event_log2_, "the event ring"),
      pending_(size_t{1} << kCommandLog2) {
  const uint32_t slots = port.info().reassembly_slots;
  if (slots == 0) return;
  reassembly_pool_ = MappedMemory(size_t{slots} * abi::kReassemblySlotBytes, "the reassembly pool");
}

abi::RingSetup CommandChannel::Setup() const {
  return {.command_ring = port_.DmaAddress(command_ring_.data()),
          .event_ring = port_.DmaAddress(event_ring_.data()),
          .command_log2 = kCommandLog2,
          .event_log2 = event_log2_,
          .reassembly_pool =
              reassembly_pool_.size() != 0 ? port_.DmaAddress(reassembly_pool_.data()) : 0};
}

abi::Event CommandChannel::Execute(const abi::Command& command, const EventHandler& on_done) {
  Pending pending{.on_done = &on_done, .answer = {}};
  if (!TryPost(command, &pending)) {
    WaitUntil([&] { return TryPost(command, &pending); }, UINT64_MAX);
  }
  const auto answered = [&] {
    if (pending.done.load(std::memory_order_acquire)) return true;
    AnnounceAgain();
    return false;
  };
  WaitUntil(answered, UINT64_MAX);
  return pending.answer;
}

bool CommandChannel::TryPost(const abi::Command& command, Pending* pending) {
  const std::lock_guard lock(command_mutex_);
  const uint32_t id = command_producer_;
  std::atomic<Pending*>& slot = pending_[id & kCommandMask];
  if (slot.load(std::memory_order_acquire) != nullptr) return false;
  slot.store(pending, std::memory_order_release);

  auto* ring = reinterpret_cast<abi::Command*>(command_ring_.data());
  abi::Command& entry = ring[id & kCommandMask];
  entry = command;
  entry.id = id;
  ++command_producer_;
  AnnounceLocked();
  return true;
}

void CommandChannel::AnnounceAgain() {
  // The NIC interrupts after its doorbell FIFO has overflowed, and somebody's command may be lost.
  // One doorbell announces all there are: many who wait are not to fill the FIFO with theirs.
  if (announced_at_.load(std::memory_order_acquire) ==
      interrupts_.load(std::memory_order_acquire)) {
    return;
  }
  const std::lock_guard lock(command_mutex_);
  if (announced_at_.load(std::memory_order_relaxed) !=
      interrupts_.load(std::memory_order_acquire)) {
    AnnounceLocked();
  }
}

// In the lock: doorbells of two callers must reach the NIC in the order of their indices.
void CommandChannel::AnnounceLocked() {
  // Read before: if this doorbell is lost, an interrupt that is not among these follows it.
  announced_at_.store(interrupts_.load(std::memory_order_acquire), std::memory_order_release);
  port_.RingDoorbell(abi::Doorbell::Make(abi::DoorbellKind::kCommand, 0, command_producer_));
}

void CommandChannel::NotifyWaiters() {
  Progress().fetch_add(1, std::memory_order_acq_rel);
  port_.platform().Wake(&progress_);
}

void CommandChannel::TryDispatch() {
  const std::unique_lock lock(dispatch_mutex_, std::try_to_lock);
  if (lock.owns_lock()) DispatchLocked();
}

// Takes the lock even if another thread holds it: a waiter may sleep only when it knows that
// everything that had arrived before it read the progress word has been dispatched.
void CommandChannel::Dispatch() {
  const std::lock_guard lock(dispatch_mutex_);
  DispatchLocked();
}

void CommandChannel::DispatchLocked() {
  bool any = false;
  while (EventWaiting()) {
    const uint32_t index = event_consumer_.load(std::memory_order_relaxed);
    const abi::Event event = EventAt(index);
    event_consumer_.store(index + 1, std::memory_order_release);
    if (event.kind == static_cast<uint8_t>(abi::EventKind::kCommandDone)) {
      OnAnswer(event);
    } else {
      on_event_(event);
    }
    any = true;
  }
  // The thread this was for may be about to sleep on the word as it was before the dispatch.
  if (any) NotifyWaiters();
}

void CommandChannel::OnAnswer(const abi::Event& event) {
  std::atomic<Pending*>& slot = pending_[event.id & kCommandMask];
  Pending* pending = slot.load(std::memory_order_acquire);
  if (pending == nullptr) return;
  pending->answer = event;
  if (*pending->on_done) (*pending->on_done)(event);
  slot.store(nullptr, std::memory_order_release);
  // Last: the waiter's stack frame may be gone right after.
  pending->done.store(true, std::memory_order_release);
}

}  // namespace qpip::internal

#include "sim/lanai/ports.h"

#include <sys/random.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "sim/lanai/ports_internal.h"

namespace qpip::lanai {

void Die(const char* what) {
  std::fprintf(stderr, "qpip: firmware broke the platform's contract: %s\n", what);
  std::abort();
}

Ports::Ports(wire::Wire& wire, DoorbellFifo& doorbells, Occupancy* occupancy, Timeline* timeline)
    : wire_(wire),
      doorbells_(doorbells),
      occupancy_(occupancy),
      timeline_(timeline),
      summed_(!wire.trusted()),
      measured_(occupancy != nullptr || timeline != nullptr),
      payloads_(kPayloadSlots),
      frames_(kFrameSlots) {
  for (uint32_t handle = kPayloadSlots; handle > 0; --handle) free_payloads_.push_back(handle);
  for (uint32_t handle = kFrameSlots; handle > 0; --handle) free_frames_.push_back(handle);
  if (timeline != nullptr) {
    FillTable<true>();
  } else {
    FillTable<false>();
  }
}

Ports::~Ports() = default;

// --- The table. Lambdas without a capture are plain C functions; those that only move their
// arguments are written out in place, so that the compiler sees through them.

template <bool kTimed>
void Ports::FillTable() {
  table_.context = this;
  table_.dma_at_once = 1;
  table_.doorbell_pop = [](void* context, abi::Doorbell* out) -> uint32_t {
    return static_cast<Ports*>(context)->doorbells_.Pop(out);
  };
  table_.doorbell_overflowed = [](void* context) -> uint32_t {
    return static_cast<Ports*>(context)->doorbells_.TakeOverflow();
  };
  table_.host_load = [](void*, uint64_t address) -> uint64_t {
    return std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(address))
        .load(std::memory_order_acquire);
  };
  table_.interrupt = [](void* context, uint32_t kind, uint32_t object) {
    abi::InterruptHandler* handler = static_cast<Ports*>(context)->handler_;
    if (kind == static_cast<uint32_t>(fw::InterruptKind::kCompletion)) {
      handler->OnCompletionInterrupt(object);
    } else {
      handler->OnEventInterrupt();
    }
  };
  table_.random = [](void* context) { return static_cast<Ports*>(context)->Random(); };
  if (measured_) {
    table_.charge = [](void* context, fw::Stage stage, fw::Variant variant, uint32_t) {
      static_cast<Ports*>(context)->Charge(stage, variant);
    };
  }
  if constexpr (kTimed) {
    table_.trace = [](void* context, const fw::TraceRecord* record) {
      static_cast<Ports*>(context)->timeline_->AddTrace(*record, ReadCycles());
    };
  }
  FillDmaPorts<kTimed>();
  FillLinkPorts<kTimed>();
}

// --- Randomness and accounting

uint64_t Ports::Random() {
  // The kernel's generator, a batch at a time: initial sequence numbers and hash keys must not be
  // guessable (RFC 6528), which a fast generator of our own would be.
  if (random_used_ == random_.size()) {
    size_t filled = 0;
    while (filled < sizeof(random_)) {
      const ssize_t got = getrandom(reinterpret_cast<uint8_t*>(random_.data()) + filled,
                                    sizeof(random_) - filled, 0);
      if (got > 0) filled += static_cast<size_t>(got);  // else interrupted by a signal
    }
    random_used_ = 0;
  }
  const uint64_t value = random_[random_used_];
  random_[random_used_++] = 0;
  return value;
}

void Ports::Charge(fw::Stage stage, fw::Variant variant) {
  const uint64_t now = ReadCycles();
  // Another core's counter may lag by a few cycles.
  const uint64_t begin = std::min(mark_, now);
  if (occupancy_ != nullptr) occupancy_->Add(stage, variant, now - begin);
  if (timeline_ != nullptr) timeline_->AddStage(stage, variant, begin, now);
  mark_ = ReadCycles();  // the accounting itself belongs to no stage
}

}  // namespace qpip::lanai

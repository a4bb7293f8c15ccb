// Both sides of the core's seams, scripted: a wire between two ports, and a firmware whose few
// behaviours are commanded by doorbells.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "host_lib/port/host_port.h"
#include "sim/lanai/core.h"
#include "sim/lanai/futex.h"
#include "sim/lanai/host_port.h"
#include "sim/wire/wire.h"

namespace qpip::lanai::testing {

/// What two ScriptedWires share.
struct ScriptedLink {
  std::mutex mutex;
  std::deque<std::vector<uint8_t>> frames[2];  ///< on their way to each end
  bool closed[2] = {};
  bool closed_told[2] = {};
  struct End {
    std::atomic<uint32_t> word{0};  ///< bit 0: asleep; the rest counts wake-ups
    std::atomic<int> sleepers{0};
  } ends[2];

  void WakeEnd(int end) {
    ends[end].word.fetch_add(2);
    FutexWakeAll(reinterpret_cast<const uint32_t*>(&ends[end].word));
  }
};

/// One end. Loses no wake-up as long as it is used as wire.h says; counts threads that sleep at
/// the same time.
class ScriptedWire : public wire::Wire {
 public:
  ScriptedWire(std::shared_ptr<ScriptedLink> link, int end) : link_(std::move(link)), end_(end) {
    address_.bytes[0] = 0xfd;
    address_.bytes[15] = static_cast<uint8_t>(1 + end);
  }
  ~ScriptedWire() override {
    {
      std::lock_guard lock(link_->mutex);
      link_->closed[end_] = true;
    }
    link_->WakeEnd(1 - end_);
  }

  void ReportTo(wire::Report report) override { report_ = std::move(report); }
  /// As if something had gone wrong in the next call.
  void Fail(const abi::Trouble& trouble) { report_(trouble); }
  wire::SendResult Send(const wire::OutFrame& frame, uint64_t* lease) override {
    *lease = 0;
    stable_sends += frame.payload_stable ? 1 : 0;
    if (const auto trouble = std::exchange(trouble_of_next_send, std::nullopt)) Fail(*trouble);
    if (next_result != wire::SendResult::kSent) return next_result;
    sent.fetch_add(1);
    std::vector<uint8_t> bytes(frame.header.begin(), frame.header.end());
    for (const iovec& piece : frame.payload) {
      const auto* start = static_cast<const uint8_t*>(piece.iov_base);
      bytes.insert(bytes.end(), start, start + piece.iov_len);
    }
    std::lock_guard lock(link_->mutex);
    link_->frames[1 - end_].push_back(std::move(bytes));
    return wire::SendResult::kSent;
  }
  bool LeasePending(uint64_t lease) override { return lease == pending_lease; }
  bool NothingArrived() const override {
    std::lock_guard lock(link_->mutex);
    const bool closing = link_->closed[1 - end_] && !link_->closed_told[end_];
    return knows_of_nothing && link_->frames[end_].empty() && !closing;
  }
  bool Receive(wire::InFrame* frame) override {
    if (std::this_thread::get_id() == counted_thread) ++receives;
    std::lock_guard lock(link_->mutex);
    if (!link_->frames[end_].empty()) {
      auto held = std::make_unique<Held>();
      held->bytes = std::move(link_->frames[end_].front());
      link_->frames[end_].pop_front();
      held->Split(split);
      frame->pieces = held->pieces;
      frame->length = static_cast<uint32_t>(held->bytes.size());
      frame->peer_down = false;
      frame->checksum_vouched = is_trusted;
      frame->token = reinterpret_cast<uint64_t>(held.release());
      ++borrowed;
      return true;
    }
    if (link_->closed[1 - end_] && !link_->closed_told[end_]) {
      link_->closed_told[end_] = true;
      frame->peer_down = true;
      frame->peer = address_;
      frame->peer.bytes[15] = static_cast<uint8_t>(2 - end_);
      return true;
    }
    return false;
  }
  void Release(const wire::InFrame& frame) override {
    delete reinterpret_cast<Held*>(frame.token);
    --borrowed;
  }
  void Flush() override {
    ++flushes;
    if ((link_->ends[1 - end_].word.load() & 1) != 0) link_->WakeEnd(1 - end_);
  }
  uint64_t Housekeeping(uint64_t) override { return UINT64_MAX; }

  void PrepareSleep() override { ticket_ = link_->ends[end_].word.fetch_or(1) | 1; }
  void CancelSleep() override { link_->ends[end_].word.fetch_and(~1u); }
  void Sleep(uint64_t deadline_ns) override {
    ScriptedLink::End& own = link_->ends[end_];
    if (own.sleepers.fetch_add(1) != 0) crowded = true;
    FutexWait(reinterpret_cast<const uint32_t*>(&own.word), ticket_, deadline_ns);
    own.sleepers.fetch_sub(1);
  }
  void Wake() override { link_->WakeEnd(end_); }
  std::optional<wire::Turn> TakeTurn() override {
    return wire::Turn{.processor = 0, .number = turns.fetch_add(1) + 1};
  }

  void* AllocateShared(size_t) override { return nullptr; }
  void FreeShared(void*, size_t) override {}
  uint32_t mtu() const override { return 9000; }
  abi::Ip6Address address() const override { return address_; }
  bool trusted() const override { return is_trusted; }
  bool carries_references() const override { return false; }
  std::string StatisticsJson() const override { return "{\"scripted\":true}"; }

  // Script and observations; used by the thread that holds the core, or before it starts.
  bool is_trusted = true;
  std::atomic<bool> knows_of_nothing{true};  ///< NothingArrived may be true
  const std::thread::id counted_thread = std::this_thread::get_id();
  uint32_t receives = 0;           ///< looks for a frame by the thread that has made this
  std::atomic<uint32_t> turns{0};  ///< taken
  size_t split = 0;  ///< received frames come in two pieces, the first of so many bytes; 0: one
  wire::SendResult next_result = wire::SendResult::kSent;
  std::optional<abi::Trouble> trouble_of_next_send;
  uint64_t pending_lease = 0;
  uint32_t stable_sends = 0;
  std::atomic<uint32_t> sent{0};
  uint32_t flushes = 0;
  int borrowed = 0;
  std::atomic<bool> crowded{false};  ///< two threads slept at a time

 private:
  struct Held {
    std::vector<uint8_t> bytes;
    std::vector<iovec> pieces;
    void Split(size_t first) {
      if (first == 0 || first >= bytes.size()) {
        pieces = {{bytes.data(), bytes.size()}};
      } else {
        pieces = {{bytes.data(), first}, {bytes.data() + first, bytes.size() - first}};
      }
    }
  };

  wire::Report report_;
  std::shared_ptr<ScriptedLink> link_;
  const int end_;
  abi::Ip6Address address_;
  uint32_t ticket_ = 0;
};

/// What the application and the scripted firmware share, as rings are shared. The firmware finds
/// it at NicConfig::command_ring.
struct alignas(64) Mailboxes {
  static constexpr uint32_t kCount = 8;
  uint32_t values[kCount] = {};

  uint32_t Read(uint32_t index) const { return LoadWord(&values[index]); }
};

/// Behaviours of the scripted firmware, by doorbell:
///   kSendPosted(object, producer)   sends a frame that carries both; of object kTimed it also
///   starts that timer, with `producer` microseconds kCqArm(object, microseconds)    starts timer
///   `object`; when it fires, mailbox `object` counts up kRecvPosted(object, n)          counts
///   mailbox `object` up, then has n more handlers to run
/// A frame stores its number in the mailbox it names, after one DMA; a peer's end stores kPeerDown
/// in mailbox 0. Each of these raises a completion interrupt for the mailbox.
namespace scripted {

inline constexpr uint32_t kPeerDown = 0xdead;
inline constexpr uint32_t kTimed = 7;

struct State {
  Mailboxes* mailboxes;
  uint64_t timers[Mailboxes::kCount];
  uint64_t notifications;
  uint64_t steps;
  uint32_t aftermath;  ///< handlers left to run
  uint32_t staged;     ///< source of the DMA write under way
  struct {
    uint32_t object;
    uint32_t value;
  } writes[256];
  uint32_t write_head, write_tail;
};

/// Handlers that ran on this thread since it last raised an interrupt.
inline thread_local uint32_t handlers_since_interrupt = 0;

inline uint32_t Arena(const fw::NicConfig*, fw::ArenaBytes* out) {
  out->total = sizeof(State);
  return out->total;
}

inline uint32_t Init(void* arena, uint32_t, const fw::NicConfig* config, const fw::Platform*,
                     uint64_t) {
  auto* state = new (arena) State{};
  state->mailboxes = reinterpret_cast<Mailboxes*>(config->command_ring);
  for (uint64_t& timer : state->timers) timer = UINT64_MAX;
  return 1;
}

inline void Notify(State& s, const fw::Platform& port, uint32_t object, uint32_t value) {
  port.dma_write(port.context, reinterpret_cast<uint64_t>(&s.mailboxes->values[object]), &value, 4,
                 0, fw::kDmaPublish);
  ++s.notifications;
  handlers_since_interrupt = 0;
  port.interrupt(port.context, static_cast<uint32_t>(fw::InterruptKind::kCompletion), object);
}

inline bool OnDoorbell(State& s, const fw::Platform& port, uint64_t now) {
  abi::Doorbell doorbell;
  if (port.doorbell_pop(port.context, &doorbell) == 0) return false;
  const uint32_t object = doorbell.object() % Mailboxes::kCount;
  switch (doorbell.kind()) {
    case abi::DoorbellKind::kSendPosted: {
      uint32_t header[12] = {};
      header[10] = object;
      header[11] = doorbell.producer;
      const fw::FrameOut frame{header, sizeof(header), 0};
      uint64_t lease = 0;
      port.frame_send(port.context, &frame, &lease);
      if (object == kTimed) s.timers[object] = now + uint64_t{doorbell.producer} * 1000;
      break;
    }
    case abi::DoorbellKind::kCqArm:
      s.timers[object] = now + uint64_t{doorbell.producer} * 1000;
      break;
    case abi::DoorbellKind::kRecvPosted:
      s.aftermath += doorbell.producer;
      Notify(s, port, object, s.mailboxes->values[object] + 1);
      break;
    default:
      break;
  }
  return true;
}

inline bool OnFrame(State& s, const fw::Platform& port) {
  fw::FrameIn frame;
  if (port.frame_poll(port.context, &frame) == 0) return false;
  if ((frame.flags & fw::kFramePeerDown) != 0) {
    Notify(s, port, 0, kPeerDown);
  } else {
    uint32_t words[12];
    std::memcpy(words, frame.header, sizeof(words));
    // The value is stored only when a DMA has completed, as a CQE is behind its payload.
    s.writes[s.write_tail++ & 255] = {words[10], words[11]};
    port.dma_read(port.context, reinterpret_cast<uint64_t>(s.mailboxes), &s.staged, 4, 7);
  }
  port.frame_release(port.context, frame.frame);
  return true;
}

inline bool OnDma(State& s, const fw::Platform& port) {
  fw::DmaCompletion done;
  if (port.dma_poll(port.context, &done) == 0) return false;
  const auto write = s.writes[s.write_head++ & 255];
  Notify(s, port, write.object, write.value);
  return true;
}

inline bool OnTimers(State& s, const fw::Platform& port, uint64_t now) {
  for (uint32_t i = 0; i < Mailboxes::kCount; ++i) {
    if (s.timers[i] > now) continue;
    s.timers[i] = UINT64_MAX;
    Notify(s, port, i, s.mailboxes->values[i] + 1);
    return true;
  }
  return false;
}

inline bool OnAftermath(State& s) {
  if (s.aftermath == 0) return false;
  --s.aftermath;
  return true;
}

inline uint32_t Step(void* arena, const fw::Platform* platform, uint64_t now, uint32_t budget) {
  State& s = *static_cast<State*>(arena);
  ++s.steps;
  uint32_t done = 0;
  while (done < budget &&
         (OnDma(s, *platform) || OnDoorbell(s, *platform, now) || OnFrame(s, *platform) ||
          OnTimers(s, *platform, now) || OnAftermath(s))) {
    ++done;
    ++handlers_since_interrupt;
  }
  return done;
}

inline uint32_t Receive(void* arena, const fw::Platform* platform, uint64_t now, uint32_t budget) {
  State& s = *static_cast<State*>(arena);
  uint32_t done = 0;
  while (done < budget &&
         (OnDma(s, *platform) || OnDoorbell(s, *platform, now) || OnFrame(s, *platform))) {
    ++done;
    ++handlers_since_interrupt;
  }
  while (OnDma(s, *platform)) {
  }
  return done;
}

inline uint32_t Transmit(void* arena, const fw::Platform* platform, uint64_t now, uint32_t budget) {
  State& s = *static_cast<State*>(arena);
  uint32_t done = 0;
  while (done < budget && OnDoorbell(s, *platform, now)) ++done;
  return done;
}

inline uint32_t Due(const void* arena, uint64_t now) {
  const State& s = *static_cast<const State*>(arena);
  const auto due = [now](uint64_t timer) { return timer <= now; };
  return s.aftermath != 0 || std::any_of(std::begin(s.timers), std::end(s.timers), due);
}

inline uint64_t NextDeadline(const void* arena) {
  uint64_t next = UINT64_MAX;
  for (const uint64_t timer : static_cast<const State*>(arena)->timers) {
    next = timer < next ? timer : next;
  }
  return next;
}

inline uint64_t Notifications(const void* arena) {
  return static_cast<const State*>(arena)->notifications;
}

inline constexpr Firmware kFirmware = {Arena,    Init, Step,         Receive,
                                       Transmit, Due,  NextDeadline, Notifications};

}  // namespace scripted

/// A NIC with scripted firmware, and the application's side of its interrupts.
class ScriptedNic : public abi::InterruptHandler {
 public:
  ScriptedNic(std::unique_ptr<wire::Wire> wire, uint32_t spin_us) {
    NicUri uri;
    uri.address = wire->address();
    uri.spin_us = spin_us;
    port_ = MakeHostPort(uri, std::move(wire), scripted::kFirmware);
    port_->Start({reinterpret_cast<uint64_t>(&mailboxes_), 0, 0, 0}, this);
  }

  void OnCompletionInterrupt(uint32_t object) override {
    interrupts.fetch_add(1);
    std::atomic_ref<uint32_t>(words_[object]).fetch_add(1);
    port_->platform().Wake(&words_[object]);
  }
  void OnEventInterrupt() override {}

  abi::HostPort& port() { return *port_; }
  const Mailboxes& mailboxes() const { return mailboxes_; }
  const uint32_t* word(uint32_t object) const { return &words_[object]; }
  void Ring(abi::DoorbellKind kind, uint32_t object, uint32_t producer) {
    port_->RingDoorbell(abi::Doorbell::Make(kind, object, producer));
  }

  std::atomic<uint64_t> interrupts{0};

 private:
  Mailboxes mailboxes_;
  uint32_t words_[Mailboxes::kCount] = {};
  std::unique_ptr<abi::HostPort> port_;
};

/// How an application thread waits for its mailbox.
enum class WaitMode { kDrive, kDriveUntil, kSleep };

/// Waits, without a deadline, until the mailbox holds `value`. A lost wake-up hangs here.
inline void Await(ScriptedNic& nic, uint32_t object, uint32_t value, WaitMode mode) {
  for (;;) {
    const uint32_t seen = LoadWord(nic.word(object));
    if (nic.mailboxes().Read(object) == value) return;
    switch (mode) {
      case WaitMode::kDrive:
        if (!nic.port().Drive(true)) nic.port().platform().Relax();
        break;
      case WaitMode::kDriveUntil:
        nic.port().DriveUntil(nic.word(object), seen, UINT64_MAX);
        break;
      case WaitMode::kSleep:
        nic.port().platform().Sleep(nic.word(object), seen, UINT64_MAX);
        break;
    }
  }
}

}  // namespace qpip::lanai::testing

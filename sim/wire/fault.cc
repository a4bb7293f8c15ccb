// Loss, duplication, reordering, corruption, delay, link flaps and a cut cable, on the way out.
//
//     Send -> [cut, flap, loss] -> [corrupt] -> [hold back] -> [delay queue] -> inner wire
//                                        \-> a second copy (duplicate)
//
// The queue is in order of departure. It is looked after in every call of the data path, and Sleep
// is cut short for it, so that nobody has to know when the next frame is due.
#include "sim/wire/fault.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <stdexcept>
#include <utility>
#include <vector>

#include "sim/wire/futex.h"
#include "sim/wire/json.h"
#include "sim/wire/layout.h"

namespace qpip::wire {
namespace {

constexpr uint64_t kHoldNs = 1'000'000;  ///< longest time a frame is held back for reordering
constexpr size_t kMaxQueuedFrames = 4096;

/// splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  /// Uniform in [0, 1).
  double Fraction() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

 private:
  uint64_t state_;
};

/// What is to happen to one frame. Always drawn in full, so that switching one fault on does not
/// change which frames another one hits.
struct Fate {
  Fate(Random* random, const FaultOptions& options)
      : lost(random->Fraction() < options.loss),
        duplicated(random->Fraction() < options.duplicate),
        corrupted(random->Fraction() < options.corrupt),
        held_behind(random->Fraction() < options.reorder ? 1u : 0u),
        bit(random->Next()) {
    const auto later = static_cast<uint32_t>(random->Next() % 3);
    if (held_behind != 0) held_behind += later;
  }
  bool lost;
  bool duplicated;
  bool corrupted;
  uint32_t held_behind;  ///< later frames that overtake it; 0: none
  uint64_t bit;          ///< which bit is flipped, modulo the frame's length
};

class FaultWire final : public Wire {
 public:
  FaultWire(std::unique_ptr<Wire> inner, const FaultOptions& options, WireClock clock)
      : inner_(std::move(inner)),
        options_(options),
        clock_(std::move(clock)),
        random_(options.seed),
        start_ns_(clock_()) {}

  void ReportTo(Report report) override { inner_->ReportTo(std::move(report)); }
  SendResult Send(const OutFrame& frame, uint64_t* lease) override;
  bool LeasePending(uint64_t) override { return false; }  // never refers to payload
  bool Receive(InFrame* frame) override {
    Pump();
    return inner_->Receive(frame);
  }
  bool Intact(const InFrame& frame) override { return inner_->Intact(frame); }
  void Release(const InFrame& frame) override { inner_->Release(frame); }
  void Flush() override {
    Pump();
    inner_->Flush();
  }
  uint64_t Housekeeping(uint64_t now_ns) override {
    if (PumpAt(now_ns)) inner_->Flush();
    if (now_ns >= inner_next_ns_) inner_next_ns_ = inner_->Housekeeping(now_ns);
    return std::min(inner_next_ns_, next_due_ns_.load(std::memory_order_relaxed));
  }
  void PrepareSleep() override {
    Pump();
    inner_->PrepareSleep();
  }
  void CancelSleep() override { inner_->CancelSleep(); }
  void Sleep(uint64_t deadline_ns) override {
    inner_->Sleep(std::min(deadline_ns, next_due_ns_.load(std::memory_order_relaxed)));
  }
  void Wake() override { inner_->Wake(); }
  std::optional<Turn> TakeTurn() override { return inner_->TakeTurn(); }
  void* AllocateShared(size_t bytes) override { return inner_->AllocateShared(bytes); }
  void FreeShared(void* address, size_t bytes) override { inner_->FreeShared(address, bytes); }
  uint32_t mtu() const override { return inner_->mtu(); }
  abi::Ip6Address address() const override { return inner_->address(); }
  bool trusted() const override { return false; }
  bool carries_references() const override { return false; }
  std::optional<LinkAddress> link_address() const override { return inner_->link_address(); }
  std::string StatisticsJson() const override;

 private:
  struct Queued {
    std::vector<uint8_t> bytes;
    LinkAddress link_address = {};
    uint64_t due_ns = 0;
  };
  struct Held {
    std::vector<uint8_t> bytes;
    LinkAddress link_address = {};
    uint64_t until_ns = 0;
    uint32_t overtakers = 0;  ///< frames that are still to go before it
  };

  static std::vector<uint8_t> Copy(const OutFrame& frame);
  bool LinkDown(uint64_t now_ns) const;
  bool TimeMatters() const {
    return options_.delay_us > 0 || options_.flap_period_ms > 0 || !queue_.empty() ||
           !held_.empty();
  }
  SendResult Pass(const OutFrame& frame, const Fate& fate, uint64_t now_ns);
  SendResult SendPlain(const OutFrame& frame, uint64_t now_ns);
  void Enqueue(std::vector<uint8_t> bytes, const LinkAddress& to, uint64_t now_ns);
  void LetHeldGo(bool overtaken, uint64_t now_ns);
  void Pump() {
    if (queue_.empty() && held_.empty()) return;
    // Outside Send nobody else would flush what has become due.
    if (PumpAt(clock_())) inner_->Flush();
  }
  bool PumpAt(uint64_t now_ns);
  void UpdateNextDue();

  const std::unique_ptr<Wire> inner_;
  const FaultOptions options_;
  const WireClock clock_;
  Random random_;
  const uint64_t start_ns_;
  std::deque<Queued> queue_;  ///< on the way, earliest first
  std::vector<Held> held_;
  bool stalled_ = false;  ///< the first of the queue is due, but the inner wire is busy
  uint64_t inner_next_ns_ = 0;
  /// When the queue or a held frame wants attention. Read by Sleep without the core's lock.
  std::atomic<uint64_t> next_due_ns_{UINT64_MAX};

  uint64_t frames_ = 0, cut_ = 0, flapped_ = 0, lost_ = 0, duplicated_ = 0, reordered_ = 0;
  uint64_t corrupted_ = 0, delayed_ = 0, undeliverable_ = 0;
};

std::vector<uint8_t> FaultWire::Copy(const OutFrame& frame) {
  std::vector<uint8_t> bytes(frame.header.begin(), frame.header.end());
  for (const iovec& piece : frame.payload) {
    const auto* start = static_cast<const uint8_t*>(piece.iov_base);
    bytes.insert(bytes.end(), start, start + piece.iov_len);
  }
  return bytes;
}

bool FaultWire::LinkDown(uint64_t now_ns) const {
  if (options_.flap_period_ms == 0 || options_.flap_down_ms == 0) return false;
  // Up first: a connection gets a chance to be made.
  const uint64_t period_ns = options_.flap_period_ms * 1'000'000;
  const uint64_t down_ns = std::min(options_.flap_down_ms * 1'000'000, period_ns);
  return (now_ns - start_ns_) % period_ns >= period_ns - down_ns;
}

SendResult FaultWire::Send(const OutFrame& frame, uint64_t* lease) {
  *lease = 0;
  if (frame.header.size() < kMinFrameBytes) return SendResult::kNoRoute;
  const uint64_t now_ns = TimeMatters() ? clock_() : 0;
  PumpAt(now_ns);
  if (queue_.size() + held_.size() >= kMaxQueuedFrames) return SendResult::kBusy;

  const Random before = random_;
  const Fate fate(&random_, options_);
  if (options_.cut_after_frames > 0 && frames_ >= options_.cut_after_frames) {
    ++cut_;
  } else if (LinkDown(now_ns)) {
    ++flapped_;
  } else if (fate.lost) {
    ++lost_;
  } else {
    const SendResult result = Pass(frame, fate, now_ns);
    if (result != SendResult::kSent) {
      random_ = before;  // nothing happened: a repetition meets the same fate
      return result;
    }
  }
  ++frames_;
  UpdateNextDue();
  return SendResult::kSent;
}

SendResult FaultWire::Pass(const OutFrame& frame, const Fate& fate, uint64_t now_ns) {
  if (fate.held_behind != 0 || fate.corrupted) {
    std::vector<uint8_t> bytes = Copy(frame);
    if (fate.corrupted) {
      const uint64_t bit = fate.bit % (bytes.size() * 8);
      bytes[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
      ++corrupted_;
    }
    if (fate.duplicated) {
      Enqueue(bytes, frame.link_address, now_ns);
      ++duplicated_;
    }
    if (fate.held_behind != 0) {
      const uint64_t clock_ns = now_ns != 0 ? now_ns : clock_();
      held_.push_back({std::move(bytes), frame.link_address, clock_ns + kHoldNs, fate.held_behind});
      ++reordered_;
      return SendResult::kSent;  // overtaken by frames after this one
    }
    Enqueue(std::move(bytes), frame.link_address, now_ns);
  } else {
    const SendResult result = SendPlain(frame, now_ns);
    if (result != SendResult::kSent) return result;
    if (fate.duplicated) {
      Enqueue(Copy(frame), frame.link_address, now_ns);
      ++duplicated_;
    }
  }
  LetHeldGo(true, now_ns);
  PumpAt(now_ns);
  return SendResult::kSent;
}

SendResult FaultWire::SendPlain(const OutFrame& frame, uint64_t now_ns) {
  if (options_.delay_us > 0 || !queue_.empty()) {
    Enqueue(Copy(frame), frame.link_address, now_ns);
    return SendResult::kSent;
  }
  OutFrame plain = frame;
  plain.payload_stable = false;
  plain.summed = true;
  uint64_t lease = 0;
  return inner_->Send(plain, &lease);
}

void FaultWire::Enqueue(std::vector<uint8_t> bytes, const LinkAddress& to, uint64_t now_ns) {
  if (options_.delay_us > 0) ++delayed_;
  queue_.push_back({std::move(bytes), to, now_ns + options_.delay_us * 1000});
}

void FaultWire::LetHeldGo(bool overtaken, uint64_t now_ns) {
  std::erase_if(held_, [&](Held& held) {
    if (overtaken) --held.overtakers;
    if (held.overtakers != 0 && now_ns < held.until_ns) return false;
    Enqueue(std::move(held.bytes), held.link_address, now_ns);
    return true;
  });
}

// Sends what is due. Returns whether there was anything.
bool FaultWire::PumpAt(uint64_t now_ns) {
  if (queue_.empty() && held_.empty()) return false;
  bool sent = false;
  LetHeldGo(false, now_ns);
  stalled_ = false;
  while (!queue_.empty() && queue_.front().due_ns <= now_ns) {
    uint64_t lease = 0;
    OutFrame frame;
    frame.header = queue_.front().bytes;
    frame.link_address = queue_.front().link_address;
    frame.summed = true;  // as everything that this port sends: see trusted
    const SendResult result = inner_->Send(frame, &lease);
    if (result == SendResult::kBusy) {
      stalled_ = true;
      break;
    }
    // A damaged address leads nowhere; a peer may have left in the meantime, or stopped: others'
    // frames do not wait behind its.
    if (result != SendResult::kSent) ++undeliverable_;
    queue_.pop_front();
    sent = true;
  }
  UpdateNextDue();
  return sent;
}

void FaultWire::UpdateNextDue() {
  // A frame that is due but has no room is not waited for by the clock: the inner wire wakes us.
  uint64_t next = queue_.empty() || stalled_ ? UINT64_MAX : queue_.front().due_ns;
  for (const Held& held : held_) next = std::min(next, held.until_ns);
  // A thread that sleeps already does so for longer than that.
  if (next < next_due_ns_.exchange(next)) inner_->Wake();
}

std::string FaultWire::StatisticsJson() const {
  return JsonObject()
      .Add("wire", "fault")
      .Add("frames", frames_)
      .Add("lost", lost_)
      .Add("duplicated", duplicated_)
      .Add("reordered", reordered_)
      .Add("corrupted", corrupted_)
      .Add("delayed", delayed_)
      .Add("flapped", flapped_)
      .Add("cut", cut_)
      .Add("undeliverable", undeliverable_)
      .Add("waiting", queue_.size() + held_.size())
      .Raw("inner", inner_->StatisticsJson())
      .Text();
}

void CheckOptions(const FaultOptions& options) {
  const std::array<std::pair<const char*, double>, 4> probabilities = {
      {{"loss", options.loss},
       {"duplicate", options.duplicate},
       {"reorder", options.reorder},
       {"corrupt", options.corrupt}}};
  for (const auto& [name, value] : probabilities) {
    if (!(value >= 0 && value <= 1)) {
      throw std::runtime_error(std::string("bad fault option ") + name + "=" +
                               std::to_string(value) + ": a probability from 0 to 1 is wanted");
    }
  }
}

}  // namespace

std::unique_ptr<Wire> DecorateFaultWithClock(std::unique_ptr<Wire> inner,
                                             const FaultOptions& options, WireClock clock) {
  CheckOptions(options);
  return std::make_unique<FaultWire>(std::move(inner), options, std::move(clock));
}

std::unique_ptr<Wire> DecorateFault(std::unique_ptr<Wire> inner, const FaultOptions& options) {
  return DecorateFaultWithClock(std::move(inner), options, MonotonicNs);
}

}  // namespace qpip::wire

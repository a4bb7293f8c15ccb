// The host thread core: who runs the firmware, and who sleeps on its behalf.
//
// The firmware is run by whoever holds the core's try-lock: a thread of the application that polls
// (Drive) or waits (DriveUntil), or the core's own thread. So that work left behind is never
// forgotten there is at every moment an attendant:
//
//      standby   the core thread ticks (50 us at first, up to 1 ms; up to 100 ms while the
//                application's threads keep coming back to wait) and looks whether anybody has
//                driven since the last tick. The wire believes the port awake, so neither a
//                doorbell nor a sender pays for a wake-up. A thread that has waited is expected
//                back: for some milliseconds the core thread looks around at its ticks, and stays
//                on standby if it finds nothing.
//      parked    somebody sleeps in the wire, which wakes it for a frame; so does a doorbell of
//                a command or an arming; its deadline is the firmware's. Either the core thread
//                ("deep park": nobody drives), or the runner: one application thread inside
//                DriveUntil. While a runner is parked the core thread ticks ever more rarely (10
//                ms, 100 ms).
//
//                 a tick finds that nobody drives            DriveUntil has spun long enough
//        +--------------------------------- standby ---------------------------------+
//        v                                  ^     ^                                  v
//      parked (core thread) ----------------+     +---------------------- parked (runner)
//                 Drive, DriveUntil                its word changed, frame, deadline, Drive
//
// What is posted to be sent is carried out by whoever rings for it (CarryOut), which ends no park:
// what is posted has left before the post returns, and nobody is waked for it. So are receives
// while somebody is parked. Only a deadline that is now earlier than the sleeper's, or work that is
// left over, wakes the sleeper.
//
// A thread that is going to sleep in a descriptor says so (GoOnAlone): where nobody is parked the
// core thread is called, which parks at once instead of at one of its ticks. Such a thread polls
// before it sleeps, and again when it is waked. Its next polls are therefore no period of polling:
// they leave the core thread asleep as a post does, and it is there when the thread sleeps again.
//
// Rules that keep this free of lost wake-ups
//  * `park_` tells who is parked. It is written with the lock held. Whoever takes the lock
//    first ends the park (Unpark), so a deadline computed by the sleeper cannot grow stale; or
//    compares it with the firmware's once it is done (WakeForWork).
//  * Before it sleeps, the parker raises the wire's sleeping flag and `asleep_`, and only then
//  looks
//    at FIFO, wire and its word for the last time. A doorbell is published before `asleep_` is
//    read. All of these are sequentially consistent: one of the two sides sees the other.
//  * One thread at a time is inside Wire::Sleep (`in_wire_sleep_`). One whose park was ended by
//    another thread is awakened before anybody parks again.
//  * Whoever turns "parked (runner)" into standby makes sure that the core thread's next tick is
//    near (EnsureTick), so that threads that sleep on their own words are attended to.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <thread>
#include <vector>

#include "host_lib/port/host_port.h"
#include "nic_fw/firmware.h"
#include "sim/lanai/clock.h"
#include "sim/lanai/doorbell_fifo.h"
#include "sim/lanai/futex.h"
#include "sim/lanai/habits.h"
#include "sim/lanai/occupancy.h"
#include "sim/lanai/ports.h"
#include "sim/lanai/timeline.h"
#include "sim/wire/fork.h"
#include "sim/wire/wire.h"

namespace qpip::lanai {

/// The firmware's entry points (nic_fw/firmware.h). A table, so that tests can put a scripted
/// firmware on a real core.
struct Firmware {
  decltype(&fw::qpip_fw_arena) arena = nullptr;
  decltype(&fw::qpip_fw_init) init = nullptr;
  decltype(&fw::qpip_fw_step) step = nullptr;
  decltype(&fw::qpip_fw_receive) receive = nullptr;
  decltype(&fw::qpip_fw_transmit) transmit = nullptr;
  decltype(&fw::qpip_fw_due) due = nullptr;
  decltype(&fw::qpip_fw_next_deadline) next_deadline = nullptr;
  decltype(&fw::qpip_fw_notifications) notifications = nullptr;
};

struct CoreOptions {
  uint64_t spin_ns = 20000;  ///< DriveUntil polls for so long before it sleeps
  uint32_t doorbell_entries = DoorbellFifo::kDefaultEntries;  ///< see DoorbellFifo
  bool occupancy = false;
  std::string timeline;  ///< path of the Trace Event file; empty: none
  std::string title;     ///< names the NIC in the timeline
};

/// One NIC's core. Thread-safe except Start. In a child that was forked from the process that made
/// it, only Stop and the destructor may be called, which let go of the child's copies.
class Core {
 public:
  /// Throws std::invalid_argument for a doorbell FIFO that cannot be.
  Core(std::unique_ptr<wire::Wire> wire, const Firmware& firmware, const CoreOptions& options);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  /// Maps and formats the arena, starts the core thread. Once. Throws std::runtime_error when the
  /// firmware refuses the configuration, std::system_error when memory or threads are short.
  void Start(const fw::NicConfig& config, abi::InterruptHandler* handler);
  /// Stops everything: no firmware step, DMA or interrupt after it returns; the wire is closed and
  /// the timeline written. Threads in DriveUntil return. Idempotent. What cannot be written is a
  /// trouble, told before it returns.
  void Stop();

  /// See abi::HostPort. What is posted to be sent leaves. A receive waits until somebody drives,
  /// who brings what it is for; where somebody sleeps in the wire, its window is told of at once,
  /// and he sleeps on unless text has waited for it. Commands and arming wait for the caller, who
  /// is about to drive, or has come by GoOnAlone.
  void RingDoorbell(const abi::Doorbell& doorbell) {
    doorbells_.Push(doorbell);
    const abi::DoorbellKind kind = doorbell.kind();
    if (kind == abi::DoorbellKind::kSendPosted) return CarryOut(/*receives=*/false);
    if (!asleep_.load(std::memory_order_seq_cst)) return;
    if (kind == abi::DoorbellKind::kRecvPosted) return CarryOut(/*receives=*/true);
    WakeParked();
  }

  /// See abi::HostPort.
  void GoOnAlone(const abi::Doorbell* first);

  /// See abi::HostPort.
  bool Drive(bool until_notification) {
    waits_.store(false, std::memory_order_relaxed);
    return DriveOnce(until_notification);
  }
  /// See abi::HostPort.
  bool DriveBeforeSleep();
  /// See abi::HostPort. Returns when the word has changed, the deadline has passed or the core
  /// stops.
  void DriveUntil(const uint32_t* word, uint32_t expected, uint64_t deadline_ns);

  /// See abi::HostPlatform. WakeWord also reaches a thread in DriveUntil(word).
  void SleepOnWord(const uint32_t* word, uint32_t expected, uint64_t deadline_ns);
  void WakeWord(const uint32_t* word);

  /// Memory from the wire; nullptr when it has none. FreeShared ignores memory of a closed wire.
  void* AllocateShared(size_t bytes);
  void FreeShared(void* address, size_t bytes);

  /// Counters of core and wire, and the occupancy table if it is measured.
  nlohmann::json Statistics();

 private:
  enum class Parker : uint64_t { kNobody = 0, kCoreThread = 1, kRunner = 2 };

  // `park_`: who is parked in the low bits, a generation above them, so that a sleeper recognises
  // its own park.
  static constexpr uint64_t kParkerMask = 3;
  static Parker ParkerOf(uint64_t park) { return static_cast<Parker>(park & kParkerMask); }

  // core.cc: running
  void StartThread();
  void WriteTimeline();
  bool TryLock() {
    return !locked_.load(std::memory_order_relaxed) &&
           !locked_.exchange(true, std::memory_order_acquire);
  }
  void Unlock() { locked_.store(false, std::memory_order_release); }
  void Lock();
  bool LockSoon();
  bool DriveOnce(bool until_notification) {
    if (!TryLock()) return false;
    bool did = false;
    if (running_) {
      did = LeavesAsleep() ? DriveBesideSleeper() : DriveLocked(until_notification);
    }
    Unlock();
    return did;
  }
  bool DriveLocked(bool until_notification) {
    driven_.store(driven_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    if (ParkerOf(park_.load(std::memory_order_relaxed)) != Parker::kNobody) [[unlikely]]
      Unpark();
    ++counts_.drives;
    if (Quiet()) {
      idle_ = true;
      return false;
    }
    return DriveOn(until_notification);
  }
  /// Lock held. A poll of somebody who sleeps in a descriptor between polls, while the core thread
  /// sleeps: one of few (kPollsBesideSleeper) since he has said so.
  bool LeavesAsleep() const {
    return polls_beside_sleeper_.load(std::memory_order_relaxed) != 0 &&
           ParkerOf(park_.load(std::memory_order_relaxed)) == Parker::kCoreThread;
  }
  bool DriveBesideSleeper();
  bool DriveOn(bool until_notification);
  bool Run(uint32_t limit, bool until_notification) {
    if (!Quiet()) return RunOn(limit, until_notification);
    idle_ = true;
    return false;
  }
  bool RunOn(uint32_t limit, bool until_notification);
  /// Lock held. Nothing has happened since a Run found nothing to do.
  bool Quiet() {
    now_ns_ = clock_.NowNs();
    nothing_came_ = doorbells_.Quiet() && wire_->NothingArrived();
    return nothing_came_ && now_ns_ < quiet_until_ns_;
  }
  uint32_t Deliver();
  void CarryOut(bool receives);
  uint64_t SleepDeadline(uint64_t limit_ns) const;

  // parking.cc: sleeping and waking
  void WakeParked();
  void WakeForWork(bool left);
  void CallThread();
  void Unpark();
  void EndOwnPark();
  bool Park(Parker parker, const uint32_t* word, uint32_t expected, uint64_t deadline_ns);
  void EnsureTick();

  // drive_until.cc: application threads that wait
  enum class Round : uint8_t { kAgain, kDone, kWaitOnWord };
  struct Waiting;
  Round TryToRun(Waiting& waiting);
  void Pause(Waiting& waiting);
  void GiveWay(Waiting& waiting);
  void WaitOnWord(const Waiting& waiting);

  // core_thread.cc
  void ThreadMain();
  void Attend();
  void Standby();
  bool SleepTick(uint64_t interval_ns, bool resting);
  /// Least distance of ticks. Where processors are short they come late, and so do the
  /// application's threads: a core thread that ticked as if they did not would keep them from
  /// coming at all.
  uint64_t LeastTickNs() const { return 32 * late_ns_.load(std::memory_order_relaxed); }
  bool LookAround();

  // fork.cc
  wire::ForkHooks MakeForkHooks();
  void AbandonThread();
  bool inherited() const { return fork_ != nullptr && fork_->inherited(); }

  // troubles.cc
  void OnTrouble(const abi::Trouble& trouble);
  void TellTroubles();

  const Firmware firmware_;
  const CoreOptions options_;
  DoorbellFifo doorbells_;

  // --- Behind the lock.
  alignas(64) std::atomic<bool> locked_{false};
  bool running_ = false;    ///< between Start and Stop
  bool idle_ = false;       ///< the last Run ended because there was nothing to do
  uint32_t unstepped_ = 0;  ///< handlers that only delivered, since the firmware was last stepped
  void* arena_ = nullptr;
  size_t arena_bytes_ = 0;
  uint64_t housekeeping_due_ns_ = 0;
  uint64_t now_ns_ = 0;  ///< when the last Run began its last step
  /// Until then there is nothing to do unless a doorbell is rung or a frame arrives; 0: not known.
  uint64_t quiet_until_ns_ = 0;
  bool nothing_came_ = false;      ///< neither doorbells nor frames, when Quiet looked last
  uint64_t park_deadline_ns_ = 0;  ///< of whoever is parked
  std::unique_ptr<wire::Wire> wire_;
  std::unique_ptr<Occupancy> occupancy_;
  std::unique_ptr<Timeline> timeline_;
  std::unique_ptr<Ports> ports_;
  CycleClock clock_;
  SpinHabit spin_habit_;
  GiveWayHabit give_way_habit_;
  abi::InterruptHandler* handler_ = nullptr;  ///< set by Start
  std::vector<abi::Trouble> early_troubles_;  ///< before there was a handler
  struct Counts {
    uint64_t drives = 0;
    uint64_t drives_with_work = 0;
    uint64_t posts = 0;  ///< carried out by whoever rang
    uint64_t handlers = 0;
    uint64_t flushes = 0;
    uint64_t parks_core_thread = 0;
    uint64_t parks_runner = 0;
    uint64_t parks_ended_by_others = 0;
  } counts_;
  /// Written behind the lock by application threads, read by the core thread.
  std::atomic<uint32_t> driven_{0};
  /// The last to drive did so in order to wait, as he is likely to do again; not to poll once.
  std::atomic<bool> waits_{false};
  WaitHabit wait_habit_;
  /// Polls that are still taken for those of a thread which sleeps in a descriptor. Written behind
  /// the lock.
  std::atomic<uint32_t> polls_beside_sleeper_{0};

  // --- Parking.
  alignas(64) std::atomic<bool> asleep_{false};  ///< a doorbell has to wake the parked thread
  std::atomic<uint64_t> park_{0};
  std::atomic<bool> in_wire_sleep_{false};
  std::atomic<const uint32_t*> runner_word_{nullptr};  ///< whose change ends the wire's sleep
  std::atomic<bool> stopping_{false};

  // --- Threads that sleep on words.
  static constexpr size_t kSleeperCounts = 64;
  std::atomic<uint32_t>& SleepersOn(const uint32_t* word) {
    return word_sleepers_[reinterpret_cast<uintptr_t>(word) * 0x9e3779b97f4a7c15ull >> 58];
  }
  /// How many there are, by a hash of the word's address: a change of one word that nobody sleeps
  /// on costs no system call because somebody sleeps on another.
  alignas(64) std::array<std::atomic<uint32_t>, kSleeperCounts> word_sleepers_{};
  std::atomic<uint32_t> waiters_{0};  ///< those of DriveUntil among them
  std::atomic<uint32_t> in_drive_until_{0};
  std::mutex waiting_words_mutex_;
  std::vector<const uint32_t*> waiting_words_;

  // --- The core thread.
  alignas(64) uint32_t tick_word_ = 0;     ///< futex; changed to end the present tick
  std::atomic<uint64_t> next_tick_ns_{0};  ///< 0: the core thread is awake or parked
  std::atomic<uint64_t> late_ns_{0};       ///< by how much ticks have been late lately
  std::atomic<uint64_t> ticks_{0};
  std::atomic<uint64_t> hurried_ticks_{0};
  std::atomic<uint64_t> takeovers_{0};
  std::atomic<uint64_t> calls_{0};
  std::atomic<bool> called_{false};  ///< to take over now, not at a tick
  std::atomic<bool> untold_{false};  ///< the handler has troubles to tell
  std::thread thread_;

  std::mutex stop_mutex_;                  ///< serialises Stop
  std::mutex shared_mutex_;                ///< the wire's allocator against its closing
  std::string last_wire_statistics_;       ///< of a wire that is closed
  std::unique_ptr<wire::ForkWatch> fork_;  ///< until Stop; behind the wire's own
};

}  // namespace qpip::lanai

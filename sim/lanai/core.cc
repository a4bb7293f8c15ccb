#include "sim/lanai/core.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <system_error>

namespace qpip::lanai {

namespace {

// Handlers a Drive may run before it returns to the application: some tens of microseconds.
constexpr uint32_t kDriveLimit = 128;
// How often whoever has posted looks whether the lock has come free, and lets others run meanwhile.
constexpr uint32_t kLooksForLock = 200;
// Times kDriveLimit handlers that a post may take: some hundreds of messages, be they others'.
constexpr uint32_t kPostRounds = 8;
// Handlers a step runs at a time. When a thread waits for a completion the firmware is asked after
// each whether it has written one.
constexpr uint32_t kStepBudget = 32;
constexpr uint32_t kNotifyBudget = 1;
// How many frames may be delivered before everything else has its turn: acknowledgements above all,
// which the answer to what is delivered can carry.
constexpr uint32_t kMostUnstepped = 16;
// Polls of a thread that sleeps in a descriptor, from one sleep to the next. One that polls more
// often than that is not going to sleep soon.
constexpr uint32_t kPollsBesideSleeper = 64;
// The application's signal handlers are not to run on the core thread.
class BlockSignals {
 public:
  BlockSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockSignals(const BlockSignals&) = delete;
  BlockSignals& operator=(const BlockSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

Core::Core(std::unique_ptr<wire::Wire> wire, const Firmware& firmware, const CoreOptions& options)
    : firmware_(firmware),
      options_(options),
      doorbells_(options.doorbell_entries),
      wire_(std::move(wire)) {
  if (options_.occupancy) occupancy_ = std::make_unique<Occupancy>();
  if (!options_.timeline.empty()) timeline_ = std::make_unique<Timeline>(options_.timeline);
  ports_ = std::make_unique<Ports>(*wire_, doorbells_, occupancy_.get(), timeline_.get());
  wire_->ReportTo([this](const abi::Trouble& trouble) { OnTrouble(trouble); });
  fork_ = std::make_unique<wire::ForkWatch>(MakeForkHooks());
}

Core::~Core() {
  Stop();
  if (arena_ != nullptr) munmap(arena_, arena_bytes_);
}

void Core::Start(const fw::NicConfig& config, abi::InterruptHandler* handler) {
  fw::ArenaBytes bytes;
  if (firmware_.arena(&config, &bytes) == 0) {
    throw std::runtime_error(
        "the firmware refuses this configuration: a table size or the MTU is "
        "out of range");
  }
  // Not reserved: the tables of queue pairs that are never created cost nothing.
  void* arena = mmap(nullptr, bytes.total, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (arena == MAP_FAILED) {
    throw std::system_error(errno, std::generic_category(),
                            "memory for the NIC's SRAM, " + std::to_string(bytes.total) + " bytes");
  }
  arena_ = arena;
  arena_bytes_ = bytes.total;
  ports_->set_interrupt_handler(handler);
  Lock();
  handler_ = handler;
  for (const abi::Trouble& trouble : std::exchange(early_troubles_, {})) OnTrouble(trouble);
  now_ns_ = clock_.NowNs();
  const bool formatted = firmware_.init(arena_, bytes.total, &config, &ports_->table(), now_ns_);
  running_ = formatted;
  Unlock();
  if (!formatted) throw std::runtime_error("the firmware could not format its arena");
  StartThread();
}

void Core::StartThread() {
  BlockSignals blocked;
  try {
    thread_ = std::thread([this] { ThreadMain(); });
  } catch (const std::system_error& error) {
    throw std::system_error(error.code(),
                            "the NIC's thread cannot be started: end other processes, or raise the "
                            "limit of threads (ulimit -u)");
  }
  pthread_setname_np(thread_.native_handle(), "qpip-core");
}

void Core::Stop() {
  if (inherited()) return AbandonThread();
  std::lock_guard serialise(stop_mutex_);
  if (wire_ == nullptr) return;
  fork_.reset();
  stopping_.store(true, std::memory_order_seq_cst);
  if (thread_.joinable()) {
    std::atomic_ref<uint32_t>(tick_word_).fetch_add(1, std::memory_order_seq_cst);
    FutexWakeAll(&tick_word_);
    wire_->Wake();
    thread_.join();
  }
  // Threads in DriveUntil see `stopping_` once they are awake.
  Spinner spinner;
  while (in_drive_until_.load(std::memory_order_acquire) != 0) {
    wire_->Wake();
    {
      std::lock_guard lock(waiting_words_mutex_);
      for (const uint32_t* word : waiting_words_) FutexWakeAll(word);
    }
    spinner.Pause();
  }
  Lock();
  running_ = false;
  ports_->ReleaseFrames();
  last_wire_statistics_ = wire_->StatisticsJson();
  std::unique_ptr<wire::Wire> wire;
  {
    std::lock_guard lock(shared_mutex_);
    wire.swap(wire_);
  }
  Unlock();
  wire.reset();  // without the locks, which a fork takes behind the one that this waits for
  if (timeline_ != nullptr) WriteTimeline();
  TellTroubles();
}

void Core::WriteTimeline() {
  try {
    timeline_->Write(options_.title, clock_.NanosecondsPerCycle());
  } catch (const std::system_error& error) {
    OnTrouble({.code = error.code().value(), .what = error.what()});
  }
}

void Core::Lock() {
  Spinner spinner;
  while (!TryLock()) spinner.Pause();
}

// False when who has the lock keeps it for long: he has lost the processor.
bool Core::LockSoon() {
  Spinner spinner;
  for (uint32_t looks = 0; !TryLock(); ++looks) {
    if (looks == kLooksForLock) return false;
    spinner.Pause();
  }
  return true;
}

// Lock held, nobody parked, the time known (Quiet).
bool Core::DriveOn(bool until_notification) {
  const bool did = RunOn(kDriveLimit, until_notification);
  counts_.drives_with_work += did ? 1 : 0;
  return did;
}

// Lock held, the core thread parked, who stays so. Whoever polls may not come back before he
// sleeps, so everything is done that there is to do.
bool Core::DriveBesideSleeper() {
  const uint32_t left = polls_beside_sleeper_.load(std::memory_order_relaxed);
  polls_beside_sleeper_.store(left - 1, std::memory_order_relaxed);
  ++counts_.drives;
  const bool did = Run(kDriveLimit, /*until_notification=*/false);
  counts_.drives_with_work += did ? 1 : 0;
  WakeForWork(!idle_);
  return did;
}

// Lock held, the time known (Quiet). Has what has arrived delivered.
uint32_t Core::Deliver() {
  ports_->MarkStepBegin();
  const uint32_t did =
      firmware_.receive(arena_, &ports_->table(), now_ns_, kMostUnstepped - unstepped_);
  unstepped_ += did;
  return did;
}

// Lock held, the time known (Quiet). Steps the firmware until it is idle (`idle_`), has run `limit`
// handlers, or, if asked, has written a completion or event. Returns true when it did something.
bool Core::RunOn(uint32_t limit, bool until_notification) {
  quiet_until_ns_ = 0;
  const uint32_t budget = until_notification ? kNotifyBudget : kStepBudget;
  const uint64_t notifications = until_notification ? firmware_.notifications(arena_) : 0;
  uint32_t handlers = 0;
  idle_ = false;
  if (until_notification && unstepped_ < kMostUnstepped) {
    handlers = nothing_came_ ? 0 : Deliver();
    idle_ = handlers == 0 && firmware_.due(arena_, now_ns_) == 0;
  }
  while (!idle_ && handlers < limit &&
         (!until_notification || firmware_.notifications(arena_) == notifications)) {
    unstepped_ = 0;
    now_ns_ = clock_.NowNs();
    ports_->MarkStepBegin();
    const uint32_t did = firmware_.step(arena_, &ports_->table(), now_ns_, budget);
    handlers += did;
    idle_ = did == 0 || (did < budget && !ports_->completions_waiting());
  }
  if (ports_->TakeSent()) {
    wire_->Flush();
    ++counts_.flushes;
  }
  if (now_ns_ >= housekeeping_due_ns_) [[unlikely]] {
    housekeeping_due_ns_ = wire_->Housekeeping(now_ns_);
    idle_ = false;  // it may have brought frames or link events
  }
  counts_.handlers += handlers;
  // Not while the wire is asked again and again for room, or for the end of a lease.
  if (handlers == 0 && idle_ && firmware_.due(arena_, now_ns_) == 0) {
    quiet_until_ns_ = SleepDeadline(UINT64_MAX);
  }
  return handlers != 0;
}

// What is posted leaves before this returns, unless who has the lock has lost the processor, or
// there is more than kPostRounds make of it. For receives text may have waited: what its placing
// leads to, an acknowledgement above all, is not qpip_fw_transmit's, but the sleeper's.
void Core::CarryOut(bool receives) {
  if (!LockSoon()) {
    if (asleep_.load(std::memory_order_seq_cst)) WakeParked();
    return;
  }
  if (running_) {
    ++counts_.posts;
    quiet_until_ns_ = 0;
    now_ns_ = clock_.NowNs();
    ports_->MarkStepBegin();
    bool left = true;
    for (uint32_t round = 0; left && round < kPostRounds; ++round) {
      const uint32_t did = firmware_.transmit(arena_, &ports_->table(), now_ns_, kDriveLimit);
      counts_.handlers += did;
      left = did >= kDriveLimit;
    }
    if (ports_->TakeSent()) {
      wire_->Flush();
      ++counts_.flushes;
    }
    WakeForWork(left || (receives && firmware_.due(arena_, now_ns_) != 0));
  }
  Unlock();
}

void Core::GoOnAlone(const abi::Doorbell* first) {
  if (first != nullptr) doorbells_.Push(*first);
  if (LockSoon()) {
    const bool running = running_;
    polls_beside_sleeper_.store(kPollsBesideSleeper, std::memory_order_relaxed);
    if (running) {
      Run(kDriveLimit, /*until_notification=*/false);
      WakeForWork(!idle_);
    }
    Unlock();
    if (!running) return;  // closed: there is no thread to call
  } else if (asleep_.load(std::memory_order_seq_cst)) {
    WakeParked();
  }
  // Somebody sleeps in the wire, or waits and is about to: he attends to everything.
  if (ParkerOf(park_.load(std::memory_order_seq_cst)) != Parker::kNobody) return;
  if (in_drive_until_.load(std::memory_order_seq_cst) > waiters_.load(std::memory_order_seq_cst)) {
    EnsureTick();  // he may be on his way out, and have looked already
    return;
  }
  CallThread();
}

// Lock held. Until when the port may sleep at most. Frames that the wire has no room for and leases
// that are awaited are the firmware's to look after: its deadline covers them.
uint64_t Core::SleepDeadline(uint64_t limit_ns) const {
  return std::min({limit_ns, firmware_.next_deadline(arena_), housekeeping_due_ns_});
}

void* Core::AllocateShared(size_t bytes) {
  std::lock_guard lock(shared_mutex_);
  return wire_ == nullptr ? nullptr : wire_->AllocateShared(bytes);
}

void Core::FreeShared(void* address, size_t bytes) {
  std::lock_guard lock(shared_mutex_);
  if (wire_ != nullptr) wire_->FreeShared(address, bytes);
}

nlohmann::json Core::Statistics() {
  Lock();
  nlohmann::json core = {
      {"drives", counts_.drives},
      {"drives_with_work", counts_.drives_with_work},
      {"posts", counts_.posts},
      {"handlers", counts_.handlers},
      {"flushes", counts_.flushes},
      {"parks_core_thread", counts_.parks_core_thread},
      {"parks_runner", counts_.parks_runner},
      {"parks_ended_by_others", counts_.parks_ended_by_others},
      {"ticks", ticks_.load(std::memory_order_relaxed)},
      {"hurried_ticks", hurried_ticks_.load(std::memory_order_relaxed)},
      {"takeovers", takeovers_.load(std::memory_order_relaxed)},
      {"calls", calls_.load(std::memory_order_relaxed)},
      {"sram_bytes", arena_bytes_},
  };
  nlohmann::json all = {{"core", std::move(core)}};
  const std::string wire = wire_ != nullptr ? wire_->StatisticsJson() : last_wire_statistics_;
  all["wire"] = nlohmann::json::parse(wire, nullptr, false);
  if (occupancy_ != nullptr) {
    const double unit = clock_.NanosecondsPerCycle();
    all["occupancy"] = occupancy_->ToJson(unit);
    all["cycles_per_us"] = 1000.0 / unit;
  }
  if (timeline_ != nullptr) {
    all["timeline"] = {{"path", options_.timeline}, {"records", timeline_->recorded()}};
  }
  Unlock();
  return all;
}

}  // namespace qpip::lanai

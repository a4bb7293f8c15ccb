#include "sim/ns3/model/host_port.h"

#include <ns3/event-id.h>

#include <algorithm>
#include <boost/smart_ptr/local_shared_ptr.hpp>
#include <boost/smart_ptr/make_local_shared.hpp>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "nic_fw/abi/command.h"
#include "nic_fw/abi/completion.h"
#include "qpip/types.h"
#include "sim/backend/host_config.h"
#include "sim/ns3/model/stage_names.h"
#include "sim/ns3/model/virtual_time.h"

namespace qpip::sim {
namespace {

/// Lets the running context's debt pass.
void PayDebt(const HostState& state) {
  Context& context = Context::Current();
  if (context.debt_ps < 1000) return;
  const uint64_t ns = context.debt_ps / 1000;
  context.debt_ps %= 1000;
  if (state.processor != nullptr) {
    state.processor->RunProgram(ns);
  } else {
    context.SleepNs(ns);
  }
}

uint64_t StampNs() { return NowNs() + Context::Current().debt_ps / 1000; }

/// A context that waits for a word to change, or for anything the NIC writes.
struct Waiter {
  Context* context = nullptr;
  const uint32_t* word = nullptr;  ///< nullptr: any write of the NIC
  bool woken = false;
};

class SimHostPort : public abi::HostPort, public abi::HostPlatform, private HostBus {
 public:
  SimHostPort(NicCore& core, const NicModel& model, HostPortOptions options, HostState& state)
      : core_(core),
        model_(model),
        options_(std::move(options)),
        state_(state),
        totals_(state.totals) {
    state_.processor = model.core_runs_programs ? &core : nullptr;
    const fw::NicConfig& config = options_.config;
    fw::ArenaBytes bytes;
    if (fw::qpip_fw_arena(&config, &bytes) == 0) {
      throw std::invalid_argument(options_.description +
                                  ": the firmware refuses the configuration; lower the number of "
                                  "queue pairs or the MTU");
    }
    info_ = sim_backend::PortInfoOf(config, bytes.total, options_.description);
  }
  ~SimHostPort() override { Stop(); }

  const abi::PortInfo& info() const override { return info_; }
  abi::HostPlatform& platform() override { return *this; }

  void Start(const abi::RingSetup& rings, abi::InterruptHandler* handler) override {
    handler_ = handler;
    fw::NicConfig config = options_.config;
    sim_backend::SetRings(rings, &config);
    command_ring_ = rings.command_ring;
    command_mask_ = (1u << rings.command_log2) - 1;
    event_ring_ = rings.event_ring;
    event_ring_bytes_ = sizeof(abi::Event) << rings.event_log2;
    core_.Start(config, this);
  }

  void Stop() override {
    core_.Stop();
    handler_ = nullptr;
    *alive_ = false;
  }

  void RingDoorbell(const abi::Doorbell& doorbell) override {
    if (core_.detached()) {
      core_.PushDoorbell(doorbell);
      return;
    }
    ChargeCompletions();
    switch (doorbell.kind()) {
      case abi::DoorbellKind::kSendPosted:
        Spend(model_.post_send_ps, &totals_.post_ps);
        ++totals_.posts;
        break;
      case abi::DoorbellKind::kRecvPosted:
        Spend(model_.post_recv_ps, &totals_.post_ps);
        ++totals_.posts;
        break;
      default:
        break;
    }
    // In order, whichever programs of the host rang: the NIC takes an index that goes back for an
    // error.
    last_doorbell_ns_ = std::max(last_doorbell_ns_, StampNs() + CeilNs(model_.doorbell_write_ps));
    ScheduleAt(last_doorbell_ns_, [core = &core_, doorbell, alive = alive_] {
      if (*alive) core->PushDoorbell(doorbell);
    });
  }

  uint64_t DmaAddress(const void* address) override { return reinterpret_cast<uint64_t>(address); }
  void* AllocateShared(size_t) override { return nullptr; }  // all memory is as good as any
  void FreeShared(void*, size_t) override {}

  bool Drive(bool) override {
    const uint64_t before = writes_;
    if (core_.detached()) {
      core_.RunDetached();
      if (writes_ == before) ThrowDetached();
      return true;
    }
    PayDebt(state_);
    if (writes_ == before) Spin();
    ChargeCompletions();
    return writes_ != before;
  }

  bool DriveBeforeSleep() override {
    const uint64_t before = writes_;
    if (core_.detached()) {
      core_.RunDetached();
      return writes_ != before;
    }
    PayDebt(state_);
    ChargeCompletions();
    return writes_ != before;
  }

  void DriveUntil(const uint32_t* word, uint32_t expected, uint64_t deadline_ns) override {
    Sleep(word, expected, deadline_ns);
  }

  std::string StatisticsJson() override {
    nlohmann::json stages = nlohmann::json::array();
    const CoreTotals& core = core_.totals();
    for (uint32_t s = 0; s < fw::kStageCount; ++s) {
      for (uint32_t v = 0; v < kVariantCount; ++v) {
        const StageTotal& total = core.stages[s][v];
        if (total.count == 0) continue;
        stages.push_back({{"stage", StageTitle(static_cast<fw::Stage>(s))},
                          {"variant", VariantKey(static_cast<fw::Variant>(v))},
                          {"count", total.count},
                          {"us", static_cast<double>(total.ps) / 1e6}});
      }
    }
    return nlohmann::json{{"core_busy_us", static_cast<double>(core.core_busy_ps) / 1e6},
                          {"handlers", core.handlers},
                          {"occupancy", stages}}
        .dump();
  }

  // abi::HostPlatform
  uint64_t NowNs() override {
    // Without the device there is no simulation whose time it would be.
    if (!core_.detached()) last_ns_ = StampNs();
    return last_ns_;
  }

  void Sleep(const uint32_t* word, uint32_t expected, uint64_t deadline_ns) override {
    if (core_.detached()) {
      core_.RunDetached();
      if (*word == expected) ThrowDetached();
      return;
    }
    PayDebt(state_);
    const uint64_t now = sim::NowNs();
    if (*word != expected || deadline_ns <= now) return;
    Waiter waiter{&Context::Current(), word, false};
    Block(&waiter, deadline_ns == UINT64_MAX ? UINT64_MAX : deadline_ns - now);
    if (waiter.woken) {
      // From the interrupt handler to the thread that slept.
      waiter.context->debt_ps += model_.wakeup_ps;
      totals_.interrupt_ps += model_.wakeup_ps;
    }
    ChargeCompletions();
  }

  void Wake(const uint32_t* word) override {
    if (core_.detached()) return;
    for (Waiter* waiter : waiters_) {
      if (waiter->word == word) WakeOne(waiter);
    }
  }

  void Relax() override {
    if (core_.detached()) ThrowDetached();
    PayDebt(state_);
    Spin();
  }

 private:
  [[noreturn]] void ThrowDetached() const {
    throw Error(ENODEV, info_.description +
                            ": the NIC has left the simulation (Simulator::Destroy "
                            "was called); nothing more can arrive");
  }

  static void WakeOne(Waiter* waiter) {
    waiter->woken = true;
    waiter->context->Resume();
  }

  void Spend(uint64_t ps, uint64_t* account) {
    Context::Current().debt_ps += ps;
    *account += ps;
  }

  /// Every completion that has become visible costs its finder a successful poll.
  void ChargeCompletions() {
    const uint64_t found = completions_ - charged_;
    if (found == 0) return;
    charged_ = completions_;
    totals_.completions += found;
    Spend(found * model_.poll_ps, &totals_.poll_ps);
  }

  /// Looks in vain until the NIC writes something, or a while.
  void Spin() {
    const uint64_t look = std::max<uint64_t>(CeilNs(model_.poll_empty_ps), 1);
    const uint64_t start = sim::NowNs();
    Waiter waiter{&Context::Current(), nullptr, false};
    Block(&waiter, std::max(options_.poll_ahead_ns, look));
    // The look under way when it was written misses it.
    const uint64_t elapsed = sim::NowNs() - start;
    const uint64_t looks = (elapsed + look - 1) / look;
    if (looks * look > elapsed) waiter.context->SleepNs(looks * look - elapsed);
    totals_.spin_ps += (sim::NowNs() - start) * 1000;
  }

  void Block(Waiter* waiter, uint64_t timeout_ns) {
    // Undone also when the program is unwound.
    struct Enrolled {
      std::vector<Waiter*>& list;
      Waiter* waiter;
      ns3::EventId timer;
      Enrolled(std::vector<Waiter*>& waiters, Waiter* one) : list(waiters), waiter(one) {
        list.push_back(one);
      }
      ~Enrolled() {
        waiter->context->waits_for = nullptr;
        std::erase(list, waiter);
        ns3::Simulator::Cancel(timer);
      }
    };
    Enrolled enrolled(waiters_, waiter);
    waiter->context->waits_for = &options_.description;
    if (timeout_ns != UINT64_MAX) {
      enrolled.timer =
          ScheduleAt(sim::NowNs() + timeout_ns, [context = waiter->context] { context->Resume(); });
    }
    waiter->context->Suspend();
  }

  // HostBus
  void OnHostWrite(uint64_t address, uint32_t bytes) override {
    ++writes_;
    const bool event = address - event_ring_ < event_ring_bytes_;
    if (!event && bytes == sizeof(abi::Cqe)) ++completions_;
    if (event) OnEventWritten(*reinterpret_cast<const abi::Event*>(address));
    if (core_.detached()) return;
    for (Waiter* waiter : waiters_) {
      if (waiter->word == nullptr) WakeOne(waiter);
    }
  }

  /// Memory that is deregistered may be freed when its owner sees the answer.
  void OnEventWritten(const abi::Event& event) {
    if (event.kind != static_cast<uint8_t>(abi::EventKind::kCommandDone)) return;
    const auto* commands = reinterpret_cast<const abi::Command*>(command_ring_);
    const auto opcode = static_cast<abi::CommandOpcode>(commands[event.id & command_mask_].opcode);
    if (opcode == abi::CommandOpcode::kDeregisterMemory) core_.CopyReferences();
  }

  void OnInterrupt(fw::InterruptKind kind, uint32_t object) override {
    if (handler_ == nullptr) return;
    if (core_.detached()) {
      Interrupt(kind, object);
      return;
    }
    ++totals_.interrupts;
    totals_.interrupt_ps += model_.interrupt_ps;
    ScheduleAt(sim::NowNs() + CeilNs(model_.interrupt_ps), [this, kind, object, alive = alive_] {
      if (*alive) Interrupt(kind, object);
    });
  }

  void Interrupt(fw::InterruptKind kind, uint32_t object) {
    if (kind == fw::InterruptKind::kCompletion) {
      handler_->OnCompletionInterrupt(object);
    } else {
      handler_->OnEventInterrupt();
    }
  }

  NicCore& core_;
  const NicModel& model_;
  const HostPortOptions options_;
  HostState& state_;
  HostTotals& totals_;
  abi::PortInfo info_;
  abi::InterruptHandler* handler_ = nullptr;
  std::vector<Waiter*> waiters_;
  uint64_t command_ring_ = 0;
  uint32_t command_mask_ = 0;
  uint64_t event_ring_ = 0;
  uint64_t event_ring_bytes_ = 0;
  uint64_t writes_ = 0;       ///< to host memory, by the NIC
  uint64_t completions_ = 0;  ///< entries of completion queues among them
  uint64_t last_ns_ = 0;      ///< of NowNs
  uint64_t last_doorbell_ns_ = 0;
  uint64_t charged_ = 0;  ///< completions whose poll has been paid
  boost::local_shared_ptr<bool> alive_ = boost::make_local_shared<bool>(true);
};

}  // namespace

std::unique_ptr<abi::HostPort> MakeSimHostPort(NicCore& core, const NicModel& model,
                                               HostPortOptions options, HostState& state) {
  return std::make_unique<SimHostPort>(core, model, std::move(options), state);
}

uint64_t HostNowNs() { return StampNs(); }

void SpendHostTime(HostState& state, uint64_t ps) {
  state.totals.application_ps += ps;
  Context::Current().debt_ps += ps;
  PayDebt(state);
}

}  // namespace qpip::sim

#include "nic_fw/firmware.h"

#include "nic_fw/connection.h"
#include "nic_fw/dma_service.h"
#include "nic_fw/doorbell_fsm.h"
#include "nic_fw/ending.h"
#include "nic_fw/icmp.h"
#include "nic_fw/icmp_answer.h"
#include "nic_fw/icmp_errors.h"
#include "nic_fw/invariants.h"
#include "nic_fw/layout.h"
#include "nic_fw/management_fsm.h"
#include "nic_fw/neighbour_discovery.h"
#include "nic_fw/opening.h"
#include "nic_fw/own_address.h"
#include "nic_fw/path_mtu.h"
#include "nic_fw/placement.h"
#include "nic_fw/reassembly.h"
#include "nic_fw/receive_fsm.h"
#include "nic_fw/timers.h"
#include "nic_fw/transmit_fsm.h"

namespace qpip::fw {
namespace {

/// Work that no event announces the end of (a full wire, a lease) is looked at this often; less and
/// less often, the longer nothing has come of it.
constexpr uint64_t kRetryIntervalNs = 20000;
constexpr uint64_t kLongestRetryIntervalNs = 5000000;
/// ... and this often while the NIC has no address that it may use, which takes a second.
constexpr uint64_t kAddressRetryIntervalNs = 1000000;

bool ServiceNeighbourTimers(const Nic& nic) {
  ipv6::Address lost;
  if (!ServiceNeighbours(nic, &lost)) return false;
  ReportUndeliverable(nic);
  if (!lost.IsUnspecified()) OnNeighbourLost(nic, lost);
  return true;
}

bool ServiceConnectionTimers(const Nic& nic) {
  const uint32_t handle = PopDueTimer(nic);
  if (handle == kNone) return false;
  OnTimer(nic, nic.qp(handle));
  return true;
}

/// When the lists are to be looked at again.
uint64_t ListDeadline(const Nic& nic) {
  if (nic.state.refused.empty() && nic.state.drain.empty()) return tcp::kNever;
  const bool nothing_goes = OnEthernet(nic) && !AddressUsable(nic);
  const uint64_t least = nothing_goes ? kAddressRetryIntervalNs : kRetryIntervalNs;
  const uint64_t stuck = (nic.state.last_step_at - nic.state.lists_stuck_since) / 4;
  const uint64_t interval = stuck < kLongestRetryIntervalNs ? stuck : kLongestRetryIntervalNs;
  return nic.state.last_step_at + (interval < least ? least : interval);
}

/// Whatever time brings about. `service` does what is due, one thing, and answers false when
/// nothing was; `deadline` says when something will be, tcp::kNever if nothing.
struct Timed {
  bool (*service)(const Nic& nic);
  uint64_t (*deadline)(const Nic& nic);
};
constexpr Timed kTimed[] = {
    {ServiceNeighbourTimers, NeighbourDeadline},
    {ServiceReassembly, ReassemblyDeadline},
    {ServicePathMtus, PathMtuDeadline},
    {ServiceConnectionTimers, EarliestTimer},
};

constexpr uint32_t kTimedCount = sizeof(kTimed) / sizeof(kTimed[0]);

// The tables are walked at compile time: a round that finds nothing to do is most of what a polling
// host waits for, and is then without indirect calls.

template <uint32_t kRow = 0>
bool ServiceTimedFrom(const Nic& nic) {
  if constexpr (kRow == kTimedCount) {
    return false;
  } else {
    return kTimed[kRow].service(nic) || ServiceTimedFrom<kRow + 1>(nic);
  }
}

template <uint32_t kRow = 0>
uint64_t EarliestDeadlineFrom(const Nic& nic, uint64_t earliest) {
  if constexpr (kRow == kTimedCount) {
    return earliest;
  } else {
    const uint64_t deadline = kTimed[kRow].deadline(nic);
    return EarliestDeadlineFrom<kRow + 1>(nic, deadline < earliest ? deadline : earliest);
  }
}

bool ServiceTimers(const Nic& nic) { return ServiceTimedFrom(nic); }

bool ServiceLists(const Nic& nic) {
  FirmwareState& s = nic.state;
  if (s.refused.empty() && s.drain.empty() && !s.backlog_due) [[likely]] {
    return false;
  }
  const uint64_t stuck_since = s.lists_stuck_since;
  const bool retried = RetryRefused(nic);
  const bool drained = !s.drain.empty() && PollDraining(nic);
  s.lists_stuck_since = retried || drained ? nic.now : stuck_since;
  const bool taken_up = ServiceBacklogs(nic);
  return retried || drained || taken_up;
}

/// The state machines take turns, so that none starves another. The order within a turn matters
/// for latency only: what has finished first, then what the host wants, then the wire.
constexpr bool (*kStateMachines[])(const Nic&) = {
    ServiceDma,      ServiceDoorbells, ServiceManagement, ServiceReceive,
    ServiceTransmit, ServiceLists,     ServiceTimers,
};
constexpr uint32_t kFsmCount = sizeof(kStateMachines) / sizeof(kStateMachines[0]);

/// One call of the step function.
struct Step {
  uint32_t budget;    ///< operations it may do
  uint32_t next;      ///< whose turn it is
  uint32_t done = 0;  ///< operations
  uint32_t idle = 0;  ///< state machines in a row that had nothing to do
};

/// The state machines' turns from `step.next` to the last one. True: the step is over.
template <uint32_t kRow = 0>
bool TakeTurns(const Nic& nic, Step& step) {
  if constexpr (kRow == kFsmCount) {
    step.next = 0;
    return false;
  } else {
    if (kRow >= step.next) {
      bool over;
      if (kStateMachines[kRow](nic)) {
        FinishDma(nic);
        step.idle = 0;
        over = ++step.done >= step.budget;
      } else {
        over = ++step.idle == kFsmCount;
      }
      if (over) {
        step.next = (kRow + 1) % kFsmCount;
        return true;
      }
    }
    return TakeTurns<kRow + 1>(nic, step);
  }
}

/// As many turns as there are doorbells for, `budget` of them. Returns how many that were.
uint32_t TakeAllDoorbells(const Nic& nic, uint32_t budget) {
  uint32_t turns = 0;
  uint32_t taken = kDoorbellsAtATime;  // a turn takes no more than some of them
  while (turns < budget && taken == kDoorbellsAtATime) {
    taken = TakeDoorbells(nic);
    turns += taken != 0 ? 1 : 0;
  }
  return turns;
}

uint64_t RandomNonZero(const Nic& nic) {
  uint64_t value = nic.hardware.Random();
  while (value == 0) value = nic.hardware.Random();
  return value;
}

}  // namespace

extern "C" {

uint32_t qpip_fw_arena(const NicConfig* config, ArenaBytes* out) {
  FirmwareState state;
  if (!ComputeLayout(*config, &state)) {
    *out = ArenaBytes{};
    return 0;
  }
  *out = state.bytes;
  return state.bytes.total;
}

uint32_t qpip_fw_init(void* arena, uint32_t arena_bytes, const NicConfig* config,
                      const Platform* platform, uint64_t now_ns) {
  if ((reinterpret_cast<uintptr_t>(arena) & 7) != 0 || arena_bytes < sizeof(FirmwareState)) {
    return 0;
  }
  auto* state = static_cast<FirmwareState*>(arena);
  *state = FirmwareState{};
  if (!ComputeLayout(*config, state) || arena_bytes < state->bytes.total) return 0;
  const Nic nic(arena, *platform, now_ns);
  FormatTables(nic);
  state->hash_key = {RandomNonZero(nic), RandomNonZero(nic)};
  state->isn_key = {RandomNonZero(nic), RandomNonZero(nic)};
  state->icmp_tokens_at = now_ns;
  state->icmp_tokens = kIcmpErrorBurst;
  StartLink(nic);
  state->magic = kArenaMagic;
  return 1;
}

uint32_t qpip_fw_step(void* arena, const Platform* platform, uint64_t now_ns, uint32_t budget) {
  const Nic nic(arena, *platform, now_ns);
  nic.state.last_step_at = now_ns;
  Step step{.budget = budget, .next = nic.state.next_fsm};
  while (budget != 0 && !TakeTurns(nic, step)) {
  }
  nic.state.next_fsm = step.next;
  FileTimer(nic);
  return step.done;
}

uint32_t qpip_fw_receive(void* arena, const Platform* platform, uint64_t now_ns, uint32_t budget) {
  const Nic nic(arena, *platform, now_ns);
  nic.state.last_step_at = now_ns;
  uint32_t done = TakeAllDoorbells(nic, budget);
  if (done != 0) FinishDma(nic);
  for (; done < budget && TakeFrame(nic); ++done) FinishDma(nic);
  FileTimer(nic);
  return done;
}

uint32_t qpip_fw_transmit(void* arena, const Platform* platform, uint64_t now_ns, uint32_t budget) {
  const Nic nic(arena, *platform, now_ns);
  nic.state.last_step_at = now_ns;
  uint32_t done = TakeAllDoorbells(nic, budget);
  while (done < budget && (ServiceDma(nic) || ServiceTransmit(nic))) ++done;
  FinishDma(nic);  // what is left behind, neither FetchedAtOnce nor qpip_fw_due would know of
  FileTimer(nic);
  return done;
}

uint32_t qpip_fw_ready(const void* arena) {
  const auto& state = *static_cast<const FirmwareState*>(arena);
  return !state.active.empty() || !state.fresh.empty() || !state.batch.empty() ||
         state.backlog_due ||
         (state.command_stage == kCommandIdle && state.command_producer != state.command_consumer);
}

uint32_t qpip_fw_due(const void* arena, uint64_t now_ns) {
  static constexpr Platform kNoPlatform{};
  const auto& state = *static_cast<const FirmwareState*>(arena);
  const Nic nic(const_cast<void*>(arena), kNoPlatform, now_ns);
  return qpip_fw_ready(arena) != 0 || !state.refused.empty() || !state.drain.empty() ||
         EarliestDeadlineFrom(nic, tcp::kNever) <= now_ns;
}

uint64_t qpip_fw_next_deadline(const void* arena) {
  // Only reads; Nic is a mutable view because everything else writes.
  static constexpr Platform kNoPlatform{};
  const Nic nic(const_cast<void*>(arena), kNoPlatform, 0);
  return EarliestDeadlineFrom(nic, ListDeadline(nic));
}

uint64_t qpip_fw_notifications(const void* arena) {
  return static_cast<const FirmwareState*>(arena)->notifications;
}

const uint64_t* qpip_fw_counters(const void* arena) {
  return static_cast<const FirmwareState*>(arena)->counters;
}

}  // extern "C"

}  // namespace qpip::fw

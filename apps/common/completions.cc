#include "apps/common/completions.h"

#include <poll.h>
#include <sched.h>

#include <algorithm>
#include <array>

namespace qpip::apps {

using std::chrono::nanoseconds;
using std::chrono::steady_clock;

namespace {

/// Polls in a row that find nothing before the core is offered to others, and the clock is read.
constexpr uint32_t kPollsPerYield = 64;
/// How long a quiet queue is waited for by Wait, which may run the NIC's core in this thread,
/// before the thread goes to sleep on descriptors.
constexpr nanoseconds kBusyPeriod = std::chrono::milliseconds(100);

size_t PollUntil(CompletionQueue& cq, std::span<WorkCompletion> out,
                 steady_clock::time_point deadline) {
  for (uint32_t idle = 1;; ++idle) {
    if (const size_t n = cq.Poll(out)) return n;
    if (idle % kPollsPerYield != 0) continue;
    if (steady_clock::now() >= deadline) return 0;
    // More pollers than cores would otherwise use up whole time slices waiting for each other.
    sched_yield();
  }
}

struct NamedStatus {
  ibv_wc_status status;
  const char* name;
  const char* meaning;
};

constexpr std::array kStatuses = {
    NamedStatus{IBV_WC_SUCCESS, "IBV_WC_SUCCESS", "success"},
    NamedStatus{IBV_WC_LOC_LEN_ERR, "IBV_WC_LOC_LEN_ERR", "message longer than the posted receive"},
    NamedStatus{IBV_WC_LOC_QP_OP_ERR, "IBV_WC_LOC_QP_OP_ERR", "malformed work request"},
    NamedStatus{IBV_WC_LOC_PROT_ERR, "IBV_WC_LOC_PROT_ERR", "memory key, bounds or rights"},
    NamedStatus{IBV_WC_WR_FLUSH_ERR, "IBV_WC_WR_FLUSH_ERR", "flushed: the connection has ended"},
    NamedStatus{IBV_WC_REM_ABORT_ERR, "IBV_WC_REM_ABORT_ERR",
                "connection reset by the peer, or the peer is gone"},
    NamedStatus{IBV_WC_RETRY_EXC_ERR, "IBV_WC_RETRY_EXC_ERR", "the peer does not answer"},
    NamedStatus{IBV_WC_RESP_TIMEOUT_ERR, "IBV_WC_RESP_TIMEOUT_ERR",
                "the peer did not acknowledge data in time"},
};

}  // namespace

void AddWaitOptions(CommandLine& command_line) {
  command_line.Options().add_options()("wait", "sleep while waiting for completions (default)")(
      "poll", "poll for completions: lower latency, one CPU busy");
}

WaitMode GetWaitMode(const CommandLine& command_line) {
  if (command_line.Flag("wait") && command_line.Flag("poll")) {
    throw UsageError("--wait and --poll exclude each other: command line: give one of them");
  }
  return command_line.Flag("poll") ? WaitMode::kPoll : WaitMode::kWait;
}

const char* ToString(WaitMode mode) { return mode == WaitMode::kPoll ? "poll" : "wait"; }

size_t NextCompletions(CompletionQueue& cq, std::span<WorkCompletion> out, WaitMode mode,
                       nanoseconds timeout) {
  if (mode == WaitMode::kWait) return cq.Wait(out, timeout);
  return PollUntil(cq, out, steady_clock::now() + timeout);
}

size_t WaitOrStop(CompletionQueue& cq, std::span<WorkCompletion> out, const StopToken& token,
                  Timeout timeout) {
  const auto start = steady_clock::now();
  const auto left = [&] {
    if (!timeout) return nanoseconds::max();
    return std::max(nanoseconds(0), *timeout - (steady_clock::now() - start));
  };
  if (const size_t n = cq.Wait(out, std::min(kBusyPeriod, left()))) return n;
  while (!token.requested() && left() > nanoseconds(0)) {
    if (cq.Arm()) {
      std::array<pollfd, 2> descriptors = {pollfd{cq.fd(), POLLIN, 0},
                                           pollfd{token.fd(), POLLIN, 0}};
      const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(left());
      poll(descriptors.data(), descriptors.size(),
           timeout ? static_cast<int>(milliseconds.count() + 1) : -1);
      cq.Acknowledge();
    }
    if (const size_t n = cq.Poll(out)) return n;
  }
  return 0;
}

std::string StatusName(ibv_wc_status status) {
  for (const NamedStatus& entry : kStatuses) {
    if (entry.status == status) return entry.name;
  }
  return "work completion status " + std::to_string(static_cast<int>(status));
}

std::string StatusText(ibv_wc_status status) {
  for (const NamedStatus& entry : kStatuses) {
    if (entry.status == status) return std::string(entry.meaning) + " (" + entry.name + ")";
  }
  return StatusName(status);
}

}  // namespace qpip::apps

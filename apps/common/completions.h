// Ways to wait for completions, and what their status means to a user.
#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <string>

#include "apps/common/command_line.h"
#include "apps/common/stop.h"
#include "qpip/qpip.h"

namespace qpip::apps {

/// How a command waits: asleep (the default), or by polling the completion queue.
enum class WaitMode { kWait, kPoll };

/// Adds --wait and --poll.
void AddWaitOptions(CommandLine& command_line);
/// Throws UsageError when both are given.
WaitMode GetWaitMode(const CommandLine& command_line);
const char* ToString(WaitMode mode);

/// Takes completions, waiting for the first as `mode` says. Returns 0 on time-out.
size_t NextCompletions(CompletionQueue& cq, std::span<WorkCompletion> out, WaitMode mode,
                       std::chrono::nanoseconds timeout);

/// Takes completions; sleeps until there is one, `token` is requested or `timeout` is over
/// (returns 0). After a while without any it sleeps on descriptors, without waking at all.
size_t WaitOrStop(CompletionQueue& cq, std::span<WorkCompletion> out, const StopToken& token,
                  Timeout timeout = std::nullopt);

/// "connection reset by the peer, or the peer is gone (IBV_WC_REM_ABORT_ERR)". Where
/// the connection's end is behind it BrokenText (connection.h) says more.
std::string StatusText(ibv_wc_status status);
/// "IBV_WC_REM_ABORT_ERR".
std::string StatusName(ibv_wc_status status);

}  // namespace qpip::apps

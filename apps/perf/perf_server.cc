#include "apps/perf/perf_server.h"

#include <algorithm>

#include "apps/common/connection.h"
#include "apps/common/pattern.h"

namespace qpip::apps {

namespace {

constexpr std::chrono::seconds kCloseTimeout{2};

/// Writes back what is written, as soon as it is seen.
void AnswerWrites(PerfSide& side) {
  const Plan& plan = side.plan();
  for (uint64_t i = 0; i < plan.rounds; ++i) {
    side.AwaitTag(i, TagOf(i));
    const auto in = side.In(i);
    const auto out = side.Out(i);
    if (plan.verify) {
      side.CheckPattern(i, in.first(in.size() - 1));
      std::ranges::copy(in, out.begin());
    }
    out.back() = TagOf(i);
    side.Post(i, i % 16 == 15);
  }
}

/// Sends back what is sent.
void AnswerSends(PerfSide& side) {
  const Plan& plan = side.plan();
  for (uint64_t i = 0; i < plan.rounds; ++i) {
    const uint64_t slot = side.AwaitReceive();
    if (plan.verify) {
      side.CheckPattern(i, side.In(slot));
      std::ranges::copy(side.In(slot), side.Out(i).begin());
    }
    side.PostReceive(slot);
    side.Post(i, i % 16 == 15);
  }
}

/// Takes what is sent, and tells of each `depth` receives that it has posted again.
void TakeSends(PerfSide& side) {
  const Plan& plan = side.plan();
  for (uint64_t i = 0; i < plan.rounds; ++i) {
    const uint64_t slot = side.AwaitReceive();
    if (plan.verify) side.CheckPattern(i, side.In(slot));
    side.PostReceive(slot);
    if ((i + 1) % plan.depth == 0) side.PostWord();
  }
}

/// Looks at each window of Writes when the client says that it is there, and says so.
void CheckWrites(PerfSide& side) {
  const Plan& plan = side.plan();
  for (uint64_t i = 0; i < plan.rounds;) {
    while (side.TakeWords() == 0) side.Gather();
    const uint64_t end = std::min(i + plan.depth, plan.rounds);
    for (; i < end; ++i) side.CheckPattern(i, side.In(i));
    side.PostWord();
  }
}

void TakePart(PerfSide& side) {
  const Plan& plan = side.plan();
  const bool latency = plan.measure == Measure::kLatency;
  if (plan.operation == Operation::kSend) {
    latency ? AnswerSends(side) : TakeSends(side);
  } else if (plan.operation == Operation::kWrite && latency) {
    AnswerWrites(side);
  } else if (plan.operation == Operation::kWrite && plan.verify) {
    CheckWrites(side);
  }
  // Nothing is to be done for the others; nor for these, once the client has all.
  for (;;) side.Gather();
}

/// What reads are to find.
void FillForReads(const PerfSide& side) {
  if (side.plan().operation != Operation::kRead) return;
  for (uint64_t i = 0; i < side.plan().depth; ++i) FillPattern(0, side.In(i));
}

/// Throws Failure when the test breaks.
void ServeOne(Nic& nic, RdmaRequest& request, const PlanMessage& asked,
              const PerfServerOptions& options, const PerfServerEvents& events,
              const StopToken& stop) {
  PerfSide side(nic, asked.plan, asked.plan.operation == Operation::kSend, options.settings, stop);
  side.SetPeer(asked.window);
  FillForReads(side);
  const std::vector<std::byte> answer = Encode(side.window());
  request.Accept(side.qp(), side.Parameters(answer));
  events.on_client(request.peer(), asked.plan);
  try {
    TakePart(side);
  } catch (const PeerClosed&) {
    CloseOrStop(side.qp(), kCloseTimeout, stop);
  }
}

}  // namespace

PerfServerCounts ServePerf(Nic& nic, const PerfServerOptions& options, const StopToken& stop,
                           const PerfServerEvents& events) {
  RdmaListener listener(nic, options.port);
  events.on_listening({nic.address(), listener.port()});
  PerfServerCounts counts;
  while (!stop.requested() && !(options.once && counts.clients > 0)) {
    const auto request = listener.Next(kStopCheck);
    if (request == nullptr) continue;
    std::string why;
    const auto asked = DecodePlan(request->private_data(), &why);
    if (!asked) {
      request->Reject(why);
      continue;
    }
    ++counts.clients;
    try {
      ServeOne(nic, *request, *asked, options, events, stop);
    } catch (const Interrupted&) {
      break;
    } catch (const Failure& failure) {
      ++counts.failed;
      events.on_failure(failure.what());
    } catch (const Error& error) {
      ++counts.failed;
      events.on_failure(request->peer().ToString() + ": " + error.what());
    }
  }
  return counts;
}

}  // namespace qpip::apps

#include "apps/perf/perf_client.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "apps/common/connection.h"
#include "apps/common/nic_options.h"
#include "apps/common/pattern.h"

namespace qpip::apps {

using std::chrono::steady_clock;

namespace {

constexpr std::chrono::seconds kCloseTimeout{2};
constexpr uint64_t kSilentSends = 16;  ///< of latencies: one of so many is signalled

class Client {
 public:
  Client(Nic& nic, const PerfOptions& options, const StopToken& stop)
      : nic_(nic), options_(options), stop_(stop), plan_(options.plan) {
    latencies_.Reserve(plan_.measure == Measure::kLatency ? plan_.rounds - options.warm_up : 0);
  }

  PerfResult Run() {
    Connect();
    Begin();
    try {
      if (plan_.measure == Measure::kLatency) {
        MeasureLatency();
      } else {
        MeasureBandwidth();
      }
    } catch (const PeerClosed&) {
      result_.failure = "the server has ended: " + options_.peer.ToString() + ": start it again";
    } catch (const Failure& failure) {
      result_.failure = failure.what();
    }
    End();
    if (result_.messages == 0 && !result_.failure.empty()) throw Failure(result_.failure);
    if (result_.failure.empty()) CloseOrStop(side_->qp(), kCloseTimeout, stop_);
    return result_;
  }

 private:
  /// A server that is about to start is tried again.
  void Connect() {
    const Patience waiting(options_.patience, stop_);
    for (;;) {
      try {
        return ConnectOnce();
      } catch (const Error& error) {
        if (!MayPass(error.code()) || rejected_ || waiting.over()) {
          throw Error(error.code(), error.what() + From(nic_));
        }
      }
      if (!waiting.Pause()) {
        throw Interrupted("interrupted: waiting for a server at " + options_.peer.ToString());
      }
    }
  }

  void ConnectOnce() {
    const bool answered = plan_.operation == Operation::kSend && plan_.measure == Measure::kLatency;
    side_.reset();
    side_ = std::make_unique<PerfSide>(nic_, plan_, answered, options_.settings, stop_);
    const std::vector<std::byte> ask = Encode({plan_, side_->window()});
    RdmaConnector connector(nic_, options_.peer, side_->Parameters(ask));
    const auto deadline = steady_clock::now() + kConnectTimeout;
    auto state = RdmaConnector::State::kConnecting;
    while ((state = connector.Wait(kStopCheck)) == RdmaConnector::State::kConnecting) {
      if (stop_.requested()) {
        throw Interrupted("interrupted: connecting to " + options_.peer.ToString());
      }
      if (steady_clock::now() >= deadline) {
        throw Error(ETIMEDOUT, "connect to " + options_.peer.ToString() + ": no answer");
      }
    }
    if (state == RdmaConnector::State::kRejected) {
      rejected_ = true;
      const auto text = connector.private_data();
      throw Error(ECONNREFUSED,
                  "rejected by " + options_.peer.ToString() + ": " +
                      OneLine({reinterpret_cast<const char*>(text.data()), text.size()}));
    }
    if (state != RdmaConnector::State::kAccepted) throw connector.error();
    const auto window = DecodeWindow(connector.private_data());
    if (!window) {
      throw Failure("no qpip-perf -s: " + options_.peer.ToString() + ": it answers otherwise");
    }
    side_->SetPeer(*window);
    result_.agreement = connector.agreement();
    connector.Establish(side_->qp());
  }

  void Begin() {
    cpu_before_ = ProcessCpuSeconds();
    start_ = steady_clock::now();
  }
  void End() {
    result_.seconds = std::chrono::duration<double>(steady_clock::now() - start_).count();
    result_.cpu_seconds = ProcessCpuSeconds() - cpu_before_;
    result_.bytes = result_.messages * plan_.bytes;
    result_.latency = latencies_.Summarise();
    result_.histogram = latencies_.Histogram();
  }

  void MeasureLatency() {
    Progress progress("messages", plan_.rounds);
    const bool both_ways =
        plan_.operation == Operation::kWrite || plan_.operation == Operation::kSend;
    for (uint64_t i = 0; i < plan_.rounds; ++i) {
      if (i == options_.warm_up) Begin();
      Fill(i);
      const auto start = steady_clock::now();
      RoundTrip(i);
      const auto took = steady_clock::now() - start;
      Check(i);
      if (i < options_.warm_up) continue;
      latencies_.Add(both_ways ? took / 2 : took);
      ++result_.messages;
      progress.Update(i);
    }
  }

  void RoundTrip(uint64_t message) {
    switch (plan_.operation) {
      case Operation::kWrite:
        side_->Post(message, message % kSilentSends == kSilentSends - 1);
        side_->AwaitTag(message, TagOf(message));
        break;
      case Operation::kSend:
        side_->Post(message, message % kSilentSends == kSilentSends - 1);
        slot_ = side_->AwaitReceive();
        break;
      case Operation::kRead:
      case Operation::kAtomic:
        side_->Post(message, true);
        side_->AwaitDone(message + 1);
        break;
    }
  }

  /// Before a message is posted: what it carries.
  void Fill(uint64_t message) {
    const auto out = side_->Out(message);
    if (plan_.verify && plan_.operation == Operation::kRead) {
      std::ranges::fill(side_->In(message), uint8_t{0});
    } else if (plan_.verify && plan_.operation != Operation::kAtomic) {
      FillPattern(PatternAt(message, plan_), out);
    }
    if (plan_.operation == Operation::kWrite && plan_.measure == Measure::kLatency) {
      out.back() = TagOf(message);
    }
  }

  /// When it has come back, or is done.
  void Check(uint64_t message) {
    switch (plan_.operation) {
      case Operation::kWrite: {
        const auto in = side_->In(message);
        if (plan_.verify) side_->CheckPattern(message, in.first(in.size() - 1));
        break;
      }
      case Operation::kSend:
        if (plan_.verify) side_->CheckPattern(message, side_->In(slot_));
        side_->PostReceive(slot_);
        break;
      case Operation::kRead:
        if (plan_.verify && FindPatternError(0, side_->In(message))) {
          throw Failure("data differs from the pattern: message " + std::to_string(message) +
                        ", read from " + options_.peer.ToString());
        }
        break;
      case Operation::kAtomic: {
        uint64_t before = 0;
        std::memcpy(&before, side_->In(message).data(), sizeof before);
        if (before != message) {
          throw Failure("atomic operation " + std::to_string(message) + " found " +
                        std::to_string(before) + ": " + options_.peer.ToString());
        }
        break;
      }
    }
  }

  /// Whether each message has to be looked at when it is done.
  bool one_by_one() const {
    return plan_.operation == Operation::kAtomic ||
           (plan_.operation == Operation::kRead && plan_.verify);
  }
  /// Messages that may have been posted by now.
  uint64_t Allowed() {
    // Those that are measured begin when those before them are over, so that they are all counted.
    const uint64_t end = measuring_ ? plan_.rounds : options_.warm_up;
    uint64_t most = std::min(end, side_->done() + plan_.depth);
    if (plan_.operation == Operation::kSend) {
      words_ += side_->TakeWords();
      most = std::min(most, (kReceivesPerDepth + words_) * plan_.depth);
    } else if (plan_.operation == Operation::kWrite && plan_.verify) {
      most = std::min(most, (words_ + 1) * plan_.depth);
    }
    return most;
  }

  void MeasureBandwidth() {
    Progress progress("messages", plan_.rounds);
    const uint64_t signal_every = one_by_one() ? 1 : std::max<uint64_t>(1, plan_.depth / 4);
    uint64_t posted = 0;
    uint64_t checked = 0;
    measuring_ = options_.warm_up == 0;
    while (checked < plan_.rounds) {
      for (const uint64_t allowed = Allowed(); posted < allowed; ++posted) {
        Fill(posted);
        const bool last = posted + 1 == plan_.rounds || posted + 1 == allowed;
        side_->Post(posted, last || (posted + 1) % signal_every == 0);
      }
      if (side_->done() == checked) side_->Gather();
      for (; checked < side_->done(); ++checked) {
        if (one_by_one()) Check(checked);
      }
      if (plan_.operation == Operation::kWrite && plan_.verify) AskForCheck(checked);
      if (!measuring_ && checked == options_.warm_up) {
        measuring_ = true;
        Begin();
      }
      if (measuring_) result_.messages = checked - options_.warm_up;
      progress.Update(checked);
    }
  }

  /// Has the server look at a window of Writes that is whole.
  void AskForCheck(uint64_t done) {
    if (done < std::min((words_ + 1) * plan_.depth, plan_.rounds)) return;
    side_->PostWord();
    uint64_t words = 0;
    while ((words = side_->TakeWords()) == 0) side_->Gather();
    words_ += words;
  }

  Nic& nic_;
  const PerfOptions& options_;
  const StopToken& stop_;
  const Plan& plan_;
  std::unique_ptr<PerfSide> side_;
  PerfResult result_;
  LatencyRecorder latencies_;
  bool rejected_ = false;
  uint64_t slot_ = 0;       ///< of the last Send that has come
  uint64_t words_ = 0;      ///< that have come
  bool measuring_ = false;  ///< bandwidth: the warm-up is over
  steady_clock::time_point start_;
  double cpu_before_ = 0;
};

}  // namespace

PerfResult MeasurePerf(Nic& nic, const PerfOptions& options, const StopToken& stop) {
  return Client(nic, options, stop).Run();
}

}  // namespace qpip::apps

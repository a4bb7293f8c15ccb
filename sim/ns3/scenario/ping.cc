// Round trips: the paper's application-to-application latency of a 1-byte message (Figure 3).
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include "sim/ns3/scenario/scenarios.h"
#include "sim/ns3/scenario/window.h"

namespace qpip::sim {
namespace {

constexpr uint32_t kReceives = 8;
constexpr uint32_t kReceiveBytes = 16384;  // roomy, so that the window is never in the way
constexpr uint32_t kSignalEvery = 16;
constexpr uint16_t kEchoPort = 7;

struct Options {
  bool tcp = true;
  bool poll = true;
  uint32_t bytes = 1;
  uint64_t count = 0;
  uint64_t warm_up = 0;
  uint64_t timeout_ns = 0;  ///< of a datagram's answer; what TCP carries comes

  uint64_t rounds() const { return count + warm_up; }
};

/// One side of the game. A message begins with its number, as far as there is room, so that an
/// answer that comes late is not taken for the one expected.
class Player {
 public:
  Player(Host& host, const Options& options)
      : options_(options), number_bytes_(std::min<size_t>(options.bytes, sizeof(uint64_t))) {
    cq_ = host.nic->CreateCq(256);
    QpOptions qp;
    qp.type = options.tcp ? QpType::kTcp : QpType::kUdp;
    qp.send_cq = qp.recv_cq = cq_.get();
    qp.send_depth = 64;
    qp.recv_depth = kReceives;
    qp_ = host.nic->CreateQp(*host.pd, qp);
    memory_ = host.pd->Allocate(2 * kReceiveBytes);
    for (uint32_t i = 1; i < kReceives; ++i) PostReceive();  // and one when a round begins
  }

  QueuePair& qp() { return *qp_; }
  /// No more than fit: a lost message leaves its receive behind.
  void PostReceive() {
    if (posted_ == kReceives) return;
    RequirePosted(qp_->PostRecv(0, memory_->Sge(kReceiveBytes, kReceiveBytes)));
    ++posted_;
  }
  void Send(uint64_t number, const Endpoint& to) {
    std::memcpy(memory_->data(), &number, number_bytes_);
    const int flags = ++sent_ % kSignalEvery == 0 ? IBV_SEND_SIGNALED : 0;
    const ibv_sge sge = memory_->Sge(0, options_.bytes);
    const int error =
        options_.tcp ? qp_->PostSend(0, sge, flags) : qp_->PostSendTo(0, sge, to, flags);
    if (error == ENOMEM && !options_.tcp) {
      throw Error(
          ETIMEDOUT,
          "ping: messages are given up faster than the NIC sends them: give timeout_us more");
    }
    RequirePosted(error);
  }
  /// Waits for a message; false when the time is over, `done` or the run shall end.
  bool Receive(uint64_t timeout_ns, const bool& done) {
    const uint64_t deadline_ns = timeout_ns == kForever ? kForever : HostNowNs() + timeout_ns;
    while (!done && !StopRequested()) {
      WorkCompletion wc;
      if (Take(&wc, deadline_ns) == 0) {
        if (HostNowNs() >= deadline_ns) return false;
        continue;
      }
      if (wc.status != IBV_WC_SUCCESS)
        throw Error(EIO, std::string("ping: ") + ToString(wc.status));
      if (wc.opcode != IBV_WC_RECV) continue;
      --posted_;
      return true;
    }
    return false;
  }
  /// Of the message received, as far as it is known.
  uint64_t received_number() const {
    uint64_t number = 0;
    std::memcpy(&number, static_cast<const uint8_t*>(memory_->data()) + kReceiveBytes,
                number_bytes_);
    return number;
  }
  bool IsNumber(uint64_t number) const {
    uint64_t known = 0;
    std::memcpy(&known, &number, number_bytes_);
    return received_number() == known;
  }

  static constexpr uint64_t kForever = UINT64_MAX;

 private:
  size_t Take(WorkCompletion* wc, uint64_t deadline_ns) {
    if (options_.poll) return cq_->Poll({wc, 1});
    if (deadline_ns == kForever) return cq_->Wait({wc, 1});
    const uint64_t now = HostNowNs();
    return cq_->Wait({wc, 1}, std::chrono::nanoseconds(std::max(deadline_ns, now) - now));
  }
  const Options options_;
  const size_t number_bytes_;
  std::unique_ptr<CompletionQueue> cq_;
  std::unique_ptr<MemoryRegion> memory_;
  std::unique_ptr<QueuePair> qp_;
  uint32_t sent_ = 0;
  uint32_t posted_ = 0;
};

/// Both sides, and what was measured.
class Game {
 public:
  Game(World& world, const Options& options)
      : options_(options),
        server_(world.host(0)),
        client_(world.host(1)),
        window_(world),
        ponger_(server_, options),
        pinger_(client_, options) {
    window_.Name(0, "server");
    window_.Name(1, "client");
    if (options.tcp) {
      listener_ = server_.nic->Listen(kEchoPort);
      listener_->Offer(ponger_.qp());
      pinger_.qp().Connect({server_.address(), kEchoPort});
      listener_->Accept();
    } else {
      ponger_.qp().Bind(kEchoPort);
      pinger_.qp().Bind(kEchoPort);
    }
  }

  void Start(World& world) {
    world.Start("ponger", [this] { Pong(); });
    world.Start("pinger", [this] { Ping(); });
  }

  ScenarioResult Result();

 private:
  void Pong() {
    const Endpoint to{client_.address(), kEchoPort};
    while (!done_) {
      if (!ponger_.Receive(options_.timeout_ns, done_)) {
        if (StopRequested()) return;
        continue;
      }
      const uint64_t number = ponger_.received_number();
      ponger_.Send(number, to);
      ponger_.PostReceive();
      if (++answered_ == options_.rounds()) return;
    }
  }

  void Ping() {
    for (uint64_t i = 0; i < options_.rounds() && !StopRequested(); ++i) {
      if (i == options_.warm_up) window_.Begin();
      Round(i);
    }
    window_.End(NowNs());
    done_ = true;
  }

  void Round(uint64_t number) {
    const uint64_t begin = HostNowNs();
    pinger_.Send(number, {server_.address(), kEchoPort});
    pinger_.PostReceive();
    bool answered = false;
    do {
      const uint64_t waited = HostNowNs() - begin;
      const uint64_t left = options_.timeout_ns - std::min(options_.timeout_ns, waited);
      answered = pinger_.Receive(options_.tcp ? Player::kForever : left, done_);
    } while (answered && !pinger_.IsNumber(number));
    if (number < options_.warm_up || (!answered && StopRequested())) return;
    ++sent_;
    if (answered) rtt_us_.push_back(static_cast<double>(HostNowNs() - begin) / 1000.0);
  }

  const Options options_;
  Host& server_;
  Host& client_;
  MeasuredWindow window_;
  Player ponger_;
  Player pinger_;
  std::unique_ptr<Listener> listener_;
  bool done_ = false;
  uint64_t answered_ = 0;  ///< by the ponger
  uint64_t sent_ = 0;      ///< after the warm-up
  std::vector<double> rtt_us_;
};

ScenarioResult Game::Result() {
  if (rtt_us_.empty()) {
    RequireNotStopped();
    throw Error(ETIMEDOUT, "ping: none of " + std::to_string(sent_) +
                               " messages was answered in time: lower loss, or give timeout_us "
                               "more than " +
                               std::to_string(options_.timeout_ns / 1000));
  }
  ScenarioResult result;
  double sum = 0;
  for (const double rtt : rtt_us_) sum += rtt;
  const auto rounds = static_cast<double>(rtt_us_.size());
  result.Add("rtt_mean_us", sum / rounds);
  result.Add("rtt_min_us", *std::min_element(rtt_us_.begin(), rtt_us_.end()));
  AddPercentiles("rtt", &rtt_us_, &result);
  // A round trip is a message sent and one received at this host; one that is lost is work, too.
  const auto work_ps = static_cast<double>(window_.HostWorkPs(1));
  result.Add("host_overhead_us_per_message", work_ps / 1e6 / static_cast<double>(sent_));
  window_.AddMetrics(&result);
  if (!options_.tcp) {
    result.Add("sent", static_cast<double>(sent_));
    result.Add("lost", static_cast<double>(sent_) - rounds);
  }
  return result;
}

ScenarioResult RunPing(const Profile& profile, const ScenarioArguments& arguments) {
  Options options;
  options.tcp = arguments.Text("transport") == "tcp";
  options.poll = arguments.Text("completion") == "poll";
  options.bytes = static_cast<uint32_t>(arguments.Count("bytes"));
  options.count = arguments.Count("count");
  options.warm_up = 10;
  options.timeout_ns = static_cast<uint64_t>(arguments.Number("timeout_us") * 1000);
  World world(profile, CommonOptions(arguments));
  Game game(world, options);
  game.Start(world);
  world.Run();
  return game.Result();
}

}  // namespace

Scenario PingScenario() {
  std::vector<MetricSpec> metrics = {{"rtt_mean_us", "round trip, program to program"},
                                     {"rtt_min_us", "shortest round trip"}};
  Append(&metrics, PercentileMetrics("rtt", "round trips"));
  Append(&metrics, {{"host_overhead_us_per_message",
                     "work of the client's processor a round trip: one message each way"},
                    {"sent", "udp: messages sent"},
                    {"lost", "udp: messages without an answer in time"}});
  Append(&metrics, WindowMetrics({"client", "server"}));
  return {"ping", "round trips of small messages between two hosts (paper Figure 3)",
          WithCommonParameters(
              {OneOf("transport", "tcp", {"tcp", "udp"}),
               Bytes("bytes", 1, 1, kReceiveBytes, "bytes a message"),
               Whole("count", 200, 1, 10000000, "round trips"),
               OneOf("completion", "poll", {"poll", "wait"}),
               Real("timeout_us", "100000", 1, 1e8, "udp: after which an answer counts as lost")}),
          std::move(metrics), RunPing};
}

}  // namespace qpip::sim

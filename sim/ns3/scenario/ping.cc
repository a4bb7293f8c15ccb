// Round trips: the paper's application-to-application latency of a 1-byte message (Figure 3).
#include <algorithm>
#include <vector>

#include "sim/ns3/scenario/scenarios.h"

namespace qpip::sim {
namespace {

constexpr uint32_t kReceives = 8;
constexpr uint32_t kReceiveBytes = 16384;  // roomy, so that the window is never in the way
constexpr uint32_t kSignalEvery = 16;
constexpr uint16_t kPort = 7;

struct Options {
  bool tcp = true;
  bool poll = true;
  uint32_t bytes = 1;
  uint64_t count = 0;
  uint64_t warm_up = 0;
};

/// One side of the game.
class Player {
 public:
  Player(Host& host, const Options& options) : options_(options) {
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
  void PostReceive() { Check(qp_->PostRecv(0, memory_->Sge(kReceiveBytes, kReceiveBytes))); }
  void Send(const Endpoint& to) {
    const int flags = ++sent_ % kSignalEvery == 0 ? IBV_SEND_SIGNALED : 0;
    const ibv_sge sge = memory_->Sge(0, options_.bytes);
    Check(options_.tcp ? qp_->PostSend(0, sge, flags) : qp_->PostSendTo(0, sge, to, flags));
  }
  void Receive() {
    for (;;) {
      WorkCompletion wc;
      const size_t found = options_.poll ? cq_->Poll({&wc, 1}) : cq_->Wait({&wc, 1});
      if (found == 0) continue;
      if (wc.status != IBV_WC_SUCCESS)
        throw Error(EIO, std::string("ping: ") + ToString(wc.status));
      if (wc.opcode == IBV_WC_RECV) return;
    }
  }

 private:
  static void Check(int error) {
    if (error != 0) throw Error(error, "ping: a post failed");
  }
  const Options options_;
  std::unique_ptr<CompletionQueue> cq_;
  std::unique_ptr<MemoryRegion> memory_;
  std::unique_ptr<QueuePair> qp_;
  uint32_t sent_ = 0;
};

ScenarioResult Run(const Profile& profile, const ScenarioArguments& arguments) {
  Options options;
  options.tcp = arguments.Text("transport") != "udp";
  options.poll = arguments.Text("completion") != "wait";
  options.bytes = static_cast<uint32_t>(arguments.Count("bytes", 1, kReceiveBytes));
  options.count = arguments.Count("count", 1, 10000000);
  options.warm_up = 10;
  World world(profile, CommonOptions(arguments));
  Host& server = world.host(0);
  Host& client = world.host(1);
  Player ponger(server, options);
  Player pinger(client, options);
  const Endpoint server_at{server.address(), kPort};
  const Endpoint client_at{client.address(), kPort};
  std::unique_ptr<Listener> listener;
  if (options.tcp) {
    listener = server.nic->Listen(kPort);
    listener->Offer(ponger.qp());
    pinger.qp().Connect(server_at);
    listener->Accept();
  } else {
    ponger.qp().Bind(kPort);
    pinger.qp().Bind(kPort);
  }
  const uint64_t rounds = options.count + options.warm_up;
  std::vector<double> rtt_us;
  uint64_t start = 0;
  CoreTotals client_before, server_before;
  HostTotals client_host, server_host;
  world.Start("ponger", [&] {
    for (uint64_t i = 0; i < rounds; ++i) {
      ponger.Receive();
      ponger.Send(client_at);
      ponger.PostReceive();
    }
  });
  world.Start("pinger", [&] {
    for (uint64_t i = 0; i < rounds; ++i) {
      if (i == options.warm_up) {
        start = HostNowNs();
        client_before = client.device->totals();
        server_before = server.device->totals();
        client_host = client.processor();
        server_host = server.processor();
      }
      const uint64_t begin = HostNowNs();
      pinger.Send(server_at);
      pinger.PostReceive();
      pinger.Receive();
      if (i >= options.warm_up) {
        rtt_us.push_back(static_cast<double>(HostNowNs() - begin) / 1000.0);
      }
    }
  });
  world.Run();
  const uint64_t end = NowNs();
  ScenarioResult result;
  std::vector<double> sorted = rtt_us;
  std::sort(sorted.begin(), sorted.end());
  double sum = 0;
  for (const double rtt : rtt_us) sum += rtt;
  result.Add("rtt_mean_us", sum / static_cast<double>(rtt_us.size()));
  result.Add("rtt_median_us", sorted[sorted.size() / 2]);
  result.Add("rtt_min_us", sorted.front());
  result.Add("rtt_max_us", sorted.back());
  const uint64_t work_ps = HostWorkPs(client, client.device->totals(), client.processor()) -
                           HostWorkPs(client, client_before, client_host);
  // A round trip is a message sent and one received at this host.
  result.Add("host_overhead_us_per_message",
             static_cast<double>(work_ps) / 1e6 / static_cast<double>(rtt_us.size()));
  AddUtilisation(&result, "client", client, client_before, client_host, start, end);
  AddUtilisation(&result, "server", server, server_before, server_host, start, end);
  return result;
}

}  // namespace

Scenario PingScenario() {
  return {"ping", "round trips of small messages between two hosts (paper Figure 3)",
          WithCommonParameters({{"transport", "tcp", "tcp or udp"},
                                {"bytes", "1", "bytes a message"},
                                {"count", "200", "round trips"},
                                {"completion", "poll", "poll or wait"}}),
          Run};
}

}  // namespace qpip::sim

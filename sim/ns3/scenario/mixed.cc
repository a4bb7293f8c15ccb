// Bulk transfers, round trips and datagrams side by side: what each does to the others.
//
// Every host sends bulk to its neighbour. Meanwhile the first host plays small round trips over TCP
// with the one in the middle, and the second sends datagrams at a steady pace to the last.
#include "sim/ns3/scenario/traffic.h"

namespace qpip::sim {
namespace {

constexpr uint16_t kPingPort = 7;
constexpr uint16_t kUdpPort = 9;
constexpr uint32_t kSlots = 16;
constexpr auto kQuiet = std::chrono::milliseconds(2);  // after which no datagram is on its way

/// A queue pair with memory and a completion queue of its own.
struct Side {
  Side(Host& host, QpType type, uint32_t bytes) : message_bytes(bytes) {
    cq = host.nic->CreateCq(4 * kSlots);
    QpOptions options;
    options.type = type;
    options.send_cq = options.recv_cq = cq.get();
    options.send_depth = options.recv_depth = kSlots;
    options.max_send_sge = options.max_recv_sge = 1;
    options.max_inline = 0;
    memory = host.pd->Allocate(2 * bytes);
    qp = host.nic->CreateQp(*host.pd, options);
    for (uint32_t i = 0; i < kSlots; ++i) PostReceive();
  }
  void PostReceive() { RequirePosted(qp->PostRecv(0, memory->Sge(message_bytes, message_bytes))); }
  ibv_sge message() const { return memory->Sge(0, message_bytes); }
  /// Looks until a message has been received; false when the run shall end.
  bool Receive() {
    while (!StopRequested()) {
      WorkCompletion wc;
      if (cq->Poll({&wc, 1}) == 0) continue;
      if (wc.status != IBV_WC_SUCCESS)
        throw Error(EIO, std::string("mixed: ") + ToString(wc.status));
      if (wc.opcode == IBV_WC_RECV) return true;
    }
    return false;
  }

  const uint32_t message_bytes;
  std::unique_ptr<CompletionQueue> cq;
  std::unique_ptr<MemoryRegion> memory;
  std::unique_ptr<QueuePair> qp;
};

/// Round trips over TCP, as long as they last or the bulk does.
class RoundTrips {
 public:
  RoundTrips(World& world, uint64_t count, uint32_t bytes)
      : world_(world), count_(count), bytes_(bytes) {}

  void Start(Traffic& traffic) {
    world_.Start("ponger", [this, &traffic] {
      Host& host = world_.host(world_.hosts().size() / 2);
      server_ = std::make_unique<Side>(host, QpType::kTcp, bytes_);
      listener_ = host.nic->Listen(kPingPort);
      listener_->Offer(*server_->qp);
      listening_.Arrive();
      traffic.connected().Arrive();
      for (uint64_t i = 0; i < count_; ++i) {
        if (!server_->Receive()) return;
        server_->PostReceive();
        RequirePosted(server_->qp->PostSend(0, server_->message()));
      }
    });
    world_.Start("pinger", [this, &traffic] {
      client_ = std::make_unique<Side>(world_.host(0), QpType::kTcp, bytes_);
      listening_.Arrive();
      client_->qp->Connect({world_.host(world_.hosts().size() / 2).address(), kPingPort});
      traffic.connected().Arrive();
      for (uint64_t i = 0; i < count_ && Play(traffic); ++i) {
      }
    });
  }

  void AddMetrics(ScenarioResult* result) {
    result->Add("round_trips_under_load", static_cast<double>(loaded_us_.size()));
    AddPercentiles("loaded_rtt", &loaded_us_, result);
    AddPercentiles("idle_rtt", &idle_us_, result);
  }

 private:
  /// False when the run shall end.
  bool Play(const Traffic& traffic) {
    const uint64_t begin = HostNowNs();
    RequirePosted(client_->qp->PostSend(0, client_->message()));
    if (!client_->Receive()) return false;
    client_->PostReceive();
    const auto us = static_cast<float>(HostNowNs() - begin) / 1000;
    (traffic.done() ? idle_us_ : loaded_us_).push_back(us);
    return true;
  }

  World& world_;
  const uint64_t count_;
  const uint32_t bytes_;
  Barrier listening_{2};
  std::unique_ptr<Side> server_;
  std::unique_ptr<Side> client_;
  std::unique_ptr<Listener> listener_;
  std::vector<float> loaded_us_;
  std::vector<float> idle_us_;
};

/// Datagrams at a steady pace.
class Datagrams {
 public:
  Datagrams(World& world, uint64_t count, uint32_t bytes, uint64_t interval_ns)
      : world_(world), count_(count), bytes_(bytes), interval_ns_(interval_ns) {}

  void Start(Traffic& traffic) {
    world_.Start("datagram receiver", [this, &traffic] {
      receiver_ =
          std::make_unique<Side>(world_.host(world_.hosts().size() - 1), QpType::kUdp, bytes_);
      receiver_->qp->Bind(kUdpPort);
      traffic.connected().Arrive();
      Receive();
    });
    world_.Start("datagram sender", [this, &traffic] {
      sender_ = std::make_unique<Side>(world_.host(1), QpType::kUdp, bytes_);
      sender_->qp->Bind(kUdpPort);
      traffic.connected().Arrive();
      Send();
    });
  }

  void AddMetrics(ScenarioResult* result) const {
    result->Add("datagrams_sent", static_cast<double>(sent_));
    result->Add("datagrams_received", static_cast<double>(received_));
    result->Add("datagrams_not_posted", static_cast<double>(count_ - sent_));
  }

 private:
  void Send() {
    const Endpoint to{world_.host(world_.hosts().size() - 1).address(), kUdpPort};
    WorkCompletion room[kSlots];
    uint64_t next_ns = HostNowNs();
    for (uint64_t i = 0; i < count_ && !StopRequested(); ++i) {
      // A full queue is the pace's fault, not an error: the datagram is not sent.
      if (sender_->qp->PostSendTo(0, sender_->message(), to) == 0) ++sent_;
      next_ns += interval_ns_;
      for (uint64_t now = HostNowNs(); now < next_ns; now = HostNowNs()) {
        (void)sender_->cq->Wait(room, std::chrono::nanoseconds(next_ns - now));
      }
    }
    sender_done_ = true;
  }
  void Receive() {
    WorkCompletion room[kSlots];
    for (;;) {
      const size_t found = receiver_->cq->Wait(room, kQuiet);
      if (found == 0 && sender_done_) return;
      for (size_t i = 0; i < found; ++i) {
        if (room[i].opcode == IBV_WC_RECV) receiver_->PostReceive();
      }
      received_ += found;
    }
  }

  World& world_;
  const uint64_t count_;
  const uint32_t bytes_;
  const uint64_t interval_ns_;
  std::unique_ptr<Side> sender_;
  std::unique_ptr<Side> receiver_;
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
  bool sender_done_ = false;
};

ScenarioResult RunMixed(const Profile& profile, const ScenarioArguments& arguments) {
  WorldOptions world_options = CommonOptions(arguments);
  world_options.nics = static_cast<uint32_t>(arguments.Count("nics"));
  const TrafficOptions options = TrafficArguments(arguments);
  const uint64_t pings = arguments.Count("pings");
  const auto ping_bytes = static_cast<uint32_t>(arguments.Count("ping_bytes"));
  const uint64_t datagrams = arguments.Count("datagrams");
  const auto datagram_bytes = static_cast<uint32_t>(arguments.Count("datagram_bytes"));
  const auto interval_ns = static_cast<uint64_t>(arguments.Number("interval_us") * 1000);
  std::vector<Flow> flows;
  for (uint32_t i = 0; i < world_options.nics; ++i) {
    flows.push_back({i, (i + 1) % world_options.nics});
  }
  Traffic::Fit(flows, options, &world_options);
  world_options.queue_pairs += 2;
  world_options.completion_queues += 2;
  world_options.regions += 2;
  world_options.send_depth_log2 = std::max(world_options.send_depth_log2, 4u);
  World world(profile, world_options);
  Traffic traffic(world, flows, options);
  RoundTrips round_trips(world, pings, ping_bytes);
  Datagrams udp(world, datagrams, datagram_bytes, interval_ns);
  traffic.ExpectPartners(4);
  traffic.Start();
  round_trips.Start(traffic);
  udp.Start(traffic);
  world.Run();
  ScenarioResult result;
  traffic.AddMetrics(&result);
  round_trips.AddMetrics(&result);
  udp.AddMetrics(&result);
  return result;
}

}  // namespace

Scenario MixedScenario() {
  std::vector<MetricSpec> metrics = TrafficMetrics();
  Append(&metrics, {{"round_trips_under_load", "round trips while bulk messages were under way"}});
  Append(&metrics, PercentileMetrics("loaded_rtt", "round trips under load"));
  Append(&metrics, PercentileMetrics("idle_rtt", "round trips behind the bulk transfers"));
  Append(&metrics, {{"datagrams_sent", "datagrams that were posted"},
                    {"datagrams_received", "datagrams that arrived"},
                    {"datagrams_not_posted", "datagrams for which the send queue had no room"}});
  return {
      "mixed", "bulk transfers, round trips and datagrams side by side",
      TrafficParameters(
          {Whole("nics", 8, 4, 65536, "hosts, 4 at least; each sends bulk to the next"),
           Bytes("message", 16384, 1, 1u << 24, "bytes of a bulk message"),
           Whole("messages", 64, 1, 1u << 24, "bulk messages of each host"),
           Whole("depth", 4, 1, 128, "bulk messages outstanding"),
           Whole("pings", 200, 1, 10000000, "round trips, first host and the one in the middle"),
           Bytes("ping_bytes", 1, 1, 1024, "bytes of a round trip's message"),
           Whole("datagrams", 100, 1, 10000000, "datagrams, second host to last"),
           Bytes("datagram_bytes", 64, 1, 1024, "bytes of a datagram"),
           Real("interval_us", "500", 0.001, 1e6, "between two datagrams")}),
      std::move(metrics), RunMixed};
}

}  // namespace qpip::sim

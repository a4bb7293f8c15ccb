// RDMA: Writes, Reads and Sends of one host to another, so many under way at once.
#include <algorithm>
#include <string>
#include <vector>

#include "qpip/rdma.h"
#include "sim/ns3/scenario/scenarios.h"
#include "sim/ns3/scenario/window.h"

namespace qpip::sim {
namespace {

constexpr uint16_t kRdmaPort = 4791;
constexpr int kForPeers = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
/// Both sides' queue pair, the connection's carrier, and those that wait for more.
constexpr uint32_t kQueuePairs = 8;
constexpr uint32_t kMessageRoom = 4096;  ///< a receive at least

struct RdmaRunOptions {
  ibv_wr_opcode opcode = IBV_WR_SEND;
  uint32_t bytes = 0;
  uint64_t count = 0;
  uint64_t warm_up = 0;
  uint32_t depth = 1;
  bool poll = true;
  bool crc = true;
};

/// A host's queue pair and memory.
struct RdmaSide {
  RdmaSide(Host& host, const RdmaRunOptions& options) : cq(host.nic->CreateCq(1024)) {
    memory = host.pd->Allocate(std::max(options.bytes, kMessageRoom), kForPeers);
    QpOptions qp_options;
    qp_options.framing = Framing::kMpa;
    qp_options.send_cq = qp_options.recv_cq = cq.get();
    qp_options.send_depth = qp_options.recv_depth = 128;
    qp_options.receive_reservation = kReservation;
    qp = host.nic->CreateQp(*host.pd, qp_options);
  }
  size_t Take(std::vector<WorkCompletion>& room, bool poll) const {
    const size_t found = poll ? cq->Poll(room) : cq->Wait(room);
    for (size_t i = 0; i < found; ++i) {
      if (room[i].status != IBV_WC_SUCCESS) throw Error(EIO, "rdma: " + Describe(room[i]));
    }
    return found;
  }

  static constexpr uint32_t kReservation = 256u << 10;
  std::unique_ptr<CompletionQueue> cq;
  std::unique_ptr<MemoryRegion> memory;
  std::unique_ptr<QueuePair> qp;
};

class Exchange {
 public:
  Exchange(World& world, const RdmaRunOptions& options)
      : options_(options),
        window_(world),
        server_(world.host(0), options),
        client_(world.host(1), options) {
    window_.Name(0, "responder");
    window_.Name(1, "requester");
    if (sends()) {
      for (uint32_t i = 0; i < 2 * options.depth; ++i) PostReceive();
    }
    Connect(world);
  }

  void Start(World& world) {
    world.Start("requester", [this] { Request(); });
    // Of Writes and Reads the responder's program sees nothing.
    if (sends()) world.Start("responder", [this] { Receive(); });
  }
  ScenarioResult Result();

 private:
  bool sends() const { return options_.opcode == IBV_WR_SEND; }
  uint64_t rounds() const { return options_.count + options_.warm_up; }
  void PostReceive() {
    RequirePosted(server_.qp->PostRecv(0, server_.memory->Sge(0, options_.bytes)));
  }

  void Connect(World& world) {
    RdmaParameters parameters;
    parameters.crc = options_.crc;
    RdmaListener listener(*world.host(0).nic, kRdmaPort,
                          {.backlog = 1, .receive_reservation = RdmaSide::kReservation});
    RdmaConnector connector(*world.host(1).nic, {world.host(0).address(), kRdmaPort}, parameters, 0,
                            RdmaSide::kReservation);
    std::unique_ptr<RdmaRequest> request;
    // By turns: the request leaves when the connector is asked how far it is.
    while (request == nullptr) {
      if (connector.Poll() == RdmaConnector::State::kFailed) throw connector.error();
      request = listener.Next(std::chrono::milliseconds(1));
    }
    request->Accept(*server_.qp, parameters);
    if (connector.Wait() != RdmaConnector::State::kAccepted) throw connector.error();
    connector.Establish(*client_.qp);
  }

  void Post(uint64_t number) {
    ibv_sge element = client_.memory->Sge(0, options_.bytes);
    ibv_send_wr wr{};
    wr.wr_id = number;
    wr.opcode = options_.opcode;
    wr.sg_list = &element;
    wr.num_sge = 1;
    wr.send_flags = IBV_SEND_SIGNALED;
    wr.wr.rdma = {reinterpret_cast<uintptr_t>(server_.memory->data()), server_.memory->rkey()};
    posted_at_ns_[number % posted_at_ns_.size()] = HostNowNs();
    RequirePosted(client_.qp->PostSend(&wr));
  }

  void Request() {
    std::vector<WorkCompletion> room(16);
    uint64_t posted = 0;
    if (options_.warm_up == 0) window_.Begin();
    while (done_ < rounds() && !StopRequested()) {
      // A Send needs a receive, of which there are twice as many as may be under way; those that
      // are not back yet are waited for.
      const uint64_t most = sends() ? std::min(rounds(), received_ + 2 * options_.depth) : rounds();
      for (; posted < most && posted - done_ < options_.depth; ++posted) Post(posted);
      // Nothing comes where nothing is under way: time passes until there are receives again.
      const size_t found = client_.Take(room, options_.poll || posted == done_);
      for (size_t i = 0; i < found; ++i) {
        const uint64_t number = room[i].wr_id;
        const uint64_t began = posted_at_ns_[number % posted_at_ns_.size()];
        if (number >= options_.warm_up) {
          completion_us_.push_back(static_cast<double>(HostNowNs() - began) / 1000);
        }
        done_ = number + 1;
        if (done_ == options_.warm_up) window_.Begin();
      }
    }
    window_.End();
    over_ = true;
  }

  void Receive() {
    std::vector<WorkCompletion> room(16);
    while (received_ < rounds() && !over_ && !StopRequested()) {
      const size_t found = server_.Take(room, options_.poll);
      for (size_t i = 0; i < found; ++i) PostReceive();
      received_ += found;
    }
  }

  const RdmaRunOptions options_;
  MeasuredWindow window_;
  RdmaSide server_;
  RdmaSide client_;
  std::vector<uint64_t> posted_at_ns_ = std::vector<uint64_t>(128);
  std::vector<double> completion_us_;
  uint64_t done_ = 0;
  uint64_t received_ = 0;
  bool over_ = false;
};

ScenarioResult Exchange::Result() {
  if (completion_us_.empty()) RequireNotStopped();
  ScenarioResult result;
  const auto messages = static_cast<double>(completion_us_.size());
  result.Add("throughput_MB_per_s", messages * options_.bytes / window_.us());
  result.Add("us_per_message", window_.us() / messages);
  AddPercentiles("completion", &completion_us_, &result);
  for (const size_t host : {size_t{0}, size_t{1}}) {
    result.Add(host == 0 ? "responder_work_us_per_message" : "requester_work_us_per_message",
               static_cast<double>(window_.HostWorkPs(host)) / 1e6 / messages);
  }
  window_.AddMetrics(&result);
  return result;
}

template <ibv_wr_opcode kOpcode>
ScenarioResult RunRdma(const Profile& profile, const ScenarioArguments& arguments) {
  RdmaRunOptions options;
  options.opcode = kOpcode;
  options.bytes = static_cast<uint32_t>(arguments.Count("bytes"));
  options.count = arguments.Count("count");
  options.warm_up = arguments.Count("warm_up");
  options.depth = static_cast<uint32_t>(arguments.Count("depth"));
  options.poll = arguments.Text("completion") == "poll";
  options.crc = arguments.Text("crc") == "on";
  WorldOptions world_options = CommonOptions(arguments);
  world_options.queue_pairs = kQueuePairs;
  world_options.rdma_queue_pairs = kQueuePairs;
  World world(profile, world_options);
  Exchange exchange(world, options);
  exchange.Start(world);
  world.Run();
  return exchange.Result();
}

template <ibv_wr_opcode kOpcode>
Scenario RdmaScenario(const char* name, const char* summary) {
  std::vector<MetricSpec> metrics = {
      {"throughput_MB_per_s", "payload of messages that are complete, in 10^6 bytes a second"},
      {"us_per_message", "duration over messages"}};
  Append(&metrics, PercentileMetrics("completion", "times from a post to its completion"));
  Append(&metrics, {{"responder_work_us_per_message", "work of the responder's processor"},
                    {"requester_work_us_per_message", "work of the requester's processor"}});
  Append(&metrics, WindowMetrics({"requester", "responder"}));
  return {name, summary,
          WithCommonParameters({Bytes("bytes", 4096, 0, 1u << 24, "bytes a message"),
                                Whole("count", 200, 1, 10000000, "messages"),
                                Whole("warm_up", 10, 0, 1000000, "messages before those"),
                                Whole("depth", 16, 1, 32, "messages under way at once"),
                                OneOf("crc", "on", {"on", "off"}),
                                OneOf("completion", "poll", {"poll", "wait"})}),
          std::move(metrics), RunRdma<kOpcode>};
}

}  // namespace

Scenario RdmaWriteScenario() {
  return RdmaScenario<IBV_WR_RDMA_WRITE>("rdma-write",
                                         "RDMA Writes from one host into the memory of another");
}
Scenario RdmaReadScenario() {
  return RdmaScenario<IBV_WR_RDMA_READ>("rdma-read",
                                        "RDMA Reads by one host of the memory of another");
}
Scenario RdmaSendScenario() {
  return RdmaScenario<IBV_WR_SEND>("rdma-send", "RDMA Sends from one host to receives of another");
}

}  // namespace qpip::sim

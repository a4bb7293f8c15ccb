#include "sim/ns3/scenario/traffic.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <unordered_map>

#include "sim/ns3/model/phantom.h"

namespace qpip::sim {
namespace {

constexpr uint32_t kLeastReservation = 4096;
constexpr uint32_t kMostFlowsListed = 4096;
constexpr uint32_t kSampledHosts = 16;  ///< payload=sample: one in so many

uint32_t Log2Ceil(uint32_t value) { return static_cast<uint32_t>(std::bit_width(value - 1)); }

/// The bytes of a message: a sequence of its own for each source, destination and number.
void FillPattern(const Flow& flow, uint64_t number, uint8_t* to, uint32_t bytes) {
  uint64_t state = (uint64_t{flow.source} << 40) ^ (uint64_t{flow.destination} << 16) ^ number;
  for (uint32_t at = 0; at < bytes; at += sizeof(state)) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;  // Knuth's MMIX generator
    const uint64_t word = state ^ (state >> 29);
    std::memcpy(to + at, &word, std::min<size_t>(sizeof(word), bytes - at));
  }
}

}  // namespace

/// All flows of one host.
class HostProgram {
 public:
  HostProgram(Traffic& traffic, Host& host, uint32_t index)
      : traffic_(traffic), options_(traffic.options_), host_(host), index_(index) {}

  void AddOutgoing(uint32_t flow) { outgoing_.push_back({.flow = flow}); }
  void AddIncoming() { incoming_.emplace_back(); }

  void Run() {
    Prepare();
    traffic_.listening_->Arrive();
    Connect();
    traffic_.connected_->Arrive();
    traffic_.window_.Begin();
    for (uint32_t i = 0; i < outgoing_.size(); ++i) PostSends(i);
    std::vector<WorkCompletion> room(32);
    while (unfinished_ != 0 && !StopRequested()) {
      const size_t found = cq_->Poll(room);
      for (size_t i = 0; i < found; ++i) Handle(room[i]);
    }
  }

 private:
  struct Outgoing {
    uint32_t flow = 0;
    std::unique_ptr<QueuePair> qp = nullptr;
    std::vector<uint64_t> posted_ns = {};  ///< by number modulo depth
    uint32_t posted = 0;
    uint32_t done = 0;
  };
  struct Incoming {
    std::unique_ptr<QueuePair> qp;
    uint32_t source = UINT32_MAX;
    uint32_t received = 0;
  };
  static constexpr uint64_t kIncoming = uint64_t{1} << 63;  ///< in a wr_id: of a receive

  void Prepare() {
    const auto flows = static_cast<uint32_t>(outgoing_.size() + incoming_.size());
    unfinished_ = uint64_t{flows} * options_.messages;
    cq_ = host_.nic->CreateCq(std::max(64u, 2 * flows * std::bit_ceil(options_.depth)));
    Allocate(flows);
    listener_ = host_.nic->Listen(kTtcpPort);
    for (uint32_t i = 0; i < incoming_.size(); ++i) {
      incoming_[i].qp = CreateQp(1, options_.depth);
      for (uint32_t slot = 0; slot < options_.depth; ++slot) PostReceive(i, slot);
      listener_->Offer(*incoming_[i].qp);
    }
  }

  /// Without content all messages may share their bytes; with it each outstanding one has its own.
  void Allocate(uint32_t flows) {
    const size_t bytes = options_.message_bytes;
    phantom_ = host_.pd->Register(AllocatePhantom(bytes), bytes, IBV_ACCESS_LOCAL_WRITE);
    for (uint32_t flow = 0; flow < flows; ++flow) {
      if (!HasContent(flow)) continue;
      offsets_.emplace(flow, offsets_.size() * bytes * options_.depth);
    }
    if (offsets_.empty()) return;
    content_ = host_.pd->Allocate(bytes * options_.depth * offsets_.size());
    scratch_.resize(bytes);
  }
  /// `flow` counts the outgoing ones, then the incoming ones.
  bool HasContent(uint32_t flow) const {
    return traffic_.Checks(
        flow < outgoing_.size() ? traffic_.flows_[outgoing_[flow].flow].destination : index_);
  }
  ibv_sge Sge(uint32_t flow, uint32_t slot) const {
    if (!HasContent(flow)) return phantom_->Sge(0, options_.message_bytes);
    return content_->Sge(offsets_.at(flow) + size_t{slot} * options_.message_bytes,
                         options_.message_bytes);
  }
  uint8_t* Content(uint32_t flow, uint32_t slot) const {
    return static_cast<uint8_t*>(content_->data()) + offsets_.at(flow) +
           size_t{slot} * options_.message_bytes;
  }

  std::unique_ptr<QueuePair> CreateQp(uint32_t send_depth, uint32_t recv_depth) {
    QpOptions options;
    options.send_cq = options.recv_cq = cq_.get();
    options.send_depth = send_depth;
    options.recv_depth = recv_depth;
    options.max_send_sge = options.max_recv_sge = 1;
    options.max_inline = 0;
    options.receive_reservation =
        std::min(std::max(recv_depth * options_.message_bytes, kLeastReservation), Reservation());
    return host_.nic->CreateQp(*host_.pd, options);
  }
  uint32_t Reservation() const {
    // Two segments at least, or nothing could be sent while an acknowledgement is on its way.
    return std::min(std::max(options_.depth * options_.message_bytes, 2 * host_.nic->mtu()),
                    host_.device->model().socket_buffer_bytes);
  }

  void Connect() {
    for (Outgoing& out : outgoing_) {
      RequireNotStopped();
      out.posted_ns.resize(options_.depth);
      out.qp = CreateQp(options_.depth, 1);
      const Flow& flow = traffic_.flows_[out.flow];
      out.qp->Connect({traffic_.world_.host(flow.destination).address(), kTtcpPort});
    }
  }

  void PostReceive(uint32_t incoming, uint32_t slot) {
    const auto flow = static_cast<uint32_t>(outgoing_.size()) + incoming;
    const uint64_t id = kIncoming | uint64_t{incoming} << 32 | slot;
    RequirePosted(incoming_[incoming].qp->PostRecv(id, Sge(flow, slot)));
  }

  void PostSends(uint32_t index) {
    Outgoing& out = outgoing_[index];
    for (; out.posted < options_.messages && out.posted - out.done < options_.depth; ++out.posted) {
      const uint32_t slot = out.posted % options_.depth;
      if (HasContent(index)) {
        FillPattern(traffic_.flows_[out.flow], out.posted, Content(index, slot),
                    options_.message_bytes);
      }
      out.posted_ns[slot] = HostNowNs();
      RequirePosted(out.qp->PostSend(index, Sge(index, slot)));
    }
  }

  void Handle(const WorkCompletion& wc) {
    if (wc.status != IBV_WC_SUCCESS) {
      throw Error(EIO, std::string("traffic: ") + ToString(wc.status));
    }
    --unfinished_;
    --traffic_.unfinished_;
    if ((wc.wr_id & kIncoming) != 0) {
      OnReceived(static_cast<uint32_t>(wc.wr_id >> 32 & 0x7fffffff),
                 static_cast<uint32_t>(wc.wr_id), wc.byte_len);
    } else {
      OnSent(static_cast<uint32_t>(wc.wr_id));
    }
  }

  void OnSent(uint32_t index) {
    Outgoing& out = outgoing_[index];
    const uint64_t now = HostNowNs();
    const uint64_t posted = out.posted_ns[out.done % options_.depth];
    traffic_.latencies_us_.push_back(static_cast<float>(now - posted) / 1000);
    ++out.done;
    traffic_.times_[out.flow].messages = out.done;
    PostSends(index);
    if (out.done == options_.messages) traffic_.times_[out.flow].end_ns = now;
    if (traffic_.done()) traffic_.window_.End();
  }

  void OnReceived(uint32_t index, uint32_t slot, uint32_t bytes) {
    Incoming& in = incoming_[index];
    if (bytes != options_.message_bytes) throw Error(EPROTO, "traffic: a message has lost bytes");
    if (traffic_.Checks(index_)) Verify(in, static_cast<uint32_t>(outgoing_.size()) + index, slot);
    ++in.received;
    if (in.received + options_.depth <= options_.messages) PostReceive(index, slot);
  }

  void Verify(Incoming& in, uint32_t flow, uint32_t slot) {
    if (in.source == UINT32_MAX) in.source = SourceOf(*in.qp);
    FillPattern({in.source, index_}, in.received, scratch_.data(), options_.message_bytes);
    if (std::memcmp(scratch_.data(), Content(flow, slot), scratch_.size()) != 0) {
      throw Error(EPROTO, "traffic: host " + std::to_string(index_) +
                              " received other bytes than " + "host " + std::to_string(in.source) +
                              " had sent");
    }
    traffic_.bytes_verified_ += options_.message_bytes;
  }
  uint32_t SourceOf(const QueuePair& qp) const {
    const in6_addr address = qp.peer().address;
    for (uint32_t i = 0; i < traffic_.world_.hosts().size(); ++i) {
      const in6_addr candidate = traffic_.world_.host(i).address();
      if (std::memcmp(&address, &candidate, sizeof(address)) == 0) return i;
    }
    throw Error(EPROTO, "traffic: a connection from nowhere");
  }

  Traffic& traffic_;
  const TrafficOptions& options_;
  Host& host_;
  const uint32_t index_;
  uint64_t unfinished_ = 0;  ///< messages to be acknowledged or received
  std::unique_ptr<CompletionQueue> cq_;
  std::unique_ptr<MemoryRegion> phantom_;
  std::unique_ptr<MemoryRegion> content_;
  std::unordered_map<uint32_t, size_t> offsets_;  ///< in content_, of the flows that have some
  std::unique_ptr<Listener> listener_;
  std::vector<uint8_t> scratch_;
  std::vector<Outgoing> outgoing_;
  std::vector<Incoming> incoming_;
};

// --- Traffic

Traffic::Traffic(World& world, std::vector<Flow> flows, const TrafficOptions& options)
    : world_(world),
      flows_(std::move(flows)),
      options_(options),
      times_(flows_.size()),
      window_(world) {
  for (uint32_t i = 0; i < world.hosts().size(); ++i) {
    programs_.push_back(std::make_unique<HostProgram>(*this, world.host(i), i));
  }
  for (uint32_t i = 0; i < flows_.size(); ++i) {
    programs_[flows_[i].source]->AddOutgoing(i);
    programs_[flows_[i].destination]->AddIncoming();
  }
  unfinished_ = 2 * uint64_t{flows_.size()} * options_.messages;
  latencies_us_.reserve(flows_.size() * options_.messages);
}

Traffic::~Traffic() = default;

void Traffic::Fit(const std::vector<Flow>& flows, const TrafficOptions& options,
                  WorldOptions* world) {
  std::vector<uint32_t> queue_pairs(world->nics, 0);
  for (const Flow& flow : flows) {
    ++queue_pairs[flow.source];
    ++queue_pairs[flow.destination];
  }
  world->queue_pairs = std::max(1u, *std::max_element(queue_pairs.begin(), queue_pairs.end()));
  world->completion_queues = 1;
  world->regions = options.check_every == 0 ? 1 : 2;
  world->send_depth_log2 = std::max(1u, Log2Ceil(options.depth));
  world->wqe_cache_bytes = 128;
}

void Traffic::Start() {
  listening_ = std::make_unique<Barrier>(programs_.size());
  connected_ = std::make_unique<Barrier>(programs_.size() + partners_);
  for (uint32_t i = 0; i < programs_.size(); ++i) {
    world_.Start("host " + std::to_string(i), [program = programs_[i].get()] { program->Run(); });
  }
}

void Traffic::AddMetrics(ScenarioResult* result) {
  const uint64_t start_ns = window_.start_ns();
  double bytes = 0;
  std::vector<double> rates;  // MB/s
  uint64_t last_ns = start_ns;
  nlohmann::json listed = nlohmann::json::array();
  for (size_t i = 0; i < flows_.size(); ++i) {
    const FlowTimes& times = times_[i];
    const double flow_bytes = static_cast<double>(options_.message_bytes) * times.messages;
    const uint64_t end_ns = times.end_ns != 0 ? times.end_ns : NowNs();  // it was stopped
    const double us = static_cast<double>(end_ns - start_ns) / 1000;
    rates.push_back(us > 0 ? flow_bytes / us : 0);
    bytes += flow_bytes;
    last_ns = std::max(last_ns, end_ns);
    if (flows_.size() > kMostFlowsListed) continue;
    listed.push_back({{"source", flows_[i].source},
                      {"destination", flows_[i].destination},
                      {"MB_per_s", rates.back()}});
  }
  if (bytes == 0) RequireNotStopped();
  const double sum = std::accumulate(rates.begin(), rates.end(), 0.0);
  const double squares = std::inner_product(rates.begin(), rates.end(), rates.begin(), 0.0);
  const auto count = static_cast<double>(rates.size());
  const double us = static_cast<double>(last_ns - start_ns) / 1000;
  result->Add("flows", count);
  result->Add("bytes", bytes);
  result->Add("throughput_MB_per_s", bytes / us);
  result->Add("flow_min_MB_per_s", *std::min_element(rates.begin(), rates.end()));
  result->Add("flow_mean_MB_per_s", sum / count);
  result->Add("flow_max_MB_per_s", *std::max_element(rates.begin(), rates.end()));
  result->Add("fairness", sum * sum / (count * squares));  // Jain's index
  AddPercentiles("message", &latencies_us_, result);
  if (options_.check_every != 0)
    result->Add("bytes_verified", static_cast<double>(bytes_verified_));
  window_.AddMetrics(result);
  result->details["flows"] = std::move(listed);
}

// --- Shared

ScenarioResult RunTraffic(const Profile& profile, WorldOptions world_options,
                          const std::vector<Flow>& flows, const TrafficOptions& options) {
  Traffic::Fit(flows, options, &world_options);
  World world(profile, world_options);
  Traffic traffic(world, flows, options);
  traffic.Start();
  world.Run();
  ScenarioResult result;
  traffic.AddMetrics(&result);
  return result;
}

std::vector<MetricSpec> TrafficMetrics() {
  std::vector<MetricSpec> out = {
      {"flows", "connections that carry messages"},
      {"bytes", "payload acknowledged, all flows"},
      {"throughput_MB_per_s", "payload acknowledged, all flows, in 10^6 bytes a second"},
      {"flow_min_MB_per_s", "slowest flow, to its own end"},
      {"flow_mean_MB_per_s", "mean of the flows, each to its own end"},
      {"flow_max_MB_per_s", "fastest flow, to its own end"},
      {"fairness", "Jain's index of the flows' rates: 1 when all are equal"}};
  Append(&out, PercentileMetrics("message", "messages, from post to completion"));
  Append(&out, {{"bytes_verified", "payload compared byte by byte (payload=verify or sample)"}});
  Append(&out, WindowMetrics({}));
  return out;
}

std::vector<ScenarioParameter> TrafficParameters(std::vector<ScenarioParameter> own) {
  own.push_back(OneOf("payload", "phantom", {"phantom", "verify", "sample"},
                      "no content, bytes that are checked, or one host in 16 checks what it "
                      "receives"));
  return WithCommonParameters(std::move(own));
}

TrafficOptions TrafficArguments(const ScenarioArguments& arguments) {
  TrafficOptions options;
  options.message_bytes = static_cast<uint32_t>(arguments.Count("message"));
  options.messages = static_cast<uint32_t>(arguments.Count("messages"));
  options.depth = static_cast<uint32_t>(arguments.Count("depth"));
  const std::string& payload = arguments.Text("payload");
  if (payload != "phantom") options.check_every = payload == "verify" ? 1 : kSampledHosts;
  return options;
}

}  // namespace qpip::sim

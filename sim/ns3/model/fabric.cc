#include "sim/ns3/model/fabric.h"

#include <cstring>
#include <deque>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

#include "sim/ns3/model/qpip_net_device.h"
#include "sim/ns3/model/virtual_time.h"

namespace qpip::sim {
namespace {

constexpr uint32_t kSwitch = 1u << 31;  // set in Edge::to when it names a switch
constexpr uint32_t kFar = UINT32_MAX;

uint64_t Mix(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
  return value ^ (value >> 31);
}

LinkOptions CableOptions(const NicModel& model, uint64_t receiver_buffer_bytes) {
  LinkOptions options;
  options.per_byte_ps = model.link_per_byte_ps;
  options.delay_ns = CeilNs(model.link_delay_ps);
  options.overhead_bytes = model.link_overhead_bytes;
  options.receiver_buffer_bytes = receiver_buffer_bytes;
  return options;
}

}  // namespace

// --- Switch

Switch::Switch(uint32_t ports, const SwitchOptions& options) : options_(options), ports_(ports) {
  for (uint32_t i = 0; i < ports; ++i) {
    ports_[i].input.owner = this;
    ports_[i].input.port = i;
  }
}

void Switch::SetOutput(uint32_t port, std::unique_ptr<LinkTransmitter> output) {
  output->set_on_start([this](const Frame& frame, uint64_t, uint64_t end_ns) {
    CreditSink* upstream = ports_[frame.input_port].upstream;
    upstream->ReturnCredit(upstream->WireBytes(frame.length()), end_ns + upstream->delay_ns());
  });
  ports_[port].output = std::move(output);
}

void Switch::Forward(uint32_t port, FramePtr frame, uint64_t tail_ns) {
  const uint8_t to = (*frame->route)[frame->route_step++];
  LinkTransmitter& output = *ports_[to].output;
  if (!Admit(output, *frame)) {
    // It leaves the input buffer as it comes.
    CreditSink& upstream = *ports_[port].upstream;
    upstream.ReturnCredit(upstream.WireBytes(frame->length()), tail_ns + upstream.delay_ns());
    return;
  }
  frame->input_port = port;
  output.Send(std::move(frame), NowNs() + options_.latency_ns, tail_ns + options_.latency_ns);
}

/// Marks the frame or, by answering false, drops it, where too much is before its output.
bool Switch::Admit(const LinkTransmitter& output, Frame& frame) {
  if (options_.mark_bytes == UINT64_MAX && options_.drop_bytes == UINT64_MAX) return true;
  const uint64_t before = output.BytesBefore(NowNs() + options_.latency_ns);
  if (before + output.WireBytes(frame.length()) > options_.drop_bytes) {
    ++dropped;
    return false;
  }
  if (before > options_.mark_bytes && frame.MarkCongestion()) ++marked;
  return true;
}

// --- Fabric

ns3::TypeId QpipFabric::GetTypeId() {
  static ns3::TypeId id = ns3::TypeId("ns3::QpipFabric")
                              .SetParent<ns3::Channel>()
                              .SetGroupName("Qpip")
                              .AddConstructor<QpipFabric>();
  return id;
}

QpipFabric::QpipFabric() = default;
QpipFabric::~QpipFabric() = default;

void QpipFabric::DoDispose() {
  nics_.clear();
  switches_.clear();
  Channel::DoDispose();
}

ns3::Ptr<ns3::NetDevice> QpipFabric::GetDevice(size_t index) const {
  return nics_.at(index).device;
}

uint32_t QpipFabric::AddSwitch(uint32_t ports, const NicModel& model, uint32_t rank) {
  if (ports == 0 || ports > 256) throw std::invalid_argument("a switch has 1 to 256 ports");
  switches_.push_back(std::make_unique<Switch>(
      ports, SwitchOptions{CeilNs(model.switch_latency_ps), model.switch_mark_bytes,
                           model.switch_drop_bytes}));
  switch_edges_.emplace_back();
  switch_ranks_.push_back(rank);
  return switches() - 1;
}

uint32_t QpipFabric::AddNic(NicEntry nic) {
  // Before anything is changed.
  if (nic.device != nullptr && nic.device->IsLinkUp()) {
    throw std::logic_error("join a NIC: it is joined already; it has one line");
  }
  const auto index = static_cast<uint32_t>(nics_.size());
  nics_.push_back(std::move(nic));
  nic_edges_.emplace_back();
  return index;
}

void QpipFabric::Connect(ns3::Ptr<QpipNetDevice> nic, uint32_t switch_index, uint32_t port) {
  Switch& fabric_switch = *switches_.at(switch_index);
  if (port >= fabric_switch.ports() || fabric_switch.output(port) != nullptr) {
    throw std::invalid_argument("port " + std::to_string(port) + " of switch " +
                                std::to_string(switch_index) + " does not exist or is taken");
  }
  const NicModel& model = nic->model();
  const uint32_t index = AddNic({nic, {}});
  auto out = std::make_unique<LinkTransmitter>(CableOptions(model, model.switch_buffer_bytes));
  out->Connect(fabric_switch.input(port), port + 1);
  fabric_switch.SetUpstream(port, out.get());
  auto back = std::make_unique<LinkTransmitter>(CableOptions(model, model.receive_bytes));
  back->Connect(nic->receiver(), 1);
  CreditSink* credits = back.get();
  fabric_switch.SetOutput(port, std::move(back));
  nic->AttachToFabric(this, index, std::move(out), credits);
  nic_edges_[index].push_back({kSwitch | switch_index, 0});
  switch_edges_[switch_index].push_back({index, static_cast<uint8_t>(port)});
}

void QpipFabric::Connect(ns3::Ptr<QpipNetDevice> a, ns3::Ptr<QpipNetDevice> b) {
  if (a == b || b->IsLinkUp()) {
    throw std::logic_error("join two NICs with a cable: they must be two, and joined to nothing");
  }
  const uint32_t index_a = AddNic({a, {}});
  const uint32_t index_b = AddNic({b, {}});
  auto a_to_b =
      std::make_unique<LinkTransmitter>(CableOptions(a->model(), b->model().receive_bytes));
  auto b_to_a =
      std::make_unique<LinkTransmitter>(CableOptions(b->model(), a->model().receive_bytes));
  a_to_b->Connect(b->receiver(), 1);
  b_to_a->Connect(a->receiver(), 1);
  CreditSink* credits_a = a_to_b.get();
  CreditSink* credits_b = b_to_a.get();
  a->AttachToFabric(this, index_a, std::move(a_to_b), credits_b);
  b->AttachToFabric(this, index_b, std::move(b_to_a), credits_a);
  nic_edges_[index_a].push_back({index_b, 0});
  nic_edges_[index_b].push_back({index_a, 0});
}

void QpipFabric::ConnectRemote(const abi::Ip6Address& address, uint32_t switch_index,
                               uint32_t port) {
  const uint32_t index = AddNic({nullptr, address});
  nic_edges_[index].push_back({kSwitch | switch_index, 0});
  switch_edges_[switch_index].push_back({index, static_cast<uint8_t>(port)});
}

void QpipFabric::Connect(uint32_t switch_a, uint32_t port_a, uint32_t switch_b, uint32_t port_b,
                         const NicModel& model) {
  ConnectOneWay(switch_a, port_a, switch_b, port_b, model);
  ConnectOneWay(switch_b, port_b, switch_a, port_a, model);
}

void QpipFabric::ConnectOneWay(uint32_t from, uint32_t from_port, uint32_t to, uint32_t to_port,
                               const NicModel& model) {
  switch_edges_[from].push_back({kSwitch | to, static_cast<uint8_t>(from_port)});
  const uint32_t cable = cables_++;
  const bool from_here = switch_ranks_[from] == rank_;
  const bool to_here = switch_ranks_[to] == rank_;
  const LinkOptions options = CableOptions(model, model.switch_buffer_bytes);
  const uint32_t phase = to_port + 1;
  if (from_here) {
    auto link = std::make_unique<LinkTransmitter>(options);
    if (to_here) {
      link->Connect(switches_[to]->input(to_port), phase);
      switches_[to]->SetUpstream(to_port, link.get());
    } else {
      cut_cables_->AddOutgoing(cable, link.get(), switch_ranks_[to], phase);
    }
    switches_[from]->SetOutput(from_port, std::move(link));
  } else if (to_here) {
    switches_[to]->SetUpstream(
        to_port, cut_cables_->AddIncoming(cable, switches_[to]->input(to_port), switch_ranks_[from],
                                          options.delay_ns, options.overhead_bytes));
  }
}

/// Addresses may be given after the cables: looked up when they are first needed.
void QpipFabric::Index() {
  by_address_.clear();
  for (uint32_t i = 0; i < nics_.size(); ++i) {
    Key key;
    const abi::Ip6Address address =
        nics_[i].device != nullptr ? nics_[i].device->address() : nics_[i].address;
    std::memcpy(&key.first, address.bytes, 8);
    std::memcpy(&key.second, address.bytes + 8, 8);
    if (!by_address_.emplace(key, i).second) {
      std::ostringstream message;
      uint8_t bytes[16];
      std::memcpy(bytes, address.bytes, sizeof(bytes));
      message << "two NICs of a fabric have the address " << ns3::Ipv6Address(bytes);
      throw std::invalid_argument(message.str());
    }
  }
}

void QpipFabric::RequireDistinctAddresses() {
  if (by_address_.size() != nics_.size()) Index();
}

const std::vector<uint8_t>* QpipFabric::Route(uint32_t source, const uint8_t* destination) {
  Key key;
  std::memcpy(&key.first, destination, 8);
  std::memcpy(&key.second, destination + 8, 8);
  RequireDistinctAddresses();
  const auto found = by_address_.find(key);
  if (found == by_address_.end() || found->second == source) return nullptr;
  const uint64_t pair = (uint64_t{source} << 32) | found->second;
  const auto known = routes_.find(pair);
  if (known != routes_.end()) return &known->second;
  std::vector<uint8_t> route;
  if (!FindRoute(source, found->second, &route)) return nullptr;
  return &(routes_[pair] = std::move(route));
}

/// Hops from every switch to a NIC: breadth first, backwards (cables go both ways).
std::vector<uint32_t> QpipFabric::DistancesTo(uint32_t nic) const {
  std::vector<uint32_t> distance(switches_.size(), kFar);
  std::deque<uint32_t> next;
  for (const Edge& edge : nic_edges_[nic]) {
    if ((edge.to & kSwitch) == 0) continue;
    distance[edge.to & ~kSwitch] = 1;
    next.push_back(edge.to & ~kSwitch);
  }
  while (!next.empty()) {
    const uint32_t at = next.front();
    next.pop_front();
    for (const Edge& edge : switch_edges_[at]) {
      if ((edge.to & kSwitch) == 0) continue;
      const uint32_t neighbour = edge.to & ~kSwitch;
      if (distance[neighbour] != kFar) continue;
      distance[neighbour] = distance[at] + 1;
      next.push_back(neighbour);
    }
  }
  return distance;
}

bool QpipFabric::FindRoute(uint32_t source, uint32_t destination, std::vector<uint8_t>* route) {
  const Edge& first = nic_edges_[source].front();
  if ((first.to & kSwitch) == 0) return first.to == destination;  // a cable
  auto cached = distances_.find(destination);
  if (cached == distances_.end()) {
    cached = distances_.emplace(destination, DistancesTo(destination)).first;
  }
  const std::vector<uint32_t>& distance = cached->second;
  uint32_t at = first.to & ~kSwitch;
  uint64_t choice = Mix((uint64_t{source} << 32) | destination);
  if (distance[at] == kFar) return false;
  while (distance[at] != 1) {
    std::vector<const Edge*> nearer;
    for (const Edge& edge : switch_edges_[at]) {
      if ((edge.to & kSwitch) != 0 && distance[edge.to & ~kSwitch] == distance[at] - 1) {
        nearer.push_back(&edge);
      }
    }
    const Edge* edge = nearer[choice % nearer.size()];
    choice = Mix(choice);
    route->push_back(edge->port);
    at = edge->to & ~kSwitch;
  }
  for (const Edge& edge : switch_edges_[at]) {
    if (edge.to == destination) {
      route->push_back(edge.port);
      return true;
    }
  }
  throw std::logic_error("a NIC's switch does not know it");
}

}  // namespace qpip::sim

#include "sim/ns3/model/qpip_net_device.h"

#include <ns3/log.h>
#include <ns3/pointer.h>
#include <ns3/random-variable-stream.h>
#include <ns3/rng-seed-manager.h>
#include <ns3/string.h>
#include <ns3/trace-source-accessor.h>
#include <ns3/uinteger.h>

#include <algorithm>
#include <cstring>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "protocols/ipv6/header.h"
#include "sim/ns3/model/parameter_attribute.h"
#include "sim/ns3/model/virtual_time.h"

NS_LOG_COMPONENT_DEFINE("QpipNetDevice");

namespace qpip::sim {
namespace {

constexpr uint16_t kEtherTypeIpv6 = 0x86dd;
constexpr uint16_t kLeastMtu = 1280;  // RFC 8200, section 5

NS_OBJECT_ENSURE_REGISTERED(QpipNetDevice);
NS_OBJECT_ENSURE_REGISTERED(QpipFabric);

using Parameters = std::map<std::string, double>;

Profile LoadProfile(const std::string& expression, const Parameters& parameters) {
  Profile profile = Profile::Load(expression);
  for (const auto& [name, value] : parameters) profile.Set(name, value, "attribute");
  return profile;
}

/// NICs of one profile with the same changes share one model.
std::shared_ptr<const NicModel> SharedModel(const std::string& expression,
                                            const Parameters& parameters) {
  static std::map<std::pair<std::string, Parameters>, std::weak_ptr<const NicModel>> models;
  std::weak_ptr<const NicModel>& shared = models[{expression, parameters}];
  std::shared_ptr<const NicModel> model = shared.lock();
  if (!model) {
    model = std::make_shared<const NicModel>(LoadProfile(expression, parameters));
    shared = model;
  }
  return model;
}

ns3::Ipv6Address Destination(const Frame& frame) {
  uint8_t bytes[16];
  std::memcpy(bytes, frame.header() + ipv6::offset::kDestination, sizeof(bytes));
  return ns3::Ipv6Address(bytes);
}

}  // namespace

ns3::TypeId QpipNetDevice::GetTypeId() {
  static ns3::TypeId id = AddParameterAttributes(
      ns3::TypeId("ns3::QpipNetDevice")
          .SetParent<ns3::NetDevice>()
          .SetGroupName("Qpip")
          .AddConstructor<QpipNetDevice>()
          .AddAttribute(
              "Profile", "What the NIC and its host cost: a profile's name or file.",
              ns3::StringValue("lanai9-hardware-checksum"),
              ns3::MakeStringAccessor(&QpipNetDevice::SetProfile, &QpipNetDevice::GetProfile),
              MakeProfileChecker())
          .AddAttribute(
              "Ipv6Address", "The NIC's address.",
              ns3::Ipv6AddressValue(ns3::Ipv6Address::GetAny()),
              ns3::MakeIpv6AddressAccessor(&QpipNetDevice::SetIpv6, &QpipNetDevice::GetIpv6),
              ns3::MakeIpv6AddressChecker())
          .AddAttribute("MaxQueuePairs", "Queue pairs of the NIC.", ns3::UintegerValue(64),
                        ns3::MakeUintegerAccessor(&QpipNetDevice::max_queue_pairs),
                        ns3::MakeUintegerChecker<uint32_t>(1, 1u << 20))
          .AddAttribute("SendDepthLog2", "Largest send queue, as a power of two.",
                        ns3::UintegerValue(7),
                        ns3::MakeUintegerAccessor(&QpipNetDevice::send_depth_log2),
                        ns3::MakeUintegerChecker<uint32_t>(0, 15))
          .AddAttribute("Mtu", "Bytes of the largest packet, if the profile's is not smaller.",
                        ns3::UintegerValue(65535),
                        ns3::MakeUintegerAccessor(&QpipNetDevice::SetMtu, &QpipNetDevice::GetMtu),
                        ns3::MakeUintegerChecker<uint16_t>(kLeastMtu))
          .AddAttribute("SendErrorModel", "Loses frames on their way out.", ns3::PointerValue(),
                        ns3::MakePointerAccessor(&QpipNetDevice::send_errors_),
                        ns3::MakePointerChecker<ns3::ErrorModel>())
          .AddAttribute("CorruptionModel", "Flips a bit of frames on their way in.",
                        ns3::PointerValue(), ns3::MakePointerAccessor(&QpipNetDevice::corruption_),
                        ns3::MakePointerChecker<ns3::ErrorModel>())
          .AddTraceSource("MacTx", "A packet handed to the link.",
                          ns3::MakeTraceSourceAccessor(&QpipNetDevice::sent_trace_),
                          "ns3::Packet::TracedCallback")
          .AddTraceSource("MacRx", "A packet received from the link.",
                          ns3::MakeTraceSourceAccessor(&QpipNetDevice::received_trace_),
                          "ns3::Packet::TracedCallback")
          .AddTraceSource("Sniffer", "Packets of both directions, for pcap files.",
                          ns3::MakeTraceSourceAccessor(&QpipNetDevice::sniffer_trace_),
                          "ns3::Packet::TracedCallback")
          // These are to be connected before the NIC is opened.
          .AddTraceSource("CoreStage", "What the NIC's core is busy with.",
                          ns3::MakeTraceSourceAccessor(&QpipNetDevice::core_stage_trace_),
                          "qpip::sim::CoreStageTracedCallback")
          .AddTraceSource("TcpState", "A connection changes its state.",
                          ns3::MakeTraceSourceAccessor(&QpipNetDevice::tcp_state_trace_),
                          "qpip::sim::TcpStateTracedCallback")
          .AddTraceSource("CongestionWindow", "A connection's congestion window changes, in bytes.",
                          ns3::MakeTraceSourceAccessor(&QpipNetDevice::congestion_window_trace_),
                          "qpip::sim::CongestionWindowTracedCallback")
          .AddTraceSource("RoundTripTime", "A connection's smoothed round trip time changes.",
                          ns3::MakeTraceSourceAccessor(&QpipNetDevice::round_trip_time_trace_),
                          "qpip::sim::RoundTripTimeTracedCallback")
          .AddTraceSource("Completion", "A work request has completed.",
                          ns3::MakeTraceSourceAccessor(&QpipNetDevice::completion_trace_),
                          "qpip::sim::CompletionTracedCallback")
          .AddTraceSource("Drop", "A received packet is dropped, and why.",
                          ns3::MakeTraceSourceAccessor(&QpipNetDevice::drop_trace_),
                          "qpip::sim::DropTracedCallback"));
  return id;
}

QpipNetDevice::QpipNetDevice() : hardware_(ns3::Mac48Address::Allocate()) {}
QpipNetDevice::~QpipNetDevice() = default;

void QpipNetDevice::DoDispose() {
  if (core_) core_->Detach();
  out_.reset();
  credits_ = nullptr;
  fabric_ = nullptr;
  lower_ = nullptr;
  node_ = nullptr;
  send_errors_ = nullptr;
  corruption_ = nullptr;
  NetDevice::DoDispose();
}

void QpipNetDevice::SetProfile(const std::string& expression) {
  profile_ = expression;
  model_given_ = false;
  model_.reset();  // loaded when first needed: attribute defaults are set before any is
}

void QpipNetDevice::SetModel(std::shared_ptr<const NicModel> model, const std::string& name) {
  profile_ = name;
  model_given_ = true;
  model_ = std::move(model);
}

const NicModel& QpipNetDevice::model() const {
  if (!model_) const_cast<QpipNetDevice*>(this)->model_ = SharedModel(profile_, parameters_);
  return *model_;
}

void QpipNetDevice::SetParameter(const std::string& name, std::optional<double> value) {
  if (!value && parameters_.count(name) == 0) return;
  if (model_given_) {
    throw std::logic_error("change \"" + name + "\": the NIC's model was given as a whole");
  }
  if (IsLinkUp()) {
    throw std::logic_error("change \"" + name + "\": the NIC is joined already; set it before");
  }
  if (value) {
    Profile checked;
    checked.Set(name, *value, "attribute");
    parameters_[name] = *value;
  } else {
    parameters_.erase(name);
  }
  model_.reset();
}

std::optional<double> QpipNetDevice::GetParameter(const std::string& name) const {
  const auto own = parameters_.find(name);
  if (own != parameters_.end()) return own->second;
  const Profile profile = LoadProfile(profile_, parameters_);
  if (!profile.Has(name)) return std::nullopt;
  return profile.Get(name);
}

void QpipNetDevice::SetIpv6(ns3::Ipv6Address address) { address.GetBytes(address_.bytes); }

ns3::Ipv6Address QpipNetDevice::GetIpv6() const {
  uint8_t bytes[16];
  std::memcpy(bytes, address_.bytes, sizeof(bytes));
  return ns3::Ipv6Address(bytes);
}

// --- Joining

void QpipNetDevice::AttachToFabric(QpipFabric* fabric, uint32_t index,
                                   std::unique_ptr<LinkTransmitter> out, CreditSink* credits) {
  RequireUnjoined();
  fabric_ = fabric;
  fabric_index_ = index;
  out_ = std::move(out);
  credits_ = credits;
  out_->set_error_model(send_errors_);
  out_->set_on_start([this](const Frame& frame, uint64_t start_ns, uint64_t end_ns) {
    core_->OnFrameOnLine(frame, start_ns, end_ns);
  });
}

void QpipNetDevice::AttachToDevice(ns3::Ptr<ns3::NetDevice> lower) {
  RequireUnjoined();
  if (node_ == nullptr || lower == nullptr || lower->GetNode() != node_) {
    throw std::logic_error(
        "join a NIC with a device: both must be on one node; call Node::AddDevice first");
  }
  if (!SetMtu(std::min(mtu_limit_, lower->GetMtu()))) {
    throw std::logic_error("join a NIC with a device: its MTU is " +
                           std::to_string(lower->GetMtu()) + ", IPv6 needs 1280 at least");
  }
  lower_ = lower;
  default_neighbour_ = lower->GetBroadcast();
  node_->RegisterProtocolHandler(ns3::MakeCallback(&QpipNetDevice::ReceiveFromDevice, this),
                                 kEtherTypeIpv6, lower, false);
}

void QpipNetDevice::AddNeighbour(ns3::Ipv6Address destination, ns3::Address hardware) {
  neighbours_[destination] = hardware;
}

void QpipNetDevice::SetDefaultNeighbour(ns3::Address hardware) { default_neighbour_ = hardware; }

void QpipNetDevice::RequireUnjoined() const {
  if (IsLinkUp()) throw std::logic_error("join a NIC: it is joined already; it has one line");
}

// --- Use

void QpipNetDevice::EnsureCore() {
  if (core_) return;
  // One stream of randomness a NIC, from ns-3's seed and run and the NIC's address.
  uint64_t seed = (uint64_t{ns3::RngSeedManager::GetSeed()} << 32) ^ ns3::RngSeedManager::GetRun();
  for (const uint8_t byte : address_.bytes) seed = (seed ^ byte) * 0x100000001b3ull;
  core_ = std::make_unique<NicCore>(model(), static_cast<FramePort*>(this), seed);
  Observe();
}

void QpipNetDevice::SetObserver(NicObserver* observer) {
  observer_ = observer;
  if (core_) Observe();
}

/// The core tells the trace source, if anybody listens, and behind it the observer.
void QpipNetDevice::Observe() {
  core_trace_.next = observer_;
  core_->set_observer(core_trace_.IsEmpty() ? observer_ : &core_trace_);
}

void QpipNetDevice::SetSendErrorModel(ns3::Ptr<ns3::ErrorModel> model) {
  send_errors_ = model;
  if (out_) out_->set_error_model(model);
}

int64_t QpipNetDevice::AssignStreams(int64_t stream) {
  int64_t used = 0;
  for (const ns3::Ptr<ns3::ErrorModel>& model : {send_errors_, corruption_}) {
    if (auto rate = ns3::DynamicCast<ns3::RateErrorModel>(model)) {
      used += rate->AssignStreams(stream + used);
    }
  }
  if (bits_ == nullptr) bits_ = ns3::CreateObject<ns3::UniformRandomVariable>();
  bits_->SetStream(stream + used);
  return used + 1;
}

void QpipNetDevice::RequireOpenable() const {
  const auto refuse = [](const std::string& why) { throw std::logic_error("open a NIC: " + why); };
  if (node_ == nullptr) refuse("it is on no node; call Node::AddDevice first");
  if (!IsLinkUp()) {
    refuse("it is joined to nothing; call QpipFabric::Connect or AttachToDevice first");
  }
  if (GetIpv6().IsAny()) refuse("it has no address; set the attribute Ipv6Address");
  if (core_ && core_->running()) {
    refuse("it is open; share that qpip::Nic, or destroy it and everything made from it first");
  }
  if (fabric_ != nullptr) fabric_->RequireDistinctAddresses();
}

std::unique_ptr<abi::HostPort> QpipNetDevice::OpenPort() {
  RequireOpenable();
  EnsureCore();
  Observe();  // who has connected since
  HostPortOptions options;
  options.config = model().firmware;
  options.config.address = address_;
  options.config.mtu = GetMtu();
  options.config.max_qps = max_queue_pairs;
  options.config.max_cqs = max_completion_queues != 0 ? max_completion_queues : 2 * max_queue_pairs;
  options.config.max_regions = max_regions != 0 ? max_regions : std::max(2 * max_queue_pairs, 16u);
  options.config.max_rdma_qps = std::min(max_rdma_queue_pairs, max_queue_pairs);
  options.config.max_page_entries = 0;
  options.config.max_listeners = max_listeners;
  options.config.send_depth_log2 = send_depth_log2;
  options.config.wqe_cache_bytes = wqe_cache_bytes;
  std::ostringstream description;
  description << "ns3:" << profile_ << "?address=" << GetIpv6();
  options.description = description.str();
  options.poll_ahead_ns = poll_ahead_ns_;
  options.owner = this;
  return MakeSimHostPort(*core_, model(), std::move(options), host_);
}

std::shared_ptr<qpip::Nic> QpipNetDevice::OpenNic() { return qpip::Nic::Attach(OpenPort()); }

// --- Frames in

void QpipNetDevice::OnFrame(FramePtr frame, uint64_t) {
  if (corruption_ != nullptr && corruption_->IsCorrupt(ns3::Create<ns3::Packet>(frame->length()))) {
    if (bits_ == nullptr) bits_ = ns3::CreateObject<ns3::UniformRandomVariable>();
    frame->FlipBit(bits_->GetInteger(0, 8 * frame->length() - 1));
  }
  if (!received_trace_.IsEmpty() || !sniffer_trace_.IsEmpty()) {
    const ns3::Ptr<ns3::Packet> packet = ToPacket(*frame);
    received_trace_(packet);
    sniffer_trace_(packet);
  }
  if (!core_) {  // never opened
    OnReceiveBufferFree(frame->length(), NowNs());
    return;
  }
  core_->PushFrame(std::move(frame));
}

void QpipNetDevice::ReceiveFromDevice(ns3::Ptr<ns3::NetDevice>, ns3::Ptr<const ns3::Packet> packet,
                                      uint16_t, const ns3::Address&, const ns3::Address&,
                                      ns3::NetDevice::PacketType) {
  // Nothing holds such a sender back: what finds no room in the packet memory is lost.
  if (receive_bytes_used_ + packet->GetSize() > model().receive_bytes) {
    ++receive_overflows_;
    return;
  }
  receive_bytes_used_ += packet->GetSize();
  std::vector<uint8_t> bytes(packet->GetSize());
  packet->CopyData(bytes.data(), static_cast<uint32_t>(bytes.size()));
  FramePtr frame = Frame::Create();
  frame->SetBytes(bytes);
  OnFrame(std::move(frame), NowNs());
}

void QpipNetDevice::OnReceiveBufferFree(uint32_t frame_bytes, uint64_t at_ns) {
  if (lower_ != nullptr) receive_bytes_used_ -= frame_bytes;
  if (credits_ == nullptr) return;
  credits_->ReturnCredit(credits_->WireBytes(frame_bytes), at_ns + credits_->delay_ns());
}

// --- Frames out

bool QpipNetDevice::HasRoute(const uint8_t* destination) const {
  if (lower_ != nullptr) return true;
  return fabric_->Route(fabric_index_, destination) != nullptr;
}

void QpipNetDevice::Send(FramePtr frame, uint64_t earliest_ns) {
  TraceSent(*frame, earliest_ns);
  if (lower_ != nullptr) {
    core_->OnFrameOnLine(*frame, earliest_ns, earliest_ns);
    frame->Own();
    ScheduleAt(earliest_ns, [self = ns3::Ptr<QpipNetDevice>(this), frame] {
      if (self->lower_ != nullptr) self->SendThroughDevice(*frame);
    });
    return;
  }
  frame->source = fabric_index_;
  frame->route = fabric_->Route(fabric_index_, frame->header() + ipv6::offset::kDestination);
  out_->Send(std::move(frame), earliest_ns, earliest_ns);
}

/// At the time of the packet, which lies a little ahead.
void QpipNetDevice::TraceSent(const Frame& frame, uint64_t at_ns) {
  if (sent_trace_.IsEmpty() && sniffer_trace_.IsEmpty()) return;
  ScheduleAt(at_ns, [self = ns3::Ptr<QpipNetDevice>(this), packet = ToPacket(frame)] {
    self->sent_trace_(packet);
    self->sniffer_trace_(packet);
  });
}

void QpipNetDevice::SendThroughDevice(const Frame& frame) {
  if (send_errors_ != nullptr &&
      send_errors_->IsCorrupt(ns3::Create<ns3::Packet>(frame.length()))) {
    return;
  }
  const auto neighbour = neighbours_.find(Destination(frame));
  const ns3::Address& to = neighbour != neighbours_.end() ? neighbour->second : default_neighbour_;
  // A full queue of the lower device loses the packet, as a switch's would.
  if (!lower_->Send(ToPacket(frame), to, kEtherTypeIpv6)) ++lower_refused_;
}

ns3::Ptr<ns3::Packet> QpipNetDevice::ToPacket(const Frame& frame) const {
  std::vector<uint8_t> bytes(frame.length());
  frame.CopyTo(bytes.data());
  return ns3::Create<ns3::Packet>(bytes.data(), static_cast<uint32_t>(bytes.size()));
}

// --- ns3::NetDevice

ns3::Ptr<ns3::Channel> QpipNetDevice::GetChannel() const {
  if (lower_ != nullptr) return lower_->GetChannel();
  return fabric_;
}

void QpipNetDevice::SetAddress(ns3::Address address) {
  hardware_ = ns3::Mac48Address::ConvertFrom(address);
}

bool QpipNetDevice::SetMtu(uint16_t mtu) {
  if (mtu < kLeastMtu || (core_ && core_->running())) return false;
  mtu_limit_ = mtu;
  return true;
}

uint16_t QpipNetDevice::GetMtu() const {
  return static_cast<uint16_t>(std::min<uint32_t>(model().mtu, mtu_limit_));
}

void QpipNetDevice::AddLinkChangeCallback(ns3::Callback<void>) {}

ns3::Address QpipNetDevice::GetBroadcast() const { return ns3::Mac48Address::GetBroadcast(); }

ns3::Address QpipNetDevice::GetMulticast(ns3::Ipv4Address group) const {
  return ns3::Mac48Address::GetMulticast(group);
}

ns3::Address QpipNetDevice::GetMulticast(ns3::Ipv6Address group) const {
  return ns3::Mac48Address::GetMulticast(group);
}

bool QpipNetDevice::Send(ns3::Ptr<ns3::Packet>, const ns3::Address&, uint16_t) {
  NS_LOG_WARN("a QPIP NIC carries queue pairs only; packets of the node's own stack are refused");
  return false;
}

bool QpipNetDevice::SendFrom(ns3::Ptr<ns3::Packet> packet, const ns3::Address&,
                             const ns3::Address& to, uint16_t protocol) {
  return Send(packet, to, protocol);
}

}  // namespace qpip::sim

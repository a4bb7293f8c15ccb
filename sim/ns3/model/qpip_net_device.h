// The simulated NIC as an ns-3 device: the firmware of nic_fw/ on a core that a profile describes.
//
// A device is installed on a node and joined to other devices in one of two ways:
//  * by a QpipFabric: cables and switches with back-pressure, between QPIP NICs;
//  * over another NetDevice of the same node (PointToPoint, Csma): frames are ns-3 packets, and
//    whatever is at the other end (ns-3's own Internet stack, a router) is an ordinary peer.
//
// Programs use it through host_lib: `device->OpenNic()` is a qpip::Nic like any other, whose
// blocking calls suspend a fibre (fibre.h).
#pragma once

#include <ns3/error-model.h>
#include <ns3/mac48-address.h>
#include <ns3/net-device.h>
#include <ns3/node.h>
#include <ns3/packet.h>
#include <ns3/traced-callback.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "qpip/qpip.h"
#include "sim/ns3/model/core_trace.h"
#include "sim/ns3/model/fabric.h"
#include "sim/ns3/model/host_port.h"
#include "sim/ns3/model/link.h"
#include "sim/ns3/model/nic_core.h"
#include "sim/ns3/model/nic_model.h"

namespace qpip::sim {

class QpipNetDevice : public ns3::NetDevice, private LinkReceiver, private FramePort {
 public:
  static ns3::TypeId GetTypeId();
  QpipNetDevice();
  ~QpipNetDevice() override;

  // --- Configuration, before the NIC is opened

  /// The profile by expression ("lanai9-hardware-checksum+hardware-multiplier"); also the attribute
  /// "Profile". NICs of one expression share one model. Throws ProfileError.
  void SetProfile(const std::string& expression);
  std::string GetProfile() const { return profile_; }
  /// A model of the caller's, e.g. with parameters set; shared by any number of NICs.
  void SetModel(std::shared_ptr<const NicModel> model, const std::string& name);
  const NicModel& model() const;
  /// Another value than the profile's for a parameter of ParameterSpecs(), nullopt: the profile's;
  /// also an attribute each (parameter_attribute.h). Before the model is first asked for, or the
  /// NIC joined. Throws ProfileError for a value out of range, std::logic_error behind SetModel.
  void SetParameter(const std::string& name, std::optional<double> value);
  /// The value that counts; nullopt when the profile has none.
  std::optional<double> GetParameter(const std::string& name) const;

  void SetIpv6(ns3::Ipv6Address address);
  ns3::Ipv6Address GetIpv6() const;
  abi::Ip6Address address() const { return address_; }

  /// Table sizes; the rest of the configuration is the profile's. Also the attributes of the same
  /// names.
  uint32_t max_queue_pairs = 64;
  uint32_t max_completion_queues = 0;  ///< 0: two a queue pair
  uint32_t max_regions = 0;            ///< 0: two a queue pair, at least 16
  uint32_t max_rdma_queue_pairs = 0;   ///< of those queue pairs; no more than there are count
  uint32_t max_listeners = 16;
  uint32_t send_depth_log2 = 7;
  uint32_t wqe_cache_bytes = 512;

  // --- Joining

  /// Called by QpipFabric::Connect.
  void AttachToFabric(QpipFabric* fabric, uint32_t index, std::unique_ptr<LinkTransmitter> out,
                      CreditSink* credits);
  LinkReceiver* receiver() { return this; }
  /// Sends and receives through another device of this node, with its MTU at most. Call after both
  /// are on the node. Throws std::logic_error otherwise, or when the NIC is joined already.
  /// Checksums on the wire are real: peers need ns-3's GlobalValue "ChecksumEnabled" (QpipHelper
  /// sets it), or the NIC drops what they send as "bad_tcp_checksum".
  void AttachToDevice(ns3::Ptr<ns3::NetDevice> lower);
  /// On a lower device with addresses: where packets to `destination` go. There is no neighbour
  /// discovery: what has no entry goes to the default one.
  void AddNeighbour(ns3::Ipv6Address destination, ns3::Address hardware);
  void SetDefaultNeighbour(ns3::Address hardware);
  /// The device below, or nullptr.
  ns3::Ptr<ns3::NetDevice> lower() const { return lower_; }
  /// Packets that the device below refused: its queue was full.
  uint64_t lower_refused() const { return lower_refused_; }
  /// Packets from the device below that found the NIC's packet memory full.
  uint64_t receive_overflows() const { return receive_overflows_; }

  // --- Use

  /// Opens the NIC for programs. Once; again after every reference to the last one is gone. Throws
  /// std::logic_error when it is open, joined to nothing or without an address,
  /// std::invalid_argument for table sizes the firmware refuses or an address that another NIC of
  /// the fabric has, and ProfileError.
  std::shared_ptr<qpip::Nic> OpenNic();
  /// As OpenNic, for those who bring their own driver.
  std::unique_ptr<abi::HostPort> OpenPort();

  NicCore& core() { return *core_; }
  const CoreTotals& totals() const { return core_->totals(); }
  HostState& host() { return host_; }
  const LinkTransmitter* link() const { return out_.get(); }
  /// Watches the NIC; not owned. One at a time, nullptr: none.
  void SetObserver(NicObserver* observer);
  NicObserver* observer() const { return observer_; }
  /// How far one fruitless poll looks ahead, see host_port.h.
  void SetPollAheadNs(uint64_t ns) { poll_ahead_ns_ = ns; }
  /// Loses frames on their way out of the NIC; the attribute "SendErrorModel".
  void SetSendErrorModel(ns3::Ptr<ns3::ErrorModel> model);
  /// Fixes the random streams of this device (ns-3's idiom), whatever else the process has made.
  /// Returns how many it uses.
  int64_t AssignStreams(int64_t stream);
  /// Damages one bit of frames that the model takes, on their way in; "CorruptionModel".
  void SetCorruptionModel(ns3::Ptr<ns3::ErrorModel> model) { corruption_ = model; }

  // --- ns3::NetDevice. The host's own stack has no way through a QPIP NIC: Send refuses.
  void SetIfIndex(uint32_t index) override { if_index_ = index; }
  uint32_t GetIfIndex() const override { return if_index_; }
  ns3::Ptr<ns3::Channel> GetChannel() const override;
  void SetAddress(ns3::Address address) override;
  ns3::Address GetAddress() const override { return hardware_; }
  /// An upper bound beside the profile's, at least IPv6's 1280, before the NIC is opened. Also the
  /// attribute "Mtu".
  bool SetMtu(uint16_t mtu) override;
  uint16_t GetMtu() const override;
  bool IsLinkUp() const override { return out_ != nullptr || lower_ != nullptr; }
  void AddLinkChangeCallback(ns3::Callback<void> callback) override;
  bool IsBroadcast() const override { return false; }
  ns3::Address GetBroadcast() const override;
  bool IsMulticast() const override { return false; }
  ns3::Address GetMulticast(ns3::Ipv4Address group) const override;
  ns3::Address GetMulticast(ns3::Ipv6Address group) const override;
  bool IsBridge() const override { return false; }
  bool IsPointToPoint() const override { return false; }
  bool Send(ns3::Ptr<ns3::Packet> packet, const ns3::Address& to, uint16_t protocol) override;
  bool SendFrom(ns3::Ptr<ns3::Packet> packet, const ns3::Address& from, const ns3::Address& to,
                uint16_t protocol) override;
  ns3::Ptr<ns3::Node> GetNode() const override { return node_; }
  void SetNode(ns3::Ptr<ns3::Node> node) override { node_ = node; }
  bool NeedsArp() const override { return false; }
  void SetReceiveCallback(ReceiveCallback) override {}
  void SetPromiscReceiveCallback(PromiscReceiveCallback) override {}
  bool SupportsSendFrom() const override { return false; }

 protected:
  void DoDispose() override;

 private:
  // LinkReceiver
  bool wants_head() const override { return false; }
  void OnFrame(FramePtr frame, uint64_t tail_ns) override;
  // FramePort
  bool CanSend() const override { return true; }
  bool HasRoute(const uint8_t* destination) const override;
  void Send(FramePtr frame, uint64_t earliest_ns) override;
  void OnReceiveBufferFree(uint32_t frame_bytes, uint64_t at_ns) override;

  void SendThroughDevice(const Frame& frame);
  void ReceiveFromDevice(ns3::Ptr<ns3::NetDevice> device, ns3::Ptr<const ns3::Packet> packet,
                         uint16_t protocol, const ns3::Address& from, const ns3::Address& to,
                         ns3::NetDevice::PacketType type);
  void EnsureCore();
  void Observe();
  void RequireUnjoined() const;
  void RequireOpenable() const;
  void TraceSent(const Frame& frame, uint64_t at_ns);
  ns3::Ptr<ns3::Packet> ToPacket(const Frame& frame) const;

  std::string profile_ = "lanai9-hardware-checksum";
  std::map<std::string, double> parameters_;  ///< instead of the profile's
  bool model_given_ = false;                  ///< by SetModel
  std::shared_ptr<const NicModel> model_;
  abi::Ip6Address address_ = {};
  ns3::Mac48Address hardware_;
  ns3::Ptr<ns3::Node> node_;
  uint32_t if_index_ = 0;
  uint16_t mtu_limit_ = 65535;

  std::unique_ptr<NicCore> core_;
  HostState host_;
  uint64_t poll_ahead_ns_ = 20000;
  NicObserver* observer_ = nullptr;

  ns3::Ptr<QpipFabric> fabric_;
  uint32_t fabric_index_ = 0;
  std::unique_ptr<LinkTransmitter> out_;
  CreditSink* credits_ = nullptr;  ///< of the direction towards this NIC

  ns3::Ptr<ns3::NetDevice> lower_;
  std::map<ns3::Ipv6Address, ns3::Address> neighbours_;
  ns3::Address default_neighbour_;
  uint64_t lower_refused_ = 0;
  uint64_t receive_bytes_used_ = 0;  ///< by packets of the lower device
  uint64_t receive_overflows_ = 0;

  ns3::Ptr<ns3::ErrorModel> send_errors_;
  ns3::Ptr<ns3::ErrorModel> corruption_;
  ns3::Ptr<ns3::UniformRandomVariable> bits_;
  ns3::TracedCallback<ns3::Ptr<const ns3::Packet>> sent_trace_;
  ns3::TracedCallback<ns3::Ptr<const ns3::Packet>> received_trace_;
  ns3::TracedCallback<ns3::Ptr<const ns3::Packet>> sniffer_trace_;
  CoreTraceSources::Stage core_stage_trace_;
  CoreTraceSources::TcpState tcp_state_trace_;
  CoreTraceSources::CongestionWindow congestion_window_trace_;
  CoreTraceSources::RoundTripTime round_trip_time_trace_;
  CoreTraceSources::Completion completion_trace_;
  CoreTraceSources::Drop drop_trace_;
  CoreTrace core_trace_{{core_stage_trace_, tcp_state_trace_, congestion_window_trace_,
                         round_trip_time_trace_, completion_trace_, drop_trace_}};
};

}  // namespace qpip::sim

// A Myrinet-like fabric: cables and source-routed cut-through switches with back-pressure.
//
// Built once, then used: add switches, connect NICs and switches, and every NIC reaches every
// other. A frame's route (the output port at each switch) is chosen by its source: a shortest path,
// one of several by a hash of source and destination, so that all frames between two NICs take the
// same one and stay in order ("oblivious" routing).
#pragma once

#include <ns3/channel.h>
#include <ns3/net-device.h>

#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "sim/ns3/model/link.h"
#include "sim/ns3/model/nic_model.h"

namespace qpip::sim {

class QpipNetDevice;

/// Times and limits of a switch. What is before a frame is what will not have left when the frame
/// gets to its output; bytes are with their framing.
struct SwitchOptions {
  uint64_t latency_ns = 0;
  /// A frame that finds more bytes than this before its output is marked, if it can be (RFC 3168
  /// 5).
  uint64_t mark_bytes = UINT64_MAX;
  /// A frame with which more bytes than this were before its output is dropped.
  uint64_t drop_bytes = UINT64_MAX;
};

/// A crossbar. Frames that are for one output queue in front of it in order of arrival.
class Switch {
 public:
  Switch(uint32_t ports, const SwitchOptions& options);

  /// What arrives at a port, and what leaves through it.
  LinkReceiver* input(uint32_t port) { return &ports_[port].input; }
  void SetUpstream(uint32_t port, CreditSink* upstream) { ports_[port].upstream = upstream; }
  void SetOutput(uint32_t port, std::unique_ptr<LinkTransmitter> output);
  LinkTransmitter* output(uint32_t port) const { return ports_[port].output.get(); }
  uint32_t ports() const { return static_cast<uint32_t>(ports_.size()); }

  // Counters.
  uint64_t marked = 0;   ///< frames
  uint64_t dropped = 0;  ///< frames

 private:
  struct Input : LinkReceiver {
    Switch* owner = nullptr;
    uint32_t port = 0;
    bool wants_head() const override { return true; }
    void OnFrame(FramePtr frame, uint64_t tail_ns) override {
      owner->Forward(port, std::move(frame), tail_ns);
    }
  };
  struct Port {
    Input input;
    CreditSink* upstream = nullptr;
    std::unique_ptr<LinkTransmitter> output;
  };
  void Forward(uint32_t port, FramePtr frame, uint64_t tail_ns);
  bool Admit(const LinkTransmitter& output, Frame& frame);

  const SwitchOptions options_;
  std::vector<Port> ports_;
};

/// Cables between this process's part of a fabric and the others' (mpi/remote_links.h).
class CutCables {
 public:
  virtual ~CutCables() = default;
  /// A cable from here to `rank`: what `transmitter` sends goes there, credits come back.
  virtual void AddOutgoing(uint32_t cable, LinkTransmitter* transmitter, uint32_t rank,
                           uint32_t phase) = 0;
  /// A cable from `rank` to here: frames are for `receiver`. Returns where its credits go.
  virtual CreditSink* AddIncoming(uint32_t cable, LinkReceiver* receiver, uint32_t rank,
                                  uint64_t delay_ns, uint32_t overhead_bytes) = 0;
};

/// The fabric as ns-3 sees it: one channel that all its NICs are on.
class QpipFabric : public ns3::Channel {
 public:
  static ns3::TypeId GetTypeId();
  QpipFabric();
  ~QpipFabric() override;

  /// Several processes share the fabric: this one has the NICs and switches of `rank`. Each builds
  /// all of it, with the same calls in the same order. `cables` is not owned. Call first.
  void SetPartition(uint32_t rank, CutCables* cables) {
    rank_ = rank;
    cut_cables_ = cables;
  }
  /// A switch with so many ports; returns its index. Latency and buffers are `model`'s.
  uint32_t AddSwitch(uint32_t ports, const NicModel& model, uint32_t rank = 0);
  /// A NIC of another process on a switch of that process: only its place and address are known.
  void ConnectRemote(const abi::Ip6Address& address, uint32_t switch_index, uint32_t port);
  /// Connects a NIC to a switch's port, with the NIC's own link parameters in both directions.
  void Connect(ns3::Ptr<QpipNetDevice> nic, uint32_t switch_index, uint32_t port);
  /// Connects two NICs with a cable.
  void Connect(ns3::Ptr<QpipNetDevice> a, ns3::Ptr<QpipNetDevice> b);
  /// Connects two switches; rate and delay are `model`'s.
  void Connect(uint32_t switch_a, uint32_t port_a, uint32_t switch_b, uint32_t port_b,
               const NicModel& model);

  /// Throws std::invalid_argument when two NICs have one address.
  void RequireDistinctAddresses();

  /// The route from one NIC to an address (16 bytes); nullptr when nobody has it or no path leads
  /// there. The answer lives as long as the fabric.
  const std::vector<uint8_t>* Route(uint32_t source, const uint8_t* destination);

  uint32_t switches() const { return static_cast<uint32_t>(switches_.size()); }
  Switch& switch_at(uint32_t index) { return *switches_[index]; }

  // ns3::Channel
  size_t GetNDevices() const override { return nics_.size(); }
  /// nullptr for a NIC of another process.
  ns3::Ptr<ns3::NetDevice> GetDevice(size_t index) const override;

 protected:
  void DoDispose() override;

 private:
  using Key = std::pair<uint64_t, uint64_t>;
  struct KeyHash {
    size_t operator()(const Key& key) const {
      return static_cast<size_t>((key.first ^ (key.second * 0x9e3779b97f4a7c15ull)) >> 7);
    }
  };
  /// A NIC or a switch in the graph: NICs first, then switches.
  struct Edge {
    uint32_t to = 0;
    uint8_t port = 0;  ///< output port, if the source is a switch
  };
  struct NicEntry {
    ns3::Ptr<QpipNetDevice> device;  ///< nullptr: another process has it
    abi::Ip6Address address = {};    ///< of such a one
  };
  uint32_t AddNic(NicEntry nic);
  void ConnectOneWay(uint32_t from, uint32_t from_port, uint32_t to, uint32_t to_port,
                     const NicModel& model);
  void Index();
  std::vector<uint32_t> DistancesTo(uint32_t nic) const;
  bool FindRoute(uint32_t source, uint32_t destination, std::vector<uint8_t>* route);

  uint32_t rank_ = 0;
  CutCables* cut_cables_ = nullptr;
  uint32_t cables_ = 0;  ///< between switches, each direction one
  std::vector<NicEntry> nics_;
  std::vector<std::unique_ptr<Switch>> switches_;
  std::vector<uint32_t> switch_ranks_;
  std::vector<std::vector<Edge>> nic_edges_;
  std::vector<std::vector<Edge>> switch_edges_;  ///< Edge::to: NIC index, or kSwitch + switch
  std::unordered_map<Key, uint32_t, KeyHash> by_address_;
  std::unordered_map<uint64_t, std::vector<uint8_t>> routes_;  ///< source, destination
  std::map<uint32_t, std::vector<uint32_t>> distances_;        ///< cached, to a NIC
};

}  // namespace qpip::sim

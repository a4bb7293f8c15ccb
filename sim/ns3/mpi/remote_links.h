// A fabric over several processes: the cables that are cut between them.
//
// ns-3's distributed simulator runs one process (rank) per part of the fabric. Each rank knows the
// whole fabric's shape, but has only its own NICs and switches. Over a cut cable go frames, with
// the time at which their heads arrive, and in the other direction credits. Both take the cable's
// delay, which is the look-ahead: a rank may run that far ahead of the others.
#pragma once

#include <ns3/nstime.h>
#include <ns3/packet.h>
#include <ns3/ptr.h>
#include <ns3/simple-channel.h>

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "sim/ns3/model/fabric.h"

namespace qpip::sim {

/// Starts and ends MPI around a program's use of the simulator. Make one first thing in main.
class DistributedRun {
 public:
  /// Initialises MPI and chooses ns-3's distributed simulator.
  DistributedRun(int* argc, char*** argv);
  ~DistributedRun();
  DistributedRun(const DistributedRun&) = delete;
  DistributedRun& operator=(const DistributedRun&) = delete;

  static uint32_t rank();
  static uint32_t ranks();
};

/// The cut cables of one fabric, as this rank sees them. Cables are numbered alike on every rank.
class RemoteLinks : public CutCables {
 public:
  /// Makes the nodes that stand for the ranks; call on every rank before any other node is made.
  explicit RemoteLinks(QpipFabric* fabric);
  ~RemoteLinks() override;
  RemoteLinks(const RemoteLinks&) = delete;
  RemoteLinks& operator=(const RemoteLinks&) = delete;

  void AddOutgoing(uint32_t cable, LinkTransmitter* transmitter, uint32_t rank,
                   uint32_t phase) override;
  CreditSink* AddIncoming(uint32_t cable, LinkReceiver* receiver, uint32_t rank, uint64_t delay_ns,
                          uint32_t overhead_bytes) override;

  uint64_t messages_sent = 0;
  uint64_t bytes_sent = 0;

 private:
  class Outgoing;
  class Incoming;
  struct Assembly;

  void ConnectGateways();
  void Send(const std::vector<uint8_t>& message, uint32_t rank, ns3::Time at);
  void Receive(ns3::Ptr<ns3::Packet> packet);
  void ReceiveFrame(const uint8_t* message, size_t bytes);

  QpipFabric* fabric_;
  ns3::Time look_ahead_ = ns3::Seconds(1);
  std::vector<ns3::Ptr<ns3::SimpleChannel>> channels_;  ///< between every two ranks
  std::vector<uint32_t> gateway_nodes_;                 ///< ns-3's node of each rank
  std::map<uint32_t, std::unique_ptr<Outgoing>> outgoing_;
  std::map<uint32_t, std::unique_ptr<Incoming>> incoming_;
};

}  // namespace qpip::sim

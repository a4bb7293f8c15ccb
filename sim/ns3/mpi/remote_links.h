// A fabric over several processes: the cables that are cut between them.
//
// Each rank knows the whole fabric's shape, but has only its own NICs and switches. Over a cut
// cable go frames, with the times of head and tail, and in the other direction credits. Both take
// the cable's delay, which is the look-ahead (rank_simulator.h). Payload without content
// (phantom.h) goes as its length.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "sim/ns3/model/fabric.h"
#include "sim/ns3/mpi/distributed_run.h"

namespace qpip::sim {

class RankExchange;

/// The cut cables of one fabric, as this rank sees them. Cables are numbered alike on every rank.
/// A cable's delay must not be zero: std::invalid_argument.
class RemoteLinks : public CutCables {
 public:
  /// Throws std::logic_error without a DistributedRun, or when ns-3's resolution is not
  /// ns3::Time::PS.
  explicit RemoteLinks(QpipFabric* fabric);
  ~RemoteLinks() override;
  RemoteLinks(const RemoteLinks&) = delete;
  RemoteLinks& operator=(const RemoteLinks&) = delete;

  void AddOutgoing(uint32_t cable, LinkTransmitter* transmitter, uint32_t rank,
                   uint32_t phase) override;
  CreditSink* AddIncoming(uint32_t cable, LinkReceiver* receiver, uint32_t rank, uint64_t delay_ns,
                          uint32_t overhead_bytes) override;

  uint64_t messages_sent = 0;  ///< frames and credits

 private:
  class Outgoing;
  class Incoming;

  void Bound(uint64_t delay_ns);
  std::vector<uint8_t>& Post(uint32_t rank, uint64_t at_ns);
  void Receive(std::span<const uint8_t> messages);

  QpipFabric* const fabric_;
  RankExchange& ranks_;
  std::map<uint32_t, std::unique_ptr<Outgoing>> outgoing_;
  std::map<uint32_t, std::unique_ptr<Incoming>> incoming_;
};

}  // namespace qpip::sim

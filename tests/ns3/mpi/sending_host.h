// A host that sends to some others and checks what it receives, byte by byte.
#pragma once

#include <ns3/ptr.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "qpip/qpip.h"
#include "sim/ns3/model/qpip_net_device.h"

namespace qpip::sim {

/// The traffic, the same for all hosts.
struct Plan {
  uint32_t nics = 0;
  uint32_t peers = 0;     ///< that each host sends to
  uint32_t bytes = 0;     ///< of a message
  uint32_t messages = 0;  ///< to each peer
  bool phantom = false;   ///< messages have no content (phantom.h), nothing is checked
};

/// Of the host with this index.
abi::Ip6Address AddressOf(uint32_t index);

class SendingHost {
 public:
  SendingHost(const Plan& plan, uint32_t index, ns3::Ptr<QpipNetDevice> device);

  /// The program; run it on a fibre. Throws Error EPROTO when other bytes arrive than were sent.
  void Run();
  bool done() const { return done_; }
  uint64_t frames() const { return device_->link()->frames; }
  /// What must not depend on how the fabric was cut, down to the time of every completion.
  std::string Line() const;

 private:
  uint32_t Peer(uint32_t i) const;
  void Allocate();
  void OpenQueuePairs(std::vector<std::unique_ptr<QueuePair>>* to);
  void PostReceive(uint32_t qp, uint32_t slot);
  void PostSend(uint32_t qp);
  void Handle(const WorkCompletion& completion);
  void Verify(uint32_t qp, uint32_t slot);

  const Plan& plan_;
  const uint32_t index_;
  const uint32_t depth_;  ///< messages outstanding at a time, each way
  ns3::Ptr<QpipNetDevice> device_;
  std::shared_ptr<Nic> nic_;
  std::unique_ptr<ProtectionDomain> pd_;
  std::unique_ptr<CompletionQueue> cq_;
  std::unique_ptr<MemoryRegion> sink_;    ///< a message for each posted receive
  std::unique_ptr<MemoryRegion> source_;  ///< one message, which all are
  std::vector<std::unique_ptr<QueuePair>> incoming_;
  std::vector<std::unique_ptr<QueuePair>> outgoing_;
  std::vector<uint32_t> sent_;      ///< posted, by outgoing queue pair
  std::vector<uint32_t> received_;  ///< by incoming queue pair
  uint64_t bytes_received_ = 0;
  uint64_t history_ = 0;  ///< hash of all completions and their times
  bool done_ = false;
};

}  // namespace qpip::sim

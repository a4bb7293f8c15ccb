// A Vconn's insides: the machine of protocols/vconn/ on a queue pair.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "protocols/vconn/machine.h"
#include "protocols/vconn/pending.h"
#include "qpip/stream.h"
#include "qpip/vconn.h"

namespace qpip::internal {

class QpImpl;

/// Shared by a Vconn and the messages that it has handed out. One thread at a time.
class VconnCore {
 public:
  VconnCore(ProtectionDomain& pd, QueuePair& qp, std::shared_ptr<QpImpl> impl,
            const VconnOptions& options);
  VconnCore(const VconnCore&) = delete;
  VconnCore& operator=(const VconnCore&) = delete;

  void Open();
  bool OnCompletion(const WorkCompletion& completion);
  VconnState state() const;
  Error error() const;

  /// A message that has come and was not handed out.
  struct Received {
    uint32_t buffer;
    vconn::Header header;
    uint64_t context;  ///< of an answer
  };
  std::optional<Received> Next();
  const std::byte* BufferAt(uint32_t buffer) const;
  /// The application has done with a buffer.
  void GiveBack(uint32_t buffer);

  std::optional<Vconn::Ticket> TrySend(vconn::Header header, const VconnParts& parts);
  std::optional<Vconn::Ticket> TryRequest(uint64_t context, const VconnParts& parts);

  const vconn::Machine& machine() const { return machine_; }
  const vconn::PendingRequests& pending() const { return pending_; }
  const StreamWriter& writer() const { return writer_; }
  const Vconn::Counters& counters() const { return counters_; }

 private:
  /// Returns false when the connection is over.
  bool Post(uint32_t buffer);
  /// Posts the receive of a message that was not for the application again, or was given back.
  void Repost(uint32_t buffer);
  void EndIfRefused();
  void OnReceive(const WorkCompletion& completion);
  void OnMessage(uint32_t buffer, uint32_t bytes);
  /// Whether the queue pair takes sends.
  bool may_send() const;
  void SendCreditsIfDue();
  /// The peer has broken the rules.
  void CutOff();

  std::shared_ptr<QpImpl> qp_;
  size_t stride_;                         ///< bytes from one receive to the next
  std::shared_ptr<MemoryRegion> memory_;  ///< of the receives; the queue pair's too
  StreamWriter writer_;
  vconn::Machine machine_;
  std::vector<vconn::PendingRequest> slots_;
  vconn::PendingRequests pending_;
  std::vector<Received> received_;  ///< a ring, with a place for every receive
  size_t first_ = 0;                ///< in received_
  size_t count_ = 0;                ///< in received_, not handed out
  uint32_t outstanding_ = 0;        ///< receives posted and not completed
  bool refused_ = false;            ///< one could not be posted: the connection is over
  bool said_hello_ = false;
  bool peer_ended_ = false;
  bool broken_ = false;
  bool lost_ = false;  ///< a message that was sent has not arrived
  Vconn::Ticket last_message_ = 0;
  ibv_wc_status status_ = IBV_WC_SUCCESS;  ///< behind broken_
  DisconnectReason reason_ = DisconnectReason::kNone;
  Vconn::Counters counters_;
};

}  // namespace qpip::internal

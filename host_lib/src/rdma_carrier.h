// A connection on its way to an RDMA queue pair: TCP carries MPA's Request and Reply (RFC 5044 7.1,
// RFC 6581) as a stream, on a queue pair of the library's own, before the application's takes it
// over.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "protocols/iwarp/startup.h"
#include "qpip/rdma.h"

namespace qpip::internal {

class QpImpl;

/// One thread at a time.
class RdmaCarrier {
 public:
  /// A queue pair of a connection to come. `cq`: of several carriers; nullptr: its own. Throws
  /// Error.
  RdmaCarrier(std::shared_ptr<Nic> nic, std::shared_ptr<CompletionQueue> cq,
              uint32_t receive_reservation);
  ~RdmaCarrier();  ///< ends, by RST, what nobody has got
  RdmaCarrier(const RdmaCarrier&) = delete;
  RdmaCarrier& operator=(const RdmaCarrier&) = delete;

  /// wr_id of all its requests. Never used again, as queue pairs' numbers are: what a destroyed
  /// one has left in the completion queue is nobody's.
  uint64_t id() const { return id_; }
  QueuePair& qp() { return *qp_; }
  CompletionQueue& cq() { return *cq_; }
  Nic& nic() { return *nic_; }

  /// TCP is connected: sends the Request.
  void Begin(const RdmaParameters& parameters);
  /// TCP is connected: waits for a Request.
  void AwaitRequest(std::chrono::milliseconds timeout);
  bool begun() const { return begun_; }

  /// A completion of its queue pair's.
  void OnCompletion(const WorkCompletion& completion);
  /// What time says. True when the set-up has failed by it.
  bool OnTime();
  uint64_t deadline_ns() const {
    return terminated() ? gives_up_ns_ : iwarp::StartupDeadline(startup_);
  }

  const iwarp::Startup& startup() const { return startup_; }
  bool broken() const { return broken_; }  ///< TCP has ended meanwhile
  std::span<const std::byte> private_data() const { return private_data_; }

  /// kSendReady, kOperational: `qp` gets the connection. Throws Error.
  void GiveTo(QueuePair& qp);
  /// kDeciding: answers, and `qp` gets the connection. Throws Error.
  void Accept(QueuePair& qp, const RdmaParameters& parameters);
  void Reject(ConstBytes private_data);
  /// The initiator cannot have it: a Terminate says so (RFC 6581 9.1 to 9.3), and the stream ends.
  /// Does not wait: it is over when the peer has closed, or `over` says that it has had its time.
  void Terminate(iwarp::Cause cause);
  bool terminated() const { return gives_up_ns_ != 0; }
  bool over() const { return broken_ || (terminated() && NowNs() >= gives_up_ns_); }
  /// kDeciding: what Accept would agree on with the most that this side can do.
  RdmaAgreement Offer() const;
  /// What has been agreed on.
  RdmaAgreement Agreement() const;

 private:
  static constexpr uint32_t kBufferBytes = 1024;
  void PostReceive();
  void Send(const iwarp::StartupFrame& frame);
  std::span<uint8_t> SendBuffer();
  void SendBytes(size_t bytes);
  iwarp::StartupOptions OptionsOf(const RdmaParameters& parameters) const;
  void CheckTarget(const QueuePair& qp) const;
  uint64_t NowNs() const;

  static inline std::atomic<uint64_t> next_id_{1};
  const uint64_t id_ = next_id_.fetch_add(1, std::memory_order_relaxed);
  std::shared_ptr<Nic> nic_;
  std::shared_ptr<CompletionQueue> cq_;
  std::unique_ptr<ProtectionDomain> pd_;
  std::unique_ptr<MemoryRegion> memory_;  ///< what is received, then what is sent
  std::unique_ptr<QueuePair> qp_;
  iwarp::Startup startup_;
  uint32_t received_ = 0;  ///< bytes
  bool begun_ = false;
  bool broken_ = false;
  uint64_t gives_up_ns_ = 0;  ///< a peer that was sent a Terminate has until then to close
  std::vector<std::byte> private_data_;
};

}  // namespace qpip::internal

// A relay between a local stream socket and a TCP queue pair: what does not depend on how bytes
// travel on the latter (stream_relay.h, vconn_relay.h).
//
//   local tool ── socket ──> registered buffer ── send WRs ────> NIC    "upstream", one thread
//   local tool <── socket ── receive buffer <── receive WRs ──── NIC    "downstream", another
//
// Each direction holds a fixed number of buffers and waits for the slower side, so nothing grows;
// the end of one direction is carried over and leaves the other open.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "apps/common/give_way.h"
#include "apps/common/stop.h"
#include "apps/nbd/local_socket.h"
#include "qpip/qpip.h"

namespace qpip::nbd {

class Relay {
 public:
  virtual ~Relay() = default;
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  /// Connects, and relays until both directions have ended. While the peer cannot be reached it is
  /// tried again until `patience` is over. Returns why the queue pair's side failed; nullopt when
  /// both directions ended as they should, or from this side, also by `stop` before there was a
  /// connection. Uses a second thread meanwhile. Throws Lack when there is none.
  std::optional<std::string> Run(const Endpoint& peer, std::chrono::nanoseconds patience,
                                 const apps::StopToken& stop);

  /// Ends the local tool's direction as if it had closed it: what it has sent is still relayed,
  /// and what comes back. Thread-safe.
  void Finish();
  /// Ends both directions at once. Thread-safe.
  void Cancel();

  uint64_t bytes_up() const { return bytes_up_.load(std::memory_order_relaxed); }
  uint64_t bytes_down() const { return bytes_down_.load(std::memory_order_relaxed); }

 protected:
  static constexpr size_t kSendBytes = 128 * 1024;  ///< of one send buffer
  static constexpr size_t kSends = 16;              ///< send buffers
  static constexpr uint32_t kReceives = 32;

  /// `nic` and `pd` must outlive the relay. Throws qpip::Error.
  Relay(Nic& nic, ProtectionDomain& pd, FileDescriptor local, std::chrono::seconds keepalive);
  /// The derived class's, with its queue pair: before anything that its work refers to.
  void EndQp() { qp_.reset(); }

  /// A fresh queue pair and what goes with it, in place of one that could not be connected.
  virtual std::unique_ptr<QueuePair> MakeQp() = 0;
  /// What goes on a queue pair that is connected.
  virtual void RunUpstream() = 0;
  virtual void RunDownstream() = 0;
  /// Why it is broken; nullopt: it is not.
  virtual std::optional<std::string> WhyBroken() const = 0;

  /// Waits for bytes of the local tool. Returns how many; 0: its end.
  size_t ReadFromTool(std::byte* to, size_t bytes);
  /// Writes to the local tool what there is room for, and waits for room. Returns how many bytes; 0
  /// after a signal. nullopt: the tool is gone, and the connection is aborted.
  std::optional<size_t> WriteToTool(std::span<const iovec> list);
  /// Nothing follows for the tool. `broken`: nor can it send anything.
  void EndTool(bool broken);
  /// MakeQp, and the queue pair is its. Throws qpip::Error.
  void CreateQp();

  ProtectionDomain& pd() { return pd_; }
  Nic& nic() { return nic_; }
  std::chrono::seconds keepalive() const { return keepalive_; }  ///< of QpOptions
  QueuePair& qp() { return *qp_; }
  // Two completion queues, because two threads wait.
  CompletionQueue& send_cq() { return *send_cq_; }
  CompletionQueue& recv_cq() { return *recv_cq_; }
  const MemoryRegion& send_memory() const { return *send_memory_; }
  std::byte* SendBuffer(size_t index) {
    return static_cast<std::byte*>(send_memory_->data()) + index * kSendBytes;
  }

 private:
  /// Returns false when `stop` came first. Throws qpip::Error.
  bool Connect(const Endpoint& peer, std::chrono::nanoseconds patience,
               const apps::StopToken& stop);
  void RunBothWays();
  std::optional<std::string> FailureText(const Endpoint& peer) const;

  Nic& nic_;
  ProtectionDomain& pd_;
  std::chrono::seconds keepalive_;
  FileDescriptor local_;
  std::unique_ptr<CompletionQueue> send_cq_;
  std::unique_ptr<CompletionQueue> recv_cq_;
  std::unique_ptr<MemoryRegion> send_memory_;
  std::mutex qp_mutex_;  ///< held to replace qp_ and to abort it from another thread
  std::unique_ptr<QueuePair> qp_;
  std::atomic<bool> ended_here_ = false;  ///< cancelled, or the local tool is gone
  std::atomic<uint64_t> bytes_up_ = 0;
  std::atomic<uint64_t> bytes_down_ = 0;
  apps::GiveWay give_way_;  ///< upstream's
};

}  // namespace qpip::nbd

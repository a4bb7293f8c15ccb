// A byte relay between a local stream socket and a TCP queue pair of stream framing.
//
//   local tool ── socket ──> registered buffer ── send WRs ────> NIC    "upstream", one thread
//   local tool <── socket ── receive buffer <── receive WRs ──── NIC    "downstream", another
//
// Each direction holds a fixed number of buffers and waits for the slower side, so nothing grows;
// the end of one direction is carried over and leaves the other open.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "apps/common/stop.h"
#include "apps/nbd/local_socket.h"
#include "qpip/qpip.h"
#include "qpip/stream.h"

namespace qpip::nbd {

class Relay {
 public:
  /// Takes over the socket. `nic` and `pd` must outlive the relay. Throws qpip::Error.
  Relay(Nic& nic, ProtectionDomain& pd, FileDescriptor local);
  ~Relay();
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

 private:
  void CreateQp();
  /// Returns false when `stop` came first. Throws qpip::Error.
  bool Connect(const Endpoint& peer, std::chrono::nanoseconds patience,
               const apps::StopToken& stop);
  void RunBothWays();
  void RunUpstream();
  void RunDownstream();
  /// Waits for one of the send buffers. Returns false when sending has failed.
  bool AwaitSendBuffer(size_t index);
  bool SendBuffer(size_t index, size_t bytes);
  void PumpSends();
  /// Moves received bytes to the socket. Returns false when the local tool is gone.
  bool WriteReceived();
  std::optional<std::string> FailureText(const Endpoint& peer) const;

  Nic& nic_;
  ProtectionDomain& pd_;
  FileDescriptor local_;
  // Two completion queues, because two threads wait.
  std::unique_ptr<CompletionQueue> send_cq_;
  std::unique_ptr<CompletionQueue> recv_cq_;
  std::mutex qp_mutex_;  ///< held to replace qp_ and to abort it from another thread
  std::unique_ptr<QueuePair> qp_;
  std::unique_ptr<StreamReader> reader_;
  std::unique_ptr<StreamWriter> writer_;
  std::unique_ptr<MemoryRegion> send_memory_;
  std::vector<StreamWriter::Ticket> tickets_;  ///< of the last send of each send buffer
  std::atomic<bool> ended_here_ = false;       ///< cancelled, or the local tool is gone
  std::atomic<uint64_t> bytes_up_ = 0;
  std::atomic<uint64_t> bytes_down_ = 0;
};

}  // namespace qpip::nbd

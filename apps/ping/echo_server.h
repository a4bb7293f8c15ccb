// Echoes messages of TCP and UDP clients, all on one completion queue and thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>

#include "apps/common/completions.h"
#include "apps/common/stop.h"
#include "qpip/qpip.h"

namespace qpip::apps {

/// TCP clients served at a time; more wait in the listener's backlog, which is said.
inline constexpr size_t kMaxTcpClients = 255;

struct EchoOptions {
  uint16_t port = 7;
  uint32_t max_bytes = 65536;  ///< longest message
  bool udp_only = false;       ///< do not listen for TCP
  bool once = false;           ///< stop when the first TCP client has gone
  WaitMode mode = WaitMode::kWait;
  std::chrono::seconds keepalive{60};  ///< of QpOptions; 0: the NIC's
  std::chrono::nanoseconds idle =
      std::chrono::minutes(5);  ///< a silent client is hung up; 0: never
};

struct EchoCounts {
  uint64_t clients = 0;  ///< TCP connections
  uint64_t messages = 0;
  uint64_t bytes = 0;
};

class EchoServer {
 public:
  /// Listens and binds. Throws qpip::Error (port in use, no room for a first client).
  EchoServer(Nic& nic, const EchoOptions& options);
  ~EchoServer();
  EchoServer(const EchoServer&) = delete;
  EchoServer& operator=(const EchoServer&) = delete;

  /// Serves until stopped, or with `once` until the first TCP client has gone.
  void Run(const StopToken& stop);

  const EchoCounts& counts() const { return counts_; }

 private:
  class Session;

  std::unique_ptr<Session> NewSession(QpType type);
  Session& Add(std::unique_ptr<Session> session);
  /// Keeps idle queue pairs on offer, up to the limit of sessions. Throws qpip::Error,
  /// std::bad_alloc.
  void OfferIdle();
  void OfferOne();
  /// Queue pairs on offer that nobody has taken.
  size_t Idle() const;
  /// The same; what cannot be had is said once, and tried again later: meanwhile clients wait.
  void TryToOfferIdle();
  void AcceptAll();
  void RemoveEnded();
  size_t Next(std::span<WorkCompletion> out, const StopToken& stop);

  Nic& nic_;
  EchoOptions options_;
  EchoCounts counts_;
  std::unique_ptr<ProtectionDomain> pd_;
  std::unique_ptr<CompletionQueue> cq_;
  uint32_t next_id_ = 0;
  uint32_t ended_clients_ = 0;
  bool lacking_ = false;  ///< the last attempt to offer a queue pair failed
  bool full_ = false;     ///< there are as many clients as may be
  std::map<uint32_t, std::unique_ptr<Session>> sessions_;
  std::unique_ptr<Listener> listener_;  ///< goes first
};

}  // namespace qpip::apps

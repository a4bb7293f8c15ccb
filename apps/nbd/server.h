// The NBD server: what it listens on, and a thread for each connection.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "apps/common/stop.h"
#include "apps/nbd/export.h"
#include "apps/nbd/listening_sockets.h"
#include "apps/nbd/memory_budget.h"
#include "apps/nbd/qp_transport.h"
#include "apps/nbd/transmission.h"
#include "qpip/qpip.h"

namespace qpip::nbd {

struct ServerCounts {
  uint64_t connections = 0;
  TransmissionCounts transmission;  ///< of connections that have ended
};

struct ServerOptions {
  uint16_t port = 10809;  ///< of queue pairs
  bool once = false;      ///< until the first connection has ended
  /// A client that takes longer to choose an export is hung up on; 0: it may take any time.
  std::chrono::nanoseconds handshake_limit = std::chrono::seconds(10);
  /// How long a client may be silent before it is asked whether it is there. Of queue pairs: as of
  /// QpOptions, 0: as the NIC has it; of a kernel's sockets 0: for ever.
  std::chrono::seconds keepalive{60};
  bool vconn = false;            ///< queue pairs carry messages (vconn_transport.h)
  size_t max_connections = 256;  ///< more clients wait until one leaves
  /// Bytes of requests longer than Transmission::kPieceBytes, over all connections; at least
  /// kMaxPayloadBytes.
  size_t memory_bytes = 512u << 20;
  const TlsContext* tls = nullptr;  ///< of sockets; outlives the server
};

class Server {
 public:
  /// `nic`: listens there; nullptr: on sockets alone. Throws qpip::Error (port in use). References
  /// must outlive the server.
  Server(Nic* nic, std::vector<std::unique_ptr<ListeningSocket>> sockets,
         const ExportTable& exports, const ServerOptions& options, const apps::StopToken& stop);
  ~Server();  ///< Waits for the connections to end.
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  uint16_t port() const { return listener_ ? listener_->port() : uint16_t{0}; }
  const std::vector<std::unique_ptr<ListeningSocket>>& sockets() const { return sockets_; }
  /// Serves until stopped, or as `once` says. What cannot be had for a client is said on stderr,
  /// and that one waits or is refused. Throws qpip::Error when there is no room for the first on
  /// the NIC, and takes nobody on sockets either then.
  void Run();
  /// Thread-safe.
  ServerCounts counts() const;

 private:
  class Connection;
  class CountAtEnd;

  void RunOnNic();
  void RunOnSockets();
  /// Takes what waits at a socket. Returns false when something that it needs cannot be had now.
  bool AcceptFrom(ListeningSocket& socket);
  /// Throws qpip::Error.
  std::unique_ptr<QpTransport> MakeTransport();
  /// A queue pair on offer; nullptr when there is no room for one now.
  std::unique_ptr<Connection> TryToOffer();
  /// Returns false when the client had to be refused.
  bool Start(std::unique_ptr<Connection> connection);
  bool done() const;
  /// Whether there may be another connection; the first time that there may not, a line says so.
  bool HasRoom();
  void SayLack(const std::string& why);
  void Reap();
  bool any_connection() const;
  /// Waits a while for a connection to end.
  void AwaitAnEnd();
  void Serve(Connection& connection);
  void ServeExport(Connection& connection);
  void ReportEnd(const std::string& peer, const std::exception& error) const;

  Nic* nic_;
  std::vector<std::unique_ptr<ListeningSocket>> sockets_;
  const ExportTable& exports_;
  ServerOptions options_;
  const apps::StopToken& stop_;
  MemoryBudget budget_;
  bool offered_ = false;                  ///< there has been room for a client
  std::atomic<bool> lacking_ = false;     ///< there was none at the last attempt
  std::atomic<bool> nic_failed_ = false;  ///< nobody is served there, and nobody is to be elsewhere
  std::unique_ptr<ProtectionDomain> pd_;
  mutable std::mutex mutex_;  ///< of what follows
  std::condition_variable an_end_;
  std::list<std::unique_ptr<Connection>> connections_;
  bool said_limit_ = false;  ///< that no more are served at a time
  uint64_t ended_ = 0;
  ServerCounts counts_;
  std::unique_ptr<Listener> listener_;  ///< goes first
};

}  // namespace qpip::nbd

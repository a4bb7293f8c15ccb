// The NBD server: a listener, and a thread for each connection.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

#include "apps/common/stop.h"
#include "apps/nbd/export.h"
#include "apps/nbd/transmission.h"
#include "qpip/qpip.h"

namespace qpip::nbd {

struct ServerCounts {
  uint64_t connections = 0;
  TransmissionCounts transmission;  ///< of connections that have ended
};

class Server {
 public:
  /// Listens. Throws qpip::Error (port in use). All arguments must outlive the server.
  Server(Nic& nic, const ExportTable& exports, uint16_t port, const apps::StopToken& stop);
  ~Server();  ///< Waits for the connections to end.
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  uint16_t port() const { return listener_->port(); }
  /// Serves until stopped, or with `once` until the first connection has ended.
  void Run(bool once);
  /// Thread-safe.
  ServerCounts counts() const;

 private:
  class Connection;
  class CountAtEnd;

  void Start(std::unique_ptr<Connection> connection);
  void Reap();
  /// Waits a while for a connection to end.
  void AwaitAnEnd();
  void Serve(Connection& connection);

  Nic& nic_;
  const ExportTable& exports_;
  const apps::StopToken& stop_;
  std::unique_ptr<ProtectionDomain> pd_;
  std::list<std::unique_ptr<Connection>> connections_;
  mutable std::mutex mutex_;  ///< of the counts
  std::condition_variable an_end_;
  uint64_t ended_ = 0;
  ServerCounts counts_;
  std::unique_ptr<Listener> listener_;  ///< goes first
};

}  // namespace qpip::nbd

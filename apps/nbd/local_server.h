// The NBD client's inside: accepts local connections and runs a relay for each.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "apps/common/stop.h"
#include "apps/nbd/local_socket.h"
#include "apps/nbd/relay.h"
#include "qpip/qpip.h"

namespace qpip::nbd {

struct LocalServerOptions {
  Endpoint peer;
  std::chrono::nanoseconds patience{0};  ///< how long a server that is not there is tried again
  std::chrono::seconds keepalive{0};     ///< of QpOptions; 0: the NIC's
  bool exit_when_broken = false;         ///< do not go on after a relay has failed
  bool vconn = false;                    ///< messages (vconn_relay.h) instead of bytes
};

struct LocalServerCounts {
  uint64_t connections = 0;
  uint64_t failed = 0;
  uint64_t bytes_up = 0;  ///< local tools to server, of connections that have ended
  uint64_t bytes_down = 0;
};

class LocalServer {
 public:
  /// All arguments must outlive the server.
  LocalServer(Nic& nic, LocalSocket& socket, const LocalServerOptions& options,
              const apps::StopToken& stop);
  ~LocalServer();  ///< Cancels what still runs.
  LocalServer(const LocalServer&) = delete;
  LocalServer& operator=(const LocalServer&) = delete;

  /// Serves until stopped; then lets the relays finish for a bounded while. Throws apps::Failure
  /// when a relay failed and it is to exit then; else a line on stderr tells. So it does, either
  /// way, of a connection for which there is no room while there are others.
  void Run();

  const LocalServerCounts& counts() const { return counts_; }

 private:
  struct Session {
    explicit Session(std::unique_ptr<Relay> made) : relay(std::move(made)) {}
    std::unique_ptr<Relay> relay;
    std::thread thread;
    std::optional<std::string> failure;  ///< written before `ended`
    bool lack = false;                   ///< the failure is only that of this one
    bool ended = false;                  ///< under mutex_
  };

  /// Takes a connection that waits and starts its session. What cannot be had for it is said, and
  /// it waits or is refused.
  void AcceptOne();
  /// Throws qpip::Error.
  std::unique_ptr<Relay> MakeRelay(FileDescriptor local);
  void StartSession(FileDescriptor local);
  void RunSession(Session& session);
  /// Joins sessions that have ended and deals with their failures.
  void Reap();
  /// Waits until a connection or the end of a session has to be dealt with, or a stop request.
  void WaitForEvent();
  /// Waits until all sessions have ended, or the time is over. Returns whether they have.
  bool AwaitSessions(std::chrono::nanoseconds timeout);
  /// Throws apps::Failure when nothing is left to go on with.
  void OnFailure(const std::string& message, bool lack);
  /// Lets the sessions pass on what is on its way, while something moves.
  void FinishSessions();
  uint64_t BytesRelayed() const;

  Nic& nic_;
  LocalSocket& socket_;
  LocalServerOptions options_;
  const apps::StopToken& stop_;
  std::unique_ptr<ProtectionDomain> pd_;
  FileDescriptor session_ended_;  ///< an eventfd: readable when a session has ended
  std::mutex mutex_;
  std::condition_variable ended_;
  std::list<Session> sessions_;
  LocalServerCounts counts_;
  bool lacking_ = false;  ///< a connection waits for what could not be had
};

}  // namespace qpip::nbd

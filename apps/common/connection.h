// Connecting, accepting and closing for commands: each ends when the command is to stop, and each
// failure says its cause.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "apps/common/command_line.h"
#include "apps/common/stop.h"
#include "qpip/qpip.h"

namespace qpip::apps {

/// SIGINT or SIGTERM came before the work was done.
class Interrupted : public Failure {
 public:
  using Failure::Failure;
};

/// Adds --keepalive, of a command whose connections last.
void AddKeepaliveOption(CommandLine& command_line);
/// For QpOptions::keepalive: what --keepalive says, or the default; 0 when --nic names
/// keepalive_idle_s, which holds then. Throws UsageError when both are given.
std::chrono::seconds GetKeepalive(const CommandLine& command_line);

/// Adds --wait-for-server, of a command that connects.
void AddPatienceOption(CommandLine& command_line);
/// What --wait-for-server says, or two seconds. Throws UsageError.
std::chrono::nanoseconds GetPatience(const CommandLine& command_line);

/// " (from fd00::c:1:2)": for the end of an error. A client's address may be one that was made up,
/// and the cause.
std::string From(const Nic& nic);

/// Connects; blocks until established, for at most kConnectTimeout. Throws qpip::Error, naming
/// both ends, and Interrupted.
void ConnectOrStop(const Nic& nic, QueuePair& qp, const Endpoint& peer, const StopToken& stop);

/// Whether a failure to connect, an errno value, is one that a server that is about to start would
/// explain.
bool MayPass(int error);

/// While nobody answers where a server is to be.
class Patience {
 public:
  /// `patience`: from now on.
  Patience(std::chrono::nanoseconds patience, const StopToken& stop)
      : deadline_(std::chrono::steady_clock::now() + patience), stop_(stop) {}

  bool over() const { return std::chrono::steady_clock::now() >= deadline_; }
  /// Waits a moment before the next attempt. Returns false when told to stop.
  bool Pause() const;

 private:
  std::chrono::steady_clock::time_point deadline_;
  const StopToken& stop_;
};

/// The same for a server that may be about to start: while nobody answers it is tried again, with
/// another queue pair each time, until `patience` is over. `fresh` gives an idle queue pair of the
/// same NIC, in place of the one of the attempt before, which is closed for good. Throws as
/// ConnectOrStop and `fresh` do.
void ConnectPatiently(const Nic& nic, const std::function<QueuePair&()>& fresh,
                      const Endpoint& peer, std::chrono::nanoseconds patience,
                      const StopToken& stop);

/// Waits for one of the queue pairs on offer to be connected. Throws Interrupted.
QueuePair* AcceptOrStop(Listener& listener, const StopToken& stop);

/// Half-closes and waits for the peer's close, for at most `timeout` or until told to stop.
void CloseOrStop(QueuePair& qp, std::chrono::nanoseconds timeout, const StopToken& stop);

/// Why a work request failed: the connection's end where that is the cause, and the verbs' name of
/// the status. "connection reset by the peer (IBV_WC_WR_FLUSH_ERR)". `reason` is the completion's
/// or the stream's own: what the queue pair says of its end may come later than they.
std::string BrokenText(ibv_wc_status status, DisconnectReason reason);

/// "port unreachable: nobody has bound that port" when the notices tell that packets sent do not
/// arrive (ICMPv6 destination unreachable, RFC 4443 3.1); empty otherwise. Of a UDP queue pair.
std::string UnreachableText(QueuePair& qp);

}  // namespace qpip::apps

#include "apps/common/connection.h"

#include <poll.h>

#include <cerrno>

#include "apps/common/completions.h"
#include "apps/common/nic_options.h"

namespace qpip::apps {

using std::chrono::nanoseconds;
using std::chrono::steady_clock;

namespace po = boost::program_options;

namespace {

constexpr char kDefaultKeepalive[] = "60";
constexpr uint64_t kMaxKeepaliveSeconds = 1'000'000;
constexpr double kMaxPatienceSeconds = 86400;
constexpr int kRetryPeriodMs = 50;

// RFC 4443 3.1.
constexpr uint8_t kDestinationUnreachable = 1;
constexpr uint8_t kPortUnreachable = 4;

/// What a connection's end means to a user; nullptr where the work request's status says more.
const char* Meaning(DisconnectReason reason) {
  switch (reason) {
    case DisconnectReason::kReset:
      return "connection reset by the peer";
    case DisconnectReason::kTimedOut:
      return "the peer does not answer any more";
    case DisconnectReason::kUnreachable:
      return "the peer is gone";
    case DisconnectReason::kRefused:
      return "connection refused";
    case DisconnectReason::kWireFailed:
      return "this NIC's own link is gone";
    case DisconnectReason::kTerminated:
      return "one side has found an error and terminated the RDMA stream";
    case DisconnectReason::kNone:
    case DisconnectReason::kClosed:
    case DisconnectReason::kAborted:
    case DisconnectReason::kLocalError:
      break;
  }
  return nullptr;
}

void WaitConnected(QueuePair& qp, const Endpoint& peer, const StopToken& stop) {
  const auto deadline = steady_clock::now() + kConnectTimeout;
  while (!qp.WaitConnected(kStopCheck)) {
    if (stop.requested()) {
      qp.Abort();
      throw Interrupted("interrupted: connecting to " + peer.ToString() + ": not connected yet");
    }
    if (steady_clock::now() >= deadline) qp.GiveUpConnecting();
  }
}

}  // namespace

bool MayPass(int error) {
  return error == ECONNREFUSED || error == EHOSTUNREACH || error == ENETUNREACH ||
         error == ETIMEDOUT || error == ECONNRESET;
}

void AddKeepaliveOption(CommandLine& command_line) {
  command_line.Options().add_options()(
      "keepalive", po::value<std::string>()->value_name("SECONDS"),
      "TCP: a peer silent for so long is asked whether it is there, and given up when it does not "
      "answer (default 60; 0: never)");
}

std::chrono::seconds GetKeepalive(const CommandLine& command_line) {
  const bool given = command_line.Has("keepalive");
  const std::string uri = command_line.String("nic");
  if (HasParameter(uri, "keepalive_idle_s")) {
    if (!given) return std::chrono::seconds(0);
    throw UsageError("keep-alive given twice: --nic " + uri +
                     " and --keepalive: leave one of them out");
  }
  const uint64_t seconds =
      given ? command_line.Number("keepalive", 0, kMaxKeepaliveSeconds)
            : ParseNumber(kDefaultKeepalive, "keepalive", 0, kMaxKeepaliveSeconds);
  return std::chrono::seconds(seconds);
}

void AddPatienceOption(CommandLine& command_line) {
  command_line.Options().add_options()(
      "wait-for-server", po::value<std::string>()->default_value("2")->value_name("SECONDS"),
      "how long a server that does not answer is tried again (0: once)");
}

nanoseconds GetPatience(const CommandLine& command_line) {
  return ToNanoseconds(command_line.Seconds("wait-for-server", kMaxPatienceSeconds));
}

std::string From(const Nic& nic) { return " (from " + AddressToString(nic.address()) + ")"; }

void ConnectOrStop(const Nic& nic, QueuePair& qp, const Endpoint& peer, const StopToken& stop) {
  try {
    qp.StartConnect(peer);
    WaitConnected(qp, peer, stop);
  } catch (const Error& error) {
    throw Error(error.code(), error.what() + From(nic));
  }
}

bool Patience::Pause() const {
  pollfd stopped = {stop_.fd(), POLLIN, 0};
  return poll(&stopped, 1, kRetryPeriodMs) == 0;
}

void ConnectPatiently(const Nic& nic, const std::function<QueuePair&()>& fresh,
                      const Endpoint& peer, nanoseconds patience, const StopToken& stop) {
  const Patience waiting(patience, stop);
  for (;;) {
    try {
      return ConnectOrStop(nic, fresh(), peer, stop);
    } catch (const Error& error) {
      if (!MayPass(error.code()) || waiting.over()) throw;
    }
    if (!waiting.Pause()) {
      throw Interrupted("interrupted: waiting for a server at " + peer.ToString());
    }
  }
}

QueuePair* AcceptOrStop(Listener& listener, const StopToken& stop) {
  for (;;) {
    if (QueuePair* const connected = listener.Accept(kStopCheck)) return connected;
    if (stop.requested()) throw Interrupted("interrupted: nobody has connected");
  }
}

void CloseOrStop(QueuePair& qp, nanoseconds timeout, const StopToken& stop) {
  const auto deadline = steady_clock::now() + timeout;
  while (!qp.Disconnect(kStopCheck)) {
    if (stop.requested() || steady_clock::now() >= deadline) return;
  }
}

std::string BrokenText(ibv_wc_status status, DisconnectReason reason) {
  const char* const meaning = Meaning(reason);
  if (meaning == nullptr) return StatusText(status);
  return std::string(meaning) + " (" + StatusName(status) + ")";
}

std::string UnreachableText(QueuePair& qp) {
  if (!qp.has_notices()) return {};
  const QpNotices notices = qp.TakeNotices();
  if (!notices.icmp_error || notices.icmp_type != kDestinationUnreachable) return {};
  if (notices.icmp_code == kPortUnreachable) return "port unreachable: nobody has bound that port";
  return "destination unreachable (ICMPv6 code " + std::to_string(notices.icmp_code) +
         "): no route leads there, or the host is not there";
}

}  // namespace qpip::apps

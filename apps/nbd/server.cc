#include "apps/nbd/server.h"

#include <chrono>
#include <cmath>
#include <string>
#include <system_error>

#include "apps/common/command_line.h"
#include "apps/nbd/negotiation.h"
#include "apps/nbd/qp_transport.h"

namespace qpip::nbd {

namespace {

constexpr uint16_t kBacklog = 64;
/// More clients wait in the listener's backlog.
constexpr size_t kMaxConnections = 64;
/// How often the thread that accepts looks at stop requests and ended connections.
constexpr auto kAcceptPeriod = std::chrono::milliseconds(250);

void Report(const std::string& what, const Endpoint& peer, const std::string& why) {
  apps::PrintErrorLine("qpip-nbd-server", what + ": " + peer.ToString() + ": " + why);
}

}  // namespace

class Server::Connection {
 public:
  Connection(Nic& nic, ProtectionDomain& pd, const apps::StopToken& stop,
             std::chrono::seconds keepalive)
      : transport(nic, pd, stop, keepalive) {}

  QpTransport transport;
  std::thread thread;
  std::atomic<bool> ended = false;
};

/// Adds a connection's counts to the server's, however its transmission ends.
class Server::CountAtEnd {
 public:
  CountAtEnd(Server& server, const Transmission& transmission)
      : server_(server), transmission_(transmission) {}
  ~CountAtEnd() {
    const std::lock_guard lock(server_.mutex_);
    TransmissionCounts& sum = server_.counts_.transmission;
    sum.requests += transmission_.counts().requests;
    sum.bytes_read += transmission_.counts().bytes_read;
    sum.bytes_written += transmission_.counts().bytes_written;
    sum.errors += transmission_.counts().errors;
  }
  CountAtEnd(const CountAtEnd&) = delete;
  CountAtEnd& operator=(const CountAtEnd&) = delete;

 private:
  Server& server_;
  const Transmission& transmission_;
};

Server::Server(Nic& nic, const ExportTable& exports, const ServerOptions& options,
               const apps::StopToken& stop)
    : nic_(nic),
      exports_(exports),
      options_(options),
      stop_(stop),
      pd_(nic.AllocatePd()),
      listener_(nic.Listen(options.port, kBacklog)) {}

Server::~Server() {
  listener_.reset();
  for (const auto& connection : connections_) connection->thread.join();
}

void Server::Run() {
  std::unique_ptr<Connection> idle;
  bool accepted = false;
  while (!stop_.requested()) {
    Reap();
    const bool enough = options_.once && accepted;
    if (enough && connections_.empty()) break;
    if (!idle && !enough && connections_.size() < kMaxConnections) idle = TryToOffer();
    if (!idle) {
      AwaitAnEnd();
    } else if (listener_->Accept(kAcceptPeriod) != nullptr) {
      accepted |= Start(std::move(idle));
    }
  }
  listener_.reset();  // takes the offer back before `idle` goes
  idle.reset();
  while (!connections_.empty()) {
    AwaitAnEnd();
    Reap();
  }
}

std::unique_ptr<Server::Connection> Server::TryToOffer() {
  try {
    auto connection = std::make_unique<Connection>(nic_, *pd_, stop_, options_.keepalive);
    listener_->Offer(connection->transport.qp());
    offered_ = true;
    lacking_ = false;
    return connection;
  } catch (const std::exception& error) {
    if (!offered_ || nic_.failure()) throw;
    if (!lacking_) {
      apps::PrintErrorLine("qpip-nbd-server", std::string("no room for another client: ") +
                                                  error.what() + ": it waits until one leaves");
    }
    lacking_ = true;
    return nullptr;
  }
}

void Server::AwaitAnEnd() {
  std::unique_lock lock(mutex_);
  const uint64_t before = ended_;
  an_end_.wait_for(lock, kAcceptPeriod, [&] { return ended_ != before; });
}

bool Server::Start(std::unique_ptr<Connection> connection) {
  const Endpoint peer = connection->transport.qp().peer();
  Connection& started = *connections_.emplace_back(std::move(connection));
  try {
    started.thread = std::thread([this, &started] { Serve(started); });
  } catch (const std::system_error& error) {
    connections_.pop_back();  // resets the connection
    Report("client refused", peer,
           std::string("no thread for it: ") + error.code().message() +
               ": raise the limits on processes and memory, or serve fewer clients");
    return false;
  }
  const std::lock_guard lock(mutex_);
  ++counts_.connections;
  return true;
}

void Server::Reap() {
  connections_.remove_if([](const std::unique_ptr<Connection>& connection) {
    if (!connection->ended.load(std::memory_order_acquire)) return false;
    connection->thread.join();
    return true;
  });
}

void Server::ServeExport(Connection& connection) {
  QpTransport& transport = connection.transport;
  if (options_.handshake_limit.count() > 0) {
    const auto limit = std::chrono::duration<double>(options_.handshake_limit).count();
    transport.SetDeadline(std::chrono::steady_clock::now() + options_.handshake_limit,
                          "no export chosen within " +
                              std::to_string(static_cast<uint64_t>(std::ceil(limit))) +
                              " s (--handshake-limit)");
  }
  const Export* const chosen = Negotiation(transport, exports_).Run();
  if (chosen == nullptr) return;
  transport.SetDeadline(std::nullopt);
  BlockDevice& device = *chosen->device;
  Transmission transmission(transport, device, LimitsOf(device));
  const CountAtEnd count(*this, transmission);
  transmission.Run();
}

void Server::ReportEnd(const Endpoint& peer, const std::exception& error) const {
  if (nic_.failure()) return;  // which is told once for all
  Report("connection ended", peer, error.what());
}

void Server::Serve(Connection& connection) {
  const Endpoint peer = connection.transport.qp().peer();
  try {
    ServeExport(connection);
  } catch (const std::exception& error) {
    ReportEnd(peer, error);
  }
  try {
    connection.transport.Close();
  } catch (const std::exception& error) {
    ReportEnd(peer, error);
  }
  connection.ended.store(true, std::memory_order_release);
  const std::lock_guard lock(mutex_);
  ++ended_;
  an_end_.notify_one();
}

ServerCounts Server::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace qpip::nbd

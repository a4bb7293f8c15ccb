#include "apps/nbd/server.h"

#include <poll.h>

#include <array>
#include <chrono>
#include <cmath>
#include <iterator>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "apps/common/command_line.h"
#include "apps/nbd/negotiation.h"
#include "apps/nbd/socket_transport.h"
#include "apps/nbd/stream_transport.h"
#include "apps/nbd/vconn_transport.h"

namespace qpip::nbd {

namespace {

constexpr char kName[] = "qpip-nbd-server";
constexpr uint16_t kBacklog = 64;
/// How often the thread that accepts looks at stop requests and ended connections.
constexpr auto kAcceptPeriod = std::chrono::milliseconds(250);

void Report(const std::string& what, const std::string& peer, const std::string& why) {
  apps::PrintErrorLine(kName, what + ": " + peer + ": " + why);
}

}  // namespace

class Server::Connection {
 public:
  explicit Connection(std::unique_ptr<Transport> made) : transport(std::move(made)) {}

  std::unique_ptr<Transport> transport;
  std::unique_ptr<storage::ThreadExecutor> executor = std::make_unique<storage::ThreadExecutor>();
  std::string peer;
  ClientAddress address;
  QueuePair* qp = nullptr;  ///< where it is one
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

Server::Server(Nic* nic, std::vector<std::unique_ptr<ListeningSocket>> sockets,
               const ExportTable& exports, const ServerOptions& options,
               const apps::StopToken& stop)
    : nic_(nic),
      sockets_(std::move(sockets)),
      exports_(exports),
      options_(options),
      stop_(stop),
      budget_(options.memory_bytes),
      pd_(nic != nullptr ? nic->AllocatePd() : nullptr),
      listener_(nic != nullptr ? nic->Listen(options.port, kBacklog) : nullptr) {}

Server::~Server() {
  listener_.reset();
  for (const auto& connection : connections_) connection->thread.join();
}

void Server::Run() {
  if (nic_ == nullptr) {
    RunOnSockets();
  } else if (sockets_.empty()) {
    RunOnNic();
  } else {
    const std::jthread beside([this] { RunOnSockets(); });
    try {
      RunOnNic();
    } catch (...) {
      nic_failed_ = true;  // or the one beside it, which is waited for, would go on alone
      throw;
    }
  }
  while (any_connection()) {
    AwaitAnEnd();
    Reap();
  }
}

bool Server::done() const {
  if (stop_.requested() || nic_failed_) return true;
  const std::lock_guard lock(mutex_);
  return options_.once && ended_ > 0;
}

bool Server::any_connection() const {
  const std::lock_guard lock(mutex_);
  return !connections_.empty();
}

bool Server::HasRoom() {
  const std::lock_guard lock(mutex_);
  if (options_.once && counts_.connections > 0) return false;
  if (connections_.size() < options_.max_connections) return true;
  if (!std::exchange(said_limit_, true))
    SayLack(std::to_string(options_.max_connections) + " are being served (--max-connections)");
  return false;
}

void Server::SayLack(const std::string& why) {
  if (lacking_.exchange(true)) return;
  apps::PrintErrorLine(kName, "no room for another client: " + why + ": it waits until one leaves");
}

// --- Queue pairs

void Server::RunOnNic() {
  std::unique_ptr<Connection> idle;
  while (!done()) {
    Reap();
    if (!idle && HasRoom()) idle = TryToOffer();
    if (!idle) {
      AwaitAnEnd();
      continue;
    }
    // Not in Accept: who waits there takes part in running the NIC, in the way of those who serve.
    std::array<pollfd, 2> descriptors = {pollfd{listener_->fd(), POLLIN, 0},
                                         pollfd{stop_.fd(), POLLIN, 0}};
    poll(descriptors.data(), descriptors.size(), static_cast<int>(kAcceptPeriod.count()));
    if (listener_->Accept(std::chrono::seconds(0)) == nullptr) continue;
    idle->peer = idle->qp->peer().ToString();
    idle->address = idle->qp->peer().address;
    Start(std::exchange(idle, nullptr));
  }
  listener_.reset();  // takes the offer back before `idle` goes
}

std::unique_ptr<QpTransport> Server::MakeTransport() {
  if (options_.vconn) {
    return std::make_unique<VconnTransport>(*nic_, *pd_, stop_, options_.keepalive);
  }
  return std::make_unique<StreamTransport>(*nic_, *pd_, stop_, options_.keepalive);
}

std::unique_ptr<Server::Connection> Server::TryToOffer() {
  try {
    auto transport = MakeTransport();
    QueuePair& qp = transport->qp();
    auto connection = std::make_unique<Connection>(std::move(transport));
    connection->qp = &qp;
    listener_->Offer(qp);
    offered_ = true;
    lacking_ = false;
    return connection;
  } catch (const std::exception& error) {
    if (!offered_ || nic_->failure()) throw;
    SayLack(error.what());
    return nullptr;
  }
}

// --- Sockets

void Server::RunOnSockets() {
  bool room = true;
  std::vector<pollfd> descriptors;
  while (!done()) {
    Reap();
    room = room && HasRoom();
    descriptors.assign({pollfd{stop_.fd(), POLLIN, 0}});
    for (const auto& socket : sockets_) {
      descriptors.push_back({room ? socket->fd() : -1, POLLIN, 0});
    }
    poll(descriptors.data(), descriptors.size(), static_cast<int>(kAcceptPeriod.count()));
    room = true;
    for (size_t i = 0; i < sockets_.size(); ++i) {
      // Each anew: another socket's client may have had the last place.
      if (descriptors[i + 1].revents != 0 && (!HasRoom() || !AcceptFrom(*sockets_[i])))
        room = false;
    }
  }
}

bool Server::AcceptFrom(ListeningSocket& socket) {
  try {
    AcceptedSocket accepted = socket.Accept();
    if (!accepted.socket) return true;
    auto connection = std::make_unique<Connection>(
        std::make_unique<SocketTransport>(std::move(accepted.socket), stop_, options_.keepalive));
    connection->peer = std::move(accepted.peer);
    connection->address = accepted.address;
    lacking_ = false;
    Start(std::move(connection));
    return true;
  } catch (const Lack& lack) {
    if (!lacking_.exchange(true)) apps::PrintErrorLine(kName, lack.what());
  } catch (const std::exception& error) {
    Report("client refused", socket.uri(), error.what());
  }
  return false;
}

// --- Connections

void Server::AwaitAnEnd() {
  std::unique_lock lock(mutex_);
  const uint64_t before = ended_;
  an_end_.wait_for(lock, kAcceptPeriod, [&] { return ended_ != before; });
}

bool Server::Start(std::unique_ptr<Connection> connection) {
  Connection& started = *connection;
  const std::lock_guard lock(mutex_);
  try {
    started.thread = std::thread([this, &started] { Serve(started); });
  } catch (const std::system_error& error) {
    Report("client refused", started.peer,
           std::string("no thread for it: ") + error.code().message() +
               ": raise the limits on processes and memory, or serve fewer clients");
    return false;  // resets the connection
  }
  connections_.push_back(std::move(connection));
  ++counts_.connections;
  return true;
}

void Server::Reap() {
  std::list<std::unique_ptr<Connection>> over;
  {
    const std::lock_guard lock(mutex_);
    for (auto at = connections_.begin(); at != connections_.end();) {
      const auto next = std::next(at);
      if ((*at)->ended.load(std::memory_order_acquire)) over.splice(over.end(), connections_, at);
      at = next;
    }
  }
  for (const auto& connection : over) connection->thread.join();
}

void Server::ServeExport(Connection& connection) {
  Transport& transport = *connection.transport;
  if (options_.handshake_limit.count() > 0) {
    const auto limit = std::chrono::duration<double>(options_.handshake_limit).count();
    transport.SetDeadline(std::chrono::steady_clock::now() + options_.handshake_limit,
                          "no export chosen within " +
                              std::to_string(static_cast<uint64_t>(std::ceil(limit))) +
                              " s (--handshake-limit)");
  }
  const ExportTable visible = exports_.VisibleTo(connection.address);
  const Agreement agreement =
      Negotiation(transport, visible, connection.qp == nullptr ? options_.tls : nullptr).Run();
  if (agreement.chosen == nullptr) return;
  transport.SetDeadline(std::nullopt, {});
  Transmission transmission(transport, *connection.executor, agreement, budget_);
  const CountAtEnd count(*this, transmission);
  transmission.Run();
}

void Server::ReportEnd(const std::string& peer, const std::exception& error) const {
  if (nic_ != nullptr && nic_->failure()) return;  // which is told once for all
  Report("connection ended", peer, error.what());
}

void Server::Serve(Connection& connection) {
  try {
    ServeExport(connection);
  } catch (const std::exception& error) {
    ReportEnd(connection.peer, error);
  }
  try {
    connection.transport->Close();
  } catch (const std::exception& error) {
    ReportEnd(connection.peer, error);
  }
  // Here, not where connections are accepted: an upstream's client takes leave of its server, which
  // may take a second.
  connection.executor.reset();
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

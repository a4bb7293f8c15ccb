#include "apps/nbd/server.h"

#include <chrono>
#include <cstdio>
#include <string>

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

void Report(const Endpoint& peer, const char* what) {
  const std::string line =
      "qpip-nbd-server: connection ended: " + peer.ToString() + ": " + apps::OneLine(what) + "\n";
  std::fputs(line.c_str(), stderr);
}

}  // namespace

class Server::Connection {
 public:
  Connection(Nic& nic, ProtectionDomain& pd, const apps::StopToken& stop)
      : transport(nic, pd, stop) {}

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

Server::Server(Nic& nic, const ExportTable& exports, uint16_t port, const apps::StopToken& stop)
    : nic_(nic),
      exports_(exports),
      stop_(stop),
      pd_(nic.AllocatePd()),
      listener_(nic.Listen(port, kBacklog)) {}

Server::~Server() {
  listener_.reset();
  for (const auto& connection : connections_) connection->thread.join();
}

void Server::Run(bool once) {
  std::unique_ptr<Connection> idle;
  bool accepted = false;
  while (!stop_.requested()) {
    Reap();
    const bool enough = once && accepted;
    if (enough && connections_.empty()) break;
    if (!idle && !enough && connections_.size() < kMaxConnections) {
      idle = std::make_unique<Connection>(nic_, *pd_, stop_);
      listener_->Offer(idle->transport.qp());
    }
    if (!idle) {
      AwaitAnEnd();
    } else if (listener_->Accept(kAcceptPeriod) != nullptr) {
      Start(std::move(idle));
      accepted = true;
    }
  }
  listener_.reset();  // takes the offer back before `idle` goes
}

void Server::AwaitAnEnd() {
  std::unique_lock lock(mutex_);
  const uint64_t before = ended_;
  an_end_.wait_for(lock, kAcceptPeriod, [&] { return ended_ != before; });
}

void Server::Start(std::unique_ptr<Connection> connection) {
  {
    const std::lock_guard lock(mutex_);
    ++counts_.connections;
  }
  Connection& started = *connections_.emplace_back(std::move(connection));
  started.thread = std::thread([this, &started] { Serve(started); });
}

void Server::Reap() {
  connections_.remove_if([](const std::unique_ptr<Connection>& connection) {
    if (!connection->ended.load(std::memory_order_acquire)) return false;
    connection->thread.join();
    return true;
  });
}

void Server::Serve(Connection& connection) {
  QpTransport& transport = connection.transport;
  const Endpoint peer = transport.qp().peer();
  try {
    if (const Export* chosen = Negotiation(transport, exports_).Run()) {
      BlockDevice& device = *chosen->device;
      Transmission transmission(transport, device, LimitsOf(device));
      const CountAtEnd count(*this, transmission);
      transmission.Run();
    }
  } catch (const std::exception& error) {
    Report(peer, error.what());
  }
  try {
    transport.Close();
  } catch (const std::exception& error) {
    Report(peer, error.what());
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

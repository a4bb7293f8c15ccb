#include "apps/nbd/local_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "apps/common/command_line.h"
#include "apps/nbd/stream_relay.h"
#include "apps/nbd/vconn_relay.h"

namespace qpip::nbd {

namespace {

constexpr char kName[] = "qpip-nbd-client";

/// After a stop request: how long relays may take to pass on what is on its way, and how long when
/// nothing of it moves.
constexpr auto kStopGrace = std::chrono::seconds(5);
constexpr auto kStuckGrace = std::chrono::milliseconds(500);
/// How often a connection that waits for what could not be had is tried again.
constexpr int kRetryMs = 250;

}  // namespace

LocalServer::LocalServer(Nic& nic, LocalSocket& socket, const LocalServerOptions& options,
                         const apps::StopToken& stop)
    : nic_(nic),
      socket_(socket),
      options_(options),
      stop_(stop),
      pd_(nic.AllocatePd()),
      session_ended_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!session_ended_) throw apps::Failure(std::string("no eventfd: ") + std::strerror(errno));
}

LocalServer::~LocalServer() {
  for (Session& session : sessions_) session.relay->Cancel();
  for (Session& session : sessions_) session.thread.join();
}

void LocalServer::Run() {
  while (!stop_.requested()) {
    WaitForEvent();
    Reap();
    AcceptOne();
  }
  FinishSessions();
  Reap();
}

void LocalServer::FinishSessions() {
  for (Session& session : sessions_) session.relay->Finish();
  const auto deadline = std::chrono::steady_clock::now() + kStopGrace;
  for (uint64_t before = UINT64_MAX; before != BytesRelayed();) {
    before = BytesRelayed();
    if (AwaitSessions(kStuckGrace) || std::chrono::steady_clock::now() > deadline) break;
  }
  for (Session& session : sessions_) session.relay->Cancel();
  AwaitSessions(std::chrono::nanoseconds::max());
}

uint64_t LocalServer::BytesRelayed() const {
  uint64_t bytes = 0;
  for (const Session& session : sessions_) {
    bytes += session.relay->bytes_up() + session.relay->bytes_down();
  }
  return bytes;
}

void LocalServer::WaitForEvent() {
  // A connection that cannot be taken now would end every wait at once.
  const int waiting = lacking_ ? -1 : socket_.fd();
  std::array<pollfd, 3> descriptors = {pollfd{waiting, POLLIN, 0},
                                       pollfd{session_ended_.get(), POLLIN, 0},
                                       pollfd{stop_.fd(), POLLIN, 0}};
  poll(descriptors.data(), descriptors.size(), lacking_ ? kRetryMs : -1);
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t n = read(session_ended_.get(), &count, sizeof count);
}

void LocalServer::AcceptOne() {
  FileDescriptor local;
  try {
    local = socket_.Accept();
    lacking_ = false;
  } catch (const Lack& lack) {
    if (!lacking_) apps::PrintErrorLine(kName, lack.what());
    lacking_ = true;
  }
  if (local) StartSession(std::move(local));
}

std::unique_ptr<Relay> LocalServer::MakeRelay(FileDescriptor local) {
  if (options_.vconn) {
    return std::make_unique<VconnRelay>(nic_, *pd_, std::move(local), options_.keepalive);
  }
  return std::make_unique<StreamRelay>(nic_, *pd_, std::move(local), options_.keepalive);
}

void LocalServer::StartSession(FileDescriptor local) {
  ++counts_.connections;
  const size_t before = sessions_.size();
  try {
    Session& session = sessions_.emplace_back(MakeRelay(std::move(local)));
    session.thread = std::thread([this, &session] { RunSession(session); });
  } catch (const std::exception& error) {
    // A queue pair, memory or a thread: it hangs up on the tool.
    if (sessions_.size() > before) sessions_.pop_back();
    OnFailure(std::string("no room for another connection: ") + error.what() +
                  ": refused; raise the limits, or use fewer at a time",
              /*lack=*/true);
  }
}

void LocalServer::RunSession(Session& session) {
  try {
    session.failure = session.relay->Run(options_.peer, options_.patience, stop_);
  } catch (const Lack& lack) {
    session.failure = lack.what();
    session.lack = true;
  }
  const std::lock_guard lock(mutex_);
  session.ended = true;
  ended_.notify_all();
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(session_ended_.get(), &one, sizeof one);
}

bool LocalServer::AwaitSessions(std::chrono::nanoseconds timeout) {
  const auto all_ended = [this] {
    return std::all_of(sessions_.begin(), sessions_.end(),
                       [](const Session& session) { return session.ended; });
  };
  std::unique_lock lock(mutex_);
  if (timeout != std::chrono::nanoseconds::max()) return ended_.wait_for(lock, timeout, all_ended);
  ended_.wait(lock, all_ended);
  return true;
}

void LocalServer::Reap() {
  for (auto session = sessions_.begin(); session != sessions_.end();) {
    {
      const std::lock_guard lock(mutex_);
      if (!session->ended) {
        ++session;
        continue;
      }
    }
    session->thread.join();
    counts_.bytes_up += session->relay->bytes_up();
    counts_.bytes_down += session->relay->bytes_down();
    const std::optional<std::string> failure = session->failure;
    const bool lack = session->lack;
    session = sessions_.erase(session);
    if (failure) OnFailure(*failure, lack);
  }
}

void LocalServer::OnFailure(const std::string& message, bool lack) {
  ++counts_.failed;
  const bool others_go_on = lack && !sessions_.empty();
  if (options_.exit_when_broken && !others_go_on) throw apps::Failure(message);
  if (nic_.failure()) return;  // which is told once for all
  apps::PrintErrorLine(kName, message);
}

}  // namespace qpip::nbd

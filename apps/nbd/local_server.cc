#include "apps/nbd/local_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "apps/common/command_line.h"

namespace qpip::nbd {

namespace {

/// After a stop request: how long relays may take to pass on what is on its way.
constexpr auto kStopGrace = std::chrono::seconds(5);

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
  for (Session& session : sessions_) session.relay.Cancel();
  for (Session& session : sessions_) session.thread.join();
}

void LocalServer::Run() {
  while (!stop_.requested()) {
    WaitForEvent();
    Reap();
    if (FileDescriptor local = socket_.Accept()) StartSession(std::move(local));
  }
  for (Session& session : sessions_) session.relay.Finish();
  AwaitSessions(kStopGrace);
  for (Session& session : sessions_) session.relay.Cancel();
  AwaitSessions(std::chrono::nanoseconds::max());
  Reap();
}

void LocalServer::WaitForEvent() {
  std::array<pollfd, 3> descriptors = {pollfd{socket_.fd(), POLLIN, 0},
                                       pollfd{session_ended_.get(), POLLIN, 0},
                                       pollfd{stop_.fd(), POLLIN, 0}};
  poll(descriptors.data(), descriptors.size(), -1);
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t n = read(session_ended_.get(), &count, sizeof count);
}

void LocalServer::StartSession(FileDescriptor local) {
  ++counts_.connections;
  Session& session = sessions_.emplace_back(nic_, *pd_, std::move(local));
  session.thread = std::thread([this, &session] {
    session.failure = session.relay.Run(options_.peer, options_.patience);
    const std::lock_guard lock(mutex_);
    session.ended = true;
    ended_.notify_all();
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = write(session_ended_.get(), &one, sizeof one);
  });
}

void LocalServer::AwaitSessions(std::chrono::nanoseconds timeout) {
  const auto all_ended = [this] {
    return std::all_of(sessions_.begin(), sessions_.end(),
                       [](const Session& session) { return session.ended; });
  };
  std::unique_lock lock(mutex_);
  if (timeout == std::chrono::nanoseconds::max()) {
    ended_.wait(lock, all_ended);
  } else {
    ended_.wait_for(lock, timeout, all_ended);
  }
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
    counts_.bytes_up += session->relay.bytes_up();
    counts_.bytes_down += session->relay.bytes_down();
    const std::optional<std::string> failure = session->failure;
    session = sessions_.erase(session);
    if (failure) OnFailure(*failure);
  }
}

void LocalServer::OnFailure(const std::string& message) {
  ++counts_.failed;
  if (!options_.keep_serving) throw apps::Failure(message);
  const std::string line = "qpip-nbd-client: " + apps::OneLine(message) + "\n";
  std::fputs(line.c_str(), stderr);
}

}  // namespace qpip::nbd

#include "apps/nbd/relay.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>

#include "apps/common/connection.h"

namespace qpip::nbd {

namespace {

/// Work requests of one queue pair's sends: its buffers, and as much again.
constexpr uint32_t kSendCompletions = 64;
constexpr auto kCloseTimeout = std::chrono::seconds(3);

}  // namespace

Relay::Relay(Nic& nic, ProtectionDomain& pd, FileDescriptor local, std::chrono::seconds keepalive)
    : nic_(nic),
      pd_(pd),
      keepalive_(keepalive),
      local_(std::move(local)),
      send_cq_(nic.CreateCq(kSendCompletions)),
      recv_cq_(nic.CreateCq(kReceives)),
      send_memory_(pd.Allocate(kSendBytes * kSends)) {}

void Relay::CreateQp() {
  const std::lock_guard lock(qp_mutex_);
  qp_.reset();
  qp_ = MakeQp();
}

bool Relay::Connect(const Endpoint& peer, std::chrono::nanoseconds patience,
                    const apps::StopToken& stop) {
  bool tried = false;
  const auto fresh = [&]() -> QueuePair& {
    if (std::exchange(tried, true)) {
      if (ended_here_) throw apps::Interrupted("ended by the local tool");
      CreateQp();
      std::array<WorkCompletion, kReceives> flushed;
      (void)recv_cq_->Poll(flushed);  // receives of the queue pair before
    }
    return *qp_;
  };
  try {
    apps::ConnectPatiently(nic_, fresh, peer, patience, stop);
    return true;
  } catch (const apps::Interrupted&) {
    return false;
  }
}

std::optional<std::string> Relay::Run(const Endpoint& peer, std::chrono::nanoseconds patience,
                                      const apps::StopToken& stop) {
  try {
    if (!Connect(peer, patience, stop)) return std::nullopt;
    RunBothWays();
    if (!ended_here_ && qp_->state() != QpState::kClosed) {
      apps::CloseOrStop(*qp_, kCloseTimeout, stop);
    }
  } catch (const Lack&) {
    throw;
  } catch (const std::exception& error) {
    return error.what();
  }
  return FailureText(peer);
}

void Relay::RunBothWays() {
  // Joins in its destructor; should this side throw, it must not wait for the other for ever.
  std::jthread downstream;
  try {
    downstream = std::jthread([this] { RunDownstream(); });
  } catch (const std::system_error& error) {
    throw Lack(std::string("no thread for another connection: ") + error.code().message());
  }
  try {
    RunUpstream();
  } catch (...) {
    Cancel();
    throw;
  }
}

size_t Relay::ReadFromTool(std::byte* to, size_t bytes) {
  // The tool often shares the processor: while this thread gives way, it sends what else it has,
  // and several requests are one read, one message and one wake-up of the server.
  pollfd descriptor = {local_.get(), POLLIN, 0};
  poll(&descriptor, 1, -1);
  give_way_.Try();
  for (;;) {
    const ssize_t n = read(local_.get(), to, bytes);
    if (n > 0) bytes_up_.fetch_add(static_cast<uint64_t>(n), std::memory_order_relaxed);
    if (n >= 0) return static_cast<size_t>(n);
    if (errno != EINTR) return 0;  // a connection that was reset
  }
}

std::optional<size_t> Relay::WriteToTool(std::span<const iovec> list) {
  const ssize_t n = writev(local_.get(), list.data(), static_cast<int>(list.size()));
  if (n >= 0) {
    bytes_down_.fetch_add(static_cast<uint64_t>(n), std::memory_order_relaxed);
    return static_cast<size_t>(n);
  }
  if (errno == EINTR) return 0;
  ended_here_ = true;
  qp_->Abort();
  return std::nullopt;
}

void Relay::EndTool(bool broken) { shutdown(local_.get(), broken ? SHUT_RDWR : SHUT_WR); }

void Relay::Finish() { shutdown(local_.get(), SHUT_RD); }

void Relay::Cancel() {
  ended_here_ = true;
  shutdown(local_.get(), SHUT_RDWR);
  const std::lock_guard lock(qp_mutex_);
  if (qp_->state() != QpState::kIdle) qp_->Abort();
}

std::optional<std::string> Relay::FailureText(const Endpoint& peer) const {
  if (ended_here_) return std::nullopt;
  const std::optional<std::string> why = WhyBroken();
  if (!why) return std::nullopt;
  return "connection broken: " + peer.ToString() + ": " + *why +
         ": is the server running, and the wire up?";
}

}  // namespace qpip::nbd

#include "apps/nbd/relay.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>

#include "apps/common/completions.h"
#include "apps/common/connection.h"
#include "apps/common/give_way.h"

namespace qpip::nbd {

namespace {

constexpr size_t kReceiveBytes = 64 * 1024;
constexpr uint32_t kReceives = 32;
constexpr size_t kSendBytes = 128 * 1024;
constexpr size_t kSends = 16;
constexpr size_t kMaxRuns = 32;
constexpr auto kCloseTimeout = std::chrono::seconds(3);

/// Reads some bytes, restarting after signals. 0: the end, also of a connection that was reset.
size_t ReadSome(int fd, void* to, size_t bytes) {
  for (;;) {
    const ssize_t n = read(fd, to, bytes);
    if (n >= 0) return static_cast<size_t>(n);
    if (errno != EINTR) return 0;
  }
}

/// Until there is something to read. The tool often shares the processor: while this thread then
/// gives way, it sends what else it has, and several requests are one read, one message and one
/// wake-up of the server.
void AwaitTool(int fd) {
  pollfd descriptor = {fd, POLLIN, 0};
  poll(&descriptor, 1, -1);
}

}  // namespace

Relay::Relay(Nic& nic, ProtectionDomain& pd, FileDescriptor local)
    : nic_(nic),
      pd_(pd),
      local_(std::move(local)),
      send_cq_(nic.CreateCq(kSends * 2)),
      recv_cq_(nic.CreateCq(kReceives)),
      send_memory_(pd.Allocate(kSendBytes * kSends)),
      tickets_(kSends, 0) {
  CreateQp();
}

Relay::~Relay() {
  // The queue pair goes first: after that nothing refers to the memory.
  qp_.reset();
}

void Relay::CreateQp() {
  const std::lock_guard lock(qp_mutex_);
  qp_.reset();
  qp_ = nic_.CreateQp(pd_, {.framing = Framing::kStream,
                            .send_cq = send_cq_.get(),
                            .recv_cq = recv_cq_.get(),
                            .send_depth = kSends * 2,
                            .recv_depth = kReceives,
                            .max_send_sge = 1,
                            .max_recv_sge = 1,
                            .receive_reservation = kReceives * kReceiveBytes});
  reader_ = std::make_unique<StreamReader>(
      pd_, *qp_, StreamReaderOptions{.buffer_bytes = kReceiveBytes, .buffers = kReceives});
  // Nothing is copied into the writer's ring here, so it may be small.
  writer_ = std::make_unique<StreamWriter>(pd_, *qp_, StreamWriterOptions{.buffer_bytes = 4096});
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

void Relay::RunUpstream() {
  auto* const memory = static_cast<uint8_t*>(send_memory_->data());
  apps::GiveWay give_way;
  for (size_t index = 0;; index = (index + 1) % kSends) {
    if (!AwaitSendBuffer(index)) return;
    AwaitTool(local_.get());
    give_way.Try();
    const size_t bytes = ReadSome(local_.get(), memory + index * kSendBytes, kSendBytes);
    if (bytes == 0) break;
    if (!SendBuffer(index, bytes)) return;
    bytes_up_.fetch_add(bytes, std::memory_order_relaxed);
  }
  qp_->Shutdown();
}

bool Relay::AwaitSendBuffer(size_t index) {
  while (!writer_->Done(tickets_[index])) PumpSends();
  return writer_->state() != StreamState::kError;
}

bool Relay::SendBuffer(size_t index, size_t bytes) {
  const ibv_sge element = send_memory_->Sge(index * kSendBytes, static_cast<uint32_t>(bytes));
  for (;;) {
    if (const auto ticket = writer_->WriteRegistered({&element, 1})) {
      tickets_[index] = *ticket;
      break;
    }
    if (writer_->state() == StreamState::kError) return false;
    PumpSends();
  }
  return true;
}

void Relay::PumpSends() {
  std::array<WorkCompletion, kSends> completions;
  const size_t count = send_cq_->Wait(completions);
  for (size_t i = 0; i < count; ++i) writer_->OnCompletion(completions[i]);
}

void Relay::RunDownstream() {
  while (!reader_->drained()) {
    if (reader_->available() > 0) {
      if (WriteReceived()) continue;
      ended_here_ = true;
      qp_->Abort();
      break;
    }
    std::array<WorkCompletion, kReceives> completions;
    const size_t count = recv_cq_->Wait(completions);
    for (size_t i = 0; i < count; ++i) reader_->OnCompletion(completions[i]);
  }
  // A broken connection ends the local tool's direction too: it could go nowhere.
  const bool broken = reader_->state() != StreamState::kEndOfStream;
  shutdown(local_.get(), broken ? SHUT_RDWR : SHUT_WR);
}

bool Relay::WriteReceived() {
  std::array<std::span<const std::byte>, kMaxRuns> runs;
  std::array<iovec, kMaxRuns> list;
  const size_t count = reader_->Readable(runs);
  for (size_t i = 0; i < count; ++i) {
    list[i] = {const_cast<std::byte*>(runs[i].data()), runs[i].size()};
  }
  const ssize_t n = writev(local_.get(), list.data(), static_cast<int>(count));
  if (n < 0) return errno == EINTR;
  reader_->Consume(static_cast<size_t>(n));
  bytes_down_.fetch_add(static_cast<uint64_t>(n), std::memory_order_relaxed);
  return true;
}

void Relay::Finish() { shutdown(local_.get(), SHUT_RD); }

void Relay::Cancel() {
  ended_here_ = true;
  shutdown(local_.get(), SHUT_RDWR);
  const std::lock_guard lock(qp_mutex_);
  if (qp_->state() != QpState::kIdle) qp_->Abort();
}

std::optional<std::string> Relay::FailureText(const Endpoint& peer) const {
  if (ended_here_) return std::nullopt;
  const bool reading = reader_->state() == StreamState::kError;
  const bool writing = writer_->state() == StreamState::kError;
  if (!reading && !writing) return std::nullopt;
  // Of the two directions one names the cause, the other may only have been flushed.
  const bool by_writer = writing && (!reading || reader_->error() == IBV_WC_WR_FLUSH_ERR);
  const std::string why = by_writer ? apps::BrokenText(writer_->error(), writer_->reason())
                                    : apps::BrokenText(reader_->error(), reader_->reason());
  return "connection broken: " + peer.ToString() + ": " + why +
         ": is the server running, and the wire up?";
}

}  // namespace qpip::nbd

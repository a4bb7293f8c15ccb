#include "apps/nbd/qp_transport.h"

#include <poll.h>

#include <algorithm>
#include <string>

#include "apps/common/completions.h"
#include "apps/common/connection.h"

namespace qpip::nbd {

using std::chrono::nanoseconds;

namespace {

constexpr size_t kReceiveBytes = 64 * 1024;
constexpr uint32_t kReceives = 32;
constexpr size_t kPayloadBytes = 2 * 1024 * 1024;
constexpr uint32_t kSendDepth = 64;
/// Header and one payload buffer.
constexpr uint32_t kSendElements = 2;
constexpr auto kCloseTimeout = std::chrono::seconds(3);

std::span<const std::byte> Bytes(std::span<const uint8_t> bytes) { return std::as_bytes(bytes); }

}  // namespace

QpTransport::QpTransport(Nic& nic, ProtectionDomain& pd, const apps::StopToken& stop,
                         std::chrono::seconds keepalive)
    : stopping_(stop),
      cq_(nic.CreateCq(kReceives + kSendDepth)),
      qp_(nic.CreateQp(pd, {.framing = Framing::kStream,
                            .send_cq = cq_.get(),
                            .recv_cq = cq_.get(),
                            .send_depth = kSendDepth,
                            .recv_depth = kReceives,
                            .max_send_sge = kSendElements,
                            .max_recv_sge = 1,
                            .receive_reservation = kReceives * kReceiveBytes,
                            .keepalive = keepalive})),
      reader_(std::make_unique<StreamReader>(
          pd, *qp_, StreamReaderOptions{.buffer_bytes = kReceiveBytes, .buffers = kReceives})),
      writer_(std::make_unique<StreamWriter>(pd, *qp_)),
      payload_(pd.Allocate(kPayloadBytes)) {
  // A descriptor that cannot be had refuses this client now, and cuts none off later.
  cq_->fd();
}

QpTransport::~QpTransport() {
  // The queue pair goes first: after that nothing refers to the memory.
  qp_.reset();
}

void QpTransport::Close() {
  if (qp_->state() == QpState::kIdle || qp_->state() == QpState::kClosed) return;
  qp_->Shutdown();
  const auto deadline = Clock::now() + kCloseTimeout;
  while (!qp_->Disconnect(apps::kStopCheck) && Clock::now() < deadline) {
    HandOut(cq_->Poll(completions_));
    if (stopping_.requested() && (writer_->idle() || stopping_.GraceIsOver())) return;
  }
}

void QpTransport::SetDeadline(std::optional<Clock::time_point> deadline, std::string why) {
  stopping_.SetDeadline(deadline, std::move(why));
}

void QpTransport::HandOut(size_t count) {
  for (const WorkCompletion& completion : std::span(completions_).first(count)) {
    if (!reader_->OnCompletion(completion)) writer_->OnCompletion(completion);
  }
}

void QpTransport::Await(storage::ThreadExecutor* executor, WaitFor what, bool reading,
                        std::chrono::milliseconds most) {
  if (reading && reader_->available() > 0) return;
  if (executor == nullptr) return Pump(what);
  PumpBeside(*executor, what, most);
}

void QpTransport::Pump(WaitFor what) {
  if (what == WaitFor::kNextMessage) {
    Timeout left;
    if (const auto deadline = stopping_.deadline()) {
      left = std::max(nanoseconds(0), nanoseconds(*deadline - Clock::now()));
    }
    HandOut(apps::WaitOrStop(*cq_, completions_, stopping_.token(), left));
    return ThrowIfTimeIsUp();
  }
  const size_t count = cq_->Wait(completions_, apps::kStopCheck);
  HandOut(count);
  ThrowIfTimeIsUp();
  if (stopping_.requested()) stopping_.ThrowIfStuck(count > 0);
}

void QpTransport::PumpBeside(storage::ThreadExecutor& executor, WaitFor what,
                             std::chrono::milliseconds most) {
  size_t count = cq_->Poll(completions_);
  if (count == 0) {
    if (!executor.Sleep()) return;
    if (cq_->Arm()) {
      std::array<pollfd, 3> descriptors = {
          pollfd{executor.fd(), POLLIN, 0}, pollfd{cq_->fd(), POLLIN, 0},
          pollfd{stopping_.requested() ? -1 : stopping_.token().fd(), POLLIN, 0}};
      const auto limit = stopping_.Limit(most);
      poll(descriptors.data(), descriptors.size(), static_cast<int>(limit.count()));
      cq_->Acknowledge();
    }
    executor.Awake();
    count = cq_->Poll(completions_);
  }
  HandOut(count);
  ThrowIfTimeIsUp();
  if (what == WaitFor::kRestOfMessage && stopping_.requested()) stopping_.ThrowIfStuck(count > 0);
}

void QpTransport::ThrowIfTimeIsUp() {
  const std::string* const why = stopping_.Overdue();
  if (why == nullptr) return;
  qp_->Abort();  // a peer that keeps silent would not answer a FIN either
  throw ConnectionLost(*why);
}

void QpTransport::ThrowIfSendFailed() const {
  if (writer_->state() != StreamState::kError) return;
  throw ConnectionLost(apps::BrokenText(writer_->error(), writer_->reason()));
}

Readable QpTransport::Look(std::span<iovec> out, WaitFor what) {
  constexpr size_t kMaxRuns = 32;
  std::array<std::span<const std::byte>, kMaxRuns> runs;
  for (;;) {
    const bool stopping = what == WaitFor::kNextMessage && stopping_.requested();
    if (stopping && stopping_.GraceIsOver()) return {.ended = true};
    const size_t count = reader_->Readable(std::span(runs).first(std::min(kMaxRuns, out.size())));
    for (size_t i = 0; i < count; ++i) {
      out[i] = {const_cast<std::byte*>(runs[i].data()), runs[i].size()};
    }
    if (count > 0) return {.runs = count};
    if (reader_->state() == StreamState::kEndOfStream) return {.ended = true};
    if (reader_->state() == StreamState::kError) {
      throw ConnectionLost(apps::BrokenText(reader_->error(), reader_->reason()));
    }
    // What has already arrived is still served, within the grace period.
    const size_t arrived = cq_->Poll(completions_);
    HandOut(arrived);
    if (arrived == 0) return {.ended = stopping};
  }
}

void QpTransport::Consume(size_t bytes) { reader_->Consume(bytes); }

void QpTransport::Send(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const size_t taken = writer_->Write(Bytes(bytes));
    bytes = bytes.subspan(taken);
    if (taken > 0) continue;
    ThrowIfSendFailed();
    Pump(WaitFor::kRestOfMessage);
  }
}

std::span<std::byte> QpTransport::payload_area() {
  return {static_cast<std::byte*>(payload_->data()), kPayloadBytes};
}

uint64_t QpTransport::SendPayload(std::span<const uint8_t> header,
                                  std::span<const std::byte> payload) {
  const auto offset =
      static_cast<size_t>(payload.data() - static_cast<const std::byte*>(payload_->data()));
  const ibv_sge element = payload_->Sge(offset, static_cast<uint32_t>(payload.size()));
  for (;;) {
    if (const auto ticket = writer_->WriteRegistered({&element, 1}, Bytes(header))) return *ticket;
    ThrowIfSendFailed();
    Pump(WaitFor::kRestOfMessage);
  }
}

}  // namespace qpip::nbd

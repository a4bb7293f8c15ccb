#include "apps/nbd/qp_transport.h"

#include <algorithm>
#include <string>

#include "apps/common/completions.h"
#include "apps/common/connection.h"

namespace qpip::nbd {

using std::chrono::nanoseconds;

namespace {

constexpr size_t kReceiveBytes = 64 * 1024;
constexpr uint32_t kReceives = 32;
constexpr size_t kPayloadBytes = 256 * 1024;
constexpr size_t kPayloads = 8;
constexpr uint32_t kSendDepth = 64;
/// Header and one payload buffer.
constexpr uint32_t kSendElements = 2;
/// After a stop request: how long requests that have arrived are served, the rest of a message and
/// room for replies waited for. A client that never pauses always has another request on its way.
constexpr auto kStopGrace = std::chrono::milliseconds(400);
/// The same while nothing moves at all.
constexpr auto kStuckGrace = std::chrono::milliseconds(300);
constexpr auto kCloseTimeout = std::chrono::seconds(3);

std::span<const std::byte> Bytes(std::span<const uint8_t> bytes) { return std::as_bytes(bytes); }

}  // namespace

QpTransport::QpTransport(Nic& nic, ProtectionDomain& pd, const apps::StopToken& stop,
                         std::chrono::seconds keepalive)
    : stop_(stop),
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
      payload_(pd.Allocate(kPayloadBytes * kPayloads)),
      tickets_(kPayloads, 0) {
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
    if (stop_.requested() && (writer_->idle() || StopGraceIsOver())) return;
  }
}

void QpTransport::SetDeadline(std::optional<Clock::time_point> deadline, std::string why) {
  deadline_ = deadline;
  deadline_why_ = std::move(why);
}

void QpTransport::HandOut(size_t count) {
  for (const WorkCompletion& completion : std::span(completions_).first(count)) {
    if (!reader_->OnCompletion(completion)) writer_->OnCompletion(completion);
  }
}

void QpTransport::Pump(WaitFor what) {
  if (what == WaitFor::kNextMessage) {
    Timeout left;
    if (deadline_) left = std::max(nanoseconds(0), nanoseconds(*deadline_ - Clock::now()));
    HandOut(apps::WaitOrStop(*cq_, completions_, stop_, left));
    return ThrowIfTimeIsUp();
  }
  const size_t count = cq_->Wait(completions_, apps::kStopCheck);
  HandOut(count);
  ThrowIfTimeIsUp();
  if (stop_.requested()) ThrowIfStoppedAndStuck(count > 0);
}

void QpTransport::ThrowIfTimeIsUp() {
  if (!deadline_ || Clock::now() < *deadline_) return;
  qp_->Abort();  // a peer that keeps silent would not answer a FIN either
  throw ConnectionLost(deadline_why_);
}

bool QpTransport::StopGraceIsOver() {
  const auto now = Clock::now();
  if (!stop_deadline_) stop_deadline_ = now + kStopGrace;
  return now > *stop_deadline_;
}

void QpTransport::ThrowIfStoppedAndStuck(bool moved) {
  const auto now = Clock::now();
  if (!stuck_deadline_ || moved) stuck_deadline_ = now + kStuckGrace;
  if (StopGraceIsOver() || now > *stuck_deadline_) {
    throw ConnectionLost("the server stops and the peer does not go on");
  }
}

void QpTransport::ThrowIfSendFailed() const {
  if (writer_->state() != StreamState::kError) return;
  throw ConnectionLost(apps::BrokenText(writer_->error(), writer_->reason()));
}

size_t QpTransport::WaitReadable(std::span<iovec> out, WaitFor what) {
  constexpr size_t kMaxRuns = 32;
  std::array<std::span<const std::byte>, kMaxRuns> runs;
  for (;;) {
    if (what == WaitFor::kNextMessage && stop_.requested() && StopGraceIsOver()) return 0;
    const size_t count = reader_->Readable(std::span(runs).first(std::min(kMaxRuns, out.size())));
    for (size_t i = 0; i < count; ++i) {
      out[i] = {const_cast<std::byte*>(runs[i].data()), runs[i].size()};
    }
    if (count > 0) return count;
    if (reader_->state() == StreamState::kEndOfStream) return 0;
    if (reader_->state() == StreamState::kError) {
      throw ConnectionLost(apps::BrokenText(reader_->error(), reader_->reason()));
    }
    if (what == WaitFor::kNextMessage && stop_.requested()) {
      // What has already arrived is still served, within the grace period.
      const size_t arrived = cq_->Poll(completions_);
      if (arrived == 0) return 0;
      HandOut(arrived);
    } else {
      Pump(what);
    }
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

size_t QpTransport::payload_bytes() const { return kPayloadBytes; }
size_t QpTransport::payload_buffers() const { return kPayloads; }

std::span<uint8_t> QpTransport::TakePayload() {
  const size_t index = taken_ % kPayloads;
  while (!writer_->Done(tickets_[index])) {
    ThrowIfSendFailed();
    Pump(WaitFor::kRestOfMessage);
  }
  ++taken_;
  return {static_cast<uint8_t*>(payload_->data()) + index * kPayloadBytes, kPayloadBytes};
}

void QpTransport::SendPayload(std::span<const uint8_t> header, size_t bytes) {
  const size_t index = sent_ % kPayloads;
  const ibv_sge element = payload_->Sge(index * kPayloadBytes, static_cast<uint32_t>(bytes));
  for (;;) {
    if (const auto ticket = writer_->WriteRegistered({&element, 1}, Bytes(header))) {
      tickets_[index] = *ticket;
      ++sent_;
      return;
    }
    ThrowIfSendFailed();
    Pump(WaitFor::kRestOfMessage);
  }
}

void QpTransport::PutBackPayload() { taken_ = sent_; }

}  // namespace qpip::nbd

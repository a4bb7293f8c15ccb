#include "apps/nbd/qp_transport.h"

#include <poll.h>

#include <algorithm>
#include <string>

#include "apps/common/completions.h"
#include "apps/common/connection.h"

namespace qpip::nbd {

using std::chrono::nanoseconds;

namespace {

constexpr size_t kPayloadBytes = 2 * 1024 * 1024;
constexpr auto kCloseTimeout = std::chrono::seconds(3);

}  // namespace

QpTransport::QpTransport(Nic& nic, ProtectionDomain& pd, const apps::StopToken& stop,
                         uint32_t completions)
    : stopping_(stop), cq_(nic.CreateCq(completions)), payload_(pd.Allocate(kPayloadBytes)) {
  // A descriptor that cannot be had refuses this client now, and cuts none off later.
  cq_->fd();
}

void QpTransport::Close() {
  if (qp_->state() == QpState::kIdle || qp_->state() == QpState::kClosed) return;
  qp_->Shutdown();
  const auto deadline = Clock::now() + kCloseTimeout;
  while (!qp_->Disconnect(apps::kStopCheck) && Clock::now() < deadline) {
    HandOut(cq_->Poll(completions_));
    if (stopping_.requested() && (all_sent() || stopping_.GraceIsOver())) return;
  }
}

void QpTransport::SetDeadline(std::optional<Clock::time_point> deadline, std::string why) {
  stopping_.SetDeadline(deadline, std::move(why));
}

void QpTransport::HandOut(size_t count) {
  for (const WorkCompletion& completion : std::span(completions_).first(count)) {
    OnCompletion(completion);
  }
}

void QpTransport::Await(storage::ThreadExecutor* executor, WaitFor what, bool reading,
                        std::chrono::milliseconds most) {
  if (reading && any_readable()) return;
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

Readable QpTransport::Look(std::span<iovec> out, WaitFor what) {
  for (;;) {
    const bool stopping = what == WaitFor::kNextMessage && stopping_.requested();
    if (stopping && stopping_.GraceIsOver()) return {.ended = true};
    if (const size_t count = Runs(out)) return {.runs = count};
    if (ended()) return {.ended = true};
    // What has already arrived is still served, within the grace period.
    const size_t arrived = cq_->Poll(completions_);
    HandOut(arrived);
    if (arrived == 0) return {.ended = stopping};
  }
}

std::span<std::byte> QpTransport::payload_area() {
  return {static_cast<std::byte*>(payload_->data()), kPayloadBytes};
}

ibv_sge QpTransport::PayloadElement(std::span<const std::byte> payload) const {
  const auto offset =
      static_cast<size_t>(payload.data() - static_cast<const std::byte*>(payload_->data()));
  return payload_->Sge(offset, static_cast<uint32_t>(payload.size()));
}

}  // namespace qpip::nbd

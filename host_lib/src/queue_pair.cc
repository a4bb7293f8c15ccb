// Queue pairs: creation and destruction. The data path is in posting.cc, the connection in
// connection.cc.
#include "queue_pair.h"

#include <array>
#include <cerrno>
#include <mutex>
#include <string>
#include <utility>

#include "completion_queue.h"
#include "nic_impl.h"
#include "queue_pair_layout.h"
#include "status.h"

namespace qpip {

namespace internal {

QpImpl::QpImpl(std::shared_ptr<PdImpl> pd, std::shared_ptr<CqImpl> send_cq,
               std::shared_ptr<CqImpl> recv_cq, const QpOptions& options)
    : pd_(std::move(pd)),
      send_cq_(std::move(send_cq)),
      recv_cq_(std::move(recv_cq)),
      nic_(*pd_->nic()),
      options_(options) {
  if (send_cq_->nic().get() != &nic_ || recv_cq_->nic().get() != &nic_) {
    throw Error(EINVAL, "create queue pair: a completion queue is another NIC's");
  }
  const QpLayout layout = LayOut(options_, nic_.info());
  options_.send_depth = 1u << layout.send_log2_depth;
  options_.recv_depth = 1u << layout.recv_log2_depth;
  memory_ = MappedMemory(layout.total, "a queue pair");
  auto* indices = reinterpret_cast<abi::QueueIndices*>(memory_.data());
  send_ = std::make_unique<WorkQueue>(memory_.data() + layout.send_ring, &indices->send,
                                      layout.send_log2_depth, layout.send_log2_stride);
  recv_ = std::make_unique<WorkQueue>(memory_.data() + layout.recv_ring, &indices->recv,
                                      layout.recv_log2_depth, layout.recv_log2_stride);
  Reserve();
  try {
    CreateOnNic(layout);
  } catch (...) {
    send_cq_->Release(options_.send_depth);
    recv_cq_->Release(options_.recv_depth);
    throw;
  }
}

void QpImpl::Reserve() {
  const auto fail = [](const char* which, uint32_t need, CqImpl& cq) {
    return Error(ENOMEM, std::string("create queue pair: the ") + which + " queue's depth of " +
                             std::to_string(need) + " exceeds what is left of its completion " +
                             "queue (" + std::to_string(cq.Unreserved()) + " of " +
                             std::to_string(cq.capacity()) +
                             "); create the completion queue with a larger capacity");
  };
  if (!send_cq_->Reserve(options_.send_depth)) throw fail("send", options_.send_depth, *send_cq_);
  if (!recv_cq_->Reserve(options_.recv_depth)) {
    send_cq_->Release(options_.send_depth);
    throw fail("receive", options_.recv_depth, *recv_cq_);
  }
}

namespace {

abi::Framing ToAbi(Framing framing) {
  switch (framing) {
    case Framing::kSegment:
      return abi::Framing::kSegment;
    case Framing::kStream:
      return abi::Framing::kStream;
    case Framing::kMpa:
      break;
  }
  return abi::Framing::kMpa;
}

}  // namespace

void QpImpl::CreateOnNic(const QpLayout& layout) {
  const bool tcp = options_.type == QpType::kTcp;
  const uint64_t base = nic_.port().DmaAddress(memory_.data());
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kCreateQp);
  command.create_qp = {
      .send_ring = base + layout.send_ring,
      .recv_ring = base + layout.recv_ring,
      .indices = base,
      .overflow_pool = tcp ? base + layout.overflow_pool : 0,
      .overflow_records = tcp ? base + layout.overflow_records : 0,
      .overflow_bytes = layout.overflow_bytes,
      .send_cq = send_cq_->handle(),
      .recv_cq = recv_cq_->handle(),
      .protection_domain = pd_->id(),
      .type = static_cast<uint8_t>(tcp ? abi::QpType::kTcp : abi::QpType::kUdp),
      .framing = static_cast<uint8_t>(ToAbi(options_.framing)),
      .send_log2_depth = static_cast<uint8_t>(layout.send_log2_depth),
      .recv_log2_depth = static_cast<uint8_t>(layout.recv_log2_depth),
      .send_log2_stride = static_cast<uint8_t>(layout.send_log2_stride),
      .recv_log2_stride = static_cast<uint8_t>(layout.recv_log2_stride),
      .ack_every = options_.ack_every,
      .flags = static_cast<uint8_t>((options_.nagle ? abi::kQpNagle : 0) |
                                    (options_.wait_for_receive ? abi::kQpWaitForReceive : 0)),
      .ack_delay_us = static_cast<uint32_t>(options_.ack_delay.count()),
      .user_timeout_ms = static_cast<uint32_t>(options_.user_timeout.count()),
      .traffic_class = static_cast<uint8_t>(options_.dscp << 2),
      .reserved = {},
      .keepalive_idle_s = static_cast<uint32_t>(options_.keepalive.count()),
  };
  const abi::Event answer = nic_.channel().Execute(command, [this](const abi::Event& event) {
    if (event.status != 0) return;
    handle_ = event.result[0];
    // A UDP queue pair has no number before it is bound.
    if (options_.type == QpType::kTcp) qp_num_.store(handle_, std::memory_order_relaxed);
    nic_.qps().Set(handle_, this);
  });
  ThrowIfFailed(answer, "create queue pair");
}

QpImpl::~QpImpl() { Close(); }

void QpImpl::ThrowIfForked(const char* what) const { nic_.ThrowIfForked(what); }

void QpImpl::Close() {
  if (nic_.forked()) return;
  {
    // Behind the locks of both queues: whoever posts from here on finds that it is over.
    const std::scoped_lock lock(send_->lock(), recv_->lock());
    if (closed_) return;
    closed_ = true;
    Become(QpState::kClosed, DisconnectReason::kAborted);
  }
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kDestroyQp);
  command.qp = {.qp = handle_};
  // In event order, so that the handle is free here before the NIC's next answer can reuse it. All
  // completions were written before the answer; those not yet polled move to the backlogs.
  nic_.channel().Execute(command, [this](const abi::Event&) {
    send_cq_->DrainRing();
    if (recv_cq_ != send_cq_) recv_cq_->DrainRing();
    nic_.qps().Set(handle_, nullptr);
  });
  LeaveListener();
  send_cq_->Release(options_.send_depth);
  recv_cq_->Release(options_.recv_depth);
  // Only now: no work request points into it any more.
  std::array<std::shared_ptr<void>, 2> kept;
  const std::lock_guard lock(mutex_);
  kept.swap(kept_);
}

void QpImpl::GiveTo(Side side, std::shared_ptr<void> memory) {
  const std::lock_guard lock(mutex_);
  if (given_[side]) {
    throw Error(EBUSY, std::string("stream ") + (side == kReceives ? "reader" : "writer") +
                           ": the queue pair has or had one already; use a new queue pair");
  }
  given_[side] = true;
  kept_[side] = std::move(memory);
}

}  // namespace internal

QueuePair::QueuePair(std::shared_ptr<internal::QpImpl> impl) : impl_(std::move(impl)) {}
// A reader or writer may still hold the implementation.
QueuePair::~QueuePair() { impl_->Close(); }

void QueuePair::Connect(const Endpoint& peer, Timeout timeout, uint16_t local_port) {
  impl_->Connect(peer, timeout, local_port);
}
void QueuePair::StartConnect(const Endpoint& peer, uint16_t local_port) {
  impl_->StartConnect(peer, local_port);
}
bool QueuePair::WaitConnected(Timeout timeout) { return impl_->WaitConnected(timeout); }
void QueuePair::GiveUpConnecting() { impl_->GiveUpConnecting(); }
uint16_t QueuePair::Bind(uint16_t port) { return impl_->Bind(port); }
void QueuePair::Shutdown() { impl_->Shutdown(); }
bool QueuePair::Disconnect(Timeout timeout) { return impl_->Disconnect(timeout); }
void QueuePair::Abort() { impl_->Abort(); }
bool QueuePair::WaitDrained(Timeout timeout) { return impl_->WaitDrained(timeout); }

bool QueuePair::has_notices() const {
  impl_->ThrowIfForked("notices");
  return impl_->has_notices();
}
QpNotices QueuePair::TakeNotices() { return impl_->TakeNotices(); }
std::optional<TerminateReason> QueuePair::terminate() const { return impl_->Terminate(); }
QpState QueuePair::state() const {
  impl_->ThrowIfForked("state");
  return impl_->state();
}
DisconnectReason QueuePair::disconnect_reason() const {
  impl_->ThrowIfForked("disconnect reason");
  return impl_->reason();
}
std::string QueuePair::DescribeEnd() { return impl_->DescribeEnd(); }
uint32_t QueuePair::qp_num() const { return impl_->qp_num(); }
Endpoint QueuePair::local() const { return impl_->local(); }
Endpoint QueuePair::peer() const { return impl_->peer(); }
void* QueuePair::context() const { return impl_->context(); }

}  // namespace qpip

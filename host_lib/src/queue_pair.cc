// Queue pairs: creation, destruction and the connection. The data path is in posting.cc.
#include "queue_pair.h"

#include <bit>
#include <cerrno>
#include <string>
#include <utility>

#include "completion_queue.h"
#include "listener.h"
#include "nic_impl.h"
#include "status.h"

namespace qpip {

namespace internal {

namespace {

constexpr uint32_t kMaxLog2Depth = 15;
constexpr uint32_t kMaxInline = abi::kMaxWqeStride - sizeof(abi::SendWqe);
constexpr uint32_t kPageBytes = 4096;
// RFC 7323 (2.3): the largest window that can be advertised.
constexpr uint32_t kMaxReservation = 1u << 30;
// RFC 9293 (3.8.6.3): an acknowledgement is delayed by less than 0.5 s.
constexpr auto kMaxAckDelay = std::chrono::milliseconds(500);

uint32_t Log2Ceil(uint32_t value) { return static_cast<uint32_t>(std::bit_width(value - 1)); }

uint32_t Log2(uint32_t power_of_two) {
  return static_cast<uint32_t>(std::countr_zero(power_of_two));
}

void CheckRange(const char* name, uint64_t value, uint64_t low, uint64_t high) {
  if (value < low || value > high) {
    throw Error(EINVAL, std::string("create queue pair: ") + name + " is " + std::to_string(value) +
                            ", must be " + std::to_string(low) + " to " + std::to_string(high));
  }
}

void CheckOptions(const QpOptions& options, const abi::PortInfo& info) {
  const uint64_t max_depth = uint64_t{1} << kMaxLog2Depth;
  CheckRange("send_depth", options.send_depth, 1,
             std::min<uint64_t>(max_depth, info.max_send_depth));
  CheckRange("recv_depth", options.recv_depth, 1, max_depth);
  CheckRange("max_send_sge", options.max_send_sge, 1, abi::kMaxSge);
  CheckRange("max_recv_sge", options.max_recv_sge, 1, abi::kMaxSge);
  CheckRange("max_inline", options.max_inline, 0, kMaxInline);
  if (options.type == QpType::kTcp) {
    CheckRange("receive_reservation", options.receive_reservation, kPageBytes, kMaxReservation);
  }
  CheckRange("dscp", options.dscp, 0, 63);
  CheckRange("keepalive (seconds)", static_cast<uint64_t>(options.keepalive.count()), 0, 1000000);
  if (options.nagle && (options.type != QpType::kTcp || options.framing != Framing::kStream)) {
    throw Error(EINVAL,
                "create a queue pair: nagle is for TCP with stream framing: the segments of "
                "others mean something");
  }
  CheckRange("ack_delay (microseconds)", static_cast<uint64_t>(options.ack_delay.count()), 0,
             std::chrono::microseconds(kMaxAckDelay).count() - 1);
  CheckRange("user_timeout (milliseconds)", static_cast<uint64_t>(options.user_timeout.count()), 0,
             UINT32_MAX);
}

}  // namespace

/// Where everything is in the one mapping of a queue pair. The overflow pool and its records are
/// large and rarely touched, so they come last, each on pages of its own.
struct QpImpl::Layout {
  uint32_t send_log2_depth = 0;
  uint32_t recv_log2_depth = 0;
  uint32_t send_log2_stride = 0;
  uint32_t recv_log2_stride = 0;
  uint32_t overflow_bytes = 0;
  size_t send_ring = 0;
  size_t recv_ring = 0;
  size_t overflow_pool = 0;
  size_t overflow_records = 0;
  size_t total = 0;
};

QpImpl::Layout QpImpl::LayOut(const QpOptions& options, const abi::PortInfo& info) {
  CheckOptions(options, info);
  Layout layout;
  layout.send_log2_depth = Log2Ceil(options.send_depth);
  layout.recv_log2_depth = Log2Ceil(options.recv_depth);
  layout.send_log2_stride = Log2(abi::SendStride(options.max_send_sge, options.max_inline));
  layout.recv_log2_stride = Log2(abi::RecvStride(options.max_recv_sge));
  layout.overflow_bytes = options.type == QpType::kTcp ? options.receive_reservation : 0;

  const auto page_up = [](size_t bytes) {
    return (bytes + kPageBytes - 1) & ~size_t{kPageBytes - 1};
  };
  layout.send_ring = sizeof(abi::QueueIndices);
  layout.recv_ring =
      layout.send_ring + (size_t{1} << (layout.send_log2_depth + layout.send_log2_stride));
  // A receive ring may be shorter than a cache line; the pool is page-aligned all the same.
  layout.overflow_pool =
      page_up(layout.recv_ring + (size_t{1} << (layout.recv_log2_depth + layout.recv_log2_stride)));
  layout.overflow_records = layout.overflow_pool + page_up(layout.overflow_bytes);
  layout.total =
      layout.overflow_records + page_up(size_t{layout.overflow_bytes} * sizeof(uint32_t));
  return layout;
}

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
  const Layout layout = LayOut(options_, nic_.info());
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

void QpImpl::CreateOnNic(const Layout& layout) {
  const bool tcp = options_.type == QpType::kTcp;
  const uint64_t base = nic_.port().DmaAddress(memory_.data());
  const abi::Framing framing =
      options_.framing == Framing::kStream ? abi::Framing::kStream : abi::Framing::kSegment;
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
      .framing = static_cast<uint8_t>(framing),
      .send_log2_depth = static_cast<uint8_t>(layout.send_log2_depth),
      .recv_log2_depth = static_cast<uint8_t>(layout.recv_log2_depth),
      .send_log2_stride = static_cast<uint8_t>(layout.send_log2_stride),
      .recv_log2_stride = static_cast<uint8_t>(layout.recv_log2_stride),
      .ack_every = options_.ack_every,
      .flags = static_cast<uint8_t>(options_.nagle ? abi::kQpNagle : 0),
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

QpImpl::~QpImpl() {
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
}

abi::Event QpImpl::Execute(const abi::Command& command) { return nic_.channel().Execute(command); }

abi::Event QpImpl::ExecuteQp(abi::CommandOpcode opcode) {
  abi::Command command;
  command.opcode = static_cast<uint8_t>(opcode);
  command.qp = {.qp = handle_};
  return Execute(command);
}

void QpImpl::StartConnect(const Endpoint& peer, uint16_t local_port) {
  const std::string what = "connect to " + peer.ToString();
  if (options_.type != QpType::kTcp) throw Error(EINVAL, what + ": not a TCP queue pair");
  if (peer.port == 0) throw Error(EINVAL, what + ": port 0 cannot be connected to");
  QpState idle = QpState::kIdle;
  if (!state_.compare_exchange_strong(idle, QpState::kConnecting)) {
    throw Error(EISCONN, what + ": the queue pair is or was connected or offered; use a new one");
  }
  connecting_since_.store(nic_.troubles().Now(), std::memory_order_relaxed);
  {
    const std::lock_guard lock(mutex_);
    peer_ = peer;
  }
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kConnect);
  command.connect = {.qp = handle_,
                     .local_port = local_port,
                     .remote_port = peer.port,
                     .remote_address = ToAbi(peer.address)};
  const abi::Event answer = Execute(command);
  if (answer.status != 0) {
    QpState connecting = QpState::kConnecting;
    state_.compare_exchange_strong(connecting, QpState::kIdle);
    ThrowIfFailed(answer, what);
  }
}

bool QpImpl::WaitConnected(Timeout timeout) {
  if (state() == QpState::kIdle) throw Error(ENOTCONN, "wait for a connection: none was started");
  const bool decided = nic_.channel().WaitUntil([this] { return state() != QpState::kConnecting; },
                                                DeadlineNs(nic_.platform(), timeout));
  if (established_.load(std::memory_order_acquire)) return true;
  if (decided) throw WhyNotConnected(reason());
  return false;
}

void QpImpl::GiveUpConnecting() {
  // A soft error is no reason to give up (RFC 9293 3.9.2.2), but the best there is for having
  // failed.
  const bool unreachable = has_notices() && TakeNotices().icmp_error;
  Abort();
  throw WhyNotConnected(unreachable ? DisconnectReason::kUnreachable : DisconnectReason::kTimedOut);
}

void QpImpl::Connect(const Endpoint& peer, Timeout timeout, uint16_t local_port) {
  StartConnect(peer, local_port);
  if (!WaitConnected(timeout)) GiveUpConnecting();
}

Error QpImpl::WhyNotConnected(DisconnectReason reason) {
  const Endpoint remote = peer();
  // What the peer itself has said needs no other explanation.
  if (reason != DisconnectReason::kRefused && reason != DisconnectReason::kReset) {
    const uint64_t since = connecting_since_.load(std::memory_order_relaxed);
    if (const std::optional<NicEvent> cause = nic_.troubles().About(remote.address, since)) {
      return Error(cause->code, "connect to " + remote.ToString() + ": " + cause->what);
    }
  }
  return ConnectError(remote, reason);
}

uint16_t QpImpl::Bind(uint16_t port) {
  const std::string what = "bind to port " + std::to_string(port);
  if (options_.type != QpType::kUdp) throw Error(EINVAL, what + ": not a UDP queue pair");
  if (state() != QpState::kIdle) throw Error(EISCONN, what + ": the queue pair is bound already");
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kBindUdp);
  command.bind_udp = {.qp = handle_, .port = port};
  // In event order: a datagram may complete a receive right behind the answer.
  const abi::Event answer = nic_.channel().Execute(command, [this](const abi::Event& event) {
    if (event.status != 0) return;
    const auto bound = static_cast<uint16_t>(event.result[0]);
    qp_num_.store(bound, std::memory_order_relaxed);
    {
      const std::lock_guard lock(mutex_);
      local_ = {.address = ToIn6(nic_.info().address), .port = bound};
    }
    state_.store(QpState::kConnected, std::memory_order_release);
  });
  ThrowIfFailed(answer, what);
  return static_cast<uint16_t>(answer.result[0]);
}

void QpImpl::Shutdown() {
  if (options_.type != QpType::kTcp) throw Error(EINVAL, "shutdown: not a TCP queue pair");
  {
    // With the lock: every send posted before is ahead of the command, none comes after.
    const std::lock_guard lock(send_->lock());
    QpState state = state_.load(std::memory_order_acquire);
    do {
      if (state == QpState::kShutdown || state == QpState::kClosed) return;
      if (state != QpState::kConnected && state != QpState::kPeerClosed) {
        throw Error(ENOTCONN, "shutdown: the queue pair is not connected");
      }
    } while (!state_.compare_exchange_weak(state, QpState::kShutdown));
  }
  const abi::Event answer = ExecuteQp(abi::CommandOpcode::kShutdown);
  // kBadState: the connection ended meanwhile, and its event says how.
  if (answer.status != static_cast<uint8_t>(abi::CommandStatus::kBadState)) {
    ThrowIfFailed(answer, "shutdown");
  }
}

QpNotices QpImpl::TakeNotices() {
  noticed_.store(false, std::memory_order_release);
  const abi::Event answer = ExecuteQp(abi::CommandOpcode::kTakeNotices);
  ThrowIfFailed(answer, "notices");
  return {.urgent = (answer.result[0] & abi::kNoticeUrgent) != 0,
          .urgent_end = answer.result[1],
          .icmp_error = (answer.result[0] & abi::kNoticeIcmpError) != 0,
          .icmp_errors = answer.result[2],
          .icmp_type = static_cast<uint8_t>(answer.result[3] >> 8),
          .icmp_code = static_cast<uint8_t>(answer.result[3])};
}

bool QpImpl::Disconnect(Timeout timeout) {
  const uint64_t deadline_ns = DeadlineNs(nic_.platform(), timeout);
  Shutdown();
  return nic_.channel().WaitUntil([this] { return state() == QpState::kClosed; }, deadline_ns);
}

void QpImpl::Abort() {
  const QpState before = state();
  if (before == QpState::kIdle || before == QpState::kClosed) return;
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kAbort);
  command.qp = {.qp = handle_};
  const bool offered = before == QpState::kConnecting && OfferedTo() != nullptr;
  nic_.channel().Execute(command, [this, offered](const abi::Event& event) {
    if (event.status != 0) return;  // over already; its event says how
    if (!offered || state() != QpState::kConnecting) {
      Become(QpState::kClosed, DisconnectReason::kAborted);
    }
  });
  if (offered) {
    LeaveListener();
    WithdrawOffer();
  }
}

void QpImpl::OfferTo(const std::shared_ptr<ListenerImpl>& listener, QueuePair* facade) {
  if (options_.type != QpType::kTcp) throw Error(EINVAL, "offer: not a TCP queue pair");
  if (&listener->nic() != &nic_) throw Error(EINVAL, "offer: the listener is another NIC's");
  QpState idle = QpState::kIdle;
  if (!state_.compare_exchange_strong(idle, QpState::kConnecting)) {
    throw Error(EISCONN, "offer: the queue pair is or was connected or offered; use a new one");
  }
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kOffer);
  command.offer = {.listener = listener->handle(), .qp = handle_};
  {
    const std::lock_guard lock(mutex_);
    listener_ = listener;
    facade_ = facade;
  }
  listener->AddOffer(this);
  const abi::Event answer = Execute(command);
  if (answer.status != 0) {
    LeaveListener();
    WithdrawOffer();
    ThrowIfFailed(answer,
                  "offer a queue pair to the listener on port " + std::to_string(listener->port()));
  }
}

void QpImpl::WithdrawOffer() {
  QpState connecting = QpState::kConnecting;
  state_.compare_exchange_strong(connecting, QpState::kIdle);
  // Last: from here on the queue pair may be destroyed without asking the listener.
  const std::lock_guard lock(mutex_);
  listener_.reset();
}

void QpImpl::LeaveListener() {
  std::shared_ptr<ListenerImpl> listener;
  {
    const std::lock_guard lock(mutex_);
    listener = std::move(listener_);
  }
  if (listener) listener->Forget(this);
}

std::shared_ptr<ListenerImpl> QpImpl::OfferedTo() {
  const std::lock_guard lock(mutex_);
  return listener_;
}

Endpoint QpImpl::local() {
  const std::lock_guard lock(mutex_);
  return local_;
}

Endpoint QpImpl::peer() {
  const std::lock_guard lock(mutex_);
  return peer_;
}

QueuePair* QpImpl::facade() {
  const std::lock_guard lock(mutex_);
  return facade_;
}

void QpImpl::OnEvent(const abi::Event& event) {
  switch (static_cast<abi::EventKind>(event.kind)) {
    case abi::EventKind::kEstablished:
      BecomeConnected(event);
      break;
    case abi::EventKind::kPeerClosed:
      Become(QpState::kPeerClosed, DisconnectReason::kNone);
      break;
    case abi::EventKind::kConnectFailed:
    case abi::EventKind::kDisconnected:
      Become(QpState::kClosed, nic_.troubles().failure() == nullptr
                                   ? ToDisconnectReason(event.status)
                                   : DisconnectReason::kWireFailed);
      break;
    case abi::EventKind::kQpError:
      Become(QpState::kClosed, DisconnectReason::kLocalError);
      break;
    case abi::EventKind::kNotice:
      noticed_.store(true, std::memory_order_release);
      break;
    case abi::EventKind::kNone:
    case abi::EventKind::kCommandDone:
    case abi::EventKind::kCqError:
      break;  // not a queue pair's
  }
}

// Only ever forward: kPeerClosed from kConnected (once we have shut down too, the end of the
// connection is next and says more), kClosed from anywhere, with the first reason.
void QpImpl::Become(QpState state, DisconnectReason reason) {
  QpState present = state_.load(std::memory_order_acquire);
  do {
    if (present == QpState::kClosed) return;
    if (state == QpState::kPeerClosed && present != QpState::kConnected) return;
    // Before the state, so that whoever sees kClosed also sees why.
    if (state == QpState::kClosed) reason_.store(reason, std::memory_order_release);
  } while (!state_.compare_exchange_weak(present, state));
}

void QpImpl::BecomeConnected(const abi::Event& event) {
  std::shared_ptr<ListenerImpl> listener;
  {
    const std::lock_guard lock(mutex_);
    local_ = {.address = ToIn6(nic_.info().address), .port = event.local_port};
    peer_ = {.address = ToIn6(event.remote_address), .port = event.remote_port};
    if (event.listener != 0) listener = listener_;
  }
  established_.store(true, std::memory_order_release);
  QpState connecting = QpState::kConnecting;
  state_.compare_exchange_strong(connecting, QpState::kConnected);
  if (listener) listener->OnEstablished(this);
}

}  // namespace internal

QueuePair::QueuePair(std::shared_ptr<internal::QpImpl> impl) : impl_(std::move(impl)) {}
QueuePair::~QueuePair() = default;

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

bool QueuePair::has_notices() const { return impl_->has_notices(); }
QpNotices QueuePair::TakeNotices() { return impl_->TakeNotices(); }
QpState QueuePair::state() const { return impl_->state(); }
DisconnectReason QueuePair::disconnect_reason() const { return impl_->reason(); }
uint32_t QueuePair::qp_num() const { return impl_->qp_num(); }
Endpoint QueuePair::local() const { return impl_->local(); }
Endpoint QueuePair::peer() const { return impl_->peer(); }
void* QueuePair::context() const { return impl_->context(); }

}  // namespace qpip

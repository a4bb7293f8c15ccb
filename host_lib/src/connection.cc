// Queue pairs: the connection, from idle to its end.
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "listener.h"
#include "nic_impl.h"
#include "protocols/iwarp/terminate.h"
#include "queue_pair.h"
#include "status.h"

namespace qpip::internal {

abi::Event QpImpl::Execute(const abi::Command& command) { return nic_.channel().Execute(command); }

abi::Event QpImpl::ExecuteQp(abi::CommandOpcode opcode) {
  abi::Command command;
  command.opcode = static_cast<uint8_t>(opcode);
  command.qp = {.qp = handle_};
  return Execute(command);
}

void QpImpl::StartConnect(const Endpoint& peer, uint16_t local_port) {
  const std::string what = "connect to " + peer.ToString();
  nic_.ThrowIfForked(what.c_str());
  if (options_.type != QpType::kTcp) throw Error(EINVAL, what + ": not a TCP queue pair");
  if (options_.framing == Framing::kMpa) {
    throw Error(EINVAL, what + ": RDMA queue pairs are connected by RdmaConnector (qpip/rdma.h)");
  }
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
  nic_.ThrowIfForked("wait for a connection");
  if (state() == QpState::kIdle) throw Error(ENOTCONN, "wait for a connection: none was started");
  const bool decided = nic_.channel().WaitUntil([this] { return state() != QpState::kConnecting; },
                                                DeadlineNs(nic_.platform(), timeout));
  if (established_.load(std::memory_order_acquire)) return true;
  if (decided) throw WhyNotConnected(reason());
  return false;
}

void QpImpl::GiveUpConnecting() {
  nic_.ThrowIfForked("give up connecting");
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
  QpNotices notices;
  if (reason == DisconnectReason::kUnreachable) notices = AskForNotices();
  return ConnectError(remote, reason, notices);
}

uint16_t QpImpl::Bind(uint16_t port) {
  const std::string what = "bind to port " + std::to_string(port);
  nic_.ThrowIfForked(what.c_str());
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
  nic_.ThrowIfForked("shutdown");
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

std::optional<TerminateReason> QpImpl::Terminate() {
  nic_.ThrowIfForked("terminate");
  if (options_.framing != Framing::kMpa) return std::nullopt;
  const abi::Event answer = ExecuteQp(abi::CommandOpcode::kQueryTerminate);
  ThrowIfFailed(answer, "terminate");
  if (answer.result[0] == 0) return std::nullopt;
  const uint32_t code = answer.result[1];
  const iwarp::CauseCode numbers = {.layer = static_cast<uint8_t>(code >> 16 & 15),
                                    .type = static_cast<uint8_t>(code >> 8 & 15),
                                    .code = static_cast<uint8_t>(code)};
  return TerminateReason{.by_peer = (answer.result[0] & abi::kTerminateReceived) != 0,
                         .layer = numbers.layer,
                         .type = numbers.type,
                         .code = numbers.code,
                         .name = iwarp::CauseName(iwarp::GuessCause(numbers))};
}

QpNotices QpImpl::TakeNotices() {
  nic_.ThrowIfForked("notices");
  QpNotices notices = AskForNotices();
  const std::lock_guard lock(mutex_);
  notices.urgent |= held_notices_.urgent;
  notices.icmp_error |= held_notices_.icmp_error;
  notices.retransmitting |= held_notices_.retransmitting;
  held_notices_ = {};
  return notices;
}

QpNotices QpImpl::AskForNotices() {
  noticed_.store(false, std::memory_order_release);
  const abi::Event answer = ExecuteQp(abi::CommandOpcode::kTakeNotices);
  ThrowIfFailed(answer, "notices");
  return {.urgent = (answer.result[0] & abi::kNoticeUrgent) != 0,
          .urgent_end = answer.result[1],
          .icmp_error = (answer.result[0] & abi::kNoticeIcmpError) != 0,
          .icmp_errors = answer.result[2],
          .icmp_type = static_cast<uint8_t>(answer.result[3] >> 8),
          .icmp_code = static_cast<uint8_t>(answer.result[3]),
          .retransmitting = (answer.result[0] & abi::kNoticeRetransmissions) != 0};
}

std::string QpImpl::DescribeEnd() {
  nic_.ThrowIfForked("describe a connection's end");
  QpNotices notices;
  // The answer comes behind all events so far, so the reason is known then.
  if (state() != QpState::kClosed || reason() == DisconnectReason::kTimedOut ||
      reason() == DisconnectReason::kUnreachable) {
    notices = AskForNotices();
    const std::lock_guard lock(mutex_);
    held_notices_.urgent |= notices.urgent;
    held_notices_.icmp_error |= notices.icmp_error;
    held_notices_.retransmitting |= notices.retransmitting;
    if (held_notices_.urgent || held_notices_.icmp_error || held_notices_.retransmitting) {
      noticed_.store(true);
    }
  }
  std::string text = options_.type == QpType::kTcp ? "connection with " + peer().ToString() + ": "
                                                   : "port " + std::to_string(qp_num()) + ": ";
  text += ToString(reason());
  if (const NicEvent* failure = nic_.troubles().failure()) return text + ": " + failure->what;
  if (notices.icmp_errors != 0) {
    text += "; the last ICMPv6 error: " + IcmpText(notices.icmp_type, notices.icmp_code);
  }
  return text;
}

bool QpImpl::Disconnect(Timeout timeout) {
  nic_.ThrowIfForked("disconnect");
  const uint64_t deadline_ns = DeadlineNs(nic_.platform(), timeout);
  Shutdown();
  return nic_.channel().WaitUntil([this] { return state() == QpState::kClosed; }, deadline_ns);
}

bool QpImpl::WaitDrained(Timeout timeout) {
  nic_.ThrowIfForked("wait until drained");
  if (state() == QpState::kIdle) return true;
  const uint64_t deadline_ns = DeadlineNs(nic_.platform(), timeout);
  return nic_.channel().WaitUntil([this] { return drained_.load(std::memory_order_acquire); },
                                  deadline_ns);
}

void QpImpl::Abort() {
  nic_.ThrowIfForked("abort");
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
  nic_.ThrowIfForked("offer");
  if (options_.type != QpType::kTcp) throw Error(EINVAL, "offer: not a TCP queue pair");
  if (options_.framing == Framing::kMpa) {
    throw Error(EINVAL, "offer: RDMA connections are taken from an RdmaListener (qpip/rdma.h)");
  }
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

void QpImpl::PostStartup(std::span<const std::byte> startup, bool ready) {
  abi::SendWqe wqe;
  wqe.flags = abi::kSendSignaled;
  std::byte* entry = send_->next_entry();
  if (ready) {  // RFC 6581 9.2: an empty RDMA Write
    wqe.opcode = static_cast<uint8_t>(abi::SendOpcode::kRdmaWrite);
  } else {
    wqe.opcode = static_cast<uint8_t>(abi::SendOpcode::kStartup);
    wqe.length = static_cast<uint32_t>(startup.size());
    wqe.sge_count = 1;
    const abi::Sge sge = {
        .address = startup_memory_->iova(), .length = wqe.length, .key = startup_memory_->key()};
    std::memcpy(entry + sizeof(wqe), &sge, sizeof(sge));
  }
  std::memcpy(entry, &wqe, sizeof(wqe));
  // In the library's own name: its completion is nobody else's.
  send_->Advance(0, static_cast<uint8_t>(abi::SendOpcode::kStartup));
}

void QpImpl::Adopt(QpImpl& carrier, std::span<const std::byte> startup, bool ready,
                   const abi::Adopt& terms) {
  const std::string what = "RDMA connection";
  nic_.ThrowIfForked(what.c_str());
  std::unique_ptr<MrImpl> memory;  // a command of its own: without a lock, and it may throw
  if (!startup.empty()) {
    memory = std::make_unique<MrImpl>(pd_, startup.size(), IBV_ACCESS_LOCAL_WRITE);
    std::memcpy(memory->data(), startup.data(), startup.size());
  }
  QpState idle = QpState::kIdle;
  if (!state_.compare_exchange_strong(idle, QpState::kConnecting)) {
    throw Error(EISCONN, what + ": the queue pair is or was connected; use a new one");
  }
  startup_memory_ = std::move(memory);
  const bool leads = ready || !startup.empty();
  if (leads) {
    const std::lock_guard lock(send_->lock());
    PostStartup(startup, ready);
  }
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kAdopt);
  command.adopt = terms;
  command.adopt.qp = handle_;
  command.adopt.carrier = carrier.handle_;
  abi::Event answer = Execute(command);
  // The last acknowledgement, or a transfer, may still be under way.
  const uint64_t deadline = DeadlineNs(nic_.platform(), std::chrono::seconds(1));
  while (answer.status == static_cast<uint8_t>(abi::CommandStatus::kBusy) &&
         nic_.platform().NowNs() < deadline) {
    const Timeout pause = std::chrono::milliseconds(1);
    nic_.channel().WaitUntil([] { return false; }, DeadlineNs(nic_.platform(), pause));
    answer = Execute(command);
  }
  if (answer.status != 0) {
    {
      const std::lock_guard lock(send_->lock());
      if (leads) send_->Rewind(1);
    }
    QpState connecting = QpState::kConnecting;
    state_.compare_exchange_strong(connecting, QpState::kIdle);
    if (answer.status == static_cast<uint8_t>(abi::CommandStatus::kBadState)) {
      throw Error(ECONNRESET,
                  what + ": the connection is over, or the peer has sent before its turn");
    }
    ThrowIfFailed(answer, what);
  }
  if (leads) RingSends(std::unique_lock(send_->lock()));
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
  nic_.ThrowIfForked("local endpoint");
  const std::lock_guard lock(mutex_);
  return local_;
}

Endpoint QpImpl::peer() {
  nic_.ThrowIfForked("peer");
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
      drained_.store(true, std::memory_order_release);
      break;
    case abi::EventKind::kQpError:
      Become(QpState::kClosed, DisconnectReason::kLocalError);
      drained_.store(true, std::memory_order_release);
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

}  // namespace qpip::internal

// One TCP connection: a queue pair of stream framing, its receives and its sends.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "addresses.h"
#include "ranges.h"
#include "tcp.h"

namespace qpip::testbench {
namespace {

constexpr uint64_t kReceiveBit = uint64_t{1} << 63;  // of a wr_id; else it numbers a send
constexpr uint32_t kMostInitialReceives = 8192;
constexpr uint32_t kMoreReceives = 1024;  // that PostReceive may add
constexpr uint32_t kSmallestReservation = 4096;

constexpr uint32_t kMostReceiveBytes = 1u << 30;  // RFC 7323 2.3: the largest window
constexpr uint32_t kMostSends = 128;
constexpr Time kSecond = std::chrono::seconds(1);

template <typename T>
void CheckTcp(const char* name, T value, T low, T high) {
  const std::string wrong = OutOfRange(name, value, low, high);
  if (!wrong.empty()) throw Error(EINVAL, "TcpOptions: " + wrong);
}
void CheckTcpNumber(const char* name, uint64_t value, uint64_t low, uint64_t high) {
  CheckTcp(name, value, low, high);
}

/// 0 is "the NIC's", which less than the firmware counts must not become.
void CheckUnlessZero(const char* name, Time value, Time low, Time high) {
  if (value != Time(0)) CheckTcp(name, value, low, high);
}

uint32_t ChunkBytes(const TcpOptions& options) {
  const uint32_t least = (options.receive_buffer + kMostInitialReceives - 1) / kMostInitialReceives;
  return std::max(options.receive_chunk, least);
}

uint32_t ReceiveCount(const TcpOptions& options) {
  const uint32_t chunk = ChunkBytes(options);
  return (options.receive_buffer + chunk - 1) / chunk;
}

qpip::QpOptions MakeQpOptions(const TcpOptions& options, qpip::CompletionQueue* cq) {
  qpip::QpOptions qp;
  qp.type = QpType::kTcp;
  qp.framing = Framing::kStream;
  qp.send_cq = cq;
  qp.recv_cq = cq;
  qp.send_depth = options.send_depth;
  qp.recv_depth = ReceiveCount(options) + kMoreReceives;
  qp.max_send_sge = 1;
  qp.max_recv_sge = 1;
  qp.max_inline = 0;
  const uint32_t limit = options.window_limit != 0 ? options.window_limit : options.receive_buffer;
  qp.receive_reservation = std::max(limit, kSmallestReservation);
  qp.ack_every = options.ack_every;
  qp.ack_delay = std::chrono::duration_cast<std::chrono::microseconds>(options.ack_delay);
  qp.nagle = options.nagle;
  qp.dscp = options.dscp;
  qp.keepalive = std::chrono::duration_cast<std::chrono::seconds>(options.keepalive);
  qp.user_timeout = std::chrono::duration_cast<std::chrono::milliseconds>(options.user_timeout);
  return qp;
}

TcpState ToTcpState(tcp::State state) {
  switch (state) {
    case tcp::State::kClosed:
      return TcpState::kClosed;
    case tcp::State::kSynSent:
      return TcpState::kSynSent;
    case tcp::State::kSynReceived:
      return TcpState::kSynReceived;
    case tcp::State::kEstablished:
      return TcpState::kEstablished;
    case tcp::State::kFinWait1:
      return TcpState::kFinWait1;
    case tcp::State::kFinWait2:
      return TcpState::kFinWait2;
    case tcp::State::kCloseWait:
      return TcpState::kCloseWait;
    case tcp::State::kClosing:
      return TcpState::kClosing;
    case tcp::State::kLastAck:
      return TcpState::kLastAck;
    case tcp::State::kTimeWait:
      return TcpState::kTimeWait;
  }
  return TcpState::kClosed;
}

Time Microseconds(uint32_t us) { return std::chrono::microseconds(us); }

}  // namespace

TcpOptions Checked(TcpOptions options) {
  CheckTcpNumber("receive_buffer", options.receive_buffer, 0, kMostReceiveBytes);
  CheckTcpNumber("receive_chunk", options.receive_chunk, 1, kMostReceiveBytes);
  if (options.window_limit != 0) {
    CheckTcpNumber("window_limit", options.window_limit, kSmallestReservation, kMostReceiveBytes);
  }
  CheckTcpNumber("send_depth", options.send_depth, 1, kMostSends);
  CheckTcpNumber("dscp", options.dscp, 0, 63);
  CheckUnlessZero("keepalive", options.keepalive, kSecond, kSecond * 1'000'000);
  if (options.keepalive % kSecond != Time(0)) {
    throw Error(EINVAL, "TcpOptions: keepalive is " + ToText(options.keepalive) +
                            ", must be whole seconds");
  }
  CheckUnlessZero("ack_delay", options.ack_delay, std::chrono::microseconds(1),
                  std::chrono::microseconds(499999));
  CheckUnlessZero("user_timeout", options.user_timeout, std::chrono::milliseconds(1),
                  std::chrono::milliseconds(UINT32_MAX));
  return options;
}

TcpConnection::Impl::Impl(std::shared_ptr<Core> shared_core, const TcpOptions& tcp_options)
    : core(std::move(shared_core)), options(Checked(tcp_options)), chunk_(ChunkBytes(options)) {
  const uint32_t receives = ReceiveCount(options) + kMoreReceives;
  // Depths are rounded up to powers of two.
  cq_ = core->nic().CreateCq(2 * (options.send_depth + receives));
  qp_ = core->nic().CreateQp(core->pd(), MakeQpOptions(options, cq_.get()));
  handle_ = qp_->qp_num();
  AddInitialBuffers();
  core->Register(this);
}

TcpConnection::Impl::~Impl() {
  core->Settle();
  core->Unregister(this);
  // Of what the flush leaves in the queue nobody wants to know.
  qp_.reset();
}

void TcpConnection::Impl::AddInitialBuffers() {
  if (options.receive_buffer == 0) return;
  memory_ = core->pd().Allocate(options.receive_buffer);
  auto* data = static_cast<uint8_t*>(memory_->data());
  for (uint32_t offset = 0; offset < options.receive_buffer; offset += chunk_) {
    const uint32_t bytes = std::min(chunk_, options.receive_buffer - offset);
    buffers_.push_back({nullptr, data + offset, memory_->Sge(offset, bytes)});
    PostBuffer(buffers_.size() - 1);
  }
}

qpip::QueuePair& TcpConnection::Impl::qp() {
  if (!qp_) throw Error(ENOTCONN, "test bench: the connection is closed");
  return *qp_;
}

void TcpConnection::Impl::PostBuffer(size_t index) {
  const int error = qp().PostRecv(kReceiveBit | index, buffers_[index].sge);
  if (error != 0) throw Error(error, "test bench: cannot post a receive");
}

void TcpConnection::Impl::PostReceive(uint32_t bytes) {
  if (bytes == 0) throw Error(EINVAL, "test bench: a receive of 0 bytes");
  Buffer buffer;
  buffer.own = core->pd().Allocate(bytes);
  buffer.data = static_cast<uint8_t*>(buffer.own->data());
  buffer.sge = buffer.own->Sge(0, bytes);
  buffers_.push_back(std::move(buffer));
  PostBuffer(buffers_.size() - 1);
}

uint64_t TcpConnection::Impl::Send(std::span<const uint8_t> data, int flags) {
  if (data.empty()) throw Error(EINVAL, "test bench: a TCP send of 0 bytes");
  // The queue itself is as long as the next power of two.
  if (sends_outstanding >= options.send_depth) {
    throw Error(ENOMEM, "test bench: send_depth sends are outstanding");
  }
  Outgoing send;
  send.memory = core->pd().Allocate(data.size(), /*access=*/0);
  send.bytes = data.size();
  std::memcpy(send.memory->data(), data.data(), data.size());
  const int error =
      qp().PostSend(last_send_ + 1, send.memory->Sge(0, static_cast<uint32_t>(data.size())), flags);
  if (error != 0) throw Error(error, "test bench: cannot post a send");
  ++sends_outstanding;
  sends_.emplace(++last_send_, std::move(send));
  return last_send_;
}

bool TcpConnection::Impl::Poll() {
  if (!qp_) return false;
  WorkCompletion completions[32];
  bool any = false;
  while (const size_t count = cq_->Poll(completions)) {
    any = true;
    for (size_t i = 0; i < count; ++i) OnCompletion(completions[i]);
  }
  last_host_state_ = qp_->state();
  last_reason_ = qp_->disconnect_reason();
  last_local_ = qp_->local();
  last_peer_ = qp_->peer();
  FinishClose();
  return any;
}

void TcpConnection::Impl::FinishClose() {
  if (!closing || !qp_ || last_host_state_ != qpip::QpState::kClosed) return;
  qp_.reset();
}

void TcpConnection::Impl::OnCompletion(const WorkCompletion& completion) {
  if ((completion.wr_id & kReceiveBit) != 0) {
    OnReceived(completion.wr_id & ~kReceiveBit, completion);
    return;
  }
  Outgoing& send = sends_.at(completion.wr_id);
  send.status = completion.status;
  send.memory.reset();
  --sends_outstanding;
  if (completion.status == IBV_WC_SUCCESS) bytes_acknowledged += send.bytes;
}

void TcpConnection::Impl::OnReceived(size_t buffer, const WorkCompletion& completion) {
  if (completion.status != IBV_WC_SUCCESS) {
    // The first says why; those flushed behind it do not.
    if (error_ == IBV_WC_SUCCESS && !end_of_stream_) error_ = completion.status;
    return;
  }
  if (completion.end_of_stream) {
    end_of_stream_ = true;
    return;
  }
  filled_.push_back({buffer, 0, completion.byte_len});
  available_ += completion.byte_len;
}

Received TcpConnection::Impl::Receive(size_t limit) {
  Received received;
  while (limit > received.data.size() && !filled_.empty()) {
    Filled& front = filled_.front();
    const size_t bytes = std::min<size_t>(limit - received.data.size(), front.end - front.begin);
    const uint8_t* start = buffers_[front.buffer].data + front.begin;
    received.data.insert(received.data.end(), start, start + bytes);
    front.begin += static_cast<uint32_t>(bytes);
    if (front.begin != front.end) break;
    const size_t emptied = front.buffer;
    filled_.pop_front();
    const bool over = !qp_ || qp_->state() == qpip::QpState::kClosed;
    if (options.repost && !over && !end_of_stream_) PostBuffer(emptied);
  }
  available_ -= received.data.size();
  if (!filled_.empty()) return received;
  received.end_of_stream = end_of_stream_;
  received.status = error_;
  return received;
}

size_t TcpConnection::Impl::Available() const {
  // What the NIC holds for want of receives comes with those that Receive posts again.
  const bool reposts = options.repost && qp_ && qp_->state() != qpip::QpState::kClosed;
  const fw::QueuePair* inside = reposts ? Inside() : nullptr;
  return available_ + (inside != nullptr ? inside->pool.used : 0);
}

const fw::QueuePair* TcpConnection::Impl::Inside() const {
  // A queue pair given back may have gone to somebody else: its name tells.
  const fw::QueuePair& inside = core->hardware().queue_pair(handle_);
  if (inside.state == fw::QpState::kFree) return nullptr;
  if (qp_) return &inside;
  const bool same = inside.tuple.local_port == last_local_.port &&
                    inside.tuple.remote_port == last_peer_.port &&
                    inside.tuple.remote_address == ToAddress(last_peer_.address);
  return same ? &inside : nullptr;
}

TcpState TcpConnection::Impl::State() const {
  const fw::QueuePair* inside = Inside();
  if (inside == nullptr) return TcpState::kClosed;
  if (inside->state == fw::QpState::kOffered) return TcpState::kListen;
  return ToTcpState(inside->tcb.state);
}

TcpConnection::TcpConnection(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TcpConnection::~TcpConnection() = default;

TcpState TcpConnection::State() {
  impl_->core->Settle();
  return impl_->State();
}

qpip::QpState TcpConnection::HostState() {
  impl_->core->Settle();
  return impl_->last_host_state_;
}

DisconnectReason TcpConnection::Reason() {
  impl_->core->Settle();
  return impl_->last_reason_;
}

TcpInfo TcpConnection::Info() {
  TcpInfo info;
  info.state = State();
  const fw::QueuePair* inside = impl_->Inside();
  if (inside == nullptr || info.state == TcpState::kClosed || info.state == TcpState::kListen) {
    return info;
  }
  const tcp::Tcb& tcb = inside->tcb;
  info.iss = tcb.snd.iss.value();
  info.irs = tcb.rcv.irs.value();
  info.snd_una = tcb.snd.una.value();
  info.snd_nxt = tcb.snd.nxt.value();
  info.snd_wnd = tcb.snd.wnd;
  info.rcv_nxt = tcb.rcv.nxt.value();
  info.rcv_wnd = tcb.rcv.nxt.DistanceTo(tcb.rcv.adv);
  info.snd_mss = tcb.snd.mss;
  info.cwnd = tcb.cwnd;
  info.ssthresh = tcb.ssthresh;
  info.srtt = Microseconds(tcb.rtt.valid ? tcb.rtt.srtt_us / 8 : 0);
  info.rttvar = Microseconds(tcb.rtt.valid ? tcb.rtt.rttvar_us / 4 : 0);
  info.rto = Microseconds(tcb.rtt.rto_us);
  info.timestamps = tcb.timestamps_on;
  info.window_scaling = tcb.window_scaling_on;
  info.sack = tcb.sack_on;
  return info;
}

Endpoint TcpConnection::local() {
  impl_->core->Settle();
  return impl_->last_local_;
}

Endpoint TcpConnection::peer() {
  impl_->core->Settle();
  return impl_->last_peer_;
}

uint64_t TcpConnection::Send(std::span<const uint8_t> data) {
  impl_->core->Settle();  // the host library knows of the connection's state by then
  return impl_->Send(data, IBV_SEND_SIGNALED);
}

uint64_t TcpConnection::SendUrgent(std::span<const uint8_t> data) {
  impl_->core->Settle();
  return impl_->Send(data, IBV_SEND_SIGNALED | kSendUrgent);
}

QpNotices TcpConnection::TakeNotices() {
  impl_->core->Settle();
  return impl_->qp().TakeNotices();
}

std::optional<ibv_wc_status> TcpConnection::SendStatus(uint64_t number) {
  impl_->core->Settle();
  const auto found = impl_->sends_.find(number);
  if (found == impl_->sends_.end()) throw Error(EINVAL, "test bench: there was no such send");
  return found->second.status;
}

uint64_t TcpConnection::BytesAcknowledged() {
  impl_->core->Settle();
  return impl_->bytes_acknowledged;
}

size_t TcpConnection::SendsOutstanding() {
  impl_->core->Settle();
  return impl_->sends_outstanding;
}

Received TcpConnection::Receive(size_t limit) {
  Received all;
  for (;;) {
    impl_->core->Settle();
    Received some = impl_->Receive(limit - all.data.size());
    const bool more = !some.data.empty() && all.data.size() + some.data.size() < limit;
    all.data.insert(all.data.end(), some.data.begin(), some.data.end());
    all.end_of_stream = some.end_of_stream;
    all.status = some.status;
    // Emptied receives that were posted again may be filled with what waited for them.
    if (!more) return all;
  }
}

size_t TcpConnection::Available() {
  impl_->core->Settle();
  return impl_->Available();
}

void TcpConnection::PostReceive(uint32_t bytes) {
  impl_->core->Settle();
  impl_->PostReceive(bytes);
}

void TcpConnection::ShutdownSend() {
  impl_->core->Settle();
  impl_->qp().Shutdown();
  impl_->core->Settle();
}

void TcpConnection::Close() {
  if (impl_->closing) return;
  ShutdownSend();
  impl_->closing = true;
  impl_->core->Settle();
}

void TcpConnection::Abort() {
  impl_->core->Settle();
  // Nothing is left to be aborted once Close has ended.
  if (impl_->qp_) impl_->qp_->Abort();
  impl_->core->Settle();
}

qpip::QueuePair& TcpConnection::queue_pair() { return impl_->qp(); }

const char* ToString(TcpState state) {
  switch (state) {
    case TcpState::kClosed:
      return "CLOSED";
    case TcpState::kListen:
      return "LISTEN";
    case TcpState::kSynSent:
      return "SYN-SENT";
    case TcpState::kSynReceived:
      return "SYN-RECEIVED";
    case TcpState::kEstablished:
      return "ESTABLISHED";
    case TcpState::kFinWait1:
      return "FIN-WAIT-1";
    case TcpState::kFinWait2:
      return "FIN-WAIT-2";
    case TcpState::kCloseWait:
      return "CLOSE-WAIT";
    case TcpState::kClosing:
      return "CLOSING";
    case TcpState::kLastAck:
      return "LAST-ACK";
    case TcpState::kTimeWait:
      return "TIME-WAIT";
  }
  return "?";
}

}  // namespace qpip::testbench

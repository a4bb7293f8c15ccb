#include "vconn_core.h"

#include <cerrno>
#include <string>
#include <utility>

#include "queue_pair.h"
#include "status.h"

namespace qpip::internal {

static_assert(kVconnHeaderBytes == vconn::kHeaderBytes);

namespace {

constexpr size_t kAlignment = 64;

vconn::Limits CheckedLimits(const VconnOptions& options, const QpImpl& qp) {
  const vconn::Limits limits = {options.window, options.message_bytes};
  if (!vconn::InRange(limits) || options.requests == 0) {
    throw Error(EINVAL,
                "vconn: window must be 2 to 1024, message_bytes 64 to 16 MiB and requests at "
                "least 1");
  }
  if (qp.type() != QpType::kTcp || qp.options().framing == Framing::kStream) {
    throw Error(EINVAL,
                "vconn: the queue pair must keep messages apart: Framing::kSegment or "
                "Framing::kMpa (Vconn::QueuePairOptions)");
  }
  return limits;
}

size_t StrideOf(const VconnOptions& options) {
  return (options.message_bytes + kAlignment - 1) / kAlignment * kAlignment;
}

std::span<const uint8_t> MessageOctets(const std::byte* bytes, size_t count) {
  return {reinterpret_cast<const uint8_t*>(bytes), count};
}

}  // namespace

VconnCore::VconnCore(ProtectionDomain& pd, QueuePair& qp, std::shared_ptr<QpImpl> impl,
                     const VconnOptions& options)
    : qp_(std::move(impl)),
      stride_(StrideOf(options)),
      writer_(pd, qp, {.buffer_bytes = options.send_bytes}),
      machine_(CheckedLimits(options, *qp_)),
      slots_(options.requests),
      pending_(slots_),
      received_(options.window) {
  memory_ = pd.Allocate(stride_ * options.window);
  qp_->GiveTo(QpImpl::kReceives, memory_);
  for (uint32_t buffer = 0; buffer < options.window; ++buffer) {
    if (!Post(buffer)) {
      throw Error(ENOMEM, "vconn: cannot post receive " + std::to_string(buffer + 1) + " of " +
                              std::to_string(options.window) +
                              "; the queue pair's recv_depth must be at least the window");
    }
  }
}

// --- Receiving

const std::byte* VconnCore::BufferAt(uint32_t buffer) const {
  return static_cast<const std::byte*>(memory_->data()) + buffer * stride_;
}

bool VconnCore::Post(uint32_t buffer) {
  ibv_sge sge = memory_->Sge(buffer * stride_, machine_.own().message_bytes);
  ibv_recv_wr wr{.wr_id = buffer, .next = nullptr, .sg_list = &sge, .num_sge = 1};
  if (qp_->PostRecv(&wr, nullptr) != 0) return false;
  ++outstanding_;
  return true;
}

void VconnCore::Repost(uint32_t buffer) {
  if (broken_ || refused_) return;
  refused_ = !Post(buffer);
  EndIfRefused();
}

// With no receive outstanding there is no completion that could tell how the connection ended.
void VconnCore::EndIfRefused() {
  if (!refused_ || outstanding_ != 0 || peer_ended_ || broken_) return;
  if (qp_->reason() == DisconnectReason::kClosed) {
    peer_ended_ = true;
    return;
  }
  broken_ = true;
  reason_ = qp_->reason();
  status_ = StatusOf(reason_);
}

bool VconnCore::OnCompletion(const WorkCompletion& completion) {
  if (completion.qp_num != qp_->qp_num()) return false;
  if ((completion.opcode & IBV_WC_RECV) != 0) {  // immediate data too, which is no message
    OnReceive(completion);
  } else {
    writer_.OnCompletion(completion);
    // What fails takes all behind it along.
    const bool failed = completion.status != IBV_WC_SUCCESS;
    if (failed && writer_.completed_ <= last_message_) lost_ = true;
  }
  SendCreditsIfDue();
  return true;
}

void VconnCore::OnReceive(const WorkCompletion& completion) {
  --outstanding_;
  if (completion.status != IBV_WC_SUCCESS) {
    // Receives left over at the end of a stream are flushed when the connection closes; over RDMA
    // that is how its end is told. What breaks a connection is the reason in the first of them.
    const bool flushed = completion.status == IBV_WC_WR_FLUSH_ERR;
    const bool no_reason = completion.reason == DisconnectReason::kNone ||
                           completion.reason == DisconnectReason::kClosed;
    if (flushed && no_reason) peer_ended_ = true;
    if (peer_ended_ || broken_) return;
    broken_ = true;
    reason_ = completion.reason;
    status_ = flushed ? StatusOf(completion.reason) : completion.status;
    return;
  }
  if (completion.end_of_stream) {
    peer_ended_ = true;
  } else if (!broken_) {
    OnMessage(static_cast<uint32_t>(completion.wr_id), completion.byte_len);
  }
  EndIfRefused();
}

void VconnCore::OnMessage(uint32_t buffer, uint32_t bytes) {
  const vconn::Arrival arrival = machine_.Receive(MessageOctets(BufferAt(buffer), bytes));
  if (arrival.refusal != vconn::Refusal::kNone) return CutOff();
  if (!arrival.deliver) {
    if (!arrival.opened) ++counters_.credits_received;
    return Repost(buffer);
  }
  uint64_t context = 0;
  if (arrival.header.kind == vconn::Kind::kAnswer &&
      !pending_.Match(arrival.header.cookie, (arrival.header.flags & vconn::kMore) == 0,
                      &context)) {
    machine_.Cut(vconn::Refusal::kUnknownCookie);
    return CutOff();
  }
  ++counters_.received;
  received_[(first_ + count_++) % received_.size()] = {buffer, arrival.header, context};
}

void VconnCore::CutOff() {
  broken_ = true;
  reason_ = DisconnectReason::kAborted;
  qp_->Abort();
}

std::optional<VconnCore::Received> VconnCore::Next() {
  if (count_ == 0) return std::nullopt;
  const Received next = received_[first_];
  first_ = (first_ + 1) % received_.size();
  --count_;
  return next;
}

void VconnCore::GiveBack(uint32_t buffer) {
  Repost(buffer);
  if (broken_ || refused_) return;
  // Behind the post: the peer may use the credit at once.
  machine_.Return();
  SendCreditsIfDue();
}

// --- Sending

void VconnCore::Open() {
  if (said_hello_) throw Error(EALREADY, "vconn: Open was called before");
  if (!may_send()) throw Error(ENOTCONN, "vconn: Open: the queue pair is not connected");
  std::array<uint8_t, vconn::kHelloBytes> hello;
  machine_.Hello(hello);
  said_hello_ = true;
  // The ring is empty, and so is the send queue.
  (void)writer_.WriteAll(hello);
}

bool VconnCore::may_send() const {
  const QpState state = qp_->state();
  return state == QpState::kConnected || state == QpState::kPeerClosed;
}

void VconnCore::SendCreditsIfDue() {
  if (!machine_.CreditDue() || broken_ || !may_send()) return;
  vconn::Machine after = machine_;
  std::array<uint8_t, vconn::kHeaderBytes> header;
  vconn::EmitHeader(after.SendCredits(), header);
  // Without room they are still due when a send completes, unless a message has taken them along.
  if (!writer_.WriteAll(header)) return;
  machine_ = after;
  ++counters_.credits_sent;
}

std::optional<Vconn::Ticket> VconnCore::TrySend(vconn::Header header, const VconnParts& parts) {
  if (parts.registered.size() > Vconn::kRegistered) {
    throw Error(EINVAL, "vconn: a message of " + std::to_string(parts.registered.size()) +
                            " registered elements; at most " + std::to_string(Vconn::kRegistered));
  }
  uint64_t data_bytes = parts.data.size();
  for (const ibv_sge& sge : parts.registered) data_bytes += sge.length;
  const vconn::Sendable sendable = machine_.MaySend(parts.request.size(), data_bytes);
  if (sendable == vconn::Sendable::kTooLong) {
    throw Error(EMSGSIZE, "vconn: a message of " +
                              std::to_string(parts.request.size() + data_bytes) +
                              " bytes; the peer takes " +
                              std::to_string(machine_.peer_message_bytes() - vconn::kHeaderBytes));
  }
  if (sendable != vconn::Sendable::kYes || broken_ || !may_send()) return std::nullopt;
  header.request_bytes = static_cast<uint32_t>(parts.request.size());
  header.data_bytes = static_cast<uint32_t>(data_bytes);
  vconn::Machine after = machine_;
  std::array<uint8_t, vconn::kHeaderBytes> front;
  vconn::EmitHeader(after.Send(header), front);
  const std::array<ConstBytes, 3> copied = {front, parts.request, parts.data};
  const auto ticket = writer_.WriteParts(copied, parts.registered);
  if (!ticket) return std::nullopt;
  machine_ = after;
  last_message_ = *ticket;
  ++counters_.sent;
  return ticket;
}

std::optional<Vconn::Ticket> VconnCore::TryRequest(uint64_t context, const VconnParts& parts) {
  if (pending_.full()) return std::nullopt;
  const uint64_t cookie = pending_.Add(context);
  std::optional<Vconn::Ticket> ticket;
  try {
    ticket = TrySend({.kind = vconn::Kind::kRequest, .cookie = cookie}, parts);
  } catch (...) {
    pending_.Match(cookie, true, &context);
    throw;
  }
  if (!ticket) pending_.Match(cookie, true, &context);
  return ticket;
}

// --- How it stands

VconnState VconnCore::state() const {
  if (broken_ || lost_) return VconnState::kBroken;
  // A peer that has closed takes no credits any more, and nothing is wrong with that.
  if (peer_ended_) return VconnState::kPeerEnded;
  if (writer_.state() == StreamState::kError) return VconnState::kBroken;
  return machine_.state() == vconn::State::kOpen ? VconnState::kOpen : VconnState::kOpening;
}

Error VconnCore::error() const {
  const std::string who = "vconn with " + qp_->peer().ToString() + ": ";
  if (machine_.state() == vconn::State::kCut) {
    return Error(EPROTO, who + vconn::RefusalText(machine_.refusal()) + " (" +
                             vconn::RefusalName(machine_.refusal()) + "); it was cut off");
  }
  const DisconnectReason reason = broken_ ? reason_ : writer_.reason();
  const ibv_wc_status status = broken_ ? status_ : writer_.error();
  if (reason == DisconnectReason::kNone || reason == DisconnectReason::kLocalError) {
    return Error(EIO, who + ToString(status));
  }
  return Error(ErrnoOf(reason), "vconn: " + qp_->DescribeEnd());
}

}  // namespace qpip::internal

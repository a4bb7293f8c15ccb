#include "qpip/vconn.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <string>
#include <utility>

#include "qpip/rdma.h"
#include "vconn_core.h"

namespace qpip {

namespace {

constexpr size_t kSessionPollBatch = 32;
/// Sends beside those of a window: the hello, credits alone.
constexpr uint32_t kMoreSends = 4;
constexpr size_t kLeastReservation = size_t{64} << 10;
/// What an RdmaConnector and an RdmaListener ask for by default.
constexpr size_t kLeastRdmaReservation = size_t{4} << 20;
constexpr size_t kMostReservation = size_t{1} << 30;

}  // namespace

// --- VconnMessage

VconnMessage& VconnMessage::operator=(VconnMessage&& other) noexcept {
  if (this == &other) return *this;
  GiveBack();
  core_ = std::move(other.core_);
  buffer_ = other.buffer_;
  kind_ = other.kind_;
  more_ = other.more_;
  cookie_ = other.cookie_;
  request_ = std::exchange(other.request_, {});
  data_ = std::exchange(other.data_, {});
  return *this;
}

void VconnMessage::GiveBack() noexcept {
  const auto core = std::move(core_);
  if (core == nullptr) return;
  request_ = {};
  data_ = {};
  core->GiveBack(buffer_);
}

// --- Vconn

QpOptions Vconn::QueuePairOptions(const VconnOptions& options, CompletionQueue& send_cq,
                                  CompletionQueue& recv_cq, Framing framing) {
  QpOptions qp;
  qp.framing = framing;
  qp.send_cq = &send_cq;
  qp.recv_cq = &recv_cq;
  qp.send_depth = std::bit_ceil(uint32_t{options.window} + kMoreSends);
  qp.recv_depth = std::bit_ceil(uint32_t{options.window});
  // The ring's parts may go around its end.
  qp.max_send_sge = 2 + kRegistered;
  qp.max_recv_sge = 1;
  const size_t least = framing == Framing::kMpa ? kLeastRdmaReservation : kLeastReservation;
  qp.receive_reservation = static_cast<uint32_t>(
      std::clamp(size_t{options.window} * options.message_bytes, least, kMostReservation));
  return qp;
}

Vconn::Vconn(ProtectionDomain& pd, QueuePair& qp, const VconnOptions& options)
    : core_(std::make_shared<internal::VconnCore>(pd, qp, qp.impl_, options)) {}

Vconn::~Vconn() = default;

void Vconn::Open() { core_->Open(); }

bool Vconn::OnCompletion(const WorkCompletion& completion) {
  return core_->OnCompletion(completion);
}

VconnState Vconn::state() const { return core_->state(); }
Error Vconn::error() const { return core_->error(); }

std::optional<VconnMessage> Vconn::Next() {
  const auto received = core_->Next();
  if (!received) return std::nullopt;
  const vconn::Header& header = received->header;
  const std::byte* const parts = core_->BufferAt(received->buffer) + vconn::kHeaderBytes;
  VconnMessage message;
  message.core_ = core_;
  message.buffer_ = received->buffer;
  message.more_ = (header.flags & vconn::kMore) != 0;
  message.cookie_ = header.cookie;
  message.request_ = {parts, header.request_bytes};
  message.data_ = {parts + header.request_bytes, header.data_bytes};
  if (header.kind == vconn::Kind::kRequest) message.kind_ = VconnKind::kRequest;
  if (header.kind == vconn::Kind::kAnswer) {
    message.kind_ = VconnKind::kAnswer;
    message.cookie_ = received->context;
  }
  return message;
}

std::optional<Vconn::Ticket> Vconn::TrySend(const VconnParts& parts) {
  return core_->TrySend({}, parts);
}

std::optional<Vconn::Ticket> Vconn::TryRequest(uint64_t context, const VconnParts& parts) {
  return core_->TryRequest(context, parts);
}

std::optional<Vconn::Ticket> Vconn::TryAnswer(uint64_t cookie, const VconnParts& parts, bool more) {
  vconn::Header header;
  header.kind = vconn::Kind::kAnswer;
  header.flags = static_cast<uint8_t>(more ? vconn::kMore : 0);
  header.cookie = cookie;
  return core_->TrySend(header, parts);
}

bool Vconn::Done(Ticket ticket) const { return core_->writer().Done(ticket); }
Vconn::Ticket Vconn::last() const { return core_->writer().last(); }
bool Vconn::idle() const { return core_->writer().idle(); }

uint32_t Vconn::max_bytes() const {
  const uint32_t bytes = core_->machine().peer_message_bytes();
  return bytes == 0 ? 0 : bytes - kVconnHeaderBytes;
}

uint16_t Vconn::window() const { return core_->machine().window(); }
uint16_t Vconn::credits() const { return core_->machine().credits(); }
size_t Vconn::waiting() const { return core_->pending().waiting(); }
const Vconn::Counters& Vconn::counters() const { return core_->counters(); }

// --- VconnSession

VconnSession::VconnSession(Nic& nic, ProtectionDomain& pd, const VconnSessionOptions& options)
    : nic_(nic), timeout_(options.timeout), framing_(options.framing) {
  const uint32_t window = options.vconn.window;
  cq_ = nic.CreateCq(std::bit_ceil(window + kMoreSends) + std::bit_ceil(window));
  QpOptions qp_options = Vconn::QueuePairOptions(options.vconn, *cq_, *cq_, framing_);
  qp_options.keepalive = options.keepalive;
  qp_ = nic.CreateQp(pd, qp_options);
  vconn_ = std::make_unique<Vconn>(pd, *qp_, options.vconn);
}

VconnSession::~VconnSession() = default;

void VconnSession::Connect(const Endpoint& peer) {
  if (framing_ == Framing::kMpa) {
    RdmaConnect(nic_, *qp_, peer, {}, timeout_);
  } else {
    qp_->Connect(peer, timeout_);
  }
  Open();
}

void VconnSession::Open() {
  vconn_->Open();
  while (vconn_->state() == VconnState::kOpening) Wait();
  if (vconn_->state() == VconnState::kBroken) throw vconn_->error();
  if (vconn_->window() == 0) {
    throw Error(EPIPE, "vconn with " + qp_->peer().ToString() +
                           ": it has closed the connection before it said hello");
  }
}

bool VconnSession::Poll() {
  std::array<WorkCompletion, kSessionPollBatch> completions;
  const size_t count = cq_->Poll(completions);
  for (const auto& completion : std::span(completions).first(count)) {
    vconn_->OnCompletion(completion);
  }
  return count > 0;
}

void VconnSession::Wait() {
  std::array<WorkCompletion, kSessionPollBatch> completions;
  const size_t count = cq_->Wait(completions, timeout_);
  if (count == 0) {
    throw Error(ETIMEDOUT, "vconn with " + qp_->peer().ToString() +
                               ": nothing was received or acknowledged within the time-out");
  }
  for (const auto& completion : std::span(completions).first(count)) {
    vconn_->OnCompletion(completion);
  }
}

std::optional<VconnMessage> VconnSession::Receive() {
  for (;;) {
    if (auto message = vconn_->Next()) return message;
    if (vconn_->state() == VconnState::kBroken) throw vconn_->error();
    if (vconn_->state() == VconnState::kPeerEnded) return std::nullopt;
    Wait();
  }
}

template <typename Try>
Vconn::Ticket VconnSession::UntilSent(const Try& attempt) {
  for (;;) {
    if (const auto ticket = attempt()) return *ticket;
    if (vconn_->state() == VconnState::kBroken) throw vconn_->error();
    if (qp_->state() == QpState::kShutdown || qp_->state() == QpState::kClosed) {
      throw Error(EPIPE, "vconn with " + qp_->peer().ToString() +
                             ": nothing can be sent any more: this side has closed");
    }
    Wait();
  }
}

Vconn::Ticket VconnSession::Send(const VconnParts& parts) {
  return UntilSent([&] { return vconn_->TrySend(parts); });
}

Vconn::Ticket VconnSession::Request(uint64_t context, const VconnParts& parts) {
  return UntilSent([&] { return vconn_->TryRequest(context, parts); });
}

Vconn::Ticket VconnSession::Answer(uint64_t cookie, const VconnParts& parts, bool more) {
  return UntilSent([&] { return vconn_->TryAnswer(cookie, parts, more); });
}

void VconnSession::Flush(std::optional<Vconn::Ticket> ticket) {
  const Vconn::Ticket until = ticket.value_or(vconn_->last());
  while (!vconn_->Done(until)) Wait();
  if (vconn_->state() == VconnState::kBroken) throw vconn_->error();
}

void VconnSession::CloseWrite() { qp_->Shutdown(); }

}  // namespace qpip

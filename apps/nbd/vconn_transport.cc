#include "apps/nbd/vconn_transport.h"

#include <algorithm>

namespace qpip::nbd {

namespace {

/// Room for a completion of every receive and every send of kVconnOptions.
constexpr uint32_t kCompletions = 128;

/// Both parts of a message: they are one run of bytes.
std::span<const std::byte> Bytes(const VconnMessage& message) {
  return {message.request().data(), message.request().size() + message.data().size()};
}

}  // namespace

VconnTransport::VconnTransport(Nic& nic, ProtectionDomain& pd, const apps::StopToken& stop,
                               std::chrono::seconds keepalive)
    : QpTransport(nic, pd, stop, kCompletions) {
  QpOptions options = Vconn::QueuePairOptions(kVconnOptions, cq(), cq());
  options.keepalive = keepalive;
  Own(nic.CreateQp(pd, options));
  vconn_ = std::make_unique<Vconn>(pd, qp(), kVconnOptions);
}

// The queue pair goes first: after that nothing refers to the memory.
VconnTransport::~VconnTransport() { EndQp(); }

void VconnTransport::OnCompletion(const WorkCompletion& completion) {
  vconn_->OnCompletion(completion);
  while (auto message = vconn_->Next()) {
    if (Bytes(*message).empty()) {
      peer_is_done_ = true;
    } else {
      received_.push_back(std::move(*message));
    }
  }
}

void VconnTransport::ThrowIfBroken() const {
  if (vconn_->state() == VconnState::kBroken) throw ConnectionLost(vconn_->error().what());
}

void VconnTransport::EnsureOpen() {
  if (!said_hello_) {
    vconn_->Open();
    said_hello_ = true;
  }
  while (vconn_->state() == VconnState::kOpening) Pump(WaitFor::kRestOfMessage);
  ThrowIfBroken();
  if (vconn_->window() == 0) throw ConnectionLost("the peer closed before it said hello");
}

size_t VconnTransport::Runs(std::span<iovec> out) const {
  const size_t count = std::min(out.size(), received_.size());
  for (size_t i = 0; i < count; ++i) {
    const std::span<const std::byte> run = Bytes(received_[i]).subspan(i == 0 ? consumed_ : 0);
    out[i] = {const_cast<std::byte*>(run.data()), run.size()};
  }
  return count;
}

bool VconnTransport::ended() const {
  ThrowIfBroken();
  return peer_is_done_ || vconn_->state() == VconnState::kPeerEnded;
}

void VconnTransport::Consume(size_t bytes) {
  consumed_ += bytes;
  while (!received_.empty() && consumed_ >= Bytes(received_.front()).size()) {
    consumed_ -= Bytes(received_.front()).size();
    received_.pop_front();
  }
}

uint64_t VconnTransport::SendOne(const VconnParts& parts) {
  for (;;) {
    if (const auto ticket = vconn_->TrySend(parts)) return *ticket;
    ThrowIfBroken();
    Pump(WaitFor::kRestOfMessage);
  }
}

void VconnTransport::Send(std::span<const uint8_t> bytes) {
  EnsureOpen();
  while (!bytes.empty()) {
    const std::span<const uint8_t> part =
        bytes.first(std::min<size_t>(bytes.size(), vconn_->max_bytes()));
    SendOne({.request = part});
    bytes = bytes.subspan(part.size());
  }
}

uint64_t VconnTransport::SendPayload(std::span<const uint8_t> header,
                                     std::span<const std::byte> payload) {
  EnsureOpen();
  const size_t most = vconn_->max_bytes();
  if (header.size() >= most) {
    Send(header);
    header = {};
  }
  for (;;) {
    const std::span<const std::byte> part =
        payload.first(std::min(payload.size(), most - header.size()));
    payload = payload.subspan(part.size());
    const ibv_sge element = PayloadElement(part);
    const uint64_t ticket = SendOne({.request = header, .registered = {&element, 1}});
    if (payload.empty()) return ticket;
    header = {};
  }
}

}  // namespace qpip::nbd

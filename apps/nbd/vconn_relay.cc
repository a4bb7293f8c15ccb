#include "apps/nbd/vconn_relay.h"

#include <algorithm>
#include <cstring>

#include "apps/nbd/vconn_transport.h"
#include "protocols/nbd/client_message.h"

namespace qpip::nbd {

namespace {

/// A quarter of the send queue.
constexpr uint64_t kSendsBetweenLooks = 16;
/// Copied are only the headers of NBD's messages.
constexpr size_t kRingBytes = 16 * 1024;

VconnOptions Options() {
  VconnOptions options = kVconnOptions;
  options.send_bytes = kRingBytes;
  return options;
}

}  // namespace

VconnRelay::VconnRelay(Nic& nic, ProtectionDomain& pd, FileDescriptor local,
                       std::chrono::seconds keepalive)
    : Relay(nic, pd, std::move(local), keepalive) {
  CreateQp();
}

// The queue pair goes first: after that nothing refers to the memory.
VconnRelay::~VconnRelay() { EndQp(); }

std::unique_ptr<QueuePair> VconnRelay::MakeQp() {
  QpOptions options = Vconn::QueuePairOptions(Options(), send_cq(), recv_cq());
  options.keepalive = keepalive();
  auto qp = nic().CreateQp(pd(), options);
  vconn_ = std::make_unique<Vconn>(pd(), *qp, Options());
  return qp;
}

// --- Upstream

void VconnRelay::RunUpstream() {
  {
    std::unique_lock lock(mutex_);
    vconn_->Open();
    while (vconn_->state() == VconnState::kOpening && !downstream_over_) AwaitRoom(lock);
    if (vconn_->state() != VconnState::kOpen) return;
    most_ = vconn_->max_bytes();
  }
  size_t left = 0;  // bytes at the front of the buffer, of a message that is not whole
  for (size_t index = 0;;) {
    std::byte* const buffer = SendBuffer(index);
    const size_t bytes = ReadFromTool(buffer + left, kSendBytes - left);
    const std::span<const std::byte> have(buffer, left + bytes);
    // At the end the server gets what there is of a message, too.
    if (bytes == 0 && left != 0 && !Send(index, {}, have)) return;
    if (bytes == 0) {
      // The end, as VconnTransport reads it. The queue pair's own would end credits too, while the
      // server still has answers to send.
      Send(index, {}, {});
      return;
    }
    const auto taken = SendMessages(index, have);
    if (!taken) return;
    left = have.size() - *taken;
    if (*taken == 0) continue;
    index = (index + 1) % kSends;
    if (!AwaitSendBuffer(index)) return;
    std::memcpy(SendBuffer(index), have.data() + *taken, left);
  }
}

std::optional<size_t> VconnRelay::SendMessages(size_t index, std::span<const std::byte> bytes) {
  size_t taken = 0;
  while (taken < bytes.size()) {
    std::span<const std::byte> rest = bytes.subspan(taken);
    size_t header = 0;
    if (payload_left_ == 0) {
      const auto shape = ShapeOfClientMessage(
          {reinterpret_cast<const uint8_t*>(rest.data()), rest.size()}, !any_sent_);
      if (!shape) return taken;
      const uint64_t whole = shape->header_bytes + shape->payload_bytes;
      if (whole <= most_ && rest.size() < whole) return taken;
      header = shape->header_bytes;
      payload_left_ = shape->payload_bytes;
    }
    const size_t payload =
        std::min({rest.size() - header, most_ - header, static_cast<size_t>(payload_left_)});
    if (!Send(index, rest.first(header), rest.subspan(header, payload))) return std::nullopt;
    any_sent_ = true;
    payload_left_ -= payload;
    taken += header + payload;
  }
  return taken;
}

bool VconnRelay::Send(size_t index, std::span<const std::byte> request,
                      std::span<const std::byte> data) {
  ibv_sge element = {};
  VconnParts parts = {.request = request};
  if (!data.empty()) {
    const auto offset =
        static_cast<size_t>(data.data() - static_cast<const std::byte*>(send_memory().data()));
    element = send_memory().Sge(offset, static_cast<uint32_t>(data.size()));
    parts.registered = {&element, 1};
  }
  std::unique_lock lock(mutex_);
  TakeSentNowAndThen();
  for (;;) {
    if (const auto ticket = vconn_->TrySend(parts)) {
      tickets_[index] = *ticket;
      return true;
    }
    if (vconn_->state() != VconnState::kOpen || downstream_over_) return false;
    AwaitRoom(lock);
  }
}

bool VconnRelay::AwaitSendBuffer(size_t index) {
  std::unique_lock lock(mutex_);
  while (!vconn_->Done(tickets_[index])) {
    lock.unlock();
    std::array<WorkCompletion, kSends> completions;
    const size_t count = send_cq().Wait(completions);
    lock.lock();
    for (size_t i = 0; i < count; ++i) vconn_->OnCompletion(completions[i]);
  }
  return vconn_->state() != VconnState::kBroken;
}

void VconnRelay::AwaitRoom(std::unique_lock<std::mutex>& lock) {
  TakeSent();
  // What makes room comes with what is received: credits, and acknowledgements with them.
  const uint64_t before = batches_;
  moved_.wait(lock, [&] { return batches_ != before; });
}

void VconnRelay::TakeSentNowAndThen() {
  if (vconn_->last() - looked_at_ >= kSendsBetweenLooks) TakeSent();
}

void VconnRelay::TakeSent() {
  looked_at_ = vconn_->last();
  std::array<WorkCompletion, kReceives> completions;
  const size_t count = send_cq().Poll(completions);
  for (size_t i = 0; i < count; ++i) vconn_->OnCompletion(completions[i]);
}

// --- Downstream

void VconnRelay::RunDownstream() {
  bool tool_is_there = true;
  bool open = true;
  while (open && tool_is_there) {
    std::array<WorkCompletion, kReceives> completions;
    const size_t count = recv_cq().Wait(completions);
    OnReceived(std::span(completions).first(count));
    tool_is_there = WriteReceived();
    const std::lock_guard lock(mutex_);
    open = vconn_->state() == VconnState::kOpening || vconn_->state() == VconnState::kOpen;
  }
  const std::lock_guard lock(mutex_);
  // A broken connection ends the local tool's direction too: it could go nowhere.
  EndTool(vconn_->state() != VconnState::kPeerEnded);
  downstream_over_ = true;
  ++batches_;
  moved_.notify_one();
}

void VconnRelay::OnReceived(std::span<const WorkCompletion> completions) {
  const std::lock_guard lock(mutex_);
  TakeSentNowAndThen();
  for (const WorkCompletion& completion : completions) vconn_->OnCompletion(completion);
  while (auto message = vconn_->Next()) received_.push_back(std::move(*message));
  ++batches_;
  moved_.notify_one();
}

bool VconnRelay::WriteReceived() {
  std::array<iovec, kReceives> list;
  size_t count = 0;
  size_t bytes = 0;
  for (const VconnMessage& message : received_) {
    const size_t both = message.request().size() + message.data().size();
    if (both == 0) continue;
    list[count++] = {const_cast<std::byte*>(message.request().data()), both};
    bytes += both;
  }
  for (std::span<iovec> rest(list.data(), count); bytes > 0;) {
    const auto written = WriteToTool(rest);
    if (!written) return false;
    bytes -= *written;
    for (size_t left = *written; left > 0;) {
      const size_t from_first = std::min(left, rest.front().iov_len);
      rest.front().iov_base = static_cast<std::byte*>(rest.front().iov_base) + from_first;
      rest.front().iov_len -= from_first;
      left -= from_first;
      if (rest.front().iov_len == 0) rest = rest.subspan(1);
    }
  }
  const std::lock_guard lock(mutex_);
  received_.clear();  // which gives the buffers back
  return true;
}

std::optional<std::string> VconnRelay::WhyBroken() const {
  const std::lock_guard lock(mutex_);
  if (vconn_->state() != VconnState::kBroken) return std::nullopt;
  return vconn_->error().what();
}

}  // namespace qpip::nbd

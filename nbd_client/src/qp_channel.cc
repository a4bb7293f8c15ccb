#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "channel.h"
#include "qpip/stream.h"

namespace qpip::nbd::internal {

namespace {

constexpr size_t kReceiveBytes = 64 * 1024;
constexpr uint32_t kReceives = 32;
constexpr uint32_t kSendDepth = 64;
/// A header and so many runs of payload make one send.
constexpr size_t kPayloadElements = 7;
/// Of one element, so that what is long leaves while it is being posted.
constexpr size_t kElementBytes = 1 << 20;
/// Shorter payload is copied: that is quicker than another element.
constexpr size_t kLeastRegistered = 256;
/// Longest run of other bytes that is put in front of payload in one send.
constexpr size_t kMostHeader = 4096;

class QpWire;

class QpChannel : public Channel {
 public:
  QpChannel(QpWire& wire, Nic& nic, ProtectionDomain& pd, std::chrono::seconds keepalive);
  ~QpChannel() override;

  QueuePair& qp() { return *qp_; }
  void OnCompletion(const WorkCompletion& completion) {
    if (!reader_->OnCompletion(completion)) writer_->OnCompletion(completion);
  }

  size_t Send(std::span<const iovec> list) override;
  bool Connected() override { return qp_->WaitConnected(std::chrono::nanoseconds(0)); }
  size_t Receive(std::span<const iovec> into) override;
  void Shutdown() override { qp_->Shutdown(); }

 private:
  /// Whether it is payload that is sent from where it lies.
  bool IsRegistered(const iovec& run) const;
  /// Such payload, as much as one send holds, behind `header`. Returns how many bytes; 0: no room.
  size_t SendRegistered(const iovec& first, std::span<const iovec> rest,
                        std::span<const std::byte> header);
  void ThrowIfBroken();

  QpWire& wire_;
  std::unique_ptr<QueuePair> qp_;
  std::unique_ptr<StreamReader> reader_;
  std::unique_ptr<StreamWriter> writer_;
};

class QpWire : public Wire {
 public:
  QpWire(Nic& nic, ProtectionDomain& pd, const Endpoint& server, std::chrono::seconds keepalive)
      : nic_(nic),
        pd_(pd),
        server_(server),
        keepalive_(keepalive),
        cq_(nic.CreateCq(kMaxConnections * kEach)) {}

  std::unique_ptr<Channel> Connect() override;
  Timeout connecting_step() const override { return std::chrono::microseconds(200); }
  bool Wait(Timeout timeout) override {
    return HandOutKept() ||
           HandOut(std::span(completions_).first(cq_->Wait(completions_, timeout)));
  }
  bool Poll() override {
    const bool any_kept = HandOutKept();
    return HandOut(std::span(completions_).first(cq_->Poll(completions_))) || any_kept;
  }
  int fd() override { return cq_->fd(); }
  bool Arm() override {
    cq_->Acknowledge();
    return kept_.empty() && cq_->Arm();
  }
  std::span<std::byte> Allocate(size_t bytes) override;
  void Use(const MemoryRegion& region) override { regions_.push_back(&region); }

  CompletionQueue& cq() { return *cq_; }
  void Add(QpChannel& channel) { channels_[channel.qp().qp_num()] = &channel; }
  /// The queue pair of this number is destroyed: what it has left behind in the completion queue is
  /// not for the next one, which may get its number. What is others' waits for the next Poll: they
  /// are not to be moved on in the middle of another's end.
  void Forget(uint32_t qp_num);
  void Remove(QpChannel& channel) { channels_.erase(channel.qp().qp_num()); }
  /// The region that `run` lies in; nullptr: none of ours.
  const MemoryRegion* Find(const iovec& run) const;

 private:
  static constexpr uint32_t kMaxConnections = 64;
  static constexpr uint32_t kEach = kReceives + kSendDepth;

  bool HandOut(std::span<const WorkCompletion> completions);
  bool HandOutKept() { return !kept_.empty() && HandOut(std::exchange(kept_, {})); }

  Nic& nic_;
  ProtectionDomain& pd_;
  Endpoint server_;
  std::chrono::seconds keepalive_;
  std::unique_ptr<CompletionQueue> cq_;
  std::map<uint32_t, QpChannel*> channels_;
  std::vector<std::unique_ptr<MemoryRegion>> own_;
  std::vector<const MemoryRegion*> regions_;  ///< those and the caller's
  std::array<WorkCompletion, 64> completions_;
  std::vector<WorkCompletion> kept_;  ///< taken by Forget, and not handed out yet
};

QpChannel::QpChannel(QpWire& wire, Nic& nic, ProtectionDomain& pd, std::chrono::seconds keepalive)
    : wire_(wire),
      qp_(nic.CreateQp(pd, {.framing = Framing::kStream,
                            .send_cq = &wire.cq(),
                            .recv_cq = &wire.cq(),
                            .send_depth = kSendDepth,
                            .recv_depth = kReceives,
                            .max_send_sge = kPayloadElements + 1,
                            .max_recv_sge = 1,
                            .receive_reservation = kReceives * kReceiveBytes,
                            .keepalive = keepalive})),
      reader_(std::make_unique<StreamReader>(
          pd, *qp_, StreamReaderOptions{.buffer_bytes = kReceiveBytes, .buffers = kReceives})),
      writer_(std::make_unique<StreamWriter>(pd, *qp_)) {
  wire_.Add(*this);
}

QpChannel::~QpChannel() {
  const uint32_t number = qp_->qp_num();
  wire_.Remove(*this);
  qp_.reset();  // first: nothing refers to the memory then
  wire_.Forget(number);
}

void QpChannel::ThrowIfBroken() {
  const bool reading = reader_->state() == StreamState::kError;
  const bool writing = writer_->state() == StreamState::kError;
  if (!reading && !writing) return;
  const DisconnectReason reason = reading ? reader_->reason() : writer_->reason();
  const int code = ErrnoOf(reason);
  throw Lost(code == 0 ? EIO : code,
             "connection broken: " + qp_->peer().ToString() + ": " + ToString(reason));
}

bool QpChannel::IsRegistered(const iovec& run) const {
  return run.iov_len >= kLeastRegistered && wire_.Find(run) != nullptr;
}

size_t QpChannel::SendRegistered(const iovec& first, std::span<const iovec> rest,
                                 std::span<const std::byte> header) {
  std::array<ibv_sge, kPayloadElements> elements;
  size_t count = 0;
  size_t bytes = header.size();
  for (iovec run = first;; run = rest.front(), rest = rest.subspan(1)) {
    const MemoryRegion* const region = wire_.Find(run);
    const auto offset = static_cast<size_t>(static_cast<const std::byte*>(run.iov_base) -
                                            static_cast<const std::byte*>(region->data()));
    const size_t most = std::min(run.iov_len, kElementBytes);
    elements[count++] = region->Sge(offset, static_cast<uint32_t>(most));
    bytes += most;
    if (most < run.iov_len || count == elements.size()) break;
    if (rest.empty() || !IsRegistered(rest.front())) break;
  }
  return writer_->WriteRegistered(std::span(elements).first(count), header) ? bytes : 0;
}

size_t QpChannel::Send(std::span<const iovec> list) {
  size_t total = 0;
  size_t skip = 0;  // bytes of the first run that were taken
  while (!list.empty()) {
    const iovec run = {static_cast<std::byte*>(list[0].iov_base) + skip, list[0].iov_len - skip};
    const std::span<const std::byte> bytes(static_cast<const std::byte*>(run.iov_base),
                                           run.iov_len);
    size_t taken = 0;
    if (IsRegistered(run)) {
      taken = SendRegistered(run, list.subspan(1), {});
    } else if (run.iov_len <= kMostHeader && list.size() > 1 && IsRegistered(list[1])) {
      taken = SendRegistered(list[1], list.subspan(2), bytes);
    } else {
      taken = writer_->Write(bytes);
    }
    if (taken == 0) break;
    total += taken;
    skip += taken;
    while (!list.empty() && skip >= list[0].iov_len) {
      skip -= list[0].iov_len;
      list = list.subspan(1);
    }
  }
  ThrowIfBroken();
  return total;
}

size_t QpChannel::Receive(std::span<const iovec> into) {
  size_t total = 0;
  for (const iovec& run : into) {
    const size_t bytes = reader_->ReadSome(
        MutableBytes(std::span(static_cast<std::byte*>(run.iov_base), run.iov_len)));
    total += bytes;
    if (bytes < run.iov_len) break;
  }
  if (total > 0 || reader_->available() > 0) return total;
  ThrowIfBroken();
  if (reader_->state() == StreamState::kEndOfStream) {
    throw Lost(ECONNRESET, "connection closed by the server: " + qp_->peer().ToString());
  }
  return 0;
}

std::unique_ptr<Channel> QpWire::Connect() {
  auto channel = std::make_unique<QpChannel>(*this, nic_, pd_, keepalive_);
  channel->qp().StartConnect(server_);
  return channel;
}

bool QpWire::HandOut(std::span<const WorkCompletion> completions) {
  for (const WorkCompletion& completion : completions) {
    const auto found = channels_.find(completion.qp_num);
    if (found != channels_.end()) found->second->OnCompletion(completion);
  }
  return !completions.empty();
}

void QpWire::Forget(uint32_t qp_num) {
  const auto is_its = [qp_num](const WorkCompletion& each) { return each.qp_num == qp_num; };
  std::erase_if(kept_, is_its);
  try {
    // What there was when it was destroyed comes first, and is no more than the queue holds.
    for (size_t seen = 0; seen < kMaxConnections * kEach; seen += completions_.size()) {
      const auto some = std::span(completions_).first(cq_->Poll(completions_));
      std::copy_if(some.begin(), some.end(), std::back_inserter(kept_), std::not_fn(is_its));
      if (some.size() < completions_.size()) break;
    }
  } catch (const Error&) {  // in a child of fork(2) nothing is polled, and nothing connected
  }
}

std::span<std::byte> QpWire::Allocate(size_t bytes) {
  own_.push_back(pd_.Allocate(bytes));
  regions_.push_back(own_.back().get());
  return {static_cast<std::byte*>(own_.back()->data()), bytes};
}

const MemoryRegion* QpWire::Find(const iovec& run) const {
  const auto* const first = static_cast<const std::byte*>(run.iov_base);
  for (const MemoryRegion* const region : regions_) {
    const auto* const begin = static_cast<const std::byte*>(region->data());
    if (first >= begin && first + run.iov_len <= begin + region->size()) return region;
  }
  return nullptr;
}

}  // namespace

std::unique_ptr<Wire> MakeQpWire(Nic& nic, ProtectionDomain& pd, const Endpoint& server,
                                 std::chrono::seconds keepalive) {
  return std::make_unique<QpWire>(nic, pd, server, keepalive);
}

}  // namespace qpip::nbd::internal

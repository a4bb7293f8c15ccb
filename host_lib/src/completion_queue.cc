#include "completion_queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <string>
#include <utility>

#include "nic_impl.h"
#include "queue_pair.h"
#include "status.h"

namespace qpip {

namespace internal {

namespace {

constexpr uint32_t kMaxCapacity = 1u << 20;

// Rounds of running the core before Wait arms an interrupt: a completion that is a few firmware
// steps away costs no doorbell and no wake-up.
constexpr int kWaitRounds = 16;

uint32_t Log2Size(uint32_t capacity) {
  if (capacity == 0 || capacity > kMaxCapacity) {
    throw Error(EINVAL, "create completion queue: capacity " + std::to_string(capacity) +
                            " is not between 1 and " + std::to_string(kMaxCapacity));
  }
  // The ABI's smallest ring has two entries.
  return capacity < 2 ? 1 : static_cast<uint32_t>(std::bit_width(capacity - 1));
}

}  // namespace

CqImpl::CqImpl(std::shared_ptr<NicImpl> nic, uint32_t capacity)
    : nic_(std::move(nic)),
      log2_size_(Log2Size(capacity)),
      memory_((sizeof(abi::Cqe) << log2_size_) + 64, "a completion queue"),
      ring_(reinterpret_cast<abi::Cqe*>(memory_.data())),
      consumer_word_(
          reinterpret_cast<uint64_t*>(memory_.data() + (sizeof(abi::Cqe) << log2_size_))) {
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kCreateCq);
  command.create_cq = {.ring = nic_->port().DmaAddress(ring_),
                       .consumer = nic_->port().DmaAddress(consumer_word_),
                       .log2_size = log2_size_};
  const abi::Event answer = nic_->channel().Execute(command, [this](const abi::Event& event) {
    if (event.status != 0) return;
    handle_ = event.result[0];
    nic_->cqs().Set(handle_, this);
  });
  ThrowIfFailed(answer, "create completion queue");
}

CqImpl::~CqImpl() {
  if (!nic_->forked()) {
    abi::Command command;
    command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kDestroyCq);
    command.destroy_cq = {.cq = handle_};
    nic_->channel().Execute(command, [this](const abi::Event&) { nic_->RemoveCq(handle_); });
  }
  const int fd = fd_.load(std::memory_order_acquire);
  if (fd >= 0) close(fd);
}

inline abi::Cqe& CqImpl::EntryAt(uint32_t index) const {
  return ring_[index & ((1u << log2_size_) - 1)];
}

// Observe, then read: everything else in the entry was written before its valid word.
inline bool CqImpl::EntryValid() const {
  const uint32_t consumer = consumer_.load(std::memory_order_relaxed);
  const std::atomic_ref<uint32_t> valid(EntryAt(consumer).valid);
  return valid.load(std::memory_order_acquire) == abi::CqeLap(consumer, log2_size_);
}

size_t CqImpl::Poll(std::span<WorkCompletion> out) {
  nic_->ThrowIfForked("poll for completions");
  return Look(out, /*before_sleep=*/false);
}

size_t CqImpl::Look(std::span<WorkCompletion> out, bool before_sleep) {
  size_t count = MayHaveSome() ? Harvest(out) : 0;
  if (count == 0) {
    abi::HostPort& port = nic_->port();
    const bool did =
        before_sleep ? port.DriveBeforeSleep() : port.Drive(/*until_notification=*/true);
    // Before a sleep another thread may have had the core, and what it has brought is to be seen.
    if ((did || before_sleep) && MayHaveSome()) count = Harvest(out);
  }
  // After the harvest: a caller that has seen a flush also sees the state that caused it.
  nic_->channel().DispatchIfAny();
  return count;
}

size_t CqImpl::Wait(std::span<WorkCompletion> out, Timeout timeout) {
  nic_->ThrowIfForked("wait for completions");
  if (out.empty()) return 0;
  if (const size_t count = Look(out, /*before_sleep=*/true); count != 0) return count;
  for (int i = 0; i < kWaitRounds && nic_->port().DriveBeforeSleep(); ++i) {
    if (const size_t count = Look(out, /*before_sleep=*/true); count != 0) return count;
  }
  const uint64_t deadline_ns = DeadlineNs(nic_->platform(), timeout);
  for (;;) {
    // Before arming: an interrupt from here on changes the word and ends the sleep below.
    const uint32_t seen = Interrupts().load(std::memory_order_acquire);
    // Before the last look, so that what the failure has flushed is delivered first.
    const bool failed = nic_->troubles().failure() != nullptr;
    if (abi::Doorbell doorbell; PrepareToArm(kAny, &doorbell)) {
      nic_->port().RingDoorbell(doorbell);
    }
    if (const size_t count = Look(out, /*before_sleep=*/true); count != 0) return count;
    ThrowIfOverrun();
    if (failed) nic_->troubles().ThrowIfFailed("wait for completions");
    if (deadline_ns != UINT64_MAX && nic_->platform().NowNs() >= deadline_ns) return 0;
    nic_->port().DriveUntil(&interrupts_, seen, deadline_ns);
  }
}

int CqImpl::fd() {
  nic_->ThrowIfForked("completion queue's descriptor");
  int fd = fd_.load(std::memory_order_acquire);
  if (fd >= 0) return fd;
  const std::lock_guard lock(fd_mutex_);
  fd = fd_.load(std::memory_order_acquire);
  if (fd < 0) {
    fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) throw Error(errno, "completion queue: cannot create an eventfd");
    fd_.store(fd, std::memory_order_release);
  }
  return fd;
}

bool CqImpl::Arm(bool solicited_only) {
  fd();
  const Wanted wanted = solicited_only ? kSolicited : kAny;
  if (HasCompletion(wanted)) return false;
  nic_->troubles().ThrowIfFailed("wait for completions");
  // Before armed_ is looked at, in everybody's eyes: see OnInterrupt.
  fd_armed_.exchange(true, std::memory_order_seq_cst);
  abi::Doorbell doorbell;
  const bool ring = PrepareToArm(wanted, &doorbell);
  nic_->port().GoOnAlone(ring ? &doorbell : nullptr);
  // A failure since the look above may have found the descriptor unarmed.
  if (nic_->troubles().failure() != nullptr) OnInterrupt();
  return true;
}

void CqImpl::Acknowledge() {
  nic_->ThrowIfForked("acknowledge a notification");
  const int fd = fd_.load(std::memory_order_acquire);
  uint64_t count;
  // EAGAIN when nothing has been signalled: nothing to acknowledge then.
  while (fd >= 0 && read(fd, &count, sizeof(count)) < 0 && errno == EINTR) {
  }
}

bool CqImpl::Reserve(uint32_t entries) {
  const std::lock_guard lock(reserve_mutex_);
  if (entries > capacity() - reserved_) return false;
  reserved_ += entries;
  return true;
}

void CqImpl::Release(uint32_t entries) {
  const std::lock_guard lock(reserve_mutex_);
  reserved_ -= entries;
}

uint32_t CqImpl::Unreserved() {
  const std::lock_guard lock(reserve_mutex_);
  return capacity() - reserved_;
}

void CqImpl::DrainRing() {
  const std::lock_guard lock(lock_);
  WorkCompletion completion;
  while (EntryValid()) {
    if (TakeLocked(&completion)) backlog_.push_back(completion);
  }
  has_backlog_.store(!backlog_.empty(), std::memory_order_release);
}

void CqImpl::OnInterrupt() {
  // In this order: a thread that arms after the exchange rings the doorbell itself, and one that
  // armed before it either sees the word change or has set fd_armed_ already.
  armed_.exchange(kNone, std::memory_order_seq_cst);
  Interrupts().fetch_add(1, std::memory_order_acq_rel);
  nic_->platform().Wake(&interrupts_);
  if (fd_armed_.exchange(false, std::memory_order_seq_cst)) {
    const uint64_t one = 1;
    // Fails only when the counter is full, and then the descriptor is readable anyway.
    [[maybe_unused]] const ssize_t written =
        write(fd_.load(std::memory_order_acquire), &one, sizeof(one));
  }
}

void CqImpl::OnOverrun() {
  overrun_.store(true, std::memory_order_release);
  OnInterrupt();
}

size_t CqImpl::Harvest(std::span<WorkCompletion> out) {
  const std::lock_guard lock(lock_);
  return HarvestLocked(out);
}

size_t CqImpl::HarvestLocked(std::span<WorkCompletion> out) {
  size_t count = 0;
  while (count < out.size() && !backlog_.empty()) {
    out[count++] = backlog_.front();
    backlog_.pop_front();
    if (backlog_.empty()) has_backlog_.store(false, std::memory_order_release);
  }
  while (count < out.size() && EntryValid()) {
    if (TakeLocked(&out[count])) ++count;
  }
  return count;
}

// Takes the valid entry at the consumer index. Returns false when it names no queue pair.
bool CqImpl::TakeLocked(WorkCompletion* out) {
  const uint32_t consumer = consumer_.load(std::memory_order_relaxed);
  const abi::Cqe cqe = EntryAt(consumer);
  consumer_.store(consumer + 1, std::memory_order_relaxed);
  // Before the work request's slot is freed: from then on the NIC may need the entry again, and
  // room for every work request is what CreateQp has promised it.
  std::atomic_ref<uint64_t>(*consumer_word_).store(consumer + 1, std::memory_order_release);
  return Translate(cqe, out);
}

namespace {

ibv_wc_opcode ToWcOpcode(uint8_t sent) {
  switch (static_cast<abi::SendOpcode>(sent)) {
    case abi::SendOpcode::kRdmaWrite:
    case abi::SendOpcode::kRdmaWriteWithImmediate:
      return IBV_WC_RDMA_WRITE;
    case abi::SendOpcode::kRdmaRead:
      return IBV_WC_RDMA_READ;
    case abi::SendOpcode::kAtomicFetchAdd:
      return IBV_WC_FETCH_ADD;
    case abi::SendOpcode::kAtomicCompareSwap:
      return IBV_WC_COMP_SWAP;
    case abi::SendOpcode::kLocalInvalidate:
      return IBV_WC_LOCAL_INV;
    case abi::SendOpcode::kBindWindow:
      return IBV_WC_BIND_MW;
    default:
      return IBV_WC_SEND;
  }
}

// Of an RDMA receive.
void SayMore(const abi::Cqe& cqe, WorkCompletion* out) {
  if ((cqe.flags & abi::kCqeImmediate) != 0) {
    out->opcode = IBV_WC_RECV_RDMA_WITH_IMM;
    out->imm_data = cqe.immediate;
    out->wc_flags = IBV_WC_WITH_IMM;
  } else {
    out->invalidated_rkey = cqe.key;
    out->wc_flags = IBV_WC_WITH_INV;
  }
}

}  // namespace

bool CqImpl::Translate(const abi::Cqe& cqe, WorkCompletion* out) {
  QpImpl* qp = nic_->qps().Find(cqe.qp);
  if (qp == nullptr) return false;
  const bool receive = cqe.opcode == static_cast<uint8_t>(abi::CompletionOpcode::kRecv);
  const uint8_t sent = receive ? 0 : qp->SendOpcode(cqe.wqe_index);
  *out = WorkCompletion{};
  out->wr_id = qp->OnCompletion(receive, cqe.wqe_index);
  // The library's own: its entry is free now, which is all.
  if (sent == static_cast<uint8_t>(abi::SendOpcode::kStartup)) return false;
  out->status = ToWcStatus(cqe.status);
  out->opcode = receive ? IBV_WC_RECV : ToWcOpcode(sent);
  if (receive && (cqe.flags & (abi::kCqeImmediate | abi::kCqeInvalidated)) != 0) {
    SayMore(cqe, out);
  }
  out->vendor_err = cqe.vendor_error;
  out->byte_len = cqe.byte_length;
  out->qp_num = qp->qp_num();
  if (receive && qp->type() == QpType::kUdp) {
    out->src_qp = cqe.peer_port;
    out->peer = {.address = ToIn6(cqe.peer_address), .port = cqe.peer_port};
  }
  if (out->status != IBV_WC_SUCCESS) [[unlikely]]
    out->reason = WhyFailed(cqe);
  out->end_of_stream = (cqe.flags & abi::kCqeEndOfStream) != 0;
  return true;
}

// The firmware names the reason in whatever the end of a connection has failed or flushed.
DisconnectReason CqImpl::WhyFailed(const abi::Cqe& cqe) const {
  if (cqe.vendor_error == 0) return DisconnectReason::kNone;
  if (nic_->troubles().failure() != nullptr) return DisconnectReason::kWireFailed;
  return ToDisconnectReason(static_cast<uint8_t>(cqe.vendor_error));
}

bool CqImpl::HasCompletion(Wanted wanted) {
  const std::lock_guard lock(lock_);
  if (wanted == kAny) return !backlog_.empty() || EntryValid();
  // The backlog is what a queue pair has left behind: somebody is to look at it.
  if (!backlog_.empty()) return true;
  const uint32_t begin = consumer_.load(std::memory_order_relaxed);
  for (uint32_t index = begin; index - begin < capacity(); ++index) {
    const abi::Cqe& cqe = EntryAt(index);
    const std::atomic_ref<const uint32_t> valid(cqe.valid);
    if (valid.load(std::memory_order_acquire) != abi::CqeLap(index, log2_size_)) return false;
    if (cqe.status != 0 || (cqe.flags & abi::kCqeSolicited) != 0) return true;
  }
  return false;
}

bool CqImpl::PrepareToArm(Wanted wanted, abi::Doorbell* doorbell) {
  uint32_t armed = armed_.load(std::memory_order_seq_cst);
  do {
    if (armed >= wanted) return false;
  } while (!armed_.compare_exchange_weak(armed, wanted, std::memory_order_acq_rel));
  uint32_t consumer;
  {
    const std::lock_guard lock(lock_);
    consumer = consumer_.load(std::memory_order_relaxed);
  }
  *doorbell = abi::Doorbell::Make(abi::DoorbellKind::kCqArm, handle_, consumer,
                                  wanted == kSolicited ? abi::kArmSolicited : abi::kArmAny);
  return true;
}

void CqImpl::ThrowIfOverrun() const {
  if (overrun_.load(std::memory_order_acquire)) {
    throw Error(EIO, "completion queue overrun: completions were lost");
  }
}

}  // namespace internal

CompletionQueue::CompletionQueue(std::shared_ptr<internal::CqImpl> impl) : impl_(std::move(impl)) {}
CompletionQueue::~CompletionQueue() = default;

size_t CompletionQueue::Poll(std::span<WorkCompletion> out) { return impl_->Poll(out); }
size_t CompletionQueue::Wait(std::span<WorkCompletion> out, Timeout timeout) {
  return impl_->Wait(out, timeout);
}
int CompletionQueue::fd() { return impl_->fd(); }
bool CompletionQueue::Arm(bool solicited_only) { return impl_->Arm(solicited_only); }
void CompletionQueue::Acknowledge() { impl_->Acknowledge(); }
uint32_t CompletionQueue::capacity() const { return impl_->capacity(); }

}  // namespace qpip

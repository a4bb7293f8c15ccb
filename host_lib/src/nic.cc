#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "completion_queue.h"
#include "listener.h"
#include "memory.h"
#include "nic_fw/abi/counters.h"
#include "nic_impl.h"
#include "queue_pair.h"
#include "status.h"

namespace qpip {

namespace internal {

std::shared_ptr<Nic> NicImpl::Start(std::unique_ptr<abi::HostPort> port) {
  auto impl = std::make_shared<NicImpl>(std::move(port));
  impl->port_->Start(impl->channel_.Setup(), impl.get());
  return std::shared_ptr<Nic>(new Nic(std::move(impl)));
}

NicImpl::NicImpl(std::unique_ptr<abi::HostPort> port)
    : opened_by_(getpid()),
      port_(std::move(port)),
      channel_(*port_, port_->info().max_qps, [this](const abi::Event& event) { OnEvent(event); }) {
}

NicImpl::~NicImpl() { port_->Stop(); }

void NicImpl::ThrowForked(const char* what) const {
  throw Error(EPERM, std::string(what) + ": the NIC " + info().description +
                         " belongs to process " + std::to_string(opened_by_) +
                         ", which opened it and of which this process is a fork: open one here, "
                         "after fork() or daemon()");
}

void NicImpl::OnCompletionInterrupt(uint32_t cq) {
  if (CqImpl* impl = cqs_.Find(cq)) impl->OnInterrupt();
  Notify();
}

void NicImpl::Notify() {
  std::atomic_ref(notifications_).fetch_add(1, std::memory_order_seq_cst);
  if (awaiting_.load(std::memory_order_seq_cst) != 0) platform().Wake(&notifications_);
}

void NicImpl::AwaitNotification(uint32_t seen, uint64_t deadline_ns) {
  awaiting_.fetch_add(1, std::memory_order_seq_cst);
  port_->DriveUntil(&notifications_, seen, deadline_ns);
  awaiting_.fetch_sub(1, std::memory_order_relaxed);
}

void NicImpl::OnEventInterrupt() {
  Notify();
  channel_.OnInterrupt();
  event_fds_.Signal();
}

void NicImpl::OnTrouble(const abi::Trouble& trouble) {
  troubles_.Add(trouble, platform().NowNs());
  if (!trouble.fatal) return;
  // Whoever waits for anything looks again, and finds the failure.
  {
    const std::lock_guard lock(trouble_mutex_);
    cqs_.ForEach([](CqImpl& cq) { cq.OnInterrupt(); });
  }
  OnEventInterrupt();
}

void NicImpl::RemoveCq(uint32_t handle) {
  const std::lock_guard lock(trouble_mutex_);
  cqs_.Set(handle, nullptr);
}

void NicImpl::TellTroubles() { troubles_.Tell(); }

void NicImpl::OnEvent(const abi::Event& event) {
  if (static_cast<abi::EventKind>(event.kind) == abi::EventKind::kCqError) {
    if (CqImpl* cq = cqs_.Find(event.object)) cq->OnOverrun();
    return;
  }
  // An event of a queue pair that is being destroyed may be older than the command's answer.
  if (QpImpl* qp = qps_.Find(event.object)) qp->OnEvent(event);
}

namespace {

std::array<uint64_t, abi::kCounterWords> QueryCounters(NicImpl& nic) {
  nic.ThrowIfForked("counters");
  // On the stack: the answer comes after the write.
  alignas(64) std::array<uint64_t, abi::kCounterWords> words{};
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kQueryCounters);
  command.query_counters = {.address = nic.port().DmaAddress(words.data()),
                            .bytes = static_cast<uint32_t>(sizeof(words))};
  ThrowIfFailed(nic.channel().Execute(command), "query the NIC's counters");
  return words;
}

std::string JsonString(const std::string& text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') out += '\\';
    if (byte >= 0x20) {
      out += c;
    } else {
      out += std::string("\\u00") + kHex[byte >> 4] + kHex[byte & 15];
    }
  }
  return out + '"';
}

}  // namespace

}  // namespace internal

std::shared_ptr<Nic> Nic::Attach(std::unique_ptr<abi::HostPort> port) {
  return internal::NicImpl::Start(std::move(port));
}

Nic::Nic(std::shared_ptr<internal::NicImpl> impl) : impl_(std::move(impl)) {}
Nic::~Nic() = default;

std::unique_ptr<ProtectionDomain> Nic::AllocatePd() {
  impl_->ThrowIfForked("allocate protection domain");
  auto impl = std::make_shared<internal::PdImpl>(impl_, impl_->NextProtectionDomain());
  return std::unique_ptr<ProtectionDomain>(new ProtectionDomain(std::move(impl)));
}

std::unique_ptr<CompletionQueue> Nic::CreateCq(uint32_t capacity) {
  impl_->ThrowIfForked("create completion queue");
  auto impl = std::make_shared<internal::CqImpl>(impl_, capacity);
  return std::unique_ptr<CompletionQueue>(new CompletionQueue(std::move(impl)));
}

std::unique_ptr<QueuePair> Nic::CreateQp(ProtectionDomain& pd, const QpOptions& options) {
  impl_->ThrowIfForked("create queue pair");
  if (options.send_cq == nullptr || options.recv_cq == nullptr) {
    throw Error(EINVAL, "create queue pair: send_cq and recv_cq are required");
  }
  if (pd.impl_->nic() != impl_) {
    throw Error(EINVAL, "create queue pair: the protection domain is another NIC's");
  }
  auto impl = std::make_shared<internal::QpImpl>(pd.impl_, options.send_cq->impl_,
                                                 options.recv_cq->impl_, options);
  return std::unique_ptr<QueuePair>(new QueuePair(std::move(impl)));
}

std::unique_ptr<Listener> Nic::Listen(uint16_t port, uint16_t backlog) {
  impl_->ThrowIfForked("listen");
  auto impl = internal::ListenerImpl::Open(impl_, port, backlog);
  return std::unique_ptr<Listener>(new Listener(std::move(impl)));
}

in6_addr Nic::address() const { return internal::ToIn6(impl_->info().address); }
uint32_t Nic::mtu() const { return impl_->info().mtu; }
uint32_t Nic::max_datagram() const { return internal::kMaxDatagram; }
const std::string& Nic::uri() const { return impl_->info().description; }

std::optional<NicEvent> Nic::failure() const {
  impl_->ThrowIfForked("failure");
  const NicEvent* event = impl_->troubles().failure();
  return event == nullptr ? std::nullopt : std::optional(*event);
}

void Nic::SetEventHandler(std::function<void(const NicEvent&)> handler) {
  impl_->ThrowIfForked("set event handler");
  impl_->troubles().SetHandler(std::move(handler));
}

void Nic::WatchEvents(int fd) {
  impl_->ThrowIfForked("watch events");
  impl_->event_fds().Add(fd);
}

void Nic::UnwatchEvents(int fd) {
  if (!impl_->forked()) impl_->event_fds().Remove(fd);
}

void Nic::DispatchEvents() {
  // Not left to another thread that is at it: the caller looks at states behind this.
  if (!impl_->forked()) impl_->channel().WaitUntil([] { return true; }, 0);
}

uint32_t Nic::notifications() const { return impl_->notifications(); }

void Nic::AwaitNotification(uint32_t seen, std::chrono::nanoseconds timeout) {
  impl_->ThrowIfForked("wait for a notification");
  impl_->AwaitNotification(seen, internal::DeadlineNs(impl_->platform(), timeout));
}

std::map<std::string, uint64_t> Nic::Counters() {
  const auto words = internal::QueryCounters(*impl_);
  std::map<std::string, uint64_t> out;
  for (uint32_t i = 0; i < abi::kNicCounterCount; ++i) out[abi::CounterName(i)] = words[i];
  // Reason 0 is "none": not a drop.
  for (uint32_t i = 1; i < abi::kDropReasonCount; ++i) {
    out[std::string("drop.") + abi::DropReasonName(i)] = words[abi::kNicCounterCount + i];
  }
  return out;
}

std::string Nic::StatisticsJson() {
  std::string out = "{\"uri\":" + internal::JsonString(uri()) + ",\"counters\":{";
  const char* separator = "";
  for (const auto& [name, value] : Counters()) {
    out += separator + internal::JsonString(name) + ":" + std::to_string(value);
    separator = ",";
  }
  out += "}";
  const std::string port = impl_->port().StatisticsJson();
  if (!port.empty()) out += ",\"port\":" + port;
  return out + "}";
}

}  // namespace qpip

// A UDP queue pair with receives posted ahead.
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <utility>

#include "core.h"

namespace qpip::testbench {
namespace {

constexpr uint64_t kReceiveBit = uint64_t{1} << 63;
constexpr uint32_t kSendDepth = 64;
constexpr uint32_t kMostReceives = 1024;

}  // namespace

struct UdpSocket::Impl : Pollable {
  Impl(std::shared_ptr<Core> shared_core, const UdpOptions& udp_options)
      : core(std::move(shared_core)), options(udp_options) {
    if (options.receives == 0 || options.receives > kMostReceives || options.receive_bytes == 0) {
      throw Error(EINVAL, "UdpOptions: receives is 1 to 1024, receive_bytes at least 1");
    }
    cq = core->nic().CreateCq(2 * (kSendDepth + options.receives));
    memory = core->pd().Allocate(size_t{options.receives} * options.receive_bytes);
    qp = core->nic().CreateQp(core->pd(), {.type = QpType::kUdp,
                                           .send_cq = cq.get(),
                                           .recv_cq = cq.get(),
                                           .send_depth = kSendDepth,
                                           .recv_depth = options.receives,
                                           .max_inline = 0});
    for (uint32_t i = 0; i < options.receives; ++i) Post(i);
    core->Register(this);
  }
  ~Impl() override {
    core->Unregister(this);
    qp.reset();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void Post(uint32_t index) {
    // Has room for each buffer: it was there before.
    (void)qp->PostRecv(kReceiveBit | index,
                       memory->Sge(size_t{index} * options.receive_bytes, options.receive_bytes));
  }

  bool Poll() override {
    WorkCompletion completions[32];
    bool any = false;
    while (const size_t count = cq->Poll(completions)) {
      any = true;
      for (size_t i = 0; i < count; ++i) OnCompletion(completions[i]);
    }
    return any;
  }

  void OnCompletion(const WorkCompletion& completion) {
    if ((completion.wr_id & kReceiveBit) == 0) {
      sends.erase(completion.wr_id);
      return;
    }
    if (completion.status != IBV_WC_SUCCESS) return;
    const auto index = static_cast<uint32_t>(completion.wr_id & ~kReceiveBit);
    const auto* data =
        static_cast<const uint8_t*>(memory->data()) + size_t{index} * options.receive_bytes;
    received.push_back({index, {completion.peer, Bytes(data, data + completion.byte_len)}});
  }

  std::shared_ptr<Core> core;
  const UdpOptions options;
  std::unique_ptr<qpip::CompletionQueue> cq;
  std::unique_ptr<qpip::MemoryRegion> memory;
  std::unique_ptr<qpip::QueuePair> qp;
  std::deque<std::pair<uint32_t, Datagram>> received;
  std::map<uint64_t, std::unique_ptr<qpip::MemoryRegion>> sends;
  uint64_t last_send = 0;
  uint16_t port = 0;
};

UdpSocket::UdpSocket(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
UdpSocket::~UdpSocket() = default;

uint16_t UdpSocket::port() const { return impl_->port; }

void UdpSocket::SendTo(const Endpoint& peer, std::span<const uint8_t> data) {
  impl_->core->Settle();
  // A region has at least one byte; the datagram may have none.
  auto memory = impl_->core->pd().Allocate(data.size() + 1, /*access=*/0);
  if (!data.empty()) std::memcpy(memory->data(), data.data(), data.size());
  const ibv_sge sge = memory->Sge(0, static_cast<uint32_t>(data.size()));
  const int error = impl_->qp->PostSendTo(impl_->last_send + 1, sge, peer);
  if (error != 0) throw Error(error, "test bench: cannot send a datagram");
  impl_->sends.emplace(++impl_->last_send, std::move(memory));
}

std::optional<Datagram> UdpSocket::Receive() {
  impl_->core->Settle();
  if (impl_->received.empty()) return std::nullopt;
  auto [index, datagram] = std::move(impl_->received.front());
  impl_->received.pop_front();
  impl_->Post(index);
  return std::move(datagram);
}

std::unique_ptr<UdpSocket> TestBench::BindUdp(uint16_t port, const UdpOptions& options) {
  auto impl = std::make_unique<UdpSocket::Impl>(core_, options);
  impl->port = impl->qp->Bind(port);
  return std::unique_ptr<UdpSocket>(new UdpSocket(std::move(impl)));
}

}  // namespace qpip::testbench

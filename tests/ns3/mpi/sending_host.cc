#include "sending_host.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <span>
#include <utility>

#include "protocols/common/siphash.h"
#include "sim/ns3/model/fibre.h"
#include "sim/ns3/model/phantom.h"
#include "sim/ns3/model/virtual_time.h"

namespace qpip::sim {
namespace {

constexpr uint16_t kPort = 9000;
// No host knows what the others are doing: phases begin at times that all have reached long since.
constexpr uint64_t kConnectAtNs = 100'000'000;
constexpr uint64_t kSendAtNs = 30'000'000'000;
constexpr uint64_t kReceived = uint64_t{1} << 63;  // in a wr_id

void Check(int error) {
  if (error != 0) throw Error(error, "a post failed");
}

void SleepUntil(uint64_t at_ns) {
  if (at_ns <= NowNs()) throw Error(ETIME, "a host was not ready in time for the next phase");
  Context::Current().SleepNs(at_ns - NowNs());
}

/// Bytes that differ from host to host; the first four are its index.
void Fill(uint8_t* bytes, uint32_t count, uint32_t index) {
  for (uint32_t i = 0; i < count; ++i) {
    bytes[i] = static_cast<uint8_t>((i * 2654435761u + index * 40503u) >> 24);
  }
  std::memcpy(bytes, &index, std::min<size_t>(sizeof(index), count));
}

/// Of every host, as it is needed.
const std::vector<uint8_t>& MessageOf(uint32_t index, const Plan& plan) {
  static std::vector<std::vector<uint8_t>> messages(plan.nics);
  std::vector<uint8_t>& message = messages.at(index);
  if (message.empty()) {
    message.resize(plan.bytes);
    Fill(message.data(), plan.bytes, index);
  }
  return message;
}

}  // namespace

abi::Ip6Address AddressOf(uint32_t index) {
  abi::Ip6Address address = {};
  address.bytes[0] = 0xfd;
  address.bytes[14] = static_cast<uint8_t>((index + 1) >> 8);
  address.bytes[15] = static_cast<uint8_t>(index + 1);
  return address;
}

SendingHost::SendingHost(const Plan& plan, uint32_t index, ns3::Ptr<QpipNetDevice> device)
    : plan_(plan),
      index_(index),
      depth_(std::min(plan.messages, 4u)),
      device_(std::move(device)),
      sent_(plan.peers),
      received_(plan.peers) {}

uint32_t SendingHost::Peer(uint32_t i) const {
  // Spread over the fabric, so that many flows cross the cut.
  return (index_ + 1 + i * (plan_.nics - 1) / plan_.peers) % plan_.nics;
}

void SendingHost::Run() {
  nic_ = device_->OpenNic();
  pd_ = nic_->AllocatePd();
  cq_ = nic_->CreateCq(8 * plan_.peers * depth_);
  Allocate();
  OpenQueuePairs(&incoming_);
  OpenQueuePairs(&outgoing_);
  auto listener = nic_->Listen(kPort, static_cast<uint16_t>(plan_.peers));
  for (uint32_t i = 0; i < plan_.peers; ++i) {
    for (uint32_t slot = 0; slot < depth_; ++slot) PostReceive(i, slot);
    listener->Offer(*incoming_[i]);
  }
  SleepUntil(kConnectAtNs);
  for (uint32_t i = 0; i < plan_.peers; ++i) {
    in6_addr to;
    const abi::Ip6Address address = AddressOf(Peer(i));
    std::memcpy(&to, address.bytes, sizeof(to));
    outgoing_[i]->Connect({to, kPort});
  }
  SleepUntil(kSendAtNs);
  for (uint32_t i = 0; i < plan_.peers; ++i) {
    for (uint32_t m = 0; m < depth_; ++m) PostSend(i);
  }
  uint64_t left = uint64_t{2} * plan_.peers * plan_.messages;
  std::vector<WorkCompletion> room(64);
  while (left != 0) {
    const size_t found = cq_->Wait(room);
    for (size_t i = 0; i < found; ++i) Handle(room[i]);
    left -= found;
  }
  done_ = true;
}

void SendingHost::Allocate() {
  const size_t sink_bytes = size_t{plan_.peers} * depth_ * plan_.bytes;
  if (plan_.phantom) {
    sink_ = pd_->Register(AllocatePhantom(sink_bytes), sink_bytes, IBV_ACCESS_LOCAL_WRITE);
    source_ = pd_->Register(AllocatePhantom(plan_.bytes), plan_.bytes, IBV_ACCESS_LOCAL_WRITE);
    return;
  }
  sink_ = pd_->Allocate(sink_bytes);
  source_ = pd_->Allocate(plan_.bytes);
  Fill(static_cast<uint8_t*>(source_->data()), plan_.bytes, index_);
}

void SendingHost::OpenQueuePairs(std::vector<std::unique_ptr<QueuePair>>* to) {
  QpOptions options;
  options.send_cq = options.recv_cq = cq_.get();
  options.send_depth = options.recv_depth = depth_;
  options.signal_all = true;
  options.receive_reservation = depth_ * plan_.bytes;
  for (uint32_t i = 0; i < plan_.peers; ++i) to->push_back(nic_->CreateQp(*pd_, options));
}

void SendingHost::PostReceive(uint32_t qp, uint32_t slot) {
  const size_t offset = (size_t{qp} * depth_ + slot) * plan_.bytes;
  Check(incoming_[qp]->PostRecv(kReceived | uint64_t{qp} << 32 | slot,
                                sink_->Sge(offset, plan_.bytes)));
}

void SendingHost::PostSend(uint32_t qp) {
  if (sent_[qp] == plan_.messages) return;
  ++sent_[qp];
  Check(outgoing_[qp]->PostSend(qp, source_->Sge(0, plan_.bytes)));
}

void SendingHost::Handle(const WorkCompletion& completion) {
  if (completion.status != IBV_WC_SUCCESS) throw Error(EIO, ToString(completion.status));
  const uint64_t seen[] = {history_, completion.wr_id, completion.byte_len, HostNowNs()};
  history_ = SipHash24({1, 2}, {reinterpret_cast<const uint8_t*>(seen), sizeof(seen)});
  if ((completion.wr_id & kReceived) == 0) {
    PostSend(static_cast<uint32_t>(completion.wr_id));
    return;
  }
  const auto qp = static_cast<uint32_t>((completion.wr_id & ~kReceived) >> 32);
  const auto slot = static_cast<uint32_t>(completion.wr_id);
  if (completion.byte_len != plan_.bytes) throw Error(EPROTO, "a message has lost bytes");
  if (!plan_.phantom) Verify(qp, slot);
  bytes_received_ += completion.byte_len;
  ++received_[qp];
  if (received_[qp] + depth_ <= plan_.messages) PostReceive(qp, slot);
}

/// Which connection was accepted into which queue pair is not known before.
void SendingHost::Verify(uint32_t qp, uint32_t slot) {
  const uint8_t* at =
      static_cast<const uint8_t*>(sink_->data()) + (size_t{qp} * depth_ + slot) * plan_.bytes;
  const in6_addr address = incoming_[qp]->peer().address;
  const uint32_t sender = (address.s6_addr[14] << 8 | address.s6_addr[15]) - 1u;
  if (std::memcmp(at, MessageOf(sender, plan_).data(), plan_.bytes) != 0) {
    throw Error(EPROTO, "host " + std::to_string(index_) + " received other bytes than host " +
                            std::to_string(sender) + " had sent");
  }
}

std::string SendingHost::Line() const {
  char text[256];
  std::snprintf(
      text, sizeof(text),
      "%u done=%d received=%llu history=%016llx frames=%llu retransmissions=%llu busy_ps=%llu",
      index_, done_ ? 1 : 0, static_cast<unsigned long long>(bytes_received_),
      static_cast<unsigned long long>(history_), static_cast<unsigned long long>(frames()),
      static_cast<unsigned long long>(
          device_->core().counter(abi::NicCounter::kTcpRetransmissions)),
      static_cast<unsigned long long>(device_->totals().core_busy_ps));
  return text;
}

}  // namespace qpip::sim

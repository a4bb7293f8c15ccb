// One fabric on as many ranks as mpirun starts: every host sends messages with content to some
// others and checks what it receives. Each rank writes what its hosts saw, a line a host, to
// OUT.RANK; tests/ns3/mpi/compare_ranks.sh compares the lines of runs with different ranks.
//
// Usage: fabric_over_ranks OUT [NICS [PEERS [MESSAGE [MESSAGES [CABLE_US]]]]]
// The delay of a cable is the look-ahead: ranks with short cables spend their time on agreeing.
#include <ns3/object-factory.h>
#include <ns3/simulator.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "protocols/common/siphash.h"
#include "sim/ns3/model/fibre.h"
#include "sim/ns3/model/qpip_net_device.h"
#include "sim/ns3/model/virtual_time.h"
#include "sim/ns3/mpi/remote_links.h"

namespace qpip::sim {
namespace {

constexpr uint16_t kPort = 9000;
// No host knows what the others are doing: phases begin at times that all have reached long since.
constexpr uint64_t kConnectAtNs = 20'000'000;
constexpr uint64_t kSendAtNs = 200'000'000;

struct Plan {
  std::string out;
  uint32_t nics = 16;
  uint32_t peers = 4;
  uint32_t message = 65536;
  uint32_t messages = 4;
  uint32_t cable_us = 5;
};

abi::Ip6Address AddressOf(uint32_t index) {
  abi::Ip6Address address = {};
  address.bytes[0] = 0xfd;
  address.bytes[14] = static_cast<uint8_t>((index + 1) >> 8);
  address.bytes[15] = static_cast<uint8_t>(index + 1);
  return address;
}

void Check(int error) {
  if (error != 0) throw Error(error, "a post failed");
}

void SleepUntil(uint64_t at_ns) {
  if (at_ns > NowNs()) Context::Current().SleepNs(at_ns - NowNs());
}

/// One host's program and what it saw.
class Host {
 public:
  Host(const Plan& plan, uint32_t index, ns3::Ptr<QpipNetDevice> device)
      : plan_(plan), index_(index), device_(device) {}

  void Run() {
    nic_ = device_->OpenNic();
    pd_ = nic_->AllocatePd();
    cq_ = nic_->CreateCq(4 * plan_.peers * (plan_.messages + 1));
    sink_ = pd_->Allocate(size_t{plan_.peers} * plan_.messages * plan_.message);
    source_ = pd_->Allocate(plan_.message);
    Fill();
    Open(&incoming_);
    Open(&outgoing_);
    auto listener = nic_->Listen(kPort, static_cast<uint16_t>(plan_.peers));
    for (uint32_t i = 0; i < plan_.peers; ++i) {
      for (uint32_t m = 0; m < plan_.messages; ++m) {
        const size_t offset = (size_t{i} * plan_.messages + m) * plan_.message;
        Check(incoming_[i]->PostRecv(1, sink_->Sge(offset, plan_.message)));
      }
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
    for (uint32_t m = 0; m < plan_.messages; ++m) {
      for (auto& qp : outgoing_) Check(qp->PostSend(0, source_->Sge(0, plan_.message)));
    }
    const uint32_t expected = 2 * plan_.peers * plan_.messages;
    std::vector<WorkCompletion> room(64);
    for (uint32_t seen = 0; seen < expected;) {
      const size_t found = cq_->Wait(room);
      for (size_t i = 0; i < found; ++i) {
        if (room[i].status != IBV_WC_SUCCESS) throw Error(EIO, ToString(room[i].status));
        bytes_received_ += room[i].wr_id == 1 ? room[i].byte_len : 0;
      }
      seen += static_cast<uint32_t>(found);
    }
    finished_ns_ = HostNowNs();
    done_ = true;
  }

  /// Everything that must not depend on how the fabric was cut.
  std::string Line() const {
    const uint8_t* data = static_cast<const uint8_t*>(sink_->data());
    // Which connection was accepted into which queue pair is part of the result.
    const uint64_t hash = SipHash24({1, 2}, {data, sink_->size()});
    char text[256];
    std::snprintf(text, sizeof(text),
                  "%u done=%d finished_ns=%llu received=%llu hash=%016llx frames=%llu "
                  "retransmissions=%llu busy_ps=%llu",
                  index_, done_ ? 1 : 0, static_cast<unsigned long long>(finished_ns_),
                  static_cast<unsigned long long>(bytes_received_),
                  static_cast<unsigned long long>(hash),
                  static_cast<unsigned long long>(device_->link()->frames),
                  static_cast<unsigned long long>(
                      device_->core().counter(abi::NicCounter::kTcpRetransmissions)),
                  static_cast<unsigned long long>(device_->totals().core_busy_ps));
    return text;
  }
  uint64_t frames() const { return device_->link()->frames; }
  bool done() const { return done_; }

 private:
  uint32_t Peer(uint32_t i) const {
    // Spread over the fabric, so that many flows cross the cut.
    return (index_ + 1 + i * (plan_.nics - 1) / plan_.peers) % plan_.nics;
  }
  void Fill() {
    auto* bytes = static_cast<uint8_t*>(source_->data());
    for (uint32_t i = 0; i < plan_.message; ++i) {
      bytes[i] = static_cast<uint8_t>((i * 2654435761u + index_ * 40503u) >> 24);
    }
  }
  void Open(std::vector<std::unique_ptr<QueuePair>>* to) {
    QpOptions options;
    options.send_cq = options.recv_cq = cq_.get();
    options.send_depth = options.recv_depth = plan_.messages;
    options.signal_all = true;
    options.receive_reservation = 2 * plan_.messages * plan_.message;
    for (uint32_t i = 0; i < plan_.peers; ++i) to->push_back(nic_->CreateQp(*pd_, options));
  }

  const Plan& plan_;
  const uint32_t index_;
  ns3::Ptr<QpipNetDevice> device_;
  std::shared_ptr<Nic> nic_;
  std::unique_ptr<ProtectionDomain> pd_;
  std::unique_ptr<CompletionQueue> cq_;
  std::unique_ptr<MemoryRegion> sink_;
  std::unique_ptr<MemoryRegion> source_;
  std::vector<std::unique_ptr<QueuePair>> incoming_;
  std::vector<std::unique_ptr<QueuePair>> outgoing_;
  uint64_t bytes_received_ = 0;
  uint64_t finished_ns_ = 0;
  bool done_ = false;
};

/// A fat tree whose pods are dealt out to the ranks, and its core switches likewise.
class Tree {
 public:
  Tree(QpipFabric& fabric, const NicModel& model, uint32_t nics) : fabric_(fabric) {
    while (k_ * k_ * k_ / 4 < nics) k_ += 2;
    const uint32_t half = k_ / 2;
    const uint32_t ranks = DistributedRun::ranks();
    for (uint32_t i = 0; i < k_ * half; ++i) {
      edge_.push_back(fabric.AddSwitch(k_, model, i / half * ranks / k_));
      aggregation_.push_back(fabric.AddSwitch(k_, model, i / half * ranks / k_));
    }
    for (uint32_t i = 0; i < half * half; ++i) {
      core_.push_back(fabric.AddSwitch(k_, model, i * ranks / (half * half)));
    }
    for (uint32_t a = 0; a < k_ * half; ++a) {
      const uint32_t pod = a / half;
      for (uint32_t e = 0; e < half; ++e) {
        fabric.Connect(aggregation_[a], e, edge_[pod * half + e], half + a % half, model);
      }
      for (uint32_t c = 0; c < half; ++c) {
        fabric.Connect(aggregation_[a], half + c, core_[a % half * half + c], pod, model);
      }
    }
  }
  uint32_t RankOf(uint32_t nic) const {
    return nic / (k_ / 2) / (k_ / 2) * DistributedRun::ranks() / k_;
  }
  uint32_t EdgeOf(uint32_t nic) const { return edge_[nic / (k_ / 2)]; }
  uint32_t PortOf(uint32_t nic) const { return nic % (k_ / 2); }

 private:
  QpipFabric& fabric_;
  uint32_t k_ = 2;
  std::vector<uint32_t> edge_, aggregation_, core_;
};

int Run(const Plan& plan) {
  ns3::Time::SetResolution(ns3::Time::PS);
  Profile profile = Profile::Load("lanai9-hardware-checksum");
  profile.Set("link.delay_us", plan.cable_us, "the command line");
  auto model = std::make_shared<const NicModel>(profile);
  auto fabric = ns3::CreateObject<QpipFabric>();
  RemoteLinks cut(PeekPointer(fabric));
  fabric->SetPartition(DistributedRun::rank(), &cut);
  const Tree tree(*fabric, *model, plan.nics);
  std::vector<std::unique_ptr<Host>> hosts;
  std::vector<ns3::Ptr<ns3::Node>> nodes;
  for (uint32_t i = 0; i < plan.nics; ++i) {
    if (tree.RankOf(i) != DistributedRun::rank()) {
      fabric->ConnectRemote(AddressOf(i), tree.EdgeOf(i), tree.PortOf(i));
      continue;
    }
    auto device = ns3::CreateObject<QpipNetDevice>();
    device->SetModel(model, "lanai9-hardware-checksum");
    uint8_t address[16];
    const abi::Ip6Address own = AddressOf(i);
    std::memcpy(address, own.bytes, sizeof(address));
    device->SetIpv6(ns3::Ipv6Address(address));
    device->max_queue_pairs = 2 * plan.peers;
    nodes.push_back(ns3::CreateObject<ns3::Node>(DistributedRun::rank()));
    nodes.back()->AddDevice(device);
    fabric->Connect(device, tree.EdgeOf(i), tree.PortOf(i));
    hosts.push_back(std::make_unique<Host>(plan, i, device));
  }
  for (auto& host : hosts) Context::Spawn("host", [&host] { host->Run(); });
  const auto start = std::chrono::steady_clock::now();
  ns3::Simulator::Run();
  const double wall =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  FILE* out = std::fopen((plan.out + "." + std::to_string(DistributedRun::rank())).c_str(), "w");
  if (out == nullptr) {
    std::perror(plan.out.c_str());
    return 1;
  }
  bool all_done = true;
  uint64_t frames = 0;
  for (const auto& host : hosts) {
    std::fprintf(out, "%s\n", host->Line().c_str());
    all_done &= host->done();
    frames += host->frames();
  }
  std::fclose(out);
  std::printf("rank %u of %u: %zu hosts, %llu frames, %llu messages to others, %.3f s\n",
              DistributedRun::rank(), DistributedRun::ranks(), hosts.size(),
              static_cast<unsigned long long>(frames),
              static_cast<unsigned long long>(cut.messages_sent), wall);
  Context::DestroyAll();
  hosts.clear();
  nodes.clear();
  fabric = nullptr;
  ns3::Simulator::Destroy();
  return all_done ? 0 : 1;
}

}  // namespace
}  // namespace qpip::sim

int main(int argc, char** argv) {
  qpip::sim::DistributedRun run(&argc, &argv);
  if (argc < 2) {
    std::fprintf(stderr,
                 "usage: fabric_over_ranks OUT [NICS [PEERS [MESSAGE [MESSAGES [CABLE_US]]]]]\n");
    return 2;
  }
  qpip::sim::Plan plan;
  plan.out = argv[1];
  uint32_t* const numbers[] = {&plan.nics, &plan.peers, &plan.message, &plan.messages,
                               &plan.cable_us};
  for (int i = 2; i < argc && i < 7; ++i) {
    *numbers[i - 2] = static_cast<uint32_t>(std::strtoul(argv[i], nullptr, 10));
  }
  return qpip::sim::Run(plan);
}

// Many senders, one receiver, on a fat tree of switches with back-pressure: everybody's messages
// arrive at one NIC at once.
//
//     incast --senders=15 --messages=50 --bytes=16384
//
// Link and core are attributes: --ns3::QpipNetDevice::LinkDataRate=10Gbps, ...::CoreHz=266e6
#include "ns3/qpip-module.h"
// Behind it, since it says how these are to be read.
#include <ns3/core-module.h>
#include <ns3/network-module.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

using namespace ns3;

namespace {

constexpr uint16_t kPort = 5001;
constexpr uint32_t kReceives = 16;

struct Load {
  uint32_t senders = 15;
  uint32_t messages = 50;
  uint32_t bytes = 16384;
};

void Check(int error) {
  if (error != 0) throw qpip::Error(error, "post");
}

/// Takes every message of every sender: one queue pair each, one completion queue for all.
void Receive(QpipNetDevice& device, const Load& load, uint64_t* received) {
  auto nic = device.OpenNic();
  auto pd = nic->AllocatePd();
  auto cq = nic->CreateCq(load.senders * 2 * kReceives);
  auto memory = pd->Allocate(size_t{load.senders} * kReceives * load.bytes);
  auto listener = nic->Listen(kPort, static_cast<uint16_t>(load.senders));
  std::vector<std::unique_ptr<qpip::QueuePair>> pairs;
  const auto slot = [&](uint64_t id) { return memory->Sge(id * load.bytes, load.bytes); };
  // A receive that is still there when its sender has gone would complete with an error.
  const uint32_t posted = std::min(kReceives, load.messages);
  for (uint32_t i = 0; i < load.senders; ++i) {
    pairs.push_back(nic->CreateQp(*pd, {.send_cq = cq.get(),
                                        .recv_cq = cq.get(),
                                        .send_depth = kReceives,
                                        .recv_depth = kReceives}));
    for (uint64_t r = 0; r < posted; ++r) {
      const uint64_t id = uint64_t{i} * kReceives + r;
      Check(pairs.back()->PostRecv(id, slot(id)));
    }
    listener->Offer(*pairs.back());
  }
  const uint64_t all = uint64_t{load.senders} * load.messages;
  std::vector<uint32_t> arrived(load.senders);
  for (uint64_t count = 0; count < all;) {
    qpip::WorkCompletion completion;
    if (cq->Wait({&completion, 1}) == 0) continue;
    if (completion.status != IBV_WC_SUCCESS) throw qpip::Error(EIO, "receive");
    ++count;
    *received += completion.byte_len;
    const uint64_t sender = completion.wr_id / kReceives;
    if (++arrived[sender] + posted > load.messages) continue;  // the rest has its receives
    Check(pairs[sender]->PostRecv(completion.wr_id, slot(completion.wr_id)));
  }
}

void Send(QpipNetDevice& device, const Load& load, Ipv6Address receiver) {
  auto nic = device.OpenNic();
  auto pd = nic->AllocatePd();
  auto cq = nic->CreateCq();
  auto memory = pd->Allocate(load.bytes);
  auto qp = nic->CreateQp(*pd, {.send_cq = cq.get(), .recv_cq = cq.get()});
  qpip::Endpoint to{.address = {}, .port = kPort};
  receiver.GetBytes(to.address.s6_addr);
  qp->Connect(to);
  for (uint32_t posted = 0, done = 0; done < load.messages;) {
    while (posted < load.messages && posted - done < 8) {
      Check(qp->PostSend(posted++, memory->Sge(0, load.bytes)));
    }
    qpip::WorkCompletion completion;
    if (cq->Wait({&completion, 1}) != 0) ++done;
  }
}

}  // namespace

int main(int argc, char** argv) {
  Load load;
  CommandLine command(__FILE__);
  command.AddValue("senders", "hosts that send", load.senders);
  command.AddValue("messages", "of each", load.messages);
  command.AddValue("bytes", "a message", load.bytes);
  command.Parse(argc, argv);
  NS_ABORT_MSG_IF(load.senders == 0 || load.messages == 0 || load.bytes == 0,
                  "give one sender, one message and one byte at least");

  NodeContainer nodes(load.senders + 1);
  QpipHelper qpip;
  qpip.SetDeviceAttribute("MaxQueuePairs", UintegerValue(load.senders));
  const NetDeviceContainer nics = qpip.InstallOnFatTree(nodes);
  uint64_t received = 0;
  Time finished;
  nodes.Get(0)->AddApplication(CreateObject<QpipProgram>("receiver", [&](QpipNetDevice& device) {
    Receive(device, load, &received);
    finished = Simulator::Now();
  }));
  for (uint32_t i = 1; i <= load.senders; ++i) {
    auto sender = CreateObject<QpipProgram>(
        "sender " + std::to_string(i),
        [&load, to = NicAt(nics, 0)->GetIpv6()](QpipNetDevice& device) { Send(device, load, to); });
    sender->SetStartTime(MilliSeconds(10));
    nodes.Get(i)->AddApplication(sender);
  }
  uint64_t completions = 0;
  Config::ConnectWithoutContext("/NodeList/0/DeviceList/*/$ns3::QpipNetDevice/Completion",
                                Callback<void, uint32_t, bool, uint32_t>(
                                    [&](uint32_t, bool send, uint32_t) { completions += !send; }));
  Simulator::Run();
  const double seconds = (finished - MilliSeconds(10)).GetSeconds();
  const uint64_t expected = uint64_t{load.senders} * load.messages;
  std::printf("%u senders: %.1f MB/s at the receiver, %llu of %llu messages\n", load.senders,
              1e-6 * static_cast<double>(received) / seconds,
              static_cast<unsigned long long>(completions),
              static_cast<unsigned long long>(expected));
  Simulator::Destroy();
  return received == expected * load.bytes && completions == expected ? 0 : 1;
}

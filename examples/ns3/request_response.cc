// Requests and responses as datagrams: clients on one switch ask a server, at times that follow a
// Poisson process, and measure how long answers take.
//
//     request_response --clients=4 --rate=5000 --requests=2000
//
// Every request is asked at its own time, whether or not the one before was answered, so that a
// slow server shows in the times.
#include "ns3/qpip-module.h"
// Behind it, since it says how these are to be read.
#include <ns3/core-module.h>
#include <ns3/network-module.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

using namespace ns3;

namespace {

constexpr uint16_t kPort = 7;
constexpr uint32_t kBytes = 64;
constexpr uint32_t kBuffers = 64;
constexpr uint64_t kSend = uint64_t{1} << 32;  // wr_id of sends; receives carry their buffer's

void Check(int error) {
  if (error != 0) throw qpip::Error(error, "post");
}

/// Answers whatever comes, for ever.
void Serve(QpipNetDevice& device) {
  auto nic = device.OpenNic();
  auto pd = nic->AllocatePd();
  auto cq = nic->CreateCq(4 * kBuffers);
  auto memory = pd->Allocate(kBuffers * kBytes);
  auto qp = nic->CreateQp(*pd, {.type = qpip::QpType::kUdp,
                                .send_cq = cq.get(),
                                .recv_cq = cq.get(),
                                .send_depth = kBuffers,
                                .recv_depth = kBuffers});
  qp->Bind(kPort);
  for (uint64_t i = 0; i < kBuffers; ++i) Check(qp->PostRecv(i, memory->Sge(i * kBytes, kBytes)));
  for (;;) {
    std::array<qpip::WorkCompletion, 16> completions;
    const size_t count = cq->Wait(completions);
    for (size_t i = 0; i < count; ++i) {
      const qpip::WorkCompletion& wc = completions[i];
      const uint64_t buffer = wc.wr_id & (kSend - 1);
      if (wc.wr_id < kSend) {
        Check(qp->PostSendTo(kSend + buffer, memory->Sge(buffer * kBytes, wc.byte_len), wc.peer));
      } else {
        Check(qp->PostRecv(buffer, memory->Sge(buffer * kBytes, kBytes)));
      }
    }
  }
}

struct Client {
  uint32_t requests = 0;
  double rate = 0;  ///< requests a second
  Ipv6Address server;
  uint32_t stream = 0;          ///< of random numbers
  std::vector<double> seconds;  ///< what is measured
};

/// The time at which a request was due travels in it.
void Ask(QpipNetDevice& device, Client* client) {
  auto nic = device.OpenNic();
  auto pd = nic->AllocatePd();
  auto cq = nic->CreateCq(4 * kBuffers);
  auto memory = pd->Allocate(2 * kBuffers * kBytes);
  auto qp = nic->CreateQp(*pd, {.type = qpip::QpType::kUdp,
                                .send_cq = cq.get(),
                                .recv_cq = cq.get(),
                                .send_depth = kBuffers,
                                .recv_depth = kBuffers});
  qp->Bind(0);
  qpip::Endpoint to{.address = {}, .port = kPort};
  client->server.GetBytes(to.address.s6_addr);
  auto* const bytes = static_cast<char*>(memory->data());
  for (uint64_t i = 0; i < kBuffers; ++i) Check(qp->PostRecv(i, memory->Sge(i * kBytes, kBytes)));

  auto gap = CreateObject<ExponentialRandomVariable>();
  gap->SetAttribute("Mean", DoubleValue(1e9 / client->rate));
  gap->SetStream(client->stream);
  int64_t due_ns = Simulator::Now().GetNanoSeconds();
  uint32_t sending = 0;
  const auto take = [&](std::chrono::nanoseconds patience) {
    std::array<qpip::WorkCompletion, 16> completions;
    const size_t count = cq->Wait(completions, patience);
    for (size_t i = 0; i < count; ++i) {
      if (completions[i].wr_id >= kSend) {
        --sending;
        continue;
      }
      const uint64_t buffer = completions[i].wr_id;
      int64_t asked_ns;
      std::memcpy(&asked_ns, bytes + buffer * kBytes, sizeof(asked_ns));
      client->seconds.push_back(1e-9 *
                                static_cast<double>(Simulator::Now().GetNanoSeconds() - asked_ns));
      Check(qp->PostRecv(buffer, memory->Sge(buffer * kBytes, kBytes)));
    }
    return count;
  };
  for (uint32_t i = 0; i < client->requests; ++i) {
    due_ns += static_cast<int64_t>(gap->GetValue());
    for (;;) {  // take answers until the request is due, and there is room for it
      const int64_t now_ns = Simulator::Now().GetNanoSeconds();
      if (now_ns >= due_ns && sending < kBuffers) break;
      take(std::chrono::nanoseconds(std::max<int64_t>(due_ns - now_ns, 1)));
    }
    const uint64_t slot = kBuffers + i % kBuffers;
    std::memcpy(bytes + slot * kBytes, &due_ns, sizeof(due_ns));
    Check(qp->PostSendTo(kSend + slot, memory->Sge(slot * kBytes, kBytes), to));
    ++sending;
  }
  // What has not come 10 ms after the last of the others is lost.
  while (client->seconds.size() < client->requests && take(std::chrono::milliseconds(10)) != 0) {
  }
}

}  // namespace

int main(int argc, char** argv) {
  uint32_t clients = 4;
  uint32_t requests = 2000;
  double rate = 5000;
  CommandLine command(__FILE__);
  command.AddValue("clients", "hosts that ask", clients);
  command.AddValue("requests", "of each", requests);
  command.AddValue("rate", "requests a second of each, on average", rate);
  command.Parse(argc, argv);
  NS_ABORT_MSG_IF(clients == 0 || requests == 0 || rate <= 0,
                  "give one client, one request and a rate above 0 at least");

  NodeContainer nodes(clients + 1);
  QpipHelper qpip;
  const NetDeviceContainer nics = qpip.InstallOnSwitch(nodes);
  nodes.Get(0)->AddApplication(CreateObject<QpipProgram>("server", Serve));
  std::vector<Client> measured(clients);
  for (uint32_t i = 0; i < clients; ++i) {
    measured[i] = {requests, rate, NicAt(nics, 0)->GetIpv6(), i, {}};
    auto program = CreateObject<QpipProgram>(
        "client " + std::to_string(i),
        [client = &measured[i]](QpipNetDevice& device) { Ask(device, client); });
    program->SetStartTime(MilliSeconds(1));
    nodes.Get(i + 1)->AddApplication(program);
  }
  Simulator::Stop(Seconds(60));
  Simulator::Run();
  std::vector<double> all;
  for (const Client& client : measured) {
    all.insert(all.end(), client.seconds.begin(), client.seconds.end());
  }
  std::sort(all.begin(), all.end());
  const auto percentile = [&all](double share) {
    if (all.empty()) return 0.0;
    return 1e6 * all[static_cast<size_t>(share * static_cast<double>(all.size() - 1))];
  };
  std::printf("%zu of %u answered; 50%% within %.1f us, 99%% within %.1f us, all within %.1f us\n",
              all.size(), clients * requests, percentile(0.5), percentile(0.99), percentile(1));
  Simulator::Destroy();
  return all.size() == size_t{clients} * requests ? 0 : 1;
}

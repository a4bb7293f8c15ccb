#include <chrono>
#include <memory>
#include <stdexcept>
#include <vector>

#include "bench/simulation/pairs.h"
#include "sim/ns3/model/phantom.h"
#include "sim/ns3/world/world.h"

namespace qpip::bench {
namespace {

constexpr uint16_t kPort = 5001;
constexpr uint32_t kDepth = 16;

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

void Check(int error) {
  if (error != 0) throw Error(error, "a post failed");
}

/// One end: a queue pair with memory that nobody looks at.
struct End {
  std::unique_ptr<CompletionQueue> cq;
  std::unique_ptr<MemoryRegion> memory;
  std::unique_ptr<QueuePair> qp;

  End(sim::Host& host, uint32_t message) {
    cq = host.nic->CreateCq(2 * kDepth);
    memory = host.pd->Register(sim::AllocatePhantom(message), message, IBV_ACCESS_LOCAL_WRITE);
    QpOptions options;
    options.send_cq = options.recv_cq = cq.get();
    options.send_depth = options.recv_depth = kDepth;
    options.receive_reservation = 2 * kDepth * message;
    qp = host.nic->CreateQp(*host.pd, options);
  }
};

size_t Take(CompletionQueue& cq, std::vector<WorkCompletion>& room) {
  const size_t found = cq.Wait(room);
  for (size_t i = 0; i < found; ++i) {
    if (room[i].status != IBV_WC_SUCCESS) throw Error(EIO, ToString(room[i].status));
  }
  return found;
}

}  // namespace

PairsResult RunQpipPairs(const PairsOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  sim::Profile profile = sim::Profile::Load("lanai9-hardware-checksum");
  profile.Set("link.mtu", options.mtu, "the benchmark's");
  profile.Set("link.bits_per_s", options.bits_per_s, "the benchmark's");
  sim::WorldOptions world_options;
  world_options.nics = 2 * options.pairs;
  world_options.topology = sim::Topology::kPairs;
  world_options.queue_pairs = 2;
  sim::World world(profile, world_options);
  std::vector<std::unique_ptr<End>> ends;
  std::vector<std::unique_ptr<Listener>> listeners;
  for (sim::Host& host : world.hosts())
    ends.push_back(std::make_unique<End>(host, options.message));
  for (uint32_t i = 0; i < options.pairs; ++i) {
    End& server = *ends[2 * i];
    for (uint32_t k = 0; k < kDepth; ++k) {
      Check(server.qp->PostRecv(k, server.memory->Sge(0, options.message)));
    }
    listeners.push_back(world.host(2 * i).nic->Listen(kPort));
    listeners.back()->Offer(*server.qp);
    ends[2 * i + 1]->qp->Connect({world.host(2 * i).address(), kPort});
    listeners.back()->Accept();
  }
  PairsResult result;
  result.build_seconds = Seconds(begin);

  const auto frames = [&world] {
    uint64_t sum = 0;
    for (sim::Host& host : world.hosts()) sum += host.device->link()->frames;
    return sum;
  };
  const uint64_t frames_before = frames();
  const uint64_t events_before = ns3::Simulator::GetEventCount();
  const uint64_t messages = options.bytes / options.message;
  for (uint32_t i = 0; i < options.pairs; ++i) {
    world.Start("receiver", [&, i] {
      End& end = *ends[2 * i];
      std::vector<WorkCompletion> room(kDepth);
      for (uint64_t received = 0; received < messages;) {
        const size_t found = Take(*end.cq, room);
        for (size_t k = 0; k < found; ++k) {
          result.bytes += room[k].byte_len;
          Check(end.qp->PostRecv(0, end.memory->Sge(0, options.message)));
        }
        received += found;
      }
    });
    world.Start("sender", [&, i] {
      End& end = *ends[2 * i + 1];
      std::vector<WorkCompletion> room(kDepth);
      uint64_t posted = 0;
      for (uint64_t done = 0; done < messages;) {
        for (; posted < messages && posted - done < kDepth; ++posted) {
          Check(end.qp->PostSend(posted, end.memory->Sge(0, options.message)));
        }
        done += Take(*end.cq, room);
      }
    });
  }
  const auto start = std::chrono::steady_clock::now();
  world.Run();
  result.wall_seconds = Seconds(start);
  result.packets = frames() - frames_before;
  result.events = ns3::Simulator::GetEventCount() - events_before;
  if (result.bytes != messages * options.message * options.pairs) {
    throw std::runtime_error("QPIP pairs: bytes are missing");
  }
  return result;
}

}  // namespace qpip::bench

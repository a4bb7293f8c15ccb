// Memory that is taken back while a peer reads and writes it: once it is deregistered nobody
// touches it, mapped or not.
#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <thread>

#include "qpip/rdma.h"
#include "two_nics.h"

namespace qpip::test {
namespace {

constexpr uint16_t kPort = 4791;
constexpr size_t kBytes = size_t{32} << 10;
constexpr uint32_t kRegions = 32;
constexpr uint8_t kCanary = 0xc3;
constexpr int kAllAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                           IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

/// Regions taken back: 10,000 unless QPIP_TEST_REVOCATIONS says otherwise.
uint32_t Revocations() {
  const char* text = std::getenv("QPIP_TEST_REVOCATIONS");
  return text != nullptr ? static_cast<uint32_t>(std::strtoul(text, nullptr, 10)) : 10000;
}

uint8_t* Map(void* at, int flags) {
  void* mapped =
      mmap(at, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  return mapped == MAP_FAILED ? nullptr : static_cast<uint8_t*>(mapped);
}

/// What the peer may reach, until it is taken back.
struct Target {
  uint8_t* memory = nullptr;
  std::unique_ptr<MemoryRegion> region;
  uint32_t key = 0;
};

class Revocation : public ::testing::TestWithParam<const char*> {
 protected:
  /// The client's side: operations on all targets until one of them is refused.
  void Use(QueuePair& qp, const std::vector<Target>& targets, MemoryRegion& own,
           std::atomic<uint32_t>& completed, uint32_t seed) {
    std::mt19937 random(seed);
    uint32_t outstanding = 0;
    bool refused = false;
    while (!refused || outstanding != 0) {
      while (!refused && outstanding < 32) {
        const Target& target = targets[random() % kRegions];
        const uint32_t length = 1 + random() % (kBytes / 2);
        const uint32_t at = random() % (kBytes - length);
        ibv_sge sge = own.Sge(random() % (kBytes / 2), length);
        ibv_send_wr wr{};
        wr.opcode = random() % 2 == 0 ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ;
        wr.send_flags = IBV_SEND_SIGNALED;
        wr.sg_list = &sge;
        wr.num_sge = 1;
        wr.wr.rdma = {reinterpret_cast<uintptr_t>(target.memory) + at, target.key};
        if (qp.PostSend(&wr) != 0) refused = true;  // it has ended meanwhile
        if (!refused) ++outstanding;
      }
      WorkCompletion done[32];
      const size_t count = nics.client.cq->Wait(done, kPatience);
      ASSERT_GT(count, 0u);
      for (size_t i = 0; i < count; ++i) {
        if (done[i].status != IBV_WC_SUCCESS && !refused) {
          refused = true;
          // Of a read that is being answered the source is gone: then it is reset.
          const bool known = done[i].reason == DisconnectReason::kTerminated ||
                             done[i].reason == DisconnectReason::kReset;
          EXPECT_TRUE(known) << Describe(done[i]);
        }
        --outstanding;
        completed.fetch_add(1, std::memory_order_relaxed);
      }
    }
  }

  TwoNics nics{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Wires, Revocation, ::testing::Values("mem", "shm"),
                         [](const auto& test) { return std::string(test.param); });

TEST_P(Revocation, GivenPeersThatReadAndWriteWhenRegionsGoThenNoFaultAndNoStrayByte) {
  RdmaListener listener(*nics.server.nic, kPort);
  auto own = nics.client.pd->Allocate(2 * kBytes);
  std::memset(own->data(), 0x11, own->size());
  QpOptions options;
  options.framing = Framing::kMpa;
  const uint32_t rounds = (Revocations() + kRegions - 1) / kRegions;
  for (uint32_t round = 0; round < rounds; ++round) {
    std::vector<Target> targets(kRegions);
    for (Target& target : targets) {
      target.memory = Map(nullptr, 0);
      ASSERT_NE(target.memory, nullptr);
      target.region = nics.server.pd->Register(target.memory, kBytes, kAllAccess);
      target.key = target.region->rkey();
    }
    auto client_qp = nics.client.Qp(options);
    auto server_qp = nics.server.Qp(options);
    const auto accepting = nics.testbed().Start([&] {
      const auto request = listener.Next(kPatience);
      ASSERT_NE(request, nullptr);
      request->Accept(*server_qp);
    });
    RdmaConnect(*nics.client.nic, *client_qp, nics.ServerAt(kPort), {}, kPatience);
    accepting->Join();
    std::atomic<uint32_t> completed{0};
    const auto peer =
        nics.testbed().Start([&] { Use(*client_qp, targets, *own, completed, round); });
    while (completed.load(std::memory_order_relaxed) < 8) std::this_thread::yield();
    // Half of it is gone when the call returns, and half of it is somebody else's.
    for (uint32_t i = 0; i < kRegions; ++i) {
      targets[i].region.reset();
      ASSERT_EQ(munmap(targets[i].memory, kBytes), 0);
      if (i % 2 == 0) continue;
      ASSERT_EQ(Map(targets[i].memory, MAP_FIXED_NOREPLACE), targets[i].memory);
      std::memset(targets[i].memory, kCanary, kBytes);
    }
    peer->Join();  // it has been refused
    for (uint32_t i = 1; i < kRegions; i += 2) {
      for (size_t at = 0; at < kBytes; ++at) {
        ASSERT_EQ(targets[i].memory[at], kCanary) << "a stray byte, round " << round;
      }
      ASSERT_EQ(munmap(targets[i].memory, kBytes), 0);
    }
    server_qp.reset();
    client_qp.reset();
    WorkCompletion left[64];
    while (nics.client.cq->Poll(left) != 0 || nics.server.cq->Poll(left) != 0) {
    }
  }
}

}  // namespace
}  // namespace qpip::test

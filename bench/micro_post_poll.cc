// The application's calls: two NICs of one process, both driven by this one thread, so that no
// cache line crosses cores and no hand-over is paid. What is left is the software path.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>
#include <thread>

#include "qpip/qpip.h"

namespace {

using namespace qpip;

class Node {
 public:
  Node(const std::string& fabric, const char* address, QpType type, uint32_t bytes)
      : nic(Nic::Open("mem:" + fabric + "?address=" + address)),
        pd(nic->AllocatePd()),
        memory(pd->Allocate(2 * size_t{bytes})),
        cq(nic->CreateCq(256)),
        qp(nic->CreateQp(*pd, {.type = type, .send_cq = cq.get(), .recv_cq = cq.get()})),
        bytes_(bytes) {
    for (int i = 0; i < 8; ++i) PostRecv();
  }

  void PostRecv() { Check(qp->PostRecv(0, memory->Sge(bytes_, bytes_))); }
  /// Polls once (which runs this NIC's core). True when a receive completed; posts the next one.
  bool Poll() {
    std::array<WorkCompletion, 8> done;
    const size_t count = cq->Poll(done);
    bool received = false;
    for (size_t i = 0; i < count; ++i) {
      Check(done[i].status);
      received |= done[i].opcode == IBV_WC_RECV;
    }
    if (received) PostRecv();
    return received;
  }
  static void Check(int error) {
    if (error != 0) throw Error(error, "post or completion failed: " + std::to_string(error));
  }

  std::shared_ptr<Nic> nic;
  std::unique_ptr<ProtectionDomain> pd;
  std::unique_ptr<MemoryRegion> memory;
  std::unique_ptr<CompletionQueue> cq;
  std::unique_ptr<QueuePair> qp;

 private:
  uint32_t bytes_;
};

/// The message that `from` has posted arrives at `to`: each polls in turn.
void Deliver(Node& from, Node& to) {
  do {
    from.Poll();
  } while (!to.Poll());
}

std::string Fabric() {
  static int number = 0;
  return "micro-" + std::to_string(getpid()) + "-" + std::to_string(number++);
}

void UdpRoundTrip(benchmark::State& state) {
  const std::string fabric = Fabric();
  Node a(fabric, "fd00::1", QpType::kUdp, 64);
  Node b(fabric, "fd00::2", QpType::kUdp, 64);
  const Endpoint to_a{a.nic->address(), a.qp->Bind(7)};
  const Endpoint to_b{b.nic->address(), b.qp->Bind(7)};
  for (auto _ : state) {
    Node::Check(
        a.qp->PostSendTo(0, a.memory->Sge(0, 1), to_b, IBV_SEND_INLINE | IBV_SEND_SIGNALED));
    Deliver(a, b);
    Node::Check(
        b.qp->PostSendTo(0, b.memory->Sge(0, 1), to_a, IBV_SEND_INLINE | IBV_SEND_SIGNALED));
    Deliver(b, a);
  }
}
BENCHMARK(UdpRoundTrip);

void TcpRoundTrip(benchmark::State& state) {
  const auto bytes = static_cast<uint32_t>(state.range(0));
  const std::string fabric = Fabric();
  Node a(fabric, "fd00::1", QpType::kTcp, bytes);
  Node b(fabric, "fd00::2", QpType::kTcp, bytes);
  const auto listener = b.nic->Listen(7);
  listener->Offer(*b.qp);
  a.qp->Connect({b.nic->address(), 7});
  if (listener->Accept() == nullptr) throw Error(ETIMEDOUT, "not connected");
  const int flags = IBV_SEND_SIGNALED | (bytes <= 64 ? IBV_SEND_INLINE : 0);
  for (auto _ : state) {
    Node::Check(a.qp->PostSend(0, a.memory->Sge(0, bytes), flags));
    Deliver(a, b);
    Node::Check(b.qp->PostSend(0, b.memory->Sge(0, bytes), flags));
    Deliver(b, a);
  }
  state.SetBytesProcessed(state.iterations() * 2 * state.range(0));
}
BENCHMARK(TcpRoundTrip)->Arg(1)->Arg(1024)->Arg(16384)->Arg(65536);

void PollEmpty(benchmark::State& state) {
  Node node(Fabric(), "fd00::1", QpType::kUdp, 64);
  node.qp->Bind(7);
  std::array<WorkCompletion, 8> done;
  for (auto _ : state) benchmark::DoNotOptimize(node.cq->Poll(done));
}
BENCHMARK(PollEmpty);

}  // namespace

BENCHMARK_MAIN();

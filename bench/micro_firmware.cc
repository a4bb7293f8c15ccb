// The firmware's tables at 1, 100 and 10,000 queue pairs: finding a packet's connection, and
// timers.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <vector>

#include "nic_fw/demux.h"
#include "nic_fw/firmware.h"
#include "nic_fw/timers.h"

namespace {

using namespace qpip;
using namespace qpip::fw;

uint64_t SameEveryTime(void* context) {
  auto& state = *static_cast<uint64_t*>(context);
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

/// An arena whose first `count` queue pairs are connections, filed as the firmware files them.
class Arena {
 public:
  explicit Arena(uint32_t count) {
    platform_.context = &random_;
    platform_.random = SameEveryTime;
    NicConfig config;
    config.address.bytes[0] = 0xfd;
    config.address.bytes[15] = 1;
    config.max_qps = count;
    config.send_depth_log2 = 4;
    ArenaBytes bytes;
    if (qpip_fw_arena(&config, &bytes) == 0) abort();
    memory_.resize(bytes.total / sizeof(uint64_t) + 1);
    if (qpip_fw_init(memory_.data(), bytes.total, &config, &platform_, 0) == 0) abort();
    for (uint32_t i = 0; i < count; ++i) FileConnection(i);
  }

  Nic View(uint64_t now) { return {memory_.data(), platform_, now}; }

 private:
  void FileConnection(uint32_t index) {
    const Nic nic = View(0);
    QueuePair& q = nic.qp(index);
    q.handle = index;
    q.type = abi::QpType::kTcp;
    q.state = QpState::kConnected;
    q.tuple.local_address.bytes[15] = 1;
    q.tuple.remote_address.bytes[15] = 2;
    q.tuple.local_port = 5001;
    q.tuple.remote_port = static_cast<uint16_t>(1024 + index % 60000);
    q.tcb.state = tcp::State::kEstablished;
    InsertDemux(nic, q);
  }

  uint64_t random_ = 88172645463325252;
  Platform platform_;
  std::vector<uint64_t> memory_;
};

/// Packets of different connections in turn (a stride that visits all): the cache misses are real.
void FindConnection(benchmark::State& state) {
  const auto count = static_cast<uint32_t>(state.range(0));
  Arena arena(count);
  const Nic nic = arena.View(0);
  uint32_t index = 0;
  for (auto _ : state) {
    index = (index + 7919) % count;
    if (FindTcp(nic, nic.qp(index).tuple) != index) state.SkipWithError("wrong connection");
  }
}
BENCHMARK(FindConnection)->Arg(1)->Arg(100)->Arg(10000);

/// A retransmission timer moves later with every acknowledgement.
void MoveTimerLater(benchmark::State& state) {
  const auto count = static_cast<uint32_t>(state.range(0));
  Arena arena(count);
  const Nic nic = arena.View(0);
  uint64_t now = 1000;
  uint32_t index = 0;
  for (auto _ : state) {
    index = (index + 7919) % count;
    nic.qp(index).tcb.retransmit_deadline = (now += 1000) + 200'000'000;
    UpdateTimer(nic, nic.qp(index));
  }
}
BENCHMARK(MoveTimerLater)->Arg(1)->Arg(100)->Arg(10000);

/// The earliest timer is due, fires, and is armed again behind all others.
void FireTimer(benchmark::State& state) {
  const auto count = static_cast<uint32_t>(state.range(0));
  Arena arena(count);
  uint64_t deadline = 1000;
  for (uint32_t i = 0; i < count; ++i) {
    const Nic nic = arena.View(0);
    nic.qp(i).tcb.retransmit_deadline = deadline += 1000;
    UpdateTimer(nic, nic.qp(i));
  }
  for (auto _ : state) {
    const Nic nic = arena.View(EarliestTimer(arena.View(0)));
    const uint32_t index = PopDueTimer(nic);
    if (index >= count) {
      state.SkipWithError("no timer was due");
      break;
    }
    nic.qp(index).tcb.retransmit_deadline = deadline += 1000;
    UpdateTimer(nic, nic.qp(index));
  }
}
BENCHMARK(FireTimer)->Arg(1)->Arg(100)->Arg(10000);

}  // namespace

BENCHMARK_MAIN();

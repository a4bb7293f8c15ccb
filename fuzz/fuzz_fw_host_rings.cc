// The firmware against a hostile host: any bytes in a queue pair's rings and any doorbells for it.
// Nothing is touched outside host memory, and a neighbour's message still arrives.
#include <cstring>

#include "firmware_bench.h"
#include "property.h"

namespace {
using namespace qpip::fw;
using namespace qpip::fw::test;

/// Small tables and pools: what an execution costs is mostly clearing memory.
NicConfig SmallNic() {
  NicConfig config = FirmwareBench::DefaultConfig();
  config.max_qps = 4;
  config.send_depth_log2 = 6;
  return config;
}
QpSpec SmallQp() {
  QpSpec spec;
  spec.overflow_bytes = 16384;
  return spec;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 16) return 0;
  ConnectedPair pair(SmallQp(), SmallNic());
  HostMemory memory(pair.a.hardware, 65536);
  HostMemory sink(pair.b.hardware, 65536);
  const uint32_t key = pair.a.Register(memory);
  const uint32_t sink_key = pair.b.Register(sink);
  auto hostile_cq = pair.a.CreateCq(8);
  QpSpec spec = SmallQp();
  spec.send_log2_depth = spec.recv_log2_depth = 2;
  if ((data[0] & 1) != 0) spec.framing = qpip::abi::Framing::kStream;
  auto hostile = pair.a.CreateQp(*hostile_cq, spec);
  auto peer = pair.b.CreateQp(*pair.cq_b, SmallQp());
  pair.b.PostRecv(*peer, {{sink.address(), 32768, sink_key}});
  pair.b.Offer(pair.listener, *peer);
  pair.a.Connect(*hostile, 2, 7);
  pair.cable.Run();

  // Doorbells first (8 bytes each, at most 8), the rest fills the rings; real keys and addresses
  // are dropped in where the fuzzer asks, so that what is behind the key check is reached.
  const size_t doorbells = data[1] % 9u;
  const uint8_t* bell = data + 2;
  const size_t bell_bytes = doorbells * 8 < size - 2 ? doorbells * 8 : (size - 2) / 8 * 8;
  const uint8_t* fill = bell + bell_bytes;
  const size_t fill_bytes = size - 2 - bell_bytes;
  for (HostMemory* ring : {hostile->send_ring.get(), hostile->recv_ring.get()}) {
    const size_t count = fill_bytes < ring->size() ? fill_bytes : ring->size();
    if (count != 0) std::memcpy(ring->data(), fill, count);
    for (size_t entry = 0; entry + 128 <= ring->size(); entry += 128) {
      const size_t header = ring == hostile->send_ring.get() ? 64 : 16;
      auto* sge = reinterpret_cast<qpip::abi::Sge*>(ring->data() + entry + header);
      if ((sge->key & 3) == 1) sge->key = key;
      if ((sge->length & 3) == 1) sge->address = memory.address() + (sge->address & 0xffff);
    }
  }
  for (size_t i = 0; i + 8 <= bell_bytes; i += 8) {
    qpip::abi::Doorbell doorbell;
    doorbell.kind_and_object =
        (static_cast<uint32_t>(bell[i] % 4) << 24) | (bell[i + 1] & 1 ? 0xffffu : hostile->handle);
    doorbell.producer = bell[i + 2] & 0x80 ? bell[i + 2] * 0x01010101u : bell[i + 2] & 7u;
    std::memcpy(&doorbell.posted_bytes, bell + i + 4, 4);
    pair.a.hardware.Ring(doorbell);
  }
  pair.cable.Run();
  pair.cable.Advance(500 * kMs, 100 * kMs);
  QPIP_FUZZ_CHECK(pair.a.hardware.illegal_accesses == 0);
  QPIP_FUZZ_CHECK(pair.a.hardware.dma_pending() == 0);

  // The neighbour.
  pair.b.Poll(*pair.cq_b);
  pair.b.PostRecv(*pair.qp_b, {{sink.address() + 40000, 64, sink_key}});
  pair.a.PostInline(*pair.qp_a, "unharmed");
  pair.cable.Run();
  bool arrived = false;
  for (const auto& cqe : pair.b.Poll(*pair.cq_b)) {
    arrived |= cqe.qp == pair.qp_b->handle && cqe.status == 0 && cqe.byte_length == 8;
  }
  QPIP_FUZZ_CHECK(arrived);
  QPIP_FUZZ_CHECK(std::memcmp(sink.data() + 40000, "unharmed", 8) == 0);
  return 0;
}

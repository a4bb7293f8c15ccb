// The firmware against a hostile wire: any sequence of frames, in any state of a live connection,
// is processed or counted; nothing is touched outside host memory and no frame buffer is lost.
#include <cstring>

#include "firmware_bench.h"
#include "property.h"
#include "script.h"

namespace {

using namespace qpip::fw;
using namespace qpip::fw::test;
using qpip::fuzz::Script;

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

/// A data segment that is next in order from a to b, kept as raw material.
Frame CaptureSegment(ConnectedPair& pair) {
  pair.a.PostInline(*pair.qp_a, "raw material for segments");
  pair.a.Run();
  Frame frame = pair.a.hardware.outgoing.empty() ? Frame(80) : pair.a.hardware.outgoing.front();
  pair.cable.Run();
  return frame;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ConnectedPair pair(SmallQp(), SmallNic());
  pair.b.hardware.trusted = true;  // checksums would hide what is behind them
  HostMemory sink(pair.b.hardware, 65536);
  const uint32_t key = pair.b.Register(sink);
  QpSpec udp = SmallQp();
  udp.type = qpip::abi::QpType::kUdp;
  auto datagrams = pair.b.CreateQp(*pair.cq_b, udp);
  pair.b.Bind(*datagrams, 9);
  auto spare = pair.b.CreateQp(*pair.cq_b, SmallQp());
  pair.b.Offer(pair.listener, *spare);
  for (uint32_t i = 0; i < 4; ++i) {
    pair.b.PostRecv(*pair.qp_b, {{sink.address() + i * 4096, 4096, key}});
    pair.b.PostRecv(*datagrams, {{sink.address() + 32768 + i * 256, 256, key}});
  }
  pair.cable.Run();
  const Frame segment = CaptureSegment(pair);

  Script script(data, size);
  while (!script.done()) {
    const uint8_t operation = script.Byte();
    switch (operation & 3) {
      case 0: {  // a frame of the fuzzer's own, addressed to us half the time
        Frame frame = script.Bytes(script.Byte() + 1u);
        if ((operation & 4) != 0 && frame.size() >= 40) {
          std::memcpy(frame.data() + 24, segment.data() + 24, 16);
          frame[0] = 0x60;
          frame[4] = static_cast<uint8_t>((frame.size() - 40) >> 8);
          frame[5] = static_cast<uint8_t>(frame.size() - 40);
        }
        pair.b.hardware.incoming.push_back(std::move(frame));
        break;
      }
      case 1: {  // the real segment with its TCP header changed
        Frame frame = segment;
        for (int changes = operation >> 2 & 7; changes >= 0; --changes) {
          frame[40 + script.Byte() % 32u] ^= script.Byte();
        }
        pair.b.hardware.incoming.push_back(std::move(frame));
        break;
      }
      case 2:  // time passes
        pair.b.Advance(kMs << (operation >> 2 & 15));
        break;
      default:  // the peer goes on
        if (pair.qp_a->send_producer < 32) pair.a.PostInline(*pair.qp_a, "more");
        pair.cable.Run();
    }
    pair.b.Run();
    QPIP_FUZZ_CHECK(pair.b.hardware.frames_borrowed() == 0);
    QPIP_FUZZ_CHECK(pair.b.hardware.illegal_accesses == 0);
    QPIP_FUZZ_CHECK(pair.b.hardware.dma_pending() == 0);
    pair.b.hardware.outgoing.clear();
    pair.b.hardware.traces.clear();
    pair.b.hardware.charges.clear();
  }
  for (const auto& cqe : pair.b.Poll(*pair.cq_b)) {
    QPIP_FUZZ_CHECK(cqe.byte_length <= 4096);
  }
  return 0;
}

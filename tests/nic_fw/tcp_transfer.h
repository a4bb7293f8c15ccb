// Two NICs with a connection, and memory at both ends.
#pragma once

#include "test_support.h"

namespace qpip::fw::test {

struct Transfer : ::testing::Test {
  ConnectedPair pair;
  HostMemory source{pair.a.hardware, 1 << 20};
  HostMemory sink{pair.b.hardware, 1 << 20};
  uint32_t source_key = pair.a.Register(source, 0);
  uint32_t sink_key = pair.b.Register(sink);

  void SetUp() override { FillPattern(source); }
  abi::Sge Src(uint64_t offset, uint32_t length) {
    return SgeOf(source, source_key, offset, length);
  }
  abi::Sge Dst(uint64_t offset, uint32_t length) { return SgeOf(sink, sink_key, offset, length); }
  bool Same(uint64_t from, uint64_t to, size_t length) {
    return std::memcmp(source.data() + from, sink.data() + to, length) == 0;
  }
};

}  // namespace qpip::fw::test

// The Internet checksum over messages of 64 B to 64 KiB, in cache.
#include <benchmark/benchmark.h>

#include <vector>

#include "protocols/common/checksum.h"

namespace {

void ChecksumBytes(benchmark::State& state) {
  const auto bytes = static_cast<size_t>(state.range(0));
  std::vector<uint8_t> data(bytes + 1, 0x5a);
  const std::span<const uint8_t> view(data.data() + state.range(1), bytes);
  for (auto _ : state) benchmark::DoNotOptimize(qpip::ChecksumAdd(view));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(ChecksumBytes)
    ->ArgNames({"bytes", "misaligned"})
    ->ArgsProduct({{64, 1440, 16384, 65536}, {0, 1}});

}  // namespace

BENCHMARK_MAIN();

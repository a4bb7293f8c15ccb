// CRC32C over messages of 64 B to 64 KiB, in cache: as hosts compute it, and by table.
#include <benchmark/benchmark.h>

#include <vector>

#include "protocols/iwarp/crc32c.h"
#include "protocols/iwarp/crc32c_table.h"

namespace {

template <typename Compute>
void Measure(benchmark::State& state, Compute compute) {
  const std::vector<uint8_t> data(static_cast<size_t>(state.range(0)), 0x5a);
  for (auto _ : state) benchmark::DoNotOptimize(compute(std::span<const uint8_t>(data)));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void AsHostsDo(benchmark::State& state) {
  Measure(state, [](std::span<const uint8_t> bytes) { return qpip::iwarp::Crc32c(bytes); });
}
void ByEightTables(benchmark::State& state) {
  Measure(state,
          [](std::span<const uint8_t> bytes) { return qpip::iwarp::Crc32cByTable<8>(bytes, 0); });
}
void ByOneTable(benchmark::State& state) {
  Measure(state,
          [](std::span<const uint8_t> bytes) { return qpip::iwarp::Crc32cByTable<1>(bytes, 0); });
}
BENCHMARK(AsHostsDo)->ArgName("bytes")->Arg(64)->Arg(1440)->Arg(16384)->Arg(65536);
BENCHMARK(ByEightTables)->ArgName("bytes")->Arg(64)->Arg(1440)->Arg(16384)->Arg(65536);
BENCHMARK(ByOneTable)->ArgName("bytes")->Arg(64)->Arg(1440)->Arg(16384)->Arg(65536);

}  // namespace

BENCHMARK_MAIN();

// Header codecs: what one packet's parsing and building costs.
#include <benchmark/benchmark.h>

#include <array>
#include <vector>

#include "protocols/ipv6/extension.h"
#include "protocols/ipv6/header.h"
#include "protocols/tcp/header.h"
#include "protocols/udp/header.h"

namespace {

using namespace qpip;

tcp::Header DataSegment() {
  tcp::Header header;
  header.source_port = 5001;
  header.destination_port = 40000;
  header.sequence = tcp::SequenceNumber(123456);
  header.acknowledgement = tcp::SequenceNumber(654321);
  header.flags = tcp::kAck | tcp::kPsh;
  header.window = 1024;
  header.has_timestamps = true;
  header.ts_value = 7;
  header.ts_echo = 6;
  return header;
}

void TcpEmit(benchmark::State& state) {
  const tcp::Header header = DataSegment();
  std::array<uint8_t, tcp::kMaxHeaderBytes> out = {};
  for (auto _ : state) {
    benchmark::DoNotOptimize(tcp::Emit(header, out));
    benchmark::ClobberMemory();
  }
}
BENCHMARK(TcpEmit);

void TcpParse(benchmark::State& state) {
  std::array<uint8_t, tcp::kMaxHeaderBytes> bytes = {};
  const size_t length = tcp::Emit(DataSegment(), bytes);
  const std::span<const uint8_t> packet(bytes.data(), length);
  for (auto _ : state) {
    tcp::Header header;
    size_t header_bytes = 0;
    if (tcp::Parse(packet, &header, &header_bytes) != tcp::ParseError::kNone) {
      state.SkipWithError("refused");
    }
    benchmark::DoNotOptimize(header);
  }
}
BENCHMARK(TcpParse);

ipv6::Header Packet() {
  ipv6::Header header;
  header.next_header = ipv6::kTcp;
  header.payload_length = 1432;
  header.source.bytes[0] = header.destination.bytes[0] = 0xfd;
  header.source.bytes[15] = 1;
  header.destination.bytes[15] = 2;
  return header;
}

void Ipv6Emit(benchmark::State& state) {
  const ipv6::Header header = Packet();
  std::array<uint8_t, ipv6::kHeaderBytes> out = {};
  for (auto _ : state) {
    ipv6::Emit(header, out);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(Ipv6Emit);

void Ipv6ParseAndFindUpperLayer(benchmark::State& state) {
  std::vector<uint8_t> bytes(ipv6::kHeaderBytes + 1432);
  ipv6::Emit(Packet(), std::span<uint8_t, ipv6::kHeaderBytes>(bytes.data(), ipv6::kHeaderBytes));
  for (auto _ : state) {
    ipv6::Header header;
    ipv6::UpperLayer upper;
    if (ipv6::Parse(bytes, static_cast<uint32_t>(bytes.size()), &header) !=
            ipv6::ParseError::kNone ||
        ipv6::FindUpperLayer(bytes, header, &upper) != ipv6::ParseError::kNone) {
      state.SkipWithError("refused");
    }
    benchmark::DoNotOptimize(upper);
  }
}
BENCHMARK(Ipv6ParseAndFindUpperLayer);

void UdpParse(benchmark::State& state) {
  std::array<uint8_t, 64> bytes = {};
  udp::Header sent{5001, 40000, 64, 0x1234};
  udp::Emit(sent, std::span<uint8_t, udp::kHeaderBytes>(bytes.data(), udp::kHeaderBytes));
  for (auto _ : state) {
    udp::Header header;
    if (udp::Parse(bytes, 64, true, &header) != udp::ParseError::kNone) {
      state.SkipWithError("refused");
    }
    benchmark::DoNotOptimize(header);
  }
}
BENCHMARK(UdpParse);

}  // namespace

BENCHMARK_MAIN();

// The TCP machine's fast paths: two machines in ESTABLISHED, no packets in between.
#include <benchmark/benchmark.h>

#include <cstdlib>

#include "protocols/tcp/machine.h"

namespace {

using namespace qpip::tcp;

constexpr uint64_t kNow = 1'000'000'000;
constexpr uint32_t kMss = 1428;
constexpr uint32_t kBuffer = 4u << 20;

/// Sends what `from` wants to send, with at most `length` bytes of text, to `to`.
Arrival Exchange(Tcb& from, Tcb& to, uint32_t length, uint64_t now) {
  const SendIntent intent = NextSend(from, now);
  if (intent.kind == SendIntent::Kind::kNone) abort();
  const bool data = intent.kind == SendIntent::Kind::kData;
  const uint32_t take = data ? AllowedLength(from, intent, length) : 0;
  Segment segment;
  segment.header = CommitSend(from, intent, take, data, now);
  RefreshHeader(from, &segment.header, take, now);
  segment.text_length = take;
  return OnSegment(to, segment, now);
}

struct Pair {
  Pair() {
    Options options;
    options.mss = kMss;
    options.receive_buffer = kBuffer;
    options.ack_every = 1;
    OpenActive(client, options, SequenceNumber(1000), kNow);
    SetReceiveWindow(client, kBuffer, kNow);
    const SendIntent intent = NextSend(client, kNow);
    Segment syn;
    syn.header = CommitSend(client, intent, 0, false, kNow);
    OpenPassive(server, options, SequenceNumber(9000), syn, kNow);
    SetReceiveWindow(server, kBuffer, kNow);
    Exchange(server, client, 0, kNow);
    Exchange(client, server, 0, kNow);
    if (client.state != State::kEstablished || server.state != State::kEstablished) abort();
  }
  Tcb client;
  Tcb server;
};

/// One full data segment: decide, build the plan, receive, place; then its acknowledgement back.
void DataSegmentAndAck(benchmark::State& state) {
  Pair pair;
  uint64_t now = kNow;
  for (auto _ : state) {
    now += 1000;
    ExtendSend(pair.client, kMss);
    const Arrival arrival = Exchange(pair.client, pair.server, kMss, now);
    OnPlaced(pair.server, arrival.text_length, now);
    SetReceiveWindow(pair.server, kBuffer, now);
    OnBatchEnd(pair.server);
    Arrival ack = Exchange(pair.server, pair.client, 0, now);
    if (ack.acked_bytes == 0) state.SkipWithError("not acknowledged");
    benchmark::DoNotOptimize(ack);
  }
}
BENCHMARK(DataSegmentAndAck);

/// OnSegment alone, in-order text: header prediction.
void InOrderDataArrives(benchmark::State& state) {
  Pair pair;
  uint64_t now = kNow;
  Segment segment;
  segment.header.flags = kAck;
  segment.header.acknowledgement = pair.server.snd.nxt;
  segment.header.window = 1024;
  segment.header.has_timestamps = pair.server.timestamps_on;
  segment.header.ts_value = pair.server.ts_recent;
  segment.text_length = kMss;
  for (auto _ : state) {
    now += 1000;
    segment.header.sequence = pair.server.rcv.nxt;
    const Arrival arrival = OnSegment(pair.server, segment, now);
    if (arrival.text_length != kMss) state.SkipWithError("not accepted");
    OnPlaced(pair.server, arrival.text_length, now);
    SetReceiveWindow(pair.server, kBuffer, now);
    // An acknowledgement that is never sent would leave the advertised window behind.
    Header header;
    RefreshHeader(pair.server, &header, 0, now);
  }
}
BENCHMARK(InOrderDataArrives);

}  // namespace

BENCHMARK_MAIN();

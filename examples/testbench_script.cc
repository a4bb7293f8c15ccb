// A conformance script against the NIC's TCP, in virtual time: a three-way handshake, a
// retransmission after exactly one time-out, and a fast retransmit. docs/testbench.md walks through
// it. Prints what went over the wire; exit status 1 when something was not as expected.
#include <qpip/testbench/testbench.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

namespace {

using namespace qpip::testbench;  // NOLINT(google-build-using-namespace): a script
using std::chrono::milliseconds;
using std::chrono::seconds;

void Check(bool condition, const char* what) {
  if (condition) return;
  std::printf("FAILED: %s\n", what);
  std::exit(1);
}

/// The NIC's next segment must look like `expected`, and have left at `when`.
void Expect(TcpPeer& peer, const std::string& expected, Time when) {
  const std::optional<TcpSegment> segment = peer.Take();
  Check(segment.has_value(), ("nothing was sent instead of " + expected).c_str());
  const std::string text = ToString(*segment);
  std::printf("%9.6f  %s\n", std::chrono::duration<double>(peer.TakenAt()).count(), text.c_str());
  Check(text == expected, ("expected " + expected).c_str());
  Check(peer.TakenAt() == when, "at another time");
}

// The first of all packets, by hand: what goes in and comes out are raw IPv6 packets.
void ThreeWayHandshake() {
  std::printf("three-way handshake\n");
  TestBench bench;
  auto listener = bench.Listen(80);

  const Ipv6Header to_nic = {.source = qpip::ParseAddress("fd00::2"),
                             .destination = bench.address()};
  TcpSegment syn = {.source_port = 40000, .destination_port = 80};
  syn.sequence = 1000;
  syn.flags = kSyn;
  syn.mss = 1000;
  bench.InjectPacket(BuildPacket(to_nic, syn));

  const std::optional<Packet> answer = bench.TakePacket();
  Check(answer && answer->tcp && answer->checksum_ok, "a TCP segment with a right checksum");
  std::printf("  %s\n", ToString(*answer).c_str());
  Check(answer->tcp->flags == (kSyn | kAck), "SYN-ACK");
  Check(answer->tcp->acknowledgement == 1001, "the SYN counts one");
  Check(answer->tcp->mss == 1440, "an MSS of the MTU less 60");
  Check(!answer->tcp->timestamps, "no option that was not offered");
  Check(listener->States().front() == TcpState::kSynReceived, "SYN-RECEIVED");

  TcpSegment ack = {.source_port = 40000, .destination_port = 80};
  ack.sequence = 1001;
  ack.acknowledgement = answer->tcp->sequence + 1;
  ack.flags = kAck;
  bench.InjectPacket(BuildPacket(to_nic, ack));
  const std::unique_ptr<TcpConnection> connection = listener->Accept();
  Check(connection != nullptr, "accepted");
  Check(connection->State() == TcpState::kEstablished, "ESTABLISHED");
  Check(!bench.TakePacket(), "no answer to an ACK");
}

// From here on a TcpPeer counts the sequence numbers: relative ones, the SYN being 0.
void RetransmissionAfterOneTimeout() {
  std::printf("retransmission after exactly one time-out\n");
  TestBench bench({.rto_initial = seconds(1), .rto_min = seconds(1)});
  auto connection = bench.Connect({qpip::ParseAddress("fd00::2"), 7}, /*local_port=*/5000);
  TcpPeer peer(bench, {.port = 7});
  peer.HandshakeAsServer();
  Check(connection->State() == TcpState::kEstablished, "ESTABLISHED");

  bench.Advance(milliseconds(500));
  connection->Send(Pattern(100));
  Expect(peer, "P. 1:101(100) ack 1 win 65535", milliseconds(500));
  bench.StepUntil(milliseconds(1500) - Time(1));
  Check(!peer.Take(), "nothing a nanosecond before the time-out");
  bench.StepUntil(milliseconds(1500));
  Expect(peer, "P. 1:101(100) ack 1 win 65535", milliseconds(1500));
  bench.StepUntil(milliseconds(3500));
  Expect(peer, "P. 1:101(100) ack 1 win 65535", milliseconds(3500));  // backed off: 2 s

  peer.Ack();
  Check(connection->SendsOutstanding() == 0, "the send has completed");
}

void FastRetransmit() {
  std::printf("fast retransmit\n");
  TestBench bench;
  auto listener = bench.Listen(80);
  TcpPeer peer(bench, {.mss = 1000});
  peer.HandshakeAsClient();
  auto connection = listener->Accept();

  connection->Send(Pattern(5000));
  for (int i = 0; i < 5; ++i) {  // the initial window takes all five
    const uint32_t start = 1 + 1000 * i;
    const std::string flags = i == 4 ? "P. " : ". ";
    Expect(peer,
           flags + std::to_string(start) + ":" + std::to_string(start + 1000) +
               "(1000) ack 1 win 65535",
           Time(0));
  }
  bench.Advance(milliseconds(10));
  TcpSegment duplicate = peer.Segment(kAck);
  duplicate.acknowledgement = 1;  // the first segment was lost, the others arrive one by one
  peer.Inject(duplicate);
  peer.Inject(duplicate);
  Check(!peer.Take(), "two duplicate ACKs are not enough");
  peer.Inject(duplicate);
  Expect(peer, ". 1:1001(1000) ack 1 win 65535", milliseconds(10));
  peer.Ack();
  Check(connection->BytesAcknowledged() == 5000, "all is acknowledged");
  Check(bench.Counters().at("tcp_retransmission_timeouts") == 0, "no time-out took part");
}

}  // namespace

int main() {
  ThreeWayHandshake();
  RetransmissionAfterOneTimeout();
  FastRetransmit();
  std::printf("all as expected\n");
}

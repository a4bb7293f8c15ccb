#include "suite.h"

namespace qpip::conformance {

std::vector<Topic> Topics() {
  return {HeaderTopic(),     OpenTopic(),      CloseTopic(), AcknowledgementTopic(),
          WindowTopic(),     InterfaceTopic(), ResetTopic(), RetransmissionTopic(),
          CongestionTopic(), TimestampTopic(), SackTopic(),  Ipv6Topic(),
          PathMtuTopic()};
}

std::optional<std::string> RunCase(const Case& test) {
  try {
    test.run();
  } catch (const std::exception& error) {
    return error.what();
  }
  return std::nullopt;
}

void Expect(bool condition, const std::string& what) {
  if (!condition) throw Failure(what);
}

Script::Script(const Setup& with) : setup(with), bench(setup.bench), peer(bench, setup.peer) {}

void Script::Listen() { listener = bench.Listen(80, setup.listen); }

void Script::Accept() {
  Listen();
  peer.Syn();
  Sends("S. 0:0(0) ack 1");
  bench.Advance(setup.round_trip);
  peer.Ack();
  connection = listener->Accept();
  Expect(connection != nullptr, "the connection is not established");
}

void Script::Connect() {
  connection = bench.Connect(peer.endpoint(), 5000, setup.listen.tcp);
  peer.HandshakeAsServer();
  State(TcpState::kEstablished);
}

TcpSegment Script::Sends(const std::string& text) {
  TcpSegment segment = Next();
  const std::string got = testbench::ToString(segment);
  Expect(got.starts_with(text), "the NIC sent \"" + got + "\" instead of \"" + text + "\"");
  return segment;
}

TcpSegment Script::SendsAt(Time when, const std::string& text) {
  SilentUntil(when - Time(1));
  bench.StepUntil(when);
  return Sends(text);
}

TcpSegment Script::Next() {
  std::optional<TcpSegment> segment = peer.Take();
  Expect(segment.has_value(), "the NIC sent nothing");
  return *std::move(segment);
}

void Script::Silent() {
  const std::optional<TcpSegment> segment = peer.Take();
  if (segment) throw Failure("the NIC sent \"" + testbench::ToString(*segment) + "\"");
}

void Script::SilentUntil(Time when) {
  Silent();
  bench.StepUntil(when);
  Silent();
}

int Script::Drain() {
  int count = 0;
  while (peer.Take()) ++count;
  return count;
}

void Script::State(TcpState expected) {
  const TcpState state = connection->State();
  Expect(state == expected, std::string("the state is ") + testbench::ToString(state) + ", not " +
                                testbench::ToString(expected));
}

uint64_t Script::Counter(const char* name) { return bench.Counters().at(name); }

}  // namespace qpip::conformance

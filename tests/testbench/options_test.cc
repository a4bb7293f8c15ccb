// What options may be, and what is said of those that may not.
#include <gmock/gmock.h>

#include <cerrno>
#include <chrono>

#include "qpip/testbench/testbench.h"

namespace qpip::testbench {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::HasSubstr;

const Endpoint kPeer = {ParseAddress("fd00::2"), 7};

/// What a bench says to these options; "" when it is made.
std::string Refusal(const TestBenchOptions& options) {
  try {
    TestBench bench(options);
    return "";
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
}

/// What a connection, and a listener, says to these options; "" when it is made.
std::string Refusal(const TcpOptions& options) {
  TestBench bench;
  const auto answer = [](const auto& make) -> std::string {
    try {
      make();
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), EINVAL);
      return error.what();
    }
  };
  std::string connecting = answer([&] { bench.Connect(kPeer, 0, options); });
  const std::string listening = answer([&] { bench.Listen(80, {.offered = 0, .tcp = options}); });
  EXPECT_EQ(connecting, listening);
  return connecting;
}

TEST(BenchOptionsTest, GivenOptionsOutOfRangeWhenConstructedThenTheRangeIsTold) {
  const struct {
    TestBenchOptions options;
    const char* why;
  } cases[] = {
      {{.address = ParseAddress("::")}, "address is the unspecified or a multicast"},
      {{.address = ParseAddress("ff02::1")}, "address is the unspecified or a multicast"},
      {{.address = ParseAddress("::1")}, "address is the loopback address"},
      {{.mtu = 1279}, "mtu is 1279, must be 1280 to 65575"},
      {{.mtu = 65576}, "mtu is 65576"},
      {{.clock_start = seconds(-1)}, "clock_start is -1 s"},
      {{.max_queue_pairs = 0}, "max_queue_pairs is 0, must be 1 to 16384"},
      {{.max_queue_pairs = 16385}, "max_queue_pairs is 16385"},
      {{.hop_limit = 0}, "hop_limit is 0, must be 1 to 255"},
      {{.reassembly = 1025}, "reassembly is 1025, must be 0 to 1024"},
      {{.ack_every = 0}, "ack_every is 0, must be 1 to 255"},
      {{.ack_delay = milliseconds(500)}, "ack_delay is 500 ms, must be 0 s to 499999 us"},
      {{.ack_delay = Time(-1)}, "ack_delay is -1 ns"},
      {{.rto_initial = Time(0)}, "rto_initial is 0 s, must be 100 us to 60 s"},
      {{.rto_initial = seconds(61)}, "rto_initial is 61 s"},
      {{.rto_min = Time(0)}, "rto_min is 0 s, must be 100 us to 60 s"},
      {{.rto_min = milliseconds(60001)}, "rto_min is 60001 ms"},
      {{.rto_max = Time(0)}, "rto_max is 0 s, must be 100 us to 3600 s"},
      {{.rto_min = seconds(3), .rto_max = seconds(2)}, "rto_min is above rto_max, 2 s"},
      {{.rto_max = milliseconds(500)}, "rto_initial is above rto_max, 500 ms"},
      {{.rto_max = seconds(1), .parameters = "rto_min_us=2000000"}, "rto_min is above rto_max"},
      {{.time_wait = seconds(241)}, "time_wait is 241 s, must be 0 s to 240 s"},
      {{.user_timeout = microseconds(999)}, "user_timeout is 999 us, must be 1 ms to 4294967295"},
      {{.user_timeout = seconds(-1)}, "user_timeout is -1 s"},
      {{.connect_timeout = Time(1)}, "connect_timeout is 1 ns, must be 1 ms"},
      {{.parameters = "no_such=1"}, "no_such"},
      {{.parameters = "ack_every=0"}, "ack_every"},
  };
  for (const auto& c : cases) EXPECT_THAT(Refusal(c.options), HasSubstr(c.why));
}

TEST(BenchOptionsTest, GivenOptionsAtTheEndsOfTheirRangesWhenConstructedThenTheyAreTaken) {
  EXPECT_EQ(Refusal(TestBenchOptions{.mtu = 1280,
                                     .max_queue_pairs = 1,
                                     .hop_limit = 1,
                                     .reassembly = 0,
                                     .ack_every = 1,
                                     .ack_delay = Time(0),
                                     .rto_initial = microseconds(100),
                                     .rto_min = microseconds(100),
                                     .rto_max = microseconds(100),
                                     .time_wait = Time(0),
                                     .user_timeout = milliseconds(1),
                                     .connect_timeout = milliseconds(1)}),
            "");
  EXPECT_EQ(Refusal(TestBenchOptions{.mtu = 65575,
                                     .hop_limit = 255,
                                     .reassembly = 1024,
                                     .ack_every = 255,
                                     .ack_delay = microseconds(499999),
                                     .rto_initial = seconds(60),
                                     .rto_min = seconds(60),
                                     .rto_max = minutes(60),
                                     .time_wait = minutes(4),
                                     .user_timeout = milliseconds(UINT32_MAX),
                                     .connect_timeout = milliseconds(UINT32_MAX)}),
            "");
}

TEST(BenchOptionsTest, GivenTimeoutsOfZeroWhenNothingIsAnsweredThenNothingIsGivenUp) {
  TestBench bench({.user_timeout = Time(0), .connect_timeout = Time(0)});
  auto attempt = bench.Connect(kPeer);
  auto listener = bench.Listen(80, {.offered = 1});
  TcpPeer peer(bench);
  peer.HandshakeAsClient();
  auto connection = listener->Accept();
  connection->Send(Pattern(10));
  TcpPeer waiting(bench, {.port = 2});
  TcpPeer first(bench, {.port = 1});
  first.HandshakeAsClient();
  waiting.Syn();  // for an offer
  bench.Advance(std::chrono::hours(24));
  EXPECT_EQ(attempt->State(), TcpState::kSynSent);
  EXPECT_EQ(connection->State(), TcpState::kEstablished);
  EXPECT_FALSE(waiting.Take());
  listener->Offer();
  EXPECT_TRUE(waiting.Take());
}

TEST(BenchOptionsTest, GivenParametersWhenConstructedThenTheyCountUnlessAFieldIsSet) {
  TestBench plain({.parameters = "timestamps=0&sack=0"});
  auto attempt = plain.Connect({ParseAddress("fd00::2"), 7});
  EXPECT_FALSE(plain.TakePacket()->tcp->sack_permitted);
  TestBench both({.window_scaling = false, .parameters = "rto_initial_us=5000000"});
  auto other = both.Connect({ParseAddress("fd00::2"), 7});
  EXPECT_FALSE(both.TakePacket()->tcp->window_scale);
  EXPECT_EQ(both.WaitForPacket(seconds(10))->time, seconds(5));
}

TEST(TcpOptionsTest, GivenOptionsOutOfRangeWhenConnectingOrListeningThenTheRangeIsTold) {
  const struct {
    TcpOptions options;
    const char* why;
  } cases[] = {
      {{.receive_buffer = (1u << 30) + 1}, "receive_buffer is 1073741825, must be 0 to 1073741824"},
      {{.receive_chunk = 0}, "receive_chunk is 0, must be 1 to"},
      {{.window_limit = 4095}, "window_limit is 4095, must be 4096 to 1073741824"},
      {{.window_limit = 1u << 31}, "window_limit is 2147483648"},
      {{.send_depth = 0}, "send_depth is 0, must be 1 to 128"},
      {{.send_depth = 129}, "send_depth is 129, must be 1 to 128"},
      {{.dscp = 64}, "dscp is 64, must be 0 to 63"},
      {{.keepalive = milliseconds(1500)}, "keepalive is 1500 ms, must be whole seconds"},
      {{.keepalive = milliseconds(500)}, "keepalive is 500 ms, must be 1 s to 1000000 s"},
      {{.keepalive = seconds(-2)}, "keepalive is -2 s, must be 1 s to 1000000 s"},
      {{.ack_delay = milliseconds(500)}, "ack_delay is 500 ms, must be 1 us to 499999 us"},
      {{.ack_delay = Time(999)}, "ack_delay is 999 ns"},
      {{.user_timeout = seconds(-1)}, "user_timeout is -1 s, must be 1 ms to 4294967295 ms"},
      {{.user_timeout = microseconds(1)}, "user_timeout is 1 us"},
  };
  for (const auto& c : cases) EXPECT_THAT(Refusal(c.options), HasSubstr(c.why));
}

TEST(TcpOptionsTest, GivenOptionsAtTheEndsOfTheirRangesWhenConnectingThenTheyAreTaken) {
  EXPECT_EQ(Refusal(TcpOptions{.receive_buffer = 0,
                               .receive_chunk = 1u << 30,
                               .window_limit = 4096,
                               .send_depth = 1,
                               .keepalive = seconds(1),
                               .ack_delay = microseconds(1),
                               .user_timeout = milliseconds(1)}),
            "");
  EXPECT_EQ(Refusal(TcpOptions{.receive_chunk = 1u << 30,
                               .send_depth = 128,
                               .dscp = 63,
                               .keepalive = seconds(1'000'000),
                               .ack_delay = microseconds(499999)}),
            "");
}

TEST(TcpOptionsTest, GivenSendDepthWhenAsManySendsAreOutstandingThenOneMoreIsRefused) {
  TestBench bench;
  auto listener = bench.Listen(80, {.tcp = {.send_depth = 3}});
  TcpPeer peer(bench);
  peer.HandshakeAsClient();
  auto connection = listener->Accept();
  for (int i = 0; i < 3; ++i) connection->Send(Pattern(10));
  try {
    connection->Send(Pattern(10));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ENOMEM);
  }
  while (peer.Take()) {
  }
  peer.Ack();
  EXPECT_NO_THROW(connection->Send(Pattern(10)));
}

}  // namespace
}  // namespace qpip::testbench

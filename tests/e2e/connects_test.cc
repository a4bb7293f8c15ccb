// A thousand connects at once to a thousand offered queue pairs.
#include <thread>

#include "two_nics.h"

namespace qpip::test {
namespace {

constexpr uint32_t kConnections = 1000;
constexpr size_t kThreads = 4;

struct Wire {
  const char* name;
  const char* scheme;
  const char* options;
};
void PrintTo(const Wire& wire, std::ostream* out) { *out << wire.name; }

class ThousandConnects : public ::testing::TestWithParam<Wire> {
 protected:
  // A time-out would be noticed: it lasts as long as the test's patience.
  TwoNics nics_{GetParam().scheme, std::string("rto_initial_us=60000000") + GetParam().options};

  static std::vector<std::unique_ptr<QueuePair>> Create(Side& side, CompletionQueue& cq) {
    const QpOptions options{.send_cq = &cq, .recv_cq = &cq, .send_depth = 1, .recv_depth = 1};
    std::vector<std::unique_ptr<QueuePair>> qps;
    for (uint32_t i = 0; i < kConnections; ++i) qps.push_back(side.Qp(options));
    return qps;
  }
};

// On a wire with a delay all handshakes are under way before the first has ended.
INSTANTIATE_TEST_SUITE_P(Wires, ThousandConnects,
                         ::testing::Values(Wire{"mem", "mem", ""}, Wire{"shm", "shm", ""},
                                           Wire{"shm_short_fifo", "shm", "&doorbells=2"},
                                           Wire{"mem_delay", "mem", "&delay_us=300000"}),
                         [](const auto& test) { return test.param.name; });

TEST_P(ThousandConnects, GivenAsManyOfferedWhenAllConnectAtOnceThenNoneWaitsForATimeOut) {
  const auto server_cq = nics_.server.nic->CreateCq(2 * kConnections);
  const auto client_cq = nics_.client.nic->CreateCq(2 * kConnections);
  const auto offered = Create(nics_.server, *server_cq);
  const auto connecting = Create(nics_.client, *client_cq);
  const auto listener = nics_.server.nic->Listen(7, 64);
  for (const auto& qp : offered) listener->Offer(*qp);
  const auto connect = [&](size_t first) {
    for (size_t i = first; i < kConnections; i += kThreads) {
      connecting[i]->StartConnect(nics_.ServerAt(7));
    }
    for (size_t i = first; i < kConnections; i += kThreads) {
      ASSERT_TRUE(connecting[i]->WaitConnected(kPatience)) << i;
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kThreads; ++i) threads.emplace_back(connect, i);
  for (std::thread& thread : threads) thread.join();
  for (uint32_t i = 0; i < kConnections; ++i) ASSERT_NE(listener->Accept(kPatience), nullptr);
  for (const Side* side : {&nics_.client, &nics_.server}) {
    auto counters = side->nic->Counters();
    EXPECT_EQ(counters["connections_established"], kConnections);
    EXPECT_EQ(counters["tcp_retransmission_timeouts"], 0u);
  }
}

}  // namespace
}  // namespace qpip::test

// A thousand connects at once.
#include <gmock/gmock.h>

#include <ostream>

#include "sim/ns3/world/world.h"

namespace qpip::sim {
namespace {

constexpr uint32_t kConnections = 1000;
constexpr uint16_t kPort = 7;

std::vector<std::unique_ptr<QueuePair>> CreateQps(Host& host, CompletionQueue& cq) {
  std::vector<std::unique_ptr<QueuePair>> qps;
  const QpOptions options{.send_cq = &cq,
                          .recv_cq = &cq,
                          .send_depth = 1,
                          .recv_depth = 1,
                          .max_send_sge = 1,
                          .max_recv_sge = 1,
                          .max_inline = 0,
                          .receive_reservation = 4096};
  for (uint32_t i = 0; i < kConnections; ++i) qps.push_back(host.nic->CreateQp(*host.pd, options));
  return qps;
}

struct Outcome {
  uint64_t last_up_ns = 0;                         ///< after the first connect
  std::map<std::string, uint64_t> client, server;  ///< counters
};

/// As many programs connect, at the same moment, as queue pairs have been offered.
Outcome ConnectAll(const Profile& profile) {
  World world(profile, {.queue_pairs = kConnections, .completion_queues = 1});
  Host& server = world.host(0);
  Host& client = world.host(1);
  const auto server_cq = server.nic->CreateCq(2 * kConnections);
  const auto client_cq = client.nic->CreateCq(2 * kConnections);
  const auto offered = CreateQps(server, *server_cq);
  const auto connecting = CreateQps(client, *client_cq);
  const auto listener = server.nic->Listen(kPort, 64);
  for (const auto& qp : offered) listener->Offer(*qp);
  const uint64_t begin = NowNs();
  uint64_t end = begin;
  for (const auto& qp : connecting) {
    world.Start("client", [&] {
      qp->Connect({server.address(), kPort});
      end = std::max(end, NowNs());
    });
  }
  world.Start("server", [&] {
    for (uint32_t i = 0; i < kConnections; ++i) EXPECT_NE(listener->Accept(), nullptr);
    end = std::max(end, NowNs());
  });
  world.Run();
  return {end - begin, client.nic->Counters(), server.nic->Counters()};
}

struct Nic {
  const char* name;
  const char* profile;
  uint64_t within_us;
};
void PrintTo(const Nic& nic, std::ostream* out) { *out << nic.name; }

class ThousandConnects : public ::testing::TestWithParam<Nic> {};
// The LANai's core has 60 us of work with each: stages as in the paper's tables, and a command.
INSTANTIATE_TEST_SUITE_P(Profiles, ThousandConnects,
                         ::testing::Values(Nic{"lanai", "lanai9-hardware-checksum", 65000},
                                           Nic{"lanai533",
                                               "lanai9-hardware-checksum+faster-core-533", 50000},
                                           Nic{"host", "host-gm-9000", 50000}),
                         [](const auto& test) { return test.param.name; });

TEST_P(ThousandConnects, GivenAsManyOfferedWhenAllConnectAtOnceThenNoneWaitsForATimeOut) {
  Outcome outcome = ConnectAll(Profile::Load(GetParam().profile));
  EXPECT_LE(outcome.last_up_ns, GetParam().within_us * 1000);
  for (auto* counters : {&outcome.client, &outcome.server}) {
    EXPECT_EQ((*counters)["connections_established"], kConnections);
    EXPECT_EQ((*counters)["tcp_retransmission_timeouts"], 0u);
    EXPECT_EQ((*counters)["doorbell_overflows"], 0u);
    // Those who wait for an answer do not all ring when one comes.
    EXPECT_LE((*counters)["doorbells"], (*counters)["commands"] + (*counters)["events"]);
  }
  EXPECT_EQ(outcome.client["tcp_segments_sent"], 2 * kConnections);
  EXPECT_EQ(outcome.server["tcp_segments_sent"], kConnections);
  EXPECT_EQ(outcome.server["syns_put_off"], outcome.server["syns_taken_up"]);
}

}  // namespace
}  // namespace qpip::sim

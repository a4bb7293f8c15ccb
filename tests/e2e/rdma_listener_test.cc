// Who listens for RDMA connections is not kept from it by peers that say nothing, by many at once,
// or by what they leave behind.
#include <poll.h>

#include <memory>
#include <vector>

#include "qpip/rdma.h"
#include "two_nics.h"

namespace qpip::test {
namespace {

constexpr uint16_t kPort = 4791;

class RdmaListening : public ::testing::Test {
 protected:
  RdmaListenerOptions Options(uint16_t backlog, std::chrono::milliseconds timeout) {
    RdmaListenerOptions options;
    options.backlog = backlog;
    options.timeout = timeout;
    return options;
  }
  /// A TCP connection on which nothing is said.
  std::unique_ptr<QueuePair> SilentPeer() {
    auto qp = nics.client.Qp({.framing = Framing::kStream});
    qp->Connect(nics.ServerAt(kPort), kPatience);
    return qp;
  }
  std::unique_ptr<RdmaConnector> Peer() {
    return std::make_unique<RdmaConnector>(*nics.client.nic, nics.ServerAt(kPort));
  }

  TwoNics nics{"mem"};
};

TEST_F(RdmaListening, GivenAsManySilentPeersAsItHasPlacesWhenAnotherConnectsThenItIsServed) {
  RdmaListener listener(*nics.server.nic, kPort, Options(2, 50ms));
  const auto first = SilentPeer(), second = SilentPeer();
  const auto peer = Peer();
  const auto asking = nics.testbed().Start([&] { peer->Wait(kPatience); });
  const auto request = listener.Next(kPatience);
  ASSERT_NE(request, nullptr);
  request->Reject("yes");
  asking->Join();
  EXPECT_EQ(peer->Poll(), RdmaConnector::State::kRejected);
  EXPECT_EQ(listener.refused(), 2u);
}

TEST_F(RdmaListening, GivenASilentPeersTimeIsOverWhenTheNumberIsUsedAgainThenOneIsRefused) {
  RdmaListener listener(*nics.server.nic, kPort, Options(2, 20ms));
  const auto silent = SilentPeer();
  while (listener.refused() == 0) EXPECT_EQ(listener.Next(30ms), nullptr);
  // What its queue pair has left in the completion queue concerns none of its successors.
  for (int i = 0; i < 3; ++i) EXPECT_EQ(listener.Next(10ms), nullptr);
  EXPECT_EQ(listener.refused(), 1u);
}

TEST_F(RdmaListening, GivenManyRequestsAreInHandWhenTheyAreLetGoOfThenTheNextIsServed) {
  RdmaListener listener(*nics.server.nic, kPort, Options(1, 10s));
  std::vector<std::unique_ptr<RdmaConnector>> peers;
  std::vector<std::unique_ptr<RdmaRequest>> requests;
  const auto serve = [&] {
    peers.push_back(Peer());
    const auto asking = nics.testbed().Start([&] { peers.back()->Wait(100ms); });
    auto request = listener.Next(100ms);
    asking->Join();
    return request;
  };
  for (int i = 0; i < 4; ++i) {
    auto request = serve();
    if (request == nullptr) break;  // there was no room for more
    requests.push_back(std::move(request));
  }
  EXPECT_GE(requests.size(), 1u);
  requests.clear();
  peers.clear();
  peers.push_back(Peer());
  const auto asking = nics.testbed().Start([&] { peers.back()->Wait(kPatience); });
  const auto request = listener.Next(kPatience);
  ASSERT_NE(request, nullptr);
  request->Reject("yes");
  asking->Join();
}

TEST_F(RdmaListening, GivenADescriptorWhenPeersComeOneByOneThenEachWakesIt) {
  RdmaListener listener(*nics.server.nic, kPort);
  for (int i = 0; i < 3; ++i) {
    const auto peer = Peer();
    const auto asking = nics.testbed().Start([&] { peer->Wait(kPatience); });
    std::unique_ptr<RdmaRequest> request;
    while (request == nullptr) {
      pollfd poll = {listener.fd(), POLLIN, 0};
      ASSERT_EQ(::poll(&poll, 1, 20000), 1) << "it was not woken for peer " << i;
      request = listener.Next(0s);
    }
    request->Reject("yes");
    asking->Join();
  }
}

}  // namespace
}  // namespace qpip::test

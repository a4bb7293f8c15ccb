// Many NICs on one fabric that connect to each other at once: every listener has more handshakes
// under way than it may, and nobody who was answered is reset.
#include <string>
#include <vector>

#include "two_nics.h"

namespace qpip::test {
namespace {

constexpr uint16_t kPort = 7;
constexpr int kRounds = 10;
/// SYNs come again while their answers are under way, and meet whatever has come free meanwhile.
constexpr const char* kOptions = "max_qps=256&rto_initial_us=20000&delay_us=30000";

/// One NIC of the fabric, and what is on it in one round.
struct Node {
  std::shared_ptr<Nic> nic;
  std::unique_ptr<ProtectionDomain> pd;
  std::unique_ptr<CompletionQueue> cq;
  std::unique_ptr<Listener> listener;
  std::vector<std::unique_ptr<QueuePair>> offered;
  std::vector<std::unique_ptr<QueuePair>> connecting;

  std::unique_ptr<QueuePair> Create() {
    return nic->CreateQp(*pd, {.send_cq = cq.get(),
                               .recv_cq = cq.get(),
                               .send_depth = 1,
                               .recv_depth = 1,
                               .receive_reservation = 4096});
  }
};

class ManyNics : public ::testing::Test {
 protected:
  void Open(uint32_t nics) {
    const std::string fabric = UniqueFabric();
    for (uint32_t i = 0; i < nics; ++i) {
      Node node;
      node.nic = Nic::Open(PortUri("shm", fabric, static_cast<int>(i) + 1, kOptions));
      node.pd = node.nic->AllocatePd();
      node.cq = node.nic->CreateCq(512);
      nodes_.push_back(std::move(node));
    }
  }
  uint32_t count() const { return static_cast<uint32_t>(nodes_.size()); }
  void Prepare() {
    for (Node& node : nodes_) {
      node.listener = node.nic->Listen(kPort, 4);
      for (uint32_t i = 1; i < count(); ++i) {
        node.offered.push_back(node.Create());
        node.listener->Offer(*node.offered.back());
        node.connecting.push_back(node.Create());
      }
    }
  }
  /// Everybody's first, then everybody's second, and so on: each listener hears of all at a time.
  void Connect() {
    for (uint32_t i = 1; i < count(); ++i) {
      for (uint32_t from = 0; from < count(); ++from) {
        const Nic& to = *nodes_[(from + i) % count()].nic;
        nodes_[from].connecting[i - 1]->StartConnect({to.address(), kPort});
      }
    }
  }
  /// Connections of anybody that a peer has reset.
  uint64_t Resets() {
    uint64_t sum = 0;
    for (Node& node : nodes_) sum += node.nic->Counters()["connections_reset"];
    return sum;
  }
  std::vector<Node> nodes_;
};

TEST_F(ManyNics, Given64WhenEachConnectsToEachAtOnceThenNoneIsResetAndAllAreAccepted) {
  Open(64);
  for (int round = 0; round < kRounds; ++round) {
    Prepare();
    const uint64_t resets = Resets();
    Connect();
    for (uint32_t from = 0; from < count(); ++from) {
      for (auto& qp : nodes_[from].connecting) {
        ASSERT_TRUE(qp->WaitConnected(kPatience)) << "round " << round << ", from " << from;
      }
    }
    for (Node& node : nodes_) {
      for (uint32_t i = 1; i < count(); ++i) ASSERT_NE(node.listener->Accept(kPatience), nullptr);
      for (auto& qp : node.connecting) EXPECT_EQ(qp->state(), QpState::kConnected);
      for (auto& qp : node.offered) EXPECT_EQ(qp->state(), QpState::kConnected);
    }
    EXPECT_EQ(Resets(), resets) << "round " << round;
    for (Node& node : nodes_) {
      node.connecting.clear();
      node.offered.clear();
      node.listener.reset();
    }
  }
}

TEST_F(ManyNics, Given200WhenEachConnectsToTheNextThreeThenAllAreUp) {
  constexpr uint32_t kNext = 3;
  Open(200);
  for (Node& node : nodes_) {
    node.listener = node.nic->Listen(kPort, 64);
    for (uint32_t i = 0; i < kNext; ++i) {
      node.offered.push_back(node.Create());
      node.listener->Offer(*node.offered.back());
      node.connecting.push_back(node.Create());
    }
  }
  for (uint32_t from = 0; from < count(); ++from) {
    for (uint32_t i = 0; i < kNext; ++i) {
      const Nic& to = *nodes_[(from + 1 + i) % count()].nic;
      nodes_[from].connecting[i]->StartConnect({to.address(), kPort});
    }
  }
  for (Node& node : nodes_) {
    for (auto& qp : node.connecting) ASSERT_TRUE(qp->WaitConnected(kPatience));
    for (uint32_t i = 0; i < kNext; ++i) ASSERT_NE(node.listener->Accept(kPatience), nullptr);
  }
  EXPECT_EQ(Resets(), 0u);
}

}  // namespace
}  // namespace qpip::test

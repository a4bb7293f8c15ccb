// Duplicate address detection, and answers to those who ask for the address.
#include "nic_fw/own_address.h"

#include "on_link.h"

namespace qpip::fw::test {
namespace {

TEST_F(OnLink, GivenASolicitationWhenItIsForUsThenItIsAnsweredAndItsSenderKnown) {
  Take();
  Solicit(9, kPeerLink);
  const auto frames = Take();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].to, kPeerLink);
  const NeighbourMessage answer = Read(frames[0]);
  EXPECT_EQ(answer.type, icmpv6::kNeighbourAdvertisement);
  EXPECT_TRUE(answer.solicited && answer.override_entry && !answer.router);
  EXPECT_EQ(answer.target, Ip(1));
  EXPECT_EQ(answer.target_link, kOwnLink);
  EXPECT_EQ(StateOf(9), NeighbourState::kStale);
}

struct WithDetection : OnLink {
  WithDetection() : OnLink(1) {}
};

TEST_F(WithDetection, GivenAStartWhenNobodyObjectsThenTheAddressIsUsedAfterASecond) {
  auto frames = Take();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_TRUE(Read(frames[0]).type == icmpv6::kNeighbourSolicitation);
  EXPECT_EQ(Read(frames[0]).target, Ip(1));
  EXPECT_FALSE(Read(frames[0]).has_source_link);
  EXPECT_EQ(frames[0].bytes[8], 0) << "from the unspecified address";
  SendTo(9);
  Solicit(9, kPeerLink);
  EXPECT_TRUE(Take().empty()) << "a tentative address neither asks nor answers";
  Advance(kSecond + kMs);
  frames = Take();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].bytes[40], icmpv6::kRouterSolicitation);
  EXPECT_EQ(Read(frames[1]).target, Ip(9)) << "what was wanted meanwhile";
  Advertise(9, kPeerLink);
  EXPECT_EQ(Datagrams().size(), 1u);
}

TEST_F(WithDetection, GivenTentativeWhenSomebodyHasTheAddressThenItIsNeverUsed) {
  Take();
  Advertise(1, kOtherLink, false);
  Advance(2 * kSecond);
  EXPECT_EQ(nic.Counter(abi::NicCounter::kDuplicateAddress), 1u);
  auto qp = nic.CreateQp(*cq);
  nic.Connect(*qp, 9, 80);
  Solicit(9, kPeerLink);
  EXPECT_TRUE(Take().empty());
  EXPECT_EQ(EventsOf(nic, abi::EventKind::kConnectFailed).size(), 1u) << "at once";
}

TEST_F(WithDetection, GivenTentativeWhenSomebodyElseLooksForDuplicatesThenNobodyGetsIt) {
  Take();
  NeighbourMessage message;
  message.type = icmpv6::kNeighbourSolicitation;
  message.target = Ip(1);
  Arrive(message, ipv6::Address{}, icmpv6::SolicitedNode(Ip(1)));
  EXPECT_EQ(nic.Counter(abi::NicCounter::kDuplicateAddress), 1u);
}

TEST_F(OnLink, GivenThePreferredAddressWhenSomebodyLooksForDuplicatesThenAllNodesHearWhoHasIt) {
  Take();
  NeighbourMessage message;
  message.type = icmpv6::kNeighbourSolicitation;
  message.target = Ip(1);
  Arrive(message, ipv6::Address{}, icmpv6::SolicitedNode(Ip(1)));
  const auto frames = Take();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].to, icmpv6::MulticastLink(icmpv6::kAllNodes));
  EXPECT_FALSE(Read(frames[0]).solicited);
}

}  // namespace
}  // namespace qpip::fw::test

// rdma_getaddrinfo: what is not said follows from what is.
#include <gtest/gtest.h>
#include <rdma/rdma_cma.h>

#include <memory>

namespace qpip::verbs::test {
namespace {

using Infos = std::unique_ptr<rdma_addrinfo, decltype(&rdma_freeaddrinfo)>;

Infos Ask(const char* node, const rdma_addrinfo& hints) {
  rdma_addrinfo* infos = nullptr;
  EXPECT_EQ(rdma_getaddrinfo(node, "7471", &hints, &infos), 0);
  return {infos, rdma_freeaddrinfo};
}

TEST(AddressInfoTest, GivenAPortSpaceWhenAskedThenTheQueuePairIsOfItsSort) {
  rdma_addrinfo hints = {};
  hints.ai_port_space = RDMA_PS_UDP;
  Infos infos = Ask("127.0.0.5", hints);
  ASSERT_NE(infos, nullptr);
  EXPECT_EQ(infos->ai_qp_type, IBV_QPT_UD);
  EXPECT_EQ(infos->ai_port_space, RDMA_PS_UDP);
  hints.ai_port_space = RDMA_PS_TCP;
  infos = Ask("127.0.0.5", hints);
  ASSERT_NE(infos, nullptr);
  EXPECT_EQ(infos->ai_qp_type, IBV_QPT_RC);
}

TEST(AddressInfoTest, GivenASortOfQueuePairWhenAskedThenThePortSpaceIsItsOwn) {
  rdma_addrinfo hints = {};
  hints.ai_qp_type = IBV_QPT_UD;
  Infos infos = Ask("127.0.0.5", hints);
  ASSERT_NE(infos, nullptr);
  EXPECT_EQ(infos->ai_port_space, RDMA_PS_UDP);
  hints.ai_qp_type = IBV_QPT_RC;
  infos = Ask("127.0.0.5", hints);
  ASSERT_NE(infos, nullptr);
  EXPECT_EQ(infos->ai_port_space, RDMA_PS_TCP);
}

TEST(AddressInfoTest, GivenAFamilyWhenAskedForAnyAddressThenOnlyItsOwnAreThere) {
  rdma_addrinfo hints = {};
  hints.ai_flags = RAI_PASSIVE;
  hints.ai_family = AF_INET;
  const Infos infos = Ask(nullptr, hints);
  ASSERT_NE(infos, nullptr);
  for (const rdma_addrinfo* info = infos.get(); info != nullptr; info = info->ai_next) {
    EXPECT_EQ(info->ai_family, AF_INET);
    EXPECT_EQ(info->ai_src_addr->sa_family, AF_INET);
  }
}

}  // namespace
}  // namespace qpip::verbs::test

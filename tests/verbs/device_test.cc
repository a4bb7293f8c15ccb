// Devices: addresses that are chosen, and what programs are told.
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <set>
#include <string>

#include "verbs_test.h"

namespace qpip::verbs::test {
namespace {

TEST(DeviceTest, GivenUrisWhenLookedAtThenAddressesAreAutomaticWhereNoneIsGiven) {
  EXPECT_TRUE(HasAutomaticAddress("shm:lab"));
  EXPECT_TRUE(HasAutomaticAddress("shm:lab?mtu=9000"));
  EXPECT_TRUE(HasAutomaticAddress("shm:lab?address=auto&mtu=9000"));
  EXPECT_FALSE(HasAutomaticAddress("shm:lab?address=fd00::1"));
  EXPECT_FALSE(HasAutomaticAddress("shm:lab?mtu=9000&address=fd00::1"));
  EXPECT_FALSE(HasAutomaticAddress("wg:/etc/wireguard/lab.conf")) << "the file has it";
}

TEST(DeviceTest, GivenUrisWhenAnAddressIsPutInThenTheRestStays) {
  const in6_addr address = ParseAddress("fd00::7");
  EXPECT_EQ(WithAddress("shm:lab", address), "shm:lab?address=fd00::7");
  EXPECT_EQ(WithAddress("shm:lab?mtu=9000", address), "shm:lab?mtu=9000&address=fd00::7");
  EXPECT_EQ(WithAddress("shm:lab?address=auto&mtu=9000", address),
            "shm:lab?address=fd00::7&mtu=9000");
}

TEST(DeviceTest, GivenProcessesWhenAddressesAreChosenThenAllDifferAndLieInThePrefix) {
  std::set<std::string> seen;
  for (const int pid : {1, 2, 300, 70000, 4194303}) {
    for (int attempt = 0; attempt < 8; ++attempt) {
      const std::string text = AddressToString(AutomaticAddress(pid, attempt));
      EXPECT_TRUE(seen.insert(text).second) << text;
      const in6_addr address = AutomaticAddress(pid, attempt);
      EXPECT_TRUE(IN6_IS_ADDR_V4MAPPED(&address));
      const int second = AutomaticAddress(pid, attempt).s6_addr[13];
      EXPECT_TRUE(second >= 64 && second <= 127) << text;
    }
  }
}

class DeviceQueryTest : public VerbsTest {};

TEST_F(DeviceQueryTest, GivenADeviceWhenItsGidIsAskedThenItIsTheNicsAddress) {
  union ibv_gid gid;
  ASSERT_EQ(QueryGid(*a->context, 1, 0, &gid), 0);
  const in6_addr address = ParseAddress("fd00::1");
  EXPECT_EQ(std::memcmp(gid.raw, &address, 16), 0);
  EXPECT_EQ(QueryGid(*a->context, 1, 1, &gid), EINVAL);
  EXPECT_EQ(QueryGid(*a->context, 2, 0, &gid), EINVAL);
}

TEST_F(DeviceQueryTest, GivenACallersShorterStructWhenAPortIsAskedThenNothingBehindItIsWritten) {
  struct {
    ibv_port_attr attributes;
    char behind;
  } port = {.attributes = {}, .behind = 'x'};
  auto* query = a->context->vctx.query_port;
  port.attributes.link_layer = 77;
  ASSERT_EQ(query(a->context->base(), 1, &port.attributes, offsetof(ibv_port_attr, link_layer)), 0);
  EXPECT_EQ(port.attributes.link_layer, 77);
  EXPECT_EQ(port.attributes.state, IBV_PORT_ACTIVE);
  ASSERT_EQ(query(a->context->base(), 1, &port.attributes, sizeof port.attributes), 0);
  EXPECT_EQ(port.attributes.link_layer, IBV_LINK_LAYER_ETHERNET);
  EXPECT_EQ(port.behind, 'x');
  EXPECT_EQ(query(a->context->base(), 2, &port.attributes, sizeof port.attributes), EINVAL);
}

TEST_F(DeviceQueryTest,
       GivenMemoryThatNobodyMayWriteLocallyWhenRemoteWritesAreAskedForThenRefused) {
  EXPECT_EQ(CodeOf([&] {
              RegisterMr(*a->pd, a->memory.data(), 16,
                         reinterpret_cast<uintptr_t>(a->memory.data()), IBV_ACCESS_REMOTE_WRITE);
            }),
            EINVAL);
  EXPECT_EQ(CodeOf([&] {
              RegisterMr(*a->pd, a->memory.data(), 16,
                         reinterpret_cast<uintptr_t>(a->memory.data()), IBV_ACCESS_ON_DEMAND);
            }),
            EOPNOTSUPP);
}

TEST_F(DeviceQueryTest, GivenARegionWhenRegisteredAgainWithWhatIsNotAskedForThenItIsAsItWas) {
  Mr& mr = *a->mr;
  const uint32_t key = mr.base.rkey;
  void* const there = a->memory.data();
  const auto again = [&](int flags, Pd* pd, void* address, size_t length, int access) {
    errno = 0;
    const int result = ReregisterMr(mr, flags, pd, address, length, access);
    EXPECT_EQ(errno, EINVAL);
    return result;
  };
  EXPECT_EQ(again(IBV_REREG_MR_CHANGE_PD, nullptr, nullptr, 0, 0), IBV_REREG_MR_ERR_INPUT);
  EXPECT_EQ(again(IBV_REREG_MR_CHANGE_TRANSLATION, nullptr, there, 0, 0), IBV_REREG_MR_ERR_INPUT);
  EXPECT_EQ(again(IBV_REREG_MR_CHANGE_PD, a->pd, nullptr, 0, IBV_ACCESS_LOCAL_WRITE),
            IBV_REREG_MR_ERR_INPUT);
  EXPECT_EQ(again(1 << 8, nullptr, nullptr, 0, 0), IBV_REREG_MR_ERR_INPUT);
  EXPECT_EQ(mr.base.rkey, key);
  EXPECT_EQ(mr.base.length, a->memory.size());
}

TEST(DeviceTest, GivenAFirstChoiceThatSomebodyHasWhenOpenedThenTheNextIsTaken) {
  Device device;
  device.uri = "mem:device-test-" + std::to_string(getpid());
  const std::shared_ptr<Nic> somebody =
      Nic::Open(WithAddress(device.uri, AutomaticAddress(getpid(), 0)));
  const std::shared_ptr<Session> session = OpenSession(device);
  const in6_addr next = AutomaticAddress(getpid(), 1);
  EXPECT_EQ(AddressToString(session->nic().address()), AddressToString(next));
}

}  // namespace
}  // namespace qpip::verbs::test

#include "preload/core/address_rule.h"

#include <gtest/gtest.h>

namespace qpip::preload {
namespace {

in6_addr A(const char* text) { return ParseAddress(text); }

TEST(AddressRule, GivenANicsAddressThenItsPrefixIsReached) {
  const AddressRule rule("shm:lab?mtu=9000&address=fd00::1", "", "", 1);
  EXPECT_TRUE(rule.Reaches(A("fd00::ffff:1"), AF_INET6));
  EXPECT_FALSE(rule.Reaches(A("fd00:0:0:1::1"), AF_INET6));
  EXPECT_FALSE(rule.Reaches(A("::1"), AF_INET6));
  EXPECT_FALSE(rule.Reaches(A("::ffff:10.0.0.1"), AF_INET));
}

TEST(AddressRule, GivenAMappedAddressThenIpv4SocketsReachItsNeighbours) {
  const AddressRule rule("shm:lab?address=%3a%3affff%3A10.9.0.1", "", "", 1);
  EXPECT_TRUE(rule.Reaches(A("::ffff:10.9.0.200"), AF_INET));
  EXPECT_TRUE(rule.Reaches(A("::ffff:10.9.0.200"), AF_INET6));
  EXPECT_FALSE(rule.Reaches(A("::ffff:10.9.1.1"), AF_INET));
  EXPECT_TRUE(rule.Binds(A("::ffff:10.9.0.1"), AF_INET));
  EXPECT_TRUE(rule.Binds(A("::ffff:0.0.0.0"), AF_INET));
}

TEST(AddressRule, GivenPrefixesThenTheyAreAllThatIsReached) {
  const AddressRule rule("shm:lab?address=fd00::1", "fd01::/17,fd02::8/125", "", 1);
  EXPECT_FALSE(rule.Reaches(A("fd00::2"), AF_INET6));
  EXPECT_TRUE(rule.Reaches(A("fd01:7fff::1"), AF_INET6));
  EXPECT_FALSE(rule.Reaches(A("fd01:8000::1"), AF_INET6));
  EXPECT_TRUE(rule.Reaches(A("fd02::f"), AF_INET6));
  EXPECT_FALSE(rule.Reaches(A("fd02::10"), AF_INET6));
}

TEST(AddressRule, GivenTheUnspecifiedAddressThenTheVariableSaysWhoseItIs) {
  EXPECT_TRUE(AddressRule("shm:l?address=fd00::1", "", "", 1).Binds(A("::"), AF_INET6));
  EXPECT_FALSE(AddressRule("shm:l?address=fd00::1", "", "kernel", 1).Binds(A("::"), AF_INET6));
  // An IPv4 socket could not name its peers.
  EXPECT_FALSE(
      AddressRule("shm:l?address=fd00::1", "", "nic", 1).Binds(A("::ffff:0.0.0.0"), AF_INET));
  EXPECT_THROW(AddressRule("shm:l?address=fd00::1", "", "both", 1), ParseError);
}

TEST(AddressRule, GivenNoAddressThenOneOfThePrefixIsChosenByProcess) {
  const AddressRule one("shm:lab?mtu=9000", "fd00:1::/64", "", 7);
  const AddressRule two("shm:lab", "fd00:1::/64", "", 8);
  EXPECT_EQ(one.uri(), "shm:lab?mtu=9000&address=fd00:1::80:7");
  EXPECT_EQ(two.uri(), "shm:lab?address=fd00:1::80:8");
  EXPECT_TRUE(one.Reaches(two.address(), AF_INET6));
  EXPECT_EQ(AddressToString(AddressRule("shm:l", "10.9.0.0/24", "", 3).address()),
            "::ffff:10.9.0.131");
}

TEST(AddressRule, GivenNonsenseThenItIsRefused) {
  EXPECT_THROW(AddressRule("shm:lab", "", "", 1), ParseError);
  EXPECT_THROW(AddressRule("shm:lab?address=fd00::1", "fd00::/129", "", 1), ParseError);
  EXPECT_THROW(AddressRule("shm:lab?address=fd00::1", "10.0.0.0/33", "", 1), ParseError);
  EXPECT_THROW(AddressRule("shm:lab?address=fd00::1", "fd00::/6x", "", 1), ParseError);
  EXPECT_THROW(AddressRule("shm:lab?address=fd00::1", "here/6", "", 1), ParseError);
}

}  // namespace
}  // namespace qpip::preload

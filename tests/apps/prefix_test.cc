#include "apps/nbd/prefix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "apps/common/command_line.h"
#include "apps/nbd/export.h"
#include "qpip/types.h"

namespace qpip::nbd::testing {
namespace {

bool Has(const char* prefix, const char* address) {
  return ParsePrefix(prefix).Contains(ParseAddress(address));
}

TEST(PrefixTest, ContainsWhatBeginsAlike) {
  EXPECT_TRUE(Has("fd00::/8", "fdff::1"));
  EXPECT_FALSE(Has("fd00::/8", "fe00::1"));
  EXPECT_TRUE(Has("fd00:1:2:8000::/49", "fd00:1:2:ffff::9"));
  EXPECT_FALSE(Has("fd00:1:2:8000::/49", "fd00:1:2:7fff::9"));
  EXPECT_TRUE(Has("::/0", "1::2"));
}

TEST(PrefixTest, AnAddressContainsItself) {
  EXPECT_TRUE(Has("fd00::1", "fd00::1"));
  EXPECT_FALSE(Has("fd00::1", "fd00::2"));
}

TEST(PrefixTest, IPv4StandsForItsMappedAddresses) {
  EXPECT_TRUE(Has("192.0.2.0/24", "::ffff:192.0.2.77"));
  EXPECT_FALSE(Has("192.0.2.0/24", "::ffff:192.0.3.77"));
  EXPECT_FALSE(Has("0.0.0.0/0", "fd00::1"));
}

class BadPrefixTest : public ::testing::TestWithParam<const char*> {};
TEST_P(BadPrefixTest, IsRefused) { EXPECT_THROW(ParsePrefix(GetParam()), apps::UsageError); }
INSTANTIATE_TEST_SUITE_P(All, BadPrefixTest,
                         ::testing::Values("", "host", "fd00::/129", "10.0.0.0/33", "fd00::/x",
                                           "fd00::1/64", "fd00::/", "192.0.2.1/24"));

TEST(VisibleExportsTest, AreThoseWithoutRulesAndThoseWhoseRulesHold) {
  ExportTable all;
  all.Add({.name = "ours", .allowed = {ParsePrefix("fd00::/16"), ParsePrefix("fd01::7")}});
  all.Add({.name = "everybodys"});
  const auto names = [&all](const ClientAddress& client) {
    std::vector<std::string> found;
    const ExportTable visible = all.VisibleTo(client);
    for (const Export& each : visible.all()) found.push_back(each.name);
    return found;
  };
  using ::testing::ElementsAre;
  EXPECT_THAT(names(ParseAddress("fd00::5")), ElementsAre("ours", "everybodys"));
  EXPECT_THAT(names(ParseAddress("fd01::7")), ElementsAre("ours", "everybodys"));
  EXPECT_THAT(names(ParseAddress("fd01::8")), ElementsAre("everybodys"));
  EXPECT_THAT(names(std::nullopt), ElementsAre("ours", "everybodys"));
}

}  // namespace
}  // namespace qpip::nbd::testing

// What qpip-sim paper says of variations that failed.
#include "apps/sim/sensitivity_failures.h"

#include <gmock/gmock.h>

namespace qpip::apps {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

const json kGood = {{"name", "core.clock"}, {"change", "1 -> 2"}};
const json kBad = {
    {"name", "link.mtu"}, {"change", "9000 -> 11250"}, {"failed", {{"rtt", "no round trip"}}}};

TEST(SensitivityFailures, GivenAStudyWithoutVariationsThenNone) {
  EXPECT_FALSE(SensitivityFailures(json::object()).has_value());
}

TEST(SensitivityFailures, GivenThatAllSucceededThenNone) {
  const json study = {{"sensitivity", {{"rows", {kGood}}}},
                      {"host_sensitivity", {{{"rows", {kGood, kGood}}}}}};
  EXPECT_FALSE(SensitivityFailures(study).has_value());
}

TEST(SensitivityFailures, GivenSomeFailedThenTheirNumberAndTheFirstOnesReason) {
  const json study = {{"sensitivity", {{"rows", {kGood, kBad}}}},
                      {"host_sensitivity", {{{"rows", {kGood}}}, {{"rows", {kBad}}}}}};
  EXPECT_THAT(SensitivityFailures(study).value_or(""),
              AllOf(HasSubstr("2 of 4"), HasSubstr("link.mtu, 9000 -> 11250"),
                    HasSubstr("rtt: no round trip")));
}

}  // namespace
}  // namespace qpip::apps

// Every case is a test. One that is known to fail passes while it does: when it is met the entry
// has to go, and docs/conformance.md with it.
//
//     qpip_conformance_tests             runs the cases
//     qpip_conformance_tests --report    prints docs/conformance.md
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <set>

#include "suite.h"

namespace qpip::conformance {
namespace {

class CaseTest : public testing::Test {
 public:
  explicit CaseTest(const Case& test) : case_(test) {}
  void TestBody() override {
    const std::optional<std::string> failure = RunCase(case_);
    if (case_.fails == nullptr) {
      EXPECT_FALSE(failure) << *failure;
    } else {
      EXPECT_TRUE(failure) << "is met now: take the entry's `fails` away and make the report again";
    }
  }

 private:
  const Case case_;
};

std::set<std::string> RequirementNames() {
  std::set<std::string> names;
  for (const Document& document : Documents()) {
    for (const Requirement& requirement : document.requirements) {
      EXPECT_TRUE(names.insert(std::string(document.name) + " " + requirement.id).second)
          << "twice: " << document.name << " " << requirement.id;
    }
  }
  return names;
}

TEST(CompletenessTest, GivenAllCasesWhenComparedThenTheyShowRequirementsThatThereAre) {
  const std::set<std::string> names = RequirementNames();
  std::set<std::string> cases;
  for (const Topic& topic : Topics()) {
    for (const Case& test : topic.cases) {
      EXPECT_TRUE(cases.insert(test.name).second) << test.name << " is there twice";
      EXPECT_FALSE(test.shows.empty()) << test.name;
      for (const char* shown : test.shows) EXPECT_TRUE(names.contains(shown)) << shown;
    }
  }
}

TEST(CompletenessTest, GivenAllRequirementsWhenComparedThenEachHasACaseOrAReason) {
  std::set<std::string> shown;
  for (const Topic& topic : Topics()) {
    for (const Case& test : topic.cases) shown.insert(test.shows.begin(), test.shows.end());
  }
  for (const Document& document : Documents()) {
    for (const Requirement& requirement : document.requirements) {
      const std::string name = std::string(document.name) + " " + requirement.id;
      EXPECT_TRUE(shown.contains(name) || *requirement.note != '\0') << name;
    }
  }
}

}  // namespace
}  // namespace qpip::conformance

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--report") == 0) {
    const std::string report = qpip::conformance::Report();
    std::fwrite(report.data(), 1, report.size(), stdout);
    return 0;
  }
  testing::InitGoogleTest(&argc, argv);
  for (const qpip::conformance::Topic& topic : qpip::conformance::Topics()) {
    for (const qpip::conformance::Case& test : topic.cases) {
      testing::RegisterTest(
          topic.name, test.name, nullptr, nullptr, __FILE__, __LINE__,
          [test]() -> testing::Test* { return new qpip::conformance::CaseTest(test); });
    }
  }
  return RUN_ALL_TESTS();
}

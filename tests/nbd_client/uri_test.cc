#include <gtest/gtest.h>

#include "qpip/nbd.h"

namespace qpip::nbd::testing {
namespace {

struct Case {
  const char* text;
  const char* where;
  const char* name;
  bool queue_pairs;
};

class UriTest : public ::testing::TestWithParam<Case> {};

TEST_P(UriTest, NamesAServerAndAnExport) {
  const Case& expected = GetParam();
  const Uri uri = Uri::Parse(expected.text);
  EXPECT_EQ(uri.where, expected.where);
  EXPECT_EQ(uri.export_name, expected.name);
  EXPECT_EQ(uri.queue_pairs, expected.queue_pairs);
  EXPECT_TRUE(Uri::Is(expected.text));
}

INSTANTIATE_TEST_SUITE_P(
    All, UriTest,
    ::testing::Values(Case{"nbd://localhost", "localhost:10809", "", false},
                      Case{"nbd://localhost/", "localhost:10809", "", false},
                      Case{"nbd://host:7/disk", "host:7", "disk", false},
                      Case{"nbd://[::1]/a%20b", "[::1]:10809", "a b", false},
                      Case{"nbd://[fd00::1]:99/a/b", "[fd00::1]:99", "a/b", false},
                      Case{"nbd+unix:///disk?socket=/tmp/a%3Db", "/tmp/a=b", "disk", false},
                      Case{"nbd+unix://?socket=here", "./here", "", false},
                      Case{"nbd+qp://[fd00::1]:5/x", "[fd00::1]:5", "x", true}));

class BadUriTest : public ::testing::TestWithParam<const char*> {};

TEST_P(BadUriTest, IsRefused) { EXPECT_THROW(Uri::Parse(GetParam()), ParseError); }

INSTANTIATE_TEST_SUITE_P(All, BadUriTest,
                         ::testing::Values("disk.img", "http://host", "nbd://", "nbd:///name",
                                           "nbd+unix:///name", "nbd+unix:///name?socket=",
                                           "nbd+unix://host/name?socket=/a", "nbd://host/a%2",
                                           "nbd://host/a%zz", "nbd://host/?tls=1"));

TEST(UriIsTest, AFileIsNone) {
  EXPECT_FALSE(Uri::Is("disk.img"));
  EXPECT_FALSE(Uri::Is("/nbd://x"));
}

}  // namespace
}  // namespace qpip::nbd::testing

#include <gtest/gtest.h>

#include <cerrno>

#include "qpip/types.h"

namespace qpip {
namespace {

TEST(EndpointTest, GivenTextWhenParsedThenItIsPrintedTheSame) {
  for (const char* text : {"[fd00::1]:5001", "[::]:0", "[::1]:65535", "[2001:db8::a:b]:80"}) {
    EXPECT_EQ(Endpoint::Parse(text).ToString(), text);
  }
}

TEST(EndpointTest, GivenTwoEndpointsWhenComparedThenAddressAndPortBothCount) {
  EXPECT_EQ(Endpoint::Parse("[fd00::1]:1"), Endpoint::Parse("[fd00:0::1]:1"));
  EXPECT_FALSE(Endpoint::Parse("[fd00::1]:1") == Endpoint::Parse("[fd00::1]:2"));
  EXPECT_FALSE(Endpoint::Parse("[fd00::1]:1") == Endpoint::Parse("[fd00::2]:1"));
}

TEST(EndpointTest, GivenBadTextWhenParsedThenTheMessageShowsTheForm) {
  for (const char* text : {"", "fd00::1:5001", "[fd00::1", "[fd00::1]", "[fd00::1]5001",
                           "[fd00::1]:", "[fd00::1]:65536", "[fd00::1]:-1", "[fd00::1]:5x",
                           "[1.2.3.4]:5", "[]:5", "[fd00::1]: 5"}) {
    try {
      Endpoint::Parse(text);
      ADD_FAILURE() << "accepted '" << text << "'";
    } catch (const ParseError& error) {
      EXPECT_NE(std::string(error.what()).find("[ADDRESS]:PORT"), std::string::npos)
          << error.what();
    }
  }
}

TEST(EndpointTest, GivenBadTextWhenErrorsAreCaughtThenItIsOneOfThem) {
  for (void (*parse)() : {+[] { (void)Endpoint::Parse("x"); }, +[] { (void)ParseAddress("x"); }}) {
    try {
      parse();
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), EINVAL);
    }
  }
}

TEST(AddressTest, GivenTextWhenParsedThenBytesAreInNetworkOrder) {
  const in6_addr address = ParseAddress("fd00::2");
  EXPECT_EQ(address.s6_addr[0], 0xfd);
  EXPECT_EQ(address.s6_addr[15], 2);
  EXPECT_EQ(AddressToString(address), "fd00::2");
  EXPECT_THROW(ParseAddress("nonsense"), ParseError);
}

}  // namespace
}  // namespace qpip

// What may be given to the byte streams' calls.
#include "qpip/bytes.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace qpip {
namespace {

std::string TextOf(ConstBytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
size_t Fill(MutableBytes bytes) {
  for (std::byte& byte : bytes) byte = std::byte{'x'};
  return bytes.size();
}

TEST(ConstBytesTest, GivenStringsWhenTakenThenTheirCharactersWithoutTheFinalNul) {
  const char* const pointer = "pointer";
  EXPECT_EQ(TextOf("literal"), "literal");
  EXPECT_EQ(TextOf(pointer), "pointer");
  EXPECT_EQ(TextOf(std::string("string")), "string");
  EXPECT_EQ(TextOf(std::string_view("a view").substr(2)), "view");
  EXPECT_EQ(TextOf("nul\0within"), std::string_view("nul\0within", 10));
  EXPECT_EQ(TextOf(""), "");
}

TEST(ConstBytesTest, GivenArraysAndSpansWhenTakenThenEveryElement) {
  char array[4] = {'a', 'b', 0, 0};
  const char magic[4] = {'N', 'B', 'D', 'M'};
  EXPECT_EQ(TextOf(array), std::string_view("ab\0\0", 4));
  EXPECT_EQ(TextOf(magic), "NBDM");
  EXPECT_EQ(TextOf(std::vector<char>{'a', 'b'}), "ab");
  EXPECT_EQ(TextOf(std::array<unsigned char, 2>{'a', 'b'}), "ab");
  EXPECT_EQ(TextOf(std::vector<std::byte>{std::byte{'a'}}), "a");
  EXPECT_EQ(TextOf(std::span(array).first(1)), "a");
  EXPECT_EQ(TextOf(std::as_bytes(std::span(array))).size(), 4u);
  EXPECT_EQ(TextOf({}), "");
}

TEST(MutableBytesTest, GivenArraysAndStringsWhenTakenThenTheyAreWrittenThrough) {
  char array[3] = {};
  std::string text(4, ' ');
  std::vector<unsigned char> bytes(5);
  std::array<std::byte, 6> more{};
  EXPECT_EQ(Fill(array), 3u);
  EXPECT_EQ(array[2], 'x');
  EXPECT_EQ(Fill(text), 4u);
  EXPECT_EQ(text, "xxxx");
  EXPECT_EQ(Fill(bytes), 5u);
  EXPECT_EQ(Fill(more), 6u);
  EXPECT_EQ(Fill(std::span(more).first(2)), 2u);
}

template <typename T>
constexpr bool kReadable = std::is_convertible_v<T, ConstBytes>;
template <typename T>
constexpr bool kWritable = std::is_convertible_v<T, MutableBytes>;
static_assert(!kReadable<std::vector<int>> && !kReadable<int> && !kReadable<std::span<uint16_t>>);
static_assert(!kWritable<std::string_view> && !kWritable<const std::string&> &&
              !kWritable<const char (&)[3]> && !kWritable<std::string>);

}  // namespace
}  // namespace qpip

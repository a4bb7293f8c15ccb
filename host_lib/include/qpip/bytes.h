// Bytes as an application has them: strings, arrays, vectors and spans of char, unsigned char or
// std::byte. Parameters of the byte streams' calls; an application never names these types.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>

namespace qpip {

namespace internal {

/// A pointer to the first character of a C string.
template <typename Pointer>
concept CString = std::same_as<Pointer, const char*> || std::same_as<Pointer, char*>;

/// Whether a `Range` can be viewed as a span of elements of any of these types.
template <typename Range, typename... Bytes>
concept SpannableAsAny = (std::is_convertible_v<Range, std::span<Bytes>> || ...);

template <typename Range>
concept BytesToRead =
    SpannableAsAny<const Range&, const std::byte, const char, const unsigned char>;
template <typename Range>
concept BytesToWrite = SpannableAsAny<Range&&, std::byte, char, unsigned char>;

}  // namespace internal

/// Bytes to be read, the caller's: valid while what they were made from is.
class ConstBytes : public std::span<const std::byte> {
 public:
  ConstBytes() = default;

  /// A string literal, without the NUL that ends it. An array of const char without one: all of it.
  template <size_t kSize>
  ConstBytes(const char (&text)[kSize])  // NOLINT(google-explicit-constructor)
      : ConstBytes(text, text[kSize - 1] == '\0' ? kSize - 1 : kSize) {}
  /// An array of char, all of it.
  template <size_t kSize>
  ConstBytes(char (&array)[kSize])  // NOLINT(google-explicit-constructor)
      : ConstBytes(array, kSize) {}
  /// A C string, without its NUL.
  template <internal::CString Pointer>
  ConstBytes(const Pointer& text)  // NOLINT(google-explicit-constructor)
      : ConstBytes(text, std::strlen(text)) {}

  /// Anything contiguous: std::string, std::string_view, vectors, arrays, spans.
  template <internal::BytesToRead Range>
  ConstBytes(const Range& range)  // NOLINT(google-explicit-constructor)
      : ConstBytes(std::data(range), std::size(range)) {}

 private:
  ConstBytes(const void* data, size_t size)
      : std::span<const std::byte>(static_cast<const std::byte*>(data), size) {}
};

/// Bytes to be written, the caller's.
class MutableBytes : public std::span<std::byte> {
 public:
  MutableBytes() = default;

  /// Anything contiguous that is not const: arrays of char, std::string, vectors, spans.
  template <internal::BytesToWrite Range>
  // NOLINTNEXTLINE(bugprone-forwarding-reference-overload, google-explicit-constructor)
  MutableBytes(Range&& range)
      : std::span<std::byte>(reinterpret_cast<std::byte*>(std::data(range)), std::size(range)) {}
};

}  // namespace qpip

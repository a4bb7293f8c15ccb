// The four functions that a freestanding compiler may call without being asked (GCC manual,
// "Standards": memcpy, memmove, memset, memcmp). Word-wise where alignment allows, since the core
// has no caches to hide byte loads.
#include <cstddef>
#include <cstdint>

// GCC turns loops that copy or fill into calls of these very functions.
#pragma GCC optimize("no-tree-loop-distribute-patterns")

namespace {

// Accesses bytes as words whatever their declared type is.
using Word [[gnu::may_alias]] = uint32_t;

bool WordAligned(const void* a, const void* b) {
  return ((reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b)) & 3u) == 0;
}

}  // namespace

extern "C" {

void* memcpy(void* to, const void* from, size_t bytes) {
  auto* out = static_cast<uint8_t*>(to);
  const auto* in = static_cast<const uint8_t*>(from);
  if (WordAligned(to, from)) {
    for (; bytes >= 4; bytes -= 4, out += 4, in += 4) {
      *reinterpret_cast<Word*>(out) = *reinterpret_cast<const Word*>(in);
    }
  }
  for (; bytes != 0; --bytes) *out++ = *in++;
  return to;
}

void* memmove(void* to, const void* from, size_t bytes) {
  auto* out = static_cast<uint8_t*>(to);
  const auto* in = static_cast<const uint8_t*>(from);
  if (out <= in || out >= in + bytes) return memcpy(to, from, bytes);
  while (bytes != 0) {
    --bytes;
    out[bytes] = in[bytes];
  }
  return to;
}

void* memset(void* to, int value, size_t bytes) {
  auto* out = static_cast<uint8_t*>(to);
  const auto byte = static_cast<uint8_t>(value);
  if (WordAligned(to, to)) {
    const uint32_t pair = byte | (static_cast<uint32_t>(byte) << 8);
    const uint32_t word = pair | (pair << 16);
    for (; bytes >= 4; bytes -= 4, out += 4) *reinterpret_cast<Word*>(out) = word;
  }
  for (; bytes != 0; --bytes) *out++ = byte;
  return to;
}

int memcmp(const void* a, const void* b, size_t bytes) {
  const auto* left = static_cast<const uint8_t*>(a);
  const auto* right = static_cast<const uint8_t*>(b);
  for (; bytes != 0; --bytes, ++left, ++right) {
    if (*left != *right) return *left < *right ? -1 : 1;
  }
  return 0;
}

}  // extern "C"

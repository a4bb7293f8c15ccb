#include "protocols/wireguard/key_text.h"

namespace qpip::wireguard {
namespace {

// Without tables or branches that depend on the key: what is read may be secret.
uint32_t Sextet(char letter) {
  const auto c = static_cast<int>(static_cast<unsigned char>(letter));
  // All ones where low <= c <= high, else zero.
  const auto within = [c](int low, int high) { return ~((c - low) >> 8 | (high - c) >> 8); };
  const int value = (within('A', 'Z') & (c - 'A')) | (within('a', 'z') & (c - 'a' + 26)) |
                    (within('0', '9') & (c - '0' + 52)) | (within('+', '+') & 62) |
                    (within('/', '/') & 63);
  const int known =
      within('A', 'Z') | within('a', 'z') | within('0', '9') | within('+', '+') | within('/', '/');
  return static_cast<uint32_t>(value | (~known & 0x100));
}

char Letter(uint32_t sextet) {
  const auto v = static_cast<int>(sextet);
  const auto at_least = [v](int low) { return ~((v - low) >> 8); };
  int c = 'A' + v;
  c += at_least(26) & ('a' - 26 - 'A');
  c += at_least(52) & (('0' - 52) - ('a' - 26));
  c += at_least(62) & (('+' - 62) - ('0' - 52));
  c += at_least(63) & (('/' - 63) - ('+' - 62));
  return static_cast<char>(c);
}

}  // namespace

bool ParseKey(std::string_view text, std::span<uint8_t, kKeyBytes> key) {
  if (text.size() != kKeyTextBytes || text.back() != '=') return false;
  uint32_t bad = 0;
  size_t written = 0;
  for (size_t at = 0; at < text.size(); at += 4) {
    uint32_t word = 0;
    const size_t letters = at + 4 == text.size() ? 3 : 4;
    for (size_t i = 0; i < letters; ++i) {
      const uint32_t sextet = Sextet(text[at + i]);
      bad |= sextet & 0x100;
      word |= (sextet & 63) << (18 - 6 * i);
    }
    if (letters == 3) bad |= word & 0xff;  // the last two bits belong to no byte
    for (size_t i = 0; i + 1 < letters; ++i) {
      key[written++] = static_cast<uint8_t>(word >> (16 - 8 * i));
    }
  }
  return bad == 0;
}

std::string FormatKey(std::span<const uint8_t, kKeyBytes> key) {
  std::string text;
  text.reserve(kKeyTextBytes);
  for (size_t at = 0; at < kKeyBytes; at += 3) {
    const size_t bytes = kKeyBytes - at < 3 ? kKeyBytes - at : 3;
    uint32_t word = 0;
    for (size_t i = 0; i < bytes; ++i) {
      word |= static_cast<uint32_t>(key[at + i]) << (16 - 8 * i);
    }
    for (size_t i = 0; i < 4; ++i) {
      text += i <= bytes ? Letter(word >> (18 - 6 * i) & 63) : '=';
    }
  }
  return text;
}

}  // namespace qpip::wireguard

// Bytes that must not outlive their use: erased when they go.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace qpip::wireguard {

inline constexpr size_t kKeyBytes = 32;

/// Overwrites memory; never optimised away.
void Erase(void* bytes, size_t count);

/// 32 secret bytes: a private, preshared, chaining or session key. Begins as zeroes; erased when
/// assigned to, moved from or destroyed. Never printed, never compared in data-dependent time.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::span<const uint8_t, kKeyBytes> bytes) { Assign(bytes); }
  Secret(const Secret&) = default;
  Secret& operator=(const Secret&) = default;
  Secret(Secret&& other) noexcept : bytes_(other.bytes_) { other.Clear(); }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      bytes_ = other.bytes_;
      other.Clear();
    }
    return *this;
  }
  ~Secret() { Clear(); }

  void Assign(std::span<const uint8_t, kKeyBytes> bytes) {
    for (size_t i = 0; i < kKeyBytes; ++i) bytes_[i] = bytes[i];
  }
  void Clear() { Erase(bytes_.data(), bytes_.size()); }
  std::span<uint8_t, kKeyBytes> bytes() { return bytes_; }
  std::span<const uint8_t, kKeyBytes> bytes() const { return bytes_; }
  /// Whether all are zero: none set. Takes the same time for all values.
  bool IsZero() const {
    uint8_t any = 0;
    for (const uint8_t byte : bytes_) any |= byte;
    return any == 0;
  }

 private:
  std::array<uint8_t, kKeyBytes> bytes_ = {};
};

}  // namespace qpip::wireguard

// Keys as text: base64 of 32 bytes (RFC 4648 section 4), as `wg` prints and reads them.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "protocols/wireguard/secret.h"

namespace qpip::wireguard {

inline constexpr size_t kKeyTextBytes = 44;

/// False unless `text` is exactly what FormatKey writes for some key.
bool ParseKey(std::string_view text, std::span<uint8_t, kKeyBytes> key);
std::string FormatKey(std::span<const uint8_t, kKeyBytes> key);

}  // namespace qpip::wireguard

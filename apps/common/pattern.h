// A test pattern in which every byte depends on its position in the stream.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace qpip::apps {

/// Fills `out` with the pattern's bytes [position, position + out.size()).
void FillPattern(uint64_t position, std::span<uint8_t> out);
/// Position in the stream of the first byte that differs from the pattern; nullopt: none.
std::optional<uint64_t> FindPatternError(uint64_t position, std::span<const uint8_t> bytes);

}  // namespace qpip::apps

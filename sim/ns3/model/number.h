// Numbers as people write them: 1500, 1e6, 10G, 64K, 16Ki.
#pragma once

#include <string>
#include <string_view>

namespace qpip::sim {

/// The number a text stands for; NaN when it is none. A suffix K, M, G or T multiplies by powers of
/// 1024 when `of_bytes` (a size), else of 1000 (a rate, a clock, a count); Ki, Mi, Gi and Ti by
/// powers of 1024 in any case. No spaces, no sign '+', no hexadecimal.
double ParseNumber(std::string_view text, bool of_bytes);

/// A number without suffix that reads back as the same; whole numbers have no exponent.
std::string PlainNumber(double value);

}  // namespace qpip::sim

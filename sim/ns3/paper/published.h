// The figures of the paper that is reproduced: P. Buonadonna and D. Culler, "Queue-Pair IP: A
// Hybrid Architecture for System Area Networks", IRB-TR-02-002, March 2002.
//
// Only what simulations are compared with. Nothing here enters a simulation: profiles have their
// own numbers, each with its source.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "nic_fw/platform.h"

namespace qpip::sim::paper {

inline constexpr const char* kTitle =
    "P. Buonadonna and D. Culler, Queue-Pair IP: A Hybrid Architecture for System Area Networks, "
    "IRB-TR-02-002, March 2002";

/// A row of Table 2 or 3, in microseconds; the columns as the paper has them.
struct StageRow {
  const char* title;  ///< as printed
  fw::Stage stage;
  std::optional<double> data_us;
  std::optional<double> ack_us;
};
std::span<const StageRow> Table2();  ///< "Transmit side network interface processing costs"
std::span<const StageRow> Table3();  ///< "Receive side network interface processing costs"

/// Table 1: host overhead for transmit and receive of a 1-byte message.
struct HostOverhead {
  const char* title;
  double us;
  double cycles;
};
inline constexpr HostOverhead kHostBasedIp = {"Host-based IP", 29.9, 16445};
inline constexpr HostOverhead kQpip = {"QPIP", 2.5, 1386};

/// One of the six figures that are compared number by number.
struct Figure {
  const char* key;    ///< "rtt_udp"
  const char* title;  ///< "UDP round trip, firmware checksum"
  const char* unit;   ///< "us" or "MB/s" (10^6 bytes)
  double value;
  const char* place;  ///< where the paper has it
};
std::span<const Figure> Figures();
/// Throws std::out_of_range.
const Figure& FindFigure(std::string_view key);

/// How a relation is scored.
enum class Scored : uint8_t {
  kNumber,   ///< a number: the simulated one is compared with it, as percent more or less
  kEnds,     ///< the smallest and the largest of several: each is compared as a number
  kLargest,  ///< the largest of several is compared as a number
  kRange,    ///< a rough range ("half to 3/4"): every value must lie in it
  kBound,    ///< a bound or an order: every value must keep it
};

/// What the text says of two results without giving both numbers: low <= value <= high.
struct Relation {
  const char* key;    ///< "qpip_1500_against_gige"
  const char* title;  ///< "QPIP at MTU 1500 over Gigabit Ethernet"
  double low;
  double high;
  Scored scored;
  const char* text;  ///< the paper's words
  const char* place;
};
std::span<const Relation> Relations();
const Relation& FindRelation(std::string_view key);

}  // namespace qpip::sim::paper

// The same transfer between N pairs of hosts, each on a cable of its own, by two simulators of TCP.
#pragma once

#include <cstdint>

namespace qpip::bench {

struct PairsOptions {
  uint32_t pairs = 1;
  uint64_t bytes = 0;    ///< a pair
  uint32_t message = 0;  ///< bytes a message, or a socket write
  uint32_t mtu = 1500;
  double bits_per_s = 0;  ///< of the cable
};

struct PairsResult {
  uint64_t packets = 0;      ///< data and acknowledgements
  uint64_t events = 0;       ///< of the simulator, while the transfer ran
  double wall_seconds = 0;   ///< of the transfer, without building the world
  double build_seconds = 0;  ///< of building it and of connecting
  uint64_t bytes = 0;        ///< delivered to the receiving programs
};

/// QPIP NICs. Throws when bytes are missing.
PairsResult RunQpipPairs(const PairsOptions& options);
/// ns-3's own TCP over IPv6, NewReno, time-stamps off, delayed ACK 2.
PairsResult RunNs3Pairs(const PairsOptions& options);

}  // namespace qpip::bench

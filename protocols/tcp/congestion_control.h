// Congestion control policies: how the window grows in congestion avoidance, and to what a
// congestion event cuts it. When such an event has happened, slow start, recovery and the loss
// window are the machine's business and the same for all (congestion.cc, recovery.cc).
//
// A policy is a row of functions in a table. To add one: a file with its functions, a
// value in CongestionAlgorithm (options.h), a row in congestion_control.cc, and what it has to
// remember in PolicyState.
#pragma once

#include <cstdint>

#include "protocols/tcp/options.h"
#include "protocols/tcp/sequence_number.h"

namespace qpip::tcp {

struct Tcb;

/// Time that is never reached.
inline constexpr uint64_t kNever = ~uint64_t{0};

/// The two bits of an IPv6 header's traffic class (RFC 3168 section 5).
enum class EcnCodepoint : uint8_t {
  kNotCapable = 0,
  kCapable1 = 1,
  kCapable0 = 2,  ///< ECT(0): what QPIP sends
  kCongestionExperienced = 3,
};

/// What a window is cut for.
enum class CongestionEvent : uint8_t {
  kLoss,     ///< a segment was lost
  kTimeout,  ///< the retransmission timer expired
  kMark,     ///< the network has marked a segment (ECN)
};

struct CubicState {
  bool in_epoch = false;       ///< the fields below are of the present congestion avoidance
  bool after_timeout = false;  ///< RFC 9438 4.8: the next epoch starts at its plateau
  uint32_t window_max = 0;     ///< W_max, bytes
  uint32_t prior_window = 0;   ///< cwnd_prior, bytes
  uint32_t reno_window = 0;    ///< W_est, bytes
  uint32_t plateau_ticks = 0;  ///< K
  uint64_t growth = 0;         ///< part of a byte by which cwnd has grown, times cwnd
  uint64_t reno_growth = 0;    ///< the same for reno_window, times 17 * cwnd
  uint64_t epoch_start = 0;    ///< t = 0, nanoseconds
  uint64_t last_ack_at = 0;
};

struct DctcpState {
  uint32_t alpha = 1024;  ///< share of bytes marked, times 1024
  uint32_t acked = 0;     ///< bytes acknowledged in this window
  uint32_t marked = 0;    ///< of these, with ECE
  SequenceNumber window_end;
  bool started = false;
};

/// What the policies remember.
struct PolicyState {
  CubicState cubic;
  DctcpState dctcp;
};

/// RFC 9406, on the round-trip times that RACK measures.
struct HyStart {
  uint64_t last_round_min_ns = kNever;
  uint64_t round_min_ns = kNever;
  uint64_t baseline_min_ns = kNever;  ///< of conservative slow start
  SequenceNumber round_end;
  uint32_t growth = 0;      ///< bytes acknowledged that have not grown the window yet
  uint8_t samples = 0;      ///< in this round
  uint8_t rounds_left = 0;  ///< of conservative slow start; 0: not in it
  bool in_round = false;
  bool done = false;  ///< the first slow start is over
};

struct CongestionPolicy {
  const char* name;
  /// Congestion avoidance: `acked` bytes have left the network, and cwnd was used up.
  void (*avoid)(Tcb& tcb, uint32_t acked, uint64_t now);
  /// The new ssthresh, bytes, for a congestion event.
  uint32_t (*cut)(Tcb& tcb, CongestionEvent event);
  /// An ACK of new data while cwnd was not used up: no growth. May be null.
  void (*pause)(Tcb& tcb, uint64_t now);
  /// Every ACK of new data: `acked` bytes, `marked`: with ECE. May be null.
  void (*observe)(Tcb& tcb, uint32_t acked, bool marked);
  /// ECE tells of each segment as it comes, instead of latching until CWR (RFC 8257 section 3.2).
  bool exact_echo;
};

const CongestionPolicy& PolicyOf(CongestionAlgorithm algorithm);

}  // namespace qpip::tcp

// Round-trip time: RFC 6298, with RFC 7323's timestamps where a retransmission spoils the clock.
#include "protocols/tcp/machine_internal.h"

namespace qpip::tcp::internal {
namespace {

constexpr uint32_t kGranularityUs = 1000;  // G of RFC 6298: about the timestamp clock's tick

/// Microseconds of a measured time: exact up to 34 s, which is also the largest that is believed.
/// One 32-bit division.
uint32_t NanosToMicros(uint64_t ns) {
  constexpr uint64_t kLimit = (uint64_t{1} << 35) - 1;
  return static_cast<uint32_t>((ns < kLimit ? ns : kLimit) >> 3) / 125;
}

/// Microseconds of a number of 2^20 ns ticks (1048.5 instead of 1048.576).
uint32_t TicksToMicros(uint32_t ticks) {
  ticks = Minimum(ticks, 32768);
  return (ticks << 10) + (ticks << 4) + (ticks << 3) + (ticks >> 1);
}

/// RFC 6298 (2.2), (2.3): srtt is kept times 8, rttvar times 4.
void UpdateEstimate(RoundTrip& rtt, const Options& options, uint32_t sample_us) {
  if (!rtt.valid) {
    rtt.valid = true;
    rtt.srtt_us = sample_us << 3;
    rtt.rttvar_us = sample_us << 1;  // R / 2, times 4
  } else {
    const int32_t error = static_cast<int32_t>(sample_us) - static_cast<int32_t>(rtt.srtt_us >> 3);
    const int32_t deviation = error < 0 ? -error : error;
    rtt.rttvar_us = static_cast<uint32_t>(static_cast<int32_t>(rtt.rttvar_us) + deviation -
                                          static_cast<int32_t>(rtt.rttvar_us >> 2));
    rtt.srtt_us = static_cast<uint32_t>(static_cast<int32_t>(rtt.srtt_us) + error);
  }
  // Deliberately not (2.4), which has at least a second. The floor is the variance term's, as Linux
  // has it: one of the sum would leave a long round trip nothing for the peer's delayed
  // acknowledgement.
  const uint32_t variance = Maximum(Maximum(kGranularityUs, options.rto_min_us), rtt.rttvar_us);
  rtt.rto_us = Minimum((rtt.srtt_us >> 3) + variance, options.rto_max_us);
  rtt.fresh = true;
  rtt.backoff = 0;  // RFC 6298 section 5: a fresh sample ends the back-off
}

}  // namespace

bool SampleRtt(Tcb& tcb, const Header& header, uint64_t now) {
  if (tcb.rtt.timing) {
    // One segment a flight is timed with the full clock; Karn's rule is kept by CommitSend, which
    // gives the measurement up when the segment is sent again.
    if (header.acknowledgement.Before(tcb.rtt.timed_sequence)) return false;
    tcb.rtt.timing = false;
    UpdateEstimate(tcb.rtt, tcb.options, NanosToMicros(now - tcb.rtt.timed_at));
    return true;
  }
  if (!tcb.timestamps_on || !header.has_timestamps) return false;
  // RFC 7323 section 4.1 (RTTM): the echo tells which transmission is acknowledged. An echo of
  // what was never sent (older than the connection, or of the future) is not believed.
  const uint32_t ticks = TimestampNow(tcb, now) - header.ts_echo;
  const uint64_t age = (now - tcb.opened_at) >> 20;
  if (ticks > age + 1) return false;
  UpdateEstimate(tcb.rtt, tcb.options, TicksToMicros(ticks));
  return true;
}

}  // namespace qpip::tcp::internal

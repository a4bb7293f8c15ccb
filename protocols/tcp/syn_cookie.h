// SYN cookies: a handshake for which the listener keeps nothing (RFC 4987 section 3.6). What the
// SYN said travels in the SYN-ACK's sequence number and timestamp, and comes back with the ACK.
//
//     ISS    | period 5 | MSS index 3 | SipHash of addresses, ports, IRS, period, MSS index 24 |
//     TSval  | clock 26                     | ECN 1 | SACK 1 | window scale 4                  |
#pragma once

#include <cstdint>

#include "protocols/common/siphash.h"
#include "protocols/tcp/isn.h"
#include "protocols/tcp/machine.h"
#include "protocols/tcp/tcb.h"

namespace qpip::tcp {

/// Window that a cookie's SYN-ACK offers, bytes: whoever takes the connection over must have it.
inline constexpr uint32_t kCookieWindow = 4096;

/// Where cookies come from: the listener's end, and its secret.
struct CookieContext {
  FourTuple tuple;
  SipHashKey key;
  Options options;  ///< of connections of this listener; receive_buffer does not count
};

/// The SYN-ACK for `syn`, complete but for the ports.
Header CookieSynAck(const CookieContext& context, const Header& syn, uint64_t now);

/// Whether `ack` answers a cookie's SYN-ACK of this or the previous 69 s. Then `*syn` is what the
/// SYN said, as far as it was kept: without timestamps no window scale, SACK or ECN; the MSS
/// rounded down to one of eight. A guess is right once in 2^24 times.
bool CheckCookie(const CookieContext& context, const Header& ack, uint64_t now, Header* syn);

/// The connection that a cookie's SYN-ACK has begun, as it was when it was sent: SYN-RECEIVED. The
/// ACK goes to OnSegment next. Set Tcb::ts_offset afterwards, as after OpenPassive.
void OpenFromCookie(Tcb& tcb, const CookieContext& context, const Header& ack, const Header& syn,
                    uint64_t now);

}  // namespace qpip::tcp

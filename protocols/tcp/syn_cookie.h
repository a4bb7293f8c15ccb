// SYN cookies: a handshake for which the listener keeps nothing (RFC 4987 section 3.6). What the
// SYN said travels in the SYN-ACK's sequence number and timestamp, and comes back with the ACK.
//
//     ISS    IRS + SipHash of addresses, ports
//          + | period 5 | MSS index 3 | SipHash of addresses, ports, period, MSS index 24 |
//     TSval  | clock 26                       | ECN 1 | SACK 1 | window scale 4            |
//
// The distance from the peer's numbers to ours is what is checked: it is the same for all segments
// that the peer has sent before it heard of the first one, but for how far they are behind that.
#pragma once

#include <cstdint>

#include "protocols/common/siphash.h"
#include "protocols/tcp/handshake.h"
#include "protocols/tcp/isn.h"
#include "protocols/tcp/options.h"

namespace qpip::tcp {

/// Where cookies come from: the listener's end, and its secret.
struct CookieContext {
  FourTuple tuple;
  SipHashKey key;
  Options options;  ///< of connections of this listener; receive_buffer does not count
};

/// The SYN-ACK for `syn`, complete but for the ports.
Header CookieSynAck(const CookieContext& context, const Header& syn, uint64_t now);

/// What `ack` proves of a cookie's SYN-ACK of this or the previous 69 s. kGood: `*handshake` is
/// what was said in it, as far as it was kept: without timestamps no window scale, SACK or ECN; the
/// MSS rounded down to one of eight. A guess is good once in 2^28 times, and later once in 2^16.
Proof CheckCookie(const CookieContext& context, const Header& ack, uint64_t now,
                  Handshake* handshake);

}  // namespace qpip::tcp

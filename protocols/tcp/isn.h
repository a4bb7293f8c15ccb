// Initial sequence numbers (RFC 6528): ISN = M + F(localip, localport, remoteip, remoteport, key).
#pragma once

#include <cstdint>

#include "protocols/common/ipv6_address.h"
#include "protocols/common/siphash.h"
#include "protocols/tcp/sequence_number.h"

namespace qpip::tcp {

/// A connection's name.
struct FourTuple {
  ipv6::Address local_address;
  ipv6::Address remote_address;
  uint16_t local_port = 0;
  uint16_t remote_port = 0;
  constexpr bool operator==(const FourTuple&) const = default;
};

/// F of RFC 6528 is SipHash-2-4; M is a clock of 4.096 microseconds a tick (a shift, no division).
SequenceNumber InitialSequenceNumber(const FourTuple& tuple, const SipHashKey& key,
                                     uint64_t now_ns);

/// Per-connection timestamp offset (RFC 7323 section 5.4 wants it unguessable), from the same key.
uint32_t TimestampOffset(const FourTuple& tuple, const SipHashKey& key);

}  // namespace qpip::tcp

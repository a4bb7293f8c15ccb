// What a WireGuard machine counts, by name.
#pragma once

#include <cstdint>

namespace qpip::wireguard {

/// X(name): what is done.
#define QPIP_WIREGUARD_EVENTS(X) \
  X(initiations_sent)            \
  X(initiations_taken)           \
  X(responses_sent)              \
  X(responses_taken)             \
  X(cookie_replies_sent)         \
  X(cookie_replies_taken)        \
  X(sessions_begun)              \
  X(handshakes_given_up)         \
  X(keys_erased)                 \
  X(keepalives_sent)             \
  X(keepalives_received)         \
  X(packets_sealed)              \
  X(packets_opened)              \
  X(packets_staged)              \
  X(endpoints_moved)             \
  X(own_clock_went_back)

/// X(name): why something received, or staged to be sent, was dropped.
#define QPIP_WIREGUARD_DROPS(X)                                                       \
  X(too_short)           /* no message */                                             \
  X(unknown_type)        /* no message */                                             \
  X(bad_length)          /* no message */                                             \
  X(forged_mac1)         /* a handshake for another public key, or random bytes */    \
  X(no_cookie)           /* under load, answered by a cookie reply */                 \
  X(rate_limited)        /* under load, with a cookie, but too many of one source */  \
  X(forged_initiation)   /* its static key or timestamp does not open */              \
  X(unknown_peer)        /* an initiation of somebody who is not configured */        \
  X(replayed_initiation) /* its timestamp is not greater than the last */             \
  X(flooding_initiation) /* within 20 ms of the last */                               \
  X(unexpected_response) /* nobody waits for it */                                    \
  X(forged_response)     /* does not open: not the peer, or another preshared key */  \
  X(unexpected_cookie)   /* nobody waits for it */                                    \
  X(forged_cookie)       /* does not open */                                          \
  X(unknown_session)     /* data for an index that is no session's */                 \
  X(expired_session)     /* data of a session that is too old or has sent too much */ \
  X(forged_packet)       /* does not open */                                          \
  X(replayed_packet)     /* its counter has been there */                             \
  X(late_packet)         /* its counter is behind the window */                       \
  X(malformed_packet)    /* no IPv4 or IPv6 packet inside, or longer than it is */    \
  X(refused_source)      /* an inner source that is not the peer's */                 \
  X(staged_overflow)     /* more packets than may wait for a handshake */             \
  X(staged_given_up)     /* the handshake they waited for was given up */             \
  X(no_endpoint)         /* it is not known where the peer is */

struct Counters {
#define QPIP_WIREGUARD_COUNTER(name) uint64_t name = 0;
  QPIP_WIREGUARD_EVENTS(QPIP_WIREGUARD_COUNTER)
  struct Drops {
    QPIP_WIREGUARD_DROPS(QPIP_WIREGUARD_COUNTER)
  } dropped;
#undef QPIP_WIREGUARD_COUNTER
};

}  // namespace qpip::wireguard

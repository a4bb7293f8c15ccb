// Counters by name: one table, from which the enum, the names and the exports are generated.
// Order is ABI (kQueryCounters); append only.
#pragma once

#include <cstdint>

namespace qpip::abi {

// X(enumerator, "name"): what the NIC has done.
#define QPIP_NIC_COUNTERS(X)                                   \
  X(kFramesReceived, "frames_received")                        \
  X(kFramesSent, "frames_sent")                                \
  X(kBytesReceived, "bytes_received")                          \
  X(kBytesSent, "bytes_sent")                                  \
  X(kTcpSegmentsReceived, "tcp_segments_received")             \
  X(kTcpSegmentsSent, "tcp_segments_sent")                     \
  X(kTcpAcksSent, "tcp_pure_acks_sent")                        \
  X(kTcpRetransmissions, "tcp_retransmissions")                \
  X(kTcpRetransmissionTimeouts, "tcp_retransmission_timeouts") \
  X(kTcpFastRetransmits, "tcp_fast_retransmits")               \
  X(kTcpResetsSent, "tcp_resets_sent")                         \
  X(kTcpResetsReceived, "tcp_resets_received")                 \
  X(kTcpZeroWindowProbes, "tcp_zero_window_probes")            \
  X(kUdpDatagramsReceived, "udp_datagrams_received")           \
  X(kUdpDatagramsSent, "udp_datagrams_sent")                   \
  X(kIcmpReceived, "icmp_received")                            \
  X(kIcmpSent, "icmp_sent")                                    \
  X(kDoorbells, "doorbells")                                   \
  X(kDoorbellOverflows, "doorbell_overflows")                  \
  X(kCommands, "commands")                                     \
  X(kCompletions, "completions")                               \
  X(kCompletionOverruns, "completion_overruns")                \
  X(kEvents, "events")                                         \
  X(kConnectionsEstablished, "connections_established")        \
  X(kConnectionsReset, "connections_reset")                    \
  X(kLeasesRevoked, "leases_revoked")                          \
  X(kOverflowPoolBytes, "overflow_pool_bytes")                 \
  X(kProtectionErrors, "protection_errors")                    \
  X(kWireBusy, "wire_busy")                                    \
  X(kTimersFired, "timers_fired")                              \
  X(kTcpSegmentsHeld, "tcp_segments_held")                     \
  X(kNeighbourMessagesReceived, "neighbour_messages_received") \
  X(kNeighbourMessagesSent, "neighbour_messages_sent")         \
  X(kNeighboursUnreachable, "neighbours_unreachable")          \
  X(kDuplicateAddress, "duplicate_address")                    \
  X(kFragmentsReceived, "fragments_received")                  \
  X(kFragmentsSent, "fragments_sent")                          \
  X(kPacketsReassembled, "packets_reassembled")                \
  X(kPacketsFragmented, "packets_fragmented")                  \
  X(kIcmpErrorsReceived, "icmp_errors_received")               \
  X(kPathMtuReductions, "path_mtu_reductions")                 \
  X(kSynCookiesSent, "syn_cookies_sent")                       \
  X(kSynCookiesAccepted, "syn_cookies_accepted")               \
  X(kSynsPutOff, "syns_put_off")                               \
  X(kSynsTakenUp, "syns_taken_up")                             \
  X(kHandshakesPutAside, "handshakes_put_aside")               \
  X(kPeersPutOff, "peers_put_off")                             \
  X(kMtuProbesSent, "mtu_probes_sent")                         \
  X(kMtuProbesSucceeded, "mtu_probes_succeeded")               \
  X(kMtuBlackHoles, "mtu_black_holes")

// X(enumerator, "name"): why a received frame, or an outgoing one, was not processed.
#define QPIP_DROP_REASONS(X)                       \
  X(kNone, "none")                                 \
  X(kFrameTooShort, "frame_too_short")             \
  X(kFrameTooLong, "frame_too_long")               \
  X(kNotIpv6, "not_ipv6")                          \
  X(kBadIpv6Length, "bad_ipv6_length")             \
  X(kBadExtensionHeader, "bad_extension_header")   \
  X(kFragment, "fragment")                         \
  X(kNotOurAddress, "not_our_address")             \
  X(kBadSourceAddress, "bad_source_address")       \
  X(kUnknownNextHeader, "unknown_next_header")     \
  X(kBadTcpHeader, "bad_tcp_header")               \
  X(kBadTcpChecksum, "bad_tcp_checksum")           \
  X(kBadUdpHeader, "bad_udp_header")               \
  X(kBadUdpChecksum, "bad_udp_checksum")           \
  X(kBadIcmpHeader, "bad_icmp_header")             \
  X(kBadIcmpChecksum, "bad_icmp_checksum")         \
  X(kIcmpIgnored, "icmp_ignored")                  \
  X(kNoUdpQueuePair, "no_udp_queue_pair")          \
  X(kNoReceivePosted, "no_receive_posted")         \
  X(kDatagramTooLong, "datagram_too_long")         \
  X(kNoTcpConnection, "no_tcp_connection")         \
  X(kTcpUnacceptable, "tcp_unacceptable")          \
  X(kTcpOutOfOrder, "tcp_out_of_order")            \
  X(kTcpPaws, "tcp_paws")                          \
  X(kTcpBadAck, "tcp_bad_ack")                     \
  X(kBacklogFull, "backlog_full")                  \
  X(kSynRepeated, "syn_repeated")                  \
  X(kNoReceiveContext, "no_receive_context")       \
  X(kNoRoute, "no_route")                          \
  X(kWireFull, "wire_full")                        \
  X(kRateLimited, "rate_limited")                  \
  X(kBadNeighbourMessage, "bad_neighbour_message") \
  X(kNoNeighbour, "no_neighbour")                  \
  X(kUnknownOption, "unknown_option")              \
  X(kRoutingHeader, "routing_header")              \
  X(kHeaderChainTooLong, "header_chain_too_long")  \
  X(kBadFragment, "bad_fragment")                  \
  X(kFragmentOverlap, "fragment_overlap")          \
  X(kFragmentDuplicate, "fragment_duplicate")      \
  X(kReassemblyTimeout, "reassembly_timeout")      \
  X(kReassemblyFull, "reassembly_full")            \
  X(kFragmentMarks, "fragment_marks")

#define QPIP_ENUMERATOR(name, text) name,
enum class NicCounter : uint32_t { QPIP_NIC_COUNTERS(QPIP_ENUMERATOR) kCount };
enum class DropReason : uint32_t { QPIP_DROP_REASONS(QPIP_ENUMERATOR) kCount };
#undef QPIP_ENUMERATOR

inline constexpr uint32_t kNicCounterCount = static_cast<uint32_t>(NicCounter::kCount);
inline constexpr uint32_t kDropReasonCount = static_cast<uint32_t>(DropReason::kCount);
/// kQueryCounters writes the NIC counters, then the drops by reason, each a uint64_t.
inline constexpr uint32_t kCounterWords = kNicCounterCount + kDropReasonCount;

#define QPIP_NAME(name, text) text,
constexpr const char* CounterName(uint32_t index) {
  constexpr const char* kNames[] = {QPIP_NIC_COUNTERS(QPIP_NAME)};
  return index < kNicCounterCount ? kNames[index] : "?";
}
constexpr const char* DropReasonName(uint32_t index) {
  constexpr const char* kNames[] = {QPIP_DROP_REASONS(QPIP_NAME)};
  return index < kDropReasonCount ? kNames[index] : "?";
}
#undef QPIP_NAME

}  // namespace qpip::abi

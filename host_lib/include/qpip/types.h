// Vocabulary of the public API: rdma-core's types, and the few things verbs has no word for.
#pragma once

#include <infiniband/verbs.h>
#include <netinet/in.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace qpip {

/// A failed operation, and the base of every exception that QPIP defines: catch this one. `what()`
/// is one line that says what, where and what to do. Besides, only std::bad_alloc may come out of
/// the library.
class Error : public std::runtime_error {
 public:
  /// `code`: an errno value.
  Error(int code, const std::string& what) : std::runtime_error(what), code_(code) {}
  int code() const { return code_; }  ///< an errno value

 private:
  int code_;
};

/// Text that has not the form it must have: a NIC's URI, an address, an endpoint. Its code is
/// EINVAL. A command tells bad usage from a failure by it.
class ParseError : public Error {
 public:
  explicit ParseError(const std::string& what);  ///< `what`: one line, with the form it should have
};

/// An IPv6 address and a port (host byte order).
struct Endpoint {
  in6_addr address = {};  ///< network byte order
  uint16_t port = 0;      ///< host byte order

  bool operator==(const Endpoint& other) const;  ///< same address, same port
  /// "[fd00::1]:5001"
  std::string ToString() const;
  /// Parses "[address]:port". Throws ParseError, which shows the form.
  static Endpoint Parse(std::string_view text);
};

/// Parses an IPv6 address. Throws ParseError.
in6_addr ParseAddress(std::string_view text);
/// "fd00::1", the shortest form (RFC 5952).
std::string AddressToString(const in6_addr& address);

/// Where a datagram in a list of work requests goes: verbs' address handle, a GID being an IPv6
/// address and a UDP QP's number its port.
///
///     qpip::AddressHandle to(qpip::ParseAddress("fd00::2"));
///     wr.wr.ud = {.ah = to.get(), .remote_qpn = 7, .remote_qkey = 0};
///
/// To answer: the address of wc.peer, and wc.src_qp. A value; takes nothing of the NIC's. It may go
/// as soon as the post has returned.
class AddressHandle {
 public:
  explicit AddressHandle(const in6_addr& address);  ///< network byte order
  /// As ibv_create_ah: the address is `grh.dgid`. Throws Error EINVAL unless `is_global` is set;
  /// the DiffServ code point is the QP's (QpOptions::dscp), the rest means nothing here.
  explicit AddressHandle(const ibv_ah_attr& attributes);

  const in6_addr& address() const { return address_; }  ///< network byte order
  ibv_ah* get() { return &handle_; }  ///< for wr.ud.ah; valid as long as this object

 private:
  ibv_ah handle_ = {};  ///< first, so that it leads back to the object
  in6_addr address_;
};

/// What a QP is bound to.
enum class QpType {
  kTcp,  ///< a connection: messages or bytes, in order, none lost
  kUdp,  ///< a port: datagrams, to and from anybody
};

/// How messages are found in a TCP QP's byte stream.
enum class Framing {
  /// Messages keep their boundaries: one send, one receive. For QPIP at both ends. Nothing on the
  /// wire tells the peer, and what a conventional socket would send has no boundaries to keep.
  kSegment,
  /// Bytes, for any TCP peer: a receive completes with what has arrived, up to its size.
  kStream,
  /// RDMA: iWARP, for any peer that speaks it (RFC 5040, 5041, 5044). Messages keep their
  /// boundaries,
  /// and reach named memory of the peer. Connected as qpip/rdma.h says.
  kMpa,
};

/// Why a connection ended.
enum class DisconnectReason {
  kNone,         ///< it has not
  kClosed,       ///< FIN both ways
  kReset,        ///< the peer sent RST
  kRefused,      ///< nobody listens there
  kTimedOut,     ///< no answer
  kUnreachable,  ///< the peer's port died or left the fabric
  kAborted,      ///< ended from this side
  kLocalError,   ///< a bad work request, or a message longer than its receive
  kWireFailed,   ///< this NIC's own link is gone; `Nic::failure()` says why
  kTerminated,   ///< RDMA: one side has found an error and said so by a Terminate
                 ///< (QueuePair::terminate)
};

/// RDMA: why a stream was terminated (RFC 5040 section 4.8).
struct TerminateReason {
  bool by_peer = false;   ///< the peer has found fault with what this side sent; else the reverse
  uint8_t layer = 0;      ///< 0 RDMAP, 1 DDP, 2 MPA
  uint8_t type = 0;       ///< of that layer's errors
  uint8_t code = 0;       ///< of that type
  const char* name = "";  ///< "bounds_violation", ... Static
};
/// A few words, for messages ("reset by peer").
const char* ToString(DisconnectReason reason);
/// The errno value that says the same: ECONNRESET, ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH,
/// ECONNABORTED, ENETDOWN; EPIPE for kClosed, EIO for kLocalError, 0 for kNone.
int ErrnoOf(DisconnectReason reason);

/// What befalls a NIC, or its dealings with one peer, rather than a queue pair.
struct NicEvent {
  bool fatal = false;  ///< the NIC carries nothing any more; its connections have ended
  int code = 0;        ///< an errno value
  in6_addr peer = {};  ///< whom it concerns, network byte order; unspecified: everybody
  std::string what;    ///< one line: what, where, what to do
};

/// Where a QP is in its life, which goes forward only (but for an offer that is withdrawn).
enum class QpState {
  kIdle,        ///< created, may be connected, offered or bound
  kConnecting,  ///< SYN sent, or offered to a listener
  kConnected,   ///< TCP established, or UDP bound
  kPeerClosed,  ///< the peer has shut down its direction; sending is still possible
  kShutdown,    ///< we have shut down; receiving is still possible
  kClosed,      ///< over: all work requests are flushed
};

/// In send_flags beside verbs' own, TCP: the peer is told that there is urgent data up to the end
/// of this send (RFC 9293 3.8.5). The data itself goes in order, as all data; RFC 6093 advises new
/// applications against it.
inline constexpr int kSendUrgent = 1 << 16;

/// What has come to a QP's notice without ending it.
struct QpNotices {
  bool urgent = false;          ///< TCP: the peer has moved the end of its urgent data
  uint32_t urgent_end = 0;      ///< TCP: behind the last urgent byte: bytes received since the
                                ///< connection began, modulo 2^32; 0 before there was any
  bool icmp_error = false;      ///< routers or the peer's host have complained of a packet sent
  uint32_t icmp_errors = 0;     ///< how often so far
  uint8_t icmp_type = 0;        ///< of the last (RFC 4443); soft ones end nothing
  uint8_t icmp_code = 0;        ///< of the last
  bool retransmitting = false;  ///< TCP: three time-outs in a row without an answer; the connection
                                ///< goes on until its user time-out (RFC 9293 3.8.3)
};

/// A completion: `ibv_wc` and, for UDP receives, where the datagram came from.
///
/// status: IBV_WC_SUCCESS; IBV_WC_LOC_LEN_ERR (message longer than the receive);
/// IBV_WC_LOC_PROT_ERR (key, bounds, rights); IBV_WC_LOC_QP_OP_ERR (malformed request);
/// IBV_WC_REM_ABORT_ERR (peer's RST, or its port died); IBV_WC_RETRY_EXC_ERR (no answer, the user
/// time-out included); IBV_WC_RESP_TIMEOUT_ERR (not produced yet); IBV_WC_WR_FLUSH_ERR (outstanding
/// when the connection ended, or when this side aborted). The first outstanding request of each
/// queue tells why the connection ended, those behind it are flushed; so is what the NIC sees
/// posted after the end, before the program knows of it: `reason` tells in all of them (the QP's
/// `disconnect_reason()` may learn of it later than the queue). On UDP, IBV_WC_RETRY_EXC_ERR says
/// of one datagram that its address does not answer, or that no route leads there (kUnreachable);
/// the QP goes on. Receives behind the end of the stream are flushed whenever they are posted.
///
/// RDMA (Framing::kMpa): `opcode` is the request's: IBV_WC_SEND, IBV_WC_RDMA_WRITE (with immediate
/// data or without), IBV_WC_RDMA_READ, IBV_WC_COMP_SWAP, IBV_WC_FETCH_ADD, IBV_WC_LOCAL_INV,
/// IBV_WC_BIND_MW; of receives IBV_WC_RECV, and IBV_WC_RECV_RDMA_WITH_IMM for immediate data
/// (`imm_data`, IBV_WC_WITH_IMM; byte_len is 0). A peer's Send that has invalidated a key sets
/// IBV_WC_WITH_INV and `invalidated_rkey`. What the peer refuses by a Terminate completes with
/// IBV_WC_REM_ACCESS_ERR (key, bounds, rights), IBV_WC_REM_INV_REQ_ERR (no receive, or too short a
/// one), or IBV_WC_REM_OP_ERR (all others); what is behind it is flushed. IBV_WC_MW_BIND_ERR: a key
/// that cannot be invalidated, a window that cannot be bound.
struct WorkCompletion : ibv_wc {
  Endpoint peer;               ///< UDP receive: source
  bool end_of_stream = false;  ///< TCP receive with byte_len 0: the peer's FIN. With no receive
                               ///< posted when both have closed, the QP's kClosed alone tells
  /// Why the connection ended, in every completion that its end has failed or flushed.
  DisconnectReason reason = DisconnectReason::kNone;
};

/// Text of a status, for messages ("malformed work request"). Unlike ibv_wc_status_str it needs no
/// libibverbs.
const char* ToString(ibv_wc_status status);
/// A completion's status and, where the connection's end is behind it, the reason: "flushed when
/// the connection ended: reset by peer".
std::string Describe(const WorkCompletion& completion);

using Timeout = std::optional<std::chrono::nanoseconds>;  ///< nullopt: wait for ever

}  // namespace qpip

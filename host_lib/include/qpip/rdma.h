// RDMA over TCP: connections of queue pairs with Framing::kMpa, which speak iWARP (RDMAP over DDP
// over MPA: RFC 5040, 5041, 5044, 6581, 7306) and so to every iWARP peer.
//
// A connection is set up before a queue pair takes part in it, as in verbs' connection manager:
// both sides first exchange private data, then each gives the connection to an idle queue pair,
// whose receives may be posted already.
//
//     // passive                                        // active
//     qpip::RdmaListener listener(*nic, 5001);          qpip::RdmaConnector to(*nic, peer, {...});
//     auto request = listener.Next();                   to.Wait();
//     request->private_data() ...                       to.private_data() ...
//     request->Accept(*qp, {...});                      to.Establish(*qp);
//
// Then QueuePair::PostSend takes IBV_WR_SEND, IBV_WR_SEND_WITH_INV, IBV_WR_RDMA_WRITE,
// IBV_WR_RDMA_WRITE_WITH_IMM, IBV_WR_RDMA_READ, IBV_WR_ATOMIC_CMP_AND_SWP,
// IBV_WR_ATOMIC_FETCH_AND_ADD, IBV_WR_LOCAL_INV and IBV_WR_BIND_MW (MemoryWindow), with the flags
// IBV_SEND_SIGNALED, IBV_SEND_SOLICITED, IBV_SEND_FENCE and IBV_SEND_INLINE. It ends as other
// connections do (QueuePair::Shutdown, Disconnect, Abort), or by a Terminate
// (QueuePair::terminate).
//
// The time-out of RdmaParameters counts whenever somebody asks: an object that is never asked costs
// its queue pair slot until it is destroyed. All of these are for one thread at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "qpip/bytes.h"
#include "qpip/qpip.h"
#include "qpip/types.h"

namespace qpip {

namespace internal {
class RdmaCarrier;
class RdmaConnecting;
class RdmaListenerImpl;
}  // namespace internal

/// Most private data of one side, bytes: 512, less what RFC 6581 puts in front.
inline constexpr size_t kMaxPrivateData = 508;
/// Most requests (reads and atomic operations) that one side takes, or has under way, at once.
inline constexpr uint16_t kMaxRdmaDepth = 32;

/// What one side wants of a connection.
struct RdmaParameters {
  ConstBytes private_data = {};  ///< at most kMaxPrivateData; copied before the call returns
  /// Requests of the peer that this side takes at once ("responder resources"), 0 to kMaxRdmaDepth.
  uint16_t ird = 16;
  /// Requests this side has under way at once ("initiator depth"), 0 to kMaxRdmaDepth.
  uint16_t ord = 16;
  /// CRCs; off only where both sides say so (RFC 5044 4.4). nullopt: off on a wire that is trusted
  /// (shm:), on elsewhere.
  std::optional<bool> crc = std::nullopt;
  /// Active side: negotiate depths (RFC 6581). Without, both sides' are as each of them says.
  bool enhanced = true;
  /// Active side, enhanced: the passive side may send first, since an empty Write goes ahead of
  /// everything (RFC 6581 section 9).
  bool peer_to_peer = true;
  std::chrono::milliseconds timeout{10000};  ///< of the whole set-up; 0: none
};

/// What both sides have agreed on.
struct RdmaAgreement {
  uint16_t ird = 0;           ///< requests of the peer that this side takes at once
  uint16_t ord = 0;           ///< requests that this side has under way at once
  bool crc = true;            ///< FPDUs carry CRCs
  bool peer_to_peer = false;  ///< the passive side may send first
  uint8_t revision = 0;       ///< of MPA: 1 or 2
  uint16_t peer_ird = 0;      ///< as the peer has said it; 0x3fff: it has not
  uint16_t peer_ord = 0;      ///< likewise
};

/// A connection on its way, on the active side.
class RdmaConnector {
 public:
  /// How far the connection is.
  enum class State {
    /// TCP's handshake, or the peer's decision, is awaited; or, where that does not fit, that it
    /// takes the Terminate (RFC 6581 9.1 to 9.3): two seconds at most.
    kConnecting,
    kAccepted,     ///< the peer has accepted: private_data(), agreement(), then Establish
    kRejected,     ///< the peer has rejected: private_data()
    kFailed,       ///< error()
    kEstablished,  ///< the queue pair has it
  };
  /// Starts. Returns as soon as the NIC has taken it on. Throws Error: EADDRINUSE, EINVAL
  /// (parameters), ENOMEM.
  /// `receive_reservation`: as QpOptions', and that of the queue pair that will get the connection.
  RdmaConnector(Nic& nic, const Endpoint& peer, const RdmaParameters& parameters = {},
                uint16_t local_port = 0, uint32_t receive_reservation = 4u << 20);
  ~RdmaConnector();  ///< Ends, by RST, a connection that no queue pair has got.
  RdmaConnector(const RdmaConnector&) = delete;
  RdmaConnector& operator=(const RdmaConnector&) = delete;

  /// Goes on as far as it can without waiting, and says how far that is. Never throws.
  State Poll();
  /// Polls until it is decided, or the time is over (the state is kConnecting then).
  State Wait(Timeout timeout = std::nullopt);
  /// For poll/epoll: readable when Poll may have something new, now and then when it has not. Poll
  /// clears it. The object's: closed with it. Throws Error.
  int fd();

  Endpoint local() const;                           ///< port 0 before there is one
  Endpoint peer() const;                            ///< whom it connects to
  std::span<const std::byte> private_data() const;  ///< the peer's; kAccepted, kRejected
  /// kAccepted. kRejected: peer_ird and peer_ord only, which say what the peer would have needed.
  const RdmaAgreement& agreement() const;
  /// kFailed: why. Codes as QueuePair::Connect's; EPROTO: the peer's answer is no MPA Reply.
  /// kRejected: ECONNREFUSED.
  Error error() const;

  /// kAccepted: `qp`, idle, of Framing::kMpa, has the connection from now on and is connected.
  /// Throws Error: EISCONN, EINVAL (framing, another NIC's, a smaller reservation), ENOTCONN (the
  /// state), what has ended the connection meanwhile.
  void Establish(QueuePair& qp);

 private:
  std::unique_ptr<internal::RdmaConnecting> impl_;
};

/// Connects `qp` and blocks until it is established. Returns the agreement; `*private_data`, when
/// given, receives the peer's, of a rejection too. Throws Error: as QueuePair::Connect, and what
/// RdmaConnector::error and Establish say.
RdmaAgreement RdmaConnect(Nic& nic, QueuePair& qp, const Endpoint& peer,
                          const RdmaParameters& parameters = {}, Timeout timeout = std::nullopt,
                          std::vector<std::byte>* private_data = nullptr);

/// A peer that wants to connect, and waits for an answer.
class RdmaRequest {
 public:
  ~RdmaRequest();  ///< Ends the connection by RST if it was not answered.
  RdmaRequest(const RdmaRequest&) = delete;
  RdmaRequest& operator=(const RdmaRequest&) = delete;

  std::span<const std::byte> private_data() const;  ///< the peer's; valid as long as this lives
  Endpoint local() const;                           ///< the address and port it asked for
  Endpoint peer() const;                            ///< who asks
  /// What the peer offers: ird and ord are what Accept would agree on with the most this side can
  /// do.
  const RdmaAgreement& offer() const;
  /// False when the peer has given up, or its time is over.
  bool alive();

  /// Gives the connection to `qp`, idle and of Framing::kMpa, and answers. Of `parameters` enhanced
  /// and peer_to_peer do not count: those are the peer's to say. Nothing of `qp` leaves before the
  /// peer's first message (RFC 5044 7.1.2). Throws Error: EISCONN, EINVAL, ECONNRESET and others
  /// (the connection is over meanwhile). Once.
  RdmaAgreement Accept(QueuePair& qp, const RdmaParameters& parameters = {});
  /// Says no, and closes. Once; Accept is not possible any more. Throws Error EINVAL (too long).
  void Reject(ConstBytes private_data = {});

 private:
  friend class RdmaListener;
  friend class internal::RdmaListenerImpl;
  explicit RdmaRequest(std::unique_ptr<internal::RdmaCarrier> carrier);
  std::unique_ptr<internal::RdmaCarrier> carrier_;
  RdmaAgreement offer_;
};

/// Of an RdmaListener.
struct RdmaListenerOptions {
  uint16_t backlog = 16;  ///< peers that may be on their way at a time: each has a queue pair slot
                          ///< of the NIC; 1 to 1024
  uint32_t receive_reservation = 4u << 20;   ///< of the queue pairs that will get the connections
  std::chrono::milliseconds timeout{10000};  ///< for a peer's request and the answer together
};

/// A TCP port on which RDMA connections are asked for.
class RdmaListener {
 public:
  /// Throws Error: EADDRINUSE, ENOMEM (fewer slots than `backlog`).
  RdmaListener(Nic& nic, uint16_t port, const RdmaListenerOptions& options = {});
  ~RdmaListener();  ///< Requests that have been handed out live on.
  RdmaListener(const RdmaListener&) = delete;
  RdmaListener& operator=(const RdmaListener&) = delete;

  uint16_t port() const;  ///< the one listened on; the NIC's choice when 0 was given
  /// Waits for a request, whole and well-formed; nullptr on time-out (0: looks once). Peers that
  /// send something else are closed and counted. Throws Error when the NIC has ended.
  std::unique_ptr<RdmaRequest> Next(Timeout timeout = std::nullopt);
  /// For poll/epoll: readable when Next(0) may have something, now and then when it has not. Next
  /// clears it. It does not tell that a silent peer's time is over: call Next(0) at least once in
  /// the options' `timeout` too, or such peers keep their places. The listener's: closed with it.
  /// Throws Error.
  int fd();
  /// Peers that were closed for what they sent, or did not send in time.
  uint64_t refused() const;

 private:
  std::unique_ptr<internal::RdmaListenerImpl> impl_;
};

}  // namespace qpip

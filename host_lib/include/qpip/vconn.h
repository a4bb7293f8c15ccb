// VCONN: messages over queue pairs, with flow control by messages. Each has a request part and a
// data part, travels as one, and lands in a receive that is posted already: the peers tell each
// other how many there are. What protocols of requests and answers need (block devices, control,
// file access), and nothing of any of them.
//
//   Vconn          messages on a queue pair of the application's. Never blocks, never polls.
//   VconnMessage   a message that has come, in the buffer it was received in; giving it back lets
//                  the peer send another.
//   VconnSession   a queue pair, its completion queue and a Vconn, with blocking calls.
//
// As with streams (qpip/stream.h), the application of a Vconn owns the Poll loop and hands each
// completion over; one CQ may serve any number of queue pairs:
//
//     for (const auto& wc : std::span(completions).first(cq->Wait(completions))) {
//       Vconn& vconn = connections.at(wc.qp_num);
//       vconn.OnCompletion(wc);
//       while (auto message = vconn.Next()) ...   // vconn.TryAnswer(message->cookie(), {...})
//     }
//
// Framing::kSegment, or Framing::kMpa, where each message is an RDMA Send. How the credits work:
// docs/vconn.md. Objects may be destroyed in any order. Threads: one at a time for a Vconn with its
// messages.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "qpip/bytes.h"
#include "qpip/qpip.h"
#include "qpip/types.h"

namespace qpip {

namespace internal {
class VconnCore;
}

/// Bytes in front of a message's request part.
inline constexpr uint32_t kVconnHeaderBytes = 20;

/// Of a Vconn.
struct VconnOptions {
  /// Messages in flight in each direction, 2 to 1024; the smaller of both sides' counts. One of
  /// them is kept back for credits.
  uint16_t window = 32;
  /// Longest message this side takes, with kVconnHeaderBytes: 64 bytes to 16 MiB. By default 64 KiB
  /// of data and a request part of up to 1004 bytes.
  uint32_t message_bytes = (64u << 10) + 1024;
  /// Ring that what is sent is copied into, 4096 bytes to 4 GiB; it must hold a whole message's
  /// copied parts.
  size_t send_bytes = 256u << 10;
  /// Requests of this side that may wait for answers at a time, at least 1.
  uint32_t requests = 256;
};

/// How far a Vconn is.
enum class VconnState {
  kOpening,    ///< what the sides take has not been exchanged: nothing may be sent
  kOpen,       ///< messages go both ways
  kPeerEnded,  ///< the peer has shut down its direction (over RDMA: both); all its messages came
  kBroken,     ///< the connection is over: Vconn::error
};

/// What a message is to the one that gets it.
enum class VconnKind : uint8_t {
  kMessage,  ///< wants no answer
  kRequest,  ///< wants answers: Vconn::TryAnswer with its cookie
  kAnswer,   ///< to a request of this side
};

/// A message that has come. Its parts lie in the receive buffer, which goes back to the connection
/// with this object: a peer whose messages are kept cannot send more. Up to half the window less
/// one may be kept for as long as one likes. Of the same thread as its Vconn, which it may outlive.
class VconnMessage {
 public:
  VconnMessage() = default;        ///< none
  ~VconnMessage() { GiveBack(); }  ///< Gives the buffer back.
  VconnMessage(VconnMessage&& other) noexcept { *this = std::move(other); }  ///< `other` is none
  /// What this was is given back; `other` is none.
  VconnMessage& operator=(VconnMessage&& other) noexcept;
  VconnMessage(const VconnMessage&) = delete;
  VconnMessage& operator=(const VconnMessage&) = delete;

  VconnKind kind() const { return kind_; }                         ///< what it is
  std::span<const std::byte> request() const { return request_; }  ///< may be empty
  std::span<const std::byte> data() const { return data_; }  ///< may be empty; behind request()
  /// Of kRequest: what its answers are to be given. May be used after GiveBack.
  uint64_t cookie() const { return cookie_; }
  /// Of kAnswer: what TryRequest was given.
  uint64_t context() const { return cookie_; }
  bool more() const { return more_; }  ///< of kAnswer: others to the same request follow

  /// Gives the buffer back now: request() and data() are empty from here on.
  void GiveBack() noexcept;

 private:
  friend class Vconn;
  std::shared_ptr<internal::VconnCore> core_;
  uint32_t buffer_ = 0;
  VconnKind kind_ = VconnKind::kMessage;
  bool more_ = false;
  uint64_t cookie_ = 0;
  std::span<const std::byte> request_;
  std::span<const std::byte> data_;
};

/// What a message is made of. Everything in it is the caller's.
struct VconnParts {
  ConstBytes request = {};  ///< the request part; copied
  ConstBytes data = {};     ///< the data part, or its beginning; copied
  /// The rest of the data part, in registered memory, which is not copied and must stay unchanged
  /// until Vconn::Done of the ticket. At most Vconn::kRegistered elements.
  std::span<const ibv_sge> registered = {};
};

/// Messages on a queue pair, of which it takes all receives and all sends for the queue pair's
/// life. Construction posts the receives, which is allowed before the queue pair is connected.
class Vconn {
 public:
  /// Identifies a message that was sent, and all before it; see Done().
  using Ticket = uint64_t;
  /// Elements that VconnParts::registered may have.
  static constexpr size_t kRegistered = 4;

  /// What the queue pair must be created with; completion queues of yours. Both need room for
  /// send_depth and recv_depth.
  static QpOptions QueuePairOptions(const VconnOptions& options, CompletionQueue& send_cq,
                                    CompletionQueue& recv_cq, Framing framing = Framing::kSegment);

  /// `pd` must be the queue pair's. Throws Error: EINVAL (options, a queue pair of another
  /// framing), ENOMEM (its depths are too small, registration), ENOTCONN, EBUSY (the queue pair has
  /// or had another user of its receives or sends).
  Vconn(ProtectionDomain& pd, QueuePair& qp, const VconnOptions& options = {});
  ~Vconn();  ///< Messages that are kept stay readable.
  Vconn(const Vconn&) = delete;
  Vconn& operator=(const Vconn&) = delete;

  /// Once, when the queue pair is connected: tells the peer what this side takes. Throws Error
  /// ENOTCONN, EALREADY.
  void Open();
  /// Takes a completion. Returns false, doing nothing, when it is not of this queue pair.
  bool OnCompletion(const WorkCompletion& completion);

  VconnState state() const;  ///< as of the last completion
  /// Why it is kBroken. Code EPROTO: the peer has broken VCONN's rules and was cut off, by RST; the
  /// text says how. Else a code of ErrnoOf(DisconnectReason), or EIO.
  Error error() const;

  /// The next message that has come, in the order in which they were sent; nullopt: none.
  std::optional<VconnMessage> Next();

  /// Sends a message that wants no answer. Returns nullopt, having done nothing, while it cannot be
  /// sent: the peer's window or the ring is full (try again after a completion), or state() is
  /// neither kOpen nor kPeerEnded. Throws Error: EMSGSIZE (longer than max_bytes(), or than the
  /// ring), EINVAL (elements).
  [[nodiscard]] std::optional<Ticket> TrySend(const VconnParts& parts);
  /// Likewise sends a request, whose answers come with `context`. nullopt, too, while as many
  /// requests wait for answers as may.
  [[nodiscard]] std::optional<Ticket> TryRequest(uint64_t context, const VconnParts& parts);
  /// Likewise sends an answer to the request with `cookie`. `more`: others to it follow. Answers to
  /// different requests may be sent in any order.
  [[nodiscard]] std::optional<Ticket> TryAnswer(uint64_t cookie, const VconnParts& parts,
                                                bool more = false);

  /// True when everything up to `ticket` has been acknowledged by the peer's NIC, or has failed:
  /// registered memory may be used again.
  bool Done(Ticket ticket) const;
  Ticket last() const;  ///< of the last message sent, credits alone among them; 0: none yet
  bool idle() const;    ///< nothing sent is outstanding

  /// Longest message the peer takes: bytes of both parts together. 0 before it is open.
  uint32_t max_bytes() const;
  uint16_t window() const;   ///< as agreed; 0 before
  uint16_t credits() const;  ///< messages that the peer has receives for now
  size_t waiting() const;    ///< requests of this side without their last answer

  /// What has gone and come.
  struct Counters {
    uint64_t sent = 0;              ///< messages, without hellos and credits
    uint64_t received = 0;          ///< likewise
    uint64_t credits_sent = 0;      ///< messages of credits alone
    uint64_t credits_received = 0;  ///< likewise
  };
  const Counters& counters() const;  ///< since construction

 private:
  std::shared_ptr<internal::VconnCore> core_;
};

/// Of a VconnSession.
struct VconnSessionOptions {
  VconnOptions vconn;                   ///< window and lengths
  Framing framing = Framing::kSegment;  ///< or kMpa; the same on both sides
  std::chrono::seconds keepalive{0};    ///< as QpOptions'
  /// A blocking call gives up (ETIMEDOUT) when nothing at all has completed for so long.
  Timeout timeout = std::nullopt;
};

/// A Vconn with all that it needs, and blocking calls. One thread at a time. Calls throw Error:
/// ETIMEDOUT (the time-out), Vconn::error once the connection is broken.
class VconnSession {
 public:
  /// Creates the queue pair, idle, with its receives posted: Connect(), or offer qp() to a Listener
  /// (kMpa: give it to an RdmaRequest) and Open() when it is connected.
  VconnSession(Nic& nic, ProtectionDomain& pd, const VconnSessionOptions& options = {});
  ~VconnSession();  ///< Ends the connection with RST if it is open: Flush, or Close, first.
  VconnSession(const VconnSession&) = delete;
  VconnSession& operator=(const VconnSession&) = delete;

  QueuePair& qp() { return *qp_; }        ///< owned by the session
  CompletionQueue& cq() { return *cq_; }  ///< of sends and receives: fd() and Arm() for epoll
  Vconn& vconn() { return *vconn_; }      ///< for what does not block

  /// Connects and opens. Throws as QueuePair::Connect or RdmaConnect, and as Open.
  void Connect(const Endpoint& peer);
  /// The queue pair is connected: tells the peer what this side takes, and waits for its word.
  void Open();

  /// Takes what has completed, without waiting. Returns false when nothing had.
  bool Poll();
  /// Waits until something has completed, and takes it: a message may have come, or credits. For
  /// programs that send and receive by vconn() as either becomes possible.
  void Wait();
  /// Waits for the next message; nullopt when the peer has ended its direction. Credits that come
  /// meanwhile do not end it, though something could be sent then: see Wait.
  std::optional<VconnMessage> Receive();
  /// Sends, waiting for the peer's window and room in the ring. What comes meanwhile is kept for
  /// Receive; as many as the window allows, so two sides that only send wait for each other.
  Vconn::Ticket Send(const VconnParts& parts);
  /// Likewise, a request; waits too while as many as may be wait for answers.
  Vconn::Ticket Request(uint64_t context, const VconnParts& parts);
  /// Likewise, an answer.
  Vconn::Ticket Answer(uint64_t cookie, const VconnParts& parts, bool more = false);
  /// Waits until the peer has acknowledged everything up to `ticket` (default: all).
  void Flush(std::optional<Vconn::Ticket> ticket = std::nullopt);
  /// Half-closes behind everything sent: the peer's Receive ends. Receiving goes on, but the peer
  /// gets no more credits. Over RDMA there are no halves: what it has not sent is lost.
  void CloseWrite();

 private:
  template <typename Try>
  Vconn::Ticket UntilSent(const Try& attempt);

  Nic& nic_;
  Timeout timeout_;
  Framing framing_;
  std::unique_ptr<CompletionQueue> cq_;
  std::unique_ptr<QueuePair> qp_;
  std::unique_ptr<Vconn> vconn_;
};

}  // namespace qpip

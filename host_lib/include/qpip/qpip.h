// QPIP: queue pairs over TCP, UDP and IPv6. Everything an application needs.
//
//     auto nic = qpip::Nic::Open("shm:lab?address=fd00::1");
//     auto pd = nic->AllocatePd();
//     auto memory = pd->Register(buffer, size, IBV_ACCESS_LOCAL_WRITE);
//     auto cq = nic->CreateCq();
//     auto qp = nic->CreateQp(*pd, {.send_cq = cq.get(), .recv_cq = cq.get()});
//     qp->Connect(qpip::Endpoint::Parse("[fd00::2]:5001"));
//     if (qp->PostSend(...) != 0) ...
//     cq->Poll(...) or cq->Wait(...)
//
// Objects are RAII handles. An object keeps what it depends on alive, so any order of destruction
// is safe. Set-up calls block and throw qpip::Error, of which every exception here is one; the data
// path (PostSend, PostRecv, Poll) never blocks, allocates or throws (Poll but in a forked child),
// and posts return 0 or an errno value as verbs does.
//
// Processes: a NIC belongs to the process that opened it. In a child of fork(2), the second process
// of daemon(3) among them, every call that is more than a look at a constant throws Error EPERM
// (posts return EPERM), and destructors let go of the child's copies: the owner never notices. Open
// the NIC in the process that is to use it.
//
// Threads: different objects may be used by different threads at the same time. One QP's send
// queue, one QP's receive queue and one CQ each serialise their callers internally.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "qpip/types.h"

namespace qpip {

namespace abi {
class HostPort;
}

class Nic;
class ProtectionDomain;
class MemoryRegion;
class MemoryWindow;
class CompletionQueue;
class QueuePair;
class Listener;

namespace internal {
class NicImpl;
class CqImpl;
class QpImpl;
class ListenerImpl;
class PdImpl;
class MrImpl;
class MwImpl;
}  // namespace internal

/// Registered memory: may be named by `lkey()` in the work requests of QPs of the same PD.
class MemoryRegion {
 public:
  /// Deregisters. Work requests that still use the key fail with LOC_PROT_ERR.
  ~MemoryRegion();
  MemoryRegion(const MemoryRegion&) = delete;
  MemoryRegion& operator=(const MemoryRegion&) = delete;

  uint32_t lkey() const;  ///< for ibv_sge::lkey
  /// For peers of Framing::kMpa queue pairs, with an address of the region (or, where it is
  /// zero-based, an offset). Has what rights the region was registered with.
  uint32_t rkey() const;
  /// The same for lists of verbs' types: of a window's binding (MemoryWindow). Valid as long as
  /// this object; lkey, rkey, addr and length are filled in.
  ibv_mr* get() const;
  void* data() const;   ///< first byte
  size_t size() const;  ///< bytes
  /// A scatter/gather element for `[offset, offset + length)`. Not checked; the NIC checks.
  ibv_sge Sge(size_t offset, uint32_t length) const;

 private:
  friend class ProtectionDomain;
  explicit MemoryRegion(std::unique_ptr<internal::MrImpl> impl);
  std::unique_ptr<internal::MrImpl> impl_;
};

/// How peers may use a region; for ProtectionDomain::Register.
struct RegionOptions {
  /// Of this queue pair's peer alone, which may then invalidate the key too (IBV_WR_SEND_WITH_INV);
  /// the key dies with the queue pair. nullptr: of the peers of all queue pairs of the domain.
  const QueuePair* queue_pair = nullptr;
  /// Address of the first byte in work requests and for peers; nullopt: where it lies.
  std::optional<uint64_t> iova = std::nullopt;
};

/// Keeps memory and QPs together: a QP reaches only memory of its own domain.
class ProtectionDomain {
 public:
  ~ProtectionDomain();
  ProtectionDomain(const ProtectionDomain&) = delete;
  ProtectionDomain& operator=(const ProtectionDomain&) = delete;

  /// Registers memory the caller owns and keeps mapped while registered. `access`:
  /// ibv_access_flags; receiving needs IBV_ACCESS_LOCAL_WRITE, and so do IBV_ACCESS_REMOTE_WRITE
  /// and IBV_ACCESS_REMOTE_ATOMIC. IBV_ACCESS_ZERO_BASED: peers' addresses begin at 0. Optional
  /// flags (IBV_ACCESS_OPTIONAL_RANGE) are ignored. Throws Error (EINVAL empty range, rights;
  /// ENOMEM table full).
  std::unique_ptr<MemoryRegion> Register(void* address, size_t bytes, int access,
                                         const RegionOptions& options = {});
  /// Allocates (zeroed, 64-byte aligned) and registers. The wire's own memory when it has such, so
  /// that payload travels with one copy; ordinary memory otherwise. Freed with the region.
  /// Throws Error (EINVAL no bytes, ENOMEM).
  std::unique_ptr<MemoryRegion> Allocate(size_t bytes, int access = IBV_ACCESS_LOCAL_WRITE);
  /// A memory window, not bound yet. Throws Error (ENOMEM: it takes a place of a region).
  std::unique_ptr<MemoryWindow> AllocateWindow();

 private:
  friend class Nic;
  explicit ProtectionDomain(std::shared_ptr<internal::PdImpl> impl);
  friend class internal::NicImpl;
  std::shared_ptr<internal::PdImpl> impl_;
};

/// A memory window, verbs' type 2: a key for peers that a work request gives to a part of a region
/// and takes back, faster than registration. Framing::kMpa:
///
///     ibv_send_wr wr{};
///     wr.opcode = IBV_WR_BIND_MW;
///     wr.bind_mw.mw = window->get();
///     wr.bind_mw.rkey = ibv_inc_rkey(window->rkey());  // the lower eight bits are the program's
///     wr.bind_mw.bind_info = {region->get(), address, length, IBV_ACCESS_REMOTE_READ};
///
/// The region must have been registered with IBV_ACCESS_MW_BIND. Then the peer of that QP, and no
/// other, may use wr.bind_mw.rkey, until it is invalidated: by IBV_WR_LOCAL_INV, by the peer's
/// IBV_WR_SEND_WITH_INV, or because the QP, the region or the window goes. Then it may be bound
/// again; a binding of what is bound fails (IBV_WC_MW_BIND_ERR). With IBV_ACCESS_ZERO_BASED the
/// peer's addresses begin at 0.
class MemoryWindow {
 public:
  ~MemoryWindow();  ///< Its key is dead.
  MemoryWindow(const MemoryWindow&) = delete;
  MemoryWindow& operator=(const MemoryWindow&) = delete;

  /// The key it was allocated with; the upper 24 bits are those of all its keys.
  uint32_t rkey() const;
  ibv_mw* get() const;  ///< for wr.bind_mw.mw; valid as long as this object

 private:
  friend class ProtectionDomain;
  explicit MemoryWindow(std::unique_ptr<internal::MwImpl> impl);
  std::unique_ptr<internal::MwImpl> impl_;
};

/// Where work requests of any number of QPs are reported done, in order for each queue.
class CompletionQueue {
 public:
  ~CompletionQueue();
  CompletionQueue(const CompletionQueue&) = delete;
  CompletionQueue& operator=(const CompletionQueue&) = delete;

  /// Takes up to out.size() completions. Runs the NIC's core for a bounded while when there is
  /// none and no other thread does. Never blocks. Returns how many.
  [[nodiscard]] size_t Poll(std::span<WorkCompletion> out);
  /// Like Poll, but sleeps until there is at least one completion or the time is over (returns 0).
  /// Throws Error: EIO when the queue has overrun, which CreateQp's check rules out; what has ended
  /// the NIC (Nic::failure), once there are no more completions.
  [[nodiscard]] size_t Wait(std::span<WorkCompletion> out, Timeout timeout = std::nullopt);

  /// A file descriptor for poll/epoll: readable once a completion arrives after Arm(). The queue's:
  /// closed with it. Throws Error (EMFILE and what else eventfd(2) says).
  int fd();
  /// Asks for one notification on fd() for the next completion. Returns false, without arming,
  /// when completions are already there: poll first. Clear the descriptor with Acknowledge(). A
  /// notification may turn out to be for a completion that has been polled meanwhile; the end of
  /// the NIC notifies too. Throws Error when the NIC has ended (Nic::failure). `solicited_only`:
  /// for the next one that a peer's IBV_SEND_SOLICITED asks for, or that has failed; then false is
  /// returned only where one of those is there.
  [[nodiscard]] bool Arm(bool solicited_only = false);
  void Acknowledge();  ///< Clears fd(). Never blocks.

  uint32_t capacity() const;  ///< completions there is room for

 private:
  friend class Nic;
  friend class internal::NicImpl;
  explicit CompletionQueue(std::shared_ptr<internal::CqImpl> impl);
  std::shared_ptr<internal::CqImpl> impl_;
};

/// Depth of a QP's queues unless QpOptions says another.
inline constexpr uint32_t kDefaultDepth = 64;
/// Room in a completion queue unless CreateCq is told another: for both queues of eight QPs with
/// default options.
inline constexpr uint32_t kDefaultCqCapacity = 8 * 2 * kDefaultDepth;

/// Of a QP, fixed when it is created.
struct QpOptions {
  QpType type = QpType::kTcp;                 ///< TCP or UDP
  Framing framing = Framing::kSegment;        ///< TCP: kSegment needs QPIP as the peer; kStream for
                                              ///< anybody else, as a kernel's socket
  CompletionQueue* send_cq = nullptr;         ///< required; kept alive by the QP
  CompletionQueue* recv_cq = nullptr;         ///< required, likewise; may be the same
  uint32_t send_depth = kDefaultDepth;        ///< outstanding sends; rounded up to a power of two
  uint32_t recv_depth = kDefaultDepth;        ///< posted receives; rounded up likewise
  uint32_t max_send_sge = 4;                  ///< 1 to 16
  uint32_t max_recv_sge = 4;                  ///< 1 to 16
  uint32_t max_inline = 64;                   ///< bytes that IBV_SEND_INLINE may carry, at most 448
  bool signal_all = false;                    ///< every send completes as if IBV_SEND_SIGNALED
  uint32_t receive_reservation = 4u << 20;    ///< TCP: upper bound of the advertised window and
                                              ///< size of the overflow pool, 4 KiB to 1 GiB
  uint8_t ack_every = 0;                      ///< 0: the NIC's default
  std::chrono::microseconds ack_delay{0};     ///< 0: the NIC's default
  std::chrono::milliseconds user_timeout{0};  ///< give up unacknowledged data; 0: the NIC's default
  bool nagle = false;                         ///< TCP, stream framing: what is less than a segment
                                              ///< waits while anything is unacknowledged (RFC 9293
  ///< 3.7.4). Right for many small sends nobody waits for
  uint8_t dscp = 0;                   ///< DiffServ code point of its packets, 0 to 63 (RFC
                                      ///< 2474): of handshakes, data and acknowledgements
  std::chrono::seconds keepalive{0};  ///< TCP: a peer silent for so long is probed (RFC 9293
                                      ///< 3.8.4); 0: the NIC's default, which is never
  /// Framing::kMpa: a peer's Send or immediate data without a posted receive waits for one, as
  /// verbs' "receiver not ready" does, and does not end the stream, as iWARP has it. It is
  /// acknowledged (and so done for the peer) when it is in this end's memory. What waits narrows
  /// the window by its size, but nothing else waits behind it: writes, reads and answers pass it,
  /// up to `receive_reservation` bytes. Behind that many the peer waits with all it sends.
  bool wait_for_receive = false;
  void* context = nullptr;  ///< the application's own
};

/// A send queue and a receive queue, bound to a TCP connection or a UDP port.
class QueuePair {
 public:
  /// Ends the connection with RST if it is open, or the offer. Completions not yet polled stay in
  /// the CQ; no new ones appear after this returns, and the NIC reads and writes no memory for it.
  ~QueuePair();
  QueuePair(const QueuePair&) = delete;
  QueuePair& operator=(const QueuePair&) = delete;

  // --- Data path. Return 0, or an errno value with nothing posted:
  // EINVAL (list of elements too long, unsupported opcode, zero length on TCP, a port that is
  // none), ENOMEM (queue full), ENOTCONN (QP not connected; receives may be posted in any state but
  // kClosed), EDESTADDRREQ (UDP without a peer), EMSGSIZE (a datagram that no packet holds, inline
  // over the limit), EPERM (a forked child).

  /// Posts a list of sends (`next`). What the peer's window and congestion control allow has left
  /// when this returns, though nobody polls (a bounded number: some hundreds). On an error `*bad`
  /// is the first not posted; those before it are. Opcode: IBV_WR_SEND. Flags: IBV_SEND_SIGNALED,
  /// IBV_SEND_INLINE, kSendUrgent. On a UDP QP each names its own peer: wr.ud.ah is an
  /// AddressHandle's, wr.ud.remote_qpn the port. Framing::kMpa has more opcodes and flags, and
  /// messages may be empty (qpip/rdma.h); an address, key and length of the peer's are wr.rdma's
  /// and wr.atomic's, a key to be invalidated is invalidate_rkey. A read's elements need
  /// IBV_ACCESS_LOCAL_WRITE.
  [[nodiscard]] int PostSend(ibv_send_wr* wr, ibv_send_wr** bad = nullptr);
  /// The same, but on an error none of the list is posted.
  [[nodiscard]] int PostSendAll(ibv_send_wr* wr);
  /// UDP: posts one datagram to `peer`, whatever wr.ud says. EINVAL for a list.
  [[nodiscard]] int PostSendTo(const ibv_send_wr& wr, const Endpoint& peer);
  /// Posts a list of receives. On an error `*bad` is the first not posted; those before it are.
  [[nodiscard]] int PostRecv(ibv_recv_wr* wr, ibv_recv_wr** bad = nullptr);

  // Shorthands for one element.
  /// One TCP message.
  [[nodiscard]] int PostSend(uint64_t wr_id, const ibv_sge& sge, int flags = IBV_SEND_SIGNALED);
  /// One datagram.
  [[nodiscard]] int PostSendTo(uint64_t wr_id, const ibv_sge& sge, const Endpoint& peer,
                               int flags = IBV_SEND_SIGNALED);
  [[nodiscard]] int PostRecv(uint64_t wr_id, const ibv_sge& sge);  ///< one buffer

  // --- Connection.
  /// TCP: connects; blocks until established. Throws Error: ECONNREFUSED, ETIMEDOUT,
  /// EHOSTUNREACH, EADDRINUSE, EISCONN, EINVAL; where the wire has told why it cannot reach the
  /// peer (NicEvent), its code and text.
  void Connect(const Endpoint& peer, Timeout timeout = std::nullopt, uint16_t local_port = 0);
  /// TCP: starts connecting and returns as soon as the NIC has taken it on: state() then goes from
  /// kConnecting to kConnected, or to kClosed with the reason. Whoever polls the QP's CQ sees that.
  /// Throws Error: EADDRINUSE, EISCONN, EINVAL.
  void StartConnect(const Endpoint& peer, uint16_t local_port = 0);
  /// TCP, after StartConnect: waits until established. Returns false on time-out: it goes on
  /// connecting. Throws as Connect does once it has failed.
  [[nodiscard]] bool WaitConnected(Timeout timeout = std::nullopt);
  /// TCP, after StartConnect: aborts the attempt and throws what Connect throws at its time-out.
  [[noreturn]] void GiveUpConnecting();
  /// UDP: binds to a port (0: any) and makes the QP ready. Returns the port. Throws Error:
  /// EADDRINUSE, EISCONN (bound already), EINVAL.
  uint16_t Bind(uint16_t port);
  /// TCP: half-close: FIN after everything posted. Sends may no longer be posted. Nothing happens
  /// when it is closed already. Throws Error: ENOTCONN, EINVAL.
  void Shutdown();
  /// TCP: Shutdown, then waits until the peer has closed too. Returns false on time-out. Data that
  /// arrives meanwhile completes receives as usual.
  bool Disconnect(Timeout timeout = std::nullopt);
  /// RST now; outstanding work requests are flushed. An offer is withdrawn: back to kIdle.
  void Abort();
  /// TCP: waits until all that was posted has completed, or is in its completion queue: the NIC has
  /// ended the connection and uses no memory for it any more. Abort only has it begin. Returns
  /// false on time-out, when nothing ends; true at once for one that has had no connection.
  bool WaitDrained(Timeout timeout = std::nullopt);

  /// Whether there is something that TakeNotices would tell. Never blocks.
  bool has_notices() const;
  /// What has happened since the last call: urgent data announced by the peer, ICMPv6 errors. Asks
  /// the NIC, as set-up calls do. Throws Error.
  QpNotices TakeNotices();

  /// RDMA: why the stream was terminated; nullopt when it was not. Asks the NIC, as set-up calls
  /// do. Throws Error.
  std::optional<TerminateReason> terminate() const;

  QpState state() const;                       ///< as of the last event seen
  DisconnectReason disconnect_reason() const;  ///< kNone unless kClosed
  /// Peer and reason in one line, for messages: "connection with [fd00::2]:7: timed out: the peer
  /// does not answer"; with the ICMPv6 error, where there was one, and the NIC's failure. Asks the
  /// NIC, as set-up calls do.
  std::string DescribeEnd();
  /// wc.qp_num of this QP's completions: the port of a UDP QP, a 24-bit number of a TCP QP.
  uint32_t qp_num() const;
  Endpoint local() const;  ///< port 0 before there is one
  Endpoint peer() const;   ///< TCP only
  void* context() const;   ///< QpOptions::context

 private:
  friend class Nic;
  friend class Listener;
  friend class StreamReader;
  friend class StreamWriter;
  friend class Vconn;
  friend class internal::NicImpl;
  explicit QueuePair(std::shared_ptr<internal::QpImpl> impl);
  std::shared_ptr<internal::QpImpl> impl_;
};

/// A listening TCP port. Connections are mated with idle QPs that the server has offered, whose
/// receives may already be posted.
class Listener {
 public:
  ~Listener();  ///< Stops listening. Offered QPs that are still idle return to kIdle.
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  uint16_t port() const;  ///< listened on, host byte order
  /// Offers an idle TCP QP. Throws Error (EINVAL, EISCONN). A QP that is destroyed is offered no
  /// more, and its Abort() withdraws the offer.
  void Offer(QueuePair& qp);
  /// Waits until one of the offered QPs is connected and returns it; nullptr on time-out. Throws
  /// Error when the NIC has ended (Nic::failure).
  QueuePair* Accept(Timeout timeout = std::nullopt);
  /// A file descriptor for poll/epoll, so that no thread has to be in Accept, which takes part in
  /// running the NIC's core while it waits: readable when Accept(0) may have something, from now on
  /// until that is called; now and then it has not. Tells of the NIC's end too. The listener's:
  /// closed with it. Throws Error (EMFILE and what else eventfd(2) says).
  int fd();

 private:
  friend class Nic;
  friend class internal::NicImpl;
  explicit Listener(std::shared_ptr<internal::ListenerImpl> impl);
  std::shared_ptr<internal::ListenerImpl> impl_;
};

/// One network interface: an address on a fabric, and everything created on it.
class Nic : public std::enable_shared_from_this<Nic> {
 public:
  /// Opens a NIC. URI: `shm:FABRIC?address=IPV6` (ports of one user's processes), `mem:NAME?...`
  /// (same process). Query parameters: docs/uri.md. Throws ParseError (bad URI), Error
  /// (EADDRINUSE, ENOSPC: no port left on the fabric, ENOMEM, what the system says).
  static std::shared_ptr<Nic> Open(std::string_view uri);
  /// Registers at once the handlers of fork(2) that the first Open would. A library whose own
  /// handler, by pthread_atfork, takes a lock that its threads hold while they ask a NIC calls this
  /// before it registers that: handlers are called latest first, and a NIC's makes its core wait.
  /// Idempotent, thread-safe.
  static void WatchForks();
  /// Starts a NIC that a backend outside of the library has made (the simulator's, a test's).
  /// Throws what the backend's Start throws.
  static std::shared_ptr<Nic> Attach(std::unique_ptr<abi::HostPort> port);
  /// The NIC itself goes with the last of its objects.
  ~Nic();
  Nic(const Nic&) = delete;
  Nic& operator=(const Nic&) = delete;

  /// Never fails for want of a table; domains are numbers.
  std::unique_ptr<ProtectionDomain> AllocatePd();
  /// A completion queue with room for `capacity` completions (rounded up to a power of two). It
  /// must have room for every work request of the QPs bound to it; CreateQp checks. Throws Error:
  /// EINVAL (0, or more than 2^20), ENOMEM.
  std::unique_ptr<CompletionQueue> CreateCq(uint32_t capacity = kDefaultCqCapacity);
  /// Throws Error: EINVAL (limits), ENOMEM (tables full, CQ too small for the depths).
  std::unique_ptr<QueuePair> CreateQp(ProtectionDomain& pd, const QpOptions& options);
  /// Throws Error: EADDRINUSE. `backlog`: connections that may wait for an idle QP.
  std::unique_ptr<Listener> Listen(uint16_t port, uint16_t backlog = 16);

  in6_addr address() const;  ///< network byte order
  uint32_t mtu() const;      ///< bytes of the largest IPv6 packet
  /// Largest UDP payload of one datagram: 65,527 bytes. What is over MTU - 48 leaves in fragments.
  uint32_t max_datagram() const;
  const std::string& uri() const;  ///< as opened, with defaults filled in

  /// What has ended the NIC as a whole, as the deletion of its device does; nullopt while it works.
  /// From then on connections are closed (DisconnectReason::kWireFailed), and Connect, Accept,
  /// CompletionQueue::Wait and Arm throw an Error with the event's code and text.
  std::optional<NicEvent> failure() const;
  /// Has `handler` called with every event: what has ended the NIC, what it could not do for one
  /// peer. What happened before is told from this call, the rest on a thread of the NIC's, one at a
  /// time and within a tenth of a second, the last of it while the NIC is destroyed. It may call
  /// QPIP, but must not set the handler nor destroy objects. Events that repeat within ten seconds
  /// are told once. Empty: nobody is told.
  void SetEventHandler(std::function<void(const NicEvent&)> handler);

  /// `fd`, an eventfd of the caller's, is written to whenever a queue pair or a listener may have
  /// changed its state, until UnwatchEvents. For a thread that looks after connections beside
  /// those that poll.
  void WatchEvents(int fd);
  void UnwatchEvents(int fd);  ///< `fd` is not written to any more when this has returned
  /// Takes in what has come: QueuePair::state() of all queue pairs is as of now then. Never blocks.
  void DispatchEvents();

  /// How often armed completion queues, and events, have notified so far; wraps around.
  uint32_t notifications() const;
  /// Waits, running the NIC's core, until notifications() is no more `seen`, or the time is over.
  /// What is waited for by a descriptor comes sooner when a thread has been here before. Throws
  /// Error EPERM in a forked child.
  void AwaitNotification(uint32_t seen, std::chrono::nanoseconds timeout);

  /// NIC counters and drops by reason ("drop.bad_tcp_checksum").
  std::map<std::string, uint64_t> Counters();
  /// Counters, occupancy (when `?occupancy=1`), wire statistics, as JSON.
  std::string StatisticsJson();

 private:
  friend class internal::NicImpl;
  explicit Nic(std::shared_ptr<internal::NicImpl> impl);
  std::shared_ptr<internal::NicImpl> impl_;
};

}  // namespace qpip

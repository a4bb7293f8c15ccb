// The test bench: one NIC, a clock that only the caller moves, a wire whose other end is the
// caller, and the host library's operations without a call that blocks.
//
// The firmware and the host library are those of every other NIC; only clock, randomness, DMA and
// wire are the bench's. It is deterministic: the same calls with the same options give the same
// packets at the same times, bit for bit.
//
// Inputs and looks. InjectPacket, Send, SendTo and PostReceive are inputs: they take effect at the
// present moment, but only when the NIC runs. Every call that looks at something (TakePacket,
// State, Receive, Accept, ...), every command (Listen, Connect, ShutdownSend, ...) and every step
// first lets the NIC do all it can do at the present moment. So several packets injected in a row
// reach the NIC as one batch, and what is looked at is never half done.
//
// Threads: none are used; everything of one bench belongs to one thread at a time. Benches are
// independent of each other.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "qpip/qpip.h"
#include "qpip/testbench/packet.h"

namespace qpip::testbench {

class Core;
class TcpConnection;
class TcpListener;
class UdpSocket;

/// The NIC and its protocol profile. Defaults are a host's NIC's; docs/uri.md explains them. Ranges
/// are those of a NIC URI where nothing else is said; times are cut to whole microseconds, from
/// `time_wait` on to whole milliseconds.
struct TestBenchOptions {
  in6_addr address = ParseAddress("fd00::1");  ///< the NIC's, unicast
  uint32_t mtu = 1500;                         ///< bytes of the largest IPv6 packet, 1280 to 65575
  uint64_t seed = 1;  ///< of all randomness: sequence numbers, ephemeral ports, hashes
  Time clock_start{1'000'000'000};  ///< what the NIC's clock says at Now() == 0: sequence
                                    ///< numbers and timestamps follow that clock
  uint32_t max_queue_pairs = 64;    ///< connections and sockets, those in TIME-WAIT included; 1 to
                                    ///< 16384
  uint8_t hop_limit = 64;           ///< of packets sent, at least 1

  bool timestamps = true;      ///< offer RFC 7323 timestamps
  bool window_scaling = true;  ///< offer RFC 7323 window scaling
  bool sack = true;            ///< offer RFC 2018
  uint32_t reassembly = 256;   ///< ranges held behind a gap, 0 to 1024; 0: out of order is dropped
  uint8_t ack_every = 2;       ///< acknowledge at least every n-th segment, 1 to 255
  bool ack_on_batch_end = true;  ///< acknowledge as soon as all received packets are dealt with;
                                 ///< false: acknowledgements wait for ack_every or ack_delay
  Time ack_delay = std::chrono::milliseconds(40);    ///< delayed-ACK timer, below 500 ms
  Time rto_initial = std::chrono::seconds(1);        ///< RFC 6298 (2.1); 100 us to 60 s
  Time rto_min = std::chrono::milliseconds(200);     ///< beyond the RTT; 100 us to 60 s
  Time rto_max = std::chrono::seconds(60);           ///< RFC 6298 (2.5); 1 h at most, not below
                                                     ///< rto_initial and rto_min
  Time time_wait = std::chrono::seconds(60);         ///< 2 MSL; 240 s at most
  Time user_timeout = std::chrono::seconds(100);     ///< RFC 9293 3.8.3; 0: never
  Time connect_timeout = std::chrono::seconds(180);  ///< give up a SYN, or one that waits for an
                                                     ///< offer; 0: never
  /// More parameters in the form of a NIC URI's query: "ack_every=1&sack=0". All that docs/uri.md
  /// lists are known; those of the port and the wire have no effect, and a field above that is not
  /// at its default wins.
  std::string parameters = {};
};

/// A state of RFC 9293 section 3.3.2.
enum class TcpState {
  kClosed,       ///< CLOSED
  kListen,       ///< LISTEN: offered to a listener
  kSynSent,      ///< SYN-SENT
  kSynReceived,  ///< SYN-RECEIVED
  kEstablished,  ///< ESTABLISHED
  kFinWait1,     ///< FIN-WAIT-1
  kFinWait2,     ///< FIN-WAIT-2
  kCloseWait,    ///< CLOSE-WAIT
  kClosing,      ///< CLOSING
  kLastAck,      ///< LAST-ACK
  kTimeWait,     ///< TIME-WAIT
};
/// As RFC 9293 writes it: "SYN-SENT".
const char* ToString(TcpState state);

/// Of a TCP connection, fixed before it opens. What is out of range is refused by Error EINVAL.
struct TcpOptions {
  /// Bytes of receives posted before the connection opens: the window the peer is offered. As with
  /// a socket, what has arrived uses it up until Receive takes it. At most 1 GiB.
  uint32_t receive_buffer = 65536;
  /// Bytes of one posted receive, at least 1; larger where the buffer would need more than 8192 of
  /// them. What arrives at one moment shares receives, so text that crosses the end of one is
  /// placed, and can be acknowledged, in two parts.
  uint32_t receive_chunk = 4096;
  bool repost = true;         ///< Receive posts what it has emptied again. false: only
                              ///< PostReceive opens the window, and brings what arrived beyond
                              ///< the receives: text of each later moment begins a new one
  uint32_t window_limit = 0;  ///< largest window ever, which decides the window scale, 4096 to
                              ///< 1 GiB; 0: receive_buffer, and 4096 at least
  uint32_t send_depth = 64;   ///< sends that may be outstanding, 1 to 128
  bool nagle = false;         ///< RFC 9293 3.7.4
  uint8_t dscp = 0;           ///< DiffServ code point of its packets, 0 to 63
  Time keepalive{0};          ///< silence before a probe, whole seconds up to 1,000,000; 0: the
                              ///< NIC's (never)
  uint8_t ack_every = 0;      ///< 0: the NIC's
  Time ack_delay{0};          ///< 1 us or more, below 500 ms; 0: the NIC's
  Time user_timeout{0};       ///< 1 ms or more; 0: the NIC's
};

/// Of a listener.
struct ListenOptions {
  uint32_t offered = 4;   ///< connections the NIC may open before they are accepted; 0: none
  uint16_t backlog = 16;  ///< SYNs that wait, unanswered, for one of these
  TcpOptions tcp = {};    ///< of its connections
};

/// Inside of a TCP connection, for diagnosis. Sequence numbers are absolute.
struct TcpInfo {
  TcpState state = TcpState::kClosed;  ///< as TcpConnection::State
  uint32_t iss = 0;                    ///< initial send sequence number
  uint32_t irs = 0;                    ///< initial receive sequence number
  uint32_t snd_una = 0;                ///< oldest unacknowledged
  uint32_t snd_nxt = 0;                ///< next to send
  uint32_t snd_wnd = 0;                ///< the peer's window, bytes
  uint32_t rcv_nxt = 0;                ///< next expected
  uint32_t rcv_wnd = 0;                ///< window advertised, bytes from rcv_nxt on
  uint32_t snd_mss = 0;                ///< largest payload of a segment sent
  uint32_t cwnd = 0;                   ///< congestion window, bytes
  uint32_t ssthresh = 0;               ///< slow start threshold, bytes
  Time srtt{0};                        ///< smoothed round-trip time; 0: none measured
  Time rttvar{0};                      ///< its variation
  Time rto{0};                         ///< retransmission time-out, without back-off
  bool timestamps = false;             ///< in use
  bool window_scaling = false;         ///< in use
  bool sack = false;                   ///< in use
};

/// What Receive found.
struct Received {
  Bytes data = {};                        ///< in order; may be empty
  bool end_of_stream = false;             ///< the peer's FIN, and all data before it was taken
  ibv_wc_status status = IBV_WC_SUCCESS;  ///< how the connection broke; IBV_WC_REM_ABORT_ERR
                                          ///< is the peer's RST. Only when all data was taken
};

/// One TCP connection: a stream queue pair with its memory. Destroying it gives the queue pair
/// back: the connection ends with RST if it is open, and is finished by the NIC alone (TIME-WAIT,
/// the last ACK) if its FIN has been sent and all data was acknowledged.
class TcpConnection {
 public:
  ~TcpConnection();
  TcpConnection(const TcpConnection&) = delete;
  TcpConnection& operator=(const TcpConnection&) = delete;

  TcpState State();           ///< as of now
  qpip::QpState HostState();  ///< what the host library knows: as of the NIC's last event
  DisconnectReason Reason();  ///< why it ended; kNone while it has not
  TcpInfo Info();             ///< everything zero when the connection is over
  Endpoint local();           ///< port 0 before there is one
  Endpoint peer();            ///< port 0 before there is one

  /// Posts `data` as one send, which must not be empty. Returns its number, from 1 on. Throws
  /// Error: ENOTCONN (not yet open, or shut down), ENOMEM (send_depth sends are outstanding).
  uint64_t Send(std::span<const uint8_t> data);
  /// The same, and the peer is told that urgent data ends with it (RFC 9293 3.8.5).
  uint64_t SendUrgent(std::span<const uint8_t> data);
  /// Urgent data and ICMPv6 errors since the last call. Needs a queue pair that is not given back.
  QpNotices TakeNotices();
  /// How a send ended: IBV_WC_SUCCESS when all its bytes were acknowledged; nullopt: it has not.
  std::optional<ibv_wc_status> SendStatus(uint64_t number);
  uint64_t BytesAcknowledged();  ///< of all sends that ended well
  size_t SendsOutstanding();     ///< sends that have not ended

  /// Takes up to `limit` bytes of what has arrived.
  Received Receive(size_t limit = SIZE_MAX);
  size_t Available();  ///< bytes that Receive would find: with `repost` off not what waits for a
                       ///< PostReceive
  /// Posts one more receive of `bytes`, so that the window opens by as many. Throws Error: ENOMEM
  /// (too many receives posted), ENOTCONN (the connection is over).
  void PostReceive(uint32_t bytes);

  /// Half-close: FIN behind everything sent. Throws Error ENOTCONN before the connection is open.
  /// The FIN is a segment of its own: what was sent leaves before, as the windows allow.
  void ShutdownSend();
  /// The orderly end: half-close now, and the queue pair is given back once the peer has closed
  /// too. What arrives meanwhile can be received until then.
  void Close();
  /// RST now; outstanding sends and receives are flushed. Nothing on a connection that is over.
  void Abort();

  qpip::QueuePair&
  queue_pair();  ///< for what is not wrapped. Throws Error ENOTCONN after Close has ended

 private:
  friend class Core;
  friend class TestBench;
  friend class TcpListener;
  struct Impl;
  explicit TcpConnection(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// A listening port, with queue pairs offered to it. Destroying it stops listening; connections
/// that were not accepted end with RST.
class TcpListener {
 public:
  ~TcpListener();
  TcpListener(const TcpListener&) = delete;
  TcpListener& operator=(const TcpListener&) = delete;

  uint16_t port() const;  ///< listened on
  /// The oldest connection that is established and not yet accepted; nullptr: there is none. As
  /// many connections as before are on offer afterwards.
  std::unique_ptr<TcpConnection> Accept();
  /// States of the connections not yet accepted: LISTEN, SYN-RECEIVED, ESTABLISHED, ...
  std::vector<TcpState> States();
  /// Offers `count` more connections.
  void Offer(uint32_t count = 1);

 private:
  friend class TestBench;
  struct Impl;
  explicit TcpListener(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Of a UDP socket.
struct UdpOptions {
  uint32_t receives = 16;         ///< datagrams that may wait to be received, 1 to 1024
  uint32_t receive_bytes = 2048;  ///< of each: the largest datagram taken
};

/// A received datagram.
struct Datagram {
  Endpoint from = {};  ///< sender
  Bytes data = {};     ///< payload
};

/// A UDP queue pair bound to a port.
class UdpSocket {
 public:
  ~UdpSocket();
  UdpSocket(const UdpSocket&) = delete;
  UdpSocket& operator=(const UdpSocket&) = delete;

  uint16_t port() const;  ///< bound to
  /// Sends one datagram. Throws Error EMSGSIZE when it does not fit the MTU.
  void SendTo(const Endpoint& peer, std::span<const uint8_t> data);
  std::optional<Datagram> Receive();  ///< the oldest; nullopt: none

 private:
  friend class Core;
  friend class TestBench;
  struct Impl;
  explicit UdpSocket(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// A packet the NIC refused, or could not send.
struct Drop {
  Time time{0};             ///< when
  std::string reason = {};  ///< as in docs/implemented.md, "Drop reasons"
};

/// One NIC on a bench. Connections, listeners and sockets may outlive it.
class TestBench {
 public:
  /// Throws std::invalid_argument when the options are out of range.
  explicit TestBench(const TestBenchOptions& options = {});
  ~TestBench();
  TestBench(const TestBench&) = delete;
  TestBench& operator=(const TestBench&) = delete;

  in6_addr address() const;  ///< the NIC's
  uint32_t mtu() const;      ///< bytes of the largest IPv6 packet

  // --- Time. It passes in these calls only; an hour without timers costs nothing.

  Time Now() const;  ///< since construction
  /// Lets the NIC do all it can do without time passing. Throws std::runtime_error when it does
  /// not come to rest, which is a bug.
  void StepUntilIdle();
  /// Goes to `moment`; timers on the way, and those of that very moment, fire at their exact times.
  /// Throws std::invalid_argument when it is in the past.
  void StepUntil(Time moment);
  void Advance(Time duration) { StepUntil(Now() + duration); }  ///< as StepUntil
  /// When the NIC will next do something by itself; nullopt: not before something happens.
  std::optional<Time> NextDeadline();
  /// Goes to the next deadline. Returns false, doing nothing, when there is none.
  bool StepToNextDeadline();
  /// Goes on until a packet is waiting, at most for `limit`, and takes it.
  std::optional<Packet> WaitForPacket(Time limit);

  // --- The wire.

  /// A packet arrives, whatever its bytes are. An input: see the head of this file.
  void InjectPacket(std::span<const uint8_t> bytes);
  std::optional<Packet> TakePacket();  ///< the oldest packet sent and not taken
  /// The oldest for which `wanted` says yes; others stay.
  std::optional<Packet> TakePacketIf(const std::function<bool(const Packet&)>& wanted);
  std::vector<Packet> TakePackets();  ///< all, in order

  // --- The host.

  /// Listens. Port 0: any. Throws Error: EADDRINUSE, ENOMEM (max_queue_pairs), EINVAL.
  std::unique_ptr<TcpListener> Listen(uint16_t port, const ListenOptions& options = {});
  /// Starts connecting: the SYN is sent at once. Throws Error: EADDRINUSE, ENOMEM, EINVAL.
  std::unique_ptr<TcpConnection> Connect(const Endpoint& peer, uint16_t local_port = 0,
                                         const TcpOptions& options = {});
  /// Binds a UDP socket. Port 0: any. Throws Error: EADDRINUSE, ENOMEM.
  std::unique_ptr<UdpSocket> BindUdp(uint16_t port, const UdpOptions& options = {});

  // --- Looking inside.

  std::map<std::string, uint64_t> Counters();  ///< by the names of docs/implemented.md
  std::vector<Drop> TakeDrops();               ///< since the last call, in order
  /// For what is not wrapped. A call that would have to wait throws std::logic_error.
  qpip::Nic& nic();

 private:
  std::shared_ptr<Core> core_;
};

}  // namespace qpip::testbench

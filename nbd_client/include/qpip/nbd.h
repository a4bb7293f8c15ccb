// An NBD client: asynchronous, over queue pairs or a kernel's sockets.
//
//     auto nic = qpip::Nic::Open("shm:lab");
//     auto pd = nic->AllocatePd();
//     qpip::nbd::Client disk(*nic, *pd, qpip::Endpoint::Parse("[fd00::1]:10809"));
//     std::span<std::byte> block = disk.Allocate(4096);     // registered: sent without a copy
//     disk.Read(0, block);                                  // waits
//
//     qpip::nbd::Io io;                                     // does not
//     io.op = qpip::nbd::Io::Op::kWrite;
//     io.length = block.size();
//     iovec run = {block.data(), block.size()};
//     io.data = {&run, 1};
//     io.done = [](qpip::nbd::Io& over) { if (over.error != 0) ...; };
//     disk.Submit(io);
//     while (disk.in_flight() > 0) disk.Wait();
//
// The protocol is that of the NBD project (doc/proto.md there): newstyle negotiation, structured
// replies and extended headers where the server has them, and without where it has not.
//
// There is no thread: what was submitted leaves, what has come is taken, lost connections are made
// again and `done` runs in Poll and Wait, of which Poll never waits. A thread that also waits for
// other things has fd() and Arm(), as of a completion queue.
//
// Threads: one at a time for each client.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "qpip/qpip.h"

namespace qpip::nbd {

namespace internal {
class ClientImpl;
}

/// What is known of a range of an export ("base:allocation").
struct BlockExtent {
  static constexpr uint32_t kHole = 1u << 0;    ///< not allocated
  static constexpr uint32_t kZeroes = 1u << 1;  ///< reads as zeroes
  uint64_t length = 0;                          ///< bytes
  uint32_t flags = 0;                           ///< of the two above
};

/// One command. The caller's, who leaves it alone from Submit until `done` has been called, after
/// which it may be submitted again. A value otherwise.
struct Io {
  /// What is to be done.
  enum class Op : uint8_t {
    kRead,    ///< fills `data`
    kWrite,   ///< stores `data`
    kFlush,   ///< what ended before it was submitted is on stable storage; no range
    kTrim,    ///< the range's content is no longer needed
    kZero,    ///< the range reads as zeroes afterwards
    kCache,   ///< the range will be read soon
    kStatus,  ///< fills `extents`
  };
  static constexpr uint32_t kFua = 1u << 0;     ///< a change: on stable storage when it is done
  static constexpr uint32_t kNoHole = 1u << 1;  ///< kZero: the range becomes, or stays, allocated
  /// kZero: ENOTSUP, and nothing is changed, unless faster than a write; also where it is longer
  /// than one command of the protocol's, 4 GiB.
  static constexpr uint32_t kFastZero = 1u << 2;
  static constexpr uint32_t kOneExtent = 1u << 3;  ///< kStatus: one extent

  Op op = Op::kRead;    ///< what is to be done
  uint32_t flags = 0;   ///< of the four above
  uint64_t offset = 0;  ///< bytes
  uint64_t length = 0;  ///< bytes, at least 1; of any length: what the server takes no more of at a
                        ///< time is cut in pieces
  /// Of kRead and kWrite: runs of memory, `length` bytes in all. The list and the memory stay until
  /// the end. What is memory of Allocate's is sent without a copy.
  std::span<const iovec> data;
  /// Of kStatus: room. `extent_count` of it are filled, from `offset` on; they may end before or
  /// behind the range's end.
  std::span<BlockExtent> extents;
  size_t extent_count = 0;  ///< of kStatus: how many were filled
  /// Called once, in Poll, Wait or the client's destructor. It may submit, but neither wait nor
  /// destroy the client, and must not throw.
  void (*done)(Io&) = nullptr;
  void* context = nullptr;  ///< the caller's own
  /// errno of the end, 0: done. The server's word (EPERM, EIO, ENOMEM, EINVAL, ENOSPC, EOVERFLOW,
  /// ENOTSUP, ESHUTDOWN); EINVAL: a range that is none, or what the server does not have (facts());
  /// EPROTO: it broke the protocol; another: why the connection is gone, and of a change it is not
  /// known whether it took place.
  int error = 0;

  Io* next = nullptr;   ///< the client's own
  uint32_t pieces = 0;  ///< the client's own: on their way
  uint8_t stage = 0;    ///< the client's own
};

/// What the server has said of its export.
struct ExportFacts {
  uint64_t bytes = 0;      ///< its size
  bool read_only = false;  ///< changes end with EPERM
  /// What the server has. Where it has not, the client makes do: a flush or cache is done at once,
  /// FUA is a flush behind the change, zeroes are written (a kFastZero ends with ENOTSUP), a trim
  /// does nothing.
  bool flush = false;
  bool fua = false;                 ///< see `flush`
  bool trim = false;                ///< see `flush`
  bool zero = false;                ///< see `flush`
  bool fast_zero = false;           ///< see `flush`
  bool cache = false;               ///< see `flush`
  bool rotational = false;          ///< a disk that turns
  bool multi_conn = false;          ///< a flush covers all connections
  bool block_status = false;        ///< kStatus can be asked
  bool structured_replies = false;  ///< agreed on, or extended headers
  bool extended_headers = false;    ///< agreed on
  uint32_t minimum = 1;             ///< offsets and lengths are multiples; a power of two
  uint32_t preferred = 4096;        ///< likewise, for speed
  /// Longest payload of one command, and longest range of a kZero or kCache; the client cuts what
  /// is longer.
  uint32_t maximum = 32u << 20;
  std::string description;  ///< for people; may be empty
};

/// Which changes a server has answered, and which of them are on stable storage. A client has one
/// of its own; where the server's flush covers all connections (multi_conn), clients of one export
/// share one, so that none takes for flushed what another's connection may have lost. Thread-safe.
class ChangeLedger {
 public:
  /// Changes that were answered so far.
  uint64_t answered() const { return answered_.load(); }
  /// The server has answered a change that it need not have on stable storage yet.
  void OnChange() { answered_.fetch_add(1); }
  /// A flush has succeeded that was sent when `answered` changes had been answered, on a connection
  /// that began when `before` of them had. It says nothing of those unless they were flushed
  /// already: the server may have lost them before this connection, and another one, which is dead
  /// and has not noticed yet, is yet to tell.
  void OnFlush(uint64_t before, uint64_t answered) {
    if (flushed_.load() >= before) (void)RaiseFlushed(answered);
  }
  /// A connection is lost. What was answered and not flushed may be too, and is written off.
  void OnLoss() {
    if (RaiseFlushed(answered())) losses_.fetch_add(1);
  }
  /// How many losses there were that changes may have been lost with.
  uint64_t losses() const { return losses_.load(); }
  /// Of these, how many somebody's flush has failed for.
  uint64_t reported() const { return reported_.load(); }
  /// A flush has failed for the first `losses` of them; others need not.
  void OnReported(uint64_t losses) { (void)Raise(reported_, losses); }

 private:
  static bool Raise(std::atomic<uint64_t>& number, uint64_t to) {
    uint64_t before = number.load();
    while (before < to && !number.compare_exchange_weak(before, to)) {
    }
    return before < to;
  }
  bool RaiseFlushed(uint64_t to) { return Raise(flushed_, to); }

  std::atomic<uint64_t> answered_ = 0;
  std::atomic<uint64_t> flushed_ = 0;
  std::atomic<uint64_t> losses_ = 0;
  std::atomic<uint64_t> reported_ = 0;
};

/// Of a Client.
struct ClientOptions {
  std::string export_name = {};  ///< "": the server's default
  /// How many connections, 1 to 64. More than one are used where the server says that its FLUSH
  /// covers all of them (multi-conn); elsewhere there is one.
  unsigned connections = 1;
  uint32_t depth = 64;  ///< commands in flight on each, 1 to 4096; more wait in the client
  bool structured_replies = true;  ///< asked for
  bool extended_headers = true;    ///< asked for, with structured replies
  bool block_status = true;        ///< base:allocation is asked for
  /// Of one attempt: connecting and negotiating.
  std::chrono::milliseconds attempt_limit{5000};
  /// How long a server that is not there is tried again at the start.
  std::chrono::milliseconds patience{2000};
  /// How long a server is tried again after the last connection was lost, before everything ends
  /// with an error. 0: it is not, and the first loss ends everything. A connection on which a
  /// command is refused with ESHUTDOWN counts as lost, unless this is 0.
  std::chrono::milliseconds reconnect{0};
  /// What was in flight when a connection was lost is sent again after it. Reads, status, flush and
  /// cache always are. Changes are unless this is false, and then end with ECONNRESET: to do one
  /// twice is harmless by itself, but where the server lives on and only the way to it was broken,
  /// the first may still wait there and be done after what the caller has written since.
  bool replay_changes = true;
  /// The server may lose, with a connection, changes that it has answered and not flushed, as a
  /// machine without power does and a killed process does not: then flushes that were under way at
  /// a loss that such changes came before, and the first one after it, end with EIO.
  bool volatile_server = false;
  /// Of a volatile server: shared with other clients. nullptr: the client's own.
  std::shared_ptr<ChangeLedger> ledger = nullptr;
  /// What the export is known to be: another size, or less than that, ends everything with ESTALE,
  /// at the first connection as after a loss.
  std::optional<ExportFacts> expected = std::nullopt;
  /// A connection on which a command waits, and no byte has come or gone for so long, counts as
  /// lost. 0: none does.
  std::chrono::milliseconds silence{0};
  /// A server that has been silent for so long is asked whether it is there (RFC 9293 3.8.4), and
  /// the connection counts as lost when it does not answer. Of a kernel's TCP: within as long
  /// again, at least 4 s; the same holds where it takes no bytes for so long. Over queue pairs:
  /// within what the NIC's URI says (keepalive_interval_s, keepalive_probes; user_timeout_ms of
  /// what was sent). 0: a kernel's socket waits for ever, a queue pair as its NIC's URI has it.
  std::chrono::seconds keepalive{60};
  /// The constructor returns at once: what is submitted waits for the connections, and facts() are
  /// the server's from the first of them on.
  bool start_only = false;
};

/// Of a client, so far.
struct ClientCounts {
  uint64_t commands = 0;    ///< ended
  uint64_t reconnects = 0;  ///< connections that were made again
  uint64_t replayed = 0;    ///< commands, or pieces of such, that were sent again
};

/// What a URI names: "nbd://HOST[:PORT]/EXPORT", "nbd+unix:///EXPORT?socket=PATH" (the NBD project,
/// doc/uri.md) or, of our own, "nbd+qp://[ADDRESS][:PORT]/EXPORT": by queue pairs of a NIC.
struct Uri {
  std::string where;         ///< "HOST:PORT" or a path, for Client
  std::string export_name;   ///< decoded
  bool queue_pairs = false;  ///< `where` is an Endpoint's text

  /// Whether it begins as one of them does.
  static bool Is(std::string_view text);
  /// Throws ParseError.
  static Uri Parse(std::string_view text);
};

/// An export of a server, and the connections to it. See the top of this file.
class Client {
 public:
  /// Over queue pairs to `server`. Blocks until the connections are there, or as many as there are
  /// when the patience is over. `pd` and the NIC must outlive the client. Throws Error: what
  /// connecting says; ENOENT (no such export), EPROTO (not an NBD server, or one that breaks the
  /// protocol), EACCES (it wants TLS, or refuses by policy), ETIMEDOUT, EINVAL (options).
  Client(Nic& nic, ProtectionDomain& pd, const Endpoint& server, const ClientOptions& options = {});
  /// Over a kernel's socket: a path, or "ADDRESS:PORT", "[ADDRESS]:PORT", "NAME:PORT". Throws the
  /// same.
  explicit Client(const std::string& where, const ClientOptions& options = {});
  /// Takes leave of the server as the protocol has it, for at most a second. Commands that are in
  /// flight end with ECANCELED.
  ~Client();
  Client(const Client&) = delete;             ///< Not copied.
  Client& operator=(const Client&) = delete;  ///< Not copied.

  const ExportFacts& facts() const;  ///< what the server has said
  ClientCounts counts() const;       ///< so far
  /// Connections there are.
  size_t connections() const;
  /// Why everything has ended, "" while it has not. What is submitted then ends with an error.
  const std::string& failure() const;

  /// Memory for payload, zeroed, that the NIC knows (for sockets: ordinary memory). It goes with
  /// the client. Throws Error ENOMEM.
  std::span<std::byte> Allocate(size_t bytes);
  /// Memory of the caller's, registered in the client's domain, is sent from without a copy too.
  /// It must outlive the client. Of sockets it does nothing.
  void Use(const MemoryRegion& region);

  /// Takes a command. Never waits. `done` does not run inside of it.
  void Submit(Io& io);
  /// Commands submitted whose `done` has not been called.
  size_t in_flight() const;
  /// Sends what there is room for, takes what has come, calls `done`. Never waits. Returns how many
  /// commands have ended.
  size_t Poll();
  /// Like Poll, but sleeps until at least one has ended, or the time is over (0). Returns 0 at
  /// once when there is none in flight.
  size_t Wait(Timeout timeout = std::nullopt);
  /// For poll(2): readable when there may be something for Poll, from Arm() until then. The
  /// client's own. Throws Error: no descriptor.
  int fd();
  /// Sends, and asks for fd() to become readable. Returns false when Poll has something to do now.
  [[nodiscard]] bool Arm();

  /// Reads and waits, as those below do for their commands: others may end meanwhile. They return
  /// Io::error.
  int Read(uint64_t offset, std::span<std::byte> into);
  /// `flags`: Io::kFua.
  int Write(uint64_t offset, std::span<const std::byte> from, uint32_t flags = 0);
  int Flush();  ///< Io::Op::kFlush.
  /// `flags`: Io::kFua.
  int Trim(uint64_t offset, uint64_t length, uint32_t flags = 0);
  /// `flags`: Io::kFua, Io::kNoHole, Io::kFastZero.
  int Zero(uint64_t offset, uint64_t length, uint32_t flags = 0);
  int Cache(uint64_t offset, uint64_t length);  ///< Io::Op::kCache.
  /// Fills the front of `extents`, and says how many.
  int Status(uint64_t offset, uint64_t length, std::span<BlockExtent> extents, size_t* count);
  /// Submits `io` and waits for it; its `done` and `context` are set.
  int Do(Io& io);

 private:
  std::unique_ptr<internal::ClientImpl> impl_;
};

}  // namespace qpip::nbd

// Byte streams over queue pairs: what an application protocol without message boundaries needs
// (NBD, HTTP, anything a conventional socket at the other end speaks).
//
//   StreamReader   posts receive buffers on a QP of Framing::kStream and presents what arrives, in
//                  order, without copying.
//   StreamWriter   a ring of registered memory that sends are copied into, or zero-copy sends of
//                  memory the application has registered itself.
//   ByteStream     a QP, its CQ, a reader and a writer with blocking calls, for simple programs.
//
// StreamReader and StreamWriter never block and never poll. The application owns the Poll loop and
// hands each completion over; one CQ may serve any number of QPs:
//
//     size_t n = cq->Wait(completions);
//     for (const auto& wc : std::span(completions).first(n)) {
//       Connection& c = connections.at(wc.qp_num);
//       if (!c.reader.OnCompletion(wc)) c.writer.OnCompletion(wc);
//       c.MakeProgress();   // c.reader.TryReadExact(header), c.writer.Write(...)
//     }
//
// All receives of the QP belong to its reader, all sends to its writer, for the QP's life: it takes
// one of each. Objects may be destroyed in any order: the QP keeps the memory that its posted work
// points into, and a reader or a writer that outlives it finds the connection over.
// Threads: one at a time for each object; a reader and a writer of one QP may be used by two
// threads. Where bytes are written or read, strings, arrays and spans of char, unsigned char or
// std::byte will do (qpip/bytes.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>

#include "qpip/bytes.h"
#include "qpip/qpip.h"

namespace qpip {

namespace internal {
class VconnCore;
}

enum class StreamState {
  kOpen,         ///< more may come
  kEndOfStream,  ///< the peer has shut down its direction (FIN); all its bytes have arrived
  kError,        ///< the connection broke; bytes that arrived before can still be read
};

/// Of a StreamReader. All posted buffers together bound the window the peer sees.
struct StreamReaderOptions {
  size_t buffer_bytes = 64 * 1024;  ///< of one receive, at least 1
  uint32_t buffers = 16;            ///< receives kept posted, at most the QP's recv_depth
};

/// Receives a byte stream. Construction posts the buffers, which is allowed before the QP is
/// connected. The bytes not yet consumed and the posted buffers are the whole memory; the window
/// the peer sees follows the posted buffers, so a reader that is not consumed stops its peer.
class StreamReader {
 public:
  /// `pd` must be the QP's. Throws Error: EINVAL (options), ENOMEM (recv_depth too small,
  /// registration), ENOTCONN, EBUSY (the QP has or had a reader).
  StreamReader(ProtectionDomain& pd, QueuePair& qp, const StreamReaderOptions& options = {});
  StreamReader(const StreamReader&) = delete;
  StreamReader& operator=(const StreamReader&) = delete;

  /// Takes a completion. Returns false, doing nothing, when it is not a receive of this QP.
  bool OnCompletion(const WorkCompletion& completion);

  /// The first contiguous run of received bytes; empty when there is none. Valid until Consume.
  std::span<const std::byte> Readable() const;
  /// All received bytes as runs, in order; fills at most out.size() and returns how many. For
  /// writev-like use. Valid until Consume.
  size_t Readable(std::span<std::span<const std::byte>> out) const;
  /// Bytes received and not consumed.
  size_t available() const { return available_; }
  /// Gives back the first `bytes` (at most available()). Buffers used up are posted again.
  void Consume(size_t bytes);

  /// Copies exactly out.size() bytes and consumes them; returns false, taking nothing, when fewer
  /// are there.
  [[nodiscard]] bool TryReadExact(MutableBytes out);
  /// Copies and consumes what is there, at most out.size(). Returns how many bytes.
  [[nodiscard]] size_t ReadSome(MutableBytes out);

  StreamState state() const { return state_; }  ///< kOpen until the stream ends
  /// True once the stream has ended (either way) and every byte has been consumed.
  bool drained() const { return state_ != StreamState::kOpen && available_ == 0; }
  /// Status behind kError; IBV_WC_SUCCESS otherwise.
  ibv_wc_status error() const { return error_; }
  /// How the connection ended, behind kError; kNone otherwise, and when a request of our own
  /// failed.
  DisconnectReason reason() const { return reason_; }

 private:
  struct Filled {
    uint32_t buffer;
    uint32_t offset;  ///< first byte not consumed
    uint32_t end;     ///< one past the last byte received
  };
  int PostBuffer(uint32_t buffer);
  void EndIfRefused();
  const std::byte* BufferAt(uint32_t buffer) const;

  std::shared_ptr<internal::QpImpl> qp_;
  size_t buffer_bytes_;
  std::shared_ptr<MemoryRegion> memory_;  ///< the QP's too
  std::deque<Filled> filled_;
  size_t available_ = 0;
  uint32_t outstanding_ = 0;  ///< receives posted and not completed
  bool refused_ = false;      ///< one could not be posted: the connection is over
  StreamState state_ = StreamState::kOpen;
  ibv_wc_status error_ = IBV_WC_SUCCESS;
  DisconnectReason reason_ = DisconnectReason::kNone;
};

/// Of a StreamWriter.
struct StreamWriterOptions {
  size_t buffer_bytes = 256 * 1024;  ///< of the ring that Write copies into, at least 4096
  uint32_t max_message = 64 * 1024;  ///< bytes one send work request covers at most
};

/// Sends a byte stream. Every send is a signalled work request, so the QP's send_depth and its CQ
/// bound how many are outstanding.
class StreamWriter {
 public:
  /// Identifies everything written up to and including one call; see Done().
  using Ticket = uint64_t;

  /// `pd` must be the QP's. Throws Error: EINVAL (options), ENOMEM (registration), EBUSY (the QP
  /// has or had a writer).
  StreamWriter(ProtectionDomain& pd, QueuePair& qp, const StreamWriterOptions& options = {});
  StreamWriter(const StreamWriter&) = delete;
  StreamWriter& operator=(const StreamWriter&) = delete;

  /// Takes a completion. Returns false, doing nothing, when it is not a send of this QP.
  bool OnCompletion(const WorkCompletion& completion);

  /// Copies as much of `data` as there is room for and posts it. Returns how many bytes were
  /// taken: less than asked when the ring or the send queue is full (call again after a
  /// completion) or when state() is kError.
  [[nodiscard]] size_t Write(ConstBytes data);
  /// Like Write, but takes all of `data`, as one send, or nothing. Data larger than the ring is
  /// never taken. Throws Error EINVAL when the QP's max_send_sge is 1.
  [[nodiscard]] bool WriteAll(ConstBytes data);

  /// Posts registered memory without copying it, behind `header`, which is copied (a protocol's
  /// reply header and its payload become one send). The memory must stay unchanged until Done()
  /// of the ticket. `payload` has at most the QP's max_send_sge elements, less one with a header
  /// (Error EINVAL otherwise, and for an empty message).
  /// Returns nullopt, taking nothing, when the ring or the send queue is full, or in kError.
  [[nodiscard]] std::optional<Ticket> WriteRegistered(std::span<const ibv_sge> payload,
                                                      ConstBytes header = {});

  /// Ticket of the last accepted write; 0: none yet.
  Ticket last() const { return posted_; }
  /// True when everything up to `ticket` has been acknowledged by the peer, or has failed
  /// (state() is kError): the memory may be used again.
  bool Done(Ticket ticket) const { return ticket <= completed_; }
  /// True when nothing is outstanding.
  bool idle() const { return completed_ == posted_; }
  /// Bytes that Write could take now, were the send queue not full.
  size_t room() const;

  StreamState state() const { return state_; }  ///< kOpen or kError
  /// Status of the first send that failed; IBV_WC_SUCCESS otherwise.
  ibv_wc_status error() const { return error_; }
  /// How the connection ended, behind kError; kNone otherwise, and when a request of our own
  /// failed.
  DisconnectReason reason() const { return reason_; }

 private:
  friend class internal::VconnCore;
  struct Outstanding {
    uint64_t ring_end;  ///< the ring is free up to here once this send has completed
  };
  bool Post(std::span<ibv_sge> list, uint64_t ring_end);
  std::byte* RingAt(uint64_t position) const;
  size_t CopyIn(std::span<const ConstBytes> parts, ibv_sge* list) const;
  /// Copies `copied` and posts it with `payload` behind it, as one send. nullopt, having taken
  /// nothing, when the ring or the send queue is full, or in kError.
  std::optional<Ticket> WriteParts(std::span<const ConstBytes> copied,
                                   std::span<const ibv_sge> payload);

  std::shared_ptr<internal::QpImpl> qp_;
  size_t ring_bytes_;
  uint32_t max_message_;
  std::shared_ptr<MemoryRegion> memory_;  ///< the QP's too
  std::deque<Outstanding> outstanding_;
  uint64_t ring_head_ = 0;  ///< bytes ever put in, gaps at the wrap included
  uint64_t ring_tail_ = 0;  ///< bytes ever given back
  Ticket posted_ = 0;
  Ticket completed_ = 0;
  StreamState state_ = StreamState::kOpen;
  ibv_wc_status error_ = IBV_WC_SUCCESS;
  DisconnectReason reason_ = DisconnectReason::kNone;
};

/// Of a ByteStream.
struct ByteStreamOptions {
  StreamReaderOptions reader;  ///< receive buffers
  StreamWriterOptions writer;  ///< send ring
  uint32_t send_depth = 64;    ///< sends outstanding
  /// A blocking call gives up (ETIMEDOUT) when nothing at all has completed for so long.
  Timeout timeout = std::nullopt;
};

/// A TCP QP of Framing::kStream with blocking calls. Owns QP, CQ, reader and writer. One thread
/// at a time. All calls throw Error: ETIMEDOUT (the time-out given, or the peer does not answer)
/// and, when the connection broke, a code that says how: ECONNRESET, ECONNABORTED (from this side),
/// EHOSTUNREACH, ENETDOWN (this NIC's link), EPIPE (closed), EIO; the text says the same in words.
class ByteStream {
 public:
  /// Creates the QP, idle, with its receives posted: connect() or offer qp() to a Listener.
  ByteStream(Nic& nic, ProtectionDomain& pd, const ByteStreamOptions& options = {});
  /// Ends the connection with RST if it is open: Flush, or CloseWrite and read to the end, first.
  ~ByteStream();
  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;

  QueuePair& qp() { return *qp_; }             ///< owned by the stream
  CompletionQueue& cq() { return *cq_; }       ///< of sends and receives
  StreamReader& reader() { return *reader_; }  ///< its receiving side
  StreamWriter& writer() { return *writer_; }  ///< its sending side

  void Connect(const Endpoint& peer);  ///< Blocks until connected; throws as QueuePair::Connect.
  /// Waits for at least one byte. Returns 0 at the end of the stream.
  [[nodiscard]] size_t Read(MutableBytes out);
  /// Waits for exactly out.size() bytes. Returns false when the stream ended before the first of
  /// them; throws Error EPIPE when it ended in the middle.
  [[nodiscard]] bool ReadExact(MutableBytes out);
  /// Waits until there is something in reader().Readable() or the stream has ended.
  std::span<const std::byte> WaitReadable();
  /// Takes all of `data`, waiting for room. Returns before the peer has acknowledged it.
  void Write(ConstBytes data);
  /// Sends registered memory without copying; waits for room, not for the acknowledgement.
  StreamWriter::Ticket WriteRegistered(std::span<const ibv_sge> payload, ConstBytes header = {});
  /// Waits until the peer has acknowledged everything up to `ticket` (default: all).
  void Flush(std::optional<StreamWriter::Ticket> ticket = std::nullopt);
  /// Half-closes behind everything written: the peer reads end of stream. Reading goes on.
  void CloseWrite();

 private:
  /// Waits for completions and hands them out. Throws ETIMEDOUT.
  void Pump();
  void ThrowIfWriteFailed() const;
  void ThrowIfReadFailed() const;
  [[noreturn]] void Throw(const char* doing, ibv_wc_status status, DisconnectReason reason) const;

  Timeout timeout_;
  std::unique_ptr<CompletionQueue> cq_;
  std::unique_ptr<QueuePair> qp_;
  std::unique_ptr<StreamReader> reader_;
  std::unique_ptr<StreamWriter> writer_;
};

}  // namespace qpip

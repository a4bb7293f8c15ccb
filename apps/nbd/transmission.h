// The server's side of NBD's transmission phase: many requests in flight, answered as they end.
//
//     header ──> CheckRequest ──> memory for it ──> payload ──> Device::Submit ... done ──> reply
//
// Up to `done` one request is dealt with at a time, in the order in which they arrive; a request
// that must wait for memory makes those behind it wait in the connection. What is submitted ends in
// any order.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "apps/nbd/memory_budget.h"
#include "apps/nbd/negotiation.h"
#include "apps/nbd/reply_writer.h"
#include "apps/nbd/transport.h"
#include "protocols/nbd/transmission.h"
#include "storage/core/buffer_pool.h"
#include "storage/core/device.h"
#include "storage/core/thread_executor.h"

namespace qpip::nbd {

struct TransmissionCounts {
  uint64_t requests = 0;
  uint64_t bytes_read = 0;
  uint64_t bytes_written = 0;
  uint64_t errors = 0;  ///< requests answered with an error
};

/// Serves one client. Waits; one thread, which is also the executor's.
class Transmission {
 public:
  /// Requests in flight, pieces of long reads among them.
  static constexpr size_t kMaxInFlight = 128;
  /// Longest read or write that is one request to the device out of the connection's own memory.
  static constexpr size_t kPieceBytes = 256 * 1024;
  /// Longest read that is answered by one chunk because the client asks for it (DF).
  static constexpr size_t kMaxUnfragmentedBytes = 1024 * 1024;

  /// References must outlive it. `budget`: for what is longer than kPieceBytes.
  Transmission(Transport& transport, storage::ThreadExecutor& executor, const Agreement& agreement,
               MemoryBudget& budget);
  ~Transmission();  ///< Waits for what is in flight.
  Transmission(const Transmission&) = delete;
  Transmission& operator=(const Transmission&) = delete;

  /// Returns when the client disconnects (DISC or the end of its stream) or the server is to stop,
  /// and what was in flight has been answered. Throws ConnectionLost.
  void Run();

  const TransmissionCounts& counts() const { return counts_; }

 private:
  struct Slot;
  struct LargeMemory;
  class ReplyLimit;
  enum class State {
    kHeader,   ///< the next request's header is awaited
    kMemory,   ///< a request waits for memory for its payload
    kPayload,  ///< ... for the rest of its payload
    kDrain,    ///< ... for the rest of a payload that nobody wants
    kPieces,   ///< a read is cut in pieces, each of which waits for memory
  };

  /// One step with the request that is dealt with. Returns false when it has to wait.
  bool Advance();
  bool TakeHeader();
  void Begin();
  void BeginRead();
  bool TakeMemory();
  bool TakePayload();
  bool DrainSome();
  bool TakePiece();
  bool awaits_bytes() const;
  WaitFor awaited() const;

  /// nullptr: as many as may be are in flight.
  Slot* TakeSlot();
  void PutSlot(Slot& slot);
  /// Payload memory of the connection's own or, for more, of its own making.
  bool TakeBuffer(Slot& slot, size_t bytes);
  void Reclaim();
  void Submit(Slot& slot);
  static void OnDone(storage::Request& over);
  void Answer(Slot& slot);
  void AnswerRead(Slot& slot);
  void AnswerStatus(Slot& slot);
  void Refuse(uint32_t error);
  /// What was answered leaves now.
  void FlushReplies();

  Transport& transport_;
  storage::ThreadExecutor& executor_;
  storage::Device& device_;
  ExportLimits limits_;
  MemoryBudget& budget_;
  ReplyWriter replies_;
  storage::BufferPool pool_;
  TransmissionCounts counts_;

  State state_ = State::kHeader;
  std::array<uint8_t, kExtendedRequestBytes> header_ = {};
  size_t header_have_ = 0;     ///< bytes of the next request's header received
  Request asked_;              ///< what is dealt with
  Slot* current_ = nullptr;    ///< its slot, once it has one
  uint64_t moved_ = 0;         ///< bytes of its payload received, or of its range given to pieces
  uint32_t refusal_ = 0;       ///< for when its payload has been drained
  bool ended_ = false;         ///< no more requests
  bool dropped_ = false;       ///< nobody to answer any more
  bool budget_lacks_ = false;  ///< it waits for other connections
  size_t large_bytes_ = 0;     ///< of the budget that its requests have
  bool awaits_large_payload_ = false;  ///< the transport has a deadline for it

  /// Its client has gone without a word, or the server is to stop: what takes long need not go on.
  /// Read by other threads.
  std::atomic<bool> cancelled_ = false;

  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> free_slots_;
  size_t in_flight_ = 0;
  /// Payload that was sent and is not free yet, oldest first.
  struct Sending {
    uint64_t ticket;
    std::span<const std::byte> buffer;
  };
  std::array<Sending, storage::BufferPool::kChunks> sending_;
  size_t sending_first_ = 0;
  size_t sending_count_ = 0;
};

}  // namespace qpip::nbd

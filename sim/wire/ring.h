// A single-producer single-consumer byte ring of frames, in memory that may be shared.
//
// Entries start on cache lines and never wrap (a pad entry skips the rest of a lap):
//
//     +--------+------------------------+-----------------------------+
//     | commit | inline bytes           | references, 16 bytes each   |   multiple of 64 bytes
//     +--------+------------------------+-----------------------------+
//
// The commit word says what the entry is and is stored last, with release order, so the first
// cache line that the consumer waits for brings the frame with it and no separate tail index
// crosses between the cores. Before an entry is committed the next one's word is cleared; thus the
// consumer, which only moves on past a committed entry, never takes old payload for a commit word.
// The way back is `RingHeader::released`, which the producer reads when it believes the ring full.
//
// Nothing read from the ring is trusted: the consumer checks every length and offset before use.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstdint>
#include <span>

#include "sim/wire/layout.h"

namespace qpip::wire {

/// Payload in the source's shared region.
struct Reference {
  uint64_t offset = 0;  ///< from the start of the shared region
  uint32_t length = 0;
  /// Of a frame's first reference: whose the payload is, the source's number; kRevoked once the
  /// source has taken the payload back. Atomic from the entry's commit on.
  uint32_t owner = 0;
};
static_assert(sizeof(Reference) == 16);
inline constexpr uint32_t kRevoked = UINT32_MAX;

/// Of a ring's positions, which count on, where in the ring.
inline constexpr uint64_t kRingPositionMask = kRingDataBytes - 1;

/// The writing end. One thread at a time.
class RingProducer {
 public:
  /// (Re)opens the ring at `ring` (kRingStride bytes) for one incarnation of its destination. The
  /// ring's previous reader must be gone.
  void Open(uint8_t* ring, uint32_t destination_generation);

  /// Appends a frame: copies of `header` and `pieces` (`inline_bytes` in total), then
  /// `references`. `summed`: its transport checksum has been computed. Returns false when there is
  /// no room, or when the reader broke the ring.
  bool Write(std::span<const uint8_t> header, std::span<const iovec> pieces, uint32_t inline_bytes,
             std::span<const Reference> references, bool summed);

  /// Asks the consumer to say when there is room again. Returns true when there is room for a
  /// largest frame now: the request may then go unanswered.
  bool RequestRoom();

  /// Ring bytes behind the newest entry: the position up to which the consumer must have
  /// released before nobody refers to any frame written so far.
  uint64_t position() const { return head_; }
  /// Has the consumer released everything up to `position`?
  bool Released(uint64_t position);
  /// Does the consumer look at the ring by itself? Asked behind a write, and behind a
  /// read-modify-write that is sequentially consistent: a consumer that stops looking sees the
  /// frame, or is seen here.
  bool watched() const { return header_->watched.load(std::memory_order_seq_cst) != 0; }
  /// Does the consumer hold anything, or has it yet to read it?
  bool Outstanding() { return !Released(head_); }
  /// How far the consumer has come, as last read (Released, Outstanding).
  uint64_t released() const { return released_; }
  /// Takes the payload of `owner`'s frames before `position` back from the consumer, which sees it
  /// once it has copied. Returns how many frames that concerned.
  uint32_t Revoke(uint64_t position, uint32_t owner);
  /// The released index was not one a sane consumer writes.
  bool broken() const { return broken_; }

 private:
  bool HasRoom(uint64_t bytes);
  void ReloadReleased();
  std::atomic<uint64_t>& CommitWord(uint64_t position);

  uint8_t* data_ = nullptr;
  RingHeader* header_ = nullptr;
  uint64_t head_ = 0;
  uint64_t released_ = 0;  ///< as last read
  bool broken_ = false;
};

/// What the reading end found.
enum class RingRead : uint8_t { kEmpty, kFrame, kBroken };

/// A frame in the ring.
struct RingFrame {
  uint64_t end = 0;  ///< ring position behind it, for Release
  uint32_t length = 0;
  uint32_t piece_count = 0;
  /// With references: the word that says whether the source has taken the payload back.
  const uint32_t* owner = nullptr;
  bool summed = false;  ///< the transport checksum has been computed
};
inline constexpr uint32_t kMaxPieces = 1 + kMaxReferences;

/// Whether a frame's payload, copied before this call, was still the frame's when it was read.
bool PayloadIntact(const uint32_t* owner);

/// The reading end. One thread at a time. Frames are read in order and given back in order; the
/// caller keeps track of those that are given back early.
class RingConsumer {
 public:
  /// `ring`: kRingStride bytes; `region`: the source's shared region, kSharedRegionBytes.
  void Open(uint8_t* ring, uint8_t* region);
  bool is_open() const { return header_ != nullptr; }

  /// Reads the next frame; `pieces` (kMaxPieces) are filled with where it lies.
  RingRead Read(iovec* pieces, RingFrame* frame);
  /// Would Read find anything?
  bool HasEntry() const {
    return SharedAt<std::atomic<uint64_t>>(data_, next_ & kRingPositionMask)
               ->load(std::memory_order_acquire) != 0;
  }
  /// Everything before `position` is free for the producer. Not yet told to it: see Publish.
  void Release(uint64_t position) { released_ = position; }
  uint64_t unpublished_bytes() const { return released_ - published_; }
  /// Tells the producer what has been released. Returns true when the producer waits for room and
  /// has to be woken (a request made at this very moment may be missed; CheckWaiting sees it).
  bool Publish();
  /// Tells the producer whether to say when it has written. One that stops watching reads once
  /// more.
  void Watch(bool watched);
  /// Like Publish's answer, but ordered behind everything published: no request is missed.
  bool CheckWaiting();

 private:
  RingRead ReadAt(uint64_t offset, uint64_t word, iovec* pieces, RingFrame* frame);

  uint8_t* data_ = nullptr;
  uint8_t* region_ = nullptr;
  RingHeader* header_ = nullptr;
  uint64_t next_ = 0;
  uint64_t released_ = 0;
  uint64_t published_ = 0;
};

}  // namespace qpip::wire

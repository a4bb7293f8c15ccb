#include "sim/wire/ring.h"

#include <cstring>

namespace qpip::wire {
namespace {

constexpr uint64_t kMask = kRingPositionMask;
constexpr uint32_t kCommitBytes = 8;
static_assert((kRingDataBytes & kMask) == 0);

enum EntryKind : uint8_t {
  kFrameEntry = 1,   ///< a frame whose transport checksum has not been computed
  kPadEntry = 2,     ///< nothing up to the ring's end
  kSummedEntry = 3,  ///< a frame whose checksum has been: what damages it later shows
};

// Commit word: tag (16 bits), kind (8), references (8), inline bytes (32). Never 0. The tag counts
// laps, so that a reader led astray by a damaged ring stops at an entry of the lap before instead
// of going round in circles.
constexpr uint64_t Tag(uint64_t position) { return (0x5150 ^ position / kRingDataBytes) & 0xffff; }

constexpr uint64_t MakeCommit(uint64_t position, EntryKind kind, uint32_t references,
                              uint32_t inline_bytes) {
  return Tag(position) << 48 | uint64_t{kind} << 40 | uint64_t{references} << 32 | inline_bytes;
}

struct Commit {
  explicit constexpr Commit(uint64_t word)
      : tag(word >> 48),
        kind(static_cast<uint8_t>(word >> 40)),
        references(static_cast<uint8_t>(word >> 32)),
        inline_bytes(static_cast<uint32_t>(word)) {}
  uint64_t tag;
  uint8_t kind;
  uint8_t references;
  uint32_t inline_bytes;
};

constexpr uint32_t ReferencesOffset(uint32_t inline_bytes) {
  return (kCommitBytes + inline_bytes + 7) & ~7u;
}

/// The first reference's Reference::owner.
uint32_t* OwnerWord(uint8_t* entry, uint32_t inline_bytes) {
  return SharedAt<uint32_t>(entry, ReferencesOffset(inline_bytes) + offsetof(Reference, owner));
}

constexpr uint32_t EntryBytes(uint32_t inline_bytes, uint32_t references) {
  const uint32_t end =
      ReferencesOffset(inline_bytes) + references * static_cast<uint32_t>(sizeof(Reference));
  return (end + kCacheLine - 1) & ~(kCacheLine - 1);
}

// Worst case of Write: a largest frame behind a pad of nearly the same size.
constexpr uint64_t kLargestNeed =
    2 * uint64_t{EntryBytes(kMaxFrameBytes, kMaxReferences)} + kCacheLine;
static_assert(kLargestNeed <= kRingDataBytes / 4);

}  // namespace

std::atomic<uint64_t>& RingProducer::CommitWord(uint64_t position) {
  return *SharedAt<std::atomic<uint64_t>>(data_, position & kMask);
}

void RingProducer::Open(uint8_t* ring, uint32_t destination_generation) {
  header_ = SharedAt<RingHeader>(ring);
  data_ = ring + kRingDataOffset;
  head_ = released_ = 0;
  broken_ = false;
  header_->released.store(0, std::memory_order_relaxed);
  header_->producer_waiting.store(0, std::memory_order_relaxed);
  header_->watched.store(1, std::memory_order_relaxed);
  CommitWord(0).store(0, std::memory_order_relaxed);
  header_->destination_generation.store(destination_generation, std::memory_order_release);
}

void RingProducer::ReloadReleased() {
  const uint64_t released = header_->released.load(std::memory_order_acquire);
  if (released < released_ || released > head_ || released % kCacheLine != 0) {
    broken_ = true;
    return;
  }
  released_ = released;
}

bool RingProducer::HasRoom(uint64_t bytes) {
  if (head_ - released_ + bytes <= kRingDataBytes) return true;
  ReloadReleased();
  return !broken_ && head_ - released_ + bytes <= kRingDataBytes;
}

bool RingProducer::Released(uint64_t position) {
  if (position <= released_) return true;
  ReloadReleased();
  return broken_ || position <= released_;
}

bool RingProducer::RequestRoom() {
  // Read-modify-write on both sides (see CheckWaiting): either the consumer sees the request, or
  // the request comes behind the consumer's and the reload below sees what it had released.
  if (header_->producer_waiting.load(std::memory_order_relaxed) == 0) {
    header_->producer_waiting.exchange(1, std::memory_order_seq_cst);
  }
  return HasRoom(kLargestNeed);
}

bool RingProducer::Write(std::span<const uint8_t> header, std::span<const iovec> pieces,
                         uint32_t inline_bytes, std::span<const Reference> references,
                         bool summed) {
  const uint32_t bytes = EntryBytes(inline_bytes, static_cast<uint32_t>(references.size()));
  const uint64_t to_end = kRingDataBytes - (head_ & kMask);
  const uint64_t pad = bytes > to_end ? to_end : 0;
  if (broken_ || !HasRoom(pad + bytes + kCacheLine)) return false;

  const uint64_t start = head_ + pad;
  uint8_t* entry = data_ + (start & kMask);
  CommitWord(start + bytes).store(0, std::memory_order_relaxed);
  uint8_t* to = entry + kCommitBytes;
  std::memcpy(to, header.data(), header.size());
  to += header.size();
  for (const iovec& piece : pieces) {
    if (piece.iov_len == 0) continue;
    std::memcpy(to, piece.iov_base, piece.iov_len);
    to += piece.iov_len;
  }
  if (!references.empty()) {
    std::memcpy(entry + ReferencesOffset(inline_bytes), references.data(), references.size_bytes());
  }
  CommitWord(start).store(MakeCommit(start, summed ? kSummedEntry : kFrameEntry,
                                     static_cast<uint32_t>(references.size()), inline_bytes),
                          std::memory_order_release);
  if (pad != 0) {
    // The consumer stands before the pad, so this is what shows it the frame behind.
    CommitWord(head_).store(MakeCommit(head_, kPadEntry, 0, 0), std::memory_order_release);
  }
  head_ = start + bytes;
  return true;
}

// A sequence lock's writer (Boehm, "Can seqlocks get along with programming language memory
// models?", 2012): the word first, then whatever the application does to the memory.
uint32_t RingProducer::Revoke(uint64_t position, uint32_t owner) {
  ReloadReleased();
  uint32_t revoked = 0;
  for (uint64_t at = released_; at < position && at < head_ && !broken_;) {
    const uint64_t offset = at & kMask;
    const Commit commit(CommitWord(at).load(std::memory_order_relaxed));
    if (commit.kind == kPadEntry) {
      at += kRingDataBytes - offset;
      continue;
    }
    // The consumer can write here as well: what is no entry of ours is its own loss.
    if (commit.inline_bytes > kMaxFrameBytes || commit.references > kMaxReferences) break;
    const uint32_t bytes = EntryBytes(commit.inline_bytes, commit.references);
    if (offset + bytes > kRingDataBytes) break;
    if (commit.references > 0) {
      const std::atomic_ref<uint32_t> word(*OwnerWord(data_ + offset, commit.inline_bytes));
      if (word.load(std::memory_order_relaxed) == owner) {
        word.store(kRevoked, std::memory_order_relaxed);
        ++revoked;
      }
    }
    at += bytes;
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return revoked;
}

bool PayloadIntact(const uint32_t* owner) {
  // ... and its reader: the copy first, then the word.
  std::atomic_thread_fence(std::memory_order_acquire);
  const std::atomic_ref<uint32_t> word(*const_cast<uint32_t*>(owner));
  return word.load(std::memory_order_relaxed) != kRevoked;
}

void RingConsumer::Open(uint8_t* ring, uint8_t* region) {
  header_ = SharedAt<RingHeader>(ring);
  data_ = ring + kRingDataOffset;
  region_ = region;
  next_ = released_ = published_ = 0;
}

RingRead RingConsumer::Read(iovec* pieces, RingFrame* frame) {
  // At most one pad lies before a frame.
  for (int i = 0; i < 2; ++i) {
    const uint64_t offset = next_ & kMask;
    const uint64_t word =
        SharedAt<std::atomic<uint64_t>>(data_, offset)->load(std::memory_order_acquire);
    if (word == 0) return RingRead::kEmpty;
    const Commit commit(word);
    if (commit.tag != Tag(next_)) return RingRead::kBroken;
    if (commit.kind == kFrameEntry || commit.kind == kSummedEntry)
      return ReadAt(offset, word, pieces, frame);
    if (commit.kind != kPadEntry || offset == 0) return RingRead::kBroken;
    next_ += kRingDataBytes - offset;
  }
  return RingRead::kBroken;
}

RingRead RingConsumer::ReadAt(uint64_t offset, uint64_t word, iovec* pieces, RingFrame* frame) {
  const Commit commit(word);
  if (commit.inline_bytes < kMinFrameBytes || commit.inline_bytes > kMaxFrameBytes ||
      commit.references > kMaxReferences) {
    return RingRead::kBroken;
  }
  const uint32_t bytes = EntryBytes(commit.inline_bytes, commit.references);
  if (offset + bytes > kRingDataBytes) return RingRead::kBroken;

  uint8_t* entry = data_ + offset;
  pieces[0] = {entry + kCommitBytes, commit.inline_bytes};
  uint64_t length = commit.inline_bytes;
  for (uint32_t i = 0; i < commit.references; ++i) {
    // Copied before it is checked: the source could change it in between. Its owner may change
    // rightfully, and is left alone.
    const uint8_t* at = entry + ReferencesOffset(commit.inline_bytes) + i * sizeof(Reference);
    Reference reference;
    std::memcpy(&reference.offset, at + offsetof(Reference, offset), sizeof(reference.offset));
    std::memcpy(&reference.length, at + offsetof(Reference, length), sizeof(reference.length));
    if (reference.offset > kSharedRegionBytes ||
        reference.length > kSharedRegionBytes - reference.offset) {
      return RingRead::kBroken;
    }
    pieces[1 + i] = {region_ + reference.offset, reference.length};
    length += reference.length;
  }
  if (length > kMaxFrameBytes ||
      (commit.references > 0 && commit.inline_bytes < kFirstPieceBytes)) {
    return RingRead::kBroken;
  }
  next_ += bytes;
  frame->end = next_;
  frame->length = static_cast<uint32_t>(length);
  frame->piece_count = 1u + commit.references;
  frame->owner = commit.references > 0 ? OwnerWord(entry, commit.inline_bytes) : nullptr;
  frame->summed = commit.kind == kSummedEntry;
  return RingRead::kFrame;
}

bool RingConsumer::Publish() {
  published_ = released_;
  header_->released.store(released_, std::memory_order_release);
  if (header_->producer_waiting.load(std::memory_order_relaxed) == 0) return false;
  return header_->producer_waiting.exchange(0, std::memory_order_seq_cst) != 0;
}

void RingConsumer::Watch(bool watched) {
  header_->watched.store(watched ? 1 : 0, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

bool RingConsumer::CheckWaiting() {
  if (published_ != released_) {
    published_ = released_;
    header_->released.store(released_, std::memory_order_release);
  }
  return header_->producer_waiting.exchange(0, std::memory_order_seq_cst) != 0;
}

}  // namespace qpip::wire

#include "apps/nbd/transmission.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace qpip::nbd {

namespace {

constexpr size_t kMaxExtents = 512;
/// How often memory that other connections hold is asked for again.
constexpr std::chrono::milliseconds kBudgetPeriod{5};
/// Memory of the common budget does not wait for a client any longer than this, neither for the
/// payload of a write nor for a reply to be taken: thirty seconds, and the time that so many bytes
/// take at a mebibyte a second.
std::chrono::seconds PayloadLimit(uint64_t bytes) {
  return std::chrono::seconds(30 + bytes / (1024 * 1024));
}

storage::Op OpOf(uint16_t command) {
  switch (command) {
    case kCommandRead:
      return storage::Op::kRead;
    case kCommandWrite:
      return storage::Op::kWrite;
    case kCommandFlush:
      return storage::Op::kFlush;
    case kCommandTrim:
      return storage::Op::kTrim;
    case kCommandCache:
      return storage::Op::kCache;
    case kCommandWriteZeroes:
      return storage::Op::kZero;
    default:  // CheckRequest lets nothing else through
      return storage::Op::kStatus;
  }
}

uint32_t FlagsOf(const Request& request) {
  uint32_t flags = 0;
  if ((request.flags & kCommandFua) != 0) flags |= storage::kFua;
  if ((request.flags & kCommandNoHole) != 0) flags |= storage::kNoHole;
  if ((request.flags & kCommandFastZero) != 0) flags |= storage::kFastZero;
  if ((request.flags & kCommandReqOne) != 0) flags |= storage::kOneExtent;
  return flags;
}

}  // namespace

/// Memory that goes back to the budget.
struct Transmission::LargeMemory {
  LargeMemory(MemoryBudget& from, size_t bytes) : budget(from), area(from.TryTake(bytes)) {}
  ~LargeMemory() {
    if (ok()) budget.Put(area);
  }
  LargeMemory(const LargeMemory&) = delete;
  LargeMemory& operator=(const LargeMemory&) = delete;
  bool ok() const { return !area.empty(); }

  MemoryBudget& budget;
  std::span<std::byte> area;
};

/// Around what is sent: a client that does not take its replies may wait for ever, but not with
/// memory of the budget in its hands. Whichever reply it is that does not leave: those behind it,
/// which have the memory, do not either.
class Transmission::ReplyLimit {
 public:
  /// Where a payload is awaited there is a deadline already.
  explicit ReplyLimit(Transmission& owner)
      : transport_(owner.transport_),
        limits_(owner.large_bytes_ > 0 && !owner.awaits_large_payload_) {
    if (!limits_) return;
    const std::chrono::seconds limit = PayloadLimit(owner.large_bytes_);
    transport_.SetDeadline(std::chrono::steady_clock::now() + limit,
                           "a reply was not taken within " + std::to_string(limit.count()) + " s");
  }
  ~ReplyLimit() {
    if (limits_) transport_.SetDeadline(std::nullopt, {});
  }
  ReplyLimit(const ReplyLimit&) = delete;
  ReplyLimit& operator=(const ReplyLimit&) = delete;

 private:
  Transport& transport_;
  bool limits_;
};

/// One request to the device: a whole one of the client's, or a piece of a long read.
struct Transmission::Slot {
  explicit Slot(Transmission& from) : owner(from) {}

  Transmission& owner;
  storage::Request io;
  Request asked;           ///< by the client
  Slot* whole = nullptr;   ///< of a piece: the read's slot; else itself
  uint32_t pieces = 0;     ///< of a whole read: not answered yet
  bool any_error = false;  ///< of a whole read: of any piece
  std::span<std::byte> buffer;
  std::unique_ptr<LargeMemory> large;  ///< where the buffer is not of the pool
  iovec run = {};
  std::vector<storage::Extent> extents;
  storage::ExtentList list{{}};
};

Transmission::Transmission(Transport& transport, storage::ThreadExecutor& executor,
                           const Agreement& agreement, MemoryBudget& budget)
    : transport_(transport),
      executor_(executor),
      device_(*agreement.chosen->device),
      limits_(agreement.limits),
      budget_(budget),
      replies_(transport, agreement),
      pool_(transport.payload_area()) {
  slots_.reserve(kMaxInFlight);
  free_slots_.reserve(kMaxInFlight);
}

Transmission::~Transmission() {
  dropped_ = true;
  cancelled_.store(true);
  while (in_flight_ > 0) {
    if (executor_.RunReady() || !executor_.Sleep()) continue;
    pollfd descriptor = {executor_.fd(), POLLIN, 0};
    poll(&descriptor, 1, -1);
    executor_.Awake();
  }
}

void Transmission::Run() {
  for (;;) {
    while (Advance()) {
    }
    if (executor_.RunReady()) continue;
    if (ended_ && in_flight_ == 0) return FlushReplies();
    // Await would do it too, but for as long as the client likes.
    if (large_bytes_ > 0) FlushReplies();
    // With nothing in flight nothing will be posted, and the transport waits in the way it likes
    // best.
    transport_.Await(in_flight_ > 0 ? &executor_ : nullptr, awaited(), !ended_ && awaits_bytes(),
                     budget_lacks_ ? kBudgetPeriod : kUntilEvent);
  }
}

WaitFor Transmission::awaited() const {
  const bool at_boundary = state_ == State::kHeader && header_have_ == 0;
  return at_boundary ? WaitFor::kNextMessage : WaitFor::kRestOfMessage;
}

bool Transmission::awaits_bytes() const {
  switch (state_) {
    case State::kHeader:
      return free_slots_.size() + kMaxInFlight > slots_.size();
    case State::kPayload:
    case State::kDrain:
      return true;
    case State::kMemory:
    case State::kPieces:
      return false;
  }
  return true;
}

bool Transmission::Advance() {
  budget_lacks_ = false;
  switch (state_) {
    case State::kHeader:
      return !ended_ && TakeHeader();
    case State::kMemory:
      return TakeMemory();
    case State::kPayload:
      return TakePayload();
    case State::kDrain:
      return DrainSome();
    case State::kPieces:
      return TakePiece();
  }
  return false;
}

// --- A request, up to the device

bool Transmission::TakeHeader() {
  if (free_slots_.empty() && slots_.size() == kMaxInFlight) return false;
  const size_t header_bytes = RequestHeaderBytes(limits_.headers);
  while (header_have_ < header_bytes) {
    iovec run = {};
    const Readable readable = transport_.Look({&run, 1}, awaited());
    if (readable.ended) {
      if (header_have_ > 0) throw ConnectionLost("the peer closed in the middle of a message");
      ended_ = true;
      // Who sends DISC has the rest of what it asked for. Who sends nothing more has most likely
      // gone; if not it is told: ESHUTDOWN.
      cancelled_.store(true);
    }
    if (readable.runs == 0) return false;
    const size_t bytes = std::min(run.iov_len, header_bytes - header_have_);
    std::memcpy(header_.data() + header_have_, run.iov_base, bytes);
    transport_.Consume(bytes);
    header_have_ += bytes;
  }
  header_have_ = 0;
  const TransmissionError error = ParseRequest(header_, &asked_, limits_.headers);
  if (error != TransmissionError::kNone) {
    throw ConnectionLost(std::string("bad request: ") + TransmissionErrorName(error));
  }
  ++counts_.requests;
  Begin();
  return true;
}

void Transmission::Begin() {
  moved_ = 0;
  if (asked_.command == kCommandDisconnect) {
    ended_ = true;
    return;
  }
  if (const WireError refusal = CheckRequest(asked_, limits_); refusal != kErrorNone) {
    return Refuse(refusal);
  }
  if (asked_.command == kCommandRead) return BeginRead();
  current_ = TakeSlot();
  if (asked_.command == kCommandWrite) {
    state_ = State::kMemory;
    return;
  }
  if (asked_.command == kCommandBlockStatus) {
    // A list of one takes no more than the first.
    const bool one = (asked_.flags & kCommandReqOne) != 0;
    current_->extents.resize(one ? 1 : kMaxExtents);
    current_->list = storage::ExtentList(current_->extents);
  }
  Submit(*std::exchange(current_, nullptr));
}

void Transmission::BeginRead() {
  const bool unfragmented = (asked_.flags & kCommandDf) != 0;
  if (unfragmented && asked_.length > kMaxUnfragmentedBytes) return Refuse(kErrorOverflow);
  current_ = TakeSlot();
  if (replies_.chunks() && !unfragmented && asked_.length > kPieceBytes) {
    current_->pieces = static_cast<uint32_t>((asked_.length + kPieceBytes - 1) / kPieceBytes);
    state_ = State::kPieces;
  } else {
    current_->pieces = 1;
    state_ = State::kMemory;
  }
}

void Transmission::Refuse(uint32_t error) {
  refusal_ = error;
  state_ = State::kDrain;
}

bool Transmission::TakeMemory() {
  if (!TakeBuffer(*current_, asked_.length)) return false;
  if (asked_.command == kCommandWrite) {
    state_ = State::kPayload;
    if (current_->large) {
      awaits_large_payload_ = true;
      const std::chrono::seconds limit = PayloadLimit(asked_.length);
      transport_.SetDeadline(std::chrono::steady_clock::now() + limit,
                             "the payload of a write of " + std::to_string(asked_.length) +
                                 " bytes did not come within " + std::to_string(limit.count()) +
                                 " s");
    }
  } else {
    state_ = State::kHeader;
    Submit(*std::exchange(current_, nullptr));
  }
  return true;
}

bool Transmission::TakePayload() {
  const size_t bytes = transport_.ReadSome(current_->buffer.subspan(moved_));
  if (bytes == 0) return false;
  moved_ += bytes;
  if (moved_ < asked_.length) return true;
  if (std::exchange(awaits_large_payload_, false)) transport_.SetDeadline(std::nullopt, {});
  // Only now: a write whose payload never comes in full is none.
  state_ = State::kHeader;
  Submit(*std::exchange(current_, nullptr));
  return true;
}

bool Transmission::DrainSome() {
  const uint64_t payload = RequestPayloadBytes(asked_, limits_.headers);
  if (moved_ < payload) {
    std::array<std::byte, 4096> forgotten;
    const auto most = static_cast<size_t>(std::min<uint64_t>(payload - moved_, forgotten.size()));
    const size_t bytes = transport_.ReadSome(std::span(forgotten).first(most));
    moved_ += bytes;
    return bytes > 0;
  }
  state_ = State::kHeader;
  ++counts_.errors;
  const ReplyLimit limit(*this);
  replies_.Done(asked_, refusal_);
  return true;
}

bool Transmission::TakePiece() {
  Slot* const piece = TakeSlot();
  if (piece == nullptr) return false;
  const auto bytes = static_cast<size_t>(std::min<uint64_t>(kPieceBytes, asked_.length - moved_));
  if (!TakeBuffer(*piece, bytes)) {
    PutSlot(*piece);
    return false;
  }
  piece->whole = current_;
  piece->io.offset = asked_.offset + moved_;
  moved_ += bytes;
  if (moved_ == asked_.length) {
    state_ = State::kHeader;
    current_ = nullptr;
  }
  Submit(*piece);
  return true;
}

// --- Slots and memory

Transmission::Slot* Transmission::TakeSlot() {
  if (free_slots_.empty()) {
    if (slots_.size() == kMaxInFlight) return nullptr;
    free_slots_.push_back(slots_.emplace_back(std::make_unique<Slot>(*this)).get());
  }
  Slot* const slot = free_slots_.back();
  free_slots_.pop_back();
  slot->asked = asked_;
  slot->whole = slot;
  slot->pieces = 0;
  slot->any_error = false;
  slot->buffer = {};
  slot->io.offset = asked_.offset;
  return slot;
}

void Transmission::PutSlot(Slot& slot) {
  if (slot.large) large_bytes_ -= slot.large->area.size();
  slot.large.reset();
  free_slots_.push_back(&slot);
}

bool Transmission::TakeBuffer(Slot& slot, size_t bytes) {
  const bool unfragmented = (asked_.flags & kCommandDf) != 0;
  if (bytes <= kPieceBytes || unfragmented) {
    Reclaim();  // what was used last is still in the cache, and comes first
    slot.buffer = pool_.Take(bytes);
    if (slot.buffer.empty() && sending_count_ > 0) {
      FlushReplies();
      Reclaim();
      slot.buffer = pool_.Take(bytes);
    }
    return !slot.buffer.empty();
  }
  if (!budget_.IsFair(large_bytes_, bytes)) return false;  // requests in flight give theirs back
  slot.large = std::make_unique<LargeMemory>(budget_, bytes);
  if (!slot.large->ok()) {
    slot.large.reset();
    budget_lacks_ = true;
    return false;
  }
  large_bytes_ += slot.large->area.size();
  slot.buffer = slot.large->area.first(bytes);
  return true;
}

void Transmission::FlushReplies() {
  const ReplyLimit limit(*this);
  transport_.Flush();
}

void Transmission::Reclaim() {
  while (sending_count_ > 0 && transport_.Sent(sending_[sending_first_].ticket)) {
    pool_.Put(sending_[sending_first_].buffer);
    sending_first_ = (sending_first_ + 1) % sending_.size();
    --sending_count_;
  }
}

void Transmission::Submit(Slot& slot) {
  storage::Request& io = slot.io;
  io.op = OpOf(asked_.command);
  io.flags = FlagsOf(asked_);
  io.length = slot.buffer.empty() ? asked_.length : slot.buffer.size();
  slot.run = {slot.buffer.data(), slot.buffer.size()};
  io.data = {&slot.run, slot.buffer.empty() ? 0u : 1u};
  io.extents = &slot.list;
  io.executor = &executor_;
  io.context = &slot;
  io.cancelled = &cancelled_;
  io.error = 0;
  io.done = OnDone;
  ++in_flight_;
  device_.Submit(io);
}

// --- ... and back

void Transmission::OnDone(storage::Request& over) {
  Slot& slot = *static_cast<Slot*>(over.context);
  Transmission& self = slot.owner;
  --self.in_flight_;
  if (!self.dropped_) self.Answer(slot);
}

void Transmission::Answer(Slot& slot) {
  if (slot.asked.command == kCommandRead) return AnswerRead(slot);
  if (slot.asked.command == kCommandBlockStatus && slot.io.error == 0) return AnswerStatus(slot);
  const WireError error = WireErrorFromErrno(slot.io.error, slot.asked.flags);
  if (error != kErrorNone) ++counts_.errors;
  if (error == kErrorNone && slot.asked.command == kCommandWrite) {
    counts_.bytes_written += slot.asked.length;
  }
  if (!slot.buffer.empty() && !slot.large) pool_.Put(slot.buffer);
  const Request asked = slot.asked;
  PutSlot(slot);
  const ReplyLimit limit(*this);
  replies_.Done(asked, error);
}

void Transmission::AnswerRead(Slot& slot) {
  Slot& whole = *slot.whole;
  const bool last = --whole.pieces == 0;
  const WireError error = WireErrorFromErrno(slot.io.error, slot.asked.flags);
  const ReplyLimit limit(*this);
  if (error != kErrorNone) {
    if (!std::exchange(whole.any_error, true)) ++counts_.errors;
    if (!slot.large) pool_.Put(slot.buffer);
    if (replies_.chunks()) {
      replies_.Failed(slot.asked, slot.io.offset, error, last);
    } else {
      replies_.Done(slot.asked, error);
    }
  } else {
    counts_.bytes_read += slot.buffer.size();
    if (slot.large) {
      replies_.CopiedData(slot.asked, slot.io.offset, slot.buffer);
    } else {
      const uint64_t ticket = replies_.Data(slot.asked, slot.io.offset, slot.buffer, last);
      sending_[(sending_first_ + sending_count_++) % sending_.size()] = {ticket, slot.buffer};
    }
  }
  if (&slot != &whole) PutSlot(slot);
  if (last) PutSlot(whole);
}

void Transmission::AnswerStatus(Slot& slot) {
  std::array<StatusExtent, kMaxExtents> extents;
  size_t count = 0;
  constexpr uint64_t kLongest = 0xffffffff & ~uint64_t{0xffff};  // a multiple of any minimum block
  for (const storage::Extent& extent : slot.list.extents()) {
    const bool cut = limits_.headers == Headers::kCompact && extent.length > kLongest;
    extents[count++] = {cut ? kLongest : extent.length, extent.flags};
    if (cut) break;  // the client asks again from there
  }
  const Request asked = slot.asked;
  PutSlot(slot);
  const ReplyLimit limit(*this);
  replies_.Status(asked, std::span(extents).first(count));
}

}  // namespace qpip::nbd

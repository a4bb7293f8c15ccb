#include "link.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <string>
#include <utility>

namespace qpip::nbd::internal {

namespace {

/// Longest payload of a chunk that is no data.
constexpr uint64_t kMaxOtherBytes = 4u << 20;
constexpr size_t kMaxOutRuns = 4096;
constexpr size_t kZeroBytes = 64 * 1024;

/// What is sent where a server has no WRITE_ZEROES.
std::byte* Zeroes() {
  static std::array<std::byte, kZeroBytes> zeroes = {};
  return zeroes.data();
}

[[noreturn]] void OutOfStep(const std::string& what) {
  throw Refusal(EPROTO, "the server breaks the protocol: " + what);
}

/// Takes `bytes` off the front of a list that begins at `*first`.
void TakeOff(std::vector<iovec>& list, size_t* first, size_t bytes) {
  while (bytes > 0) {
    iovec& run = list[*first];
    const size_t taken = std::min(bytes, run.iov_len);
    run.iov_base = static_cast<std::byte*>(run.iov_base) + taken;
    run.iov_len -= taken;
    bytes -= taken;
    if (run.iov_len == 0) ++*first;
  }
  if (*first == list.size()) {
    list.clear();
    *first = 0;
  }
}

}  // namespace

Link::Link(Wire& wire, const ClientOptions& options, PieceOwner& owner)
    : wire_(wire),
      options_(options),
      owner_(owner),
      slots_(options.depth),
      headers_(options.depth * kExtendedRequestBytes) {
  for (uint32_t i = options.depth; i > 0; --i) free_.push_back(i - 1);
}

bool Link::HasRoom() const {
  return ready() && !free_.empty() && headers_used_ + kExtendedRequestBytes <= headers_.size() &&
         out_.size() < kMaxOutRuns;
}

// --- Connecting

void Link::Start(Clock::time_point now) {
  attempt_ends_ = now + options_.attempt_limit;
  handshake_.emplace(options_);
  channel_ = wire_.Connect();
  state_ = State::kConnecting;
}

bool Link::Advance(Clock::time_point now) {
  if (state_ == State::kConnecting) {
    if (!channel_->Connected()) return false;
    state_ = State::kNegotiating;
  }
  for (;;) {
    while (!handshake_->output().empty()) {
      const std::span<const uint8_t> bytes = handshake_->output();
      const iovec run = {const_cast<uint8_t*>(bytes.data()), bytes.size()};
      const size_t sent = channel_->Send({&run, 1});
      if (sent == 0) break;
      handshake_->Sent(sent);
    }
    if (handshake_->done() && handshake_->output().empty()) break;
    const std::span<uint8_t> room = handshake_->room();
    const iovec run = {room.data(), room.size()};
    const size_t received = channel_->Receive({&run, 1});
    if (received == 0) return false;
    try {
      handshake_->Received(received);
    } catch (const Error& error) {
      throw Refusal(error.code(), error.what());
    }
  }
  state_ = State::kReady;
  moved_ = now;
  return true;
}

std::optional<Clock::time_point> Link::deadline() const {
  switch (state_) {
    case State::kDown:
      return next_attempt;
    case State::kConnecting:
    case State::kNegotiating:
      return attempt_ends_;
    case State::kReady:
      if (options_.silence.count() > 0 && in_flight() > 0) return moved_ + options_.silence;
      return std::nullopt;
  }
  return std::nullopt;
}

void Link::ThrowIfOverdue(Clock::time_point now) const {
  const auto limit = deadline();
  if (!limit || now < *limit) return;
  throw Lost(ETIMEDOUT, ready() ? "the server keeps silent about commands"
                                : "the server does not go on with the negotiation");
}

// --- Requests

void Link::Slice(const Piece& piece, uint64_t skip, uint64_t bytes, std::vector<iovec>& out) {
  if (piece.zeroes) {
    for (; bytes > 0; bytes -= out.back().iov_len) {
      out.push_back({Zeroes(), static_cast<size_t>(std::min<uint64_t>(bytes, kZeroBytes))});
    }
    return;
  }
  skip += piece.offset - piece.io->offset;
  for (const iovec& run : piece.io->data) {
    if (bytes == 0) return;
    if (skip >= run.iov_len) {
      skip -= run.iov_len;
      continue;
    }
    const size_t length = static_cast<size_t>(std::min<uint64_t>(run.iov_len - skip, bytes));
    out.push_back({static_cast<std::byte*>(run.iov_base) + skip, length});
    bytes -= length;
    skip = 0;
  }
}

void Link::StageHeader(const Piece& piece, uint64_t cookie) {
  Request request = {.flags = piece.flags,
                     .command = piece.command,
                     .cookie = cookie,
                     .offset = piece.offset,
                     .length = piece.length};
  uint8_t* const at = headers_.data() + headers_used_;
  size_t bytes = kRequestBytes;
  if (agreed().headers == Headers::kExtended) {
    if (piece.command == kCommandWrite) request.flags |= kCommandPayloadLen;
    bytes = kExtendedRequestBytes;
    EmitExtendedRequest(request, std::span<uint8_t, kExtendedRequestBytes>(at, bytes));
  } else {
    EmitRequest(request, std::span<uint8_t, kRequestBytes>(at, bytes));
  }
  headers_used_ += bytes;
  // Headers without data between them are one run, so that they are one send.
  if (!out_.empty() && static_cast<uint8_t*>(out_.back().iov_base) + out_.back().iov_len == at) {
    out_.back().iov_len += bytes;
  } else {
    out_.push_back({at, bytes});
  }
}

void Link::Take(const Piece& piece) {
  if (in_flight() == 0) moved_ = Clock::now();
  const uint32_t index = free_.back();
  free_.pop_back();
  Slot& slot = slots_[index];
  slot.piece = piece;
  slot.piece.changes_before = changes_before;
  slot.serial = ++serial_;
  slot.ranges.clear();
  StageHeader(piece, slot.serial << 16 | index);
  if (piece.command == kCommandWrite) Slice(piece, 0, piece.length, out_);
}

void Link::Send(Clock::time_point now) {
  while (!out_.empty()) {
    const size_t sent = channel_->Send(std::span(out_).subspan(out_first_));
    if (sent == 0) return;
    moved_ = now;  // a server that takes a long write slowly has nothing to say meanwhile
    TakeOff(out_, &out_first_, sent);
    if (out_.empty()) headers_used_ = 0;
  }
}

void Link::Disconnect(Clock::time_point now) {
  Piece last;
  last.command = kCommandDisconnect;
  if (headers_used_ + kExtendedRequestBytes <= headers_.size()) StageHeader(last, 0);
  Send(now);
  if (out_.empty()) channel_->Shutdown();
}

std::vector<Piece> Link::Drop() {
  channel_.reset();  // first: the NIC refers to payload no more
  state_ = State::kDown;
  std::vector<const Slot*> busy;
  for (const Slot& slot : slots_) {
    if (slot.serial != 0) busy.push_back(&slot);
  }
  std::sort(busy.begin(), busy.end(),
            [](const Slot* a, const Slot* b) { return a->serial < b->serial; });
  std::vector<Piece> pieces;
  for (const Slot* slot : busy) {
    pieces.push_back(slot->piece);
    pieces.back().told = false;
    pieces.back().error = 0;
  }
  free_.clear();
  for (size_t i = slots_.size(); i > 0; --i) {
    slots_[i - 1].serial = 0;
    free_.push_back(static_cast<uint32_t>(i - 1));
  }
  out_.clear();
  out_first_ = 0;
  headers_used_ = 0;
  in_ = In::kHeader;
  have_ = 0;
  data_.clear();
  data_first_ = 0;
  return pieces;
}

// --- Replies

void Link::Receive(Clock::time_point now) {
  now_ = now;
  for (;;) {
    switch (in_) {
      case In::kHeader:
        if (!TakeHeader()) return;
        break;
      case In::kOffset:
        if (!Fill(std::span(header_).first(kOffsetBytes))) return;
        OnOffset();
        break;
      case In::kData:
        if (!TakeData()) return;
        EndChunk();
        break;
      case In::kOther:
        if (!Fill(other_)) return;
        OnOther();
        EndChunk();
        break;
    }
  }
}

size_t Link::Get(std::span<const iovec> into) {
  const size_t bytes = channel_->Receive(into);
  if (bytes > 0) moved_ = now_;
  return bytes;
}

bool Link::Fill(std::span<uint8_t> room) {
  while (have_ < room.size()) {
    const iovec run = {room.data() + have_, room.size() - have_};
    const size_t bytes = Get({&run, 1});
    if (bytes == 0) return false;
    have_ += bytes;
  }
  have_ = 0;
  return true;
}

bool Link::TakeHeader() {
  const std::span<uint8_t> bytes(header_);
  // Of whatever kind, a reply has so many.
  if (have_ < kSimpleReplyBytes) {
    if (!Fill(bytes.first(kSimpleReplyBytes))) return false;
    SimpleReply simple;
    if (ParseSimpleReply(bytes, &simple) == TransmissionError::kNone) {
      OnSimpleReply();
      return true;
    }
    if (!agreed().chunks) OutOfStep("no reply where one must begin");
    have_ = kSimpleReplyBytes;
  }
  if (!Fill(bytes.first(ReplyChunkBytes(agreed().headers)))) return false;
  ReplyChunk chunk;
  if (ParseReplyChunk(bytes, agreed().headers, &chunk) != TransmissionError::kNone) {
    OutOfStep("no reply where one must begin");
  }
  OnChunk(chunk);
  return true;
}

Link::Slot& Link::Find(uint64_t cookie) {
  const size_t index = cookie & 0xffff;
  if (index >= slots_.size() || slots_[index].serial == 0 || slots_[index].serial != cookie >> 16) {
    OutOfStep("a reply to what was not asked");
  }
  return slots_[index];
}

void Link::OnSimpleReply() {
  SimpleReply reply;
  (void)ParseSimpleReply(header_, &reply);
  slot_ = &Find(reply.cookie);
  Piece& piece = slot_->piece;
  chunk_ = {.flags = kChunkDone};
  if (reply.error != kErrorNone) {
    piece.error = ErrnoFromWireError(reply.error);
    return EndChunk();
  }
  if (piece.command != kCommandRead) {
    if (piece.command == kCommandBlockStatus) OutOfStep("a status without extents");
    return EndChunk();
  }
  if (agreed().chunks) OutOfStep("data in a simple reply");
  Cover(piece.offset, piece.length);
  data_.clear();
  data_first_ = 0;
  Slice(piece, 0, piece.length, data_);
  in_ = In::kData;
}

void Link::OnChunk(const ReplyChunk& chunk) {
  chunk_ = chunk;
  slot_ = &Find(chunk.cookie);
  if (chunk.type == kChunkNone) {
    if (chunk.length != 0 || (chunk.flags & kChunkDone) == 0) OutOfStep("a chunk of nothing");
    return EndChunk();
  }
  if (chunk.type == kChunkOffsetData) {
    if (slot_->piece.command != kCommandRead || chunk.length <= kOffsetBytes) {
      OutOfStep("data that was not asked for");
    }
    in_ = In::kOffset;
    return;
  }
  if (chunk.length > kMaxOtherBytes) OutOfStep("a chunk that is too long");
  other_.resize(static_cast<size_t>(chunk.length));
  in_ = In::kOther;
}

void Link::OnOffset() {
  uint64_t offset = 0;
  for (size_t i = 0; i < kOffsetBytes; ++i) offset = offset << 8 | header_[i];
  const Piece& piece = slot_->piece;
  const uint64_t bytes = chunk_.length - kOffsetBytes;
  Cover(offset, bytes);
  data_.clear();
  data_first_ = 0;
  Slice(piece, offset - piece.offset, bytes, data_);
  in_ = In::kData;
}

bool Link::TakeData() {
  while (!data_.empty()) {
    const size_t bytes = Get(std::span(data_).subspan(data_first_));
    if (bytes == 0) return false;
    TakeOff(data_, &data_first_, bytes);
  }
  return true;
}

void Link::OnOther() {
  Piece& piece = slot_->piece;
  if (IsErrorChunk(chunk_.type)) {
    ErrorChunk error;
    if (ParseErrorChunk(other_, chunk_.type, &error) != TransmissionError::kNone) {
      OutOfStep("an error that cannot be read");
    }
    if (piece.error == 0) piece.error = ErrnoFromWireError(error.error);
    return;
  }
  if (chunk_.type == kChunkBlockStatus || chunk_.type == kChunkBlockStatusExt) return OnStatus();
  HoleChunk hole;
  if (chunk_.type != kChunkOffsetHole || piece.command != kCommandRead ||
      ParseHoleChunk(other_, &hole) != TransmissionError::kNone) {
    OutOfStep("a chunk that was not asked for");
  }
  Cover(hole.offset, hole.length);
  data_.clear();
  Slice(piece, hole.offset - piece.offset, hole.length, data_);
  for (const iovec& run : data_) std::memset(run.iov_base, 0, run.iov_len);
  data_.clear();
}

void Link::OnStatus() {
  Piece& piece = slot_->piece;
  BlockStatusView view;
  if (piece.command != kCommandBlockStatus ||
      ParseBlockStatus(other_, static_cast<ChunkType>(chunk_.type), &view) !=
          TransmissionError::kNone) {
    OutOfStep("a status that was not asked for");
  }
  if (view.context() != agreed().allocation_id) return;
  Io& io = *piece.io;
  io.extent_count = std::min(view.size(), io.extents.size());
  for (size_t i = 0; i < io.extent_count; ++i) {
    const StatusExtent extent = view.at(i);
    io.extents[i] = {extent.length, static_cast<uint32_t>(extent.flags)};
  }
  piece.told = true;
}

void Link::Cover(uint64_t offset, uint64_t bytes) {
  const Piece& piece = slot_->piece;
  if (offset < piece.offset || bytes > piece.length ||
      offset - piece.offset > piece.length - bytes) {
    OutOfStep("data beside the range");
  }
  const uint64_t end = offset + bytes;
  auto& ranges = slot_->ranges;
  auto next = std::lower_bound(ranges.begin(), ranges.end(), std::pair(offset, uint64_t{0}));
  const bool has_before = next != ranges.begin();
  if ((next != ranges.end() && next->first < end) ||
      (has_before && std::prev(next)->second > offset)) {
    OutOfStep("data that comes twice");
  }
  const bool joins_next = next != ranges.end() && next->first == end;
  if (has_before && std::prev(next)->second == offset) {
    std::prev(next)->second = joins_next ? next->second : end;
    if (joins_next) ranges.erase(next);
  } else if (joins_next) {
    next->first = offset;
  } else {
    ranges.insert(next, {offset, end});
  }
}

void Link::EndChunk() {
  in_ = In::kHeader;
  if ((chunk_.flags & kChunkDone) != 0) EndPiece(*slot_);
}

bool Link::IsForTheNextServer(const Piece& over) const {
  return over.error == ESHUTDOWN && options_.reconnect.count() > 0 &&
         (options_.replay_changes || !IsChange(over.command));
}

void Link::EndPiece(Slot& slot) {
  const Piece over = slot.piece;
  if (IsForTheNextServer(over)) throw Lost(ESHUTDOWN, "the server shuts down");
  if (over.error == 0) {
    const bool whole =
        slot.ranges.size() == 1 && slot.ranges[0].second - slot.ranges[0].first == over.length;
    if (over.command == kCommandRead && !whole) {
      OutOfStep("a read without all of its data");
    }
    if (over.command == kCommandBlockStatus && !over.told) {
      OutOfStep("a status without extents");
    }
  }
  slot.serial = 0;
  free_.push_back(static_cast<uint32_t>(&slot - slots_.data()));
  owner_.OnPieceDone(over);
}

}  // namespace qpip::nbd::internal

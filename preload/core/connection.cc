#include "preload/core/connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "preload/core/pieces.h"
#include "preload/core/stack.h"

namespace qpip::preload {

namespace {

// Several short pieces leave as one send.
constexpr size_t kGather = 16 * 1024;
constexpr uint32_t kBuffers = 16;
constexpr size_t kBufferBytes = 32 * 1024;
constexpr size_t kRingBytes = 512 * 1024;
constexpr uint32_t kSendDepth = 128;
// So many receives may have few bytes in them.
constexpr size_t kMostSmall = 3 * kBuffers / 4;
constexpr size_t kMostHeld = 256 * 1024;

}  // namespace

Connection::Connection(Stack& stack) : stack_(stack) {
  qp_ = stack.nic().CreateQp(stack.pd(), {.framing = Framing::kStream,
                                          .send_cq = &stack.cq(),
                                          .recv_cq = &stack.cq(),
                                          .send_depth = kSendDepth,
                                          .recv_depth = kBuffers,
                                          .receive_reservation = kBuffers * kBufferBytes});
  reader_ = std::make_unique<StreamReader>(
      stack.pd(), *qp_, StreamReaderOptions{.buffer_bytes = kBufferBytes, .buffers = kBuffers});
  writer_ = std::make_unique<StreamWriter>(stack.pd(), *qp_,
                                           StreamWriterOptions{.buffer_bytes = kRingBytes});
  stack.Add(*this);
}

Connection::~Connection() {
  stack_.Remove(*this);
  writer_.reset();
  reader_.reset();
  qp_.reset();
  // The next queue pair may have this one's number: nothing of this one's is to be left for it.
  stack_.TakeCompletions();
}

void Connection::StartConnect(const Endpoint& peer, uint16_t local_port) {
  qp_->StartConnect(peer, local_port);
  phase_ = Phase::kConnecting;
}

void Connection::OnCompletion(const WorkCompletion& completion) {
  if (reader_->OnCompletion(completion)) {
    arrived_ = true;
    if (++completions_ >= kMostSmall) HoldSmallOnes();
  } else {
    writer_->OnCompletion(completion);
    if (blocked_ && writer_->room() >= kRingBytes / 4) {
      blocked_ = false;
      unblocked_ = true;
    }
  }
  if (completion.status != IBV_WC_SUCCESS) stack_.RefreshLater(*this);
}

void Connection::Refresh() {
  if (phase_ == Phase::kFailed) return;
  const QpState state = qp_->state();
  if (state == QpState::kIdle || state == QpState::kConnecting) return;
  if (phase_ != Phase::kEstablished && state != QpState::kClosed) {
    phase_ = Phase::kEstablished;
    arrived_ = unblocked_ = true;
  }
  if (state == QpState::kClosed) {
    if (!std::exchange(closed_, true)) {
      // The NIC has told of the data first, but the event is seen by another way: data that came
      // in front of the end is taken before anybody is told of that.
      stack_.TakeCompletions();
      if (phase_ == Phase::kFailed) return;
    }
    const DisconnectReason reason = qp_->disconnect_reason();
    if (reason != DisconnectReason::kClosed && reason != DisconnectReason::kNone) Fail(reason);
    if (reason == DisconnectReason::kClosed && phase_ != Phase::kEstablished) {
      phase_ = Phase::kEstablished;  // and over, before anybody has looked
      arrived_ = unblocked_ = true;
    }
    if (blocked_) unblocked_ = true;
    blocked_ = false;
    return;
  }
  // The queue's failures may be seen before the NIC's event.
  const bool reading = reader_->state() == StreamState::kError;
  const bool writing = writer_->state() == StreamState::kError;
  if (reading || writing) Fail(reading ? reader_->reason() : writer_->reason());
}

void Connection::Fail(DisconnectReason reason) {
  const bool was_established = phase_ == Phase::kEstablished;
  const bool peer_had_ended = reader_->state() == StreamState::kEndOfStream;
  phase_ = Phase::kFailed;
  arrived_ = unblocked_ = true;
  blocked_ = false;
  error_ = ErrnoOf(reason);
  if (!was_established) return;
  // A peer's host would have answered for a process that has died; a port that has died does so by
  // leaving. Linux: EPIPE for a reset behind the peer's FIN (tcp_reset).
  if (reason == DisconnectReason::kUnreachable) error_ = ECONNRESET;
  if (error_ == ECONNRESET && peer_had_ended) error_ = EPIPE;
  if (reason == DisconnectReason::kAborted || reason == DisconnectReason::kClosed) error_ = 0;
}

int Connection::TakeError() { return std::exchange(error_, 0); }

// A receive is one arrival's, however short. Some of them would close the window to a peer that
// sends little at a time.
void Connection::HoldSmallOnes() {
  const size_t bytes = reader_->available();
  std::array<std::span<const std::byte>, kBuffers> runs;
  if (bytes > kBufferBytes || held_.size() > kMostHeld || reader_->Readable(runs) < kMostSmall) {
    return;
  }
  const size_t before = held_.size();
  held_.resize(before + bytes);
  held_.resize(before + reader_->ReadSome(MutableBytes(std::span(held_).subspan(before))));
  completions_ = 0;
}

size_t Connection::TakeHeld(std::span<std::byte> to) {
  const size_t bytes = std::min(to.size(), held_.size() - held_from_);
  if (bytes == 0) return 0;
  std::memcpy(to.data(), held_.data() + held_from_, bytes);
  held_from_ += bytes;
  if (held_from_ == held_.size()) {
    held_.clear();
    held_from_ = 0;
  }
  return bytes;
}

long Connection::Receive(std::span<const iovec> to, bool peek) {
  if (available() == 0) {
    if (failed()) {
      const int error = TakeError();
      return -error;
    }
    if (reader_->state() != StreamState::kOpen || read_shut_) return 0;
    if (closed_) return 0;
    return -EAGAIN;
  }
  if (peek) return Peek(to);
  long total = 0;
  for (const iovec& piece : to) {
    const std::span bytes(static_cast<std::byte*>(piece.iov_base), piece.iov_len);
    size_t read = TakeHeld(bytes);
    read += reader_->ReadSome(MutableBytes(bytes.subspan(read)));
    total += static_cast<long>(read);
    if (read < piece.iov_len) break;
  }
  if (reader_->available() == 0) completions_ = 0;
  return total;
}

long Connection::Peek(std::span<const iovec> to) const {
  std::array<std::span<const std::byte>, kBuffers + 1> runs = {
      std::span(held_).subspan(held_from_)};
  const size_t count = 1 + reader_->Readable(std::span(runs).subspan(1));
  long total = 0;
  size_t run = 0;
  size_t offset = 0;
  for (const iovec& piece : to) {
    size_t done = 0;
    while (done < piece.iov_len && run < count) {
      const size_t bytes = std::min(piece.iov_len - done, runs[run].size() - offset);
      if (bytes != 0) {
        std::memcpy(static_cast<std::byte*>(piece.iov_base) + done, runs[run].data() + offset,
                    bytes);
      }
      done += bytes;
      offset += bytes;
      if (offset == runs[run].size()) {
        ++run;
        offset = 0;
      }
    }
    total += static_cast<long>(done);
  }
  return total;
}

long Connection::Send(std::span<const iovec> from) {
  if (error_ != 0) return -TakeError();
  if (write_shut_ || failed() || phase_ == Phase::kIdle) return -EPIPE;
  if (connecting()) return -EAGAIN;
  const size_t asked = TotalBytes(from);
  if (asked == 0) return 0;
  size_t taken = 0;
  if (from.size() > 1 && asked <= kGather) {
    std::array<std::byte, kGather> together;
    size_t at = 0;
    for (const iovec& piece : from) {
      if (piece.iov_len != 0) std::memcpy(together.data() + at, piece.iov_base, piece.iov_len);
      at += piece.iov_len;
    }
    taken = writer_->Write(ConstBytes(std::span<const std::byte>(together.data(), asked)));
  } else {
    for (const iovec& piece : from) {
      if (piece.iov_len == 0) continue;
      const size_t bytes = writer_->Write(ConstBytes(std::span<const std::byte>(
          static_cast<const std::byte*>(piece.iov_base), piece.iov_len)));
      taken += bytes;
      if (bytes < piece.iov_len) break;
    }
  }
  if (taken < asked &&
      (writer_->state() == StreamState::kError || qp_->state() == QpState::kClosed)) {
    Refresh();
    if (taken == 0) return error_ != 0 ? -TakeError() : -EPIPE;
  }
  if (taken < asked) blocked_ = true;
  return taken == 0 ? -EAGAIN : static_cast<long>(taken);
}

int Connection::Shutdown(int how) {
  if (!established()) return -ENOTCONN;
  if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR) return -EINVAL;
  arrived_ = true;
  if (how != SHUT_WR) read_shut_ = true;
  if (how != SHUT_RD && !write_shut_) {
    write_shut_ = true;
    try {
      qp_->Shutdown();
    } catch (const Error& error) {
      if (error.code() != ENOTCONN) return -error.code();
    }
  }
  return 0;
}

size_t Connection::unsent() const { return kRingBytes - writer_->room(); }

Readiness::Level Connection::level() const {
  if (phase_ == Phase::kIdle || connecting()) return {};
  const bool over = reader_->state() != StreamState::kOpen || read_shut_ || closed_;
  const bool empty = available() == 0;
  Readiness::Level level;
  level.in = !empty || over || failed();
  level.out = !blocked_ || failed() || write_shut_;
  // Behind the data, so that the byte that tells of it can still be taken back.
  level.end_of_input = over && empty;
  level.hang_up = failed() || (level.end_of_input && write_shut_);
  level.error = error_ != 0;
  return level;
}

bool Connection::Close() {
  owner_ = nullptr;
  if (!established() || available() != 0) return false;
  Shutdown(SHUT_WR);
  read_shut_ = true;
  return true;
}

bool Connection::done() const {
  return failed() || available() != 0 || writer_->state() == StreamState::kError ||
         writer_->idle() || qp_->state() == QpState::kClosed;
}

}  // namespace qpip::preload

#include "apps/nbd/socket_transport.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "storage/core/iovecs.h"

namespace qpip::nbd {

namespace {

constexpr size_t kInputBytes = 64 * 1024;
constexpr size_t kOutputBytes = 64 * 1024;
constexpr size_t kPayloadBytes = 2 * 1024 * 1024;
constexpr size_t kMaxRuns = 256;
/// Payload that is sent without waiting for more: it is still in the processor's cache, what is
/// read next has the same memory again, and the client has something to do meanwhile.
constexpr size_t kFlushBytes = 256 * 1024;
constexpr auto kCloseTimeout = std::chrono::milliseconds(500);
/// Within the time that is allowed once a client has been silent.
constexpr int kProbes = 4;
/// What the kernel takes for TCP_KEEPIDLE and TCP_KEEPINTVL, seconds.
constexpr int64_t kMostKeepalive = 32767;

ConnectionLost Broken(int error) {
  return ConnectionLost(std::string("connection broken: ") + std::strerror(error));
}

/// A client whose machine is gone sends nothing, not even a reset. There is no TCP_USER_TIMEOUT, as
/// the client has for its server: it would also end a client that is there and takes no replies
/// for a while. A Unix socket has no such options, and needs none.
void WatchForItsEnd(int fd, std::chrono::seconds keepalive) {
  if (keepalive.count() <= 0) return;
  const int idle = static_cast<int>(std::min<int64_t>(keepalive.count(), kMostKeepalive));
  const int interval = std::max(1, idle / kProbes);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &kProbes, sizeof kProbes);
}

}  // namespace

SocketTransport::SocketTransport(FileDescriptor socket, const apps::StopToken& stop,
                                 std::chrono::seconds keepalive)
    : socket_(std::move(socket)),
      stopping_(stop),
      input_(new std::byte[kInputBytes]),
      payload_(new std::byte[kPayloadBytes]),
      output_(new uint8_t[kOutputBytes]) {
  runs_.reserve(kMaxRuns);
  fcntl(socket_.get(), F_SETFL, O_NONBLOCK);
  const int on = 1;  // of TCP; a Unix socket says no, and needs none
  setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  WatchForItsEnd(socket_.get(), keepalive);
}

size_t SocketTransport::Receive(std::span<std::byte> out) {
  if (tls_) return tls_->Read(out, &peer_closed_);
  for (;;) {
    const ssize_t n = recv(socket_.get(), out.data(), out.size(), 0);
    if (n > 0) return static_cast<size_t>(n);
    if (n == 0) {
      peer_closed_ = true;
      return 0;
    }
    if (errno == EAGAIN) return 0;
    if (errno == ECONNRESET) throw ConnectionLost("connection reset by the peer");
    if (errno != EINTR) throw Broken(errno);
  }
}

void SocketTransport::Fill() {
  if (begin_ < end_ || peer_closed_) return;
  begin_ = 0;
  end_ = Receive({input_.get(), kInputBytes});
}

Readable SocketTransport::Look(std::span<iovec> out, WaitFor what) {
  const bool stopping = what == WaitFor::kNextMessage && stopping_.requested();
  if (stopping && stopping_.GraceIsOver()) return {.ended = true};
  Fill();
  if (begin_ == end_) return {.ended = peer_closed_ || stopping};
  out[0] = {input_.get() + begin_, end_ - begin_};
  return {.runs = 1};
}

size_t SocketTransport::ReadSome(std::span<std::byte> out) {
  // What is longer than what is buffered is received where it is to go.
  if (begin_ == end_ && out.size() >= kInputBytes / 2 && !peer_closed_) {
    const size_t bytes = Receive(out);
    if (bytes > 0 || !peer_closed_) return bytes;
  }
  return Transport::ReadSome(out);
}

void SocketTransport::ThrowIfTimeIsUp() {
  if (const std::string* const why = stopping_.Overdue()) throw ConnectionLost(*why);
}

void SocketTransport::Await(storage::ThreadExecutor* executor, WaitFor what, bool reading,
                            std::chrono::milliseconds most) {
  Flush();
  if (reading && begin_ < end_) return;
  if (executor != nullptr && !executor->Sleep()) return;
  const bool stopping = stopping_.requested();
  std::array<pollfd, 3> descriptors = {pollfd{reading ? socket_.get() : -1, POLLIN, 0},
                                       pollfd{executor != nullptr ? executor->fd() : -1, POLLIN, 0},
                                       pollfd{stopping ? -1 : stopping_.token().fd(), POLLIN, 0}};
  const auto limit = stopping_.Limit(most);
  const int ready = poll(descriptors.data(), descriptors.size(), static_cast<int>(limit.count()));
  if (executor != nullptr) executor->Awake();
  ThrowIfTimeIsUp();
  if (what == WaitFor::kRestOfMessage && stopping) stopping_.ThrowIfStuck(ready > 0);
}

void SocketTransport::AwaitSocket(short events) {
  pollfd descriptor = {socket_.get(), events, 0};
  const auto period = std::chrono::duration_cast<std::chrono::milliseconds>(apps::kStopCheck);
  const int ready = poll(&descriptor, 1, static_cast<int>(period.count()));
  ThrowIfTimeIsUp();
  if (stopping_.requested()) stopping_.ThrowIfStuck(ready > 0);
}

void SocketTransport::Send(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    if (output_used_ == kOutputBytes || runs_.size() == kMaxRuns) Flush();
    const size_t piece = std::min(bytes.size(), kOutputBytes - output_used_);
    uint8_t* const copy = output_.get() + output_used_;
    std::memcpy(copy, bytes.data(), piece);
    output_used_ += piece;
    if (!runs_.empty() &&
        static_cast<uint8_t*>(runs_.back().iov_base) + runs_.back().iov_len == copy) {
      runs_.back().iov_len += piece;
    } else {
      runs_.push_back({copy, piece});
    }
    bytes = bytes.subspan(piece);
  }
}

std::span<std::byte> SocketTransport::payload_area() { return {payload_.get(), kPayloadBytes}; }

uint64_t SocketTransport::SendPayload(std::span<const uint8_t> header,
                                      std::span<const std::byte> payload) {
  Send(header);
  if (runs_.size() == kMaxRuns) Flush();
  runs_.push_back({const_cast<std::byte*>(payload.data()), payload.size()});
  payload_waiting_ += payload.size();
  const uint64_t ticket = ticket_;
  if (payload_waiting_ >= kFlushBytes) Flush();
  return ticket;
}

size_t SocketTransport::SendSome(std::span<iovec> runs) {
  if (tls_) {
    return tls_->Write({static_cast<const std::byte*>(runs[0].iov_base), runs[0].iov_len});
  }
  msghdr message = {};
  message.msg_iov = runs.data();
  message.msg_iovlen = runs.size();
  for (;;) {
    const ssize_t n = sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    if (n >= 0) return static_cast<size_t>(n);
    if (errno == EAGAIN) return 0;
    if (errno != EINTR) throw Broken(errno);
  }
}

void SocketTransport::Flush() {
  std::span<iovec> rest = storage::Advance(runs_, 0);
  try {
    while (!rest.empty()) {
      const size_t sent = SendSome(rest);
      if (sent == 0) AwaitSocket(POLLOUT);
      rest = storage::Advance(rest, sent);
    }
  } catch (...) {  // what has left already must not be sent again by Close
    ForgetOutput();
    throw;
  }
  ForgetOutput();
  flushed_ = ticket_++;
}

void SocketTransport::ForgetOutput() {
  runs_.clear();
  output_used_ = 0;
  payload_waiting_ = 0;
}

void SocketTransport::StartTls(const TlsContext& context) {
  Flush();
  // Bytes that came in the clear must not be taken for what TLS protects.
  if (begin_ != end_) throw ConnectionLost("the client did not wait for TLS to begin");
  tls_ = std::make_unique<TlsSession>(context, socket_.get());
  for (;;) {
    switch (tls_->Handshake()) {
      case TlsSession::Wants::kNothing:
        return;
      case TlsSession::Wants::kToRead:
        AwaitSocket(POLLIN);
        break;
      case TlsSession::Wants::kToWrite:
        AwaitSocket(POLLOUT);
        break;
    }
  }
}

void SocketTransport::SetDeadline(std::optional<std::chrono::steady_clock::time_point> deadline,
                                  std::string why) {
  stopping_.SetDeadline(deadline, std::move(why));
}

void SocketTransport::Close() {
  Flush();
  tls_.reset();
  // Behind what was sent; what still comes is read, lest the kernel answers it with a reset that
  // would overtake the last replies.
  if (shutdown(socket_.get(), SHUT_WR) != 0) return;
  const auto deadline = Stopping::Clock::now() + kCloseTimeout;
  while (!peer_closed_ && Stopping::Clock::now() < deadline && !stopping_.requested()) {
    begin_ = end_ = 0;
    Fill();
    if (end_ == 0 && !peer_closed_) AwaitSocket(POLLIN);
  }
}

}  // namespace qpip::nbd

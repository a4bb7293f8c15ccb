// The `udp:` wire: IPv6 packets in UDP datagrams, between any two hosts that UDP connects.
//
//     +----------------------+-----------+------------------------------------------+
//     | IPv4 or IPv6 (outer) | UDP       | IPv6 packet as the firmware built it     |
//     +----------------------+-----------+------------------------------------------+
//
// Sending is put off until Flush or a full batch, so that one system call takes many datagrams;
// until then payload that stays where it is is referred to, under a lease. Nobody tells of a dead
// peer: its silence is TCP's to notice.
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "sim/wire/descriptor.h"
#include "sim/wire/fork.h"
#include "sim/wire/frame_pool.h"
#include "sim/wire/futex.h"
#include "sim/wire/json.h"
#include "sim/wire/layout.h"
#include "sim/wire/reporter.h"
#include "sim/wire/udp_failures.h"
#include "sim/wire/udp_peers.h"
#include "sim/wire/wire.h"

namespace qpip::wire {
namespace {

constexpr uint32_t kBatch = 32;           ///< datagrams a system call takes or gives
constexpr uint32_t kReceiveFrames = 320;  ///< borrowed ones, and a batch being filled
constexpr size_t kMaxPieces = 24;         ///< of an outgoing frame: its header and payload pieces
constexpr size_t kSourceOffset = 8;       ///< of the address in an IPv6 header
/// Payload up to this much is copied even when it could be referred to: cheaper than the lease.
constexpr size_t kAlwaysCopyPayload = 256;
/// Wanted socket buffers. A receiver that is away for a while loses what does not fit.
constexpr int kSocketBufferBytes = 8 << 20;

class UdpPort final : public Wire {
 public:
  explicit UdpPort(const UdpOptions& options);
  ~UdpPort() override {
    if (!fork_.inherited()) SendBatch();
  }

  void ReportTo(Report report) override { reporter_.To(std::move(report)); }
  SendResult Send(const OutFrame& frame, uint64_t* lease) override;
  bool LeasePending(uint64_t lease) override { return lease > given_to_kernel_; }
  bool Receive(InFrame* frame) override;
  void Release(const InFrame& frame) override { pool_.Release(frame); }
  void Flush() override { SendBatch(); }
  uint64_t Housekeeping(uint64_t) override { return UINT64_MAX; }
  void PrepareSleep() override {
    SendBatch();
    sleep_.Prepare();
  }
  void CancelSleep() override {}
  void Sleep(uint64_t deadline_ns) override {
    const bool blocked = blocked_.load(std::memory_order_relaxed);
    sleep_.Sleep(socket_.get(), blocked ? POLLIN | POLLOUT : POLLIN, deadline_ns);
  }
  void Wake() override { sleep_.Wake(); }
  void* AllocateShared(size_t) override { return nullptr; }
  void FreeShared(void*, size_t) override {}
  uint32_t mtu() const override { return options_.mtu; }
  abi::Ip6Address address() const override { return options_.address; }
  bool trusted() const override { return false; }
  bool carries_references() const override { return true; }
  std::string StatisticsJson() const override;

 private:
  struct Outgoing {
    std::array<iovec, kMaxPieces> pieces;
    uint8_t* bytes = nullptr;  ///< what had to be copied: mtu bytes of room
    uint32_t length = 0;
  };

  void Bind();
  void SetBuffer(int option, int force_option);
  void FillTable();
  const SocketAddress* Towards(const OutFrame& frame) const;
  uint64_t Queue(const OutFrame& frame, size_t total, const SocketAddress& to);
  void SendBatch();
  void TellFailure(int error);
  bool ReceiveBatch();
  bool Accept(uint32_t slot);

  const UdpOptions options_;
  const bool learn_;
  Reporter reporter_;
  Descriptor socket_;
  SocketAddress local_;
  DescriptorSleep sleep_;
  UdpPeers peers_;
  std::optional<SocketAddress> default_peer_;
  UdpFailures failures_;
  // Or the socket would stay bound when its owner has ended.
  const ForkWatch fork_{{.child = [this] { socket_ = Descriptor(); }}};

  // Out: entries [out_first_, out_last_) wait for the kernel. They are sent in order, so a lease is
  // a count: pending until the kernel has been given that many.
  std::vector<uint8_t> out_memory_;
  std::array<Outgoing, kBatch> outgoing_;
  std::array<mmsghdr, kBatch> out_messages_ = {};
  std::array<SocketAddress, kBatch> out_to_;
  uint32_t out_first_ = 0;
  uint32_t out_last_ = 0;
  uint64_t queued_ = 0;
  uint64_t given_to_kernel_ = 0;
  std::atomic<bool> blocked_{false};  ///< the socket is full; read by Sleep without the lock

  // In: entries [in_next_, in_filled_) of the last batch are not looked at yet.
  FramePool pool_;
  std::array<uint32_t, kBatch> in_buffers_;
  std::array<iovec, kBatch> in_pieces_;
  std::array<mmsghdr, kBatch> in_messages_ = {};
  std::array<SocketAddress, kBatch> in_from_;
  uint32_t in_next_ = 0;
  uint32_t in_filled_ = 0;

  struct Statistics {
    uint64_t frames_sent = 0, bytes_sent = 0, frames_received = 0, bytes_received = 0;
    uint64_t send_calls = 0, receive_calls = 0;
    uint64_t busy = 0, no_route = 0, refused = 0, send_errors = 0;
    uint64_t oversize = 0, malformed = 0, wrong_sender = 0, unknown_sender = 0;
  } statistics_;
};

std::string WhereText(const UdpOptions& options) {
  const bool literal6 = options.host.find(':') != std::string::npos;
  return (literal6 ? "[" + options.host + "]" : options.host) + ":" + std::to_string(options.port);
}

UdpPort::UdpPort(const UdpOptions& options)
    : options_(options),
      learn_(options.learn.value_or(options.peers.empty())),
      peers_(static_cast<uint32_t>(options.peers.size())),
      out_memory_(size_t{kBatch} * options.mtu),
      pool_(kReceiveFrames, (options.mtu + kCacheLine) / kCacheLine * kCacheLine) {
  Bind();
  FillTable();
  for (uint32_t i = 0; i < kBatch; ++i) {
    outgoing_[i].bytes = out_memory_.data() + size_t{i} * options.mtu;
    in_buffers_[i] = FramePool::kNone;
  }
}

void UdpPort::Bind() {
  local_ = ResolveSocketAddress(options_.host, options_.port, AF_UNSPEC);
  socket_ = Descriptor(
      ::socket(local_.base.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP));
  if (!socket_.valid() && errno == EAFNOSUPPORT && options_.host.empty()) {
    local_ = ResolveSocketAddress("0.0.0.0", options_.port, AF_INET);
    socket_ = Descriptor(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP));
  }
  if (!socket_.valid()) {
    throw std::system_error(errno, std::generic_category(),
                            "udp wire: cannot make a socket for " + WhereText(options_));
  }
  if (local_.base.sa_family == AF_INET6) {
    const int off = 0;
    ::setsockopt(socket_.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  SetBuffer(SO_RCVBUF, SO_RCVBUFFORCE);
  SetBuffer(SO_SNDBUF, SO_SNDBUFFORCE);
  if (::bind(socket_.get(), &local_.base, local_.length()) != 0) {
    const int error = errno;
    const char* advice =
        error == EADDRINUSE      ? "; another process has that port: choose another, or "
                                   "0 for any free one"
        : error == EADDRNOTAVAIL ? "; give an address of this machine, or none for all of them"
                                 : "";
    throw std::runtime_error("udp wire: cannot bind " + WhereText(options_) + ": " +
                             std::strerror(error) + advice);
  }
  socklen_t length = sizeof local_.v6;
  ::getsockname(socket_.get(), &local_.base, &length);
}

void UdpPort::SetBuffer(int option, int force_option) {
  // More than the system's limit needs a privilege; without it the limit is what there is.
  if (::setsockopt(socket_.get(), SOL_SOCKET, force_option, &kSocketBufferBytes,
                   sizeof kSocketBufferBytes) != 0) {
    ::setsockopt(socket_.get(), SOL_SOCKET, option, &kSocketBufferBytes, sizeof kSocketBufferBytes);
  }
}

void UdpPort::FillTable() {
  for (const UdpPeer& peer : options_.peers) {
    const SocketAddress where = ResolveSocketAddress(peer.host, peer.port, local_.base.sa_family);
    bool fresh = true;
    if (peer.address == abi::Ip6Address{}) {
      fresh = !default_peer_.has_value();
      default_peer_ = where;
    } else {
      fresh = peers_.Fix(peer.address, where);
    }
    if (!fresh) throw std::runtime_error("udp wire: one peer is given twice");
  }
}

// --- Sending

const SocketAddress* UdpPort::Towards(const OutFrame& frame) const {
  abi::Ip6Address destination;
  std::memcpy(destination.bytes, frame.header.data() + kDestinationOffset,
              sizeof destination.bytes);
  const SocketAddress* known = peers_.Find(destination);
  if (known != nullptr) return known;
  return default_peer_.has_value() ? &*default_peer_ : nullptr;
}

SendResult UdpPort::Send(const OutFrame& frame, uint64_t* lease) {
  *lease = 0;
  size_t total = frame.header.size();
  for (const iovec& piece : frame.payload) total += piece.iov_len;
  if (frame.header.size() < kMinFrameBytes || total > options_.mtu) {
    ++statistics_.refused;
    return SendResult::kNoRoute;
  }
  const SocketAddress* to = Towards(frame);
  if (to == nullptr || (failures_.any() && failures_.Refused(*to, MonotonicNs()))) {
    ++statistics_.no_route;
    return SendResult::kNoRoute;
  }
  if (out_last_ == kBatch) SendBatch();
  if (out_last_ == kBatch) {
    ++statistics_.busy;
    return SendResult::kBusy;
  }
  *lease = Queue(frame, total, *to);
  return SendResult::kSent;
}

// Fills the next entry of the batch. Returns the lease, 0 when everything was copied.
uint64_t UdpPort::Queue(const OutFrame& frame, size_t total, const SocketAddress& to) {
  Outgoing& out = outgoing_[out_last_];
  std::memcpy(out.bytes, frame.header.data(), frame.header.size());
  size_t copied = frame.header.size();
  size_t count = 1;
  const bool refer = frame.payload_stable && total - copied > kAlwaysCopyPayload &&
                     frame.payload.size() < kMaxPieces;
  for (const iovec& piece : frame.payload) {
    if (refer) {
      out.pieces[count++] = piece;
    } else {
      std::memcpy(out.bytes + copied, piece.iov_base, piece.iov_len);
      copied += piece.iov_len;
    }
  }
  out.pieces[0] = {out.bytes, copied};
  out.length = static_cast<uint32_t>(total);
  out_to_[out_last_] = to;
  msghdr& message = out_messages_[out_last_].msg_hdr;
  message.msg_name = &out_to_[out_last_].base;
  message.msg_namelen = to.length();
  message.msg_iov = out.pieces.data();
  message.msg_iovlen = count;
  ++out_last_;
  ++queued_;
  return refer ? queued_ : 0;
}

void UdpPort::SendBatch() {
  while (out_first_ < out_last_) {
    ++statistics_.send_calls;
    const int sent = ::sendmmsg(socket_.get(), &out_messages_[out_first_], out_last_ - out_first_,
                                MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      blocked_.store(true, std::memory_order_relaxed);
      return;
    }
    // Anything else befalls the first datagram alone (no route, a filter, a full device): lost, as
    // on any network, but not without a word.
    if (sent < 0) TellFailure(errno);
    const uint32_t done = sent > 0 ? static_cast<uint32_t>(sent) : 1;
    for (uint32_t i = 0; i < done; ++i) {
      if (sent > 0) {
        ++statistics_.frames_sent;
        statistics_.bytes_sent += outgoing_[out_first_ + i].length;
      } else {
        ++statistics_.send_errors;
      }
    }
    out_first_ += done;
    given_to_kernel_ += done;
  }
  out_first_ = out_last_ = 0;
  blocked_.store(false, std::memory_order_relaxed);
}

// Of the oldest datagram that waits.
void UdpPort::TellFailure(int error) {
  const Outgoing& out = outgoing_[out_first_];
  abi::Ip6Address peer;
  std::memcpy(peer.bytes, out.bytes + kDestinationOffset, sizeof peer.bytes);
  if (auto trouble = failures_.Note(error, out.length, peer, out_to_[out_first_])) {
    reporter_.Tell(std::move(*trouble));
  }
}

// --- Receiving

bool UdpPort::Receive(InFrame* frame) {
  if (blocked_.load(std::memory_order_relaxed)) SendBatch();
  for (;;) {
    if (in_next_ == in_filled_ && !ReceiveBatch()) return false;
    const uint32_t slot = in_next_++;
    if (!Accept(slot)) continue;
    const uint32_t length = in_messages_[slot].msg_len;
    ++statistics_.frames_received;
    statistics_.bytes_received += length;
    pool_.Lend(in_buffers_[slot], 0, length, frame);
    frame->checksum_vouched = false;
    in_buffers_[slot] = FramePool::kNone;
    return true;
  }
}

bool UdpPort::ReceiveBatch() {
  uint32_t room = 0;
  while (room < kBatch) {
    uint32_t& buffer = in_buffers_[room];
    if (buffer == FramePool::kNone) buffer = pool_.Take();
    if (buffer == FramePool::kNone) break;
    in_pieces_[room] = {pool_.At(buffer), pool_.bytes()};
    msghdr& message = in_messages_[room].msg_hdr;
    message = {};
    message.msg_name = &in_from_[room].base;
    message.msg_namelen = sizeof in_from_[room].v6;
    message.msg_iov = &in_pieces_[room];
    message.msg_iovlen = 1;
    ++room;
  }
  in_next_ = in_filled_ = 0;
  if (room == 0) return false;
  ++statistics_.receive_calls;
  const int got = ::recvmmsg(socket_.get(), in_messages_.data(), room, MSG_DONTWAIT, nullptr);
  if (got <= 0) return false;
  in_filled_ = static_cast<uint32_t>(got);
  return true;
}

// Whether a datagram is a frame from whom it says. Its sender's socket is learned where that is
// allowed.
bool UdpPort::Accept(uint32_t slot) {
  const mmsghdr& message = in_messages_[slot];
  if ((message.msg_hdr.msg_flags & MSG_TRUNC) != 0 || message.msg_len > options_.mtu) {
    ++statistics_.oversize;
    return false;
  }
  const uint8_t* bytes = pool_.At(in_buffers_[slot]);
  if (message.msg_len < kMinFrameBytes || bytes[0] >> 4 != 6) {
    ++statistics_.malformed;
    return false;
  }
  abi::Ip6Address source;
  std::memcpy(source.bytes, bytes + kSourceOffset, sizeof source.bytes);
  const SocketAddress& from = in_from_[slot];
  const UdpPeers::Judgement judgement = peers_.Judge(source, from);
  if (judgement == UdpPeers::Judgement::kFixed) return true;
  if (judgement == UdpPeers::Judgement::kNotItsOwn || source == options_.address) {
    ++statistics_.wrong_sender;
    return false;
  }
  if (learn_ && !(source == abi::Ip6Address{}) && source.bytes[0] != 0xff) {
    peers_.Learn(source, from);
    return true;
  }
  if (default_peer_.has_value() && from == *default_peer_) return true;
  ++statistics_.unknown_sender;
  return false;
}

std::string UdpPort::StatisticsJson() const {
  const Statistics& s = statistics_;
  int receive_buffer = 0;
  socklen_t length = sizeof receive_buffer;
  ::getsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, &length);
  return JsonObject()
      .Add("wire", "udp")
      .Add("port", local_.port())
      .Add("frames_sent", s.frames_sent)
      .Add("bytes_sent", s.bytes_sent)
      .Add("frames_received", s.frames_received)
      .Add("bytes_received", s.bytes_received)
      .Add("send_calls", s.send_calls)
      .Add("receive_calls", s.receive_calls)
      .Add("sends_busy", s.busy)
      .Add("sends_no_route", s.no_route)
      .Add("sends_refused", s.refused)
      .Add("send_errors", s.send_errors)
      .Add("oversize_dropped", s.oversize)
      .Add("malformed_dropped", s.malformed)
      .Add("wrong_sender_dropped", s.wrong_sender)
      .Add("unknown_sender_dropped", s.unknown_sender)
      .Add("peers_learned", peers_.learned())
      .Add("sleeps", sleep_.sleeps())
      .Add("receive_buffer_bytes", static_cast<uint64_t>(receive_buffer))
      .Text();
}

}  // namespace

std::unique_ptr<Wire> OpenUdpWire(const UdpOptions& options) {
  if (options.mtu < 1280 || options.mtu > kMaxUdpMtu) {
    throw std::runtime_error("udp wire: bad mtu " + std::to_string(options.mtu) + ": 1280 to " +
                             std::to_string(kMaxUdpMtu) + " bytes fit a datagram");
  }
  return std::make_unique<UdpPort>(options);
}

}  // namespace qpip::wire

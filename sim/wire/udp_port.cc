// The `udp:` wire: IPv6 packets in UDP datagrams, between any two hosts that UDP connects.
//
//     +----------------------+-----------+------------------------------------------+
//     | IPv4 or IPv6 (outer) | UDP       | IPv6 packet as the firmware built it     |
//     +----------------------+-----------+------------------------------------------+
//
// Sending is put off until Flush or a full batch, so that one system call takes many datagrams;
// until then payload that stays where it is is referred to, under a lease. Nobody tells of a dead
// peer: its silence is TCP's to notice.
//
// The wire is a NIC that cuts and puts together: TCP text of many segments comes from the firmware
// in one frame, goes out as a datagram a segment in one message (DatagramsOut), and what has come
// in one message (DatagramsIn) and continues what is before it is one frame to the firmware
// (Train).
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

#include "protocols/common/checksum.h"
#include "sim/wire/datagrams_in.h"
#include "sim/wire/datagrams_out.h"
#include "sim/wire/descriptor.h"
#include "sim/wire/fork.h"
#include "sim/wire/futex.h"
#include "sim/wire/json.h"
#include "sim/wire/layout.h"
#include "sim/wire/reporter.h"
#include "sim/wire/segmenter.h"
#include "sim/wire/train.h"
#include "sim/wire/udp_failures.h"
#include "sim/wire/udp_peers.h"
#include "sim/wire/wire.h"

namespace qpip::wire {
namespace {

constexpr uint32_t kReceiveFrames = 320;  ///< borrowed ones, and a batch being filled
constexpr size_t kSourceOffset = 8;       ///< of the address in an IPv6 header
/// Payload up to this much is copied even when it could be referred to: cheaper than the lease.
constexpr size_t kAlwaysCopyPayload = 256;
/// Of headers and copied payload that wait to be sent: two of the largest frames, and trains'
/// headers.
constexpr size_t kCopiedBytes = size_t{2} * kMaxFrameBytes + 256 * 1024;
/// The longest frame that is cut; the kernel's limit is that of an IPv4 datagram, which the wire
/// keeps by itself.
constexpr uint32_t kSegmentationLimit = 65535;
/// Datagrams of a train that is lent.
constexpr uint32_t kTrainPieces = 64;
/// Wanted socket buffers. A receiver that is away for a while loses what does not fit.
constexpr int kSocketBufferBytes = 8 << 20;

/// Text in pieces, taken from the front.
class TextPieces {
 public:
  void Add(const iovec& piece) { pieces_[count_++] = piece; }
  const iovec& front() const { return pieces_[0]; }
  /// The next `bytes` as pieces of `out`, and what they sum up to. Returns how many pieces.
  size_t Next(uint32_t bytes, std::span<iovec> out, uint16_t* sum) {
    size_t pieces = 0;
    uint32_t done = 0;
    while (done < bytes) {
      iovec& piece = pieces_[next_];
      const size_t part = std::min<size_t>(piece.iov_len, bytes - done);
      auto* start = static_cast<uint8_t*>(piece.iov_base);
      if (part != 0) {
        *sum = ChecksumCombine(*sum, ChecksumAtOffset(ChecksumAdd({start, part}), done));
        out[pieces++] = {start, part};
        done += static_cast<uint32_t>(part);
      }
      piece = {start + part, piece.iov_len - part};
      if (piece.iov_len == 0) ++next_;
    }
    return pieces;
  }

 private:
  std::array<iovec, kMaxReferences + 2> pieces_;
  size_t count_ = 0;
  size_t next_ = 0;
};

class UdpPort final : public Wire {
 public:
  explicit UdpPort(const UdpOptions& options);
  ~UdpPort() override {
    if (!fork_.inherited()) SendBatch();
  }

  void ReportTo(Report report) override { reporter_.To(std::move(report)); }
  SendResult Send(const OutFrame& frame, uint64_t* lease) override;
  bool LeasePending(uint64_t lease) override { return out_.Pending(lease); }
  bool Receive(InFrame* frame) override;
  void Release(const InFrame& frame) override;
  void Flush() override { SendBatch(); }
  uint64_t Housekeeping(uint64_t) override { return UINT64_MAX; }
  void PrepareSleep() override {
    SendBatch();
    sleep_.Prepare();
    in_.WillSleep();
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
  uint32_t segmentation_limit() const override { return options_.offload ? kSegmentationLimit : 0; }
  std::string StatisticsJson() const override;

 private:
  /// A frame that the core has borrowed.
  struct Lent {
    std::array<iovec, kTrainPieces> pieces;
    uint32_t count = 0;  ///< 0: not lent
  };

  void Bind();
  void SetBuffer(int option, int force_option);
  void FillTable();
  const SocketAddress* Towards(const OutFrame& frame) const;
  uint64_t Queue(const OutFrame& frame, size_t total, const SocketAddress& to);
  SendResult QueueTrain(const OutFrame& frame, size_t total, const SocketAddress& to,
                        uint64_t* lease);
  bool MakeRoom(uint32_t datagrams, size_t pieces, size_t bytes);
  void SendBatch();
  void OnRefused(const DatagramsOut::Refused& refused);
  void OnTrainsGivenUp(int error);
  bool Accept(const DatagramsIn::Datagram& datagram);
  void Lend(InFrame* frame);

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
  std::atomic<bool> blocked_{false};  ///< the socket is full; read by Sleep without the lock
  DatagramsOut out_;
  DatagramsIn in_;
  std::vector<Lent> lent_;
  std::vector<uint32_t> free_lent_;

  struct Statistics {
    uint64_t frames_received = 0, bytes_received = 0, frames_received_unsegmented = 0;
    uint64_t busy = 0, no_route = 0, refused = 0, trains_given_up = 0;
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
      out_(kCopiedBytes, options.offload,
           {.refused = [this](const DatagramsOut::Refused& refused) { OnRefused(refused); },
            .gave_up_trains = [this](int error) { OnTrainsGivenUp(error); }}),
      in_(options.mtu, kReceiveFrames, options.offload),
      lent_(kReceiveFrames) {
  Bind();
  FillTable();
  for (uint32_t i = kReceiveFrames; i-- > 0;) free_lent_.push_back(i);
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
  in_.Enable(socket_.get());
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
  const bool cut = options_.offload && frame.segment_size != 0;
  if (frame.header.size() < kMinFrameBytes || total > (cut ? kMaxFrameBytes : options_.mtu)) {
    ++statistics_.refused;
    return SendResult::kNoRoute;
  }
  const SocketAddress* to = Towards(frame);
  if (to == nullptr || (failures_.any() && failures_.Refused(*to, MonotonicNs()))) {
    ++statistics_.no_route;
    return SendResult::kNoRoute;
  }
  if (cut) return QueueTrain(frame, total, *to, lease);
  if (!MakeRoom(1, frame.payload.size() + 1, total)) {
    ++statistics_.busy;
    return SendResult::kBusy;
  }
  *lease = Queue(frame, total, *to);
  return SendResult::kSent;
}

bool UdpPort::MakeRoom(uint32_t datagrams, size_t pieces, size_t bytes) {
  if (out_.HasRoom(datagrams, pieces, bytes)) return true;
  SendBatch();
  return out_.HasRoom(datagrams, pieces, bytes);
}

// One more datagram. Returns the lease, 0 when everything was copied.
uint64_t UdpPort::Queue(const OutFrame& frame, size_t total, const SocketAddress& to) {
  std::array<iovec, DatagramsOut::kMaxPieces> pieces;
  size_t count = 1;
  const bool refer = frame.payload_stable && total - frame.header.size() > kAlwaysCopyPayload &&
                     frame.payload.size() < pieces.size();
  size_t copied = frame.header.size();
  uint8_t* bytes = out_.Take(refer ? copied : total);
  std::memcpy(bytes, frame.header.data(), copied);
  for (const iovec& piece : frame.payload) {
    if (refer) {
      pieces[count++] = piece;
    } else {
      std::memcpy(bytes + copied, piece.iov_base, piece.iov_len);
      copied += piece.iov_len;
    }
  }
  pieces[0] = {bytes, copied};
  const uint64_t lease = out_.Add(to, {pieces.data(), count}, static_cast<uint32_t>(total));
  return refer ? lease : 0;
}

// A datagram for each segment: headers of its own, and text where it lies, or where it was copied.
SendResult UdpPort::QueueTrain(const OutFrame& frame, size_t total, const SocketAddress& to,
                               uint64_t* lease) {
  const auto cut = Segmenter::Of(frame.header, total, frame.segment_size);
  if (!cut.has_value() || cut->header_bytes() + frame.segment_size > options_.mtu ||
      cut->count() > DatagramsOut::kDatagrams || frame.payload.size() > kMaxReferences) {
    ++statistics_.refused;
    return SendResult::kNoRoute;
  }
  const bool refer = frame.payload_stable;
  const size_t in_front = frame.header.size() - cut->header_bytes();  // text in the header's piece
  const size_t copied = refer ? in_front : total - cut->header_bytes();
  if (!MakeRoom(cut->count(), 2 * size_t{cut->count()} + frame.payload.size() + 1,
                cut->count() * cut->header_bytes() + copied)) {
    ++statistics_.busy;
    return SendResult::kBusy;
  }
  TextPieces text;
  text.Add({out_.Take(copied), copied});
  uint8_t* copy = static_cast<uint8_t*>(text.front().iov_base);
  std::memcpy(copy, frame.header.data() + cut->header_bytes(), in_front);
  copy += in_front;
  for (const iovec& piece : frame.payload) {
    if (refer) {
      text.Add(piece);
    } else {
      std::memcpy(copy, piece.iov_base, piece.iov_len);
      copy += piece.iov_len;
    }
  }
  for (uint32_t i = 0; i < cut->count(); ++i) {
    std::array<iovec, DatagramsOut::kMaxPieces> pieces;
    uint8_t* headers = out_.Take(cut->header_bytes());
    pieces[0] = {headers, cut->header_bytes()};
    uint16_t sum = 0;
    const size_t count = text.Next(cut->TextBytes(i), std::span(pieces).subspan(1), &sum);
    cut->Write(i, sum, headers);
    const auto bytes = static_cast<uint32_t>(cut->header_bytes()) + cut->TextBytes(i);
    const uint64_t number = out_.Add(to, {pieces.data(), count + 1}, bytes);
    if (refer) *lease = number;
  }
  return SendResult::kSent;
}

void UdpPort::SendBatch() {
  if (out_.empty()) return;
  blocked_.store(!out_.Send(socket_.get()), std::memory_order_relaxed);
}

void UdpPort::OnRefused(const DatagramsOut::Refused& refused) {
  abi::Ip6Address peer;
  const auto* bytes = static_cast<const uint8_t*>(refused.pieces.front().iov_base);
  std::memcpy(peer.bytes, bytes + kDestinationOffset, sizeof peer.bytes);
  if (auto trouble = failures_.Note(refused.error, refused.length, peer, refused.to)) {
    reporter_.Tell(std::move(*trouble));
  }
}

void UdpPort::OnTrainsGivenUp(int error) {
  ++statistics_.trains_given_up;
  reporter_.Tell({.code = error,
                  .what = std::string("udp wire: the kernel takes no trains of datagrams on this "
                                      "path (UDP_SEGMENT: ") +
                          std::strerror(error) +
                          "): they go one by one, which is slower; offload=0 says so from the "
                          "start"});
}

// --- Receiving

bool UdpPort::Receive(InFrame* frame) {
  if (blocked_.load(std::memory_order_relaxed)) SendBatch();
  if (free_lent_.empty()) return false;
  while (in_.available() || in_.Fill(socket_.get())) {
    if (Accept(in_.Peek())) {
      Lend(frame);
      return true;
    }
    in_.Pass();
  }
  return false;
}

// Lends the next datagram, and what continues it: of one flow from one socket, so it is accepted
// as the first was.
void UdpPort::Lend(InFrame* frame) {
  const uint32_t index = free_lent_.back();
  free_lent_.pop_back();
  Lent& lent = lent_[index];
  const auto take = [&](std::span<uint8_t> bytes, size_t offset) {
    in_.Hold(bytes.data());
    lent.pieces[lent.count++] = {bytes.data() + offset, bytes.size() - offset};
    in_.Pass();
  };
  const SocketAddress* from = in_.Peek().from;
  Train train(in_.Peek().bytes);
  take(in_.Peek().bytes, 0);
  while (options_.offload && in_.available() && lent.count < lent.pieces.size()) {
    const DatagramsIn::Datagram next = in_.Peek();
    if (next.bytes.size() > options_.mtu || next.cut_off) break;
    if (next.from != from && !(*next.from == *from)) break;
    if (!train.Join(next.bytes)) break;
    take(next.bytes, train.text_offset());
  }
  train.Close();
  frame->pieces = {lent.pieces.data(), lent.count};
  frame->length = train.length();
  frame->token = index + 1;
  frame->checksum_vouched = train.vouched();
  frame->peer_down = false;
  frame->peer = {};
  statistics_.frames_received += train.count();
  statistics_.bytes_received += train.length();
  statistics_.frames_received_unsegmented += train.count() > 1 ? 1 : 0;
}

void UdpPort::Release(const InFrame& frame) {
  if (frame.token == 0 || frame.token > lent_.size()) return;
  const auto index = static_cast<uint32_t>(frame.token - 1);
  Lent& lent = lent_[index];
  if (lent.count == 0) return;
  for (uint32_t i = 0; i < lent.count; ++i) in_.GiveBack(lent.pieces[i].iov_base);
  lent.count = 0;
  free_lent_.push_back(index);
}

// Whether a datagram is a frame from whom it says. Its sender's socket is learned where that is
// allowed.
bool UdpPort::Accept(const DatagramsIn::Datagram& datagram) {
  if (datagram.cut_off || datagram.bytes.size() > options_.mtu) {
    ++statistics_.oversize;
    return false;
  }
  const uint8_t* bytes = datagram.bytes.data();
  if (datagram.bytes.size() < kMinFrameBytes || bytes[0] >> 4 != 6) {
    ++statistics_.malformed;
    return false;
  }
  abi::Ip6Address source;
  std::memcpy(source.bytes, bytes + kSourceOffset, sizeof source.bytes);
  const SocketAddress& from = *datagram.from;
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
      .Add("frames_sent", out_.statistics().datagrams)
      .Add("bytes_sent", out_.statistics().bytes)
      .Add("trains_sent", out_.statistics().trains)
      .Add("train_errors", out_.statistics().train_errors)
      .Add("trains_given_up", s.trains_given_up)
      .Add("frames_received", s.frames_received)
      .Add("bytes_received", s.bytes_received)
      .Add("trains_received", in_.statistics().trains)
      .Add("frames_received_unsegmented", s.frames_received_unsegmented)
      .Add("send_calls", out_.statistics().calls)
      .Add("receive_calls", in_.statistics().calls)
      .Add("empty_receive_calls", in_.statistics().empty_calls)
      .Add("sends_busy", s.busy)
      .Add("sends_no_route", s.no_route)
      .Add("sends_refused", s.refused)
      .Add("send_errors", out_.statistics().errors)
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

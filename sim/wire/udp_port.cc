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
#include <memory>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "protocols/ipv6/header.h"
#include "protocols/tcp/header.h"
#include "sim/wire/datagrams_in.h"
#include "sim/wire/datagrams_out.h"
#include "sim/wire/descriptor.h"
#include "sim/wire/fork.h"
#include "sim/wire/futex.h"
#include "sim/wire/json.h"
#include "sim/wire/layout.h"
#include "sim/wire/lent_frames.h"
#include "sim/wire/reporter.h"
#include "sim/wire/segmenter.h"
#include "sim/wire/text_pieces.h"
#include "sim/wire/udp_errors.h"
#include "sim/wire/udp_failures.h"
#include "sim/wire/udp_peers.h"
#include "sim/wire/udp_socket.h"
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
/// So much that waits is a train.
constexpr uint32_t kTrainInHand = 32768;
/// Headers of a segment with timestamps; and the most that one may have.
constexpr uint32_t kUsualHeaders = ipv6::kHeaderBytes + tcp::kMinHeaderBytes + tcp::kTimestampBytes;
constexpr uint32_t kMaxHeaders = ipv6::kHeaderBytes + tcp::kMaxHeaderBytes;
constexpr uint32_t kCommonMtu = 1500;         ///< where no link says another
constexpr size_t kMostOwnFrames = 16;         ///< that wait to be received
constexpr size_t kMostQuotedBytes = kMinMtu;  ///< of a piece of a packet that was refused
/// A narrow path is forgotten after that (RFC 8201 section 4).
constexpr uint64_t kPathAgesNs = 600'000'000'000;

/// Longest frame of a small message.
constexpr size_t kSmallFrame = 512;

/// A TCP segment that says nothing but how much has arrived.
bool IsAcknowledgement(std::span<const uint8_t> packet) {
  constexpr size_t kTcp = ipv6::kHeaderBytes;
  if (packet.size() < kTcp + tcp::kMinHeaderBytes ||
      packet[ipv6::offset::kNextHeader] != ipv6::kTcp) {
    return false;
  }
  const size_t headers = kTcp + (packet[kTcp + tcp::offset::kDataOffset] >> 4) * size_t{4};
  return headers == packet.size() && packet[kTcp + tcp::offset::kFlags] == tcp::kAck;
}

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
  void Release(const InFrame& frame) override { lent_.TakeBack(frame, in_.get()); }
  void Flush() override {
    held_ = MayWait();
    if (!held_) SendBatch();
  }
  uint64_t Housekeeping(uint64_t now_ns) override;
  void PrepareSleep() override {
    SendBatch();
    sleep_.Prepare();
    in_->WillSleep();
  }
  void CancelSleep() override {}
  void Sleep(uint64_t deadline_ns) override {
    const bool blocked = blocked_.load(std::memory_order_relaxed);
    const int ready = sleep_.Sleep(socket_.get(), blocked ? POLLIN | POLLOUT : POLLIN, deadline_ns);
    if ((ready & POLLERR) != 0) errors_.store(true, std::memory_order_relaxed);
  }
  void Wake() override { sleep_.Wake(); }
  void* AllocateShared(size_t) override { return nullptr; }
  void FreeShared(void*, size_t) override {}
  uint32_t mtu() const override { return mtu_; }
  abi::Ip6Address address() const override { return options_.address; }
  bool trusted() const override { return false; }
  bool carries_references() const override { return true; }
  /// As many full segments as go in one message, which has their headers too.
  uint32_t segmentation_limit() const override {
    if (!options_.offload) return 0;
    const uint32_t segments =
        std::min(DatagramsOut::kTrainBytes / mtu_, DatagramsOut::kTrainDatagrams);
    return segments < 2 ? 0 : segments * (mtu_ - kUsualHeaders) + kMaxHeaders;
  }
  std::string StatisticsJson() const override;

 private:
  void FillTable();
  void ConnectToOnlyPeer();
  const SocketAddress* Towards(const OutFrame& frame) const;
  uint64_t Queue(const OutFrame& frame, size_t total, const SocketAddress& to);
  SendResult QueueTrain(const OutFrame& frame, size_t total, const SocketAddress& to,
                        uint64_t* lease);
  bool MakeRoom(uint32_t datagrams, size_t pieces, size_t bytes);
  bool MayWait() const;
  void SendBatch();
  void OnRefused(const DatagramsOut::Refused& refused);
  void OnTrainsGivenUp(int error);
  bool TakePathErrors();
  void OnPathError(const PathError& error);
  void TellFirmware(std::span<const uint8_t> packet, int error, const SocketAddress& to,
                    uint32_t path_mtu);
  bool Accept(const DatagramsIn::Datagram& datagram);
  uint32_t FindMtu() const;

  const UdpOptions options_;
  const bool learn_;
  Reporter reporter_;
  Descriptor socket_;
  SocketAddress local_;
  DescriptorSleep sleep_;
  UdpPeers peers_;
  std::optional<SocketAddress> default_peer_;
  UdpFailures failures_;
  uint32_t mtu_ = 0;
  uint32_t longest_ = 0;       ///< bytes of a frame that is taken
  uint64_t cut_until_ns_ = 0;  ///< the kernel cuts datagrams; 0: it does not
  // Or the socket would stay bound when its owner has ended.
  const ForkWatch fork_{{.child = [this] { socket_ = Descriptor(); }}};
  std::atomic<bool> blocked_{false};  ///< the socket is full; read by Sleep without the lock
  std::atomic<bool> errors_{false};   ///< the socket keeps errors; written by Sleep
  DatagramsOut out_;
  std::unique_ptr<DatagramsIn> in_;               ///< once the MTU is known
  std::vector<std::vector<uint8_t>> own_frames_;  ///< to be received: at most kMostOwnFrames
  LentFrames lent_{kReceiveFrames};
  bool held_ = false;    ///< a Flush has left what there is for a later one
  bool urgent_ = false;  ///< of what waits to be sent, something is more than an acknowledgement

  struct Statistics {
    uint64_t frames_received = 0, bytes_received = 0, frames_received_unsegmented = 0;
    uint64_t busy = 0, no_route = 0, refused = 0, trains_given_up = 0, path_errors = 0;
    uint64_t oversize = 0, malformed = 0, wrong_sender = 0, unknown_sender = 0;
  } statistics_;
};

UdpPort::UdpPort(const UdpOptions& options)
    : options_(options),
      learn_(options.learn.value_or(options.peers.empty())),
      peers_(static_cast<uint32_t>(options.peers.size())),
      out_(kCopiedBytes, options.offload,
           {.refused = [this](const DatagramsOut::Refused& refused) { OnRefused(refused); },
            .was_earlier = [this] { return TakePathErrors(); },
            .gave_up_trains = [this](int error) { OnTrainsGivenUp(error); }}) {
  socket_ = OpenUdpSocket(options.host, options.port, &local_);
  FillTable();
  ConnectToOnlyPeer();
  mtu_ = options.mtu != 0 ? options.mtu : FindMtu();
  // What a peer with a greater MTU sends is taken, where nobody has said how long packets are.
  longest_ = options.mtu != 0 ? options.mtu : kMaxUdpMtu;
  in_ = std::make_unique<DatagramsIn>(longest_, kReceiveFrames, options.offload);
  in_->Enable(socket_.get());
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

// Where one peer's datagrams alone are taken the kernel may know it, and then need not look for the
// way with every datagram. Not where the system chooses the local address: that would stay as it is
// now when the host's changes.
void UdpPort::ConnectToOnlyPeer() {
  if (learn_ || options_.peers.size() != 1 || local_.any()) return;
  // As FillTable has found it: a name may stand for another address when it is asked for again.
  const SocketAddress to =
      default_peer_ ? *default_peer_ : *peers_.Find(options_.peers.front().address);
  // Without a way there now, there may be one later: as it was, then.
  if (::connect(socket_.get(), &to.base, to.length()) == 0) out_.SetConnected(to);
}

// Of the links that datagrams to the peers leave by, or of those that a port without peers is
// reached by. What is smaller further on is found out (OnPathError).
uint32_t UdpPort::FindMtu() const {
  const auto inside = [](uint32_t packet, uint32_t outer) {
    return std::clamp(packet, kMinMtu + outer, kMaxUdpMtu + outer) - outer;
  };
  uint32_t most = 0;
  for (const UdpPeer& peer : options_.peers) {
    const SocketAddress to = ResolveSocketAddress(peer.host, peer.port, local_.base.sa_family);
    const uint32_t path = PathMtu(to);
    if (path != 0) most = std::max(most, inside(path, OuterBytes(to)));
  }
  if (most != 0) return most;
  const uint32_t link = InterfaceMtu(local_);
  return inside(link != 0 ? link : kCommonMtu, OuterBytes(local_));
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
  if (frame.header.size() < kMinFrameBytes || total > (cut ? kMaxFrameBytes : mtu_)) {
    ++statistics_.refused;
    return SendResult::kNoRoute;
  }
  urgent_ = urgent_ || !frame.payload.empty() || !IsAcknowledgement(frame.header);
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
  if (!cut.has_value() || cut->header_bytes() + frame.segment_size > mtu_ ||
      cut->count() > DatagramsOut::kDatagrams || frame.payload.size() > kMaxReferences) {
    ++statistics_.refused;
    return SendResult::kNoRoute;
  }
  // At most one train waits here: what another queue pair sends stands behind no more than that,
  // and the peer takes one while the next is made.
  if (out_.bytes() >= kTrainInHand) SendBatch();
  if (out_.bytes() >= kTrainInHand) {
    ++statistics_.busy;
    return SendResult::kBusy;
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

// Acknowledgements alone may wait for those of the small messages that are here already: whoever
// takes these is bound to come, the core's thread if nobody else, and flushes again. What is long
// is acknowledged as it is taken, or its sender would stand still meanwhile.
bool UdpPort::MayWait() const {
  return !urgent_ && in_->available() && in_->Peek().bytes.size() <= kSmallFrame;
}

void UdpPort::SendBatch() {
  if (out_.empty()) return;
  urgent_ = held_ = false;
  blocked_.store(!out_.Send(socket_.get()), std::memory_order_relaxed);
}

void UdpPort::OnRefused(const DatagramsOut::Refused& refused) {
  abi::Ip6Address peer;
  const auto* bytes = static_cast<const uint8_t*>(refused.pieces.front().iov_base);
  std::memcpy(peer.bytes, bytes + kDestinationOffset, sizeof peer.bytes);
  if (refused.error == EMSGSIZE) {
    std::vector<uint8_t> packet;
    for (const iovec& piece : refused.pieces) {
      const auto* start = static_cast<const uint8_t*>(piece.iov_base);
      packet.insert(packet.end(), start, start + std::min(piece.iov_len, kMostQuotedBytes));
    }
    const uint32_t path = PathMtu(refused.to);
    if (path >= kMinMtu + OuterBytes(refused.to)) {
      TellFirmware(packet, EMSGSIZE, refused.to, path);
      return;
    }
    if (path != 0) {  // IPv6's least does not pass: that is for the layer below to cut
      AllowFragments(socket_.get(), local_.base.sa_family);
      cut_until_ns_ = MonotonicNs() + kPathAgesNs;
      return;  // lost once; it is sent again
    }
  }
  if (auto trouble = failures_.Note(refused.error, refused.length, peer, refused.to)) {
    reporter_.Tell(std::move(*trouble));
  }
}

// A path that was too narrow may not be for long, or somebody else has said so; all other peers'
// datagrams are cut meanwhile, too.
uint64_t UdpPort::Housekeeping(uint64_t now_ns) {
  if (cut_until_ns_ != 0 && now_ns >= cut_until_ns_) {
    cut_until_ns_ = 0;
    AskForErrors(socket_.get(), local_.base.sa_family);
  }
  return now_ns + kPathAgesNs;
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

// --- What the path says

// Returns whether there was an error that no send call has returned.
bool UdpPort::TakePathErrors() {
  errors_.store(false, std::memory_order_relaxed);
  const ErrorsTaken taken =
      wire::TakePathErrors(socket_.get(), [this](const PathError& error) { OnPathError(error); });
  if (taken.more) errors_.store(true, std::memory_order_relaxed);
  return taken.others;
}

void UdpPort::OnPathError(const PathError& error) {
  ++statistics_.path_errors;
  if (error.packet.size() < kMinFrameBytes) return;  // of whatever: it is not known
  abi::Ip6Address peer;
  std::memcpy(peer.bytes, &error.packet[kDestinationOffset], sizeof peer.bytes);
  const SocketAddress* known = peers_.Find(peer);
  if (known == nullptr && default_peer_.has_value()) known = &*default_peer_;
  if (known == nullptr || !(*known == error.to)) return;
  TellFirmware(error.packet, error.error, error.to, error.mtu);
  // Who was learned has come and may go; who was given is expected to be there.
  const bool given = peers_.Judge(peer, error.to) == UdpPeers::Judgement::kFixed ||
                     (default_peer_.has_value() && *default_peer_ == error.to);
  if (!given) return;
  if (auto trouble = failures_.NoteAnswer(error.error, peer, error.to)) {
    reporter_.Tell(std::move(*trouble));
  }
}

// The packet's sender hears of it as on a path of routers, and judges for itself whether to believe
// it (RFC 5927).
void UdpPort::TellFirmware(std::span<const uint8_t> packet, int error, const SocketAddress& to,
                           uint32_t path_mtu) {
  const uint32_t outer = OuterBytes(to);
  if (own_frames_.size() == kMostOwnFrames) return;
  auto frame = IcmpErrorAbout(packet, error, path_mtu > outer ? path_mtu - outer : 0);
  if (!frame.empty()) own_frames_.push_back(std::move(frame));
}

// --- Receiving

bool UdpPort::Receive(InFrame* frame) {
  if (errors_.load(std::memory_order_relaxed)) TakePathErrors();
  const bool blocked = blocked_.load(std::memory_order_relaxed);
  if (blocked || (held_ && !in_->available())) SendBatch();
  if (lent_.full()) return false;
  if (!own_frames_.empty()) {
    lent_.LendOwn(std::move(own_frames_.front()), frame);
    own_frames_.erase(own_frames_.begin());
    return true;
  }
  while (in_->available() || in_->Fill(socket_.get())) {
    if (Accept(in_->Peek())) {
      const uint32_t count = lent_.LendTrain(in_.get(), options_.offload, longest_, frame);
      statistics_.frames_received += count;
      statistics_.bytes_received += frame->length;
      statistics_.frames_received_unsegmented += count > 1 ? 1 : 0;
      return true;
    }
    in_->Pass();
  }
  if (in_->TakeFailure()) errors_.store(true, std::memory_order_relaxed);
  return false;
}

// Whether a datagram is a frame from whom it says. Its sender's socket is learned where that is
// allowed.
bool UdpPort::Accept(const DatagramsIn::Datagram& datagram) {
  if (datagram.cut_off || datagram.bytes.size() > longest_) {
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
      .Add("trains_received", in_->statistics().trains)
      .Add("frames_received_unsegmented", s.frames_received_unsegmented)
      .Add("send_calls", out_.statistics().calls)
      .Add("receive_calls", in_->statistics().calls)
      .Add("empty_receive_calls", in_->statistics().empty_calls)
      .Add("sends_busy", s.busy)
      .Add("sends_no_route", s.no_route)
      .Add("sends_refused", s.refused)
      .Add("send_errors", out_.statistics().errors)
      .Add("oversize_dropped", s.oversize)
      .Add("malformed_dropped", s.malformed)
      .Add("wrong_sender_dropped", s.wrong_sender)
      .Add("unknown_sender_dropped", s.unknown_sender)
      .Add("path_errors", s.path_errors)
      .Add("peers_learned", peers_.learned())
      .Add("sleeps", sleep_.sleeps())
      .Add("receive_buffer_bytes", static_cast<uint64_t>(receive_buffer))
      .Text();
}

}  // namespace

std::unique_ptr<Wire> OpenUdpWire(const UdpOptions& options) {
  if (options.mtu != 0 && (options.mtu < kMinMtu || options.mtu > kMaxUdpMtu)) {
    throw std::runtime_error("udp wire: bad mtu " + std::to_string(options.mtu) + ": 1280 to " +
                             std::to_string(kMaxUdpMtu) + " bytes fit a datagram");
  }
  return std::make_unique<UdpPort>(options);
}

}  // namespace qpip::wire

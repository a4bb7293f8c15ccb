// The `wg:` wire: IPv6 packets through WireGuard, to any host that speaks it.
//
//     +----------------------+-----+--------------------------+-----------------------+-----+
//     | IPv4 or IPv6 (outer) | UDP | type 4, session, counter | IPv6 packet, sealed   | tag |
//     +----------------------+-----+--------------------------+-----------------------+-----+
//
// The protocol is a machine without I/O (protocols/wireguard/machine.h); here are its socket and
// clock. A frame of many segments is cut, each segment sealed into the batch's memory and all sent
// in one message (DatagramsOut). What comes in is opened where it lies; packets that continue each
// other are one frame to the firmware (Train). Whoever has no session yet waits in the machine.
#include "sim/wire/wg_port.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <stdexcept>

#include "protocols/common/checksum.h"
#include "protocols/wireguard/key_text.h"
#include "sim/wire/futex.h"
#include "sim/wire/json.h"
#include "sim/wire/layout.h"
#include "sim/wire/train.h"
#include "sim/wire/wg_endpoint.h"

namespace qpip::wire {
namespace {

constexpr uint32_t kReceiveFrames = 320;  ///< borrowed ones, and a batch being filled
/// Of sealed datagrams that wait to be sent: a few of the longest trains.
constexpr size_t kSealedBytes = size_t{4} * kMaxFrameBytes;
/// A frame of so many bytes takes some ten microseconds to open.
constexpr uint32_t kLongFrame = 16384;
/// The longest frame that is cut.
constexpr uint32_t kSegmentationLimit = 65535;
/// Room in the batch for what the machine itself has to say meanwhile.
constexpr uint32_t kSpareDatagrams = 16;

/// Copies text out of pieces, from the front.
class TextReader {
 public:
  TextReader(std::span<const uint8_t> first, std::span<const iovec> more)
      : piece_(first), more_(more) {}
  /// Copies the next `bytes` and returns what they sum up to (ChecksumAdd).
  uint16_t Take(uint8_t* out, size_t bytes) {
    const std::span<const uint8_t> copied(out, bytes);
    while (bytes > 0) {
      const size_t part = std::min(piece_.size(), bytes);
      if (part > 0) std::memcpy(out, piece_.data(), part);
      out += part;
      bytes -= part;
      piece_ = piece_.subspan(part);
      if (bytes > 0) {
        const iovec& next = more_.front();
        piece_ = {static_cast<const uint8_t*>(next.iov_base), next.iov_len};
        more_ = more_.subspan(1);
      }
    }
    return ChecksumAdd(copied);
  }

 private:
  std::span<const uint8_t> piece_;
  std::span<const iovec> more_;
};

std::vector<std::string> KeyTexts(const WireguardConfig& config) {
  std::vector<std::string> texts;
  for (const WireguardPeer& peer : config.peers) {
    texts.push_back(wireguard::FormatKey(peer.config.public_key));
  }
  return texts;
}

}  // namespace

WireguardPort::WireguardPort(const WireguardOptions& options, WireguardSetup setup)
    : offload_(options.offload),
      mtu_(setup.mtu),
      longest_(setup.longest),
      address_(setup.address),
      socket_(Bind(options, setup.config)),
      words_(KeyTexts(setup.config)),
      machine_(ConfigureMachine(options, &setup.config), MakePorts(options), &secrets_),
      out_(kSealedBytes, offload_,
           {.refused = [this](const DatagramsOut::Refused& refused) { OnRefused(refused); },
            .was_earlier = [this] { return TakePathErrors(); },
            .gave_up_trains =
                [this](int error) {
                  ++statistics_.trains_given_up;
                  reporter_.Tell({.code = error,
                                  .what = std::string("wg wire: the kernel takes no trains of "
                                                      "datagrams on this path (UDP_SEGMENT: ") +
                                          std::strerror(error) +
                                          "): they go one by one, which is slower; offload=0 "
                                          "says so from the start"});
                }}),
      in_(static_cast<uint32_t>(machine_.SealedBytes(longest_)), kReceiveFrames, offload_),
      lent_(kReceiveFrames) {
  for (uint32_t i = kReceiveFrames; i-- > 0;) free_lent_.push_back(i);
  in_.Enable(socket_.get());
  for (abi::Trouble& remark : setup.remarks) reporter_.Tell(std::move(remark));
  RunTimers(MonotonicNs());  // persistent keepalives begin now
}

WireguardPort::~WireguardPort() {
  if (!fork_.inherited()) SendBatch();
}

uint32_t WireguardPort::segmentation_limit() const { return offload_ ? kSegmentationLimit : 0; }

wireguard::Time WireguardPort::Tick() {
  timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now_ = {.monotonic_ns = MonotonicNs(),
                 .unix_ns = static_cast<uint64_t>(now.tv_sec) * wireguard::kSecondNs +
                            static_cast<uint64_t>(now.tv_nsec)};
}

std::string WireguardPort::TextOf(const wireguard::Endpoint& endpoint) const {
  return endpoint.known() ? SocketText(ToSocketAddress(endpoint, AF_INET6)) : "no known address";
}

// --- Sending

SendResult WireguardPort::Send(const OutFrame& frame, uint64_t* lease) {
  *lease = 0;
  size_t total = frame.header.size();
  for (const iovec& piece : frame.payload) total += piece.iov_len;
  const bool is_cut = offload_ && frame.segment_size != 0;
  std::optional<Segmenter> cut;
  if (is_cut) cut = Segmenter::Of(frame.header, total, frame.segment_size);
  const bool fits = is_cut ? cut.has_value() && total <= kMaxFrameBytes &&
                                 cut->header_bytes() + frame.segment_size <= mtu_
                           : total <= mtu_;
  if (frame.header.size() < kMinFrameBytes || !fits) {
    ++statistics_.refused;
    return SendResult::kNoRoute;
  }
  const auto peer = machine_.Route(frame.header.subspan<kDestinationOffset, 16>());
  if (!peer.has_value() || !machine_.EndpointOf(*peer).known() ||
      (failures_.any() &&
       failures_.Refused(ToSocketAddress(machine_.EndpointOf(*peer), local_.base.sa_family),
                         MonotonicNs()))) {
    ++statistics_.no_route;
    return SendResult::kNoRoute;
  }
  return SendSegments(frame, cut.has_value() ? &*cut : nullptr, total, *peer);
}

// Each segment, or the frame as it is, is sealed where it is to be sent from.
SendResult WireguardPort::SendSegments(const OutFrame& frame, const Segmenter* cut, size_t total,
                                       wireguard::PeerId peer) {
  const uint32_t count = cut != nullptr ? cut->count() : 1;
  const size_t headers = cut != nullptr ? cut->header_bytes() : 0;
  const size_t text = cut != nullptr ? frame.segment_size : total;
  const size_t each = machine_.SealedBytes(headers + text);
  if (!MakeRoom(count + kSpareDatagrams,
                count * each + kSpareDatagrams * wireguard::kInitiationBytes)) {
    ++statistics_.busy;
    return SendResult::kBusy;
  }
  const wireguard::Time now = Tick();
  TextReader reader(frame.header.subspan(headers), frame.payload);
  for (uint32_t i = 0; i < count; ++i) {
    const size_t bytes = cut != nullptr ? cut->TextBytes(i) : total;
    uint8_t* datagram = out_.Take(machine_.SealedBytes(headers + bytes));
    uint8_t* packet = datagram + wireguard::kDataHeaderBytes;
    const uint16_t sum = reader.Take(packet + headers, bytes);
    if (cut != nullptr) cut->Write(i, sum, packet);
    SealNext(headers + bytes, peer, now, datagram);
  }
  ++statistics_.frames_sent;
  // Another thread may sleep for longer than what this has begun; before SendControl, which notes
  // the deadline as known.
  if (machine_.next_deadline_ns() < next_timer_ns_.load(std::memory_order_relaxed)) {
    next_timer_ns_.store(machine_.next_deadline_ns(), std::memory_order_relaxed);
    sleep_.Wake();
  }
  if (!control_.empty()) SendControl();
  return SendResult::kSent;
}

// Of a packet that lies in `datagram`. Without a session it waits in the machine for one.
bool WireguardPort::SealNext(size_t length, wireguard::PeerId peer, wireguard::Time now,
                             uint8_t* datagram) {
  const std::span<uint8_t> room(datagram, machine_.SealedBytes(length));
  const size_t bytes = machine_.Seal(peer, room, length, now);
  if (bytes == 0) {
    out_.GiveBack(room.size());
    return machine_.Stage(peer, room.subspan(wireguard::kDataHeaderBytes, length), now);
  }
  const iovec piece = {datagram, bytes};
  out_.Add(ToSocketAddress(machine_.EndpointOf(peer), local_.base.sa_family), {&piece, 1},
           static_cast<uint32_t>(bytes));
  return true;
}

bool WireguardPort::MakeRoom(uint32_t datagrams, size_t bytes) {
  if (out_.HasRoom(datagrams, datagrams, bytes)) return true;
  SendBatch();
  return out_.HasRoom(datagrams, datagrams, bytes);
}

void WireguardPort::SendBatch() {
  if (out_.empty()) return;
  blocked_.store(!out_.Send(socket_.get()), std::memory_order_relaxed);
}

// What the machine has to say goes at once: somebody waits for it. Best effort, as UDP is.
void WireguardPort::SendControl() {
  for (const Control& control : control_) {
    if (!MakeRoom(1, control.bytes.size())) {
      ++statistics_.control_dropped;
      continue;
    }
    uint8_t* bytes = out_.Take(control.bytes.size());
    std::memcpy(bytes, control.bytes.data(), control.bytes.size());
    const iovec piece = {bytes, control.bytes.size()};
    out_.Add(ToSocketAddress(control.to, local_.base.sa_family), {&piece, 1},
             static_cast<uint32_t>(control.bytes.size()));
  }
  control_.clear();
  next_timer_ns_.store(machine_.next_deadline_ns(), std::memory_order_relaxed);
  SendBatch();
}

// Returns whether there was an error that no send call has returned.
bool WireguardPort::TakePathErrors() {
  errors_.store(false, std::memory_order_relaxed);
  const ErrorsTaken taken =
      wire::TakePathErrors(socket_.get(), [this](const PathError& error) { OnPathError(error); });
  if (taken.more) errors_.store(true, std::memory_order_relaxed);
  return taken.others;
}

// Told, where a handshake is being waited for, and no more: anybody on the way can make one, and
// what it quotes is sealed. A path's smaller MTU the kernel has heard of too: from now on it sends
// fragments. Of a peer that has ended, that is nothing to tell.
void WireguardPort::OnPathError(const PathError& error) {
  ++statistics_.path_errors;
  const wireguard::Endpoint to = ToEndpoint(error.to);
  bool awaited = false;
  for (wireguard::PeerId id = 0; id < machine_.peer_count() && !awaited; ++id) {
    awaited = machine_.Awaits(id) && machine_.EndpointOf(id) == to;
  }
  if (!awaited) return;
  auto trouble = failures_.NoteAnswer(error.error, {}, error.to);
  if (!trouble.has_value()) return;
  trouble->what = "wg wire: " + SocketText(error.to) + " answers by an error: " +
                  (error.error == ECONNREFUSED
                       ? "nobody listens on that port: start the peer, or correct its Endpoint"
                       : std::strerror(error.error));
  reporter_.Tell(std::move(*trouble));
}

void WireguardPort::OnRefused(const DatagramsOut::Refused& refused) {
  if (auto trouble = failures_.Note(refused.error, refused.length, {}, refused.to)) {
    trouble->what.replace(0, 3, "wg");  // "udp wire: ..."
    reporter_.Tell(std::move(*trouble));
  }
}

void WireguardPort::OnEvent(const wireguard::Event& event) {
  if (auto trouble = words_.Of(event, TextOf(event.from), MonotonicNs())) {
    reporter_.Tell(std::move(*trouble));
  }
}

// --- Time

void WireguardPort::RunTimers(uint64_t now_ns) {
  if (now_ns < machine_.next_deadline_ns()) return;
  // Of a peer that has spoken meanwhile, what it said counts.
  if (const auto found = lookup_.Answer(); found && machine_.Awaits(found->first)) {
    const wireguard::Endpoint endpoint = ToEndpoint(found->second);
    statistics_.names_moved += machine_.EndpointOf(found->first) == endpoint ? 0 : 1;
    machine_.SetEndpoint(found->first, endpoint);
  }
  AskForNames();
  machine_.OnTimers(Tick());
  SendControl();
}

// One at a time, in turn, as long as a peer does not answer: its name may be given another address
// at any time, or the look-up have failed like everything else.
void WireguardPort::AskForNames() {
  for (size_t i = 0; i < names_.size(); ++i) {
    const auto id = static_cast<wireguard::PeerId>((next_name_ + i) % names_.size());
    const Name& name = names_[id];
    if (name.host.empty() || !machine_.Awaits(id)) continue;
    lookup_.Ask(id, name.host, name.port, local_.base.sa_family);
    next_name_ = id + 1;
    return;
  }
}

uint64_t WireguardPort::Housekeeping(uint64_t now_ns) {
  RunTimers(now_ns);
  return machine_.next_deadline_ns();
}

void WireguardPort::PrepareSleep() {
  resting_.store(true, std::memory_order_relaxed);
  pause_ = false;
  SendBatch();
  machine_.Rest();
  next_timer_ns_.store(machine_.next_deadline_ns(), std::memory_order_relaxed);
  sleep_.Prepare();
  in_.WillSleep();
}

void WireguardPort::Sleep(uint64_t deadline_ns) {
  const bool blocked = blocked_.load(std::memory_order_relaxed);
  // Timers that were armed after the core last asked are this wire's to wake for.
  const uint64_t timer_ns = next_timer_ns_.load(std::memory_order_relaxed);
  const int ready = sleep_.Sleep(socket_.get(), blocked ? POLLIN | POLLOUT : POLLIN,
                                 std::min(deadline_ns, timer_ns));
  if ((ready & POLLERR) != 0) errors_.store(true, std::memory_order_relaxed);
  resting_.store(false, std::memory_order_relaxed);
}

// --- Receiving

bool WireguardPort::Receive(InFrame* frame) {
  if (blocked_.load(std::memory_order_relaxed)) SendBatch();
  if (errors_.load(std::memory_order_relaxed)) TakePathErrors();
  if (free_lent_.empty()) return false;
  // What is long is acknowledged before the next is opened, or its sender, whose window is full,
  // stands still until all is open that is here, and this end when the sender goes on.
  if (pause_) return pause_ = false;
  for (;;) {
    if (!in_.available()) {
      RunTimers(MonotonicNs());
      if (!in_.Fill(socket_.get())) {
        if (in_.TakeFailure()) errors_.store(true, std::memory_order_relaxed);
        return false;
      }
      Tick();
    }
    const std::span<uint8_t> packet = OpenNext();
    if (!packet.empty()) {
      Lend(packet, frame);
      pause_ = !resting_.load(std::memory_order_relaxed) && frame->length >= kLongFrame;
      return true;
    }
    in_.Pass();
  }
}

// The packet of the oldest datagram, opened in its place; empty: it holds none for the firmware.
// Remembered until it is passed, as a counter is taken once.
std::span<uint8_t> WireguardPort::OpenNext() {
  if (!opened_.empty()) return opened_;
  const DatagramsIn::Datagram datagram = in_.Peek();
  if (datagram.cut_off) {
    ++statistics_.oversize;
    return {};
  }
  const std::span<uint8_t> out = datagram.bytes.size() < wireguard::kDataOverheadBytes
                                     ? std::span<uint8_t>()
                                     : datagram.bytes.subspan(wireguard::kDataHeaderBytes);
  const wireguard::Received got =
      machine_.Receive(datagram.bytes, ToEndpoint(*datagram.from), out, now_);
  if (!control_.empty()) SendControl();
  if (got.packet.empty() || !Accept(got.packet)) return {};
  return opened_ = out.first(got.packet.size());
}

bool WireguardPort::Accept(std::span<const uint8_t> packet) {
  if (packet[0] >> 4 != 6) {
    ++statistics_.not_ipv6;  // allowed, but there is no IPv4 here
    return false;
  }
  if (packet.size() > longest_) {
    ++statistics_.oversize;
    return false;
  }
  return true;
}

// Lends a packet and what continues it.
void WireguardPort::Lend(std::span<uint8_t> first, InFrame* frame) {
  const uint32_t index = free_lent_.back();
  free_lent_.pop_back();
  Lent& lent = lent_[index];
  const auto take = [&](std::span<uint8_t> packet, size_t offset) {
    in_.Hold(packet.data());
    lent.pieces[lent.count++] = {packet.data() + offset, packet.size() - offset};
    opened_ = {};
    in_.Pass();
  };
  Train train(first);
  take(first, 0);
  while (offload_ && in_.available() && lent.count < lent.pieces.size()) {
    const std::span<uint8_t> next = OpenNext();
    if (next.empty()) {
      in_.Pass();
      continue;
    }
    if (!train.Join(next)) break;
    take(next, train.text_offset());
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

void WireguardPort::Release(const InFrame& frame) {
  if (frame.token == 0 || frame.token > lent_.size()) return;
  const auto index = static_cast<uint32_t>(frame.token - 1);
  Lent& lent = lent_[index];
  if (lent.count == 0) return;
  for (uint32_t i = 0; i < lent.count; ++i) in_.GiveBack(lent.pieces[i].iov_base);
  lent.count = 0;
  free_lent_.push_back(index);
}

// --- Statistics

std::string WireguardPort::PeersJson() const {
  std::string text;
  const uint64_t now_ns = MonotonicNs();
  for (wireguard::PeerId id = 0; id < machine_.peer_count(); ++id) {
    const wireguard::PeerStatus peer = machine_.Status(id);
    JsonObject object;
    object.Add("public_key", wireguard::FormatKey(peer.public_key))
        .Add("endpoint", peer.endpoint.known() ? TextOf(peer.endpoint) : "")
        .Add("bytes_sent", peer.bytes_sent)
        .Add("bytes_received", peer.bytes_received);
    if (peer.session_begun_ns != wireguard::kNever) {
      object.Add("session_age_s", (now_ns - peer.session_begun_ns) / wireguard::kSecondNs);
    }
    text += (text.empty() ? "" : ", ") + object.Text();
  }
  return "[" + text + "]";
}

std::string WireguardPort::StatisticsJson() const {
  const Statistics& s = statistics_;
  int receive_buffer = 0;
  socklen_t length = sizeof receive_buffer;
  ::getsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, &length);
  JsonObject object;
  object.Add("wire", "wg")
      .Add("port", local_.port())
      .Add("public_key", wireguard::FormatKey(machine_.public_key()))
      .Add("frames_sent", s.frames_sent)
      .Add("datagrams_sent", out_.statistics().datagrams)
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
      .Add("path_errors", s.path_errors)
      .Add("send_errors", out_.statistics().errors)
      .Add("control_dropped", s.control_dropped)
      .Add("not_ipv6_dropped", s.not_ipv6)
      .Add("oversize_dropped", s.oversize)
      .Add("names_moved", s.names_moved)
      .Add("secrets_undumped", secrets_.undumped() ? 1u : 0u)
      .Add("sleeps", sleep_.sleeps())
      .Add("receive_buffer_bytes", static_cast<uint64_t>(receive_buffer));
  const wireguard::Counters& counters = machine_.counters();
#define QPIP_ADD_EVENT(name) object.Add(#name, counters.name);
#define QPIP_ADD_DROP(name) object.Add(#name "_dropped", counters.dropped.name);
  QPIP_WIREGUARD_EVENTS(QPIP_ADD_EVENT)
  QPIP_WIREGUARD_DROPS(QPIP_ADD_DROP)
#undef QPIP_ADD_EVENT
#undef QPIP_ADD_DROP
  return object.Raw("peers", PeersJson()).Text();
}

}  // namespace qpip::wire

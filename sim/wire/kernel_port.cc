// The `tun:` and `tap:` wires: IPv6 packets to and from the Linux kernel's own stack, or a link
// that the kernel bridges.
//
//     +--------------+------------+---------------------------------+
//     | virtio       | tap only:  | IPv6 packet, up to 64 KiB with  |  one read(2) or write(2) a
//     | header, 10 B | Ethernet,  | segmentation offload            |  frame
//     |              | 14 B       |                                 |
//     +--------------+------------+---------------------------------+
//
// With offload the kernel is a NIC to us, as we are to it: whoever sends leaves the transport
// checksum to be finished by whoever needs it (mostly nobody), and TCP goes over in one piece that
// is cut into segments when it leaves the machine, if ever. So frames to the kernel need no
// checksum of the firmware's (`trusted`), while frames from the kernel are vouched for one by one.
//
// The device's own queue is one for all. Frames are read ahead of the core, and wait here by flows.
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <span>
#include <stdexcept>

#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/ipv6/extension.h"
#include "protocols/ipv6/header.h"
#include "protocols/tcp/header.h"
#include "protocols/udp/header.h"
#include "sim/wire/fair_queue.h"
#include "sim/wire/fork.h"
#include "sim/wire/frame_pool.h"
#include "sim/wire/json.h"
#include "sim/wire/kernel_device.h"
#include "sim/wire/layout.h"
#include "sim/wire/reporter.h"
#include "sim/wire/wire.h"

namespace qpip::wire {
namespace {

constexpr uint32_t kBorrowedFrames = 320;       ///< by the core at a time
constexpr uint32_t kWaitingFrames = 512;        ///< read ahead; what is more is dropped
constexpr uint32_t kReadsAtOnce = 32;           ///< before a frame is handed on
constexpr size_t kMaxHeader = 2048;             ///< of an outgoing frame (fw::FrameOut)
constexpr size_t kMaxPieces = 32;               ///< virtio and Ethernet header, header, payload
constexpr uint32_t kSegmentationLimit = 65535;  ///< the kernel refuses larger ones
/// Of the IPv6 header in a buffer: aligned, with room for what comes in front.
constexpr size_t kFrameOffset = 32;
constexpr size_t kEthernetBytes = 14;
constexpr uint16_t kEtherTypeIpv6 = 0x86dd;
constexpr size_t kBufferBytes =
    (kFrameOffset + kMaxFrameBytes + kCacheLine) / kCacheLine * kCacheLine;

class KernelPort final : public Wire {
 public:
  explicit KernelPort(const KernelWireOptions& options);

  void ReportTo(Report report) override { reporter_.To(std::move(report)); }
  SendResult Send(const OutFrame& frame, uint64_t* lease) override;
  bool LeasePending(uint64_t) override { return false; }  // the kernel copies at once
  bool Receive(InFrame* frame) override;
  void Release(const InFrame& frame) override { pool_.Release(frame); }
  void Flush() override {}
  uint64_t Housekeeping(uint64_t) override { return UINT64_MAX; }
  void PrepareSleep() override { sleep_.Prepare(); }
  void CancelSleep() override {}
  void Sleep(uint64_t deadline_ns) override;
  void Wake() override { sleep_.Wake(); }
  void* AllocateShared(size_t) override { return nullptr; }
  void FreeShared(void*, size_t) override {}
  uint32_t mtu() const override { return mtu_; }
  abi::Ip6Address address() const override { return options_.address; }
  bool trusted() const override { return options_.offload; }
  bool carries_references() const override { return false; }
  uint32_t segmentation_limit() const override { return options_.offload ? kSegmentationLimit : 0; }
  std::optional<LinkAddress> link_address() const override {
    return options_.ethernet ? std::optional(options_.mac) : std::nullopt;
  }
  std::string StatisticsJson() const override;

 private:
  bool Offload(const OutFrame& frame, size_t total, std::span<uint8_t> header,
               VirtioNetHeader* virtio);
  SendResult Write(std::span<const iovec> pieces, size_t total);
  ssize_t Read(uint8_t* buffer);
  bool IsForUs(const uint8_t* packet, size_t bytes) const;
  bool ReadFrame(InFrame* frame);
  bool TellGone(InFrame* frame);

  const KernelWireOptions options_;
  Reporter reporter_;
  const size_t link_bytes_;  ///< in front of the IPv6 header
  KernelDevice device_;
  uint32_t mtu_;
  DescriptorSleep sleep_;
  FramePool pool_;
  FairQueue waiting_;
  bool drained_ = false;  ///< the device had no more frame when it was read last
  // Or the device would stay attached when its owner has ended.
  const ForkWatch fork_{{.child = [this] { device_.descriptor = Descriptor(); }}};
  std::atomic<bool> blocked_{false};  ///< a write found no room; read by Sleep without the lock
  std::atomic<bool> gone_{false};     ///< the device was deleted
  bool gone_told_ = false;

  struct Statistics {
    uint64_t frames_sent = 0, bytes_sent = 0, frames_received = 0, bytes_received = 0;
    uint64_t sent_in_one_piece = 0, received_in_one_piece = 0, vouched = 0;
    uint64_t crowded_out = 0;
    uint64_t busy = 0, refused = 0, send_errors = 0, foreign = 0;
  } statistics_;
};

KernelPort::KernelPort(const KernelWireOptions& options)
    : options_(options),
      link_bytes_(options.ethernet ? kEthernetBytes : 0),
      device_(OpenKernelDevice(options)),
      mtu_(options.mtu != 0 ? options.mtu : device_.mtu),
      pool_(kBorrowedFrames + kWaitingFrames, kBufferBytes),
      waiting_(kWaitingFrames) {
  if (!device_.warning.empty()) reporter_.Tell({.code = EEXIST, .what = device_.warning});
  if (mtu_ < ipv6::kMinMtu || mtu_ > kMaxFrameBytes) {
    throw std::runtime_error(std::string(options.ethernet ? "tap" : "tun") + " wire: the MTU of " +
                             options.interface + " is " + std::to_string(mtu_) + ", IPv6 needs " +
                             std::to_string(ipv6::kMinMtu) + " to " +
                             std::to_string(kMaxFrameBytes) + ": give mtu=1500");
  }
}

// --- Sending

// Leaves checksum and segmentation to the kernel. `header` is a copy of the frame's, for the
// pseudo-header's sum to be written into. Returns false for a frame that makes no sense.
bool KernelPort::Offload(const OutFrame& frame, size_t total, std::span<uint8_t> header,
                         VirtioNetHeader* virtio) {
  ipv6::Header ip;
  ipv6::UpperLayer upper;
  if (ipv6::Parse(header, static_cast<uint32_t>(total), &ip) != ipv6::ParseError::kNone) {
    return false;
  }
  const ipv6::ParseError error = ipv6::FindUpperLayer(header, ip, &upper);
  if (error == ipv6::ParseError::kFragmented) return true;  // carries its checksum
  if (error != ipv6::ParseError::kNone) return false;
  size_t field = 0;
  switch (upper.protocol) {
    case ipv6::kTcp:
      field = tcp::offset::kChecksum;
      break;
    case ipv6::kUdp:
      field = udp::offset::kChecksum;
      break;
    default:
      return true;  // ICMPv6 and others carry a checksum already, or none
  }
  if (upper.offset + field + 2 > header.size()) return false;
  StoreBe16(&header[upper.offset + field],
            PseudoHeaderSum(ip.source, ip.destination, upper.length, upper.protocol));
  virtio->flags = VirtioNetHeader::kNeedsChecksum;
  virtio->checksum_start = static_cast<uint16_t>(link_bytes_ + upper.offset);
  virtio->checksum_offset = static_cast<uint16_t>(field);
  if (frame.segment_size == 0 || upper.protocol != ipv6::kTcp) return true;
  if (upper.offset + tcp::kMinHeaderBytes > header.size()) return false;
  const size_t tcp_bytes = (header[upper.offset + tcp::offset::kDataOffset] >> 4) * size_t{4};
  const size_t headers = upper.offset + tcp_bytes;
  if (frame.segment_size > UINT16_MAX || headers > total || total > kSegmentationLimit)
    return false;
  if (total - headers <= frame.segment_size) return true;  // one segment
  const bool cwr = (header[upper.offset + tcp::offset::kFlags] & tcp::kCwr) != 0;
  virtio->gso_type = VirtioNetHeader::kGsoTcpIpv6 | (cwr ? VirtioNetHeader::kGsoEcn : uint8_t{0});
  virtio->gso_size = static_cast<uint16_t>(frame.segment_size);
  virtio->header_length = static_cast<uint16_t>(link_bytes_ + headers);
  ++statistics_.sent_in_one_piece;
  return true;
}

SendResult KernelPort::Send(const OutFrame& frame, uint64_t* lease) {
  *lease = 0;
  size_t total = frame.header.size();
  for (const iovec& piece : frame.payload) total += piece.iov_len;
  const bool splits = options_.offload && frame.segment_size != 0;
  if (frame.header.size() < kMinFrameBytes || total > (splits ? kMaxFrameBytes : mtu_) ||
      frame.payload.size() + 3 > kMaxPieces || gone_.load(std::memory_order_relaxed)) {
    ++statistics_.refused;
    return SendResult::kNoRoute;
  }
  VirtioNetHeader virtio;
  std::array<uint8_t, kMaxHeader> copy;
  std::array<iovec, kMaxPieces> pieces;
  size_t count = 0;
  pieces[count++] = {&virtio, sizeof virtio};
  std::array<uint8_t, kEthernetBytes> ethernet;
  if (options_.ethernet) {
    std::memcpy(ethernet.data(), frame.link_address.data(), 6);
    std::memcpy(ethernet.data() + 6, options_.mac.data(), 6);
    StoreBe16(ethernet.data() + 12, kEtherTypeIpv6);
    pieces[count++] = {ethernet.data(), ethernet.size()};
  }
  if (options_.offload) {
    if (frame.header.size() > copy.size()) {
      ++statistics_.refused;
      return SendResult::kNoRoute;
    }
    std::memcpy(copy.data(), frame.header.data(), frame.header.size());
    if (!Offload(frame, total, {copy.data(), frame.header.size()}, &virtio)) {
      ++statistics_.refused;
      return SendResult::kNoRoute;
    }
    pieces[count++] = {copy.data(), frame.header.size()};
  } else {
    pieces[count++] = {const_cast<uint8_t*>(frame.header.data()), frame.header.size()};
  }
  for (const iovec& piece : frame.payload) pieces[count++] = piece;
  return Write({pieces.data(), count}, total);
}

SendResult KernelPort::Write(std::span<const iovec> pieces, size_t total) {
  ssize_t written;
  do {
    written = ::writev(device_.descriptor.get(), pieces.data(), static_cast<int>(pieces.size()));
  } while (written < 0 && errno == EINTR);
  if (written >= 0) {
    if (blocked_.load(std::memory_order_relaxed)) blocked_.store(false, std::memory_order_relaxed);
    ++statistics_.frames_sent;
    statistics_.bytes_sent += total;
    return SendResult::kSent;
  }
  switch (errno) {
    case EAGAIN:
      blocked_.store(true, std::memory_order_relaxed);
      ++statistics_.busy;
      return SendResult::kBusy;
    case EBADFD:
    case ENODEV:
      gone_.store(true, std::memory_order_relaxed);
      ++statistics_.refused;
      return SendResult::kNoRoute;
    default:
      // The link is down or the kernel has no memory: lost, as on any network.
      ++statistics_.send_errors;
      return SendResult::kSent;
  }
}

// --- Receiving

ssize_t KernelPort::Read(uint8_t* buffer) {
  for (;;) {
    const size_t start = kFrameOffset - link_bytes_ - sizeof(VirtioNetHeader);
    const ssize_t got = ::read(device_.descriptor.get(), buffer + start, kBufferBytes - start);
    if (got >= 0) return got;
    if (errno == EINTR) continue;
    if (errno == EBADFD || errno == ENODEV) gone_.store(true, std::memory_order_relaxed);
    return -1;
  }
}

// Whether a frame holds an IPv6 packet and is addressed to this port, as a MAC filters: to its own
// address or to an IPv6 multicast group (RFC 2464 section 7). In a frame to a group there is a
// packet to one: any other would be answered with an error by everybody, which RFC 4443 2.4 (e.4)
// forbids, and the firmware does not see whom the frame was for. Broadcast frames (e.5) are none.
bool KernelPort::IsForUs(const uint8_t* packet, size_t bytes) const {
  if (bytes < kMinFrameBytes || packet[0] >> 4 != 6) return false;
  if (!options_.ethernet) return true;
  const uint8_t* ethernet = packet - kEthernetBytes;
  if (LoadBe16(ethernet + 12) != kEtherTypeIpv6) return false;
  const bool to_group = ethernet[0] == 0x33 && ethernet[1] == 0x33;
  return (to_group && packet[ipv6::offset::kDestination] == 0xff) ||
         std::memcmp(ethernet, options_.mac.data(), options_.mac.size()) == 0;
}

// Once: why, to whoever listens, and a link event that ends all connections.
bool KernelPort::TellGone(InFrame* frame) {
  if (gone_told_) return false;
  gone_told_ = true;
  reporter_.Tell({.fatal = true,
                  .code = ENETDOWN,
                  .what = std::string(options_.ethernet ? "tap" : "tun") + " wire: the device " +
                          options_.interface +
                          " has been deleted: start this program again, which makes it anew, or "
                          "prepare it before (ip tuntap add)"});
  *frame = InFrame{};
  frame->peer_down = true;
  return true;
}

// The next frame for this port. False: there is none, or no buffer, or no device any more.
bool KernelPort::ReadFrame(InFrame* frame) {
  const uint32_t index = pool_.Take();
  if (index == FramePool::kNone) return false;
  uint8_t* buffer = pool_.At(index);
  for (;;) {
    const ssize_t got = Read(buffer);
    if (got < 0) {
      pool_.Give(index);
      return false;
    }
    const size_t in_front = sizeof(VirtioNetHeader) + link_bytes_;
    const size_t bytes =
        static_cast<size_t>(got) < in_front ? 0 : static_cast<size_t>(got) - in_front;
    if (!IsForUs(buffer + kFrameOffset, bytes)) {
      ++statistics_.foreign;  // IPv4, ARP, other ports' frames
      continue;
    }
    VirtioNetHeader virtio;
    std::memcpy(&virtio, buffer + kFrameOffset - in_front, sizeof virtio);
    const auto length = static_cast<uint32_t>(bytes);
    pool_.Lend(index, kFrameOffset, length, frame);
    frame->checksum_vouched =
        (virtio.flags & (VirtioNetHeader::kNeedsChecksum | VirtioNetHeader::kDataValid)) != 0;
    ++statistics_.frames_received;
    statistics_.bytes_received += length;
    statistics_.vouched += frame->checksum_vouched ? 1 : 0;
    statistics_.received_in_one_piece += virtio.gso_type != 0 ? 1 : 0;
    return true;
  }
}

// Reads what is there, as far as it is not very much, and hands on whose turn it is.
bool KernelPort::Receive(InFrame* frame) {
  if (drained_ && waiting_.empty()) {  // it is asked for until there is nothing
    drained_ = false;
    return false;
  }
  bool alone = false;  // `frame` is the only one that waits: it need not be put in a queue
  for (uint32_t i = 0; i < kReadsAtOnce && !gone_.load(std::memory_order_relaxed); ++i) {
    InFrame next;
    drained_ = !ReadFrame(&next);
    if (drained_) break;
    if (i == 0 && waiting_.empty()) {
      *frame = next;
      alone = true;
      continue;
    }
    if (alone) waiting_.Put(*frame);
    alone = false;
    if (waiting_.full()) {
      pool_.Release(waiting_.DropFromLongest());
      ++statistics_.crowded_out;
    }
    waiting_.Put(next);
  }
  if (alone || waiting_.Take(frame)) return true;
  drained_ = false;
  return gone_.load(std::memory_order_relaxed) && TellGone(frame);
}

void KernelPort::Sleep(uint64_t deadline_ns) {
  const bool gone = gone_.load(std::memory_order_relaxed);
  const int events = blocked_.load(std::memory_order_relaxed) ? POLLIN | POLLOUT : POLLIN;
  const int ready = sleep_.Sleep(gone ? -1 : device_.descriptor.get(), events, deadline_ns);
  // Only a device that no longer exists is in error; asking again would return at once for ever.
  if ((ready & (POLLERR | POLLHUP | POLLNVAL)) != 0) gone_.store(true, std::memory_order_relaxed);
}

std::string KernelPort::StatisticsJson() const {
  const Statistics& s = statistics_;
  return JsonObject()
      .Add("wire", options_.ethernet ? "tap" : "tun")
      .Add("interface", options_.interface)
      .Add("frames_sent", s.frames_sent)
      .Add("bytes_sent", s.bytes_sent)
      .Add("frames_sent_to_be_segmented", s.sent_in_one_piece)
      .Add("frames_received", s.frames_received)
      .Add("bytes_received", s.bytes_received)
      .Add("frames_received_unsegmented", s.received_in_one_piece)
      .Add("frames_received_vouched", s.vouched)
      .Add("foreign_dropped", s.foreign)
      .Add("crowded_out_dropped", s.crowded_out)
      .Add("sends_busy", s.busy)
      .Add("sends_refused", s.refused)
      .Add("send_errors", s.send_errors)
      .Add("device_gone", gone_.load(std::memory_order_relaxed) ? 1u : 0u)
      .Add("sleeps", sleep_.sleeps())
      .Text();
}

}  // namespace

std::unique_ptr<Wire> OpenKernelWire(const KernelWireOptions& options) {
  return std::make_unique<KernelPort>(options);
}

}  // namespace qpip::wire

// The data path of a port: sending, receiving, sleeping. Who the peers are: fabric_peers.cc.
#include "sim/wire/fabric_port.h"

#include <sched.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "sim/wire/futex.h"
#include "sim/wire/json.h"

namespace qpip::wire {
namespace {

// Payload up to this much is copied even when it could be referred to: touching one more cache
// line of the ring costs the receiver less than going to the source's memory for it, and a copied
// frame holds no lease.
constexpr size_t kAlwaysCopyPayload = 256;

// Ring space that may be held back while older frames are still borrowed; a publication each
// release would make the index's cache line travel more often than the frames' own.
constexpr uint64_t kPublishBytes = kRingDataBytes / 16;

// So many rings are looked at in each round, the others only if they have not been empty at the
// last few looks.
constexpr size_t kAlwaysWatched = 16;
constexpr uint32_t kLooksBeforeUnwatched = 4;

// Lease: ring position behind the frame in cache lines (48 bits), low bits of the destination's
// generation (6), its slot (10). 48 bits of cache lines last for days at memory speed.
constexpr uint32_t kLeaseSlotBits = 10;
static_assert(kMaxPorts == 1u << kLeaseSlotBits);
constexpr uint32_t kLeaseGenerationMask = 0x3f;
constexpr uint64_t MakeLease(uint64_t position, uint32_t generation, uint32_t slot) {
  return position / kCacheLine << 16 |
         uint64_t{generation & kLeaseGenerationMask} << kLeaseSlotBits | slot;
}
constexpr uint64_t LeasePosition(uint64_t lease) { return (lease >> 16) * kCacheLine; }

// The value of the wake word at this thread's PrepareSleep; Sleep returns at once when the word
// has moved on since.
struct SleepTicket {
  const void* port = nullptr;
  uint32_t value = 0;
};
thread_local SleepTicket sleep_ticket;

void CheckOptions(const FabricOptions& options) {
  if (!IsFabricName(options.name)) {
    throw std::runtime_error("bad fabric name \"" + options.name + "\": " + kFabricNameRule +
                             " are accepted");
  }
  if (options.mtu < kMinMtu || options.mtu > kMaxMtu) {
    throw std::runtime_error("bad mtu " + std::to_string(options.mtu) + ": " +
                             std::to_string(kMinMtu) + " to " + std::to_string(kMaxMtu) +
                             " bytes are allowed");
  }
  if (options.address == abi::Ip6Address{} || options.address.bytes[0] == 0xff) {
    throw std::runtime_error("bad address " + AddressText(options.address) +
                             ": a port needs a unicast IPv6 address, as in ?address=fd00::1");
  }
}

}  // namespace

bool IsFabricName(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
}

FabricPort::FabricPort(std::unique_ptr<Membership> membership, const FabricOptions& options)
    : options_(options),
      membership_(std::move(membership)),
      epoch_(membership_->control().epoch),
      own_(membership_->own_entry()),
      allocator_(membership_->own_memory(), kSharedRegionOffset, kSharedRegionBytes),
      borrowed_(kMaxBorrowed) {
  for (uint32_t i = 0; i < kMaxBorrowed; ++i) {
    borrowed_[i].next = i + 1 < kMaxBorrowed ? i + 1 : kNone;
  }
  NoticeTableChange();
}

FabricPort::~FabricPort() {
  if (!membership_->inherited()) Flush();
}

// --- Sending

SendResult FabricPort::Send(const OutFrame& frame, uint64_t* lease) {
  *lease = 0;
  size_t total = frame.header.size();
  for (const iovec& piece : frame.payload) total += piece.iov_len;
  if (frame.header.size() < kMinFrameBytes || total > options_.mtu) {
    ++statistics_.refused;
    return SendResult::kNoRoute;
  }
  if (epoch_.load(std::memory_order_acquire) != seen_epoch_) NoticeTableChange();
  SendResult why_not = SendResult::kNoRoute;
  Peer* peer = PeerTowards(frame.header.data() + kDestinationOffset, &why_not);
  if (peer == nullptr) {
    ++(why_not == SendResult::kBusy ? statistics_.busy : statistics_.no_route);
    return why_not;
  }
  if (!WriteFrame(peer, frame, total, lease)) {
    // Blocked returns kSent when room appeared while it asked for some.
    const SendResult result = Blocked(peer);
    if (result != SendResult::kSent) return result;
    if (!WriteFrame(peer, frame, total, lease)) return SendResult::kBusy;
  }
  blocked_.erase(peer->slot);
  unflushed_.insert(peer->slot);
  ++statistics_.frames_sent;
  statistics_.bytes_sent += total;
  return SendResult::kSent;
}

SendResult FabricPort::Blocked(Peer* peer) {
  if (peer->out.broken()) {
    MarkDown(peer, PeerState::kBroken);
    ++statistics_.no_route;
    return SendResult::kNoRoute;
  }
  blocked_.insert(peer->slot);
  if (peer->out.RequestRoom()) return SendResult::kSent;
  ++statistics_.busy;
  const bool stopped =
      peer->quiet_since_ns != 0 && housekeeping_ns_ - peer->quiet_since_ns >= kStoppedNs;
  return stopped ? SendResult::kStopped : SendResult::kBusy;
}

bool FabricPort::MayRefer(const OutFrame& frame, size_t payload_bytes) const {
  if (!frame.payload_stable || options_.copy || payload_bytes <= kAlwaysCopyPayload ||
      frame.header.size() + payload_bytes <= 2 * kFirstPieceBytes ||
      frame.payload.size() > kMaxReferences) {
    return false;
  }
  for (const iovec& piece : frame.payload) {
    if (!allocator_.Contains(piece.iov_base, piece.iov_len)) return false;
  }
  return true;
}

void FabricPort::SplitFrame(const OutFrame& frame, Split* split) const {
  // The receiver is promised a first piece that holds the headers: payload fills it up.
  size_t to_copy =
      frame.header.size() < kFirstPieceBytes ? kFirstPieceBytes - frame.header.size() : 0;
  split->copied_count = 0;
  split->copied_bytes = static_cast<uint32_t>(frame.header.size() + to_copy);
  split->reference_count = 0;
  for (const iovec& piece : frame.payload) {
    const size_t copied = piece.iov_len < to_copy ? piece.iov_len : to_copy;
    if (copied > 0) split->copied[split->copied_count++] = {piece.iov_base, copied};
    to_copy -= copied;
    if (copied == piece.iov_len) continue;
    split->references[split->reference_count++] = {allocator_.OffsetOf(piece.iov_base) + copied,
                                                   static_cast<uint32_t>(piece.iov_len - copied),
                                                   frame.owner};
  }
}

bool FabricPort::WriteFrame(Peer* peer, const OutFrame& frame, size_t total, uint64_t* lease) {
  const size_t payload_bytes = total - frame.header.size();
  if (MayRefer(frame, payload_bytes)) {
    Split split;
    SplitFrame(frame, &split);
    if (!peer->out.Write(frame.header, {split.copied.data(), split.copied_count},
                         split.copied_bytes, {split.references.data(), split.reference_count},
                         frame.summed)) {
      return false;
    }
    *lease = MakeLease(peer->out.position(), peer->generation, peer->slot);
    ++statistics_.frames_referenced;
    statistics_.bytes_referenced += total - split.copied_bytes;
    return true;
  }
  return peer->out.Write(frame.header, frame.payload, static_cast<uint32_t>(total), {},
                         frame.summed);
}

FabricPort::Peer* FabricPort::Leaseholder(uint64_t lease) const {
  Peer* peer = peers_[lease & (kMaxPorts - 1)].get();
  // Nobody reads on behalf of a dead port, and a broken one is not read from any more either way.
  if (lease == 0 || peer == nullptr || peer->state != PeerState::kUp ||
      (peer->generation & kLeaseGenerationMask) !=
          (lease >> kLeaseSlotBits & kLeaseGenerationMask) ||
      peer->out.Released(LeasePosition(lease))) {
    return nullptr;
  }
  return peer;
}

bool FabricPort::LeasePending(uint64_t lease) { return Leaseholder(lease) != nullptr; }

uint64_t FabricPort::LeaseQuietNs(uint64_t lease) {
  const Peer* peer = Leaseholder(lease);
  return peer == nullptr || peer->quiet_since_ns == 0 ? 0 : housekeeping_ns_ - peer->quiet_since_ns;
}

void FabricPort::RevokeLeases(uint64_t lease, uint32_t owner) {
  Peer* peer = Leaseholder(lease);
  if (peer == nullptr) return;
  const uint32_t revoked = peer->out.Revoke(LeasePosition(lease), owner);
  if (revoked == 0) return;
  statistics_.frames_revoked += revoked;
  allocator_.KeepPages();
}

void FabricPort::Flush() {
  unflushed_.ForEach([this](uint32_t slot) {
    unflushed_.erase(slot);
    bool woken = membership_->WakeIfSleeping(slot);
    if (!peers_[slot]->out.watched()) {
      membership_->control().ports[slot].spoke.Insert(membership_->slot());
      woken |= membership_->WakeIfSleeping(slot);
    }
    statistics_.wakes_sent += woken ? 1 : 0;
  });
}

// --- Receiving

inline bool FabricPort::HasNews() const {
  return epoch_.load(std::memory_order_acquire) != seen_epoch_ || !own_.opened.empty() ||
         !deferred_.empty() || !refusing_.empty() || !own_.refused.empty() || !own_.spoke.empty();
}

void FabricPort::HearNews() {
  if (epoch_.load(std::memory_order_acquire) != seen_epoch_) NoticeTableChange();
  // After the table: what a port had opened before it left is accepted before its end is told.
  if (!own_.opened.empty() || !deferred_.empty()) AcceptSources();
  if (!refusing_.empty() || !own_.refused.empty()) SettleRefusals();
  if (!own_.spoke.empty()) HearSpeakers();
}

bool FabricPort::NothingArrived() const {
  // Of more Receive decides which to look at.
  if (HasNews() || active_.size() > kAlwaysWatched) return false;
  for (const Peer* peer : active_) {
    if (peer->state != PeerState::kUp || (peer->in.is_open() && peer->in.HasEntry())) return false;
  }
  return true;
}

bool FabricPort::Receive(InFrame* frame) {
  if (HasNews()) [[unlikely]]
    HearNews();
  if (free_borrowed_ == kNone) return false;
  for (size_t i = active_.size(); i > 0; --i) {
    if (++cursor_ >= active_.size()) cursor_ = 0;
    Peer* peer = active_[cursor_];
    const bool readable = peer->state == PeerState::kUp || peer->state == PeerState::kDown;
    if (readable && peer->in.is_open() && peer->in.HasEntry() && ReceiveFrom(peer, frame)) {
      peer->empty_looks = 0;
      return true;
    }
    if (peer->state != PeerState::kUp) {
      ReportDown(peer, frame);
      return true;
    }
    if (active_.size() > kAlwaysWatched && ++peer->empty_looks >= kLooksBeforeUnwatched &&
        Unwatch(peer)) {
      active_[cursor_] = active_.back();
      active_.pop_back();
      --cursor_;  // may wrap: it is counted up before it is used
    }
  }
  return false;
}

// Rings that have been silent are watched again as soon as their source says something.
void FabricPort::HearSpeakers() {
  SharedSlotSet& spoke = own_.spoke;
  spoke.Snapshot().ForEach([&](uint32_t slot) {
    spoke.Erase(slot);  // before its ring is looked at
    Peer* peer = peers_[slot].get();
    if (peer == nullptr || !peer->in.is_open() || peer->state != PeerState::kUp) return;
    peer->in.Watch(true);
    peer->empty_looks = 0;
    List(peer);
  });
}

// True: this port looks at the peer's ring no more until the peer calls. A call costs the peer more
// than a look costs here, so the first few rings are watched all the time.
bool FabricPort::Unwatch(Peer* peer) {
  if (peer->oldest != kNone) return false;
  peer->in.Watch(false);
  if (peer->in.HasEntry()) {
    peer->in.Watch(true);
    return false;
  }
  // A producer that waits for room is not looked after either; there is room now.
  if (peer->in.CheckWaiting() && membership_->WakeIfSleeping(peer->slot)) ++statistics_.wakes_sent;
  peer->listed = false;
  return true;
}

bool FabricPort::ReceiveFrom(Peer* peer, InFrame* frame) {
  for (;;) {
    RingFrame ring_frame;
    switch (peer->in.Read(borrowed_[free_borrowed_].pieces, &ring_frame)) {
      case RingRead::kEmpty:
        return false;
      case RingRead::kBroken:
        ++statistics_.rings_broken;
        MarkDown(peer, PeerState::kBroken);
        return false;
      case RingRead::kFrame:
        break;
    }
    Borrow(peer, ring_frame, frame);
    if (ring_frame.length <= options_.mtu) {
      ++statistics_.frames_received;
      statistics_.bytes_received += ring_frame.length;
      return true;
    }
    // As a link would drop a frame that is too large for it.
    ++statistics_.oversize_dropped;
    Release(*frame);
  }
}

void FabricPort::Borrow(Peer* peer, const RingFrame& ring_frame, InFrame* frame) {
  const uint32_t index = free_borrowed_;
  Borrowed& borrowed = borrowed_[index];
  free_borrowed_ = borrowed.next;
  borrowed.peer = peer;
  borrowed.end = ring_frame.end;
  borrowed.next = kNone;
  borrowed.returned = false;
  borrowed.owner = ring_frame.owner;
  if (peer->newest == kNone) {
    peer->oldest = index;
  } else {
    borrowed_[peer->newest].next = index;
  }
  peer->newest = index;
  frame->pieces = {borrowed.pieces, ring_frame.piece_count};
  frame->length = ring_frame.length;
  frame->token = index + 1;
  // Frame by frame, so that the two ends need not agree: where there is a checksum the sender may
  // have damaged the frame on purpose; where there is none the memory between vouches for it.
  frame->checksum_vouched = !ring_frame.summed;
  frame->revocable = ring_frame.owner != nullptr;
  frame->peer_down = false;
  frame->peer = peer->address;
}

bool FabricPort::Intact(const InFrame& frame) {
  const uint32_t* owner = borrowed_[frame.token - 1].owner;
  if (owner == nullptr || PayloadIntact(owner)) return true;
  ++statistics_.frames_taken_back;
  return false;
}

void FabricPort::Release(const InFrame& frame) {
  if (frame.token == 0 || frame.token > kMaxBorrowed) return;
  Borrowed& borrowed = borrowed_[frame.token - 1];
  Peer* peer = borrowed.peer;
  if (peer == nullptr || borrowed.returned) return;
  borrowed.returned = true;
  if (peer->oldest == frame.token - 1) ReleaseReturned(peer);
}

void FabricPort::ReleaseReturned(Peer* peer) {
  bool references = false;
  while (peer->oldest != kNone && borrowed_[peer->oldest].returned) {
    const uint32_t index = peer->oldest;
    Borrowed& borrowed = borrowed_[index];
    references |= borrowed.owner != nullptr;
    peer->in.Release(borrowed.end);
    peer->oldest = borrowed.next;
    borrowed.peer = nullptr;
    borrowed.next = free_borrowed_;
    free_borrowed_ = index;
  }
  if (peer->oldest == kNone) peer->newest = kNone;
  // A lease ends by the publication, so it is not put off when there were references.
  if (references || peer->oldest == kNone || peer->in.unpublished_bytes() >= kPublishBytes) {
    Publish(peer);
  }
  if (peer->oldest == kNone && peers_[peer->slot].get() != peer) {
    std::erase_if(retired_, [peer](const auto& retired) { return retired.get() == peer; });
  }
}

void FabricPort::Publish(Peer* peer) {
  if (peer->in.Publish() && membership_->WakeIfSleeping(peer->slot)) ++statistics_.wakes_sent;
}

void FabricPort::AnswerWaitingProducers() {
  for (Peer* peer : active_) {
    if (peer->state == PeerState::kUp && peer->in.is_open() && peer->in.CheckWaiting() &&
        membership_->WakeIfSleeping(peer->slot)) {
      ++statistics_.wakes_sent;
    }
  }
}

// --- Sleeping

void FabricPort::PrepareSleep() {
  AnswerWaitingProducers();
  std::atomic<uint32_t>& word = own_.wake_word;
  const uint32_t value = word.fetch_or(1, std::memory_order_seq_cst) | 1;
  sleep_ticket = {this, value};
  blocked_.ForEach([&](uint32_t slot) {
    Peer* peer = peers_[slot].get();
    // Room that was made before the bit was set wakes nobody: then do not fall asleep.
    if (peer != nullptr && peer->state == PeerState::kUp && peer->out.RequestRoom()) {
      blocked_.erase(slot);
      word.fetch_add(2, std::memory_order_seq_cst);
    }
  });
}

void FabricPort::CancelSleep() {
  sleep_ticket = {};
  // Other threads that sleep on the word still want to be woken.
  if (sleepers_.load(std::memory_order_seq_cst) == 0) {
    own_.wake_word.fetch_and(~1u, std::memory_order_seq_cst);
  }
}

void FabricPort::Sleep(uint64_t deadline_ns) {
  std::atomic<uint32_t>& word = own_.wake_word;
  const uint32_t expected =
      sleep_ticket.port == this ? sleep_ticket.value : word.load(std::memory_order_seq_cst);
  sleep_ticket = {};
  sleeps_.fetch_add(1, std::memory_order_relaxed);
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  FutexWait(&word, expected, deadline_ns, membership_->shared_futex());
  TakeTurn();
  // Awake, so senders need not call the kernel. A thread that has just prepared to sleep finds
  // the word changed and looks once more.
  if (sleepers_.fetch_sub(1, std::memory_order_seq_cst) == 1) {
    word.fetch_and(~1u, std::memory_order_seq_cst);
  }
}

std::optional<Turn> FabricPort::TakeTurn() {
  const int processor = ::sched_getcpu();
  if (processor < 0) return std::nullopt;
  const auto number = static_cast<uint32_t>(processor);
  std::atomic<uint32_t>& turns = membership_->control().turns[number % kTurnCounters].count;
  return Turn{number, turns.fetch_add(1, std::memory_order_relaxed) + 1};
}

void FabricPort::Wake() {
  std::atomic<uint32_t>& word = own_.wake_word;
  word.fetch_add(2, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) != 0) {
    FutexWakeAll(&word, membership_->shared_futex());
  }
}

// --- Reporting

std::string FabricPort::StatisticsJson() const {
  const Statistics& s = statistics_;
  uint64_t peers = 0;
  for (const auto& peer : peers_) peers += peer != nullptr;
  return JsonObject()
      .Add("address", AddressText(options_.address))
      .Add("frames_sent", s.frames_sent)
      .Add("bytes_sent", s.bytes_sent)
      .Add("frames_sent_by_reference", s.frames_referenced)
      .Add("bytes_sent_by_reference", s.bytes_referenced)
      .Add("frames_received", s.frames_received)
      .Add("bytes_received", s.bytes_received)
      .Add("sends_busy", s.busy)
      .Add("sends_no_route", s.no_route)
      .Add("sends_refused", s.refused)
      .Add("oversize_dropped", s.oversize_dropped)
      .Add("peers", peers)
      .Add("peers_down", s.peers_down)
      .Add("rings_broken", s.rings_broken)
      .Add("ring_memory_exhausted", s.ring_memory_exhausted)
      .Add("map_failures", s.map_failures)
      .Add("attempts_put_off", s.attempts_put_off)
      .Add("refused_by_peers", s.refused_by_peers)
      .Add("frames_revoked", s.frames_revoked)
      .Add("frames_taken_back", s.frames_taken_back)
      .Add("wakes_sent", s.wakes_sent)
      .Add("sleeps", sleeps_.load(std::memory_order_relaxed))
      .Add("shared_bytes_allocated", allocator_.allocated_bytes())
      .Text();
}

std::unique_ptr<Wire> OpenMemoryWire(const FabricOptions& options) {
  CheckOptions(options);
  return std::make_unique<FabricPort>(JoinMemoryFabric(options), options);
}

std::unique_ptr<Wire> OpenSharedMemoryWire(const FabricOptions& options) {
  CheckOptions(options);
  return std::make_unique<FabricPort>(JoinSharedMemoryFabric(options), options);
}

}  // namespace qpip::wire

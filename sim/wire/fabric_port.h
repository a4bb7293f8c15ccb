// A port on a fabric: the Wire that both `mem:` and `shm:` open.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "sim/wire/backoff.h"
#include "sim/wire/membership.h"
#include "sim/wire/reporter.h"
#include "sim/wire/ring.h"
#include "sim/wire/shared_allocator.h"
#include "sim/wire/wire.h"

namespace qpip::wire {

class FabricPort final : public Wire {
 public:
  FabricPort(std::unique_ptr<Membership> membership, const FabricOptions& options);
  ~FabricPort() override;

  void ReportTo(Report report) override { reporter_.To(std::move(report)); }
  SendResult Send(const OutFrame& frame, uint64_t* lease) override;
  bool LeasePending(uint64_t lease) override;
  uint64_t LeaseQuietNs(uint64_t lease) override;
  std::optional<Turn> TakeTurn() override;
  void RevokeLeases(uint64_t lease, uint32_t owner) override;
  bool Receive(InFrame* frame) override;
  bool NothingArrived() const override;
  bool Intact(const InFrame& frame) override;
  void Release(const InFrame& frame) override;
  void Flush() override;
  uint64_t Housekeeping(uint64_t now_ns) override;
  void PrepareSleep() override;
  void CancelSleep() override;
  void Sleep(uint64_t deadline_ns) override;
  void Wake() override;
  void* AllocateShared(size_t bytes) override { return allocator_.Allocate(bytes); }
  void FreeShared(void* address, size_t) override { allocator_.Free(address); }
  uint32_t mtu() const override { return options_.mtu; }
  abi::Ip6Address address() const override { return options_.address; }
  bool trusted() const override { return !options_.checksum; }
  bool carries_references() const override { return !options_.copy; }
  std::string StatisticsJson() const override;

 private:
  static constexpr uint32_t kMaxBorrowed = 256;
  static constexpr uint32_t kNone = UINT32_MAX;

  /// What became of a peer's incarnation.
  enum class PeerState : uint8_t {
    kUp,        ///< frames go both ways
    kDown,      ///< it left or died; the event waits behind the frames it had committed
    kBroken,    ///< its ring holds nonsense; the event is due, its frames are ignored
    kReported,  ///< broken and reported; kept so that nothing goes to it
    kRefused,   ///< one side lacks memory or descriptors for the other; the event is due
  };

  /// One incarnation of another port (or of this one, towards itself), met by sending to it or by
  /// receiving from it.
  struct Peer {
    uint32_t slot = 0;
    uint32_t generation = 0;
    abi::Ip6Address address = {};
    PeerState state = PeerState::kUp;
    bool out_open = false;
    bool listed = false;       ///< in active_
    uint32_t empty_looks = 0;  ///< since its ring had a frame
    int refusal = 0;           ///< kRefused by this port: an errno value, to be told to the peer
    RingProducer out;
    uint64_t out_seen = 0;        ///< how far it had read `out` at the last look
    uint64_t quiet_since_ns = 0;  ///< 0: it moves on, or has read all there is
    RingConsumer in;
    PortView view;  ///< the peer's memory; set while `in` is open
    // Frames of this peer that are borrowed, oldest first, linked through Borrowed::next.
    uint32_t oldest = kNone;
    uint32_t newest = kNone;
  };

  /// A frame that the caller of Receive holds.
  struct Borrowed {
    Peer* peer = nullptr;  ///< nullptr: free
    uint64_t end = 0;
    uint32_t next = kNone;            ///< in the peer's list, or in the free list
    bool returned = false;            ///< given back, but an older one is not
    const uint32_t* owner = nullptr;  ///< as RingFrame's
    iovec pieces[kMaxPieces];
  };

  struct Route {
    bool live = false;
    uint32_t generation = 0;
    abi::Ip6Address address = {};
  };

  struct AddressHash {
    size_t operator()(const abi::Ip6Address& address) const;
  };

  /// A frame split into what is copied and what is referred to.
  struct Split {
    std::array<iovec, kMaxReferences> copied;  ///< of the payload, behind the header
    std::array<Reference, kMaxReferences> references;
    uint32_t copied_count = 0;
    uint32_t copied_bytes = 0;
    uint32_t reference_count = 0;
  };

  // Sending
  Peer* PeerTowards(const uint8_t* address, SendResult* why_not);
  bool OpenOut(Peer* peer);
  int ReserveRing(uint32_t slot);
  bool MayRefer(const OutFrame& frame, size_t payload_bytes) const;
  void SplitFrame(const OutFrame& frame, Split* split) const;
  bool WriteFrame(Peer* peer, const OutFrame& frame, size_t total, uint64_t* lease);
  SendResult Blocked(Peer* peer);
  Peer* Leaseholder(uint64_t lease) const;

  // Receiving
  bool HasNews() const;  ///< of what other ports do, but send
  void HearNews();
  bool ReceiveFrom(Peer* peer, InFrame* frame);
  void Borrow(Peer* peer, const RingFrame& ring_frame, InFrame* frame);
  void ReleaseReturned(Peer* peer);
  void Publish(Peer* peer);

  // Peers come and go
  Peer* AddPeer(uint32_t slot, const PortSnapshot& port);
  void SetRoute(uint32_t slot, const Route& route);
  void List(Peer* peer);
  void NoticeTableChange();
  void AcceptSources();
  void AcceptSource(uint32_t slot);
  bool OldIncarnationPending(uint32_t slot, const PortSnapshot& port) const;
  void MarkDown(Peer* peer, PeerState state);
  void ReportDown(Peer* peer, InFrame* frame);
  void Retire(uint32_t slot);
  void AnswerWaitingProducers();
  void HearSpeakers();
  bool Unwatch(Peer* peer);
  bool NoteProgress(uint64_t now_ns);
  PortView MapPeer(uint32_t slot, uint32_t generation, int* lack);
  void TellRemoval(uint64_t now_ns);

  // fabric_refusals.cc: what this port or another lacks for a pair of rings
  void Lack(const Peer& peer, int error, const std::string& what);
  void Refuse(Peer* peer, int error);
  bool RefusalPending(uint32_t slot) const;
  bool HoldsNothingOf(uint32_t slot) const;
  void SettleRefusals();
  void TellRefusal(uint32_t slot);
  void HearRefusal(uint32_t slot);

  const FabricOptions options_;
  const std::unique_ptr<Membership> membership_;
  const std::atomic<uint64_t>& epoch_;  ///< of the port table
  PortEntry& own_;                      ///< in it
  Reporter reporter_;
  SharedAllocator allocator_;

  std::array<Route, kMaxPorts> routes_;
  std::unordered_map<abi::Ip6Address, uint32_t, AddressHash> by_address_;  ///< slots of live routes
  std::array<std::unique_ptr<Peer>, kMaxPorts> peers_;
  std::array<uint32_t, kMaxPorts> dead_generation_ = {};  ///< newest known to be over, per slot
  std::vector<std::unique_ptr<Peer>> retired_;  ///< gone, but frames of theirs are borrowed
  std::vector<Peer*> active_;                   ///< to look at in Receive: their rings are watched,
                                                ///< or their end is due
  size_t cursor_ = 0;                           ///< where in active_ the last frame came from
  Peer* last_destination_ = nullptr;
  uint64_t seen_epoch_ = 0;
  std::array<std::shared_ptr<Mapping>, kMaxPorts> out_rings_;  ///< those that have their pages
  SlotSet unflushed_;  ///< destinations sent to since the last Flush
  SlotSet blocked_;    ///< destinations that had no room
  SlotSet deferred_;   ///< sources to accept later
  SlotSet refusing_;   ///< ports that are still to be told that they are refused
  struct Refusing {
    uint32_t generation = 0;
    int error = 0;
  };
  std::array<Refusing, kMaxPorts> refusing_whom_;
  Backoff ring_backoff_;     ///< of memory for this port's own rings
  Backoff mapping_backoff_;  ///< of what it takes to map peers' memory
  bool removal_told_ = false;
  uint64_t next_removal_look_ns_ = 0;
  uint64_t seen_referenced_ = 0;  ///< frames sent by reference at the last look
  uint64_t next_liveness_ns_ = 0;
  uint64_t housekeeping_ns_ = 0;  ///< when Housekeeping last looked at its peers

  std::vector<Borrowed> borrowed_;
  uint32_t free_borrowed_ = 0;

  std::atomic<uint32_t> sleepers_{0};  ///< threads of this process inside Sleep

  struct Statistics {
    uint64_t frames_sent = 0, bytes_sent = 0, frames_referenced = 0, bytes_referenced = 0;
    uint64_t frames_received = 0, bytes_received = 0, busy = 0, no_route = 0, refused = 0;
    uint64_t oversize_dropped = 0, peers_down = 0, rings_broken = 0, ring_memory_exhausted = 0;
    uint64_t map_failures = 0, refused_by_peers = 0, wakes_sent = 0, attempts_put_off = 0;
    uint64_t frames_revoked = 0, frames_taken_back = 0;
  };
  Statistics statistics_;
  std::atomic<uint64_t> sleeps_{0};
};

}  // namespace qpip::wire

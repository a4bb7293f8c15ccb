#include "nic_fw/neighbour_table.h"

namespace qpip::fw {
namespace {

bool IsOneOf(NeighbourState state, NeighbourState a, NeighbourState b) {
  return state == a || state == b;
}

uint32_t& BucketOf(const Nic& nic, const ipv6::Address& address) {
  const auto hash = static_cast<uint32_t>(SipHash24(nic.state.hash_key, address.bytes));
  const uint32_t mask = NeighbourBuckets(nic.state.config.link) - 1;
  return nic.Table(nic.state.tables.neighbour_buckets)[hash & mask];
}

void RemoveFromBucket(const Nic& nic, uint32_t index) {
  const Neighbour& n = NeighbourAt(nic, index);
  uint32_t* at = &BucketOf(nic, n.address);
  while (*at != index) at = &NeighbourAt(nic, *at).next;
  *at = n.next;
}

/// The list that a neighbour in this state is on, or nullptr.
List* ListOf(LinkState& link, NeighbourState state) {
  switch (state) {
    case NeighbourState::kFree:
      return &link.free_neighbours;
    case NeighbourState::kUnreachable:
      return &link.silent_neighbours;
    case NeighbourState::kStale:
      return &link.idle_neighbours;
    case NeighbourState::kReachable:
    case NeighbourState::kDelay:
      return &link.used_neighbours;
    default:
      return nullptr;
  }
}

uint32_t NowMs(const Nic& nic) { return static_cast<uint32_t>(nic.now / kLinkMs); }

/// Whether it was asked so lately that its next entry would have to know.
bool IsHeld(const Nic& nic, const Neighbour& n) {
  return n.solicited && NowMs(nic) - n.solicited_ms <= LinkOf(nic).retransmit_ms;
}

/// The least recently used of `list` that may go, among the first few.
uint32_t VictimOf(const Nic& nic, const List& list) {
  constexpr uint32_t kLookAt = 8;
  uint32_t index = list.head;
  for (uint32_t i = 0; i < kLookAt && index != kNone; ++i) {
    if (!IsHeld(nic, NeighbourAt(nic, index))) return index;
    index = NeighbourAt(nic, index).order.next;
  }
  return kNone;
}

/// Neighbours that may be asked for at a time.
uint32_t ResolutionLimit(const Nic& nic, NeighbourWish wish) {
  const uint32_t share = wish == NeighbourWish::kProvoked ? 4 : 2;
  const uint32_t limit = nic.state.config.link.max_neighbours / share;
  return limit == 0 ? 1 : limit;
}

}  // namespace

void FormatNeighbours(const Nic& nic) {
  const LinkConfig& config = nic.state.config.link;
  uint32_t* buckets = nic.Table(nic.state.tables.neighbour_buckets);
  for (uint32_t i = 0; i < NeighbourBuckets(config); ++i) buckets[i] = kNone;
  for (uint32_t i = 0; i < config.max_neighbours; ++i) {
    NeighbourAt(nic, i) = Neighbour{};
    PushBack(LinkOf(nic).free_neighbours, NeighbourLink{nic}, i);
  }
}

uint32_t FindNeighbour(const Nic& nic, const ipv6::Address& address) {
  LinkState& link = LinkOf(nic);
  const Neighbour& last = NeighbourAt(nic, link.found);
  if (last.state != NeighbourState::kFree && last.address == address) return link.found;
  uint32_t index = BucketOf(nic, address);
  while (index != kNone && !(NeighbourAt(nic, index).address == address)) {
    index = NeighbourAt(nic, index).next;
  }
  if (index != kNone) link.found = index;
  return index;
}

uint32_t NewNeighbour(const Nic& nic, const ipv6::Address& address, NeighbourWish wish) {
  LinkState& link = LinkOf(nic);
  const bool known = wish == NeighbourWish::kKnown;
  if (!known && link.incomplete >= ResolutionLimit(nic, wish)) return kNone;
  if (link.free_neighbours.empty()) {
    uint32_t victim = VictimOf(nic, link.silent_neighbours);
    if (victim == kNone) victim = VictimOf(nic, link.idle_neighbours);
    if (victim == kNone && !known) victim = VictimOf(nic, link.used_neighbours);
    if (victim == kNone) return kNone;
    SetNeighbourState(nic, victim, NeighbourState::kFree, tcp::kNever);
  }
  const uint32_t index = link.free_neighbours.head;
  Neighbour& n = NeighbourAt(nic, index);
  n.address = address;
  n.solicited = false;
  uint32_t& bucket = BucketOf(nic, address);
  n.next = bucket;
  bucket = index;
  return index;
}

void SetNeighbourState(const Nic& nic, uint32_t index, NeighbourState state, uint64_t deadline) {
  LinkState& link = LinkOf(nic);
  Neighbour& n = NeighbourAt(nic, index);
  const NeighbourState before = n.state;
  if (before == NeighbourState::kIncomplete) --link.incomplete;
  if (IsOneOf(before, NeighbourState::kDelay, NeighbourState::kProbe)) --link.probing;
  if (before != state) {
    nic.Trace(kTraceNeighbourState, index, static_cast<uint32_t>(before),
              static_cast<uint32_t>(state));
  }
  if (n.order.linked()) Remove(*ListOf(link, before), NeighbourLink{nic}, index);
  if (state == NeighbourState::kFree) {
    QPIP_ASSERT(n.waiting.empty());
    RemoveFromBucket(nic, index);
  }
  n.state = state;
  n.probes = 0;
  n.deadline = deadline;
  List* list = ListOf(link, state);
  if (list != nullptr) PushBack(*list, NeighbourLink{nic}, index);
  if (state == NeighbourState::kIncomplete) ++link.incomplete;
  if (IsOneOf(state, NeighbourState::kDelay, NeighbourState::kProbe)) ++link.probing;
  Hasten(link, deadline);
}

void NoteSolicitation(const Nic& nic, Neighbour& n) {
  n.solicited = true;
  n.solicited_ms = NowMs(nic);
}

void TouchNeighbour(const Nic& nic, uint32_t index) {
  LinkState& link = LinkOf(nic);
  List* list = ListOf(link, NeighbourAt(nic, index).state);
  if (list == nullptr || list->tail == index) return;
  Remove(*list, NeighbourLink{nic}, index);
  PushBack(*list, NeighbourLink{nic}, index);
}

}  // namespace qpip::fw

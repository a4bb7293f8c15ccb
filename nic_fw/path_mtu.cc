#include "nic_fw/path_mtu.h"

#include "protocols/common/byte_order.h"
#include "protocols/ipv6/header.h"
#include "protocols/tcp/machine.h"

namespace qpip::fw {
namespace {

constexpr uint64_t kLifeNs = uint64_t{600} * 1000 * 1000 * 1000;  // RFC 8201 section 4
constexpr uint32_t kWays = 4;
/// A router answers at once; what takes longer than this is on no path.
constexpr uint16_t kDatagramTicks = 10;  // of 1.07 s

PathMtuEntry& EntryAt(const Nic& nic, uint32_t index) {
  return nic.Table(nic.state.tables.path_mtus)[index];
}

/// First entry of the set that `destination` belongs to.
uint32_t SetOf(const Nic& nic, const ipv6::Address& destination) {
  const auto hash = static_cast<uint32_t>(SipHash24(nic.state.hash_key, destination.bytes));
  return hash & (nic.state.config.path_mtu_entries - 1) & ~(kWays - 1);
}

bool Is(const PathMtuEntry& entry, const ipv6::Address& destination, bool of_datagrams) {
  return entry.expires_at != 0 && entry.of_datagrams == of_datagrams &&
         entry.destination == destination;
}

uint32_t Find(const Nic& nic, const ipv6::Address& destination, bool of_datagrams = false) {
  if (nic.state.path_mtu_deadline == tcp::kNever) return kNone;  // nothing is known
  const uint32_t first = SetOf(nic, destination);
  for (uint32_t i = first; i < first + kWays; ++i) {
    if (Is(EntryAt(nic, i), destination, of_datagrams)) return i;
  }
  return kNone;
}

/// The destination's entry, or the one of its set that would be forgotten first.
PathMtuEntry& Place(const Nic& nic, const ipv6::Address& destination, bool of_datagrams = false) {
  const uint32_t first = SetOf(nic, destination);
  uint32_t place = first;
  for (uint32_t i = first; i < first + kWays; ++i) {
    const PathMtuEntry& entry = EntryAt(nic, i);
    if (Is(entry, destination, of_datagrams)) return EntryAt(nic, i);
    if (entry.expires_at < EntryAt(nic, place).expires_at) place = i;
  }
  return EntryAt(nic, place);
}

/// RFC 8201 section 5.2: every connection that uses the path is told.
void TellConnections(const Nic& nic, const ipv6::Address& destination) {
  const uint32_t mtu = PathMtuLimit(nic, destination);
  for (uint32_t i = 0; i < nic.state.config.max_qps; ++i) {
    QueuePair& q = nic.qp(i);
    if (q.type != abi::QpType::kTcp || !(q.tuple.remote_address == destination)) continue;
    if (q.state == QpState::kConnected) tcp::SetPathMtu(q.tcb, mtu);
  }
}

void Keep(const Nic& nic, PathMtuEntry& entry, const ipv6::Address& destination) {
  entry.destination = destination;
  entry.of_datagrams = false;
  entry.expires_at = nic.now + kLifeNs;
  if (entry.expires_at < nic.state.path_mtu_deadline) {
    nic.state.path_mtu_deadline = entry.expires_at;
  }
}

/// Packets of bounds.mtu bytes get through to `destination`, ones over bounds.limit do not.
void LearnSearchedMtu(const Nic& nic, const ipv6::Address& destination, tcp::MtuBounds bounds) {
  const uint32_t link = nic.state.config.mtu;
  const uint32_t index = Find(nic, destination);
  const bool routed = index != kNone && EntryAt(nic, index).limit == 0;
  const uint32_t most = PathMtuLimit(nic, destination);
  if (bounds.mtu >= most) {
    // As much as is known to be possible. A router's word ages as it did.
    if (index == kNone || routed) return;
    EntryAt(nic, index).mtu = most;
    if (most == link) EntryAt(nic, index).expires_at = 0;
    return;
  }
  if (bounds.peers) {
    // Not the path's bound: all it says is that what was found is not too much.
    if (index == kNone || routed) return;
    if (EntryAt(nic, index).mtu < bounds.mtu) EntryAt(nic, index).mtu = bounds.mtu;
    return;
  }
  PathMtuEntry& entry = Place(nic, destination);
  entry.mtu = bounds.mtu;
  entry.limit = bounds.limit < link ? bounds.limit : link;
  if (routed && most < entry.limit) entry.limit = most;
  Keep(nic, entry, destination);
}

/// What gets through to `destination`, for all that TCP's packets have found.
uint32_t StreamMtu(const Nic& nic, const ipv6::Address& destination) {
  const uint32_t link = nic.state.config.mtu;
  const uint32_t index = Find(nic, destination);
  if (index == kNone) return link;
  return EntryAt(nic, index).mtu < link ? EntryAt(nic, index).mtu : link;
}

/// When a datagram of `flow` has left, in ticks; 0: none has. Others may share it, so that one that
/// has left is never denied, however many there are.
uint16_t& SentAt(const Nic& nic, const DatagramFlow& flow) {
  uint8_t bytes[20];
  __builtin_memcpy(bytes, flow.destination.bytes, 16);
  StoreBe16(bytes + 16, flow.local_port);
  StoreBe16(bytes + 18, flow.remote_port);
  return nic.state.datagrams_sent[SipHash24(nic.state.hash_key, bytes) % kDatagramsSent];
}

/// The time in ticks, never 0. In 19 hours it comes round, and a slot of then counts once more.
uint16_t Ticks(const Nic& nic) {
  const auto ticks = static_cast<uint16_t>((nic.now >> 30) + 1);
  return ticks != 0 ? ticks : uint16_t{1};
}

}  // namespace

uint32_t PathMtu(const Nic& nic, const ipv6::Address& destination) {
  const uint32_t most = StreamMtu(nic, destination);
  const uint32_t index = Find(nic, destination, true);
  return index != kNone && EntryAt(nic, index).mtu < most ? EntryAt(nic, index).mtu : most;
}

uint32_t PathMtuLimit(const Nic& nic, const ipv6::Address& destination) {
  const uint32_t link = nic.state.config.mtu;
  const uint32_t index = Find(nic, destination);
  if (index == kNone) return link;
  const PathMtuEntry& entry = EntryAt(nic, index);
  const uint32_t most = entry.limit == 0 ? entry.mtu : entry.limit;
  return most < link ? most : link;
}

void AdoptPathMtu(const Nic& nic, QueuePair& q) {
  const uint32_t index = Find(nic, q.tuple.remote_address);
  if (index == kNone) return;
  const uint32_t limit = PathMtuLimit(nic, q.tuple.remote_address);
  if (limit < nic.state.config.mtu) tcp::SetPathMtu(q.tcb, limit);
  const PathMtuEntry& entry = EntryAt(nic, index);
  if (entry.limit != 0) tcp::SearchPathMtu(q.tcb, entry.mtu);
}

void NoteMtuSearch(const Nic& nic, QueuePair& q) {
  const uint8_t news = tcp::TakeMtuNews(q.tcb);
  if (news == 0) return;
  if ((news & tcp::kMtuProbeSent) != 0) nic.Count(abi::NicCounter::kMtuProbesSent);
  if ((news & tcp::kMtuProbeSucceeded) != 0) nic.Count(abi::NicCounter::kMtuProbesSucceeded);
  if ((news & tcp::kMtuBlackHole) != 0) nic.Count(abi::NicCounter::kMtuBlackHoles);
  if ((news & tcp::kMtuBoundsFound) == 0) return;
  LearnSearchedMtu(nic, q.tuple.remote_address, tcp::SearchedMtu(q.tcb));
}

void LearnPathMtu(const Nic& nic, const ipv6::Address& destination, uint32_t mtu) {
  if (mtu >= PathMtuLimit(nic, destination)) return;
  nic.Count(abi::NicCounter::kPathMtuReductions);
  const uint32_t found = StreamMtu(nic, destination);
  PathMtuEntry& entry = Place(nic, destination);
  const bool searched = Find(nic, destination) != kNone && entry.limit != 0 && found < mtu;
  entry.mtu = searched ? found : mtu;
  entry.limit = searched ? mtu : 0;
  Keep(nic, entry, destination);
  TellConnections(nic, destination);
}

void NoteDatagramSent(const Nic& nic, const DatagramFlow& flow, uint32_t packet_bytes) {
  if (packet_bytes <= ipv6::kMinMtu) return;  // every path takes it
  SentAt(nic, flow) = Ticks(nic);
}

bool LearnDatagramMtu(const Nic& nic, const DatagramFlow& flow, uint32_t mtu) {
  const uint16_t sent = SentAt(nic, flow);
  if (sent == 0 || static_cast<uint16_t>(Ticks(nic) - sent) > kDatagramTicks) return false;
  if (mtu >= PathMtu(nic, flow.destination)) return true;
  nic.Count(abi::NicCounter::kPathMtuReductions);
  PathMtuEntry& entry = Place(nic, flow.destination, true);
  entry.mtu = mtu;
  entry.limit = 0;
  Keep(nic, entry, flow.destination);
  entry.of_datagrams = true;
  return true;
}

void OnLinkMtu(const Nic& nic) {
  for (uint32_t i = 0; i < nic.state.config.max_qps; ++i) {
    QueuePair& q = nic.qp(i);
    if (q.type != abi::QpType::kTcp || q.state != QpState::kConnected) continue;
    tcp::SetPathMtu(q.tcb, PathMtuLimit(nic, q.tuple.remote_address));
  }
}

bool ServicePathMtus(const Nic& nic) {
  if (nic.state.path_mtu_deadline > nic.now) return false;
  uint64_t next = tcp::kNever;
  for (uint32_t i = 0; i < nic.state.config.path_mtu_entries; ++i) {
    PathMtuEntry& entry = EntryAt(nic, i);
    if (entry.expires_at == 0) continue;
    if (entry.expires_at <= nic.now) {
      entry.expires_at = 0;
      if (!entry.of_datagrams) TellConnections(nic, entry.destination);
    } else if (entry.expires_at < next) {
      next = entry.expires_at;
    }
  }
  nic.state.path_mtu_deadline = next;
  return true;
}

uint64_t PathMtuDeadline(const Nic& nic) { return nic.state.path_mtu_deadline; }

}  // namespace qpip::fw

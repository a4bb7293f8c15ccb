#include "nic_fw/path_mtu.h"

#include "protocols/tcp/machine.h"

namespace qpip::fw {
namespace {

constexpr uint64_t kLifeNs = uint64_t{600} * 1000 * 1000 * 1000;  // RFC 8201 section 4
constexpr uint32_t kWays = 4;

PathMtuEntry& EntryAt(const Nic& nic, uint32_t index) {
  return nic.Table<PathMtuEntry>(nic.state.path_mtu_offset)[index];
}

/// First entry of the set that `destination` belongs to.
uint32_t SetOf(const Nic& nic, const ipv6::Address& destination) {
  const auto hash = static_cast<uint32_t>(SipHash24(nic.state.hash_key, destination.bytes));
  return hash & (nic.state.config.path_mtu_entries - 1) & ~(kWays - 1);
}

uint32_t Find(const Nic& nic, const ipv6::Address& destination) {
  if (nic.state.path_mtu_deadline == tcp::kNever) return kNone;  // nothing is known
  const uint32_t first = SetOf(nic, destination);
  for (uint32_t i = first; i < first + kWays; ++i) {
    const PathMtuEntry& entry = EntryAt(nic, i);
    if (entry.expires_at != 0 && entry.destination == destination) return i;
  }
  return kNone;
}

/// The destination's entry, or the one of its set that would be forgotten first.
PathMtuEntry& Place(const Nic& nic, const ipv6::Address& destination) {
  const uint32_t first = SetOf(nic, destination);
  uint32_t place = first;
  for (uint32_t i = first; i < first + kWays; ++i) {
    const PathMtuEntry& entry = EntryAt(nic, i);
    if (entry.expires_at != 0 && entry.destination == destination) return EntryAt(nic, i);
    if (entry.expires_at < EntryAt(nic, place).expires_at) place = i;
  }
  return EntryAt(nic, place);
}

/// RFC 8201 section 5.2: every connection that uses the path is told.
void TellConnections(const Nic& nic, const ipv6::Address& destination) {
  const uint32_t mtu = PathMtu(nic, destination);
  for (uint32_t i = 0; i < nic.state.config.max_qps; ++i) {
    QueuePair& q = nic.qp(i);
    if (q.type != abi::QpType::kTcp || !(q.tuple.remote_address == destination)) continue;
    if (q.state == QpState::kConnected) tcp::SetPathMtu(q.tcb, mtu);
  }
}

}  // namespace

uint32_t PathMtu(const Nic& nic, const ipv6::Address& destination) {
  const uint32_t link = nic.state.config.mtu;
  const uint32_t index = Find(nic, destination);
  if (index == kNone) return link;
  return EntryAt(nic, index).mtu < link ? EntryAt(nic, index).mtu : link;
}

void LearnPathMtu(const Nic& nic, const ipv6::Address& destination, uint32_t mtu) {
  if (mtu >= PathMtu(nic, destination)) return;
  nic.Count(abi::NicCounter::kPathMtuReductions);
  PathMtuEntry& entry = Place(nic, destination);
  entry.destination = destination;
  entry.mtu = mtu;
  entry.expires_at = nic.now + kLifeNs;
  if (entry.expires_at < nic.state.path_mtu_deadline) {
    nic.state.path_mtu_deadline = entry.expires_at;
  }
  TellConnections(nic, destination);
}

bool ServicePathMtus(const Nic& nic) {
  if (nic.state.path_mtu_deadline > nic.now) return false;
  uint64_t next = tcp::kNever;
  for (uint32_t i = 0; i < nic.state.config.path_mtu_entries; ++i) {
    PathMtuEntry& entry = EntryAt(nic, i);
    if (entry.expires_at == 0) continue;
    if (entry.expires_at <= nic.now) {
      entry.expires_at = 0;
      TellConnections(nic, entry.destination);
    } else if (entry.expires_at < next) {
      next = entry.expires_at;
    }
  }
  nic.state.path_mtu_deadline = next;
  return true;
}

uint64_t PathMtuDeadline(const Nic& nic) { return nic.state.path_mtu_deadline; }

}  // namespace qpip::fw

#include "nic_fw/demux.h"

#include <cstring>
#include <span>

namespace qpip::fw {
namespace {

static_assert(sizeof(tcp::FourTuple) == 36, "no padding: compared as bytes, once a segment");
bool Same(const tcp::FourTuple& a, const tcp::FourTuple& b) {
  return std::memcmp(&a, &b, sizeof(a)) == 0;
}

uint32_t TcpBucket(const Nic& nic, const tcp::FourTuple& tuple) {
  uint8_t key[20];
  std::memcpy(key, tuple.remote_address.bytes, 16);
  key[16] = static_cast<uint8_t>(tuple.remote_port >> 8);
  key[17] = static_cast<uint8_t>(tuple.remote_port);
  key[18] = static_cast<uint8_t>(tuple.local_port >> 8);
  key[19] = static_cast<uint8_t>(tuple.local_port);
  return static_cast<uint32_t>(SipHash24(nic.state.hash_key, key)) & nic.state.demux_mask;
}

uint32_t UdpBucket(const Nic& nic, uint16_t port) {
  const uint8_t key[2] = {static_cast<uint8_t>(port >> 8), static_cast<uint8_t>(port)};
  return static_cast<uint32_t>(SipHash24(nic.state.hash_key, key)) & nic.state.demux_mask;
}

uint32_t BucketOf(const Nic& nic, const QueuePair& q) {
  return q.type == abi::QpType::kTcp ? TcpBucket(nic, q.tuple) : UdpBucket(nic, q.tuple.local_port);
}

}  // namespace

uint32_t FindTcp(const Nic& nic, const tcp::FourTuple& tuple) {
  FirmwareState& s = nic.state;
  if (s.last_tcp_qp != kNone && Same(nic.qp(s.last_tcp_qp).tuple, tuple)) return s.last_tcp_qp;
  uint32_t handle = nic.Table(s.tables.demux)[TcpBucket(nic, tuple)];
  while (handle != kNone) {
    const QueuePair& q = nic.qp(handle);
    if (q.type == abi::QpType::kTcp && Same(q.tuple, tuple)) {
      s.last_tcp_qp = handle;
      return handle;
    }
    handle = q.links.demux_next;
  }
  return kNone;
}

uint32_t FindUdp(const Nic& nic, uint16_t port) {
  uint32_t handle = nic.Table(nic.state.tables.demux)[UdpBucket(nic, port)];
  while (handle != kNone) {
    const QueuePair& q = nic.qp(handle);
    if (q.type == abi::QpType::kUdp && q.tuple.local_port == port) return handle;
    handle = q.links.demux_next;
  }
  return kNone;
}

void InsertDemux(const Nic& nic, QueuePair& q) {
  uint32_t& bucket = nic.Table(nic.state.tables.demux)[BucketOf(nic, q)];
  q.links.demux_next = bucket;
  q.links.in_demux = true;
  bucket = q.handle;
}

void RemoveDemux(const Nic& nic, QueuePair& q) {
  if (!q.links.in_demux) return;
  uint32_t* link = &nic.Table(nic.state.tables.demux)[BucketOf(nic, q)];
  while (*link != kNone && *link != q.handle) link = &nic.qp(*link).links.demux_next;
  if (*link == q.handle) *link = q.links.demux_next;
  q.links.demux_next = kNone;
  q.links.in_demux = false;
  if (nic.state.last_tcp_qp == q.handle) nic.state.last_tcp_qp = kNone;
}

}  // namespace qpip::fw

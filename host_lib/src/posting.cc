// The data path of a queue pair: validate, fill, publish.
#include <cerrno>
#include <cstring>
#include <type_traits>

#include "nic_impl.h"
#include "queue_pair.h"
#include "status.h"

namespace qpip {

namespace internal {

namespace {

// The firmware's limit of a message: it may be in flight as a whole.
constexpr uint64_t kMaxRdmaMessage = uint64_t{1} << 30;

// Sums a scatter/gather list; false when it has too many elements for `max_sge`.
bool SumList(const ibv_sge* list, int count, uint32_t max_sge, uint64_t* bytes) {
  if (count < 0 || static_cast<uint32_t>(count) > max_sge) return false;
  uint64_t sum = 0;
  for (int i = 0; i < count; ++i) sum += list[i].length;
  *bytes = sum;
  return true;
}

// Writes the list behind a WQE's header. Empty elements are left out: they move nothing, and the
// NIC need not look up their keys. Returns how many were written.
uint8_t FillList(const ibv_sge* list, int count, std::byte* to) {
  uint8_t written = 0;
  for (int i = 0; i < count; ++i) {
    if (list[i].length == 0) continue;
    const abi::Sge sge = {.address = list[i].addr, .length = list[i].length, .key = list[i].lkey};
    std::memcpy(to + written * sizeof(sge), &sge, sizeof(sge));
    ++written;
  }
  return written;
}

abi::SendOpcode ToOpcode(ibv_wr_opcode opcode) {
  switch (opcode) {
    case IBV_WR_SEND_WITH_INV:
      return abi::SendOpcode::kSendWithInvalidate;
    case IBV_WR_RDMA_WRITE:
      return abi::SendOpcode::kRdmaWrite;
    case IBV_WR_RDMA_WRITE_WITH_IMM:
      return abi::SendOpcode::kRdmaWriteWithImmediate;
    case IBV_WR_RDMA_READ:
      return abi::SendOpcode::kRdmaRead;
    case IBV_WR_ATOMIC_FETCH_AND_ADD:
      return abi::SendOpcode::kAtomicFetchAdd;
    case IBV_WR_ATOMIC_CMP_AND_SWP:
      return abi::SendOpcode::kAtomicCompareSwap;
    case IBV_WR_LOCAL_INV:
      return abi::SendOpcode::kLocalInvalidate;
    case IBV_WR_BIND_MW:
      return abi::SendOpcode::kBindWindow;
    default:
      return abi::SendOpcode::kSend;
  }
}

// What an RDMA request says beyond its list.
void FillRdma(const ibv_send_wr& wr, abi::SendWqe* wqe) {
  if ((wr.send_flags & IBV_SEND_FENCE) != 0) wqe->flags |= abi::kSendFence;
  if ((wr.send_flags & IBV_SEND_SOLICITED) != 0) wqe->flags |= abi::kSendSolicited;
  switch (wr.opcode) {
    case IBV_WR_SEND_WITH_INV:
      wqe->immediate = wr.invalidate_rkey;
      break;
    case IBV_WR_RDMA_WRITE_WITH_IMM:
    case IBV_WR_RDMA_WRITE:
    case IBV_WR_RDMA_READ:
      wqe->immediate = wr.opcode == IBV_WR_RDMA_WRITE_WITH_IMM ? wr.imm_data : 0;
      wqe->remote_address = wr.wr.rdma.remote_addr;
      wqe->remote_key = wr.wr.rdma.rkey;
      break;
    case IBV_WR_ATOMIC_CMP_AND_SWP:
      wqe->compare = wr.wr.atomic.compare_add;
      wqe->operand = wr.wr.atomic.swap;
      wqe->remote_address = wr.wr.atomic.remote_addr;
      wqe->remote_key = wr.wr.atomic.rkey;
      break;
    case IBV_WR_ATOMIC_FETCH_AND_ADD:
      wqe->operand = wr.wr.atomic.compare_add;
      wqe->remote_address = wr.wr.atomic.remote_addr;
      wqe->remote_key = wr.wr.atomic.rkey;
      break;
    case IBV_WR_LOCAL_INV:
      wqe->remote_key = wr.invalidate_rkey;
      break;
    case IBV_WR_BIND_MW: {
      const ibv_mw_bind_info& bind = wr.bind_mw.bind_info;
      wqe->immediate = wr.bind_mw.mw->rkey;
      wqe->remote_key = wr.bind_mw.rkey;
      wqe->remote_address = bind.addr;
      wqe->operand = bind.length;
      wqe->compare = uint64_t{bind.mw_access_flags} << 32 | bind.mr->lkey;
      break;
    }
    default:
      break;
  }
}

void CopyInline(const ibv_sge* list, int count, std::byte* to) {
  for (int i = 0; i < count; ++i) {
    if (list[i].length == 0) continue;
    std::memcpy(to, reinterpret_cast<const void*>(static_cast<uintptr_t>(list[i].addr)),
                list[i].length);
    to += list[i].length;
  }
}

}  // namespace

// Of a send of one element, as most are, nothing of this is left but what differs.
[[gnu::always_inline]] inline int QpImpl::ValidateSend(const ibv_send_wr& wr, const Endpoint* peer,
                                                       uint32_t* length) const {
  const bool tcp = options_.type == QpType::kTcp;
  const QpState state = state_.load(std::memory_order_acquire);
  if (state != QpState::kConnected && state != QpState::kPeerClosed) return ENOTCONN;
  const bool rdma = options_.framing == Framing::kMpa;
  if (wr.opcode != IBV_WR_SEND && !rdma) return EINVAL;
  uint64_t bytes;
  if (!SumList(wr.sg_list, wr.num_sge, options_.max_send_sge, &bytes)) return EINVAL;
  if (rdma) {
    if (peer != nullptr) return EINVAL;
    if (const int error = ValidateRdma(wr, bytes); error != 0) return error;
  } else if (tcp) {
    if (peer != nullptr || bytes == 0) return EINVAL;
    if (bytes > UINT32_MAX) return EMSGSIZE;
  } else {
    if (peer == nullptr || peer->port == 0) return EDESTADDRREQ;
    if (bytes > kMaxDatagram) return EMSGSIZE;
  }
  if ((wr.send_flags & IBV_SEND_INLINE) != 0 && bytes > options_.max_inline) return EMSGSIZE;
  if (send_->full()) return ENOMEM;
  *length = static_cast<uint32_t>(bytes);
  return 0;
}

[[gnu::always_inline]] inline void QpImpl::FillSend(const ibv_send_wr& wr, const Endpoint* peer,
                                                    uint32_t length) {
  std::byte* entry = send_->next_entry();
  std::byte* body = entry + sizeof(abi::SendWqe);
  abi::SendWqe wqe;
  wqe.opcode = static_cast<uint8_t>(ToOpcode(wr.opcode));
  wqe.length = length;
  if (options_.framing == Framing::kMpa) FillRdma(wr, &wqe);
  if (options_.signal_all || (wr.send_flags & IBV_SEND_SIGNALED) != 0) {
    wqe.flags |= abi::kSendSignaled;
  }
  if ((wr.send_flags & kSendUrgent) != 0) wqe.flags |= abi::kSendUrgent;
  if ((wr.send_flags & IBV_SEND_INLINE) != 0) {
    wqe.flags |= abi::kSendInline;
    wqe.inline_length = static_cast<uint16_t>(length);
    CopyInline(wr.sg_list, wr.num_sge, body);
  } else {
    wqe.sge_count = FillList(wr.sg_list, wr.num_sge, body);
  }
  if (peer != nullptr) {
    wqe.peer_port = peer->port;
    wqe.peer_address = ToAbi(peer->address);
  }
  std::memcpy(entry, &wqe, sizeof(wqe));
}

[[gnu::always_inline]] inline int QpImpl::PostSendLocked(const ibv_send_wr& wr,
                                                         const Endpoint* peer) {
  uint32_t length;
  if (const int error = ValidateSend(wr, peer, &length); error != 0) return error;
  FillSend(wr, peer, length);
  send_->Advance(wr.wr_id, static_cast<uint8_t>(ToOpcode(wr.opcode)));
  return 0;
}

void QpImpl::RingSends(std::unique_lock<SpinLock> lock) {
  const abi::Doorbell doorbell =
      send_->Publish(abi::DoorbellKind::kSendPosted, handle_, /*posted_bytes=*/0);
  lock.unlock();
  nic_.port().RingDoorbell(doorbell);
}

// `*wr` goes on to the first not posted.
[[gnu::always_inline]] inline int QpImpl::PostListLocked(ibv_send_wr** wr) {
  if (options_.type == QpType::kUdp) return PostDatagramsLocked(wr);
  int error = 0;
  while (*wr != nullptr && (error = PostSendLocked(**wr, nullptr)) == 0) *wr = (*wr)->next;
  return error;
}

int QpImpl::PostSend(ibv_send_wr* wr, ibv_send_wr** bad) {
  if (nic_.forked()) [[unlikely]] {
    if (bad != nullptr) *bad = wr;
    return EPERM;
  }
  std::unique_lock lock(send_->lock());
  const uint32_t before = send_->producer();
  const int error = PostListLocked(&wr);
  if (send_->producer() != before) RingSends(std::move(lock));
  if (error != 0 && bad != nullptr) *bad = wr;
  return error;
}

int QpImpl::PostSendAll(ibv_send_wr* wr) {
  if (nic_.forked()) [[unlikely]]
    return EPERM;
  std::unique_lock lock(send_->lock());
  const uint32_t before = send_->producer();
  const int error = PostListLocked(&wr);
  const uint32_t filled = send_->producer() - before;
  if (error != 0) {
    send_->Rewind(filled);  // of which the NIC knows nothing
  } else if (filled != 0) {
    RingSends(std::move(lock));
  }
  return error;
}

// Each to the peer that its wr.ud names. `*wr` goes on to the first not posted.
int QpImpl::PostDatagramsLocked(ibv_send_wr** wr) {
  for (; *wr != nullptr; *wr = (*wr)->next) {
    const auto& ud = (*wr)->wr.ud;
    if (ud.ah == nullptr) return EDESTADDRREQ;
    if (ud.remote_qpn > UINT16_MAX) return EINVAL;
    // AddressHandle's first member is its ibv_ah.
    static_assert(std::is_standard_layout_v<AddressHandle>);
    const auto* to = reinterpret_cast<const AddressHandle*>(ud.ah);
    const Endpoint peer = {.address = to->address(), .port = static_cast<uint16_t>(ud.remote_qpn)};
    if (const int error = PostSendLocked(**wr, &peer); error != 0) return error;
  }
  return 0;
}

[[gnu::always_inline]] inline int QpImpl::PostSendOne(const ibv_send_wr& wr, const Endpoint* peer) {
  if (nic_.forked()) [[unlikely]]
    return EPERM;
  std::unique_lock lock(send_->lock());
  const int error = PostSendLocked(wr, peer);
  if (error == 0) RingSends(std::move(lock));
  return error;
}

int QpImpl::ValidateRdma(const ibv_send_wr& wr, uint64_t bytes) const {
  const bool is_inline = (wr.send_flags & IBV_SEND_INLINE) != 0;
  switch (wr.opcode) {
    case IBV_WR_SEND:
    case IBV_WR_SEND_WITH_INV:
    case IBV_WR_RDMA_WRITE:
    case IBV_WR_RDMA_WRITE_WITH_IMM:
      break;
    case IBV_WR_RDMA_READ:
      if (is_inline || static_cast<uint32_t>(wr.num_sge) > abi::kMaxReadSge) return EINVAL;
      break;
    case IBV_WR_ATOMIC_CMP_AND_SWP:
    case IBV_WR_ATOMIC_FETCH_AND_ADD:
      if (is_inline || wr.num_sge != 1 || bytes != sizeof(uint64_t)) return EINVAL;
      break;
    case IBV_WR_LOCAL_INV:
      if (wr.num_sge != 0) return EINVAL;
      break;
    case IBV_WR_BIND_MW:
      if (wr.num_sge != 0 || wr.bind_mw.mw == nullptr || wr.bind_mw.bind_info.mr == nullptr) {
        return EINVAL;
      }
      break;
    default:
      return EOPNOTSUPP;
  }
  return bytes > kMaxRdmaMessage ? EMSGSIZE : 0;
}

int QpImpl::PostRecv(ibv_recv_wr* wr, ibv_recv_wr** bad) {
  if (nic_.forked()) [[unlikely]] {
    if (bad != nullptr) *bad = wr;
    return EPERM;
  }
  std::unique_lock lock(recv_->lock());
  const uint32_t before = recv_->producer();
  int error = 0;
  for (; wr != nullptr; wr = wr->next) {
    uint32_t length;
    if (error = ValidateRecv(*wr, &length); error != 0) break;
    FillRecv(*wr, length);
    recv_->Advance(wr->wr_id);
    posted_bytes_ += length;
  }
  if (recv_->producer() != before) {
    const abi::Doorbell doorbell =
        recv_->Publish(abi::DoorbellKind::kRecvPosted, handle_, posted_bytes_);
    lock.unlock();
    nic_.port().RingDoorbell(doorbell);
  }
  if (error != 0 && bad != nullptr) *bad = wr;
  return error;
}

int QpImpl::ValidateRecv(const ibv_recv_wr& wr, uint32_t* length) const {
  if (state_.load(std::memory_order_acquire) == QpState::kClosed) return ENOTCONN;
  uint64_t bytes;
  if (!SumList(wr.sg_list, wr.num_sge, options_.max_recv_sge, &bytes)) return EINVAL;
  // What a byte stream cannot carry; to an RDMA queue pair come messages without bytes, too.
  if (options_.type == QpType::kTcp && bytes == 0 && options_.framing != Framing::kMpa) {
    return EINVAL;
  }
  if (bytes > UINT32_MAX) return EMSGSIZE;
  if (recv_->full()) return ENOMEM;
  *length = static_cast<uint32_t>(bytes);
  return 0;
}

void QpImpl::FillRecv(const ibv_recv_wr& wr, uint32_t length) {
  std::byte* entry = recv_->next_entry();
  abi::RecvWqe wqe;
  wqe.length = length;
  wqe.sge_count = FillList(wr.sg_list, wr.num_sge, entry + sizeof(abi::RecvWqe));
  std::memcpy(entry, &wqe, sizeof(wqe));
}

}  // namespace internal

int QueuePair::PostSend(ibv_send_wr* wr, ibv_send_wr** bad) { return impl_->PostSend(wr, bad); }

int QueuePair::PostSendAll(ibv_send_wr* wr) { return impl_->PostSendAll(wr); }

int QueuePair::PostSendTo(const ibv_send_wr& wr, const Endpoint& peer) {
  if (wr.next != nullptr) return EINVAL;  // what is behind it would be lost
  return impl_->PostSendOne(wr, &peer);
}

int QueuePair::PostRecv(ibv_recv_wr* wr, ibv_recv_wr** bad) { return impl_->PostRecv(wr, bad); }

namespace {

ibv_send_wr OneElementSend(uint64_t wr_id, ibv_sge* sge, int flags) {
  ibv_send_wr wr{};
  wr.wr_id = wr_id;
  wr.sg_list = sge;
  wr.num_sge = 1;
  wr.opcode = IBV_WR_SEND;
  wr.send_flags = static_cast<unsigned>(flags);
  return wr;
}

}  // namespace

int QueuePair::PostSend(uint64_t wr_id, const ibv_sge& sge, int flags) {
  ibv_sge element = sge;
  return impl_->PostSendOne(OneElementSend(wr_id, &element, flags), nullptr);
}

int QueuePair::PostSendTo(uint64_t wr_id, const ibv_sge& sge, const Endpoint& peer, int flags) {
  ibv_sge element = sge;
  return impl_->PostSendOne(OneElementSend(wr_id, &element, flags), &peer);
}

int QueuePair::PostRecv(uint64_t wr_id, const ibv_sge& sge) {
  ibv_sge element = sge;
  ibv_recv_wr wr{.wr_id = wr_id, .next = nullptr, .sg_list = &element, .num_sge = 1};
  return impl_->PostRecv(&wr, nullptr);
}

}  // namespace qpip

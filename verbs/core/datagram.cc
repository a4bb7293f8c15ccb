#include "verbs/core/datagram.h"

#include <arpa/inet.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "verbs/core/queue_pair.h"

namespace qpip::verbs {

namespace {

constexpr uint32_t kMagic = 0x51505544;  // "QPUD"
constexpr uint32_t kHasImmediate = 1u << 31;
constexpr uint32_t kSourceMask = 0xffffff;
/// A queue key with this bit is the queue pair's own instead (InfiniBand's specification 10.2.5).
constexpr uint32_t kOwnKey = 1u << 31;

// The list without its first kGrhBytes, behind `header`. Empty: it is shorter.
std::vector<ibv_sge> BehindGrh(const ibv_sge& header, std::span<const ibv_sge> list) {
  std::vector<ibv_sge> rest = {header};
  uint32_t skip = kGrhBytes;
  for (ibv_sge sge : list) {
    const uint32_t cut = std::min(skip, sge.length);
    skip -= cut;
    sge.addr += cut;
    sge.length -= cut;
    if (sge.length != 0) rest.push_back(sge);
  }
  if (skip != 0) rest.clear();
  return rest;
}

void WriteGrh(std::span<const ibv_sge> list, const in6_addr& from, const in6_addr& to,
              uint32_t payload) {
  ibv_grh grh = {};
  grh.version_tclass_flow = htonl(6u << 28);
  grh.paylen = htons(static_cast<uint16_t>(payload));
  grh.next_hdr = 0x1b;  // InfiniBand's base transport header
  grh.hop_limit = 64;
  std::memcpy(grh.sgid.raw, &from, sizeof from);
  std::memcpy(grh.dgid.raw, &to, sizeof to);
  static_assert(sizeof grh == kGrhBytes);
  const auto* bytes = reinterpret_cast<const std::byte*>(&grh);
  size_t done = 0;
  for (const ibv_sge& sge : list) {
    const size_t part = std::min<size_t>(sge.length, kGrhBytes - done);
    std::memcpy(reinterpret_cast<void*>(static_cast<uintptr_t>(sge.addr)), bytes + done, part);
    done += part;
    if (done == kGrhBytes) return;
  }
}

std::unique_ptr<MemoryRegion> Register(Pd& pd, std::vector<DatagramHeader>& headers) {
  return pd.real->Register(headers.data(), headers.size() * sizeof(DatagramHeader),
                           IBV_ACCESS_LOCAL_WRITE);
}

int CheckOne(const Qp& qp, const ibv_send_wr& wr) {
  const bool immediate = wr.opcode == IBV_WR_SEND_WITH_IMM;
  if ((wr.opcode != IBV_WR_SEND && !immediate) || wr.wr.ud.ah == nullptr) return EINVAL;
  const bool fits =
      wr.num_sge >= 0 && static_cast<uint32_t>(wr.num_sge) <= qp.init.cap.max_send_sge;
  return fits ? 0 : EINVAL;
}

}  // namespace

Datagrams::Datagrams(Pd& pd, uint32_t send_depth, uint32_t receive_depth)
    : send_headers_(std::bit_ceil(send_depth) + 1),
      receive_headers_(std::bit_ceil(receive_depth) + 1),
      send_region_(Register(pd, send_headers_)),
      receive_region_(Register(pd, receive_headers_)) {}

ibv_sge Datagrams::Sge(const DatagramHeader* header) const {
  const bool sends =
      header >= send_headers_.data() && header < send_headers_.data() + send_headers_.size();
  return {.addr = reinterpret_cast<uintptr_t>(header),
          .length = sizeof *header,
          .lkey = (sends ? send_region_ : receive_region_)->lkey()};
}

int Datagrams::Check(const Qp& qp, const ibv_send_wr* wr) {
  for (; wr != nullptr; wr = wr->next) {
    if (const int error = CheckOne(qp, *wr); error != 0) return error;
  }
  return 0;
}

int Datagrams::Send(Qp& qp, ibv_send_wr* wr, ibv_send_wr** bad) {
  for (; wr != nullptr; wr = wr->next) {
    *bad = wr;
    if (const int error = SendOne(qp, *wr); error != 0) return error;
  }
  return 0;
}

int Datagrams::SendOne(Qp& qp, const ibv_send_wr& wr) {
  if (const int error = CheckOne(qp, wr); error != 0) return error;
  const bool immediate = wr.opcode == IBV_WR_SEND_WITH_IMM;
  const uint32_t key = wr.wr.ud.remote_qkey;
  DatagramHeader& header = send_headers_[sent_ % send_headers_.size()];
  header = {.magic = htonl(kMagic),
            .flags_and_source = htonl(qp.number() | (immediate ? kHasImmediate : 0)),
            .queue_key = htonl((key & kOwnKey) != 0 ? qp.attributes.qkey : key),
            .immediate = immediate ? wr.imm_data : 0};
  std::array<ibv_sge, kMaxSge> list;
  list[0] = Sge(&header);
  std::copy_n(wr.sg_list, wr.num_sge, list.begin() + 1);
  ibv_send_wr copy = wr;
  copy.next = nullptr;
  copy.opcode = IBV_WR_SEND;
  copy.send_flags &= ~static_cast<unsigned>(IBV_SEND_SOLICITED | IBV_SEND_FENCE);
  copy.sg_list = list.data();
  copy.num_sge = wr.num_sge + 1;
  copy.wr.ud.ah = reinterpret_cast<Ah*>(wr.wr.ud.ah)->real->get();
  const int error = qp.real->PostSend(&copy);
  if (error == 0) ++sent_;
  return error;
}

int Datagrams::Receive(Qp& qp, ibv_recv_wr* wr, ibv_recv_wr** bad) {
  for (; wr != nullptr; wr = wr->next) {
    *bad = wr;
    if (wr->num_sge < 0 || static_cast<uint32_t>(wr->num_sge) > qp.init.cap.max_recv_sge) {
      return EINVAL;
    }
    if (posted_.size() >= std::max(qp.init.cap.max_recv_wr, 1u)) return ENOMEM;
    Posted posted = {.wr_id = wr->wr_id, .list = {wr->sg_list, wr->sg_list + wr->num_sge}};
    if (const int error = ReceiveOne(qp, std::move(posted)); error != 0) return error;
  }
  return 0;
}

int Datagrams::ReceiveOne(Qp& qp, Posted posted) {
  DatagramHeader& header = receive_headers_[received_ % receive_headers_.size()];
  posted.header = &header;
  std::vector<ibv_sge> list = BehindGrh(Sge(&header), posted.list);
  if (list.empty()) return EINVAL;
  ibv_recv_wr wr = {.wr_id = posted.wr_id,
                    .next = nullptr,
                    .sg_list = list.data(),
                    .num_sge = static_cast<int>(list.size())};
  const int error = qp.real->PostRecv(&wr);
  if (error != 0) return error;
  ++received_;
  posted_.push_back(std::move(posted));
  return 0;
}

bool Datagrams::Admit(Qp& qp, WorkCompletion* completion) {
  if ((completion->opcode & IBV_WC_RECV) == 0) return true;
  if (posted_.empty()) return false;  // the queue pair has failed, which has told its receives
  Posted posted = std::move(posted_.front());
  posted_.pop_front();
  if (completion->status != IBV_WC_SUCCESS) return true;
  const DatagramHeader& header = *posted.header;
  const bool ours = completion->byte_len >= sizeof header && header.magic == htonl(kMagic);
  if (!ours || ntohl(header.queue_key) != qp.attributes.qkey) {
    ReceiveOne(qp, std::move(posted));  // there is room: its place has just become free
    return false;
  }
  const uint32_t source = ntohl(header.flags_and_source);
  const auto payload = static_cast<uint32_t>(completion->byte_len - sizeof header);
  WriteGrh(posted.list, completion->peer.address, qp.context->session->nic().address(), payload);
  completion->byte_len = payload + kGrhBytes;
  completion->src_qp = source & kSourceMask;
  completion->wc_flags = IBV_WC_GRH;
  if ((source & kHasImmediate) != 0) {
    completion->wc_flags |= IBV_WC_WITH_IMM;
    completion->imm_data = header.immediate;
  }
  return true;
}

std::vector<uint64_t> Datagrams::TakePosted() {
  std::vector<uint64_t> ids;
  for (const Posted& posted : posted_) ids.push_back(posted.wr_id);
  posted_.clear();
  return ids;
}

}  // namespace qpip::verbs

// ibv_qp_ex: work requests built a call at a time, and posted together.
#include <cerrno>
#include <vector>

#include "verbs/core/queue_pair.h"

namespace qpip::verbs {

namespace {

Qp& QpOf(ibv_qp_ex* ex) { return *reinterpret_cast<Qp*>(ex); }

ibv_send_wr& Begin(ibv_qp_ex* ex, ibv_wr_opcode opcode) {
  KeptSend& kept = QpOf(ex).building.emplace_back();
  kept.wr.wr_id = ex->wr_id;
  kept.wr.send_flags = ex->wr_flags & ~static_cast<unsigned>(IBV_SEND_INLINE);
  kept.wr.opcode = opcode;
  return kept.wr;
}

void BeginRdma(ibv_qp_ex* ex, ibv_wr_opcode opcode, uint32_t rkey, uint64_t address) {
  Begin(ex, opcode).wr.rdma = {.remote_addr = address, .rkey = rkey};
}

KeptSend& Last(ibv_qp_ex* ex) { return QpOf(ex).building.back(); }

void AddInline(KeptSend* kept, const void* data, size_t length) {
  kept->wr.send_flags |= IBV_SEND_INLINE;
  const auto* from = static_cast<const std::byte*>(data);
  kept->inline_data.insert(kept->inline_data.end(), from, from + length);
}

void Start(ibv_qp_ex* ex) {
  QpOf(ex).building_mutex.lock();
  QpOf(ex).building.clear();
}

void Abort(ibv_qp_ex* ex) {
  QpOf(ex).building.clear();
  QpOf(ex).building_mutex.unlock();
}

// All, or on an error nothing: programs do not hear which one was refused.
int Complete(ibv_qp_ex* ex) {
  Qp& qp = QpOf(ex);
  std::vector<ibv_sge> inline_sges(qp.building.size());
  ibv_send_wr* next = nullptr;
  for (size_t i = qp.building.size(); i-- > 0;) {
    PointToKept(&qp.building[i], &inline_sges[i]);
    qp.building[i].wr.next = next;
    next = &qp.building[i].wr;
  }
  ibv_send_wr* bad = nullptr;
  const int error = next == nullptr ? 0 : PostSends(qp, next, &bad, Posting::kAll);
  qp.building_mutex.unlock();
  return error;
}

void FillOpcodes(ibv_qp_ex& ex) {
  ex.wr_send = [](ibv_qp_ex* self) { Begin(self, IBV_WR_SEND); };
  ex.wr_send_inv = [](ibv_qp_ex* self, uint32_t rkey) {
    Begin(self, IBV_WR_SEND_WITH_INV).invalidate_rkey = rkey;
  };
  ex.wr_send_imm = [](ibv_qp_ex* self, __be32 data) {
    Begin(self, IBV_WR_SEND_WITH_IMM).imm_data = data;
  };
  ex.wr_local_inv = [](ibv_qp_ex* self, uint32_t rkey) {
    Begin(self, IBV_WR_LOCAL_INV).invalidate_rkey = rkey;
  };
  ex.wr_rdma_read = [](ibv_qp_ex* self, uint32_t rkey, uint64_t address) {
    BeginRdma(self, IBV_WR_RDMA_READ, rkey, address);
  };
  ex.wr_rdma_write = [](ibv_qp_ex* self, uint32_t rkey, uint64_t address) {
    BeginRdma(self, IBV_WR_RDMA_WRITE, rkey, address);
  };
  ex.wr_rdma_write_imm = [](ibv_qp_ex* self, uint32_t rkey, uint64_t address, __be32 data) {
    BeginRdma(self, IBV_WR_RDMA_WRITE_WITH_IMM, rkey, address);
    Last(self).wr.imm_data = data;
  };
  ex.wr_atomic_cmp_swp = [](ibv_qp_ex* self, uint32_t rkey, uint64_t address, uint64_t compare,
                            uint64_t swap) {
    Begin(self, IBV_WR_ATOMIC_CMP_AND_SWP).wr.atomic = {
        .remote_addr = address, .compare_add = compare, .swap = swap, .rkey = rkey};
  };
  ex.wr_atomic_fetch_add = [](ibv_qp_ex* self, uint32_t rkey, uint64_t address, uint64_t add) {
    Begin(self, IBV_WR_ATOMIC_FETCH_AND_ADD).wr.atomic = {
        .remote_addr = address, .compare_add = add, .swap = 0, .rkey = rkey};
  };
}

}  // namespace

void FillSendOperations(Qp& qp) {
  ibv_qp_ex& ex = qp.ex;
  FillOpcodes(ex);
  ex.wr_set_sge = [](ibv_qp_ex* self, uint32_t lkey, uint64_t address, uint32_t length) {
    Last(self).list.push_back({.addr = address, .length = length, .lkey = lkey});
  };
  ex.wr_set_sge_list = [](ibv_qp_ex* self, size_t count, const ibv_sge* list) {
    Last(self).list.assign(list, list + count);
  };
  ex.wr_set_inline_data = [](ibv_qp_ex* self, void* data, size_t length) {
    AddInline(&Last(self), data, length);
  };
  ex.wr_set_inline_data_list = [](ibv_qp_ex* self, size_t count, const ibv_data_buf* list) {
    for (size_t i = 0; i < count; ++i) AddInline(&Last(self), list[i].addr, list[i].length);
  };
  ex.wr_set_ud_addr = [](ibv_qp_ex* self, ibv_ah* ah, uint32_t number, uint32_t key) {
    Last(self).wr.wr.ud = {.ah = ah, .remote_qpn = number, .remote_qkey = key};
  };
  ex.wr_start = Start;
  ex.wr_complete = Complete;
  ex.wr_abort = Abort;
}

}  // namespace qpip::verbs

// ibv_cq_ex: completions read a field at a time.
#include <cerrno>
#include <ctime>

#include "verbs/core/completion.h"

namespace qpip::verbs {

namespace {

constexpr uint64_t kKnownFields =
    uint64_t{IBV_WC_STANDARD_FLAGS} | IBV_WC_EX_WITH_COMPLETION_TIMESTAMP_WALLCLOCK;

Cq& CqOf(ibv_cq_ex* ex) { return *reinterpret_cast<Cq*>(ex); }

// Takes the next completion. ENOENT: there is none. With reader_mutex.
int TakeOne(Cq& cq) {
  try {
    const std::lock_guard lock(cq.poll_mutex);
    if (PollLocked(cq, {&cq.now, 1}) == 0) return ENOENT;
  } catch (const Error& error) {
    return error.code();
  }
  cq.ex.wr_id = cq.now.wr_id;
  cq.ex.status = cq.now.status;
  return 0;
}

int StartPoll(ibv_cq_ex* ex, ibv_poll_cq_attr* attributes) {
  if (attributes->comp_mask != 0) return EINVAL;
  Cq& cq = CqOf(ex);
  cq.reader_mutex.lock();
  const int error = TakeOne(cq);
  if (error != 0) {  // there is no end_poll then
    cq.reader_mutex.unlock();
    GiveWayWhenIdle(cq, false);
  }
  return error;
}

int NextPoll(ibv_cq_ex* ex) { return TakeOne(CqOf(ex)); }
void EndPoll(ibv_cq_ex* ex) { CqOf(ex).reader_mutex.unlock(); }

uint64_t WallClockNs(ibv_cq_ex*) {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000u + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

void FillPollOperations(Cq& cq) {
  ibv_cq_ex& ex = cq.ex;
  ex.start_poll = StartPoll;
  ex.next_poll = NextPoll;
  ex.end_poll = EndPoll;
  ex.read_opcode = [](ibv_cq_ex* self) { return CqOf(self).now.opcode; };
  ex.read_vendor_err = [](ibv_cq_ex* self) { return CqOf(self).now.vendor_err; };
  ex.read_byte_len = [](ibv_cq_ex* self) { return CqOf(self).now.byte_len; };
  ex.read_imm_data = [](ibv_cq_ex* self) { return CqOf(self).now.imm_data; };
  ex.read_qp_num = [](ibv_cq_ex* self) { return CqOf(self).now.qp_num; };
  ex.read_src_qp = [](ibv_cq_ex* self) { return CqOf(self).now.src_qp; };
  ex.read_wc_flags = [](ibv_cq_ex* self) { return CqOf(self).now.wc_flags; };
  ex.read_slid = [](ibv_cq_ex* self) -> uint32_t { return CqOf(self).now.slid; };
  ex.read_sl = [](ibv_cq_ex* self) { return CqOf(self).now.sl; };
  ex.read_dlid_path_bits = [](ibv_cq_ex* self) { return CqOf(self).now.dlid_path_bits; };
  ex.read_completion_wallclock_ns = WallClockNs;
}

ibv_cq_ex* CreateCqExOp(ibv_context* context, ibv_cq_init_attr_ex* attributes) {
  if ((attributes->wc_flags & ~kKnownFields) != 0 ||
      (attributes->comp_mask & ~uint64_t{IBV_CQ_INIT_ATTR_MASK_FLAGS}) != 0) {
    errno = EOPNOTSUPP;
    return nullptr;
  }
  if (attributes->comp_vector != 0) {
    errno = EINVAL;
    return nullptr;
  }
  try {
    return &CreateCq(Of(context), static_cast<int>(attributes->cqe), attributes->cq_context,
                     attributes->channel)
                ->ex;
  } catch (const Error& error) {
    errno = error.code();
    return nullptr;
  }
}

}  // namespace qpip::verbs

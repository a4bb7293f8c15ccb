#include "protocols/tcp/invariants.h"

#if QPIP_ASSERTIONS
#include "protocols/tcp/machine.h"
#include "protocols/tcp/machine_internal.h"

namespace qpip::tcp::internal {
namespace {

void AssertSendHalf(const SendHalf& snd) {
  QPIP_ASSERT(snd.una.AtOrBefore(snd.nxt));
  QPIP_ASSERT(snd.nxt.AtOrBefore(snd.max));
  QPIP_ASSERT(snd.max.AtOrBefore(snd.end + (snd.fin_sent ? 1u : 0u)));
  QPIP_ASSERT(!snd.fin_sent || snd.fin_queued);
}

/// Ranges have text, lie in order and do not overlap.
void AssertHeld(const Reassembly& held) {
  QPIP_ASSERT(held.count <= held.ranges.capacity());
  QPIP_ASSERT(held.released <= held.count);
  for (uint32_t i = 0; i < held.count; ++i) {
    QPIP_ASSERT(held.ranges[i].length != 0);
    QPIP_ASSERT(i == 0 || held.ranges[i - 1].End().AtOrBefore(held.ranges[i].start));
  }
}

void AssertReceiveHalf(const Tcb& tcb) {
  const ReceiveHalf& rcv = tcb.rcv;
  QPIP_ASSERT(rcv.nxt.AtOrBefore(rcv.adv + 1));
  QPIP_ASSERT(rcv.told.AtOrBefore(rcv.adv));
  QPIP_ASSERT(rcv.unplaced <= rcv.irs.DistanceTo(rcv.nxt));
  QPIP_ASSERT(tcb.owed.last_ack_sent.AtOrBefore(AckableSequence(tcb)));
  AssertHeld(rcv.held);
}

/// Runs lie in order, none is both sacked and lost, and the sums are those of the runs.
void AssertScoreboard(const Scoreboard& board, const SendHalf& snd) {
  QPIP_ASSERT(board.count <= board.runs.capacity());
  QPIP_ASSERT(board.start == snd.una);
  QPIP_ASSERT(board.End().AtOrBefore(snd.max));
  uint32_t sacked = 0;
  uint32_t lost = 0;
  for (uint32_t i = 0; i < board.count; ++i) {
    const uint8_t flags = board.runs[i].flags;
    QPIP_ASSERT(board.StartOf(i).Before(board.runs[i].end));
    QPIP_ASSERT((flags & kRunSacked) == 0 || (flags & kRunLost) == 0);
    QPIP_ASSERT((flags & kRunSurelyLost) == 0 || (flags & kRunLost) != 0);
    if ((flags & kRunSacked) != 0) sacked += board.LengthOf(i);
    if ((flags & kRunLost) != 0) lost += board.LengthOf(i);
  }
  QPIP_ASSERT(board.sacked == sacked);
  QPIP_ASSERT(board.lost == lost);
}

/// Whatever waits is waited for by a timer.
void AssertTimers(const Tcb& tcb) {
  const SendHalf& snd = tcb.snd;
  const bool in_flight = snd.nxt != snd.una;
  QPIP_ASSERT(!in_flight || tcb.retransmit_deadline != kNever);
  const bool shut = !in_flight && snd.nxt.Before(snd.end) && snd.wnd == 0;
  QPIP_ASSERT(!shut || tcb.persist_deadline != kNever || tcb.probe_due);
}

}  // namespace

void AssertInvariants(const Tcb& tcb) {
  if (tcb.state == State::kClosed) return;
  AssertSendHalf(tcb.snd);
  if (tcb.state < State::kSynReceived) return;
  AssertReceiveHalf(tcb);
  if (!IsSynchronised(tcb.state)) return;
  QPIP_ASSERT(tcb.cwnd <= kLargestWindow);
  QPIP_ASSERT(tcb.cwnd >= tcb.snd.mss);
  QPIP_ASSERT(tcb.ssthresh >= 2 * tcb.snd.mss);
  if (tcb.sack_on) AssertScoreboard(tcb.sent, tcb.snd);
  AssertTimers(tcb);
}

}  // namespace qpip::tcp::internal
#endif

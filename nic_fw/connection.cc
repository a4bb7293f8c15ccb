#include "nic_fw/connection.h"

#include "nic_fw/backlog.h"
#include "nic_fw/demux.h"
#include "nic_fw/ending.h"
#include "nic_fw/events.h"
#include "nic_fw/invariants.h"
#include "nic_fw/packet.h"
#include "nic_fw/path_mtu.h"
#include "nic_fw/routes.h"
#include "nic_fw/schedule.h"
#include "nic_fw/timers.h"
#include "protocols/tcp/machine.h"

namespace qpip::fw {
namespace {

/// RFC 9293 3.8.3, R1: so many time-outs in a row are told to the application.
constexpr uint8_t kExcessiveRetransmissions = 3;

}  // namespace

void OnPeerDown(const Nic& nic, const ipv6::Address& peer) {
  const bool everybody = peer == ipv6::Address{};
  for (uint32_t i = 0; i < nic.state.config.max_qps; ++i) {
    QueuePair& q = nic.qp(i);
    if (q.type != abi::QpType::kTcp) continue;
    if (!everybody && !(q.tuple.remote_address == peer)) continue;
    if (q.state == QpState::kConnecting || q.state == QpState::kOrphan ||
        (q.state == QpState::kConnected && !q.ending.transport_done)) {
      nic.Count(abi::NicCounter::kConnectionsReset);
      LosePeer(nic, q, abi::DisconnectReason::kUnreachable, abi::CompletionStatus::kRemoteAborted);
    }
  }
  for (uint32_t i = 0; i < nic.state.config.max_backlog; ++i) {
    BacklogEntry& entry = nic.backlog(i);
    if (!entry.in_use || !(everybody || entry.tuple.remote_address == peer)) continue;
    ForgetWaiting(nic, entry);
  }
}

void OnNeighbourLost(const Nic& nic, const ipv6::Address& neighbour) {
  for (uint32_t i = 0; i < nic.state.config.max_qps; ++i) {
    QueuePair& q = nic.qp(i);
    if (q.state != QpState::kConnecting) continue;
    ipv6::Address next;
    // Behind a router that failed another one is tried, by the next SYN.
    if (!NextHop(nic, q.tuple.remote_address, &next) || next == neighbour) {
      EndConnection(nic, q, abi::DisconnectReason::kUnreachable,
                    abi::CompletionStatus::kRetryExceeded);
    }
  }
}

void OnTimer(const Nic& nic, QueuePair& q) {
  const Handler handler(nic, q);
  nic.Count(abi::NicCounter::kTimersFired);
  if (nic.now >= q.ending.deadline) {
    AbortConnection(nic, q);
    return;
  }
  const tcp::State before = q.tcb.state;
  const tcp::TimerPlan plan = tcp::OnTimer(q.tcb, nic.now);
  NoteMtuSearch(nic, q);
  if (plan.retransmission_timeout) {
    nic.Count(abi::NicCounter::kTcpRetransmissionTimeouts);
    // Once in each series: an answer ends it, and the back-off with it.
    if (q.tcb.rtt.backoff == kExcessiveRetransmissions && q.state != QpState::kOrphan) {
      Notify(nic, q, abi::kNoticeRetransmissions);
    }
  }
  if (plan.retransmission_timeout && before == tcp::State::kSynReceived && q.listener != kNone &&
      !MayRepeatSynAck(nic, nic.listener(q.listener), q.tcb.rtt.backoff == 1)) {
    tcp::ForgoSynAck(q.tcb, nic.now);
  }
  if (plan.send_reset) SendReset(nic, q.tuple, plan.reset);
  TraceTcpState(nic, q, before);
  TraceCongestion(nic, q);
  if (plan.outcome == tcp::Outcome::kTimedOut) {
    // RFC 9293 3.9.2.2: what a router has said of the path is the better reason.
    LosePeer(nic, q,
             q.notices.path_failed ? abi::DisconnectReason::kUnreachable
                                   : abi::DisconnectReason::kTimedOut,
             abi::CompletionStatus::kRetryExceeded);
    return;
  }
  if (plan.outcome == tcp::Outcome::kClosed) {
    if (q.state == QpState::kClosed) {  // TIME-WAIT is over, the host has been told long ago
      CancelTimer(nic, q);
      RemoveDemux(nic, q);
      return;
    }
    OnTransportDone(nic, q);
    return;
  }
  UpdateTimer(nic, q);
  Activate(nic, q.handle);
  nic.Charge(Stage::kTimer, Variant::kControl);
}

}  // namespace qpip::fw

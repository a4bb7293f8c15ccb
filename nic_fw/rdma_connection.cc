#include "nic_fw/rdma_connection.h"

#include "nic_fw/demux.h"
#include "nic_fw/ending.h"
#include "nic_fw/events.h"
#include "nic_fw/framing.h"
#include "nic_fw/layout.h"
#include "nic_fw/overflow_pool.h"
#include "nic_fw/rdma_queue.h"
#include "nic_fw/receive_window.h"
#include "nic_fw/schedule.h"
#include "nic_fw/timers.h"
#include "protocols/tcp/machine.h"

namespace qpip::fw {
namespace {

using abi::CommandStatus;

/// Whether a connection can change hands: nothing of it is under way (MPA's initiator waits for the
/// Reply, its responder for the first FPDU).
CommandStatus JudgeCarrier(const QueuePair& carrier) {
  const tcp::Tcb& tcb = carrier.tcb;
  if (carrier.state != QpState::kConnected || tcb.state != tcp::State::kEstablished ||
      carrier.send.shutdown_wanted || carrier.placement.end_of_stream != kEosNone) {
    return CommandStatus::kBadState;
  }
  if (PoolInUse(carrier.pool) || tcp::HasReleased(tcb)) return CommandStatus::kBadState;
  const bool quiet = carrier.send.completed == carrier.send.producer &&
                     tcb.snd.una == tcb.snd.end && carrier.placement.contexts.empty() &&
                     carrier.refused.empty() && carrier.host_memory.dma_outstanding == 0 &&
                     tcb.rcv.unplaced == 0;
  return quiet ? CommandStatus::kOk : CommandStatus::kBusy;
}

/// Moves the connection itself. What `q` wishes of it stays.
void Move(const Nic& nic, QueuePair& carrier, QueuePair& q) {
  CancelTimer(nic, carrier);
  Deactivate(nic, carrier);
  RemoveDemux(nic, carrier);
  const tcp::Options wish = q.tcb.options;
  q.tcb = carrier.tcb;
  PlaceRuns(nic, q);
  tcp::Options& options = q.tcb.options;
  if (wish.ack_delay_us != 0) options.ack_delay_us = wish.ack_delay_us;
  if (wish.ack_every != 0) options.ack_every = wish.ack_every;
  if (wish.keepalive_idle_s != 0) options.keepalive_idle_s = wish.keepalive_idle_s;
  if (wish.user_timeout_ms != 0) {
    options.user_timeout_ms = wish.user_timeout_ms;
    q.tcb.user_timeout_ms = wish.user_timeout_ms;
  }
  // Text behind a gap is not kept, since where its FPDUs begin is not known, and each FPDU is put
  // together here.
  options.reassembly = 0;
  options.segmentation_limit = 0;
  options.nagle = false;
  q.tuple = carrier.tuple;
  q.notices.path_failed = false;
  InsertDemux(nic, q);
  carrier.tcb.state = tcp::State::kClosed;
}

/// The carrier is done with: there is nothing to tell the host of it.
void CloseCarrier(const Nic& nic, QueuePair& carrier) {
  carrier.ending.connected_reported = false;
  EndConnection(nic, carrier, abi::DisconnectReason::kClosed, abi::CompletionStatus::kFlushed);
}

}  // namespace

CommandStatus AdoptConnection(const Nic& nic, const abi::Adopt& request) {
  QueuePair* q = QueuePairOfHost(nic, request.qp);
  QueuePair* carrier = QueuePairOfHost(nic, request.carrier);
  if (q == nullptr || carrier == nullptr || q == carrier) return CommandStatus::kBadHandle;
  if (q->rdma == kNone || carrier->type != abi::QpType::kTcp ||
      FramingOf(carrier->recv).keeps_boundaries || request.ird > abi::kMaxRdmaDepth ||
      request.ord > abi::kMaxRdmaDepth || carrier->pool.bytes > q->pool.bytes) {
    return CommandStatus::kBadCommand;
  }
  if (q->state != QpState::kIdle) return CommandStatus::kBadState;
  const CommandStatus verdict = JudgeCarrier(*carrier);
  if (verdict != CommandStatus::kOk) return verdict;

  Move(nic, *carrier, *q);
  CloseCarrier(nic, *carrier);
  RdmaState& r = RdmaOf(nic, *q);
  r.connected = true;
  r.crc = (request.flags & abi::kAdoptCrc) != 0;
  r.await_first = (request.flags & abi::kAdoptResponder) != 0;
  r.ird = request.ird;
  r.ord = request.ord;
  r.receiver.most_requests = request.ird;
  r.sender.most_requests = request.ord;
  SetQpState(nic, *q, QpState::kConnected);
  q->ending.connected_reported = true;
  ReportEstablished(nic, *q);
  UpdateReceiveWindow(nic, *q);
  UpdateTimer(nic, *q);
  Activate(nic, q->handle);
  return CommandStatus::kOk;
}

}  // namespace qpip::fw

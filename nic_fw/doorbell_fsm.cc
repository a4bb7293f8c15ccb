#include "nic_fw/doorbell_fsm.h"

#include <cstddef>

#include "nic_fw/completion.h"
#include "nic_fw/ending.h"
#include "nic_fw/invariants.h"
#include "nic_fw/placement.h"
#include "nic_fw/rdma_state.h"
#include "nic_fw/receive_queue.h"
#include "nic_fw/receive_window.h"
#include "nic_fw/schedule.h"
#include "nic_fw/send_queue.h"
#include "protocols/tcp/machine.h"

namespace qpip::fw {
namespace {

/// Turns that may take all they can before the overflow flag is looked at all the same: a FIFO that
/// others keep from running empty must not hide what was lost. A turn that takes fewer has found
/// the FIFO empty, and looks.
constexpr uint32_t kBusyTurns = 16;

/// What a producer index says to a queue that knows an older or a newer one. Behind the known one
/// is no error: a scan reads what the host has posted by then, and the doorbells that were in the
/// FIFO at that moment come after it.
enum class Producer : uint8_t {
  kStale,     ///< at or behind what is known: nothing is new
  kForward,   ///< believed
  kNonsense,  ///< more than the ring holds
};
Producer Judge(uint32_t producer, uint32_t known, uint32_t consumer, uint32_t log2_depth) {
  if (static_cast<int32_t>(producer - known) <= 0) return Producer::kStale;
  return producer - consumer <= (1u << log2_depth) ? Producer::kForward : Producer::kNonsense;
}

void OnSendPosted(const Nic& nic, QueuePair& q, uint32_t producer) {
  const Handler handler(nic, q);
  if (q.send.shutdown_wanted && !IsRdma(q.send))
    return;  // RDMA: the firmware may have asked for it
  const Producer verdict = Judge(producer, q.send.producer, q.send.completed, q.send.log2_depth);
  if (verdict == Producer::kStale) return;
  if (verdict == Producer::kNonsense) {
    FailSend(nic, q, q.send.producer, abi::CompletionStatus::kLocalQpOperationError);
    return;
  }
  q.send.producer = producer;
  nic.Trace(kTraceSendPosted, q.handle, producer, 0);
  if (q.state == QpState::kConnected) {
    Activate(nic, q.handle);
  } else if (q.state == QpState::kClosed) {
    // Posted while the connection ended: flushed like what was posted before.
    FlushSends(nic, q.send, q.ending);
  }
}

void OnRecvPosted(const Nic& nic, QueuePair& q, uint32_t producer, uint32_t posted_bytes) {
  const Handler handler(nic, q);
  // The sum of bytes is as old as the index: a stale one must not take the window back.
  const Producer verdict = Judge(producer, q.recv.producer, q.recv.next, q.recv.log2_depth);
  if (verdict == Producer::kStale) return;
  if (verdict == Producer::kNonsense) {
    FailReceive(nic, q, abi::CompletionStatus::kLocalQpOperationError);
    return;
  }
  q.recv.producer = producer;
  q.recv.posted_bytes = posted_bytes;
  switch (q.state) {
    case QpState::kConnected:
      if (q.placement.end_of_stream == kEosDelivered) {
        FlushReceives(nic, q.recv, q.placement, q.ending);
        return;
      }
      AfterProgress(nic, q);
      return;
    case QpState::kConnecting:
      UpdateReceiveWindow(nic, q);
      return;
    case QpState::kClosed:
      FlushReceives(nic, q.recv, q.placement, q.ending);
      return;
    default:
      return;
  }
}

/// After an overflow any doorbell may have been lost: read all indices, have everybody who waits
/// look again (commands are announced again by whoever waits for their answer).
void ScanAllQueues(const Nic& nic) {
  nic.Count(abi::NicCounter::kDoorbellOverflows);
  for (uint32_t i = 0; i < nic.state.config.max_qps; ++i) {
    QueuePair* q = QueuePairOfHost(nic, i);
    if (q == nullptr) continue;
    TakePostedSends(nic, *q);
    const uint64_t recv = nic.hardware.HostLoad(q->indices + offsetof(abi::QueueIndices, recv));
    OnRecvPosted(nic, *q, static_cast<uint32_t>(recv), static_cast<uint32_t>(recv >> 32));
  }
  for (uint32_t i = 0; i < nic.state.config.max_cqs; ++i) {
    if (nic.cq(i).in_use) {
      nic.hardware.Interrupt(InterruptKind::kCompletion, i);
    }
  }
  nic.hardware.Interrupt(InterruptKind::kEvent, 0);
}

void Dispatch(const Nic& nic, const abi::Doorbell& doorbell) {
  switch (doorbell.kind()) {
    case abi::DoorbellKind::kSendPosted:
      if (QueuePair* q = QueuePairOfHost(nic, doorbell.object()))
        OnSendPosted(nic, *q, doorbell.producer);
      return;
    case abi::DoorbellKind::kRecvPosted:
      if (QueuePair* q = QueuePairOfHost(nic, doorbell.object())) {
        OnRecvPosted(nic, *q, doorbell.producer, doorbell.posted_bytes);
      }
      return;
    case abi::DoorbellKind::kCqArm:
      ArmCompletionQueue(nic, doorbell.object(), doorbell.producer, doorbell.posted_bytes);
      return;
    case abi::DoorbellKind::kCommand:
      // Several callers may ring out of order: only forward, and never more than the ring holds.
      if (Judge(doorbell.producer, nic.state.command_producer, nic.state.command_consumer,
                nic.state.config.command_log2) == Producer::kForward) {
        nic.state.command_producer = doorbell.producer;
      }
      return;
    case abi::DoorbellKind::kNone:
      return;
  }
}

/// Whether `later` says of the same queue's receives all that `earlier` does: producer index and
/// bytes are sums.
bool SaysItAll(const abi::Doorbell& earlier, const abi::Doorbell& later) {
  return later.kind_and_object == earlier.kind_and_object &&
         earlier.kind() == abi::DoorbellKind::kRecvPosted &&
         static_cast<int32_t>(later.producer - earlier.producer) > 0;
}

/// Pops up to kDoorbellsAtATime. What the window has to follow is seldom one receive: an
/// application posts anew what it has polled.
uint32_t DispatchAll(const Nic& nic) {
  abi::Doorbell doorbells[2];
  uint32_t taken = 0;
  bool more = nic.hardware.DoorbellPop(&doorbells[0]) != 0;
  while (more) {
    const abi::Doorbell& current = doorbells[taken & 1];
    abi::Doorbell& next = doorbells[~taken & 1];
    ++taken;
    more = taken < kDoorbellsAtATime && nic.hardware.DoorbellPop(&next) != 0;
    if (!more || !SaysItAll(current, next)) Dispatch(nic, current);
  }
  nic.Count(abi::NicCounter::kDoorbells, taken);
  return taken;
}

}  // namespace

uint32_t TakeDoorbells(const Nic& nic) {
  const uint32_t taken = DispatchAll(nic);
  uint32_t& busy_turns = nic.state.busy_doorbell_turns;
  if (taken == kDoorbellsAtATime && ++busy_turns < kBusyTurns) return taken;
  busy_turns = 0;
  if (nic.hardware.DoorbellOverflowed() == 0) return taken;
  ScanAllQueues(nic);
  return taken != 0 ? taken : 1;
}

void TakePostedSends(const Nic& nic, QueuePair& q) {
  OnSendPosted(nic, q, static_cast<uint32_t>(nic.hardware.HostLoad(q.indices)));
}

}  // namespace qpip::fw

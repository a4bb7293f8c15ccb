#include "nic_fw/receive_window.h"

#include "nic_fw/framing.h"
#include "nic_fw/timers.h"
#include "protocols/tcp/machine.h"

namespace qpip::fw {
namespace {

/// Bytes of sequence space from rcv.nxt on for which there are receives.
uint32_t WindowOf(const QueuePair& q) {
  // Bytes accepted but unplaced, and those in the overflow pool, will use up receives before
  // anything new does.
  const uint32_t unplaced = q.tcb.rcv.unplaced;
  const uint32_t spoken_for = unplaced + q.pool.used;
  const uint32_t room = FramingOf(q.recv).room(q.recv, q.placement.framing);
  uint32_t window = room > spoken_for ? room - spoken_for : 0;
  if (window != 0) {
    // A scaled window counts in units; rounded down, a small receive could never be offered. The
    // few bytes that rounding up promises too much have their place in the overflow pool
    // (docs/decisions/0004-window-rounding.md).
    const uint32_t unit_mask = tcp::WindowUnit(q.tcb) - 1;
    window = ((window + unplaced + unit_mask) & ~unit_mask) - unplaced;
  }
  // What is advertised must have a place even if short messages use up all receives: the
  // reservation bounds it.
  const uint32_t reserved = q.pool.used + unplaced;
  const uint32_t pool_room = q.pool.bytes > reserved ? q.pool.bytes - reserved : 0;
  return window < pool_room ? window : pool_room;
}

}  // namespace

void UpdateReceiveWindow(const Nic& nic, QueuePair& q) {
  if (q.type != abi::QpType::kTcp || q.tcb.state == tcp::State::kClosed) return;
  const uint32_t window = WindowOf(q);
  if (!FramingOf(q.recv).keeps_boundaries) tcp::NoteReceives(q.tcb, q.recv.producer - q.recv.next);
  const uint64_t deadline = q.tcb.rcv.window_deadline;
  tcp::SetReceiveWindow(q.tcb, window, nic.now);
  if (q.tcb.rcv.window_deadline < deadline) UpdateTimer(nic, q);
}

}  // namespace qpip::fw

#include "nic_fw/timers.h"

#include "protocols/tcp/machine.h"

namespace qpip::fw {
namespace {

struct Heap {
  const Nic& nic;
  uint32_t* entries;

  uint64_t Key(uint32_t position) const { return nic.qp(entries[position]).timer.deadline; }
  void Put(uint32_t position, uint32_t handle) const {
    entries[position] = handle;
    nic.qp(handle).timer.position = position;
  }
  void SiftUp(uint32_t position) const {
    const uint32_t handle = entries[position];
    const uint64_t key = nic.qp(handle).timer.deadline;
    while (position > 0) {
      const uint32_t parent = (position - 1) / 2;
      if (Key(parent) <= key) break;
      Put(position, entries[parent]);
      position = parent;
    }
    Put(position, handle);
  }
  void SiftDown(uint32_t position) const {
    const uint32_t count = nic.state.timer_count;
    const uint32_t handle = entries[position];
    const uint64_t key = nic.qp(handle).timer.deadline;
    for (;;) {
      uint32_t child = 2 * position + 1;
      if (child >= count) break;
      if (child + 1 < count && Key(child + 1) < Key(child)) ++child;
      if (Key(child) >= key) break;
      Put(position, entries[child]);
      position = child;
    }
    Put(position, handle);
  }
};

Heap HeapOf(const Nic& nic) { return {nic, nic.Table(nic.state.tables.timers)}; }

void File(const Nic& nic, QueuePair& q, uint64_t deadline) {
  if (deadline >= q.timer.deadline) return;  // lazy: also covers "none" on both sides
  const Heap heap = HeapOf(nic);
  q.timer.deadline = deadline;
  if (q.timer.position == kNone) heap.Put(nic.state.timer_count++, q.handle);
  heap.SiftUp(q.timer.position);
}

}  // namespace

void FileUnfiled(const Nic& nic) {
  QueuePair& q = nic.qp(nic.state.unfiled_timer);
  nic.state.unfiled_timer = kNone;
  const uint64_t deadline = tcp::NextDeadline(q.tcb);
  File(nic, q, deadline < q.ending.deadline ? deadline : q.ending.deadline);
}

void CancelTimer(const Nic& nic, QueuePair& q) {
  if (nic.state.unfiled_timer == q.handle) nic.state.unfiled_timer = kNone;
  if (q.timer.position == kNone) return;
  const Heap heap = HeapOf(nic);
  const uint32_t hole = q.timer.position;
  const uint32_t last = --nic.state.timer_count;
  q.timer.position = kNone;
  q.timer.deadline = tcp::kNever;
  if (hole == last) return;
  heap.Put(hole, heap.entries[last]);
  heap.SiftUp(hole);
  heap.SiftDown(nic.qp(heap.entries[hole]).timer.position);
}

uint64_t EarliestTimer(const Nic& nic) {
  if (nic.state.timer_count == 0) return tcp::kNever;
  return HeapOf(nic).Key(0);
}

uint32_t PopDueTimer(const Nic& nic) {
  FileTimer(nic);
  if (nic.state.timer_count == 0) return kNone;
  const Heap heap = HeapOf(nic);
  if (heap.Key(0) > nic.now) return kNone;
  const uint32_t handle = heap.entries[0];
  CancelTimer(nic, nic.qp(handle));
  return handle;
}

}  // namespace qpip::fw

#include "nic_fw/events.h"

#include <cstring>

#include "nic_fw/completion.h"

namespace qpip::fw {
namespace {

abi::Event EventOf(const QueuePair& q, abi::EventKind kind, uint8_t status) {
  abi::Event event;
  event.kind = static_cast<uint8_t>(kind);
  event.status = status;
  event.object = q.handle;
  event.local_port = q.tuple.local_port;
  event.remote_port = q.tuple.remote_port;
  std::memcpy(event.remote_address.bytes, q.tuple.remote_address.bytes, 16);
  return event;
}

}  // namespace

void SetQpState(const Nic& nic, QueuePair& q, QpState state) {
  nic.Trace(kTraceQpState, q.handle, static_cast<uint32_t>(q.state), static_cast<uint32_t>(state));
  q.state = state;
}

void TraceTcpState(const Nic& nic, const QueuePair& q, tcp::State before) {
  if (q.tcb.state == before) return;
  nic.Trace(kTraceTcpState, q.handle, static_cast<uint32_t>(before),
            static_cast<uint32_t>(q.tcb.state));
}

void Report(const Nic& nic, const QueuePair& q, abi::EventKind kind, uint8_t status) {
  if (q.ending.destroy_wanted || q.state == QpState::kOrphan) return;
  WriteEvent(nic, EventOf(q, kind, status));
}

void ReportEstablished(const Nic& nic, const QueuePair& q) {
  abi::Event event = EventOf(q, abi::EventKind::kEstablished, 0);
  event.listener = q.listener == kNone ? 0 : q.listener + 1;
  WriteEvent(nic, event);
}

void ReportDestroyed(const Nic& nic, const QueuePair& q) {
  abi::Event event;
  event.kind = static_cast<uint8_t>(abi::EventKind::kCommandDone);
  event.id = q.ending.destroy_command;
  event.object = q.handle;
  WriteEvent(nic, event);
}

void Notify(const Nic& nic, QueuePair& q, uint32_t notices) {
  q.notices.pending |= notices;
  if (q.notices.announced) return;
  q.notices.announced = true;
  Report(nic, q, abi::EventKind::kNotice, 0);
}

}  // namespace qpip::fw

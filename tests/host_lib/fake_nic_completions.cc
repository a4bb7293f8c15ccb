// What the fake NIC tells its host of: events and completions, and what tests ask it to say.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <stdexcept>

#include "fake_nic.h"

namespace qpip::test {

namespace {

// As kDmaPublish: the last word is stored last.
template <typename T>
void Publish(const T& entry, T* to) {
  std::memcpy(static_cast<void*>(to), &entry, sizeof(T) - sizeof(uint32_t));
  std::atomic_ref<uint32_t>(to->valid).store(entry.valid, std::memory_order_release);
}

}  // namespace

void FakeNic::PushEvent(abi::Event event) {
  event.valid = abi::CqeLap(event_producer_, rings_.event_log2);
  auto* ring = At<abi::Event>(rings_.event_ring);
  Publish(event, &ring[event_producer_++ & ((1u << rings_.event_log2) - 1)]);
  handler_->OnEventInterrupt();
}

void FakeNic::PushCqe(uint32_t handle, abi::Cqe cqe) {
  Cq& cq = cqs_.at(handle);
  const uint32_t size = 1u << cq.setup.log2_size;
  const auto consumer = static_cast<uint32_t>(LoadAcquire(At<uint64_t>(cq.setup.consumer)));
  Promise(cq.producer - consumer < size, "the completion queue has room");
  cqe.valid = abi::CqeLap(cq.producer, cq.setup.log2_size);
  Publish(cqe, &At<abi::Cqe>(cq.setup.ring)[cq.producer & (size - 1)]);
  ++cq.producer;
  if (cq.armed && static_cast<int32_t>(cq.producer - cq.armed_index) > 0) {
    cq.armed = false;
    handler_->OnCompletionInterrupt(handle);
  }
}

void FakeNic::PushSendCqe(uint32_t handle, uint32_t index, abi::CompletionStatus status,
                          abi::DisconnectReason reason) {
  Qp& qp = qps_.at(handle);
  const abi::SendWqe header = FetchLocked(qp, index).header;
  abi::Cqe cqe;
  cqe.qp = handle;
  cqe.wqe_index = index;
  cqe.opcode = Byte(abi::CompletionOpcode::kSend);
  cqe.status = Byte(status);
  cqe.byte_length = header.length;
  cqe.vendor_error = Byte(reason);
  qp.send_completed = index + 1;
  PushCqe(qp.setup.send_cq, cqe);
}

uint32_t FakeNic::PushRecvCqe(uint32_t handle, std::span<const std::byte> data, abi::Cqe cqe) {
  Qp& qp = qps_.at(handle);
  if (qp.recv_completed == qp.recv_producer) throw std::logic_error("no receive is posted");
  const uint32_t index = qp.recv_completed++;
  std::vector<abi::Sge> list;
  FetchRecvLocked(qp, index, &list);
  cqe.qp = handle;
  cqe.wqe_index = index;
  cqe.opcode = Byte(abi::CompletionOpcode::kRecv);
  cqe.byte_length = static_cast<uint32_t>(data.size());
  for (const abi::Sge& sge : list) {
    const size_t bytes = std::min<size_t>(sge.length, data.size());
    if (bytes != 0) std::memcpy(reinterpret_cast<void*>(sge.address), data.data(), bytes);
    data = data.subspan(bytes);
  }
  PushCqe(qp.setup.recv_cq, cqe);
  return index;
}

void FakeNic::CompleteSend(uint32_t qp, uint32_t index, abi::CompletionStatus status) {
  const std::lock_guard lock(core_);
  DriveLocked();
  PushSendCqe(qp, index, status);
}

uint32_t FakeNic::CompleteRecv(uint32_t qp, std::span<const std::byte> data,
                               abi::CompletionStatus status, uint32_t flags) {
  const std::lock_guard lock(core_);
  DriveLocked();
  abi::Cqe cqe;
  cqe.status = Byte(status);
  cqe.flags = flags;
  return PushRecvCqe(qp, data, cqe);
}

void FakeNic::CompleteDatagram(uint32_t qp, std::span<const std::byte> data,
                               const abi::Ip6Address& from, uint16_t port) {
  const std::lock_guard lock(core_);
  DriveLocked();
  abi::Cqe cqe;
  cqe.peer_address = from;
  cqe.peer_port = port;
  PushRecvCqe(qp, data, cqe);
}

void FakeNic::EndOfStream(uint32_t qp) { CompleteRecv(qp, {}, {}, abi::kCqeEndOfStream); }

void FakeNic::Flush(uint32_t qp, abi::CompletionStatus head, abi::DisconnectReason reason) {
  const std::lock_guard lock(core_);
  DriveLocked();
  FlushLocked(qp, head, reason);
}

void FakeNic::FlushLocked(uint32_t handle, abi::CompletionStatus head,
                          abi::DisconnectReason reason) {
  const auto found = qps_.find(handle);
  if (found == qps_.end()) return;
  Qp& qp = found->second;
  while (qp.send_completed != qp.send_producer) {
    PushSendCqe(handle, qp.send_completed, head, reason);
    head = abi::CompletionStatus::kFlushed;
  }
  abi::Cqe cqe;
  cqe.status = Byte(abi::CompletionStatus::kFlushed);
  cqe.vendor_error = Byte(reason);
  while (qp.recv_completed != qp.recv_producer) PushRecvCqe(handle, {}, cqe);
}

void FakeNic::RaiseTrouble(const abi::Trouble& trouble) {
  {
    const std::lock_guard lock(core_);
    handler_->OnTrouble(trouble);
  }
  handler_->TellTroubles();
}

void FakeNic::RaiseEvent(abi::EventKind kind, uint32_t object, uint8_t status) {
  const std::lock_guard lock(core_);
  DriveLocked();
  abi::Event event;
  event.kind = Byte(kind);
  event.status = status;
  event.object = object;
  PushEvent(event);
}

void FakeNic::Established(uint32_t qp, uint32_t listener, const abi::Ip6Address& from,
                          uint16_t port, uint16_t local_port) {
  abi::Event event;
  event.kind = Byte(abi::EventKind::kEstablished);
  event.object = qp;
  event.remote_address = from;
  event.remote_port = port;
  event.local_port = local_port;
  event.listener = listener;
  PushEvent(event);
}

uint32_t FakeNic::Mate(uint32_t handle, const abi::Ip6Address& from, uint16_t port) {
  const std::lock_guard lock(core_);
  DriveLocked();
  Listener& listener = listeners_.at(handle);
  if (listener.offered.empty()) throw std::logic_error("no queue pair is offered");
  const uint32_t qp = listener.offered.front();
  listener.offered.pop_front();
  Established(qp, handle + 1, from, port, listener.port);
  return qp;
}

void FakeNic::Pipe(uint32_t a, uint32_t b) {
  qps_.at(a).pipe_to = b;
  qps_.at(b).pipe_to = a;
}

bool FakeNic::MovePipes() {
  bool any = false;
  for (auto& [handle, qp] : qps_) {
    if (!qp.pipe_to || !qps_.contains(*qp.pipe_to)) continue;
    Qp& to = qps_.at(*qp.pipe_to);
    while (qp.send_completed != qp.send_producer) {
      const FetchedSend send = FetchLocked(qp, qp.send_completed);
      to.piped.insert(to.piped.end(), send.inline_data.begin(), send.inline_data.end());
      for (const abi::Sge& sge : send.list) {
        const auto* bytes = reinterpret_cast<const std::byte*>(sge.address);
        to.piped.insert(to.piped.end(), bytes, bytes + sge.length);
      }
      PushSendCqe(handle, qp.send_completed, abi::CompletionStatus::kSuccess);
      any = true;
    }
    while (!to.piped.empty() && to.recv_completed != to.recv_producer) {
      const uint32_t room = FetchRecvLocked(to, to.recv_completed, nullptr).length;
      const size_t bytes = std::min<size_t>(room, to.piped.size());
      PushRecvCqe(*qp.pipe_to, std::span(to.piped).first(bytes), {});
      to.piped.erase(to.piped.begin(), to.piped.begin() + static_cast<ptrdiff_t>(bytes));
      any = true;
    }
  }
  return any;
}

uint32_t FakeNic::SendsPosted(uint32_t qp) {
  const std::lock_guard lock(core_);
  DriveLocked();
  return qps_.at(qp).send_producer;
}

uint32_t FakeNic::RecvsPosted(uint32_t qp) {
  const std::lock_guard lock(core_);
  DriveLocked();
  return qps_.at(qp).recv_producer;
}

FetchedSend FakeNic::Fetch(uint32_t qp, uint32_t index) {
  const std::lock_guard lock(core_);
  DriveLocked();
  return FetchLocked(qps_.at(qp), index);
}

abi::RecvWqe FakeNic::FetchRecv(uint32_t qp, uint32_t index, std::vector<abi::Sge>* list) {
  const std::lock_guard lock(core_);
  DriveLocked();
  return FetchRecvLocked(qps_.at(qp), index, list);
}

FetchedSend FakeNic::FetchLocked(const Qp& qp, uint32_t index) const {
  const uint64_t slot = index & ((1u << qp.setup.send_log2_depth) - 1);
  const auto* entry = At<const std::byte>(qp.setup.send_ring + (slot << qp.setup.send_log2_stride));
  FetchedSend send;
  std::memcpy(static_cast<void*>(&send.header), entry, sizeof(send.header));
  const std::byte* body = entry + sizeof(send.header);
  send.inline_data.assign(body, body + send.header.inline_length);
  if (send.header.sge_count != 0) {
    send.list.resize(send.header.sge_count);
    std::memcpy(static_cast<void*>(send.list.data()), body, send.list.size() * sizeof(abi::Sge));
  }
  return send;
}

abi::RecvWqe FakeNic::FetchRecvLocked(const Qp& qp, uint32_t index,
                                      std::vector<abi::Sge>* list) const {
  const uint64_t slot = index & ((1u << qp.setup.recv_log2_depth) - 1);
  const auto* entry = At<const std::byte>(qp.setup.recv_ring + (slot << qp.setup.recv_log2_stride));
  abi::RecvWqe wqe;
  std::memcpy(static_cast<void*>(&wqe), entry, sizeof(wqe));
  if (list != nullptr && wqe.sge_count != 0) {
    list->resize(wqe.sge_count);
    std::memcpy(static_cast<void*>(list->data()), entry + sizeof(wqe),
                list->size() * sizeof(abi::Sge));
  }
  return wqe;
}

size_t FakeNic::HeldCount() {
  const std::lock_guard lock(core_);
  return held_commands_.size();
}

uint32_t FakeNic::Count(abi::CommandOpcode opcode) const {
  return static_cast<uint32_t>(std::count_if(
      commands.begin(), commands.end(),
      [opcode](const abi::Command& command) { return command.opcode == Byte(opcode); }));
}

uint32_t FakeNic::Doorbells(abi::DoorbellKind kind) {
  const std::lock_guard lock(fifo_mutex_);
  return doorbells_[kind];
}

}  // namespace qpip::test

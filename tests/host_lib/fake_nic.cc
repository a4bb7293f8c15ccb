#include "fake_nic.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <thread>

namespace qpip::test {

namespace {

template <typename Map>
uint32_t FreeHandle(const Map& map) {
  uint32_t handle = 0;
  while (map.contains(handle)) ++handle;
  return handle;
}

}  // namespace

FakeNic::~FakeNic() {
  for (void* block : shared_blocks_) std::free(block);
}

FakeNic::FakeNic() {
  port_info.address.bytes[0] = 0xfd;
  port_info.address.bytes[15] = 1;
  port_info.mtu = 1500;
  port_info.max_qps = 16;
  port_info.max_cqs = 16;
  port_info.max_regions = 64;
  port_info.max_send_depth = 1024;
  port_info.description = "fake:nic?address=fd00::1";
}

void FakeNic::Start(const abi::RingSetup& rings, abi::InterruptHandler* handler) {
  rings_ = rings;
  handler_ = handler;
}

void FakeNic::Stop() { stopped = true; }

void FakeNic::Fork() {
  forked = true;
  handler_->OnForked();
}

void FakeNic::MustNotBeForked(const char* what) {
  if (forked) broken_promises.insert(std::string(what) + " in a forked child");
}

void FakeNic::RingDoorbell(const abi::Doorbell& doorbell) {
  MustNotBeForked("doorbell");
  {
    const std::lock_guard lock(fifo_mutex_);
    ++doorbells_[doorbell.kind()];
    if (!lose_doorbells) {
      fifo_.push_back(doorbell);
      return;
    }
    overflowed_ = true;
  }
  if (scan_at_once) Drive(false);
}

uint64_t FakeNic::DmaAddress(const void* address) {
  return reinterpret_cast<uintptr_t>(address) + kBusOffset;
}

void* FakeNic::AllocateShared(size_t bytes) {
  MustNotBeForked("allocation");
  if (!shared_memory) return nullptr;
  void* address = std::aligned_alloc(64, (bytes + 63) & ~size_t{63});
  std::memset(address, 0, bytes);
  shared_bytes += bytes;
  shared_blocks_.insert(address);
  return address;
}

void FakeNic::FreeShared(void* address, size_t bytes) {
  MustNotBeForked("freeing");
  shared_bytes -= bytes;
  shared_blocks_.erase(address);
  std::free(address);
}

bool FakeNic::Drive(bool /*until_notification*/) {
  MustNotBeForked("drive");
  const std::unique_lock lock(core_, std::try_to_lock);
  return lock.owns_lock() && DriveLocked();
}

void FakeNic::DriveUntil(const uint32_t* word, uint32_t expected, uint64_t deadline_ns) {
  const std::atomic_ref<uint32_t> value(*const_cast<uint32_t*>(word));
  while (value.load(std::memory_order_acquire) == expected) {
    if (Drive(false)) continue;
    if (threaded) {
      if (when_waiting) when_waiting();
      std::this_thread::yield();
      return;
    }
    ++idle_sleeps;
    if (!when_idle.empty()) {
      const auto action = std::move(when_idle.front());
      when_idle.pop_front();
      action();
      continue;
    }
    if (deadline_ns == UINT64_MAX) throw std::logic_error("the host would sleep for ever");
    now_ns = std::max(now_ns, deadline_ns);
    return;
  }
}

void FakeNic::Sleep(const uint32_t*, uint32_t, uint64_t) {
  throw std::logic_error("the library sleeps through HostPort::DriveUntil only");
}

void FakeNic::Wake(const uint32_t*) {}

void FakeNic::Promise(bool kept, const char* what) {
  if (!kept) broken_promises.insert(what);
}

bool FakeNic::DriveLocked() {
  ++drives;
  bool progress = false;
  for (;;) {
    abi::Doorbell doorbell;
    {
      const std::lock_guard lock(fifo_mutex_);
      if (fifo_.empty()) break;
      doorbell = fifo_.front();
      fifo_.pop_front();
    }
    progress |= OnDoorbell(doorbell);
  }
  bool overflowed;
  {
    const std::lock_guard lock(fifo_mutex_);
    overflowed = overflowed_;
    overflowed_ = false;
    if (overflowed) lose_doorbells = false;
  }
  if (overflowed) {
    ScanAll();
    progress = true;
  }
  progress |= FetchCommands();
  progress |= MovePipes();
  return progress;
}

bool FakeNic::OnDoorbell(const abi::Doorbell& doorbell) {
  switch (doorbell.kind()) {
    case abi::DoorbellKind::kSendPosted:
      OnSendPosted(doorbell.object(), doorbell.producer);
      return true;
    case abi::DoorbellKind::kRecvPosted:
      OnRecvPosted(doorbell.object(), doorbell.producer, doorbell.posted_bytes);
      return true;
    case abi::DoorbellKind::kCqArm:
      OnArm(doorbell.object(), doorbell.producer);
      return true;
    case abi::DoorbellKind::kCommand:
      Promise(static_cast<int32_t>(doorbell.producer - command_producer_) >= 0,
              "command producer goes forward");
      command_producer_ = doorbell.producer;
      return true;
    case abi::DoorbellKind::kNone:
      break;
  }
  Promise(false, "doorbells have a kind");
  return false;
}

void FakeNic::OnSendPosted(uint32_t handle, uint32_t producer) {
  const auto found = qps_.find(handle);
  if (found == qps_.end()) return;
  Qp& qp = found->second;
  const uint32_t depth = 1u << qp.setup.send_log2_depth;
  if (static_cast<int32_t>(producer - qp.send_producer) <= 0) return;  // overtaken by a newer one
  Promise(producer - qp.send_completed <= depth, "the send ring is not overwritten");
  Promise(static_cast<uint32_t>(LoadAcquire(At<uint64_t>(qp.setup.indices))) - producer <= depth,
          "the send index word is stored before the doorbell");
  qp.send_producer = producer;
  if (!complete_sends) return;
  while (qp.send_completed != qp.send_producer) {
    const uint32_t index = qp.send_completed;
    if ((FetchLocked(qp, index).header.flags & abi::kSendSignaled) != 0) {
      PushSendCqe(handle, index, abi::CompletionStatus::kSuccess);
    } else {
      ++qp.send_completed;
    }
  }
}

void FakeNic::OnRecvPosted(uint32_t handle, uint32_t producer, uint32_t posted_bytes) {
  const auto found = qps_.find(handle);
  if (found == qps_.end()) return;
  Qp& qp = found->second;
  if (static_cast<int32_t>(producer - qp.recv_producer) <= 0) return;  // overtaken by a newer one
  Promise(producer - qp.recv_completed <= (1u << qp.setup.recv_log2_depth),
          "the receive ring is not overwritten");
  for (; qp.recv_producer != producer; ++qp.recv_producer) {
    qp.posted_bytes += FetchRecvLocked(qp, qp.recv_producer, nullptr).length;
  }
  Promise(posted_bytes == qp.posted_bytes, "posted bytes add up");
}

void FakeNic::OnArm(uint32_t handle, uint32_t consumer) {
  Cq& cq = cqs_.at(handle);
  cq.armed = static_cast<int32_t>(cq.producer - consumer) <= 0;
  cq.armed_index = consumer;
  if (!cq.armed) handler_->OnCompletionInterrupt(handle);
}

bool FakeNic::FetchCommands() {
  bool any = false;
  while (command_consumer_ != command_producer_) {
    const uint32_t slot = command_consumer_++ & ((1u << rings_.command_log2) - 1);
    const abi::Command command = At<abi::Command>(rings_.command_ring)[slot];
    Promise(command.id == command_consumer_ - 1, "command ids tell the ring index");
    commands.push_back(command);
    if (held.contains(static_cast<abi::CommandOpcode>(command.opcode))) {
      held_commands_.push_back(command);
    } else {
      Execute(command);
    }
    any = true;
  }
  return any;
}

void FakeNic::ScanAll() {
  for (auto& [handle, qp] : qps_) {
    OnSendPosted(handle, static_cast<uint32_t>(LoadAcquire(At<uint64_t>(qp.setup.indices))));
    const uint64_t recv =
        LoadAcquire(At<uint64_t>(qp.setup.indices + offsetof(abi::QueueIndices, recv)));
    OnRecvPosted(handle, static_cast<uint32_t>(recv), static_cast<uint32_t>(recv >> 32));
  }
  for (auto& [handle, cq] : cqs_) handler_->OnCompletionInterrupt(handle);
  handler_->OnEventInterrupt();
}

void FakeNic::Release(bool reversed) {
  const std::lock_guard lock(core_);
  std::vector<abi::Command> release;
  release.swap(held_commands_);
  if (reversed) std::reverse(release.begin(), release.end());
  for (const abi::Command& command : release) Execute(command);
}

void FakeNic::Execute(const abi::Command& command) {
  uint32_t result[4] = {};
  std::optional<abi::CommandStatus> status;
  if (refuse) status = refuse(command);
  if (!status) status = Perform(command, result);
  Answer(command, *status, result);
  if (*status != abi::CommandStatus::kOk) return;
  if (static_cast<abi::CommandOpcode>(command.opcode) != abi::CommandOpcode::kConnect) return;
  // After the answer, as the ABI says.
  const abi::Connect& connect = command.connect;
  if (connect_outcome.event == abi::EventKind::kEstablished) {
    Established(connect.qp, 0, connect.remote_address, connect.remote_port,
                connect.local_port != 0 ? connect.local_port : next_port_++);
  } else if (connect_outcome.event) {
    abi::Event event;
    event.kind = Byte(*connect_outcome.event);
    event.status = Byte(connect_outcome.reason);
    event.object = connect.qp;
    PushEvent(event);
  }
}

abi::CommandStatus FakeNic::Perform(const abi::Command& command, uint32_t* result) {
  using abi::CommandOpcode;
  using abi::CommandStatus;
  switch (static_cast<CommandOpcode>(command.opcode)) {
    case CommandOpcode::kRegisterMemory:
      keys_.insert(result[0] = next_key_++);
      return CommandStatus::kOk;
    case CommandOpcode::kDeregisterMemory:
      return keys_.erase(command.deregister_memory.key) == 1 ? CommandStatus::kOk
                                                             : CommandStatus::kBadHandle;
    case CommandOpcode::kCreateCq:
      result[0] = FreeHandle(cqs_);
      cqs_[result[0]].setup = command.create_cq;
      return CommandStatus::kOk;
    case CommandOpcode::kDestroyCq:
      return cqs_.erase(command.destroy_cq.cq) == 1 ? CommandStatus::kOk
                                                    : CommandStatus::kBadHandle;
    case CommandOpcode::kCreateQp:
      result[0] = FreeHandle(qps_);
      qps_[result[0]].setup = command.create_qp;
      return CommandStatus::kOk;
    case CommandOpcode::kDestroyQp:
      for (auto& [handle, listener] : listeners_) std::erase(listener.offered, command.qp.qp);
      FlushLocked(command.qp.qp, abi::CompletionStatus::kFlushed, abi::DisconnectReason::kAborted);
      return qps_.erase(command.qp.qp) == 1 ? CommandStatus::kOk : CommandStatus::kBadHandle;
    case CommandOpcode::kListen:
      result[0] = FreeHandle(listeners_);
      result[1] = command.listen.port != 0 ? command.listen.port : next_port_++;
      listeners_[result[0]].port = static_cast<uint16_t>(result[1]);
      return CommandStatus::kOk;
    case CommandOpcode::kCloseListener:
      listeners_.erase(command.close_listener.listener);
      return CommandStatus::kOk;
    case CommandOpcode::kOffer:
      listeners_.at(command.offer.listener).offered.push_back(command.offer.qp);
      return CommandStatus::kOk;
    case CommandOpcode::kAbort:
      for (auto& [handle, listener] : listeners_) std::erase(listener.offered, command.qp.qp);
      if (aborts_later) return CommandStatus::kOk;
      FlushLocked(command.qp.qp, abi::CompletionStatus::kFlushed, abi::DisconnectReason::kAborted);
      return CommandStatus::kOk;
    case CommandOpcode::kBindUdp:
      result[0] = command.bind_udp.port != 0 ? command.bind_udp.port : next_port_++;
      return CommandStatus::kOk;
    case CommandOpcode::kTakeNotices:
      std::copy(notices.begin(), notices.end(), result);
      return CommandStatus::kOk;
    case CommandOpcode::kAdopt:  // it has no RDMA queue pairs
    case CommandOpcode::kAllocateWindow:
    case CommandOpcode::kQueryTerminate:
      return CommandStatus::kBadCommand;
    case CommandOpcode::kQueryCounters: {
      auto* words = At<uint64_t>(command.query_counters.address);
      for (uint32_t i = 0; i < command.query_counters.bytes / 8; ++i) words[i] = 1000 + i;
      return CommandStatus::kOk;
    }
    case CommandOpcode::kNop:
    case CommandOpcode::kConnect:
    case CommandOpcode::kShutdown:
    case CommandOpcode::kQueryQp:
      return CommandStatus::kOk;
  }
  return CommandStatus::kBadCommand;
}

void FakeNic::Answer(const abi::Command& command, abi::CommandStatus status,
                     const uint32_t* result) {
  abi::Event event;
  event.kind = Byte(abi::EventKind::kCommandDone);
  event.status = Byte(status);
  event.id = command.id;
  std::copy_n(result, 4, event.result);
  PushEvent(event);
}

}  // namespace qpip::test

#include "nic_fw/management_fsm.h"

#include <cstring>

#include "nic_fw/backlog.h"
#include "nic_fw/completion.h"
#include "nic_fw/demux.h"
#include "nic_fw/doorbell_fsm.h"
#include "nic_fw/ending.h"
#include "nic_fw/ephemeral_port.h"
#include "nic_fw/events.h"
#include "nic_fw/framing.h"
#include "nic_fw/listener.h"
#include "nic_fw/memory.h"
#include "nic_fw/memory_key.h"
#include "nic_fw/memory_window.h"
#include "nic_fw/opening.h"
#include "nic_fw/rdma_connection.h"
#include "nic_fw/rdma_queue.h"
#include "nic_fw/schedule.h"
#include "nic_fw/transmit_context.h"

namespace qpip::fw {
namespace {

using abi::CommandStatus;

struct Result {
  CommandStatus status = CommandStatus::kOk;
  uint32_t values[4] = {};
};
constexpr Result Status(CommandStatus status) { return {status, {}}; }

void Answer(const Nic& nic, const Result& result) {
  abi::Event event;
  event.kind = static_cast<uint8_t>(abi::EventKind::kCommandDone);
  event.status = static_cast<uint8_t>(result.status);
  event.id = nic.state.command.id;
  std::memcpy(event.result, result.values, sizeof(event.result));
  nic.state.command_stage = kCommandIdle;
  WriteEvent(nic, event);
  nic.Charge(Stage::kManagement, Variant::kControl);
}

bool ValidCq(const Nic& nic, uint32_t handle) {
  return handle < nic.state.config.max_cqs && nic.cq(handle).in_use && !nic.cq(handle).failed;
}

Result CreateCq(const Nic& nic, const abi::CreateCq& c) {
  if (c.log2_size < 1 || c.log2_size > 20 || (c.ring & 63) != 0 || (c.consumer & 7) != 0) {
    return Status(CommandStatus::kBadCommand);
  }
  for (uint32_t i = 0; i < nic.state.config.max_cqs; ++i) {
    CompletionQueueState& cq = nic.cq(i);
    if (cq.in_use) continue;
    cq = CompletionQueueState{};
    cq.in_use = true;
    cq.ring = c.ring;
    cq.consumer_address = c.consumer;
    cq.log2_size = static_cast<uint8_t>(c.log2_size);
    return {CommandStatus::kOk, {i}};
  }
  return Status(CommandStatus::kNoResource);
}

Result DestroyCq(const Nic& nic, const abi::DestroyCq& c) {
  if (c.cq >= nic.state.config.max_cqs || !nic.cq(c.cq).in_use) {
    return Status(CommandStatus::kBadHandle);
  }
  if (nic.cq(c.cq).references != 0) return Status(CommandStatus::kBusy);
  nic.cq(c.cq).in_use = false;
  return {};
}

bool GoodQpRequest(const Nic& nic, const abi::CreateQp& c) {
  const bool tcp = c.type == static_cast<uint8_t>(abi::QpType::kTcp);
  const bool udp = c.type == static_cast<uint8_t>(abi::QpType::kUdp);
  const Framing* row = FindFraming(c.framing);
  const bool framing = row != nullptr && !row->datagrams;
  const bool rdma = c.framing == static_cast<uint8_t>(abi::Framing::kMpa);
  const bool waits = (c.flags & abi::kQpWaitForReceive) != 0;
  const uint32_t least = abi::kMinRdmaPool + (waits ? abi::kRdmaWaitingBytes : 0);
  if (rdma && (!tcp || c.overflow_bytes < least)) return false;
  const bool stream = framing && !row->keeps_boundaries;
  const bool traffic_class = (c.traffic_class & 3) == 0;  // RFC 3168: those are TCP's
  const bool nagle = (c.flags & abi::kQpNagle) != 0;
  const bool flags = (c.flags & ~(abi::kQpNagle | abi::kQpWaitForReceive)) == 0 &&
                     (!nagle || (tcp && stream)) && (!waits || rdma);
  const uint64_t addresses = c.send_ring | c.recv_ring | c.indices;
  const uint32_t cache = nic.state.config.wqe_cache_bytes;
  const bool strides = c.send_log2_stride >= 6 && (1u << c.send_log2_stride) <= cache &&
                       c.recv_log2_stride >= 5 && (1u << c.recv_log2_stride) <= cache;
  const bool depths =
      c.send_log2_depth <= nic.state.config.send_depth_log2 && c.recv_log2_depth <= 15;
  const bool pool = !tcp || (c.overflow_bytes >= 4096 && c.overflow_bytes <= (1u << 30) &&
                             c.overflow_pool != 0 && (c.overflow_records & 3) == 0);
  return (tcp || udp) && framing && flags && traffic_class && (addresses & 63) == 0 && strides &&
         depths && pool;
}

Result CreateQp(const Nic& nic, const abi::CreateQp& c) {
  // Shifts below rely on these ranges; check them before anything is computed from them.
  if (c.send_log2_stride > 9 || c.recv_log2_stride > 9 || !GoodQpRequest(nic, c)) {
    return Status(CommandStatus::kBadCommand);
  }
  if (!ValidCq(nic, c.send_cq) || !ValidCq(nic, c.recv_cq)) {
    return Status(CommandStatus::kBadHandle);
  }
  const uint32_t handle = AllocateQueuePair(nic);
  if (handle == kNone) return Status(CommandStatus::kNoResource);
  QueuePair& q = nic.qp(handle);
  const bool rdma = c.framing == static_cast<uint8_t>(abi::Framing::kMpa);
  const bool has_state =
      !rdma || TakeRdmaState(nic, q) || (EvictRdmaOrphan(nic) && TakeRdmaState(nic, q));
  if (!has_state) return Status(CommandStatus::kNoResource);
  q.type = static_cast<abi::QpType>(c.type);
  q.send.framing = q.type == abi::QpType::kUdp ? kFramingDatagram : c.framing;
  q.recv.framing = q.send.framing;
  q.send.ring = c.send_ring;
  q.recv.ring = c.recv_ring;
  q.indices = c.indices;
  q.pool.ring = c.overflow_pool;
  q.pool.records = c.overflow_records;
  q.pool.bytes = c.overflow_bytes;
  if ((c.flags & abi::kQpWaitForReceive) != 0) {
    RdmaOf(nic, q).waits = true;
    q.pool.bytes -= abi::kRdmaWaitingBytes;
  }
  q.send.cq = c.send_cq;
  q.recv.cq = c.recv_cq;
  q.protection_domain = c.protection_domain;
  q.send.log2_depth = c.send_log2_depth;
  q.recv.log2_depth = c.recv_log2_depth;
  q.send.log2_stride = c.send_log2_stride;
  q.recv.log2_stride = c.recv_log2_stride;
  q.tcb.options.ack_every = c.ack_every;
  q.tcb.options.ack_delay_us = c.ack_delay_us;
  q.tcb.options.user_timeout_ms = c.user_timeout_ms;
  q.traffic_class = c.traffic_class;
  q.tcb.options.keepalive_idle_s = c.keepalive_idle_s;
  q.tcb.options.nagle = (c.flags & abi::kQpNagle) != 0;
  ++nic.cq(c.send_cq).references;
  ++nic.cq(c.recv_cq).references;
  SetQpState(nic, q, QpState::kIdle);
  return {CommandStatus::kOk, {handle}};
}

Result Connect(const Nic& nic, const abi::Connect& c) {
  QueuePair* q = QueuePairOfHost(nic, c.qp);
  if (q == nullptr || q->type != abi::QpType::kTcp) return Status(CommandStatus::kBadHandle);
  if (q->state != QpState::kIdle || q->rdma != kNone) return Status(CommandStatus::kBadState);
  tcp::FourTuple tuple;
  std::memcpy(tuple.local_address.bytes, nic.state.config.address.bytes, 16);
  std::memcpy(tuple.remote_address.bytes, c.remote_address.bytes, 16);
  tuple.remote_port = c.remote_port;
  tuple.local_port = c.local_port;
  const ipv6::Address& remote = tuple.remote_address;
  // RFC 9293 3.9.1.1 (MUST-46); RFC 4291 2.5.2, 2.5.3: none of them is another node's.
  const bool nobodys = remote.IsUnspecified() || remote.IsLoopback() || remote.IsMulticast();
  if (nobodys || c.remote_port == 0) {
    return Status(CommandStatus::kBadCommand);
  }
  if (tuple.local_port == 0) {
    tuple.local_port = EphemeralPort(nic, [&](uint16_t port) {
      tuple.local_port = port;
      return FindTcp(nic, tuple) == kNone;
    });
  }
  if (tuple.local_port == 0 || FindTcp(nic, tuple) != kNone) {
    return Status(CommandStatus::kAddressInUse);
  }
  q->tuple = tuple;
  InsertDemux(nic, *q);
  StartActiveOpen(nic, *q);
  return {CommandStatus::kOk, {tuple.local_port}};
}

Result Listen(const Nic& nic, const abi::Listen& c) {
  Result result;
  result.status = OpenListener(nic, c.port, c.backlog, &result.values[0]);
  if (result.status == CommandStatus::kOk) result.values[1] = nic.listener(result.values[0]).port;
  return result;
}

Result CloseListenerCommand(const Nic& nic, const abi::CloseListener& c) {
  if (c.listener >= nic.state.config.max_listeners || !nic.listener(c.listener).in_use) {
    return Status(CommandStatus::kBadHandle);
  }
  CloseListener(nic, c.listener);
  return {};
}

Result OfferCommand(const Nic& nic, const abi::Offer& c) {
  QueuePair* q = QueuePairOfHost(nic, c.qp);
  if (q == nullptr || q->type != abi::QpType::kTcp ||
      c.listener >= nic.state.config.max_listeners || !nic.listener(c.listener).in_use) {
    return Status(CommandStatus::kBadHandle);
  }
  if (q->state != QpState::kIdle || q->rdma != kNone) return Status(CommandStatus::kBadState);
  OfferQueuePair(nic, *q, c.listener);
  return {};
}

Result BindUdp(const Nic& nic, const abi::BindUdp& c) {
  QueuePair* q = QueuePairOfHost(nic, c.qp);
  if (q == nullptr || q->type != abi::QpType::kUdp) return Status(CommandStatus::kBadHandle);
  if (q->state != QpState::kIdle) return Status(CommandStatus::kBadState);
  const uint16_t port = c.port != 0 ? c.port : EphemeralPort(nic, [&](uint16_t candidate) {
    return FindUdp(nic, candidate) == kNone;
  });
  if (port == 0 || FindUdp(nic, port) != kNone) return Status(CommandStatus::kAddressInUse);
  q->tuple.local_port = port;
  InsertDemux(nic, *q);
  SetQpState(nic, *q, QpState::kConnected);
  return {CommandStatus::kOk, {port}};
}

Result Shutdown(const Nic& nic, const abi::QpCommand& c) {
  QueuePair* q = QueuePairOfHost(nic, c.qp);
  if (q == nullptr || q->type != abi::QpType::kTcp) return Status(CommandStatus::kBadHandle);
  if (q->state != QpState::kConnected) return Status(CommandStatus::kBadState);
  TakePostedSends(nic, *q);  // they go in front of the end
  if (q->state != QpState::kConnected) return Status(CommandStatus::kBadState);
  q->send.shutdown_wanted = true;
  Activate(nic, q->handle);
  return {};
}

Result Abort(const Nic& nic, const abi::QpCommand& c) {
  QueuePair* q = QueuePairOfHost(nic, c.qp);
  if (q == nullptr) return Status(CommandStatus::kBadHandle);
  if (q->state == QpState::kOffered) {
    WithdrawOffer(nic, *q);
    return {};
  }
  if (q->state == QpState::kConnecting || q->state == QpState::kConnected) {
    AbortConnection(nic, *q);
  }
  return {};
}

Result TakeNotices(const Nic& nic, const abi::QpCommand& c) {
  QueuePair* q = QueuePairOfHost(nic, c.qp);
  if (q == nullptr) return Status(CommandStatus::kBadHandle);
  const uint32_t notices = q->notices.pending;
  q->notices.pending = 0;
  q->notices.announced = false;
  return {CommandStatus::kOk,
          {notices, q->notices.urgent_end, q->notices.icmp_errors, q->notices.last_icmp_error}};
}

Result QueryTerminate(const Nic& nic, const abi::QpCommand& c) {
  const QueuePair* q = QueuePairOfHost(nic, c.qp);
  if (q == nullptr || q->rdma == kNone) return Status(CommandStatus::kBadHandle);
  const RdmaState& r = RdmaOf(nic, *q);
  const bool sent = r.ending != RdmaEnding::kOpen;
  uint32_t flags = 0;
  if (sent) flags |= abi::kTerminateSent;
  if (r.terminate_received) flags |= abi::kTerminateReceived;
  const iwarp::CauseCode& code = r.terminate.code;
  return {CommandStatus::kOk,
          {flags, uint32_t{code.layer} << 16 | uint32_t{code.type} << 8 | code.code}};
}

Result QueryQp(const Nic& nic, const abi::QpCommand& c) {
  const QueuePair* q = QueuePairOfHost(nic, c.qp);
  if (q == nullptr) return Status(CommandStatus::kBadHandle);
  return {CommandStatus::kOk,
          {static_cast<uint32_t>(q->state), static_cast<uint32_t>(q->tcb.state), q->tcb.cwnd,
           q->tcb.snd.wnd}};
}

/// Fetches the next part of a region's page list straight into the translation table.
void FetchPages(const Nic& nic) {
  constexpr uint32_t kPagesAtATime = 512;
  const abi::RegisterMemory& c = nic.state.command.register_memory;
  const uint32_t done = nic.state.command_pages_done;
  const uint32_t rest = c.page_count - done;
  const uint32_t count = rest < kPagesAtATime ? rest : kPagesAtATime;
  uint64_t* table = nic.Table(nic.state.tables.page_entries) +
                    nic.region(nic.state.command_region).first_page + done;
  nic.state.command_stage = kCommandPages;
  nic.state.command_pages_done = done + count;
  nic.hardware.DmaRead(c.page_list + uint64_t{done} * 8, table, count * 8,
                       MakeTag(Tag::kCommand, 0));
}

void AnswerRegistered(const Nic& nic) {
  const uint32_t index = nic.state.command_region;
  Answer(nic, {CommandStatus::kOk, {KeyOf(nic, index)}});
}

void RegisterMemory(const Nic& nic, const abi::RegisterMemory& c) {
  const CommandStatus status = ReserveRegion(nic, c, &nic.state.command_region);
  if (status != CommandStatus::kOk) {
    Answer(nic, Status(status));
    return;
  }
  nic.state.command_pages_done = 0;
  if (c.page_count == 0) {
    AnswerRegistered(nic);
  } else {
    FetchPages(nic);
  }
}

Result DeregisterMemory(const Nic& nic, const abi::DeregisterMemory& c) {
  Region* region = FindSlot(nic, c.key);
  if (region == nullptr) region = FindWindow(nic, c.key);
  if (region == nullptr) return Status(CommandStatus::kBadHandle);
  const auto slot = static_cast<uint32_t>(region - &nic.region(0));
  KeepRefusedAnswers(nic);
  UnbindWindowsOf(nic, slot);
  FreeRegion(nic, slot);
  return {};
}

Result AllocateWindowCommand(const Nic& nic, const abi::AllocateWindow& c) {
  uint32_t slot = 0;
  if (!AllocateWindow(nic, c.protection_domain, &slot)) return Status(CommandStatus::kNoResource);
  return {CommandStatus::kOk, {KeyOf(nic, slot)}};
}

void QueryCounters(const Nic& nic, const abi::QueryCounters& c) {
  const uint32_t bytes = c.bytes < sizeof(nic.state.counters)
                             ? c.bytes & ~7u
                             : static_cast<uint32_t>(sizeof(nic.state.counters));
  if (bytes == 0) {
    Answer(nic, {});
    return;
  }
  nic.state.command_stage = kCommandCounters;
  nic.hardware.DmaWrite(c.address, nic.state.counters, bytes, MakeTag(Tag::kCommand, 0), 0);
}

void Execute(const Nic& nic) {
  const abi::Command& c = nic.state.command;
  nic.Count(abi::NicCounter::kCommands);
  switch (static_cast<abi::CommandOpcode>(c.opcode)) {
    case abi::CommandOpcode::kNop:
      return Answer(nic, {});
    case abi::CommandOpcode::kRegisterMemory:
      return RegisterMemory(nic, c.register_memory);
    case abi::CommandOpcode::kDeregisterMemory:
      return Answer(nic, DeregisterMemory(nic, c.deregister_memory));
    case abi::CommandOpcode::kAllocateWindow:
      return Answer(nic, AllocateWindowCommand(nic, c.allocate_window));
    case abi::CommandOpcode::kCreateCq:
      return Answer(nic, CreateCq(nic, c.create_cq));
    case abi::CommandOpcode::kDestroyCq:
      return Answer(nic, DestroyCq(nic, c.destroy_cq));
    case abi::CommandOpcode::kCreateQp:
      return Answer(nic, CreateQp(nic, c.create_qp));
    case abi::CommandOpcode::kDestroyQp: {
      QueuePair* q = QueuePairOfHost(nic, c.qp.qp);
      if (q == nullptr) return Answer(nic, Status(CommandStatus::kBadHandle));
      nic.state.command_stage = kCommandIdle;  // answered once its memory is free
      return DestroyQueuePair(nic, *q, c.id);
    }
    case abi::CommandOpcode::kConnect:
      return Answer(nic, Connect(nic, c.connect));
    case abi::CommandOpcode::kListen:
      return Answer(nic, Listen(nic, c.listen));
    case abi::CommandOpcode::kCloseListener:
      return Answer(nic, CloseListenerCommand(nic, c.close_listener));
    case abi::CommandOpcode::kOffer:
      return Answer(nic, OfferCommand(nic, c.offer));
    case abi::CommandOpcode::kShutdown:
      return Answer(nic, Shutdown(nic, c.qp));
    case abi::CommandOpcode::kAbort:
      return Answer(nic, Abort(nic, c.qp));
    case abi::CommandOpcode::kBindUdp:
      return Answer(nic, BindUdp(nic, c.bind_udp));
    case abi::CommandOpcode::kQueryQp:
      return Answer(nic, QueryQp(nic, c.qp));
    case abi::CommandOpcode::kTakeNotices:
      return Answer(nic, TakeNotices(nic, c.qp));
    case abi::CommandOpcode::kQueryCounters:
      return QueryCounters(nic, c.query_counters);
    case abi::CommandOpcode::kAdopt:
      return Answer(nic, Status(AdoptConnection(nic, c.adopt)));
    case abi::CommandOpcode::kQueryTerminate:
      return Answer(nic, QueryTerminate(nic, c.qp));
  }
  Answer(nic, Status(CommandStatus::kBadCommand));
}

}  // namespace

bool ServiceManagement(const Nic& nic) {
  FirmwareState& s = nic.state;
  if (s.command_stage != kCommandIdle || s.command_consumer == s.command_producer) return false;
  const uint32_t slot = s.command_consumer & ((1u << s.config.command_log2) - 1);
  ++s.command_consumer;
  s.command_stage = kCommandFetching;
  nic.hardware.DmaRead(s.config.command_ring + uint64_t{slot} * sizeof(abi::Command), &s.command,
                       sizeof(abi::Command), MakeTag(Tag::kCommand, 0));
  return true;
}

void OnCommandDma(const Nic& nic, uint32_t status) {
  FirmwareState& s = nic.state;
  switch (s.command_stage) {
    case kCommandFetching:
      // A ring that cannot be read names no command to answer.
      s.command_stage = kCommandIdle;
      if (status == kDmaOk) Execute(nic);
      return;
    case kCommandPages:
      if (status != kDmaOk) {
        FreeRegion(nic, s.command_region);
        Answer(nic, Status(CommandStatus::kBadCommand));
      } else if (s.command_pages_done < s.command.register_memory.page_count) {
        FetchPages(nic);
      } else {
        AnswerRegistered(nic);
      }
      return;
    case kCommandCounters:
      Answer(nic, Status(status == kDmaOk ? CommandStatus::kOk : CommandStatus::kBadCommand));
      return;
    default:
      return;
  }
}

}  // namespace qpip::fw

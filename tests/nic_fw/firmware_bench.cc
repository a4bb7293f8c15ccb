#include "firmware_bench.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <new>

namespace qpip::fw::test {

abi::Ip6Address Address(uint8_t last) {
  abi::Ip6Address address;
  address.bytes[0] = 0xfd;
  address.bytes[15] = last;
  return address;
}

HostMemory::HostMemory(FakeHardware& hardware, size_t bytes)
    : data_(static_cast<uint8_t*>(::operator new[](bytes, std::align_val_t{64}))), size_(bytes) {
  std::fill_n(data_.get(), bytes, uint8_t{0});
  hardware.AddHostMemory(data_.get(), bytes);
}

NicConfig FirmwareBench::DefaultConfig() {
  NicConfig config;
  config.mtu = 1500;
  config.max_qps = 32;
  config.command_log2 = 4;
  config.event_log2 = 8;
  return config;
}

FirmwareBench::FirmwareBench(uint8_t last_address_byte, NicConfig c)
    : config(c),
      command_ring_(hardware, sizeof(abi::Command) << c.command_log2),
      event_ring_(hardware, sizeof(abi::Event) << c.event_log2),
      counters_(hardware, abi::kCounterWords * 8),
      reassembly_pool_(hardware, c.reassembly_slots * size_t{65536}) {
  config.address = Address(last_address_byte);
  config.command_ring = command_ring_.address();
  config.event_ring = event_ring_.address();
  config.reassembly_pool = reassembly_pool_.address();
  ArenaBytes bytes;
  EXPECT_NE(qpip_fw_arena(&config, &bytes), 0u);
  arena.resize(bytes.total / 8 + 1);
  EXPECT_EQ(qpip_fw_init(arena.data(), static_cast<uint32_t>(arena.size() * 8), &config,
                         &hardware.platform(), now),
            1u);
}

void FirmwareBench::Run() {
  for (int rounds = 0; qpip_fw_step(arena.data(), &hardware.platform(), now, 64) != 0; ++rounds) {
    ASSERT_LT(rounds, 100000) << "the firmware never comes to rest";
  }
}

void FirmwareBench::Advance(uint64_t ns) {
  const uint64_t end = now + ns;
  Run();
  for (;;) {
    const uint64_t deadline = qpip_fw_next_deadline(arena.data());
    if (deadline > end) break;
    if (deadline > now) now = deadline;
    if (qpip_fw_step(arena.data(), &hardware.platform(), now, 64) == 0 && deadline <= now) {
      now = deadline + 1;
      if (now > end) break;
    }
    Run();
  }
  now = end;
  Run();
}

void FirmwareBench::CollectEvents() {
  const auto* ring = reinterpret_cast<const abi::Event*>(event_ring_.data());
  for (;;) {
    const abi::Event& event = ring[event_consumer_ & ((1u << config.event_log2) - 1)];
    if (event.valid != abi::CqeLap(event_consumer_, config.event_log2)) return;
    events_.push_back(event);
    ++event_consumer_;
  }
}

uint32_t FirmwareBench::PostCommand(abi::Command command) {
  command.id = next_id_++;
  auto* ring = reinterpret_cast<abi::Command*>(command_ring_.data());
  ring[command_producer_ & ((1u << config.command_log2) - 1)] = command;
  hardware.Ring(abi::Doorbell::Make(abi::DoorbellKind::kCommand, 0, ++command_producer_));
  return command.id;
}

abi::Event FirmwareBench::Command(const abi::Command& command) {
  const uint32_t id = PostCommand(command);
  Run();
  CollectEvents();
  for (size_t i = 0; i < events_.size(); ++i) {
    const abi::Event event = events_[i];
    if (event.kind == static_cast<uint8_t>(abi::EventKind::kCommandDone) && event.id == id) {
      events_.erase(events_.begin() + static_cast<int64_t>(i));
      return event;
    }
  }
  return {};  // unanswered so far
}

std::vector<abi::Event> FirmwareBench::Events() {
  CollectEvents();
  return std::exchange(events_, {});
}

uint32_t FirmwareBench::Register(const HostMemory& memory, uint32_t access, uint32_t pd) {
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kRegisterMemory);
  command.register_memory = {memory.address(), memory.size(), memory.address(), 0, 0, access, pd};
  const abi::Event event = Command(command);
  EXPECT_EQ(event.status, 0);
  return event.result[0];
}

std::unique_ptr<TestCq> FirmwareBench::CreateCq(uint32_t log2) {
  auto cq = std::make_unique<TestCq>();
  cq->log2 = log2;
  cq->ring = std::make_unique<HostMemory>(hardware, sizeof(abi::Cqe) << log2);
  cq->consumer_word = std::make_unique<HostMemory>(hardware, 64);
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kCreateCq);
  command.create_cq = {cq->ring->address(), cq->consumer_word->address(), log2};
  const abi::Event event = Command(command);
  EXPECT_EQ(event.status, 0);
  cq->handle = event.result[0];
  return cq;
}

std::unique_ptr<TestQp> FirmwareBench::CreateQp(TestCq& cq, const QpSpec& spec) {
  auto qp = std::make_unique<TestQp>();
  abi::CreateQp& c = qp->create;
  c.type = static_cast<uint8_t>(spec.type);
  c.framing = static_cast<uint8_t>(spec.framing);
  c.send_log2_depth = spec.send_log2_depth;
  c.recv_log2_depth = spec.recv_log2_depth;
  c.send_log2_stride = spec.send_log2_stride;
  c.recv_log2_stride = 7;
  qp->send_ring = std::make_unique<HostMemory>(
      hardware, size_t{1} << (spec.send_log2_stride + spec.send_log2_depth));
  qp->recv_ring = std::make_unique<HostMemory>(hardware, size_t{128} << spec.recv_log2_depth);
  qp->indices = std::make_unique<HostMemory>(hardware, sizeof(abi::QueueIndices));
  qp->pool = std::make_unique<HostMemory>(hardware, spec.overflow_bytes);
  qp->records = std::make_unique<HostMemory>(hardware, size_t{4} * spec.overflow_bytes);
  c.send_ring = qp->send_ring->address();
  c.recv_ring = qp->recv_ring->address();
  c.indices = qp->indices->address();
  c.overflow_pool = qp->pool->address();
  c.overflow_records = qp->records->address();
  c.overflow_bytes = spec.overflow_bytes;
  c.send_cq = cq.handle;
  c.recv_cq = cq.handle;
  c.protection_domain = spec.pd;
  c.flags = spec.flags;
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kCreateQp);
  command.create_qp = c;
  const abi::Event event = Command(command);
  EXPECT_EQ(event.status, 0);
  qp->handle = event.result[0];
  return qp;
}

abi::Event FirmwareBench::QpCommand(abi::CommandOpcode opcode, const TestQp& qp) {
  abi::Command command;
  command.opcode = static_cast<uint8_t>(opcode);
  command.qp.qp = qp.handle;
  return Command(command);
}

abi::Event FirmwareBench::Connect(const TestQp& qp, uint8_t peer, uint16_t port, uint16_t local) {
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kConnect);
  command.connect = {qp.handle, local, port, Address(peer)};
  return Command(command);
}

abi::Event FirmwareBench::Listen(uint16_t port, uint16_t backlog) {
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kListen);
  command.listen = {port, backlog};
  return Command(command);
}

abi::Event FirmwareBench::Offer(uint32_t listener, const TestQp& qp) {
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kOffer);
  command.offer = {listener, qp.handle};
  return Command(command);
}

abi::Event FirmwareBench::Bind(const TestQp& qp, uint16_t port) {
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kBindUdp);
  command.bind_udp = {qp.handle, port};
  return Command(command);
}

void FirmwareBench::PostSend(TestQp& qp, const std::vector<abi::Sge>& list, bool ring, uint8_t peer,
                             uint16_t peer_port) {
  const uint32_t slot = qp.send_producer++ & ((1u << qp.create.send_log2_depth) - 1);
  uint8_t* entry = qp.send_ring->data() + (size_t{slot} << qp.create.send_log2_stride);
  abi::SendWqe wqe;
  wqe.opcode = static_cast<uint8_t>(abi::SendOpcode::kSend);
  wqe.flags = abi::kSendSignaled;
  wqe.sge_count = static_cast<uint8_t>(list.size());
  for (const abi::Sge& sge : list) wqe.length += sge.length;
  wqe.peer_address = Address(peer);
  wqe.peer_port = peer_port;
  std::memcpy(entry, &wqe, sizeof(wqe));
  if (!list.empty()) {
    std::memcpy(entry + sizeof(wqe), list.data(), list.size() * sizeof(abi::Sge));
  }
  if (ring) RingSend(qp);
}

void FirmwareBench::PostInline(TestQp& qp, std::string_view bytes, uint8_t peer,
                               uint16_t peer_port) {
  const uint32_t slot = qp.send_producer++ & ((1u << qp.create.send_log2_depth) - 1);
  uint8_t* entry = qp.send_ring->data() + (size_t{slot} << qp.create.send_log2_stride);
  abi::SendWqe wqe;
  wqe.opcode = static_cast<uint8_t>(abi::SendOpcode::kSend);
  wqe.flags = abi::kSendSignaled | abi::kSendInline;
  wqe.length = static_cast<uint32_t>(bytes.size());
  wqe.inline_length = static_cast<uint16_t>(bytes.size());
  wqe.peer_address = Address(peer);
  wqe.peer_port = peer_port;
  std::memcpy(entry, &wqe, sizeof(wqe));
  std::memcpy(entry + sizeof(wqe), bytes.data(), bytes.size());
  RingSend(qp);
}

void FirmwareBench::PostRecv(TestQp& qp, const std::vector<abi::Sge>& list, bool ring) {
  const uint32_t slot = qp.recv_producer++ & ((1u << qp.create.recv_log2_depth) - 1);
  uint8_t* entry = qp.recv_ring->data() + size_t{slot} * 128;
  abi::RecvWqe wqe;
  wqe.sge_count = static_cast<uint8_t>(list.size());
  for (const abi::Sge& sge : list) wqe.length += sge.length;
  qp.posted_bytes += wqe.length;
  std::memcpy(entry, &wqe, sizeof(wqe));
  if (!list.empty()) {
    std::memcpy(entry + sizeof(wqe), list.data(), list.size() * sizeof(abi::Sge));
  }
  if (ring) RingRecv(qp);
}

void FirmwareBench::RingSend(TestQp& qp) {
  auto* indices = reinterpret_cast<abi::QueueIndices*>(qp.indices->data());
  indices->send = qp.send_producer;
  hardware.Ring(abi::Doorbell::Make(abi::DoorbellKind::kSendPosted, qp.handle, qp.send_producer));
}

void FirmwareBench::RingRecv(TestQp& qp) {
  auto* indices = reinterpret_cast<abi::QueueIndices*>(qp.indices->data());
  indices->recv = qp.recv_producer | (uint64_t{qp.posted_bytes} << 32);
  hardware.Ring(abi::Doorbell::Make(abi::DoorbellKind::kRecvPosted, qp.handle, qp.recv_producer,
                                    qp.posted_bytes));
}

std::vector<abi::Cqe> FirmwareBench::Poll(TestCq& cq) {
  std::vector<abi::Cqe> out;
  const auto* ring = reinterpret_cast<const abi::Cqe*>(cq.ring->data());
  for (;;) {
    const abi::Cqe& cqe = ring[cq.consumer & ((1u << cq.log2) - 1)];
    if (cqe.valid != abi::CqeLap(cq.consumer, cq.log2)) break;
    out.push_back(cqe);
    ++cq.consumer;
  }
  const uint64_t consumer = cq.consumer;
  std::memcpy(cq.consumer_word->data(), &consumer, sizeof(consumer));
  return out;
}

uint64_t FirmwareBench::Counter(abi::NicCounter counter) {
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kQueryCounters);
  command.query_counters = {counters_.address(), static_cast<uint32_t>(counters_.size())};
  EXPECT_EQ(Command(command).status, 0);
  uint64_t value = 0;
  std::memcpy(&value, counters_.data() + 8 * static_cast<size_t>(counter), 8);
  return value;
}

uint64_t FirmwareBench::Dropped(abi::DropReason reason) {
  return Counter(
      static_cast<abi::NicCounter>(abi::kNicCounterCount + static_cast<uint32_t>(reason)));
}

uint64_t FirmwareBench::AllDrops() {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < abi::kDropReasonCount; ++i) {
    sum += Dropped(static_cast<abi::DropReason>(i));
  }
  return sum;
}

void Cable::Run() {
  for (int rounds = 0;; ++rounds) {
    ASSERT_LT(rounds, 1000000) << "the two NICs never come to rest";
    a.Run();
    b.Run();
    if (a.hardware.outgoing.empty() && b.hardware.outgoing.empty()) return;
    const auto carry = [this](FirmwareBench& from, FirmwareBench& to, bool from_a) {
      while (!from.hardware.outgoing.empty()) {
        Frame frame = std::move(from.hardware.outgoing.front());
        from.hardware.outgoing.pop_front();
        if (!filter || filter(frame, from_a)) to.hardware.incoming.push_back(std::move(frame));
      }
    };
    carry(a, b, true);
    carry(b, a, false);
  }
}

void Cable::Advance(uint64_t ns, uint64_t step) {
  Run();
  for (uint64_t done = 0; done < ns; done += step) {
    a.now += step;
    b.now += step;
    Run();
  }
}

ConnectedPair::ConnectedPair(const QpSpec& spec, NicConfig config) : a{1, config}, b{2, config} {
  cq_a = a.CreateCq();
  cq_b = b.CreateCq();
  qp_a = a.CreateQp(*cq_a, spec);
  qp_b = b.CreateQp(*cq_b, spec);
  listener = b.Listen(7).result[0];
  EXPECT_EQ(b.Offer(listener, *qp_b).status, 0);
  EXPECT_EQ(a.Connect(*qp_a, 2, 7).status, 0);
  cable.Run();
  const auto established = static_cast<uint8_t>(abi::EventKind::kEstablished);
  const auto events_a = a.Events();
  const auto events_b = b.Events();
  EXPECT_EQ(events_a.size(), 1u);
  EXPECT_EQ(events_b.size(), 1u);
  if (!events_a.empty()) {
    EXPECT_EQ(events_a[0].kind, established);
  }
  if (!events_b.empty()) {
    EXPECT_EQ(events_b[0].kind, established);
  }
}

}  // namespace qpip::fw::test

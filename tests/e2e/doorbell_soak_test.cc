// Small messages from several threads on many queue pairs, through doorbell FIFOs of two entries:
// whatever overflows, no message is lost, doubled or overtaken, and no connection ends. Bounded by
// messages, or by time when QPIP_SOAK_SECONDS says so.
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <span>
#include <thread>

#include "two_nics.h"

namespace qpip::test {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kThreads = 4;  // that post sends, and as many that post receives
constexpr size_t kFlowsEach = 16;
/// Outstanding on a queue: fewer on all queues together than a FIFO holds by default, so that
/// nothing overflows unless `doorbells` is heeded.
constexpr uint32_t kDepth = 8;
static_assert(kThreads * kFlowsEach * kDepth < 1024);
/// Seconds at the most; the firmware's assertions make scans slow.
#ifdef NDEBUG
constexpr uint64_t kMessagesEach = 2000;
#else
constexpr uint64_t kMessagesEach = 60;
#endif

struct Message {
  uint64_t flow;
  uint64_t sequence;
  uint8_t filling[48];
};
static_assert(sizeof(Message) == 64);

Message Make(uint64_t flow, uint64_t sequence) {
  Message message{flow, sequence, {}};
  FillPattern(message.filling, sizeof(message.filling), flow << 40 | sequence);
  return message;
}

/// One connection. Its two ends are used by one thread each.
struct Flow {
  std::unique_ptr<QueuePair> from, to;
  uint64_t posted = 0;
  uint64_t completed = 0;
  uint64_t received = 0;
  bool ended = false;
};

/// The flows of one sending and one receiving thread. A request's id is its flow's index, then the
/// message's number.
struct Lane {
  std::unique_ptr<CompletionQueue> sends, receives;
  std::unique_ptr<MemoryRegion> source, sink;
  std::vector<Flow> flows{kFlowsEach};

  static size_t SlotOf(uint64_t flow, uint64_t sequence) {
    return (flow * kDepth + sequence % kDepth) * sizeof(Message);
  }
  static uint64_t IdOf(uint64_t flow, uint64_t sequence) { return flow << 40 | sequence; }
  static uint64_t FlowOf(uint64_t id) { return id >> 40; }
  static uint64_t SequenceOf(uint64_t id) { return id & ((uint64_t{1} << 40) - 1); }

  void PostSend(uint64_t index);
  void PostRecv(uint64_t index, uint64_t sequence);
  /// A sender's queues of receives, filled: nothing will come. Who posts a send has it looked at,
  /// but nobody looks at these until there is time: they overflow the FIFO.
  void PostUnusedRecvs(uint64_t index);
  void Send(Clock::time_point end, uint64_t messages);
  void Receive();
  void OnReceived(const WorkCompletion& wc);
};

void Lane::PostSend(uint64_t index) {
  Flow& flow = flows[index];
  const size_t slot = SlotOf(index, flow.posted);
  const Message message = Make(index, flow.posted);
  std::memcpy(static_cast<uint8_t*>(source->data()) + slot, &message, sizeof(message));
  ASSERT_EQ(flow.from->PostSend(IdOf(index, flow.posted), source->Sge(slot, sizeof(message))), 0);
  ++flow.posted;
}

void Lane::PostRecv(uint64_t index, uint64_t sequence) {
  ASSERT_EQ(flows[index].to->PostRecv(IdOf(index, sequence),
                                      sink->Sge(SlotOf(index, sequence), sizeof(Message))),
            0);
}

void Lane::PostUnusedRecvs(uint64_t index) {
  for (uint64_t n = 0; n < kDepth; ++n) {
    ASSERT_EQ(flows[index].from->PostRecv(IdOf(index, n), source->Sge(0, sizeof(Message))), 0);
  }
}

/// Keeps every queue full until `end` or until `messages` have been posted on each.
void Lane::Send(Clock::time_point end, uint64_t messages) {
  uint64_t outstanding = 0;
  for (bool more = true; more || outstanding != 0;) {
    more = false;
    const bool in_time = Clock::now() < end;
    for (uint64_t i = 0; i < kFlowsEach; ++i) {
      Flow& flow = flows[i];
      while (in_time && flow.posted < messages && flow.posted - flow.completed < kDepth) {
        ASSERT_NO_FATAL_FAILURE(PostSend(i));
        ++outstanding;
      }
      more |= in_time && flow.posted < messages;
    }
    WorkCompletion done[64];
    const size_t count = sends->Wait(done, kPatience);
    ASSERT_GT(count, 0u) << "no send completes any more";
    for (const WorkCompletion& wc : std::span(done, count)) {
      ASSERT_EQ(wc.status, IBV_WC_SUCCESS) << Describe(wc);
      Flow& flow = flows[FlowOf(wc.wr_id)];
      ASSERT_EQ(SequenceOf(wc.wr_id), flow.completed++);
    }
    outstanding -= count;
  }
  for (Flow& flow : flows) flow.from->Shutdown();
}

void Lane::OnReceived(const WorkCompletion& wc) {
  const uint64_t index = FlowOf(wc.wr_id);
  Flow& flow = flows[index];
  if (flow.ended) return;  // the receives that are left
  ASSERT_EQ(wc.status, IBV_WC_SUCCESS)
      << Describe(wc) << ", flow " << index << " after " << flow.received;
  ASSERT_EQ(SequenceOf(wc.wr_id), flow.received);
  flow.ended = wc.end_of_stream;
  if (flow.ended) return;
  ASSERT_EQ(wc.byte_len, sizeof(Message));
  const Message expected = Make(index, flow.received);
  const auto* at = static_cast<uint8_t*>(sink->data()) + SlotOf(index, flow.received);
  ASSERT_EQ(std::memcmp(at, &expected, sizeof(expected)), 0)
      << "flow " << index << ", message " << flow.received;
  ASSERT_NO_FATAL_FAILURE(PostRecv(index, flow.received + kDepth));
  ++flow.received;
}

/// Checks what comes until the stream of every flow has ended.
void Lane::Receive() {
  const auto ended = [](const Flow& flow) { return flow.ended; };
  while (!std::all_of(flows.begin(), flows.end(), ended)) {
    WorkCompletion done[64];
    const size_t count = receives->Wait(done, kPatience);
    ASSERT_GT(count, 0u) << "nothing comes any more";
    for (const WorkCompletion& wc : std::span(done, count)) {
      ASSERT_NO_FATAL_FAILURE(OnReceived(wc));
    }
  }
}

/// Where from and to; one NIC may be both.
struct Nics {
  std::shared_ptr<Nic> sender, receiver;
};

Nics OnFabric(const std::string& scheme) {
  const std::string fabric = UniqueFabric();
  return {Nic::Open(PortUri(scheme, fabric, 2, "doorbells=2")),
          Nic::Open(PortUri(scheme, fabric, 1, "doorbells=2"))};
}

Nics OverUdp() {
  auto receiver = Nic::Open("udp:127.0.0.1:0?address=fd00::1&doorbells=2");
  const std::string statistics = receiver->StatisticsJson();
  const std::string name = "\"port\":";
  // The NIC's port is an object, in which the wire's stands.
  const unsigned long port = std::stoul(statistics.substr(statistics.rfind(name) + name.size()));
  return {Nic::Open("udp:127.0.0.1:0?address=fd00::2&doorbells=2&peer=127.0.0.1:" +
                    std::to_string(port)),
          receiver};
}

Nics OnItself() {
  auto nic = Nic::Open(PortUri("mem", UniqueFabric(), 1, "doorbells=2"));
  return {nic, nic};
}

struct Wire {
  const char* name;
  Nics (*open)();
};

void PrintTo(const Wire& wire, std::ostream* out) { *out << wire.name; }

class DoorbellSoak : public ::testing::TestWithParam<Wire> {
 protected:
  void SetUp() override;
  void Run(Clock::time_point end, uint64_t messages);
  void Report(double seconds);

  Nics nics_ = GetParam().open();
  std::unique_ptr<ProtectionDomain> from_pd_ = nics_.sender->AllocatePd();
  std::unique_ptr<ProtectionDomain> to_pd_ = nics_.receiver->AllocatePd();
  std::vector<Lane> lanes_{kThreads};
};

INSTANTIATE_TEST_SUITE_P(Wires, DoorbellSoak,
                         ::testing::Values(Wire{"mem", [] { return OnFabric("mem"); }},
                                           Wire{"shm", [] { return OnFabric("shm"); }},
                                           Wire{"udp", OverUdp}, Wire{"itself", OnItself}),
                         [](const auto& test) { return test.param.name; });

void DoorbellSoak::SetUp() {
  const auto listener = nics_.receiver->Listen(7, 64);
  for (Lane& lane : lanes_) {
    lane.sends = nics_.sender->CreateCq(2 * kFlowsEach * kDepth);
    lane.receives = nics_.receiver->CreateCq(2 * kFlowsEach * kDepth);
    lane.source = from_pd_->Allocate(kFlowsEach * kDepth * sizeof(Message));
    lane.sink = to_pd_->Allocate(kFlowsEach * kDepth * sizeof(Message));
    QpOptions options{.send_depth = kDepth, .recv_depth = kDepth};
    for (uint64_t i = 0; i < kFlowsEach; ++i) {
      Flow& flow = lane.flows[i];
      options.send_cq = options.recv_cq = lane.receives.get();
      flow.to = nics_.receiver->CreateQp(*to_pd_, options);
      for (uint64_t n = 0; n < kDepth; ++n) ASSERT_NO_FATAL_FAILURE(lane.PostRecv(i, n));
      options.send_cq = options.recv_cq = lane.sends.get();
      flow.from = nics_.sender->CreateQp(*from_pd_, options);
      ASSERT_NO_FATAL_FAILURE(lane.PostUnusedRecvs(i));
      listener->Offer(*flow.to);
      flow.from->Connect({nics_.receiver->address(), 7}, kPatience);
      ASSERT_EQ(listener->Accept(kPatience), flow.to.get());
    }
  }
}

void DoorbellSoak::Run(Clock::time_point end, uint64_t messages) {
  std::vector<std::thread> threads;
  for (Lane& lane : lanes_) {
    threads.emplace_back([&lane] { lane.Receive(); });
    threads.emplace_back([&lane, end, messages] { lane.Send(end, messages); });
  }
  for (std::thread& thread : threads) thread.join();
}

void DoorbellSoak::Report(double seconds) {
  uint64_t messages = 0;
  for (const Lane& lane : lanes_) {
    for (const Flow& flow : lane.flows) messages += flow.received;
  }
  auto sender = nics_.sender->Counters();
  auto receiver = nics_.receiver->Counters();
  std::cout << messages << " messages of 64 bytes in " << seconds
            << " s; doorbells taken, scans: " << sender["doorbells"] << ", "
            << sender["doorbell_overflows"] << " by the sender's NIC, " << receiver["doorbells"]
            << ", " << receiver["doorbell_overflows"]
            << " by the receiver's; retransmissions: " << sender["tcp_retransmissions"]
            << std::endl;
}

TEST_P(DoorbellSoak, GivenAFifoThatOverflowsWhenManyPostThenEachMessageArrivesOnceAndInOrder) {
  const char* seconds = std::getenv("QPIP_SOAK_SECONDS");
  const auto begin = Clock::now();
  if (seconds != nullptr) {
    Run(begin + std::chrono::seconds(std::strtoull(seconds, nullptr, 10)), UINT64_MAX);
  } else {
    Run(Clock::time_point::max(), kMessagesEach);
  }
  for (const Lane& lane : lanes_) {
    for (const Flow& flow : lane.flows) {
      EXPECT_EQ(flow.received, flow.posted);
      EXPECT_GT(flow.received, 0u);
    }
  }
  Report(std::chrono::duration<double>(Clock::now() - begin).count());
  EXPECT_GT(nics_.sender->Counters()["doorbell_overflows"], 0u);
  EXPECT_GT(nics_.receiver->Counters()["doorbell_overflows"], 0u);
}

}  // namespace
}  // namespace qpip::test

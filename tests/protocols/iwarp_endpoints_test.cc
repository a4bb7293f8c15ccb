// The sender's order, and two whole endpoints made of all the machines, on streams cut at random.
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>
#include <vector>

#include "protocols/iwarp/fpdu_receiver.h"
#include "protocols/iwarp/rdma_sender.h"

namespace qpip::iwarp {
namespace {

using ByteVector = std::vector<uint8_t>;

// --- The sender

struct IwarpSenderTest : ::testing::Test {
  RdmaSender sender;
  std::vector<PendingRequest> asked{2}, owed{2};

  IwarpSenderTest() { sender.most_requests = 2; }
  static Operation Of(Opcode opcode, bool fence = false) {
    Operation operation;
    operation.opcode = opcode;
    operation.fence = fence;
    return operation;
  }
  StartedMessage Start(const Operation& operation, uint32_t work = 0) {
    return StartOperation(sender, asked, operation, work);
  }
};

TEST_F(IwarpSenderTest, GivenMessagesWhenStartedThenEachQueueHasItsOwnNumbers) {
  EXPECT_EQ(Start(Of(Opcode::kSend)).message.message_sequence, 1u);
  EXPECT_EQ(Start(Of(Opcode::kReadRequest)).message.message_sequence, 1u);
  EXPECT_EQ(Start(Of(Opcode::kSendSolicited)).message.message_sequence, 2u);
  EXPECT_EQ(Start(Of(Opcode::kImmediate)).message.message_sequence, 3u);
  EXPECT_EQ(Start(Of(Opcode::kAtomicRequest)).message.message_sequence, 2u);
  EXPECT_EQ(Start(Of(Opcode::kWrite)).message.message_sequence, 0u);
}

TEST_F(IwarpSenderTest, GivenOrdRequestsUnderWayWhenAnotherIsAskedThenItWaitsAndSendsDoNot) {
  Start(Of(Opcode::kReadRequest), 7);
  Start(Of(Opcode::kAtomicRequest), 8);
  EXPECT_EQ(HoldOf(sender, Of(Opcode::kReadRequest)), Hold::kDepth);
  EXPECT_EQ(HoldOf(sender, Of(Opcode::kAtomicRequest)), Hold::kDepth);
  EXPECT_EQ(HoldOf(sender, Of(Opcode::kSend)), Hold::kGo);
  EXPECT_EQ(TakeAnswered(sender, asked).work, 7u);
  EXPECT_EQ(HoldOf(sender, Of(Opcode::kReadRequest)), Hold::kGo);
}

TEST_F(IwarpSenderTest, GivenNoOrdWhenAReadIsAskedThenItWaits) {
  sender.most_requests = 0;
  EXPECT_EQ(HoldOf(sender, Of(Opcode::kReadRequest)), Hold::kDepth);
}

TEST_F(IwarpSenderTest, GivenAFenceWhenRequestsAreUnderWayThenItWaitsForAllOfThem) {
  EXPECT_EQ(HoldOf(sender, Of(Opcode::kSend, true)), Hold::kGo);
  Start(Of(Opcode::kReadRequest));
  Start(Of(Opcode::kReadRequest));
  TakeAnswered(sender, asked);
  EXPECT_EQ(HoldOf(sender, Of(Opcode::kSend, true)), Hold::kFence);
  TakeAnswered(sender, asked);
  EXPECT_EQ(HoldOf(sender, Of(Opcode::kSend, true)), Hold::kGo);
}

TEST_F(IwarpSenderTest, GivenATerminateWhenStartedThenNothingFollowsIt) {
  SegmentPlan plan;
  plan.opcode = Opcode::kReadRequest;
  Owe(sender, owed, plan, 0);
  EXPECT_TRUE(OwesResponse(sender));
  const StartedMessage last =
      StartTerminate(sender, MakeTerminate(Cause::kBadCrc, nullptr, 0, nullptr));
  EXPECT_EQ(last.message.message_sequence, 1u);
  EXPECT_EQ(last.control_bytes, kTerminateControlBytes);
  EXPECT_EQ(HoldOf(sender, Of(Opcode::kSend)), Hold::kOver);
  EXPECT_FALSE(OwesResponse(sender));
}

TEST_F(IwarpSenderTest, GivenRequestsOfThePeerWhenAnsweredThenInOrderAndTheirSinksComeBack) {
  SegmentPlan plan;
  plan.opcode = Opcode::kReadRequest;
  plan.read = {5, 6, 7, 8, 9};
  Owe(sender, owed, plan, 0);
  plan.opcode = Opcode::kAtomicRequest;
  plan.atomic.identifier = 44;
  Owe(sender, owed, plan, 99);
  PendingRequest request;
  StartedMessage started = StartResponse(sender, owed, &request);
  EXPECT_EQ(started.message.opcode, Opcode::kReadResponse);
  EXPECT_EQ(started.message.stag, 5u);
  EXPECT_EQ(started.message.tagged_offset, 6u);
  EXPECT_EQ(started.message.length, 7u);
  EXPECT_EQ(request.read.source_stag, 8u);
  started = StartResponse(sender, owed, &request);
  AtomicResponse response;
  ParseAtomicResponse({started.control, started.control_bytes}, &response);
  EXPECT_EQ(response, (AtomicResponse{44, 99}));
  EXPECT_EQ(started.message.message_sequence, 1u);
  EXPECT_FALSE(OwesResponse(sender));
}

TEST_F(IwarpSenderTest, GivenWorkWhenItIsDoneThenByWhatItsKindNeeds) {
  EXPECT_FALSE(IsDone({false, 100}, 99, 1000));
  EXPECT_TRUE(IsDone({false, 100}, 100, 0));
  EXPECT_FALSE(IsDone({true, 3}, 1000, 2));
  EXPECT_TRUE(IsDone({true, 3}, 0, 3));
  EXPECT_TRUE(IsDone({false, 0xfffffff0u}, 5, 0));  // it wraps
  EXPECT_FALSE(IsDone({false, 5}, 0xfffffff0u, 0));
}

// --- Two endpoints

constexpr uint32_t kMemoryBytes = 1 << 16;
constexpr uint32_t kPeerStag = 0x1000;  // all of an endpoint's memory, to its peer
constexpr uint32_t kSinkStag = 0x2000;  // sinks of reads: names no memory, only this end knows it
constexpr uint32_t kReceiveBytes = 20000;

/// A work request, and where its bytes lie in the endpoint's memory.
struct Posted {
  Operation operation;
  uint32_t local = 0;
};

/// An endpoint made of the machines, as a firmware would be. Bytes that it sends are acknowledged
/// when the peer has them.
struct Endpoint {
  std::mt19937& random;
  bool markers, crc;
  uint32_t mulpdu;
  ByteVector memory = ByteVector(kMemoryBytes);
  RdmaSender sender;
  RdmaReceiver receiver;
  FpduReceiver fpdus;
  std::vector<PendingRequest> asked, owed;
  std::deque<Posted> posted;
  std::deque<WorkProgress> working;  ///< started, not completed
  uint32_t sent = 0;                 ///< bytes of the stream
  uint32_t requests = 0, answered = 0;
  ByteVector out;       ///< not yet taken by the stream
  ByteVector incoming;  ///< not yet taken by the FPDU receiver
  ByteVector ulpdu;
  std::map<uint32_t, uint32_t> sinks;  ///< of reads under way: local places by sink offset
  uint32_t next_sink = 0;
  // What happened.
  std::vector<ByteVector> received;
  std::vector<uint64_t> immediates;
  std::vector<uint32_t> invalidated;
  ByteVector message;
  uint32_t completed = 0, most_under_way = 0;
  std::vector<uint64_t> originals;
  Cause refused = Cause::kNone, told = Cause::kNone;

  Endpoint(std::mt19937& r, bool m, bool c, uint32_t emss, uint16_t depth)
      : random(r), markers(m), crc(c), mulpdu(Mulpdu(emss, m)), asked(depth), owed(depth) {
    sender.most_requests = depth;
    receiver.most_requests = depth;
    fpdus = MakeFpduReceiver(m, c);
    for (uint8_t& byte : memory) byte = static_cast<uint8_t>(random());
  }

  void Post(Operation operation, uint32_t local) {
    if (operation.opcode == Opcode::kReadRequest) {
      operation.read.sink_stag = kSinkStag;
      operation.read.sink_offset = uint64_t{next_sink} << 32;
      sinks[next_sink++] = local;
    }
    posted.push_back({operation, local});
  }

  void LayOutMessage(const StartedMessage& started, uint32_t from) {
    const uint8_t* bytes = started.control_bytes != 0 ? started.control : &memory[from];
    const MessageLayout layout = LayOut(started.message, sent, mulpdu, markers);
    const uint64_t total = StreamBytes(layout);
    for (uint64_t at = 0; at < total;) {
      const SegmentAt segment = FindSegment(layout, at);
      ByteVector unit(segment.fpdu.ulpdu_length);
      const size_t header =
          EmitDdp(HeaderOf(started.message, segment.message_offset, segment.last), unit);
      std::copy_n(bytes + segment.message_offset, unit.size() - header,
                  unit.begin() + static_cast<std::ptrdiff_t>(header));
      ByteVector fpdu(FpduBytes(segment.fpdu));
      EmitFpdu(segment.fpdu, unit, crc, fpdu);
      out.insert(out.end(), fpdu.begin(), fpdu.end());
      at += fpdu.size();
    }
    sent += static_cast<uint32_t>(total);
  }

  /// Starts one message, if any may go.
  bool StartOne() {
    const bool may_post = !posted.empty() && HoldOf(sender, posted[0].operation) == Hold::kGo;
    if (OwesResponse(sender) && (!may_post || random() % 2 != 0)) {
      PendingRequest request;
      const StartedMessage started = StartResponse(sender, owed, &request);
      LayOutMessage(started, static_cast<uint32_t>(request.read.source_offset));
      OnRequestAnswered(receiver);
      return true;
    }
    if (!may_post) return false;
    const Posted work = posted[0];
    posted.pop_front();
    LayOutMessage(StartOperation(sender, asked, work.operation, 0), work.local);
    const bool is_request = work.operation.opcode == Opcode::kReadRequest ||
                            work.operation.opcode == Opcode::kAtomicRequest;
    working.push_back({is_request, is_request ? ++requests : sent});
    most_under_way = std::max<uint32_t>(most_under_way, sender.asked.count);
    KeepAwaited(sender, asked, receiver);
    return true;
  }

  void Complete(uint32_t acknowledged) {
    while (!working.empty() && IsDone(working[0], acknowledged, answered)) {
      working.pop_front();
      ++completed;
    }
  }

  void Refuse(const SegmentPlan& plan, Cause cause, uint32_t length) {
    refused = cause;
    receiver.over = true;
    if (!sender.over) LayOutMessage(StartTerminate(sender, TerminateFor(plan, cause, length)), 0);
  }

  /// A whole ULPDU.
  void Take() {
    if (receiver.over) return;
    const auto length = static_cast<uint32_t>(ulpdu.size());
    const SegmentPlan plan = PlanSegment(receiver, std::span(ulpdu).first(HeadBytes(ulpdu, length)),
                                         length, {true, kReceiveBytes});
    if (plan.refusal != Cause::kNone) return Refuse(plan, plan.refusal, length);
    const auto payload = ulpdu.begin() + static_cast<std::ptrdiff_t>(plan.header_bytes);
    const auto in_memory = [&](uint32_t stag, uint64_t offset, uint64_t bytes) {
      if (bytes == 0) return AccessVerdict::kGranted;
      if (stag != kPeerStag) return AccessVerdict::kInvalidStag;
      return offset + bytes <= kMemoryBytes ? AccessVerdict::kGranted : AccessVerdict::kBounds;
    };
    AccessVerdict verdict = AccessVerdict::kGranted;
    uint64_t original = 0;
    switch (plan.opcode) {
      case Opcode::kWrite:
        verdict = in_memory(plan.ddp.stag, plan.ddp.tagged_offset, plan.payload_bytes);
        if (verdict == AccessVerdict::kGranted && plan.payload_bytes != 0) {
          std::copy(payload, ulpdu.end(),
                    memory.begin() + static_cast<std::ptrdiff_t>(plan.ddp.tagged_offset));
        }
        break;
      case Opcode::kReadResponse:
        if (plan.payload_bytes != 0) {
          const uint64_t at = plan.ddp.tagged_offset;
          const uint32_t local = sinks.at(static_cast<uint32_t>(at >> 32));
          std::copy(payload, ulpdu.end(),
                    memory.begin() + local + static_cast<uint32_t>(at & 0xffffffff));
        }
        break;
      case Opcode::kReadRequest:
        verdict = in_memory(plan.read.source_stag, plan.read.source_offset, plan.read.length);
        break;
      case Opcode::kAtomicRequest:
        verdict = in_memory(plan.atomic.stag, plan.atomic.offset, 8);
        if (verdict == AccessVerdict::kGranted) {
          std::memcpy(&original, &memory[plan.atomic.offset], 8);
          const uint64_t now = ApplyAtomic(plan.atomic, original);
          std::memcpy(&memory[plan.atomic.offset], &now, 8);
        }
        break;
      case Opcode::kAtomicResponse:
        originals.push_back(plan.atomic_response.original);
        break;
      case Opcode::kTerminate:
        told = CauseOf(plan.terminate.code);
        break;
      case Opcode::kImmediate:
      case Opcode::kImmediateSolicited:
        immediates.push_back(plan.immediate);
        break;
      default:
        message.insert(message.end(), payload, ulpdu.end());
        if (!plan.message_ends) break;
        received.push_back(std::move(message));
        message.clear();
        if (Invalidates(plan.opcode)) invalidated.push_back(plan.ddp.ulp_word);
    }
    const Cause cause = CauseOfAccess(verdict, plan.opcode);
    if (cause != Cause::kNone) return Refuse(plan, cause, length);
    CommitSegment(receiver, plan);
    const bool request =
        plan.opcode == Opcode::kReadRequest || plan.opcode == Opcode::kAtomicRequest;
    if (request) Owe(sender, owed, plan, original);
    const bool response =
        plan.opcode == Opcode::kReadResponse || plan.opcode == Opcode::kAtomicResponse;
    if (response && plan.message_ends) {
      TakeAnswered(sender, asked);
      ++answered;
      KeepAwaited(sender, asked, receiver);
    }
  }

  void Receive(std::span<const uint8_t> bytes) {
    incoming.insert(incoming.end(), bytes.begin(), bytes.end());
    size_t taken = 0;
    for (;;) {
      const FpduStep step = StepFpdu(fpdus, std::span(incoming).subspan(taken));
      taken += step.consumed;
      if (step.kind == FpduStep::Kind::kText) {
        ulpdu.insert(ulpdu.end(), step.text.begin(), step.text.end());
      } else if (step.kind == FpduStep::Kind::kEnd) {
        Take();
        ulpdu.clear();
      } else {
        break;
      }
    }
    incoming.erase(incoming.begin(), incoming.begin() + static_cast<std::ptrdiff_t>(taken));
  }
};

struct IwarpEndpointsTest : ::testing::TestWithParam<std::tuple<bool, bool, uint32_t, uint16_t>> {
  std::mt19937 random{std::get<2>(GetParam()) + std::get<3>(GetParam())};
  Endpoint a{random, std::get<0>(GetParam()), std::get<1>(GetParam()), std::get<2>(GetParam()),
             std::get<3>(GetParam())};
  Endpoint b{random, std::get<0>(GetParam()), std::get<1>(GetParam()), std::get<2>(GetParam()),
             std::get<3>(GetParam())};

  /// Bytes cross in pieces of any size until nothing moves.
  void Run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (Endpoint* end : {&a, &b}) {
        Endpoint& peer = end == &a ? b : a;
        if (end->out.size() < 100000 && end->StartOne()) moved = true;
        if (end->out.empty()) continue;
        const size_t size = 1 + random() % std::min<size_t>(end->out.size(), 5000);
        peer.Receive(std::span(end->out).first(size));
        end->out.erase(end->out.begin(), end->out.begin() + static_cast<std::ptrdiff_t>(size));
        end->Complete(end->sent - static_cast<uint32_t>(end->out.size()));
        moved = true;
      }
      a.Complete(a.sent - static_cast<uint32_t>(a.out.size()));
      b.Complete(b.sent - static_cast<uint32_t>(b.out.size()));
    }
  }
  Operation Write(uint32_t to, uint32_t length) {
    Operation operation;
    operation.opcode = Opcode::kWrite;
    operation.stag = kPeerStag;
    operation.tagged_offset = to;
    operation.length = length;
    return operation;
  }
  Operation Read(uint32_t from, uint32_t length) {
    Operation operation;
    operation.opcode = Opcode::kReadRequest;
    operation.read.source_stag = kPeerStag;
    operation.read.source_offset = from;
    operation.read.length = length;
    return operation;
  }
};

// Each end's memory: [0, 16K) is written to by the peer, [16K, 32K) is read by it, [32K, 48K) is
// what it sends and writes, [48K, 64K) is where its reads go.
TEST_P(IwarpEndpointsTest, GivenEveryOperationBothWaysWhenTheyMixThenEachByteIsRight) {
  constexpr uint32_t kPart = 16384;
  const ByteVector memories[2] = {a.memory, b.memory};
  std::vector<ByteVector> sends[2];
  std::vector<uint64_t> immediates[2];
  ByteVector written[2] = {{b.memory.begin(), b.memory.begin() + kPart},
                           {a.memory.begin(), a.memory.begin() + kPart}};
  ByteVector read[2] = {{a.memory.begin() + 3 * kPart, a.memory.end()},
                        {b.memory.begin() + 3 * kPart, b.memory.end()}};
  uint32_t operations[2] = {};
  const bool reads = std::get<3>(GetParam()) != 0;
  for (int round = 0; round < 60; ++round) {
    for (int i = 0; i < 2; ++i) {
      Endpoint& end = i == 0 ? a : b;
      const uint32_t length = random() % 5 == 0 ? 0 : random() % 7000;
      const uint32_t at = random() % (kPart - length + 1);
      const uint32_t from = 2 * kPart + random() % (kPart - length + 1);
      const auto source = memories[i].begin() + from;
      Operation operation;
      switch (random() % (reads ? 4 : 3)) {
        case 0:
          operation.opcode = random() % 2 != 0 ? Opcode::kSend : Opcode::kSendInvalidate;
          operation.length = length;
          operation.invalidate_stag = static_cast<uint32_t>(round);
          sends[i].emplace_back(source, source + length);
          break;
        case 1:
          operation = Write(at, length);
          std::copy(source, source + length, written[i].begin() + at);
          break;
        case 2:
          operation.opcode = Opcode::kImmediate;
          operation.immediate = static_cast<uint64_t>(round);
          immediates[i].push_back(operation.immediate);
          break;
        default: {
          const uint32_t to = random() % (kPart - length + 1);
          operation = Read(kPart + at, length);
          const auto there = memories[1 - i].begin() + kPart + at;
          std::copy(there, there + length, read[i].begin() + to);
          end.Post(operation, 3 * kPart + to);
          ++operations[i];
          continue;
        }
      }
      operation.fence = random() % 8 == 0;
      end.Post(operation, from);
      ++operations[i];
    }
  }
  Run();
  for (int i = 0; i < 2; ++i) {
    Endpoint& end = i == 0 ? a : b;
    Endpoint& peer = i == 0 ? b : a;
    EXPECT_EQ(end.refused, Cause::kNone);
    EXPECT_EQ(end.completed, operations[i]);
    EXPECT_LE(end.most_under_way, std::get<3>(GetParam()));
    EXPECT_EQ(peer.received, sends[i]);
    EXPECT_EQ(peer.immediates, immediates[i]);
    EXPECT_EQ(ByteVector(peer.memory.begin(), peer.memory.begin() + kPart), written[i]);
    EXPECT_EQ(ByteVector(end.memory.begin() + 3 * kPart, end.memory.end()), read[i]);
  }
}

TEST_P(IwarpEndpointsTest, GivenAtomicAdditionsOfBothWhenTheyMixThenNoneIsLost) {
  if (std::get<3>(GetParam()) == 0) return;
  std::memset(&b.memory[64], 0, 8);
  for (uint32_t i = 0; i < 50; ++i) {
    Operation operation;
    operation.opcode = Opcode::kAtomicRequest;
    operation.atomic.stag = kPeerStag;
    operation.atomic.offset = 64;
    operation.atomic.operand = 3;
    operation.atomic.identifier = i;
    a.Post(operation, 0);
  }
  Run();
  ASSERT_EQ(a.originals.size(), 50u);
  for (uint32_t i = 0; i < 50; ++i) EXPECT_EQ(a.originals[i], 3 * i);
  uint64_t sum = 0;
  std::memcpy(&sum, &b.memory[64], 8);
  EXPECT_EQ(sum, 150u);
}

TEST_P(IwarpEndpointsTest, GivenAWriteThatIsRefusedWhenToldThenThePeerKnowsAndNothingFollows) {
  a.Post(Write(0, 100), 0);
  a.Post(Write(kMemoryBytes - 10, 11), 0);
  Operation send;
  send.length = 5;
  a.Post(send, 0);
  Run();
  EXPECT_EQ(b.refused, Cause::kTaggedBounds);
  EXPECT_EQ(a.told, Cause::kTaggedBounds);
  EXPECT_TRUE(b.received.empty());
}

TEST_P(IwarpEndpointsTest, GivenAReadThatIsRefusedWhenToldThenThePeerKnows) {
  if (std::get<3>(GetParam()) == 0) return;
  Operation read = Read(0, 10);
  read.read.source_stag = 1;
  a.Post(read, 0);
  Run();
  EXPECT_EQ(b.refused, Cause::kInvalidStag);
  EXPECT_EQ(a.told, Cause::kInvalidStag);
  EXPECT_EQ(a.completed, 0u);
}

INSTANTIATE_TEST_SUITE_P(
    All, IwarpEndpointsTest,
    ::testing::Combine(::testing::Bool(), ::testing::Bool(), ::testing::Values(140u, 1460u, 9000u),
                       ::testing::Values(uint16_t{0}, uint16_t{1}, uint16_t{5})));

}  // namespace
}  // namespace qpip::iwarp

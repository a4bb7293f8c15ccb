// A send that has completed is the application's again: nothing that was fetched of it leaves.
#include "protocols/tcp/header.h"
#include "tcp_transfer.h"

namespace qpip::fw::test {
namespace {

constexpr uint32_t kMessage = 1000;

/// `b` acknowledges what `a` sends, but its answers are kept until the test lets them go.
struct OutlivedPayload : Transfer {
  std::vector<Frame> answers;
  uint32_t texts = 0;  ///< frames with text that have left `a`

  void Watch() {
    pair.cable.filter = [this](Frame& frame, bool from_a) {
      if (from_a) {
        texts += frame.size() > kMessage / 2;
        return true;
      }
      answers.push_back(frame);
      return false;
    };
  }
  void Receive(int count) {
    for (int i = 0; i < count; ++i) pair.b.PostRecv(*pair.qp_b, {Dst(0, kMessage)});
    pair.cable.Run();
  }
  void Send(uint64_t offset) { pair.a.PostSend(*pair.qp_a, {Src(offset, kMessage)}); }
  /// The retransmission timer fires; what comes of it stays with `a`.
  void TimeOut() { pair.a.Advance(1500 * kMs); }
  /// `a` hears what `b` has answered, from `first` on, at most `most`.
  void Hear(size_t first, size_t most) {
    for (size_t i = first; i < answers.size() && i < first + most; ++i) {
      pair.a.hardware.incoming.push_back(answers[i]);
    }
    pair.a.Run();
  }
  size_t Completed() { return pair.a.Poll(*pair.cq_a).size(); }
  /// Deregistered and given back: who reads it now reads something else.
  void Unmap() {
    abi::Command command;
    command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kDeregisterMemory);
    command.deregister_memory.key = source_key;
    ASSERT_EQ(pair.a.Command(command).status, 0);
    std::memset(source.data(), 0, source.size());
  }
};

TEST_F(OutlivedPayload, GivenARetransmissionThatWaitsForTheWireWhenAcknowledgedThenItNeverLeaves) {
  Receive(1);
  Watch();
  Send(0);
  pair.cable.Run();
  ASSERT_EQ(texts, 1u);
  pair.a.hardware.wire_full = true;
  TimeOut();
  ASSERT_NE(pair.a.hardware.payloads_held(), 0u);
  Hear(0, 9);
  EXPECT_EQ(Completed(), 1u);
  Unmap();
  pair.a.hardware.wire_full = false;
  pair.a.Advance(100 * kMs);
  pair.cable.Run();
  EXPECT_EQ(texts, 1u);
  EXPECT_EQ(pair.a.hardware.payloads_held(), 0u);
  EXPECT_EQ(EventsOf(pair.a, abi::EventKind::kDisconnected).size(), 0u);
}

TEST_F(OutlivedPayload, GivenARetransmissionBeingFetchedWhenAcknowledgedThenItNeverLeaves) {
  Receive(1);
  Watch();
  Send(0);
  pair.cable.Run();
  pair.a.hardware.hold_dma = true;
  TimeOut();
  ASSERT_NE(pair.a.hardware.payloads_held(), 0u);
  Hear(0, 9);
  EXPECT_EQ(Completed(), 1u);
  pair.a.hardware.hold_dma = false;
  pair.a.Run();
  pair.cable.Run();
  EXPECT_EQ(texts, 1u);
  EXPECT_EQ(pair.a.hardware.payloads_held(), 0u);
}

TEST_F(OutlivedPayload, GivenOneOfTwoThatWaitWhenAcknowledgedThenOnlyTheOtherLeaves) {
  Receive(2);
  Watch();
  Send(0);
  pair.cable.Run();
  const size_t first_answers = answers.size();
  pair.a.hardware.wire_full = true;
  TimeOut();
  Send(kMessage);
  pair.a.Run();
  Hear(0, first_answers);
  EXPECT_EQ(Completed(), 1u);
  pair.a.hardware.wire_full = false;
  pair.a.Advance(10 * kMs);
  pair.cable.Run();
  EXPECT_EQ(texts, 2u);
  Hear(first_answers, 9);
  EXPECT_EQ(Completed(), 1u);
}

TEST_F(OutlivedPayload, GivenARetransmissionOnTheWireWhenAcknowledgedThenCompletedWhenItIsRead) {
  Receive(1);
  Watch();
  pair.a.hardware.give_leases = true;
  Send(0);
  pair.cable.Run();
  pair.a.hardware.leases_ended = 1;
  TimeOut();
  Hear(0, 9);
  EXPECT_EQ(Completed(), 0u);
  pair.a.Advance(10 * kMs);
  EXPECT_EQ(Completed(), 0u);
  pair.a.hardware.leases_ended = 99;
  pair.a.Advance(1 * kMs);
  EXPECT_EQ(Completed(), 1u);
}

TEST_F(OutlivedPayload, GivenNoRetransmissionWhenAcknowledgedThenCompletedWhateverTheLease) {
  Receive(1);
  Watch();
  pair.a.hardware.give_leases = true;
  Send(0);
  pair.cable.Run();
  Hear(0, 9);
  EXPECT_EQ(Completed(), 1u);
}

TEST_F(OutlivedPayload, GivenARetransmissionOnTheWireWhenResetAfterItsAckThenStillASuccess) {
  Receive(1);
  Watch();
  pair.a.hardware.give_leases = true;
  Send(0);
  pair.cable.Run();
  pair.a.hardware.leases_ended = 1;
  TimeOut();
  Hear(0, 9);
  pair.a.QpCommand(abi::CommandOpcode::kAbort, *pair.qp_a);
  pair.a.Run();
  EXPECT_EQ(Completed(), 0u);
  pair.a.hardware.leases_ended = 9;
  pair.a.Advance(1 * kMs);
  const auto completions = pair.a.Poll(*pair.cq_a);
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].status, static_cast<uint8_t>(abi::CompletionStatus::kSuccess));
}

}  // namespace
}  // namespace qpip::fw::test

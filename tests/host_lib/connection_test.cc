// Connections: outcomes of Connect, the states that events lead to, and ways to end.
#include "nic_test.h"

namespace qpip::test {
namespace {

using abi::CommandOpcode;
using abi::CommandStatus;
using abi::EventKind;

class ConnectionTest : public NicTest {
 protected:
  void RefuseAll(CommandOpcode opcode, CommandStatus status) {
    fake->refuse = [=](const abi::Command& command) -> std::optional<CommandStatus> {
      if (command.opcode != static_cast<uint8_t>(opcode)) return std::nullopt;
      return status;
    };
  }
  void FailConnects(abi::DisconnectReason reason) {
    fake->connect_outcome = {.event = EventKind::kConnectFailed, .reason = reason};
  }
  void Raise(const QueuePair& qp, EventKind kind,
             abi::DisconnectReason reason = abi::DisconnectReason::kNone) {
    fake->RaiseEvent(kind, HandleOf(qp), static_cast<uint8_t>(reason));
    PollAll();  // an application that only polls
  }
};

// --- Connect

TEST_F(ConnectionTest, GivenIdleQpWhenConnectedThenStateAndEndpointsAreKnown) {
  auto qp = Idle();
  EXPECT_EQ(qp->state(), QpState::kIdle);
  qp->Connect(kPeer, std::nullopt, 1234);
  EXPECT_EQ(qp->state(), QpState::kConnected);
  EXPECT_EQ(qp->peer(), kPeer);
  EXPECT_EQ(qp->local(), Endpoint::Parse("[fd00::1]:1234"));
  EXPECT_EQ(qp->disconnect_reason(), DisconnectReason::kNone);
  const abi::Connect& sent = fake->commands.back().connect;
  EXPECT_EQ(sent.qp, HandleOf(*qp));
  EXPECT_EQ(sent.remote_port, 5001);
  EXPECT_EQ(sent.remote_address.bytes[15], 2);
}

TEST_F(ConnectionTest, GivenEachFailureWhenConnectingThenErrnoAndTextSayIt) {
  const struct {
    abi::DisconnectReason reason;
    int code;
    const char* text;
    DisconnectReason expected;
  } cases[] = {
      {abi::DisconnectReason::kRefused, ECONNREFUSED, "nobody listens", DisconnectReason::kRefused},
      {abi::DisconnectReason::kTimedOut, ETIMEDOUT, "did not answer", DisconnectReason::kTimedOut},
      {abi::DisconnectReason::kUnreachable, EHOSTUNREACH, "unreachable",
       DisconnectReason::kUnreachable},
      {abi::DisconnectReason::kReset, ECONNRESET, "reset", DisconnectReason::kReset},
      {abi::DisconnectReason::kAborted, ECONNABORTED, "aborted", DisconnectReason::kAborted},
      {abi::DisconnectReason::kLocalError, EIO, "ended", DisconnectReason::kLocalError},
  };
  for (const auto& expected : cases) {
    FailConnects(expected.reason);
    auto qp = Idle();
    std::string what;
    EXPECT_EQ(ErrorOf([&] { qp->Connect(kPeer); }, &what), expected.code);
    EXPECT_THAT(what, testing::HasSubstr("connect to [fd00::2]:5001"));
    EXPECT_THAT(what, testing::HasSubstr(expected.text));
    EXPECT_EQ(qp->state(), QpState::kClosed);
    EXPECT_EQ(qp->disconnect_reason(), expected.expected);
  }
}

TEST_F(ConnectionTest, GivenPortInUseWhenConnectingThenTheQpIsIdleAgainAndMayTryAnother) {
  auto qp = Idle();
  RefuseAll(CommandOpcode::kConnect, CommandStatus::kAddressInUse);
  EXPECT_EQ(ErrorOf([&] { qp->Connect(kPeer, std::nullopt, 99); }), EADDRINUSE);
  EXPECT_EQ(qp->state(), QpState::kIdle);
  fake->refuse = nullptr;
  EXPECT_NO_THROW(qp->Connect(kPeer, std::nullopt, 100));
}

TEST_F(ConnectionTest, GivenNoAnswerWhenTheTimeIsOverThenTheAttemptIsAborted) {
  fake->connect_outcome = {.event = std::nullopt};
  auto qp = Idle();
  const uint64_t before = fake->now_ns;
  EXPECT_EQ(ErrorOf([&] { qp->Connect(kPeer, std::chrono::milliseconds(5)); }), ETIMEDOUT);
  EXPECT_EQ(fake->now_ns - before, 5'000'000u);
  EXPECT_EQ(fake->Count(CommandOpcode::kAbort), 1u);
  EXPECT_EQ(qp->state(), QpState::kClosed);
}

TEST_F(ConnectionTest, GivenNoAnswerYetWhenConnectingIsStartedThenPollingSeesHowItGoesOn) {
  auto established = Idle();
  auto refused = Idle();
  fake->connect_outcome.event = std::nullopt;
  established->StartConnect(kPeer, 1234);
  refused->StartConnect(kPeer, 1235);
  EXPECT_EQ(established->state(), QpState::kConnecting);
  EXPECT_EQ(ErrorOf([&] { established->StartConnect(kPeer); }), EISCONN);
  Raise(*established, EventKind::kEstablished);
  EXPECT_EQ(established->state(), QpState::kConnected);
  Raise(*refused, EventKind::kConnectFailed, abi::DisconnectReason::kRefused);
  EXPECT_EQ(refused->state(), QpState::kClosed);
  EXPECT_EQ(refused->disconnect_reason(), DisconnectReason::kRefused);
}

TEST_F(ConnectionTest, GivenAnAttemptThatWasStartedWhenItIsWaitedForThenItGoesOnUntilItIsDecided) {
  fake->connect_outcome = {.event = std::nullopt};
  auto established = Idle();
  auto refused = Idle();
  EXPECT_EQ(ErrorOf([&] { (void)refused->WaitConnected(); }), ENOTCONN);
  established->StartConnect(kPeer, 1234);
  EXPECT_FALSE(established->WaitConnected(std::chrono::milliseconds(5)));
  EXPECT_EQ(established->state(), QpState::kConnecting);
  EXPECT_EQ(fake->Count(CommandOpcode::kAbort), 0u);
  Raise(*established, EventKind::kEstablished);
  EXPECT_TRUE(established->WaitConnected());
  refused->StartConnect(kPeer, 1235);
  Raise(*refused, EventKind::kConnectFailed, abi::DisconnectReason::kRefused);
  EXPECT_EQ(ErrorOf([&] { (void)refused->WaitConnected(); }), ECONNREFUSED);
  auto given_up = Idle();
  given_up->StartConnect(kPeer, 1236);
  EXPECT_EQ(ErrorOf([&] { given_up->GiveUpConnecting(); }), ETIMEDOUT);
  EXPECT_EQ(given_up->state(), QpState::kClosed);
}

TEST_F(ConnectionTest, GivenPeerThatResetsAtOnceWhenConnectingThenItHadBeenEstablished) {
  fake->connect_outcome = {.event = std::nullopt};
  auto qp = Idle();
  fake->when_idle.push_back([&] {
    fake->RaiseEvent(EventKind::kEstablished, HandleOf(*qp));
    fake->RaiseEvent(EventKind::kDisconnected, HandleOf(*qp),
                     static_cast<uint8_t>(abi::DisconnectReason::kReset));
  });
  EXPECT_NO_THROW(qp->Connect(kPeer));
  EXPECT_EQ(qp->state(), QpState::kClosed);
  EXPECT_EQ(qp->disconnect_reason(), DisconnectReason::kReset);
}

TEST_F(ConnectionTest, GivenWrongUseWhenConnectingThenRefused) {
  auto qp = Connected();
  EXPECT_EQ(ErrorOf([&] { qp->Connect(kPeer); }), EISCONN);
  EXPECT_EQ(ErrorOf([&] { Idle()->Connect(Endpoint::Parse("[fd00::2]:0")); }), EINVAL);
  EXPECT_EQ(ErrorOf([&] { Bound()->Connect(kPeer); }), EINVAL);
  EXPECT_EQ(ErrorOf([&] { qp->Bind(5); }), EINVAL);
}

// --- States

TEST_F(ConnectionTest, GivenEventsWhenOnlyPollIsCalledThenTheStateFollows) {
  auto qp = Connected();
  Raise(*qp, EventKind::kPeerClosed);
  EXPECT_EQ(qp->state(), QpState::kPeerClosed);
  EXPECT_EQ(qp->PostSend(0, memory->Sge(0, 1)), 0) << "our direction is still open";
  Raise(*qp, EventKind::kDisconnected, abi::DisconnectReason::kReset);
  EXPECT_EQ(qp->state(), QpState::kClosed);
  EXPECT_EQ(qp->disconnect_reason(), DisconnectReason::kReset);
}

TEST_F(ConnectionTest, GivenANoticeWhenTakenThenItTellsWhatTheNicSaysAndIsOver) {
  auto qp = Connected();
  EXPECT_FALSE(qp->has_notices());
  Raise(*qp, EventKind::kNotice);
  EXPECT_TRUE(qp->has_notices());
  EXPECT_EQ(qp->state(), QpState::kConnected);
  fake->notices = {abi::kNoticeUrgent | abi::kNoticeIcmpError, 77, 3, 1 << 8 | 4};
  const QpNotices notices = qp->TakeNotices();
  EXPECT_TRUE(notices.urgent);
  EXPECT_EQ(notices.urgent_end, 77u);
  EXPECT_TRUE(notices.icmp_error);
  EXPECT_EQ(notices.icmp_errors, 3u);
  EXPECT_EQ(notices.icmp_type, 1);
  EXPECT_EQ(notices.icmp_code, 4);
  EXPECT_FALSE(qp->has_notices());
}

TEST_F(ConnectionTest, GivenClosedQpWhenPostedThenNotConnected) {
  auto qp = Connected();
  Raise(*qp, EventKind::kDisconnected, abi::DisconnectReason::kClosed);
  EXPECT_EQ(qp->PostSend(0, memory->Sge(0, 1)), ENOTCONN);
  EXPECT_EQ(qp->PostRecv(0, memory->Sge(0, 1)), ENOTCONN);
}

TEST_F(ConnectionTest, GivenClosedQpWhenMoreEventsComeThenTheFirstReasonStays) {
  auto qp = Connected();
  Raise(*qp, EventKind::kQpError);
  Raise(*qp, EventKind::kDisconnected, abi::DisconnectReason::kReset);
  Raise(*qp, EventKind::kPeerClosed);
  EXPECT_EQ(qp->state(), QpState::kClosed);
  EXPECT_EQ(qp->disconnect_reason(), DisconnectReason::kLocalError);
}

TEST_F(ConnectionTest, GivenFlushIsPolledWhenItsEventIsThereThenTheStateIsKnownToo) {
  auto qp = Connected();
  ASSERT_EQ(qp->PostSend(1, memory->Sge(0, 1)), 0);
  fake->Flush(HandleOf(*qp), abi::CompletionStatus::kRemoteAborted);
  fake->RaiseEvent(EventKind::kDisconnected, HandleOf(*qp),
                   static_cast<uint8_t>(abi::DisconnectReason::kReset));
  std::array<WorkCompletion, 1> out;
  ASSERT_EQ(cq->Poll(out), 1u);
  EXPECT_EQ(out[0].status, IBV_WC_REM_ABORT_ERR);
  EXPECT_EQ(qp->state(), QpState::kClosed);
}

// --- Ends

TEST_F(ConnectionTest, GivenShutdownWhenSendsArePostedThenRefusedButReceivesGoOn) {
  auto qp = Connected();
  qp->Shutdown();
  EXPECT_EQ(qp->state(), QpState::kShutdown);
  EXPECT_EQ(qp->PostSend(0, memory->Sge(0, 1)), ENOTCONN);
  EXPECT_EQ(qp->PostRecv(0, memory->Sge(0, 1)), 0);
  qp->Shutdown();
  EXPECT_EQ(fake->Count(CommandOpcode::kShutdown), 1u) << "a second time is nothing new";
  Raise(*qp, EventKind::kPeerClosed);
  EXPECT_EQ(qp->state(), QpState::kShutdown);
}

TEST_F(ConnectionTest, GivenShutdownWhenNotConnectedThenRefusedUnlessOver) {
  auto idle = Idle();
  EXPECT_EQ(ErrorOf([&] { idle->Shutdown(); }), ENOTCONN);
  EXPECT_EQ(ErrorOf([&] { Bound()->Shutdown(); }), EINVAL);
  auto over = Connected();
  Raise(*over, EventKind::kDisconnected);
  EXPECT_NO_THROW(over->Shutdown());
}

TEST_F(ConnectionTest, GivenConnectionThatEndsMeanwhileWhenShutDownThenThatIsNoError) {
  auto qp = Connected();
  RefuseAll(CommandOpcode::kShutdown, CommandStatus::kBadState);
  EXPECT_NO_THROW(qp->Shutdown());
}

TEST_F(ConnectionTest, GivenPeerThatClosesTooWhenDisconnectingThenTrue) {
  auto qp = Connected();
  fake->when_idle.push_back([&] {
    fake->RaiseEvent(EventKind::kDisconnected, HandleOf(*qp),
                     static_cast<uint8_t>(abi::DisconnectReason::kClosed));
  });
  EXPECT_TRUE(qp->Disconnect());
  EXPECT_EQ(qp->disconnect_reason(), DisconnectReason::kClosed);
  EXPECT_TRUE(qp->Disconnect()) << "already";
}

TEST_F(ConnectionTest, GivenPeerThatStaysOpenWhenDisconnectingThenFalseAfterTheTime) {
  auto qp = Connected();
  EXPECT_FALSE(qp->Disconnect(std::chrono::milliseconds(2)));
  EXPECT_EQ(qp->state(), QpState::kShutdown);
}

TEST_F(ConnectionTest, GivenOutstandingWorkWhenAbortedThenItIsFlushedWithItsWrIds) {
  auto qp = Connected();
  ASSERT_EQ(qp->PostSend(1, memory->Sge(0, 1), 0), 0);
  ASSERT_EQ(qp->PostSend(2, memory->Sge(0, 1)), 0);
  ASSERT_EQ(qp->PostRecv(3, memory->Sge(0, 1)), 0);
  qp->Abort();
  EXPECT_EQ(qp->state(), QpState::kClosed);
  EXPECT_EQ(qp->disconnect_reason(), DisconnectReason::kAborted);
  const auto completions = PollAll();
  ASSERT_EQ(completions.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(completions[i].wr_id, i + 1);
    EXPECT_EQ(completions[i].status, IBV_WC_WR_FLUSH_ERR);
  }
}

TEST_F(ConnectionTest, GivenAnAbortedQpWhenTheNicIsNotDoneWithItThenItIsNotDrained) {
  auto qp = Connected();
  qp->Abort();
  ASSERT_EQ(qp->state(), QpState::kClosed);
  EXPECT_FALSE(qp->WaitDrained(std::chrono::milliseconds(2)));
  fake->when_idle.push_back([&] {
    fake->RaiseEvent(abi::EventKind::kDisconnected, HandleOf(*qp),
                     static_cast<uint8_t>(abi::DisconnectReason::kAborted));
  });
  EXPECT_TRUE(qp->WaitDrained());
  EXPECT_EQ(qp->disconnect_reason(), DisconnectReason::kAborted);
}

TEST_F(ConnectionTest, GivenIdleQpWhenAbortedThenItStaysIdle) {
  auto qp = Idle();
  EXPECT_TRUE(qp->WaitDrained()) << "nothing is under way";
  qp->Abort();
  EXPECT_EQ(qp->state(), QpState::kIdle);
  EXPECT_NO_THROW(qp->Connect(kPeer));
}

// --- UDP

TEST_F(ConnectionTest, GivenUdpQpWhenBoundThenNumberStateAndEndpointAreThePort) {
  auto qp = Bound(77);
  EXPECT_EQ(qp->qp_num(), 77u);
  EXPECT_EQ(qp->state(), QpState::kConnected);
  EXPECT_EQ(qp->local(), Endpoint::Parse("[fd00::1]:77"));
  EXPECT_EQ(ErrorOf([&] { qp->Bind(78); }), EISCONN);
}

TEST_F(ConnectionTest, GivenPortZeroWhenBoundThenTheNicChooses) {
  auto qp = Bound(0);
  EXPECT_GE(qp->qp_num(), 49152u);
}

TEST_F(ConnectionTest, GivenPortTakenWhenBoundThenAddressInUseAndStillIdle) {
  QpOptions options = Options();
  options.type = QpType::kUdp;
  auto qp = nic->CreateQp(*pd, options);
  RefuseAll(CommandOpcode::kBindUdp, CommandStatus::kAddressInUse);
  EXPECT_EQ(ErrorOf([&] { qp->Bind(7); }), EADDRINUSE);
  EXPECT_EQ(qp->state(), QpState::kIdle);
}

}  // namespace
}  // namespace qpip::test

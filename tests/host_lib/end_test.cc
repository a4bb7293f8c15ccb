// How a connection ended, in completions, streams and texts.
#include "nic_test.h"
#include "qpip/stream.h"
#include "status.h"

namespace qpip::test {
namespace {

using abi::CompletionStatus;
using testing::HasSubstr;

class EndTest : public NicTest {
 protected:
  void End(QueuePair& qp, abi::DisconnectReason reason,
           CompletionStatus head = CompletionStatus::kFlushed) {
    fake->Flush(HandleOf(qp), head, reason);
    fake->RaiseEvent(abi::EventKind::kDisconnected, HandleOf(qp), static_cast<uint8_t>(reason));
  }
};

TEST_F(EndTest, GivenWorkFlushedWhenPolledThenEachCompletionSaysWhy) {
  const struct {
    abi::DisconnectReason sent;
    DisconnectReason reason;
    int code;
    const char* text;
  } cases[] = {
      {abi::DisconnectReason::kReset, DisconnectReason::kReset, ECONNRESET, "reset by peer"},
      {abi::DisconnectReason::kTimedOut, DisconnectReason::kTimedOut, ETIMEDOUT, "timed out"},
      {abi::DisconnectReason::kUnreachable, DisconnectReason::kUnreachable, EHOSTUNREACH,
       "unreachable"},
      {abi::DisconnectReason::kAborted, DisconnectReason::kAborted, ECONNABORTED,
       "aborted from this side"},
      {abi::DisconnectReason::kClosed, DisconnectReason::kClosed, EPIPE, "closed"},
  };
  for (const auto& expected : cases) {
    auto qp = Connected();
    for (int i = 0; i < 2; ++i) ASSERT_EQ(qp->PostSend(1, memory->Sge(0, 1)), 0);
    ASSERT_EQ(qp->PostRecv(2, memory->Sge(0, 1)), 0);
    End(*qp, expected.sent);
    const auto completions = PollAll();
    ASSERT_EQ(completions.size(), 3u);
    for (const WorkCompletion& completion : completions) {
      EXPECT_EQ(completion.status, IBV_WC_WR_FLUSH_ERR);
      EXPECT_EQ(completion.reason, expected.reason);
      EXPECT_THAT(Describe(completion), HasSubstr(expected.text));
    }
    EXPECT_EQ(ErrnoOf(expected.reason), expected.code);
    EXPECT_THAT(qp->DescribeEnd(), HasSubstr("[fd00::2]:5001"));
    EXPECT_THAT(qp->DescribeEnd(), HasSubstr(expected.text));
  }
}

TEST_F(EndTest, GivenSuccessWhenPolledThenThereIsNoReason) {
  auto qp = Connected();
  ASSERT_EQ(qp->PostSend(1, memory->Sge(0, 1)), 0);
  fake->CompleteSend(HandleOf(*qp), 0);
  const WorkCompletion completion = PollAll().at(0);
  EXPECT_EQ(completion.reason, DisconnectReason::kNone);
  EXPECT_EQ(Describe(completion), "success");
}

TEST_F(EndTest, GivenRequestOfOurOwnThatFailedWhenDescribedThenTheStatusIsEnough) {
  WorkCompletion completion;
  completion.status = IBV_WC_LOC_LEN_ERR;
  completion.reason = DisconnectReason::kLocalError;
  EXPECT_EQ(Describe(completion), "message longer than its receive");
}

TEST_F(EndTest, GivenLinkThatIsGoneWhenPolledThenNotThePeerIsBlamed) {
  auto qp = Connected();
  ASSERT_EQ(qp->PostSend(1, memory->Sge(0, 1)), 0);
  fake->RaiseTrouble({.fatal = true, .code = ENETDOWN, .peer = {}, .what = "tun0 was deleted"});
  End(*qp, abi::DisconnectReason::kUnreachable);
  EXPECT_EQ(PollAll().at(0).reason, DisconnectReason::kWireFailed);
  EXPECT_THAT(qp->DescribeEnd(), HasSubstr("tun0 was deleted"));
}

TEST_F(EndTest, GivenIcmpErrorBeforeTheTimeOutWhenDescribedThenItIsNamedAndStillToBeTaken) {
  auto qp = Connected();
  fake->notices = {abi::kNoticeIcmpError, 0, 3, 1 << 8 | 3};
  fake->RaiseEvent(abi::EventKind::kNotice, HandleOf(*qp));
  End(*qp, abi::DisconnectReason::kUnreachable);
  nic->Counters();  // takes the events
  EXPECT_THAT(qp->DescribeEnd(), HasSubstr("address unreachable (type 1, code 3)"));
  fake->notices = {0, 0, 3, 1 << 8 | 3};  // the NIC has told it once
  EXPECT_TRUE(qp->has_notices());
  EXPECT_TRUE(qp->TakeNotices().icmp_error);
  EXPECT_FALSE(qp->TakeNotices().icmp_error);
}

TEST_F(EndTest, GivenIcmpErrorWhenConnectingFailsThenTheErrorNamesIt) {
  fake->connect_outcome.event = abi::EventKind::kConnectFailed;
  fake->connect_outcome.reason = abi::DisconnectReason::kUnreachable;
  fake->notices = {abi::kNoticeIcmpError, 0, 1, 1 << 8 | 1};
  auto qp = Idle();
  std::string what;
  EXPECT_EQ(ErrorOf([&] { qp->Connect(kPeer); }, &what), EHOSTUNREACH);
  EXPECT_THAT(what, HasSubstr("administratively prohibited (type 1, code 1)"));
}

TEST_F(EndTest, GivenEachIcmpErrorWhenPrintedThenRfc4443sWords) {
  EXPECT_EQ(internal::IcmpText(1, 0), "no route to the destination (type 1, code 0)");
  EXPECT_EQ(internal::IcmpText(1, 6), "route rejected (type 1, code 6)");
  EXPECT_EQ(internal::IcmpText(1, 7), "destination unreachable (type 1, code 7)");
  EXPECT_EQ(internal::IcmpText(3, 0), "time exceeded (type 3, code 0)");
  EXPECT_EQ(internal::IcmpText(0, 0), "unknown error (type 0, code 0)");
  EXPECT_EQ(internal::IcmpText(200, 1), "unknown error (type 200, code 1)");
}

TEST_F(EndTest, GivenResetThatOnlyTheQpKnowsOfWhenTheStreamIsUsedThenItIsNotCalledFlushed) {
  QpOptions options = Options();
  options.framing = Framing::kStream;
  auto qp = Connected(options);
  StreamWriter writer(*pd, *qp);
  StreamReader reader(*pd, *qp, {.buffer_bytes = 10, .buffers = 1});
  fake->CompleteRecv(HandleOf(*qp), Bytes(10));
  for (const WorkCompletion& completion : PollAll()) reader.OnCompletion(completion);
  End(*qp, abi::DisconnectReason::kReset);
  nic->Counters();  // takes the event
  EXPECT_EQ(writer.Write("abc"), 0u);
  EXPECT_EQ(writer.error(), IBV_WC_REM_ABORT_ERR);
  EXPECT_EQ(writer.reason(), DisconnectReason::kReset);
  char out[10];
  EXPECT_TRUE(reader.TryReadExact(out));
  EXPECT_EQ(reader.state(), StreamState::kError);
  EXPECT_EQ(reader.error(), IBV_WC_REM_ABORT_ERR);
  EXPECT_EQ(reader.reason(), DisconnectReason::kReset);
}

TEST_F(EndTest, GivenConnectionThatIsOpenWhenDescribedThenThereIsNoReason) {
  EXPECT_THAT(Connected()->DescribeEnd(), HasSubstr("none"));
}

}  // namespace
}  // namespace qpip::test

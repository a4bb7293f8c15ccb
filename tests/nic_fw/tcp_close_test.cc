// TCP connections that end: FIN, RST, silence, and what becomes of work requests.
#include "tcp_transfer.h"

namespace qpip::fw::test {
namespace {

TEST_F(Transfer, GivenHalfCloseWhenPeerKeepsSendingThenDataStillFlowsAndFinEndsBoth) {
  pair.a.PostRecv(*pair.qp_a, {SgeOf(source, pair.a.Register(source), 0, 4096)});
  pair.a.PostRecv(*pair.qp_a, {SgeOf(source, source_key, 0, 4096)});
  pair.b.PostRecv(*pair.qp_b, {Dst(0, 64)});
  pair.b.PostRecv(*pair.qp_b, {Dst(64, 64)});
  pair.cable.Run();
  pair.a.PostSend(*pair.qp_a, {Src(0, 10)});
  ASSERT_EQ(pair.a.QpCommand(abi::CommandOpcode::kShutdown, *pair.qp_a).status, 0);
  pair.cable.Run();
  const auto received = pair.b.Poll(*pair.cq_b);
  ASSERT_EQ(received.size(), 2u);
  EXPECT_EQ(received[0].byte_length, 10u);
  EXPECT_EQ(received[1].byte_length, 0u);
  EXPECT_EQ(received[1].flags, abi::kCqeEndOfStream);
  EXPECT_EQ(EventsOf(pair.b, abi::EventKind::kPeerClosed).size(), 1u);
  // The other direction still works.
  const uint32_t key = pair.b.Register(sink, 0);
  pair.b.PostSend(*pair.qp_b, {SgeOf(sink, key, 0, 20)});
  pair.cable.Run();
  ASSERT_EQ(Only(pair.a.Poll(*pair.cq_a), true).size(), 1u);
  ASSERT_EQ(pair.b.QpCommand(abi::CommandOpcode::kShutdown, *pair.qp_b).status, 0);
  pair.cable.Run();
  const auto end = Only(pair.a.Poll(*pair.cq_a), true);
  ASSERT_EQ(end.size(), 1u);
  EXPECT_EQ(end[0].flags, abi::kCqeEndOfStream);
  for (FirmwareBench* bench : {&pair.a, &pair.b}) {
    const auto events = EventsOf(*bench, abi::EventKind::kDisconnected);
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].status, static_cast<uint8_t>(abi::DisconnectReason::kClosed));
  }
}

TEST_F(Transfer, GivenOutstandingWorkWhenPeerResetsThenHeadsSayAbortedRestFlushed) {
  for (int i = 0; i < 3; ++i) pair.a.PostRecv(*pair.qp_a, {Src(0, 64)});
  for (uint32_t i = 0; i < 3; ++i) pair.a.PostSend(*pair.qp_a, {Src(i, 1)});
  pair.cable.Run();  // the peer has no receive posted: all stay outstanding
  pair.b.QpCommand(abi::CommandOpcode::kAbort, *pair.qp_b);
  pair.cable.Run();
  const auto all = pair.a.Poll(*pair.cq_a);
  for (const bool recv : {false, true}) {
    const auto flushed = Only(all, recv);
    ASSERT_EQ(flushed.size(), 3u);
    for (uint32_t i = 0; i < 3; ++i) {
      EXPECT_EQ(flushed[i].wqe_index, i);
      EXPECT_EQ(Status(flushed[i]), Status(i == 0 ? abi::CompletionStatus::kRemoteAborted
                                                  : abi::CompletionStatus::kFlushed));
    }
  }
}

TEST_F(Transfer, GivenFinBehindTextBeingPlacedWhenDestroyedAtOnceThenFinIsAcknowledged) {
  for (uint32_t i = 0; i < 3; ++i) pair.b.PostRecv(*pair.qp_b, {Dst(i * 64, 64)});
  pair.a.PostSend(*pair.qp_a, {Src(0, 10)});
  ASSERT_EQ(pair.b.QpCommand(abi::CommandOpcode::kShutdown, *pair.qp_b).status, 0);
  pair.cable.Run();
  ASSERT_EQ(pair.b.Poll(*pair.cq_b).size(), 1u);
  pair.b.hardware.hold_dma = true;
  pair.a.PostSend(*pair.qp_a, {Src(0, 10)});
  ASSERT_EQ(pair.a.QpCommand(abi::CommandOpcode::kShutdown, *pair.qp_a).status, 0);
  pair.cable.Run();
  ASSERT_TRUE(EventsOf(pair.a, abi::EventKind::kDisconnected).empty());
  // The text is placed, and the queue pair destroyed before the batch of frames is over.
  for (int i = 0; i < 8; ++i) pair.b.hardware.incoming.emplace_back(60);
  pair.b.hardware.hold_dma = false;
  ASSERT_EQ(pair.b.QpCommand(abi::CommandOpcode::kDestroyQp, *pair.qp_b).status, 0);
  EXPECT_EQ(EventsOf(pair.b, abi::EventKind::kDisconnected).size(), 1u);
  pair.cable.Run();
  const auto ended = EventsOf(pair.a, abi::EventKind::kDisconnected);
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].status, static_cast<uint8_t>(abi::DisconnectReason::kClosed));
}

TEST_F(Transfer, GivenShutdownWhoseFinHasNotLeftWhenDestroyedThenItLeavesAndNobodyIsReset) {
  // Others' turns to send come first: both commands are served before it is this queue pair's.
  std::vector<std::unique_ptr<TestQp>> others;
  for (uint16_t i = 0; i < 8; ++i) {
    others.push_back(pair.a.CreateQp(*pair.cq_a, {.type = abi::QpType::kUdp}));
    pair.a.Bind(*others.back(), static_cast<uint16_t>(3000 + i));
  }
  for (const auto& other : others) {
    for (int i = 0; i < 2; ++i) pair.a.PostInline(*other, "datagram", 2, 9);
  }
  abi::Command shutdown;
  shutdown.opcode = static_cast<uint8_t>(abi::CommandOpcode::kShutdown);
  shutdown.qp.qp = pair.qp_a->handle;
  pair.a.PostCommand(shutdown);
  ASSERT_EQ(pair.a.QpCommand(abi::CommandOpcode::kDestroyQp, *pair.qp_a).status, 0);
  pair.cable.Run();
  EXPECT_EQ(EventsOf(pair.b, abi::EventKind::kPeerClosed).size(), 1u);
  ASSERT_EQ(pair.b.QpCommand(abi::CommandOpcode::kShutdown, *pair.qp_b).status, 0);
  pair.cable.Run();
  const auto ended = EventsOf(pair.b, abi::EventKind::kDisconnected);
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].status, static_cast<uint8_t>(abi::DisconnectReason::kClosed));
}

TEST_F(Transfer, GivenTextBeingFetchedWhenInlineTextAndFinAreDueThenNeitherOvertakesIt) {
  pair.a.PostSend(*pair.qp_a, {Src(0, 100)});
  pair.a.PostInline(*pair.qp_a, "behind");
  pair.cable.Run();  // the window is shut
  pair.a.hardware.hold_dma = true;
  for (uint32_t i = 0; i < 3; ++i) pair.b.PostRecv(*pair.qp_b, {Dst(i * 128, 128)});
  ASSERT_EQ(pair.a.QpCommand(abi::CommandOpcode::kShutdown, *pair.qp_a).status, 0);
  uint32_t left = 0;
  pair.cable.filter = [&](Frame&, bool from_a) { return left += from_a, true; };
  pair.cable.Run();
  EXPECT_EQ(left, 0u);
  pair.a.hardware.hold_dma = false;
  pair.cable.Run();
  const auto received = pair.b.Poll(*pair.cq_b);
  ASSERT_EQ(received.size(), 3u);
  EXPECT_EQ(received[0].byte_length, 100u);
  EXPECT_EQ(received[1].byte_length, 6u);
  EXPECT_EQ(received[2].flags, abi::kCqeEndOfStream);
  EXPECT_EQ(pair.b.Counter(abi::NicCounter::kTcpSegmentsHeld), 0u);
}

TEST_F(Transfer, GivenMessagesOnTheirWayToReceivesWhenPeerResetsThenEveryReceiveIsFlushed) {
  for (uint32_t i = 0; i < 4; ++i) pair.b.PostRecv(*pair.qp_b, {Dst(i * 64, 64)});
  pair.a.PostSend(*pair.qp_a, {Src(0, 10)});
  pair.cable.Run();
  ASSERT_EQ(pair.b.Poll(*pair.cq_b).size(), 1u);  // and the others have been fetched
  pair.b.hardware.hold_dma = true;
  pair.a.PostSend(*pair.qp_a, {Src(0, 10)});
  pair.a.PostSend(*pair.qp_a, {Src(0, 10)});
  pair.cable.Run();
  pair.a.QpCommand(abi::CommandOpcode::kAbort, *pair.qp_a);
  pair.cable.Run();
  EXPECT_TRUE(pair.b.Poll(*pair.cq_b).empty()) << "the memory is still being written";
  pair.b.hardware.hold_dma = false;
  pair.cable.Run();
  const auto flushed = pair.b.Poll(*pair.cq_b);
  ASSERT_EQ(flushed.size(), 3u);
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(flushed[i].wqe_index, i + 1);
    EXPECT_EQ(Status(flushed[i]), Status(i == 0 ? abi::CompletionStatus::kRemoteAborted
                                                : abi::CompletionStatus::kFlushed));
  }
}

TEST_F(Transfer, GivenEndOfStreamDeliveredWhenReceiveIsPostedWhileResetDrainsThenItIsFlushed) {
  pair.b.hardware.give_leases = true;
  pair.a.PostRecv(*pair.qp_a, {Src(0, 64)});
  for (uint32_t i = 0; i < 2; ++i) pair.b.PostRecv(*pair.qp_b, {Dst(i * 64, 64)});
  pair.a.Run();
  ASSERT_EQ(pair.a.QpCommand(abi::CommandOpcode::kShutdown, *pair.qp_a).status, 0);
  pair.cable.Run();
  const auto ended = pair.b.Poll(*pair.cq_b);
  ASSERT_EQ(ended.size(), 2u);
  ASSERT_EQ(ended[0].flags, abi::kCqeEndOfStream);
  ASSERT_EQ(Status(ended[1]), Status(abi::CompletionStatus::kFlushed));
  // The queue pair drains until the wire has read what was sent.
  const uint32_t key = pair.b.Register(sink, 0);
  pair.cable.filter = [](Frame&, bool from_a) { return from_a; };
  pair.b.PostSend(*pair.qp_b, {SgeOf(sink, key, 0, 10)});
  pair.cable.Run();
  pair.a.QpCommand(abi::CommandOpcode::kAbort, *pair.qp_a);
  pair.cable.Run();
  pair.b.PostRecv(*pair.qp_b, {Dst(0, 64)});
  pair.cable.Run();
  ASSERT_TRUE(pair.b.Poll(*pair.cq_b).empty()) << "the wire may still read the memory";
  pair.b.hardware.leases_ended = 1000;
  pair.b.Advance(kMs);
  const auto all = pair.b.Poll(*pair.cq_b);
  ASSERT_EQ(Only(all, false).size(), 1u);
  EXPECT_EQ(Status(Only(all, false)[0]), Status(abi::CompletionStatus::kRemoteAborted));
  ASSERT_EQ(Only(all, true).size(), 1u);
  EXPECT_EQ(Status(Only(all, true)[0]), Status(abi::CompletionStatus::kFlushed));
}

TEST_F(Transfer, GivenPeerSilentWhenUserTimeoutPassesThenRetryExceeded) {
  pair.b.PostRecv(*pair.qp_b, {Dst(0, 64)});
  pair.cable.Run();
  pair.cable.filter = [](Frame&, bool) { return false; };
  pair.a.PostSend(*pair.qp_a, {Src(0, 1)});
  pair.cable.Advance((pair.a.config.tcp.user_timeout_ms + 20000) * kMs, 100 * kMs);
  const auto sent = pair.a.Poll(*pair.cq_a);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(Status(sent[0]), Status(abi::CompletionStatus::kRetryExceeded));
}

TEST_F(Transfer, GivenPeerPortDiesThenConnectionsToItEnd) {
  pair.a.PostSend(*pair.qp_a, {Src(0, 1)});
  pair.cable.Run();
  const abi::Ip6Address dead = Address(2);
  pair.a.hardware.incoming.emplace_back(dead.bytes, dead.bytes + 16);
  pair.a.Run();
  const auto sent = pair.a.Poll(*pair.cq_a);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(Status(sent[0]), Status(abi::CompletionStatus::kRemoteAborted));
  const auto events = EventsOf(pair.a, abi::EventKind::kDisconnected);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].status, static_cast<uint8_t>(abi::DisconnectReason::kUnreachable));
}

TEST_F(Transfer, GivenConnectedWhenDestroyedThenPeerIsResetAndMemoryIsFreeOnAnswer) {
  pair.a.PostRecv(*pair.qp_a, {Src(0, 64)});
  pair.a.Run();
  pair.a.hardware.hold_dma = true;
  pair.a.PostSend(*pair.qp_a, {Src(0, 1)});
  pair.a.Run();
  // While a DMA is outstanding the command is not answered (kind stays kNone).
  EXPECT_EQ(pair.a.QpCommand(abi::CommandOpcode::kDestroyQp, *pair.qp_a).kind, 0);
  pair.a.hardware.hold_dma = false;
  pair.cable.Run();
  EXPECT_EQ(EventsOf(pair.a, abi::EventKind::kCommandDone).size(), 1u);
  EXPECT_EQ(pair.a.Poll(*pair.cq_a).size(), 2u);  // both flushed before the answer
  EXPECT_EQ(EventsOf(pair.b, abi::EventKind::kDisconnected).size(), 1u);
}

TEST_F(Transfer, GivenLeasePendingWhenResetThenFlushWaitsForTheLease) {
  pair.a.hardware.give_leases = true;
  pair.b.PostRecv(*pair.qp_b, {Dst(0, 64)});
  pair.b.Run();
  pair.cable.Run();
  pair.cable.filter = [](Frame&, bool from_a) { return !from_a; };
  pair.a.PostSend(*pair.qp_a, {Src(0, 10)});
  pair.cable.Run();
  pair.b.QpCommand(abi::CommandOpcode::kAbort, *pair.qp_b);
  pair.cable.Run();
  EXPECT_TRUE(pair.a.Poll(*pair.cq_a).empty()) << "the wire may still read the memory";
  pair.a.hardware.leases_ended = 1000;
  pair.a.Advance(kMs);
  EXPECT_EQ(pair.a.Poll(*pair.cq_a).size(), 1u);
}

/// A queue pair of `a` whose one send's payload lies on the wire, unread.
struct Leased : Transfer {
  void SetUp() override {
    Transfer::SetUp();
    pair.b.PostRecv(*pair.qp_b, {Dst(0, 4096)});
    pair.cable.Run();
    pair.a.hardware.give_leases = true;
    pair.cable.filter = [](Frame&, bool from_a) { return !from_a; };
    pair.a.PostSend(*pair.qp_a, {Src(0, 1000)});
    pair.cable.Run();
  }
};

TEST_F(Leased, GivenAReceiverThatIsStoppedWhenAbortedThenItsLeaseIsRevokedAndTheSendFlushed) {
  pair.a.QpCommand(abi::CommandOpcode::kAbort, *pair.qp_a);
  pair.a.hardware.receiver_quiet_ms = 249;
  pair.a.Advance(kMs);
  EXPECT_TRUE(pair.a.Poll(*pair.cq_a).empty()) << "it may be about to read";
  EXPECT_TRUE(pair.a.hardware.revoked.empty());
  pair.a.hardware.receiver_quiet_ms = 250;
  pair.a.Advance(10 * kMs);
  const auto completions = pair.a.Poll(*pair.cq_a);
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].status, static_cast<uint8_t>(abi::CompletionStatus::kFlushed));
  ASSERT_EQ(pair.a.hardware.revoked.size(), 1u);
  EXPECT_EQ(pair.a.hardware.revoked[0].second, pair.qp_a->handle);
  EXPECT_EQ(pair.a.Counter(abi::NicCounter::kLeasesRevoked), 1u);
}

TEST_F(Leased, GivenAReceiverThatReadsALittleNowAndThenWhenAbortedThenItHasTheUserTimeout) {
  pair.a.hardware.receiver_quiet_ms = 0;
  pair.a.QpCommand(abi::CommandOpcode::kAbort, *pair.qp_a);
  pair.a.Advance(99'000 * kMs);
  EXPECT_TRUE(pair.a.Poll(*pair.cq_a).empty());
  pair.a.Advance(1'001 * kMs);
  EXPECT_EQ(pair.a.Poll(*pair.cq_a).size(), 1u);
  EXPECT_EQ(pair.a.hardware.revoked.size(), 1u);
}

TEST_F(Leased, GivenTheUserTimeoutPassesWhenTheReceiverIsStoppedThenItIsToldAtOnce) {
  pair.a.hardware.receiver_quiet_ms = 0;  // as far as the wire has seen
  pair.a.Advance(101'000 * kMs);
  const auto completions = pair.a.Poll(*pair.cq_a);
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].status, static_cast<uint8_t>(abi::CompletionStatus::kRetryExceeded));
  EXPECT_EQ(pair.a.hardware.revoked.size(), 1u);
}

TEST_F(Leased, GivenAReceiverThatIsStoppedWhenDestroyedThenTheCommandIsAnswered) {
  pair.a.hardware.receiver_quiet_ms = 1000;
  EXPECT_EQ(pair.a.QpCommand(abi::CommandOpcode::kDestroyQp, *pair.qp_a).status, 0);
  EXPECT_EQ(pair.a.hardware.revoked.size(), 1u);
}

TEST_F(Leased, GivenTextSentAgainThatIsNotReadWhenTheUserTimeoutPassesThenTheConnectionEnds) {
  pair.cable.filter = [](Frame&, bool) { return true; };
  pair.a.Advance(1000 * kMs);  // sent again, and acknowledged
  pair.cable.Run();
  ASSERT_EQ(pair.b.Poll(*pair.cq_b).size(), 1u);
  EXPECT_TRUE(pair.a.Poll(*pair.cq_a).empty()) << "the wire holds the second copy";
  pair.a.hardware.receiver_quiet_ms = 99'999;
  pair.a.Advance(10 * kMs);
  EXPECT_TRUE(EventsOf(pair.a, abi::EventKind::kDisconnected).empty());
  pair.a.hardware.receiver_quiet_ms = 100'000;
  pair.a.Advance(10 * kMs);
  EXPECT_EQ(EventsOf(pair.a, abi::EventKind::kDisconnected).size(), 1u);
  const auto completions = pair.a.Poll(*pair.cq_a);
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].status, static_cast<uint8_t>(abi::CompletionStatus::kSuccess));
}

TEST_F(Leased, GivenALeaseThatDoesNotEndWhenDrainingThenItIsLookedAtLessAndLessOften) {
  pair.a.QpCommand(abi::CommandOpcode::kAbort, *pair.qp_a);
  uint32_t steps = 0;
  const uint64_t end = pair.a.now + 10'000 * kMs;
  for (; pair.a.now < end; ++steps) {
    pair.a.now = qpip_fw_next_deadline(pair.a.arena.data());
    pair.a.Run();
  }
  EXPECT_LT(steps, 2500u) << "in ten seconds";
}

TEST_F(Transfer, GivenTextThatItsSenderTakesBackWhenPlacedThenTheConnectionEndsAsReset) {
  pair.b.PostRecv(*pair.qp_b, {Dst(0, 64)});
  pair.b.Run();
  pair.cable.Run();
  pair.b.hardware.frames_taken_back = true;
  pair.a.PostSend(*pair.qp_a, {Src(0, 10)});
  pair.cable.Run();
  const auto completions = pair.b.Poll(*pair.cq_b);
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].status, static_cast<uint8_t>(abi::CompletionStatus::kRemoteAborted));
  EXPECT_EQ(EventsOf(pair.b, abi::EventKind::kDisconnected).size(), 1u);
}

TEST_F(Transfer, GivenTextForThePoolThatItsSenderTakesBackWhenPlacedThenItsConnectionIsReset) {
  pair.b.PostRecv(*pair.qp_b, {Dst(0, 64)});
  pair.cable.Run();
  pair.a.PostSend(*pair.qp_a, {Src(0, 10)});
  pair.cable.Run();
  ASSERT_EQ(pair.b.Poll(*pair.cq_b).size(), 1u);
  pair.b.hardware.frames_taken_back = true;
  pair.a.PostSend(*pair.qp_a, {Src(0, 10)});
  pair.cable.Run();
  EXPECT_EQ(EventsOf(pair.b, abi::EventKind::kDisconnected).size(), 1u);
}

TEST(TcpOrphan, GivenBothClosedWhenDestroyedInTimeWaitThenSlotIsFreedAfterTwoMsl) {
  NicConfig config = FirmwareBench::DefaultConfig();
  config.max_qps = 1;
  config.tcp.time_wait_ms = 1000;
  ConnectedPair pair({}, config);
  pair.a.QpCommand(abi::CommandOpcode::kShutdown, *pair.qp_a);
  pair.cable.Run();
  pair.b.QpCommand(abi::CommandOpcode::kShutdown, *pair.qp_b);
  pair.cable.Run();
  EXPECT_EQ(pair.a.QpCommand(abi::CommandOpcode::kDestroyQp, *pair.qp_a).status, 0);
  // The entry is held by TIME-WAIT, yet a new queue pair may have it when there is no other.
  auto again = pair.a.CreateQp(*pair.cq_a);
  EXPECT_EQ(pair.a.QpCommand(abi::CommandOpcode::kDestroyQp, *again).status, 0);
}

TEST(TcpOrphan, GivenAnEndThatThePeerHasNotSeenWhenItsEntryIsTakenThenThePeerIsReset) {
  NicConfig config = FirmwareBench::DefaultConfig();
  config.max_qps = 1;
  ConnectedPair pair({}, config);
  pair.a.QpCommand(abi::CommandOpcode::kShutdown, *pair.qp_a);
  pair.a.Run();
  pair.a.hardware.outgoing.clear();  // the FIN is lost
  EXPECT_EQ(pair.a.QpCommand(abi::CommandOpcode::kDestroyQp, *pair.qp_a).status, 0);
  pair.a.CreateQp(*pair.cq_a);
  pair.cable.Run();
  const auto events = EventsOf(pair.b, abi::EventKind::kDisconnected);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].status, static_cast<uint8_t>(abi::DisconnectReason::kReset));
}

TEST_F(Transfer, GivenASendWhoseDoorbellIsLateWhenShutDownThenItGoesInFrontOfTheEnd) {
  pair.b.PostRecv(*pair.qp_b, {Dst(0, 64)});
  pair.b.PostRecv(*pair.qp_b, {Dst(64, 64)});
  pair.cable.Run();
  pair.a.PostSend(*pair.qp_a, {Src(0, 10)});
  const auto late = std::exchange(pair.a.hardware.doorbells, {});
  pair.a.QpCommand(abi::CommandOpcode::kShutdown, *pair.qp_a);
  pair.a.hardware.doorbells.insert(pair.a.hardware.doorbells.end(), late.begin(), late.end());
  pair.cable.Run();
  const auto received = pair.b.Poll(*pair.cq_b);
  ASSERT_GE(received.size(), 1u);
  EXPECT_EQ(received[0].byte_length, 10u);
  const auto sent = pair.a.Poll(*pair.cq_a);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].status, static_cast<uint8_t>(abi::CompletionStatus::kSuccess));
}

}  // namespace
}  // namespace qpip::fw::test

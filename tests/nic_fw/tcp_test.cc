// TCP queue pairs between two NICs on benches: connections, messages, windows, endings.
#include "test_support.h"

namespace qpip::fw::test {
namespace {

TEST(TcpConnect, GivenOfferedQp_WhenConnect_ThenBothSidesHearOfEstablished) {
  ConnectedPair pair;  // checks the events
  EXPECT_EQ(pair.a.Counter(abi::NicCounter::kConnectionsEstablished), 1u);
  EXPECT_EQ(pair.b.Counter(abi::NicCounter::kConnectionsEstablished), 1u);
  EXPECT_EQ(pair.a.AllDrops() + pair.b.AllDrops(), 0u);
}

TEST(TcpConnect, GivenNobodyListens_WhenConnect_ThenRefused) {
  FirmwareBench a{1}, b{2};
  Cable cable{a, b, {}};
  auto cq = a.CreateCq();
  auto qp = a.CreateQp(*cq);
  ASSERT_EQ(a.Connect(*qp, 2, 9).status, 0);
  cable.Run();
  const auto failed = EventsOf(a, abi::EventKind::kConnectFailed);
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].status, static_cast<uint8_t>(abi::DisconnectReason::kRefused));
}

TEST(TcpConnect, GivenNoRoute_WhenConnect_ThenUnreachableAtOnce) {
  FirmwareBench a{1};
  a.hardware.no_route = true;
  auto cq = a.CreateCq();
  auto qp = a.CreateQp(*cq);
  ASSERT_EQ(a.Connect(*qp, 2, 9).status, 0);
  const auto failed = EventsOf(a, abi::EventKind::kConnectFailed);
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].status, static_cast<uint8_t>(abi::DisconnectReason::kUnreachable));
}

TEST(TcpConnect, GivenSilence_WhenConnectTimeOutPasses_ThenTimedOut) {
  FirmwareBench a{1};
  auto cq = a.CreateCq();
  auto qp = a.CreateQp(*cq);
  ASSERT_EQ(a.Connect(*qp, 2, 9).status, 0);
  a.Advance(a.config.connect_timeout_ms * kMs / 2);
  EXPECT_TRUE(EventsOf(a, abi::EventKind::kConnectFailed).empty());
  a.Advance(a.config.connect_timeout_ms * kMs);
  const auto failed = EventsOf(a, abi::EventKind::kConnectFailed);
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].status, static_cast<uint8_t>(abi::DisconnectReason::kTimedOut));
  EXPECT_GE(a.Counter(abi::NicCounter::kTcpRetransmissionTimeouts), 2u);
}

TEST(TcpConnect, GivenAWireThatIsFull_WhenRoomAppears_ThenTheSynsGoAtOnce) {
  FirmwareBench a{1}, b{2};
  Cable cable{a, b, {}};
  auto cq_a = a.CreateCq();
  auto cq_b = b.CreateCq();
  auto qp_a = a.CreateQp(*cq_a);
  auto qp_b = b.CreateQp(*cq_b);
  b.Offer(b.Listen(7).result[0], *qp_b);
  a.hardware.wire_full = true;
  b.hardware.wire_full = true;
  a.Connect(*qp_a, 2, 7);
  a.Run();  // comes to rest
  a.hardware.wire_full = false;
  cable.Run();
  EXPECT_TRUE(EventsOf(a, abi::EventKind::kEstablished).empty());
  b.hardware.wire_full = false;
  cable.Run();
  EXPECT_EQ(EventsOf(a, abi::EventKind::kEstablished).size(), 1u);
  EXPECT_EQ(a.Counter(abi::NicCounter::kTcpRetransmissionTimeouts), 0u);
}

TEST(TcpListen, GivenNoIdleQp_WhenSynArrives_ThenItWaitsAndIsMatedByAnOffer) {
  FirmwareBench a{1}, b{2};
  Cable cable{a, b, {}};
  auto cq_a = a.CreateCq();
  auto cq_b = b.CreateCq();
  auto qp_a = a.CreateQp(*cq_a);
  auto qp_b = b.CreateQp(*cq_b);
  const uint32_t listener = b.Listen(7).result[0];
  a.Connect(*qp_a, 2, 7);
  cable.Run();
  EXPECT_TRUE(EventsOf(a, abi::EventKind::kEstablished).empty());
  b.Offer(listener, *qp_b);
  cable.Run();
  EXPECT_EQ(EventsOf(a, abi::EventKind::kEstablished).size(), 1u);
  EXPECT_EQ(EventsOf(b, abi::EventKind::kEstablished).size(), 1u);
}

TEST(TcpListen, GivenBacklogFull_WhenAnotherSyn_ThenDroppedAndCounted) {
  FirmwareBench a{1}, b{2};
  Cable cable{a, b, {}};
  auto cq = a.CreateCq();
  b.Listen(7, 2);
  std::vector<std::unique_ptr<TestQp>> qps;
  for (int i = 0; i < 3; ++i) {
    qps.push_back(a.CreateQp(*cq));
    a.Connect(*qps.back(), 2, 7);
  }
  cable.Run();
  EXPECT_EQ(b.Dropped(abi::DropReason::kBacklogFull), 1u);
}

TEST(TcpListen, GivenHandshakeUnderWay_WhenListenerCloses_ThenConnectFailedIsReported) {
  FirmwareBench a{1}, b{2};
  Cable cable{a, b, {}};
  auto cq_a = a.CreateCq();
  auto cq_b = b.CreateCq();
  auto qp_a = a.CreateQp(*cq_a);
  auto qp_b = b.CreateQp(*cq_b);
  const uint32_t listener = b.Listen(7).result[0];
  b.Offer(listener, *qp_b);
  cable.filter = [](Frame&, bool from_a) { return from_a; };  // SYN-ACKs are lost
  a.Connect(*qp_a, 2, 7);
  cable.Run();
  abi::Command command;
  command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kCloseListener);
  command.close_listener.listener = listener;
  ASSERT_EQ(b.Command(command).status, 0);
  const auto failed = EventsOf(b, abi::EventKind::kConnectFailed);
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].status, static_cast<uint8_t>(abi::DisconnectReason::kAborted));
}

TEST(TcpListen, GivenPortTaken_WhenListen_ThenAddressInUse) {
  FirmwareBench b{2};
  EXPECT_EQ(b.Listen(7).status, 0);
  EXPECT_EQ(b.Listen(7).status, static_cast<uint8_t>(abi::CommandStatus::kAddressInUse));
}

// ---------------------------------------------------------------- messages

struct Transfer : ::testing::Test {
  ConnectedPair pair;
  HostMemory source{pair.a.hardware, 1 << 20};
  HostMemory sink{pair.b.hardware, 1 << 20};
  uint32_t source_key = pair.a.Register(source, 0);
  uint32_t sink_key = pair.b.Register(sink);

  void SetUp() override { FillPattern(source); }
  abi::Sge Src(uint64_t offset, uint32_t length) {
    return SgeOf(source, source_key, offset, length);
  }
  abi::Sge Dst(uint64_t offset, uint32_t length) { return SgeOf(sink, sink_key, offset, length); }
  bool Same(uint64_t from, uint64_t to, size_t length) {
    return std::memcmp(source.data() + from, sink.data() + to, length) == 0;
  }
};

TEST_F(Transfer, GivenPostedReceive_WhenOneByteIsSent_ThenBothSidesComplete) {
  pair.b.PostRecv(*pair.qp_b, {Dst(0, 64)});
  pair.a.PostSend(*pair.qp_a, {Src(5, 1)});
  pair.cable.Run();
  const auto received = pair.b.Poll(*pair.cq_b);
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(received[0].byte_length, 1u);
  EXPECT_EQ(received[0].status, 0);
  EXPECT_TRUE(Same(5, 0, 1));
  // A lone message is acknowledged at once: no delayed-ACK timer passes.
  const auto sent = pair.a.Poll(*pair.cq_a);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].status, 0);
}

TEST(TcpDelayedAck, GivenNoAckOnBatchEnd_WhenLoneMessageArrives_ThenAcknowledgedByTheTimer) {
  NicConfig config = FirmwareBench::DefaultConfig();
  config.ack_on_batch_end = 0;
  config.ack_delay_us = 200'000;
  config.rto_min_us = 1'000'000;
  ConnectedPair pair({}, config);
  // A receive so large that the window is in nobody's way.
  HostMemory sink{pair.b.hardware, 1 << 20};
  pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, pair.b.Register(sink), 0, 1 << 20)});
  pair.b.Run();
  pair.cable.Run();
  pair.a.PostInline(*pair.qp_a, "lone");
  pair.cable.Run();
  EXPECT_EQ(pair.b.Poll(*pair.cq_b).size(), 1u);
  pair.cable.Advance(150 * kMs);
  EXPECT_TRUE(pair.a.Poll(*pair.cq_a).empty());
  pair.cable.Advance(60 * kMs);
  EXPECT_EQ(pair.a.Poll(*pair.cq_a).size(), 1u);
  EXPECT_EQ(pair.a.Counter(abi::NicCounter::kTcpRetransmissions), 0u);
}

TEST_F(Transfer, GivenInlineSend_WhenSent_ThenBytesArrive) {
  pair.b.PostRecv(*pair.qp_b, {Dst(0, 64)});
  pair.a.PostInline(*pair.qp_a, "inline!");
  pair.cable.Run();
  ASSERT_EQ(pair.b.Poll(*pair.cq_b).size(), 1u);
  EXPECT_EQ(std::memcmp(sink.data(), "inline!", 7), 0);
}

TEST_F(Transfer, GivenScatterGather_WhenLongMessage_ThenReassembledAcrossElements) {
  pair.b.PostRecv(*pair.qp_b, {Dst(0, 1000), Dst(5000, 3), Dst(9000, 30000)});
  pair.a.PostSend(*pair.qp_a, {Src(1, 777), Src(1001, 1), Src(2000, 20000)});
  pair.cable.Run();
  const auto received = pair.b.Poll(*pair.cq_b);
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(received[0].byte_length, 777u + 1 + 20000);
  std::string sent;
  for (const abi::Sge& s : {Src(1, 777), Src(1001, 1), Src(2000, 20000)}) {
    sent.append(reinterpret_cast<const char*>(s.address), s.length);
  }
  std::string got;
  for (const abi::Sge& s : {Dst(0, 1000), Dst(5000, 3), Dst(9000, 30000)}) {
    got.append(reinterpret_cast<const char*>(s.address), s.length);
  }
  EXPECT_EQ(got.substr(0, sent.size()), sent);
  EXPECT_EQ(pair.a.Poll(*pair.cq_a).size(), 1u);
}

TEST_F(Transfer, GivenManyMessages_WhenRingsWrapManyTimes_ThenEachCompletesOnceInOrder) {
  uint32_t next_recv = 0;
  uint32_t next_send = 0;
  for (int round = 0; round < 400; ++round) {
    const uint32_t length = 1 + static_cast<uint32_t>(round * 37) % 3000;
    for (uint32_t i = 0; i < 5; ++i) pair.b.PostRecv(*pair.qp_b, {Dst(i * 4096, 4096)});
    for (uint32_t i = 0; i < 5; ++i) {
      pair.a.PostSend(*pair.qp_a, {Src(static_cast<uint64_t>(round) * 100 + i, length + i)});
    }
    pair.cable.Run();
    for (const abi::Cqe& cqe : pair.b.Poll(*pair.cq_b)) {
      ASSERT_EQ(cqe.wqe_index, next_recv);
      const uint32_t i = next_recv++ % 5;
      ASSERT_EQ(cqe.byte_length, length + i);
      ASSERT_TRUE(Same(static_cast<uint64_t>(round) * 100 + i, i * 4096, length + i));
    }
    for (const abi::Cqe& cqe : pair.a.Poll(*pair.cq_a)) ASSERT_EQ(cqe.wqe_index, next_send++);
  }
  EXPECT_EQ(next_recv, 2000u);
  EXPECT_EQ(next_send, 2000u);
  EXPECT_EQ(pair.b.hardware.frames_borrowed(), 0u);
  EXPECT_EQ(pair.a.hardware.payloads_held(), 0u);
}

TEST_F(Transfer, GivenThousandOneByteMessages_WhenFewLargeReceives_ThenNoneIsLostNorMerged) {
  // Given 16 receives of 16 KiB: the window advertised is 256 KiB, but holds only 16 messages
  for (uint32_t i = 0; i < 16; ++i) pair.b.PostRecv(*pair.qp_b, {Dst(i * 16384, 16384)});
  pair.b.Run();
  pair.cable.Run();
  // When a thousand one-byte messages are sent
  uint32_t sent = 0;
  uint32_t acknowledged = 0;
  uint32_t received = 0;
  const auto check = [&] {
    for (const abi::Cqe& cqe : pair.b.Poll(*pair.cq_b)) {
      ASSERT_EQ(cqe.status, 0);
      ASSERT_EQ(cqe.byte_length, 1u);
      ASSERT_EQ(sink.data()[(received % 16) * 16384], source.data()[received]);
      ++received;
    }
  };
  while (sent < 1000) {
    for (int i = 0; i < 50 && sent < 1000; ++i) {
      if (pair.qp_a->send_producer - acknowledged == 64) break;
      pair.a.PostSend(*pair.qp_a, {Src(sent++, 1)});
    }
    pair.cable.Run();
    acknowledged += static_cast<uint32_t>(pair.a.Poll(*pair.cq_a).size());
  }
  // Then all are acknowledged although only 16 could be delivered
  EXPECT_EQ(acknowledged, 1000u);
  check();
  EXPECT_EQ(received, 16u);
  // and the rest comes out, in order, one a receive, as receives are posted
  while (received < 1000) {
    const uint32_t before = received;
    for (uint32_t i = 0; i < 16; ++i) {
      pair.b.PostRecv(*pair.qp_b, {Dst(i * 16384, 16384)});
    }
    pair.cable.Run();
    check();
    ASSERT_GT(received, before);
  }
  EXPECT_EQ(received, 1000u);
  EXPECT_EQ(pair.b.Dropped(abi::DropReason::kTcpUnacceptable), 0u);
}

TEST_F(Transfer, GivenNoReceive_WhenSent_ThenSenderWaitsAndLatePostOpensTheWindow) {
  pair.a.PostSend(*pair.qp_a, {Src(0, 5000)});
  pair.cable.Run();
  EXPECT_TRUE(pair.a.Poll(*pair.cq_a).empty());
  // When a receive is posted, then its window update brings the data without a time-out.
  pair.b.PostRecv(*pair.qp_b, {Dst(0, 8192)});
  pair.cable.Run();
  const auto received = pair.b.Poll(*pair.cq_b);
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(received[0].byte_length, 5000u);
  EXPECT_TRUE(Same(0, 0, 5000));
  EXPECT_EQ(pair.a.Poll(*pair.cq_a).size(), 1u);
}

TEST_F(Transfer, GivenWindowUpdateLost_WhenPersistTimerFires_ThenDataFlows) {
  pair.a.PostSend(*pair.qp_a, {Src(0, 5000)});
  pair.cable.Run();
  bool cut = true;
  pair.cable.filter = [&](Frame&, bool from_a) { return from_a || !cut; };
  pair.b.PostRecv(*pair.qp_b, {Dst(0, 8192)});
  pair.cable.Run();
  EXPECT_TRUE(pair.b.Poll(*pair.cq_b).empty());
  cut = false;
  pair.cable.Advance(3000 * kMs, 10 * kMs);
  EXPECT_EQ(pair.b.Poll(*pair.cq_b).size(), 1u);
  EXPECT_TRUE(Same(0, 0, 5000));
}

TEST_F(Transfer, GivenMessageLongerThanReceive_WhenSent_ThenLengthErrorAndReset) {
  pair.b.PostRecv(*pair.qp_b, {Dst(0, 100)});
  pair.b.PostRecv(*pair.qp_b, {Dst(1000, 8192)});
  pair.cable.Run();
  pair.a.PostSend(*pair.qp_a, {Src(0, 200)});
  pair.a.PostSend(*pair.qp_a, {Src(0, 10)});
  pair.cable.Run();
  const auto received = pair.b.Poll(*pair.cq_b);
  ASSERT_EQ(received.size(), 2u);
  EXPECT_EQ(Status(received[0]), Status(abi::CompletionStatus::kLocalLengthError));
  EXPECT_EQ(Status(received[1]), Status(abi::CompletionStatus::kFlushed));
  const auto events = EventsOf(pair.b, abi::EventKind::kDisconnected);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].status, static_cast<uint8_t>(abi::DisconnectReason::kLocalError));
  const auto peer = EventsOf(pair.a, abi::EventKind::kDisconnected);
  ASSERT_EQ(peer.size(), 1u);
  EXPECT_EQ(peer[0].status, static_cast<uint8_t>(abi::DisconnectReason::kReset));
}

TEST_F(Transfer, GivenUnsignalledSends_WhenAcknowledged_ThenOnlySignalledOnesComplete) {
  for (uint32_t i = 0; i < 8; ++i) pair.b.PostRecv(*pair.qp_b, {Dst(i * 64, 64)});
  for (uint32_t i = 0; i < 8; ++i) {
    pair.a.PostSend(*pair.qp_a, {Src(i, 1)}, false);
    auto* wqe = reinterpret_cast<abi::SendWqe*>(pair.qp_a->send_ring->data() + i * 128);
    if (i != 7) wqe->flags = 0;
  }
  pair.a.RingSend(*pair.qp_a);
  pair.cable.Run();
  const auto sent = pair.a.Poll(*pair.cq_a);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].wqe_index, 7u);
  EXPECT_EQ(pair.b.Poll(*pair.cq_b).size(), 8u);
}

TEST_F(Transfer, GivenLossDuplicationReordering_WhenMegabytes_ThenEveryByteArrives) {
  std::mt19937 random(7);
  std::vector<std::pair<Frame, bool>> held;
  pair.cable.filter = [&](Frame& frame, bool) {
    const uint32_t dice = random() % 100;
    if (dice < 2) return false;
    if (dice < 4 && frame.size() > 60) frame[frame.size() - 1] ^= 0x40;  // caught by checksum
    return true;
  };
  uint32_t received = 0;
  uint32_t sent = 0;
  uint32_t completed = 0;
  constexpr uint32_t kMessages = 200;
  for (uint32_t i = 0; i < 32; ++i) pair.b.PostRecv(*pair.qp_b, {Dst(i * 16384, 16384)});
  for (int guard = 0; received < kMessages && guard < 200000; ++guard) {
    while (sent < kMessages && sent - completed < 32) {
      pair.a.PostSend(*pair.qp_a, {Src(sent * 1000, 1 + (sent * 997) % 16384)});
      ++sent;
    }
    pair.cable.Advance(10 * kMs, 10 * kMs);
    for (const abi::Cqe& cqe : pair.b.Poll(*pair.cq_b)) {
      ASSERT_EQ(cqe.status, 0);
      ASSERT_EQ(cqe.byte_length, 1 + (received * 997) % 16384);
      ASSERT_TRUE(Same(received * 1000, (received % 32) * 16384, cqe.byte_length));
      pair.b.PostRecv(*pair.qp_b, {Dst((received % 32) * 16384, 16384)});
      ++received;
    }
    for (const abi::Cqe& cqe : pair.a.Poll(*pair.cq_a)) {
      ASSERT_EQ(cqe.status, 0);
      ++completed;
    }
  }
  EXPECT_EQ(received, kMessages);
  EXPECT_GT(pair.a.Counter(abi::NicCounter::kTcpRetransmissions), 0u);
  EXPECT_GT(pair.b.Dropped(abi::DropReason::kBadTcpChecksum), 0u);
}

// ---------------------------------------------------------------- endings

TEST_F(Transfer, GivenHalfClose_WhenPeerKeepsSending_ThenDataStillFlowsAndFinEndsBoth) {
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

TEST_F(Transfer, GivenOutstandingWork_WhenPeerResets_ThenHeadsSayAbortedRestFlushed) {
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

TEST_F(Transfer, GivenFinBehindTextBeingPlaced_WhenDestroyedAtOnce_ThenFinIsAcknowledged) {
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

TEST_F(Transfer, GivenTextBeingFetched_WhenInlineTextAndFinAreDue_ThenNeitherOvertakesIt) {
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

TEST_F(Transfer, GivenMessagesOnTheirWayToReceives_WhenPeerResets_ThenEveryReceiveIsFlushed) {
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

TEST_F(Transfer, GivenPeerSilent_WhenUserTimeoutPasses_ThenRetryExceeded) {
  pair.b.PostRecv(*pair.qp_b, {Dst(0, 64)});
  pair.cable.Run();
  pair.cable.filter = [](Frame&, bool) { return false; };
  pair.a.PostSend(*pair.qp_a, {Src(0, 1)});
  pair.cable.Advance((pair.a.config.user_timeout_ms + 20000) * kMs, 100 * kMs);
  const auto sent = pair.a.Poll(*pair.cq_a);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(Status(sent[0]), Status(abi::CompletionStatus::kRetryExceeded));
}

TEST_F(Transfer, GivenPeerPortDies_ThenConnectionsToItEnd) {
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

TEST_F(Transfer, GivenConnected_WhenDestroyed_ThenPeerIsResetAndMemoryIsFreeOnAnswer) {
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

TEST_F(Transfer, GivenLeasePending_WhenReset_ThenFlushWaitsForTheLease) {
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

TEST_F(Transfer, GivenWireFull_WhenRoomAgain_ThenNothingIsLostOrReordered) {
  for (uint32_t i = 0; i < 20; ++i) pair.b.PostRecv(*pair.qp_b, {Dst(i * 64, 64)});
  pair.cable.Run();
  pair.a.hardware.wire_full = true;
  for (uint32_t i = 0; i < 20; ++i) pair.a.PostSend(*pair.qp_a, {Src(i, 10)});
  pair.a.Run();
  EXPECT_TRUE(pair.a.hardware.outgoing.empty());
  EXPECT_LE(qpip_fw_next_deadline(pair.a.arena.data()), pair.a.now + kMs);
  pair.a.hardware.wire_full = false;
  pair.cable.Run();
  EXPECT_EQ(pair.b.Poll(*pair.cq_b).size(), 20u);
  EXPECT_EQ(pair.b.Dropped(abi::DropReason::kTcpOutOfOrder), 0u);
  EXPECT_EQ(pair.a.Counter(abi::NicCounter::kTcpRetransmissions), 0u);
}

TEST(TcpStream, GivenUsedUpReceives_WhenOneIsPostedAgain_ThenThePeerHearsAfterATenthOfASecond) {
  QpSpec spec;
  spec.framing = abi::Framing::kStream;
  ConnectedPair pair(spec);
  HostMemory source(pair.a.hardware, 65536);
  HostMemory sink(pair.b.hardware, 65536);
  const uint32_t key = pair.b.Register(sink);
  for (uint32_t i = 0; i < 8; ++i) pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, key, i * 100, 100)});
  pair.cable.Run();
  pair.a.PostSend(*pair.qp_a, {SgeOf(source, pair.a.Register(source, 0), 0, 800)});
  pair.cable.Advance(300 * kMs);
  ASSERT_EQ(pair.b.Poll(*pair.cq_b).size(), 8u);
  pair.b.hardware.outgoing.clear();
  pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, key, 0, 100)});
  pair.b.Run();
  EXPECT_TRUE(pair.b.hardware.outgoing.empty());
  EXPECT_EQ(qpip_fw_next_deadline(pair.b.arena.data()), pair.b.now + 100 * kMs);
  pair.b.Advance(100 * kMs);
  EXPECT_EQ(pair.b.hardware.outgoing.size(), 1u);
}

TEST(TcpStream, GivenStreamFraming_WhenManySmallSends_ThenReceivesFillWithoutBoundaries) {
  QpSpec spec;
  spec.framing = abi::Framing::kStream;
  ConnectedPair pair(spec);
  HostMemory source(pair.a.hardware, 65536);
  HostMemory sink(pair.b.hardware, 65536);
  FillPattern(source);
  const uint32_t source_key = pair.a.Register(source, 0);
  const uint32_t sink_key = pair.b.Register(sink);
  for (uint32_t i = 0; i < 50; ++i) {
    pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, sink_key, i * 1000, 1000)});
  }
  pair.cable.Run();
  pair.a.PostSend(*pair.qp_a, {SgeOf(source, source_key, 0, 40000)});
  pair.a.PostSend(*pair.qp_a, {SgeOf(source, source_key, 40000, 1)});
  pair.cable.Run();
  uint32_t total = 0;
  for (const abi::Cqe& cqe : pair.b.Poll(*pair.cq_b)) {
    EXPECT_EQ(
        std::memcmp(sink.data() + cqe.wqe_index * 1000, source.data() + total, cqe.byte_length), 0);
    EXPECT_GT(cqe.byte_length, 0u);
    total += cqe.byte_length;
  }
  EXPECT_EQ(total, 40001u);
}

TEST(TcpOrphan, GivenBothClosed_WhenDestroyedInTimeWait_ThenSlotIsFreedAfterTwoMsl) {
  NicConfig config = FirmwareBench::DefaultConfig();
  config.max_qps = 1;
  config.time_wait_ms = 1000;
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

}  // namespace
}  // namespace qpip::fw::test

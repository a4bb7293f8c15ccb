// Text over TCP connections: messages and streams, windows, loss.
#include <random>

#include "nic_fw/state.h"
#include "tcp_transfer.h"

namespace qpip::fw::test {
namespace {

TEST(TcpToAStoppedPeer, GivenTextWhenThePeerReadsAgainThenNothingOfItIsLost) {
  ConnectedPair pair;
  HostMemory source(pair.a.hardware, 4000), sink(pair.b.hardware, 4000);
  const uint32_t key = pair.a.Register(source, 0);
  pair.b.PostRecv(*pair.qp_b, {SgeOf(sink, pair.b.Register(sink), 0, 4000)});
  pair.cable.Run();
  pair.a.hardware.refused[2] = kSendStopped;
  pair.a.PostSend(*pair.qp_a, {SgeOf(source, key, 0, 1000)});
  pair.cable.Advance(50 * kMs);
  EXPECT_EQ(pair.a.Dropped(abi::DropReason::kWireFull), 0u);
  pair.a.hardware.refused.clear();
  pair.cable.Advance(20 * kMs);
  EXPECT_EQ(pair.b.Poll(*pair.cq_b).size(), 1u);
}

TEST_F(Transfer, GivenPostedReceiveWhenOneByteIsSentThenBothSidesComplete) {
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

TEST(TcpDelayedAck, GivenNoAckOnBatchEndWhenLoneMessageArrivesThenAcknowledgedByTheTimer) {
  NicConfig config = FirmwareBench::DefaultConfig();
  config.tcp.ack_on_batch_end = false;
  config.tcp.ack_delay_us = 200'000;
  config.tcp.rto_min_us = 1'000'000;
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

TEST_F(Transfer, GivenInlineSendWhenSentThenBytesArrive) {
  pair.b.PostRecv(*pair.qp_b, {Dst(0, 64)});
  pair.a.PostInline(*pair.qp_a, "inline!");
  pair.cable.Run();
  ASSERT_EQ(pair.b.Poll(*pair.cq_b).size(), 1u);
  EXPECT_EQ(std::memcmp(sink.data(), "inline!", 7), 0);
}

TEST_F(Transfer, GivenScatterGatherWhenLongMessageThenReassembledAcrossElements) {
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

TEST_F(Transfer, GivenManyMessagesWhenRingsWrapManyTimesThenEachCompletesOnceInOrder) {
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

TEST_F(Transfer, GivenThousandOneByteMessagesWhenFewLargeReceivesThenNoneIsLostNorMerged) {
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

TEST_F(Transfer, GivenNoReceiveWhenSentThenSenderWaitsAndLatePostOpensTheWindow) {
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

TEST_F(Transfer, GivenFewSmallReceivesWhenPostedAgainOneByOneThenNoMessageWaitsForATimer) {
  // The window's unit is larger than most of these receives. The clock stands still.
  for (const uint32_t bytes : {1u, 7u, 20u, 60u, 64u, 100u, 129u, 1000u}) {
    for (uint32_t depth = 1; depth <= 4; ++depth) {
      ConnectedPair one;
      HostMemory from(one.a.hardware, 2000), to(one.b.hardware, 2000);
      const uint32_t from_key = one.a.Register(from, 0), to_key = one.b.Register(to);
      const auto post = [&] { one.b.PostRecv(*one.qp_b, {SgeOf(to, to_key, 0, bytes)}); };
      for (uint32_t i = 0; i < depth; ++i) post();
      for (uint32_t i = 0; i < depth + 2; ++i) {
        one.a.PostSend(*one.qp_a, {SgeOf(from, from_key, 0, bytes)});
      }
      one.cable.Run();
      for (uint32_t i = 0; i < 40; ++i) {
        if (i >= depth) post();
        one.cable.Run();
        ASSERT_GE(one.b.Poll(*one.cq_b).size(), i < depth ? (i == 0 ? depth : 0) : 1)
            << bytes << " bytes, " << depth << " receives, message " << i;
        one.a.PostSend(*one.qp_a, {SgeOf(from, from_key, 0, bytes)});
      }
    }
  }
}

TEST_F(Transfer, GivenMessagesOfAnySizeWhenReceivesArePostedAsTheyComeThenNoneWaitsForATimer) {
  // As many messages as there are receives have always arrived, with the clock standing still.
  std::mt19937 random(7);
  const auto below = [&](uint32_t limit) { return static_cast<uint32_t>(random()) % limit; };
  for (int round = 0; round < 60; ++round) {
    ConnectedPair one;
    HostMemory from(one.a.hardware, 70000), to(one.b.hardware, 70000);
    const uint32_t from_key = one.a.Register(from, 0), to_key = one.b.Register(to);
    const uint32_t receive_bytes = 1 + below(round % 3 == 0 ? 70000 : round % 3 == 1 ? 3000 : 200);
    const bool whole = below(2) == 0;  // messages as large as receives, or any
    uint32_t posted = 0, sent = 0, received = 0;
    for (int step = 0; step < 150; ++step) {
      for (uint32_t n = below(4); n > 0 && posted - received < 16; --n, ++posted) {
        one.b.PostRecv(*one.qp_b, {SgeOf(to, to_key, 0, receive_bytes)});
      }
      for (uint32_t n = below(4); n > 0 && sent - received < 16; --n, ++sent) {
        const uint32_t bytes = whole ? receive_bytes : 1 + below(receive_bytes);
        one.a.PostSend(*one.qp_a, {SgeOf(from, from_key, 0, bytes)});
      }
      one.cable.Run();
      received += static_cast<uint32_t>(one.b.Poll(*one.cq_b).size());
      one.a.Poll(*one.cq_a);
      ASSERT_EQ(received, std::min(posted, sent))
          << "receives of " << receive_bytes << " bytes, round " << round << ", step " << step;
    }
  }
}

TEST_F(Transfer, GivenWindowUpdateLostWhenPersistTimerFiresThenDataFlows) {
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

TEST_F(Transfer, GivenMessageLongerThanReceiveWhenSentThenLengthErrorAndReset) {
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

TEST_F(Transfer, GivenUnsignalledSendsWhenAcknowledgedThenOnlySignalledOnesComplete) {
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

TEST_F(Transfer, GivenLossDuplicationReorderingWhenMegabytesThenEveryByteArrives) {
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

TEST_F(Transfer, GivenWireFullWhenRoomAgainThenNothingIsLostOrReordered) {
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

TEST_F(Transfer, GivenInlineSendsWhenTheWireIsFullThenTheyGoInOrderAsSoonAsThereIsRoom) {
  for (uint32_t i = 0; i < 20; ++i) pair.b.PostRecv(*pair.qp_b, {Dst(i * 64, 64)});
  pair.cable.Run();
  pair.a.hardware.wire_full = true;
  for (uint32_t i = 0; i < 20; ++i) pair.a.PostInline(*pair.qp_a, std::string(10, 'a'));
  pair.a.Run();
  EXPECT_TRUE(pair.a.hardware.outgoing.empty());
  pair.a.hardware.wire_full = false;
  pair.cable.Run();  // and no time passes
  EXPECT_EQ(pair.b.Poll(*pair.cq_b).size(), 20u);
  EXPECT_EQ(pair.b.Dropped(abi::DropReason::kTcpOutOfOrder), 0u);
}

TEST_F(Transfer, GivenARepetitionWhenTheWireIsFullForLongThenItCountsOnceItHasGone) {
  for (uint32_t i = 0; i < 5; ++i) pair.b.PostRecv(*pair.qp_b, {Dst(i * 64, 64)});
  pair.cable.Run();
  pair.cable.filter = [this, seen = 0](Frame&, bool from_a) mutable {
    if (!from_a) pair.a.hardware.wire_full = true;  // the answers to what came behind the gap
    return !from_a || seen++ != 0;
  };
  for (uint32_t i = 0; i < 5; ++i) pair.a.PostInline(*pair.qp_a, std::string(10, 'a'));
  pair.cable.Run();
  const tcp::Tcb& tcb = QueuePairOf(pair.a.arena.data(), pair.qp_a->handle).tcb;
  ASSERT_TRUE(tcb.in_recovery);
  for (int i = 0; i < 50; ++i) pair.a.Advance(20 * 1000);  // asks the wire again and again
  EXPECT_EQ(tcb.undo.repeated, 0u);
  pair.a.hardware.wire_full = false;
  pair.a.Run();
  EXPECT_EQ(tcb.undo.repeated, 10u) << "as much as the peer may report to be duplicate";
}

TEST_F(Transfer, GivenShutdownWhenTheWireIsFullThenFinGoesAsSoonAsThereIsRoom) {
  pair.a.hardware.wire_full = true;
  ASSERT_EQ(pair.a.QpCommand(abi::CommandOpcode::kShutdown, *pair.qp_a).status, 0);
  pair.a.Run();
  pair.a.hardware.wire_full = false;
  pair.cable.Run();  // and no time passes
  EXPECT_EQ(EventsOf(pair.b, abi::EventKind::kPeerClosed).size(), 1u);
}

TEST_F(Transfer, GivenDuplicateAcksOwedWhenTheWireIsFullForLongThenNoneIsLostOrCountedTwice) {
  for (uint32_t i = 0; i < 8; ++i) pair.b.PostRecv(*pair.qp_b, {Dst(i * 64, 64)});
  pair.cable.Run();
  pair.cable.filter = [seen = 0](Frame& frame, bool from_a) mutable {
    return !from_a || frame.size() < 100 || seen++ != 0;
  };
  pair.b.hardware.wire_full = true;
  const uint64_t acks = pair.b.Counter(abi::NicCounter::kTcpAcksSent);
  for (uint32_t i = 0; i < 5; ++i) {
    pair.a.PostSend(*pair.qp_a, {Src(i * 64, 64)});
    pair.a.Run();
  }
  for (Frame& frame : pair.a.hardware.outgoing) {
    if (pair.cable.filter(frame, true)) pair.b.hardware.incoming.push_back(frame);
  }
  pair.a.hardware.outgoing.clear();
  for (int i = 0; i < 50; ++i) pair.b.Advance(20 * 1000);  // asks the wire again and again
  pair.b.hardware.wire_full = false;
  pair.b.Run();
  EXPECT_EQ(pair.b.hardware.outgoing.size(), 4u) << "one for each that came out of order";
  EXPECT_EQ(pair.b.Counter(abi::NicCounter::kTcpAcksSent) - acks, 4u);
}

TEST(TcpStream, GivenUsedUpReceivesWhenOneIsPostedAgainThenThePeerHearsAfterATenthOfASecond) {
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

TEST(TcpStream, GivenStreamFramingWhenManySmallSendsThenReceivesFillWithoutBoundaries) {
  QpSpec spec;
  spec.framing = abi::Framing::kStream;
  ConnectedPair pair(spec);
  HostMemory source(pair.a.hardware, 65536);
  HostMemory sink(pair.b.hardware, 65536);
  FillPattern(source);
  const uint32_t source_key = pair.a.Register(source, 0);
  const uint32_t sink_key = pair.b.Register(sink);
  // A receive completes early when nothing more is at hand: each segment may take two.
  for (uint32_t i = 0; i < 60; ++i) {
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

}  // namespace
}  // namespace qpip::fw::test

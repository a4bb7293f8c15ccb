// Byte streams: order, exact lengths, recycling of buffers, ends and errors.
#include "qpip/stream.h"

#include <random>

#include "nic_test.h"

namespace qpip::test {
namespace {

class StreamTest : public NicTest {
 protected:
  std::unique_ptr<QueuePair> StreamQp(uint32_t depth = 4) {
    QpOptions options = Options(depth);
    options.framing = Framing::kStream;
    return Connected(options);
  }
  /// Hands everything completed to the reader and the writer, as an application's loop would.
  void Deliver(StreamReader* reader, StreamWriter* writer) {
    for (const WorkCompletion& completion : PollAll()) {
      const bool taken = (reader != nullptr && reader->OnCompletion(completion)) ||
                         (writer != nullptr && writer->OnCompletion(completion));
      EXPECT_TRUE(taken);
    }
  }
  static std::vector<std::byte> Take(StreamReader& reader, size_t bytes) {
    std::vector<std::byte> out(bytes);
    EXPECT_TRUE(reader.TryReadExact(out));
    return out;
  }
};

// --- Reader

TEST_F(StreamTest, GivenPiecesWhenExactLengthsAreReadThenTheyAreJoinedAndCut) {
  auto qp = StreamQp();
  StreamReader reader(*pd, *qp, {.buffer_bytes = 100, .buffers = 4});
  EXPECT_EQ(fake->RecvsPosted(HandleOf(*qp)), 4u);
  const auto data = Bytes(150);
  fake->CompleteRecv(HandleOf(*qp), std::span(data).first(30));
  fake->CompleteRecv(HandleOf(*qp), std::span(data).subspan(30, 100));
  fake->CompleteRecv(HandleOf(*qp), std::span(data).subspan(130));
  Deliver(&reader, nullptr);

  EXPECT_EQ(reader.available(), 150u);
  EXPECT_EQ(reader.Readable().size(), 30u);
  std::array<std::span<const std::byte>, 8> runs;
  ASSERT_EQ(reader.Readable(runs), 3u);
  EXPECT_EQ(runs[1].size(), 100u);
  EXPECT_EQ(reader.Readable(std::span(runs).first(2)), 2u);
  EXPECT_EQ(Take(reader, 40), std::vector(data.begin(), data.begin() + 40));
  EXPECT_EQ(Take(reader, 110), std::vector(data.begin() + 40, data.end()));
  EXPECT_EQ(reader.available(), 0u);
  EXPECT_TRUE(reader.Readable().empty());
}

TEST_F(StreamTest, GivenTooFewBytesWhenExactLengthIsReadThenNothingIsTaken) {
  auto qp = StreamQp();
  StreamReader reader(*pd, *qp, {.buffer_bytes = 100, .buffers = 2});
  fake->CompleteRecv(HandleOf(*qp), Bytes(10));
  Deliver(&reader, nullptr);
  std::array<std::byte, 11> out;
  EXPECT_FALSE(reader.TryReadExact(out));
  EXPECT_EQ(reader.available(), 10u);
  EXPECT_EQ(reader.ReadSome(out), 10u);
}

TEST_F(StreamTest, GivenBufferUsedUpWhenConsumedThenItIsPostedAgainAndNotBefore) {
  auto qp = StreamQp();
  StreamReader reader(*pd, *qp, {.buffer_bytes = 100, .buffers = 2});
  fake->CompleteRecv(HandleOf(*qp), Bytes(10));
  Deliver(&reader, nullptr);
  reader.Consume(9);
  EXPECT_EQ(fake->RecvsPosted(HandleOf(*qp)), 2u);
  reader.Consume(1);
  EXPECT_EQ(fake->RecvsPosted(HandleOf(*qp)), 3u);
  reader.Consume(100);  // more than there is
  EXPECT_EQ(fake->RecvsPosted(HandleOf(*qp)), 3u);
}

TEST_F(StreamTest, GivenEndOfStreamWhenReadThenBytesBeforeItComeFirst) {
  auto qp = StreamQp();
  StreamReader reader(*pd, *qp, {.buffer_bytes = 100, .buffers = 4});
  fake->CompleteRecv(HandleOf(*qp), Bytes(5));
  fake->EndOfStream(HandleOf(*qp));
  Deliver(&reader, nullptr);
  EXPECT_EQ(reader.state(), StreamState::kEndOfStream);
  EXPECT_FALSE(reader.drained());
  Take(reader, 5);
  EXPECT_TRUE(reader.drained());
  fake->Flush(HandleOf(*qp));  // the receives that are left
  Deliver(&reader, nullptr);
  EXPECT_EQ(reader.state(), StreamState::kEndOfStream);
  EXPECT_EQ(reader.error(), IBV_WC_SUCCESS);
}

TEST_F(StreamTest, GivenResetWhenReadThenBytesBeforeItAreThereAndTheFirstErrorStays) {
  auto qp = StreamQp();
  StreamReader reader(*pd, *qp, {.buffer_bytes = 100, .buffers = 4});
  fake->CompleteRecv(HandleOf(*qp), Bytes(5));
  fake->CompleteRecv(HandleOf(*qp), {}, abi::CompletionStatus::kRemoteAborted);
  fake->Flush(HandleOf(*qp));
  Deliver(&reader, nullptr);
  EXPECT_EQ(reader.state(), StreamState::kError);
  EXPECT_EQ(reader.error(), IBV_WC_REM_ABORT_ERR);
  EXPECT_EQ(Take(reader, 5), Bytes(5));
}

TEST_F(StreamTest, GivenNoReceiveLeftWhenBothHaveClosedThenTheStreamEndsBehindItsBytes) {
  auto qp = StreamQp();
  StreamReader reader(*pd, *qp, {.buffer_bytes = 10, .buffers = 2});
  const auto data = Bytes(20);
  fake->CompleteRecv(HandleOf(*qp), std::span(data).first(10));
  Deliver(&reader, nullptr);
  fake->CompleteRecv(HandleOf(*qp), std::span(data).subspan(10));
  fake->RaiseEvent(abi::EventKind::kDisconnected, HandleOf(*qp),
                   static_cast<uint8_t>(abi::DisconnectReason::kClosed));
  nic->Counters();  // takes the event, and leaves the completion
  EXPECT_EQ(Take(reader, 10), std::vector(data.begin(), data.begin() + 10));
  EXPECT_EQ(reader.state(), StreamState::kOpen) << "ten bytes are still in the queue";
  Deliver(&reader, nullptr);
  EXPECT_EQ(reader.state(), StreamState::kEndOfStream);
  EXPECT_FALSE(reader.drained());
  EXPECT_EQ(Take(reader, 10), std::vector(data.begin() + 10, data.end()));
  EXPECT_TRUE(reader.drained());
}

TEST_F(StreamTest, GivenNoReceiveLeftWhenResetThenAnError) {
  auto qp = StreamQp();
  StreamReader reader(*pd, *qp, {.buffer_bytes = 10, .buffers = 1});
  fake->CompleteRecv(HandleOf(*qp), Bytes(10));
  fake->RaiseEvent(abi::EventKind::kDisconnected, HandleOf(*qp),
                   static_cast<uint8_t>(abi::DisconnectReason::kReset));
  Deliver(&reader, nullptr);
  EXPECT_EQ(reader.state(), StreamState::kOpen) << "there are bytes to be read";
  EXPECT_EQ(Take(reader, 10), Bytes(10));
  EXPECT_EQ(reader.state(), StreamState::kError);
  EXPECT_EQ(reader.error(), IBV_WC_REM_ABORT_ERR);
}

TEST_F(StreamTest, GivenCompletionsOfOthersWhenHandedOverThenTheyAreNotTaken) {
  auto qp = StreamQp(), other = StreamQp();
  StreamReader reader(*pd, *qp, {.buffer_bytes = 10, .buffers = 1});
  StreamWriter writer(*pd, *qp);
  WorkCompletion completion{};
  completion.qp_num = other->qp_num();
  completion.opcode = IBV_WC_RECV;
  EXPECT_FALSE(reader.OnCompletion(completion));
  completion.opcode = IBV_WC_SEND;
  EXPECT_FALSE(writer.OnCompletion(completion));
  completion.qp_num = qp->qp_num();
  EXPECT_FALSE(reader.OnCompletion(completion));
}

TEST_F(StreamTest, GivenBadOptionsWhenCreatedThenRefused) {
  auto qp = StreamQp();
  EXPECT_EQ(ErrorOf([&] { StreamReader(*pd, *qp, {.buffer_bytes = 0, .buffers = 1}); }), EINVAL);
  EXPECT_EQ(ErrorOf([&] { StreamReader(*pd, *qp, {.buffer_bytes = 1, .buffers = 0}); }), EINVAL);
  EXPECT_EQ(ErrorOf([&] { StreamReader(*pd, *qp, {.buffer_bytes = 1, .buffers = 5}); }), ENOMEM);
  EXPECT_EQ(ErrorOf([&] { StreamWriter(*pd, *qp, {.buffer_bytes = 100, .max_message = 1}); }),
            EINVAL);
}

// --- Writer

TEST_F(StreamTest, GivenFullSendQueueWhenWritingThenTheRestIsTakenAfterACompletion) {
  auto qp = StreamQp(2);
  StreamWriter writer(*pd, *qp, {.buffer_bytes = 4096, .max_message = 1000});
  const auto data = Bytes(3500);
  EXPECT_EQ(writer.Write(data), 2000u);
  EXPECT_EQ(writer.Write(std::span(data).subspan(2000)), 0u);
  EXPECT_FALSE(writer.idle());
  fake->CompleteSend(HandleOf(*qp), 0);
  Deliver(nullptr, &writer);
  EXPECT_EQ(writer.Write(std::span(data).subspan(2000)), 1000u);
  EXPECT_EQ(writer.last(), 3u);
  EXPECT_TRUE(writer.Done(1));
  EXPECT_FALSE(writer.Done(2));
}

TEST_F(StreamTest, GivenFullRingWhenWritingThenRoomComesBackInOrder) {
  auto qp = StreamQp(4);
  StreamWriter writer(*pd, *qp, {.buffer_bytes = 4096, .max_message = 1 << 20});
  EXPECT_TRUE(writer.WriteAll(Bytes(4000)));
  EXPECT_EQ(writer.room(), 96u);
  EXPECT_FALSE(writer.WriteAll(Bytes(97)));
  EXPECT_TRUE(writer.WriteAll(Bytes(96)));
  fake->CompleteSend(HandleOf(*qp), 0);
  Deliver(nullptr, &writer);
  EXPECT_EQ(writer.room(), 4000u);
  EXPECT_FALSE(writer.WriteAll(Bytes(5000))) << "never fits";
}

TEST_F(StreamTest, GivenRegisteredPayloadWhenWrittenThenItIsNotCopiedAndFollowsItsHeader) {
  auto qp = StreamQp();
  StreamWriter writer(*pd, *qp, {.buffer_bytes = 4096, .max_message = 4096});
  const ibv_sge payload = memory->Sge(128, 1000);
  const auto header = Bytes(16, 3);

  const auto ticket = writer.WriteRegistered({&payload, 1}, header);

  ASSERT_TRUE(ticket);
  const FetchedSend send = fake->Fetch(HandleOf(*qp), 0);
  EXPECT_EQ(send.header.length, 1016u);
  ASSERT_EQ(send.list.size(), 2u);
  EXPECT_EQ(std::memcmp(reinterpret_cast<void*>(send.list[0].address), header.data(), 16), 0);
  EXPECT_EQ(send.list[1].address, payload.addr);
  EXPECT_EQ(send.list[1].key, memory->lkey());
  EXPECT_FALSE(writer.Done(*ticket));
  fake->CompleteSend(HandleOf(*qp), 0);
  Deliver(nullptr, &writer);
  EXPECT_TRUE(writer.Done(*ticket));
  EXPECT_EQ(writer.room(), 4096u);
}

TEST_F(StreamTest, GivenAHeaderLongerThanHalfTheRingWhenTheRingIsEmptyThenItIsTaken) {
  auto qp = StreamQp();
  StreamWriter writer(*pd, *qp, {.buffer_bytes = 4096, .max_message = 4096});
  const ibv_sge payload = memory->Sge(128, 1000);
  ASSERT_TRUE(writer.WriteRegistered({&payload, 1}, Bytes(500)));
  EXPECT_FALSE(writer.WriteRegistered({&payload, 1}, Bytes(4000, 3))) << "the first is in its way";
  fake->CompleteSend(HandleOf(*qp), 0);
  Deliver(nullptr, &writer);
  ASSERT_TRUE(writer.WriteRegistered({&payload, 1}));  // has nothing in the ring
  ASSERT_TRUE(writer.WriteRegistered({&payload, 1}, Bytes(4000, 3)));
  EXPECT_EQ(writer.room(), 96u);
  const FetchedSend send = fake->Fetch(HandleOf(*qp), 2);
  EXPECT_EQ(std::memcmp(reinterpret_cast<void*>(send.list[0].address), Bytes(4000, 3).data(), 4000),
            0);
  fake->CompleteSend(HandleOf(*qp), 1);
  Deliver(nullptr, &writer);
  EXPECT_EQ(writer.room(), 96u) << "the one without a header";
  fake->CompleteSend(HandleOf(*qp), 2);
  Deliver(nullptr, &writer);
  EXPECT_EQ(writer.room(), 4096u);
}

TEST_F(StreamTest, GivenRegisteredPayloadWhenTheQueueIsFullOrItIsWrongThenNothingIsTaken) {
  auto qp = StreamQp(1);
  StreamWriter writer(*pd, *qp);
  const ibv_sge payload = memory->Sge(0, 10);
  EXPECT_EQ(ErrorOf([&] { (void)writer.WriteRegistered({}); }), EINVAL) << "empty";
  std::array<ibv_sge, 17> many;
  many.fill(payload);
  EXPECT_EQ(ErrorOf([&] { (void)writer.WriteRegistered(many); }), EINVAL);
  EXPECT_EQ(ErrorOf([&] { (void)writer.WriteRegistered(std::span(many).first(5)); }), EINVAL);
  EXPECT_TRUE(writer.WriteRegistered({&payload, 1}));
  EXPECT_FALSE(writer.WriteRegistered({&payload, 1}));
  EXPECT_EQ(writer.last(), 1u);
}

TEST_F(StreamTest, GivenFailedSendWhenMoreIsWrittenThenNothingIsTakenAndAllIsDone) {
  auto qp = StreamQp();
  StreamWriter writer(*pd, *qp);
  ASSERT_EQ(writer.Write(Bytes(10)), 10u);
  ASSERT_EQ(writer.Write(Bytes(10)), 10u);
  fake->Flush(HandleOf(*qp), abi::CompletionStatus::kRetryExceeded);
  Deliver(nullptr, &writer);
  EXPECT_EQ(writer.state(), StreamState::kError);
  EXPECT_EQ(writer.error(), IBV_WC_RETRY_EXC_ERR);
  EXPECT_EQ(writer.Write(Bytes(10)), 0u);
  EXPECT_FALSE(writer.WriteAll(Bytes(10)));
  EXPECT_TRUE(writer.idle());
}

TEST_F(StreamTest, GivenClosedConnectionWhenWrittenThenItIsAnErrorThoughNothingIsOutstanding) {
  auto qp = StreamQp();
  StreamWriter writer(*pd, *qp);
  qp->Abort();
  EXPECT_EQ(writer.Write(Bytes(10)), 0u);
  EXPECT_EQ(writer.state(), StreamState::kError);
  EXPECT_EQ(writer.error(), IBV_WC_WR_FLUSH_ERR);
}

// --- Both, and the blocking calls

class ByteStreamTest : public StreamTest {
 protected:
  ByteStreamTest() {
    const ByteStreamOptions options = {
        .reader = {.buffer_bytes = 1500, .buffers = 4},
        .writer = {.buffer_bytes = 8192, .max_message = 3000},
        .send_depth = 8,
        .timeout = std::chrono::milliseconds(10),
    };
    a = std::make_unique<ByteStream>(*nic, *pd, options);
    b = std::make_unique<ByteStream>(*nic, *pd, options);
    a->Connect(kPeer);
    b->Connect(kPeer);
  }
  void Join() { fake->Pipe(HandleOf(a->qp()), HandleOf(b->qp())); }

  std::unique_ptr<ByteStream> a, b;
};

TEST_F(ByteStreamTest, GivenRandomSizesWhenWrittenAndReadThenEveryByteArrivesInOrder) {
  Join();
  std::mt19937 random(7);
  const auto data = Bytes(300'000);
  size_t sent = 0, received = 0;
  std::vector<std::byte> out;
  while (received < data.size()) {
    // Never more under way than the receiver's buffers take: one thread plays both sides.
    while (sent < data.size() && sent - received < 3000) {
      const size_t bytes = std::min<size_t>(1 + random() % 1400, data.size() - sent);
      if (random() % 4 == 0) {
        std::memcpy(memory->data(), data.data() + sent, bytes);
        const ibv_sge sge = memory->Sge(0, static_cast<uint32_t>(bytes));
        a->Flush(a->WriteRegistered({&sge, 1}));
      } else {
        a->Write(std::span(data).subspan(sent, bytes));
      }
      sent += bytes;
    }
    out.resize(1 + random() % (sent - received));
    ASSERT_TRUE(b->ReadExact(out));
    ASSERT_EQ(std::memcmp(out.data(), data.data() + received, out.size()), 0);
    received += out.size();
  }
  a->Flush();
  EXPECT_TRUE(a->writer().idle());
}

TEST_F(ByteStreamTest, GivenHeadersOfAllSizesWhenTheRingWrapsThenTheyStayInOnePiece) {
  Join();
  std::mt19937 random(11);
  std::vector<std::byte> out;
  for (int round = 0; round < 500; ++round) {
    const auto header = Bytes(1 + random() % 700, round);
    const auto payload = Bytes(1 + random() % 700, round + 1);
    std::memcpy(memory->data(), payload.data(), payload.size());
    const ibv_sge sge = memory->Sge(0, static_cast<uint32_t>(payload.size()));
    a->WriteRegistered({&sge, 1}, header);
    out.resize(header.size());
    ASSERT_TRUE(b->ReadExact(out));
    ASSERT_EQ(out, header);
    out.resize(payload.size());
    ASSERT_TRUE(b->ReadExact(out));
    ASSERT_EQ(out, payload);
    a->Flush();
  }
}

TEST_F(ByteStreamTest, GivenEndBetweenOrInsideOfRecordsWhenReadExactThenToldApart) {
  std::array<std::byte, 8> out;
  fake->CompleteRecv(HandleOf(a->qp()), Bytes(8));
  fake->EndOfStream(HandleOf(a->qp()));
  EXPECT_TRUE(a->ReadExact(out));
  EXPECT_FALSE(a->ReadExact(out));
  EXPECT_EQ(a->Read(out), 0u);
  fake->CompleteRecv(HandleOf(b->qp()), Bytes(5));
  fake->EndOfStream(HandleOf(b->qp()));
  EXPECT_EQ(ErrorOf([&] { (void)b->ReadExact(out); }), EPIPE);
}

TEST_F(ByteStreamTest, GivenBrokenConnectionWhenUsedThenCodeAndTextSayHowItEnded) {
  std::array<std::byte, 8> out;
  ASSERT_NO_THROW(a->Write(Bytes(10)));
  fake->Flush(HandleOf(a->qp()), abi::CompletionStatus::kRemoteAborted,
              abi::DisconnectReason::kReset);
  fake->RaiseEvent(abi::EventKind::kDisconnected, HandleOf(a->qp()),
                   static_cast<uint8_t>(abi::DisconnectReason::kReset));
  std::string what;
  EXPECT_EQ(ErrorOf([&] { a->Flush(); }, &what), ECONNRESET);
  EXPECT_THAT(what, testing::HasSubstr("[fd00::2]:5001"));
  EXPECT_THAT(what, testing::HasSubstr("reset by peer"));
  EXPECT_EQ(ErrorOf([&] { (void)a->Read(out); }), ECONNRESET);
  EXPECT_EQ(ErrorOf([&] { a->Write(Bytes(10)); }), ECONNRESET);
}

TEST_F(ByteStreamTest, GivenSilenceWhenWaitingThenTimedOut) {
  std::array<std::byte, 8> out;
  EXPECT_EQ(ErrorOf([&] { (void)a->Read(out); }), ETIMEDOUT);
  ASSERT_NO_THROW(a->Write(Bytes(10)));
  EXPECT_EQ(ErrorOf([&] { a->Flush(); }), ETIMEDOUT);
  EXPECT_EQ(ErrorOf([&] { a->Write(Bytes(100'000)); }), ETIMEDOUT) << "no room, no completion";
}

TEST_F(ByteStreamTest, GivenCloseWriteWhenReadingThenItGoesOn) {
  Join();
  a->CloseWrite();
  EXPECT_EQ(a->qp().state(), QpState::kShutdown);
  b->Write(Bytes(4));
  std::array<std::byte, 4> out;
  EXPECT_TRUE(a->ReadExact(out));
}

}  // namespace
}  // namespace qpip::test

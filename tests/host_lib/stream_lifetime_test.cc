// Readers, writers, their queue pair and its NIC: destroyed in any order, nothing points anywhere.
#include <algorithm>

#include "nic_test.h"
#include "qpip/stream.h"

namespace qpip::test {
namespace {

using abi::CommandOpcode;

class StreamLifetimeTest : public NicTest {
 protected:
  StreamLifetimeTest() {
    QpOptions options = Options();
    options.framing = Framing::kStream;
    qp = Connected(options);
    handle = HandleOf(*qp);
    reader = std::make_unique<StreamReader>(*pd, *qp, kReaderOptions);
    writer = std::make_unique<StreamWriter>(*pd, *qp);
  }

  /// Which command of the kind came when, counted from the first; -1: none.
  ptrdiff_t WhenLast(CommandOpcode opcode) const {
    for (auto i = static_cast<ptrdiff_t>(fake->commands.size()) - 1; i >= 0; --i) {
      if (fake->commands[static_cast<size_t>(i)].opcode == static_cast<uint8_t>(opcode)) return i;
    }
    return -1;
  }

  static constexpr StreamReaderOptions kReaderOptions = {.buffer_bytes = 100, .buffers = 2};
  std::unique_ptr<QueuePair> qp;
  uint32_t handle = 0;
  std::unique_ptr<StreamReader> reader;
  std::unique_ptr<StreamWriter> writer;
};

TEST_F(StreamLifetimeTest, GivenReaderGoneWhenBytesArriveThenTheirMemoryIsStillRegistered) {
  reader.reset();
  EXPECT_EQ(fake->Count(CommandOpcode::kDeregisterMemory), 0u);
  fake->CompleteRecv(handle, Bytes(100));
  EXPECT_EQ(PollAll().size(), 1u);
  qp.reset();
  EXPECT_EQ(fake->Count(CommandOpcode::kDeregisterMemory), 1u);
}

TEST_F(StreamLifetimeTest, GivenWriterGoneWhenItsSendIsFetchedThenTheBytesAreThere) {
  ASSERT_EQ(writer->Write("some words"), 10u);
  writer.reset();
  EXPECT_EQ(fake->Count(CommandOpcode::kDeregisterMemory), 0u);
  EXPECT_EQ(fake->SendsPosted(handle), 1u);
  fake->CompleteSend(handle, 0);
  EXPECT_EQ(PollAll().at(0).status, IBV_WC_SUCCESS);
}

TEST_F(StreamLifetimeTest, GivenQpGoneWhenTheWriterWritesThenItIsToldAndNothingIsPosted) {
  ASSERT_EQ(writer->Write("before"), 6u);
  const auto ticket = writer->last();
  qp.reset();
  const uint32_t doorbells = fake->Doorbells(abi::DoorbellKind::kSendPosted);
  EXPECT_EQ(writer->Write("after"), 0u);
  EXPECT_EQ(writer->state(), StreamState::kError);
  EXPECT_EQ(writer->reason(), DisconnectReason::kAborted);
  EXPECT_EQ(fake->Doorbells(abi::DoorbellKind::kSendPosted), doorbells);
  for (const WorkCompletion& completion : PollAll()) writer->OnCompletion(completion);
  EXPECT_TRUE(writer->Done(ticket));
}

TEST_F(StreamLifetimeTest, GivenQpGoneWhenTheReaderConsumesThenWhatCameIsReadAndNothingIsPosted) {
  fake->CompleteRecv(handle, Bytes(100));
  for (const WorkCompletion& completion : PollAll()) reader->OnCompletion(completion);
  qp.reset();
  const uint32_t doorbells = fake->Doorbells(abi::DoorbellKind::kRecvPosted);
  std::vector<std::byte> out(100);
  EXPECT_TRUE(reader->TryReadExact(out));
  EXPECT_EQ(out, Bytes(100));
  EXPECT_EQ(fake->Doorbells(abi::DoorbellKind::kRecvPosted), doorbells);
  for (const WorkCompletion& completion : PollAll()) reader->OnCompletion(completion);
  EXPECT_EQ(reader->state(), StreamState::kError);
}

TEST_F(StreamLifetimeTest, GivenASecondReaderOrWriterWhenMadeThenItIsRefused) {
  std::string what;
  EXPECT_EQ(ErrorOf([&] { StreamReader(*pd, *qp, kReaderOptions); }, &what), EBUSY);
  EXPECT_THAT(what, testing::HasSubstr("reader"));
  writer.reset();
  EXPECT_EQ(ErrorOf([&] { StreamWriter(*pd, *qp); }, &what), EBUSY)
      << "completions of the first one's sends may still come";
  EXPECT_THAT(what, testing::HasSubstr("writer"));
}

// Every order of six objects. The fake answers nothing that is out of order, and the sanitizers see
// what is used after its end.
TEST(StreamLifetimeOrderTest, GivenAnyOrderOfDestructionThenTheQpGoesBeforeItsMemoryAndTheNicLast) {
  class Case : public StreamLifetimeTest {
   public:
    void TestBody() override {}
    void Run(const std::array<int, 6>& order) {
      ASSERT_EQ(writer->Write(Bytes(50)), 50u);
      fake->CompleteRecv(handle, Bytes(100));
      memory.reset();
      const auto first = static_cast<uint32_t>(fake->commands.size());
      ptrdiff_t destroyed = -1, deregistered = -1;
      // The fake dies with the last object: what it saw is looked at before.
      for (const int which : order) {
        if (which == order.back()) {
          destroyed = WhenLast(CommandOpcode::kDestroyQp);
          deregistered = WhenLast(CommandOpcode::kDeregisterMemory);
          EXPECT_FALSE(fake->stopped);
          EXPECT_THAT(fake->broken_promises, testing::IsEmpty());
        }
        if (which == 0) nic.reset();
        if (which == 1) pd.reset();
        if (which == 2) cq.reset();
        if (which == 3) qp.reset();
        if (which == 4) reader.reset();
        if (which == 5) writer.reset();
      }
      if (deregistered >= first) {
        EXPECT_GE(destroyed, first) << testing::PrintToString(order);
        EXPECT_LT(destroyed, deregistered) << testing::PrintToString(order);
      }
    }
  };
  std::array<int, 6> order = {0, 1, 2, 3, 4, 5};
  do {
    Case one;
    one.Run(order);
  } while (std::next_permutation(order.begin(), order.end()));
}

}  // namespace
}  // namespace qpip::test

// In a forked child a NIC is somebody else's: every call refuses, in the same words, and
// destructors ask nothing of it.
#include "nic_test.h"
#include "qpip/stream.h"

namespace qpip::test {
namespace {

class ForkTest : public NicTest {
 protected:
  template <typename Call>
  void ExpectRefused(Call call) {
    std::string what;
    EXPECT_EQ(ErrorOf(call, &what), EPERM);
    EXPECT_THAT(what, testing::HasSubstr("belongs to process " + std::to_string(::getpid())));
    EXPECT_THAT(what, testing::HasSubstr("open one here, after fork() or daemon()"));
  }
  std::array<WorkCompletion, 4> out;
};

TEST_F(ForkTest, GivenAForkedChildWhenSetUpCallsAreMadeThenEachRefuses) {
  auto listener = nic->Listen(80);
  auto idle = Idle(), connected = Connected();
  fake->Fork();

  ExpectRefused([&] { nic->AllocatePd(); });
  ExpectRefused([&] { nic->CreateCq(1); });
  ExpectRefused([&] { nic->CreateQp(*pd, Options()); });
  ExpectRefused([&] { nic->Listen(81); });
  ExpectRefused([&] { nic->Counters(); });
  ExpectRefused([&] { nic->StatisticsJson(); });
  ExpectRefused([&] { (void)nic->failure(); });
  ExpectRefused([&] { nic->SetEventHandler({}); });
  ExpectRefused([&] { pd->Allocate(64); });
  ExpectRefused([&] { pd->Register(out.data(), 64, 0); });
  ExpectRefused([&] { idle->Connect(kPeer); });
  ExpectRefused([&] { idle->StartConnect(kPeer); });
  ExpectRefused([&] { (void)idle->WaitConnected(); });
  ExpectRefused([&] { idle->GiveUpConnecting(); });
  ExpectRefused([&] { listener->Offer(*idle); });
  ExpectRefused([&] { listener->Accept(); });
  ExpectRefused([&] { connected->Shutdown(); });
  ExpectRefused([&] { (void)connected->Disconnect(); });
  ExpectRefused([&] { connected->Abort(); });
  ExpectRefused([&] { connected->TakeNotices(); });
  ExpectRefused([&] { (void)connected->DescribeEnd(); });
}

TEST_F(ForkTest, GivenAForkedChildWhenTheDataPathIsUsedThenItRefusesAndTakesNothing) {
  auto qp = Connected();
  ASSERT_EQ(qp->PostSend(1, memory->Sge(0, 1)), 0);
  fake->CompleteSend(HandleOf(*qp), 0);
  ASSERT_TRUE(cq->fd() >= 0);
  fake->Fork();

  ibv_send_wr send{};
  ibv_send_wr* bad_send = nullptr;
  EXPECT_EQ(qp->PostSend(&send, &bad_send), EPERM);
  EXPECT_EQ(bad_send, &send);
  ibv_recv_wr receive{};
  ibv_recv_wr* bad_receive = nullptr;
  EXPECT_EQ(qp->PostRecv(&receive, &bad_receive), EPERM);
  EXPECT_EQ(bad_receive, &receive);
  EXPECT_EQ(qp->PostSend(2, memory->Sge(0, 1)), EPERM);
  EXPECT_EQ(qp->PostSendTo(2, memory->Sge(0, 1), kPeer), EPERM);
  EXPECT_EQ(qp->PostRecv(2, memory->Sge(0, 1)), EPERM);
  ExpectRefused([&] { (void)cq->Poll(out); });
  ExpectRefused([&] { (void)cq->Wait(out, std::chrono::seconds(0)); });
  ExpectRefused([&] { cq->fd(); });
  ExpectRefused([&] { (void)cq->Arm(); });
  ExpectRefused([&] { cq->Acknowledge(); });
  ExpectRefused([&] { (void)qp->state(); });
  ExpectRefused([&] { (void)qp->disconnect_reason(); });
  ExpectRefused([&] { (void)qp->has_notices(); });
  ExpectRefused([&] { (void)qp->local(); });
  ExpectRefused([&] { (void)qp->peer(); });
}

TEST_F(ForkTest, GivenAForkedChildWhenAStreamIsUsedThenItRefusesWithWhatItHoldsUnread) {
  auto options = Options(16);
  options.framing = Framing::kStream;
  auto qp = Connected(options);
  StreamReader reader(*pd, *qp, {.buffer_bytes = 64, .buffers = 4});
  StreamWriter writer(*pd, *qp);
  fake->CompleteRecv(HandleOf(*qp), Bytes(10));
  ASSERT_EQ(cq->Poll(out), 1u);
  ASSERT_TRUE(reader.OnCompletion(out[0]));
  fake->Fork();

  std::array<std::byte, 10> bytes;
  ExpectRefused([&] { (void)reader.ReadSome(bytes); });
  ExpectRefused([&] { (void)writer.Write(Bytes(10)); });
  ExpectRefused([&] { (void)writer.WriteAll(Bytes(10)); });
}

TEST_F(ForkTest, GivenAForkedChildWhenEverythingIsDestroyedThenNothingIsAskedOfTheNic) {
  fake->shared_memory = true;
  auto shared = pd->Allocate(4096);
  auto listener = nic->Listen(80);
  auto offered = Idle();
  listener->Offer(*offered);
  auto connected = Connected(), bound = Bound();
  ASSERT_EQ(connected->PostRecv(1, memory->Sge(0, 1)), 0);
  cq->fd();
  const size_t commands = fake->commands.size();
  fake->Fork();

  listener.reset();
  offered.reset();
  connected.reset();
  bound.reset();
  shared.reset();
  memory.reset();
  cq.reset();
  pd.reset();
  EXPECT_EQ(fake->commands.size(), commands);
  EXPECT_FALSE(fake->stopped) << "the NIC itself goes last";
}

TEST_F(ForkTest, GivenAForkedChildWhenConstantsAreAskedForThenTheyAreTold) {
  auto qp = Connected();
  auto listener = nic->Listen(80);
  fake->Fork();
  EXPECT_EQ(listener->port(), 80);
  EXPECT_EQ(cq->capacity(), 64u);
  EXPECT_EQ(memory->size(), size_t{1} << 16);
  EXPECT_NE(memory->data(), nullptr);
  EXPECT_EQ(nic->mtu(), fake->port_info.mtu);
  EXPECT_EQ(nic->uri(), fake->port_info.description);
  EXPECT_EQ(qp->context(), nullptr);
}

}  // namespace
}  // namespace qpip::test

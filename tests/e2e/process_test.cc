// Processes that die: kill -9 of a peer, restart on the same fabric, detach.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "two_nics.h"

namespace qpip::test {
namespace {

/// A child process that serves one connection: echoes messages until it is killed. Says so through
/// the pipe when it listens.
class EchoProcess {
 public:
  explicit EchoProcess(const std::string& fabric) {
    int ready[2];
    if (pipe(ready) != 0) abort();
    pid_ = fork();
    if (pid_ == 0) {
      close(ready[0]);
      Serve(fabric, ready[1]);
      _exit(0);
    }
    close(ready[1]);
    char byte = 0;
    EXPECT_EQ(read(ready[0], &byte, 1), 1) << "the server did not start";
    close(ready[0]);
  }
  ~EchoProcess() { Kill(); }
  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  static void Serve(const std::string& fabric, int ready) {
    Side side(PortUri("shm", fabric, 1, ""));
    auto memory = side.pd->Allocate(16 * 4096);
    auto listener = side.nic->Listen(7000);
    auto qp = side.Qp();
    for (uint32_t i = 0; i < 8; ++i) {
      if (qp->PostRecv(i, memory->Sge(i * 4096, 4096)) != 0) _exit(1);
    }
    listener->Offer(*qp);
    if (write(ready, "r", 1) != 1) _exit(1);
    listener->Accept();
    for (;;) {
      WorkCompletion wc{};
      if (side.cq->Wait({&wc, 1}) == 0) continue;
      if (wc.status != IBV_WC_SUCCESS || wc.end_of_stream) return;
      if (wc.opcode != IBV_WC_RECV) {
        if (qp->PostRecv(wc.wr_id, memory->Sge(wc.wr_id * 4096, 4096)) != 0) return;
      } else {
        if (qp->PostSend(wc.wr_id, memory->Sge(wc.wr_id * 4096, wc.byte_len)) != 0) return;
      }
    }
  }

  pid_t pid_ = -1;
};

/// Exchanges one message; false when the connection is gone.
bool Echo(Side& side, QueuePair& qp, MemoryRegion& memory) {
  if (qp.PostRecv(1, memory.Sge(0, 64)) != 0) return false;
  if (qp.PostSend(2, memory.Sge(64, 64)) != 0) return false;
  bool good = true;
  for (const WorkCompletion& wc : side.Collect(2)) good &= wc.status == IBV_WC_SUCCESS;
  return good;
}

TEST(Processes, GivenServerKilledWhenWorkIsOutstandingThenItFailsAndRestartedServerServes) {
  const std::string fabric = UniqueFabric();
  auto server = std::make_unique<EchoProcess>(fabric);
  Side client(PortUri("shm", fabric, 2, ""));
  auto memory = client.pd->Allocate(4096);
  for (int life = 0; life < 3; ++life) {
    auto qp = client.Qp();
    qp->Connect(Endpoint::Parse("[fd00::1]:7000"), kPatience);
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(Echo(client, *qp, *memory));
    // Given receives outstanding, when the server is killed
    for (uint32_t i = 0; i < 4; ++i) ASSERT_EQ(qp->PostRecv(10 + i, memory->Sge(0, 64)), 0);
    client.AwaitPosted();
    server->Kill();
    // then each completes, the first with the cause
    const auto flushed = client.Collect(4);
    ASSERT_EQ(flushed.size(), 4u);
    EXPECT_EQ(flushed[0].status, IBV_WC_REM_ABORT_ERR);
    for (size_t i = 1; i < 4; ++i) EXPECT_EQ(flushed[i].status, IBV_WC_WR_FLUSH_ERR);
    for (size_t i = 0; i < 4; ++i) EXPECT_EQ(flushed[i].wr_id, 10 + i);
    EXPECT_EQ(flushed[0].reason, DisconnectReason::kUnreachable);
    server = std::make_unique<EchoProcess>(fabric);
  }
}

TEST(Processes, GivenServerRestartedAtOnceWhenClientHasAnOldConnectionThenItIsReset) {
  const std::string fabric = UniqueFabric();
  auto server = std::make_unique<EchoProcess>(fabric);
  Side client(PortUri("shm", fabric, 2, ""));
  auto memory = client.pd->Allocate(4096);
  auto qp = client.Qp();
  qp->Connect(Endpoint::Parse("[fd00::1]:7000"), kPatience);
  ASSERT_TRUE(Echo(client, *qp, *memory));
  server->Kill();
  server = std::make_unique<EchoProcess>(fabric);
  ASSERT_EQ(qp->PostRecv(1, memory->Sge(0, 64)), 0);
  EXPECT_NE(client.One().status, IBV_WC_SUCCESS);
  auto again = client.Qp();
  again->Connect(Endpoint::Parse("[fd00::1]:7000"), kPatience);
  EXPECT_TRUE(Echo(client, *again, *memory));
}

TEST(Processes, GivenBothSidesKilledWhenFabricIsOpenedAgainThenNothingStaleRemains) {
  const std::string fabric = UniqueFabric();
  for (int i = 0; i < 5; ++i) {
    EchoProcess server(fabric);
    Side client(PortUri("shm", fabric, 2, ""));
    auto memory = client.pd->Allocate(4096);
    auto qp = client.Qp();
    qp->Connect(Endpoint::Parse("[fd00::1]:7000"), kPatience);
    EXPECT_TRUE(Echo(client, *qp, *memory));
  }
}

TEST(Processes, GivenAllPortsOfAFabricKilledWhenAnotherFabricIsOpenedThenItsMemoryIsFreed) {
  const std::string fabric = UniqueFabric();
  std::make_unique<EchoProcess>(fabric).reset();
  const std::string left = "/dev/shm/qpip." + std::to_string(geteuid()) + "." + fabric;
  ASSERT_EQ(access(left.c_str(), F_OK), 0) << "a killed process cleans nothing up";
  Side other(PortUri("shm", UniqueFabric(), 1, ""));
  EXPECT_NE(access(left.c_str(), F_OK), 0);
}

}  // namespace
}  // namespace qpip::test

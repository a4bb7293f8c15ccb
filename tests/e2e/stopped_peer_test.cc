// Peers that are stopped (SIGSTOP, a debugger, a frozen container) while they hold what was sent to
// them by reference: nothing of this process waits for them, and they deliver nothing but what was
// sent.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>

#include "two_nics.h"

namespace qpip::test {
namespace {

constexpr uint8_t kSent = 0x11;
constexpr uint8_t kLater = 0xee;
constexpr uint32_t kMessage = 16384;
constexpr uint32_t kReceives = 32;

/// A child process that takes connections one after the other, and looks at every byte it gets.
class Sink {
 public:
  explicit Sink(const std::string& fabric) {
    int ready[2];
    if (pipe(ready) != 0) abort();
    pid_ = fork();
    if (pid_ == 0) {
      close(ready[0]);
      Serve(fabric, ready[1]);
    }
    close(ready[1]);
    char byte = 0;
    EXPECT_EQ(read(ready[0], &byte, 1), 1) << "the sink did not start";
    close(ready[0]);
  }
  ~Sink() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  void Stop() {
    kill(pid_, SIGSTOP);
    int status = 0;
    ASSERT_EQ(waitpid(pid_, &status, WUNTRACED), pid_);
    ASSERT_TRUE(WIFSTOPPED(status));
  }
  /// Lets it go on, and waits for its end: 0 when every byte it was given had been sent to it, and
  /// the connection ended badly.
  int ContinueToTheEnd() {
    kill(pid_, SIGCONT);
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  [[noreturn]] static void Serve(const std::string& fabric, int ready) {
    Side side(PortUri("shm", fabric, 1, ""));
    auto memory = side.pd->Allocate(kReceives * kMessage);
    auto listener = side.nic->Listen(7000);
    auto qp = side.Qp();
    for (uint32_t i = 0; i < kReceives; ++i) {
      if (qp->PostRecv(i, memory->Sge(i * kMessage, kMessage)) != 0) _exit(1);
    }
    listener->Offer(*qp);
    if (write(ready, "r", 1) != 1) _exit(1);
    listener->Accept();
    const std::vector<uint8_t> expected(kMessage, kSent);
    for (;;) {
      WorkCompletion wc{};
      if (side.cq->Wait({&wc, 1}) == 0) continue;
      if (wc.end_of_stream) _exit(4);
      if (wc.status != IBV_WC_SUCCESS) _exit(0);
      const auto* bytes = static_cast<const uint8_t*>(memory->data()) + wc.wr_id * kMessage;
      if (std::memcmp(bytes, expected.data(), wc.byte_len) != 0) _exit(3);
      if (qp->PostRecv(wc.wr_id, memory->Sge(wc.wr_id * kMessage, kMessage)) != 0) _exit(0);
    }
  }

  pid_t pid_ = -1;
};

/// A client whose messages lie, unread, before a sink that is stopped.
struct StoppedPeer : ::testing::Test {
  const std::string fabric = UniqueFabric();
  Sink sink{fabric};
  Side client{PortUri("shm", fabric, 2, "")};
  std::unique_ptr<MemoryRegion> memory = client.pd->Allocate(kMessage);
  std::unique_ptr<QueuePair> qp;

  void SendUnread(QpOptions options = {}) {
    std::memset(memory->data(), kSent, kMessage);
    qp = client.Qp(options);
    qp->Connect(Endpoint::Parse("[fd00::1]:7000"), kPatience);
    ASSERT_EQ(qp->PostSend(0, memory->Sge(0, kMessage)), 0);
    ASSERT_EQ(client.One().status, IBV_WC_SUCCESS);
    sink.Stop();
    for (uint32_t i = 1; i <= 4; ++i) ASSERT_EQ(qp->PostSend(i, memory->Sge(0, kMessage)), 0);
    client.AwaitPosted();
  }
};

TEST_F(StoppedPeer, GivenMessagesUnreadWhenAbortedThenTheyAreFlushedAndNeverDelivered) {
  SendUnread();
  qp->Abort();
  for (const WorkCompletion& wc : client.Collect(4)) EXPECT_EQ(wc.status, IBV_WC_WR_FLUSH_ERR);
  std::memset(memory->data(), kLater, kMessage);
  EXPECT_EQ(sink.ContinueToTheEnd(), 0);
}

TEST_F(StoppedPeer, GivenMessagesUnreadWhenTheUserTimeoutPassesThenItIsReported) {
  QpOptions options;
  options.user_timeout = 300ms;
  SendUnread(options);
  const auto ended = client.Collect(4);
  ASSERT_EQ(ended.size(), 4u);
  EXPECT_EQ(ended[0].status, IBV_WC_RETRY_EXC_ERR);
  for (size_t i = 1; i < 4; ++i) EXPECT_EQ(ended[i].status, IBV_WC_WR_FLUSH_ERR);
  EXPECT_EQ(ended[0].reason, DisconnectReason::kTimedOut);
  std::memset(memory->data(), kLater, kMessage);
  EXPECT_EQ(sink.ContinueToTheEnd(), 0);
}

TEST_F(StoppedPeer, GivenMessagesUnreadWhenTheQueuePairIsDestroyedThenItsMemoryIsFree) {
  SendUnread();
  qp.reset();
  EXPECT_EQ(client.Collect(4).size(), 4u);
  memory.reset();
  memory = client.pd->Allocate(kMessage);
  std::memset(memory->data(), kLater, kMessage);
  EXPECT_EQ(sink.ContinueToTheEnd(), 0);
}

TEST_F(StoppedPeer, GivenMessagesUnreadWhenTheNicIsClosedThenItCloses) {
  SendUnread();
  qp.reset();
  memory.reset();
  client = Side();
  EXPECT_EQ(sink.ContinueToTheEnd(), 0);
}

TEST_F(StoppedPeer, GivenALeaseThatWasRevokedWhenThePeerIsConnectedToAgainThenThatEndsInItsTime) {
  SendUnread();
  qp.reset();
  EXPECT_EQ(client.nic->Counters().at("leases_revoked"), 1u);
  qp = client.Qp();
  EXPECT_THROW(qp->Connect(Endpoint::Parse("[fd00::1]:7000"), 50ms), Error);
  qp.reset();
  EXPECT_EQ(sink.ContinueToTheEnd(), 0);
}

/// Bytes to move: 128 MiB unless QPIP_TEST_BYTES says otherwise.
uint64_t TransferBytes() {
  const char* text = std::getenv("QPIP_TEST_BYTES");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : uint64_t{128} << 20;
}

constexpr uint32_t kBulkMessage = 65536;
constexpr uint32_t kBulkDepth = 32;
constexpr size_t kWords = kBulkMessage / sizeof(uint64_t);

/// The words of message `number`.
uint64_t* MessageIn(MemoryRegion& memory, uint64_t number) {
  return static_cast<uint64_t*>(memory.data()) + number % kBulkDepth * kWords;
}

/// Sends `count` messages, each word telling its position.
void SendBulk(const std::string& fabric, uint64_t count) {
  Side side(PortUri("shm", fabric, 2, ""));
  auto memory = side.pd->Allocate(size_t{kBulkMessage} * kBulkDepth);
  QpOptions options;
  options.send_depth = kBulkDepth;
  auto qp = side.Qp(options);
  qp->Connect(Endpoint::Parse("[fd00::1]:7000"), kPatience);
  uint64_t posted = 0;
  for (uint64_t completed = 0; completed < count;) {
    for (; posted < count && posted - completed < kBulkDepth; ++posted) {
      uint64_t* words = MessageIn(*memory, posted);
      for (size_t i = 0; i < kWords; ++i) words[i] = posted * kWords + i;
      if (qp->PostSend(posted, memory->Sge(posted % kBulkDepth * kBulkMessage, kBulkMessage)) != 0)
        _exit(2);
    }
    WorkCompletion done[16];
    const size_t n = side.cq->Wait(done, kPatience);
    if (n == 0) _exit(3);
    for (size_t i = 0; i < n; ++i) {
      if (done[i].status != IBV_WC_SUCCESS || done[i].wr_id != completed++) _exit(4);
    }
  }
  _exit(qp->Disconnect(kPatience) ? 0 : 5);
}

/// Receives them; says so through `ready` when it listens.
void ReceiveBulk(const std::string& fabric, uint64_t count, int ready) {
  Side side(PortUri("shm", fabric, 1, ""));
  auto memory = side.pd->Allocate(size_t{kBulkMessage} * kBulkDepth);
  auto listener = side.nic->Listen(7000);
  QpOptions options;
  options.recv_depth = kBulkDepth;
  auto qp = side.Qp(options);
  const auto post = [&](uint64_t number) {
    return qp->PostRecv(number, memory->Sge(number % kBulkDepth * kBulkMessage, kBulkMessage));
  };
  for (uint64_t i = 0; i < kBulkDepth; ++i) {
    if (post(i) != 0) _exit(2);
  }
  listener->Offer(*qp);
  if (write(ready, "r", 1) != 1) _exit(2);
  listener->Accept();
  for (uint64_t received = 0;;) {
    WorkCompletion done[16];
    const size_t n = side.cq->Wait(done, kPatience);
    if (n == 0) _exit(3);
    for (size_t i = 0; i < n; ++i) {
      if (done[i].end_of_stream) {
        qp->Disconnect(kPatience);
        _exit(received == count ? 0 : 6);
      }
      if (done[i].status != IBV_WC_SUCCESS || done[i].byte_len != kBulkMessage) _exit(4);
      const uint64_t* words = MessageIn(*memory, received);
      uint64_t wrong = 0;
      for (size_t w = 0; w < kWords; ++w) wrong |= words[w] ^ (received * kWords + w);
      if (wrong != 0) _exit(5);
      ++received;
      if (post(received + kBulkDepth - 1) != 0) _exit(2);
    }
  }
}

TEST(RandomStops, GivenBothEndsStoppedNowAndThenWhenBulkThenEveryByteIsRight) {
  const std::string fabric = UniqueFabric();
  const uint64_t count = TransferBytes() / kBulkMessage;
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  pid_t children[2];
  children[0] = fork();
  if (children[0] == 0) ReceiveBulk(fabric, count, ready[1]);
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  children[1] = fork();
  if (children[1] == 0) SendBulk(fabric, count);
  std::mt19937 random(1);
  uint32_t stops = 0;
  int ended = 0;
  for (int status[2] = {-1, -1}; ended < 2;) {
    const size_t who = random() % 2;
    if (status[who] != -1) {
      ASSERT_EQ(waitpid(children[1 - who], &status[1 - who], 0), children[1 - who]);
      ++ended;
    } else {
      kill(children[who], SIGSTOP);
      ++stops;
      usleep(random() % 30000);
      kill(children[who], SIGCONT);
      usleep(random() % 60000);
      if (waitpid(children[who], &status[who], WNOHANG) == children[who]) ++ended;
    }
    if (ended == 2) {
      for (const int s : status) {
        ASSERT_TRUE(WIFEXITED(s));
        EXPECT_EQ(WEXITSTATUS(s), 0);
      }
    }
  }
  close(ready[0]);
  close(ready[1]);
  std::cout << count * kBulkMessage << " bytes under " << stops << " stops\n";
}

}  // namespace
}  // namespace qpip::test

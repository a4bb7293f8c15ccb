// The NBD server and the client's relay over real queue pairs, both in this process (mem:).
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "apps/common/stop.h"
#include "apps/nbd/negotiation.h"
#include "apps/nbd/server.h"
#include "apps/nbd/stream_relay.h"
#include "apps/nbd/vconn_relay.h"
#include "memory_transport.h"
#include "qpip/qpip.h"

namespace qpip::nbd::testing {
namespace {

constexpr size_t kDiskBytes = 1 << 20;
constexpr uint16_t kPort = 10809;

/// A local NBD tool: the other end of a relay's socket.
class Tool {
 public:
  explicit Tool(FileDescriptor fd) : fd_(std::move(fd)) {}

  void Write(const Bytes& bytes) {
    for (size_t done = 0; done < bytes.size();) {
      const ssize_t n = send(fd_.get(), bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
      ASSERT_GT(n, 0);
      done += static_cast<size_t>(n);
    }
  }
  Bytes Read(size_t bytes) {
    Bytes out(bytes);
    for (size_t done = 0; done < bytes;) {
      const ssize_t n = read(fd_.get(), out.data() + done, bytes - done);
      if (n <= 0) {
        out.resize(done);
        break;
      }
      done += static_cast<size_t>(n);
    }
    return out;
  }
  void CloseWrite() { shutdown(fd_.get(), SHUT_WR); }

  /// Haggles for the default export.
  void Negotiate() {
    ASSERT_EQ(Read(kGreetingBytes).size(), kGreetingBytes);
    Write(FlagBytes() + OptionBytes(kOptionGo, InfoBytes("")));
    const size_t replies = 2 * kOptionReplyHeaderBytes + kExportInfoBytes;
    ASSERT_EQ(Read(replies).size(), replies);
  }

 private:
  FileDescriptor fd_;
};

/// Given a server of a 1 MiB disk and a client NIC on one fabric in memory. The parameter: over
/// VCONN, not over streams.
class QueuePairTest : public ::testing::TestWithParam<bool> {
 protected:
  QueuePairTest() {
    static std::atomic<int> fabrics = 0;
    const std::string fabric = "mem:apps-test-" + std::to_string(fabrics++);
    server_nic_ = Nic::Open(fabric + "?address=fd00::1");
    client_nic_ = Nic::Open(fabric + "?address=fd00::2");
    pd_ = client_nic_->AllocatePd();
    auto disk = std::make_shared<ScriptedDevice>(kDiskBytes);
    disk_ = disk.get();
    exports_.Add({.name = "disk", .device = std::move(disk)});
    server_ =
        std::make_unique<Server>(server_nic_.get(), std::vector<std::unique_ptr<ListeningSocket>>{},
                                 exports_, ServerOptions{.vconn = GetParam()}, server_stop_);
    server_thread_ = std::thread([this] { server_->Run(); });
  }
  ~QueuePairTest() override { StopServer(); }

  void StopServer() {
    server_stop_.Request();
    if (server_thread_.joinable()) server_thread_.join();
    server_.reset();
  }

  /// A relay that runs, and the tool at its socket.
  struct Session {
    std::unique_ptr<Relay> relay;
    std::unique_ptr<Tool> tool;
    std::optional<std::string> failure;
    std::thread thread;
  };
  std::unique_ptr<Session> Start(uint16_t port = kPort, bool vconn = GetParam()) {
    int ends[2] = {-1, -1};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    auto session = std::make_unique<Session>();
    session->tool = std::make_unique<Tool>(FileDescriptor(ends[0]));
    FileDescriptor local(ends[1]);
    if (vconn) {
      session->relay = std::make_unique<VconnRelay>(*client_nic_, *pd_, std::move(local));
    } else {
      session->relay = std::make_unique<StreamRelay>(*client_nic_, *pd_, std::move(local));
    }
    Session* const running = session.get();
    session->thread = std::thread([this, running, port] {
      running->failure = running->relay->Run({ParseAddress("fd00::1"), port},
                                             std::chrono::nanoseconds(0), client_stop_);
    });
    return session;
  }

  apps::StopToken server_stop_;
  apps::StopToken client_stop_;
  std::shared_ptr<Nic> server_nic_;
  std::shared_ptr<Nic> client_nic_;
  std::unique_ptr<ProtectionDomain> pd_;
  ExportTable exports_;
  ScriptedDevice* disk_ = nullptr;
  std::unique_ptr<Server> server_;
  std::thread server_thread_;
};

INSTANTIATE_TEST_SUITE_P(Over, QueuePairTest, ::testing::Bool(), [](const auto& test) {
  return test.param ? std::string("vconn") : std::string("streams");
});

Bytes WriteRequest(uint64_t cookie, uint64_t offset, const Bytes& data) {
  return RequestBytes({.command = kCommandWrite,
                       .cookie = cookie,
                       .offset = offset,
                       .length = static_cast<uint32_t>(data.size())},
                      data);
}
Bytes ReadRequest(uint64_t cookie, uint64_t offset, uint32_t length) {
  return RequestBytes(
      {.command = kCommandRead, .cookie = cookie, .offset = offset, .length = length});
}

TEST_P(QueuePairTest, GivenPipelinedWritesAndReadsThenTheBytesMakeTheRoundTrip) {
  const auto session = Start();
  session->tool->Negotiate();
  const Bytes data = Ramp(600'000);
  session->tool->Write(WriteRequest(1, 1000, data) + WriteRequest(2, 0, Ramp(1000, 77)) +
                       ReadRequest(3, 1000, 600'000));
  SimpleReply reply;
  for (uint64_t cookie = 1; cookie <= 3; ++cookie) {
    ASSERT_EQ(ParseSimpleReply(session->tool->Read(kSimpleReplyBytes), &reply),
              TransmissionError::kNone);
    EXPECT_EQ(reply.cookie, cookie);
    EXPECT_EQ(reply.error, kErrorNone);
  }
  EXPECT_EQ(session->tool->Read(data.size()), data);
  session->tool->Write(RequestBytes({.command = kCommandDisconnect}));
  EXPECT_TRUE(session->tool->Read(1).empty());
  session->tool->CloseWrite();
  session->thread.join();
  EXPECT_EQ(session->failure, std::nullopt);
}

TEST_P(QueuePairTest, GivenAToolThatHalfClosesThenItsRequestsAreStillAnswered) {
  const auto session = Start();
  session->tool->Negotiate();
  session->tool->Write(WriteRequest(1, 0, Ramp(100'000)) + ReadRequest(2, 0, 100'000));
  session->tool->CloseWrite();
  EXPECT_EQ(session->tool->Read(2 * kSimpleReplyBytes + 100'000 + 1).size(),
            2 * kSimpleReplyBytes + 100'000);
  session->thread.join();
  EXPECT_EQ(session->failure, std::nullopt);
}

TEST_P(QueuePairTest, GivenSeveralConnectionsThenTheyShareTheDisk) {
  std::vector<std::unique_ptr<Session>> sessions;
  for (int i = 0; i < 4; ++i) sessions.push_back(Start());
  for (auto& session : sessions) session->tool->Negotiate();
  for (size_t i = 0; i < 4; ++i) {
    sessions[i]->tool->Write(WriteRequest(i, i * 1000, Ramp(1000, static_cast<uint8_t>(i))));
  }
  for (auto& session : sessions) {
    EXPECT_EQ(session->tool->Read(kSimpleReplyBytes).size(), kSimpleReplyBytes);
  }
  for (size_t i = 0; i < 4; ++i) {
    const auto from = disk_->content.begin() + static_cast<ptrdiff_t>(i * 1000);
    EXPECT_EQ(Bytes(from, from + 1000), Ramp(1000, static_cast<uint8_t>(i)));
  }
  for (auto& session : sessions) {
    session->tool->CloseWrite();
    session->thread.join();
    EXPECT_EQ(session->failure, std::nullopt);
  }
}

TEST_P(QueuePairTest, GivenAStoppedServerThenIdleClientsSeeTheEndOfTheStream) {
  const auto session = Start();
  session->tool->Negotiate();
  server_stop_.Request();
  EXPECT_TRUE(session->tool->Read(1).empty());
  session->tool->CloseWrite();
  session->thread.join();
  EXPECT_EQ(session->failure, std::nullopt);
  StopServer();
}

TEST_P(QueuePairTest, GivenAServerStoppedInTheMiddleOfARequestThenItHangsUpAfterItsGrace) {
  const auto session = Start();
  session->tool->Negotiate();
  // Given a request whose payload never comes, so that the server is in the middle of it.
  session->tool->Write(RequestBytes({.command = kCommandWrite, .length = 100}));
  StopServer();  // hangs up after its grace period
  EXPECT_TRUE(session->tool->Read(1).empty());
  session->tool->CloseWrite();
  session->thread.join();
}

TEST_P(QueuePairTest, GivenNobodyListensThenTheRelayFailsWithTheReason) {
  const auto session = Start(kPort + 1);
  session->thread.join();
  ASSERT_NE(session->failure, std::nullopt);
  EXPECT_NE(session->failure->find("10810"), std::string::npos) << *session->failure;
}

TEST_P(QueuePairTest, GivenManyAnswersToAToolThatHasClosedThenAllOfThemCome) {
  const auto session = Start();
  session->tool->Negotiate();
  // More messages than a window, after the tool's end.
  constexpr size_t kReads = 100;
  for (uint64_t cookie = 0; cookie < kReads; ++cookie) {
    session->tool->Write(ReadRequest(cookie, 0, 5000));
  }
  session->tool->CloseWrite();
  constexpr size_t kBytes = kReads * (kSimpleReplyBytes + 5000);
  EXPECT_EQ(session->tool->Read(kBytes + 1).size(), kBytes);
  session->thread.join();
  EXPECT_EQ(session->failure, std::nullopt);
}

TEST_P(QueuePairTest, GivenAWriteOfManyMessagesThatIsRefusedThenTheConnectionGoesOn) {
  const auto session = Start();
  session->tool->Negotiate();
  // Behind the disk's end: the payload, 16 messages of VCONN's, is drained.
  session->tool->Write(WriteRequest(1, kDiskBytes, Ramp(1'000'000)) + ReadRequest(2, 0, 10));
  SimpleReply reply;
  ASSERT_EQ(ParseSimpleReply(session->tool->Read(kSimpleReplyBytes), &reply),
            TransmissionError::kNone);
  EXPECT_EQ(reply.error, kErrorNoSpc);
  EXPECT_EQ(session->tool->Read(kSimpleReplyBytes + 10).size(), kSimpleReplyBytes + 10);
  session->tool->CloseWrite();
  session->thread.join();
  EXPECT_EQ(session->failure, std::nullopt);
}

TEST_P(QueuePairTest, GivenAServerOfTheOtherKindThenNothingHangs) {
  const auto session = Start(kPort, !GetParam());
  // Streams: the tool sees what is no greeting, and goes.
  if (GetParam()) {
    const Bytes hello = session->tool->Read(8);
    EXPECT_NE(hello, (Bytes{'N', 'B', 'D', 'M', 'A', 'G', 'I', 'C'}));
    session->tool->CloseWrite();
    session->thread.join();
    return;
  }
  session->thread.join();
  ASSERT_NE(session->failure, std::nullopt);
  EXPECT_NE(session->failure->find("does not speak VCONN"), std::string::npos) << *session->failure;
}

TEST_P(QueuePairTest, GivenACancelledRelayThenItEndsWithoutAFailure) {
  const auto session = Start();
  session->tool->Negotiate();
  session->relay->Cancel();
  session->thread.join();
  EXPECT_EQ(session->failure, std::nullopt);
  EXPECT_TRUE(session->tool->Read(1).empty());
}

TEST_P(QueuePairTest, GivenAFinishedRelayThenWhatTheToolSentIsAnswered) {
  const auto session = Start();
  session->tool->Negotiate();
  session->tool->Write(ReadRequest(1, 0, 5000));
  EXPECT_EQ(session->tool->Read(kSimpleReplyBytes + 5000).size(), kSimpleReplyBytes + 5000);
  session->relay->Finish();
  session->thread.join();
  EXPECT_EQ(session->failure, std::nullopt);
}

}  // namespace
}  // namespace qpip::nbd::testing

// The client library, and the leaf on it, against the server: over queue pairs and over a socket.
#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <random>
#include <thread>

#include "../storage/bench.h"
#include "apps/common/stop.h"
#include "apps/nbd/run_command.h"
#include "apps/nbd/server.h"
#include "apps/nbd/upstream.h"
#include "qpip/nbd.h"
#include "qpip/qpip.h"
#include "storage/leaves/memory_device.h"

namespace qpip::nbd::testing {
namespace {

using std::chrono::milliseconds;
using storage::testing::Bench;
using storage::testing::Bytes;
using storage::testing::Ramp;

constexpr uint64_t kDiskBytes = 64 << 20;

enum class Over { kQueuePairs, kSocket };

/// Given a server of a disk in memory, that can be ended and started again.
class ClientOfServerTest : public ::testing::TestWithParam<Over> {
 protected:
  ClientOfServerTest() {
    exports_.Add({.name = "disk", .device = std::make_shared<storage::MemoryDevice>(kDiskBytes)});
    if (GetParam() == Over::kQueuePairs) {
      static std::atomic<int> fabrics = 0;
      const std::string fabric = "mem:client-of-server-" + std::to_string(fabrics++);
      server_nic_ = Nic::Open(fabric + "?address=fd00::1");
      client_nic_ = Nic::Open(fabric + "?address=fd00::2");
      pd_ = client_nic_->AllocatePd();
      options_.nic = client_nic_.get();
      options_.pd = pd_.get();
      uri_ = "nbd+qp://[fd00::1]/disk";
    } else {
      path_.emplace();
      uri_ = "nbd+unix:///disk?socket=" + path_->path();
    }
    StartServer();
  }
  ~ClientOfServerTest() override { StopServer(); }

  void StartServer() {
    stop_.emplace();
    std::vector<std::unique_ptr<ListeningSocket>> sockets;
    if (path_) sockets.push_back(Listen(path_->path(), 0));
    server_ = std::make_unique<Server>(server_nic_.get(), std::move(sockets), exports_,
                                       ServerOptions{}, *stop_);
    thread_ = std::thread([this] { server_->Run(); });
  }
  void StopServer() {
    stop_->Request();
    if (thread_.joinable()) thread_.join();
    server_.reset();
  }
  std::unique_ptr<Client> Open() { return OpenClient(uri_, options_); }

  static std::span<const std::byte> Of(const Bytes& bytes) {
    return std::as_bytes(std::span(bytes));
  }
  static Bytes ReadAll(Client& client, uint64_t offset, size_t length) {
    Bytes bytes(length);
    EXPECT_EQ(client.Read(offset, std::as_writable_bytes(std::span(bytes))), 0);
    return bytes;
  }

  ExportTable exports_;
  std::shared_ptr<Nic> server_nic_;
  std::shared_ptr<Nic> client_nic_;
  std::unique_ptr<ProtectionDomain> pd_;
  std::optional<PrivateSocketPath> path_;
  UpstreamOptions options_;
  std::string uri_;
  std::optional<apps::StopToken> stop_;
  std::unique_ptr<Server> server_;
  std::thread thread_;
};

TEST_P(ClientOfServerTest, ThenEveryCommandDoesWhatItSays) {
  const auto client = Open();
  EXPECT_EQ(client->facts().bytes, kDiskBytes);
  EXPECT_TRUE(client->facts().extended_headers);
  const Bytes data = Ramp(300'000);
  EXPECT_EQ(client->Write(5000, Of(data), Io::kFua), 0);
  EXPECT_EQ(ReadAll(*client, 5000, data.size()), data);
  EXPECT_EQ(client->Zero(5000, 100'000), 0);
  EXPECT_EQ(ReadAll(*client, 5000, 100'000), Bytes(100'000));
  EXPECT_EQ(client->Trim(1 << 20, 1 << 20), 0);
  EXPECT_EQ(client->Cache(0, 4096), 0);
  EXPECT_EQ(client->Flush(), 0);
  EXPECT_EQ(client->Write(kDiskBytes - 1, Of(Ramp(2))), EINVAL);
}

TEST_P(ClientOfServerTest, ThenHolesAreTold) {
  const auto client = Open();
  EXPECT_EQ(client->Write(2 << 20, Of(Ramp(1 << 20))), 0);
  std::array<BlockExtent, 8> extents;
  size_t count = 0;
  ASSERT_EQ(client->Status(0, 4 << 20, extents, &count), 0);
  ASSERT_GE(count, 3u);
  EXPECT_EQ(extents[0].length, 2u << 20);
  EXPECT_EQ(extents[0].flags, BlockExtent::kHole | BlockExtent::kZeroes);
  EXPECT_EQ(extents[1].length, 1u << 20);
  EXPECT_EQ(extents[1].flags, 0u);
}

TEST_P(ClientOfServerTest, ThenWhatIsAllocatedIsWrittenFromWhereItLies) {
  const auto client = Open();
  const std::span<std::byte> memory = client->Allocate(9 << 20);
  std::mt19937_64 random(1);
  for (std::byte& each : memory) each = static_cast<std::byte>(random());
  EXPECT_EQ(client->Write(0, memory), 0);
  const Bytes found = ReadAll(*client, 0, memory.size());
  EXPECT_TRUE(std::equal(memory.begin(), memory.end(), std::as_bytes(std::span(found)).begin()));
}

/// Random commands on blocks, each of which one command at a time works on.
TEST_P(ClientOfServerTest, ThenManyInFlightOverSeveralConnectionsKeepTheirPlaces) {
  constexpr size_t kBlocks = 64;
  constexpr size_t kBlockBytes = 12'288;
  options_.connections = 3;
  const auto client = Open();
  EXPECT_EQ(client->connections(), 3u);
  struct Block {
    Io io;
    Bytes memory;
    iovec run = {};
    Bytes expected = Bytes(kBlockBytes);
    bool busy = false;
  };
  std::vector<Block> blocks(kBlocks);
  std::mt19937 random(2);
  for (int step = 0; step < 3000; ++step) {
    Block& block = blocks[random() % kBlocks];
    while (block.busy) (void)client->Wait();
    constexpr std::array kOps = {Io::Op::kRead, Io::Op::kWrite, Io::Op::kRead, Io::Op::kZero};
    block.io.op = kOps[random() % kOps.size()];
    block.io.offset = static_cast<uint64_t>(&block - blocks.data()) * kBlockBytes;
    block.io.length = kBlockBytes;
    block.memory = Ramp(kBlockBytes, static_cast<uint8_t>(random()));
    block.run = {block.memory.data(), kBlockBytes};
    block.io.data = {&block.run, 1};
    block.io.context = &block;
    block.io.done = [](Io& over) {
      auto& mine = *static_cast<Block*>(over.context);
      EXPECT_EQ(over.error, 0);
      if (over.op == Io::Op::kRead) {
        EXPECT_EQ(mine.memory, mine.expected);
      }
      if (over.op == Io::Op::kWrite) mine.expected = mine.memory;
      if (over.op == Io::Op::kZero) mine.expected.assign(kBlockBytes, 0);
      mine.busy = false;
    };
    block.busy = true;
    client->Submit(block.io);
    if (random() % 4 == 0) (void)client->Poll();
  }
  while (client->in_flight() > 0) (void)client->Wait();
}

TEST_P(ClientOfServerTest, ThenARestartedServerIsGoneOnWith) {
  options_.reconnect = milliseconds(60'000);
  const auto client = Open();
  const Bytes data = Ramp(100'000);
  EXPECT_EQ(client->Write(0, Of(data)), 0);
  std::array<iovec, 1> run;
  Bytes into(data.size());
  run[0] = {into.data(), into.size()};
  Io read;
  read.offset = 0;
  read.length = into.size();
  read.data = run;
  StopServer();
  client->Submit(read);
  (void)client->Poll();
  StartServer();
  while (client->in_flight() > 0) (void)client->Wait();
  EXPECT_EQ(read.error, 0);
  EXPECT_EQ(into, data);
  EXPECT_EQ(client->counts().reconnects, 1u);
}

TEST_P(ClientOfServerTest, ThenAServerThatStaysAwayIsAnError) {
  options_.reconnect = milliseconds(30);
  const auto client = Open();
  StopServer();
  EXPECT_NE(client->Flush(), 0);
  EXPECT_NE(client->failure(), "");
}

TEST_P(ClientOfServerTest, ThenAnUnknownExportIsRefused) {
  uri_.insert(uri_.find("disk"), "no-");
  try {
    Open();
    ADD_FAILURE() << "opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ENOENT) << error.what();
  }
}

// --- The leaf

TEST_P(ClientOfServerTest, ThenItIsALeafForSeveralExecutors) {
  const auto device = OpenUpstream(uri_, options_);
  EXPECT_EQ(device->geometry().bytes, kDiskBytes);
  EXPECT_TRUE(device->geometry().shared_flush);
  Bench first;
  Bench second;
  const Bytes data = Ramp(200'000);
  EXPECT_EQ(first.Write(*device, 4096, data, storage::kFua, 50'000), 0);
  EXPECT_EQ(second.Read(*device, 4096, data.size(), 7000), data);
  EXPECT_EQ(second.Run(*device, storage::Op::kZero, 4096, 8192), 0);
  EXPECT_EQ(first.Run(*device, storage::Op::kFlush, 0, 0), 0);
  EXPECT_EQ(first.Read(*device, 4096, 8192), Bytes(8192));
  EXPECT_EQ(first.Run(*device, storage::Op::kTrim, 0, kDiskBytes), 0);
  const auto extents = first.Status(*device, 1000, kDiskBytes - 1000);
  ASSERT_EQ(extents.size(), 1u);
  EXPECT_EQ(extents[0].first, kDiskBytes - 1000);
}

TEST_P(ClientOfServerTest, ThenALeafThatGaveUpTriesAnew) {
  options_.reconnect = milliseconds(20);
  options_.patience = milliseconds(20);
  const auto device = OpenUpstream(uri_, options_);
  Bench bench;
  EXPECT_EQ(bench.Write(*device, 0, Ramp(100)), 0);
  StopServer();
  EXPECT_NE(bench.Run(*device, storage::Op::kFlush, 0, 0), 0);
  StartServer();
  // The first may still find what has given up.
  int error = 1;
  for (int i = 0; i < 1000 && error != 0; ++i) {
    error = bench.Run(*device, storage::Op::kFlush, 0, 0);
  }
  EXPECT_EQ(error, 0);
  EXPECT_EQ(bench.Read(*device, 0, 100), Ramp(100));
}

TEST_P(ClientOfServerTest, ThenALeafDoesNotGoOnWithAnotherExport) {
  options_.reconnect = milliseconds(10'000);
  const auto device = OpenUpstream(uri_, options_);
  Bench bench;
  EXPECT_EQ(bench.Write(*device, 0, Ramp(100)), 0);
  Bench later;  // whose client is made when the export is another one
  const ExportTable before = exports_;
  StopServer();
  exports_ = {};
  exports_.Add({.name = "disk", .device = std::make_shared<storage::MemoryDevice>(1 << 20)});
  StartServer();
  for (int i = 0; i < 3; ++i) {  // by the client that had the first, and by others behind it
    EXPECT_EQ(bench.Run(*device, storage::Op::kTrim, 0, 100), ESTALE);
    EXPECT_EQ(later.Run(*device, storage::Op::kTrim, 0, 100), ESTALE);
  }
  StopServer();
  exports_ = before;
  StartServer();
  EXPECT_EQ(bench.Read(*device, 0, 100), Ramp(100));
  EXPECT_EQ(later.Read(*device, 0, 100), Ramp(100));
}

TEST_P(ClientOfServerTest, ThenALeafWhoseClientEndsMayBeAskedInItsEnd) {
  options_.reconnect = milliseconds(0);
  options_.patience = milliseconds(20);
  const auto device = OpenUpstream(uri_, options_);
  Bench bench;
  EXPECT_EQ(bench.Write(*device, 0, Ramp(100)), 0);
  StopServer();
  struct Chain {
    storage::Device& device;
    int ended = 0;
  } chain = {*device};
  storage::Request request;
  request.op = storage::Op::kTrim;
  request.length = 100;
  request.executor = &bench.executor;
  request.context = &chain;
  request.done = [](storage::Request& over) {
    auto& mine = *static_cast<Chain*>(over.context);
    EXPECT_NE(over.error, 0);
    if (++mine.ended < 3) mine.device.Submit(over);
  };
  device->Submit(request);
  storage::testing::RunUntil(bench.executor, [&] { return chain.ended == 3; });
}

TEST_P(ClientOfServerTest, ThenAFlushOfALeafFailsWhereALostServerHadWhatAnotherExecutorWrote) {
  options_.reconnect = milliseconds(60'000);
  const auto device = OpenUpstream(uri_, options_);
  const auto flush = [&](Bench& bench) { return bench.Run(*device, storage::Op::kFlush, 0, 0); };
  Bench writer;
  Bench other;
  EXPECT_EQ(flush(other), 0);
  EXPECT_EQ(writer.Write(*device, 0, Ramp(100)), 0);
  StopServer();
  StartServer();
  EXPECT_EQ(flush(other), EIO) << "it was to cover what the writer has written";
  EXPECT_EQ(flush(other), 0);
  EXPECT_EQ(flush(writer), EIO) << "to each of them it is said once";
  EXPECT_EQ(flush(writer), 0);
  Bench later;
  EXPECT_EQ(flush(later), 0) << "it had nothing to do with it";
}

TEST_P(ClientOfServerTest, ThenAFlushOfALaterExecutorsDoesNotHideWhatALostServerHad) {
  options_.reconnect = milliseconds(60'000);
  const auto device = OpenUpstream(uri_, options_);
  const auto flush = [&](Bench& bench) { return bench.Run(*device, storage::Op::kFlush, 0, 0); };
  Bench writer;
  EXPECT_EQ(writer.Write(*device, 0, Ramp(100)), 0);
  StopServer();
  StartServer();
  Bench later;
  EXPECT_EQ(flush(later), 0) << "it has never had another server";
  EXPECT_EQ(flush(writer), EIO);
  EXPECT_EQ(flush(later), EIO) << "to each of them it is said once";
  EXPECT_EQ(flush(later), 0);
}

TEST_P(ClientOfServerTest, ThenALeafOfAServerThatLosesNothingGoesOnBehindALoss) {
  options_.reconnect = milliseconds(60'000);
  options_.volatile_server = false;
  const auto device = OpenUpstream(uri_, options_);
  Bench bench;
  EXPECT_EQ(bench.Write(*device, 0, Ramp(100)), 0);
  StopServer();
  StartServer();
  EXPECT_EQ(bench.Run(*device, storage::Op::kFlush, 0, 0), 0);
}

INSTANTIATE_TEST_SUITE_P(All, ClientOfServerTest,
                         ::testing::Values(Over::kQueuePairs, Over::kSocket), [](const auto& each) {
                           return each.param == Over::kSocket ? "Socket" : "QueuePairs";
                         });

}  // namespace
}  // namespace qpip::nbd::testing

// The same cases on every backend, in real time and in virtual time. What they run on is named by
// the INSTANTIATE_TEST_SUITE_P of each executable.
#include <cstring>
#include <map>

#include "on_backend.h"

namespace qpip::test {
namespace {

TEST_P(OnBackend, GivenConnectedPairWhenManyRoundTripsThenEveryByteComesBack) {
  auto client_qp = client.Qp();
  auto server_qp = server.Qp();
  auto server_memory = server.pd->Allocate(64);
  auto client_memory = client.pd->Allocate(128);
  ASSERT_EQ(server_qp->PostRecv(0, server_memory->Sge(0, 64)), 0);
  nics.Connect(*client_qp, *server_qp);
  constexpr int kRounds = 2000;
  const auto echo = nics.testbed().Start([&] {
    for (int i = 0; i < kRounds; ++i) {
      WorkCompletion wc = server.One();
      while (wc.opcode != IBV_WC_RECV) wc = server.One();
      ASSERT_EQ(wc.status, IBV_WC_SUCCESS);
      static_cast<uint8_t*>(server_memory->data())[32] =
          static_cast<uint8_t*>(server_memory->data())[0];
      ASSERT_EQ(server_qp->PostRecv(0, server_memory->Sge(0, 32)), 0);
      ASSERT_EQ(server_qp->PostSend(1, server_memory->Sge(32, 1)), 0);
    }
  });
  auto* bytes = static_cast<uint8_t*>(client_memory->data());
  for (int i = 0; i < kRounds; ++i) {
    bytes[0] = static_cast<uint8_t>(i * 7);
    ASSERT_EQ(client_qp->PostRecv(0, client_memory->Sge(64, 1)), 0);
    ASSERT_EQ(client_qp->PostSend(1, client_memory->Sge(0, 1)), 0);
    for (const WorkCompletion& wc : client.Collect(2)) ASSERT_EQ(wc.status, IBV_WC_SUCCESS);
    ASSERT_EQ(bytes[64], bytes[0]);
  }
  echo->Join();
}

TEST_P(OnBackend, GivenMessagesOfManySizesWhenSentThenBoundariesAndBytesHold) {
  QpOptions options;
  options.receive_reservation = 8 << 20;
  auto client_qp = client.Qp(options);
  auto server_qp = server.Qp(options);
  constexpr size_t kLargest = 1 << 20;
  auto source = client.pd->Allocate(kLargest + 64);
  auto sink = server.pd->Allocate(2 * kLargest);
  FillPattern(source->data(), source->size());
  const std::vector<uint32_t> sizes = {1,     2,     63,     64,      65,      255,   256,   257,
                                       1428,  1429,  4096,   16384,   32767,   32768, 32769, 65535,
                                       65536, 65537, 262144, 1000003, 1048576, 3};
  ASSERT_EQ(server_qp->PostRecv(0, sink->Sge(0, kLargest)), 0);
  nics.Connect(*client_qp, *server_qp);
  for (size_t i = 0; i < sizes.size(); ++i) {
    const uint32_t offset = static_cast<uint32_t>(i);
    if (i + 1 < sizes.size()) {
      ASSERT_EQ(server_qp->PostRecv(i + 1, sink->Sge((i + 1) % 2 * kLargest, kLargest)), 0);
    }
    ASSERT_EQ(client_qp->PostSend(i, source->Sge(offset, sizes[i])), 0);
    const WorkCompletion wc = server.One();
    ASSERT_EQ(wc.status, IBV_WC_SUCCESS);
    ASSERT_EQ(wc.wr_id, i);
    ASSERT_EQ(wc.byte_len, sizes[i]);
    const auto* at = static_cast<uint8_t*>(sink->data()) + i % 2 * kLargest;
    ASSERT_EQ(CheckPattern(at, sizes[i], offset), sizes[i]);
    ASSERT_EQ(client.One().status, IBV_WC_SUCCESS);
  }
}

TEST_P(OnBackend, GivenOrdinaryMemoryAndListsWhenSentThenGatheredAndScattered) {
  auto client_qp = client.Qp();
  auto server_qp = server.Qp();
  std::vector<uint8_t> source(100000), sink(100000);
  FillPattern(source.data(), source.size());
  auto source_region = client.pd->Register(source.data(), source.size(), 0);
  auto sink_region = server.pd->Register(sink.data(), sink.size(), IBV_ACCESS_LOCAL_WRITE);
  ibv_sge to[3] = {sink_region->Sge(0, 1), sink_region->Sge(10, 40000),
                   sink_region->Sge(50000, 50000)};
  ibv_recv_wr recv{};
  recv.wr_id = 5;
  recv.sg_list = to;
  recv.num_sge = 3;
  ASSERT_EQ(server_qp->PostRecv(&recv), 0);
  nics.Connect(*client_qp, *server_qp);
  ibv_sge from[2] = {source_region->Sge(100, 30000), source_region->Sge(40000, 33333)};
  ibv_send_wr send{};
  send.sg_list = from;
  send.num_sge = 2;
  send.opcode = IBV_WR_SEND;
  send.send_flags = IBV_SEND_SIGNALED;
  ASSERT_EQ(client_qp->PostSend(&send), 0);
  const WorkCompletion wc = server.One();
  ASSERT_EQ(wc.status, IBV_WC_SUCCESS);
  ASSERT_EQ(wc.byte_len, 63333u);
  std::vector<uint8_t> sent(source.begin() + 100, source.begin() + 30100);
  sent.insert(sent.end(), source.begin() + 40000, source.begin() + 73333);
  std::vector<uint8_t> got(sink.begin(), sink.begin() + 1);
  got.insert(got.end(), sink.begin() + 10, sink.begin() + 40010);
  got.insert(got.end(), sink.begin() + 50000, sink.begin() + 100000);
  got.resize(sent.size());
  EXPECT_EQ(got, sent);
  EXPECT_EQ(client.One().status, IBV_WC_SUCCESS);
}

TEST_P(OnBackend, GivenUdpPairWhenDatagramsSentThenTheyArriveWithTheirSource) {
  QpOptions options;
  options.type = QpType::kUdp;
  auto client_qp = client.Qp(options);
  auto server_qp = server.Qp(options);
  const uint16_t client_port = client_qp->Bind(0);
  ASSERT_EQ(server_qp->Bind(9000), 9000);
  auto memory = client.pd->Allocate(2048);
  auto sink = server.pd->Allocate(2048);
  FillPattern(memory->data(), 2048);
  ASSERT_EQ(server_qp->PostRecv(1, sink->Sge(0, 2048)), 0);
  WorkCompletion wc{};
  for (int attempt = 0; attempt < 100; ++attempt) {
    ASSERT_EQ(client_qp->PostSendTo(2, memory->Sge(0, 1000), nics.ServerAt(9000)), 0);
    ASSERT_EQ(client.One().status, IBV_WC_SUCCESS);
    if (server.cq->Wait({&wc, 1}, 1s) == 1) break;
  }
  ASSERT_EQ(wc.status, IBV_WC_SUCCESS);
  EXPECT_EQ(wc.byte_len, 1000u);
  EXPECT_EQ(wc.peer.port, client_port);
  EXPECT_EQ(wc.peer.address.s6_addr[15], 2);
  EXPECT_EQ(wc.qp_num, 9000u);
  EXPECT_EQ(CheckPattern(sink->data(), 1000), 1000u);
}

TEST_P(OnBackend, GivenThousandOneByteMessagesWhenSixteenLargeReceivesThenAllArriveApart) {
  QpOptions options;
  options.send_depth = 1024;
  auto client_qp = client.Qp(options);
  auto server_qp = server.Qp();
  auto source = client.pd->Allocate(1000);
  auto sink = server.pd->Allocate(16 * 16384);
  FillPattern(source->data(), 1000);
  for (uint32_t i = 0; i < 16; ++i) {
    ASSERT_EQ(server_qp->PostRecv(i, sink->Sge(i * 16384, 16384)), 0);
  }
  nics.Connect(*client_qp, *server_qp);
  for (uint32_t i = 0; i < 1000; ++i) {
    ASSERT_EQ(client_qp->PostSend(i, source->Sge(i, 1)), 0);
  }
  uint32_t received = 0;
  while (received < 1000) {
    const WorkCompletion wc = server.One();
    ASSERT_EQ(wc.status, IBV_WC_SUCCESS);
    ASSERT_EQ(wc.byte_len, 1u);
    ASSERT_EQ(static_cast<uint8_t*>(sink->data())[wc.wr_id * 16384],
              static_cast<uint8_t*>(source->data())[received]);
    ASSERT_EQ(server_qp->PostRecv(wc.wr_id, sink->Sge(wc.wr_id * 16384, 16384)), 0);
    ++received;
  }
  for (const WorkCompletion& wc : client.Collect(1000)) ASSERT_EQ(wc.status, IBV_WC_SUCCESS);
}

TEST_P(OnBackend, GivenDisconnectWhenBothCloseThenEndOfStreamAndClosedOnBothSides) {
  auto client_qp = client.Qp();
  auto server_qp = server.Qp();
  auto sink = server.pd->Allocate(64);
  ASSERT_EQ(server_qp->PostRecv(1, sink->Sge(0, 64)), 0);
  ASSERT_EQ(server_qp->PostRecv(2, sink->Sge(0, 64)), 0);
  nics.Connect(*client_qp, *server_qp);
  client_qp->Shutdown();
  const auto received = server.Collect(2);
  ASSERT_EQ(received.size(), 2u);
  EXPECT_EQ(received[0].status, IBV_WC_SUCCESS);
  EXPECT_EQ(received[0].byte_len, 0u);
  EXPECT_TRUE(received[0].end_of_stream);
  EXPECT_EQ(received[1].status, IBV_WC_WR_FLUSH_ERR);
  EXPECT_TRUE(server_qp->Disconnect(kPatience));
  EXPECT_TRUE(client_qp->Disconnect(kPatience));
  EXPECT_EQ(client_qp->disconnect_reason(), DisconnectReason::kClosed);
  EXPECT_EQ(server_qp->disconnect_reason(), DisconnectReason::kClosed);
  EXPECT_EQ(client_qp->state(), QpState::kClosed);
}

TEST_P(OnBackend, GivenOutstandingWorkWhenPeerQpIsDestroyedThenEachCompletesOnceInOrder) {
  auto client_qp = client.Qp();
  auto server_qp = server.Qp();
  auto memory = client.pd->Allocate(4096);
  for (uint32_t i = 0; i < 5; ++i) {
    ASSERT_EQ(client_qp->PostRecv(100 + i, memory->Sge(0, 64)), 0);
  }
  nics.Connect(*client_qp, *server_qp);
  for (uint32_t i = 0; i < 5; ++i) ASSERT_EQ(client_qp->PostSend(i, memory->Sge(0, 64)), 0);
  client.AwaitPosted();
  server_qp.reset();
  uint64_t next_send = 0;
  uint64_t next_recv = 100;
  for (const WorkCompletion& wc : client.Collect(10)) {
    const bool recv = wc.wr_id >= 100;
    uint64_t& next = recv ? next_recv : next_send;
    const bool head = wc.wr_id == (recv ? 100u : 0u);
    EXPECT_EQ(wc.wr_id, next++);
    EXPECT_EQ(wc.status, head ? IBV_WC_REM_ABORT_ERR : IBV_WC_WR_FLUSH_ERR);
  }
  WorkCompletion extra{};
  EXPECT_EQ(client.cq->Poll({&extra, 1}), 0u);
  EXPECT_EQ(client_qp->PostSend(9, memory->Sge(0, 1)), ENOTCONN);
}

TEST_P(OnBackend, GivenPeerNicClosesWhenWorkIsOutstandingThenItFailsAndConnectionIsGone) {
  auto client_qp = client.Qp();
  auto server_qp = server.Qp();
  auto memory = client.pd->Allocate(4096);
  nics.Connect(*client_qp, *server_qp);
  ASSERT_EQ(client_qp->PostSend(1, memory->Sge(0, 64)), 0);
  client.AwaitPosted();
  server_qp.reset();
  server = Side();
  const WorkCompletion wc = client.One();
  EXPECT_EQ(wc.status, IBV_WC_REM_ABORT_ERR);
}

TEST_P(OnBackend, GivenNobodyListensWhenConnectThenRefused) {
  auto client_qp = client.Qp();
  try {
    client_qp->Connect(nics.ServerAt(4242), kPatience);
    FAIL() << "connected to nobody";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ECONNREFUSED);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("refused"));
  }
}

TEST_P(OnBackend, GivenAddressNobodyHasWhenConnectThenUnreachable) {
  auto client_qp = client.Qp();
  try {
    client_qp->Connect(Endpoint::Parse("[fd00::77]:1"), kPatience);
    FAIL() << "connected to nobody";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), EHOSTUNREACH);
  }
}

TEST_P(OnBackend, GivenManyQpsOnOneCqWhenAllTalkThenCompletionsFindTheirQp) {
  constexpr uint32_t kPairs = 50;
  std::vector<std::unique_ptr<QueuePair>> clients, servers;
  auto memory = client.pd->Allocate(kPairs * 64);
  auto sink = server.pd->Allocate(kPairs * 64);
  QpOptions options;
  options.send_depth = options.recv_depth = 8;
  options.receive_reservation = 65536;
  std::map<uint32_t, uint32_t> expected;
  for (uint32_t i = 0; i < kPairs; ++i) {
    clients.push_back(client.Qp(options));
    servers.push_back(server.Qp(options));
    ASSERT_EQ(servers[i]->PostRecv(i, sink->Sge(i * 64, 64)), 0);
    nics.Connect(*clients[i], *servers[i]);
    expected[servers[i]->qp_num()] = i;
  }
  EXPECT_EQ(expected.size(), kPairs);
  for (uint32_t i = 0; i < kPairs; ++i) {
    std::memset(static_cast<uint8_t*>(memory->data()) + i * 64, static_cast<int>(i), 64);
    ASSERT_EQ(clients[i]->PostSend(i, memory->Sge(i * 64, 1 + i)), 0);
  }
  for (const WorkCompletion& wc : server.Collect(kPairs)) {
    ASSERT_EQ(wc.status, IBV_WC_SUCCESS);
    const uint32_t i = expected.at(wc.qp_num);
    EXPECT_EQ(wc.wr_id, i);
    EXPECT_EQ(wc.byte_len, 1 + i);
    EXPECT_EQ(static_cast<uint8_t*>(sink->data())[i * 64], i);
  }
  client.Collect(kPairs);
}

TEST_P(OnBackend, GivenBulkThatNeverEndsWhenAnotherQpSendsOneByteThenItArrives) {
  constexpr uint32_t kBulk = 65536;
  constexpr uint32_t kDepth = 32;
  constexpr uint64_t kSmall = 1000;
  // Outlives the queue pairs, which have work outstanding to the end.
  auto memory = client.pd->Allocate(kBulk + 64);
  auto sink = server.pd->Allocate(kBulk + 64);
  QpOptions bulk_options;
  bulk_options.send_depth = bulk_options.recv_depth = kDepth;
  auto bulk_client = client.Qp(bulk_options), bulk_server = server.Qp(bulk_options);
  auto small_client = client.Qp(), small_server = server.Qp();
  for (uint32_t i = 0; i < kDepth; ++i) {
    ASSERT_EQ(bulk_server->PostRecv(i, sink->Sge(0, kBulk)), 0);
  }
  ASSERT_EQ(small_server->PostRecv(kSmall, sink->Sge(kBulk, 64)), 0);
  nics.Connect(*bulk_client, *bulk_server);
  nics.Connect(*small_client, *small_server);
  // Given a bulk QP that always has work, when a one-byte message is posted behind that work
  for (uint32_t i = 0; i < kDepth; ++i) {
    ASSERT_EQ(bulk_client->PostSend(i, memory->Sge(0, kBulk)), 0);
  }
  ASSERT_EQ(small_client->PostSend(kSmall, memory->Sge(kBulk, 1)), 0);
  // Then it arrives although the bulk goes on: served last, it never would.
  constexpr int kNever = 20000;
  bool arrived = false;
  WorkCompletion wc[8];
  for (int bulk_messages = 0; !arrived;) {
    const size_t sent = client.cq->Poll(wc);
    for (size_t i = 0; i < sent; ++i) {
      ASSERT_EQ(wc[i].status, IBV_WC_SUCCESS);
      if (wc[i].wr_id == kSmall) continue;
      ASSERT_EQ(bulk_client->PostSend(wc[i].wr_id, memory->Sge(0, kBulk)), 0);
    }
    const size_t received = server.cq->Poll(wc);
    for (size_t i = 0; i < received; ++i) {
      ASSERT_EQ(wc[i].status, IBV_WC_SUCCESS);
      arrived |= wc[i].wr_id == kSmall;
      if (wc[i].wr_id == kSmall) continue;
      ASSERT_LT(++bulk_messages, kNever);
      ASSERT_EQ(bulk_server->PostRecv(wc[i].wr_id, sink->Sge(0, kBulk)), 0);
    }
  }
}

}  // namespace
}  // namespace qpip::test

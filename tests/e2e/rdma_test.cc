// RDMA on every backend that has queue pairs for it: connections with private data, every
// operation, and what is refused.
#include <cstring>
#include <random>

#include "on_backend.h"
#include "qpip/rdma.h"

namespace qpip::test {
namespace {

constexpr uint16_t kPort = 4791;
constexpr int kAllAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                           IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

std::string Text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

QpOptions RdmaQp() {
  QpOptions options;
  options.framing = Framing::kMpa;
  return options;
}

class OnRdma : public OnBackend {
 protected:
  /// Connects them; `crc`: with CRCs or without.
  void Connect(QueuePair& from, QueuePair& to, std::optional<bool> crc = std::nullopt) {
    if (listener_ == nullptr) listener_ = std::make_unique<RdmaListener>(*server.nic, kPort);
    RdmaParameters parameters;
    parameters.crc = crc;
    const auto accepting = nics.testbed().Start([&] {
      const auto request = listener_->Next(kPatience);
      ASSERT_NE(request, nullptr);
      request->Accept(to, parameters);
    });
    RdmaConnect(*client.nic, from, nics.ServerAt(kPort), parameters, kPatience);
    accepting->Join();
  }

  std::unique_ptr<RdmaListener> listener_;
};

ibv_send_wr Wr(ibv_wr_opcode opcode, uint64_t wr_id, ibv_sge* list, int count,
               unsigned flags = IBV_SEND_SIGNALED) {
  ibv_send_wr wr{};
  wr.wr_id = wr_id;
  wr.opcode = opcode;
  wr.sg_list = list;
  wr.num_sge = count;
  wr.send_flags = flags;
  return wr;
}

ibv_send_wr To(ibv_send_wr wr, const MemoryRegion& region, uint64_t offset) {
  wr.wr.rdma.remote_addr = reinterpret_cast<uintptr_t>(region.data()) + offset;
  wr.wr.rdma.rkey = region.rkey();
  return wr;
}

TEST_P(OnRdma, GivenPrivateDataWhenConnectedThenBothSidesHaveTheOthers) {
  auto client_qp = client.Qp(RdmaQp());
  auto server_qp = server.Qp(RdmaQp());
  RdmaListener listener(*server.nic, kPort);
  const auto accepting = nics.testbed().Start([&] {
    const auto request = listener.Next(kPatience);
    ASSERT_NE(request, nullptr);
    EXPECT_EQ(Text(request->private_data()), "who?");
    // The initiator's 7 and 5, seen from this side, which can do as much as any.
    EXPECT_EQ(request->offer().peer_ird, 7);
    EXPECT_EQ(request->offer().peer_ord, 5);
    EXPECT_EQ(request->offer().ird, 5);
    EXPECT_EQ(request->offer().ord, 7);
    EXPECT_TRUE(request->offer().peer_to_peer);
    const RdmaAgreement agreed =
        request->Accept(*server_qp, {.private_data = "me!", .ird = 4, .ord = 3});
    EXPECT_TRUE(agreed.peer_to_peer);
    EXPECT_EQ(agreed.ird, 4);
    EXPECT_EQ(agreed.ord, 3);
  });
  std::vector<std::byte> answer;
  const RdmaAgreement agreed =
      RdmaConnect(*client.nic, *client_qp, nics.ServerAt(kPort),
                  {.private_data = "who?", .ird = 7, .ord = 5}, kPatience, &answer);
  accepting->Join();
  EXPECT_EQ(Text(answer), "me!");
  EXPECT_EQ(agreed.revision, 2);
  EXPECT_EQ(agreed.ird, 7) << "its own, which the peer uses three of";
  EXPECT_EQ(agreed.ord, 4);
  EXPECT_EQ(client_qp->state(), QpState::kConnected);
}

TEST_P(OnRdma, GivenRejectionWhenConnectingThenTheInitiatorHasItsPrivateData) {
  auto client_qp = client.Qp(RdmaQp());
  RdmaListener listener(*server.nic, kPort);
  const auto rejecting = nics.testbed().Start([&] {
    const auto request = listener.Next(kPatience);
    ASSERT_NE(request, nullptr);
    request->Reject("no");
  });
  {
    RdmaConnector connector(*client.nic, nics.ServerAt(kPort));
    EXPECT_EQ(connector.Wait(kPatience), RdmaConnector::State::kRejected);
    EXPECT_EQ(Text(connector.private_data()), "no");
    EXPECT_EQ(connector.error().code(), ECONNREFUSED);
  }
  rejecting->Join();
  EXPECT_EQ(client_qp->state(), QpState::kIdle);
}

TEST_P(OnRdma, GivenSendsOfManySizesWhenReceivedThenBoundariesAndBytesHold) {
  auto client_qp = client.Qp(RdmaQp());
  auto server_qp = server.Qp(RdmaQp());
  constexpr size_t kLargest = 1 << 20;
  auto source = client.pd->Allocate(kLargest + 64);
  auto sink = server.pd->Allocate(kLargest + 64);
  FillPattern(source->data(), source->size());
  Connect(*client_qp, *server_qp);
  for (const bool is_inline : {false, true}) {
    for (const uint32_t size :
         {0u, 1u, 3u, 63u, 64u, 256u, 1434u, 1500u, 65536u, 100001u, uint32_t{kLargest}}) {
      if (is_inline && size > 64) break;
      std::memset(sink->data(), 0xee, sink->size());
      ASSERT_EQ(server_qp->PostRecv(size, sink->Sge(0, size + 1)), 0);
      ibv_sge sge = source->Sge(0, size);
      ibv_send_wr wr = Wr(IBV_WR_SEND, 9, &sge, 1,
                          IBV_SEND_SIGNALED | (is_inline ? unsigned{IBV_SEND_INLINE} : 0));
      ASSERT_EQ(client_qp->PostSend(&wr), 0);
      const WorkCompletion received = server.One();
      ASSERT_EQ(received.status, IBV_WC_SUCCESS) << size << Describe(received);
      EXPECT_EQ(received.byte_len, size);
      EXPECT_EQ(CheckPattern(sink->data(), size), size);
      EXPECT_EQ(static_cast<uint8_t*>(sink->data())[size], 0xee);
      const WorkCompletion sent = client.One();
      ASSERT_EQ(sent.status, IBV_WC_SUCCESS);
      EXPECT_EQ(sent.opcode, IBV_WC_SEND);
    }
  }
}

TEST_P(OnRdma, GivenWritesAndReadsWhenCrcsAreOnOrOffThenBytesHold) {
  for (const bool crc : {false, true}) {
    auto client_qp = client.Qp(RdmaQp());
    auto server_qp = server.Qp(RdmaQp());
    constexpr size_t kBytes = 1 << 20;
    auto source = client.pd->Allocate(kBytes);
    auto back = client.pd->Allocate(kBytes);
    auto region = server.pd->Allocate(kBytes, kAllAccess);
    FillPattern(source->data(), kBytes);
    Connect(*client_qp, *server_qp, crc);
    for (const uint32_t size : {0u, 1u, 8u, 1000u, 1433u, 16384u, 70000u, 999999u}) {
      std::memset(region->data(), 0, kBytes);
      std::memset(back->data(), 0, kBytes);
      ibv_sge out = source->Sge(0, size);
      ibv_send_wr write = To(Wr(IBV_WR_RDMA_WRITE, 1, &out, 1, 0), *region, 17);
      ibv_sge in[2] = {back->Sge(0, size / 3), back->Sge(size / 3, size - size / 3)};
      ibv_send_wr read = To(Wr(IBV_WR_RDMA_READ, 2, in, 2), *region, 17);
      write.next = &read;
      ASSERT_EQ(client_qp->PostSend(&write), 0);
      const WorkCompletion wc = client.One();
      ASSERT_EQ(wc.status, IBV_WC_SUCCESS) << size << " " << Describe(wc);
      EXPECT_EQ(wc.opcode, IBV_WC_RDMA_READ);
      EXPECT_EQ(wc.wr_id, 2u);
      EXPECT_EQ(CheckPattern(back->data(), size), size);
      EXPECT_EQ(CheckPattern(static_cast<char*>(region->data()) + 17, size), size);
    }
  }
}

TEST_P(OnRdma, GivenImmediateAndAtomicsWhenCarriedOutThenTheyAreAsPosted) {
  auto client_qp = client.Qp(RdmaQp());
  auto server_qp = server.Qp(RdmaQp());
  auto memory = client.pd->Allocate(64);
  auto region = server.pd->Allocate(64, kAllAccess);
  Connect(*client_qp, *server_qp);
  auto* word = static_cast<uint64_t*>(region->data());
  auto* found = static_cast<uint64_t*>(memory->data());
  word[0] = 40;
  ibv_sge sge = memory->Sge(0, 8);
  ibv_send_wr add = Wr(IBV_WR_ATOMIC_FETCH_AND_ADD, 1, &sge, 1);
  add.wr.atomic = {reinterpret_cast<uintptr_t>(word), 2, 0, region->rkey()};
  ASSERT_EQ(client_qp->PostSend(&add), 0);
  WorkCompletion wc = client.One();
  ASSERT_EQ(wc.status, IBV_WC_SUCCESS) << Describe(wc);
  EXPECT_EQ(wc.opcode, IBV_WC_FETCH_ADD);
  EXPECT_EQ(found[0], 40u);
  EXPECT_EQ(word[0], 42u);
  ibv_send_wr swap = Wr(IBV_WR_ATOMIC_CMP_AND_SWP, 2, &sge, 1);
  swap.wr.atomic = {reinterpret_cast<uintptr_t>(word), 42, 7, region->rkey()};
  ASSERT_EQ(client_qp->PostSend(&swap), 0);
  wc = client.One();
  ASSERT_EQ(wc.status, IBV_WC_SUCCESS);
  EXPECT_EQ(wc.opcode, IBV_WC_COMP_SWAP);
  EXPECT_EQ(found[0], 42u);
  EXPECT_EQ(word[0], 7u);

  found[1] = 99;
  ASSERT_EQ(server_qp->PostRecv(3, region->Sge(32, 8)), 0);
  ibv_sge out = memory->Sge(8, 8);
  ibv_send_wr write = To(Wr(IBV_WR_RDMA_WRITE_WITH_IMM, 3, &out, 1), *region, 8);
  write.imm_data = 0x12345678;
  ASSERT_EQ(client_qp->PostSend(&write), 0);
  wc = server.One();
  ASSERT_EQ(wc.status, IBV_WC_SUCCESS) << Describe(wc);
  EXPECT_EQ(wc.opcode, IBV_WC_RECV_RDMA_WITH_IMM);
  EXPECT_EQ(wc.imm_data, 0x12345678u);
  EXPECT_EQ(wc.byte_len, 8u);
  EXPECT_EQ(word[1], 99u);
  EXPECT_EQ(client.One().opcode, IBV_WC_RDMA_WRITE);
}

TEST_P(OnRdma, GivenABoundKeyWhenInvalidatedByThePeerThenItIsDead) {
  auto client_qp = client.Qp(RdmaQp());
  auto server_qp = server.Qp(RdmaQp());
  auto memory = client.pd->Allocate(64);
  std::vector<char> own(4096);
  auto region = server.pd->Register(own.data(), own.size(), kAllAccess,
                                    {.queue_pair = server_qp.get(), .iova = std::nullopt});
  auto sink = server.pd->Allocate(64);
  Connect(*client_qp, *server_qp);
  ASSERT_EQ(server_qp->PostRecv(1, sink->Sge(0, 64)), 0);
  ibv_sge sge = memory->Sge(0, 8);
  ibv_send_wr send = Wr(IBV_WR_SEND_WITH_INV, 1, &sge, 1);
  send.invalidate_rkey = region->rkey();
  ASSERT_EQ(client_qp->PostSend(&send), 0);
  WorkCompletion wc = server.One();
  ASSERT_EQ(wc.status, IBV_WC_SUCCESS) << Describe(wc);
  EXPECT_EQ(wc.wc_flags, unsigned{IBV_WC_WITH_INV});
  EXPECT_EQ(wc.invalidated_rkey, region->rkey());
  EXPECT_EQ(client.One().status, IBV_WC_SUCCESS);
  ibv_send_wr write = To(Wr(IBV_WR_RDMA_WRITE, 2, &sge, 1), *region, 0);
  ASSERT_EQ(client_qp->PostSend(&write), 0);
  wc = client.One();
  EXPECT_EQ(wc.status, IBV_WC_REM_ACCESS_ERR) << Describe(wc);
  EXPECT_EQ(wc.reason, DisconnectReason::kTerminated);
}

TEST_P(OnRdma, GivenAWindowWhenBoundAndTakenBackByEitherEndThenThePeerHasItMeanwhile) {
  auto client_qp = client.Qp(RdmaQp());
  auto server_qp = server.Qp(RdmaQp());
  auto memory = client.pd->Allocate(64);
  auto region = server.pd->Allocate(4096, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND);
  auto window = server.pd->AllocateWindow();
  auto sink = server.pd->Allocate(64);
  Connect(*client_qp, *server_qp);
  auto* bytes = static_cast<uint8_t*>(region->data());
  uint32_t key = window->rkey();
  const auto bind = [&](uint64_t offset) {
    key = ibv_inc_rkey(key);
    ibv_send_wr wr = Wr(IBV_WR_BIND_MW, 1, nullptr, 0);
    wr.bind_mw.mw = window->get();
    wr.bind_mw.rkey = key;
    wr.bind_mw.bind_info = {region->get(), reinterpret_cast<uintptr_t>(bytes) + offset, 100,
                            IBV_ACCESS_REMOTE_WRITE};
    ASSERT_EQ(server_qp->PostSend(&wr), 0);
  };
  const auto write = [&](uint64_t offset, uint8_t value) {
    std::memset(memory->data(), value, 8);
    ibv_sge sge = memory->Sge(0, 8);
    ibv_send_wr wr = Wr(IBV_WR_RDMA_WRITE, 2, &sge, 1);
    wr.wr.rdma = {reinterpret_cast<uintptr_t>(bytes) + offset, key};
    ASSERT_EQ(client_qp->PostSend(&wr), 0);
  };
  for (uint8_t round = 1; round <= 4; ++round) {
    bind(round * 200u);
    const WorkCompletion bound = server.One();
    ASSERT_EQ(bound.status, IBV_WC_SUCCESS) << Describe(bound);
    EXPECT_EQ(bound.opcode, IBV_WC_BIND_MW);
    write(round * 200u + 92, round);
    ASSERT_EQ(client.One().status, IBV_WC_SUCCESS);
    EXPECT_EQ(bytes[round * 200 + 99], round);
    if (round % 2 == 0) {
      ibv_send_wr wr = Wr(IBV_WR_LOCAL_INV, 3, nullptr, 0);
      wr.invalidate_rkey = key;
      ASSERT_EQ(server_qp->PostSend(&wr), 0);
      ASSERT_EQ(server.One().status, IBV_WC_SUCCESS);
      continue;
    }
    ASSERT_EQ(server_qp->PostRecv(4, sink->Sge(0, 64)), 0);
    ibv_sge sge = memory->Sge(0, 8);
    ibv_send_wr wr = Wr(IBV_WR_SEND_WITH_INV, 4, &sge, 1);
    wr.invalidate_rkey = key;
    ASSERT_EQ(client_qp->PostSend(&wr), 0);
    EXPECT_EQ(server.One().invalidated_rkey, key);
    ASSERT_EQ(client.One().status, IBV_WC_SUCCESS);
  }
  write(892, 9);  // the last one was taken back
  EXPECT_EQ(client.One().status, IBV_WC_REM_ACCESS_ERR);
  EXPECT_EQ(bytes[899], 4);
}

TEST_P(OnRdma, GivenAccessThatIsNotGrantedWhenPostedThenItsRequestSaysSoAndOthersAreFlushed) {
  struct Case {
    ibv_wr_opcode opcode;
    int access;
    uint64_t offset;
    bool bad_key;
    const char* name;
  };
  for (const Case& c : {Case{IBV_WR_RDMA_WRITE, IBV_ACCESS_LOCAL_WRITE, 0, false, ""},
                        Case{IBV_WR_RDMA_WRITE, kAllAccess, 4090, false, ""},
                        Case{IBV_WR_RDMA_WRITE, kAllAccess, 0, true, ""},
                        Case{IBV_WR_RDMA_READ, IBV_ACCESS_LOCAL_WRITE, 0, false, ""},
                        Case{IBV_WR_RDMA_READ, kAllAccess, 4090, false, ""}}) {
    auto client_qp = client.Qp(RdmaQp());
    auto server_qp = server.Qp(RdmaQp());
    auto memory = client.pd->Allocate(64);
    auto region = server.pd->Allocate(4096, c.access);
    std::memset(region->data(), 0x55, 4096);
    Connect(*client_qp, *server_qp);
    ASSERT_EQ(server_qp->PostRecv(7, region->Sge(0, 8)), 0);
    ibv_sge sge = memory->Sge(0, 8);
    ibv_send_wr bad = To(Wr(c.opcode, 1, &sge, 1), *region, c.offset);
    if (c.bad_key) bad.wr.rdma.rkey ^= 0x1234;
    ibv_send_wr behind = Wr(IBV_WR_SEND, 2, &sge, 1);
    bad.next = &behind;
    ASSERT_EQ(client_qp->PostSend(&bad), 0);
    const auto done = client.Collect(2);
    EXPECT_EQ(done[0].wr_id, 1u);
    EXPECT_EQ(done[0].status, IBV_WC_REM_ACCESS_ERR) << Describe(done[0]);
    EXPECT_EQ(done[1].status, IBV_WC_WR_FLUSH_ERR);
    EXPECT_EQ(server.One().status, IBV_WC_WR_FLUSH_ERR);
    for (int i = 0; i < 4096; ++i) {
      ASSERT_EQ(static_cast<uint8_t*>(region->data())[i], 0x55) << "a stray byte";
    }
    const auto why = client_qp->terminate();
    ASSERT_TRUE(why.has_value());
    EXPECT_TRUE(why->by_peer);
    const auto server_why = server_qp->terminate();
    ASSERT_TRUE(server_why.has_value());
    EXPECT_FALSE(server_why->by_peer);
    EXPECT_STREQ(why->name, server_why->name);
  }
}

TEST_P(OnRdma, GivenNoReceiveWhenSentToThenTheSendIsRefused) {
  auto client_qp = client.Qp(RdmaQp());
  auto server_qp = server.Qp(RdmaQp());
  auto memory = client.pd->Allocate(64);
  Connect(*client_qp, *server_qp);
  ASSERT_EQ(client_qp->PostSend(1, memory->Sge(0, 8)), 0);
  EXPECT_EQ(client.One().status, IBV_WC_REM_INV_REQ_ERR);
}

TEST_P(OnRdma, GivenSendsWithoutReceivesWhenTheyMayWaitThenReadsPassThemAndReceivesGetThem) {
  QpOptions options = RdmaQp();
  options.wait_for_receive = true;
  auto client_qp = client.Qp(options);
  auto server_qp = server.Qp(options);
  constexpr uint32_t kSends = 20;
  constexpr uint32_t kBytes = 30000;
  auto source = client.pd->Allocate(kSends * kBytes, kAllAccess);
  auto sink = server.pd->Allocate(kSends * kBytes);
  FillPattern(source->data(), source->size());
  Connect(*client_qp, *server_qp);
  for (uint64_t i = 0; i < kSends; ++i) {
    ASSERT_EQ(client_qp->PostSend(i, source->Sge(i * kBytes, kBytes)), 0);
  }
  // The answer comes behind all of them, for which there is no receive.
  ibv_sge in = sink->Sge(0, kBytes);
  ibv_send_wr read = To(Wr(IBV_WR_RDMA_READ, 99, &in, 1), *source, 0);
  ASSERT_EQ(server_qp->PostSend(&read), 0);
  const WorkCompletion done = server.One();
  ASSERT_EQ(done.status, IBV_WC_SUCCESS) << Describe(done);
  EXPECT_EQ(done.wr_id, 99u);
  EXPECT_EQ(CheckPattern(sink->data(), kBytes), kBytes);
  for (uint64_t i = 0; i < kSends; ++i) {
    ASSERT_EQ(server_qp->PostRecv(i, sink->Sge(i * kBytes, kBytes)), 0);
    const WorkCompletion received = server.One();
    ASSERT_EQ(received.status, IBV_WC_SUCCESS) << Describe(received);
    EXPECT_EQ(received.wr_id, i);
    EXPECT_EQ(received.byte_len, kBytes);
  }
  EXPECT_EQ(CheckPattern(sink->data(), kSends * kBytes), kSends * kBytes);
  for (const WorkCompletion& sent : client.Collect(kSends)) {
    EXPECT_EQ(sent.status, IBV_WC_SUCCESS) << Describe(sent);
  }
}

TEST_P(OnRdma, GivenAReceiveWhoseLastPieceIsNobodysWhenSentToThenTheSendIsRefused) {
  constexpr uint32_t kPieces = 16;
  constexpr uint32_t kPiece = 512;
  auto client_qp = client.Qp(RdmaQp());
  QpOptions options = RdmaQp();
  options.max_recv_sge = kPieces;
  auto server_qp = server.Qp(options);
  auto memory = client.pd->Allocate(kPieces * kPiece);
  auto good = server.pd->Allocate(kPieces * kPiece);
  auto gone = server.pd->Allocate(kPiece);
  std::vector<ibv_sge> list;
  for (uint32_t i = 0; i + 1 < kPieces; ++i) list.push_back(good->Sge(i * kPiece, kPiece));
  list.push_back(gone->Sge(0, kPiece));
  gone.reset();
  Connect(*client_qp, *server_qp);
  ibv_recv_wr wr{};
  wr.wr_id = 3;
  wr.sg_list = list.data();
  wr.num_sge = static_cast<int>(list.size());
  ASSERT_EQ(server_qp->PostRecv(&wr), 0);
  ASSERT_EQ(client_qp->PostSend(1, memory->Sge(0, kPieces * kPiece)), 0);
  EXPECT_NE(client.One().status, IBV_WC_SUCCESS);
  const WorkCompletion flushed = server.One();
  EXPECT_EQ(flushed.wr_id, 3u) << "it has not been lost";
  EXPECT_NE(flushed.status, IBV_WC_SUCCESS);
}

TEST_P(OnRdma, GivenSendsThatWaitForThePeersFirstWordWhenItClosesInsteadThenTheyAreFlushed) {
  auto client_qp = client.Qp(RdmaQp());
  auto server_qp = server.Qp(RdmaQp());
  auto memory = server.pd->Allocate(64);
  RdmaListener listener(*server.nic, kPort);
  const auto accepting = nics.testbed().Start([&] {
    const auto request = listener.Next(kPatience);
    ASSERT_NE(request, nullptr);
    request->Accept(*server_qp);
  });
  RdmaConnect(*client.nic, *client_qp, nics.ServerAt(kPort), {.peer_to_peer = false}, kPatience);
  accepting->Join();
  for (uint64_t i = 0; i < 3; ++i) ASSERT_EQ(server_qp->PostSend(i, memory->Sge(0, 8)), 0);
  client_qp->Disconnect(kPatience);
  for (uint64_t i = 0; i < 3; ++i) {
    const WorkCompletion flushed = server.One();
    EXPECT_EQ(flushed.wr_id, i);
    EXPECT_EQ(flushed.status, IBV_WC_WR_FLUSH_ERR) << Describe(flushed);
  }
  server_qp->Disconnect(kPatience);
}

TEST_P(OnRdma, GivenReadsUnderWayWhenFencedThenTheSendWaitsForThem) {
  auto client_qp = client.Qp(RdmaQp());
  auto server_qp = server.Qp(RdmaQp());
  constexpr uint32_t kReads = 20;  // more than ORD
  constexpr uint32_t kBytes = 8000;
  auto back = client.pd->Allocate(kReads * kBytes);
  auto region = server.pd->Allocate(kReads * kBytes, kAllAccess);
  auto sink = server.pd->Allocate(kReads * kBytes);
  FillPattern(region->data(), kReads * kBytes);
  Connect(*client_qp, *server_qp);
  ASSERT_EQ(server_qp->PostRecv(7, sink->Sge(0, kReads * kBytes)), 0);
  for (uint32_t i = 0; i < kReads; ++i) {
    ibv_sge in = back->Sge(i * kBytes, kBytes);
    ibv_send_wr read = To(Wr(IBV_WR_RDMA_READ, i, &in, 1), *region, i * kBytes);
    ASSERT_EQ(client_qp->PostSend(&read), 0);
  }
  ibv_sge all = back->Sge(0, kReads * kBytes);
  ibv_send_wr send = Wr(IBV_WR_SEND, kReads, &all, 1, IBV_SEND_SIGNALED | IBV_SEND_FENCE);
  ASSERT_EQ(client_qp->PostSend(&send), 0);
  const auto done = client.Collect(kReads + 1);
  for (uint32_t i = 0; i <= kReads; ++i) {
    ASSERT_EQ(done[i].status, IBV_WC_SUCCESS) << i << Describe(done[i]);
    EXPECT_EQ(done[i].wr_id, i);
  }
  EXPECT_EQ(server.One().byte_len, kReads * kBytes);
  EXPECT_EQ(CheckPattern(sink->data(), kReads * kBytes), kReads * kBytes);
}

TEST_P(OnRdma, GivenBothDirectionsAtOnceWhenSizesAreRandomThenBytesHold) {
  auto client_qp = client.Qp(RdmaQp());
  auto server_qp = server.Qp(RdmaQp());
  constexpr uint32_t kBytes = 1 << 18;
  auto client_region = client.pd->Allocate(2 * kBytes, kAllAccess);
  auto server_region = server.pd->Allocate(2 * kBytes, kAllAccess);
  FillPattern(client_region->data(), kBytes);
  FillPattern(server_region->data(), kBytes);
  Connect(*client_qp, *server_qp, true);
  const auto run = [](Side& side, QueuePair& qp, MemoryRegion& own, MemoryRegion& other,
                      uint32_t seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < 60; ++i) {
      const uint32_t size = random() % (kBytes / 4);
      const uint32_t at = random() % (kBytes - size);
      std::memset(static_cast<char*>(own.data()) + kBytes, 0, kBytes);
      // To the other's upper half, and back from there.
      ibv_sge out = own.Sge(at, size);
      ibv_send_wr write = To(Wr(IBV_WR_RDMA_WRITE, 1, &out, 1), other, kBytes + at);
      ASSERT_EQ(qp.PostSend(&write), 0);
      ibv_sge in = own.Sge(at, size);
      ibv_send_wr read = To(Wr(IBV_WR_RDMA_READ, 2, &in, 1), other, at);
      ASSERT_EQ(qp.PostSend(&read), 0);
      for (const WorkCompletion& wc : side.Collect(2)) ASSERT_EQ(wc.status, IBV_WC_SUCCESS);
      ASSERT_EQ(CheckPattern(static_cast<char*>(own.data()) + at, size, at), size);
    }
  };
  const auto other =
      nics.testbed().Start([&] { run(server, *server_qp, *server_region, *client_region, 2); });
  run(client, *client_qp, *client_region, *server_region, 1);
  other->Join();
}

TEST_P(OnRdma, GivenAnOpenConnectionWhenOneSideDisconnectsThenBothAreClosedAndReceivesFlushed) {
  auto client_qp = client.Qp(RdmaQp());
  auto server_qp = server.Qp(RdmaQp());
  auto sink = server.pd->Allocate(64);
  Connect(*client_qp, *server_qp);
  ASSERT_EQ(server_qp->PostRecv(1, sink->Sge(0, 64)), 0);
  server.AwaitPosted();
  EXPECT_TRUE(client_qp->Disconnect(kPatience));
  EXPECT_EQ(client_qp->disconnect_reason(), DisconnectReason::kClosed);
  EXPECT_EQ(server.One().status, IBV_WC_WR_FLUSH_ERR);
}

Backend RealTime(const char* name, const char* scheme, const char* options) {
  return {name, [=] { return RealTimeTestbed(scheme, options); }};
}

INSTANTIATE_TEST_SUITE_P(
    All, OnRdma,
    ::testing::Values(RealTime("mem", "mem", ""), RealTime("shm", "shm", ""),
                      RealTime("mem_checksum", "mem", "checksum=1"),
                      RealTime("shm_mtu1500", "shm", "mtu=1500"),
                      RealTime("mem_faults", "mem",
                               "mtu=1500&loss=0.01&duplicate=0.01&reorder=0.01&corrupt=0.001&seed=3"
                               "&rto_min_us=5000&rto_initial_us=20000"),
                      Backend{"wg", [] { return WireguardTestbed(""); }}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace qpip::test

// Posting: every validation, what the NIC finds in the rings, and how slots are recycled.
#include "nic_test.h"

namespace qpip::test {
namespace {

ibv_send_wr SendOf(ibv_sge* sge, int count = 1, unsigned flags = IBV_SEND_SIGNALED) {
  ibv_send_wr wr{};
  wr.sg_list = sge;
  wr.num_sge = count;
  wr.opcode = IBV_WR_SEND;
  wr.send_flags = flags;
  return wr;
}

class PostingTest : public NicTest {};

// --- What the NIC finds

TEST_F(PostingTest, GivenConnectedQpWhenSendIsPostedThenTheWqeSaysIt) {
  auto qp = Connected();
  ibv_sge list[3] = {memory->Sge(0, 10), memory->Sge(50, 0), memory->Sge(100, 20)};
  ibv_send_wr wr = SendOf(list, 3);

  ASSERT_EQ(qp->PostSend(&wr), 0);

  const FetchedSend send = fake->Fetch(HandleOf(*qp), 0);
  EXPECT_EQ(send.header.opcode, static_cast<uint8_t>(abi::SendOpcode::kSend));
  EXPECT_EQ(send.header.flags, abi::kSendSignaled);
  EXPECT_EQ(send.header.length, 30u);
  // The empty element is left out.
  ASSERT_EQ(send.list.size(), 2u);
  EXPECT_EQ(send.list[0].address, reinterpret_cast<uintptr_t>(memory->data()));
  EXPECT_EQ(send.list[0].length, 10u);
  EXPECT_EQ(send.list[0].key, memory->lkey());
  EXPECT_EQ(send.list[1].address, reinterpret_cast<uintptr_t>(memory->data()) + 100);
}

TEST_F(PostingTest, GivenInlineSendWhenMemoryChangesAfterwardsThenTheWqeHasTheOldBytes) {
  auto qp = Connected();
  char text[] = "inline payload";
  ibv_sge list[2] = {{.addr = reinterpret_cast<uintptr_t>(text), .length = 6, .lkey = 0},
                     {.addr = reinterpret_cast<uintptr_t>(text) + 6, .length = 8, .lkey = 0}};
  ibv_send_wr wr = SendOf(list, 2, IBV_SEND_INLINE);

  ASSERT_EQ(qp->PostSend(&wr), 0);
  std::memset(text, 'x', sizeof(text));

  const FetchedSend send = fake->Fetch(HandleOf(*qp), 0);
  EXPECT_EQ(send.header.flags, abi::kSendInline);
  EXPECT_EQ(send.header.sge_count, 0);
  ASSERT_EQ(send.inline_data.size(), 14u);
  EXPECT_EQ(std::memcmp(send.inline_data.data(), "inline payload", 14), 0);
}

TEST_F(PostingTest, GivenLargestInlineWhenPostedThenItFitsItsEntryAndTheNextIsUntouched) {
  QpOptions options = Options();
  options.max_inline = 448;
  auto qp = Connected(options);
  std::memcpy(memory->data(), Bytes(448, 1).data(), 448);
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(qp->PostSend(0, memory->Sge(0, 448), IBV_SEND_INLINE), 0);
  }
  for (uint32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(fake->Fetch(HandleOf(*qp), i).inline_data, Bytes(448, 1));
  }
}

TEST_F(PostingTest, GivenSignalAllWhenUnsignalledSendIsPostedThenItIsSignalled) {
  QpOptions options = Options();
  options.signal_all = true;
  auto qp = Connected(options);
  ASSERT_EQ(qp->PostSend(0, memory->Sge(0, 1), 0), 0);
  EXPECT_EQ(fake->Fetch(HandleOf(*qp), 0).header.flags, abi::kSendSignaled);
}

TEST_F(PostingTest, GivenReceiveWhenPostedThenTheWqeSaysIt) {
  auto qp = Idle();
  ibv_sge list[2] = {memory->Sge(0, 100), memory->Sge(200, 28)};
  ibv_recv_wr wr{.wr_id = 5, .next = nullptr, .sg_list = list, .num_sge = 2};

  ASSERT_EQ(qp->PostRecv(&wr), 0);

  std::vector<abi::Sge> fetched;
  EXPECT_EQ(fake->FetchRecv(HandleOf(*qp), 0, &fetched).length, 128u);
  ASSERT_EQ(fetched.size(), 2u);
  EXPECT_EQ(fetched[1].length, 28u);
  EXPECT_EQ(fetched[1].key, memory->lkey());
}

TEST_F(PostingTest, GivenDatagramWhenPostedThenTheWqeNamesThePeer) {
  auto qp = Bound();
  ASSERT_EQ(qp->PostSendTo(1, memory->Sge(0, 9), kPeer), 0);
  const abi::SendWqe header = fake->Fetch(0, 0).header;
  EXPECT_EQ(header.peer_port, 5001);
  EXPECT_EQ(header.peer_address.bytes[0], 0xfd);
  EXPECT_EQ(header.peer_address.bytes[15], 2);
}

// --- Lists of datagrams, each with its peer

TEST_F(PostingTest, GivenListOfDatagramsWhenPostedThenEachGoesToItsOwnPeer) {
  auto qp = Bound();
  AddressHandle near(ParseAddress("fd00::2"));
  ibv_ah_attr attributes{};
  attributes.is_global = 1;
  const in6_addr far_address = ParseAddress("2001:db8::77");
  std::memcpy(&attributes.grh.dgid, &far_address, sizeof(far_address));
  AddressHandle far(attributes);
  ibv_sge sge = memory->Sge(0, 9);
  ibv_send_wr second = SendOf(&sge), first = SendOf(&sge);
  first.next = &second;
  first.wr.ud = {.ah = near.get(), .remote_qpn = 7, .remote_qkey = 0};
  second.wr.ud = {.ah = far.get(), .remote_qpn = 65535, .remote_qkey = 0};
  const uint32_t before = fake->Doorbells(abi::DoorbellKind::kSendPosted);

  ASSERT_EQ(qp->PostSend(&first), 0);

  EXPECT_EQ(fake->SendsPosted(0), 2u);
  EXPECT_EQ(fake->Doorbells(abi::DoorbellKind::kSendPosted), before + 1);
  EXPECT_EQ(fake->Fetch(0, 0).header.peer_port, 7);
  EXPECT_EQ(fake->Fetch(0, 0).header.peer_address.bytes[15], 2);
  EXPECT_EQ(fake->Fetch(0, 1).header.peer_port, 65535);
  EXPECT_EQ(fake->Fetch(0, 1).header.peer_address.bytes[0], 0x20);
  EXPECT_EQ(fake->Fetch(0, 1).header.peer_address.bytes[15], 0x77);
}

TEST_F(PostingTest, GivenDatagramsWithBadPeersWhenPostedThenThoseBeforeThemAre) {
  const struct {
    bool handle;
    uint32_t port;
    int error;
  } cases[] = {{false, 7, EDESTADDRREQ}, {true, 0, EDESTADDRREQ}, {true, 65536, EINVAL}};
  for (const auto& bad : cases) {
    auto qp = Bound();
    AddressHandle peer(ParseAddress("fd00::2"));
    ibv_sge sge = memory->Sge(0, 9);
    ibv_send_wr second = SendOf(&sge), first = SendOf(&sge);
    first.next = &second;
    first.wr.ud = {.ah = peer.get(), .remote_qpn = 7, .remote_qkey = 0};
    second.wr.ud = {
        .ah = bad.handle ? peer.get() : nullptr, .remote_qpn = bad.port, .remote_qkey = 0};
    ibv_send_wr* refused = nullptr;
    EXPECT_EQ(qp->PostSend(&first, &refused), bad.error);
    EXPECT_EQ(refused, &second);
    EXPECT_EQ(fake->SendsPosted(0), 1u);
  }
}

TEST_F(PostingTest, GivenListWhenPostedToOnePeerThenItIsRefusedRatherThanCutShort) {
  auto qp = Bound();
  ibv_sge sge = memory->Sge(0, 9);
  ibv_send_wr second = SendOf(&sge), first = SendOf(&sge);
  first.next = &second;
  EXPECT_EQ(qp->PostSendTo(first, kPeer), EINVAL);
  EXPECT_EQ(fake->SendsPosted(0), 0u);
}

TEST(AddressHandleTest, GivenAttributesWithoutAGlobalAddressThenInvalid) {
  EXPECT_EQ(ErrorOf([] { AddressHandle(ibv_ah_attr{}); }), EINVAL);
}

// --- Chains

TEST_F(PostingTest, GivenAChainThatDoesNotFitWhenAllOfItIsPostedThenNoneIs) {
  auto qp = Connected(4);
  ibv_sge sge = memory->Sge(0, 8);
  std::array<ibv_send_wr, 5> chain;
  for (size_t i = 0; i < chain.size(); ++i) {
    chain[i] = SendOf(&sge);
    chain[i].wr_id = i;
    chain[i].next = i + 1 < chain.size() ? &chain[i + 1] : nullptr;
  }
  const uint32_t before = fake->Doorbells(abi::DoorbellKind::kSendPosted);
  EXPECT_EQ(qp->PostSendAll(chain.data()), ENOMEM);
  EXPECT_EQ(fake->SendsPosted(0), 0u);
  EXPECT_EQ(fake->Doorbells(abi::DoorbellKind::kSendPosted), before);
  chain[3].next = nullptr;
  EXPECT_EQ(qp->PostSendAll(chain.data()), 0);
  EXPECT_EQ(fake->SendsPosted(0), 4u);
  EXPECT_EQ(fake->Doorbells(abi::DoorbellKind::kSendPosted), before + 1);
}

TEST_F(PostingTest, GivenChainWhenPostedThenThereIsOneDoorbell) {
  auto qp = Connected();
  ibv_sge sge = memory->Sge(0, 8);
  ibv_send_wr third = SendOf(&sge), second = SendOf(&sge), first = SendOf(&sge);
  first.next = &second;
  second.next = &third;
  const uint32_t before = fake->Doorbells(abi::DoorbellKind::kSendPosted);

  ASSERT_EQ(qp->PostSend(&first), 0);

  EXPECT_EQ(fake->SendsPosted(HandleOf(*qp)), 3u);
  EXPECT_EQ(fake->Doorbells(abi::DoorbellKind::kSendPosted) - before, 1u);
}

TEST_F(PostingTest, GivenChainWithBadMiddleWhenPostedThenTheFirstIsPostedAndBadIsTold) {
  auto qp = Connected();
  ibv_sge sge = memory->Sge(0, 8);
  ibv_send_wr third = SendOf(&sge), second = SendOf(&sge), first = SendOf(&sge);
  first.next = &second;
  second.next = &third;
  second.opcode = IBV_WR_RDMA_WRITE;
  ibv_send_wr* bad = nullptr;

  EXPECT_EQ(qp->PostSend(&first, &bad), EINVAL);

  EXPECT_EQ(bad, &second);
  EXPECT_EQ(fake->SendsPosted(HandleOf(*qp)), 1u);
}

TEST_F(PostingTest, GivenReceiveChainLongerThanTheQueueWhenPostedThenBadIsTheFirstTooMany) {
  auto qp = Idle(2);
  ibv_sge sge = memory->Sge(0, 8);
  std::array<ibv_recv_wr, 3> chain;
  for (size_t i = 0; i < 3; ++i) {
    chain[i] = {.wr_id = i, .next = i < 2 ? &chain[i + 1] : nullptr, .sg_list = &sge, .num_sge = 1};
  }
  ibv_recv_wr* bad = nullptr;

  EXPECT_EQ(qp->PostRecv(&chain[0], &bad), ENOMEM);

  EXPECT_EQ(bad, &chain[2]);
  EXPECT_EQ(fake->RecvsPosted(HandleOf(*qp)), 2u);
  EXPECT_EQ(fake->Doorbells(abi::DoorbellKind::kRecvPosted), 1u);
}

// --- Refusals: nothing is posted, no doorbell rung

class PostingRefusalTest : public PostingTest {
 protected:
  void TearDown() override {
    EXPECT_EQ(fake->Doorbells(abi::DoorbellKind::kSendPosted), 0u);
    EXPECT_EQ(fake->Doorbells(abi::DoorbellKind::kRecvPosted), 0u);
    PostingTest::TearDown();
  }
};

TEST_F(PostingRefusalTest, GivenIdleQpWhenSendIsPostedThenNotConnected) {
  EXPECT_EQ(Idle()->PostSend(0, memory->Sge(0, 1)), ENOTCONN);
}

TEST_F(PostingRefusalTest, GivenOtherOpcodesWhenPostedThenInvalid) {
  auto qp = Connected();
  ibv_sge sge = memory->Sge(0, 1);
  for (const ibv_wr_opcode opcode : {IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ, IBV_WR_SEND_WITH_IMM}) {
    ibv_send_wr wr = SendOf(&sge);
    wr.opcode = opcode;
    EXPECT_EQ(qp->PostSend(&wr), EINVAL);
  }
}

TEST_F(PostingRefusalTest, GivenTooManyElementsWhenPostedThenInvalid) {
  auto qp = Connected();  // max_send_sge and max_recv_sge are 4
  std::array<ibv_sge, 5> list;
  list.fill(memory->Sge(0, 1));
  ibv_send_wr send = SendOf(list.data(), 5);
  EXPECT_EQ(qp->PostSend(&send), EINVAL);
  send.num_sge = -1;
  EXPECT_EQ(qp->PostSend(&send), EINVAL);
  ibv_recv_wr recv{.wr_id = 0, .next = nullptr, .sg_list = list.data(), .num_sge = 5};
  EXPECT_EQ(qp->PostRecv(&recv), EINVAL);
}

TEST_F(PostingRefusalTest, GivenTcpWhenZeroBytesArePostedThenInvalid) {
  auto qp = Connected();
  EXPECT_EQ(qp->PostSend(0, memory->Sge(0, 0)), EINVAL);
  EXPECT_EQ(qp->PostRecv(0, memory->Sge(0, 0)), EINVAL);
  ibv_send_wr none = SendOf(nullptr, 0);
  EXPECT_EQ(qp->PostSend(&none), EINVAL);
}

TEST_F(PostingRefusalTest, GivenTcpWhenDatagramIsPostedThenInvalid) {
  EXPECT_EQ(Connected()->PostSendTo(0, memory->Sge(0, 1), kPeer), EINVAL);
}

TEST_F(PostingRefusalTest, GivenMessageOfFourGiBWhenPostedThenTooLong) {
  auto qp = Connected();
  std::array<ibv_sge, 2> list;
  list.fill(memory->Sge(0, 1u << 31));
  ibv_send_wr send = SendOf(list.data(), 2);
  EXPECT_EQ(qp->PostSend(&send), EMSGSIZE);
  ibv_recv_wr recv{.wr_id = 0, .next = nullptr, .sg_list = list.data(), .num_sge = 2};
  EXPECT_EQ(qp->PostRecv(&recv), EMSGSIZE);
}

TEST_F(PostingRefusalTest, GivenInlineOverTheLimitWhenPostedThenTooLong) {
  EXPECT_EQ(Connected()->PostSend(0, memory->Sge(0, 65), IBV_SEND_INLINE), EMSGSIZE);
}

TEST_F(PostingRefusalTest, GivenUdpWhenThereIsNoPeerThenDestinationRequired) {
  auto qp = Bound();
  EXPECT_EQ(qp->PostSend(0, memory->Sge(0, 1)), EDESTADDRREQ);
  EXPECT_EQ(qp->PostSendTo(0, memory->Sge(0, 1), Endpoint{}), EDESTADDRREQ);
}

TEST_F(PostingRefusalTest, GivenUdpWhenDatagramIsOverWhatAPacketHoldsThenTooLong) {
  auto qp = Bound();
  EXPECT_EQ(nic->max_datagram(), 65527u);
  EXPECT_EQ(qp->PostSendTo(0, memory->Sge(0, 65528), kPeer), EMSGSIZE);
}

TEST_F(PostingRefusalTest, GivenUnboundUdpWhenPostedThenNotConnected) {
  QpOptions options = Options();
  options.type = QpType::kUdp;
  EXPECT_EQ(nic->CreateQp(*pd, options)->PostSendTo(0, memory->Sge(0, 1), kPeer), ENOTCONN);
}

TEST_F(PostingTest, GivenUdpWhenLargestAndEmptyDatagramsArePostedThenTheyAreAccepted) {
  auto qp = Bound();
  EXPECT_EQ(qp->PostSendTo(0, memory->Sge(0, 1452), kPeer), 0);
  EXPECT_EQ(qp->PostSendTo(0, memory->Sge(0, 0), kPeer), 0);
  EXPECT_EQ(qp->PostRecv(0, memory->Sge(0, 0)), 0);
  EXPECT_EQ(fake->Fetch(0, 0).header.length, 1452u);
  EXPECT_EQ(fake->Fetch(0, 1).header.length, 0u);
}

// --- Slots

TEST_F(PostingTest, GivenFullQueuesWhenPostedThenNoMemoryUntilACompletionIsPolled) {
  auto qp = Connected(2);
  ASSERT_EQ(qp->PostSend(0, memory->Sge(0, 1)), 0);
  ASSERT_EQ(qp->PostSend(1, memory->Sge(0, 1)), 0);
  EXPECT_EQ(qp->PostSend(2, memory->Sge(0, 1)), ENOMEM);
  ASSERT_EQ(qp->PostRecv(10, memory->Sge(0, 1)), 0);
  ASSERT_EQ(qp->PostRecv(11, memory->Sge(0, 1)), 0);
  EXPECT_EQ(qp->PostRecv(12, memory->Sge(0, 1)), ENOMEM);

  fake->CompleteSend(HandleOf(*qp), 0);
  fake->CompleteRecv(HandleOf(*qp), Bytes(1));
  EXPECT_EQ(qp->PostSend(2, memory->Sge(0, 1)), ENOMEM) << "completed, but not polled yet";
  EXPECT_EQ(PollAll().size(), 2u);

  EXPECT_EQ(qp->PostSend(2, memory->Sge(0, 1)), 0);
  EXPECT_EQ(qp->PostSend(3, memory->Sge(0, 1)), ENOMEM);
  EXPECT_EQ(qp->PostRecv(12, memory->Sge(0, 1)), 0);
  EXPECT_EQ(qp->PostRecv(13, memory->Sge(0, 1)), ENOMEM);
}

TEST_F(PostingTest, GivenDepthsWhenCreatedThenTheyAreRoundedUpToPowersOfTwo) {
  auto qp = Connected(3);
  EXPECT_EQ(fake->Setup(HandleOf(*qp)).send_log2_depth, 2);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(qp->PostSend(0, memory->Sge(0, 1)), 0);
  EXPECT_EQ(qp->PostSend(0, memory->Sge(0, 1)), ENOMEM);
}

TEST_F(PostingTest, GivenUnsignalledSendsWhenALaterOneCompletesThenAllTheirSlotsAreFree) {
  auto qp = Connected(4);
  for (uint64_t i = 0; i < 3; ++i) ASSERT_EQ(qp->PostSend(i, memory->Sge(0, 1), 0), 0);
  ASSERT_EQ(qp->PostSend(3, memory->Sge(0, 1), IBV_SEND_SIGNALED), 0);

  fake->CompleteSend(HandleOf(*qp), 3);

  const auto completions = PollAll();
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].wr_id, 3u);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(qp->PostSend(0, memory->Sge(0, 1), 0), 0);
}

TEST_F(PostingTest, GivenUnsignalledSendsWhenAnEarlierOneFailsThenItsErrorFreesThoseBefore) {
  auto qp = Connected(4);
  for (uint64_t i = 0; i < 4; ++i) ASSERT_EQ(qp->PostSend(i, memory->Sge(0, 1), 0), 0);

  fake->CompleteSend(HandleOf(*qp), 2, abi::CompletionStatus::kLocalProtectionError);

  const auto completions = PollAll();
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].wr_id, 2u);
  EXPECT_EQ(completions[0].status, IBV_WC_LOC_PROT_ERR);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(qp->PostSend(0, memory->Sge(0, 1), 0), 0);
  EXPECT_EQ(qp->PostSend(0, memory->Sge(0, 1), 0), ENOMEM);
}

TEST_F(PostingTest, GivenRingsWhenTheyWrapManyTimesThenEveryWrIdComesBackOnceInOrder) {
  auto small_cq = nic->CreateCq(8);
  QpOptions options = Options(4);
  options.send_cq = options.recv_cq = small_cq.get();
  auto qp = Connected(options);
  fake->complete_sends = true;
  uint64_t next_send = 0, next_recv = 0;
  for (uint64_t round = 0; round < 3000; ++round) {
    const bool signalled = round % 3 == 0;
    ASSERT_EQ(qp->PostSend(round, memory->Sge(0, 1), signalled ? IBV_SEND_SIGNALED : 0), 0);
    ASSERT_EQ(qp->PostRecv(round, memory->Sge(0, 64)), 0);
    fake->CompleteRecv(HandleOf(*qp), Bytes(1 + round % 64));
    for (const WorkCompletion& completion : PollAll(*small_cq)) {
      if (completion.opcode == IBV_WC_SEND) {
        EXPECT_EQ(completion.wr_id, next_send);
        next_send += 3;
      } else {
        EXPECT_EQ(completion.wr_id, next_recv);
        EXPECT_EQ(completion.byte_len, 1 + next_recv % 64);
        ++next_recv;
      }
    }
  }
  EXPECT_EQ(next_send, 3000u);
  EXPECT_EQ(next_recv, 3000u);
}

TEST_F(PostingTest, GivenDoorbellsThatAreLostWhenTheNicScansThenItFindsEverythingPosted) {
  auto qp = Connected(4);
  fake->SendsPosted(HandleOf(*qp));  // everything so far has been seen
  fake->lose_doorbells = true;
  ASSERT_EQ(qp->PostSend(0, memory->Sge(0, 5)), 0);
  ASSERT_EQ(qp->PostRecv(0, memory->Sge(0, 100)), 0);
  ASSERT_EQ(qp->PostRecv(1, memory->Sge(0, 28)), 0);

  EXPECT_EQ(fake->SendsPosted(HandleOf(*qp)), 1u);
  EXPECT_EQ(fake->RecvsPosted(HandleOf(*qp)), 2u);
}

}  // namespace
}  // namespace qpip::test

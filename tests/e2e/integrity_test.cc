// A gigabyte through a bad network, every byte checked.
#include <cstdlib>
#include <thread>

#include "two_nics.h"

namespace qpip::test {
namespace {

/// Bytes to move: 1 GiB unless QPIP_TEST_BYTES says otherwise (sanitizer builds move less).
uint64_t TransferBytes() {
  const char* text = std::getenv("QPIP_TEST_BYTES");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : uint64_t{1} << 30;
}

struct Scenario {
  const char* name;
  const char* scheme;
  const char* options;
  Framing framing;
};

class Integrity : public ::testing::TestWithParam<Scenario> {};

constexpr char kFaults[] =
    "loss=0.01&duplicate=0.01&reorder=0.01&corrupt=0.001&seed=11&rto_min_us=2000";

INSTANTIATE_TEST_SUITE_P(
    All, Integrity,
    ::testing::Values(Scenario{"shm_segment_faults", "shm", kFaults, Framing::kSegment},
                      Scenario{"mem_stream_faults", "mem", kFaults, Framing::kStream}),
    [](const auto& test) { return test.param.name; });

TEST_P(Integrity, GivenLossDuplicationReorderingCorruptionWhenBulkThenEveryByteIsRight) {
  TwoNics nics(GetParam().scheme, GetParam().options);
  constexpr uint32_t kMessage = 65536;
  constexpr uint32_t kDepth = 32;
  const uint64_t total = TransferBytes();
  QpOptions options;
  options.framing = GetParam().framing;
  options.send_depth = options.recv_depth = kDepth;
  auto client_qp = nics.client.Qp(options);
  auto server_qp = nics.server.Qp(options);
  auto source = nics.client.pd->Allocate(size_t{kMessage} * kDepth);
  auto sink = nics.server.pd->Allocate(size_t{kMessage} * kDepth);
  for (uint32_t i = 0; i < kDepth; ++i) {
    ASSERT_EQ(server_qp->PostRecv(i, sink->Sge(size_t{i} * kMessage, kMessage)), 0);
  }
  nics.Connect(*client_qp, *server_qp);
  std::thread sender([&] {
    uint64_t posted = 0;
    uint64_t completed = 0;
    while (completed < total / kMessage) {
      while (posted < total / kMessage && posted - completed < kDepth) {
        const uint64_t slot = posted % kDepth;
        FillPattern(static_cast<uint8_t*>(source->data()) + slot * kMessage, kMessage,
                    posted * kMessage);
        ASSERT_EQ(client_qp->PostSend(posted, source->Sge(slot * kMessage, kMessage)), 0);
        ++posted;
      }
      WorkCompletion done[16];
      const size_t count = nics.client.cq->Wait(done, kPatience);
      ASSERT_GT(count, 0u) << "stalled after " << completed;
      for (size_t i = 0; i < count; ++i) {
        ASSERT_EQ(done[i].status, IBV_WC_SUCCESS);
        ASSERT_EQ(done[i].wr_id, completed++);
      }
    }
    client_qp->Shutdown();
  });
  uint64_t received = 0;
  bool ended = false;
  while (!ended) {
    WorkCompletion done[16];
    const size_t count = nics.server.cq->Wait(done, kPatience);
    ASSERT_GT(count, 0u) << "stalled after " << received;
    for (size_t i = 0; i < count && !ended; ++i) {
      ASSERT_EQ(done[i].status, IBV_WC_SUCCESS);
      if (done[i].end_of_stream) {
        ended = true;
        break;
      }
      if (GetParam().framing == Framing::kSegment) {
        ASSERT_EQ(done[i].byte_len, kMessage);
      }
      const auto* at = static_cast<uint8_t*>(sink->data()) + done[i].wr_id * kMessage;
      ASSERT_EQ(CheckPattern(at, done[i].byte_len, received), done[i].byte_len)
          << "at " << received;
      received += done[i].byte_len;
      ASSERT_EQ(server_qp->PostRecv(done[i].wr_id, sink->Sge(done[i].wr_id * kMessage, kMessage)),
                0);
    }
  }
  sender.join();
  EXPECT_EQ(received, total);
  auto counters = nics.client.nic->Counters();
  EXPECT_GT(counters["tcp_retransmissions"], 0u);
  EXPECT_GT(nics.server.nic->Counters()["drop.bad_tcp_checksum"], 0u);
}

}  // namespace
}  // namespace qpip::test

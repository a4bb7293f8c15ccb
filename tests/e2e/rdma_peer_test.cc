// An RDMA queue pair against a peer that is none: iWARP's bytes through a conventional stream, cut
// anywhere, or damaged.
#include <algorithm>
#include <array>
#include <cstring>
#include <random>

#include "protocols/iwarp/message_layout.h"
#include "protocols/iwarp/rdmap.h"
#include "protocols/iwarp/startup_frame.h"
#include "qpip/rdma.h"
#include "qpip/stream.h"
#include "two_nics.h"

namespace qpip::test {
namespace {

constexpr uint16_t kPort = 4791;
constexpr uint32_t kRegionBytes = 1 << 17;
constexpr int kAllAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                           IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

using Octets = std::vector<uint8_t>;

class RdmaPeer : public ::testing::Test {
 protected:
  /// A new connection of a stream to a new RDMA queue pair. `crc`: with CRCs.
  void Connect(bool crc) {
    crc_ = crc;
    QpOptions options;
    options.framing = Framing::kMpa;
    qp_ = nics.server.Qp(options);
    for (uint64_t i = 0; i < 8; ++i) {
      ASSERT_EQ(qp_->PostRecv(i, sink_->Sge(i * 16384, 16384)), 0);
    }
    stream_ = std::make_unique<ByteStream>(*nics.client.nic, *nics.client.pd);
    const auto accepting = nics.testbed().Start([&] {
      const auto request = listener_.Next(kPatience);
      ASSERT_NE(request, nullptr);
      RdmaParameters parameters;
      parameters.crc = crc;
      request->Accept(*qp_, parameters);
    });
    stream_->Connect(nics.ServerAt(kPort));
    iwarp::StartupFrame frame;
    frame.crc = crc;
    frame.enhanced = true;
    frame.revision = iwarp::kRevision2;
    frame.depths = {.ird = 4, .ord = 4, .peer_to_peer = false, .ready = 0};
    Octets bytes(iwarp::StartupBytes(frame));
    iwarp::EmitStartup(frame, bytes);
    stream_->Write(bytes);
    Octets reply(iwarp::kStartupHeaderBytes + iwarp::kEnhancedBytes);
    ASSERT_TRUE(stream_->ReadExact(reply));
    accepting->Join();
    at_ = 0;
    send_sequence_ = 1;
  }

  /// The queue pair goes, and what it has flushed.
  void Forget() {
    qp_.reset();
    std::array<WorkCompletion, 64> left;
    while (nics.server.cq->Poll(left) != 0) {
    }
  }

  /// The FPDUs of a message. `mulpdu`: bytes of each at most.
  Octets Message(const iwarp::Message& message, std::span<const uint8_t> payload, uint32_t mulpdu) {
    const iwarp::MessageLayout layout = iwarp::LayOut(message, at_, mulpdu, false);
    Octets stream;
    for (uint64_t done = 0; done < iwarp::StreamBytes(layout);) {
      const iwarp::SegmentAt segment = iwarp::FindSegment(layout, done);
      Octets ulpdu(segment.fpdu.ulpdu_length);
      const size_t header =
          iwarp::EmitDdp(iwarp::HeaderOf(message, segment.message_offset, segment.last), ulpdu);
      std::memcpy(ulpdu.data() + header, payload.data() + segment.message_offset,
                  ulpdu.size() - header);
      Octets fpdu(iwarp::FpduBytes(segment.fpdu));
      iwarp::EmitFpdu(segment.fpdu, ulpdu, crc_, fpdu);
      stream.insert(stream.end(), fpdu.begin(), fpdu.end());
      done += fpdu.size();
    }
    at_ += static_cast<uint32_t>(stream.size());
    return stream;
  }
  Octets Write(uint32_t offset, std::span<const uint8_t> payload, uint32_t mulpdu) {
    iwarp::Message message;
    message.opcode = iwarp::Opcode::kWrite;
    message.length = static_cast<uint32_t>(payload.size());
    message.stag = region_->rkey();
    message.tagged_offset = reinterpret_cast<uintptr_t>(region_->data()) + offset;
    return Message(message, payload, mulpdu);
  }
  Octets Send(std::span<const uint8_t> payload, uint32_t mulpdu) {
    iwarp::Message message;
    message.length = static_cast<uint32_t>(payload.size());
    message.message_sequence = send_sequence_++;
    return Message(message, payload, mulpdu);
  }

  /// Registered is what lies between two guards, which nobody may write.
  static constexpr uint32_t kGuard = 4096;
  uint8_t* Region() { return memory_.data() + kGuard; }
  bool GuardsHold() const {
    for (uint32_t i = 0; i < kGuard; ++i) {
      if (memory_[i] != 0xa5 || memory_[kGuard + kRegionBytes + i] != 0xa5) return false;
    }
    return true;
  }

  TwoNics nics{"mem"};
  RdmaListener listener_{*nics.server.nic, kPort};
  Octets memory_ = Octets(kRegionBytes + 2 * kGuard, 0xa5);
  std::unique_ptr<MemoryRegion> region_ = RegisterMiddle();
  std::unique_ptr<MemoryRegion> sink_ = nics.server.pd->Allocate(8 * 16384);
  std::unique_ptr<QueuePair> qp_;
  std::unique_ptr<ByteStream> stream_;
  bool crc_ = true;
  uint32_t at_ = 0;
  uint32_t send_sequence_ = 1;
  std::mt19937 random_{7};

 private:
  std::unique_ptr<MemoryRegion> RegisterMiddle() {
    return nics.server.pd->Register(memory_.data() + kGuard, kRegionBytes, kAllAccess);
  }
};

TEST_F(RdmaPeer, GivenFpdusThatAreCutAnywhereWhenReceivedThenAllBytesArePlacedAndDelivered) {
  for (const bool crc : {true, false}) {
    Connect(crc);
    for (int round = 0; round < 40; ++round) {
      Octets payload(random_() % 20000 + 1);
      for (uint8_t& byte : payload) byte = static_cast<uint8_t>(random_());
      const uint32_t offset = random_() % (kRegionBytes - static_cast<uint32_t>(payload.size()));
      const uint32_t mulpdu = iwarp::kMinMulpdu + random_() % 30000;
      Octets bytes = Write(offset, payload, mulpdu);
      const Octets message(payload.begin(),
                           payload.begin() + std::min<int64_t>(16384, payload.size()));
      const Octets sent = Send(message, mulpdu);
      bytes.insert(bytes.end(), sent.begin(), sent.end());
      for (size_t done = 0; done < bytes.size();) {
        const size_t part = std::min<size_t>(1 + random_() % 9000, bytes.size() - done);
        stream_->Write(std::span<const uint8_t>(bytes).subspan(done, part));
        if (random_() % 2 == 0) stream_->Flush();
        done += part;
      }
      const WorkCompletion wc = nics.server.One();
      ASSERT_EQ(wc.status, IBV_WC_SUCCESS) << Describe(wc);
      ASSERT_EQ(wc.byte_len, message.size());
      ASSERT_EQ(std::memcmp(static_cast<uint8_t*>(sink_->data()) + wc.wr_id * 16384, message.data(),
                            message.size()),
                0);
      ASSERT_EQ(std::memcmp(Region() + offset, payload.data(), payload.size()), 0);
      ASSERT_EQ(qp_->PostRecv(wc.wr_id, sink_->Sge(wc.wr_id * 16384, 16384)), 0);
    }
    ASSERT_TRUE(GuardsHold());
    Forget();
  }
}

TEST_F(RdmaPeer, GivenDamagedFpdusWhenReceivedThenNoByteOutsideOfTheRegionIsWritten) {
  uint32_t terminated = 0;
  for (int round = 0; round < 300; ++round) {
    Connect(/*crc=*/round % 4 == 0);
    Octets payload(random_() % 3000);
    for (uint8_t& byte : payload) byte = static_cast<uint8_t>(random_());
    Octets bytes;
    for (int i = 0; i < 4; ++i) {
      const Octets one = random_() % 2 == 0 ? Write(random_() % kRegionBytes / 2, payload, 1400)
                                            : Send(payload, 1400);
      bytes.insert(bytes.end(), one.begin(), one.end());
    }
    for (uint32_t i = 0; i < 1 + random_() % 4; ++i) {
      // Mostly headers: the first bytes of a message.
      const size_t at = random_() % 2 == 0 ? random_() % std::min<size_t>(24, bytes.size())
                                           : random_() % bytes.size();
      bytes[at] = static_cast<uint8_t>(random_());
    }
    try {
      stream_->Write(bytes);
      stream_->CloseWrite();
      Octets answer(4096);
      while (stream_->Read(answer) != 0) {
      }
    } catch (const Error&) {
      // Reset: the stream was terminated.
    }
    const auto why = qp_->terminate();
    terminated += why.has_value() ? 1 : 0;
    ASSERT_TRUE(GuardsHold());
    Forget();
  }
  EXPECT_GT(terminated, 100u);
}

}  // namespace
}  // namespace qpip::test

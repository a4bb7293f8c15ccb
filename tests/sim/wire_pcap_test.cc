// The pcap decorator: what it writes is read again with libpcap.
#include <pcap/pcap.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "protocols/common/checksum.h"
#include "protocols/ipv6/header.h"
#include "wire_test_support.h"

namespace qpip::wire::test {
namespace {

class PcapTest : public testing::Test {
 protected:
  ~PcapTest() override { std::filesystem::remove(path_); }

  std::vector<Bytes> ReadBack() {
    char error[PCAP_ERRBUF_SIZE] = {};
    pcap_t* file =
        pcap_open_offline_with_tstamp_precision(path_.c_str(), PCAP_TSTAMP_PRECISION_NANO, error);
    std::vector<Bytes> packets;
    if (file == nullptr) {
      ADD_FAILURE() << error;
      return packets;
    }
    EXPECT_EQ(pcap_datalink(file), DLT_IPV6);
    pcap_pkthdr* header = nullptr;
    const u_char* data = nullptr;
    int result;
    while ((result = pcap_next_ex(file, &header, &data)) == 1) {
      EXPECT_EQ(header->caplen, header->len);
      EXPECT_LT(header->ts.tv_usec, 1'000'000'000);
      packets.emplace_back(data, data + header->caplen);
    }
    EXPECT_EQ(result, PCAP_ERROR_BREAK) << pcap_geterr(file);
    pcap_close(file);
    return packets;
  }

  const std::string fabric_ = UniqueName();
  const std::string path_ = testing::TempDir() + fabric_ + ".pcap";
};

TEST_F(PcapTest, GivenTrafficBothWaysWhenClosedThenTheFileHoldsItAll) {
  const Bytes out = MakeFrame(Address(2), 60, 1);
  const Bytes in = MakeFrame(Address(1), 65575, 2);
  {
    auto a = DecoratePcap(OpenMemoryWire(Options(fabric_, 1)), path_);
    auto b = OpenMemoryWire(Options(fabric_, 2));
    EXPECT_FALSE(a->trusted());
    const iovec piece = {a->AllocateShared(3000), 3000};
    uint64_t lease = 0;
    ASSERT_EQ(a->Send({out, {&piece, 1}, true}, &lease), SendResult::kSent);
    EXPECT_TRUE(a->LeasePending(lease)) << "references travel on";
    EXPECT_EQ(SendBytes(a.get(), MakeFrame(Address(9), 60, 1)), SendResult::kNoRoute);
    ASSERT_EQ(SendBytes(b.get(), in), SendResult::kSent);
    InFrame frame;
    ASSERT_TRUE(a->Receive(&frame));
    a->Release(frame);
    b.reset();
    ASSERT_TRUE(a->Receive(&frame));
    EXPECT_TRUE(frame.peer_down) << "an event, no packet";
    EXPECT_EQ(Counter(*a, "recorded"), 2u);
  }
  Bytes whole = out;
  whole.resize(out.size() + 3000);
  EXPECT_EQ(ReadBack(), (std::vector<Bytes>{whole, in}));
}

TEST_F(PcapTest, GivenAProcessThatIsKilledWhenItHadFlushedThenTheFileIsReadable) {
  const pid_t child = ::fork();
  if (child == 0) {
    auto wire = DecoratePcap(OpenMemoryWire(Options(fabric_, 1)), path_);
    for (uint64_t i = 0; i < 100; ++i) SendBytes(wire.get(), MakeFrame(Address(1), 1000, i));
    wire->Flush();
    ::raise(SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
  const auto packets = ReadBack();
  ASSERT_EQ(packets.size(), 100u);
  EXPECT_EQ(packets[99], MakeFrame(Address(1), 1000, 99));
}

TEST_F(PcapTest, GivenAFrameWithoutAChecksumWhenItIsRecordedThenTheFileHasTheRightOne) {
  auto sender = OpenMemoryWire(Options(fabric_, 2));
  {
    auto wire = DecoratePcap(OpenMemoryWire(Options(fabric_, 1)), path_);
    Bytes datagram = MakeFrame(Address(1), 48 + 33, 1);
    datagram[4] = 0;  // payload length
    datagram[5] = 8 + 33;
    datagram[6] = 17;  // UDP
    datagram[44] = 0;  // its length
    datagram[45] = 8 + 33;
    datagram[46] = datagram[47] = 0;
    ASSERT_EQ(SendBytes(sender.get(), datagram), SendResult::kSent);
    InFrame frame;
    ASSERT_TRUE(wire->Receive(&frame));
    EXPECT_TRUE(frame.checksum_vouched);
    EXPECT_EQ(Content(frame), datagram) << "the packet itself is left alone";
    wire->Release(frame);
  }
  const auto packets = ReadBack();
  ASSERT_EQ(packets.size(), 1u);
  ipv6::Address source, destination;
  std::memcpy(source.bytes, &packets[0][8], 16);
  std::memcpy(destination.bytes, &packets[0][24], 16);
  EXPECT_EQ(ChecksumCombine(PseudoHeaderSum(source, destination, 41, 17),
                            ChecksumAdd({&packets[0][40], 41})),
            0xffff);
}

TEST_F(PcapTest, GivenAPathThatCannotBeWrittenWhenDecoratingThenAnErrorNamesIt) {
  try {
    DecoratePcap(OpenMemoryWire(Options(fabric_, 1)), "/nonexistent/x.pcap");
    FAIL();
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code().value(), ENOENT);
    EXPECT_NE(std::string(error.what()).find("/nonexistent/x.pcap"), std::string::npos);
  }
}

TEST_F(PcapTest, GivenADiskThatFillsUpWhenRecordingThenTheTrafficGoesOn) {
  const pid_t child = ::fork();
  if (child == 0) {
    auto wire = DecoratePcap(OpenMemoryWire(Options(fabric_, 1)), path_);
    ::signal(SIGXFSZ, SIG_DFL);
    uint32_t troubles = 0;
    wire->ReportTo(
        [&](const abi::Trouble& trouble) { troubles += trouble.code == EFBIG && !trouble.fatal; });
    const rlimit limit = {10000, 10000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    for (uint64_t i = 0; i < 20; ++i) {
      InFrame frame;
      if (SendBytes(wire.get(), MakeFrame(Address(1), 2000, i)) != SendResult::kSent) ::_exit(1);
      wire->Flush();
      if (!wire->Receive(&frame)) ::_exit(2);
      wire->Release(frame);
    }
    ::_exit(Counter(*wire, "write_errors") == 1 && troubles == 1 ? 0 : 3);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace qpip::wire::test

// What arrives damaged on a live RDMA connection, and on its set-up: two firmwares do work for each
// other, one of their FPDUs is changed on its way, and whatever it says then, no byte outside of
// what is registered is written, nothing outside of host memory is touched, nothing is left behind,
// and what is refused has a name. The names are printed with how often each was seen.
//
//     QPIP_TEST_MUTATIONS=1000000 qpip_nic_fw_tests --gtest_filter='RdmaMutation.*'
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>

#include "guarded_memory.h"
#include "nic_fw/rdma_state.h"
#include "protocols/iwarp/crc32c.h"
#include "protocols/iwarp/startup.h"
#include "rdma_bench.h"

namespace qpip::fw::test {
namespace {

using iwarp::Startup;
using iwarp::StartupEvent;

/// Frames to change: 5,000 unless QPIP_TEST_MUTATIONS says otherwise.
uint64_t Mutations() {
  const char* text = std::getenv("QPIP_TEST_MUTATIONS");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 5000;
}

/// How they were answered.
using Answers = std::map<std::string, uint64_t>;

void Print(const char* what, const Answers& answers) {
  uint64_t all = 0;
  for (const auto& [name, count] : answers) all += count;
  std::printf("%llu %s:\n", static_cast<unsigned long long>(all), what);
  for (const auto& [name, count] : answers) {
    std::printf("  %-32s %llu\n", name.c_str(), static_cast<unsigned long long>(count));
  }
}

/// A connection in the middle of its life, which can be had again and again.
class LiveConnection {
 public:
  LiveConnection(bool crc, bool waits, uint32_t seed)
      : random_(seed),
        pair_(Setup(crc, waits)),
        ends_{End(pair_.a, *pair_.qp_a), End(pair_.b, *pair_.qp_b)} {
    pair_.cable.filter = [this](Frame& frame, bool from_a) { return Pass(frame, from_a); };
    for (End& end : ends_) {
      end.bench.hardware.trusted = true;  // checksums would hide what is behind them
      for (uint32_t i = 0; i < (waits ? 1 : 3); ++i) {
        end.bench.PostRecv(end.qp, {{end.memory.address() + i * 700, 700, end.key}});
      }
    }
    pair_.cable.Run();
    for (End& end : ends_) end.Keep();
  }

  /// Work of both ends, one FPDU of which is changed. Returns how that was answered; "": there
  /// were too few FPDUs.
  std::string Try() {
    for (End& end : ends_) end.Restore();
    countdown_ = 1 + static_cast<int>(random_() % 4);
    const uint32_t works = 1 + random_() % 3;
    for (uint32_t i = 0; i < works; ++i) PostAny(ends_[random_() % 2], ends_);
    pair_.cable.Run();
    for (const End& end : ends_) end.Check();
    if (countdown_ > 0) return "";
    for (const End& end : ends_) {
      const std::string refused = end.Refused();
      if (!refused.empty()) return refused;
    }
    return "not refused";
  }

 private:
  struct End {
    End(FirmwareBench& its_bench, TestQp& its_qp)
        : bench(its_bench), qp(its_qp), memory(bench.hardware, size_t{2} << 12) {
      abi::Command command;
      command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kRegisterMemory);
      command.register_memory = {
          memory.address(), memory.size(), memory.address(), 0, 0, kEveryRight, 1, qp.handle, 0};
      const abi::Event event = bench.Command(command);
      EXPECT_EQ(event.status, 0);
      key = event.result[0];
    }
    void Keep() {
      arena = bench.arena;
      sends = qp.send_producer;
    }
    void Restore() {
      bench.arena = arena;
      qp.send_producer = sends;
      bench.hardware.Forget();
    }
    void Check() const {
      ASSERT_TRUE(memory.CanariesHold());
      ASSERT_EQ(bench.hardware.illegal_accesses, 0u);
      ASSERT_EQ(bench.hardware.frames_borrowed(), 0u);
      ASSERT_EQ(bench.hardware.dma_pending(), 0u);
    }
    /// The name of what this end has refused; "": nothing.
    std::string Refused() const {
      const Nic nic(const_cast<uint64_t*>(bench.arena.data()), bench.hardware.platform(),
                    bench.now);
      const QueuePair& q = nic.qp(qp.handle);
      if (q.rdma == kNone) return "connection ended";
      const RdmaState& state = RdmaOf(nic, q);
      if (state.ending == RdmaEnding::kOpen || state.terminate_received) return "";
      const iwarp::Cause cause = iwarp::CauseOf(state.terminate.code);
      EXPECT_TRUE(cause != iwarp::Cause::kUnknown && cause != iwarp::Cause::kNone);
      return iwarp::CauseName(cause);
    }

    FirmwareBench& bench;
    TestQp& qp;
    GuardedMemory memory;
    uint32_t key = 0;
    std::vector<uint64_t> arena;
    uint32_t sends = 0;
  };

  static RdmaSetup Setup(bool crc, bool waits) {
    RdmaSetup setup;
    setup.crc = crc;
    setup.qp.overflow_bytes = (80 << 10) + (waits ? abi::kRdmaWaitingBytes : 0);
    if (waits) setup.qp.flags = abi::kQpWaitForReceive;
    return setup;
  }

  /// A work request that is right.
  void PostAny(End& from, std::array<End, 2>& ends) {
    const End& to = &from == &ends[0] ? ends[1] : ends[0];
    const auto length = static_cast<uint32_t>(random_() % (random_() % 4 == 0 ? 4000 : 300));
    RdmaWork work;
    work.list = {{from.memory.address() + random_() % 4000, length, from.key}};
    work.remote_address = to.memory.address() + random_() % 4000;
    work.remote_key = to.key;
    switch (random_() % 8) {
      case 0:
        work.opcode = abi::SendOpcode::kRdmaWrite;
        break;
      case 1:
        work.opcode = abi::SendOpcode::kRdmaWriteWithImmediate;
        break;
      case 2:
        work.opcode = abi::SendOpcode::kRdmaRead;
        break;
      case 3:
      case 4:
        work.opcode = random_() % 2 == 0 ? abi::SendOpcode::kAtomicFetchAdd
                                         : abi::SendOpcode::kAtomicCompareSwap;
        work.list[0].length = 8;
        work.remote_address &= ~uint64_t{7};
        break;
      case 5:
        work.opcode = abi::SendOpcode::kSendWithInvalidate;
        work.list[0].length %= 700;
        work.immediate = to.key;
        break;
      default:
        work.opcode = abi::SendOpcode::kSend;
        work.list[0].length %= 700;
        work.remote_address = 0;
        work.remote_key = 0;
    }
    Post(from.bench, from.qp, work);
  }

  /// Each frame of the cable; the one that `countdown_` comes to is changed.
  bool Pass(Frame& frame, bool /*from_a*/) {
    if (frame.size() < 60 || frame[6] != ipv6::kTcp) return true;
    const size_t headers = 40 + (frame[52] >> 4) * size_t{4};
    if (frame.size() <= headers || --countdown_ != 0) return true;
    Change(frame, headers);
    return true;
  }

  /// One to four bytes of it, mostly of its headers, its end, or both; and the CRC of the first
  /// FPDU put right again, three times out of four.
  void Change(Frame& frame, size_t headers) {
    const size_t text = frame.size() - headers;
    const uint32_t changes = random_() % 8 == 0 ? 0 : 1 + random_() % 4;
    for (uint32_t i = 0; i < changes; ++i) {
      const size_t among = random_() % 4 == 0 ? text : std::min<size_t>(text, 48);
      frame[headers + random_() % among] ^= static_cast<uint8_t>(1 + random_() % 255);
    }
    if (changes == 0 || random_() % 8 == 0) {
      frame.resize(headers + 1 + random_() % text);
      StoreBe16(&frame[4], static_cast<uint16_t>(frame.size() - 40));
    }
    const std::span<uint8_t> fpdu = std::span<uint8_t>(frame).subspan(headers);
    if (random_() % 4 == 0 || fpdu.size() < 2) return;
    const size_t total = iwarp::ContentBytes(LoadBe16(fpdu.data()));
    if (total > fpdu.size()) return;
    iwarp::StoreCrc(&fpdu[total - iwarp::kCrcBytes],
                    iwarp::Crc32c(fpdu.first(total - iwarp::kCrcBytes)));
  }

  std::mt19937 random_;
  RdmaPair pair_;
  std::array<End, 2> ends_;
  int countdown_ = 0;
};

TEST(RdmaMutation, GivenALiveConnectionWhenAnyFpduIsChangedThenNoStrayByteAndEachRefusalHasAName) {
  std::array<std::unique_ptr<LiveConnection>, 4> live;
  for (uint32_t i = 0; i < 4; ++i) {
    live[i] = std::make_unique<LiveConnection>((i & 1) != 0, (i & 2) != 0, i + 1);
  }
  Answers answers;
  const uint64_t most = Mutations();
  for (uint64_t done = 0; done < most && !::testing::Test::HasFailure();) {
    const std::string answer = live[done % 4]->Try();
    if (answer.empty()) continue;
    ++answers[answer];
    ++done;
  }
  Print("changed FPDUs", answers);
  EXPECT_GT(answers["bad_crc"], most / 50);
  EXPECT_GT(answers["not refused"], most / 50);
  EXPECT_GT(answers.size(), 12u) << "too few refusals are reached";
}

/// A Request or a Reply, changed, to the end that waits for it.
std::string TryStartup(std::mt19937& random, GuardedMemory& memory) {
  iwarp::StartupOptions options;
  options.enhanced = random() % 2 == 0;
  options.markers = random() % 4 == 0;
  options.crc = random() % 2 == 0;
  options.peer_to_peer = options.enhanced && random() % 2 == 0;
  const Bytes data(random() % 3 == 0 ? random() % 500 : 0, 0x55);
  Startup active, passive;
  iwarp::StartupFrame frame = iwarp::BeginInitiator(active, options, data, 1);
  iwarp::BeginResponder(passive, options, 1);
  Bytes bytes(iwarp::StartupBytes(frame));
  iwarp::EmitStartup(frame, bytes);
  Startup* receiver = &passive;
  Bytes reply;
  if (random() % 2 == 0) {
    EXPECT_EQ(iwarp::OnStartupBytes(passive, bytes).kind, StartupEvent::Kind::kRequest);
    frame =
        random() % 4 == 0 ? iwarp::Reject(passive, data) : iwarp::Accept(passive, options, data);
    reply.resize(iwarp::StartupBytes(frame));
    iwarp::EmitStartup(frame, reply);
    bytes = reply;
    receiver = &active;
  }
  const uint32_t changes = random() % 8 == 0 ? 0 : 1 + random() % 4;
  for (uint32_t i = 0; i < changes; ++i) {
    bytes[random() % std::min<size_t>(bytes.size(), random() % 2 == 0 ? 24 : 600)] ^=
        static_cast<uint8_t>(1 + random() % 255);
  }
  if (changes == 0) bytes.resize(random() % (bytes.size() + 40));
  // They end where memory does.
  const std::span<uint8_t> at(memory.data() + memory.size() + GuardedMemory::kPage - bytes.size(),
                              bytes.size());
  std::copy(bytes.begin(), bytes.end(), at.begin());
  switch (const StartupEvent event = iwarp::OnStartupBytes(*receiver, at); event.kind) {
    case StartupEvent::Kind::kNone:
      EXPECT_GT(event.needed, bytes.size());
      EXPECT_LE(event.needed, iwarp::kMaxStartupBytes);
      return "waits for more";
    case StartupEvent::Kind::kFailed:
      if (receiver->error != iwarp::StartupError::kNone) {
        return iwarp::StartupErrorName(receiver->error);
      }
      EXPECT_NE(receiver->cause, iwarp::Cause::kNone) << "failed without a name";
      return iwarp::CauseName(receiver->cause);
    case StartupEvent::Kind::kRejected:
      return "rejected";
    default:
      return "not refused";
  }
}

TEST(RdmaMutation, GivenASetUpWhenItsFramesAreChangedThenEachRefusalHasAName) {
  FakeHardware hardware;
  GuardedMemory memory(hardware, 4096);
  std::mt19937 random(9);
  Answers answers;
  const uint64_t most = Mutations();
  for (uint64_t done = 0; done < most && !::testing::Test::HasFailure(); ++done) {
    ++answers[TryStartup(random, memory)];
  }
  Print("changed Requests and Replies", answers);
  EXPECT_GT(answers.size(), 8u) << "too few refusals are reached";
}

}  // namespace
}  // namespace qpip::fw::test

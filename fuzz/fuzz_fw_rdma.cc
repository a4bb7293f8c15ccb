// The firmware's RDMA against any FPDUs: messages of every kind on a live connection, with bytes
// changed, CRCs put right again or not, cut into segments anywhere. Nothing outside of the
// registered region and the posted receives is written, nothing outside host memory is touched, no
// frame or transfer is left behind, and each refusal has a name (told at the end, with how many
// there were).
#include <array>
#include <map>
#include <memory>
#include <string>

#include "guarded_memory.h"
#include "nic_fw/rdma_state.h"
#include "property.h"
#include "protocols/iwarp/crc32c.h"
#include "rdma_bench.h"
#include "script.h"

namespace {

using namespace qpip::fw;
using namespace qpip::fw::test;
using qpip::LoadBe16;
using qpip::LoadBe32;
using qpip::StoreBe16;
using qpip::StoreBe32;
using qpip::fuzz::Script;
namespace abi = qpip::abi;
namespace iwarp = qpip::iwarp;

constexpr size_t kPage = GuardedMemory::kPage;
constexpr uint32_t kPool = 80 << 10;

/// What has been tried, and how it was answered.
struct Tally {
  uint64_t mutations = 0;
  uint64_t taken = 0;
  std::map<std::string, uint64_t> refused;
  ~Tally() {
    std::fprintf(stderr, "rdma: %llu mutations, %llu not refused\n",
                 static_cast<unsigned long long>(mutations),
                 static_cast<unsigned long long>(taken));
    for (const auto& [name, count] : refused) {
      std::fprintf(stderr, "rdma:   %-28s %llu\n", name.c_str(),
                   static_cast<unsigned long long>(count));
    }
  }
};
Tally& Counts() {
  static Tally tally;
  return tally;
}

/// A connection in the middle of its life, which can be had again and again.
class Live {
 public:
  Live(bool crc, bool waits) : script_(Setup(crc, waits)), guarded_(script_.nic.hardware, kPage) {
    FirmwareBench& nic = script_.nic;
    abi::Command command;
    command.opcode = static_cast<uint8_t>(abi::CommandOpcode::kRegisterMemory);
    command.register_memory = {guarded_.address(), kPage, guarded_.address(), 0, 0,
                               kEveryRight,        1,     script_.qp->handle, 0};
    const uint32_t key = nic.Command(command).result[0];
    const uint32_t receives = waits ? 1 : 3;
    for (uint32_t i = 0; i < receives; ++i) {
      nic.PostRecv(*script_.qp, {{guarded_.address() + i * 700, 700, key}});
    }
    // One read and one atomic operation of this end are to be answered.
    Post(nic, *script_.qp,
         {.opcode = abi::SendOpcode::kRdmaRead, .list = {{guarded_.address(), 64, key}}});
    Post(nic, *script_.qp,
         {.opcode = abi::SendOpcode::kAtomicFetchAdd, .list = {{guarded_.address(), 8, key}}});
    script_.cable.Run();
    MakeMessages(key);
    script_.cable.filter = [this](const Frame& frame, bool from_peer) {
      if (from_peer) template_ = frame;
      return false;
    };
    script_.Say(messages_[0]);  // how a segment of the peer looks; it is lost
    QPIP_FUZZ_CHECK(template_.size() > 60);
    nic.hardware.trusted = true;  // checksums would hide what is behind them
    arena_ = nic.arena;
  }

  /// One connection: messages, changed as the script says.
  void Try(Script* script) {
    FirmwareBench& nic = script_.nic;
    nic.arena = arena_;
    Bytes stream;
    const uint32_t count = 1 + script->Byte() % 3;
    for (uint32_t i = 0; i < count; ++i) {
      const Bytes fpdu = Changed(messages_[script->Byte() % messages_.size()], script);
      stream.insert(stream.end(), fpdu.begin(), fpdu.end());
    }
    Deliver(stream, script);
    ++Counts().mutations;
    Check();
  }

 private:
  static RdmaSetup Setup(bool crc, bool waits) {
    RdmaSetup setup;
    setup.crc = crc;
    setup.qp.overflow_bytes = kPool + (waits ? abi::kRdmaWaitingBytes : 0);
    if (waits) setup.qp.flags = abi::kQpWaitForReceive;
    return setup;
  }

  void MakeMessages(uint32_t key) {
    const uint64_t at = guarded_.address();
    messages_.push_back(script_.Write(key, at + 8, Pattern(500)));
    messages_.push_back(script_.Write(key, at + kPage - 100, Pattern(100)));
    messages_.push_back(script_.Read({5, 6, 900, key, at}));
    messages_.push_back(script_.ReadResponse(0, Pattern(64)));
    messages_.push_back(script_.Atomic({.stag = key, .offset = at, .operand = 3}));
    // Of those that are numbered each is the next one.
    const auto untagged = [&](iwarp::Opcode opcode, const Bytes& payload, uint32_t stag = 0) {
      iwarp::Message message;
      message.opcode = opcode;
      message.length = static_cast<uint32_t>(payload.size());
      message.message_sequence = 1;
      message.invalidate_stag = stag;
      messages_.push_back(script_.Fpdus(message, payload));
    };
    untagged(iwarp::Opcode::kSend, Pattern(300));
    untagged(iwarp::Opcode::kSendSolicitedInvalidate, Pattern(700), key);
    untagged(iwarp::Opcode::kImmediate, Bytes(8, 1));
    untagged(iwarp::Opcode::kAtomicResponse, Bytes(12));
    untagged(iwarp::Opcode::kTerminate, {0x01, 0x02, 0, 0});
  }

  /// Up to four bytes of it, mostly of its headers, and the CRC put right again.
  Bytes Changed(Bytes fpdu, Script* script) const {
    const uint8_t how = script->Byte();
    for (int i = 0; i < (how & 7) - 3; ++i) {
      const size_t among = (how & 8) != 0 ? fpdu.size() : std::min<size_t>(fpdu.size(), 48);
      fpdu[script->Word() % among] ^= static_cast<uint8_t>(1 + script->Byte() % 255);
    }
    if ((how & 16) != 0) fpdu.resize(1 + script->Word() % fpdu.size());
    const size_t total = iwarp::ContentBytes(LoadBe16(fpdu.data()));
    if ((how & 32) == 0 && fpdu.size() > 1 && total <= fpdu.size()) {
      iwarp::StoreCrc(&fpdu[total - 4],
                      iwarp::Crc32c(std::span<const uint8_t>(fpdu).first(total - 4)));
    }
    return fpdu;
  }

  /// In one to four segments.
  void Deliver(const Bytes& stream, Script* script) {
    const size_t headers = 40 + (template_[52] >> 4) * size_t{4};
    const uint32_t sequence = LoadBe32(&template_[44]);
    size_t pieces = 1 + (script->Byte() & 3);
    for (size_t at = 0; at < stream.size();) {
      const size_t rest = stream.size() - at;
      const size_t most = std::min<size_t>(rest, 1400);
      const size_t length = --pieces == 0 || pieces > 4 ? most : 1 + script->Word() % most;
      Frame frame(template_.begin(), template_.begin() + static_cast<int64_t>(headers));
      frame.insert(frame.end(), stream.begin() + static_cast<int64_t>(at),
                   stream.begin() + static_cast<int64_t>(at + length));
      StoreBe16(&frame[4], static_cast<uint16_t>(frame.size() - 40));
      StoreBe32(&frame[44], sequence + static_cast<uint32_t>(at));
      script_.nic.hardware.incoming.push_back(std::move(frame));
      script_.nic.Run();
      at += length;
    }
  }

  void Check() {
    FakeHardware& hardware = script_.nic.hardware;
    QPIP_FUZZ_CHECK(guarded_.CanariesHold());
    QPIP_FUZZ_CHECK(hardware.illegal_accesses == 0);
    QPIP_FUZZ_CHECK(hardware.frames_borrowed() == 0);
    QPIP_FUZZ_CHECK(hardware.dma_pending() == 0);
    QPIP_FUZZ_CHECK(hardware.payloads_held() == 0);
    hardware.Forget();
    const Nic nic(script_.nic.arena.data(), hardware.platform(), script_.nic.now);
    const RdmaState& state = RdmaOf(nic, nic.qp(script_.qp->handle));
    if (state.ending == RdmaEnding::kOpen) {
      ++Counts().taken;
    } else {
      const iwarp::Cause cause = iwarp::CauseOf(state.terminate.code);
      QPIP_FUZZ_CHECK(cause != iwarp::Cause::kUnknown && cause != iwarp::Cause::kNone);
      ++Counts().refused[iwarp::CauseName(cause)];
    }
  }

  ScriptedPeer script_;
  GuardedMemory guarded_;
  std::vector<Bytes> messages_;
  Frame template_;
  std::vector<uint64_t> arena_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Counts();
  static const std::array<std::unique_ptr<Live>, 4> live = [] {
    std::array<std::unique_ptr<Live>, 4> made;
    for (size_t i = 0; i < 4; ++i) made[i] = std::make_unique<Live>((i & 1) != 0, (i & 2) != 0);
    return made;
  }();
  Script script(data, size);
  while (!script.done()) live[script.Byte() & 3]->Try(&script);
  return 0;
}

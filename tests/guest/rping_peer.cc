// A peer of rping that is a QPIP queue pair: the firmware's iWARP against a real one, Linux's siw
// in a guest (firmware_test.sh), or against the machines of protocols/iwarp on the kernel's
// sockets.
//
// Usage: qpip_rping_peer serve|connect NIC PEER PORT ROUNDS [crc] [size=BYTES] [pause=MS] [FAULT]
//
// Does what rping of rdma-core does: each round a Send that tells of a buffer, a Read of it, a
// Send, a Send that tells of another, a Write to that, a Send. `size`: of the buffers, as client;
// `serve` ignores PEER. `pause`: siw has its socket ready for FPDUs a moment after it has sent its
// Reply.
//
// FAULT, what this side does, and who is to find it by which Terminate:
//     bad_stag       the peer: a Write to a key that nobody has
//     long_send      the peer: a Send that is longer than its receive; CODES: what it is to say
//     told_bad_stag  this side: the peer is told a key that nobody has, and reads by it
//     told_no_read   this side: the peer is told a key without the right to read
//     told_short     this side: the peer is told of more bytes than there are
//     told_no_write  this side: the second buffer cannot be written to
//     short_receive  this side: its receives are shorter than the peer's Sends
//     sent_bad_crc   this side: what the peer (qpip_iwarp_peer) does; likewise sent_bad_stag and
//     sent_long_send
// Exits with 0 when the rounds were right, or when the fault was found and told as the RFCs have
// it.
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#include "protocols/common/byte_order.h"
#include "qpip/rdma.h"

namespace qpip::guest {
namespace {

constexpr uint32_t kInfoBytes = 16;  // rping's message: address 64, key 32, size 32
constexpr uint32_t kBufferBytes = 1 << 16;
constexpr uint32_t kReceives = 4;
constexpr uint32_t kNobodysKey = 0x00dead00;
constexpr std::chrono::seconds kPatience{60};
constexpr int kForPeers = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;

struct Arguments {
  bool serve = false;
  std::string nic;
  std::string peer;
  uint16_t port = 0;
  int rounds = 0;
  bool crc = false;
  uint32_t size = 0;  ///< 0: another each round
  int pause_ms = 0;
  std::string fault;
};

[[noreturn]] void Fail(const std::string& what) { throw std::runtime_error(what); }

/// What a Terminate is to say.
struct Told {
  bool by_peer = false;
  uint8_t layer = 0;
  uint8_t type = 0;
  uint8_t code = 0;
};

/// RFC 5040 4.8, 5041 7.2, 5044 8. siw says "no buffer" of a Send that is too long.
const std::map<std::string, Told> kFaults = {
    {"bad_stag", {true, 1, 1, 0}},       {"long_send", {true, 1, 2, 2}},
    {"told_bad_stag", {false, 0, 1, 0}}, {"told_no_read", {false, 0, 1, 2}},
    {"told_short", {false, 0, 1, 1}},    {"told_no_write", {false, 1, 1, 0}},
    {"short_receive", {false, 1, 2, 5}}, {"sent_bad_crc", {false, 2, 0, 2}},
    {"sent_bad_stag", {false, 1, 1, 0}}, {"sent_long_send", {false, 1, 2, 5}}};

class Peer {
 public:
  explicit Peer(const Arguments& arguments) : arguments_(arguments) {
    const bool is_short =
        arguments_.fault == "short_receive" || arguments_.fault == "sent_long_send";
    receive_bytes_ = arguments_.fault == "short_receive" ? kInfoBytes / 2 : kInfoBytes;
    if (is_short && !arguments_.serve) Fail("that fault is a server's");
    qp_ = nic_->CreateQp(*pd_,
                         {.framing = Framing::kMpa, .send_cq = cq_.get(), .recv_cq = cq_.get()});
    for (uint32_t i = 0; i < kReceives; ++i) PostReceive(i);
  }

  void Run() {
    const RdmaAgreement agreed = arguments_.serve ? AcceptOne() : Connect();
    std::printf("revision %u, CRC %s, IRD %u, ORD %u\n", agreed.revision, agreed.crc ? "on" : "off",
                agreed.ird, agreed.ord);
    if (agreed.crc != arguments_.crc) Fail("CRCs are not as asked for");
    if (!arguments_.fault.empty()) {
      Misbehave();
      return;
    }
    for (int round = 0; round < arguments_.rounds; ++round) {
      arguments_.serve ? ServeRound(round) : AskRound(round);
    }
    std::printf("%d rounds, %llu bytes read and written\n", arguments_.rounds,
                static_cast<unsigned long long>(bytes_));
    // rping's client takes a server that ends first for a failure.
    if (arguments_.serve) AwaitEnd();
    qp_->Disconnect(kPatience);
    if (const auto why = qp_->terminate()) Fail(std::string("terminated: ") + why->name);
  }

 private:
  RdmaParameters Parameters() const {
    RdmaParameters parameters;
    parameters.crc = arguments_.crc;
    parameters.timeout = kPatience;
    return parameters;
  }
  RdmaAgreement AcceptOne() {
    RdmaListener listener(*nic_, arguments_.port);
    std::printf("listening\n");
    // A guest takes a minute to come up.
    const auto request = listener.Next(2 * kPatience);
    if (request == nullptr) Fail("nobody connects");
    return request->Accept(*qp_, Parameters());
  }
  RdmaAgreement Connect() {
    const Endpoint peer{ParseAddress(arguments_.peer), arguments_.port};
    const auto deadline = std::chrono::steady_clock::now() + 2 * kPatience;
    for (;;) {
      try {
        RdmaConnector connector(*nic_, peer, Parameters());
        const RdmaConnector::State state = connector.Wait(kPatience);
        if (state != RdmaConnector::State::kAccepted) throw connector.error();
        const RdmaAgreement agreed = connector.agreement();
        // siw wants it, see above; a kernel that is really there has no other sign.
        std::this_thread::sleep_for(std::chrono::milliseconds(arguments_.pause_ms));
        connector.Establish(*qp_);
        return agreed;
      } catch (const Error&) {
        // The other end may still be starting.
        if (std::chrono::steady_clock::now() > deadline) throw;
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
      }
    }
  }

  uint8_t* At(const MemoryRegion& region, size_t offset = 0) const {
    return static_cast<uint8_t*>(region.data()) + offset;
  }
  void PostReceive(uint64_t slot) {
    const ibv_sge place = infos_->Sge(slot * kInfoBytes, receive_bytes_);
    if (const int error = qp_->PostRecv(slot, place); error != 0 && error != ENOTCONN) {
      Fail(std::string("receive: ") + std::strerror(error));
    }
  }
  WorkCompletion Next() {
    WorkCompletion completion;
    if (cq_->Wait({&completion, 1}, kPatience) != 1) Fail("nothing comes");
    return completion;
  }
  /// Posts and waits for it; what is received meanwhile is kept.
  void Do(ibv_wr_opcode opcode, const ibv_sge& element, uint64_t address = 0, uint32_t key = 0) {
    ibv_sge list = element;
    ibv_send_wr wr{};
    wr.wr_id = UINT64_MAX;
    wr.opcode = opcode;
    wr.sg_list = &list;
    wr.num_sge = 1;
    wr.send_flags = IBV_SEND_SIGNALED;
    wr.wr.rdma = {address, key};
    if (const int error = qp_->PostSend(&wr)) Fail(std::string("post: ") + std::strerror(error));
    for (;;) {
      const WorkCompletion completion = Next();
      if (completion.status != IBV_WC_SUCCESS) Fail(Describe(completion));
      if (completion.wr_id == UINT64_MAX) return;
      Keep(completion);
    }
  }
  void Keep(const WorkCompletion& completion) {
    if (completion.end_of_stream) Fail("closed by the peer");
    if (completion.byte_len != kInfoBytes) Fail("a message of another size");
    kept_.insert({kept_.size() + taken_, completion.wr_id});
  }
  struct Info {
    uint64_t address = 0;
    uint32_t key = 0;
    uint32_t size = 0;
  };
  Info NextMessage() {
    while (kept_.empty()) {
      const WorkCompletion completion = Next();
      if (completion.status != IBV_WC_SUCCESS) Fail(Describe(completion));
      Keep(completion);
    }
    const uint64_t slot = kept_.begin()->second;
    kept_.erase(kept_.begin());
    ++taken_;
    const uint8_t* bytes = At(*infos_, slot * kInfoBytes);
    const Info info = {LoadBe64(bytes), LoadBe32(bytes + 8), LoadBe32(bytes + 12)};
    PostReceive(slot);
    return info;
  }
  void SendInfo(const Info& info) {
    uint8_t* bytes = At(*infos_, kReceives * kInfoBytes);
    StoreBe64(bytes, info.address);
    StoreBe32(bytes + 8, info.key);
    StoreBe32(bytes + 12, info.size);
    Do(IBV_WR_SEND, infos_->Sge(kReceives * kInfoBytes, kInfoBytes));
  }
  Info InfoOf(const MemoryRegion& region, uint32_t size) const {
    return {reinterpret_cast<uintptr_t>(region.data()), region.rkey(), size};
  }

  /// As rping's server: reads the peer's buffer, writes it back.
  void ServeRound(int round) {
    const Info from = NextMessage();
    if (from.size > kBufferBytes) Fail("a buffer that is too large");
    std::memset(sink_->data(), 0, from.size);
    Do(IBV_WR_RDMA_READ, sink_->Sge(0, from.size), from.address, from.key);
    const std::string expected = "rdma-ping-" + std::to_string(round) + ": ";
    if (std::memcmp(sink_->data(), expected.data(), expected.size()) != 0) Fail("what was read");
    SendInfo({});
    const Info to = NextMessage();
    Do(IBV_WR_RDMA_WRITE, sink_->Sge(0, from.size), to.address, to.key);
    SendInfo({});
    bytes_ += 2ull * from.size;
  }

  /// As its client: has one buffer read, and gets it back in another.
  void AskRound(int round) {
    const uint32_t size =
        arguments_.size != 0 ? arguments_.size : static_cast<uint32_t>(1000 + (round * 37) % 3000);
    for (uint32_t i = 0; i < size; ++i) {
      *At(*source_, i) = static_cast<uint8_t>('A' + (i + static_cast<uint32_t>(round)) % 50);
    }
    const std::string start = "rdma-ping-" + std::to_string(round) + ": ";
    std::memcpy(source_->data(), start.data(), std::min<size_t>(start.size(), size));
    *At(*source_, size - 1) = 0;  // rping writes a string back
    std::memset(sink_->data(), 0, size);
    SendInfo(InfoOf(*source_, size));
    NextMessage();
    SendInfo(InfoOf(*sink_, size));
    NextMessage();
    if (std::memcmp(source_->data(), sink_->data(), size) != 0) Fail("what was written back");
    bytes_ += 2ull * size;
  }

  void AwaitEnd() {
    while (qp_->state() == QpState::kConnected) {
      WorkCompletion completion;
      (void)cq_->Wait({&completion, 1}, std::chrono::milliseconds(100));
    }
  }

  /// What is wrong, and then whatever comes until the stream is over.
  void Misbehave() {
    const auto found = kFaults.find(arguments_.fault);
    if (found == kFaults.end()) Fail("an unknown fault: " + arguments_.fault);
    try {
      Wrong(arguments_.fault);
      for (;;) NextMessage();
    } catch (const std::runtime_error& broken) {
      std::printf("broken: %s\n", broken.what());
    }
    const Told& expected = found->second;
    const std::optional<TerminateReason> told = qp_->terminate();
    if (!told) Fail("no Terminate");
    std::printf("Terminate by %s: layer %u, type %u, code %u: %s\n", told->by_peer ? "peer" : "us",
                told->layer, told->type, told->code, told->name);
    // siw exchanges layer and type.
    const bool same = told->layer == expected.layer && told->type == expected.type;
    const bool exchanged = told->layer == expected.type && told->type == expected.layer;
    if (told->by_peer != expected.by_peer || told->code != expected.code ||
        !(same || (exchanged && told->by_peer))) {
      Fail("another Terminate was expected");
    }
    if (qp_->disconnect_reason() != DisconnectReason::kTerminated) Fail("ended otherwise");
  }
  void Wrong(const std::string& fault) {
    if (fault == "bad_stag") {
      Do(IBV_WR_RDMA_WRITE, source_->Sge(0, 100), 1, kNobodysKey);
    } else if (fault == "long_send") {
      Do(IBV_WR_SEND, source_->Sge(0, 100));
    } else if (fault == "told_bad_stag") {
      SendInfo({1, kNobodysKey, 100});
    } else if (fault == "told_no_read") {
      closed_ = pd_->Allocate(kBufferBytes, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
      SendInfo(InfoOf(*closed_, 100));
    } else if (fault == "told_short") {
      closed_ = pd_->Allocate(100, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ);
      SendInfo(InfoOf(*closed_, 101));
    } else if (fault == "told_no_write") {
      closed_ = pd_->Allocate(kBufferBytes, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ);
      std::memset(source_->data(), 'A', 100);
      *At(*source_, 99) = 0;
      SendInfo(InfoOf(*source_, 100));
      NextMessage();
      SendInfo(InfoOf(*closed_, 100));
    }
  }

  const Arguments arguments_;
  std::shared_ptr<Nic> nic_ = Nic::Open(arguments_.nic);
  std::unique_ptr<ProtectionDomain> pd_ = nic_->AllocatePd();
  std::unique_ptr<CompletionQueue> cq_ = nic_->CreateCq();
  std::unique_ptr<MemoryRegion> source_ = pd_->Allocate(kBufferBytes, kForPeers);
  std::unique_ptr<MemoryRegion> sink_ = pd_->Allocate(kBufferBytes, kForPeers);
  std::unique_ptr<MemoryRegion> infos_ = pd_->Allocate((kReceives + 1) * kInfoBytes);
  std::unique_ptr<MemoryRegion> closed_;
  std::unique_ptr<QueuePair> qp_;
  uint32_t receive_bytes_ = kInfoBytes;
  std::map<uint64_t, uint64_t> kept_;  ///< receives that are done, by their order
  uint64_t taken_ = 0;
  uint64_t bytes_ = 0;
};

Arguments Parse(int count, char** words) {
  if (count < 6)
    Fail("usage: serve|connect NIC PEER PORT ROUNDS [crc] [size=BYTES] [pause=MS] [FAULT]");
  Arguments arguments;
  arguments.serve = std::string(words[1]) == "serve";
  arguments.nic = words[2];
  arguments.peer = words[3];
  arguments.port = static_cast<uint16_t>(std::atoi(words[4]));
  arguments.rounds = std::atoi(words[5]);
  for (int i = 6; i < count; ++i) {
    const std::string word = words[i];
    if (word == "crc") {
      arguments.crc = true;
    } else if (word.starts_with("size=")) {
      arguments.size = static_cast<uint32_t>(std::atoi(word.c_str() + 5));
    } else if (word.starts_with("pause=")) {
      arguments.pause_ms = std::atoi(word.c_str() + 6);
    } else {
      arguments.fault = word;
    }
  }
  if (arguments.size > kBufferBytes) Fail("size: at most 65536");
  return arguments;
}

}  // namespace
}  // namespace qpip::guest

int main(int count, char** words) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  try {
    qpip::guest::Peer(qpip::guest::Parse(count, words)).Run();
  } catch (const std::exception& error) {
    std::printf("failed: %s\n", error.what());
    return 1;
  }
  return 0;
}

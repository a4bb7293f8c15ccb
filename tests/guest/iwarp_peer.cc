// An iWARP peer of rping on the kernel's sockets: the machines of protocols/iwarp against a real
// one, Linux's siw in a guest (siw_test.sh).
//
// Usage: qpip_iwarp_peer serve|connect ADDRESS PORT ROUNDS [crc] [markers] [FAULT]
//
// Does what rping of rdma-core does: each round a Send that tells of a buffer, a Read of it, a
// Send, a Send that tells of another, a Write to that, a Send. FAULT: bad_crc, bad_stag or
// long_send: of the first round's message, as client; exits with 0 when the peer's Terminate says
// so.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "protocols/common/byte_order.h"
#include "protocols/iwarp/fpdu_receiver.h"
#include "protocols/iwarp/rdma_sender.h"
#include "protocols/iwarp/startup.h"

namespace qpip::iwarp {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint32_t kStag = 0x12345600;      // all of `memory`, to the peer
constexpr uint32_t kSinkStag = 0x00beef00;  // of this end's reads
constexpr uint64_t kBase = 0x100000;        // where the peer's offsets begin
constexpr size_t kInfoBytes = 16;           // rping's message: address 64, key 32, size 32
constexpr uint32_t kMulpdu = 1400;

struct Arguments {
  bool serve = false;
  std::string address;
  uint16_t port = 0;
  int rounds = 0;
  bool crc = false;
  bool markers = false;
  std::string fault;
};

[[noreturn]] void Fail(const std::string& what) { throw std::runtime_error(what); }

class Stream {
 public:
  explicit Stream(int descriptor) : descriptor_(descriptor) {
    const int one = 1;
    setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    const timeval patience = {20, 0};
    setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { close(descriptor_); }
  void Write(const Bytes& bytes) {
    for (size_t at = 0; at < bytes.size();) {
      const ssize_t sent = send(descriptor_, &bytes[at], bytes.size() - at, MSG_NOSIGNAL);
      if (sent <= 0) Fail("send");
      at += static_cast<size_t>(sent);
    }
  }
  /// Appends what comes. Returns false at the end of the stream.
  bool Read(Bytes* to) {
    uint8_t buffer[8192];
    const ssize_t got = recv(descriptor_, buffer, sizeof(buffer), 0);
    if (got < 0) Fail("nothing comes");
    to->insert(to->end(), buffer, buffer + got);
    return got != 0;
  }

 private:
  int descriptor_;
};

int Open(const Arguments& arguments) {
  sockaddr_in6 name = {};
  name.sin6_family = AF_INET6;
  name.sin6_port = htons(arguments.port);
  if (inet_pton(AF_INET6, arguments.address.c_str(), &name.sin6_addr) != 1) Fail("address");
  auto* plain = reinterpret_cast<sockaddr*>(&name);
  // The other end may still be starting.
  for (int attempt = 0; attempt < 600; ++attempt) {
    const int descriptor = socket(AF_INET6, SOCK_STREAM, 0);
    const int one = 1;
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (!arguments.serve && connect(descriptor, plain, sizeof(name)) == 0) return descriptor;
    if (arguments.serve && bind(descriptor, plain, sizeof(name)) == 0) {
      if (listen(descriptor, 1) != 0) Fail("listen");
      const timeval patience = {120, 0};
      setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
      const int accepted = accept(descriptor, nullptr, nullptr);
      close(descriptor);
      if (accepted < 0) Fail("nobody connects");
      return accepted;
    }
    close(descriptor);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  Fail("cannot connect");
}

class Peer {
 public:
  explicit Peer(const Arguments& arguments) : arguments_(arguments), stream_(Open(arguments)) {}

  void Run() {
    SetUp();
    if (arguments_.fault.empty()) {
      for (int round = 0; round < arguments_.rounds; ++round) {
        arguments_.serve ? ServeRound(round) : AskRound(round);
      }
      // rping's client takes a server that ends first for a failure.
      while (arguments_.serve && Pump()) {
      }
      std::printf("%d rounds, %u FPDUs received\n", arguments_.rounds, fpdus_);
    } else {
      Misbehave();
    }
  }

 private:
  void SetUp() {
    StartupOptions options;
    options.crc = arguments_.crc;
    options.markers = arguments_.markers;
    options.timeout_ms = 0;
    Bytes got;
    const auto send = [&](const StartupFrame& frame) {
      Bytes out(StartupBytes(frame));
      EmitStartup(frame, out);
      stream_.Write(out);
    };
    if (arguments_.serve) {
      BeginResponder(startup_, options, 0);
    } else {
      send(BeginInitiator(startup_, options, {}, 0));
    }
    StartupEvent event;
    do {
      if (!stream_.Read(&got)) Fail("closed during set-up");
      event = OnStartupBytes(startup_, got);
    } while (event.kind == StartupEvent::Kind::kNone);
    if (event.kind == StartupEvent::Kind::kRequest) send(Accept(startup_, options, {}));
    if (event.kind == StartupEvent::Kind::kRejected) Fail("rejected");
    if (event.kind == StartupEvent::Kind::kFailed) Fail(StartupErrorName(startup_.error));
    const StartupAgreement& agreed = startup_.agreement;
    std::printf("revision %u, CRC %s, IRD %u, ORD %u\n", agreed.revision, agreed.crc ? "on" : "off",
                agreed.ird, agreed.ord);
    receiver_.most_requests = agreed.ird;
    sender_.most_requests = agreed.ord;
    asked_.resize(std::max<size_t>(agreed.ord, 1));
    owed_.resize(std::max<size_t>(agreed.ird, 1));
    fpdu_receiver_ = MakeFpduReceiver(agreed.receive_markers, agreed.crc);
    // siw has its socket ready for FPDUs a moment after it has sent its Reply.
    if (!arguments_.serve) std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }

  void Send(const StartedMessage& started, const uint8_t* bytes) {
    if (started.control_bytes != 0) bytes = started.control;
    const bool markers = startup_.agreement.send_markers;
    const MessageLayout layout = LayOut(started.message, sent_, kMulpdu, markers);
    Bytes out(StreamBytes(layout));
    for (uint64_t at = 0; at < out.size();) {
      const SegmentAt segment = FindSegment(layout, at);
      Bytes unit(segment.fpdu.ulpdu_length);
      const size_t header =
          EmitDdp(HeaderOf(started.message, segment.message_offset, segment.last), unit);
      std::copy_n(bytes + segment.message_offset, unit.size() - header,
                  unit.begin() + static_cast<std::ptrdiff_t>(header));
      const std::span<uint8_t> place = std::span(out).subspan(at, FpduBytes(segment.fpdu));
      EmitFpdu(segment.fpdu, unit, startup_.agreement.crc, place);
      at += place.size();
    }
    sent_ += static_cast<uint32_t>(out.size());
    if (arguments_.fault == "bad_crc") out.back() ^= 1;
    stream_.Write(out);
  }
  void Start(const Operation& operation, const uint8_t* bytes = nullptr) {
    if (HoldOf(sender_, operation) != Hold::kGo) Fail("no request may be made");
    Send(StartOperation(sender_, asked_, operation, 0), bytes);
    KeepAwaited(sender_, asked_, receiver_);
  }
  void SendInfo(uint64_t offset, uint32_t size) {
    uint8_t info[kInfoBytes];
    StoreBe64(info, offset);
    StoreBe32(info + 8, kStag);
    StoreBe32(info + 12, size);
    Operation operation;
    operation.length = kInfoBytes;
    Start(operation, info);
  }

  /// One ULPDU, carried out.
  void Take(const Bytes& ulpdu) {
    ++fpdus_;
    OnFirstFpdu(startup_);
    const auto length = static_cast<uint32_t>(ulpdu.size());
    const SegmentPlan plan = PlanSegment(
        receiver_, std::span(ulpdu).first(HeadBytes(ulpdu, length)), length, {true, 65536});
    if (plan.refusal != Cause::kNone) Fail(CauseName(plan.refusal));
    const uint8_t* payload = ulpdu.data() + plan.header_bytes;
    const auto place = [&](uint64_t offset, uint64_t bytes) -> uint8_t* {
      if (offset < kBase || offset - kBase + bytes > memory_.size()) Fail("out of bounds");
      return &memory_[offset - kBase];
    };
    switch (plan.opcode) {
      case Opcode::kTerminate:
        told_ = GuessCause(plan.terminate.code);
        std::printf("Terminate: layer %u, type %u, code %u: %s\n", plan.terminate.code.layer,
                    plan.terminate.code.type, plan.terminate.code.code, CauseName(told_));
        break;
      case Opcode::kReadRequest:
        if (plan.read.source_stag != kStag && plan.read.length != 0) Fail("read of another STag");
        break;
      case Opcode::kWrite:
      case Opcode::kReadResponse:
        if (plan.payload_bytes == 0) break;
        if (plan.opcode == Opcode::kWrite && plan.ddp.stag != kStag) Fail("write to another STag");
        std::memcpy(place(plan.ddp.tagged_offset, plan.payload_bytes), payload, plan.payload_bytes);
        break;
      default:
        message_.insert(message_.end(), payload, payload + plan.payload_bytes);
        if (plan.message_ends) {
          messages_.push_back(std::move(message_));
          message_.clear();
        }
    }
    CommitSegment(receiver_, plan);
    if (plan.opcode == Opcode::kReadRequest) {
      Owe(sender_, owed_, plan, 0);
      PendingRequest request;
      const StartedMessage response = StartResponse(sender_, owed_, &request);
      const bool empty = request.read.length == 0;
      Send(response, empty ? nullptr : place(request.read.source_offset, request.read.length));
      OnRequestAnswered(receiver_);
    }
    if (plan.opcode == Opcode::kReadResponse && plan.message_ends) {
      TakeAnswered(sender_, asked_);
      ++answered_;
      KeepAwaited(sender_, asked_, receiver_);
    }
  }

  /// Waits for more, and takes it. Returns false at the end of the stream.
  bool Pump() {
    if (!stream_.Read(&incoming_)) return false;
    size_t taken = 0;
    for (;;) {
      const FpduStep step = StepFpdu(fpdu_receiver_, std::span(incoming_).subspan(taken));
      taken += step.consumed;
      if (step.kind == FpduStep::Kind::kText) {
        ulpdu_.insert(ulpdu_.end(), step.text.begin(), step.text.end());
      } else if (step.kind == FpduStep::Kind::kEnd) {
        Take(ulpdu_);
        ulpdu_.clear();
      } else if (step.kind == FpduStep::Kind::kBad) {
        Fail(FpduErrorName(fpdu_receiver_.error));
      } else {
        break;
      }
    }
    incoming_.erase(incoming_.begin(), incoming_.begin() + static_cast<std::ptrdiff_t>(taken));
    return true;
  }
  Bytes NextMessage() {
    while (messages_.empty()) {
      if (!Pump()) Fail("closed by the peer");
    }
    Bytes message = std::move(messages_.front());
    messages_.pop_front();
    if (message.size() != kInfoBytes) Fail("a message of another size");
    return message;
  }

  /// As rping's server: reads the peer's buffer, writes it back.
  void ServeRound(int round) {
    const Bytes from = NextMessage();
    const uint32_t size = LoadBe32(&from[12]);
    if (size > memory_.size()) Fail("a buffer that is too large");
    Operation read;
    read.opcode = Opcode::kReadRequest;
    read.read = {kSinkStag, kBase, size, LoadBe32(&from[8]), LoadBe64(&from[0])};
    const uint32_t before = answered_;
    Start(read);
    while (answered_ == before) {
      if (!Pump()) Fail("closed during a read");
    }
    const std::string expected = "rdma-ping-" + std::to_string(round) + ": ";
    if (std::memcmp(memory_.data(), expected.data(), expected.size()) != 0) Fail("what was read");
    SendInfo(0, 0);
    const Bytes to = NextMessage();
    Operation write;
    write.opcode = Opcode::kWrite;
    write.length = size;
    write.stag = LoadBe32(&to[8]);
    write.tagged_offset = LoadBe64(&to[0]);
    Start(write, memory_.data());
    SendInfo(0, 0);
  }

  /// As its client: has one buffer read, and gets it back in another.
  void AskRound(int round) {
    const size_t half = memory_.size() / 2;
    const auto size = static_cast<uint32_t>(1000 + (round * 37) % 3000);
    for (size_t i = 0; i < size; ++i) {
      memory_[i] = static_cast<uint8_t>('A' + (i + static_cast<size_t>(round)) % 50);
    }
    const std::string start = "rdma-ping-" + std::to_string(round) + ": ";
    std::memcpy(memory_.data(), start.data(), start.size());
    memory_[size - 1] = 0;  // rping writes a string back
    std::memset(&memory_[half], 0, size);
    SendInfo(kBase, size);
    NextMessage();
    SendInfo(kBase + half, size);
    NextMessage();
    if (std::memcmp(&memory_[0], &memory_[half], size) != 0) Fail("what was written back");
  }

  /// A message that is not as it should be: the peer ends the connection, and says why.
  void Misbehave() {
    Cause expected = Cause::kBadCrc;
    if (arguments_.fault == "bad_stag") {
      Operation write;
      write.opcode = Opcode::kWrite;
      write.length = 100;
      write.stag = 0x00dead00;
      write.tagged_offset = 1;
      expected = Cause::kTaggedInvalidStag;
      Start(write, memory_.data());
    } else if (arguments_.fault == "long_send") {
      Operation operation;
      operation.length = 100;  // rping's receives are of 16
      expected = Cause::kMessageTooLong;
      Start(operation, memory_.data());
    } else {
      SendInfo(kBase, 100);
    }
    while (told_ == Cause::kNone && Pump()) {
    }
    // siw's word for a Send that is too long.
    if (told_ == Cause::kNoBuffer && arguments_.fault == "long_send") told_ = expected;
    if (told_ != expected) {
      Fail(std::string("told ") + CauseName(told_) + ", expected " + CauseName(expected));
    }
  }

  const Arguments arguments_;
  Stream stream_;
  Startup startup_;
  RdmaSender sender_;
  RdmaReceiver receiver_;
  FpduReceiver fpdu_receiver_;
  std::vector<PendingRequest> asked_, owed_;
  Bytes memory_ = Bytes(16384);
  Bytes incoming_, ulpdu_, message_;
  std::deque<Bytes> messages_;
  uint32_t sent_ = 0, answered_ = 0, fpdus_ = 0;
  Cause told_ = Cause::kNone;
};

Arguments Parse(int count, char** words) {
  if (count < 5) Fail("usage: serve|connect ADDRESS PORT ROUNDS [crc] [markers] [FAULT]");
  Arguments arguments;
  arguments.serve = std::string(words[1]) == "serve";
  arguments.address = words[2];
  arguments.port = static_cast<uint16_t>(std::atoi(words[3]));
  arguments.rounds = std::atoi(words[4]);
  for (int i = 5; i < count; ++i) {
    const std::string word = words[i];
    if (word == "crc") {
      arguments.crc = true;
    } else if (word == "markers") {
      arguments.markers = true;
    } else {
      arguments.fault = word;
    }
  }
  return arguments;
}

}  // namespace
}  // namespace qpip::iwarp

int main(int count, char** words) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  try {
    qpip::iwarp::Peer(qpip::iwarp::Parse(count, words)).Run();
  } catch (const std::exception& error) {
    std::printf("failed: %s\n", error.what());
    return 1;
  }
  return 0;
}

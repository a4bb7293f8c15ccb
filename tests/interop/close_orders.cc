// Opens and accepts connections with the kernel's sockets and closes them in every order there is;
// close_orders.py is the other end. Every connection's bytes are compared, and its end is what its
// order says: end of stream, statuses, reason. In the end the NIC has nothing left of any.
//
// A connection's number is the port of whoever opened it, less kFirstPort; it says all the rest
// (Plan). Even ones are opened here, odd ones by the kernel.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "qpip/qpip.h"

namespace qpip::interop {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr uint16_t kPort = 41000;  // listened on by both ends
constexpr uint16_t kFirstPort = 42000;
constexpr uint32_t kOpening = 24;  // at a time, opened here; as many by the kernel
constexpr uint32_t kOffered = 32;  // more than the kernel opens at a time: nobody has to wait
constexpr uint32_t kSlots = kOpening + kOffered;
constexpr uint32_t kMaxQps = 64;
constexpr uint32_t kDepth = 4;
constexpr uint32_t kBufferBytes = 16384;
constexpr uint32_t kSendBytes = 7000;
constexpr uint32_t kMaxBytes = 65536;  // each way
constexpr uint32_t kExtraBytes = 1000;
constexpr uint32_t kProbes = 50;  // at a time, fewer than a device's queue holds
constexpr uint64_t kSendId = 0xff;
constexpr milliseconds kPatience(60000);

/// Who ends a connection, and how.
enum class Order {
  kQpipFirst,     // everything sent both ways, then FIN from here
  kKernelFirst,   // the same, then FIN from there
  kSimultaneous,  // the same, then FIN from both
  kQpipHalf,      // FIN behind the last byte from here; only then data from there
  kKernelHalf,    // FIN behind the last byte from there; only then data from here
  kQpipAborts,    // everything sent both ways, then RST from here
  kKernelAborts,  // the same, then RST from there: SO_LINGER of 0 s
  kKernelUnread,  // the kernel closes with bytes unread, and sends RST
  kKernelMidway,  // the kernel closes while bytes are still being sent
  kKernelDeaf,    // the kernel closes; what is sent after its FIN is answered with RST
};
constexpr uint32_t kOrders = 10;

/// What a connection's number says; close_orders.py says the same.
struct Plan {
  explicit Plan(uint32_t number)
      : order(static_cast<Order>(number / 2 % kOrders)),
        up(number * 40503 % (kMaxBytes + 1)),
        down(number * 24001 % (kMaxBytes + 1)),
        up_at(number * 37 % 4096),
        down_at(number * 101 % 4096) {
    // All of it in the window that the kernel offers at first, and not nothing.
    if (order == Order::kKernelUnread) up = 1 + up / 2;
  }
  Order order;
  uint32_t up;       // bytes from here to the kernel
  uint32_t down;     // and back
  uint32_t up_at;    // where they begin in the pattern
  uint32_t down_at;  // likewise
};

/// Bytes that both ends know.
void FillPattern(uint8_t* out, size_t bytes) {
  uint32_t x = 1;
  for (size_t i = 0; i < bytes; ++i) {
    x = x * 1103515245 + 12345;
    out[i] = static_cast<uint8_t>(x >> 16);
  }
}

[[noreturn]] void Fail(const std::string& what) { throw std::runtime_error(what); }

/// Lines to the process at the other end, for what cannot be told in the connections.
class Control {
 public:
  explicit Control(const std::string& path) : fd_(socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    if (fd_ < 0 || connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      throw std::system_error(errno, std::generic_category(), "cannot connect to " + path);
    }
  }
  ~Control() { close(fd_); }
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  void Say(const std::string& line) const {
    const std::string text = line + "\n";
    if (write(fd_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
      Fail("the other end does not listen");
    }
  }
  void AwaitAnswer() const {
    char byte = 0;
    if (read(fd_, &byte, 1) != 1) Fail("the other end has gone");
  }

 private:
  int fd_;
};

/// One connection at a time.
struct Slot {
  uint32_t number = UINT32_MAX;  // not known yet
  uint32_t posted = 0;           // bytes
  uint32_t received = 0;         // bytes
  uint32_t sends = 0;            // outstanding
  uint32_t receives = 0;         // outstanding
  bool closing = false;          // our part of it is done
  bool refused = false;          // a receive, as the connection was over
  bool end_of_stream = false;
  std::vector<WorkCompletion> arrived;  // not compared yet
  std::vector<WorkCompletion> failed_sends;
  std::vector<WorkCompletion> failed_receives;
  std::unique_ptr<MemoryRegion> buffers;
  std::unique_ptr<QueuePair> qp;
};

class CloseOrders {
 public:
  CloseOrders(const std::string& uri, const std::string& kernel, const std::string& control,
              uint32_t count)
      : control_(control),
        kernel_{ParseAddress(kernel), kPort},
        count_(count),
        nic_(Nic::Open(uri + "&time_wait_ms=50&max_qps=" + std::to_string(kMaxQps))),
        pd_(nic_->AllocatePd()),
        pattern_(pd_->Allocate(kMaxBytes + 4096)),
        cq_(nic_->CreateCq(2 * kDepth * kMaxQps)),
        listener_(nic_->Listen(kPort, kOffered)),
        slots_(kSlots) {
    FillPattern(static_cast<uint8_t*>(pattern_->data()), pattern_->size());
    for (Slot& slot : slots_) slot.buffers = pd_->Allocate(size_t{kDepth} * kBufferBytes);
  }

  void Run() {
    for (Slot& slot : slots_) Restart(slot);
    control_.Say("go");
    const auto deadline = steady_clock::now() + kPatience;
    while (done_ < count_) {
      if (steady_clock::now() > deadline) {
        Fail("not done in time:" + Unfinished());
      }
      Step();
    }
    // Counted before the probes, which have effects of their own.
    const auto counters = nic_->Counters();
    listener_.reset();
    for (Slot& slot : slots_) slot.qp.reset();
    AwaitNothingLeft();
    CreateAllQueuePairs();
    control_.Say("end");
    Report(counters);
  }

 private:
  bool Opens(const Slot& slot) const { return &slot < &slots_[kOpening]; }

  /// Opens the next connection, or offers to take one.
  void Restart(Slot& slot) {
    slot.qp.reset();
    slot = {.buffers = std::move(slot.buffers)};
    if (Opens(slot) ? next_ >= count_ : accepted_ >= count_ / 2) return;
    slot.qp = CreateQp(&slot);
    for (uint32_t i = 0; i < kDepth; ++i) PostReceive(slot, i);
    if (Opens(slot)) {
      slot.number = next_;
      next_ += 2;
      slot.qp->StartConnect(kernel_, static_cast<uint16_t>(kFirstPort + slot.number));
    } else {
      listener_->Offer(*slot.qp);
    }
  }

  std::unique_ptr<QueuePair> CreateQp(Slot* slot) {
    return nic_->CreateQp(*pd_, {.framing = Framing::kStream,
                                 .send_cq = cq_.get(),
                                 .recv_cq = cq_.get(),
                                 .send_depth = kDepth,
                                 .recv_depth = kDepth,
                                 .receive_reservation = kDepth * kBufferBytes,
                                 .context = slot});
  }

  void PostReceive(Slot& slot, uint64_t buffer) {
    const uint64_t id = static_cast<uint64_t>(&slot - slots_.data()) << 8 | buffer;
    const int error = slot.qp->PostRecv(id, slot.buffers->Sge(buffer * kBufferBytes, kBufferBytes));
    if (error == 0) ++slot.receives;
    slot.refused = error == ENOTCONN;
    if (error != 0 && error != ENOTCONN) Fail("cannot post a receive: " + Name(slot));
  }

  /// False when the connection is over.
  bool PostSend(Slot& slot, uint32_t at, uint32_t bytes) {
    const uint64_t id = static_cast<uint64_t>(&slot - slots_.data()) << 8 | kSendId;
    const int error = slot.qp->PostSend(id, pattern_->Sge(at, bytes));
    if (error == ENOTCONN) return false;
    if (error != 0) Fail("cannot post a send: " + Name(slot));
    ++slot.sends;
    slot.posted += bytes;
    return true;
  }

  void Step() {
    std::array<WorkCompletion, 64> completions;
    const size_t count = cq_->Wait(completions, milliseconds(5));
    for (size_t i = 0; i < count; ++i) Take(completions[i]);
    while (QueuePair* qp = listener_->Accept(milliseconds(0))) {
      static_cast<Slot*>(qp->context())->number = qp->peer().port - kFirstPort;
      ++accepted_;
    }
    for (Slot& slot : slots_) {
      if (!slot.qp || slot.number == UINT32_MAX) continue;
      const Plan plan(slot.number);
      Compare(slot, plan);
      const QpState state = slot.qp->state();
      if (state == QpState::kClosed && slot.sends + slot.receives == 0) {
        CheckEnd(slot, plan);
        ++done_;
        Restart(slot);
      } else if (state != QpState::kClosed && state != QpState::kConnecting) {
        Advance(slot, plan);
      }
    }
  }

  void Take(const WorkCompletion& wc) {
    Slot& slot = slots_[wc.wr_id >> 8];
    const bool send = (wc.wr_id & 0xff) == kSendId;
    --(send ? slot.sends : slot.receives);
    if (wc.status != IBV_WC_SUCCESS) {
      (send ? slot.failed_sends : slot.failed_receives).push_back(wc);
    } else if (!send) {
      slot.arrived.push_back(wc);
    }
  }

  void Compare(Slot& slot, const Plan& plan) {
    for (const WorkCompletion& wc : slot.arrived) {
      if (slot.end_of_stream) Fail("something behind the end of the stream: " + Name(slot));
      slot.end_of_stream = wc.end_of_stream;
      if (wc.end_of_stream) continue;
      const uint64_t buffer = wc.wr_id & 0xff;
      const auto* bytes = static_cast<const uint8_t*>(slot.buffers->data()) + buffer * kBufferBytes;
      const auto* want =
          static_cast<const uint8_t*>(pattern_->data()) + plan.down_at + slot.received;
      if (slot.received + wc.byte_len > plan.down) Fail("more than was sent: " + Name(slot));
      if (std::memcmp(bytes, want, wc.byte_len) != 0) Fail("bytes differ: " + Name(slot));
      slot.received += wc.byte_len;
      PostReceive(slot, buffer);
    }
    slot.arrived.clear();
  }

  /// Sends what is to be sent now, and takes our part in the closing when it is time.
  void Advance(Slot& slot, const Plan& plan) {
    if (plan.order == Order::kKernelHalf && !slot.end_of_stream) return;
    while (slot.posted < plan.up && slot.sends < kDepth) {
      const uint32_t bytes = std::min(kSendBytes, plan.up - slot.posted);
      if (!PostSend(slot, plan.up_at + slot.posted, bytes)) return;
    }
    if (slot.posted < plan.up || slot.closing) return;
    if (plan.order == Order::kKernelMidway) {
      while (slot.sends < kDepth && PostSend(slot, 0, kSendBytes)) {
      }
    } else if (TimeToClose(slot, plan)) {
      slot.closing = true;
      Close(slot, plan.order);
    }
  }

  /// Everything has been posted.
  static bool TimeToClose(const Slot& slot, const Plan& plan) {
    switch (plan.order) {
      case Order::kQpipHalf:
        return true;
      case Order::kKernelFirst:
      case Order::kKernelHalf:
        return slot.end_of_stream;
      case Order::kKernelDeaf:
        return slot.end_of_stream && slot.sends == 0;
      default:
        return slot.sends == 0 && slot.received == plan.down;
    }
  }

  void Close(Slot& slot, Order order) {
    switch (order) {
      case Order::kQpipAborts:
        slot.qp->Abort();
        return;
      case Order::kKernelDeaf:
        PostSend(slot, 0, kExtraBytes);
        return;
      case Order::kKernelAborts:
      case Order::kKernelUnread:
        // The NIC answers a command in its turn: it knows of the receives before the RST comes.
        (void)nic_->CreateCq(1);
        control_.Say("close " + std::to_string(slot.number));
        return;
      case Order::kSimultaneous:
        slot.qp->Shutdown();
        control_.Say("close " + std::to_string(slot.number));
        return;
      default:
        slot.qp->Shutdown();
    }
  }

  /// The end of a connection is as its order says.
  void CheckEnd(const Slot& slot, const Plan& plan) {
    const bool orderly = plan.order <= Order::kKernelHalf;
    const bool aborted = plan.order == Order::kQpipAborts;
    const bool midway = plan.order == Order::kKernelMidway;
    const DisconnectReason reason = orderly   ? DisconnectReason::kClosed
                                    : aborted ? DisconnectReason::kAborted
                                              : DisconnectReason::kReset;
    if (slot.qp->disconnect_reason() != reason) {
      Fail("ended as " + std::string(ToString(slot.qp->disconnect_reason())) + ": " + Name(slot));
    }
    // Midway the kernel's RST may come before all of its bytes and its FIN, or instead of them.
    if (!midway && slot.received != plan.down) {
      Fail(std::to_string(slot.received) + " of " + std::to_string(plan.down) +
           " bytes received: " + Name(slot));
    }
    const bool end_of_stream = orderly || plan.order == Order::kKernelDeaf;
    // With no receive left for it the end of the stream is told by the reason alone.
    const bool untold = orderly && slot.refused && slot.failed_receives.empty();
    if (!midway && !untold && slot.end_of_stream != end_of_stream) {
      Fail((slot.end_of_stream ? "an end of the stream: " : "no end of the stream: ") + Name(slot));
    }
    // The end of the stream flushes the receives behind it.
    CheckFlushed(slot, "receive", slot.failed_receives, slot.end_of_stream, midway);
    CheckFlushed(slot, "send", slot.failed_sends, false, midway);
    const size_t failed = plan.order == Order::kKernelDeaf ? 1 : 0;
    if (!midway && slot.failed_sends.size() != failed) {
      Fail(std::to_string(slot.failed_sends.size()) + " sends failed: " + Name(slot));
    }
    if (slot.posted < plan.up) Fail("not everything was sent: " + Name(slot));
    bytes_ += slot.posted + slot.received;
  }

  /// The first tells the cause, the others were only outstanding. Midway there may be none when the
  /// RST comes: what is posted after it is flushed. All tell the reason, but for receives behind
  /// the end of a stream whose connection went on.
  static void CheckFlushed(const Slot& slot, const std::string& what,
                           const std::vector<WorkCompletion>& failed, bool behind_end,
                           bool midway) {
    const DisconnectReason reason = slot.qp->disconnect_reason();
    const bool tells = reason == DisconnectReason::kReset && !behind_end;
    for (size_t i = 0; i < failed.size(); ++i) {
      const ibv_wc_status want = i == 0 && tells ? IBV_WC_REM_ABORT_ERR : IBV_WC_WR_FLUSH_ERR;
      const bool late = i == 0 && midway && failed[i].status == IBV_WC_WR_FLUSH_ERR;
      const bool open = behind_end && failed[i].reason == DisconnectReason::kNone;
      if ((failed[i].status == want || late) && (failed[i].reason == reason || open)) continue;
      Fail(what + " " + std::to_string(i) + " of those that failed: " + Describe(failed[i]) + ": " +
           Name(slot));
    }
  }

  /// The other end sends a stray segment for every connection there was: each is answered with RST
  /// once TIME-WAIT is over, as nothing is known of it.
  void AwaitNothingLeft() {
    const auto deadline = steady_clock::now() + kPatience;
    for (uint32_t first = 0; first < count_; first += kProbes) {
      while (Strangers(first, deadline) != kProbes) {
        if (steady_clock::now() > deadline) Fail("connections are left");
      }
    }
  }

  /// How many of the connections from `first` on are not known to the NIC any more.
  uint64_t Strangers(uint32_t first, steady_clock::time_point deadline) {
    const auto before = nic_->Counters();
    control_.Say("probe " + std::to_string(first) + " " + std::to_string(first + kProbes));
    control_.AwaitAnswer();
    for (;;) {
      const auto after = nic_->Counters();
      const auto risen = [&](const char* name) { return after.at(name) - before.at(name); };
      if (risen("tcp_segments_received") >= kProbes) return risen("drop.no_tcp_connection");
      if (steady_clock::now() > deadline) Fail("a probe was lost");
      std::array<WorkCompletion, 1> none;
      (void)cq_->Wait(none, milliseconds(1));
    }
  }

  /// Every queue pair has been given back: there are as many as in a new NIC.
  void CreateAllQueuePairs() {
    std::vector<std::unique_ptr<QueuePair>> all;
    for (uint32_t i = 0; i < kMaxQps; ++i) all.push_back(CreateQp(nullptr));
    try {
      all.push_back(CreateQp(nullptr));
    } catch (const Error& error) {
      if (error.code() == ENOMEM) return;
      throw;
    }
    Fail("more queue pairs than max_qps");
  }

  static std::string Name(const Slot& slot) {
    return "connection " + std::to_string(slot.number) + ", order " +
           std::to_string(slot.number / 2 % kOrders);
  }

  std::string Unfinished() const {
    std::string text;
    for (const Slot& slot : slots_) {
      if (!slot.qp || slot.number == UINT32_MAX) continue;
      text += "\n  " + Name(slot) + ", state " + std::to_string(int(slot.qp->state())) + ", sent " +
              std::to_string(slot.posted) + ", received " + std::to_string(slot.received) +
              ", outstanding " + std::to_string(slot.sends) + "+" + std::to_string(slot.receives);
    }
    return text;
  }

  void Report(const std::map<std::string, uint64_t>& counters) const {
    std::cout << "{\"connections\": " << done_ << ", \"bytes\": " << bytes_;
    for (const auto& [name, value] : counters) {
      if (value != 0) std::cout << ", \"" << name << "\": " << value;
    }
    // What the wire could not keep, when this process had not run for long.
    const std::string statistics = nic_->StatisticsJson();
    const std::string name = "\"crowded_out_dropped\":";
    std::cout << ", \"crowded_out\": "
              << std::stoull(statistics.substr(statistics.find(name) + name.size())) << "}"
              << std::endl;
  }

  Control control_;
  Endpoint kernel_;
  uint32_t count_;
  std::shared_ptr<Nic> nic_;
  std::unique_ptr<ProtectionDomain> pd_;
  std::unique_ptr<MemoryRegion> pattern_;
  std::unique_ptr<CompletionQueue> cq_;
  std::unique_ptr<Listener> listener_;
  std::vector<Slot> slots_;
  uint32_t next_ = 0;  // to be opened here
  uint32_t accepted_ = 0;
  uint32_t done_ = 0;
  uint64_t bytes_ = 0;
};

int Main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: qpip-test-close-orders NIC KERNEL_ADDRESS CONTROL_SOCKET COUNT\n";
    return 2;
  }
  CloseOrders(argv[1], argv[2], argv[3], static_cast<uint32_t>(std::stoul(argv[4]))).Run();
  return 0;
}

}  // namespace
}  // namespace qpip::interop

int main(int argc, char** argv) {
  try {
    return qpip::interop::Main(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "close_orders: " << error.what() << "\n";
    return 1;
  }
}

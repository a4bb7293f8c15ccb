// A gigabyte of every operation of RDMA, both directions at once, every byte checked.
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <random>

#include "qpip/rdma.h"
#include "two_nics.h"

namespace qpip::test {
namespace {

constexpr uint16_t kPort = 4791;
constexpr uint32_t kLargest = 1 << 20;
constexpr uint32_t kReceives = 4;
constexpr uint32_t kHeader = 8;  ///< of a Send: where in the pattern its bytes begin
constexpr int kAllAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                           IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

/// Bytes to move: 1 GiB unless QPIP_TEST_BYTES says otherwise (sanitizer builds move less).
uint64_t TransferBytes() {
  const char* text = std::getenv("QPIP_TEST_BYTES");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : uint64_t{1} << 30;
}

/// udp: NICs of this machine's loopback; the second is told where the first one is.
class Udp : public Testbed {
 public:
  explicit Udp(std::string options) : options_(std::move(options)) {}
  std::shared_ptr<Nic> Open(int last) override {
    std::string uri = "udp:127.0.0.1:0?address=fd00::" + std::to_string(last) + peer_ + options_;
    auto nic = Nic::Open(uri);
    // The NIC's port is an object, in which the wire's stands.
    const std::string statistics = nic->StatisticsJson();
    const std::string name = "\"port\":";
    const size_t port = statistics.rfind(name) + name.size();
    peer_ = "&peer=127.0.0.1:" + std::to_string(std::stoul(statistics.substr(port)));
    return nic;
  }
  std::unique_ptr<Task> Start(std::function<void()> program) override {
    return threads_->Start(std::move(program));
  }

 private:
  const std::string options_;
  std::string peer_;
  const std::unique_ptr<Testbed> threads_ = RealTimeTestbed("mem", "");
};

void Run(const std::string& command) {
  if (std::system(command.c_str()) != 0) throw std::runtime_error(command + " has failed");
}

/// tap: NICs on a bridge of the kernel's, in a network namespace of its own.
class Tap : public Testbed {
 public:
  explicit Tap(std::string options) : options_(std::move(options)) {
    Run("ip netns add " + namespace_);
    Inside("ip link add br0 type bridge");
    Inside("ip link set br0 up");
    for (const std::string last : {"1", "2"}) {
      Inside("ip tuntap add dev tap" + last + " mode tap vnet_hdr");
      Inside("ip link set tap" + last + " master br0 up");
    }
  }
  ~Tap() override {
    // Where it fails there is nobody left to tell but the terminal, which `ip` does.
    (void)!std::system(("ip netns del " + namespace_).c_str());
  }
  Tap(const Tap&) = delete;
  Tap& operator=(const Tap&) = delete;

  std::shared_ptr<Nic> Open(int last) override {
    const std::string number = std::to_string(last);
    return Nic::Open("tap:tap" + number + "?address=fd05::" + number + "&netns=" + namespace_ +
                     "&dad=0" + options_);
  }
  std::unique_ptr<Task> Start(std::function<void()> program) override {
    return threads_->Start(std::move(program));
  }
  /// Whether such can be made here.
  static bool Possible() { return geteuid() == 0 && access("/dev/net/tun", R_OK | W_OK) == 0; }

 private:
  /// Without `ip -n`, which mounts: in a chroot it cannot.
  void Inside(const std::string& command) {
    Run("nsenter --net=/run/netns/" + namespace_ + " -- " + command);
  }

  const std::string options_;
  const std::string namespace_ = "qpip-rdma-" + std::to_string(getpid());
  const std::unique_ptr<Testbed> threads_ = RealTimeTestbed("mem", "");
};

struct Scenario {
  const char* name;
  std::function<std::unique_ptr<Testbed>()> make;
  std::optional<bool> crc = std::nullopt;
};
void PrintTo(const Scenario& scenario, std::ostream* out) { *out << scenario.name; }

/// Memory of one end.
struct End {
  End(Side& its_side, QueuePair& its_qp)
      : side(its_side),
        qp(its_qp),
        source(side.pd->Allocate(2 * kLargest, kAllAccess)),
        zone(side.pd->Allocate(2 * kLargest + 64, kAllAccess)),
        scratch(side.pd->Allocate(kLargest + 64, kAllAccess)),
        slots(side.pd->Allocate(size_t{kReceives} * (kHeader + kLargest))) {
    FillPattern(source->data(), source->size());
  }
  static uint8_t* Bytes(MemoryRegion& region) { return static_cast<uint8_t*>(region.data()); }

  Side& side;
  QueuePair& qp;
  std::unique_ptr<MemoryRegion> source;   ///< the pattern: what is sent, written, and read
  std::unique_ptr<MemoryRegion> zone;     ///< where the other end writes: plainly, with immediate
  std::unique_ptr<MemoryRegion> scratch;  ///< what is read; behind it a counter of the other's,
                                          ///< what it held, and a Send's header
  std::unique_ptr<MemoryRegion> slots;
  std::atomic<uint64_t> messages{0};  ///< that this end has sent into receives
  std::atomic<bool> done{false};
};

/// One direction of the transfer, and what comes from the other.
class Worker {
 public:
  Worker(End& own, End& other, uint32_t seed) : own_(own), other_(other), random_(seed) {}

  void Run(uint64_t bytes) {
    for (uint32_t i = 0; i < kReceives; ++i) PostReceive(i);
    uint64_t moved = 0;
    while (moved < bytes && !::testing::Test::HasFatalFailure()) {
      moved += Round();
      ++rounds_;
    }
    own_.done.store(true, std::memory_order_release);
    while (!other_.done.load(std::memory_order_acquire) || received_ < other_.messages.load()) {
      if (::testing::Test::HasFatalFailure()) return;
      Take(1ms);
    }
    uint64_t count = 0;
    std::memcpy(&count, End::Bytes(*other_.scratch) + kLargest, sizeof(count));
    EXPECT_EQ(count, rounds_) << "one was added a round";
  }

 private:
  uint32_t Size() { return random_() % (kLargest + 1) >> random_() % 12; }

  void PostReceive(uint64_t slot) {
    const ibv_sge sge = own_.slots->Sge(slot * (kHeader + kLargest), kHeader + kLargest);
    ASSERT_EQ(own_.qp.PostRecv(slot, sge), 0);
  }

  /// [at, at + size) of a region in one to three pieces.
  int Cut(MemoryRegion& region, uint32_t at, uint32_t size, ibv_sge* list) {
    const int pieces = 1 + static_cast<int>(random_() % 3);
    for (int i = 0; i < pieces; ++i) {
      const uint32_t piece = i + 1 == pieces || size == 0 ? size : random_() % size;
      list[i] = region.Sge(at, piece);
      at += piece;
      size -= piece;
    }
    return pieces;
  }

  void Post(ibv_send_wr wr) {
    wr.send_flags = IBV_SEND_SIGNALED;
    ASSERT_EQ(own_.qp.PostSend(&wr), 0);
    ++outstanding_;
  }

  static uint64_t Address(MemoryRegion& region, uint64_t offset) {
    return reinterpret_cast<uintptr_t>(region.data()) + offset;
  }

  /// One of each operation. Returns the bytes it has moved.
  uint64_t Round() {
    uint32_t size[4], from[4], to[2];
    for (int i = 0; i < 4; ++i) {
      size[i] = Size();
      from[i] = random_() % (2 * kLargest - size[i]);
    }
    for (int i = 0; i < 2; ++i) to[i] = i * kLargest + random_() % (kLargest - size[i] + 1);
    ibv_sge list[4];
    ibv_send_wr wr{};
    wr.sg_list = list;
    const auto write = [&](int i, ibv_wr_opcode opcode) {
      wr.opcode = opcode;
      wr.num_sge = Cut(*own_.source, from[i], size[i], list);
      wr.wr.rdma = {Address(*other_.zone, to[i]), other_.zone->rkey()};
      Post(wr);
    };
    write(0, IBV_WR_RDMA_WRITE);
    wr.imm_data = size[1];
    write(1, IBV_WR_RDMA_WRITE_WITH_IMM);
    wr.opcode = IBV_WR_RDMA_READ;
    wr.num_sge = Cut(*own_.scratch, 0, size[2], list);
    wr.wr.rdma = {Address(*other_.source, from[2]), other_.source->rkey()};
    Post(wr);
    wr.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD;
    list[0] = own_.scratch->Sge(kLargest + 8, 8);
    wr.num_sge = 1;
    wr.wr.atomic = {Address(*other_.scratch, kLargest), 1, 0, other_.scratch->rkey()};
    Post(wr);
    const uint64_t header = from[3];
    std::memcpy(End::Bytes(*own_.scratch) + kLargest + 16, &header, sizeof(header));
    wr.opcode = IBV_WR_SEND;
    list[0] = own_.scratch->Sge(kLargest + 16, kHeader);
    wr.num_sge = 1 + Cut(*own_.source, from[3], size[3], list + 1);
    Post(wr);
    own_.messages += 2;
    while (outstanding_ != 0 && !::testing::Test::HasFatalFailure()) Take(kPatience);
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(CheckPattern(End::Bytes(*other_.zone) + to[i], size[i], from[i]), size[i]);
    }
    EXPECT_EQ(CheckPattern(own_.scratch->data(), size[2], from[2]), size[2]);
    return uint64_t{size[0]} + size[1] + size[2] + size[3];
  }

  void Take(Timeout timeout) {
    WorkCompletion done[16];
    const size_t count = own_.side.cq->Wait(done, timeout);
    if (timeout == Timeout(kPatience)) {
      ASSERT_GT(count, 0u) << "stalled";
    }
    for (size_t i = 0; i < count; ++i) {
      ASSERT_EQ(done[i].status, IBV_WC_SUCCESS) << Describe(done[i]);
      if (done[i].opcode != IBV_WC_RECV && done[i].opcode != IBV_WC_RECV_RDMA_WITH_IMM) {
        --outstanding_;
        continue;
      }
      ++received_;
      if (done[i].opcode == IBV_WC_RECV) CheckReceived(done[i]);
      PostReceive(done[i].wr_id);
    }
  }

  void CheckReceived(const WorkCompletion& done) {
    const uint8_t* slot = End::Bytes(*own_.slots) + done.wr_id * (kHeader + kLargest);
    uint64_t position = 0;
    std::memcpy(&position, slot, sizeof(position));
    const size_t size = done.byte_len - kHeader;
    ASSERT_EQ(CheckPattern(slot + kHeader, size, position), size);
  }

  End& own_;
  End& other_;
  std::mt19937 random_;
  uint64_t rounds_ = 0;
  uint64_t received_ = 0;
  uint32_t outstanding_ = 0;
};

class RdmaIntegrity : public ::testing::TestWithParam<Scenario> {};

TEST_P(RdmaIntegrity, GivenEveryOperationBothWaysWhenSizesAreRandomThenEveryByteIsRight) {
  const bool on_tap = std::string(GetParam().name).starts_with("tap");
  if (on_tap && !Tap::Possible()) GTEST_SKIP() << "needs root and /dev/net/tun";
  TwoNics nics(GetParam().make());
  QpOptions options;
  options.framing = Framing::kMpa;
  options.wait_for_receive = true;
  auto client_qp = nics.client.Qp(options);
  auto server_qp = nics.server.Qp(options);
  RdmaListener listener(*nics.server.nic, kPort);
  RdmaParameters parameters;
  parameters.crc = GetParam().crc;
  const auto accepting = nics.testbed().Start([&] {
    const auto request = listener.Next(kPatience);
    ASSERT_NE(request, nullptr);
    request->Accept(*server_qp, parameters);
  });
  RdmaConnect(*nics.client.nic, *client_qp, nics.ServerAt(kPort), parameters, kPatience);
  accepting->Join();
  End client(nics.client, *client_qp);
  End server(nics.server, *server_qp);
  const uint64_t half = TransferBytes() / 2;
  const auto other = nics.testbed().Start([&] { Worker(server, client, 2).Run(half); });
  Worker(client, server, 1).Run(half);
  other->Join();
}

constexpr const char* kFaults =
    "loss=0.01&duplicate=0.01&reorder=0.01&corrupt=0.001&seed=11&rto_min_us=2000";

INSTANTIATE_TEST_SUITE_P(
    All, RdmaIntegrity,
    ::testing::Values(
        Scenario{"shm", [] { return RealTimeTestbed("shm", ""); }},
        Scenario{"udp", [] { return std::make_unique<Udp>(""); }, true},
        Scenario{"shm_faults", [] { return RealTimeTestbed("shm", kFaults); }, true},
        Scenario{"udp_faults", [] { return std::make_unique<Udp>(std::string("&") + kFaults); },
                 true},
        Scenario{"tap", [] { return std::make_unique<Tap>(""); }, true},
        Scenario{"tap_segments", [] { return std::make_unique<Tap>("&offload=0"); }, true},
        Scenario{"tap_faults", [] { return std::make_unique<Tap>(std::string("&") + kFaults); },
                 true}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace qpip::test

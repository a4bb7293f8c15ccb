// One NIC on a bench: firmware, scripted hardware, and the host's side of the rings, driven by
// hand.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "fake_hardware.h"
#include "nic_fw/abi/command.h"
#include "nic_fw/abi/completion.h"
#include "nic_fw/abi/counters.h"
#include "nic_fw/firmware.h"

namespace qpip::fw::test {

inline constexpr uint64_t kMs = 1000000;

abi::Ip6Address Address(uint8_t last);

/// Host memory that the hardware may reach, 64-byte aligned, zeroed.
class HostMemory {
 public:
  HostMemory(FakeHardware& hardware, size_t bytes);
  uint8_t* data() { return data_.get(); }
  size_t size() const { return size_; }
  uint64_t address() const { return reinterpret_cast<uint64_t>(data_.get()); }

 private:
  struct Free {
    void operator()(uint8_t* p) const { ::operator delete[](p, std::align_val_t{64}); }
  };
  std::unique_ptr<uint8_t[], Free> data_;
  size_t size_;
};

struct TestCq {
  uint32_t handle = 0;
  uint32_t log2 = 0;
  uint32_t consumer = 0;
  std::unique_ptr<HostMemory> ring;
  std::unique_ptr<HostMemory> consumer_word;
};

struct TestQp {
  uint32_t handle = 0;
  abi::CreateQp create;
  uint32_t send_producer = 0;
  uint32_t recv_producer = 0;
  uint32_t posted_bytes = 0;
  std::unique_ptr<HostMemory> send_ring, recv_ring, indices, pool, records;
};

struct QpSpec {
  abi::QpType type = abi::QpType::kTcp;
  abi::Framing framing = abi::Framing::kSegment;
  uint8_t send_log2_depth = 6;
  uint8_t recv_log2_depth = 6;
  uint32_t overflow_bytes = 1 << 20;
  uint32_t pd = 1;
  uint8_t send_log2_stride = 7;  ///< four elements, or 64 bytes inline
  uint8_t flags = 0;             ///< abi::CreateQpFlags
};

class FirmwareBench {
 public:
  explicit FirmwareBench(uint8_t last_address_byte, NicConfig config = DefaultConfig());

  static NicConfig DefaultConfig();

  // --- Time and work
  uint64_t now = 1000 * kMs;
  /// Steps until nothing is left to do now.
  void Run();
  /// Moves the clock, firing every deadline at its own time.
  void Advance(uint64_t ns);

  // --- Management
  abi::Event Command(const abi::Command& command);
  /// The same without running the firmware; the command's number.
  uint32_t PostCommand(abi::Command command);
  uint32_t Register(const HostMemory& memory, uint32_t access = abi::kAccessLocalWrite,
                    uint32_t pd = 1);
  std::unique_ptr<TestCq> CreateCq(uint32_t log2 = 10);
  std::unique_ptr<TestQp> CreateQp(TestCq& cq, const QpSpec& spec = {});
  abi::Event QpCommand(abi::CommandOpcode opcode, const TestQp& qp);
  abi::Event Connect(const TestQp& qp, uint8_t peer_last, uint16_t port, uint16_t local = 0);
  abi::Event Listen(uint16_t port, uint16_t backlog = 4);
  abi::Event Offer(uint32_t listener, const TestQp& qp);
  abi::Event Bind(const TestQp& qp, uint16_t port);

  // --- Data path
  void PostSend(TestQp& qp, const std::vector<abi::Sge>& list, bool ring = true, uint8_t peer = 0,
                uint16_t peer_port = 0);
  void PostInline(TestQp& qp, std::string_view bytes, uint8_t peer = 0, uint16_t peer_port = 0);
  void PostRecv(TestQp& qp, const std::vector<abi::Sge>& list, bool ring = true);
  void RingSend(TestQp& qp);
  void RingRecv(TestQp& qp);
  std::vector<abi::Cqe> Poll(TestCq& cq);
  /// Events other than command answers, taken.
  std::vector<abi::Event> Events();

  uint64_t Counter(abi::NicCounter counter);
  uint64_t Dropped(abi::DropReason reason);
  uint64_t AllDrops();

  FakeHardware hardware;
  NicConfig config;
  std::vector<uint64_t> arena;

 private:
  void CollectEvents();

  HostMemory command_ring_;
  HostMemory event_ring_;
  HostMemory counters_;
  HostMemory reassembly_pool_;
  uint32_t command_producer_ = 0;
  uint32_t event_consumer_ = 0;
  uint32_t next_id_ = 1;
  std::vector<abi::Event> events_;
};

/// Two benches with a cable between them.
struct Cable {
  FirmwareBench& a;
  FirmwareBench& b;
  /// Called for every frame on its way; may change it, answers whether it arrives.
  std::function<bool(Frame&, bool from_a)> filter;

  /// Exchanges frames and runs both until everything is quiet.
  void Run();
  /// Run, then move both clocks in small steps.
  void Advance(uint64_t ns, uint64_t step = kMs);
};

/// A connected pair of TCP queue pairs: `a` has connected to `b`.
struct ConnectedPair {
  explicit ConnectedPair(const QpSpec& spec = {},
                         NicConfig config = FirmwareBench::DefaultConfig());
  FirmwareBench a{1};
  FirmwareBench b{2};
  Cable cable{a, b, {}};
  std::unique_ptr<TestCq> cq_a, cq_b;
  std::unique_ptr<TestQp> qp_a, qp_b;
  uint32_t listener = 0;
};

}  // namespace qpip::fw::test

// RDMA on a bench: two queue pairs that speak it to each other, or one and a script, which sends
// and receives iWARP's bytes through a plain stream.
#pragma once

#include <optional>
#include <string>

#include "packets.h"
#include "protocols/iwarp/message_layout.h"
#include "protocols/iwarp/rdmap.h"
#include "protocols/iwarp/terminate.h"
#include "test_support.h"

namespace qpip::fw::test {

inline constexpr uint32_t kEveryRight = abi::kAccessLocalWrite | abi::kAccessRemoteWrite |
                                        abi::kAccessRemoteRead | abi::kAccessRemoteAtomic;

/// A NIC with RDMA queue pairs.
NicConfig RdmaNic();
QpSpec RdmaQp();
QpSpec StreamQp();

struct RdmaSetup {
  bool crc = true;
  bool responder = false;  ///< the queue pair under test waits for the first FPDU
  uint16_t ird = 4;
  uint16_t ord = 4;
  QpSpec qp = RdmaQp();
};

/// A received FPDU.
struct ReceivedFpdu {
  iwarp::DdpHeader ddp;
  iwarp::Opcode opcode = iwarp::Opcode::kSend;
  Bytes payload;  ///< behind the DDP header
  bool crc_good = false;
};

/// A send work request of RDMA, as the host writes it into the ring.
struct RdmaWork {
  abi::SendOpcode opcode = abi::SendOpcode::kSend;
  std::vector<abi::Sge> list = {};
  uint64_t remote_address = 0;
  uint32_t remote_key = 0;
  uint8_t flags = abi::kSendSignaled;
  uint32_t immediate = 0;
  uint64_t operand = 0;
  uint64_t compare = 0;
  std::string bytes = {};  ///< inline, with kSendInline
};
void Post(FirmwareBench& bench, TestQp& qp, const RdmaWork& work, bool ring = true);

abi::Event Adopt(FirmwareBench& bench, const TestQp& qp, const TestQp& carrier,
                 const RdmaSetup& setup);
/// Why a stream was terminated; nullopt when it was not.
struct Terminated {
  bool by_peer = false;
  iwarp::Cause cause = iwarp::Cause::kNone;
};
std::optional<Terminated> WhyTerminated(FirmwareBench& bench, const TestQp& qp);

/// The NIC under test has an RDMA queue pair; its peer is a script.
class ScriptedPeer {
 public:
  explicit ScriptedPeer(const RdmaSetup& setup = {});

  // --- What the script says
  /// The FPDUs of a message. `mulpdu`: bytes of each ULPDU at most.
  Bytes Fpdus(const iwarp::Message& message, const Bytes& payload, uint32_t mulpdu = 1400);
  Bytes Send(const Bytes& payload, iwarp::Opcode opcode = iwarp::Opcode::kSend,
             uint32_t invalidate = 0);
  Bytes Write(uint32_t stag, uint64_t offset, const Bytes& payload);
  Bytes Read(const iwarp::ReadRequest& request);
  Bytes Atomic(const iwarp::AtomicRequest& request);
  Bytes ReadResponse(uint32_t stag, const Bytes& payload);
  /// An FPDU of this ULPDU, whatever it says.
  Bytes Raw(const Bytes& ulpdu);
  /// Sends them as one segment, and lets everything come to rest.
  void Say(const Bytes& bytes);
  /// FIN.
  void Shutdown();

  // --- What it hears
  /// All whole FPDUs that have come.
  std::vector<ReceivedFpdu> Hear();
  /// The Terminate among them; fails when there is none.
  iwarp::Terminate HearTerminate();

  FirmwareBench peer{1};
  FirmwareBench nic{2, RdmaNic()};
  Cable cable{peer, nic, {}};
  std::unique_ptr<TestCq> cq = nic.CreateCq();
  std::unique_ptr<TestQp> qp;       ///< the one under test
  std::vector<Frame> nic_segments;  ///< with text, from the NIC, since the adoption
  HostMemory memory;                ///< of the NIC's host, 256 KiB
  uint32_t key = 0;                 ///< all of it, with all rights
  bool crc = true;

 private:
  static constexpr uint32_t kSlots = 64;
  static constexpr uint32_t kSlotBytes = 4096;
  void PostSlot();
  /// Takes what has come.
  void Listen();

  HostMemory source_, sink_;
  uint32_t source_key_ = 0, sink_key_ = 0;
  std::unique_ptr<TestCq> peer_cq_ = peer.CreateCq();
  std::unique_ptr<TestQp> stream_, carrier_;
  Bytes heard_;
  uint32_t at_ = 0;
  uint32_t sends_ = 1, requests_ = 1;
};

/// Two RDMA queue pairs.
struct RdmaPair {
  explicit RdmaPair(const RdmaSetup& setup = {});
  FirmwareBench a{1, RdmaNic()};
  FirmwareBench b{2, RdmaNic()};
  Cable cable{a, b, {}};
  std::unique_ptr<TestCq> cq_a = a.CreateCq(), cq_b = b.CreateCq();
  std::unique_ptr<TestQp> qp_a, qp_b;
  HostMemory memory_a, memory_b;
  uint32_t key_a = 0, key_b = 0;

 private:
  std::unique_ptr<TestQp> carrier_a_, carrier_b_;
};

}  // namespace qpip::fw::test

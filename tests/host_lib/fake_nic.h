// A NIC without firmware, wire or clock: it reads the rings as the ABI says, answers commands and
// completes work requests when the test tells it to.
//
// Everything happens in the thread that calls Drive or DriveUntil. A thread that would have to
// sleep instead runs the next of `when_idle`, then advances the manual clock to its deadline; one
// without a deadline would sleep for ever, which is an exception. The fake also checks what the
// host promises: indices that only grow and stay within their rings, posted bytes that add up,
// completion queues with room.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "host_lib/port/host_port.h"
#include "nic_fw/abi/command.h"
#include "nic_fw/abi/completion.h"

namespace qpip::test {

/// A send WQE as the NIC would fetch it.
struct FetchedSend {
  abi::SendWqe header;
  std::vector<abi::Sge> list;
  std::vector<std::byte> inline_data;
};

/// What a connect attempt comes to.
struct ConnectOutcome {
  std::optional<abi::EventKind> event = abi::EventKind::kEstablished;  ///< nullopt: no answer
  abi::DisconnectReason reason = abi::DisconnectReason::kNone;
};

class FakeNic : public abi::HostPort, private abi::HostPlatform {
 public:
  FakeNic();
  ~FakeNic() override;

  // --- Script. Call from the test's thread while nobody drives, or from `when_idle`.
  abi::PortInfo port_info;
  std::deque<std::function<void()>> when_idle;
  /// Commands for which this returns a status are refused with it.
  std::function<std::optional<abi::CommandStatus>(const abi::Command&)> refuse;
  ConnectOutcome connect_outcome;
  std::array<uint32_t, 4> notices = {};  ///< answer of kTakeNotices
  bool complete_sends = false;           ///< every send succeeds as soon as its doorbell is seen
  bool threaded = false;  ///< DriveUntil yields and returns instead of running a script
  std::function<void()> when_waiting;  ///< threaded: called first, by whoever would sleep
  bool aborts_later = false;           ///< an abort only begins: Flush and RaiseEvent end it
  bool lose_doorbells = false;         ///< the FIFO is full: only the sticky flag is set
  bool scan_at_once = false;   ///< ... and the core, on another thread, sees the flag at once
  bool shared_memory = false;  ///< AllocateShared has memory
  uint64_t now_ns = 1'000'000;
  std::set<abi::CommandOpcode> held;  ///< not answered before Release

  /// Answers held commands, latest first when `reversed`.
  void Release(bool reversed = false);
  void CompleteSend(uint32_t qp, uint32_t index,
                    abi::CompletionStatus status = abi::CompletionStatus::kSuccess);
  /// Places `data` in the oldest posted receive and completes it. Returns its index.
  uint32_t CompleteRecv(uint32_t qp, std::span<const std::byte> data,
                        abi::CompletionStatus status = abi::CompletionStatus::kSuccess,
                        uint32_t flags = 0);
  /// As CompleteRecv, from a UDP peer.
  void CompleteDatagram(uint32_t qp, std::span<const std::byte> data, const abi::Ip6Address& from,
                        uint16_t port);
  /// Completes everything outstanding: the first send with `head`, the rest flushed.
  void Flush(uint32_t qp, abi::CompletionStatus head = abi::CompletionStatus::kFlushed,
             abi::DisconnectReason reason = abi::DisconnectReason::kAborted);
  void RaiseEvent(abi::EventKind kind, uint32_t object, uint8_t status = 0);
  /// From now on this process is a child that was forked from the one that opened the NIC. What is
  /// asked of the NIC but to stop or to free memory is a broken promise.
  void Fork();
  /// A trouble of the NIC's, told at once.
  void RaiseTrouble(const abi::Trouble& trouble);
  /// An offered queue pair is mated. Returns it.
  uint32_t Mate(uint32_t listener, const abi::Ip6Address& from, uint16_t port);
  /// Joins two queue pairs: what one sends, the other receives, as a byte stream.
  void Pipe(uint32_t a, uint32_t b);
  /// The peer's FIN.
  void EndOfStream(uint32_t qp);

  // --- Observation.
  uint32_t SendsPosted(uint32_t qp);
  uint32_t RecvsPosted(uint32_t qp);
  FetchedSend Fetch(uint32_t qp, uint32_t index);
  abi::RecvWqe FetchRecv(uint32_t qp, uint32_t index, std::vector<abi::Sge>* list);
  const abi::CreateQp& Setup(uint32_t qp) { return qps_.at(qp).setup; }
  size_t HeldCount();
  uint32_t Count(abi::CommandOpcode opcode) const;
  uint32_t Doorbells(abi::DoorbellKind kind);
  std::vector<abi::Command> commands;
  std::set<std::string> broken_promises;  ///< what the host did wrong
  uint32_t idle_sleeps = 0;               ///< how often somebody would have slept
  uint32_t drives = 0;
  size_t shared_bytes = 0;
  bool stopped = false;
  bool forked = false;

  // --- abi::HostPort
  const abi::PortInfo& info() const override { return port_info; }
  abi::HostPlatform& platform() override { return *this; }
  void Start(const abi::RingSetup& rings, abi::InterruptHandler* handler) override;
  void Stop() override;
  void RingDoorbell(const abi::Doorbell& doorbell) override;
  void GoOnAlone(const abi::Doorbell* first) override {
    ++left_alone;
    HostPort::GoOnAlone(first);
  }
  uint64_t DmaAddress(const void* address) override;
  void* AllocateShared(size_t bytes) override;
  void FreeShared(void* address, size_t bytes) override;
  bool Drive(bool until_notification) override;
  void DriveUntil(const uint32_t* word, uint32_t expected, uint64_t deadline_ns) override;
  std::string StatisticsJson() override { return "{\"fake\":true}"; }

  uint32_t left_alone = 0;  ///< calls of GoOnAlone

 private:
  void MustNotBeForked(const char* what);

  std::set<void*> shared_blocks_;  ///< a forked child leaves them

  struct Cq {
    abi::CreateCq setup;
    uint32_t producer = 0;
    bool armed = false;
    uint32_t armed_index = 0;
  };
  struct Qp {
    abi::CreateQp setup;
    uint32_t send_producer = 0;
    uint32_t send_completed = 0;
    uint32_t recv_producer = 0;
    uint32_t recv_completed = 0;
    uint32_t posted_bytes = 0;  ///< sum of the receives seen
    uint16_t port = 0;
    std::optional<uint32_t> pipe_to;
    std::vector<std::byte> piped;  ///< waits for receives of this queue pair
  };
  struct Listener {
    uint16_t port = 0;
    std::deque<uint32_t> offered;
  };

  // abi::HostPlatform
  uint64_t NowNs() override { return now_ns; }
  void Sleep(const uint32_t* word, uint32_t expected, uint64_t deadline_ns) override;
  void Wake(const uint32_t* word) override;
  void Relax() override {}

  // DMA addresses are not virtual addresses: who mixes them up does not get far.
  static constexpr uint64_t kBusOffset = uint64_t{1} << 56;
  template <typename T>
  static T* At(uint64_t dma_address) {
    return reinterpret_cast<T*>(static_cast<uintptr_t>(dma_address - kBusOffset));
  }
  static constexpr uint8_t Byte(auto value) { return static_cast<uint8_t>(value); }
  static uint64_t LoadAcquire(uint64_t* word) {
    return std::atomic_ref<uint64_t>(*word).load(std::memory_order_acquire);
  }
  void Promise(bool kept, const char* what);
  bool DriveLocked();
  bool OnDoorbell(const abi::Doorbell& doorbell);
  void OnSendPosted(uint32_t handle, uint32_t producer);
  void OnRecvPosted(uint32_t handle, uint32_t producer, uint32_t posted_bytes);
  void OnArm(uint32_t handle, uint32_t consumer);
  bool FetchCommands();
  void ScanAll();
  void Execute(const abi::Command& command);
  abi::CommandStatus Perform(const abi::Command& command, uint32_t* result);
  void Answer(const abi::Command& command, abi::CommandStatus status, const uint32_t* result);
  void PushEvent(abi::Event event);
  void PushCqe(uint32_t cq, abi::Cqe cqe);
  void PushSendCqe(uint32_t qp, uint32_t index, abi::CompletionStatus status,
                   abi::DisconnectReason reason = abi::DisconnectReason::kNone);
  uint32_t PushRecvCqe(uint32_t qp, std::span<const std::byte> data, abi::Cqe cqe);
  void FlushLocked(uint32_t qp, abi::CompletionStatus head, abi::DisconnectReason reason);
  void Established(uint32_t qp, uint32_t listener, const abi::Ip6Address& from, uint16_t port,
                   uint16_t local_port);
  bool MovePipes();
  FetchedSend FetchLocked(const Qp& qp, uint32_t index) const;
  abi::RecvWqe FetchRecvLocked(const Qp& qp, uint32_t index, std::vector<abi::Sge>* list) const;

  std::mutex core_;  ///< the core's lock: guards everything but the FIFO
  abi::RingSetup rings_;
  abi::InterruptHandler* handler_ = nullptr;
  uint32_t command_producer_ = 0;
  uint32_t command_consumer_ = 0;
  uint32_t event_producer_ = 0;
  std::vector<abi::Command> held_commands_;
  std::map<uint32_t, Cq> cqs_;
  std::map<uint32_t, Qp> qps_;
  std::map<uint32_t, Listener> listeners_;
  std::set<uint32_t> keys_;
  uint32_t next_key_ = 0x100;
  uint16_t next_port_ = 50000;

  std::mutex fifo_mutex_;  ///< guards the next three
  std::deque<abi::Doorbell> fifo_;
  bool overflowed_ = false;
  std::map<abi::DoorbellKind, uint32_t> doorbells_;
};

}  // namespace qpip::test

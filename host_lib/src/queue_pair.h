// A queue pair as the host sees it: two work queues, and the connection's state as the NIC's
// events have told it.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "host_lib/port/host_port.h"
#include "memory.h"
#include "nic_fw/abi/command.h"
#include "qpip/qpip.h"
#include "work_queue.h"

namespace qpip::internal {

struct QpLayout;

/// Largest UDP payload of one datagram, bytes: the largest IPv6 payload (RFC 8200 section 3) less
/// the UDP header.
inline constexpr uint32_t kMaxDatagram = 65535 - 8;

/// Thread-safe.
class QpImpl {
 public:
  /// Throws Error: EINVAL, ENOMEM.
  QpImpl(std::shared_ptr<PdImpl> pd, std::shared_ptr<CqImpl> send_cq,
         std::shared_ptr<CqImpl> recv_cq, const QpOptions& options);
  ~QpImpl();
  QpImpl(const QpImpl&) = delete;
  QpImpl& operator=(const QpImpl&) = delete;

  /// Destroys the NIC's queue pair and waits until no DMA into its memory is outstanding. Posts
  /// answer ENOTCONN from here on. Does nothing the second time.
  void Close();

  /// A stream object takes all receives or all sends for itself; `memory`, which they will point
  /// into, is kept until Close. Throws Error EBUSY the second time: completions of the first one's
  /// work may still come.
  enum Side { kReceives, kSends };
  void GiveTo(Side side, std::shared_ptr<void> memory);

  // Data path; see QueuePair. `peer`: nullptr for none, or for wr.ud's.
  int PostSend(ibv_send_wr* wr, ibv_send_wr** bad);
  int PostSendAll(ibv_send_wr* wr);
  int PostSendOne(const ibv_send_wr& wr, const Endpoint* peer);
  int PostRecv(ibv_recv_wr* wr, ibv_recv_wr** bad);

  // Connection; see QueuePair.
  void Connect(const Endpoint& peer, Timeout timeout, uint16_t local_port);
  void StartConnect(const Endpoint& peer, uint16_t local_port);
  bool WaitConnected(Timeout timeout);
  [[noreturn]] void GiveUpConnecting();
  uint16_t Bind(uint16_t port);
  void Shutdown();
  bool Disconnect(Timeout timeout);
  const std::shared_ptr<NicImpl>& nic() const { return pd_->nic(); }
  const QpOptions& options() const { return options_; }
  bool has_notices() const { return noticed_.load(std::memory_order_acquire); }
  QpNotices TakeNotices();
  void Abort();
  bool WaitDrained(Timeout timeout);
  std::optional<TerminateReason> Terminate();
  /// RDMA: takes over the connection of `carrier` (abi::Adopt). `startup`: bytes that go in front
  /// of the first FPDU; `ready`: an empty Write behind them. Throws Error.
  void Adopt(QpImpl& carrier, std::span<const std::byte> startup, bool ready,
             const abi::Adopt& terms);
  /// Gives an idle queue pair to a listener; `facade` is what Accept will return.
  void OfferTo(const std::shared_ptr<ListenerImpl>& listener, QueuePair* facade);
  /// The listener is gone: an offer that has not become a connection is over.
  void WithdrawOffer();

  void ThrowIfForked(const char* what) const;
  QpType type() const { return options_.type; }
  QpState state() const { return state_.load(std::memory_order_acquire); }
  std::string DescribeEnd();
  DisconnectReason reason() const { return reason_.load(std::memory_order_acquire); }
  uint32_t qp_num() const { return qp_num_.load(std::memory_order_relaxed); }
  uint32_t handle() const { return handle_; }
  void* context() const { return options_.context; }
  Endpoint local();
  Endpoint peer();
  QueuePair* facade();

  /// A completion has been polled. Returns its wr_id. Called with the CQ's lock held.
  uint64_t OnCompletion(bool receive, uint32_t wqe_index) {
    return (receive ? recv_ : send_)->Complete(wqe_index);
  }
  /// What the send was, as it was posted; to be asked before OnCompletion.
  uint8_t SendOpcode(uint32_t wqe_index) const { return send_->Note(wqe_index); }
  /// The NIC reports a change. Called by the event dispatcher, in order.
  void OnEvent(const abi::Event& event);

 private:
  void Reserve();
  void CreateOnNic(const QpLayout& layout);

  int ValidateSend(const ibv_send_wr& wr, const Endpoint* peer, uint32_t* length) const;
  int ValidateRdma(const ibv_send_wr& wr, uint64_t bytes) const;
  void PostStartup(std::span<const std::byte> startup, bool ready);
  void FillSend(const ibv_send_wr& wr, const Endpoint* peer, uint32_t length);
  int PostSendLocked(const ibv_send_wr& wr, const Endpoint* peer);
  int PostListLocked(ibv_send_wr** wr);
  int PostDatagramsLocked(ibv_send_wr** wr);
  void RingSends(std::unique_lock<SpinLock> lock);
  int ValidateRecv(const ibv_recv_wr& wr, uint32_t* length) const;
  void FillRecv(const ibv_recv_wr& wr, uint32_t length);

  abi::Event Execute(const abi::Command& command);
  abi::Event ExecuteQp(abi::CommandOpcode opcode);
  void Become(QpState state, DisconnectReason reason);
  void BecomeConnected(const abi::Event& event);
  QpNotices AskForNotices();
  Error WhyNotConnected(DisconnectReason reason);
  std::shared_ptr<ListenerImpl> OfferedTo();
  void LeaveListener();

  std::shared_ptr<PdImpl> pd_;
  std::shared_ptr<CqImpl> send_cq_;
  std::shared_ptr<CqImpl> recv_cq_;
  NicImpl& nic_;  ///< kept alive by pd_
  QpOptions options_;
  MappedMemory memory_;
  std::unique_ptr<MrImpl> startup_memory_;  ///< RDMA: what goes in front of the first FPDU
  std::unique_ptr<WorkQueue> send_;
  std::unique_ptr<WorkQueue> recv_;
  bool closed_ = false;        ///< both queues' locks
  uint32_t posted_bytes_ = 0;  ///< receive lock; modulo 2^32
  uint32_t handle_ = 0;

  std::atomic<uint32_t> qp_num_{0};
  std::atomic<QpState> state_{QpState::kIdle};
  std::atomic<bool> noticed_{false};
  std::atomic<DisconnectReason> reason_{DisconnectReason::kNone};
  std::atomic<uint64_t> connecting_since_{0};  ///< a moment of Troubles
  std::atomic<bool> established_{false};       ///< has been, whatever the state is now
  std::atomic<bool> drained_{false};           ///< no completion comes any more

  std::mutex mutex_;  ///< guards what follows
  Endpoint local_;
  Endpoint peer_;
  std::shared_ptr<ListenerImpl> listener_;
  QueuePair* facade_ = nullptr;
  QpNotices held_notices_;  ///< asked for on behalf of DescribeEnd: still to be told
  bool given_[2] = {};      ///< by Side
  std::array<std::shared_ptr<void>, 2> kept_;
};

}  // namespace qpip::internal

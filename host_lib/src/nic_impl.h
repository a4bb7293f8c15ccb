// An open NIC: the port to the hardware, the command channel, and the tables that lead from the
// NIC's handles to objects.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <mutex>

#include "commands.h"
#include "event_fds.h"
#include "handle_table.h"
#include "host_lib/port/host_port.h"
#include "qpip/qpip.h"
#include "troubles.h"

namespace qpip::internal {

/// Thread-safe. Every object holds a reference, so a NIC outlives its QPs, CQs and regions.
class NicImpl : public abi::InterruptHandler, public std::enable_shared_from_this<NicImpl> {
 public:
  /// Starts a NIC on `port`, which need not be a real one. Throws what HostPort::Start throws.
  static std::shared_ptr<Nic> Start(std::unique_ptr<abi::HostPort> port);

  explicit NicImpl(std::unique_ptr<abi::HostPort> port);
  ~NicImpl() override;  ///< stops the core

  abi::HostPort& port() { return *port_; }
  abi::HostPlatform& platform() { return port_->platform(); }
  const abi::PortInfo& info() const { return port_->info(); }
  CommandChannel& channel() { return channel_; }
  /// Serialised by event dispatch: Set only from a command's `on_done`.
  HandleTable<QpImpl>& qps() { return qps_; }
  HandleTable<CqImpl>& cqs() { return cqs_; }
  /// A completion queue ends: when this returns no trouble is being told to it.
  void RemoveCq(uint32_t handle);
  Troubles& troubles() { return troubles_; }
  EventFds& event_fds() { return event_fds_; }
  uint32_t NextProtectionDomain() { return ++last_protection_domain_; }

  /// Is this process a child that was forked from the one that opened the NIC? Then the NIC is not
  /// its own: every call refuses, and destructors ask nothing of the NIC and take no lock that a
  /// thread of the parent's may have held at the fork.
  bool forked() const { return forked_.load(std::memory_order_relaxed); }
  /// Throws Error EPERM in such a child. `what`: the operation.
  void ThrowIfForked(const char* what) const {
    if (forked()) [[unlikely]]
      ThrowForked(what);
  }

  /// See Nic.
  uint32_t notifications() const {
    return std::atomic_ref(notifications_).load(std::memory_order_acquire);
  }
  void AwaitNotification(uint32_t seen, uint64_t deadline_ns);

  /// The implementation behind a public handle.
  static const std::shared_ptr<CqImpl>& Impl(const CompletionQueue& cq) { return cq.impl_; }
  static const std::shared_ptr<PdImpl>& Impl(const ProtectionDomain& pd) { return pd.impl_; }
  static const std::shared_ptr<QpImpl>& Impl(const QueuePair& qp) { return qp.impl_; }

  // abi::InterruptHandler; the core's lock is held.
  void OnCompletionInterrupt(uint32_t cq) override;
  void OnEventInterrupt() override;
  void OnTrouble(const abi::Trouble& trouble) override;
  void TellTroubles() override;  ///< without the lock
  void OnForked() override { forked_.store(true, std::memory_order_relaxed); }

 private:
  void OnEvent(const abi::Event& event);
  void Notify();
  [[noreturn]] void ThrowForked(const char* what) const;

  const pid_t opened_by_;
  std::atomic<bool> forked_{false};
  Troubles troubles_;
  // The channel uses the port; the port's core uses the channel's rings until it is stopped.
  std::unique_ptr<abi::HostPort> port_;
  EventFds event_fds_;
  CommandChannel channel_;
  HandleTable<QpImpl> qps_;
  HandleTable<CqImpl> cqs_;
  std::mutex trouble_mutex_;  ///< who tells all of `cqs_`, and who takes one out
  std::atomic<uint32_t> last_protection_domain_{0};
  mutable uint32_t notifications_ = 0;  ///< shared with the core's sleeping threads
  std::atomic<uint32_t> awaiting_{0};   ///< threads in AwaitNotification
};

}  // namespace qpip::internal

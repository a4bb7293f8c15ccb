// TCP connections and listeners behind their public faces.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "core.h"

namespace qpip::testbench {

/// `options` themselves, or Error EINVAL.
TcpOptions Checked(TcpOptions options);

struct TcpConnection::Impl : Pollable {
 public:
  /// Creates the queue pair and posts its receives. Throws Error.
  Impl(std::shared_ptr<Core> shared_core, const TcpOptions& tcp_options);
  ~Impl() override;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  bool Poll() override;
  /// The queue pair, or Error ENOTCONN once Close has given it back.
  qpip::QueuePair& qp();
  TcpState State() const;
  const fw::QueuePair* Inside() const;
  void PostReceive(uint32_t bytes);
  uint64_t Send(std::span<const uint8_t> data, int flags);
  Received Receive(size_t limit);
  size_t Available() const;
  /// Gives the queue pair back when Close was called and the connection is over.
  void FinishClose();

  std::shared_ptr<Core> core;
  const TcpOptions options;
  bool closing = false;
  uint64_t bytes_acknowledged = 0;
  size_t sends_outstanding = 0;

 private:
  struct Buffer {
    std::unique_ptr<qpip::MemoryRegion> own;  ///< of PostReceive
    uint8_t* data = nullptr;
    ibv_sge sge = {};
  };
  struct Filled {
    size_t buffer = 0;
    uint32_t begin = 0;
    uint32_t end = 0;
  };
  struct Outgoing {
    std::unique_ptr<qpip::MemoryRegion> memory;
    size_t bytes = 0;
    std::optional<ibv_wc_status> status;
  };
  void OnCompletion(const WorkCompletion& completion);
  void OnReceived(size_t buffer, const WorkCompletion& completion);
  void PostBuffer(size_t index);
  void AddInitialBuffers();

  friend class TcpConnection;
  std::unique_ptr<qpip::CompletionQueue> cq_;
  std::unique_ptr<qpip::MemoryRegion> memory_;
  std::unique_ptr<qpip::QueuePair> qp_;  ///< before the memory it uses
  uint32_t handle_ = 0;
  uint32_t chunk_ = 0;
  Endpoint last_local_;
  Endpoint last_peer_;
  qpip::QpState last_host_state_ = qpip::QpState::kIdle;
  DisconnectReason last_reason_ = DisconnectReason::kNone;
  std::vector<Buffer> buffers_;
  std::deque<Filled> filled_;
  size_t available_ = 0;  ///< bytes of `filled_`
  std::map<uint64_t, Outgoing> sends_;
  uint64_t last_send_ = 0;
  bool end_of_stream_ = false;
  ibv_wc_status error_ = IBV_WC_SUCCESS;
};

struct TcpListener::Impl {
  Impl(std::shared_ptr<Core> shared_core, uint16_t port, const ListenOptions& listen_options);
  void Offer();

  std::shared_ptr<Core> core;
  const ListenOptions options;
  std::vector<std::unique_ptr<TcpConnection>> offered;
  std::unique_ptr<qpip::Listener> listener;  ///< closed before the queue pairs are given back
};

}  // namespace qpip::testbench

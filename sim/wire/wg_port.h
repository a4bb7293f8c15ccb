// The `wg:` wire (wg_port.cc), for its own sources.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "protocols/wireguard/machine.h"
#include "sim/wire/datagrams_in.h"
#include "sim/wire/datagrams_out.h"
#include "sim/wire/descriptor.h"
#include "sim/wire/fork.h"
#include "sim/wire/reporter.h"
#include "sim/wire/secret_memory.h"
#include "sim/wire/segmenter.h"
#include "sim/wire/udp_errors.h"
#include "sim/wire/udp_failures.h"
#include "sim/wire/wg_names.h"
#include "sim/wire/wg_setup.h"
#include "sim/wire/wg_words.h"
#include "sim/wire/wire.h"

namespace qpip::wire {

class WireguardPort final : public Wire {
 public:
  WireguardPort(const WireguardOptions& options, WireguardSetup setup);
  ~WireguardPort() override;

  void ReportTo(Report report) override { reporter_.To(std::move(report)); }
  SendResult Send(const OutFrame& frame, uint64_t* lease) override;
  bool LeasePending(uint64_t) override { return false; }  // sealing is a copy
  bool Receive(InFrame* frame) override;
  void Release(const InFrame& frame) override;
  void Flush() override { SendBatch(); }
  uint64_t Housekeeping(uint64_t now_ns) override;
  void PrepareSleep() override;
  void CancelSleep() override { resting_.store(false, std::memory_order_relaxed); }
  void Sleep(uint64_t deadline_ns) override;
  void Wake() override { sleep_.Wake(); }
  void* AllocateShared(size_t) override { return nullptr; }
  void FreeShared(void*, size_t) override {}
  uint32_t mtu() const override { return mtu_; }
  abi::Ip6Address address() const override { return address_; }
  bool trusted() const override { return false; }
  bool carries_references() const override { return false; }
  uint32_t segmentation_limit() const override;
  std::string StatisticsJson() const override;

 private:
  /// A frame that the core has borrowed: packets opened where their datagrams lie.
  struct Lent {
    static constexpr uint32_t kMostPieces = 64;
    std::array<iovec, kMostPieces> pieces;
    uint32_t count = 0;  ///< 0: not lent
  };
  /// A host name in a peer's Endpoint.
  struct Name {
    std::string host;  ///< empty: none, or an address
    uint16_t port = 0;
  };
  struct Control {
    wireguard::Endpoint to;
    std::vector<uint8_t> bytes;
  };

  // wg_open.cc
  Descriptor Bind(const WireguardOptions& options, const WireguardConfig& config);
  wireguard::MachineConfig ConfigureMachine(const WireguardOptions& options,
                                            WireguardConfig* config);
  wireguard::MachinePorts MakePorts(const WireguardOptions& options);
  void OpenKeyLog(const std::string& path);
  void WriteKeyLog(const wireguard::KeyLogEntry& entry);

  // wg_port.cc
  void LetGo() {
    socket_ = Descriptor();
    key_log_ = Descriptor();
  }
  SendResult SendSegments(const OutFrame& frame, const Segmenter* cut, size_t total,
                          wireguard::PeerId peer);
  bool SealNext(size_t length, wireguard::PeerId peer, wireguard::Time now, uint8_t* datagram);
  bool MakeRoom(uint32_t datagrams, size_t bytes);
  void SendBatch();
  void SendControl();
  void OnEvent(const wireguard::Event& event);
  bool TakePathErrors();
  void OnPathError(const PathError& error);
  void OnRefused(const DatagramsOut::Refused& refused);
  std::span<uint8_t> OpenNext();
  bool Accept(std::span<const uint8_t> packet);
  void Lend(std::span<uint8_t> first, InFrame* frame);
  void AskForNames();
  void RunTimers(uint64_t now_ns);
  wireguard::Time Tick();
  std::string TextOf(const wireguard::Endpoint& endpoint) const;
  std::string PeersJson() const;

  const bool offload_;
  const uint32_t mtu_;
  const uint32_t longest_;  ///< bytes of a packet that is taken
  const abi::Ip6Address address_;
  Reporter reporter_;
  SocketAddress local_;
  Descriptor socket_;
  DescriptorSleep sleep_;
  Descriptor key_log_;
  // Or the socket would stay bound when its owner has ended.
  const ForkWatch fork_{{.child = [this] { LetGo(); }}};
  std::atomic<bool> blocked_{false};  ///< the socket is full; read by Sleep without the lock
  std::atomic<bool> errors_{false};   ///< the socket keeps errors; written by Sleep
  std::atomic<uint64_t> next_timer_ns_{UINT64_MAX};  ///< likewise
  UdpFailures failures_;
  std::vector<Name> names_;  ///< of each peer
  size_t next_name_ = 0;     ///< whose turn it is to be asked for
  NameLookup lookup_;
  WireguardWords words_;
  SecretMemory secrets_;
  std::vector<Control> control_;  ///< what the machine has to send besides packets
  wireguard::Machine machine_;
  /// For the machine, which wants it never to go back. Read anew for each frame to be sent and each
  /// batch of datagrams.
  wireguard::Time now_;

  DatagramsOut out_;
  DatagramsIn in_;
  std::span<uint8_t> opened_;  ///< the packet of in_'s oldest datagram, if it has been opened
  /// Who asks may sleep next, and not come back for what a pause leaves. Sleep has no lock.
  std::atomic<bool> resting_{false};
  bool pause_ = false;  ///< the next Receive does nothing; so it must be called again
  std::vector<Lent> lent_;
  std::vector<uint32_t> free_lent_;

  struct Statistics {
    uint64_t frames_sent = 0, frames_received = 0, bytes_received = 0;
    uint64_t frames_received_unsegmented = 0;
    uint64_t busy = 0, no_route = 0, refused = 0, trains_given_up = 0;
    uint64_t control_dropped = 0;
    uint64_t path_errors = 0, not_ipv6 = 0, oversize = 0, names_moved = 0;
  } statistics_;
};

}  // namespace qpip::wire

// A relay of NBD over VCONN: what the tool sends is cut into NBD's messages, each of which is one
// of VCONN's; what comes back goes to the tool as it is.
#pragma once

#include <array>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "apps/nbd/relay.h"
#include "qpip/vconn.h"

namespace qpip::nbd {

class VconnRelay : public Relay {
 public:
  /// Takes over the socket. `nic` and `pd` must outlive the relay. `keepalive`: of QpOptions.
  /// Throws qpip::Error.
  VconnRelay(Nic& nic, ProtectionDomain& pd, FileDescriptor local,
             std::chrono::seconds keepalive = std::chrono::seconds(0));
  ~VconnRelay() override;

 private:
  std::unique_ptr<QueuePair> MakeQp() override;
  void RunUpstream() override;
  void RunDownstream() override;
  std::optional<std::string> WhyBroken() const override;

  /// Sends the whole messages at the front of a buffer, and what there is of a message that is
  /// longer than one of VCONN's. Returns the bytes taken; nullopt: sending has failed.
  std::optional<size_t> SendMessages(size_t index, std::span<const std::byte> bytes);
  /// Waits for the peer's window and for room. Returns false when sending has failed.
  bool Send(size_t index, std::span<const std::byte> request, std::span<const std::byte> data);
  bool AwaitSendBuffer(size_t index);
  /// Waits until something sent has been acknowledged, or more may be sent. `lock`: mutex_'s.
  void AwaitRoom(std::unique_lock<std::mutex>& lock);
  /// Hands over what has been sent; under mutex_. Each look takes part in running the NIC's core,
  /// in the way of the thread that waits for what is received: so only now and then, or when there
  /// is no room.
  void TakeSent();
  void TakeSentNowAndThen();
  void OnReceived(std::span<const WorkCompletion> completions);
  /// Moves a batch of messages to the socket. Returns false when the local tool is gone.
  bool WriteReceived();

  mutable std::mutex mutex_;       ///< of vconn_ and its messages: both threads use them
  std::condition_variable moved_;  ///< something has been received
  uint64_t batches_ = 0;           ///< so many times
  std::unique_ptr<Vconn> vconn_;
  Vconn::Ticket looked_at_ = 0;                     ///< Vconn::last at the latest TakeSent
  std::array<Vconn::Ticket, kSends> tickets_ = {};  ///< of the last send of each buffer
  bool downstream_over_ = false;                    ///< nothing is received any more
  size_t most_ = 0;        ///< bytes of a message to the server; upstream's, as are the next two
  bool any_sent_ = false;  ///< the client's flags have been
  uint64_t payload_left_ = 0;           ///< of the message that is being sent
  std::vector<VconnMessage> received_;  ///< on the way to the tool, downstream's
};

}  // namespace qpip::nbd

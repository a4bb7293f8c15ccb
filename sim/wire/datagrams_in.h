// Datagrams that arrive at a UDP socket, a batch to a system call.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "sim/wire/frame_pool.h"
#include "sim/wire/udp_peers.h"

namespace qpip::wire {

/// Takes datagrams from the kernel, in the order in which it has them. Several of one length from
/// one sender come as one message where the kernel puts them together (UDP_GRO). They stay in their
/// buffers as long as somebody holds these.
class DatagramsIn {
 public:
  struct Datagram {
    std::span<uint8_t> bytes;
    const SocketAddress* from;  ///< until the next Fill
    bool cut_off;               ///< it was longer than the buffers
  };

  /// `longest`: bytes of a datagram. `buffers`: as many may be held at a time, and one more batch.
  DatagramsIn(uint32_t longest, uint32_t buffers, bool trains);

  /// Asks for trains. Returns false, and goes without, when the kernel has none.
  bool Enable(int socket);
  /// Whether Peek has one without asking the kernel.
  bool available() const { return next_ != filled_; }
  /// Asks the kernel, none being available. Returns whether there is one now. When the last answer
  /// was all there was, or WillSleep has been called, this does nothing, once.
  bool Fill(int socket);
  /// The caller is about to wait until the socket has something, and will find out that way.
  void WillSleep() { drained_ = true; }
  /// Whether Fill has met an error since this was asked last.
  bool TakeFailure() { return std::exchange(failed_, false); }
  /// The oldest one.
  Datagram Peek() const;
  void Pass();

  /// The buffer in which a datagram lies stays as it is until it has been given back as often as it
  /// was held.
  void Hold(const void* bytes) { ++holds_[IndexOf(bytes)]; }
  void GiveBack(const void* bytes);

  struct Statistics {
    uint64_t calls = 0;
    uint64_t empty_calls = 0;  ///< that have brought nothing
    uint64_t trains = 0;       ///< messages of several datagrams
  };
  const Statistics& statistics() const { return statistics_; }

 private:
  static constexpr uint32_t kMaxBatch = 32;
  struct alignas(cmsghdr) Control {
    std::array<uint8_t, CMSG_SPACE(sizeof(int))> bytes;
  };

  uint32_t IndexOf(const void* bytes) const {
    return static_cast<uint32_t>(static_cast<size_t>(static_cast<const uint8_t*>(bytes) - start_) /
                                 pool_.bytes());
  }
  void Open(uint32_t slot);

  FramePool pool_;
  const uint8_t* const start_;
  const uint32_t batch_;  ///< messages to a system call
  bool trains_;
  bool failed_ = false;
  bool drained_ = false;         ///< the next Fill does nothing
  std::vector<uint32_t> holds_;  ///< of each buffer
  std::array<uint32_t, kMaxBatch> buffers_;
  std::array<iovec, kMaxBatch> pieces_;
  std::array<mmsghdr, kMaxBatch> messages_ = {};
  std::array<SocketAddress, kMaxBatch> from_;
  std::array<Control, kMaxBatch> controls_;
  // Messages [next_, filled_) are not passed; of the first, bytes from `at_` on, in datagrams of
  // `segment_size_`.
  uint32_t next_ = 0;
  uint32_t filled_ = 0;
  uint32_t at_ = 0;
  uint32_t segment_size_ = 0;
  Statistics statistics_;
};

}  // namespace qpip::wire

// Datagrams on their way out of a UDP socket, a batch to a system call.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "sim/wire/udp_peers.h"

namespace qpip::wire {

/// Gathers datagrams until they are sent. Those of one length to one destination (the last may be
/// shorter) are one message, which the kernel cuts (UDP_SEGMENT): it passes its stack once for up
/// to 64 of them. Where the kernel or a device refuses such a message its datagrams go one by one,
/// and so do all behind it if these are taken.
///
///     message  0                      1        2
///     datagram 0     1     2     3    4        5     6
///     pieces   h p   h p   h p   h p  h        h p   h p
///
/// Order is kept, so a reference to memory is a number: held until so many messages are sent.
class DatagramsOut {
 public:
  static constexpr uint32_t kDatagrams = 1536;       ///< a batch
  static constexpr uint32_t kMessages = kDatagrams;  ///< each may be one of its own
  static constexpr uint32_t kPieces = 4096;
  static constexpr uint32_t kMaxPieces = 64;       ///< of a datagram
  static constexpr uint32_t kTrainDatagrams = 64;  ///< UDP_MAX_SEGMENTS; newer kernels take more
  static constexpr uint32_t kTrainBytes = 65507;   ///< payload of an IPv4 datagram

  /// A datagram that the kernel would not take.
  struct Refused {
    int error;  ///< errno
    const SocketAddress& to;
    uint32_t length;
    std::span<const iovec> pieces;
  };
  struct Events {
    std::function<void(const Refused&)> refused;
    /// A call has failed. Was that on account of a datagram sent earlier, which the socket tells
    /// with whatever it is asked next? Then the call is made again.
    std::function<bool()> was_earlier;
    /// From now on datagrams go one by one.
    std::function<void(int error)> gave_up_trains;
  };

  /// `copied_bytes`: the batch's own memory (Take).
  DatagramsOut(size_t copied_bytes, bool trains, Events events);

  /// The socket is connected to `peer`: messages to it need not be addressed, and the kernel knows
  /// the way already.
  void SetConnected(const SocketAddress& peer) { connected_ = peer; }

  /// Whether so many more fit now.
  bool HasRoom(uint32_t datagrams, size_t pieces, size_t bytes) const;
  bool empty() const { return first_ == last_; }
  /// Of the present batch, sent or not.
  uint32_t bytes() const { return bytes_; }
  /// Memory of the batch's own until it is sent; HasRoom has said so.
  uint8_t* Take(size_t bytes);
  /// Of what was taken last, for no datagram.
  void GiveBack(size_t bytes) { memory_used_ -= bytes; }
  /// One more datagram, of pieces that stay as they are until it is sent: at least one byte, at
  /// most kMaxPieces. HasRoom has said so. Returns the number to hand to Pending.
  uint64_t Add(const SocketAddress& to, std::span<const iovec> pieces, uint32_t length);
  bool Pending(uint64_t number) const { return number > sent_; }
  /// Hands the batch to the kernel. Returns false when the socket is full: the rest waits.
  bool Send(int socket);

  struct Statistics {
    uint64_t datagrams = 0, bytes = 0, calls = 0;
    uint64_t trains = 0;        ///< messages that the kernel cut
    uint64_t train_errors = 0;  ///< messages whose datagrams went one by one
    uint64_t errors = 0;        ///< datagrams that were refused
  };
  const Statistics& statistics() const { return statistics_; }
  bool trains() const { return trains_; }

 private:
  struct Datagram {
    uint32_t first_piece;
    uint32_t length;
  };
  struct alignas(cmsghdr) Control {
    std::array<uint8_t, CMSG_SPACE(sizeof(uint16_t))> bytes;
  };
  struct Message {
    SocketAddress to;
    uint32_t first_datagram = 0;
    uint32_t count = 0;
    uint32_t bytes = 0;
    uint32_t segment_size = 0;  ///< length of all its datagrams but the last
    uint32_t gone = 0;          ///< datagrams that went, of one that goes one by one
    int refusal = 0;            ///< errno of the train; 0: not tried
    bool one_by_one = false;
    bool all_taken = true;  ///< of those that went
  };

  bool Extends(const Message& message, const SocketAddress& to, size_t pieces,
               uint32_t length) const;
  std::span<iovec> PiecesOf(uint32_t datagram);
  void Prepare(uint32_t index);
  void Address(const SocketAddress& to, msghdr* header) const;
  int Give(int socket, mmsghdr* messages, uint32_t count);
  bool SendWhole(int socket);
  bool SendOneByOne(int socket);
  void OnRefusal(Message& message, int error);
  void Tell(const Message& message, uint32_t datagram, int error);
  void Done(uint32_t messages);
  void GiveUpTrains(int error);

  const Events events_;
  bool trains_;
  std::optional<SocketAddress> connected_;
  std::unique_ptr<uint8_t[]> memory_;
  const size_t memory_bytes_;
  size_t memory_used_ = 0;
  std::unique_ptr<std::array<Message, kMessages>> messages_;
  std::unique_ptr<std::array<mmsghdr, kMessages>> headers_;
  std::unique_ptr<std::array<Control, kMessages>> controls_;
  std::unique_ptr<std::array<Datagram, kDatagrams>> datagrams_;
  std::unique_ptr<std::array<iovec, kPieces>> pieces_;
  uint32_t first_ = 0;  ///< messages [first_, last_) wait
  uint32_t last_ = 0;
  uint32_t datagram_count_ = 0;
  uint32_t piece_count_ = 0;
  uint32_t bytes_ = 0;
  uint64_t numbered_ = 0;  ///< messages begun
  uint64_t sent_ = 0;      ///< messages gone, in one way or another
  Statistics statistics_;
};

}  // namespace qpip::wire

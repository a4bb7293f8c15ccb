// One direction of a cable, with Myrinet-like flow control.
//
//   LinkTransmitter ===== rate, delay =====> LinkReceiver (a NIC or a switch port)
//         ^ queue                                 | input buffer
//         +----------- credits, delayed ----------+
//
// A frame starts when the line is idle and the receiver's input buffer has room for all of it
// (virtual cut-through); the room comes back as a credit when the frame has left that buffer. So a
// busy receiver holds back its senders, hop by hop, and nothing is ever dropped for want of room.
// Both ends may live in different processes: all that passes between them (frames, credits) takes
// the cable's delay.
#pragma once

#include <ns3/error-model.h>
#include <ns3/ptr.h>

#include <boost/smart_ptr/local_shared_ptr.hpp>
#include <cstdint>
#include <functional>
#include <memory>

#include "sim/ns3/model/fifo.h"
#include "sim/ns3/model/frame.h"

namespace qpip::sim {

/// The receiving end of one direction.
class LinkReceiver {
 public:
  virtual ~LinkReceiver() = default;
  /// Whether OnFrame is called when the head is in (a switch) rather than the tail (a NIC).
  virtual bool wants_head() const = 0;
  /// A frame arrives. `tail_ns`: when all of it is in, the present when !wants_head().
  virtual void OnFrame(FramePtr frame, uint64_t tail_ns) = 0;
};

/// Rates and delays of one direction.
struct LinkOptions {
  double per_byte_ps = 0;
  uint64_t delay_ns = 0;
  uint32_t overhead_bytes = 0;         ///< framing a packet
  uint64_t receiver_buffer_bytes = 0;  ///< input buffer at the other end
};

/// Whom a receiver tells that a frame has left its input buffer.
class CreditSink {
 public:
  virtual ~CreditSink() = default;
  /// Room for `bytes` more in the receiver's buffer, known to the sender from `at_ns` on. Times
  /// come in any order: frames that leave a switch through different ports overtake each other.
  virtual void ReturnCredit(uint32_t bytes, uint64_t at_ns) = 0;
  /// The cable's delay, which a credit takes too.
  virtual uint64_t delay_ns() const = 0;
  /// Bytes a frame takes up in the buffer.
  virtual uint32_t WireBytes(uint32_t frame_bytes) const = 0;
};

/// Takes frames to a receiver in another process.
class RemoteReceiver {
 public:
  virtual ~RemoteReceiver() = default;
  /// The frame's head arrives there at `head_ns`, its tail at `tail_ns`.
  virtual void SendFrame(FramePtr frame, uint64_t head_ns, uint64_t tail_ns) = 0;
};

/// The sending end of one direction.
class LinkTransmitter : public CreditSink {
 public:
  explicit LinkTransmitter(const LinkOptions& options);
  ~LinkTransmitter() override;
  LinkTransmitter(const LinkTransmitter&) = delete;
  LinkTransmitter& operator=(const LinkTransmitter&) = delete;

  /// `phase` tells apart what arrives at one receiver over different cables in the same nanosecond:
  /// arrivals are ordered by time, then phase, then sequence, wherever the sender runs. It is added
  /// to the time as picoseconds, and has an effect only where ns-3's resolution is that fine.
  void Connect(LinkReceiver* receiver, uint32_t phase) {
    receiver_ = receiver;
    phase_ = phase;
  }
  /// The receiver is in another process; both ends are told of by remote_link.h.
  void ConnectRemote(RemoteReceiver* remote) { remote_ = remote; }
  LinkReceiver* receiver() const { return receiver_; }

  /// Called when a frame starts on the line: it leaves the sender's buffer during [start, end).
  using OnStart = std::function<void(const Frame& frame, uint64_t start_ns, uint64_t end_ns)>;
  void set_on_start(OnStart on_start) { on_start_ = std::move(on_start); }

  /// Sends a frame, not before `earliest_ns`, whose tail is at hand by `tail_ns`. Frames leave in
  /// the order of the calls.
  void Send(FramePtr frame, uint64_t earliest_ns, uint64_t tail_ns);

  void ReturnCredit(uint32_t room, uint64_t at_ns) override;
  uint32_t WireBytes(uint32_t frame_bytes) const override {
    return frame_bytes + options_.overhead_bytes;
  }
  uint64_t delay_ns() const override { return options_.delay_ns; }

  size_t queued() const { return queue_.size(); }
  /// Bytes before a frame that would be sent at `at_ns`: of what has been given to Send, with its
  /// framing, all that will not have left by then.
  uint64_t BytesBefore(uint64_t at_ns) const;
  uint64_t free_at_ns() const { return free_at_ns_; }
  /// Frames that the error model takes arrive nowhere.
  void set_error_model(ns3::Ptr<ns3::ErrorModel> model) { error_model_ = model; }

  // Counters.
  uint64_t frames = 0;
  uint64_t bytes = 0;
  uint64_t busy_ns = 0;     ///< time frames were on the line
  uint64_t blocked_ns = 0;  ///< time a frame waited for credit while the line was idle
  uint64_t lost = 0;        ///< taken by the error model

 private:
  struct Waiting {
    FramePtr frame;
    uint64_t earliest_ns;
    uint64_t tail_ns;
  };
  struct Credit {
    uint64_t at_ns;
    uint32_t bytes;
  };
  void TryStart();
  void TakeCredits();
  void WaitForCredit();
  void Start(Waiting waiting, uint64_t start_ns);
  bool Lost(const Frame& frame);

  const LinkOptions options_;
  const boost::local_shared_ptr<LinkTransmitter*> self_;  ///< what events hold on to
  LinkReceiver* receiver_ = nullptr;
  RemoteReceiver* remote_ = nullptr;
  uint32_t phase_ = 0;
  OnStart on_start_;
  ns3::Ptr<ns3::ErrorModel> error_model_;
  Fifo<Waiting> queue_;
  Fifo<Credit> credits_;       ///< on their way, by time
  uint64_t queued_bytes_ = 0;  ///< of queue_
  uint64_t credit_bytes_;
  uint64_t free_at_ns_ = 0;
  uint64_t blocked_since_ns_ = 0;
  uint64_t wakes_at_ns_ = UINT64_MAX;  ///< for the next credit, by an event under way
  bool blocked_ = false;
};

}  // namespace qpip::sim

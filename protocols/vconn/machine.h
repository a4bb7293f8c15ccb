// VCONN's flow control: a window of messages, so that none comes to where no receive is posted.
//
// Before the connection opens, each side posts as many receives as its hello says. Both then use
// the smaller of the two numbers, the window w. Of the w receives of its peer a side fills
//
//     w - 1   with messages, each of which takes a credit;
//     1       with what takes none: its hello, then credits alone.
//
// A credit comes back when the application has given the message's buffer back and its receive is
// posted again: with the next message that goes the other way, or alone as soon as ceil(w / 2) are
// owed.
//
// Why nothing overruns: credits alone are at least ceil(w / 2), and there are only w - 1 in the
// world, so of two such messages the peer must have dealt with one: one receive is enough for them.
// Why nothing locks up: a side without credits has all w - 1 of them at its peer. What the
// application there has given back is owed, and w - 1 >= ceil(w / 2) are sent back alone, for which
// there always is a receive. An application may keep floor(w / 2) - 1 buffers for as long as it
// likes: then there still are ceil(w / 2) for the others.
//
// Pure: no I/O, no clock, no memory but its own. What the caller does: posts receives, sends what
// the calls return, hands over what arrives, in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "protocols/vconn/message.h"

namespace qpip::vconn {

/// ceil(window / 2): as many credits go alone.
constexpr uint16_t CreditsThatGoAlone(uint16_t window) {
  return static_cast<uint16_t>((window + 1) / 2);
}
/// floor(window / 2) - 1: buffers that an application may keep without stopping its peer.
constexpr uint16_t BuffersToKeep(uint16_t window) { return static_cast<uint16_t>(window / 2 - 1); }

enum class State : uint8_t {
  kOpening,  ///< one hello or both are still to come
  kOpen,     ///< messages may go both ways
  kCut,      ///< the peer has broken the protocol: see cut()
};

/// Whether a message may be sent now.
enum class Sendable : uint8_t {
  kYes,
  kNotOpen,   ///< the peer's hello has not come, or the connection was cut
  kNoCredit,  ///< the peer has no receive for it: after the next credits
  kTooLong,   ///< longer than the peer takes: never
};

/// What a message that has arrived is.
struct Arrival {
  Refusal refusal = Refusal::kNone;  ///< not kNone: the connection is cut
  bool deliver = false;  ///< for the application, which gives its buffer back by Return; else the
                         ///< caller posts the receive again, before it sends anything
  bool opened = false;   ///< the peer's hello: there is a window now
  uint16_t credits = 0;  ///< that came with it
  Header header = {};    ///< of what is for the application
};

/// One side of a connection.
class Machine {
 public:
  /// `own`: what this side takes, InRange.
  explicit Machine(const Limits& own);

  /// The hello, with which a connection begins. Once.
  void Hello(std::span<uint8_t, kHelloBytes> out);

  Sendable MaySend(uint64_t request_bytes, uint64_t data_bytes) const;
  /// Takes a credit, and returns the message's header, with all the credits owed. `header`: kind
  /// (one that CostsCredit), flags, lengths and cookie; MaySend has said kYes.
  Header Send(Header header);
  /// Whether credits are to go alone: ask after Return, and after a failure to post them.
  bool CreditDue() const { return owed_ >= CreditsThatGoAlone(window_) && state_ == State::kOpen; }
  /// A message of credits alone; CreditDue.
  Header SendCredits();

  /// `message`: all of it. The first refusal cuts the connection; what comes behind is refused for
  /// the same reason.
  Arrival Receive(std::span<const uint8_t> message);
  /// A message that was delivered has been given back, and its receive is posted again.
  void Return();
  /// Cuts the connection for what only the caller can see (kUnknownCookie).
  void Cut(Refusal refusal);

  State state() const { return state_; }
  Refusal refusal() const { return refusal_; }   ///< why it was cut; kNone: it was not
  uint16_t window() const { return window_; }    ///< as agreed; 0 before
  uint16_t credits() const { return credits_; }  ///< messages that may be sent now
  uint16_t held() const { return held_; }        ///< delivered and not given back
  uint16_t owed() const { return owed_; }        ///< given back, and the peer not told
  const Limits& own() const { return own_; }     ///< what this side takes
  /// Longest message to the peer, header and all; 0 before its hello.
  uint32_t peer_message_bytes() const { return peer_message_bytes_; }

 private:
  void CheckInvariants() const;
  Arrival Refuse(Refusal refusal);
  Arrival ReceiveHello(std::span<const uint8_t> message);
  void OpenIfBoth();

  Limits own_;
  State state_ = State::kOpening;
  Refusal refusal_ = Refusal::kNone;
  bool said_hello_ = false;
  uint16_t window_ = 0;
  uint32_t peer_message_bytes_ = 0;
  uint16_t credits_ = 0;
  uint16_t held_ = 0;
  uint16_t owed_ = 0;
};

}  // namespace qpip::vconn

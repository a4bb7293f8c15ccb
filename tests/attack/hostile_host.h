// A host of the attacker's own, with connections that behave as it likes.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "kinds.h"
#include "lan.h"

namespace qpip::attack {

/// One connection of a hostile host, from its side. It answers nothing by itself but the SYN's
/// acknowledgement.
struct Peer {
  uint16_t port = 0;        ///< here
  uint16_t their_port = 0;  ///< there
  bool established = false;
  std::chrono::steady_clock::time_point begin;
  tcp::SequenceNumber next;      ///< of what is sent next
  tcp::SequenceNumber expected;  ///< of what they send next
  uint32_t ts_echo = 0;          ///< their last timestamp
  uint32_t ts_value = 1;
  std::array<uint32_t, 4> own = {};  ///< what its kind remembers
};

struct Segment {
  tcp::Header header;
  std::vector<uint8_t> text;
};

class HostileHost {
 public:
  explicit HostileHost(Scene& scene);

  /// An ACK as an honest host would send it now; kinds change it and send it.
  tcp::Header Ack(Peer& peer) const;
  void Send(const tcp::Header& header, Bytes text = {});
  /// Text as an honest host would send it; `next` moves on.
  void SendText(Peer& peer, Bytes text);

  /// How connections of a kind behave.
  struct Manners {
    uint16_t their_port = kEchoPort;
    size_t connections = 32;  ///< at once; those that ended are followed by new ones
    std::function<void(HostileHost&, Peer&)> begin;                  ///< established
    std::function<void(HostileHost&, Peer&, const Segment&)> heard;  ///< a segment has arrived
    std::function<void(HostileHost&, Peer&)> act;                    ///< its turn: one packet
  };
  /// Does so until the time is over.
  void Run(const Manners& manners);

  Random& random() { return scene_.random; }

 private:
  void Connect(uint16_t their_port);
  void Listen(const Manners& manners);
  void AnswerSolicitation(Bytes packet);
  void OnSegment(const Manners& manners, const Segment& segment);

  Scene& scene_;
  ipv6::Address address_;
  Ear ear_;
  std::map<uint16_t, Peer> peers_;  // by port here
  uint16_t next_port_;
};

}  // namespace qpip::attack

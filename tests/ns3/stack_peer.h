// A program on ns-3's own Internet stack: a TCP socket that sends a pattern and checks the one that
// it receives.
#pragma once

#include <ns3/inet6-socket-address.h>
#include <ns3/node.h>
#include <ns3/socket.h>

#include <cstdint>

namespace qpip::sim::test {

/// Byte at a position of the pattern that travels in a direction (0 or 1).
uint8_t PatternByte(uint64_t position, int direction);

/// Sends `bytes` of pattern 1, receives until the peer closes, checks that it was pattern 0, and
/// closes its own side when it has sent everything.
class StackPeer {
 public:
  StackPeer(ns3::Ptr<ns3::Node> node, uint64_t bytes);

  void Listen(uint16_t port);
  void Connect(ns3::Ipv6Address address, uint16_t port);

  uint64_t received = 0;
  uint64_t wrong = 0;       ///< bytes that are not the pattern's
  bool refused = false;     ///< the connection was never there
  bool closed = false;      ///< by FIN in both directions
  bool failed = false;      ///< by RST or a time-out
  bool peer_ended = false;  ///< its FIN has come

 private:
  void Adopt(ns3::Ptr<ns3::Socket> socket);
  void Send(ns3::Ptr<ns3::Socket> socket);
  void Receive(ns3::Ptr<ns3::Socket> socket);
  void CloseWhenDone();
  void CloseWhenEmpty(uint64_t capacity);

  const ns3::Ptr<ns3::Node> node_;
  const uint64_t bytes_;
  uint64_t sent_ = 0;
  ns3::Ptr<ns3::Socket> listener_;
  ns3::Ptr<ns3::Socket> socket_;
  bool closing_ = false;
};

}  // namespace qpip::sim::test

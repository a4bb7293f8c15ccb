#include "stack_peer.h"

#include <ns3/packet.h>
#include <ns3/simulator.h>
#include <ns3/tcp-socket-factory.h>
#include <ns3/tcp-socket.h>
#include <ns3/uinteger.h>

#include <algorithm>
#include <vector>

namespace qpip::sim::test {

uint8_t PatternByte(uint64_t position, int direction) {
  return static_cast<uint8_t>(
      ((position + 1) * (direction == 0 ? 0x9e3779b97f4a7c15ull : 0xbf58476d1ce4e5b9ull)) >> 56);
}

StackPeer::StackPeer(ns3::Ptr<ns3::Node> node, uint64_t bytes) : node_(node), bytes_(bytes) {}

void StackPeer::Listen(uint16_t port) {
  listener_ = ns3::Socket::CreateSocket(node_, ns3::TcpSocketFactory::GetTypeId());
  listener_->Bind(ns3::Inet6SocketAddress(ns3::Ipv6Address::GetAny(), port));
  listener_->SetAcceptCallback(
      ns3::MakeNullCallback<bool, ns3::Ptr<ns3::Socket>, const ns3::Address&>(),
      ns3::Callback<void, ns3::Ptr<ns3::Socket>, const ns3::Address&>(
          [this](ns3::Ptr<ns3::Socket> socket, const ns3::Address&) {
            Adopt(socket);
            Send(socket);
          }));
  listener_->Listen();
}

void StackPeer::Connect(ns3::Ipv6Address address, uint16_t port) {
  const auto socket = ns3::Socket::CreateSocket(node_, ns3::TcpSocketFactory::GetTypeId());
  Adopt(socket);
  socket->Bind6();
  socket->SetConnectCallback(ns3::Callback<void, ns3::Ptr<ns3::Socket>>(
                                 [this](ns3::Ptr<ns3::Socket> connected) { Send(connected); }),
                             ns3::Callback<void, ns3::Ptr<ns3::Socket>>(
                                 [this](ns3::Ptr<ns3::Socket>) { refused = true; }));
  socket->Connect(ns3::Inet6SocketAddress(address, port));
}

void StackPeer::Adopt(ns3::Ptr<ns3::Socket> socket) {
  using Done = ns3::Callback<void, ns3::Ptr<ns3::Socket>>;
  socket_ = socket;
  socket->TraceConnectWithoutContext(
      "State", ns3::Callback<void, ns3::TcpSocket::TcpStates_t, ns3::TcpSocket::TcpStates_t>(
                   [this](ns3::TcpSocket::TcpStates_t before, ns3::TcpSocket::TcpStates_t now) {
                     closed = before == ns3::TcpSocket::LAST_ACK && now == ns3::TcpSocket::CLOSED;
                   }));
  socket->SetRecvCallback(Done([this](ns3::Ptr<ns3::Socket> from) { Receive(from); }));
  socket->SetSendCallback(ns3::Callback<void, ns3::Ptr<ns3::Socket>, uint32_t>(
      [this](ns3::Ptr<ns3::Socket> to, uint32_t) { Send(to); }));
  socket->SetCloseCallbacks(Done([this](ns3::Ptr<ns3::Socket>) {
                              peer_ended = true;
                              CloseWhenDone();
                            }),
                            Done([this](ns3::Ptr<ns3::Socket>) { failed = true; }));
}

void StackPeer::Send(ns3::Ptr<ns3::Socket> socket) {
  std::vector<uint8_t> bytes;
  while (sent_ < bytes_) {
    const auto room = std::min<uint64_t>({socket->GetTxAvailable(), bytes_ - sent_, 4096});
    if (room == 0) return;
    bytes.resize(room);
    for (uint64_t i = 0; i < room; ++i) bytes[i] = PatternByte(sent_ + i, 1);
    const int taken = socket->Send(bytes.data(), static_cast<uint32_t>(room), 0);
    if (taken <= 0) return;
    sent_ += static_cast<uint64_t>(taken);
  }
  CloseWhenDone();
}

void StackPeer::Receive(ns3::Ptr<ns3::Socket> socket) {
  while (const auto packet = socket->Recv()) {
    if (packet->GetSize() == 0) return;
    std::vector<uint8_t> bytes(packet->GetSize());
    packet->CopyData(bytes.data(), packet->GetSize());
    for (const uint8_t byte : bytes) wrong += byte != PatternByte(received++, 0) ? 1 : 0;
  }
}

void StackPeer::CloseWhenDone() {
  if (closing_ || sent_ < bytes_ || !peer_ended) return;
  // In LAST_ACK ns-3 3.37 takes any ACK for that of its FIN, and forgets data that were lost before
  // it: the FIN must come when everything else is acknowledged.
  ns3::UintegerValue capacity;
  socket_->GetAttribute("SndBufSize", capacity);
  closing_ = true;
  CloseWhenEmpty(capacity.Get());
}

/// Asked again and again: during recovery ns-3 does not call back for room.
void StackPeer::CloseWhenEmpty(uint64_t capacity) {
  if (socket_->GetTxAvailable() == capacity) {
    socket_->Close();
    return;
  }
  ns3::Simulator::Schedule(ns3::MilliSeconds(1), &StackPeer::CloseWhenEmpty, this, capacity);
}

}  // namespace qpip::sim::test

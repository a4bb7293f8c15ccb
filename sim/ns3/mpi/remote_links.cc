#include "sim/ns3/mpi/remote_links.h"

#include <ns3/boolean.h>
#include <ns3/global-value.h>
#include <ns3/mpi-interface.h>
#include <ns3/mpi-receiver.h>
#include <ns3/node-list.h>
#include <ns3/node.h>
#include <ns3/simple-channel.h>
#include <ns3/simple-net-device.h>
#include <ns3/simulator.h>
#include <ns3/string.h>

#include <algorithm>
#include <cstring>

#include "protocols/common/checksum.h"
#include "protocols/ipv6/header.h"
#include "sim/ns3/model/fabric.h"
#include "sim/ns3/model/virtual_time.h"

namespace qpip::sim {
namespace {

// ns-3 receives messages of at most 2000 bytes, its own framing included; longer frames are cut.
constexpr uint32_t kPieceBytes = 1400;

enum Kind : uint32_t { kFrame = 1, kCredit = 2 };

/// What every message begins with.
struct Message {
  uint32_t kind = 0;
  uint32_t cable = 0;
  // kCredit
  uint32_t credit_bytes = 0;
  // kFrame
  uint32_t header_bytes = 0;
  uint32_t payload_bytes = 0;
  uint32_t source = 0;
  uint32_t route_step = 0;
  uint32_t content = 0;       ///< 0: the payload is zeros, and not sent
  uint32_t piece_offset = 0;  ///< in header and payload, of the bytes that follow
  uint32_t piece_bytes = 0;
  uint64_t tail_ns = 0;
};
static_assert(std::is_trivially_copyable_v<Message>);

}  // namespace

// --- The run

DistributedRun::DistributedRun(int* argc, char*** argv) {
  ns3::GlobalValue::Bind("SimulatorImplementationType",
                         ns3::StringValue("ns3::DistributedSimulatorImpl"));
  ns3::MpiInterface::Enable(argc, argv);
}

DistributedRun::~DistributedRun() { ns3::MpiInterface::Disable(); }

uint32_t DistributedRun::rank() { return ns3::MpiInterface::GetSystemId(); }
uint32_t DistributedRun::ranks() { return ns3::MpiInterface::GetSize(); }

// --- Outgoing cables: frames out, credits in

class RemoteLinks::Outgoing : public RemoteReceiver {
 public:
  Outgoing(RemoteLinks* owner, uint32_t cable, LinkTransmitter* transmitter, uint32_t rank,
           uint32_t phase)
      : owner_(owner), cable_(cable), transmitter_(transmitter), rank_(rank), phase_(phase) {}

  void SendFrame(FramePtr frame, uint64_t head_ns, uint64_t tail_ns) override {
    Message head;
    head.kind = kFrame;
    head.cable = cable_;
    head.header_bytes = frame->header_length();
    head.payload_bytes = frame->length() - frame->header_length();
    head.source = frame->source;
    head.route_step = frame->route_step;
    head.tail_ns = tail_ns;
    const auto pieces = frame->payload();
    head.content = std::any_of(pieces.begin(), pieces.end(),
                               [](const Piece& piece) { return piece.data != nullptr; })
                       ? 1
                       : 0;
    std::vector<uint8_t> bytes(head.content != 0 ? frame->length() : frame->header_length());
    uint8_t* to = bytes.data();
    frame->ForEach(0, static_cast<uint32_t>(bytes.size()), [&to](const Piece& piece) {
      if (piece.data != nullptr) std::memcpy(to, piece.data, piece.length);
      to += piece.length;
    });
    const ns3::Time at = ns3::NanoSeconds(head_ns) + ns3::PicoSeconds(phase_);
    for (size_t offset = 0; offset < bytes.size(); offset += kPieceBytes) {
      head.piece_offset = static_cast<uint32_t>(offset);
      head.piece_bytes =
          static_cast<uint32_t>(std::min<size_t>(kPieceBytes, bytes.size() - offset));
      std::vector<uint8_t> message(sizeof(head) + head.piece_bytes);
      std::memcpy(message.data(), &head, sizeof(head));
      std::memcpy(message.data() + sizeof(head), bytes.data() + offset, head.piece_bytes);
      owner_->Send(message, rank_, at);
    }
  }

  void OnCredit(uint32_t bytes) { transmitter_->ReturnCredit(bytes, NowNs()); }

 private:
  RemoteLinks* owner_;
  const uint32_t cable_;
  LinkTransmitter* transmitter_;
  const uint32_t rank_;
  const uint32_t phase_;
};

// --- Incoming cables: frames in, credits out

/// A frame of which some pieces have arrived. Pieces may be delivered in any order.
struct RemoteLinks::Assembly {
  std::vector<uint8_t> bytes;
  size_t missing = 0;
};

class RemoteLinks::Incoming : public CreditSink {
 public:
  Incoming(RemoteLinks* owner, uint32_t cable, LinkReceiver* receiver, uint32_t rank,
           uint64_t delay_ns, uint32_t overhead_bytes)
      : owner_(owner),
        cable_(cable),
        receiver_(receiver),
        rank_(rank),
        delay_ns_(delay_ns),
        overhead_bytes_(overhead_bytes) {}

  void ReturnCredit(uint32_t bytes, uint64_t at_ns) override {
    Message message;
    message.kind = kCredit;
    message.cable = cable_;
    message.credit_bytes = bytes;
    std::vector<uint8_t> text(sizeof(message));
    std::memcpy(text.data(), &message, sizeof(message));
    owner_->Send(text, rank_, ns3::NanoSeconds(at_ns));
  }
  uint64_t delay_ns() const override { return delay_ns_; }
  uint32_t WireBytes(uint32_t frame_bytes) const override { return frame_bytes + overhead_bytes_; }

  LinkReceiver* receiver() const { return receiver_; }
  Assembly assembly;

 private:
  RemoteLinks* owner_;
  const uint32_t cable_;
  LinkReceiver* receiver_;
  const uint32_t rank_;
  const uint64_t delay_ns_;
  const uint32_t overhead_bytes_;
};

// --- All of them

RemoteLinks::RemoteLinks(QpipFabric* fabric) : fabric_(fabric) {
  for (uint32_t rank = 0; rank < DistributedRun::ranks(); ++rank) {
    auto node = ns3::CreateObject<ns3::Node>(rank);
    auto device = ns3::CreateObject<ns3::SimpleNetDevice>();
    node->AddDevice(device);
    auto receiver = ns3::CreateObject<ns3::MpiReceiver>();
    receiver->SetReceiveCallback(ns3::MakeCallback(&RemoteLinks::Receive, this));
    device->AggregateObject(receiver);
    gateway_nodes_.push_back(node->GetId());
  }
  ConnectGateways();
}

/// ns-3 looks for its look-ahead at the delays of point-to-point channels between nodes of
/// different ranks: this is what they are for, nothing is ever sent through them.
void RemoteLinks::ConnectGateways() {
  for (size_t a = 0; a < gateway_nodes_.size(); ++a) {
    for (size_t b = a + 1; b < gateway_nodes_.size(); ++b) {
      auto channel = ns3::CreateObject<ns3::SimpleChannel>();
      for (const size_t end : {a, b}) {
        auto device = ns3::CreateObject<ns3::SimpleNetDevice>();
        device->SetAttribute("PointToPointMode", ns3::BooleanValue(true));
        ns3::NodeList::GetNode(gateway_nodes_[end])->AddDevice(device);
        device->SetChannel(channel);
      }
      channels_.push_back(channel);
    }
  }
}

RemoteLinks::~RemoteLinks() = default;

void RemoteLinks::AddOutgoing(uint32_t cable, LinkTransmitter* transmitter, uint32_t rank,
                              uint32_t phase) {
  auto outgoing = std::make_unique<Outgoing>(this, cable, transmitter, rank, phase);
  transmitter->ConnectRemote(outgoing.get());
  outgoing_[cable] = std::move(outgoing);
}

CreditSink* RemoteLinks::AddIncoming(uint32_t cable, LinkReceiver* receiver, uint32_t rank,
                                     uint64_t delay_ns, uint32_t overhead_bytes) {
  look_ahead_ = std::min(look_ahead_, ns3::NanoSeconds(delay_ns));
  for (const auto& channel : channels_) {
    // Less a little: nothing then arrives at the very end of a window that is being run.
    channel->SetAttribute("Delay", ns3::TimeValue(look_ahead_ - ns3::PicoSeconds(1)));
  }
  auto incoming = std::make_unique<Incoming>(this, cable, receiver, rank, delay_ns, overhead_bytes);
  CreditSink* credits = incoming.get();
  incoming_[cable] = std::move(incoming);
  return credits;
}

void RemoteLinks::Send(const std::vector<uint8_t>& message, uint32_t rank, ns3::Time at) {
  ++messages_sent;
  bytes_sent += message.size();
  ns3::MpiInterface::SendPacket(
      ns3::Create<ns3::Packet>(message.data(), static_cast<uint32_t>(message.size())), at,
      gateway_nodes_[rank], 0);
}

void RemoteLinks::Receive(ns3::Ptr<ns3::Packet> packet) {
  std::vector<uint8_t> bytes(packet->GetSize());
  packet->CopyData(bytes.data(), static_cast<uint32_t>(bytes.size()));
  Message message;
  std::memcpy(&message, bytes.data(), sizeof(message));
  if (message.kind == kCredit) {
    outgoing_.at(message.cable)->OnCredit(message.credit_bytes);
  } else {
    ReceiveFrame(bytes.data(), bytes.size());
  }
}

void RemoteLinks::ReceiveFrame(const uint8_t* bytes, size_t) {
  Message message;
  std::memcpy(&message, bytes, sizeof(message));
  Incoming& incoming = *incoming_.at(message.cable);
  Assembly& assembly = incoming.assembly;
  const size_t total =
      message.header_bytes + (message.content != 0 ? message.payload_bytes : uint32_t{0});
  if (assembly.missing == 0) {
    assembly.bytes.resize(total);
    assembly.missing = total;
  }
  std::memcpy(assembly.bytes.data() + message.piece_offset, bytes + sizeof(message),
              message.piece_bytes);
  assembly.missing -= message.piece_bytes;
  if (assembly.missing != 0) return;

  FramePtr frame = Frame::Create();
  frame->SetHeader(assembly.bytes.data(), message.header_bytes);
  if (message.content != 0) {
    frame->SetOwnedPayload({assembly.bytes.data() + message.header_bytes, message.payload_bytes});
  } else if (message.payload_bytes != 0) {
    const Piece zeros{nullptr, message.payload_bytes};
    frame->SetPayload({&zeros, 1}, message.payload_bytes, 0);
  }
  frame->source = message.source;
  frame->route_step = message.route_step;
  frame->route = fabric_->Route(message.source, frame->header() + ipv6::offset::kDestination);
  incoming.receiver()->OnFrame(std::move(frame), message.tail_ns);
}

}  // namespace qpip::sim

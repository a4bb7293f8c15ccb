#include "sim/ns3/mpi/remote_links.h"

#include <ns3/nstime.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "protocols/ipv6/header.h"
#include "sim/ns3/model/virtual_time.h"
#include "sim/ns3/mpi/rank_exchange.h"

namespace qpip::sim {
namespace {

enum class Kind : uint32_t { kFrame = 1, kCredit = 2 };

/// What every message begins with; a frame's header and payload follow.
struct Message {
  Kind kind = Kind::kFrame;
  uint32_t cable = 0;
  uint64_t at_ns = 0;  ///< the frame's head arrives, or the credit counts
  // kCredit
  uint32_t credit_bytes = 0;
  // kFrame
  uint32_t phase = 0;  ///< see LinkTransmitter::Connect
  uint64_t tail_ns = 0;
  uint32_t header_bytes = 0;
  uint32_t payload_bytes = 0;
  uint32_t source = 0;
  uint32_t route_step = 0;
  uint16_t payload_sum = 0;
  bool content = false;  ///< else the payload is zeros, and does not follow
};
static_assert(std::is_trivially_copyable_v<Message>);

void Append(const Message& message, std::vector<uint8_t>* to) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&message);
  to->insert(to->end(), bytes, bytes + sizeof(message));
}

void AppendBytes(const Frame& frame, uint32_t count, std::vector<uint8_t>* to) {
  frame.ForEach(0, count, [to](const Piece& piece) {
    if (piece.data != nullptr) {
      to->insert(to->end(), piece.data, piece.data + piece.length);
    } else {
      to->resize(to->size() + piece.length);
    }
  });
}

FramePtr MakeFrame(const Message& message, const uint8_t* bytes) {
  FramePtr frame = Frame::Create();
  frame->SetHeader(bytes, message.header_bytes);
  if (message.content) {
    frame->SetOwnedPayload({bytes + message.header_bytes, message.payload_bytes},
                           message.payload_sum);
  } else if (message.payload_bytes != 0) {
    const Piece zeros{nullptr, message.payload_bytes};
    frame->SetPayload({&zeros, 1}, message.payload_bytes, 0);
  }
  frame->source = message.source;
  frame->route_step = message.route_step;
  return frame;
}

}  // namespace

// --- Outgoing cables: frames out, credits in

class RemoteLinks::Outgoing : public RemoteReceiver {
 public:
  Outgoing(RemoteLinks* owner, uint32_t cable, LinkTransmitter* transmitter, uint32_t rank,
           uint32_t phase)
      : owner_(owner), cable_(cable), transmitter_(transmitter), rank_(rank), phase_(phase) {}

  void SendFrame(FramePtr frame, uint64_t head_ns, uint64_t tail_ns) override {
    Message message;
    message.cable = cable_;
    message.at_ns = head_ns;
    message.phase = phase_;
    message.tail_ns = tail_ns;
    message.header_bytes = frame->header_length();
    message.payload_bytes = frame->length() - frame->header_length();
    message.source = frame->source;
    message.route_step = frame->route_step;
    message.payload_sum = frame->payload_sum();
    const auto pieces = frame->payload();
    message.content = std::any_of(pieces.begin(), pieces.end(),
                                  [](const Piece& piece) { return piece.data != nullptr; });
    std::vector<uint8_t>& to = owner_->Post(rank_, head_ns);
    Append(message, &to);
    AppendBytes(*frame, message.content ? frame->length() : frame->header_length(), &to);
  }

  LinkTransmitter* transmitter() const { return transmitter_; }

 private:
  RemoteLinks* owner_;
  const uint32_t cable_;
  LinkTransmitter* transmitter_;
  const uint32_t rank_;
  const uint32_t phase_;
};

// --- Incoming cables: frames in, credits out

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
    message.kind = Kind::kCredit;
    message.cable = cable_;
    message.at_ns = at_ns;
    message.credit_bytes = bytes;
    Append(message, &owner_->Post(rank_, at_ns));
  }
  uint64_t delay_ns() const override { return delay_ns_; }
  uint32_t WireBytes(uint32_t frame_bytes) const override { return frame_bytes + overhead_bytes_; }

  LinkReceiver* receiver() const { return receiver_; }

 private:
  RemoteLinks* owner_;
  const uint32_t cable_;
  LinkReceiver* receiver_;
  const uint32_t rank_;
  const uint64_t delay_ns_;
  const uint32_t overhead_bytes_;
};

// --- All of them

RemoteLinks::RemoteLinks(QpipFabric* fabric) : fabric_(fabric), ranks_(RankExchange::Get()) {
  if (ns3::Time::GetResolution() != ns3::Time::PS) {
    throw std::logic_error(
        "ranks need ns-3's clock in picoseconds: call "
        "ns3::Time::SetResolution(ns3::Time::PS) before anything else");
  }
  ranks_.set_receiver([this](std::span<const uint8_t> messages) { Receive(messages); });
}

RemoteLinks::~RemoteLinks() { ranks_.set_receiver(nullptr); }

void RemoteLinks::Bound(uint64_t delay_ns) {
  if (delay_ns == 0) {
    throw std::invalid_argument(
        "a cable between ranks without delay: let link.delay_us be at "
        "least 0.001");
  }
  ranks_.BoundLookAhead(delay_ns * 1000);
}

void RemoteLinks::AddOutgoing(uint32_t cable, LinkTransmitter* transmitter, uint32_t rank,
                              uint32_t phase) {
  Bound(transmitter->delay_ns());
  auto outgoing = std::make_unique<Outgoing>(this, cable, transmitter, rank, phase);
  transmitter->ConnectRemote(outgoing.get());
  outgoing_[cable] = std::move(outgoing);
}

CreditSink* RemoteLinks::AddIncoming(uint32_t cable, LinkReceiver* receiver, uint32_t rank,
                                     uint64_t delay_ns, uint32_t overhead_bytes) {
  Bound(delay_ns);
  auto incoming = std::make_unique<Incoming>(this, cable, receiver, rank, delay_ns, overhead_bytes);
  CreditSink* credits = incoming.get();
  incoming_[cable] = std::move(incoming);
  return credits;
}

std::vector<uint8_t>& RemoteLinks::Post(uint32_t rank, uint64_t at_ns) {
  ++messages_sent;
  return ranks_.Post(rank, at_ns * 1000);
}

void RemoteLinks::Receive(std::span<const uint8_t> messages) {
  while (!messages.empty()) {
    Message message;
    std::memcpy(&message, messages.data(), sizeof(message));
    messages = messages.subspan(sizeof(message));
    if (message.kind == Kind::kCredit) {
      outgoing_.at(message.cable)->transmitter()->ReturnCredit(message.credit_bytes, message.at_ns);
      continue;
    }
    FramePtr frame = MakeFrame(message, messages.data());
    messages = messages.subspan(message.header_bytes +
                                (message.content ? message.payload_bytes : uint32_t{0}));
    frame->route = fabric_->Route(message.source, frame->header() + ipv6::offset::kDestination);
    SchedulePhase(
        message.at_ns, message.phase,
        [receiver = incoming_.at(message.cable)->receiver(), frame = std::move(frame),
         tail = message.tail_ns]() mutable { receiver->OnFrame(std::move(frame), tail); });
  }
}

}  // namespace qpip::sim

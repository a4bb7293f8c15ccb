#include "protocols/vconn/machine.h"

#include "protocols/common/assert.h"

namespace qpip::vconn {

Machine::Machine(const Limits& own) : own_(own) { QPIP_ASSERT(InRange(own)); }

void Machine::CheckInvariants() const {
  QPIP_ASSERT(window_ == 0 || credits_ < window_);
  QPIP_ASSERT(window_ == 0 || held_ + owed_ < window_);
  QPIP_ASSERT(state_ != State::kOpen || (window_ >= kLeastWindow && said_hello_));
}

void Machine::Hello(std::span<uint8_t, kHelloBytes> out) {
  QPIP_ASSERT(!said_hello_);
  EmitHello(own_, out);
  said_hello_ = true;
  OpenIfBoth();
}

void Machine::OpenIfBoth() {
  if (state_ == State::kOpening && said_hello_ && window_ != 0) state_ = State::kOpen;
  CheckInvariants();
}

Sendable Machine::MaySend(uint64_t request_bytes, uint64_t data_bytes) const {
  if (state_ != State::kOpen) return Sendable::kNotOpen;
  // The sum does not wrap: each is compared alone first.
  const uint64_t most = peer_message_bytes_ - kHeaderBytes;
  if (request_bytes > most || data_bytes > most - request_bytes) return Sendable::kTooLong;
  return credits_ > 0 ? Sendable::kYes : Sendable::kNoCredit;
}

Header Machine::Send(Header header) {
  QPIP_ASSERT(CostsCredit(header.kind));
  QPIP_ASSERT(MaySend(header.request_bytes, header.data_bytes) == Sendable::kYes);
  --credits_;
  header.credits = owed_;
  owed_ = 0;
  CheckInvariants();
  return header;
}

Header Machine::SendCredits() {
  QPIP_ASSERT(CreditDue());
  Header header;
  header.kind = Kind::kCredit;
  header.credits = owed_;
  owed_ = 0;
  return header;
}

Arrival Machine::Refuse(Refusal refusal) {
  Cut(refusal);
  Arrival arrival;
  arrival.refusal = refusal_;
  return arrival;
}

void Machine::Cut(Refusal refusal) {
  if (state_ == State::kCut) return;
  state_ = State::kCut;
  refusal_ = refusal;
}

Arrival Machine::ReceiveHello(std::span<const uint8_t> message) {
  Limits peer;
  if (const Refusal refusal = ParseHello(message, &peer); refusal != Refusal::kNone) {
    return Refuse(refusal);
  }
  window_ = peer.window < own_.window ? peer.window : own_.window;
  credits_ = static_cast<uint16_t>(window_ - 1);
  peer_message_bytes_ = peer.message_bytes;
  OpenIfBoth();
  Arrival arrival;
  arrival.opened = true;
  return arrival;
}

Arrival Machine::Receive(std::span<const uint8_t> message) {
  if (state_ == State::kCut) return Refuse(refusal_);
  if (window_ == 0) return ReceiveHello(message);
  if (message.size() > own_.message_bytes) return Refuse(Refusal::kTooLong);
  Header header;
  if (const Refusal refusal = ParseHeader(message, message.size(), &header);
      refusal != Refusal::kNone) {
    return Refuse(refusal);
  }
  if (header.kind == Kind::kHello) return Refuse(Refusal::kSecondHello);
  // Who has not heard this side's hello does not know the window, nor has it any credits.
  if (!said_hello_) return Refuse(Refusal::kOverrun);
  if (header.credits > window_ - 1 - credits_) return Refuse(Refusal::kTooManyCredits);
  const bool costs = CostsCredit(header.kind);
  if (!costs && header.credits < CreditsThatGoAlone(window_)) return Refuse(Refusal::kEarlyCredit);
  if (costs && held_ + owed_ >= window_ - 1) return Refuse(Refusal::kOverrun);
  credits_ = static_cast<uint16_t>(credits_ + header.credits);
  if (costs) ++held_;
  CheckInvariants();
  Arrival arrival;
  arrival.deliver = costs;
  arrival.credits = header.credits;
  arrival.header = header;
  return arrival;
}

void Machine::Return() {
  QPIP_ASSERT(held_ > 0);
  --held_;
  ++owed_;
  CheckInvariants();
}

}  // namespace qpip::vconn

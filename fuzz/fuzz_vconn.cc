// VCONN's decoder and machine: any messages, some near what is awaited, in any order with what the
// application does. What is delivered fits the window; a refusal changes nothing but that it is
// over.
#include <array>

#include "property.h"
#include "protocols/vconn/machine.h"
#include "protocols/vconn/pending.h"
#include "script.h"

namespace {

using namespace qpip::vconn;

std::vector<uint8_t> MakeMessage(const Machine& machine, qpip::fuzz::Script& script) {
  const uint8_t choice = script.Byte();
  if ((choice & 0xf0) == 0xf0) return script.Bytes(script.Byte());
  Header header;
  header.kind = static_cast<Kind>((choice & 7) == 0 ? script.Byte() : choice & 7);
  header.flags = (choice & 0x08) != 0 ? script.Byte() : 0;
  header.credits = (choice & 0x10) != 0 ? script.Byte() : 0;
  header.request_bytes = script.Byte() % 48;
  header.data_bytes = script.Byte() % 48;
  header.cookie = script.Byte();
  if (header.kind == Kind::kHello) {
    std::vector<uint8_t> hello(kHelloBytes);
    EmitHello({static_cast<uint16_t>(script.Word() % 1100), script.Word()},
              std::span(hello).first<kHelloBytes>());
    return hello;
  }
  if (header.kind == Kind::kCredit && (choice & 0x20) != 0) {
    header = {Kind::kCredit, 0, CreditsThatGoAlone(machine.window()), 0, 0, 0};
  }
  std::vector<uint8_t> message(MessageBytes(header));
  EmitHeader(header, std::span(message).first<kHeaderBytes>());
  if ((choice & 0xe0) == 0xc0) message.resize(script.Byte() % (message.size() + 1));
  return message;
}

void CheckArrival(const Machine& machine, const Arrival& arrival,
                  const std::vector<uint8_t>& message, uint16_t credits_before) {
  QPIP_FUZZ_CHECK(std::strcmp(RefusalName(arrival.refusal), "unknown") != 0);
  QPIP_FUZZ_CHECK((arrival.refusal != Refusal::kNone) == (machine.state() == State::kCut));
  QPIP_FUZZ_CHECK(machine.refusal() == arrival.refusal);
  if (arrival.refusal != Refusal::kNone) {
    QPIP_FUZZ_CHECK(!arrival.deliver && !arrival.opened && machine.credits() == credits_before);
    return;
  }
  if (arrival.opened) return;
  QPIP_FUZZ_CHECK(MessageBytes(arrival.header) == message.size());
  QPIP_FUZZ_CHECK(arrival.deliver == CostsCredit(arrival.header.kind));
  QPIP_FUZZ_CHECK(machine.credits() == credits_before + arrival.credits);
  std::array<uint8_t, kHeaderBytes> again;
  EmitHeader(arrival.header, again);
  QPIP_FUZZ_CHECK(qpip::fuzz::SameBytes(again, std::span(message).first(kHeaderBytes)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  qpip::fuzz::Script script(data, size);
  Limits own{static_cast<uint16_t>(kLeastWindow + script.Byte() % 16), 64 + script.Byte() % 64u};
  Machine machine(own);
  std::array<PendingRequest, 4> slots;
  PendingRequests pending(slots);
  bool said_hello = false;
  while (!script.done()) {
    const uint8_t event = script.Byte();
    const uint16_t credits_before = machine.credits();
    if (event < 32 && !said_hello) {
      std::array<uint8_t, kHelloBytes> hello;
      machine.Hello(hello);
      said_hello = true;
    } else if (event < 64 && machine.held() > 0) {
      machine.Return();
    } else if (event < 96 && machine.CreditDue()) {
      QPIP_FUZZ_CHECK(machine.SendCredits().credits >= CreditsThatGoAlone(machine.window()));
    } else if (event < 128 && machine.MaySend(event, event) == Sendable::kYes) {
      if (!pending.full()) (void)pending.Add(event);
      (void)machine.Send({Kind::kRequest, 0, 0, event, event, 0});
      QPIP_FUZZ_CHECK(machine.owed() == 0 && machine.credits() + 1 == credits_before);
    } else {
      const std::vector<uint8_t> message = qpip::fuzz::Exact(MakeMessage(machine, script));
      const bool was_cut = machine.state() == State::kCut;
      const Arrival arrival = machine.Receive(message);
      CheckArrival(machine, arrival, message, credits_before);
      QPIP_FUZZ_CHECK(!was_cut || arrival.refusal != Refusal::kNone);
      uint64_t context = 0;
      const size_t waiting = pending.waiting();
      const bool last = (arrival.header.flags & kMore) == 0;
      if (pending.Match(arrival.header.cookie, last, &context)) {
        QPIP_FUZZ_CHECK(pending.waiting() == waiting - (last ? 1 : 0));
      }
    }
    QPIP_FUZZ_CHECK(machine.window() == 0 || machine.held() + machine.owed() < machine.window());
  }
  return 0;
}

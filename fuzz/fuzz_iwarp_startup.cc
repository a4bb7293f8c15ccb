// The MPA set-up machine: two ends against each other with any wishes, and frames that are changed
// on their way. Each ends; where both are operational they agree.
#include "property.h"
#include "protocols/iwarp/startup.h"
#include "script.h"

namespace {

using namespace qpip::iwarp;

StartupOptions AnyOptions(qpip::fuzz::Script& script) {
  const uint8_t bits = script.Byte();
  StartupOptions options;
  options.enhanced = (bits & 1) != 0;
  options.markers = (bits & 2) != 0;
  options.crc = (bits & 4) != 0;
  options.peer_to_peer = (bits & 8) != 0;
  options.ready = script.Byte() & 7;
  options.ird = (bits & 16) != 0 ? kNotNegotiated : script.Byte();
  options.ord = (bits & 32) != 0 ? kNotNegotiated : script.Byte();
  options.most_ird = script.Byte();
  options.least_ord = (bits & 64) != 0 ? script.Byte() : 0;
  return options;
}

std::vector<uint8_t> Emitted(const StartupFrame& frame, qpip::fuzz::Script& script, bool* changed) {
  std::vector<uint8_t> out(StartupBytes(frame));
  EmitStartup(frame, out);
  if ((script.Byte() & 3) == 3) {
    out[script.Word() % out.size()] ^= script.Byte();
    if ((script.Byte() & 1) != 0) out.resize(script.Word() % (out.size() + 8));
    *changed = true;
  }
  return out;
}

/// All of `bytes`, a part first: the part decides nothing that the whole does not.
StartupEvent Feed(Startup& end, const std::vector<uint8_t>& bytes, size_t part) {
  if (part < bytes.size()) {
    Startup copy = end;
    const StartupEvent event = OnStartupBytes(copy, std::span(bytes).first(part));
    if (event.kind == StartupEvent::Kind::kNone) QPIP_FUZZ_CHECK(event.needed > part);
  }
  return OnStartupBytes(end, bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  qpip::fuzz::Script script(data, size);
  const StartupOptions active_options = AnyOptions(script);
  const StartupOptions passive_options = AnyOptions(script);
  const std::vector<uint8_t> private_data = script.Bytes(script.Byte());
  bool changed = false;
  Startup active;
  Startup passive;
  const std::vector<uint8_t> request =
      Emitted(BeginInitiator(active, active_options, private_data, 1), script, &changed);
  BeginResponder(passive, passive_options, 1);
  if (Feed(passive, request, script.Byte()).kind == StartupEvent::Kind::kRequest) {
    const StartupFrame frame = (script.Byte() & 15) == 15
                                   ? Reject(passive, private_data)
                                   : Accept(passive, passive_options, private_data);
    const std::vector<uint8_t> reply = Emitted(frame, script, &changed);
    if (Feed(active, reply, script.Byte()).kind == StartupEvent::Kind::kAccepted && !changed) {
      QPIP_FUZZ_CHECK(passive.state == StartupState::kAwaitFirstFpdu);
      const StartupAgreement& a = active.agreement;
      const StartupAgreement& b = passive.agreement;
      QPIP_FUZZ_CHECK(a.crc == b.crc && a.send_markers == b.receive_markers);
      QPIP_FUZZ_CHECK(a.receive_markers == b.send_markers && a.peer_to_peer == b.peer_to_peer);
      if (a.enhanced && a.ird != kNotNegotiated && b.ord != kNotNegotiated) {
        QPIP_FUZZ_CHECK(b.ord <= a.ird);
      }
      if (a.enhanced && a.ord != kNotNegotiated && b.ird != kNotNegotiated) {
        QPIP_FUZZ_CHECK(a.ord <= b.ird);
      }
    }
  }
  if (active.state == StartupState::kSendReady) OnReadySent(active);
  OnFirstFpdu(passive);
  for (Startup* end : {&active, &passive}) {
    OnStartupTimer(*end, ~uint64_t{0});
    const bool ended = end->state == StartupState::kOperational ||
                       end->state == StartupState::kRejected || end->state == StartupState::kFailed;
    QPIP_FUZZ_CHECK(ended && StartupDeadline(*end) == 0);
  }
  return 0;
}

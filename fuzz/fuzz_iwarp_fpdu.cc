// The FPDU receiver: any stream, cut anywhere. However it is cut the same ULPDUs come out, or the
// same error; nothing of an FPDU that a CRC was agreed for comes out before its end.
#include "property.h"
#include "protocols/iwarp/crc32c.h"
#include "protocols/iwarp/fpdu_receiver.h"
#include "script.h"

namespace {

using namespace qpip::iwarp;

struct Outcome {
  std::vector<std::vector<uint8_t>> ulpdus;
  FpduError error = FpduError::kNone;
};

/// Feeds `stream` in pieces of `piece` bytes, each in memory of its own.
Outcome Receive(const std::vector<uint8_t>& stream, bool markers, bool crc, size_t piece) {
  FpduReceiver receiver = MakeFpduReceiver(markers, crc);
  Outcome outcome;
  std::vector<uint8_t> kept;
  std::vector<uint8_t> ulpdu;
  for (size_t at = 0; at < stream.size() && receiver.error == FpduError::kNone;) {
    const size_t now = std::min(piece, stream.size() - at);
    kept.insert(kept.end(), stream.begin() + static_cast<std::ptrdiff_t>(at),
                stream.begin() + static_cast<std::ptrdiff_t>(at + now));
    at += now;
    const std::vector<uint8_t> bytes = qpip::fuzz::Exact(kept);
    size_t taken = 0;
    for (bool more = true; more;) {
      const FpduStep step = StepFpdu(receiver, std::span(bytes).subspan(taken));
      QPIP_FUZZ_CHECK(step.consumed <= bytes.size() - taken);
      taken += step.consumed;
      switch (step.kind) {
        case FpduStep::Kind::kText:
          QPIP_FUZZ_CHECK(step.offset == ulpdu.size() && !step.text.empty());
          QPIP_FUZZ_CHECK(step.offset + step.text.size() <= step.ulpdu_length);
          ulpdu.insert(ulpdu.end(), step.text.begin(), step.text.end());
          break;
        case FpduStep::Kind::kEnd:
          QPIP_FUZZ_CHECK(step.ulpdu_length == ulpdu.size());
          outcome.ulpdus.push_back(std::move(ulpdu));
          ulpdu.clear();
          break;
        case FpduStep::Kind::kHold:
          QPIP_FUZZ_CHECK(crc && step.consumed == 0 && step.needed > bytes.size() - taken);
          more = false;
          break;
        case FpduStep::Kind::kBad:
          QPIP_FUZZ_CHECK(receiver.error != FpduError::kNone);
          more = false;
          break;
        case FpduStep::Kind::kNothing:
          QPIP_FUZZ_CHECK(taken == bytes.size());
          more = false;
          break;
      }
    }
    QPIP_FUZZ_CHECK(!crc || ulpdu.empty());
    kept.erase(kept.begin(), kept.begin() + static_cast<std::ptrdiff_t>(taken));
  }
  outcome.error = receiver.error;
  QPIP_FUZZ_CHECK(std::strcmp(FpduErrorName(outcome.error), "unknown") != 0);
  return outcome;
}

/// Puts right CRCs and markers into what would be FPDUs, which nobody guesses, but for those that
/// `spare` names.
void Repair(std::vector<uint8_t>& stream, bool markers, uint32_t spare) {
  Fpdu fpdu{0, 0, markers};
  for (uint32_t number = 0;; ++number) {
    uint32_t sum = 0;
    for (uint32_t at = 0;;) {
      PartAt part = FindPart(fpdu, at);
      const size_t place = size_t{fpdu.start} + at;
      if (place + part.length > stream.size()) return;
      uint8_t* p = &stream[place];
      if (part.part == FpduPart::kLength) {
        p[0] = 0;  // short ones: the input is
        fpdu.ulpdu_length = p[1];
      } else if (part.part == FpduPart::kMarker && (spare >> (number & 31) & 1) == 0) {
        p[2] = static_cast<uint8_t>(part.pointer >> 8);
        p[3] = static_cast<uint8_t>(part.pointer);
      } else if (part.part == FpduPart::kCrc && (spare >> (number + 16 & 31) & 1) == 0) {
        StoreCrc(p, sum);
      }
      sum = Crc32c({p, part.length}, sum);
      at += part.length;
      if (part.part == FpduPart::kCrc) {
        fpdu = {fpdu.start + at, 0, markers};
        break;
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  qpip::fuzz::Script script(data, size);
  const uint8_t choice = script.Byte();
  const bool markers = (choice & 1) != 0;
  const bool crc = (choice & 2) != 0;
  const size_t piece = 1 + script.Byte();
  const uint32_t spare = script.Word() & script.Word();
  std::vector<uint8_t> stream = script.Bytes(4096);
  if ((choice & 4) != 0) Repair(stream, markers, spare);
  const Outcome whole = Receive(stream, markers, crc, stream.size() + 1);
  const Outcome cut = Receive(stream, markers, crc, piece);
  QPIP_FUZZ_CHECK(whole.ulpdus == cut.ulpdus && whole.error == cut.error);
  if (crc && whole.error == FpduError::kNone) {
    // What needs no CRC gives the same where it is right.
    const Outcome without = Receive(stream, markers, false, piece);
    QPIP_FUZZ_CHECK(without.ulpdus.size() >= whole.ulpdus.size());
    for (size_t i = 0; i < whole.ulpdus.size(); ++i) {
      QPIP_FUZZ_CHECK(without.ulpdus[i] == whole.ulpdus[i]);
    }
  }
  return 0;
}

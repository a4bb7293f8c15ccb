#include "protocols/iwarp/fpdu_receiver.h"

#include <cstring>

#include "protocols/common/assert.h"
#include "protocols/common/byte_order.h"
#include "protocols/iwarp/crc32c.h"

namespace qpip::iwarp {
namespace {

/// The receivers' side of 4.2: the lowest two bits count as zero.
constexpr uint32_t kPointerMask = 0xfffcu;

FpduError Fail(FpduReceiver& receiver, FpduError error) {
  receiver.error = error;
  return error;
}

/// A length field, marker or CRC is complete in `gathered`.
FpduError Judge(FpduReceiver& receiver, const PartAt& part) {
  const uint8_t* bytes = receiver.gathered;
  switch (part.part) {
    case FpduPart::kLength:
      receiver.fpdu.ulpdu_length = LoadBe16(bytes);
      receiver.length_known = true;
      if (receiver.fpdu.ulpdu_length > receiver.most) return Fail(receiver, FpduError::kTooLong);
      return FpduError::kNone;
    case FpduPart::kMarker:
      if ((LoadBe16(bytes + 2) & kPointerMask) != part.pointer) {
        return Fail(receiver, FpduError::kBadMarker);
      }
      return FpduError::kNone;
    case FpduPart::kCrc:
      if (receiver.check_crc && !receiver.checked && LoadCrc(bytes) != receiver.crc) {
        return Fail(receiver, FpduError::kBadCrc);
      }
      return FpduError::kNone;
    case FpduPart::kUlpdu:
    case FpduPart::kPad:
      break;
  }
  return FpduError::kNone;
}

/// Goes on by `length` bytes, and to the next FPDU where this one ends.
void Advance(FpduReceiver& receiver, uint32_t length) {
  receiver.at += length;
  if (!receiver.length_known || receiver.at != FpduBytes(receiver.fpdu)) return;
  receiver.fpdu.start += receiver.at;
  receiver.fpdu.ulpdu_length = 0;
  receiver.at = 0;
  receiver.length_known = false;
  receiver.checked = false;
  receiver.crc = 0;
}

/// Whether `bytes`, the beginning of an FPDU, hold all of it and it is good. Takes none of them.
FpduStep::Kind Examine(FpduReceiver& receiver, std::span<const uint8_t> bytes, size_t* needed) {
  FpduReceiver scout = receiver;
  FpduError found = FpduError::kNone;
  for (size_t taken = 0; taken == 0 || !BetweenFpdus(scout);) {
    const PartAt part = NextPart(scout);
    *needed = scout.length_known ? FpduBytes(scout.fpdu) : taken + part.length;
    if (bytes.size() < *needed) return FpduStep::Kind::kHold;
    const FpduError error = TakePart(scout, part, bytes.subspan(taken, part.length));
    taken += part.length;
    if (error == FpduError::kNone) continue;
    found = error;
    if (error != FpduError::kBadMarker) break;
    scout.error = FpduError::kNone;  // section 8: a marker is wrong only where the CRC is right
  }
  if (found == FpduError::kNone) return FpduStep::Kind::kEnd;
  Fail(receiver, found);
  return FpduStep::Kind::kBad;
}

}  // namespace

const char* FpduErrorName(FpduError error) {
  switch (error) {
    case FpduError::kNone:
      return "none";
    case FpduError::kTooLong:
      return "too_long";
    case FpduError::kBadMarker:
      return "bad_marker";
    case FpduError::kBadCrc:
      return "bad_crc";
  }
  return "unknown";
}

FpduReceiver MakeFpduReceiver(bool markers, bool check_crc) {
  FpduReceiver receiver;
  receiver.markers = markers;
  receiver.fpdu.markers = markers;
  receiver.check_crc = check_crc;
  return receiver;
}

PartAt NextPart(const FpduReceiver& receiver) {
  // Until the length is known, all that can come is a marker and the length itself.
  return FindPart(receiver.fpdu, receiver.at);
}

FpduError TakePart(FpduReceiver& receiver, const PartAt& part, std::span<const uint8_t> bytes) {
  QPIP_ASSERT(bytes.size() <= part.length && receiver.error == FpduError::kNone);
  const uint32_t length = static_cast<uint32_t>(bytes.size());
  if (receiver.check_crc && !receiver.checked && part.part != FpduPart::kCrc) {
    receiver.crc = Crc32c(bytes, receiver.crc);
  }
  FpduError error = FpduError::kNone;
  if (part.part != FpduPart::kUlpdu && part.part != FpduPart::kPad) {
    std::memcpy(receiver.gathered + part.offset, bytes.data(), length);
    if (length == part.length) error = Judge(receiver, part);
  }
  Advance(receiver, length);
  return error;
}

void TakeSummed(FpduReceiver& receiver, uint32_t length, uint32_t crc) {
  receiver.crc = crc;
  Advance(receiver, length);
}

FpduStep StepFpdu(FpduReceiver& receiver, std::span<const uint8_t> bytes) {
  FpduStep step;
  step.kind = FpduStep::Kind::kBad;
  if (receiver.error != FpduError::kNone) return step;
  if (receiver.check_crc && BetweenFpdus(receiver) && !receiver.checked && !bytes.empty()) {
    step.kind = Examine(receiver, bytes, &step.needed);
    if (step.kind != FpduStep::Kind::kEnd) return step;
    receiver.checked = true;
  }
  while (step.consumed < bytes.size()) {
    const PartAt part = NextPart(receiver);
    const size_t left = bytes.size() - step.consumed;
    const std::span<const uint8_t> taken =
        bytes.subspan(step.consumed, left < part.length ? left : part.length);
    step.ulpdu_length = receiver.fpdu.ulpdu_length;
    if (TakePart(receiver, part, taken) != FpduError::kNone) {
      step.kind = FpduStep::Kind::kBad;
      return step;
    }
    step.consumed += taken.size();
    if (part.part == FpduPart::kUlpdu) {
      step.kind = FpduStep::Kind::kText;
      step.text = taken;
      step.offset = part.offset;
      return step;
    }
    if (BetweenFpdus(receiver)) {
      step.kind = FpduStep::Kind::kEnd;
      return step;
    }
  }
  step.kind = FpduStep::Kind::kNothing;
  return step;
}

}  // namespace qpip::iwarp

#include "protocols/iwarp/fpdu.h"

namespace qpip::iwarp {
namespace {

constexpr uint32_t kBetweenMarkers = kMarkerInterval - kMarkerBytes;

/// Bytes from the FPDU's start to the first place where a marker may be.
constexpr uint32_t ToFirstMarker(uint32_t start) { return (0u - start) & (kMarkerInterval - 1); }

/// A place in the FPDU that is no marker's: which part it is of.
PartAt FindContent(uint32_t ulpdu_length, uint32_t at) {
  if (at < kLengthBytes) return {FpduPart::kLength, at, kLengthBytes - at};
  at -= kLengthBytes;
  if (at < ulpdu_length) return {FpduPart::kUlpdu, at, ulpdu_length - at};
  at -= ulpdu_length;
  const uint32_t pad = PadBytes(ulpdu_length);
  if (at < pad) return {FpduPart::kPad, at, pad - at};
  return {FpduPart::kCrc, at - pad, 4 - (at - pad)};
}

}  // namespace

uint64_t MarkersBefore(uint32_t start, uint64_t content) {
  const uint32_t first = ToFirstMarker(start);
  // One that stands behind them is not before any of them: it is the next FPDU's.
  return content <= first ? 0 : 1 + (content - first - 1) / kBetweenMarkers;
}

uint64_t ContentBefore(uint32_t start, uint64_t at) {
  const uint32_t first = ToFirstMarker(start);
  if (at < first) return at;
  const uint64_t passed = (at - first) / kMarkerInterval;
  const uint32_t behind = static_cast<uint32_t>((at - first) % kMarkerInterval);
  return first + passed * kBetweenMarkers + (behind < kMarkerBytes ? 0 : behind - kMarkerBytes);
}

uint32_t MarkerCount(const Fpdu& fpdu) {
  if (!fpdu.markers) return 0;
  return static_cast<uint32_t>(MarkersBefore(fpdu.start, ContentBytes(fpdu.ulpdu_length)));
}

uint32_t FpduBytes(const Fpdu& fpdu) {
  return ContentBytes(fpdu.ulpdu_length) + kMarkerBytes * MarkerCount(fpdu);
}

uint32_t Mulpdu(uint32_t emss, bool markers) {
  const uint32_t marker_bytes = markers ? kMarkerBytes * ((emss + 511) / kMarkerInterval) : 0;
  const uint32_t overhead = 6 + marker_bytes + (emss & 3u);
  const uint32_t mulpdu = emss > overhead ? emss - overhead : 0;
  if (mulpdu < kMinMulpdu) return kMinMulpdu;
  return mulpdu < kMaxMulpdu ? mulpdu : kMaxMulpdu;
}

PartAt FindPart(const Fpdu& fpdu, uint32_t at) {
  if (!fpdu.markers) return FindContent(fpdu.ulpdu_length, at);
  const uint32_t first = ToFirstMarker(fpdu.start);
  uint32_t content = at;
  uint32_t to_marker = first - at;
  if (at >= first) {
    const uint32_t passed = (at - first) / kMarkerInterval;
    const uint32_t behind = (at - first) % kMarkerInterval;
    if (behind < kMarkerBytes) {
      // From the length field, which a marker at the very start stands before.
      const uint32_t marker = at - behind;
      const uint32_t pointer = marker == 0 ? 0 : marker - (first == 0 ? kMarkerBytes : 0);
      return {FpduPart::kMarker, behind, kMarkerBytes - behind, pointer};
    }
    content = first + passed * kBetweenMarkers + behind - kMarkerBytes;
    to_marker = kMarkerInterval - behind;
  }
  PartAt part = FindContent(fpdu.ulpdu_length, content);
  if (part.length > to_marker) part.length = to_marker;
  return part;
}

}  // namespace qpip::iwarp

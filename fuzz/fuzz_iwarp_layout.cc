// The layout of messages: any message, from any place of the stream. Its segments follow each
// other, carry all of it once, and any place that is asked for is where it was.
#include "property.h"
#include "protocols/iwarp/message_layout.h"
#include "script.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace qpip::iwarp;
  qpip::fuzz::Script script(data, size);
  Message message;
  message.opcode = static_cast<Opcode>(script.Byte() % 12);
  message.length = static_cast<uint32_t>(script.Word()) << (script.Byte() % 17) | script.Byte();
  const bool markers = (script.Byte() & 1) != 0;
  const uint32_t mulpdu = kMinMulpdu + script.Word() % (kMaxMulpdu - kMinMulpdu + 1);
  const uint32_t start = (static_cast<uint32_t>(script.Word()) << 16 | script.Word()) & ~3u;
  const MessageLayout layout = LayOut(message, start, mulpdu, markers);
  const uint64_t total = StreamBytes(layout);
  const uint32_t count = SegmentCount(layout);

  // The first segments, one by one.
  uint64_t at = 0;
  uint32_t offset = 0;
  for (uint32_t index = 0; index < count && index < 100; ++index) {
    const SegmentAt segment = FindSegment(layout, at);
    QPIP_FUZZ_CHECK(segment.index == index && segment.at == 0);
    QPIP_FUZZ_CHECK(segment.fpdu.start == start + static_cast<uint32_t>(at));
    QPIP_FUZZ_CHECK(segment.message_offset == offset && segment.last == (index + 1 == count));
    QPIP_FUZZ_CHECK(segment.fpdu.ulpdu_length <= mulpdu);
    const DdpHeader header = HeaderOf(message, segment.message_offset, segment.last);
    QPIP_FUZZ_CHECK(DdpHeaderBytes(header) == layout.header_bytes);
    offset += segment.fpdu.ulpdu_length - layout.header_bytes;
    at += FpduBytes(segment.fpdu);
    QPIP_FUZZ_CHECK(at <= total && (at == total) == segment.last);
  }
  // Any place, and the end.
  while (!script.done()) {
    const uint64_t place = (static_cast<uint64_t>(script.Word()) << 32 |
                            static_cast<uint64_t>(script.Word()) << 16 | script.Word()) %
                           total;
    const SegmentAt segment = FindSegment(layout, place);
    QPIP_FUZZ_CHECK(segment.index < count && segment.at < FpduBytes(segment.fpdu));
    QPIP_FUZZ_CHECK(segment.fpdu.start + segment.at == start + static_cast<uint32_t>(place));
    const PartAt part = FindPart(segment.fpdu, segment.at);
    QPIP_FUZZ_CHECK(part.length != 0 && segment.at + part.length <= FpduBytes(segment.fpdu));
    const bool at_marker = markers && (start + static_cast<uint32_t>(place)) % 512 < 4;
    QPIP_FUZZ_CHECK((part.part == FpduPart::kMarker) == at_marker);
  }
  const SegmentAt last = FindSegment(layout, total - 1);
  QPIP_FUZZ_CHECK(last.last && last.at + 1 == FpduBytes(last.fpdu));
  return 0;
}

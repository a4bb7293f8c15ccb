// IPv6: whatever the bytes, the upper layer lies inside the packet, and a parsed header emits to
// the bytes it came from.
#include <array>

#include "property.h"
#include "protocols/ipv6/extension.h"
#include "protocols/ipv6/header.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace qpip::ipv6;
  if (size < 1) {
    return 0;
  }
  // The first byte says how much longer than its readable part the frame is, as behind a NIC that
  // shows the core the start only.
  const uint32_t frame_length = static_cast<uint32_t>(size - 1) + data[0] * 256u;
  const std::vector<uint8_t> bytes = qpip::fuzz::Exact({data + 1, size - 1});
  Header header;
  const ParseError error = Parse(bytes, frame_length, &header);
  QPIP_FUZZ_CHECK(std::strcmp(ParseErrorName(error), "unknown") != 0);
  if (error != ParseError::kNone) {
    return 0;
  }
  QPIP_FUZZ_CHECK(kHeaderBytes + header.payload_length <= frame_length);
  QPIP_FUZZ_CHECK(!header.source.IsMulticast());
  std::array<uint8_t, kHeaderBytes> out;
  Emit(header, out);
  QPIP_FUZZ_CHECK(qpip::fuzz::SameBytes(out, std::span(bytes).first(kHeaderBytes)));

  static_cast<void>(CarriesIcmpError(bytes, header));  // read nothing outside
  static_cast<void>(HasWholeHeaderChain(bytes, header));
  UpperLayer upper;
  const ParseError walk = FindUpperLayer(bytes, header, &upper);
  const size_t end = kHeaderBytes + header.payload_length;
  if (walk == ParseError::kNone) {
    QPIP_FUZZ_CHECK(upper.offset >= kHeaderBytes && upper.offset % 8 == 0);
    QPIP_FUZZ_CHECK(upper.offset + upper.length == end);
    QPIP_FUZZ_CHECK(upper.offset == kHeaderBytes || upper.offset <= bytes.size());
    QPIP_FUZZ_CHECK(upper.protocol != kHopByHop || header.next_header == kHopByHop);
    QPIP_FUZZ_CHECK(upper.protocol != kRouting && upper.protocol != kFragment &&
                    upper.protocol != kDestinationOptions);
    QPIP_FUZZ_CHECK(!upper.send_parameter_problem);
  } else {
    QPIP_FUZZ_CHECK(walk == ParseError::kBadExtension || walk == ParseError::kUnknownOption ||
                    walk == ParseError::kRoutingHeader || walk == ParseError::kChainTooLong ||
                    walk == ParseError::kFragmented);
    if (walk == ParseError::kFragmented) {
      QPIP_FUZZ_CHECK(upper.offset + upper.length == end);
      QPIP_FUZZ_CHECK(upper.offset <= bytes.size() && upper.fragment.offset % 8 == 0);
      QPIP_FUZZ_CHECK(upper.fragment.header_at + 8 == upper.offset);
    }
    QPIP_FUZZ_CHECK(upper.pointer <= end);
    QPIP_FUZZ_CHECK(upper.icmp_code <= 2);
  }
  return 0;
}

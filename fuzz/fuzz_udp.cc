// UDP: an accepted length lies between the header and the packet, and fields emit to their bytes.
#include <array>

#include "property.h"
#include "protocols/udp/header.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace qpip::udp;
  if (size < 3) {
    return 0;
  }
  const bool checksum_expected = (data[0] & 1) != 0;
  const uint32_t upper_layer_length = static_cast<uint32_t>(data[1]) << 8 | data[2];
  const std::vector<uint8_t> bytes = qpip::fuzz::Exact({data + 3, size - 3});
  Header header;
  const ParseError error = Parse(bytes, upper_layer_length, checksum_expected, &header);
  QPIP_FUZZ_CHECK(std::strcmp(ParseErrorName(error), "unknown") != 0);
  if (error == ParseError::kTooShort) {
    QPIP_FUZZ_CHECK(bytes.size() < kHeaderBytes || upper_layer_length < kHeaderBytes);
    return 0;
  }
  std::array<uint8_t, kHeaderBytes> out;
  Emit(header, out);
  QPIP_FUZZ_CHECK(qpip::fuzz::SameBytes(out, std::span(bytes).first(kHeaderBytes)));
  if (error == ParseError::kNone) {
    QPIP_FUZZ_CHECK(header.length >= kHeaderBytes && header.length <= upper_layer_length);
    QPIP_FUZZ_CHECK(header.destination_port != 0);
    QPIP_FUZZ_CHECK(header.checksum != 0 || !checksum_expected);
  }
  return 0;
}

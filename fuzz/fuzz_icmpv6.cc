// ICMPv6: everything of eight bytes and more parses, and emits to its bytes.
#include <array>

#include "property.h"
#include "protocols/icmpv6/message.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace qpip::icmpv6;
  const std::vector<uint8_t> bytes = qpip::fuzz::Exact({data, size});
  Header header;
  const ParseError error = Parse(bytes, &header);
  QPIP_FUZZ_CHECK((error == ParseError::kNone) == (size >= kHeaderBytes));
  if (error == ParseError::kNone) {
    std::array<uint8_t, kHeaderBytes> out;
    Emit(header, out);
    QPIP_FUZZ_CHECK(qpip::fuzz::SameBytes(out, std::span(bytes).first(kHeaderBytes)));
    QPIP_FUZZ_CHECK(header.IsError() == ((bytes[0] & 0x80) == 0));  // RFC 4443 section 2.1
  }
  return 0;
}

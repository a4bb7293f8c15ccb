#include "protocols/icmpv6/message.h"

#include "protocols/common/byte_order.h"

namespace qpip::icmpv6 {

const char* ParseErrorName(ParseError error) {
  switch (error) {
    case ParseError::kNone:
      return "none";
    case ParseError::kTooShort:
      return "too_short";
  }
  return "unknown";
}

ParseError Parse(std::span<const uint8_t> bytes, Header* header) {
  if (bytes.size() < kHeaderBytes) {
    return ParseError::kTooShort;
  }
  const uint8_t* p = bytes.data();
  header->type = p[offset::kType];
  header->code = p[offset::kCode];
  header->checksum = LoadBe16(p + offset::kChecksum);
  header->body = LoadBe32(p + offset::kBody);
  return ParseError::kNone;
}

void Emit(const Header& header, std::span<uint8_t, kHeaderBytes> out) {
  uint8_t* p = out.data();
  p[offset::kType] = header.type;
  p[offset::kCode] = header.code;
  StoreBe16(p + offset::kChecksum, header.checksum);
  StoreBe32(p + offset::kBody, header.body);
}

}  // namespace qpip::icmpv6

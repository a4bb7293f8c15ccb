#include "protocols/udp/header.h"

#include "protocols/common/byte_order.h"

namespace qpip::udp {

const char* ParseErrorName(ParseError error) {
  switch (error) {
    case ParseError::kNone:
      return "none";
    case ParseError::kTooShort:
      return "too_short";
    case ParseError::kBadLength:
      return "bad_length";
    case ParseError::kZeroChecksum:
      return "zero_checksum";
    case ParseError::kZeroPort:
      return "zero_port";
  }
  return "unknown";
}

ParseError Parse(std::span<const uint8_t> bytes, uint32_t upper_layer_length,
                 bool checksum_expected, Header* header) {
  if (bytes.size() < kHeaderBytes || upper_layer_length < kHeaderBytes) {
    return ParseError::kTooShort;
  }
  const uint8_t* p = bytes.data();
  header->source_port = LoadBe16(p + offset::kSourcePort);
  header->destination_port = LoadBe16(p + offset::kDestinationPort);
  header->length = LoadBe16(p + offset::kLength);
  header->checksum = LoadBe16(p + offset::kChecksum);
  if (header->length < kHeaderBytes || header->length > upper_layer_length) {
    return ParseError::kBadLength;
  }
  if (checksum_expected && header->checksum == 0) {  // RFC 8200 section 8.1
    return ParseError::kZeroChecksum;
  }
  if (header->destination_port == 0) {
    return ParseError::kZeroPort;
  }
  return ParseError::kNone;
}

void Emit(const Header& header, std::span<uint8_t, kHeaderBytes> out) {
  uint8_t* p = out.data();
  StoreBe16(p + offset::kSourcePort, header.source_port);
  StoreBe16(p + offset::kDestinationPort, header.destination_port);
  StoreBe16(p + offset::kLength, header.length);
  StoreBe16(p + offset::kChecksum, header.checksum);
}

}  // namespace qpip::udp

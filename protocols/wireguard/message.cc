#include "protocols/wireguard/message.h"

#include <cstring>

#include "protocols/common/byte_order.h"

namespace qpip::wireguard {
namespace {

constexpr size_t kIndexOffset = 4;
constexpr size_t kMostBytes = 65535;  ///< of a datagram

/// Reads or writes fields one behind the other.
class Reader {
 public:
  explicit Reader(Bytes bytes) : at_(bytes.data() + kIndexOffset) {}
  uint32_t Number() {
    const uint32_t value = LoadLe32(at_);
    at_ += sizeof value;
    return value;
  }
  template <size_t kCount>
  void Array(std::array<uint8_t, kCount>* out) {
    std::memcpy(out->data(), at_, kCount);
    at_ += kCount;
  }

 private:
  const uint8_t* at_;
};

class Writer {
 public:
  Writer(MessageType type, std::span<uint8_t> out) : at_(out.data()) {
    Number(static_cast<uint32_t>(type));
  }
  void Number(uint32_t value) {
    StoreLe32(at_, value);
    at_ += sizeof value;
  }
  template <size_t kCount>
  void Array(const std::array<uint8_t, kCount>& bytes) {
    std::memcpy(at_, bytes.data(), kCount);
    at_ += kCount;
  }

 private:
  uint8_t* at_;
};

}  // namespace

const char* ParseErrorName(ParseError error) {
  switch (error) {
    case ParseError::kNone:
      return "none";
    case ParseError::kTooShort:
      return "too_short";
    case ParseError::kUnknownType:
      return "unknown_type";
    case ParseError::kBadLength:
      return "bad_length";
  }
  return "unknown";
}

ParseError ParseType(Bytes datagram, MessageType* type) {
  if (datagram.size() < kIndexOffset) return ParseError::kTooShort;
  const uint32_t word = LoadLe32(datagram.data());
  size_t least = 0, most = 0;
  switch (word) {
    case static_cast<uint32_t>(MessageType::kInitiation):
      least = most = kInitiationBytes;
      break;
    case static_cast<uint32_t>(MessageType::kResponse):
      least = most = kResponseBytes;
      break;
    case static_cast<uint32_t>(MessageType::kCookieReply):
      least = most = kCookieReplyBytes;
      break;
    case static_cast<uint32_t>(MessageType::kData):
      least = kDataOverheadBytes;
      most = kMostBytes;
      break;
    default:
      return ParseError::kUnknownType;
  }
  if (datagram.size() < least) return ParseError::kTooShort;
  if (datagram.size() > most) return ParseError::kBadLength;
  *type = static_cast<MessageType>(word);
  return ParseError::kNone;
}

Initiation ParseInitiation(Bytes datagram) {
  Initiation message;
  Reader in(datagram);
  message.sender = in.Number();
  in.Array(&message.ephemeral);
  in.Array(&message.sealed_static);
  in.Array(&message.sealed_timestamp);
  return message;
}

void EmitInitiation(const Initiation& message, std::span<uint8_t, kInitiationBytes> out) {
  Writer to(MessageType::kInitiation, out);
  to.Number(message.sender);
  to.Array(message.ephemeral);
  to.Array(message.sealed_static);
  to.Array(message.sealed_timestamp);
}

Response ParseResponse(Bytes datagram) {
  Response message;
  Reader in(datagram);
  message.sender = in.Number();
  message.receiver = in.Number();
  in.Array(&message.ephemeral);
  in.Array(&message.sealed_nothing);
  return message;
}

void EmitResponse(const Response& message, std::span<uint8_t, kResponseBytes> out) {
  Writer to(MessageType::kResponse, out);
  to.Number(message.sender);
  to.Number(message.receiver);
  to.Array(message.ephemeral);
  to.Array(message.sealed_nothing);
}

CookieReply ParseCookieReply(Bytes datagram) {
  CookieReply message;
  Reader in(datagram);
  message.receiver = in.Number();
  in.Array(&message.nonce);
  in.Array(&message.sealed_cookie);
  return message;
}

void EmitCookieReply(const CookieReply& message, std::span<uint8_t, kCookieReplyBytes> out) {
  Writer to(MessageType::kCookieReply, out);
  to.Number(message.receiver);
  to.Array(message.nonce);
  to.Array(message.sealed_cookie);
}

DataHeader ParseDataHeader(Bytes datagram) {
  return {.receiver = FirstIndex(datagram),
          .counter = LoadLe64(datagram.data() + 2 * kIndexOffset)};
}

void EmitDataHeader(const DataHeader& header, std::span<uint8_t, kDataHeaderBytes> out) {
  Writer to(MessageType::kData, out);
  to.Number(header.receiver);
  StoreLe64(out.data() + 2 * kIndexOffset, header.counter);
}

uint32_t FirstIndex(Bytes datagram) { return LoadLe32(datagram.data() + kIndexOffset); }

}  // namespace qpip::wireguard

#include "protocols/nbd/handshake.h"

#include "protocols/common/byte_order.h"

namespace qpip::nbd {
namespace {

constexpr uint32_t kMaxMinimumBlock = 65536;
constexpr uint32_t kMinPreferredBlock = 512;
constexpr uint32_t kNoMaximum = 0xffffffff;

Text AsText(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void CopyText(Text text, uint8_t* out) {
  if (!text.empty()) {  // the data of an empty span may be null
    __builtin_memcpy(out, text.data(), text.size());
  }
}

constexpr bool IsPowerOfTwo(uint32_t value) { return value != 0 && (value & (value - 1)) == 0; }

/// A length of 32 bits and that much text at the start of `data`. `*end` is where it stops.
HandshakeError ParseName(std::span<const uint8_t> data, Text* name, size_t* end) {
  if (data.size() < 4) {
    return HandshakeError::kTooShort;
  }
  const uint32_t length = LoadBe32(data.data());
  if (length > kMaxNameBytes) {
    return HandshakeError::kNameTooLong;
  }
  if (length > data.size() - 4) {
    return HandshakeError::kBadLength;
  }
  *name = AsText(data.subspan(4, length));
  *end = size_t{4} + length;
  return HandshakeError::kNone;
}

size_t EmitName(Text name, uint8_t* out) {
  StoreBe32(out, static_cast<uint32_t>(name.size()));
  CopyText(name, out + 4);
  return 4 + name.size();
}

/// The type at the start of an information of `size` bytes in all.
HandshakeError ExpectInfo(std::span<const uint8_t> data, InfoType type, size_t size) {
  uint16_t found = 0;
  const HandshakeError error = ParseInfoType(data, &found);
  if (error != HandshakeError::kNone) {
    return error;
  }
  if (found != type) {
    return HandshakeError::kWrongInfo;
  }
  return data.size() == size ? HandshakeError::kNone : HandshakeError::kBadLength;
}

/// Bits set in a mask; no instruction for it on the smallest core, and no table either.
constexpr size_t CountBits(uint32_t mask) {
  size_t count = 0;
  for (; mask != 0; mask &= mask - 1) {
    ++count;
  }
  return count;
}

}  // namespace

#define QPIP_NBD_CASE(name, value, text) \
  case name:                             \
    return text;

const char* OptionName(uint32_t option) {
  switch (option) {
    QPIP_NBD_OPTIONS(QPIP_NBD_CASE)
    default:
      return "unknown";
  }
}

const char* ReplyName(uint32_t reply) {
  switch (reply) {
    QPIP_NBD_REPLIES(QPIP_NBD_CASE)
    default:
      return "unknown";
  }
}

const char* InfoTypeName(uint16_t type) {
  switch (type) {
    QPIP_NBD_INFOS(QPIP_NBD_CASE)
    default:
      return "unknown";
  }
}

#undef QPIP_NBD_CASE

const char* HandshakeErrorName(HandshakeError error) {
  switch (error) {
    case HandshakeError::kNone:
      return "none";
    case HandshakeError::kTooShort:
      return "too_short";
    case HandshakeError::kBadMagic:
      return "bad_magic";
    case HandshakeError::kOldstyle:
      return "oldstyle";
    case HandshakeError::kUnknownFlags:
      return "unknown_flags";
    case HandshakeError::kBadLength:
      return "bad_length";
    case HandshakeError::kNameTooLong:
      return "name_too_long";
    case HandshakeError::kWrongInfo:
      return "wrong_info";
    case HandshakeError::kBadBlockSize:
      return "bad_block_size";
  }
  return "unknown";
}

// --- Greeting and client flags

HandshakeError ParseGreeting(std::span<const uint8_t> bytes, Greeting* greeting) {
  if (bytes.size() < kGreetingBytes) {
    return HandshakeError::kTooShort;
  }
  if (LoadBe64(&bytes[0]) != kGreetingMagic) {
    return HandshakeError::kBadMagic;
  }
  const uint64_t style = LoadBe64(&bytes[8]);
  if (style == kOldstyleMagic) {
    return HandshakeError::kOldstyle;
  }
  if (style != kOptionMagic) {
    return HandshakeError::kBadMagic;
  }
  greeting->handshake_flags = LoadBe16(&bytes[16]);
  return HandshakeError::kNone;
}

void EmitGreeting(const Greeting& greeting, std::span<uint8_t, kGreetingBytes> out) {
  StoreBe64(&out[0], kGreetingMagic);
  StoreBe64(&out[8], kOptionMagic);
  StoreBe16(&out[16], greeting.handshake_flags);
}

HandshakeError ParseClientFlags(std::span<const uint8_t> bytes, uint32_t* flags) {
  if (bytes.size() < kClientFlagsBytes) {
    return HandshakeError::kTooShort;
  }
  *flags = LoadBe32(bytes.data());
  constexpr uint32_t kKnown = kClientFixedNewstyle | kClientNoZeroes;
  return (*flags & ~kKnown) == 0 ? HandshakeError::kNone : HandshakeError::kUnknownFlags;
}

void EmitClientFlags(uint32_t flags, std::span<uint8_t, kClientFlagsBytes> out) {
  StoreBe32(out.data(), flags);
}

// --- Option requests

HandshakeError ParseOptionHeader(std::span<const uint8_t> bytes, OptionHeader* header) {
  if (bytes.size() < kOptionHeaderBytes) {
    return HandshakeError::kTooShort;
  }
  if (LoadBe64(&bytes[0]) != kOptionMagic) {
    return HandshakeError::kBadMagic;
  }
  header->option = LoadBe32(&bytes[8]);
  header->length = LoadBe32(&bytes[12]);
  return HandshakeError::kNone;
}

void EmitOptionHeader(const OptionHeader& header, std::span<uint8_t, kOptionHeaderBytes> out) {
  StoreBe64(&out[0], kOptionMagic);
  StoreBe32(&out[8], header.option);
  StoreBe32(&out[12], header.length);
}

HandshakeError ParseInfoRequest(std::span<const uint8_t> data, InfoRequest* request) {
  size_t at = 0;
  const HandshakeError error = ParseName(data, &request->name, &at);
  if (error != HandshakeError::kNone) {
    return error;
  }
  if (data.size() - at < 2) {
    return HandshakeError::kTooShort;
  }
  const size_t count = LoadBe16(&data[at]);
  at += 2;
  if (data.size() - at != 2 * count) {
    return HandshakeError::kBadLength;
  }
  request->wanted = 0;
  for (; at < data.size(); at += 2) {
    const uint16_t type = LoadBe16(&data[at]);
    if (type < 32) {
      request->wanted |= uint32_t{1} << type;
    }
  }
  return HandshakeError::kNone;
}

size_t InfoRequestSize(const InfoRequest& request) {
  return 4 + request.name.size() + 2 + 2 * CountBits(request.wanted);
}

size_t EmitInfoRequest(const InfoRequest& request, std::span<uint8_t> out) {
  size_t at = EmitName(request.name, out.data());
  StoreBe16(&out[at], static_cast<uint16_t>(CountBits(request.wanted)));
  at += 2;
  for (uint16_t type = 0; type < 32; ++type) {
    if ((request.wanted >> type & 1) != 0) {
      StoreBe16(&out[at], type);
      at += 2;
    }
  }
  return at;
}

HandshakeError ParseExportName(std::span<const uint8_t> data, Text* name) {
  if (data.size() > kMaxNameBytes) {
    return HandshakeError::kNameTooLong;
  }
  *name = AsText(data);
  return HandshakeError::kNone;
}

HandshakeError ParseExportNameReply(std::span<const uint8_t> bytes, ExportNameReply* reply) {
  if (bytes.size() < kExportNameReplyBytes) {
    return HandshakeError::kTooShort;
  }
  reply->size_bytes = LoadBe64(&bytes[0]);
  reply->transmission_flags = LoadBe16(&bytes[8]);
  return HandshakeError::kNone;
}

size_t EmitExportNameReply(const ExportNameReply& reply, bool no_zeroes, std::span<uint8_t> out) {
  StoreBe64(&out[0], reply.size_bytes);
  StoreBe16(&out[8], reply.transmission_flags);
  if (!no_zeroes) {
    __builtin_memset(&out[kExportNameReplyBytes], 0, kExportNameZeroes);
  }
  return ExportNameReplySize(no_zeroes);
}

// --- Option replies

HandshakeError ParseOptionReplyHeader(std::span<const uint8_t> bytes, OptionReplyHeader* header) {
  if (bytes.size() < kOptionReplyHeaderBytes) {
    return HandshakeError::kTooShort;
  }
  if (LoadBe64(&bytes[0]) != kOptionReplyMagic) {
    return HandshakeError::kBadMagic;
  }
  header->option = LoadBe32(&bytes[8]);
  header->reply = LoadBe32(&bytes[12]);
  header->length = LoadBe32(&bytes[16]);
  return HandshakeError::kNone;
}

void EmitOptionReplyHeader(const OptionReplyHeader& header,
                           std::span<uint8_t, kOptionReplyHeaderBytes> out) {
  StoreBe64(&out[0], kOptionReplyMagic);
  StoreBe32(&out[8], header.option);
  StoreBe32(&out[12], header.reply);
  StoreBe32(&out[16], header.length);
}

HandshakeError ParseServerEntry(std::span<const uint8_t> data, ServerEntry* entry) {
  size_t at = 0;
  const HandshakeError error = ParseName(data, &entry->name, &at);
  if (error != HandshakeError::kNone) {
    return error;
  }
  if (data.size() - at > kMaxNameBytes) {
    return HandshakeError::kNameTooLong;
  }
  entry->description = AsText(data.subspan(at));
  return HandshakeError::kNone;
}

size_t ServerEntrySize(const ServerEntry& entry) {
  return 4 + entry.name.size() + entry.description.size();
}

size_t EmitServerEntry(const ServerEntry& entry, std::span<uint8_t> out) {
  const size_t at = EmitName(entry.name, out.data());
  CopyText(entry.description, out.data() + at);
  return at + entry.description.size();
}

HandshakeError ParseInfoType(std::span<const uint8_t> data, uint16_t* type) {
  if (data.size() < 2) {
    return HandshakeError::kTooShort;
  }
  *type = LoadBe16(data.data());
  return HandshakeError::kNone;
}

HandshakeError ParseExportInfo(std::span<const uint8_t> data, ExportInfo* info) {
  const HandshakeError error = ExpectInfo(data, kInfoExport, kExportInfoBytes);
  if (error != HandshakeError::kNone) {
    return error;
  }
  info->size_bytes = LoadBe64(&data[2]);
  info->transmission_flags = LoadBe16(&data[10]);
  return HandshakeError::kNone;
}

void EmitExportInfo(const ExportInfo& info, std::span<uint8_t, kExportInfoBytes> out) {
  StoreBe16(&out[0], kInfoExport);
  StoreBe64(&out[2], info.size_bytes);
  StoreBe16(&out[10], info.transmission_flags);
}

HandshakeError ParseBlockSizeInfo(std::span<const uint8_t> data, BlockSizeInfo* info) {
  const HandshakeError error = ExpectInfo(data, kInfoBlockSize, kBlockSizeInfoBytes);
  if (error != HandshakeError::kNone) {
    return error;
  }
  info->minimum = LoadBe32(&data[2]);
  info->preferred = LoadBe32(&data[6]);
  info->maximum = LoadBe32(&data[10]);
  const bool minimum_ok = IsPowerOfTwo(info->minimum) && info->minimum <= kMaxMinimumBlock;
  const bool preferred_ok = IsPowerOfTwo(info->preferred) &&
                            info->preferred >= kMinPreferredBlock &&
                            info->preferred >= info->minimum;
  // `minimum` is a power of two: a mask instead of a division.
  const bool maximum_ok =
      info->maximum == kNoMaximum || (info->maximum >= info->preferred && minimum_ok &&
                                      (info->maximum & (info->minimum - 1)) == 0);
  return minimum_ok && preferred_ok && maximum_ok ? HandshakeError::kNone
                                                  : HandshakeError::kBadBlockSize;
}

void EmitBlockSizeInfo(const BlockSizeInfo& info, std::span<uint8_t, kBlockSizeInfoBytes> out) {
  StoreBe16(&out[0], kInfoBlockSize);
  StoreBe32(&out[2], info.minimum);
  StoreBe32(&out[6], info.preferred);
  StoreBe32(&out[10], info.maximum);
}

HandshakeError ParseTextInfo(std::span<const uint8_t> data, InfoType type, Text* text) {
  const HandshakeError error = ExpectInfo(data, type, data.size());
  if (error != HandshakeError::kNone) {
    return error;
  }
  if (data.size() - 2 > kMaxNameBytes) {
    return HandshakeError::kNameTooLong;
  }
  *text = AsText(data.subspan(2));
  return HandshakeError::kNone;
}

size_t EmitTextInfo(InfoType type, Text text, std::span<uint8_t> out) {
  StoreBe16(out.data(), type);
  CopyText(text, out.data() + 2);
  return TextInfoSize(text);
}

}  // namespace qpip::nbd

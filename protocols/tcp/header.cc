#include "protocols/tcp/header.h"

#include "protocols/common/byte_order.h"

namespace qpip::tcp {
namespace {

enum OptionKind : uint8_t {
  kEndOfOptions = 0,
  kNoOperation = 1,
  kMss = 2,
  kWindowScale = 3,
  kSackPermitted = 4,
  kSack = 5,
  kTimestamps = 8,
  kUserTimeout = 28,
};

// Lengths on the wire, kind and length bytes included.
constexpr size_t kMssLength = 4;
constexpr size_t kWindowScaleLength = 3;
constexpr size_t kSackPermittedLength = 2;
constexpr size_t kTimestampsLength = 10;
constexpr uint32_t kPaddedTimestamps = 0x0101080a;  // two NOPs, kind, length
constexpr size_t kUserTimeoutLength = 4;
constexpr size_t kSackBlockLength = 8;

constexpr uint8_t kMaxWindowScale = 14;  // RFC 7323 section 2.3

constexpr uint8_t LimitWindowScale(uint8_t shift) {
  return shift < kMaxWindowScale ? shift : kMaxWindowScale;
}

/// SACK blocks (RFC 2018 section 3): one to four of 8 bytes.
bool ParseSack(const uint8_t* p, size_t length, Header* header) {
  const size_t count = (length - 2) / kSackBlockLength;
  if (length != 2 + count * kSackBlockLength || count == 0 || count > header->sack.size()) {
    return false;
  }
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* block = p + 2 + i * kSackBlockLength;
    header->sack[i] = {SequenceNumber(LoadBe32(block)), SequenceNumber(LoadBe32(block + 4))};
  }
  header->sack_count = static_cast<uint8_t>(count);
  return true;
}

/// Length on the wire of a known option of fixed length, else 0.
constexpr size_t FixedLength(uint8_t kind) {
  switch (kind) {
    case kMss:
      return kMssLength;
    case kWindowScale:
      return kWindowScaleLength;
    case kSackPermitted:
      return kSackPermittedLength;
    case kTimestamps:
      return kTimestampsLength;
    case kUserTimeout:
      return kUserTimeoutLength;
    default:
      return 0;
  }
}

/// RFC 5482 section 3: a bit says whether the other 15 are minutes or seconds.
constexpr uint16_t kInMinutes = 0x8000;

uint32_t UserTimeoutSeconds(uint16_t field) {
  const uint32_t number = field & (kInMinutes - 1u);
  return (field & kInMinutes) != 0 ? (number << 6) - (number << 2) : number;
}

uint16_t UserTimeoutField(uint32_t seconds) {
  if (seconds < kInMinutes) return static_cast<uint16_t>(seconds);
  const uint32_t minutes = (seconds - 1) / 60 + 1;
  return static_cast<uint16_t>(kInMinutes | (minutes < kInMinutes ? minutes : kInMinutes - 1u));
}

void ParseTimestamps(const uint8_t* p, Header* header) {
  header->has_timestamps = true;
  header->ts_value = LoadBe32(p + 2);
  header->ts_echo = LoadBe32(p + 6);
}

/// One option of two bytes or more; `length` bytes of it are there. False: impossible length.
bool ParseOption(const uint8_t* p, size_t length, Header* header) {
  const size_t fixed = FixedLength(p[0]);
  if (fixed != 0 && length != fixed) {
    return false;
  }
  switch (p[0]) {
    case kMss:
      header->has_mss = true;
      header->mss = LoadBe16(p + 2);
      return true;
    case kWindowScale:
      header->has_window_scale = true;
      header->window_scale = LimitWindowScale(p[2]);
      return true;
    case kSackPermitted:
      header->sack_permitted = true;
      return true;
    case kSack:
      return ParseSack(p, length, header);
    case kTimestamps:
      ParseTimestamps(p, header);
      return true;
    case kUserTimeout:
      header->has_user_timeout = true;
      header->user_timeout_s = UserTimeoutSeconds(LoadBe16(p + 2));
      return true;
    default:  // RFC 9293 section 3.1 (MUST-6): unknown options are skipped by their length
      return true;
  }
}

ParseError ParseOptions(const uint8_t* p, size_t size, Header* header) {
  // Timestamps alone, as RFC 7323 appendix A lays them out: nearly every segment.
  if (size == kTimestampBytes && LoadBe32(p) == kPaddedTimestamps) {
    ParseTimestamps(p + 2, header);
    return ParseError::kNone;
  }
  size_t at = 0;
  while (at < size && p[at] != kEndOfOptions) {
    if (p[at] == kNoOperation) {
      ++at;
      continue;
    }
    // RFC 9293 section 3.1 (MUST-7): be prepared for an illegal length.
    if (size - at < 2 || p[at + 1] < 2 || p[at + 1] > size - at ||
        !ParseOption(p + at, p[at + 1], header)) {
      return ParseError::kBadOptionLength;
    }
    at += p[at + 1];
  }
  return ParseError::kNone;
}

/// Bytes of all options but SACK blocks, padding included.
size_t FixedOptionBytes(const Header& header) {
  return (header.has_mss ? kMssLength : 0) + (header.has_window_scale ? 4u : 0u) +
         (header.sack_permitted ? 4u : 0u) + (header.has_timestamps ? kTimestampBytes : 0u) +
         (header.has_user_timeout ? kUserTimeoutLength : 0u);
}

/// SACK blocks that will be written: as many as there is room for (RFC 2018 section 3).
size_t SackBlocksEmitted(const Header& header) {
  const size_t room = kMaxHeaderBytes - kMinHeaderBytes - FixedOptionBytes(header);
  const size_t fit = room < 4 ? 0 : (room - 4) / kSackBlockLength;
  const size_t held =
      header.sack_count < header.sack.size() ? header.sack_count : header.sack.size();
  return held < fit ? held : fit;
}

/// Kind and length behind two NOPs, which keep what follows on a word boundary.
uint8_t* EmitPaddedOption(uint8_t* p, OptionKind kind, size_t length) {
  p[0] = kNoOperation;
  p[1] = kNoOperation;
  p[2] = kind;
  p[3] = static_cast<uint8_t>(length);
  return p + 4;
}

/// Writes the options at `p` and returns their end.
uint8_t* EmitOptions(const Header& header, uint8_t* p) {
  if (header.has_mss) {
    p[0] = kMss;
    p[1] = kMssLength;
    StoreBe16(p + 2, header.mss);
    p += kMssLength;
  }
  if (header.has_window_scale) {
    p[0] = kNoOperation;
    p[1] = kWindowScale;
    p[2] = kWindowScaleLength;
    p[3] = LimitWindowScale(header.window_scale);
    p += 4;
  }
  if (header.sack_permitted) {
    p = EmitPaddedOption(p, kSackPermitted, kSackPermittedLength);
  }
  if (header.has_timestamps) {
    p = EmitPaddedOption(p, kTimestamps, kTimestampsLength);
    StoreBe32(p, header.ts_value);
    StoreBe32(p + 4, header.ts_echo);
    p += 8;
  }
  if (header.has_user_timeout) {
    p[0] = kUserTimeout;
    p[1] = kUserTimeoutLength;
    StoreBe16(p + 2, UserTimeoutField(header.user_timeout_s));
    p += kUserTimeoutLength;
  }
  const size_t blocks = SackBlocksEmitted(header);
  if (blocks > 0) {
    p = EmitPaddedOption(p, kSack, 2 + blocks * kSackBlockLength);
    for (size_t i = 0; i < blocks; ++i) {
      StoreBe32(p, header.sack[i].start.value());
      StoreBe32(p + 4, header.sack[i].end.value());
      p += kSackBlockLength;
    }
  }
  return p;
}

}  // namespace

const char* ParseErrorName(ParseError error) {
  switch (error) {
    case ParseError::kNone:
      return "none";
    case ParseError::kTooShort:
      return "too_short";
    case ParseError::kBadDataOffset:
      return "bad_data_offset";
    case ParseError::kBadOptionLength:
      return "bad_option_length";
  }
  return "unknown";
}

ParseError Parse(std::span<const uint8_t> bytes, Header* header, size_t* header_bytes) {
  if (bytes.size() < kMinHeaderBytes) {
    return ParseError::kTooShort;
  }
  const uint8_t* p = bytes.data();
  const size_t size = static_cast<size_t>(p[offset::kDataOffset] >> 4) * 4;
  if (size < kMinHeaderBytes || size > bytes.size()) {
    return ParseError::kBadDataOffset;
  }
  *header = Header{};
  header->source_port = LoadBe16(p + offset::kSourcePort);
  header->destination_port = LoadBe16(p + offset::kDestinationPort);
  header->sequence = SequenceNumber(LoadBe32(p + offset::kSequence));
  header->acknowledgement = SequenceNumber(LoadBe32(p + offset::kAcknowledgement));
  header->flags = p[offset::kFlags];
  header->window = LoadBe16(p + offset::kWindow);
  header->checksum = LoadBe16(p + offset::kChecksum);
  header->urgent_pointer = LoadBe16(p + offset::kUrgentPointer);
  *header_bytes = size;
  return ParseOptions(p + offset::kOptions, size - kMinHeaderBytes, header);
}

size_t EmitSize(const Header& header) {
  const size_t blocks = SackBlocksEmitted(header);
  return kMinHeaderBytes + FixedOptionBytes(header) +
         (blocks > 0 ? 4 + blocks * kSackBlockLength : 0);
}

size_t Emit(const Header& header, std::span<uint8_t> out) {
  uint8_t* p = out.data();
  const uint8_t* end = EmitOptions(header, p + offset::kOptions);
  const size_t size = static_cast<size_t>(end - p);
  StoreBe16(p + offset::kSourcePort, header.source_port);
  StoreBe16(p + offset::kDestinationPort, header.destination_port);
  StoreBe32(p + offset::kSequence, header.sequence.value());
  StoreBe32(p + offset::kAcknowledgement, header.acknowledgement.value());
  p[offset::kDataOffset] = static_cast<uint8_t>(size / 4 << 4);
  p[offset::kFlags] = header.flags;
  StoreBe16(p + offset::kWindow, header.window);
  StoreBe16(p + offset::kChecksum, 0);
  StoreBe16(p + offset::kUrgentPointer, header.urgent_pointer);
  return size;
}

}  // namespace qpip::tcp

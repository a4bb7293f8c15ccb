#include "protocols/iwarp/startup_frame.h"

#include <cstring>

#include "protocols/common/byte_order.h"

namespace qpip::iwarp {
namespace {

constexpr size_t kKeyBytes = 16;
constexpr char kRequestKey[kKeyBytes + 1] = "MPA ID Req Frame";
constexpr char kReplyKey[kKeyBytes + 1] = "MPA ID Rep Frame";

constexpr size_t kFlagsAt = 16;
constexpr size_t kRevisionAt = 17;
constexpr size_t kLengthAt = 18;

constexpr uint8_t kMarkersFlag = 0x80;
constexpr uint8_t kCrcFlag = 0x40;
constexpr uint8_t kRejectFlag = 0x20;
constexpr uint8_t kEnhancedFlag = 0x10;

constexpr uint16_t kDepthMask = 0x3fff;
constexpr uint16_t kHighFlag = 0x8000;  // A, and C
constexpr uint16_t kLowFlag = 0x4000;   // B, and D

/// Whether `bytes`, as far as they go, begin as `key` does.
bool Begins(std::span<const uint8_t> bytes, const char* key) {
  return std::memcmp(bytes.data(), key, bytes.size() < kKeyBytes ? bytes.size() : kKeyBytes) == 0;
}

EnhancedData ParseEnhanced(const uint8_t* p) {
  const uint16_t first = LoadBe16(p);
  const uint16_t second = LoadBe16(p + 2);
  EnhancedData data;
  data.ird = first & kDepthMask;
  data.ord = second & kDepthMask;
  data.peer_to_peer = (first & kHighFlag) != 0;
  if (data.peer_to_peer) {  // without A the others are ignored (9.2)
    data.ready = static_cast<uint8_t>(((first & kLowFlag) != 0 ? kReadyBySend : 0) |
                                      ((second & kHighFlag) != 0 ? kReadyByWrite : 0) |
                                      ((second & kLowFlag) != 0 ? kReadyByRead : 0));
  }
  return data;
}

void EmitEnhanced(const EnhancedData& data, uint8_t* p) {
  const uint8_t ready = data.peer_to_peer ? data.ready : 0;
  uint16_t first = data.ird & kDepthMask;
  uint16_t second = data.ord & kDepthMask;
  if (data.peer_to_peer) first |= kHighFlag;
  if ((ready & kReadyBySend) != 0) first |= kLowFlag;
  if ((ready & kReadyByWrite) != 0) second |= kHighFlag;
  if ((ready & kReadyByRead) != 0) second |= kLowFlag;
  StoreBe16(p, first);
  StoreBe16(p + 2, second);
}

}  // namespace

const char* StartupErrorName(StartupError error) {
  switch (error) {
    case StartupError::kNone:
      return "none";
    case StartupError::kTooShort:
      return "too_short";
    case StartupError::kBadKey:
      return "bad_key";
    case StartupError::kSameRole:
      return "same_role";
    case StartupError::kBadRevision:
      return "bad_revision";
    case StartupError::kTooLong:
      return "too_long";
    case StartupError::kTooFewEnhanced:
      return "too_few_enhanced";
    case StartupError::kTrailing:
      return "trailing";
    case StartupError::kNotEnhanced:
      return "not_enhanced";
    case StartupError::kNotPeerToPeer:
      return "not_peer_to_peer";
  }
  return "unknown";
}

StartupError ParseStartup(std::span<const uint8_t> bytes, bool reply, StartupFrame* frame,
                          size_t* frame_bytes) {
  *frame_bytes = kStartupHeaderBytes;
  if (bytes.empty()) return StartupError::kTooShort;
  // A stranger is known by his first bytes: no reason to wait for twenty.
  if (!Begins(bytes, reply ? kReplyKey : kRequestKey)) {
    return Begins(bytes, reply ? kRequestKey : kReplyKey) ? StartupError::kSameRole
                                                          : StartupError::kBadKey;
  }
  if (bytes.size() < kStartupHeaderBytes) return StartupError::kTooShort;
  const uint8_t flags = bytes[kFlagsAt];
  const size_t length = LoadBe16(&bytes[kLengthAt]);
  *frame = StartupFrame{};
  frame->reply = reply;
  frame->markers = (flags & kMarkersFlag) != 0;
  frame->crc = (flags & kCrcFlag) != 0;
  frame->reject = reply && (flags & kRejectFlag) != 0;
  frame->revision = bytes[kRevisionAt];
  frame->enhanced = frame->revision >= kRevision2 && (flags & kEnhancedFlag) != 0;
  if (frame->revision != kRevision1 && frame->revision != kRevision2) {
    return StartupError::kBadRevision;
  }
  if (length > kMaxPrivateBytes) return StartupError::kTooLong;
  if (frame->enhanced && length < kEnhancedBytes) return StartupError::kTooFewEnhanced;
  *frame_bytes = kStartupHeaderBytes + length;
  if (bytes.size() < *frame_bytes) return StartupError::kTooShort;
  frame->private_data = bytes.subspan(kStartupHeaderBytes, length);
  if (frame->enhanced) {
    frame->depths = ParseEnhanced(frame->private_data.data());
    frame->private_data = frame->private_data.subspan(kEnhancedBytes);
  }
  return StartupError::kNone;
}

size_t StartupBytes(const StartupFrame& frame) {
  return kStartupHeaderBytes + (frame.enhanced ? kEnhancedBytes : 0) + frame.private_data.size();
}

size_t EmitStartup(const StartupFrame& frame, std::span<uint8_t> out) {
  const size_t bytes = StartupBytes(frame);
  std::memcpy(out.data(), frame.reply ? kReplyKey : kRequestKey, kKeyBytes);
  out[kFlagsAt] = static_cast<uint8_t>(
      (frame.markers ? kMarkersFlag : 0) | (frame.crc ? kCrcFlag : 0) |
      (frame.reply && frame.reject ? kRejectFlag : 0) | (frame.enhanced ? kEnhancedFlag : 0));
  out[kRevisionAt] = frame.revision;
  StoreBe16(&out[kLengthAt], static_cast<uint16_t>(bytes - kStartupHeaderBytes));
  size_t at = kStartupHeaderBytes;
  if (frame.enhanced) {
    EmitEnhanced(frame.depths, &out[at]);
    at += kEnhancedBytes;
  }
  if (!frame.private_data.empty()) {
    std::memcpy(&out[at], frame.private_data.data(), frame.private_data.size());
  }
  return bytes;
}

}  // namespace qpip::iwarp

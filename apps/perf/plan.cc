#include "apps/perf/plan.h"

#include <endian.h>

#include <cstring>

namespace qpip::apps {

namespace {

constexpr uint32_t kMagic = 0x51505246;  // QPRF
constexpr uint8_t kVersion = 1;
constexpr size_t kHeadBytes = 8;
constexpr size_t kWindowBytes = 12;
constexpr size_t kPlanBytes = kHeadBytes + 16 + kWindowBytes;
constexpr size_t kCacheLine = 64;

/// Puts numbers one behind the other, most significant byte first.
class Writer {
 public:
  void Add(uint8_t value) { bytes_.push_back(std::byte{value}); }
  void Add(uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) Add(static_cast<uint8_t>(value >> shift));
  }
  void Add(uint64_t value) {
    Add(static_cast<uint32_t>(value >> 32));
    Add(static_cast<uint32_t>(value));
  }
  std::vector<std::byte> Take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

uint32_t Load32(std::span<const std::byte> bytes, size_t at) {
  uint32_t value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return be32toh(value);
}
uint64_t Load64(std::span<const std::byte> bytes, size_t at) {
  return uint64_t{Load32(bytes, at)} << 32 | Load32(bytes, at + 4);
}
uint8_t Load8(std::span<const std::byte> bytes, size_t at) {
  return std::to_integer<uint8_t>(bytes[at]);
}

bool HasHead(std::span<const std::byte> bytes, size_t total) {
  return bytes.size() == total && Load32(bytes, 0) == kMagic && Load8(bytes, 4) == kVersion;
}

Window LoadWindow(std::span<const std::byte> bytes, size_t at) {
  return {Load64(bytes, at), Load32(bytes, at + 8)};
}

void AddHead(Writer& writer, uint8_t operation, uint8_t measure, uint8_t verify) {
  writer.Add(kMagic);
  for (const uint8_t value : {kVersion, operation, measure, verify}) writer.Add(value);
}
void AddWindow(Writer& writer, const Window& window) {
  writer.Add(window.address);
  writer.Add(window.key);
}

}  // namespace

const char* ToString(Operation operation) {
  switch (operation) {
    case Operation::kWrite:
      return "write";
    case Operation::kRead:
      return "read";
    case Operation::kSend:
      return "send";
    case Operation::kAtomic:
      return "atomic";
  }
  return "?";
}

size_t SlotBytes(const Plan& plan) {
  return (plan.bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
}

uint32_t Slots(const Plan& plan) {
  return plan.operation == Operation::kSend ? plan.depth * kReceivesPerDepth : plan.depth;
}

uint64_t BufferBytes(const Plan& plan) { return uint64_t{SlotBytes(plan)} * Slots(plan); }

std::vector<std::byte> Encode(const PlanMessage& message) {
  const Plan& plan = message.plan;
  Writer writer;
  AddHead(writer, static_cast<uint8_t>(plan.operation), static_cast<uint8_t>(plan.measure),
          plan.verify ? 1 : 0);
  writer.Add(plan.bytes);
  writer.Add(plan.depth);
  writer.Add(plan.rounds);
  AddWindow(writer, message.window);
  return writer.Take();
}

std::vector<std::byte> Encode(const Window& window) {
  Writer writer;
  AddHead(writer, 0, 0, 0);
  AddWindow(writer, window);
  return writer.Take();
}

std::optional<PlanMessage> DecodePlan(std::span<const std::byte> bytes, std::string* why) {
  if (!HasHead(bytes, kPlanBytes)) {
    *why = "not asked by a qpip-perf of this version";
    return std::nullopt;
  }
  PlanMessage message;
  Plan& plan = message.plan;
  const uint8_t operation = Load8(bytes, 5);
  const uint8_t measure = Load8(bytes, 6);
  plan.operation = static_cast<Operation>(operation);
  plan.measure = static_cast<Measure>(measure);
  plan.verify = Load8(bytes, 7) != 0;
  plan.bytes = Load32(bytes, 8);
  plan.depth = Load32(bytes, 12);
  plan.rounds = Load64(bytes, 16);
  message.window = LoadWindow(bytes, 24);
  if (operation > static_cast<uint8_t>(Operation::kAtomic) ||
      measure > static_cast<uint8_t>(Measure::kBandwidth) || plan.rounds == 0) {
    *why = "a test that there is not";
    return std::nullopt;
  }
  if (plan.bytes == 0 || plan.bytes > kMaxPerfBytes || plan.depth == 0 ||
      plan.depth > kMaxPerfDepth || BufferBytes(plan) > kMaxPerfMemory) {
    *why = "more memory than the server gives: a smaller --length or --depth";
    return std::nullopt;
  }
  return message;
}

std::optional<Window> DecodeWindow(std::span<const std::byte> bytes) {
  if (!HasHead(bytes, kHeadBytes + kWindowBytes)) return std::nullopt;
  return LoadWindow(bytes, kHeadBytes);
}

}  // namespace qpip::apps

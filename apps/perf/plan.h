// What a qpip-perf client asks its server for, and what that answers: the private data of their
// connection.
//
//     client: | QPRF | 1 | operation | measure | verify | bytes 4 | depth 4 | rounds 8 | window |
//     server: | QPRF | 1 | 0         | 0       | 0      | window |   rejecting: text
//     window: | address 8 | key 4 |
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace qpip::apps {

/// Which work request is measured.
enum class Operation : uint8_t { kWrite, kRead, kSend, kAtomic };
inline constexpr Operation kOperations[] = {Operation::kWrite, Operation::kRead, Operation::kSend,
                                            Operation::kAtomic};
/// "write", "read", "send", "atomic".
const char* ToString(Operation operation);

enum class Measure : uint8_t { kLatency, kBandwidth };

inline constexpr uint32_t kAtomicBytes = 8;
inline constexpr uint32_t kMaxPerfBytes = 1u << 30;  ///< of a message
inline constexpr uint32_t kMaxPerfDepth = 1024;
/// Of all buffers of one side.
inline constexpr uint64_t kMaxPerfMemory = 1ull << 31;
/// So many receives does a server have for each message that may be under way; it tells of `depth`
/// more whenever it has posted them.
inline constexpr uint32_t kReceivesPerDepth = 2;

/// One test on one connection.
struct Plan {
  Operation operation = Operation::kWrite;
  Measure measure = Measure::kLatency;
  bool verify = false;
  uint32_t bytes = 1;   ///< of a message, 1 to kMaxPerfBytes
  uint32_t depth = 1;   ///< messages under way at once, 1 to kMaxPerfDepth; of latencies 1
  uint64_t rounds = 1;  ///< messages, those that warm up included
  bool operator==(const Plan&) const = default;
};

/// Distance between buffers, bytes: whole cache lines.
size_t SlotBytes(const Plan& plan);
/// Bytes of a side's buffers, for incoming or for outgoing messages.
uint64_t BufferBytes(const Plan& plan);
/// Buffers of that memory.
uint32_t Slots(const Plan& plan);

/// Memory that the other side may use.
struct Window {
  uint64_t address = 0;
  uint32_t key = 0;
  bool operator==(const Window&) const = default;
};

struct PlanMessage {
  Plan plan;
  Window window;
};
std::vector<std::byte> Encode(const PlanMessage& message);
std::vector<std::byte> Encode(const Window& window);
/// nullopt: it is none, is of another version, or asks for what is out of range; `why` says it.
std::optional<PlanMessage> DecodePlan(std::span<const std::byte> bytes, std::string* why);
std::optional<Window> DecodeWindow(std::span<const std::byte> bytes);

}  // namespace qpip::apps

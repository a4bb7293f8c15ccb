#include "protocols/tcp/isn.h"

#include <cstddef>

#include "protocols/common/byte_order.h"

namespace qpip::tcp {
namespace {

/// What a hash is for: two values made from one key must not tell of each other.
enum class Purpose : uint8_t { kInitialSequence = 0, kTimestampOffset = 1 };

uint64_t HashTuple(const FourTuple& tuple, const SipHashKey& key, Purpose purpose) {
  constexpr size_t kAddress = sizeof(ipv6::Address);
  uint8_t bytes[2 * kAddress + 2 * sizeof(uint16_t) + 1];
  __builtin_memcpy(bytes, tuple.local_address.bytes, kAddress);
  __builtin_memcpy(bytes + kAddress, tuple.remote_address.bytes, kAddress);
  StoreBe16(bytes + 2 * kAddress, tuple.local_port);
  StoreBe16(bytes + 2 * kAddress + 2, tuple.remote_port);
  bytes[2 * kAddress + 4] = static_cast<uint8_t>(purpose);
  return SipHash24(key, bytes);
}

}  // namespace

SequenceNumber InitialSequenceNumber(const FourTuple& tuple, const SipHashKey& key,
                                     uint64_t now_ns) {
  // RFC 6528 section 3. The clock ticks every 4.096 microseconds ("roughly every 4", RFC 9293
  // section 3.4.1), so that the core needs no 64-bit division; it wraps every 4.9 hours.
  const uint32_t clock = static_cast<uint32_t>(now_ns >> 12);
  return SequenceNumber(clock +
                        static_cast<uint32_t>(HashTuple(tuple, key, Purpose::kInitialSequence)));
}

uint32_t TimestampOffset(const FourTuple& tuple, const SipHashKey& key) {
  return static_cast<uint32_t>(HashTuple(tuple, key, Purpose::kTimestampOffset));
}

}  // namespace qpip::tcp

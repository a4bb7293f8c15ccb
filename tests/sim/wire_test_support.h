// Frames, fabrics and patience for the wire tests.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "sim/wire/futex.h"
#include "sim/wire/wire.h"

namespace qpip::wire::test {

using Bytes = std::vector<uint8_t>;

inline abi::Ip6Address Address(uint8_t last) {
  abi::Ip6Address address = {};
  address.bytes[0] = 0xfd;
  address.bytes[15] = last;
  return address;
}

inline std::string UniqueName() {
  static int counter = 0;
  return "wiretest-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
}

inline FabricOptions Options(const std::string& fabric, uint8_t last_address_byte) {
  FabricOptions options;
  options.name = fabric;
  options.address = Address(last_address_byte);
  options.mtu = 65575;
  return options;
}

/// An IPv6 header (version 6, addresses) followed by what a seed makes up; `length` from 40.
inline Bytes MakeFrame(const abi::Ip6Address& to, size_t length, uint64_t seed) {
  Bytes bytes(length);
  std::mt19937_64 random(seed);
  for (size_t i = 0; i < length; i += 8) {
    const uint64_t word = random();
    std::memcpy(&bytes[i], &word, std::min<size_t>(8, length - i));
  }
  bytes[0] = 0x60;
  std::memcpy(&bytes[24], to.bytes, 16);
  return bytes;
}

inline SendResult SendBytes(Wire* wire, const Bytes& bytes) {
  uint64_t lease = 0;
  return wire->Send({bytes, {}, false}, &lease);
}

inline Bytes Content(const InFrame& frame) {
  Bytes bytes;
  for (const iovec& piece : frame.pieces) {
    const auto* start = static_cast<const uint8_t*>(piece.iov_base);
    bytes.insert(bytes.end(), start, start + piece.iov_len);
  }
  return bytes;
}

/// Receives, sleeping on the wire as a core would, for at most `patience_ns`.
inline bool ReceiveWithin(Wire* wire, InFrame* frame, uint64_t patience_ns = 20'000'000'000) {
  const uint64_t deadline = MonotonicNs() + patience_ns;
  for (;;) {
    if (wire->Receive(frame)) return true;
    const uint64_t now = MonotonicNs();
    if (now >= deadline) return false;
    const uint64_t next = wire->Housekeeping(now);
    wire->PrepareSleep();
    if (wire->Receive(frame)) {
      wire->CancelSleep();
      return true;
    }
    wire->Sleep(std::min(deadline, next));
  }
}

/// Sends, giving way while the destination has no room or is not there yet.
inline bool SendWithin(Wire* wire, const Bytes& bytes, uint64_t patience_ns = 20'000'000'000) {
  const uint64_t deadline = MonotonicNs() + patience_ns;
  while (SendBytes(wire, bytes) != SendResult::kSent) {
    if (MonotonicNs() >= deadline) return false;
    wire->Flush();
    ::usleep(0);
  }
  wire->Flush();
  return true;
}

/// Value of a counter in StatisticsJson (the outermost object's first of that name).
inline uint64_t Counter(const Wire& wire, const std::string& name) {
  const std::string json = wire.StatisticsJson();
  const size_t at = json.find("\"" + name + "\": ");
  if (at == std::string::npos) {
    ADD_FAILURE() << "no counter " << name << " in " << json;
    return 0;
  }
  return std::stoull(json.substr(at + name.size() + 4));
}

}  // namespace qpip::wire::test

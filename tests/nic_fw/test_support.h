// Short names for the firmware tests.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <string>

#include "firmware_bench.h"

namespace qpip::fw::test {

inline abi::Sge SgeOf(const HostMemory& memory, uint32_t key, uint64_t offset, uint32_t length) {
  return {memory.address() + offset, length, key};
}

inline void FillPattern(HostMemory& memory, uint32_t seed = 0) {
  for (size_t i = 0; i < memory.size(); ++i) {
    memory.data()[i] = static_cast<uint8_t>((i * 131 + (i >> 8) * 7 + seed) & 0xff);
  }
}

inline int Status(const abi::Cqe& cqe) { return cqe.status; }
inline int Status(abi::CompletionStatus status) { return static_cast<int>(status); }

inline bool IsRecv(const abi::Cqe& cqe) {
  return cqe.opcode == static_cast<uint8_t>(abi::CompletionOpcode::kRecv);
}

inline std::vector<abi::Cqe> Only(const std::vector<abi::Cqe>& all, bool recv) {
  std::vector<abi::Cqe> out;
  for (const abi::Cqe& cqe : all) {
    if (IsRecv(cqe) == recv) out.push_back(cqe);
  }
  return out;
}

inline std::vector<abi::Event> EventsOf(FirmwareBench& bench, abi::EventKind kind) {
  std::vector<abi::Event> out;
  for (const abi::Event& event : bench.Events()) {
    if (event.kind == static_cast<uint8_t>(kind)) out.push_back(event);
  }
  return out;
}

/// A frame arrives, and the NIC deals with it.
inline void Arrive(FirmwareBench& nic, const Frame& frame) {
  nic.hardware.incoming.push_back(frame);
  nic.Run();
}

}  // namespace qpip::fw::test

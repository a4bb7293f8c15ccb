// Writing completions and events to the host's rings.
#pragma once

#include "nic_fw/state.h"

namespace qpip::fw {

/// What a completion says beyond its queue pair and index.
struct CompletionDetail {
  abi::CompletionStatus status = abi::CompletionStatus::kSuccess;
  uint32_t byte_length = 0;
  uint32_t vendor_error = 0;
  uint32_t flags = 0;
  uint32_t immediate = 0;
  uint32_t key = 0;
  uint16_t peer_port = 0;
  ipv6::Address peer_address = {};
};

/// Writes one completion for the WQE `index` of `queue`. On overrun the completion queue fails: the
/// completion is counted as lost and the host hears kCqError.
void Complete(const Nic& nic, const WorkQueue& queue, abi::CompletionOpcode opcode, uint32_t index,
              const CompletionDetail& detail);

/// Handles a kCqArm doorbell: interrupt when a completion beyond `consumer` exists or comes;
/// `kind`: abi::ArmKind.
void ArmCompletionQueue(const Nic& nic, uint32_t cq, uint32_t consumer, uint32_t kind);

/// Writes one event; `valid` is filled in.
void WriteEvent(const Nic& nic, abi::Event event);

}  // namespace qpip::fw

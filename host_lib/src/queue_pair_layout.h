// Where a queue pair's rings and pool lie in its one mapping.
#pragma once

#include <cstddef>
#include <cstdint>

#include "host_lib/port/host_port.h"
#include "qpip/qpip.h"

namespace qpip::internal {

/// Offsets and sizes, bytes. The overflow pool and its records are large and rarely touched, so
/// they come last, each on pages of its own.
struct QpLayout {
  uint32_t send_log2_depth = 0;
  uint32_t recv_log2_depth = 0;
  uint32_t send_log2_stride = 0;
  uint32_t recv_log2_stride = 0;
  uint32_t overflow_bytes = 0;
  size_t send_ring = 0;
  size_t recv_ring = 0;
  size_t overflow_pool = 0;
  size_t overflow_records = 0;
  size_t total = 0;
};

/// Throws Error EINVAL, naming the option, when one is out of its range.
QpLayout LayOut(const QpOptions& options, const abi::PortInfo& info);

}  // namespace qpip::internal

// Queue pairs: the limits of their options, and their memory's layout.
#include "queue_pair_layout.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <string>

#include "nic_fw/abi/command.h"
#include "nic_fw/abi/work_queue.h"

namespace qpip::internal {

namespace {

constexpr uint32_t kMaxLog2Depth = 15;
constexpr uint32_t kMaxInline = abi::kMaxWqeStride - sizeof(abi::SendWqe);
constexpr uint32_t kPageBytes = 4096;
// RFC 7323 (2.3): the largest window that can be advertised.
constexpr uint32_t kMaxReservation = 1u << 30;
// RFC 9293 (3.8.6.3): an acknowledgement is delayed by less than 0.5 s.
constexpr auto kMaxAckDelay = std::chrono::milliseconds(500);

uint32_t Log2Ceil(uint32_t value) { return static_cast<uint32_t>(std::bit_width(value - 1)); }

uint32_t Log2(uint32_t power_of_two) {
  return static_cast<uint32_t>(std::countr_zero(power_of_two));
}

void CheckRange(const char* name, uint64_t value, uint64_t low, uint64_t high) {
  if (value < low || value > high) {
    throw Error(EINVAL, std::string("create queue pair: ") + name + " is " + std::to_string(value) +
                            ", must be " + std::to_string(low) + " to " + std::to_string(high));
  }
}

void CheckOptions(const QpOptions& options, const abi::PortInfo& info) {
  const uint64_t max_depth = uint64_t{1} << kMaxLog2Depth;
  CheckRange("send_depth", options.send_depth, 1,
             std::min<uint64_t>(max_depth, info.max_send_depth));
  CheckRange("recv_depth", options.recv_depth, 1, max_depth);
  CheckRange("max_send_sge", options.max_send_sge, 1, abi::kMaxSge);
  CheckRange("max_recv_sge", options.max_recv_sge, 1, abi::kMaxSge);
  CheckRange("max_inline", options.max_inline, 0, kMaxInline);
  if (options.type == QpType::kTcp) {
    CheckRange("receive_reservation", options.receive_reservation,
               options.framing == Framing::kMpa ? abi::kMinRdmaPool : kPageBytes,
               kMaxReservation - (options.wait_for_receive ? abi::kRdmaWaitingBytes : 0));
  }
  if (options.framing == Framing::kMpa && options.type != QpType::kTcp) {
    throw Error(EINVAL, "create a queue pair: mpa framing is for TCP");
  }
  if (options.wait_for_receive && options.framing != Framing::kMpa) {
    throw Error(EINVAL, "create a queue pair: wait_for_receive is for mpa framing: others do so");
  }
  CheckRange("dscp", options.dscp, 0, 63);
  CheckRange("keepalive (seconds)", static_cast<uint64_t>(options.keepalive.count()), 0, 1000000);
  if (options.nagle && (options.type != QpType::kTcp || options.framing != Framing::kStream)) {
    throw Error(EINVAL,
                "create a queue pair: nagle is for TCP with stream framing: the segments of "
                "others mean something");
  }
  CheckRange("ack_delay (microseconds)", static_cast<uint64_t>(options.ack_delay.count()), 0,
             std::chrono::microseconds(kMaxAckDelay).count() - 1);
  CheckRange("user_timeout (milliseconds)", static_cast<uint64_t>(options.user_timeout.count()), 0,
             UINT32_MAX);
}

}  // namespace

QpLayout LayOut(const QpOptions& options, const abi::PortInfo& info) {
  CheckOptions(options, info);
  QpLayout layout;
  layout.send_log2_depth = Log2Ceil(options.send_depth);
  layout.recv_log2_depth = Log2Ceil(options.recv_depth);
  layout.send_log2_stride = Log2(abi::SendStride(options.max_send_sge, options.max_inline));
  layout.recv_log2_stride = Log2(abi::RecvStride(options.max_recv_sge));
  layout.overflow_bytes = options.type == QpType::kTcp ? options.receive_reservation : 0;
  if (options.wait_for_receive) layout.overflow_bytes += abi::kRdmaWaitingBytes;

  const auto page_up = [](size_t bytes) {
    return (bytes + kPageBytes - 1) & ~size_t{kPageBytes - 1};
  };
  layout.send_ring = sizeof(abi::QueueIndices);
  layout.recv_ring =
      layout.send_ring + (size_t{1} << (layout.send_log2_depth + layout.send_log2_stride));
  // A receive ring may be shorter than a cache line; the pool is page-aligned all the same.
  layout.overflow_pool =
      page_up(layout.recv_ring + (size_t{1} << (layout.recv_log2_depth + layout.recv_log2_stride)));
  layout.overflow_records = layout.overflow_pool + page_up(layout.overflow_bytes);
  layout.total =
      layout.overflow_records + page_up(size_t{layout.overflow_bytes} * sizeof(uint32_t));
  return layout;
}

}  // namespace qpip::internal

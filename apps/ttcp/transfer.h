// Bulk transfer over one TCP queue pair, and its measurement.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "apps/common/completions.h"
#include "apps/common/interval.h"
#include "apps/common/stop.h"
#include "qpip/qpip.h"

namespace qpip::apps {

struct TransferOptions {
  Endpoint peer;  ///< transmitter: the receiver; receiver: its port
  Framing framing = Framing::kSegment;
  uint32_t length = 8192;                ///< of a buffer, bytes
  uint64_t buffers = 2048;               ///< transmitter: how many to send
  uint32_t depth = 16;                   ///< work requests outstanding
  bool verify = false;                   ///< send, check the position-dependent pattern
  std::chrono::nanoseconds duration{0};  ///< transmitter: sends for so long, instead of `buffers`
  std::chrono::nanoseconds interval{0};  ///< of IntervalReports, since the connection was there
  IntervalReports::Report on_interval;
  std::chrono::seconds keepalive{0};    ///< of QpOptions; 0: the NIC's
  std::chrono::nanoseconds timeout{0};  ///< a transfer that stands still is given up; 0: never
  std::chrono::nanoseconds patience{
      0};  ///< transmitter: a receiver that is not there is tried again
  WaitMode mode = WaitMode::kWait;
};

struct TransferResult {
  uint64_t bytes = 0;
  uint64_t messages = 0;  ///< completions with data
  double seconds = 0;
  double cpu_seconds = 0;  ///< this process
  bool verified = false;   ///< the receiver has checked every byte
  std::string failure;     ///< why it ended before its time; empty when it did not
};

/// Sends, half-closes and waits for the peer's close, which the receiver sends when it has
/// everything. A transfer that breaks, or is told to stop, gives what it has done so far, and why;
/// Failure, Interrupted, qpip::Error are thrown when that is nothing.
TransferResult Transmit(Nic& nic, const TransferOptions& options, const StopToken& stop);

/// Listens, calls `on_listening`, takes one connection and receives until its end. Result and
/// exceptions as Transmit's.
TransferResult Receive(Nic& nic, const TransferOptions& options, const StopToken& stop,
                       const std::function<void(const Endpoint&)>& on_listening);

}  // namespace qpip::apps

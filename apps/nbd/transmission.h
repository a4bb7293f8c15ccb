// The server's side of NBD's transmission phase, simple replies: validate -> handle -> reply.
#pragma once

#include <cstdint>

#include "apps/nbd/export.h"
#include "apps/nbd/transport.h"
#include "protocols/nbd/transmission.h"

namespace qpip::nbd {

struct TransmissionCounts {
  uint64_t requests = 0;
  uint64_t bytes_read = 0;
  uint64_t bytes_written = 0;
  uint64_t errors = 0;  ///< requests answered with an error
};

/// Serves one client's requests in the order they arrive; each is answered before the next is
/// looked at, while later ones are already on their way into receive buffers. Blocking; one thread.
class Transmission {
 public:
  /// `device` was announced to the client with `limits`.
  Transmission(Transport& transport, BlockDevice& device, const ExportLimits& limits)
      : transport_(transport), device_(device), limits_(limits) {}

  /// Returns when the client disconnects (DISC or the end of its stream) or the server is to stop.
  /// Throws ConnectionLost.
  void Run();

  const TransmissionCounts& counts() const { return counts_; }

 private:
  void Handle(const Request& request);
  void HandleRead(const Request& request);
  void HandleWrite(const Request& request);
  void HandleFlush(const Request& request);
  /// Answers a request that CheckRequest has refused; its payload is read and forgotten.
  void Refuse(const Request& request, WireError error);

  /// Moves the write's payload from receive buffers to the device as it arrives. Returns the
  /// first error; what follows it is read and forgotten.
  int ReceiveToDevice(const Request& request);
  /// A read that does not fit the payload buffers: the reply's header leaves before the last data
  /// has been read.
  void StreamRead(const Request& request);
  void Reply(const Request& request, uint32_t error);

  Transport& transport_;
  BlockDevice& device_;
  ExportLimits limits_;
  TransmissionCounts counts_;
};

}  // namespace qpip::nbd

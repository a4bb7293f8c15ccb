// Replies of the transmission phase, in the form that was agreed on.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "apps/nbd/negotiation.h"
#include "apps/nbd/transport.h"
#include "protocols/nbd/reply_chunk.h"
#include "protocols/nbd/transmission.h"

namespace qpip::nbd {

/// One connection's. Calls throw ConnectionLost.
class ReplyWriter {
 public:
  ReplyWriter(Transport& transport, const Agreement& agreement)
      : transport_(transport), headers_(agreement.limits.headers), chunks_(agreement.structured) {}

  bool chunks() const { return chunks_; }
  /// Of a request that has no data to send back, or was refused. `error`: a WireError.
  void Done(const Request& request, uint32_t error);
  /// Data of a read from `offset` on, of the transport's payload area: the whole reply where there
  /// are no chunks. `last`: nothing follows. Returns the ticket that the area's bytes are free
  /// with.
  uint64_t Data(const Request& request, uint64_t offset, std::span<const std::byte> data,
                bool last);
  /// The same of other memory, which is copied.
  void CopiedData(const Request& request, uint64_t offset, std::span<const std::byte> data);
  /// A part of a read has failed at `offset`. Only where there are chunks.
  void Failed(const Request& request, uint64_t offset, uint32_t error, bool last);
  /// Only where there are chunks.
  void Status(const Request& request, std::span<const StatusExtent> extents);

 private:
  void Error(const Request& request, ChunkType type, uint64_t offset, uint32_t error, bool last);
  /// The header of a reply that is data, and where it lies. Returns its bytes.
  std::span<const uint8_t> DataHeader(const Request& request, uint64_t offset, size_t bytes,
                                      bool last);

  Transport& transport_;
  Headers headers_;
  bool chunks_;
  std::array<uint8_t, kExtendedReplyBytes + kOffsetBytes> header_;
};

}  // namespace qpip::nbd

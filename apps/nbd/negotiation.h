// The server's side of fixed newstyle negotiation (NBD project, doc/proto.md).
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "apps/nbd/export.h"
#include "apps/nbd/transport.h"
#include "protocols/nbd/handshake.h"
#include "protocols/nbd/transmission.h"

namespace qpip::nbd {

/// What the server can do with an export; the same for all clients.
ExportLimits LimitsOf(const BlockDevice& device);

/// One client's negotiation. Blocking; one thread.
class Negotiation {
 public:
  Negotiation(Transport& transport, const ExportTable& exports)
      : transport_(transport), exports_(exports) {}

  /// Greets the client and answers its options. Returns the export to serve, or nullptr when the
  /// client ended the negotiation (ABORT, closed) or the server is to stop. Throws ConnectionLost
  /// when the client breaks the protocol or asks by EXPORT_NAME for what does not exist, which the
  /// protocol answers by hanging up.
  const Export* Run();

 private:
  enum class State {
    kGreeting,      ///< greeting not sent
    kClientFlags,   ///< greeting sent, client flags awaited
    kOptions,       ///< haggling
    kTransmission,  ///< an export was agreed on
    kEnded,         ///< the client is done
  };

  State SendGreeting();
  State ReadClientFlags();
  State ReadOption();
  State OnExportName(std::span<const uint8_t> data);
  State OnAbort();
  State OnList(std::span<const uint8_t> data);
  State OnInfoOrGo(uint32_t option, std::span<const uint8_t> data);

  void Reply(uint32_t option, uint32_t reply, std::span<const uint8_t> data = {});
  void ReplyExportInfo(uint32_t option, const InfoRequest& request, const Export& chosen);

  Transport& transport_;
  const ExportTable& exports_;
  bool no_zeroes_ = false;
  const Export* chosen_ = nullptr;
};

}  // namespace qpip::nbd

// The server's side of fixed newstyle negotiation (NBD project, doc/proto.md).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "apps/nbd/export.h"
#include "apps/nbd/tls.h"
#include "apps/nbd/transport.h"
#include "protocols/nbd/handshake.h"
#include "protocols/nbd/meta_context.h"
#include "protocols/nbd/transmission.h"

namespace qpip::nbd {

/// What the two sides have agreed on: how requests and replies look, and of which export.
struct Agreement {
  const Export* chosen = nullptr;  ///< nullptr: the client went away
  bool structured = false;         ///< replies in chunks; so they are with extended headers
  ExportLimits limits;
};

/// The one metadata context's number in block status.
inline constexpr uint32_t kAllocationContext = 1;

/// What the server can do with an export, for a client that takes replies in chunks or not.
ExportLimits LimitsOf(const Export& served, bool structured);

/// One client's negotiation. Waits; one thread.
class Negotiation {
 public:
  /// `tls`: nullptr where it is not spoken.
  Negotiation(Transport& transport, const ExportTable& exports, const TlsContext* tls = nullptr)
      : transport_(transport), exports_(exports), tls_(tls) {}

  /// Greets the client and answers its options. `chosen` is nullptr when the client ended the
  /// negotiation (ABORT, closed) or the server is to stop. Throws ConnectionLost when the client
  /// breaks the protocol or asks by EXPORT_NAME for what does not exist, which the protocol answers
  /// by hanging up.
  Agreement Run();

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
  /// Answers an option whose data has been read.
  State OnOption(uint32_t option, std::span<const uint8_t> data);
  State OnExportName(std::span<const uint8_t> data);
  State OnAbort();
  State OnList(std::span<const uint8_t> data);
  State OnInfoOrGo(uint32_t option, std::span<const uint8_t> data);
  State OnStartTls(std::span<const uint8_t> data);
  State OnStructuredReply(std::span<const uint8_t> data);
  State OnExtendedHeaders(std::span<const uint8_t> data);
  State OnMetaContext(uint32_t option, std::span<const uint8_t> data);

  void Reply(uint32_t option, uint32_t reply, std::span<const uint8_t> data = {});
  /// An error reply, with a text for people; haggling goes on.
  State Refuse(uint32_t option, uint32_t reply, std::string_view why);
  State RefuseUnknown(uint32_t option, Text name);
  void ReplyExportInfo(uint32_t option, const InfoRequest& request, const Export& chosen,
                       const ExportLimits& limits);
  /// What is announced of an export, as things stand.
  ExportLimits LimitsNow(const Export& served) const;
  /// `limits`: as the client has been told; a size may be another by now.
  State Choose(const Export& chosen, const ExportLimits& limits);

  Transport& transport_;
  const ExportTable& exports_;
  const TlsContext* tls_;
  bool secure_ = false;  ///< TLS has begun
  bool no_zeroes_ = false;
  bool structured_ = false;
  bool extended_ = false;
  const Export* context_of_ = nullptr;  ///< whose base:allocation was selected
  Agreement agreement_;
};

}  // namespace qpip::nbd

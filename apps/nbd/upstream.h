// Other NBD servers as devices of this process, by URI.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "apps/common/command_line.h"
#include "qpip/nbd.h"
#include "storage/core/device.h"

namespace qpip::nbd {

struct UpstreamOptions {
  Nic* nic = nullptr;  ///< for nbd+qp:; outlives the device, as what follows does
  ProtectionDomain* pd = nullptr;
  const MemoryRegion* memory = nullptr;  ///< of `pd`: payload in it is sent without a copy
  unsigned connections = 1;              ///< of each executor
  std::chrono::milliseconds patience{2000};
  std::chrono::milliseconds reconnect{30'000};
  std::chrono::seconds keepalive{60};
  /// What a lost server had answered is taken for lost unless it was flushed: its machine may have
  /// gone down. ClientOptions say what comes of it.
  bool volatile_server = true;
  /// For clients of one server that a flush of one of them covers; nullptr: each has its own.
  std::shared_ptr<ChangeLedger> ledger = nullptr;
};

/// Adds --nbd-connections, --nbd-reconnect and --nbd-stable, of a command whose sources may be
/// other servers. It has --keepalive too.
void AddUpstreamOptions(apps::CommandLine& command_line);
/// What they say. Throws UsageError.
UpstreamOptions GetUpstreamOptions(const apps::CommandLine& command_line);

/// Adds --connections, --reconnect, --stable, --wait-for-server and --keepalive, of a command that
/// is a client. `connections`: of what they are.
void AddClientOptions(apps::CommandLine& command_line, const std::string& connections);
/// What they say. Throws UsageError.
UpstreamOptions GetClientOptions(const apps::CommandLine& command_line);

/// Whether `what` is a URI of a server behind queue pairs.
bool NeedsNic(const std::string& what);

/// A client of the server that a URI names, and of an export as it is `expected`. Throws
/// ParseError, apps::UsageError (no NIC), Error.
std::unique_ptr<Client> OpenClient(const std::string& uri, const UpstreamOptions& options,
                                   const std::optional<ExportFacts>& expected = std::nullopt);
/// The same as a device.
std::shared_ptr<storage::Device> OpenUpstream(const std::string& uri,
                                              const UpstreamOptions& options);

}  // namespace qpip::nbd

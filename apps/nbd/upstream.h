// Other NBD servers as devices of this process, by URI.
#pragma once

#include <chrono>
#include <memory>
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
};

/// Adds --nbd-connections and --nbd-reconnect.
void AddUpstreamOptions(apps::CommandLine& command_line);
/// What they say. Throws UsageError.
UpstreamOptions GetUpstreamOptions(const apps::CommandLine& command_line);

/// Whether `what` is a URI of a server behind queue pairs.
bool NeedsNic(const std::string& what);

/// A client of the server that a URI names. Throws ParseError, apps::UsageError (no NIC),
/// apps::Failure.
std::unique_ptr<Client> OpenClient(const std::string& uri, const UpstreamOptions& options,
                                   bool start_only = false);
/// The same as a device.
std::shared_ptr<storage::Device> OpenUpstream(const std::string& uri,
                                              const UpstreamOptions& options);

}  // namespace qpip::nbd

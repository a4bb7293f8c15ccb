// What the NBD server serves: devices, by name.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "apps/nbd/prefix.h"
#include "apps/nbd/upstream.h"
#include "storage/core/device.h"

namespace qpip::nbd {

struct Export {
  std::string name;
  std::string description = {};  ///< for people; may be empty
  bool read_only = false;        ///< whatever the device is
  std::shared_ptr<storage::Device> device = {};
  /// Clients with another address do not see it; none: all see it. Local programs always do.
  std::vector<Prefix> allowed = {};
};

/// The exports of a server; the first is also the default one, named "". Immutable once serving.
class ExportTable {
 public:
  /// Throws apps::UsageError: duplicate, empty or too long name, too long description.
  void Add(Export added);
  /// nullptr when there is none of that name.
  const Export* Find(std::string_view name) const;
  const std::vector<Export>& all() const { return exports_; }
  /// Those that this client sees.
  ExportTable VisibleTo(const ClientAddress& client) const;

 private:
  std::vector<Export> exports_;
};

/// "NAME=WHAT" or "WHAT" (its name is the last component of the path; of an NBD URI the export's).
struct ExportArgument {
  std::string name;
  std::string what;
};
/// Throws apps::UsageError.
ExportArgument ParseExportArgument(const std::string& text);

/// The device that WHAT of an argument names: "memory:SIZE", "null:SIZE", an NBD URI, else the path
/// of a file or block device. `workers` must outlive it. Throws apps::UsageError, apps::Failure,
/// ParseError.
std::shared_ptr<storage::Device> OpenDevice(const std::string& what, bool read_only,
                                            storage::Workers& workers,
                                            const UpstreamOptions& upstream = {});

}  // namespace qpip::nbd

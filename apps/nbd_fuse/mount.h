// An export as a file of the kernel's, by FUSE's low-level interface straight on the client.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "apps/common/stop.h"
#include "qpip/nbd.h"

namespace qpip::nbd {

struct MountOptions {
  std::string path;  ///< a file, which becomes the export, or a folder, which gets `file_name`
  std::string file_name = "disk";
  unsigned threads = 1;      ///< each with a client of its own; one where a flush is not for all,
                             ///< or where parts of blocks cannot be written
  bool read_only = false;    ///< whatever the export is
  bool direct = false;       ///< past the kernel's page cache
  bool allow_other = false;  ///< other users may use it, as far as the mode lets them
  /// Of the file, whose owner is the process's user; nullopt: 0600, with allow_other 0644. Where
  /// nothing can be written, nobody may write.
  std::optional<mode_t> mode = std::nullopt;
};

struct MountCounts {
  uint64_t reads = 0, writes = 0, flushes = 0;
  uint64_t bytes_read = 0, bytes_written = 0;
  uint64_t errors = 0;  ///< commands that the server, or the way to it, has failed
};

/// Mounts in the constructor, unmounts in the destructor.
class Mount {
 public:
  /// A client of the export, of the others behind the first as that has found it.
  using MakeClient =
      std::function<std::unique_ptr<Client>(const std::optional<ExportFacts>& expected)>;

  /// Throws qpip::Error (of `make`), apps::Failure: cannot be mounted.
  Mount(const MountOptions& options, const MakeClient& make);
  ~Mount();
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;

  /// Serves the kernel until it is unmounted or `stop` is requested, then flushes. Throws
  /// apps::Failure: the flush has failed.
  void Run(const apps::StopToken& stop);
  const ExportFacts& facts() const;
  MountCounts counts() const;  ///< not while it runs

 private:
  class Session;
  std::unique_ptr<Session> session_;
};

}  // namespace qpip::nbd

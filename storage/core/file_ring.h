// Reads, writes and syncs of files by io_uring (liburing).
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace qpip::storage {

/// What is queued leaves with the next SubmitAndReap, so that many cost one system call. One
/// thread.
class FileRing {
 public:
  /// A system call on its way. Whoever queues it keeps it until `over` runs.
  struct Call {
    /// `result`: what the system call returns, or -errno.
    void (*over)(Call&, int result) = nullptr;
  };

  /// nullptr where the system (or a sandbox) does not let it, or the build is without liburing.
  static std::unique_ptr<FileRing> TryMake();
  virtual ~FileRing() = default;  ///< Nothing is on its way.

  virtual void Read(Call& call, int fd, std::span<const iovec> data, uint64_t offset) = 0;
  virtual void Write(Call& call, int fd, std::span<const iovec> data, uint64_t offset) = 0;
  /// fdatasync.
  virtual void Sync(Call& call, int fd) = 0;

  /// Returns how many calls have ended and had their `over` run.
  virtual size_t SubmitAndReap() = 0;
  /// Whether SubmitAndReap has something to do at once.
  virtual bool Ready() const = 0;
  /// For poll: readable when a call has ended.
  virtual int fd() const = 0;
};

}  // namespace qpip::storage

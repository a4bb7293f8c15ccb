// A regular file or a block device as a leaf.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <atomic>
#include <cstdint>
#include <span>
#include <string>

#include "storage/core/device.h"
#include "storage/core/file_ring.h"

namespace qpip::storage {

/// The system calls of a FileDevice, for tests to put others in their place.
struct FileCalls {
  ssize_t (*read)(int fd, const iovec* data, int count, off_t offset);
  ssize_t (*write)(int fd, const iovec* data, int count, off_t offset);
  int (*sync)(int fd);
  int (*allocate)(int fd, int mode, off_t offset, off_t length);
  /// preadv, pwritev, fdatasync, fallocate.
  static const FileCalls& System();
};

struct FileOptions {
  bool read_only = false;
  /// Other calls than the system's are made by the workers alone, never by a ring.
  const FileCalls* calls = &FileCalls::System();
};

/// Reads, writes and syncs of a file in memory (tmpfs) are done at once, those of others go through
/// the executor's ring where it has one; all else, and everything without a ring, is done by the
/// workers. A sync that has failed once fails for ever:
/// what it was to write may be lost, and a later one would not know (the kernel reports it once).
class FileDevice : public Device {
 public:
  /// `workers` must outlive the device. Throws std::runtime_error: cannot be opened, is neither a
  /// file nor a block device, its size cannot be read.
  FileDevice(const std::string& path, const FileOptions& options, Workers& workers);
  ~FileDevice() override;

  /// With the size of now.
  Geometry geometry() const override;
  void Submit(Request& request) override;

 private:
  struct Work;
  struct Range;

  /// All of a request, in a thread that may block. Returns errno.
  int Do(Request& request);
  int ReadAll(Request& request);
  int WriteAll(uint64_t offset, std::span<iovec> data);
  int Sync();
  int Trim(uint64_t offset, uint64_t length);
  int Zero(uint64_t offset, uint64_t length, uint32_t flags);
  /// Trims and zeroes, which may be as long as the device, in steps between which others' have
  /// their turn, and behind which a request that was cancelled ends.
  void GoOn(Request& request);
  /// How far the next step goes that begins at `at`.
  uint64_t NextStep(const Request& request, uint64_t at) const;
  /// fallocate(2), which keeps the size. Returns errno.
  int Allocate(int mode, uint64_t offset, uint64_t length);
  int ZeroByCall(uint64_t offset, uint64_t length, uint32_t flags);
  int ZeroByWriting(uint64_t offset, uint64_t length);
  int Cache(const Request& request);
  /// A file's size of now; `otherwise`: of a block device, or when it cannot be told.
  uint64_t FileBytes(uint64_t otherwise) const;
  int Status(Request& request);
  /// What has no data: holes, and what is allocated and was never written. Returns false when the
  /// list is full.
  bool AddUnwritten(ExtentList& list, uint64_t begin, uint64_t end);
  /// Notes how a sync ended. Returns what is to be said of it.
  int AfterSync(int error);

  void StartOnRing(FileRing& ring, Request& request);
  void Queue(Work& work);
  void OnRing(Work& work, int result);

  const FileCalls& calls_;
  Workers& workers_;
  int fd_ = -1;
  bool block_device_ = false;
  bool in_memory_ = false;     ///< nothing to wait for
  uint32_t sector_bytes_ = 1;  ///< of a block device: what can be trimmed is a multiple
  Geometry geometry_;
  std::atomic<int> sync_error_ = 0;
  std::atomic<bool> can_punch_ = true;  ///< until the file system has said no
  std::atomic<bool> can_zero_range_ = true;
};

}  // namespace qpip::storage

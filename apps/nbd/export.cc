#include "apps/nbd/export.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "apps/common/command_line.h"
#include "protocols/nbd/handshake.h"

namespace qpip::nbd {

using apps::Failure;
using apps::UsageError;

namespace {

/// Drops the first `bytes` bytes of a list. Returns what is left of it.
std::span<iovec> Advance(std::span<iovec> list, size_t bytes) {
  while (!list.empty() && bytes >= list.front().iov_len) {
    bytes -= list.front().iov_len;
    list = list.subspan(1);
  }
  if (!list.empty()) {
    list.front().iov_base = static_cast<uint8_t*>(list.front().iov_base) + bytes;
    list.front().iov_len -= bytes;
  }
  return list;
}

uint64_t SizeOf(int fd, const std::string& path) {
  struct stat status = {};
  if (fstat(fd, &status) != 0) {
    throw Failure("cannot read its size: " + path + ": " + std::strerror(errno));
  }
  if (S_ISREG(status.st_mode)) return static_cast<uint64_t>(status.st_size);
  if (!S_ISBLK(status.st_mode)) {
    throw Failure("cannot be exported: " + path + ": give a regular file or a block device");
  }
  uint64_t bytes = 0;
  if (ioctl(fd, BLKGETSIZE64, &bytes) != 0) {
    throw Failure("cannot read the device's size: " + path + ": " + std::strerror(errno));
  }
  return bytes;
}

}  // namespace

FileDevice::FileDevice(const std::string& path, bool read_only)
    // Non-blocking, so that naming a FIFO is an error and not a wait; files do not care.
    : fd_(open(path.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK)),
      read_only_(read_only) {
  if (fd_ < 0) {
    const int error = errno;
    const bool try_read_only = !read_only && (error == EACCES || error == EROFS);
    throw Failure("cannot open: " + path + ": " + std::strerror(error) +
                  (try_read_only ? " (--read-only may do)" : ""));
  }
  try {
    size_bytes_ = SizeOf(fd_, path);
  } catch (...) {
    close(fd_);
    throw;
  }
}

FileDevice::~FileDevice() { close(fd_); }

int FileDevice::Read(uint64_t offset, std::span<uint8_t> out) {
  while (!out.empty()) {
    const ssize_t n = pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    if (n == 0) return EIO;  // someone has truncated the file
    out = out.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return 0;
}

int FileDevice::Write(uint64_t offset, std::span<iovec> data) {
  data = Advance(data, 0);
  while (!data.empty()) {
    const int count = static_cast<int>(std::min<size_t>(data.size(), IOV_MAX));
    const ssize_t n = pwritev(fd_, data.data(), count, static_cast<off_t>(offset));
    if (n < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    data = Advance(data, static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return 0;
}

int FileDevice::Flush() { return fdatasync(fd_) == 0 ? 0 : errno; }

void ExportTable::Add(std::string name, std::unique_ptr<BlockDevice> device) {
  if (name.empty()) throw UsageError("export without a name: give NAME=FILE");
  if (name.size() > kMaxNameBytes) {
    throw UsageError("export name too long: " + name.substr(0, 32) + "...: at most " +
                     std::to_string(kMaxNameBytes) + " bytes");
  }
  if (std::any_of(exports_.begin(), exports_.end(),
                  [&name](const Export& other) { return other.name == name; })) {
    throw UsageError("two exports of one name: " + name + ": name one of them by NAME=FILE");
  }
  exports_.push_back({std::move(name), std::move(device)});
}

const Export* ExportTable::Find(std::string_view name) const {
  if (name.empty()) return exports_.empty() ? nullptr : &exports_.front();
  for (const Export& candidate : exports_) {
    if (candidate.name == name) return &candidate;
  }
  return nullptr;
}

ExportArgument ParseExportArgument(const std::string& text) {
  const size_t equals = text.find('=');
  ExportArgument argument;
  if (equals != std::string::npos) {
    argument = {text.substr(0, equals), text.substr(equals + 1)};
  } else {
    const size_t slash = text.rfind('/');
    argument = {slash == std::string::npos ? text : text.substr(slash + 1), text};
  }
  if (argument.name.empty() || argument.path.empty()) {
    throw UsageError("bad export: '" + text + "': give NAME=FILE or FILE");
  }
  return argument;
}

}  // namespace qpip::nbd
